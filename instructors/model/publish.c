/*
 * Plans and writes the bundle of one component. The graph is built at a small shape: packed layouts do not depend on
 * it. Called by the cache on the worker thread.
 */
#include "instructors/model/publish.h"

#include "common/build.h"
#include "common/crash_point.h"
#include "common/wire.h"
#include "nn/bundle/bundle.h"
#include "nn/cpu/isa.h"
#include "nn/models/autoencoder.h"
#include "nn/models/clip.h"
#include "nn/models/controlnet.h"
#include "nn/models/rrdbnet.h"
#include "nn/models/clip_vision.h"
#include "nn/weights/packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLANS_MAX = 2, BLOBS_MAX = 8, PACK_SIDE = 8, PACK_TOKENS = 77 };

struct publication {
    struct about about;
    struct hep_component *component; /* NULL for files */
    struct hep_lora_merge *merge;    /* of LoRAs into it; NULL for files */
    struct hep_plan *plans[PLANS_MAX];
    int plan_count;
    struct hep_bundle_entry entries[BLOBS_MAX];
    void *texts[BLOBS_MAX]; /* contents of file blobs, owned; NULL for packed ones */
    int blob_count;
    uint64_t bytes;
};

/* Components that are files. To add one: a row. */
static const struct file_row {
    const char *component;
    const char *files[5]; /* below the model folder; the first `required` must be there */
    int required;
} file_rows[] = {
    {"tokenizer",
     {"tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json",
      "tokenizer/special_tokens_map.json"},
     2},
    {"tokenizer_2",
     {"tokenizer_2/vocab.json", "tokenizer_2/merges.txt", "tokenizer_2/tokenizer_config.json",
      "tokenizer_2/special_tokens_map.json"},
     2},
    {"scheduler", {"scheduler/scheduler_config.json"}, 1},
    {"feature_extractor", {"feature_extractor/preprocessor_config.json"}, 1},
    {EMBEDDINGS_COMPONENT, {NULL}, 0}, /* from elsewhere: embeddings.h */
};

static const struct file_row *file_row(const char *component)
{
    for (size_t i = 0; i < HEP_COUNT_OF(file_rows); i++)
        if (strcmp(file_rows[i].component, component) == 0)
            return &file_rows[i];
    return NULL;
}

bool publish_is_files(const char *component)
{
    return file_row(component) != NULL;
}

bool publish_file(const struct hep_model *model, const char *name, const struct hep_component *component, size_t index,
                  char path[HEP_PATH_MAX], struct hep_model_file *file)
{
    const struct file_row *row = file_row(name);
    if (!row && index > 0) {
        bool found = hep_model_weight_file(model, component, index - 1, file);
        if (found)
            snprintf(path, HEP_PATH_MAX, "%s", file->path);
        return found;
    }
    if (row && (index >= HEP_COUNT_OF(row->files) || !row->files[index]))
        return false;
    if (row)
        snprintf(path, HEP_PATH_MAX, "%s", row->files[index]);
    else
        snprintf(path, HEP_PATH_MAX, "%s/config.json", name);
    hep_model_file(model, path, file);
    return true;
}

/* ---- blobs
 * -------------------------------------------------------------------------------------------------------------- */
static void add_blob(struct publication *publication, const char *name, uint64_t bytes, void *text)
{
    hep_assert(publication->blob_count < BLOBS_MAX);
    struct hep_bundle_entry *entry = &publication->entries[publication->blob_count];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->bytes = bytes;
    publication->texts[publication->blob_count++] = text;
}

static enum hep_status add_json(struct publication *publication, const char *name, const json_t *json,
                                struct hep_error *error)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %s", name);
    add_blob(publication, name, strlen(text), text);
    return HEP_OK;
}

static enum hep_status add_about(struct publication *publication, struct hep_error *error)
{
    const struct about *about = &publication->about;
    char loras[SHA256_TEXT], identity[SHA256_TEXT], digest[SHA256_TEXT];
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "model", about->model, "component", about->component,
                  "vae", about->vae, "dtype", hep_dtype_name(about->dtype), "loras", checksum_text(about->loras, loras),
                  "identity", checksum_text(about->identity, identity), "digest", checksum_text(about->digest, digest),
                  "build", hep_build_id(), "isa", hep_isa_name(hep_isa_level()));
    enum hep_status status = json ? add_json(publication, "about.json", json, error)
                                  : hep_fail(error, HEP_E_BAD_MODEL, "the model's name is not UTF-8");
    json_decref(json);
    return status;
}

/* Parsed here, so that a config that is no JSON is the model's defect, and what is published is strict JSON. */
static enum hep_status add_scheduler(struct publication *publication, const struct hep_model *model,
                                     struct hep_error *error)
{
    json_t *config = NULL;
    HEP_TRY(hep_model_scheduler_config(model, &config, error));
    enum hep_status status = add_json(publication, "scheduler_config.json", config, error);
    json_decref(config);
    return status;
}

