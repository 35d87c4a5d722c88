/*
 * Workflow templates: etc/workflows/<name>.json, read at start. A template with a mistake is left out with all its
 * problems listed; the others stay. The format is described in docs/engine.md.
 */
#ifndef HEP_SUPERVISOR_ENGINE_WORKFLOW_H
#define HEP_SUPERVISOR_ENGINE_WORKFLOW_H

#include "common/roles.h"
#include "supervisor/engine/parameter.h"

enum { HEP_WORKFLOW_STEPS_MAX = 32, HEP_WORKFLOW_PARAMETERS_MAX = 64 };

struct hep_router;

struct hep_workflow_step {
    const char *id;     /* names it in references: a-z 0-9 _                                                  */
    enum hep_role role; /* domain that does it                                                                */
    const char *operation;
    json_t *parameters;      /* object: the request's data, with references; never NULL                            */
    json_t *required_models; /* array of names or references, NULL = none                                          */
    bool renew;              /* its effect lives in the domain's process: asked again of each new process          */
};

/* Immutable once parsed; counted, because sessions outlive a reload. */
struct hep_workflow {
    int references;
    json_t *source; /* the file's JSON; everything below points into it                 */
    const char *id, *name, *help;
    int version;
    struct hep_parameter *parameters;
    size_t parameter_count;
    struct hep_workflow_step *steps;
    size_t step_count;
    struct hep_workflow_step *finals; /* asked when the session has ended, however; errors do not matter */
    size_t final_count;
    json_t *results; /* object with references: what session.get shows as results        */
};

/* Takes no reference to source it does not release. On a mistake every problem is appended to problems (texts) and
 *workflow stays; BAD_FILE then. */
enum hep_status hep_workflow_parse(json_t *source, json_t *problems, struct hep_workflow **workflow,
                                   struct hep_error *error);
struct hep_workflow *hep_workflow_hold(struct hep_workflow *workflow);
void hep_workflow_release(struct hep_workflow *workflow); /* NULL is accepted */
/* Index of the step with this id, or -1. */
int hep_workflow_step_index(const struct hep_workflow *workflow, const char *id, size_t length);
/* Compares the steps with the operations that the domains have reported so far: unknown operations, unknown and missing
   fields, references to replies that do not exist. Appends texts to problems. */
void hep_workflow_check_operations(const struct hep_workflow *workflow, const struct hep_router *router,
                                   json_t *problems);
/* {workflow_id, name, help, version, parameters:{…}, steps:[…]} for workflow.get. New reference. */
json_t *hep_workflow_describe(const struct hep_workflow *workflow);

/* All templates of a folder. */
struct hep_workflows;
/* BAD_CONFIG if the folder cannot be read. */
enum hep_status hep_workflows_load(const char *folder, struct hep_workflows **workflows, struct hep_error *error);
void hep_workflows_destroy(struct hep_workflows *workflows); /* NULL is accepted */
/* Borrowed; NOT_FOUND, or BAD_FILE with the first problem if its file has mistakes. */
enum hep_status hep_workflows_find(const struct hep_workflows *workflows, const char *id,
                                   struct hep_workflow **workflow, struct hep_error *error);
/* [{workflow_id, name, help, version, file, usable, problems?}] new reference. */
json_t *hep_workflows_list(const struct hep_workflows *workflows);

#endif
