/* Called by check.c. Plans the networks at shapes, with the weights' names and shapes only. */
#include "instructors/model/details.h"

#include "instructors/model/publish.h"
#include "nn/models/networks.h"
#include "nn/weights/packed.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files ------------------------------------------------------------------------------------------------------- */
static enum hep_status add_file(struct model_state *state, int folder, const char *at, const char *path, bool hash,
                                json_t *files, struct hep_error *error)
{
    uint8_t digest[SHA256_BYTES];
    char text[SHA256_TEXT] = "";
    struct stat about;
    size_t i;
    const json_t *listed;
    json_array_foreach(files, i, listed) if (strcmp(json_string_value(json_object_get(listed, "path")), path) ==
                                             0) return HEP_OK; /* a single file is in every component */
    if (folder < 0 || fstatat(folder, at, &about, 0) != 0)
        return HEP_OK; /* an optional one */
    if (hash)
        HEP_TRY(checksum_file(folder, at, NULL, NULL, digest, NULL, error));
    if (hash || checksum_known(&state->cache.digests, folder, at, digest))
        checksum_text(digest, text);
    json_array_append_new(
        files, json_pack("{s:s, s:I, s:s}", "path", path, "bytes", (json_int_t)about.st_size, "sha256", text));
    return HEP_OK;
}

static enum hep_status add_component(struct model_state *state, const struct hep_model *model, const char *name,
                                     bool hash, json_t *files, struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    struct hep_model_file file;
    char path[HEP_PATH_MAX];
    if (!publish_is_files(name))
        HEP_TRY(hep_model_component(model, name, NULL, &component, error));
    for (size_t i = 0; publish_file(model, name, component, i, path, &file); i++)
        if (!file.shown)
            HEP_TRY(add_file(state, file.folder, file.path, hep_model_pipeline(model) ? path : file.path, hash, files,
                             error));
    return HEP_OK;
}

