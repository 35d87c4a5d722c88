/*
 * Encodes prompts with the text encoders of a model. Each chunk of 77 tokens is one call of the network, negative and
 * positive prompt side by side; weights are applied to each encoder's own states; SDXL's two encoders stand beside each
 * other in the last dimension.
 */
#include "instructors/conditioning/encode.h"

#include "instructors/conditioning/emphasis.h"
#include "nn/bundle/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening
 * ---------------------------------------------------------------------------------------------------------- */
enum hep_status tokenizer_from_bundle(const struct hep_tensor *bundle, struct hep_tokenizer **tokenizer,
                                      struct hep_error *error)
{
    const struct hep_bundle_header *header;
    const void *vocab, *merges, *config = NULL, *specials = NULL;
    struct hep_tokenizer_files files = {0};
    if (bundle->dtype != HEP_U8 || bundle->shape.rank != 1)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "a tokenizer must be a bundle, u8 [bytes]");
    HEP_TRY(hep_bundle_open(bundle->data, (uint64_t)bundle->shape.dims[0], &header, error));
    HEP_TRY(hep_bundle_find(header, "vocab.json", &vocab, &files.vocab_size, error));
    HEP_TRY(hep_bundle_find(header, "merges.txt", &merges, &files.merges_size, error));
    hep_bundle_find(header, "tokenizer_config.json", &config, &files.tokenizer_config_size, NULL);
    hep_bundle_find(header, "special_tokens_map.json", &specials, &files.special_tokens_map_size, NULL);
    files.vocab = vocab;
    files.merges = merges;
    files.tokenizer_config = config;
    files.special_tokens_map = specials;
    return hep_tokenizer_create(&files, tokenizer, error);
}

static enum hep_status open_network(struct encoder *encoder, struct networks *networks, struct hep_instructor *self,
                                    const struct hep_tensor_ref *ref, struct hep_error *error)
{
    void **extra;
    HEP_TRY(networks_get(networks, self, ref, "packed.text_encoder", &encoder->network, &extra, error));
    if (!*extra) {
        struct hep_clip_config *config = malloc(sizeof *config);
        if (!config)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a configuration");
        enum hep_status status =
            hep_clip_config_read(hep_network_config(encoder->network), "text_encoder/config.json", config, error);
        if (status != HEP_OK) {
            free(config);
            return status;
        }
        *extra = config;
    }
    encoder->config = *extra;
    return HEP_OK;
}

enum hep_status encoding_add(struct encoding *encoding, struct networks *networks, struct hep_instructor *self,
                             const struct hep_tensor *tokenizer, const struct hep_tensor_ref *text_encoder,
                             struct hep_str prompt, struct hep_str negative, struct hep_error *error)
{
    hep_assert(encoding->count < ENCODERS_MAX);
    struct encoder *encoder = &encoding->encoders[encoding->count++];
    HEP_TRY(tokenizer_from_bundle(tokenizer, &encoder->tokenizer, error));
    HEP_TRY(open_network(encoder, networks, self, text_encoder, error));
    if (hep_tokenizer_info(encoder->tokenizer)->ids > encoder->config->vocab_size)
        return hep_fail(error, HEP_E_BAD_MODEL, "the tokenizer has %d ids, the text encoder knows %d",
                        hep_tokenizer_info(encoder->tokenizer)->ids, encoder->config->vocab_size);
    enum hep_status status =
        prompt_chunks_make(encoder->tokenizer, prompt.data, prompt.length, &encoder->positive, error);
    if (status != HEP_OK) {
        if (error)
            snprintf(error->field, sizeof error->field, "prompt");
        return status;
    }
    status = prompt_chunks_make(encoder->tokenizer, negative.data, negative.length, &encoder->negative, error);
    if (status != HEP_OK && error)
        snprintf(error->field, sizeof error->field, "negative_prompt");
    return status;
}

