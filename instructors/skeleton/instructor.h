/*
 * The skeleton: everything that the seven instructors have in common. main() of an instructor is one call into it.
 *
 * Two threads matter. The *loop thread* owns the report channel, timers and light operations; the *worker thread* owns
 * OpenMP and runs heavy operations one after another, in the order of arrival. An operation is heavy when its row says
 * so. An instructor with a batch of its own (inference) defers: its handler keeps the call and returns what
 * hep_call_defer() returns, and `work` is called on the worker thread again and again while it says there is more.
 *
 * Every domain has get_status, ping, describe, cancel and cleanup from here; all but cleanup answer on the loop thread,
 * also while a heavy operation runs; cleanup waits for its turn on the worker thread, because what it drops is in use
 * there.
 *
 * SIGTERM drains: operations that run go on to their end (or to the next boundary, see hep_call_cancelled), heavy ones
 * that have not begun are refused with DOMAIN_DOWN, every answer is sent, then the process ends with status 0.
 */
#ifndef HEP_INSTRUCTORS_SKELETON_INSTRUCTOR_H
#define HEP_INSTRUCTORS_SKELETON_INSTRUCTOR_H

#include "common/log.h"
#include "common/operation.h"
#include "common/roles.h"

struct hep_instructor;

/* What an instructor is: constant data in its ops.c. */
struct hep_instructor_spec {
    enum hep_role role;
    const struct hep_operation *operations; /* ends with a row whose name is NULL */
    /* Called once before READY, on the loop thread; *state is handed to everything else. May call
       hep_instructor_starting() while it takes long. NULL = no state. */
    enum hep_status (*start)(struct hep_instructor *self, void **state, struct hep_error *error);
    void (*stop)(struct hep_instructor *self); /* frees the state at an orderly end; NULL = nothing        */
    bool (*work)(struct hep_instructor *self); /* worker thread: one unit; true = more to do; NULL = none  */
    void (*status)(struct hep_instructor *self, json_t *into); /* adds its own fields to get_status; loop thread      */
    void (*cleanup)(struct hep_instructor *self,
                    json_t *freed); /* operation `cleanup`: drop caches; says what; worker thread */
    /* Other threads and descriptors of its own (communication's HTTP): called on the loop thread after READY. */
    enum hep_status (*listen)(struct hep_instructor *self, struct hep_error *error);
    /* A key of the configuration that only this domain takes and that a reload changes; loop thread. UNSUPPORTED: it is
       not such a key. NULL = there is none. */
    enum hep_status (*configure)(struct hep_instructor *self, const char *key, const char *value,
                                 struct hep_error *error);
    const char *(*isa)(void); /* instruction set of its kernels, for READY; NULL = it has none */
};

/* The whole of main(): arguments (common/contract.h), --describe, --stdio, --help, --version. Returns the exit status.
 */
int hep_instructor_main(int argc, char **argv, const struct hep_instructor_spec *spec);

/* ---- for handlers and work() ------------------------------------------------------------------------------------- */
void *hep_instructor_state(struct hep_instructor *self);
const char *hep_instructor_instance(const struct hep_instructor *self); /* name of this daemon instance             */
uint64_t hep_instructor_generation(const struct hep_instructor *self);  /* of this process                          */
const char *
hep_instructor_state_dir(const struct hep_instructor *self);         /* the daemon's state folder, "" = none: alone */
const char *hep_instructor_front(const struct hep_instructor *self); /* path of the front socket, "" = none      */
/* A setting given as --set key=value (from heptad.conf, e.g. "communication.port"); NULL if absent. */
const char *hep_instructor_setting(const struct hep_instructor *self, const char *key);
int64_t hep_instructor_setting_int(const struct hep_instructor *self, const char *key, int64_t fallback);
void hep_instructor_starting(struct hep_instructor *self, const char *note); /* extends the READY deadline            */
void hep_instructor_wake(struct hep_instructor *self); /* any thread: call work() again             */
/* Any thread: an event to the supervisor ({name, …} of fields; takes the reference). */
void hep_instructor_event(struct hep_instructor *self, const char *name, json_t *fields);

