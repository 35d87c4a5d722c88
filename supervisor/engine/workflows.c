/*
 * All workflow templates: the files of the operator's folder and those of the store, and what those that extend another
 * become. Called by templates.c at start, at a reload and when one is put. Never stops at a bad one: it is listed with
 * its problems.
 */
#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/extend.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/workflows_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hep_workflows_id(const struct hep_workflows_entry *entry)
{
    return hep_json_str(entry->source, "workflow_id", "");
}

const char *hep_workflows_extends(const json_t *source)
{
    return hep_json_str(source, "extends", "");
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */
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
    struct hep_workflows_entry *entry = &workflows->entries[workflows->count++];
    char path[HEP_PATH_MAX];
    struct hep_error error = {0};
    *entry = (struct hep_workflows_entry){.problems = json_array()};
    snprintf(entry->file, sizeof entry->file, "%s", name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (read_file(path, &entry->source, &error) == HEP_OK)
        return;
    hep_problem_add_error(entry->problems, "", &error);
    entry->state = HEP_WORKFLOWS_RESOLVED;
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

enum hep_status hep_workflows_add_stored(struct hep_workflows *workflows, const char *id, json_t *source,
                                         struct hep_error *error)
{
    if (workflows->count >= HEP_WORKFLOWS_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "there are %d workflows, %.60s is not kept", HEP_WORKFLOWS_MAX, id);
    workflows->entries[workflows->count++] =
        (struct hep_workflows_entry){.source = json_incref(source), .problems = json_array()};
    return HEP_OK;
}

void hep_workflows_clear_entry(struct hep_workflows_entry *entry)
{
    hep_workflow_release(entry->workflow);
    json_decref(entry->source);
    json_decref(entry->problems);
}

void hep_workflows_destroy(struct hep_workflows *workflows)
{
    if (!workflows)
        return;
    for (size_t i = 0; i < workflows->count; i++)
        hep_workflows_clear_entry(&workflows->entries[i]);
    free(workflows);
}

/* ---- what they become -------------------------------------------------------------------------------------------- */
static void resolve(struct hep_workflows *workflows, struct hep_workflows_entry *entry);

struct hep_workflows_entry *hep_workflows_resolved(struct hep_workflows *workflows, const char *id)
{
    struct hep_workflows_entry *found = NULL;
    for (size_t i = 0; i < workflows->count; i++) {
        struct hep_workflows_entry *entry = &workflows->entries[i];
        if (strcmp(hep_workflows_id(entry), id) != 0)
            continue;
        resolve(workflows, entry);
        if (entry->workflow)
            return entry;
        found = found ? found : entry;
    }
    return found;
}

/* The template that source extends; NULL with a problem: it is not there, or cannot be extended. */
static const struct hep_workflows_entry *base_of(struct hep_workflows *workflows, const json_t *source,
                                                 json_t *problems)
{
    const char *extends = hep_workflows_extends(source);
    if (!hep_workflow_is_id(extends)) {
        hep_problem_add(problems, "", "extends", HEP_E_BAD_FIELD, "extends is the workflow_id of another template");
        return NULL;
    }
    const struct hep_workflows_entry *base = hep_workflows_resolved(workflows, extends);
    if (!base)
        hep_problem_add(problems, "", "extends", HEP_E_NOT_FOUND, "it extends %s, which is not there", extends);
    else if (base->state == HEP_WORKFLOWS_RESOLVING)
        hep_problem_add(problems, "", "extends", HEP_E_CONFLICT, "it extends %s, which extends it: a circle", extends);
    else if (!base->workflow)
        hep_problem_add(problems, "", "extends", HEP_E_BAD_FILE, "it extends %s, which cannot be used: %s", extends,
                        hep_problem_text(base->problems, 0));
    else if (base->depth >= HEP_WORKFLOW_EXTENDS_MAX)
        hep_problem_add(problems, "", "extends", HEP_E_TOO_LARGE,
                        "it extends %s, below which are %d others already; no template stands on more", extends,
                        base->depth);
    else
        return base;
    return NULL;
}

void hep_workflows_complete(struct hep_workflows *workflows, json_t *source, json_t *problems,
                            struct hep_workflow **workflow, int *depth)
{
    *depth = 0;
    if (!json_object_get(source, "extends")) {
        hep_workflow_parse(source, problems, workflow, NULL);
        return;
    }
    const struct hep_workflows_entry *base = base_of(workflows, source, problems);
    if (!base)
        return;
    json_t *whole = hep_workflow_extend(base->workflow->source, source, problems);
    if (json_dumpb(whole, NULL, 0, JSON_COMPACT) > HEP_WORKFLOW_FILE_MAX)
        hep_problem_add(problems, "", "extends", HEP_E_TOO_LARGE, "with what it extends it has more than %d bytes",
                        HEP_WORKFLOW_FILE_MAX);
    else
        hep_workflow_parse(whole, problems, workflow, NULL);
    json_decref(whole);
    *depth = base->depth + 1;
    if (*workflow && json_array_size(problems) > 0) /* what was laid over it was wrong */
        hep_workflow_release(hep_take(workflow));
    if (*workflow)
        snprintf((*workflow)->extends, sizeof(*workflow)->extends, "%s", hep_workflows_extends(source));
}

/* Two of one id: the file goes before what was put, and the first file before the second. */
static void check_id(struct hep_workflows *workflows, struct hep_workflows_entry *entry)
{
    for (struct hep_workflows_entry *other = workflows->entries; entry->workflow && other < entry; other++) {
        if (strcmp(hep_workflows_id(other), entry->workflow->id) != 0)
            continue;
        resolve(workflows, other);
        if (!other->workflow)
            continue;
        hep_problem_add(entry->problems, "", "workflow_id", HEP_E_CONFLICT, "workflow_id %s stands in %s too",
                        entry->workflow->id, other->file[0] ? other->file : "the store");
        hep_workflow_release(hep_take(&entry->workflow));
    }
}

static void resolve(struct hep_workflows *workflows, struct hep_workflows_entry *entry)
{
    if (entry->state != HEP_WORKFLOWS_UNRESOLVED)
        return;
    entry->state = HEP_WORKFLOWS_RESOLVING;
    hep_workflows_complete(workflows, entry->source, entry->problems, &entry->workflow, &entry->depth);
    check_id(workflows, entry);
    entry->state = HEP_WORKFLOWS_RESOLVED;
}

static void resolve_all(struct hep_workflows *workflows)
{
    for (size_t i = 0; i < workflows->count; i++)
        resolve(workflows, &workflows->entries[i]);
}

static void log_problems(const struct hep_workflows_entry *entry)
{
    char quoted[400];
    const char *where = entry->file[0] ? entry->file : hep_workflows_id(entry);
    for (size_t i = 0; i < json_array_size(entry->problems); i++)
        hep_log(HEP_WARNING, "workflow.refused", "%s=%s problem=%s", entry->file[0] ? "file" : "workflow", where,
                hep_log_quote(hep_problem_text(entry->problems, i), quoted, sizeof quoted));
}

void hep_workflows_resolve(struct hep_workflows *workflows)
{
    resolve_all(workflows);
    for (size_t i = 0; i < workflows->count; i++)
        log_problems(&workflows->entries[i]);
}

/* To be worked out anew. */
static void forget(struct hep_workflows_entry *entry)
{
    if (!entry->source)
        return; /* a file without JSON stays what it is */
    hep_workflow_release(hep_take(&entry->workflow));
    json_array_clear(entry->problems);
    entry->state = HEP_WORKFLOWS_UNRESOLVED;
}

/* All that extend anything, and all of this id. */
void hep_workflows_resolve_again(struct hep_workflows *workflows, const char *id)
{
    for (size_t i = 0; i < workflows->count; i++) {
        struct hep_workflows_entry *entry = &workflows->entries[i];
        if (hep_workflows_extends(entry->source)[0] || strcmp(hep_workflows_id(entry), id) == 0)
            forget(entry);
    }
    resolve_all(workflows);
}

/* ---- asked ------------------------------------------------------------------------------------------------------- */
enum hep_status hep_workflows_find(const struct hep_workflows *workflows, const char *id,
                                   struct hep_workflow **workflow, struct hep_error *error)
{
    char file[HEP_NAME_MAX + 8];
    const struct hep_workflows_entry *bad = NULL;
    snprintf(file, sizeof file, "%.60s.json", id);
    for (size_t i = 0; i < workflows->count; i++) {
        const struct hep_workflows_entry *entry = &workflows->entries[i];
        if (entry->workflow && strcmp(entry->workflow->id, id) == 0) {
            *workflow = entry->workflow;
            return HEP_OK;
        }
        if (!entry->workflow && (strcmp(entry->file, file) == 0 || (id[0] && strcmp(hep_workflows_id(entry), id) == 0)))
            bad = bad ? bad : entry;
    }
    if (bad)
        return hep_fail_field(error, HEP_E_BAD_FILE, "workflow_id", "%s cannot be used: %s",
                              bad->file[0] ? bad->file : id, hep_problem_text(bad->problems, 0));
    hep_fail_field(error, HEP_E_NOT_FOUND, "workflow_id", "there is no workflow \"%.60s\"", id);
    return hep_hint(error, "see `heptctl workflows`"), HEP_E_NOT_FOUND;
}

static json_t *line_of(const struct hep_workflows_entry *entry)
{
    const struct hep_workflow *w = entry->workflow;
    char id[256] = "";
    if (entry->file[0])
        snprintf(id, sizeof id, "%.*s", (int)(strlen(entry->file) - 5), entry->file);
    else
        snprintf(id, sizeof id, "%s", hep_workflows_id(entry));
    json_t *row = json_pack("{s:s, s:s, s:s, s:i, s:s, s:b, s:b}", "workflow_id", w ? w->id : id, "name",
                            w ? w->name : id, "help", w ? w->help : "", "version", w ? w->version : 0, "file",
                            entry->file, "own", !entry->file[0], "usable", w != NULL);
    if (hep_workflows_extends(entry->source)[0])
        json_object_set_new(row, "extends", json_string(hep_workflows_extends(entry->source)));
    if (!w)
        json_object_set(row, "problems", entry->problems);
    return row;
}

json_t *hep_workflows_list(const struct hep_workflows *workflows)
{
    json_t *list = json_array();
    for (size_t i = 0; i < workflows->count; i++)
        json_array_append_new(list, line_of(&workflows->entries[i]));
    return list;
}
