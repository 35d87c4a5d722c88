/*
 * Inside the engine: its state, shared by the files of this folder, and what the front asks of it (api below). Nobody
 * else includes this but supervisor/front and the tests.
 */
#ifndef HEP_SUPERVISOR_ENGINE_CORE_H
#define HEP_SUPERVISOR_ENGINE_CORE_H

#include "common/operation.h"
#include "supervisor/engine/batch.h"
#include "supervisor/engine/catalog.h"
#include "supervisor/engine/dispatch.h"
#include "supervisor/engine/engine.h"
#include "supervisor/engine/estimate.h"
#include "supervisor/engine/events.h"
#include "supervisor/engine/incidents.h"
#include "supervisor/engine/inputs.h"
#include "supervisor/engine/metrics.h"
#include "supervisor/engine/router.h"
#include "supervisor/engine/session.h"
#include "supervisor/engine/store.h"
#include "supervisor/engine/webhooks.h"
#include "supervisor/engine/workflow.h"

enum {
    HEP_FRESH_MS = 5000,  /* a domain whose last report is older is not healthy                                  */
    HEP_STALL_MS = 20000, /* nor is one that has work in hand and has made no progress for so long. Its deadline,
                             when it is ended, is later: that of a step of the largest image                     */
};

/* What the engine knows of a domain's process. */
struct hep_engine_domain {
    uint64_t generation; /* of the process that is or was ready; 0 = none yet      */
    int64_t report_ms;   /* monotonic ms of its last report; 0 = none yet          */
};

struct hep_engine {
    struct hep_loop *loop;
    struct hep_proc *proc; /* NULL until attached                                          */
    struct hep_proc_events proc_events;
    enum hep_safety_policy safety; /* least that is done with every image */
    char *instance, *state_dir, *output_dir, *default_model, *workflows_dir;
    uint64_t memory_bytes; /* configured budget; 0 = device_limit                          */
    uint64_t device_limit; /* from device.get_memory; 0 = not known                        */
    json_t *rates;         /* dtype → GFLOP/s of the device, from device.list; NULL = not known */
    double gflops_seen;    /* best of the denoising steps so far                               */
    struct hep_estimates *estimates;
    int64_t evaluation_max_ms; /* of one run of a network for one image, at that rate              */
    void (*shm_room)(uint64_t *total, uint64_t *available); /* hep_shm_room; tests have their own  */
    int sessions_max, queue_max, sessions_kept;
    void (*all_stopped)(void *context);
    enum hep_status (*configure)(void *context, const json_t *settings, struct hep_error *error);
    void *context;

    struct hep_store *store;
    struct hep_incidents incidents;
    struct hep_inputs *inputs;
    struct hep_loop_timer *inputs_timer; /* next look for those that nobody holds       */
    struct hep_events *events;
    struct hep_metrics *metrics;
    struct hep_workflows *workflows;
    struct hep_router *router;
    struct hep_dispatch *dispatch;
    struct hep_catalog *catalog;
    struct hep_webhooks *webhooks;
    struct hep_engine_domain domains[HEP_ROLE_COUNT];
    struct hep_session *sessions;         /* not ended, or ended and not yet wound up; by seq             */
    int64_t last_seq;                     /* of sessions                                                  */
    json_t *loaded_source;                /* template of the session that was read from the store last …  */
    struct hep_workflow *loaded_workflow; /* … and what it says; both NULL before                 */
    struct hep_batch *batches;            /* not ended, oldest first                                      */
    json_t *manager;                      /* last word of the batch manager; NULL = none yet              */
    uint64_t previews;                    /* number of the newest                                         */
    int begun_by_priority;                /* sessions since one was begun for its age                     */
    int64_t available_told;               /* free memory that inference was told last                     */
    uint64_t memory_told_to;              /* generation of the process that was told                      */

    bool draining;
    bool held;                          /* by the operator: nothing begins, nothing is asked            */
    bool settling;                      /* inside hep_engine_settle                                     */
    struct hep_error store_error;       /* code OK: the store works                                     */
    struct hep_loop_timer *store_timer; /* next try of a failed commit                                  */
    int ended_since_trim;
    struct hep_optimizing *optimizing;               /* device.optimize is under way; NULL = it is not           */
    bool measuring;                                  /* device.measure is under way                                  */
    int64_t measure_next_ms;                         /* monotonic: not before; 0 = at once                           */
    int64_t measure_wait_ms;                         /* from one to the next, doubling while they do not agree       */
    int64_t created_ms;                              /* monotonic                                                    */
    void (*changed)(void *context);                  /* told after new events can be seen; NULL = nobody             */
    void (*died)(void *context, enum hep_role role); /* told after a domain has died; NULL = nobody         */
    void *changed_context;
};

/* Ends every callback of the engine: commits what is dirty, then announces it and sends what may go. If the commit
   fails, nothing is announced or sent; it is tried again each second. Returns store_error.code. */
enum hep_status hep_engine_settle(struct hep_engine *engine, struct hep_error *error);
/* The device computes on other cores than before: asks which, and what was measured on those is not its rate any more.
 */