enum hep_status details_files(struct model_state *state, const struct catalogue_entry *entry,
                              const struct hep_model *model, bool hash, json_t **files, struct hep_error *error)
{
    static const char *const names[] = {
        "text_encoder", "text_encoder_2", "tokenizer",      "tokenizer_2",       "unet",      "vae",
        "scheduler",    "upscaler",       "safety_checker", "feature_extractor", "controlnet"};
    /* the vocabulary of a single file serves both tokenizers */
    bool is_listed_twice = model && hep_model_is_file(model) && hep_model_has(model, "tokenizer");
    json_t *found = json_array();
    enum hep_status status = HEP_OK;
    char name[HEP_PATH_MAX];
    int folder;
    for (size_t i = 0; model && status == HEP_OK && i < HEP_COUNT_OF(names); i++)
        if (hep_model_has(model, names[i]) && !(is_listed_twice && strcmp(names[i], "tokenizer_2") == 0))
            status = add_component(state, model, names[i], hash, found, error);
    if (!model && !entry->is_folder && (status = hep_folder_open_parent(entry->path, &folder, name, error)) == HEP_OK) {
        status = add_file(state, folder, name, name, hash, found, error);
        close(folder);
    }
    if (status != HEP_OK)
        json_decref(found);
    else
        *files = found;
    return status;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */
/* A network with its weights' names and shapes, planned at one size. */
static enum hep_status plan_network(const struct hep_model *model, const char *network, enum hep_dtype dtype,
                                    const struct hep_network_size *size, size_t *activations, size_t *weights,
                                    struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    const struct hep_network_kind *kind = hep_network_kind_find(network);
    struct hep_plan_options options = {.dtype = dtype};
    union hep_any_config config;
    struct hep_graph *graph = NULL;
    struct hep_plan *plan = NULL;
    HEP_TRY(hep_model_component(model, kind->component, NULL, &component, error));
    HEP_TRY(kind->read_config(hep_component_config(component), kind->component, &config, error));
    HEP_TRY(hep_network_kind_graph(kind, &config, size, (struct hep_stages){0}, hep_component_weights(component),
                                   &graph, error));
    enum hep_status status = hep_plan_create(graph, &options, &plan, error);
    hep_graph_destroy(graph);
    HEP_TRY(status);
    *activations = plan->peak_bytes;
    *weights = hep_packed_size(plan);
    hep_plan_destroy(plan);
    return HEP_OK;
}

/* Guidance makes two of each image. The text encoder's activations are small and gone when the UNet runs. */
static enum hep_status add_size(const struct hep_model *model, enum hep_dtype dtype, int width, int height,
                                json_t *sizes, struct hep_error *error)
{
    enum { TOKENS = 77, UNET, DECODER };
    static const char *const networks[] = {"text_encoder", "text_encoder_2", "vae_encoder", "unet", "vae_decoder"};
    int factor = hep_model_vae_scale_factor(model);
    size_t unet = 0, decoder = 0, weights = 0;
    for (size_t i = 0; i < HEP_COUNT_OF(networks); i++) {
        bool is_unet = strcmp(networks[i], "unet") == 0;
        struct hep_network_size size = {is_unet ? 2 : 1, height / factor, width / factor, TOKENS};
        size_t activations, own;
        if (!hep_model_has(model, hep_network_kind_find(networks[i])->component))
            continue;
        HEP_TRY(plan_network(model, networks[i], dtype, &size, &activations, &own, error));
        weights += own;
        if (is_unet)
            unet = activations;
        decoder = activations; /* the last */
    }
    json_array_append_new(sizes, json_pack("{s:i, s:i, s:I, s:I, s:I, s:I}", "width", width, "height", height,
                                           "weights_bytes", (json_int_t)weights, "unet_bytes", (json_int_t)unet,
                                           "vae_bytes", (json_int_t)decoder, "total_bytes",
                                           (json_int_t)(weights + (unet > decoder ? unet : decoder))));
    return HEP_OK;
}

enum hep_status details_memory(const struct hep_model *model, enum hep_dtype dtype, json_t **sizes,
                               struct hep_error *error)
{
    static const int sides[] = {512, 768, 1024};
    const struct hep_model_defaults *own = hep_model_defaults(model);
    json_t *found = json_array();
    enum hep_status status = add_size(model, dtype, own->width, own->height, found, error);
    for (size_t i = 0; status == HEP_OK && i < HEP_COUNT_OF(sides); i++)
        if (sides[i] != own->width || sides[i] != own->height)
            status = add_size(model, dtype, sides[i], sides[i], found, error);
    if (status != HEP_OK)
        json_decref(found);
    else
        *sizes = found;
    return status;
}

/* ---- what it can do ---------------------------------------------------------------------------------------------- */
static const char refiner[] = CATALOGUE_REFINER;
/* To add something: a row. in_channels: what the UNet must take, 0 = anything. */
static const struct ability_row {
    enum hep_model_kind kind;
    int in_channels;
    const char *name;
    const char *only, *never; /* families; NULL = any, none */
} ability_rows[] = {
    {HEP_MODEL_CHECKPOINT, 4, "txt2img", NULL, refiner}, /* it has learned the last steps only */
    {HEP_MODEL_CHECKPOINT, 4, "img2img", NULL, NULL},
    {HEP_MODEL_CHECKPOINT, 0, "inpaint", NULL, NULL},
    {HEP_MODEL_CHECKPOINT, 4, "refiner", refiner, NULL},
    {HEP_MODEL_VAE, 0, "vae", NULL, NULL},
    {HEP_MODEL_LORA, 0, "lora", NULL, NULL},
    {HEP_MODEL_CONTROLNET, 0, "controlnet", NULL, NULL},
    {HEP_MODEL_UPSCALER, 0, "upscale", NULL, NULL},
    {HEP_MODEL_EMBEDDING, 0, "embedding", NULL, NULL},
    {HEP_MODEL_SAFETY_CHECKER, 0, "safety_check", NULL, NULL},
};

static bool is_able(const struct ability_row *row, const struct catalogue_entry *entry)
{
    return row->kind == entry->kind && (row->in_channels == 0 || row->in_channels == entry->in_channels) &&
           (!row->only || strcmp(row->only, entry->family) == 0) &&
           (!row->never || strcmp(row->never, entry->family) != 0);
}

json_t *details_can(const struct catalogue_entry *entry)
{
    json_t *can = json_array();
    for (size_t i = 0; i < HEP_COUNT_OF(ability_rows); i++)
        if (is_able(&ability_rows[i], entry))
            json_array_append_new(can, json_string(ability_rows[i].name));
    return can;
}
