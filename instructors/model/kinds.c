/*
 * What is read of each kind of model at a scan, by the code that will use it, and what a file or folder is that nobody
 * has said the kind of. Called by the catalogue.
 */
#include "instructors/model/kinds.h"

#include "common/wire.h"
#include "instructors/model/find.h"
#include "instructors/model/inspect.h"
#include "nn/weights/embedding.h"
#include "nn/weights/family.h"
#include "nn/weights/folder.h"
#include "nn/weights/lora.h"
#include "nn/weights/safetensors.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- what is known of each kind ---------------------------------------------------------------------------------- */
/* The family follows from the configuration, never from the folder's name. */
static const char *family_of(const struct inspection *found)
{
    if (hep_unet_text_embeds_width(&found->unet) > 0)
        return found->unet.requires_aesthetics_score ? CATALOGUE_REFINER : "sdxl";
    return found->unet.use_linear_projection ? "sd2" : "sd1";
}

static enum hep_status read_checkpoint(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                       struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    struct inspection found;
    json_t *scheduler = NULL;
    HEP_TRY(catalogue_open(catalogue, entry, &model, error));
    HEP_TRY(inspect_model(model, NULL, NULL, &found, error));
    HEP_TRY(hep_model_scheduler_config(model, &scheduler, error));
    snprintf(entry->prediction_type, sizeof entry->prediction_type, "%s",
             hep_json_str(scheduler, "prediction_type", "epsilon"));
    json_decref(scheduler);
    entry->family = family_of(&found);
    entry->bytes = found.bytes;
    entry->dtype = found.dtype;
    entry->context_dim = found.unet.cross_attention_dim[0];
    entry->has_safety_checker = found.has_safety_checker;
    entry->in_channels = found.unet.in_channels;
    entry->latent_channels = found.unet.out_channels; /* the VAE's, if it has one */
    entry->needs_vae = !hep_model_has(model, "vae");
    entry->vae_scale_factor = hep_model_vae_scale_factor(model);
    entry->scaling_factor =
        entry->needs_vae ? hep_family_find(entry->family)->scaling_factor : found.vae.scaling_factor;
    entry->defaults = *hep_model_defaults(model);
    return HEP_OK;
}

/* A ControlNet's family is that of the UNets whose shape it has. */
static enum hep_status read_controlnet(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                       struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    struct inspection found;
    HEP_TRY(catalogue_open(catalogue, entry, &model, error));
    HEP_TRY(inspect_component(model, "controlnet", &found, error));
    const struct hep_unet_config *unet = &found.controlnet.unet;
    entry->family = hep_unet_text_embeds_width(unet) > 0 ? "sdxl" : unet->use_linear_projection ? "sd2" : "sd1";
    entry->bytes = found.bytes;
    entry->dtype = found.dtype;
    entry->context_dim = unet->cross_attention_dim[0];
    entry->in_channels = unet->in_channels;
    return HEP_OK;
}

/* A file of any other kind: its header, whole and sound. What the tensors are for, its loader says. */
static enum hep_status read_file(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                 struct hep_error *error)
{
    (void)catalogue;
    HEP_CLEANUP(hep_safetensors_close) struct hep_safetensors *file = NULL;
    uint64_t bytes[HEP_DTYPE_COUNT] = {0};
    HEP_TRY(hep_safetensors_open_path(entry->path, &file, error));
    for (size_t i = 0; i < hep_safetensors_count(file); i++) {
        const struct hep_safetensors_entry *tensor = hep_safetensors_at(file, i);
        entry->bytes += tensor->bytes;
        bytes[tensor->dtype] += tensor->bytes;
        if (bytes[tensor->dtype] > bytes[entry->dtype])
            entry->dtype = tensor->dtype;
    }
    return HEP_OK;
}

static enum hep_status read_upscaler(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                     struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    struct upscaler_inspection found;
    HEP_TRY(catalogue_open(catalogue, entry, &model, error));
    HEP_TRY(inspect_upscaler(model, &found, error));
    entry->bytes = found.bytes;
    entry->dtype = found.dtype;
    entry->scale = (int)hep_rrdbnet_scale(&found.rrdbnet);
    return HEP_OK;
}

