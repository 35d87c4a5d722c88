/*
 * Encodes prompts with the text encoders of a model. Each chunk of 77 tokens is one call of the network, two variants
 * side by side (negative and positive prompt, where neither changes); weights are applied to each encoder's own states;
 * SDXL's two encoders stand beside each other in the last dimension, its refiner has the second one alone.
 */
#include "instructors/conditioning/encode.h"

#include "instructors/conditioning/emphasis.h"
#include "instructors/conditioning/prompt.h"
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
    static const struct network_want want = {"packed.text_encoder", "text_encoder/config.json",
                                             hep_any_config_read_clip};
    const union hep_any_config *config;
    HEP_TRY(networks_get(networks, self, ref, &want, &encoder->network, &config, error));
    encoder->config = &config->clip;
    return HEP_OK;
}

static enum hep_status name_prompt(enum hep_status status, const char *prompt, struct hep_error *error)
{
    if (status != HEP_OK && error && error->field[0] == '\0')
        snprintf(error->field, sizeof error->field, "%s", prompt);
    return status;
}

enum hep_status encoding_use_embeddings(struct encoding *encoding, const struct hep_tensor *bundle,
                                        struct hep_error *error)
{
    return embeddings_open(bundle, &encoding->embeddings, error);
}

static enum hep_status read_prompt(const struct encoding *encoding, struct hep_str prompt, int32_t steps,
                                   struct prompt_schedule *schedule, struct hep_error *error)
{
    char *text = NULL;
    size_t size = 0;
    HEP_TRY(prompt_check(prompt.data, prompt.length, error));
    HEP_TRY(embeddings_replace(&encoding->embeddings, prompt.data, prompt.length, &text, &size, error));
    enum hep_status status = prompt_schedule_make(text, size, steps, encoding->base_steps, schedule, error);
    free(text);
    return status;
}

enum hep_status encoding_read(struct encoding *encoding, struct hep_str prompt, struct hep_str negative, int32_t steps,
                              struct hep_error *error)
{
    HEP_TRY(name_prompt(read_prompt(encoding, prompt, steps, &encoding->positive, error), "prompt", error));
    HEP_TRY(name_prompt(read_prompt(encoding, negative, steps, &encoding->negative, error), "negative_prompt", error));
    encoding->variants = encoding->negative.count + encoding->positive.count;
    return HEP_OK;
}

static enum hep_status cut(const struct encoding *encoding, struct encoder *encoder, struct hep_error *error)
{
    encoder->variants = calloc(encoding->variants, sizeof *encoder->variants);
    if (!encoder->variants)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu variants of a prompt", encoding->variants);
    for (size_t i = 0; i < encoding->variants; i++) {
        bool is_negative = i < encoding->negative.count;
        const struct prompt_variant *variant =
            is_negative ? &encoding->negative.variants[i] : &encoding->positive.variants[i - encoding->negative.count];
        HEP_TRY(
            name_prompt(prompt_chunks_make_with(encoder->tokenizer, encoder->words.embeddings ? &encoder->words : NULL,
                                                variant->text, variant->size, &encoder->variants[i], error),
                        is_negative ? "negative_prompt" : "prompt", error));
    }
    return HEP_OK;
}

/* The embeddings as this encoder is to see them. */
static enum hep_status make_words(const struct encoding *encoding, struct encoder *encoder, struct hep_error *error)
{
    const struct embeddings *embeddings = &encoding->embeddings;
    if (embeddings->count == 0)
        return HEP_OK;
    encoder->vectors = embeddings_for(embeddings, encoding->count - 1, encoder->config->hidden_size);
    if (encoder->vectors < 0)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "embeddings",
                              "the embeddings are not for text encoder %d of this model", encoding->count);
    return embedding_words_make(embeddings, encoder->tokenizer, &encoder->words, error);
}

