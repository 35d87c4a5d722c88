/*
 * Checks a model folder by the code that will use it: config readers, graph builders, the tokenizer, the planner of the
 * diffusion schedulers. Called by the catalogue at a scan, before the first segment of a load and by model.verify.
 */
#include "instructors/model/inspect.h"

#include "common/limits.h"
#include "nn/models/clip_image.h"
#include "nn/scheduler/plan.h"
#include "nn/text/tokenizer.h"
#include "nn/weights/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 64,
    TOKENS = 77
}; /* of the latents that graphs are built for: names and shapes of weights do not depend on it */

struct inspector {
    const struct hep_model *model;
    struct inspection *found;
    void (*progress)(void *context, const char *note);
    void *context;
};

static void tell(const struct inspector *inspector, const char *note)
{
    if (inspector->progress)
        inspector->progress(inspector->context, note);
}

/* ---- networks ---------------------------------------------------------------------------------------------------- */
static void keep_config(struct inspection *found, const char *component, const union hep_any_config *config)
{
    if (strcmp(component, "unet") == 0)
        found->unet = config->unet;
    else if (strcmp(component, "vae") == 0)
        found->vae = config->vae;
    else if (strcmp(component, "controlnet") == 0)
        found->controlnet = config->controlnet;
    else if (strcmp(component, "safety_checker") == 0)
        found->vision = config->vision;
    else
        found->clip[found->encoders++] = config->clip;
}

/* The graph against names and shapes: what the network needs is there and nothing is transposed. */
static enum hep_status check_graph(const struct hep_network_kind *kind, const union hep_any_config *config,
                                   const struct hep_component *component, struct hep_error *error)
{
    struct hep_graph *graph = NULL;
    struct hep_network_size size = {.batch = 1, .height = SIDE, .width = SIDE, .tokens = TOKENS};
    enum hep_status status = hep_network_kind_graph(kind, config, &size, (struct hep_stages){0},
                                                    hep_component_weights(component), &graph, error);
    hep_graph_destroy(graph);
    return status == HEP_OK ? status : (hep_prefix(error, "'%s'", hep_component_file(component, 0)), status);
}

/* Every network of the component; its config is read once for each, which costs nothing. */
static enum hep_status check_networks(const struct hep_component *component, union hep_any_config *config,
                                      struct hep_error *error)
{
    const struct hep_network_kind *kind;
    const char *name = hep_component_name(component);
    char file[HEP_NAME_MAX + 16];
    snprintf(file, sizeof file, "%.*s/config.json", HEP_NAME_MAX, name);
    for (size_t i = 0; (kind = hep_network_kind_at(i)); i++) {
        if (strcmp(kind->component, name) != 0)
            continue;
        HEP_TRY(kind->read_config(hep_component_config(component), file, config, error));
        HEP_TRY(check_graph(kind, config, component, error));
    }
    return HEP_OK;
}

static enum hep_status check_component(const struct inspector *inspector, const char *name, struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    union hep_any_config config;
    if (!hep_model_has(inspector->model, name))
        return HEP_OK;
    tell(inspector, name);
    HEP_TRY(hep_model_component(inspector->model, name, NULL, &component, error));
    HEP_TRY(check_networks(component, &config, error));
    keep_config(inspector->found, name, &config);
    inspector->found->bytes += hep_component_bytes(component);
    if (strcmp(name, "unet") == 0 || !hep_model_has(inspector->model, "unet"))
        inspector->found->dtype = hep_component_dtype(component);
    return HEP_OK;
}

/* ---- tokenizers -------------------------------------------------------------------------------------------------- */
static enum hep_status read_text(const struct hep_model *model, const char *folder, const char *name, bool required,
                                 char **text, size_t *size, struct hep_error *error)
{
    char path[HEP_NAME_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!required && !hep_model_has_file(model, path))
        return HEP_OK;
    return hep_model_read_file(model, path, HEP_TOKENIZER_FILE_MAX, text, size, error);
}

