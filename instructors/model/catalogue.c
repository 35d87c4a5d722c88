/* Keeps what find.c found and what kinds.c says of it. Never reads a weight's values. */
#include "instructors/model/catalogue.h"

#include "common/limits.h"
#include "common/log.h"
#include "common/name.h"
#include "instructors/model/find.h"
#include "instructors/model/kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void catalogue_init(struct catalogue *catalogue, const char *paths)
{
    memset(catalogue, 0, sizeof *catalogue);
    snprintf(catalogue->paths, sizeof catalogue->paths, "%s", paths);
}

void catalogue_clear(struct catalogue *catalogue)
{
    for (int i = 0; i < catalogue->count; i++)
        catalogue_entry_clear(&catalogue->entries[i]);
    free(hep_take(&catalogue->entries));
    catalogue->count = 0;
}

/* ---- scanning ---------------------------------------------------------------------------------------------------- */
static const struct catalogue_entry *find_entry(const struct catalogue *catalogue, enum hep_model_kind kind,
                                                const char *name)
{
    for (int i = 0; i < catalogue->count; i++)
        if (catalogue->entries[i].kind == kind && strcmp(catalogue->entries[i].name, name) == 0)
            return &catalogue->entries[i];
    return NULL;
}

/* A model is published by its name alone, a file of another kind as "kind:name": no model may be called like that. */
static enum hep_status check_name(const struct catalogue_entry *entry, struct hep_error *error)
{
    char prefix[HEP_NAME_MAX];
    enum hep_model_kind kind;
    const char *colon = strchr(entry->name, ':');
    if (entry->kind != HEP_MODEL_CHECKPOINT || !colon)
        return HEP_OK;
    snprintf(prefix, sizeof prefix, "%.*s", (int)(colon - entry->name), entry->name);
    if (!hep_model_kind_find(prefix, &kind))
        return HEP_OK;
    hep_fail(error, HEP_E_BAD_MODEL, "a model cannot be called '%.100s': that is what the %s '%.100s' is published as",
             entry->name, prefix, colon + 1);
    return hep_hint(error, "rename it, so that \"%s:\" is not how its name begins", prefix), HEP_E_BAD_MODEL;
}

/* NO_MEMORY says nothing of the entry and is the error; anything else is its problem. */
static enum hep_status inspect(const struct catalogue *catalogue, struct catalogue_entry *entry,
                               struct hep_error *error)
{
    struct hep_error *problem = &entry->problem;
    enum hep_status status = check_name(entry, problem);
    if (status == HEP_OK && !entry->is_folder)
        status = find_format(entry->path, problem);
    if (status == HEP_OK)
        status = kinds_read(catalogue, entry, problem);
    if (status == HEP_OK)
        return HEP_OK;
    if (status == HEP_E_NO_MEMORY) {
        if (error)
            *error = *problem;
        return hep_prefix(error, "%s %s", hep_model_kind_field(entry->kind), entry->name), HEP_E_NO_MEMORY;
    }
    char quoted[HEP_ERROR_MESSAGE_MAX];
    entry->family = "";
    hep_log(HEP_WARNING, "model.unusable", "kind=%s name=%s code=%s reason=%s", hep_model_kind_name(entry->kind),
            entry->name, hep_status_name(problem->code), hep_log_quote(problem->message, quoted, sizeof quoted));
    return HEP_OK;
}

struct scan {
    struct catalogue *catalogue;
    void (*progress)(void *context, const char *note);
    void *context;
};