enum hep_status encoding_plan(struct encoding *encoding, int clip_skip, bool empty_negative, struct hep_error *error)
{
    const struct prompt_chunks *all[2 * ENCODERS_MAX];
    size_t used = 0;
    encoding->clip_skip = clip_skip;
    encoding->context_dim = 0;
    encoding->pooled_dim = 1;
    for (int i = 0; i < encoding->count; i++) {
        const struct encoder *encoder = &encoding->encoders[i];
        if (clip_skip > encoder->config->num_hidden_layers)
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "clip_skip",
                                  "clip_skip is %d, the text encoder has %d layers", clip_skip,
                                  encoder->config->num_hidden_layers);
        all[used++] = &encoder->negative;
        all[used++] = &encoder->positive;
        encoding->context_dim += encoder->config->hidden_size;
    }
    encoding->chunks = prompt_chunks_common(all, used);
    if (encoding->count == 2) {
        encoding->pooled_dim = encoding->encoders[1].config->projection_dim;
        encoding->zero_negative = empty_negative;
    }
    return HEP_OK;
}

/* ---- running
 * ---------------------------------------------------------------------------------------------------------- */
struct build_context {
    const struct hep_clip_config *config;
    struct hep_clip_build build;
};

static void build(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_clip_build(graph, shape->config, &shape->build);
}

/* SD: the chosen layer after the final norm. SDXL: one layer earlier and raw; the second encoder also pools. */
static struct build_context shape_of(const struct encoding *encoding, int index, char key[64])
{
    bool pair = encoding->count == 2;
    struct build_context context = {encoding->encoders[index].config,
                                    {.batch = 2,
                                     .tokens = CHUNK_LENGTH,
                                     .outputs = pair ? HEP_CLIP_CONTEXT_RAW : HEP_CLIP_CONTEXT,
                                     .clip_skip = encoding->clip_skip + (pair ? 1 : 0)}};
    if (pair && index == 1)
        context.build.outputs |= HEP_CLIP_TEXT_EMBEDS;
    snprintf(key, 64, "n2t%do%ds%d", CHUNK_LENGTH, (int)context.build.outputs, context.build.clip_skip);
    return context;
}

enum hep_status encoding_cost(struct encoding *encoding, double *flops, uint64_t *bytes, struct hep_error *error)
{
    *flops = 0;
    *bytes = 0;
    for (int i = 0; i < encoding->count; i++) {
        char key[64];
        struct build_context context = shape_of(encoding, i, key);
        struct hep_network_cost cost;
        HEP_TRY(hep_network_cost(encoding->encoders[i].network, key, build, &context, &cost, error));
        *flops += cost.flops * (double)encoding->chunks;
        *bytes += cost.peak_bytes;
    }
    return HEP_OK;
}

/* The memory of one encoder's run: ids and weights of both prompts, states of one chunk and of all. */
struct scratch {
    int32_t *ids;   /* [2][chunks, 77]         */
    float *weights; /* [2][chunks, 77]         */
    float *hidden;  /* [2][chunks, 77, width]  */
    float *chunk;   /* [2, 77, width]          */
    float *pooled;  /* [2, pooled_dim]         */
    int32_t *pair;  /* [2, 77]                 */
};

static void scratch_clear(struct scratch *scratch)
{
    free(scratch->ids);
    free(scratch->weights);
    free(scratch->hidden);
    free(scratch->chunk);
    free(scratch->pooled);
    free(scratch->pair);
}

static enum hep_status scratch_init(struct scratch *scratch, size_t chunks, size_t width, size_t pooled,
                                    struct hep_error *error)
{
    size_t tokens = chunks * CHUNK_LENGTH;
    *scratch = (struct scratch){.ids = malloc(2 * tokens * sizeof(int32_t)),
                                .weights = malloc(2 * tokens * sizeof(float)),
                                .hidden = malloc(2 * tokens * width * sizeof(float)),
                                .chunk = malloc((size_t)2 * CHUNK_LENGTH * width * sizeof(float)),
                                .pooled = malloc(2 * pooled * sizeof(float)),
                                .pair = malloc((size_t)2 * CHUNK_LENGTH * sizeof(int32_t))};
    if (scratch->ids && scratch->weights && scratch->hidden && scratch->chunk && scratch->pooled && scratch->pair)
        return HEP_OK;
    scratch_clear(scratch);
    return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu chunks of a prompt", chunks);
}

