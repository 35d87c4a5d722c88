/* Finds models below the configured folders and keeps what inspect.c says of them. Never reads a weight's values. */
#include "instructors/model/catalogue.h"

#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"
#include "instructors/model/inspect.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void catalogue_init(struct catalogue *catalogue, const char *paths)
{
    memset(catalogue, 0, sizeof *catalogue);
    snprintf(catalogue->paths, sizeof catalogue->paths, "%s", paths);
}

void catalogue_clear(struct catalogue *catalogue)
{
    free(hep_take(&catalogue->entries));
    catalogue->count = 0;
}

/* The family follows from the configuration, never from the folder's name. */
static const char *family_of(const struct inspection *found)
{
    if (found->encoders > 1)
        return "sdxl";
    return found->unet.use_linear_projection ? "sd2" : "sd1";
}

static enum hep_status read_model(const char *path, struct catalogue_entry *entry, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    struct inspection found;
    json_t *scheduler = NULL;
    HEP_TRY(hep_model_open(path, &model, error));
    HEP_TRY(inspect_model(model, NULL, NULL, &found, error));
    HEP_TRY(hep_model_scheduler_config(model, &scheduler, error));
    snprintf(entry->prediction_type, sizeof entry->prediction_type, "%s",
             hep_json_str(scheduler, "prediction_type", "epsilon"));
    json_decref(scheduler);
    entry->family = family_of(&found);
    entry->bytes = found.bytes;
    entry->dtype = found.dtype;
    entry->context_dim = found.unet.cross_attention_dim[0];
    entry->in_channels = found.unet.in_channels;
    entry->latent_channels = found.vae.latent_channels;
    entry->vae_scale_factor = hep_model_vae_scale_factor(model);
    entry->defaults = *hep_model_defaults(model);
    return HEP_OK;
}

static bool looks_like_model(const char *path)
{
    char index[HEP_PATH_MAX + 32];
    struct stat state;
    snprintf(index, sizeof index, "%s/model_index.json", path);
    return stat(index, &state) == 0;
}

static bool has_name(const struct catalogue *catalogue, const char *name)
{
    for (int i = 0; i < catalogue->count; i++)
        if (strcmp(catalogue->entries[i].name, name) == 0)
            return true;
    return false;
}

/* A name twice: the first folder in the configured order wins. */
static enum hep_status add(struct catalogue *catalogue, const char *folder, const char *name, struct hep_error *error)
{
    if (catalogue->count == HEP_MODELS_MAX || strlen(name) >= HEP_NAME_MAX || has_name(catalogue, name))
        return HEP_OK;
    struct catalogue_entry *grown = realloc(catalogue->entries, (size_t)(catalogue->count + 1) * sizeof *grown);
    if (!grown)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the list of models");
    catalogue->entries = grown;
    struct catalogue_entry *entry = &grown[catalogue->count];
    memset(entry, 0, sizeof *entry);
    entry->family = "";
    if ((size_t)snprintf(entry->path, sizeof entry->path, "%s/%s", folder, name) >= sizeof entry->path ||
        !looks_like_model(entry->path))
        return HEP_OK;
    snprintf(entry->name, sizeof entry->name, "%.*s", HEP_NAME_MAX - 1, name);
    if (read_model(entry->path, entry, &entry->problem) != HEP_OK) {
        char quoted[HEP_ERROR_MESSAGE_MAX];
        if (entry->problem.code == HEP_E_NO_MEMORY) { /* it says nothing of the model */
            if (error)
                *error = entry->problem;
            return hep_prefix(error, "model %s", name), HEP_E_NO_MEMORY;
        }
        entry->family = "";
        hep_log(HEP_WARNING, "model.unusable", "model=%s code=%s reason=%s", name, hep_status_name(entry->problem.code),
                hep_log_quote(entry->problem.message, quoted, sizeof quoted));
    }
    catalogue->count++;
    return HEP_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct catalogue_entry *)a)->name, ((const struct catalogue_entry *)b)->name);
}

struct scan {
    struct catalogue *catalogue;
    void (*progress)(void *context, const char *note);
    void *context;
};

static enum hep_status scan_folder(const struct scan *scan, const char *folder, struct hep_error *error)
{
    DIR *directory = opendir(folder);
    enum hep_status status = HEP_OK;
    if (!directory) {
        hep_log(HEP_WARNING, "model.path_missing", "path=%s", folder);
        return HEP_OK;
    }
    for (struct dirent *item; status == HEP_OK && (item = readdir(directory));) {
        if (item->d_name[0] == '.')
            continue;
        if (scan->progress)
            scan->progress(scan->context, item->d_name);
        status = add(scan->catalogue, folder, item->d_name, error);
    }
    closedir(directory);
    return status;
}

enum hep_status catalogue_scan(struct catalogue *catalogue, void (*progress)(void *context, const char *note),
                               void *context, int *found, struct hep_error *error)
{
    struct catalogue fresh;
    struct scan scan = {&fresh, progress, context};
    char paths[HEP_PATH_MAX], *rest = paths, *folder;
    enum hep_status status = HEP_OK;
    catalogue_init(&fresh, catalogue->paths);
    snprintf(paths, sizeof paths, "%s", catalogue->paths);
    while (status == HEP_OK && (folder = strsep(&rest, ":")))
        if (folder[0])
            status = scan_folder(&scan, folder, error);
    if (status != HEP_OK) {
        catalogue_clear(&fresh);
        return status;
    }
    if (fresh.count > 1)
        qsort(fresh.entries, (size_t)fresh.count, sizeof *fresh.entries, by_name);
    catalogue_clear(catalogue);
    *catalogue = fresh;
    *found = fresh.count;
    return HEP_OK;
}

void catalogue_note_load(struct catalogue *catalogue, const char *name, const struct hep_error *error)
{
    for (int i = 0; i < catalogue->count; i++)
        if (strcmp(catalogue->entries[i].name, name) == 0)
            catalogue->entries[i].load_problem = *error;
}

static enum hep_status not_found(const struct catalogue *catalogue, const char *name, struct hep_error *error)
{
    char names[HEP_ERROR_HINT_MAX] = "";
    for (int i = 0; i < catalogue->count; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", catalogue->entries[i].name);
    }
    hep_fail_field(error, HEP_E_NOT_FOUND, "model", "there is no model \"%.60s\" below %.200s", name, catalogue->paths);
    if (names[0])
        hep_hint(error, "models here: %.200s", names);
    else
        hep_hint(error, "put a diffusers model folder below %.180s, then `heptctl call model.scan`", catalogue->paths);
    return HEP_E_NOT_FOUND;
}

enum hep_status catalogue_find(const struct catalogue *catalogue, const char *name,
                               const struct catalogue_entry **entry, struct hep_error *error)
{
    for (int i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *candidate = &catalogue->entries[i];
        bool wanted = name[0] ? strcmp(candidate->name, name) == 0 : candidate->problem.code == HEP_OK;
        if (!wanted)
            continue;
        if (candidate->problem.code != HEP_OK) {
            if (error)
                *error = candidate->problem;
            return hep_prefix(error, "model %s", candidate->name), candidate->problem.code;
        }
        *entry = candidate;
        return HEP_OK;
    }
    return not_found(catalogue, name, error);
}
