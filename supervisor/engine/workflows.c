/*
 * The folder of workflow templates, and their check against the operations that the domains have. Called by the engine
 * at start and by workflow.list. Never stops at a bad file: it is listed with its problems.
 */
#include "supervisor/engine/workflow.h"

#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/reference.h"
#include "supervisor/engine/router.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char file[256];                /* name in the folder; "" = it is not of the folder */
    struct hep_workflow *workflow; /* NULL if it has problems                */
    json_t *problems;              /* array of texts, empty if it is usable  */
};
struct hep_workflows {
    struct entry entries[HEP_WORKFLOWS_MAX];
    size_t count;
};

static enum hep_status read_file(const char *path, json_t **source, struct hep_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return hep_fail_errno(error, errno, "cannot open %s", path);
    char *text = malloc(HEP_WORKFLOW_FILE_MAX + 1);
    size_t bytes = text ? fread(text, 1, HEP_WORKFLOW_FILE_MAX + 1, file) : 0;
    enum hep_status status;
    if (!text)
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for %s", path);
    else if (ferror(file))
        status = hep_fail_errno(error, errno, "cannot read %s", path);
    else if (bytes > HEP_WORKFLOW_FILE_MAX)
        status = hep_fail(error, HEP_E_TOO_LARGE, "%s has more than %d bytes", path, HEP_WORKFLOW_FILE_MAX);
    else
        status = hep_json_parse(text, bytes, source, error);
    free(text);
    fclose(file);
    return status;
}

static void load_file(struct hep_workflows *workflows, const char *folder, const char *name)
{
    struct entry *entry = &workflows->entries[workflows->count++];
    char path[HEP_PATH_MAX];
    struct hep_error error = {0};
    json_t *source = NULL;
    snprintf(entry->file, sizeof entry->file, "%s", name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    entry->problems = json_array();
    if (read_file(path, &source, &error) != HEP_OK)
        hep_problem_add_error(entry->problems, "", &error);
    else
        hep_workflow_parse(source, entry->problems, &entry->workflow, &error);
    json_decref(source);
    for (size_t i = 0; entry->workflow && i + 1 < workflows->count; i++)
        if (workflows->entries[i].workflow && strcmp(workflows->entries[i].workflow->id, entry->workflow->id) == 0) {
            hep_problem_add(entry->problems, "", "workflow_id", HEP_E_CONFLICT, "workflow_id %s stands in %s too",
                            entry->workflow->id, workflows->entries[i].file);
            hep_workflow_release(hep_take(&entry->workflow));
        }
    char quoted[400];
    for (size_t i = 0; i < json_array_size(entry->problems); i++)
        hep_log(HEP_WARNING, "workflow.refused", "file=%s problem=%s", path,
                hep_log_quote(hep_problem_text(entry->problems, i), quoted, sizeof quoted));
}

static int is_template(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 5, ".json") == 0;
}