static enum hep_status run_chunk(struct hep_call *call, struct hep_plan *plan, struct scratch *scratch, size_t chunk,
                                 size_t chunks, size_t width, bool pools, size_t pooled_dim, struct hep_error *error)
{
    struct network_step step = {call, (int32_t)chunk, (int32_t)chunks, "encode_prompt"};
    for (size_t row = 0; row < 2; row++)
        memcpy(scratch->pair + row * CHUNK_LENGTH, scratch->ids + (row * chunks + chunk) * CHUNK_LENGTH,
               CHUNK_LENGTH * sizeof(int32_t));
    struct hep_argument input = {"input_ids", {scratch->pair, HEP_I32, HEP_SHAPE(2, CHUNK_LENGTH)}};
    struct hep_argument outputs[] = {{"context", {scratch->chunk, HEP_F32, HEP_SHAPE(2, CHUNK_LENGTH, (int64_t)width)}},
                                     {"text_embeds", {scratch->pooled, HEP_F32, HEP_SHAPE(2, (int64_t)pooled_dim)}}};
    HEP_TRY(networks_run(call ? &step : NULL, plan, &input, 1, outputs, pools ? 2 : 1, error));
    for (size_t row = 0; row < 2; row++)
        memcpy(scratch->hidden + (row * chunks + chunk) * CHUNK_LENGTH * width,
               scratch->chunk + row * CHUNK_LENGTH * width, CHUNK_LENGTH * width * sizeof(float));
    return HEP_OK;
}

/* Copies an encoder's states into its columns of the conditioning. */
static void place(const struct scratch *scratch, size_t tokens, size_t width, size_t column, size_t context_dim,
                  float *conditioning)
{
    for (size_t token = 0; token < 2 * tokens; token++)
        memcpy(conditioning + token * context_dim + column, scratch->hidden + token * width, width * sizeof(float));
}

static enum hep_status run_encoder(struct encoding *encoding, int index, size_t column, float *conditioning,
                                   float *pooled, struct hep_error *error)
{
    struct encoder *encoder = &encoding->encoders[index];
    size_t width = (size_t)encoder->config->hidden_size, chunks = encoding->chunks, tokens = chunks * CHUNK_LENGTH;
    bool pools = encoding->count == 2 && index == 1;
    size_t pooled_dim = (size_t)encoding->pooled_dim;
    struct scratch scratch;
    struct hep_plan *plan;
    char key[64];
    struct build_context context = shape_of(encoding, index, key);
    HEP_TRY(hep_network_ready(encoder->network, key, build, &context, &plan, error));
    HEP_TRY(scratch_init(&scratch, chunks, width, pooled_dim, error));
    prompt_chunks_write(&encoder->negative, encoder->tokenizer, chunks, scratch.ids, scratch.weights);
    prompt_chunks_write(&encoder->positive, encoder->tokenizer, chunks, scratch.ids + tokens, scratch.weights + tokens);
    enum hep_status status = HEP_OK;
    for (size_t chunk = 0; chunk < chunks && status == HEP_OK; chunk++) {
        status = run_chunk(encoding->call, plan, &scratch, chunk, chunks, width, pools, pooled_dim, error);
        if (status == HEP_OK && pools && chunk == 0)
            memcpy(pooled, scratch.pooled, 2 * pooled_dim * sizeof(float));
    }
    for (size_t row = 0; row < 2 && status == HEP_OK; row++)
        status = conditioning_apply_weights(scratch.hidden + row * tokens * width, scratch.weights + row * tokens,
                                            chunks, width, error);
    if (status == HEP_OK)
        place(&scratch, tokens, width, column, (size_t)encoding->context_dim, conditioning);
    scratch_clear(&scratch);
    return status;
}

enum hep_status encoding_run(struct encoding *encoding, float *conditioning, float *pooled, struct hep_error *error)
{
    size_t column = 0, row_floats = encoding->chunks * CHUNK_LENGTH * (size_t)encoding->context_dim;
    memset(pooled, 0, 2 * (size_t)encoding->pooled_dim * sizeof(float));
    for (int i = 0; i < encoding->count; i++) {
        HEP_TRY(run_encoder(encoding, i, column, conditioning, pooled, error));
        column += (size_t)encoding->encoders[i].config->hidden_size;
    }
    if (encoding->zero_negative) {
        memset(conditioning, 0, row_floats * sizeof(float));
        memset(pooled, 0, (size_t)encoding->pooled_dim * sizeof(float));
    }
    return HEP_OK;
}

void encoding_clear(struct encoding *encoding)
{
    for (int i = 0; i < encoding->count; i++) {
        struct encoder *encoder = &encoding->encoders[i];
        hep_tokenizer_destroy(encoder->tokenizer);
        prompt_chunks_clear(&encoder->negative);
        prompt_chunks_clear(&encoder->positive);
    }
    memset(encoding, 0, sizeof *encoding);
}
