/*
 * Templates that operators put and delete over the API, among those that are there (workflows.c). Called by
 * templates.c, which stores them. Never lets one call make another template unusable.
 */
#include "common/wire.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/workflows_parts.h"

#include <string.h>

/* Index of the template of this id that is not of the folder, or -1. */
static int own_entry(const struct hep_workflows *workflows, const char *id)
{
    for (size_t i = 0; i < workflows->count; i++)
        if (!workflows->entries[i].file[0] && strcmp(hep_workflows_id(&workflows->entries[i]), id) == 0)
            return (int)i;
    return -1;
}

/* The file of a usable template of this id, or NULL. */
static const char *file_of(const struct hep_workflows *workflows, const char *id)
{
    for (size_t i = 0; i < workflows->count; i++)
        if (workflows->entries[i].workflow && workflows->entries[i].file[0] &&
            strcmp(workflows->entries[i].workflow->id, id) == 0)
            return workflows->entries[i].file;
    return NULL;
}

/* Whether a template that extends this one would stand below it. */
static bool goes_round(struct hep_workflows *workflows, const char *id, const char *extends)
{
    while (extends[0] && strcmp(extends, id) != 0) {
        const struct hep_workflows_entry *entry = hep_workflows_resolved(workflows, extends);
        extends = entry && entry->workflow ? entry->workflow->extends : "";
    }
    return extends[0] != '\0';
}

enum hep_status hep_workflows_try(struct hep_workflows *workflows, json_t *source, json_t *problems,
                                  struct hep_workflow **workflow, struct hep_error *error)
{
    const char *id = hep_json_str(source, "workflow_id", ""), *extends = hep_workflows_extends(source);
    json_t *found = json_array();
    int depth;
    if (goes_round(workflows, id, extends)) /* what stands in the place that it is to take is not what it will extend */
        hep_problem_add(found, "", "extends", HEP_E_CONFLICT, "it extends %s, which extends it: a circle", extends);
    else
        hep_workflows_complete(workflows, source, found, workflow, &depth);
    json_array_extend(problems, found);
    enum hep_status status = json_array_size(found) == 0 ? HEP_OK
                                                         : hep_fail(error, HEP_E_BAD_FILE, "workflow %.60s: %s", id,
                                                                    hep_problem_text(found, 0));
    json_decref(found);
    return status;
}

/* Takes the place of number index, or one more; what was there is given back, to be put back or cleared. */
static struct hep_workflows_entry replace(struct hep_workflows *workflows, size_t index, json_t *source)
{
    struct hep_workflows_entry old = {0};
    if (index < workflows->count)
        old = workflows->entries[index];
    else
        workflows->count++;
    workflows->entries[index] = (struct hep_workflows_entry){.source = json_incref(source), .problems = json_array()};
    hep_workflows_resolve_again(workflows, hep_workflows_id(&workflows->entries[index]));
    return old;
}

static void put_back(struct hep_workflows *workflows, size_t index, const struct hep_workflows_entry *old)
{
    json_t *source = hep_take(&workflows->entries[index].source);
    hep_workflows_clear_entry(&workflows->entries[index]);
    if (old->source)
        workflows->entries[index] = *old;
    else
        workflows->count--;
    hep_workflows_resolve_again(workflows, hep_json_str(source, "workflow_id", ""));
    json_decref(source);
}

enum hep_status hep_workflows_put(struct hep_workflows *workflows, json_t *source, struct hep_error *error)
{
    const char *id = hep_json_str(source, "workflow_id", ""), *file = file_of(workflows, id);
    int own = own_entry(workflows, id);
    size_t index = own >= 0 ? (size_t)own : workflows->count, count = workflows->count;
    bool usable[HEP_WORKFLOWS_MAX];
    if (file) {
        hep_fail_field(error, HEP_E_CONFLICT, "workflow_id", "workflow %s is a file of the operator's folder, %s", id,
                       file);
        return hep_hint(error, "choose another workflow_id, or change the file and `heptctl reload`"), HEP_E_CONFLICT;
    }
    if (index >= HEP_WORKFLOWS_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "there are %d workflows, more are not kept", HEP_WORKFLOWS_MAX);
    for (size_t i = 0; i < count; i++)
        usable[i] = workflows->entries[i].workflow != NULL;
    struct hep_workflows_entry old = replace(workflows, index, source);
    for (size_t i = 0; i < count; i++) {
        const struct hep_workflows_entry *entry = &workflows->entries[i];
        if (i == index || !usable[i] || entry->workflow)
            continue;
        hep_fail_field(error, HEP_E_CONFLICT, "workflow", "%.60s extends it and could not be used any more: %s",
                       hep_workflows_id(entry), hep_problem_text(entry->problems, 0));
        put_back(workflows, index, &old);
        return hep_hint(error, "change the template that extends it first"), HEP_E_CONFLICT;
    }
    hep_workflows_clear_entry(&old);
    return HEP_OK;
}

enum hep_status hep_workflows_check_own(const struct hep_workflows *workflows, const char *id, struct hep_error *error)
{
    for (size_t i = 0; own_entry(workflows, id) < 0 && i < workflows->count; i++) {
        const struct hep_workflows_entry *entry = &workflows->entries[i];
        if (strcmp(hep_workflows_id(entry), id) != 0)
            continue;
        hep_fail_field(error, HEP_E_NOT_ALLOWED, "workflow_id", "workflow %s is a file of the operator's folder, %s",
                       id, entry->file);
        return hep_hint(error, "remove the file, then `heptctl reload`"), HEP_E_NOT_ALLOWED;
    }
    if (own_entry(workflows, id) < 0) {
        hep_fail_field(error, HEP_E_NOT_FOUND, "workflow_id", "there is no workflow \"%.60s\"", id);
        return hep_hint(error, "see `heptctl workflows`"), HEP_E_NOT_FOUND;
    }
    for (size_t i = 0; !file_of(workflows, id) && i < workflows->count; i++) {
        const struct hep_workflow *other = workflows->entries[i].workflow;
        if (!other || strcmp(other->extends, id) != 0)
            continue;
        hep_fail_field(error, HEP_E_CONFLICT, "workflow_id", "workflow %s extends %s", other->id, id);
        return hep_hint(error, "delete or change %s first", other->id), HEP_E_CONFLICT;
    }
    return HEP_OK;
}

enum hep_status hep_workflows_remove(struct hep_workflows *workflows, const char *id, struct hep_error *error)
{
    HEP_TRY(hep_workflows_check_own(workflows, id, error));
    struct hep_workflows_entry *entry = &workflows->entries[own_entry(workflows, id)], gone = *entry;
    *entry = workflows->entries[--workflows->count];
    hep_workflows_resolve_again(workflows, id);
    hep_workflows_clear_entry(&gone);
    return HEP_OK;
}