enum hep_status encoding_add(struct encoding *encoding, struct networks *networks, struct hep_instructor *self,
                             const struct hep_tensor *tokenizer, const struct hep_tensor_ref *text_encoder, bool pools,
                             struct hep_error *error)
{
    hep_assert(encoding->count < ENCODERS_MAX && encoding->variants >= 2);
    struct encoder *encoder = &encoding->encoders[encoding->count++];
    encoder->pools = pools;
    HEP_TRY(tokenizer_from_bundle(tokenizer, &encoder->tokenizer, error));
    HEP_TRY(open_network(encoder, networks, self, text_encoder, error));
    if (hep_tokenizer_info(encoder->tokenizer)->ids > encoder->config->vocab_size)
        return hep_fail(error, HEP_E_BAD_MODEL, "the tokenizer has %d ids, the text encoder knows %d",
                        hep_tokenizer_info(encoder->tokenizer)->ids, encoder->config->vocab_size);
    HEP_TRY(make_words(encoding, encoder, error));
    return cut(encoding, encoder, error);
}

enum hep_status encoding_plan(struct encoding *encoding, int clip_skip, bool empty_negative, struct hep_error *error)
{
    encoding->chunks = 1;
    encoding->clip_skip = clip_skip;
    encoding->context_dim = 0;
    encoding->pooled_dim = 1;
    for (int i = 0; i < encoding->count; i++) {
        const struct encoder *encoder = &encoding->encoders[i];
        if (clip_skip > encoder->config->num_hidden_layers)
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "clip_skip",
                                  "clip_skip is %d, the text encoder has %d layers", clip_skip,
                                  encoder->config->num_hidden_layers);
        size_t chunks = prompt_chunks_common(encoder->variants, encoding->variants);
        encoding->chunks = chunks > encoding->chunks ? chunks : encoding->chunks;
        encoding->context_dim += encoder->config->hidden_size;
        if (encoder->pools) {
            encoding->is_sdxl = true;
            encoding->pooled_dim = encoder->config->projection_dim;
            encoding->zero_negative = empty_negative && encoder->config->force_zeros_for_empty_prompt;
        }
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

/* SD: the chosen layer after the final norm. SDXL: one layer earlier and raw; one of its encoders also pools. */
static struct build_context shape_of(const struct encoding *encoding, int index, char key[64])
{
    bool is_sdxl = encoding->is_sdxl;
    struct build_context context = {encoding->encoders[index].config,
                                    {.batch = 2,
                                     .tokens = CHUNK_LENGTH,
                                     .outputs = is_sdxl ? HEP_CLIP_CONTEXT_RAW : HEP_CLIP_CONTEXT,
                                     .clip_skip = encoding->clip_skip + (is_sdxl ? 1 : 0),
                                     .embedded = encoding->embeddings.count > 0}};
    if (encoding->encoders[index].pools)
        context.build.outputs |= HEP_CLIP_TEXT_EMBEDS;
    snprintf(key, 64, "n2t%do%ds%d%s", CHUNK_LENGTH, (int)context.build.outputs, context.build.clip_skip,
             context.build.embedded ? "e" : "");
    return context;
}

/* Runs of the network for each chunk. */
static size_t pairs_of(const struct encoding *encoding)
{
    return (encoding->variants + 1) / 2;
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
        *flops += cost.flops * (double)(encoding->chunks * pairs_of(encoding));
        *bytes += cost.peak_bytes;
    }
    return HEP_OK;
}

/* The memory of one encoder's run: ids and weights of two variants, their states of one chunk and of all. */
struct scratch {
    int32_t *ids;   /* [2][chunks, 77]         */
    float *weights; /* [2][chunks, 77]         */
    float *hidden;  /* [2][chunks, 77, width]  */
    float *chunk;   /* [2, 77, width]          */
    float *pooled;  /* [2, pooled_dim]         */
    int32_t *pair;  /* [2, 77]                 */
    float *vectors; /* [2, 77, width]: of embeddings, zeros elsewhere; NULL = there are none */
};

static void scratch_clear(struct scratch *scratch)
{
    free(scratch->ids);
    free(scratch->weights);
    free(scratch->hidden);
    free(scratch->chunk);
    free(scratch->pooled);
    free(scratch->pair);
    free(scratch->vectors);
}