/* A name twice: the first folder in the configured order wins. */
static enum hep_status add(void *context, const struct find_item *item, struct hep_error *error)
{
    const struct scan *scan = context;
    struct catalogue *catalogue = scan->catalogue;
    if (scan->progress)
        scan->progress(scan->context, item->name);
    enum hep_model_kind kind = item->kind_is_open && !item->is_folder ? kinds_of(item->path, false) : item->kind;
    if (find_entry(catalogue, kind, item->name))
        return HEP_OK;
    if (catalogue->count == HEP_MODELS_MAX)
        return hep_log(HEP_WARNING, "model.too_many", "most=%d skipped=%s", HEP_MODELS_MAX, item->path), HEP_OK;
    struct catalogue_entry *grown = realloc(catalogue->entries, (size_t)(catalogue->count + 1) * sizeof *grown);
    if (!grown)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the list of models");
    catalogue->entries = grown;
    struct catalogue_entry *entry = &grown[catalogue->count];
    *entry = (struct catalogue_entry){.kind = kind, .is_folder = item->is_folder, .family = ""};
    entry->path = strdup(item->path);
    entry->place = strdup(item->place);
    catalogue->count++;
    if (!entry->path || !entry->place)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the list of models");
    snprintf(entry->name, sizeof entry->name, "%s", item->name);
    return inspect(catalogue, entry, error);
}

