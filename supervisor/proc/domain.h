/*
 * One domain: its life (life.h), the process that it has at the moment (child.h), its deaths and when it is tried
 * again. Included by proc*.c and domain.c.
 */
#ifndef HEP_SUPERVISOR_PROC_DOMAIN_H
#define HEP_SUPERVISOR_PROC_DOMAIN_H

#include "supervisor/proc/child.h"
#include "supervisor/proc/proc.h"
#include "supervisor/proc/runtime.h"

struct hep_lock;

struct hep_domain {
    struct hep_proc *proc;
    enum hep_role role;
    enum hep_life_state life;
    struct hep_backoff backoff;
    struct hep_child *child;           /* NULL between processes                                         */
    struct hep_loop_timer *timer;      /* deadline of this state, or the next try                        */
    int64_t next_try_ms;               /* CLOCK_MONOTONIC; 0 = none is set                               */
    int64_t due_ms;                    /* when this state must have ended; 0 = it may last               */
    uint64_t spawned, deaths;          /* processes started and ended so far                             */
    uint64_t configured;               /* which reading of the configuration its process knows           */
    bool restart_asked;                /* the operator's restart ends the present process                */
    int64_t swollen_bytes;             /* beyond domains.memory_limit: replaced once nothing is in hand  */
    bool recycling;                    /* being replaced for that, until the next one is ready           */
    int64_t recycled_ms;               /* CLOCK_MONOTONIC, when that last began; 0 = never               */
    uint64_t recycled;                 /* how often                                                      */
    char cause[HEP_ERROR_MESSAGE_MAX]; /* why it is being ended, or ended; "" = no reason known        */
    json_t *last_obituary;             /* NULL = none died so far                                        */
};

struct hep_proc {
    struct hep_loop *loop;
    const struct hep_config *config;
    uint64_t reading;      /* of the configuration: counts reloads                           */
    struct hep_lock *lock; /* not owned; NULL in tests                                       */
    struct hep_proc_events events;
    struct hep_generations generations;
    struct hep_domain domains[HEP_ROLE_COUNT];
    struct hep_loop_timer *tick, *stopped;
    bool stopping;
    int64_t drain_ms;
};

void hep_domain_init(struct hep_domain *domain, struct hep_proc *proc, enum hep_role role);
void hep_domain_clear(struct hep_domain *domain);
/* The one way by which anything happens to a domain. why: for the log and the obituary; "" = obvious. */
void hep_domain_event(struct hep_domain *domain, enum hep_life_event event, const char *why);

/* obituary.c: {domain, generation, pid, cause, …} as proc.h says; new reference. verdict: what follows. */
json_t *hep_obituary_of_child(const struct hep_domain *domain, const struct hep_child_end *end);
json_t *hep_obituary_of_unborn(const struct hep_domain *domain, uint64_t generation, const struct hep_error *error);
/* "SEGV" for SIGSEGV. */
const char *hep_signal_name(int signal_number);
/* The line domain.died in the log; domain.ended if it was asked to end and did. */
void hep_obituary_log(const json_t *obituary);

/* order.c: starts the process of a domain with the arguments of common/contract.h. */
enum hep_status hep_domain_spawn(struct hep_domain *domain, uint64_t generation, const struct hep_child_events *events,
                                 struct hep_error *error);

/* order.c: tells the domain's process, which is connected, the settings that a reload changes at once, unless it knows
   them already. */
void hep_domain_configure(struct hep_domain *domain);
/* recycle.c: a status report of its child came: it may have grown beyond its limit. Then, and at each tick, it is
   replaced if nothing is in hand. */
void hep_domain_weigh(struct hep_domain *domain, const json_t *report);
void hep_domain_recycle_if_idle(struct hep_domain *domain);

/* overdue.c: when supervision must have done something about the domain, by CLOCK_MONOTONIC; 0 = nothing is due. */
int64_t hep_domain_due(const struct hep_domain *domain);

/* proc.c: a domain has no process and wants none. */
void hep_proc_domain_is_absent(struct hep_proc *proc);

#endif