void hep_engine_device_changed(struct hep_engine *engine);
/* told.c: takes its place among those that supervisor/proc tells. */
void hep_engine_listen(struct hep_engine *engine);
/* Begins queued sessions as far as there is room. */
void hep_engine_admit(struct hep_engine *engine);
/* Memory for all sessions; 0 = no limit known. */
uint64_t hep_engine_budget(const struct hep_engine *engine);
/* room.c: NO_SHM if /dev/shm has no place for any session, even after those that run have ended. */
enum hep_status hep_engine_check_shm(const struct hep_engine *engine, struct hep_error *error);
/* A commit failed: nothing is accepted until one works, which is tried each second. */
void hep_engine_store_broke(struct hep_engine *engine, const struct hep_error *error);
/* holds.c: from here on looks now and then whether an input can go. */
void hep_engine_watch_inputs(struct hep_engine *engine);
/* holds.c: inside a transaction: what value names of the inputs is held by this session or batch from then on. */
enum hep_status hep_engine_hold_inputs(struct hep_engine *engine, const json_t *value, const char *holder,
                                       struct hep_error *error);
/* holds.c: input.put: errors of hep_inputs_put. */
enum hep_status hep_engine_put_input(struct hep_engine *engine, const struct hep_input_part *part,
                                     struct hep_input_state *state, struct hep_error *error);
/* Adds an event about a session or the daemon; fields is taken. */
void hep_engine_event(struct hep_engine *engine, struct hep_session *session, const char *name, bool durable,
                      json_t *fields);
void hep_engine_add_session(struct hep_engine *engine, struct hep_session *session);
/* Takes it out of the list and frees it. */
void hep_engine_drop_session(struct hep_engine *engine, struct hep_session *session);
struct hep_session *hep_engine_find(const struct hep_engine *engine, const char *id); /* NULL = not in memory */
/* A session whether in memory or in the store. *owned: free it with hep_session_free. NOT_FOUND. */
enum hep_status hep_engine_open(struct hep_engine *engine, const char *id, struct hep_session **session, bool *owned,
                                struct hep_error *error);
/* turns.c: after a pump: if somebody waits for cores who goes before all who denoise, those give them up at their next
   step. */
void hep_engine_take_turns(struct hep_engine *engine);
/* A light message to a domain whose answer nobody needs. fields of data are taken. */
void hep_engine_tell(struct hep_engine *engine, enum hep_role role, const char *operation, const char *session,
                     json_t *data);

/* ---- what the front asks ----------------------------------------------------------------------------------------- */
/* Called once, maybe before the asking function returns. reply is taken by the callee; on failure it is NULL, or
   {problems} that belong to the error. */
typedef void hep_engine_answer(void *context, enum hep_status status, json_t *reply, const struct hep_error *error);

/* A request for work; all is borrowed. */
struct hep_engine_request {
    const char *workflow_id; /* a template, or the name of definition; NULL or "" = txt2img             */
    json_t *definition;      /* a workflow of its own, as expand.h says; NULL = the template            */
    json_t *configuration;   /* object, NULL = empty                                                    */
    int priority;
    const char *key;            /* Idempotency-Key; NULL or "" = none                                */
    enum hep_permission caller; /* what definition may ask for                                       */
    const char *batch;          /* batch that it is an item of; NULL = none                                      */
    int item;
    const char *callback_url; /* told of the end; NULL or "" = nobody is                                         */
};

/* Accepts a request: {session_id, status, created, queue_position}; the row is durable before the answer. On failure
   reply is {problems: […]} (problem.h) where more than one is known. */
void hep_engine_execute(struct hep_engine *engine, const struct hep_engine_request *request, hep_engine_answer *answer,
                        void *context);
/* All that is wrong with it: {valid, problems}. */
void hep_engine_check(struct hep_engine *engine, const struct hep_engine_request *request, hep_engine_answer *answer,
                      void *context);
/* Whether it would be accepted, and what it would take: {valid, problems, workflow: as it would run, configuration,
   resources, estimated_duration_ms}. Nothing is stored. Its model is loaded, to know the memory exactly. */
void hep_engine_validate(struct hep_engine *engine, const struct hep_engine_request *request, hep_engine_answer *answer,
                         void *context);
/* Passes a request on to a domain. data is borrowed. Errors by the router, DOMAIN_DOWN, and the domain's own. */
void hep_engine_pass(struct hep_engine *engine, const char *type, json_t *data, enum hep_permission caller,
                     const char *session, hep_engine_answer *answer, void *context);
/* Counts a request that nobody was asked: refused with this code, whatever its type. */
void hep_engine_count_refused(struct hep_engine *engine, const char *type, enum hep_status code);
/* DOMAIN_DOWN with all that is known: the domain, its state and cause, the operation, when it is tried again. */
enum hep_status hep_engine_refuse_down(const struct hep_engine *engine, enum hep_role role, const char *operation,
                                       struct hep_error *error);
/* action: pause, resume, cancel, retry, priority. Durable when it returns OK. */
enum hep_status hep_engine_control(struct hep_engine *engine, const char *id, const char *action, int priority,
                                   json_t **reply, struct hep_error *error);