static enum hep_status check_tokenizer(const struct inspector *inspector, const char *folder,
                                       const struct hep_clip_config *encoder, struct hep_error *error)
{
    const struct hep_model *model = inspector->model;
    char *vocab = NULL, *merges = NULL, *config = NULL, *map = NULL;
    struct hep_tokenizer_files files = {0};
    struct hep_tokenizer *tokenizer = NULL;
    enum hep_status status;
    tell(inspector, folder);
    HEP_TRY_DONE(status, read_text(model, folder, "vocab.json", true, &vocab, &files.vocab_size, error));
    HEP_TRY_DONE(status, read_text(model, folder, "merges.txt", true, &merges, &files.merges_size, error));
    HEP_TRY_DONE(
        status, read_text(model, folder, "tokenizer_config.json", false, &config, &files.tokenizer_config_size, error));
    HEP_TRY_DONE(status, read_text(model, folder, "special_tokens_map.json", false, &map,
                                   &files.special_tokens_map_size, error));
    files.vocab = vocab;
    files.merges = merges;
    files.tokenizer_config = config;
    files.special_tokens_map = map;
    status = hep_tokenizer_create(&files, &tokenizer, error);
    if (status == HEP_OK && hep_tokenizer_info(tokenizer)->ids > encoder->vocab_size)
        status = hep_fail(error, HEP_E_BAD_MODEL, "vocab.json has %d ids, the text encoder knows %d",
                          hep_tokenizer_info(tokenizer)->ids, encoder->vocab_size);
    else if (status == HEP_OK && hep_model_is_file(model) && hep_tokenizer_info(tokenizer)->ids != encoder->vocab_size)
        status = hep_fail(error, HEP_E_BAD_MODEL, "vocab.json has %d ids, so it is not of this model, which knows %d",
                          hep_tokenizer_info(tokenizer)->ids, encoder->vocab_size);
    if (status != HEP_OK)
        hep_prefix(error, "'%s/'", folder);
done:
    hep_tokenizer_destroy(tokenizer);
    free(vocab);
    free(merges);
    free(config);
    free(map);
    return status;
}

/* ---- the diffusion scheduler ------------------------------------------------------------------------------------- */
/* A plan of as many steps as the model asks for by default, by its own class and by the scheduler that it prefers. */
static enum hep_status check_scheduler(const struct hep_model *model, struct hep_error *error)
{
    const struct hep_model_defaults *defaults = hep_model_defaults(model);
    struct scheduler_options options = SCHEDULER_OPTIONS_DEFAULT;
    json_t *config = NULL;
    size_t bytes;
    options.num_inference_steps = defaults->num_inference_steps;
    HEP_TRY(hep_model_scheduler_config(model, &config, error));
    enum hep_status status = scheduler_plan_make("", config, &options, NULL, 0, &bytes, error);
    if (status == HEP_OK && defaults->scheduler[0])
        status = scheduler_plan_make(defaults->scheduler, config, &options, NULL, 0, &bytes, error);
    json_decref(config);
    return status == HEP_OK ? status : (hep_prefix(error, "'scheduler/scheduler_config.json'"), status);
}

/* ---- what the safety checker looks at --------------------------------------------------------------------------- */
/* Its images are made by a preprocessor that must give what its network takes. */
static enum hep_status check_feature_extractor(const struct inspector *inspector, struct hep_error *error)
{
    static const char file[] = "feature_extractor/preprocessor_config.json";
    struct hep_clip_image_config config;
    json_t *json = NULL;
    if (!hep_model_has(inspector->model, "safety_checker"))
        return HEP_OK;
    if (!hep_model_has(inspector->model, "feature_extractor"))
        return hep_fail(
            error, HEP_E_BAD_MODEL,
            "'model_index.json' names a 'safety_checker', but no 'feature_extractor' that makes its images");
    HEP_TRY(hep_model_read_json(inspector->model, file, &json, error));
    enum hep_status status = hep_clip_image_config_read(json, file, &config, error);
    json_decref(json);
    HEP_TRY(status);
    if (config.crop_size != inspector->found->vision.image_size)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s': 'crop_size' is %d, the safety checker takes images of %d", file,
                        config.crop_size, inspector->found->vision.image_size);
    inspector->found->has_safety_checker = true;
    return HEP_OK;
}