/* What judges images, and what makes them for it. */
static enum hep_status read_checker(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                    struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    struct inspection found;
    HEP_TRY(catalogue_open(catalogue, entry, &model, error));
    HEP_TRY(inspect_component(model, "safety_checker", &found, error));
    entry->bytes = found.bytes;
    entry->dtype = found.dtype;
    return HEP_OK;
}

static enum hep_status refuse_file(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                   struct hep_error *error)
{
    (void)catalogue;
    hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is a file; a safety checker is a folder", entry->path);
    return hep_hint(error, "put its config.json, preprocessor_config.json and model.safetensors into a folder below "
                           "safety_checker"),
           HEP_E_UNSUPPORTED;
}

static enum hep_status refuse_folder(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                     struct hep_error *error)
{
    (void)catalogue;
    return hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is a folder; an %s is one safetensors file", entry->path,
                    hep_model_kind_name(entry->kind));
}

/* The family of UNets that read conditioning of this width; other widths are of none that is known. */
static const char *family_of_width(int64_t width)
{
    return width == 768 ? "sd1" : width == 1024 ? "sd2" : width == 2048 ? "sdxl" : "";
}

/* The family of what it changes: SDXL alone has a second encoder; else the width of the conditioning that the UNet's
   cross-attention reads. One of a text encoder alone does not say: SD 1.x and SDXL have the same. */
static const char *family_of_lora(const struct hep_lora *lora)
{
    static const char reads[] = "_attn2_to_k";
    if (hep_lora_touches(lora, "text_encoder_2"))
        return "sdxl";
    for (size_t i = 0; i < hep_lora_count(lora); i++) {
        const struct hep_lora_module *module = hep_lora_at(lora, i);
        size_t length = strlen(module->name);
        if (length >= sizeof reads && strcmp(module->component, "unet") == 0 &&
            strcmp(module->name + length - (sizeof reads - 1), reads) == 0)
            return family_of_width(module->columns);
    }
    return "";
}

/* A LoRA: each tensor is understood, too. Whether it fits a model is seen when it is to be used with one. */
static enum hep_status read_lora(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                 struct hep_error *error)
{
    struct hep_lora *lora = NULL;
    char name[HEP_PATH_MAX];
    int folder;
    HEP_TRY(read_file(catalogue, entry, error));
    HEP_TRY(hep_folder_open_parent(entry->path, &folder, name, error));
    enum hep_status status = hep_lora_open(folder, name, &lora, error);
    close(folder);
    if (status == HEP_OK)
        entry->family = family_of_lora(lora);
    hep_lora_close(lora);
    return status;
}

/* The family follows from the widths of the vectors; other widths are of none that is known, and yet usable. */
static const char *family_of_embedding(const struct hep_embedding *embedding)
{
    int64_t width = hep_embedding_width(embedding, 0);
    return hep_embedding_encoders(embedding) == 2 ? "sdxl" : width == 768 ? "sd1" : width == 1024 ? "sd2" : "";
}

/* A textual inversion: which prompts use it is seen when they come. */
static enum hep_status read_embedding(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                      struct hep_error *error)
{
    struct hep_embedding *embedding = NULL;
    char name[HEP_PATH_MAX];
    int folder;
    HEP_TRY(read_file(catalogue, entry, error));
    HEP_TRY(hep_folder_open_parent(entry->path, &folder, name, error));
    enum hep_status status = hep_embedding_open(folder, name, &embedding, error);
    close(folder);
    if (status == HEP_OK) {
        entry->family = family_of_embedding(embedding);
        entry->context_dim = (int)hep_embedding_width(embedding, 0);
    }
    hep_embedding_close(embedding);
    return status;
}

/* Its config is JSON; more is the loader's to say. */
static enum hep_status read_folder(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                   struct hep_error *error)
{
    (void)catalogue;
    json_t *config = NULL;
    int folder;
    HEP_TRY(hep_folder_open(entry->path, &folder, error));
    enum hep_status status = hep_folder_read_json(folder, "config.json", &config, error);
    close(folder);
    json_decref(config);
    return status;
}