static enum hep_status add_files(struct publication *publication, const struct hep_model *model,
                                 struct hep_error *error)
{
    const struct file_row *row = file_row(publication->about.component);
    if (strcmp(row->component, "scheduler") == 0)
        return add_scheduler(publication, model, error);
    for (int i = 0; i < (int)HEP_COUNT_OF(row->files) && row->files[i]; i++) {
        char *text;
        size_t bytes;
        if (i >= row->required && !hep_model_has_file(model, row->files[i]))
            continue;
        HEP_TRY(hep_model_read_file(model, row->files[i], HEP_TOKENIZER_FILE_MAX, &text, &bytes, error));
        add_blob(publication, strrchr(row->files[i], '/') + 1, bytes, text);
    }
    return HEP_OK;
}

static enum hep_status add_embeddings(struct publication *publication, const struct embedding_set *embeddings,
                                      struct hep_error *error)
{
    static const char *const names[HEP_EMBEDDING_ENCODERS_MAX] = {"vectors", "vectors_2"};
    json_t *list = embedding_set_describe(embeddings);
    enum hep_status status = add_json(publication, "embeddings.json", list, error);
    json_decref(list);
    for (int i = 0; status == HEP_OK && i < embedding_set_encoders(embeddings); i++) {
        float *vectors;
        size_t bytes;
        status = embedding_set_read(embeddings, i, &vectors, &bytes, error);
        if (status == HEP_OK)
            add_blob(publication, names[i], bytes, vectors);
    }
    return status;
}

/* ---- networks
 * ------------------------------------------------------------------------------------------------------------ */
struct packing {
    struct publication *publication;
    const struct hep_model *model;
    const json_t *config;
    struct hep_graph *graph;
    bool decoder;
};

static enum hep_status build_clip(struct packing *packing, struct hep_error *error)
{
    struct hep_clip_config config;
    char file[64];
    snprintf(file, sizeof file, "%s/config.json", packing->publication->about.component);
    HEP_TRY(hep_clip_config_read(packing->config, file, &config, error));
    struct hep_clip_build build = {
        .batch = 1, .tokens = config.max_position_embeddings, .outputs = HEP_CLIP_LAST_HIDDEN_STATE};
    if (strcmp(packing->publication->about.component, "text_encoder_2") == 0)
        build.outputs |= HEP_CLIP_TEXT_EMBEDS;
    hep_clip_build(packing->graph, &config, &build);
    return HEP_OK;
}

static enum hep_status build_unet(struct packing *packing, struct hep_error *error)
{
    struct hep_unet_config config;
    HEP_TRY(hep_unet_config_read(packing->config, "unet/config.json", &config, error));
    struct hep_unet_build build = {.batch = 1, .height = 8 * PACK_SIDE, .width = 8 * PACK_SIDE, .tokens = PACK_TOKENS};
    hep_unet_build(packing->graph, &config, &build);
    return HEP_OK;
}

static enum hep_status build_controlnet(struct packing *packing, struct hep_error *error)
{
    struct hep_controlnet_config config;
    HEP_TRY(hep_controlnet_config_read(packing->config, "config.json", &config, error));
    struct hep_controlnet_build build = {
        .batch = 1, .height = 8 * PACK_SIDE, .width = 8 * PACK_SIDE, .tokens = PACK_TOKENS};
    hep_controlnet_build(packing->graph, &config, &build);
    return HEP_OK;
}

static enum hep_status build_safety_checker(struct packing *packing, struct hep_error *error)
{
    struct hep_clip_vision_config config;
    HEP_TRY(hep_clip_vision_config_read(packing->config, "safety_checker/config.json", &config, error));
    hep_clip_vision_build(packing->graph, &config, &(struct hep_clip_vision_build){.batch = 1});
    return HEP_OK;
}

static enum hep_status build_vae(struct packing *packing, struct hep_error *error)
{
    struct hep_vae_config config;
    HEP_TRY(hep_vae_config_read(packing->config, "vae/config.json", &config, error));
    struct hep_vae_build build = {.batch = 1, .height = PACK_SIDE, .width = PACK_SIDE};
    if (packing->decoder)
        hep_vae_decoder_build(packing->graph, &config, &build);
    else
        hep_vae_encoder_build(packing->graph, &config, &build);
    return HEP_OK;
}

static enum hep_status build_upscaler(struct packing *packing, struct hep_error *error)
{
    struct hep_rrdbnet_config config;
    HEP_TRY(hep_rrdbnet_config_read(packing->config, hep_component_file(packing->publication->component, 0), &config,
                                    error));
    struct hep_rrdbnet_build build = {.batch = 1, .height = PACK_SIDE, .width = PACK_SIDE};
    hep_rrdbnet_build(packing->graph, &config, &build);
    return HEP_OK;
}

/* Networks of each component, in the order of their blobs. To add one: a row. */
static const struct network_row {
    const char *component, *blob;
    enum hep_status (*build)(struct packing *packing, struct hep_error *error);
    bool decoder;
} network_rows[] = {
    {"text_encoder", "packed.text_encoder", build_clip, false},
    {"text_encoder_2", "packed.text_encoder", build_clip, false},
    {"unet", "packed.unet", build_unet, false},
    {"controlnet", "packed.controlnet", build_controlnet, false},
    {"vae", "packed.decoder", build_vae, true},
    {"vae", "packed.encoder", build_vae, false},
    {"upscaler", "packed.upscaler", build_upscaler, false},
    {"safety_checker", "packed.safety_checker", build_safety_checker, false},
};

