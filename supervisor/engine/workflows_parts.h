/* What workflows.c and workflows_own.c share: the list of templates, and how one becomes what it is. */
#ifndef HEP_SUPERVISOR_ENGINE_WORKFLOWS_PARTS_H
#define HEP_SUPERVISOR_ENGINE_WORKFLOWS_PARTS_H

#include "common/limits.h"
#include "supervisor/engine/workflow.h"

enum hep_workflows_state {
    HEP_WORKFLOWS_UNRESOLVED,
    HEP_WORKFLOWS_RESOLVING, /* in hand: who comes here again has gone in a circle */
    HEP_WORKFLOWS_RESOLVED,
};

struct hep_workflows_entry {
    char file[256]; /* name in the folder; "" = it is not of the folder                      */
    json_t *source; /* as written; NULL if the file holds no JSON                            */
    enum hep_workflows_state state;
    int depth;                     /* templates below it                                                    */
    struct hep_workflow *workflow; /* complete; NULL if it has problems                       */
    json_t *problems;              /* of its own and of what it extends (problem.h), empty if it is usable */
};

struct hep_workflows {
    struct hep_workflows_entry entries[HEP_WORKFLOWS_MAX];
    size_t count;
};

/* What it calls itself; "" if it does not. */
const char *hep_workflows_id(const struct hep_workflows_entry *entry);
/* What a source says that it extends; "" = nothing. */
const char *hep_workflows_extends(const json_t *source);
/* The entry that this id means, resolved: the first one that can be used, else the first. NULL = none. */
struct hep_workflows_entry *hep_workflows_resolved(struct hep_workflows *workflows, const char *id);
/* The complete template of a source: *workflow, or problems, to an empty list. *depth: templates below it. */
void hep_workflows_complete(struct hep_workflows *workflows, json_t *source, json_t *problems,
                            struct hep_workflow **workflow, int *depth);
/* The template of this id has come, gone or changed: works out anew all that it may matter to. */
void hep_workflows_resolve_again(struct hep_workflows *workflows, const char *id);
void hep_workflows_clear_entry(struct hep_workflows_entry *entry);

#endif
