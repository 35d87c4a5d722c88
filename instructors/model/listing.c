/*
 * model.list, model.info, model.scan: which models and files of other kinds there are, and what a scan knows of them.
 * Called on the worker thread; a close look is check.c's.
 */
#include "instructors/model/state.h"

#include <stdio.h>

enum { MODEL_PROMPTS_MAX = 16 }; /* of one question */

const struct hep_field model_info_fields[MODEL_INFO_FIELDS] = {
    HEP_FIELD(STR, info_request, model, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "name of the model; the first usable one if empty"),
    HEP_FIELD(STR, info_request, kind, DEFAULTED, .fallback_text = "checkpoint", .choices = hep_model_kind_choices,
              .help = "what it is: a model, or something that goes with one"),
    HEP_FIELD(STR, info_request, vae, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "VAE that is to fit the model, or it is an error"),
    HEP_FIELD(STR, info_request, safety_checker, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "safety checker that is to look at its images, or it is an error"),
    HEP_FIELD(JSON, info_request, loras, OPTIONAL, HEP_INSIDE(LIST, lora_request_fields), .max = HEP_LORAS_MAX,
              .help = "LoRAs that are to fit the model, or it is an error"),
    HEP_FIELD(JSON, info_request, prompts, OPTIONAL, HEP_INSIDE(LIST, embedding_prompt_fields),
              .max = MODEL_PROMPTS_MAX, .help = "texts whose embeddings are to be found, and are to fit the model"),
    HEP_FIELD(JSON, info_request, embeddings, OPTIONAL, HEP_INSIDE(LIST, embedding_name_fields),
              .max = HEP_EMBEDDINGS_MAX, .help = "the only ones that the prompts may use; left out: what they name"),
};
const struct hep_field model_kind_fields[MODEL_KIND_FIELDS] = {
    HEP_FIELD(STR, kind_request, model, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "name of the model; the first usable one if empty"),
    HEP_FIELD(STR, kind_request, kind, DEFAULTED, .fallback_text = "checkpoint", .choices = hep_model_kind_choices,
              .help = "what it is: a model, or something that goes with one"),
};
const struct hep_field model_list_fields[MODEL_ONE_FIELD] = {
    HEP_FIELD(STR, kind_request, kind, DEFAULTED, .fallback_text = "checkpoint", .choices = hep_model_kind_choices,
              .help = "what to list"),
};
const struct hep_field model_scan_reply_fields[MODEL_SCAN_REPLY_FIELDS] = {
    HEP_FIELD(I32, scan_reply, found, REQUIRED, .help = "models found, unusable ones included"),
    HEP_FIELD(I32, scan_reply, files, REQUIRED, .help = "files of other kinds found, unusable ones included"),
};
const struct hep_field model_defaults_fields[MODEL_DEFAULTS_FIELDS + 1] = {
    HEP_SAYS(I32, "num_inference_steps", REQUIRED, "denoising steps"),
    HEP_SAYS(F64, "guidance_scale", REQUIRED, "how strongly the prompt pulls"),
    HEP_SAYS(I32, "width", REQUIRED, "pixels"),
    HEP_SAYS(I32, "height", REQUIRED, "pixels"),
    HEP_SAYS(STR, "scheduler", REQUIRED, "\"\" = as its configuration says"),
    HEP_END_OF_FIELDS};