static int by_kind_and_name(const void *a, const void *b)
{
    const struct catalogue_entry *x = a, *y = b;
    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

enum hep_status catalogue_scan(struct catalogue *catalogue, void (*progress)(void *context, const char *note),
                               void *context, struct hep_error *error)
{
    struct catalogue fresh;
    struct scan scan = {&fresh, progress, context};
    catalogue_init(&fresh, catalogue->paths);
    enum hep_status status = find_models(catalogue->paths, add, &scan, error);
    if (status != HEP_OK) { /* the list stays as it was */
        catalogue_clear(&fresh);
        return status;
    }
    if (fresh.count > 1)
        qsort(fresh.entries, (size_t)fresh.count, sizeof *fresh.entries, by_kind_and_name);
    catalogue_clear(catalogue);
    *catalogue = fresh;
    return HEP_OK;
}

enum hep_status catalogue_look(const struct catalogue *catalogue, const char *path, const enum hep_model_kind *kind,
                               struct catalogue_entry *entry, struct hep_error *error)
{
    struct stat about;
    const char *slash = strrchr(path, '/');
    *entry = (struct catalogue_entry){.family = "", .path = strdup(path), .place = strdup(path)};
    if (!entry->path || !entry->place)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to look at %.200s", path);
    char *target = realpath(path, NULL);
    if (target) {
        free(entry->path);
        entry->path = target;
    }
    if (stat(path, &about) != 0)
        return hep_fail_field(error, HEP_E_NOT_FOUND, "path", "there is no file '%.200s' that can be seen here", path);
    entry->is_folder = S_ISDIR(about.st_mode);
    entry->kind = kind ? *kind : kinds_of(path, entry->is_folder);
    snprintf(entry->name, sizeof entry->name, "%.*s", HEP_NAME_MAX - 1, slash ? slash + 1 : path);
    HEP_TRY(inspect(catalogue, entry, error));
    if (entry->problem.code == HEP_OK)
        return HEP_OK;
    if (error)
        *error = entry->problem;
    if (entry->problem.code != HEP_E_BAD_FILE && entry->problem.code != HEP_E_BAD_MODEL &&
        entry->problem.code != HEP_E_UNSUPPORTED)
        hep_suggest(error,
                    "a confined daemon reads only what lies below models.paths: put it there, or a link to it, and "
                    "`heptctl restart model`");
    return hep_prefix(error, "%s", entry->name), entry->problem.code;
}

void catalogue_entry_clear(struct catalogue_entry *entry)
{
    free(hep_take(&entry->path));
    free(hep_take(&entry->place));
}

bool catalogue_is_network(enum hep_model_kind kind)
{
    return kind == HEP_MODEL_CHECKPOINT || kinds_component(kind);
}

enum hep_status catalogue_open(const struct catalogue *catalogue, const struct catalogue_entry *entry,
                               struct hep_model **model, struct hep_error *error)
{
    char paths[HEP_PATH_MAX], tokenizer[HEP_PATH_MAX], *rest = paths, *path;
    const char *component = kinds_component(entry->kind);
    if (entry->kind == HEP_MODEL_UPSCALER)
        return hep_model_open_file(entry->path, component, model, error);
    if (component)
        return hep_model_open_component(entry->place, component, model, error);
    HEP_TRY(hep_model_open(entry->place, model, error));
    snprintf(paths, sizeof paths, "%s", catalogue->paths);
    while (hep_model_lacks_tokenizer(*model) && (path = strsep(&rest, ":")))
        if ((size_t)snprintf(tokenizer, sizeof tokenizer, "%s/tokenizer", path) < sizeof tokenizer)
            hep_model_use_tokenizer(*model, tokenizer);
    return HEP_OK;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */
int catalogue_count(const struct catalogue *catalogue, enum hep_model_kind kind, bool usable_only)
{
    int count = 0;
    for (int i = 0; i < catalogue->count; i++)
        count += catalogue->entries[i].kind == kind && (!usable_only || catalogue->entries[i].problem.code == HEP_OK);
    return count;
}

void catalogue_note_load(struct catalogue *catalogue, enum hep_model_kind kind, const char *name,
                         const struct hep_error *error)
{
    for (int i = 0; i < catalogue->count; i++)
        if (catalogue->entries[i].kind == kind && strcmp(catalogue->entries[i].name, name) == 0)
            catalogue->entries[i].load_problem = *error;
}

/* The name of this kind that is most like name; NULL if none is like it at all. */
static const char *nearest_name(const struct catalogue *catalogue, enum hep_model_kind kind, const char *name)
{
    const char *nearest = NULL;
    size_t best = strlen(name) / 2 + 1;
    for (int i = 0; i < catalogue->count; i++) {
        const char *other = catalogue->entries[i].name;
        size_t here = hep_name_is(name, other) ? 0 : hep_name_distance(name, other);
        if (catalogue->entries[i].kind == kind && here < best) {
            best = here;
            nearest = other;
        }
    }
    return nearest;
}

static enum hep_status not_found(const struct catalogue *catalogue, enum hep_model_kind kind, const char *name,
                                 struct hep_error *error)
{
    char names[HEP_ERROR_HINT_MAX] = "";
    const char *what = hep_model_kind_field(kind), *nearest = nearest_name(catalogue, kind, name);
    for (int i = 0; i < catalogue->count; i++) {
        size_t used = strlen(names);
        if (catalogue->entries[i].kind == kind)
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", catalogue->entries[i].name);
    }
    hep_fail_field(error, HEP_E_NOT_FOUND, what, "there is no %s \"%.60s\" below %.200s", what, name, catalogue->paths);
    if (nearest)
        hep_hint(error, "did you mean %.80s? %ss here: %.150s", nearest, what, names);
    else if (names[0])
        hep_hint(error, "%ss here: %.200s", what, names);
    else
        hep_hint(error, "put it below %.150s (docs/models.md), then `heptctl models --scan`", catalogue->paths);
    return HEP_E_NOT_FOUND;
}

/* How little it fits a request that names none: a refiner makes no images from a prompt alone. */
static int reluctance(const struct catalogue_entry *entry)
{
    return 2 * (strcmp(entry->family, CATALOGUE_REFINER) == 0) + entry->needs_vae;
}

static const struct catalogue_entry *first_usable(const struct catalogue *catalogue, enum hep_model_kind kind)
{
    const struct catalogue_entry *found = NULL;
    for (int i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (entry->kind == kind && entry->problem.code == HEP_OK && (!found || reluctance(entry) < reluctance(found)))
            found = entry;
    }
    return found;
}

enum hep_status catalogue_find(const struct catalogue *catalogue, enum hep_model_kind kind, const char *name,
                               const struct catalogue_entry **entry, struct hep_error *error)
{
    const struct catalogue_entry *found = name[0] ? find_entry(catalogue, kind, name) : first_usable(catalogue, kind);
    if (!found)
        return not_found(catalogue, kind, name, error);
    if (found->problem.code != HEP_OK) {
        if (error)
            *error = found->problem;
        return hep_prefix(error, "%s %s", hep_model_kind_field(kind), found->name), found->problem.code;
    }
    *entry = found;
    return HEP_OK;
}
