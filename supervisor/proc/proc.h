/*
 * Keeps the seven processes alive: spawn, watch, obituary, restart with backoff, liveness, and the request channel to
 * each. Knows no workflow, maps no tensor, never blocks on a peer. The engine sits on top through the callbacks.
 */
#ifndef HEP_SUPERVISOR_PROC_PROC_H
#define HEP_SUPERVISOR_PROC_PROC_H

#include "common/roles.h"
#include "common/status.h"
#include "supervisor/proc/loop.h"

#include <jansson.h>

struct hep_proc;
struct hep_config; /* supervisor/proc/config.h */

struct hep_proc_events {
    void *context;
    /* A domain is ready: operations is its table as hep_describe() gives it (borrowed). */
    void (*ready)(void *context, enum hep_role role, uint64_t generation, json_t *operations);
    /* A process has been reaped. obituary (borrowed): {domain, generation, pid, cause, hint?, signal?, exit_status?,
       core, uptime_ms, operation?, session?, attempt?, last_lines:[…], crash?, stack?, next_try_ms?, state, asked (it
       ended because it was told to)}. Requests in flight to it have been answered with OUTCOME_UNKNOWN before this is
       called. */
    void (*died)(void *context, enum hep_role role, uint64_t generation, json_t *obituary);
    /* A report other than ready (borrowed): progress, begin, end, status, event. */
    void (*report)(void *context, enum hep_role role, uint64_t generation, json_t *report);
    /* A domain's state changed (also told by the two above); for events and status. */
    void (*state)(void *context, enum hep_role role, const char *from, const char *to, const char *why);
    void (*all_stopped)(void *context); /* after hep_proc_stop: every process is reaped */
};

enum hep_status hep_proc_create(struct hep_loop *loop, const struct hep_config *config,
                                const struct hep_proc_events *events, struct hep_proc **proc, struct hep_error *error);
/* Processes that still run are killed and waited for. NULL is accepted. */
void hep_proc_destroy(struct hep_proc *proc);
/* Before hep_proc_start: the instance lock, whose descriptor every child inherits; not owned. Without one, none is
 * handed on. */
struct hep_lock;
void hep_proc_set_lock(struct hep_proc *proc, struct hep_lock *lock);
enum hep_status hep_proc_start(struct hep_proc *proc, struct hep_error *error); /* spawns all seven */
void hep_proc_stop(struct hep_proc *proc,
                   int64_t drain_ms); /* SIGTERM (drain), after drain_ms SIGKILL; then all_stopped */
enum hep_status hep_proc_restart(struct hep_proc *proc, enum hep_role role, struct hep_error *error); /* operator's */
/* The configuration was read again: domains that run are told what changes at once, those that had given up are tried.
 */
void hep_proc_reload(struct hep_proc *proc);
/* On SIGCHLD: reaps children that are not ours (orphans of a dead domain, adopted by us). */
void hep_proc_reap_strays(struct hep_proc *proc);
/* False if something is long overdue that supervision owes a domain (overdue.c); why says what. */
bool hep_proc_is_on_time(const struct hep_proc *proc, char *why, size_t size);
bool hep_proc_is_ready(const struct hep_proc *proc, enum hep_role role);
/* It is being replaced because of its memory, or will be once nothing is in hand: whoever has a request for it waits,
   and no request fails. */
bool hep_proc_is_recycling(const struct hep_proc *proc, enum hep_role role);

/* Called on the loop thread when a request has ended. reply (borrowed, may be NULL on failure) is the whole reply
   message {request_id, success, …}; status is OK when a reply came, whatever it says. */
typedef void hep_proc_done(void *context, enum hep_status status, json_t *reply, const struct hep_error *error);
/* Sends message (an object with type, request_id, …; borrowed) to a domain. done is called exactly once, never from
   inside this call. DOMAIN_DOWN if it is not ready. The deadline of the domain's watchdog extends with its progress. */
enum hep_status hep_proc_request(struct hep_proc *proc, enum hep_role role, json_t *message, hep_proc_done *done,
                                 void *context, struct hep_error *error);
/* [{domain, state, pid, generation, uptime_ms, restarts, recycled, cause?, next_try_ms?, operation?, session?,
   progress, queue, rss_bytes, shm_bytes, cpu_ms, operations:{name:{count, errors, p50_ms, p99_ms}}, last_obituary?}]
   new reference */
json_t *hep_proc_status(const struct hep_proc *proc);

#endif