/* ---- whether the parts fit each other ---------------------------------------------------------------------------- */
static enum hep_status check_pooled(const struct hep_model *model, const struct inspection *found,
                                    struct hep_error *error)
{
    int64_t taken = hep_unet_text_embeds_width(&found->unet);
    int given = hep_model_has(model, "text_encoder_2") ? found->clip[found->encoders - 1].projection_dim : 0;
    if (taken == 0 || taken == given)
        return HEP_OK;
    hep_fail(error, HEP_E_BAD_MODEL,
             "'unet/config.json' takes text_embeds of width %" PRId64 " beside %" PRId64
             " numbers, text_encoder_2 gives %d",
             taken, hep_unet_time_ids(&found->unet), given);
    return hep_hint(error,
                    "'requires_aesthetics_score' of model_index.json says whether the numbers are 5 (SDXL's refiner) "
                    "or 6"),
           HEP_E_BAD_MODEL;
}

static enum hep_status check_fit(const struct hep_model *model, const struct inspection *found, struct hep_error *error)
{
    int width = 0;
    for (int i = 0; i < found->encoders; i++)
        width += found->clip[i].hidden_size;
    if (found->unet.cross_attention_dim[0] != width)
        return hep_fail(error, HEP_E_BAD_MODEL,
                        "'unet/config.json': 'cross_attention_dim' is %d, the text encoders give states of width %d",
                        found->unet.cross_attention_dim[0], width);
    bool has_vae = hep_model_has(model, "vae"); /* a single file may leave it out */
    int latents = has_vae ? found->vae.latent_channels : found->unet.out_channels;
    if (found->unet.out_channels != latents)
        return hep_fail(error, HEP_E_BAD_MODEL,
                        "'unet/config.json': 'out_channels' is %d, the VAE's latents have %d channels",
                        found->unet.out_channels, latents);
    if (found->unet.in_channels != latents && found->unet.in_channels != 2 * latents + 1) {
        hep_fail(error, HEP_E_UNSUPPORTED, "'unet/config.json': 'in_channels' is %d", found->unet.in_channels);
        return hep_hint(error,
                        "what is run takes latents (4), or also a mask and a masked image (9): models for depth, "
                        "instructions or upscaling are not");
    }
    if (has_vae && hep_vae_scale_factor(&found->vae) != hep_model_vae_scale_factor(model))
        return hep_fail(error, HEP_E_BAD_MODEL, "this VAE has %" PRId64 " pixels for a latent, the model %d",
                        hep_vae_scale_factor(&found->vae), hep_model_vae_scale_factor(model));
    return check_pooled(model, found, error);
}

/* ---- public ------------------------------------------------------------------------------------------------------ */
static enum hep_status inspect_parts(const struct inspector *inspector, struct hep_error *error)
{
    const struct hep_component_kind *kind;
    for (size_t i = 0; (kind = hep_component_kind_at(i)); i++)
        HEP_TRY(check_component(inspector, kind->name, error));
    if (hep_model_has(inspector->model, "tokenizer"))
        HEP_TRY(check_tokenizer(inspector, "tokenizer", &inspector->found->clip[0], error));
    int last = inspector->found->encoders - 1; /* NOLINT(clang-analyzer-core.*): inspect_model has set it all to 0 */
    if (hep_model_has(inspector->model, "tokenizer_2"))
        HEP_TRY(check_tokenizer(inspector, "tokenizer_2", &inspector->found->clip[last], error));
    HEP_TRY(check_scheduler(inspector->model, error));
    HEP_TRY(check_feature_extractor(inspector, error));
    return check_fit(inspector->model, inspector->found, error);
}

/* Inside a model a missing file is the model's defect, and so is a value that no request can change. */
static enum hep_status as_defect(enum hep_status status, struct hep_error *error)
{
    if (status != HEP_E_NOT_FOUND && status != HEP_E_OUT_OF_RANGE && status != HEP_E_TOO_LARGE)
        return status;
    if (error)
        error->code = HEP_E_BAD_MODEL;
    return HEP_E_BAD_MODEL;
}

static void suggest_beside(enum hep_status status, const struct hep_model *model, struct hep_error *error)
{
    if (status == HEP_E_BAD_MODEL && hep_model_is_file(model))
        hep_suggest(error,
                    "what a single file does not say may stand in NAME.heptad.json beside it (docs/networks.md)");
}

