/*
 * Where each file of a model lies: in its folder, nowhere (a single file is shown as a folder), or elsewhere (another
 * VAE, the vocabulary of a single file). Called by heptad-model for everything that it reads of a model.
 */
#include "nn/weights/folder.h"
#include "nn/weights/model_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool model_is_regular(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

/* ---- parts from elsewhere ---- */

static const struct hep_family *family_of(const struct hep_model *model)
{
    if (model->checkpoint)
        return hep_family_find(hep_checkpoint_family(model->checkpoint));
    return hep_family_find(hep_model_has(model, "text_encoder_2") ? "sdxl" : "sd1"); /* the refiner's VAE is SDXL's */
}

/* The scale of the model's own VAE is the one that its UNet was trained with. */
static enum hep_status keep_scale(const struct hep_model *model, struct hep_checkpoint *vae, struct hep_error *error)
{
    json_t *own;
    HEP_TRY(hep_model_read_json(model, "vae/config.json", &own, error));
    enum hep_status status =
        hep_checkpoint_set(vae, "vae/config.json", "scaling_factor", json_object_get(own, "scaling_factor"), error);
    json_decref(own);
    return status;
}

/* A file without a VAE does not name one. */
static enum hep_status name_vae(struct hep_model *model, struct hep_error *error)
{
    if (hep_model_has(model, "vae"))
        return HEP_OK;
    json_t *class = json_pack("[s, s]", "diffusers", "AutoencoderKL");
    return json_object_set_new(model->index, "vae", class) == 0
               ? HEP_OK
               : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a VAE");
}

enum hep_status hep_model_use_vae(struct hep_model *model, const char *path, struct hep_error *error)
{
    hep_assert(!model->vae_file && model->vae_folder < 0);
    if (!model_is_regular(path)) {
        HEP_TRY(hep_folder_open(path, &model->vae_folder, error));
        return name_vae(model, error);
    }
    HEP_CLEANUP(hep_checkpoint_close) struct hep_checkpoint *vae = NULL;
    HEP_TRY(hep_checkpoint_open(path, "vae", family_of(model), &vae, error));
    if (hep_model_has(model, "vae"))
        HEP_TRY(keep_scale(model, vae, error));
    model->vae_file = hep_take(&vae);
    return name_vae(model, error);
}

bool hep_model_lacks_tokenizer(const struct hep_model *model)
{
    return model->checkpoint && model->tokenizers < 0;
}

bool hep_model_use_tokenizer(struct hep_model *model, const char *path)
{
    int folder;
    if (hep_folder_open(path, &folder, NULL) != HEP_OK)
        return false;
    if (!hep_folder_has_file(folder, "vocab.json")) {
        close(folder);
        return false;
    }
    if (model->tokenizers >= 0)
        close(model->tokenizers);
    model->tokenizers = folder;
    return true;
}

/* ---- files ---- */

/* "vae/config.json" of "vae" → "config.json"; NULL if path does not lie in folder. */
static const char *below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

void hep_model_file(const struct hep_model *model, const char *path, struct hep_model_file *file)
{
    static const char *const tokenizers[] = {"tokenizer", "tokenizer_2"};
    const struct hep_checkpoint *checkpoint = model->checkpoint;
    const char *in_vae = below(path, "vae"), *at = path;
    int folder = model->folder;
    file->shown = NULL;
    if (model->component && strchr(path, '/')) {
        at = strchr(path, '/') + 1;
    } else if (in_vae && model->vae_file) {
        checkpoint = model->vae_file;
    } else if (in_vae && model->vae_folder >= 0) {
        checkpoint = NULL;
        folder = model->vae_folder;
        at = in_vae;
    }
    if (checkpoint) {
        folder = -1;
        file->shown = hep_checkpoint_json(checkpoint, path);
    }
    for (size_t i = 0; checkpoint && !file->shown && i < HEP_COUNT_OF(tokenizers); i++) {
        const char *name = below(path, tokenizers[i]);
        if (name && (strcmp(name, "vocab.json") == 0 || strcmp(name, "merges.txt") == 0)) {
            folder = model->tokenizers; /* special tokens are the family's: what else lies there is of another one */
            at = name;
        }
    }
    file->folder = folder;
    snprintf(file->path, sizeof file->path, "%s", at);
}

bool hep_model_weight_file(const struct hep_model *model, const struct hep_component *component, size_t i,
                           struct hep_model_file *file)
{
    bool is_vae = strcmp(hep_component_name(component), "vae") == 0;
    const struct hep_checkpoint *checkpoint = is_vae && model->vae_file ? model->vae_file : model->checkpoint;
    const char *path = hep_component_file(component, i);
    if (!path)
        return false;
    file->shown = NULL;
    file->folder = is_vae && model->vae_folder >= 0 ? model->vae_folder
                   : checkpoint                     ? hep_checkpoint_folder(checkpoint)
                                                    : model->folder;
    snprintf(file->path, sizeof file->path, "%s", path);
    return true;
}