static enum hep_status add_network(struct publication *publication, const struct hep_model *model,
                                   const struct network_row *row, struct hep_error *error)
{
    struct packing packing = {publication, model, hep_component_config(publication->component), NULL, row->decoder};
    struct hep_plan_options options = {.dtype = publication->about.dtype};
    struct hep_plan *plan = NULL;
    HEP_TRY(
        hep_graph_create(strchr(row->blob, '.') + 1, hep_lora_merge_source(publication->merge), &packing.graph, error));
    enum hep_status status = row->build(&packing, error);
    if (status == HEP_OK)
        status = hep_graph_finish(packing.graph, error);
    if (status == HEP_OK)
        status = hep_plan_create(packing.graph, &options, &plan, error);
    hep_graph_destroy(packing.graph);
    if (status != HEP_OK)
        return hep_prefix(error, "%s", strchr(row->blob, '.') + 1), status;
    publication->plans[publication->plan_count++] = plan;
    add_blob(publication, row->blob, hep_packed_size(plan), NULL);
    return HEP_OK;
}

static enum hep_status plan_networks(struct publication *publication, const struct hep_model *model,
                                     const struct lora_set *loras, struct hep_error *error)
{
    struct hep_lora_use uses[HEP_LORAS_MAX];
    size_t count;
    HEP_TRY(hep_model_component(model, publication->about.component, NULL, &publication->component, error));
    lora_set_uses(loras, publication->about.component, uses, &count);
    HEP_TRY(hep_lora_merge_create(publication->component, uses, count, &publication->merge, error));
    HEP_TRY(add_json(publication, "config.json", hep_component_config(publication->component), error));
    for (size_t i = 0; i < HEP_COUNT_OF(network_rows); i++)
        if (strcmp(network_rows[i].component, publication->about.component) == 0)
            HEP_TRY(add_network(publication, model, &network_rows[i], error));
    return HEP_OK;
}

/* ---- public
 * -------------------------------------------------------------------------------------------------------------- */
enum hep_status publication_create(const struct hep_model *model, const struct about *about,
                                   const struct lora_set *loras, const struct embedding_set *embeddings,
                                   struct publication **publication, struct hep_error *error)
{
    struct publication *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to publish %s", about->component);
    result->about = *about;
    enum hep_status status = add_about(result, error);
    if (status == HEP_OK && strcmp(about->component, EMBEDDINGS_COMPONENT) == 0)
        status = add_embeddings(result, embeddings, error);
    else if (status == HEP_OK)
        status = publish_is_files(about->component) ? add_files(result, model, error)
                                                    : plan_networks(result, model, loras, error);
    if (status == HEP_OK)
        status = hep_bundle_plan(result->entries, (size_t)result->blob_count, &result->bytes, error);
    if (status != HEP_OK) {
        publication_destroy(result);
        return status;
    }
    *publication = result;
    return HEP_OK;
}

uint64_t publication_bytes(const struct publication *publication)
{
    return publication->bytes;
}

static enum hep_status fill(struct publication *publication, unsigned char *memory, struct hep_error *error)
{
    int plan = 0;
    for (int i = 0; i < publication->blob_count; i++) {
        const struct hep_bundle_entry *entry = &publication->entries[i];
        if (publication->texts[i])
            memcpy(memory + entry->offset, publication->texts[i], entry->bytes);
        else
            HEP_TRY(hep_packed_write(publication->plans[plan++], hep_lora_merge_source(publication->merge),
                                     publication->about.digest, memory + entry->offset, (size_t)entry->bytes, error));
        HEP_CRASH_POINT("model.segment_half_filled");
    }
    hep_bundle_seal(memory, publication->bytes, publication->entries, (size_t)publication->blob_count);
    return HEP_OK;
}

enum hep_status publication_write(struct publication *publication, const struct hep_segment_name *name,
                                  struct hep_tensor_ref *ref, struct hep_error *error)
{
    struct hep_weights *weights;
    HEP_TRY(hep_weights_create(name, publication->bytes, &weights, error));
    HEP_CRASH_POINT("model.segment_created");
    enum hep_status status = fill(publication, hep_weights_data(weights), error);
    HEP_CRASH_POINT("model.segment_filled");
    if (status == HEP_OK)
        status = hep_weights_publish(weights, error);
    HEP_CRASH_POINT("model.segment_published");
    if (status == HEP_OK)
        *ref = hep_weights_ref(weights);
    hep_weights_destroy(weights); /* removes the segment unless it was published */
    return status;
}

void publication_destroy(struct publication *publication)
{
    if (!publication)
        return;
    for (int i = 0; i < publication->blob_count; i++)
        free(publication->texts[i]);
    for (int i = 0; i < publication->plan_count; i++)
        hep_plan_destroy(publication->plans[i]);
    hep_lora_merge_destroy(publication->merge);
    hep_component_close(publication->component);
    free(publication);
}