static enum hep_status scratch_init(struct scratch *scratch, const struct encoding *encoding, size_t width,
                                    struct hep_error *error)
{
    size_t tokens = encoding->chunks * CHUNK_LENGTH, pair = (size_t)2 * CHUNK_LENGTH;
    bool embedded = encoding->embeddings.count > 0;
    *scratch = (struct scratch){.ids = malloc(2 * tokens * sizeof(int32_t)),
                                .weights = malloc(2 * tokens * sizeof(float)),
                                .hidden = malloc(2 * tokens * width * sizeof(float)),
                                .chunk = malloc(pair * width * sizeof(float)),
                                .pooled = malloc(2 * (size_t)encoding->pooled_dim * sizeof(float)),
                                .pair = malloc(pair * sizeof(int32_t)),
                                .vectors = embedded ? malloc(pair * width * sizeof(float)) : NULL};
    if (scratch->ids && scratch->weights && scratch->hidden && scratch->chunk && scratch->pooled && scratch->pair &&
        (scratch->vectors || !embedded))
        return HEP_OK;
    scratch_clear(scratch);
    return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu chunks of a prompt", encoding->chunks);
}

/* One encoder at work on two variants; `first` alone where it is the last one. */
struct encoder_run {
    struct encoding *encoding;
    struct encoder *encoder;
    struct hep_plan *plan;
    struct scratch scratch;
    size_t column; /* of the conditioning, where this encoder's states begin */
    bool pools;
    size_t first;
};

static enum hep_status run_chunk(struct encoder_run *run, size_t chunk, struct hep_error *error)
{
    struct scratch *scratch = &run->scratch;
    size_t chunks = run->encoding->chunks, width = (size_t)run->encoder->config->hidden_size;
    struct network_step step = {run->encoding->call, (int32_t)(run->first / 2 * chunks + chunk),
                                (int32_t)(pairs_of(run->encoding) * chunks), "encode_prompt"};
    for (size_t row = 0; row < 2; row++)
        memcpy(scratch->pair + row * CHUNK_LENGTH, scratch->ids + (row * chunks + chunk) * CHUNK_LENGTH,
               CHUNK_LENGTH * sizeof(int32_t));
    if (scratch->vectors)
        embeddings_write(&run->encoding->embeddings, run->encoder->vectors, scratch->pair, (size_t)2 * CHUNK_LENGTH,
                         scratch->vectors);
    struct hep_argument inputs[] = {
        {"input_ids", {scratch->pair, HEP_I32, HEP_SHAPE(2, CHUNK_LENGTH)}},
        {"embedded", {scratch->vectors, HEP_F32, HEP_SHAPE(2, CHUNK_LENGTH, (int64_t)width)}}};
    struct hep_argument outputs[] = {
        {"context", {scratch->chunk, HEP_F32, HEP_SHAPE(2, CHUNK_LENGTH, (int64_t)width)}},
        {"text_embeds", {scratch->pooled, HEP_F32, HEP_SHAPE(2, run->encoding->pooled_dim)}}};
    HEP_TRY(networks_run(step.call ? &step : NULL, run->plan, inputs, scratch->vectors ? 2 : 1, outputs,
                         run->pools ? 2 : 1, error));
    for (size_t row = 0; row < 2; row++)
        memcpy(scratch->hidden + (row * chunks + chunk) * CHUNK_LENGTH * width,
               scratch->chunk + row * CHUNK_LENGTH * width, CHUNK_LENGTH * width * sizeof(float));
    return HEP_OK;
}

/* Copies a variant's states into its encoder's columns of the conditioning. */
static void place(const struct encoder_run *run, size_t row, float *conditioning)
{
    size_t tokens = run->encoding->chunks * CHUNK_LENGTH, width = (size_t)run->encoder->config->hidden_size,
           context_dim = (size_t)run->encoding->context_dim, variant = run->first + row;
    for (size_t token = 0; token < tokens; token++)
        memcpy(conditioning + (variant * tokens + token) * context_dim + run->column,
               run->scratch.hidden + (row * tokens + token) * width, width * sizeof(float));
}