bool hep_model_has_file(const struct hep_model *model, const char *path)
{
    struct hep_model_file file;
    hep_model_file(model, path, &file);
    return file.shown || (file.folder >= 0 && hep_folder_has_file(file.folder, file.path));
}

/* Only the vocabulary is in no file. */
static enum hep_status in_no_file(const struct hep_model *model, const char *path, struct hep_error *error)
{
    hep_fail(error, HEP_E_NOT_FOUND, "'%.150s' is missing: a single file holds no vocabulary", path);
    return hep_hint(error,
                    "put vocab.json and merges.txt of CLIP (openai/clip-vit-large-patch14) into a folder "
                    "'tokenizer' beside %.80s",
                    hep_checkpoint_file(model->checkpoint)),
           HEP_E_NOT_FOUND;
}

enum hep_status hep_model_read_file(const struct hep_model *model, const char *path, size_t limit, char **text,
                                    size_t *size, struct hep_error *error)
{
    struct hep_model_file file;
    hep_model_file(model, path, &file);
    if (file.shown) {
        char *shown = json_dumps(file.shown, JSON_SORT_KEYS | JSON_INDENT(2));
        if (!shown)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for '%.200s'", path);
        *size = strlen(shown);
        *text = shown;
        return HEP_OK;
    }
    if (file.folder < 0)
        return in_no_file(model, path, error);
    return hep_folder_read_file(file.folder, file.path, limit, text, size, error);
}

enum hep_status hep_model_read_json(const struct hep_model *model, const char *path, json_t **object,
                                    struct hep_error *error)
{
    struct hep_model_file file;
    hep_model_file(model, path, &file);
    if (file.shown)
        return (*object = json_deep_copy(file.shown))
                   ? HEP_OK
                   : hep_fail(error, HEP_E_NO_MEMORY, "no memory for '%.200s'", path);
    if (file.folder < 0)
        return in_no_file(model, path, error);
    return hep_folder_read_json(file.folder, file.path, object, error);
}

/* ---- components ---- */

/* What the pipeline's index says of a network is in the network's configuration from here on: whoever runs it has no
   index. To add one: a row, and its key in the table of the network's configuration. */
static const struct told_row {
    const char *component, *key;
} told_rows[] = {
    {"unet", "requires_aesthetics_score"},
    {"text_encoder_2", "force_zeros_for_empty_prompt"},
};

json_t *hep_model_told(const struct hep_model *model, const char *component)
{
    json_t *told = json_object();
    for (size_t i = 0; i < HEP_COUNT_OF(told_rows); i++) {
        json_t *value = json_object_get(model->index, told_rows[i].key);
        if (strcmp(told_rows[i].component, component) == 0 && json_is_boolean(value))
            json_object_set(told, told_rows[i].key, value);
    }
    return told;
}

static enum hep_status tell(const struct hep_model *model, const char *name, struct hep_component *component,
                            struct hep_error *error)
{
    json_t *told = hep_model_told(model, name);
    enum hep_status status = hep_component_lay_over(component, told, error);
    json_decref(told);
    return status;
}

enum hep_status hep_model_component(const struct hep_model *model, const char *name, const char *variant,
                                    struct hep_component **component, struct hep_error *error)
{
    if (!hep_model_has(model, name))
        return hep_fail(error, HEP_E_BAD_MODEL, "model '%.150s' has no '%.60s'", model->path, name);
    bool is_vae = strcmp(name, "vae") == 0;
    const struct hep_checkpoint *checkpoint = is_vae && model->vae_file ? model->vae_file : model->checkpoint;
    HEP_CLEANUP(hep_component_close) struct hep_component *opened = NULL;
    enum hep_status status =
        model->file                        ? hep_component_open_file(model->folder, model->file, name, &opened, error)
        : is_vae && model->vae_folder >= 0 ? hep_component_open(model->vae_folder, "", name, variant, &opened, error)
        : checkpoint                       ? hep_checkpoint_component(checkpoint, name, &opened, error)
                     : hep_component_open(model->folder, model->component ? "" : name, name, variant, &opened, error);
    if (status == HEP_OK)
        status = tell(model, name, opened, error);
    if (status != HEP_OK)
        return hep_prefix(error, "model '%.150s'", model->path), status;
    *component = hep_take(&opened);
    return HEP_OK;
}

enum hep_status hep_model_scheduler_config(const struct hep_model *model, json_t **config, struct hep_error *error)
{
    enum hep_status status = hep_model_read_json(model, "scheduler/scheduler_config.json", config, error);
    if (status != HEP_OK)
        hep_prefix(error, "model '%.150s'", model->path);
    return status;
}
