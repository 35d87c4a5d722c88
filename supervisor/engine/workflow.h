/*
 * Workflow templates: etc/workflows/<name>.json, read at start. A template with a mistake is left out with all its
 * problems listed; the others stay. The format is described in docs/engine.md.
 */
#ifndef HEP_SUPERVISOR_ENGINE_WORKFLOW_H
#define HEP_SUPERVISOR_ENGINE_WORKFLOW_H

#include "common/limits.h"
#include "common/roles.h"
#include "supervisor/engine/parameter.h"

enum {
    HEP_WORKFLOW_STEPS_MAX = 32,
    HEP_WORKFLOW_PARAMETERS_MAX = 96,
    HEP_WORKFLOW_EXTENDS_MAX = 8, /* templates below one that extends another */
    HEP_WORKFLOW_RETRIES_MAX = 20,
    HEP_WORKFLOW_DELAY_MAX_MS = 600000
};

struct hep_router;

/* What follows when a step cannot be done. */
enum hep_workflow_on_error {
    HEP_ON_ERROR_FAIL,     /* the session fails                                                     */
    HEP_ON_ERROR_SKIP,     /* so are the steps that refer to it, and those that refer to them       */
    HEP_ON_ERROR_CONTINUE, /* the session goes on; references to it give nothing                    */
};

#define HEP_STEP_BATCH "batch" /* type of a step that is the engine's own */
struct hep_workflow_step {
    const char *id;     /* names it in references: a-z 0-9 _                                                  */
    enum hep_role role; /* domain that does it                                                                */
    const char *operation;
    json_t *parameters;      /* object: the request's data, with references; never NULL                            */
    json_t *required_models; /* array of names or references, NULL = none                                          */
    json_t *when;            /* condition.h: it is skipped unless this holds; NULL = always done                   */
    bool is_batch;           /* type "batch": the engine's own (batch_step.h); its role is where the batch manager is */
    bool renew;              /* its effect lives in the domain's process: asked again of each new process          */
    enum hep_workflow_on_error on_error;
    int64_t timeout_ms;     /* from when it is in hand; then it is ended with TIMEOUT; 0 = the operation's own    */
    int retry_attempts;     /* tries in all, for errors that do not pass by themselves; 1 = none                  */
    int64_t retry_delay_ms; /* before the second; each further one waits twice as long                            */
};

/* Immutable once parsed; counted, because sessions outlive a reload. */
struct hep_workflow {
    int references;
    json_t *source; /* the file's JSON; everything below points into it                 */
    const char *id, *name, *help;
    char extends[HEP_NAME_MAX]; /* the template that it builds on; "" = none. Not of the source, which is complete */
    int version;
    struct hep_parameter *parameters;
    size_t parameter_count;
    struct hep_workflow_step *steps;
    size_t step_count;
    struct hep_workflow_step *finals; /* asked when the session has ended, however; errors do not matter */
    size_t final_count;
    json_t *results;         /* object with references: what session.get shows as results        */
    int64_t memory_bytes;    /* resource_requirements: at least so much is reserved; 0 = what is planned */
    json_t *required_models; /* resource_requirements: array of names or references; NULL = none         */
};

/* Takes no reference to source it does not release. On a mistake every problem is appended to problems (texts) and
 *workflow stays; BAD_FILE then. */
enum hep_status hep_workflow_parse(json_t *source, json_t *problems, struct hep_workflow **workflow,
                                   struct hep_error *error);
struct hep_workflow *hep_workflow_hold(struct hep_workflow *workflow);
void hep_workflow_release(struct hep_workflow *workflow); /* NULL is accepted */
/* The template that a request without a workflow means, and that a generating step stands for. */
#define HEP_WORKFLOW_BASE "txt2img"
/* Whether a workflow may be called so: a-z 0-9 _ -. */
bool hep_workflow_is_id(const char *text);
/* Index of the step with this id, or -1. */
int hep_workflow_step_index(const struct hep_workflow *workflow, const char *id, size_t length);
/* Compares the steps with the operations that the domains have reported so far: unknown operations, unknown and missing
   fields, references to replies that do not exist. Appends texts to problems. */
void hep_workflow_check_operations(const struct hep_workflow *workflow, const struct hep_router *router,
                                   json_t *problems);
/* {workflow_id, name, help, version, extends?, parameters:{…}, steps:[…]} for workflow.get. New reference. */
json_t *hep_workflow_describe(const struct hep_workflow *workflow);

/*
 * All templates: those of a folder, and those that operators have put into the store. One may extend another of them,
 * wherever that one comes from; what they become is worked out once all are there (hep_workflows_resolve) and again
 * when one changes. One that cannot be used stays in the list with its problems, and so do those that extend it.
 */
struct hep_workflows;
/* Reads a folder; to be resolved. BAD_CONFIG if it cannot be read. */
enum hep_status hep_workflows_load(const char *folder, struct hep_workflows **workflows, struct hep_error *error);
/* Adds one of the store, borrowed; to be resolved. TOO_LARGE: there are HEP_WORKFLOWS_MAX. */
enum hep_status hep_workflows_add_stored(struct hep_workflows *workflows, const char *id, json_t *source,
                                         struct hep_error *error);
/* Works out those that are not yet, and logs what is wrong with them. */
void hep_workflows_resolve(struct hep_workflows *workflows);
void hep_workflows_destroy(struct hep_workflows *workflows); /* NULL is accepted */
/* What a definition would be as the template of its workflow_id, without keeping it. Problems are appended; *workflow
   is the caller's to release, and stays on BAD_FILE. */
enum hep_status hep_workflows_try(struct hep_workflows *workflows, json_t *source, json_t *problems,
                                  struct hep_workflow **workflow, struct hep_error *error);
/* Keeps one that hep_workflows_try has found right, under its workflow_id, instead of one that was put so before.
   CONFLICT: the folder has one of this id, or another template extends the one before and could not be used any more.
   TOO_LARGE: there are HEP_WORKFLOWS_MAX. */
enum hep_status hep_workflows_put(struct hep_workflows *workflows, json_t *source, struct hep_error *error);
/* Whether hep_workflows_remove may be: NOT_FOUND; NOT_ALLOWED: it is of the folder; CONFLICT: another extends it. */
enum hep_status hep_workflows_check_own(const struct hep_workflows *workflows, const char *id, struct hep_error *error);
/* Takes away one that is not of the folder; errors as above. */
enum hep_status hep_workflows_remove(struct hep_workflows *workflows, const char *id, struct hep_error *error);
/* Borrowed; NOT_FOUND, or BAD_FILE with the first problem if it has mistakes. */
enum hep_status hep_workflows_find(const struct hep_workflows *workflows, const char *id,
                                   struct hep_workflow **workflow, struct hep_error *error);
/* [{workflow_id, name, help, version, file, own, usable, extends?, problems?}] new reference; own: not of the folder,
   file is "". */
json_t *hep_workflows_list(const struct hep_workflows *workflows);

#endif