static enum hep_status run_pair(struct encoder_run *run, float *conditioning, float *pooled, struct hep_error *error)
{
    struct scratch *scratch = &run->scratch;
    const struct encoding *encoding = run->encoding;
    size_t tokens = encoding->chunks * CHUNK_LENGTH, width = (size_t)run->encoder->config->hidden_size;
    size_t pooled_dim = (size_t)encoding->pooled_dim, rows = run->first + 1 < encoding->variants ? 2 : 1;
    for (size_t row = 0; row < 2; row++) /* the last one, if it is alone, is there twice */
        prompt_chunks_write(&run->encoder->variants[run->first + (row < rows ? row : 0)], run->encoder->tokenizer,
                            encoding->chunks, scratch->ids + row * tokens, scratch->weights + row * tokens);
    for (size_t chunk = 0; chunk < encoding->chunks; chunk++) {
        HEP_TRY(run_chunk(run, chunk, error));
        if (run->pools && chunk == 0)
            memcpy(pooled + run->first * pooled_dim, scratch->pooled, rows * pooled_dim * sizeof(float));
    }
    for (size_t row = 0; row < rows; row++) {
        HEP_TRY(conditioning_apply_weights(scratch->hidden + row * tokens * width, scratch->weights + row * tokens,
                                           encoding->chunks, width, error));
        place(run, row, conditioning);
    }
    return HEP_OK;
}

static enum hep_status run_encoder(struct encoding *encoding, int index, size_t column, float *conditioning,
                                   float *pooled, struct hep_error *error)
{
    struct encoder_run run = {.encoding = encoding,
                              .encoder = &encoding->encoders[index],
                              .column = column,
                              .pools = encoding->encoders[index].pools};
    char key[64];
    struct build_context context = shape_of(encoding, index, key);
    HEP_TRY(hep_network_ready(run.encoder->network, key, build, &context, &run.plan, error));
    HEP_TRY(scratch_init(&run.scratch, encoding, (size_t)run.encoder->config->hidden_size, error));
    enum hep_status status = HEP_OK;
    for (; status == HEP_OK && run.first < encoding->variants; run.first += 2)
        status = run_pair(&run, conditioning, pooled, error);
    scratch_clear(&run.scratch);
    return status;
}

enum hep_status encoding_run(struct encoding *encoding, float *conditioning, float *pooled, struct hep_error *error)
{
    size_t column = 0, variant_floats = encoding->chunks * CHUNK_LENGTH * (size_t)encoding->context_dim;
    memset(pooled, 0, encoding->variants * (size_t)encoding->pooled_dim * sizeof(float));
    for (int i = 0; i < encoding->count; i++) {
        HEP_TRY(run_encoder(encoding, i, column, conditioning, pooled, error));
        column += (size_t)encoding->encoders[i].config->hidden_size;
    }
    if (encoding->zero_negative) { /* an empty prompt has one variant */
        memset(conditioning, 0, variant_floats * sizeof(float));
        memset(pooled, 0, (size_t)encoding->pooled_dim * sizeof(float));
    }
    return HEP_OK;
}

void encoding_schedule(const struct encoding *encoding, int32_t *schedule)
{
    int32_t steps = encoding->negative.steps;
    for (int32_t i = 0; i < steps; i++) {
        schedule[i] = encoding->negative.variant_of[i];
        schedule[steps + i] = (int32_t)encoding->negative.count + encoding->positive.variant_of[i];
    }
}

void encoding_clear(struct encoding *encoding)
{
    for (int i = 0; i < encoding->count; i++) {
        struct encoder *encoder = &encoding->encoders[i];
        hep_tokenizer_destroy(encoder->tokenizer);
        for (size_t v = 0; encoder->variants && v < encoding->variants; v++)
            prompt_chunks_clear(&encoder->variants[v]);
        free(encoder->variants);
        embedding_words_clear(&encoder->words);
    }
    prompt_schedule_clear(&encoding->negative);
    prompt_schedule_clear(&encoding->positive);
    memset(encoding, 0, sizeof *encoding);
}
