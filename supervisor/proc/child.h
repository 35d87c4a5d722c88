/*
 * One process of one domain, from its start to its burial: descriptors, reports, last words, what it has in hand, the
 * channel to it. Says what happened as life events; decides nothing (domain.c does).
 */
#ifndef HEP_SUPERVISOR_PROC_CHILD_H
#define HEP_SUPERVISOR_PROC_CHILD_H

#include "supervisor/proc/channel.h"
#include "supervisor/proc/life.h"
#include "supervisor/proc/lines.h"
#include "supervisor/proc/spawn.h"
#include "supervisor/proc/watch.h"

enum {
    HEP_BAD_REPORTS_MAX = 100 /* so many reports that break the contract, and the process is ended */
};

/* How a process ended. */
struct hep_child_end {
    int signal;      /* 0 = it exited                                       */
    int exit_status; /* if signal is 0                                      */
    bool core;       /* a core file was written                             */
    int64_t max_rss_bytes, cpu_ms;
};

struct hep_child;

/* Called on the loop thread; never from inside hep_child_create. */
struct hep_child_events {
    void *context;
    /* READY, WORK, IDLE, PROGRESS, DEADLINE or KILL; why: for the log, "" = obvious. */
    void (*event)(void *context, enum hep_life_event event, const char *why);
    /* Every report but ready (borrowed), after the event it caused. */
    void (*report)(void *context, json_t *report);
    /* Reaped; all its reports and lines have been read. The callee destroys the child. */
    void (*ended)(void *context, const struct hep_child_end *end);
};

struct hep_child {
    struct hep_loop *loop;
    struct hep_child_events events;
    enum hep_role role;
    uint64_t generation;
    struct hep_spawned process; /* descriptors are −1 once closed                               */
    struct hep_loop_source *pid_source, *report_source, *stderr_source;
    struct hep_lines lines;
    struct hep_watch watch;
    struct hep_channel *channel;    /* from hep_child_connect on                                    */
    json_t *operations;             /* its table, from READY                                        */
    json_t *status;                 /* its last status report, NULL = none yet                      */
    int64_t started_ms, ready_ms;   /* CLOCK_MONOTONIC; ready_ms 0 = not yet                        */
    int64_t pinged_ms, answered_ms; /* of the last ping, and of its answer                          */
    bool ping_out;                  /* no answer to it yet                                          */
    bool mismatch;                  /* it is of another build: starting it again will not help      */
    unsigned bad_reports;
    char socket[128];      /* path; the child listens there                                */
    char isa[32];          /* as READY said                                                */
    unsigned char *packet; /* room for one report                                          */
};

/* Starts the process. socket: path that it will listen on, below 108 bytes. Errors: those of hep_spawn. */
enum hep_status hep_child_create(struct hep_loop *loop, enum hep_role role, uint64_t generation, const char *socket,
                                 const struct hep_spawn_order *order, const struct hep_child_events *events,
                                 struct hep_child **child, struct hep_error *error);
/* Opens the channel; once, after READY. */
enum hep_status hep_child_connect(struct hep_child *child, struct hep_error *error);
/* Sends `<domain>.configure` with settings ({key: value as text}; taken) to a connected child; a refusal is logged. */
void hep_child_configure(struct hep_child *child, json_t *settings);
/* Sends a signal to the process; nothing if it has ended. */
void hep_child_signal(struct hep_child *child, int signal_number);
/* Looks at deadlines and pings; called a few times a second while it is ready. A ping is a full round trip through the
   domain, sent every hang_ms / 2; one without an answer for hang_ms, or for the longest deadline in hand, is a hang. */
void hep_child_tick(struct hep_child *child, int64_t hang_ms);
/* When hep_child_tick must have done something: a ping is to be sent, or a deadline or a ping's answer has passed. */
int64_t hep_child_due(const struct hep_child *child, int64_t hang_ms);
/* Frees; a process that still runs is killed and waited for. Requests in flight are answered first. NULL is accepted.
 */
void hep_child_destroy(struct hep_child *child, const char *why);

#endif