enum hep_status hep_engine_delete(struct hep_engine *engine, const char *id, struct hep_error *error);
/* templates.c: reads the folder and the store again; on an error what there was stays. */
enum hep_status hep_engine_load_workflows(struct hep_engine *engine, struct hep_error *error);
/* templates.c: keeps an operator's workflow, borrowed, under this id; durable when it returns OK. What is wrong with it
   is appended to problems (problem.h). CONFLICT: the folder has one of this id. */
enum hep_status hep_engine_put_workflow(struct hep_engine *engine, const char *id, json_t *source, json_t *problems,
                                        struct hep_error *error);
/* templates.c: what would be wrong with a template, borrowed, wherever it is kept; appended to problems. Keeps nothing.
 */
void hep_engine_check_workflow(struct hep_engine *engine, json_t *source, json_t *problems);
/* templates.c: NOT_FOUND; NOT_ALLOWED: it is of the folder. */
enum hep_status hep_engine_delete_workflow(struct hep_engine *engine, const char *id, struct hep_error *error);
enum hep_status hep_engine_get(struct hep_engine *engine, const char *id, json_t **session, struct hep_error *error);
/* previews.c: the newest of a session: {session, number, image, denoising_step, denoising_steps, width, height, png}.
   New reference. NOT_FOUND, with the reason: there is none. */
enum hep_status hep_engine_preview(struct hep_engine *engine, const char *id, json_t **preview,
                                   struct hep_error *error);
/* previews.c: of each session (NULL or "": all) its newest, if its number is above *after; at most limit, in the order
   of numbers. *after becomes the number up to which there are no others. New reference. */
json_t *hep_engine_previews_after(const struct hep_engine *engine, const char *session, int limit, uint64_t *after);
/* Holds everything at a step boundary, or lets it go on. Returns how many sessions are still on their way there. */
int hep_engine_hold(struct hep_engine *engine, bool held);
/* Which sessions to list; texts that the operation's table has checked, "" = any. */
struct hep_engine_filter {
    const char *status, *workflow_id;
    const char *created_after, *created_before; /* HEP_TEXT_TIME: after <= created < before  */
    const char *cursor;                         /* next_cursor of the page before            */
    int limit;                                  /* sessions of a page                        */
};
/* *reply: {sessions:[…], next_cursor?}; next_cursor is there when there are more. (listing.c) */
enum hep_status hep_engine_list(struct hep_engine *engine, const struct hep_engine_filter *wanted, json_t **reply,
                                struct hep_error *error);
/* batch_api.c: keeps a batch {workflow_id, configuration, items, ranges, batch_config, callback_url}, borrowed, whose
   every item has been checked: {batch_id, status, created, total_items}. On failure as hep_engine_execute; problems
   have their item.
 */
void hep_engine_create_batch(struct hep_engine *engine, json_t *request, int priority, const char *key,
                             hep_engine_answer *answer, void *context);
/* The same without keeping it: {problems}, an array of what is wrong, maybe empty. */
void hep_engine_check_batch(struct hep_engine *engine, json_t *request, hep_engine_answer *answer, void *context);
enum hep_status hep_engine_get_batch(struct hep_engine *engine, const char *id, const struct hep_batch_page *page,
                                     json_t **view, struct hep_error *error);
enum hep_status hep_engine_list_batches(struct hep_engine *engine, const char *status, const char *cursor, int limit,
                                        json_t **reply, struct hep_error *error);
/* action: execute, pause, resume, cancel. Durable when it returns OK. */
enum hep_status hep_engine_control_batch(struct hep_engine *engine, const char *id, const char *action, json_t **reply,
                                         struct hep_error *error);
/* NOT_NOW while it goes on. Its sessions stay. */
enum hep_status hep_engine_delete_batch(struct hep_engine *engine, const char *id, struct hep_error *error);
/* chance.c: kind and 17 letters of time and chance: sorts by age, never repeats. */
void hep_make_id(char kind, char id[HEP_SESSION_ID_MAX]);
/* chance.c: a seed of 32 bits, so that every client can hold it in a number. */
uint64_t hep_choose_seed(void);
json_t *hep_engine_status(struct hep_engine *engine); /* status.c; new reference */
/* What device.optimize is to change. */
struct hep_optimize_wish {
    int threads;            /* 0 = all cores; -1 = as it is             */
    const char *huge_pages; /* "on", "off"; "" = as it is               */
    const char *isa;        /* a level, "auto"; "" = as it is           */
    const char *device_id;  /* "" = any                                 */
};
/* optimize.c: nothing said at all means the best of each. Reply: {device_id, changes:[{setting, old, new}], settings},
   once it is in force. NOT_FOUND: no such device; UNSUPPORTED_HARDWARE, NOT_NOW: see isa; BUSY; TIMEOUT. */
void hep_engine_optimize(struct hep_engine *engine, const struct hep_optimize_wish *wish, hep_engine_answer *answer,
                         void *context);
void hep_engine_optimize_ready(struct hep_engine *engine); /* a domain is ready */
void hep_engine_optimize_stop(struct hep_engine *engine);  /* the engine ends   */

#endif