const struct hep_field model_info_reply_fields[MODEL_INFO_REPLY_FIELDS + 1] = {
    HEP_FIELD(STR, info_reply, name, REQUIRED, .help = "of its folder, or of its file without the ending"),
    HEP_FIELD(STR, info_reply, kind, REQUIRED,
              .help = "checkpoint, vae, lora, controlnet, upscaler, embedding, safety_checker"),
    HEP_FIELD(BOOL, info_reply, usable, REQUIRED, .help = "whether it can be loaded"),
    HEP_FIELD(BOOL, info_reply, loaded, REQUIRED, .help = "whether some of it is in shared memory"),
    HEP_FIELD(STR, info_reply, family, OPTIONAL, .help = "sd1, sd2, sdxl, sdxl_refiner"),
    HEP_FIELD(STR, info_reply, dtype, OPTIONAL, .help = "of the UNet's weights as stored"),
    HEP_FIELD(U64, info_reply, bytes, REQUIRED, .help = "of all weight files"),
    HEP_FIELD(STR, info_reply, path, REQUIRED, .help = "its folder or file"),
    HEP_FIELD(STR, info_reply, prediction_type, OPTIONAL, .help = "epsilon, v_prediction, sample"),
    HEP_FIELD(I32, info_reply, scale, REQUIRED, .help = "of an upscaler: pixels out per pixel in, each way; else 0"),
    HEP_FIELD(I32, info_reply, latent_channels, REQUIRED, .help = "channels of its latents"),
    HEP_FIELD(I32, info_reply, vae_scale_factor, REQUIRED, .help = "pixels per latent"),
    HEP_FIELD(I32, info_reply, context_dim, REQUIRED, .help = "width of its conditioning"),
    HEP_FIELD(BOOL, info_reply, safety_checker, REQUIRED,
              .help = "whether there is one for its images: its own, or one that was chosen"),
    HEP_FIELD(BOOL, info_reply, needs_vae, REQUIRED,
              .help = "whether it has none of its own, so that a request must name one"),
    HEP_FIELD(JSON, info_reply, defaults, OPTIONAL, HEP_INSIDE(OBJECT, model_defaults_fields),
              .help = "of what a request leaves out"),
    HEP_FIELD(JSON, info_reply, problem, OPTIONAL, HEP_INSIDE(OBJECT, hep_error_fields),
              .help = "why it is not usable, or why its last load failed"),
    HEP_FIELD(I32, info_reply, embeddings_found, REQUIRED, .help = "textual inversions that there are, for any model"),
    HEP_FIELD(JSON, info_reply, embeddings, OPTIONAL, HEP_INSIDE(LIST, embedding_name_fields),
              .help = "that the prompts use; with prompts only"),
    [MODEL_INFO_REPLY_FIELDS] = HEP_END_OF_FIELDS};
const struct hep_field model_list_reply_fields[MODEL_ONE_FIELD] = {
    {.name = "models",
     .type = HEP_FIELD_JSON,
     .presence = HEP_REQUIRED,
     .offset = offsetof(struct json_reply, value),
     HEP_INSIDE(LIST, model_info_reply_fields),
     .help = "each as model.info describes it"},
};

static struct model_state *state_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

json_t *model_defaults_to_json(const struct hep_model_defaults *defaults)
{
    return json_pack("{s:i, s:f, s:i, s:i, s:s}", "num_inference_steps", defaults->num_inference_steps,
                     "guidance_scale", defaults->guidance_scale, "width", defaults->width, "height", defaults->height,
                     "scheduler", defaults->scheduler);
}

void model_published_name(enum hep_model_kind kind, const char *name, char published[PUBLISHED_NAME_MAX])
{
    if (kind == HEP_MODEL_CHECKPOINT)
        snprintf(published, PUBLISHED_NAME_MAX, "%s", name);
    else
        snprintf(published, PUBLISHED_NAME_MAX, "%s:%s", hep_model_kind_name(kind), name);
}

/* An instance whose own choice is not there has none, whatever the model brings. */
static bool has_checker(const struct model_state *state, const struct catalogue_entry *entry)
{
    const struct catalogue_entry *checker;
    if (entry->kind != HEP_MODEL_CHECKPOINT || entry->problem.code != HEP_OK)
        return false;
    return model_find_checker(state, "", &checker, NULL) == HEP_OK && (checker || entry->has_safety_checker);
}

static void describe(const struct model_state *state, const struct catalogue_entry *entry, struct info_reply *reply)
{
    char published[PUBLISHED_NAME_MAX];
    model_published_name(entry->kind, entry->name, published);
    *reply = (struct info_reply){.name = hep_str_of(entry->name),
                                 .kind = hep_str_of(hep_model_kind_name(entry->kind)),
                                 .family = hep_str_of(entry->family),
                                 .path = hep_str_of(entry->path),
                                 .bytes = entry->bytes,
                                 .latent_channels = entry->latent_channels,
                                 .vae_scale_factor = entry->vae_scale_factor,
                                 .context_dim = entry->context_dim,
                                 .prediction_type = hep_str_of(entry->prediction_type),
                                 .usable = entry->problem.code == HEP_OK,
                                 .scale = entry->scale,
                                 .embeddings_found = catalogue_count(&state->catalogue, HEP_MODEL_EMBEDDING, false),
                                 .safety_checker = has_checker(state, entry),
                                 .needs_vae = entry->needs_vae,
                                 .loaded = cache_is_loaded(&state->cache, published)};
    if (reply->usable)
        reply->dtype = hep_str_of(hep_dtype_name(entry->dtype));
    if (reply->usable && entry->kind == HEP_MODEL_CHECKPOINT)
        reply->defaults = model_defaults_to_json(&entry->defaults);
    if (!reply->usable || entry->load_problem.code != HEP_OK)
        reply->problem = hep_error_to_json(reply->usable ? &entry->load_problem : &entry->problem);
}

