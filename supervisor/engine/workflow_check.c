/*
 * Compares a workflow with the operations that the domains have reported. Called when one is put, shown or requested.
 * Asks no domain.
 */
#include "supervisor/engine/workflow.h"

#include "common/limits.h"
#include "common/wire.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/reference.h"
#include "supervisor/engine/router.h"

#include <stdio.h>
#include <string.h>

static json_t *field_named(json_t *fields, const char *name)
{
    size_t index;
    json_t *field;
    json_array_foreach(fields, index, field) if (strcmp(hep_json_str(field, "name", ""), name) == 0) return field;
    return NULL;
}

struct check {
    const struct hep_workflow *workflow;
    const struct hep_router *router;
    const char *step;  /* id of the step in hand      */
    const char *field; /* its key that is looked into */
    json_t *problems;
};

/* What a batch step (batch_step.h) takes and gives, in the form in which a domain tells its operations. */
static json_t *batch_operation(void)
{
    static json_t *operation; /* made once: it lives as long as the process */
    if (!operation)
        operation = json_pack("{s:[{s:s}, {s:s}, {s:s}, {s:s}, {s:s}], s:[{s:s}, {s:s}, {s:s}, {s:s}, {s:s}]}",
                              "request", "name", "workflow_id", "name", "configuration", "name", "items", "name",
                              "ranges", "name", "batch_config", "reply", "name", "batch_id", "name", "total_items",
                              "name", "completed_items", "name", "failed_items", "name", "files");
    return operation;
}

static json_t *operation_of(const struct hep_router *router, const struct hep_workflow_step *step)
{
    return step->is_batch ? batch_operation() : hep_router_operation(router, step->role, step->operation);
}

/* ${step.field}: field must be in the reply of that step's operation, or be a tensor that it writes. */
static enum hep_status check_reply(void *context, const char *path, struct hep_error *error)
{
    struct check *check = context;
    size_t length = strcspn(path, ".");
    int index = path[length] ? hep_workflow_step_index(check->workflow, path, length) : -1;
    (void)error;
    if (index < 0)
        return HEP_OK;
    const struct hep_workflow_step *step = &check->workflow->steps[index];
    json_t *operation = operation_of(check->router, step);
    char field[HEP_NAME_MAX];
    snprintf(field, sizeof field, "%.*s", (int)strcspn(path + length + 1, "."), path + length + 1);
    json_t *written = field_named(json_object_get(operation, "request"), field);
    bool found = field_named(json_object_get(operation, "reply"), field) ||
                 strcmp(hep_json_str(written, "access", ""), "write") == 0;
    if (operation && !found)
        hep_problem_add(check->problems, check->step, check->field, HEP_E_NOT_FOUND,
                        "step %s: ${%s}: %s.%s has no \"%s\" in its reply", check->step, path,
                        hep_role_name(step->role), step->operation, field);
    return HEP_OK;
}

static void check_step(struct check *check, const struct hep_workflow_step *step, json_t *operation)
{
    const char *key;
    size_t index;
    json_t *value, *fields = json_object_get(operation, "request");
    json_object_foreach(step->parameters, key, value)
    {
        json_t *field = field_named(fields, key);
        if (!field)
            hep_problem_add(check->problems, step->id, key, HEP_E_UNKNOWN_FIELD, "step %s: %s.%s has no field \"%s\"",
                            step->id, hep_role_name(step->role), step->operation, key);
        else if (strcmp(hep_json_str(field, "access", ""), "write") == 0)
            hep_problem_add(check->problems, step->id, key, HEP_E_BAD_FIELD, "step %s: \"%s\" is placed by the engine",
                            step->id, key);
    }
    json_array_foreach(fields, index, value)
    {
        const char *name = hep_json_str(value, "name", "");
        if (hep_json_bool(value, "required", false) && strcmp(hep_json_str(value, "access", ""), "write") != 0 &&
            !json_object_get(step->parameters, name))
            hep_problem_add(check->problems, step->id, name, HEP_E_MISSING_FIELD,
                            "step %s: %s.%s needs the field \"%s\"", step->id, hep_role_name(step->role),
                            step->operation, name);
    }
}

void hep_workflow_check_operations(const struct hep_workflow *workflow, const struct hep_router *router,
                                   json_t *problems)
{
    for (size_t i = 0; i < workflow->step_count; i++) {
        const struct hep_workflow_step *step = &workflow->steps[i];
        struct check check = {workflow, router, step->id, "parameters", problems};
        json_t *operation = operation_of(router, step);
        if (!hep_router_knows(router, step->role))
            continue;
        if (!operation) {
            hep_problem_add(problems, step->id, "operation", HEP_E_UNKNOWN_OPERATION,
                            "step %s: %s has no operation \"%s\"", step->id, hep_role_name(step->role),
                            step->operation);
            continue;
        }
        if (json_object_get(operation, "unbuilt")) {
            hep_problem_add(problems, step->id, "operation", HEP_E_UNSUPPORTED, "step %s: %s.%s is not built yet: %s",
                            step->id, hep_role_name(step->role), step->operation,
                            hep_json_str(operation, "unbuilt", ""));
            continue;
        }
        check_step(&check, step, operation);
        hep_reference_walk(step->parameters, check_reply, &check, NULL);
        check.field = "when";
        hep_reference_walk(step->when, check_reply, &check, NULL);
    }
}