static enum hep_status read_vae(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    struct inspection found;
    HEP_TRY(catalogue_open(catalogue, entry, &model, error));
    HEP_TRY(inspect_component(model, "vae", &found, error));
    entry->latent_channels = found.vae.latent_channels;
    entry->vae_scale_factor = (int)hep_vae_scale_factor(&found.vae);
    entry->bytes = found.bytes;
    entry->dtype = found.dtype;
    return HEP_OK;
}

/* Reads what can be known without a weight's value into the entry: family, bytes, dtype. component: what a kind is that
   is one network by itself; NULL for a whole model, and for what is no network. To add a kind's own: a row. */
static const struct kind_row {
    const char *component;
    enum hep_status (*read_file)(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                 struct hep_error *error);
    enum hep_status (*read_folder)(const struct catalogue *catalogue, struct catalogue_entry *entry,
                                   struct hep_error *error);
} kind_rows[HEP_MODEL_KIND_COUNT] = {
    [HEP_MODEL_CHECKPOINT] = {NULL, read_checkpoint, read_checkpoint},
    [HEP_MODEL_VAE] = {"vae", read_vae, read_vae},
    [HEP_MODEL_LORA] = {NULL, read_lora, read_folder},
    [HEP_MODEL_CONTROLNET] = {"controlnet", read_controlnet, read_controlnet},
    [HEP_MODEL_UPSCALER] = {"upscaler", read_upscaler, refuse_folder},
    [HEP_MODEL_EMBEDDING] = {NULL, read_embedding, refuse_folder},
    [HEP_MODEL_SAFETY_CHECKER] = {"safety_checker", refuse_file, read_checker},
};

enum hep_status kinds_read(const struct catalogue *catalogue, struct catalogue_entry *entry, struct hep_error *error)
{
    const struct kind_row *row = &kind_rows[entry->kind];
    return entry->is_folder ? row->read_folder(catalogue, entry, error) : row->read_file(catalogue, entry, error);
}

const char *kinds_component(enum hep_model_kind kind)
{
    return kind_rows[kind].component;
}

/* ---- what nobody has said the kind of ---------------------------------------------------------------------------- */
/* What a file directly below a path is, by its keys: a checkpoint unless they say otherwise. */
static enum hep_model_kind kind_of_file(const char *path)
{
    HEP_CLEANUP(hep_safetensors_close) struct hep_safetensors *file = NULL;
    const struct hep_family *family;
    enum hep_model_kind kind = HEP_MODEL_CHECKPOINT;
    if (find_format(path, NULL) == HEP_OK && hep_safetensors_open_path(path, &file, NULL) == HEP_OK)
        hep_family_recognise(file, &family, &kind, NULL);
    return kind;
}

/* Of a folder that is one network: the class in its config.json. To add one: a row. */
static const struct class_row {
    const char *class;
    enum hep_model_kind kind;
} class_rows[] = {
    {"AutoencoderKL", HEP_MODEL_VAE},
    {"ControlNetModel", HEP_MODEL_CONTROLNET},
    {"StableDiffusionSafetyChecker", HEP_MODEL_SAFETY_CHECKER},
};

/* A checkpoint unless its config.json says otherwise. */
static enum hep_model_kind kind_of_folder(const char *path)
{
    enum hep_model_kind kind = HEP_MODEL_CHECKPOINT;
    json_t *config = NULL;
    int folder;
    if (hep_folder_open(path, &folder, NULL) != HEP_OK)
        return kind;
    if (!hep_folder_has_file(folder, "model_index.json") &&
        hep_folder_read_json(folder, "config.json", &config, NULL) == HEP_OK) {
        const char *class = json_string_value(json_object_get(config, "_class_name"));
        if (!class)
            class = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
        for (size_t i = 0; class && i < HEP_COUNT_OF(class_rows); i++)
            if (strcmp(class_rows[i].class, class) == 0)
                kind = class_rows[i].kind;
    }
    json_decref(config);
    close(folder);
    return kind;
}

enum hep_model_kind kinds_of(const char *path, bool is_folder)
{
    return is_folder ? kind_of_folder(path) : kind_of_file(path);
}
