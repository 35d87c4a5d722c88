/*
 * The text encoder's graph, in the order of transformers' modeling_clip.py; built by heptad-model, heptad-conditioning
 * and hep-eval. It computes nothing and reads no weights.
 */
#include "nn/models/clip.h"

#include "nn/models/clip_layer.h"
#include "nn/models/config.h"

#include <string.h>

#define KEY(type, key, ...)                                                                                            \
    {                                                                                                                  \
#key, HEP_CONFIG_##type, offsetof(struct hep_clip_config, key), __VA_ARGS__                                    \
    }
/* To add a key: a member of struct hep_clip_config, a row, its use below. Defaults are transformers'. */
static const struct hep_config_key keys[] = {
    KEY(INT, vocab_size, "49408", 1, 1 << 20, NULL),
    KEY(INT, hidden_size, "512", 1, 1 << 16, NULL),
    KEY(INT, intermediate_size, "2048", 1, 1 << 18, NULL),
    KEY(INT, num_hidden_layers, "12", 1, 256, NULL),
    KEY(INT, num_attention_heads, "8", 1, 1024, NULL),
    KEY(INT, max_position_embeddings, "77", 1, 4096, NULL),
    KEY(INT, projection_dim, "512", 0, 1 << 16, NULL),
    KEY(INT, eos_token_id, "49407", -1, 1 << 20, NULL),
    KEY(NAME, hidden_act, "\"quick_gelu\"", 0, 0, hep_clip_activations),
    KEY(REAL, layer_norm_eps, "1e-5", 0, 1, NULL),
    KEY(BOOL, force_zeros_for_empty_prompt, "true", 0, 0, NULL), /* of the pipeline's index: model_files.c */
};
#undef KEY

enum hep_status hep_clip_config_read(const json_t *json, const char *file, struct hep_clip_config *config,
                                     struct hep_error *error)
{
    struct hep_clip_config read = {0};
    HEP_TRY(hep_config_read(json, file, keys, HEP_COUNT_OF(keys), &read, NULL, error));
    if (read.hidden_size % read.num_attention_heads != 0)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s': 'num_attention_heads' %d does not divide 'hidden_size' %d", file,
                        read.num_attention_heads, read.hidden_size);
    const char *class = json_string_value(json_array_get(json_object_get(json, "architectures"), 0));
    if (!class || strcmp(class, "CLIPTextModelWithProjection") != 0)
        read.projection_dim = 0; /* CLIPTextModel carries the number, but no such weight */
    *config = read;
    return HEP_OK;
}

static hep_value embed(struct hep_graph *g, hep_value ids, struct hep_scope s, const struct hep_clip_config *c,
                       const struct hep_clip_build *b)
{
    int64_t tokens = b->tokens;
    hep_value token = hep_embedding(g, ids, s, "token_embedding", c->vocab_size, c->hidden_size);
    if (b->embedded) /* a row and zeros, or zeros and a vector: the sum is exact */
        token = hep_add(g, token, hep_input(g, "embedded", HEP_F32, HEP_SHAPE(b->batch, tokens, c->hidden_size)));
    hep_value position =
        hep_weight(g, s, "position_embedding.weight", HEP_SHAPE(c->max_position_embeddings, c->hidden_size));
    if (tokens != c->max_position_embeddings) {
        /* the first rows of the table: rows are contiguous, so they are a slice of the flat table */
        position = hep_reshape(g, position, HEP_SHAPE((int64_t)c->max_position_embeddings * c->hidden_size));
        position = hep_slice(g, position, 0, tokens * c->hidden_size);
        position = hep_reshape(g, position, HEP_SHAPE(tokens, c->hidden_size));
    }
    return hep_add(g, token, position);
}

/* One transformer layer, as the vision model has it too. */
static struct hep_clip_layer layer_of(const struct hep_clip_config *c)
{
    return (struct hep_clip_layer){.hidden_size = c->hidden_size,
                                   .intermediate_size = c->intermediate_size,
                                   .heads = c->num_attention_heads,
                                   .activation = hep_clip_activation(c->hidden_act),
                                   .layer_norm_eps = c->layer_norm_eps,
                                   .causal = true};
}

/* Pooled at the end token, then projected. */
static void pooled_outputs(struct hep_graph *g, hep_value last, hep_value ids, const struct hep_clip_config *c,
                           unsigned outputs)
{
    if (!(outputs & (HEP_CLIP_POOLER_OUTPUT | HEP_CLIP_TEXT_EMBEDS)))
        return;
    hep_value pooled = hep_pool_eos(g, last, ids, c->eos_token_id == 2 ? -1 : c->eos_token_id);
    if (outputs & HEP_CLIP_POOLER_OUTPUT)
        hep_output(g, "pooler_output", pooled);
    if ((outputs & HEP_CLIP_TEXT_EMBEDS) && c->projection_dim == 0)
        hep_graph_refuse(g, HEP_E_UNSUPPORTED, "this text encoder has no projection, so it gives no text_embeds");
    else if (outputs & HEP_CLIP_TEXT_EMBEDS)
        hep_output(g, "text_embeds",
                   hep_linear(g, pooled, hep_root(g), "text_projection", .out = c->projection_dim, .no_bias = true));
}