enum hep_model_kind model_kind_of(const char *name)
{
    enum hep_model_kind kind = HEP_MODEL_CHECKPOINT;
    hep_assert(hep_model_kind_find(name, &kind));
    return kind;
}

static void tell_progress(void *context, const char *note)
{
    hep_call_progress(context, 0, 0, note);
}

enum hep_status model_list(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct model_state *state = state_of(call);
    enum hep_model_kind kind = model_kind_of(((const struct kind_request *)request)->kind.data);
    json_t *models = json_array();
    (void)error;
    for (int i = 0; i < state->catalogue.count; i++) {
        struct info_reply info;
        if (state->catalogue.entries[i].kind != kind)
            continue;
        describe(state, &state->catalogue.entries[i], &info);
        json_array_append_new(models, hep_encode(model_info_reply_fields, MODEL_INFO_REPLY_FIELDS, &info));
    }
    ((struct json_reply *)reply)->value = models;
    return HEP_OK;
}

enum hep_status model_lacks_vae(const struct catalogue_entry *entry, struct hep_error *error)
{
    hep_fail_field(error, HEP_E_MISSING_FIELD, "vae", "model %.60s has no VAE of its own, and no other is named",
                   entry->name);
    return hep_hint(error, "name one in `vae`: `heptctl models --kind vae` lists them"), HEP_E_MISSING_FIELD;
}

/* Whether the VAE of this name is there and makes images of the model's latents. */
static enum hep_status fit_vae(const struct catalogue *catalogue, const struct catalogue_entry *entry, const char *name,
                               struct hep_error *error)
{
    const struct catalogue_entry *vae;
    HEP_TRY(catalogue_find(catalogue, HEP_MODEL_VAE, name, &vae, error));
    if (vae->latent_channels == entry->latent_channels && vae->vae_scale_factor == entry->vae_scale_factor)
        return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_MODEL, "vae",
                          "VAE %.60s has latents of %d channels and %d pixels, the model %.60s of %d and %d", vae->name,
                          vae->latent_channels, vae->vae_scale_factor, entry->name, entry->latent_channels,
                          entry->vae_scale_factor);
}

/* Those that the prompts of a request name, all of which fit the model: a new array. */
static enum hep_status find_embeddings(const struct catalogue *catalogue, const struct catalogue_entry *model,
                                       const struct info_request *info, json_t **names, struct hep_error *error)
{
    struct embedding_set set = {0};
    if (model->kind != HEP_MODEL_CHECKPOINT)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "prompts", "%s %s is no model that has prompts",
                              hep_model_kind_name(model->kind), model->name);
    HEP_TRY(embedding_names(catalogue, info->prompts, info->embeddings, names, error));
    enum hep_status status = embedding_set_open(catalogue, model, *names, &set, error);
    embedding_set_clear(&set);
    if (status != HEP_OK)
        json_decref(*names);
    return status;
}

enum hep_status model_info(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const struct info_request *info = request;
    const struct catalogue *catalogue = &state_of(call)->catalogue;
    const struct catalogue_entry *entry, *checker = NULL;
    struct lora_set loras = {0};
    HEP_TRY(catalogue_find(catalogue, model_kind_of(info->kind.data), info->model.data, &entry, error));
    if (json_array_size(info->loras) > 0 && entry->kind != HEP_MODEL_CHECKPOINT)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "loras", "%s %s is no model that LoRAs could change",
                              hep_model_kind_name(entry->kind), entry->name);
    json_t *embeddings = NULL;
    if (info->vae.length > 0 && entry->kind == HEP_MODEL_CHECKPOINT)
        HEP_TRY(fit_vae(catalogue, entry, info->vae.data, error));
    enum hep_status status = lora_set_open(catalogue, entry, "", info->loras, &loras, error);
    lora_set_clear(&loras);
    if (status == HEP_OK && info->safety_checker.length > 0)
        status = model_find_checker(state_of(call), info->safety_checker.data, &checker, error);
    if (status == HEP_OK && info->prompts)
        status = find_embeddings(catalogue, entry, info, &embeddings, error);
    HEP_TRY(status);
    describe(state_of(call), entry, reply);
    ((struct info_reply *)reply)->safety_checker |= checker != NULL;
    ((struct info_reply *)reply)->embeddings = embeddings;
    return HEP_OK;
}

enum hep_status model_scan(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct catalogue *catalogue = &state_of(call)->catalogue;
    (void)request;
    HEP_TRY(catalogue_scan(catalogue, tell_progress, call, error));
    model_show(state_of(call));
    int found = catalogue_count(catalogue, HEP_MODEL_CHECKPOINT, false);
    *(struct scan_reply *)reply = (struct scan_reply){found, catalogue->count - found};
    return HEP_OK;
}