enum hep_status inspect_model(const struct hep_model *model, void (*progress)(void *context, const char *note),
                              void *context, struct inspection *inspection, struct hep_error *error)
{
    struct inspection found = {0};
    struct inspector inspector = {model, &found, progress, context};
    enum hep_status status = as_defect(inspect_parts(&inspector, error), error);
    suggest_beside(status, model, error);
    if (status == HEP_OK)
        *inspection = found;
    return status;
}

enum hep_status inspect_upscaler(const struct hep_model *model, struct upscaler_inspection *inspection,
                                 struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    const struct hep_network_kind *kind = hep_network_kind_find("upscaler");
    union hep_any_config config;
    HEP_TRY(hep_model_component(model, kind->component, NULL, &component, error));
    HEP_TRY(kind->read_config(hep_component_config(component), hep_component_file(component, 0), &config, error));
    HEP_TRY(check_graph(kind, &config, component, error));
    *inspection =
        (struct upscaler_inspection){hep_component_bytes(component), hep_component_dtype(component), config.rrdbnet};
    return HEP_OK;
}

enum hep_status inspect_component(const struct hep_model *model, const char *component, struct inspection *inspection,
                                  struct hep_error *error)
{
    struct inspection found = {0};
    struct inspector inspector = {model, &found, NULL, NULL};
    enum hep_status status = check_component(&inspector, component, error);
    if (status == HEP_OK)
        status = check_feature_extractor(&inspector, error);
    status = as_defect(status, error);
    suggest_beside(status, model, error);
    if (status == HEP_OK)
        *inspection = found;
    return status;
}

static enum hep_status read_weights(const struct hep_weight_table *table,
                                    void (*progress)(void *context, const char *note), void *context,
                                    struct hep_error *error)
{
    float *values = NULL;
    int64_t room = 0;
    enum hep_status status = HEP_OK;
    for (size_t i = 0; status == HEP_OK && i < table->count; i++) {
        const struct hep_weight *weight = &table->weights[i];
        int64_t elements = 0;
        if (!hep_dtype_is_float(weight->dtype))
            continue; /* position_ids: an integer cannot be out of order */
        hep_assert(hep_shape_elements(&weight->shape, &elements));
        if (progress)
            progress(context, weight->name);
        if (elements > room) {
            free(values);
            values = malloc((size_t)elements * sizeof *values);
            room = values ? elements : 0;
        }
        if (elements > 0 && !values)
            status = hep_fail(error, HEP_E_NO_MEMORY, "no memory to read %s", weight->name);
        else
            status = table->source.ops->read_f32(&table->source, weight->name, values, elements, error);
    }
    free(values);
    return status;
}

enum hep_status inspect_weights(const struct hep_model *model, const char *name,
                                void (*progress)(void *context, const char *note), void *context,
                                struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    HEP_TRY(hep_model_component(model, name, NULL, &component, error));
    return read_weights(hep_component_table(component), progress, context, error);
}

enum hep_status inspect_file_weights(const char *path, void (*progress)(void *context, const char *note), void *context,
                                     struct hep_error *error)
{
    HEP_CLEANUP(hep_safetensors_close) struct hep_safetensors *file = NULL;
    struct hep_weight_table table;
    enum hep_status status = HEP_OK;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    HEP_TRY(hep_safetensors_open_path(path, &file, error));
    hep_weight_table_init(&table, name);
    for (size_t i = 0; status == HEP_OK && i < hep_safetensors_count(file); i++) {
        const struct hep_safetensors_entry *entry = hep_safetensors_at(file, i);
        status = hep_weight_table_add(&table,
                                      &(struct hep_weight){.name = (char *)(uintptr_t)entry->name,
                                                           .dtype = entry->dtype,
                                                           .shape = entry->shape,
                                                           .data = entry->data,
                                                           .bytes = entry->bytes,
                                                           .file = name},
                                      error);
    }
    if (status == HEP_OK)
        status = hep_weight_table_seal(&table, error);
    if (status == HEP_OK)
        status = read_weights(&table, progress, context, error);
    hep_weight_table_clear(&table);
    return status;
}