enum hep_status hep_workflows_load(const char *folder, struct hep_workflows **workflows, struct hep_error *error)
{
    struct dirent **names = NULL;
    int count = scandir(folder, &names, is_template, alphasort);
    if (count < 0) {
        hep_fail(error, HEP_E_BAD_CONFIG, "cannot read the folder of workflows %s: %s", folder, strerror(errno));
        return hep_hint(error, "set the folder of the workflow templates in heptad.conf"), HEP_E_BAD_CONFIG;
    }
    struct hep_workflows *result = calloc(1, sizeof *result);
    for (int i = 0; i < count; i++) {
        if (result && i < HEP_WORKFLOWS_MAX)
            load_file(result, folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the workflows");
    *workflows = result;
    return HEP_OK;
}

void hep_workflows_destroy(struct hep_workflows *workflows)
{
    if (!workflows)
        return;
    for (size_t i = 0; i < workflows->count; i++) {
        hep_workflow_release(workflows->entries[i].workflow);
        json_decref(workflows->entries[i].problems);
    }
    free(workflows);
}

enum hep_status hep_workflows_find(const struct hep_workflows *workflows, const char *id,
                                   struct hep_workflow **workflow, struct hep_error *error)
{
    char file[HEP_NAME_MAX + 8];
    snprintf(file, sizeof file, "%.60s.json", id);
    for (size_t i = 0; i < workflows->count; i++) {
        const struct entry *entry = &workflows->entries[i];
        if (entry->workflow && strcmp(entry->workflow->id, id) == 0) {
            *workflow = entry->workflow;
            return HEP_OK;
        }
        if (!entry->workflow && strcmp(entry->file, file) == 0)
            return hep_fail_field(error, HEP_E_BAD_FILE, "workflow_id", "%s cannot be used: %s", file,
                                  hep_problem_text(entry->problems, 0));
    }
    hep_fail_field(error, HEP_E_NOT_FOUND, "workflow_id", "there is no workflow \"%.60s\"", id);
    return hep_hint(error, "see `heptctl workflows`"), HEP_E_NOT_FOUND;
}

json_t *hep_workflows_list(const struct hep_workflows *workflows)
{
    json_t *list = json_array();
    for (size_t i = 0; i < workflows->count; i++) {
        const struct entry *entry = &workflows->entries[i];
        const struct hep_workflow *w = entry->workflow;
        char id[256] = "";
        if (!w)
            snprintf(id, sizeof id, "%.*s", (int)(strlen(entry->file) - 5), entry->file);
        json_t *row = json_pack("{s:s, s:s, s:s, s:i, s:s, s:b, s:b}", "workflow_id", w ? w->id : id, "name",
                                w ? w->name : id, "help", w ? w->help : "", "version", w ? w->version : 0, "file",
                                entry->file, "own", !entry->file[0], "usable", w != NULL);
        if (!w)
            json_object_set(row, "problems", entry->problems);
        json_array_append_new(list, row);
    }
    return list;
}

/* Index of the entry of this id, or -1. */
static int entry_of(const struct hep_workflows *workflows, const char *id)
{
    for (size_t i = 0; i < workflows->count; i++)
        if (workflows->entries[i].workflow && strcmp(workflows->entries[i].workflow->id, id) == 0)
            return (int)i;
    return -1;
}

enum hep_status hep_workflows_put(struct hep_workflows *workflows, struct hep_workflow *workflow,
                                  struct hep_error *error)
{
    int index = entry_of(workflows, workflow->id);
    if (index >= 0 && workflows->entries[index].file[0]) {
        hep_fail_field(error, HEP_E_CONFLICT, "workflow_id", "workflow %s is a file of the operator's folder, %s",
                       workflow->id, workflows->entries[index].file);
        return hep_hint(error, "choose another workflow_id, or change the file and `heptctl reload`"), HEP_E_CONFLICT;
    }
    if (index < 0 && workflows->count >= HEP_WORKFLOWS_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "there are %d workflows, more are not kept", HEP_WORKFLOWS_MAX);
    if (index < 0) {
        index = (int)workflows->count++;
        workflows->entries[index] = (struct entry){.problems = json_array()};
    }
    hep_workflow_release(workflows->entries[index].workflow);
    workflows->entries[index].workflow = hep_workflow_hold(workflow);
    return HEP_OK;
}

enum hep_status hep_workflows_check_own(const struct hep_workflows *workflows, const char *id, struct hep_error *error)
{
    int index = entry_of(workflows, id);
    if (index < 0) {
        hep_fail_field(error, HEP_E_NOT_FOUND, "workflow_id", "there is no workflow \"%.60s\"", id);
        return hep_hint(error, "see `heptctl workflows`"), HEP_E_NOT_FOUND;
    }
    if (workflows->entries[index].file[0]) {
        hep_fail_field(error, HEP_E_NOT_ALLOWED, "workflow_id", "workflow %s is a file of the operator's folder, %s",
                       id, workflows->entries[index].file);
        return hep_hint(error, "remove the file, then `heptctl reload`"), HEP_E_NOT_ALLOWED;
    }
    return HEP_OK;
}

enum hep_status hep_workflows_remove(struct hep_workflows *workflows, const char *id, struct hep_error *error)
{
    HEP_TRY(hep_workflows_check_own(workflows, id, error));
    struct entry *entry = &workflows->entries[entry_of(workflows, id)];
    hep_workflow_release(entry->workflow);
    json_decref(entry->problems);
    *entry = workflows->entries[--workflows->count];
    return HEP_OK;
}

/* ---- against the domains ----------------------------------------------------------------------------------------- */
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
    json_t *operation = hep_router_operation(check->router, step->role, step->operation);
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
        json_t *operation = hep_router_operation(router, step->role, step->operation);
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