/* Worker thread: the cores of the lease that was granted last, ids, valid until the handler or work() returns; how
   many, 0 = none yet. */
int hep_instructor_cores(const struct hep_instructor *self, const int **cores);
/* The calling thread and its OpenMP team, of count ≥ 1 threads, run on these cores from now on; the kernel balances
   inside the set. The worker thread does it by itself when a lease comes. */
void hep_cores_use(const int *cores, int count);

/* Maps a reference for longer than one call, until hep_instructor_unhold: weights that stay in use. Errors as a
 * request's. */
enum hep_status hep_instructor_hold(struct hep_instructor *self, const struct hep_tensor_ref *ref,
                                    struct hep_tensor *tensor, struct hep_error *error);
void hep_instructor_unhold(struct hep_instructor *self, const struct hep_tensor *tensor);

/* ---- get_status in a domain's own table, to have aliases or more fields; else every domain has it anyhow ----------
 */
struct hep_status_reply {
    json_t *status;
};
enum { HEP_STATUS_REPLY_FIELDS = 1 };
extern const struct hep_field hep_status_reply_fields[HEP_STATUS_REPLY_FIELDS];
hep_handler hep_status_handler;
#define HEP_STATUS_OPERATION(...)                                                                                      \
    {                                                                                                                  \
        .name = "get_status", .handler = hep_status_handler, .reply = hep_status_reply_fields,                         \
        .reply_count = HEP_STATUS_REPLY_FIELDS, .reply_size = sizeof(struct hep_status_reply),                         \
        .permission = HEP_CLIENT, .deadline_ms = 2000, .help = "state, progress, memory and latencies of this domain", \
        __VA_ARGS__                                                                                                    \
    }

/* ---- one request in hand ----------------------------------------------------------------------------------------- */
struct hep_instructor *hep_call_instructor(struct hep_call *call);
const char *hep_call_session(const struct hep_call *call); /* "" if the request has none                           */
int32_t hep_call_attempt(const struct hep_call *call);     /* counts from 1                                        */
int32_t hep_call_cores(const struct hep_call *call);       /* cores of the lease; at least 1                       */
/* The mapping of a placed reference of this call's request (validated before the handler ran). The tensor is valid
   until the call is answered. Aborts on a reference that was not part of the request. */
struct hep_tensor hep_call_map(struct hep_call *call, const struct hep_tensor_ref *ref);
/* printf into memory that lives until the reply is encoded. */
__attribute__((format(printf, 2, 3))) struct hep_str hep_call_text(struct hep_call *call, const char *format, ...);
/* Reports progress (the watchdog counts it): step of steps, and wakes nobody. note may be "". */
void hep_call_progress(struct hep_call *call, int32_t step, int32_t steps, const char *note);
/* Reports how the session's work looks now, for people who watch: {image, png, …}, taken. Not progress; dropped where
   the channel is full. Any thread. */
void hep_call_preview(struct hep_call *call, json_t *preview);
/* OK while the call may go on, else what to answer it with. CANCELLED: its session was paused or cancelled (operation
   `cancel`, any thread, at any time). DOMAIN_DOWN: the process drains. Two atomic reads: check at every boundary. */
enum hep_status hep_call_check(const struct hep_call *call, struct hep_error *error);
bool hep_call_cancelled(const struct hep_call *call); /* hep_call_check() is not OK */

/* From now on the lines that this thread logs are about the call: they have its session= and request=. A handler and
   hep_call_finish() are called so; work() does it for the deferred calls that it works on (of several together: for
   one). Returns what was before, for hep_log_leave(); the call may have ended by then. */
struct hep_log_context hep_call_log(const struct hep_call *call);

/* The handler keeps the call and answers later with hep_call_finish(); it returns what this function returns. The
   request struct and its mappings stay valid until then. */
enum hep_status hep_call_defer(struct hep_call *call);
/* Answers a deferred call from the worker thread: status OK encodes the reply struct that the handler was given
   (hep_call_reply()), else error. Frees the call. */
void hep_call_finish(struct hep_call *call, enum hep_status status, const struct hep_error *error);
void *hep_call_reply(struct hep_call *call);
const void *hep_call_request(const struct hep_call *call);

#endif