/* How many layers the outputs need. */
static int layers_needed(const struct hep_clip_config *c, const struct hep_clip_build *b)
{
    const unsigned last = HEP_CLIP_LAST_HIDDEN_STATE | HEP_CLIP_POOLER_OUTPUT | HEP_CLIP_TEXT_EMBEDS;
    int needed = b->outputs & last || b->stages.count > 0                            ? c->num_hidden_layers
                 : b->outputs & (HEP_CLIP_PENULTIMATE | HEP_CLIP_PENULTIMATE_NORMED) ? c->num_hidden_layers - 1
                                                                                     : 0;
    if (b->outputs & (HEP_CLIP_CONTEXT | HEP_CLIP_CONTEXT_RAW)) {
        int skipped = c->num_hidden_layers + 1 - b->clip_skip;
        needed = skipped > needed ? skipped : needed;
    }
    return needed;
}

/* The outputs that are taken after `layer` of the layers. */
static void layer_outputs(struct hep_graph *g, hep_value x, struct hep_scope s, const struct hep_clip_config *c,
                          const struct hep_clip_build *b, int layer)
{
    bool context = layer == c->num_hidden_layers + 1 - b->clip_skip, penultimate = layer == c->num_hidden_layers - 1;
    if (penultimate && (b->outputs & HEP_CLIP_PENULTIMATE))
        hep_output(g, "penultimate", x);
    if (penultimate && (b->outputs & HEP_CLIP_PENULTIMATE_NORMED))
        hep_output(g, "penultimate_normed", hep_layer_norm(g, x, s, "final_layer_norm", c->layer_norm_eps));
    if (context && (b->outputs & HEP_CLIP_CONTEXT))
        hep_output(g, "context", hep_layer_norm(g, x, s, "final_layer_norm", c->layer_norm_eps));
    if (context && (b->outputs & HEP_CLIP_CONTEXT_RAW))
        hep_output(g, "context", x);
}

void hep_clip_build(struct hep_graph *graph, const struct hep_clip_config *c, const struct hep_clip_build *b)
{
    struct hep_scope s = hep_in(hep_root(graph), "text_model");
    struct hep_clip_layer layer = layer_of(c);
    int layers = layers_needed(c, b);
    if ((b->outputs & (HEP_CLIP_CONTEXT | HEP_CLIP_CONTEXT_RAW)) &&
        (b->clip_skip < 1 || b->clip_skip > c->num_hidden_layers + 1)) {
        hep_graph_refuse(graph, HEP_E_OUT_OF_RANGE, "clip_skip %d is not 1 … %d: the text encoder has %d layers",
                         b->clip_skip, c->num_hidden_layers + 1, c->num_hidden_layers);
        return;
    }
    if (b->tokens < 1 || b->tokens > c->max_position_embeddings) {
        hep_graph_refuse(graph, HEP_E_OUT_OF_RANGE, "%" PRId64 " tokens do not fit the text encoder's %d positions",
                         b->tokens, c->max_position_embeddings);
        return;
    }
    hep_value ids = hep_input(graph, "input_ids", HEP_I32, HEP_SHAPE(b->batch, b->tokens));
    hep_value x = hep_stage(&b->stages, hep_in(hep_root(graph), "hidden_states"), "0",
                            embed(graph, ids, hep_in(s, "embeddings"), c, b));
    layer_outputs(graph, x, s, c, b, 0);
    for (int i = 0; i < layers; i++) {
        char number[12];
        x = hep_clip_layer_build(graph, x, hep_in(s, "encoder.layers.%d", i), &layer);
        snprintf(number, sizeof number, "%d", i + 1);
        hep_stage(&b->stages, hep_in(hep_root(graph), "hidden_states"), number, x);
        layer_outputs(graph, x, s, c, b, i + 1);
    }
    if (layers < c->num_hidden_layers ||
        !(b->outputs & (HEP_CLIP_LAST_HIDDEN_STATE | HEP_CLIP_POOLER_OUTPUT | HEP_CLIP_TEXT_EMBEDS)))
        return;
    hep_value last = hep_layer_norm(graph, x, s, "final_layer_norm", c->layer_norm_eps);
    if (b->outputs & HEP_CLIP_LAST_HIDDEN_STATE)
        hep_output(graph, "last_hidden_state", last);
    pooled_outputs(graph, last, ids, c, b->outputs);
}
