/*
 * The engine: workflows, sessions, the queue, the store, the ledger of cores and memory, events, and the one answer
 * about the whole daemon. Sits on supervisor/proc through its callbacks; runs on the loop thread only.
 *
 * main() makes one like this:
 *     hep_engine_create(loop, &options, &engine, &error);        opens the store, reads the workflows
 *     hep_proc_create(loop, config, hep_engine_events(engine), &proc, &error);
 *     hep_engine_attach(engine, proc);                           sessions found in the store go on as domains get ready
 *     hep_front_create(loop, engine, &front_options, &front, &error);
 *     hep_proc_start(proc, &error);
 * and ends it with hep_engine_drain(), hep_proc_stop(), then (all_stopped) destroys front, proc, engine in that order.
 */
#ifndef HEP_SUPERVISOR_ENGINE_ENGINE_H
#define HEP_SUPERVISOR_ENGINE_ENGINE_H

#include "common/safety_policy.h"
#include "supervisor/proc/proc.h"

struct hep_engine;

/* Copied by hep_engine_create. */
struct hep_engine_options {
    const char *instance;          /* name of this daemon; part of every segment's name                              */
    const char *state_dir;         /* exists, 0700; the store is <state_dir>/heptad.db                               */
    const char *workflows_dir;     /* every *.json there is a workflow                                               */
    const char *output_dir;        /* absolute; image files go here; made if it is not there                         */
    const char *default_model;     /* model of requests that name none; "" = the first one that the model domain has */
    enum hep_safety_policy safety; /* least that is done with every image                                    */
    uint64_t memory_bytes;         /* for all running sessions together; 0 = the limit that the device domain says   */
    int64_t evaluation_max_ms;     /* longest run of a network for one image, at the device's rate; 0 = 120000       */
    int sessions_max;              /* sessions running at once; 0 = 4                                                */
    int queue_max;                 /* sessions waiting; 0 = HEP_QUEUE_MAX                                            */
    int sessions_kept;             /* ended sessions that the store keeps; 0 = 10000                                 */
    const char *webhook_hosts;     /* hosts that may be called, as common/url.h says; NULL or "" = none              */
    const char *webhook_secret_file; /* first line: what webhooks are signed with; NULL or "" = none are sent */
    /* Sets configuration keys (an object: key → value as text), and has the domains that run told; NULL = cannot.
       BAD_CONFIG, NO_MEMORY: nothing has changed. */
    enum hep_status (*configure)(void *context, const json_t *settings, struct hep_error *error);
    /* hep_proc's all_stopped is passed on to here; NULL = nobody. */
    void (*all_stopped)(void *context);
    void *context;
};

/* Errors: BAD_CONFIG (the store is of a newer version, a folder is missing: exit status 125), IO, NO_SPACE, BAD_FILE
   (the store is damaged). A workflow file with a mistake is no error: it is left out, logged, and shown by
   workflow.list. */
enum hep_status hep_engine_create(struct hep_loop *loop, const struct hep_engine_options *options,
                                  struct hep_engine **engine, struct hep_error *error);
/* NULL is accepted. Requests in flight must have ended (all_stopped). */
void hep_engine_destroy(struct hep_engine *engine);
/* For hep_proc_create; lives as long as the engine. */
const struct hep_proc_events *hep_engine_events(struct hep_engine *engine);
/* Before hep_proc_start. */
void hep_engine_attach(struct hep_engine *engine, struct hep_proc *proc);
/* The first line of the status, which names what is not well: "ready", "degraded: inference restarting in 200 ms
 * (SEGV)" */
void hep_engine_line(const struct hep_engine *engine, char *line, size_t size);
/* Reads the folder of workflows and the secret of webhooks again: BAD_CONFIG if one cannot be read, and then what there
 * was stays. */
enum hep_status hep_engine_reload(struct hep_engine *engine, struct hep_error *error);
/* From now on no request is accepted and no step begun; steps in hand may end. What they leave goes on at the next
 * start. */
void hep_engine_drain(struct hep_engine *engine);

#endif
