/*
 * The vision transformer's graph, in the order of transformers' modeling_clip.py, and the safety checker's arithmetic
 * on what it gives. Built by heptad-model, heptad-postprocessing and hep-eval; it reads no weights.
 */
#include "nn/models/clip_vision.h"

#include "nn/models/clip_layer.h"
#include "nn/models/config.h"

#include <math.h>
#include <stdlib.h>

#define KEY(type, key, ...)                                                                                            \
    {                                                                                                                  \
#key, HEP_CONFIG_##type, offsetof(struct hep_clip_vision_config, key), __VA_ARGS__                             \
    }
/* To add a key: a member of struct hep_clip_vision_config, a row, its use below. Defaults are transformers'. */
static const struct hep_config_key vision_keys[] = {
    KEY(INT, hidden_size, "768", 1, 1 << 16, NULL),
    KEY(INT, intermediate_size, "3072", 1, 1 << 18, NULL),
    KEY(INT, num_hidden_layers, "12", 1, 256, NULL),
    KEY(INT, num_attention_heads, "12", 1, 1024, NULL),
    KEY(INT, image_size, "224", 1, 1024, NULL),
    KEY(INT, patch_size, "32", 1, 16, NULL),
    KEY(INT, num_channels, "3", 3, 3, NULL),
    KEY(NAME, hidden_act, "\"quick_gelu\"", 0, 0, hep_clip_activations),
    KEY(REAL, layer_norm_eps, "1e-5", 0, 1, NULL),
};
static const struct hep_config_key keys[] = {
    KEY(INT, projection_dim, "512", 1, 1 << 16, NULL),
};
#undef KEY

enum hep_status hep_clip_vision_config_read(const json_t *json, const char *file, struct hep_clip_vision_config *config,
                                            struct hep_error *error)
{
    struct hep_clip_vision_config read = {0};
    const json_t *vision = json_object_get(json, "vision_config");
    if (!json_is_object(vision))
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s' has no 'vision_config'", file);
    HEP_TRY(hep_config_read(vision, file, vision_keys, HEP_COUNT_OF(vision_keys), &read, NULL, error));
    HEP_TRY(hep_config_read(json, file, keys, HEP_COUNT_OF(keys), &read, NULL, error));
    if (read.hidden_size % read.num_attention_heads != 0)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s': 'num_attention_heads' %d does not divide 'hidden_size' %d", file,
                        read.num_attention_heads, read.hidden_size);
    if (read.image_size % read.patch_size != 0)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s': 'patch_size' %d does not divide 'image_size' %d", file,
                        read.patch_size, read.image_size);
    *config = read;
    return HEP_OK;
}

/* Patches to tokens, behind the class token: [n, 1 + patches, hidden_size]. Tokens of an image are contiguous, so that
   putting one in front of them is a concatenation of the flat rows. */
static hep_value embed(struct hep_graph *g, struct hep_scope s, const struct hep_clip_vision_config *c, int64_t n)
{
    int64_t side = c->image_size, patches = (side / c->patch_size) * (side / c->patch_size), width = c->hidden_size;
    hep_value x = hep_from_nchw(g, hep_input(g, "clip_input", HEP_F32, HEP_SHAPE(n, c->num_channels, side, side)));
    x = hep_conv2d(g, x, s, "patch_embedding", .kernel = c->patch_size, .stride = c->patch_size, .out = width,
                   .no_bias = true);
    x = hep_reshape(g, x, HEP_SHAPE(n, patches * width));
    hep_value class_token = hep_weight(g, s, "class_embedding", HEP_SHAPE(width));
    float *zeros = calloc((size_t)(n * width), sizeof *zeros);
    if (!zeros)
        return hep_graph_refuse(g, HEP_E_NO_MEMORY, "no memory for a class token");
    hep_value first = hep_add(g, hep_constant(g, zeros, HEP_SHAPE(n, width)), class_token); /* one for each image */
    free(zeros);
    x = hep_reshape(g, hep_concat(g, first, x), HEP_SHAPE(n, 1 + patches, width));
    return hep_add(g, x, hep_weight(g, s, "position_embedding.weight", HEP_SHAPE(1 + patches, width)));
}

/* The checker's own weights, as they are. */
static void give_concepts(struct hep_graph *g, const struct hep_clip_vision_config *c)
{
    static const struct {
        const char *embeds, *weights;
        int count;
    } rows[] = {{"concept_embeds", "concept_embeds_weights", HEP_SAFETY_CONCEPTS},
                {"special_care_embeds", "special_care_embeds_weights", HEP_SAFETY_SPECIAL_CONCEPTS}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        hep_value embeds = hep_weight(g, hep_root(g), rows[i].embeds, HEP_SHAPE(rows[i].count, c->projection_dim));
        hep_value weights = hep_weight(g, hep_root(g), rows[i].weights, HEP_SHAPE(rows[i].count));
        hep_output(g, rows[i].embeds, embeds);
        hep_output(g, rows[i].weights, weights);
    }
}

void hep_clip_vision_build(struct hep_graph *graph, const struct hep_clip_vision_config *c,
                           const struct hep_clip_vision_build *b)
{
    struct hep_scope s = hep_in(hep_root(graph), "vision_model.vision_model"); /* the checker's, then CLIP's own */
    struct hep_clip_layer layer = {.hidden_size = c->hidden_size,
                                   .intermediate_size = c->intermediate_size,
                                   .heads = c->num_attention_heads,
                                   .activation = hep_clip_activation(c->hidden_act),
                                   .layer_norm_eps = c->layer_norm_eps};
    hep_value x = embed(graph, hep_in(s, "embeddings"), c, b->batch);
    x = hep_layer_norm(graph, x, s, "pre_layrnorm", c->layer_norm_eps); /* as the files spell it */
    for (int i = 0; i < c->num_hidden_layers; i++) {
        x = hep_clip_layer_build(graph, x, hep_in(s, "encoder.layers.%d", i), &layer);
        hep_stage(&b->stages, hep_in(s, "encoder.layers.%d", i), "", x);
    }
    struct hep_shape shape = hep_shape_of(graph, x);
    x = hep_reshape(graph, x, HEP_SHAPE(b->batch, shape.rank == 3 ? shape.dims[1] * shape.dims[2] : 1));
    x = hep_slice(graph, x, 0, c->hidden_size); /* the class token */
    x = hep_layer_norm(graph, x, s, "post_layernorm", c->layer_norm_eps);
    hep_output(graph, "pooled", x);
    hep_output(graph, "image_embeds",
               hep_linear(graph, x, hep_root(graph), "visual_projection", .out = c->projection_dim, .no_bias = true));
    give_concepts(graph, c);
}

/* ---- the rule ---------------------------------------------------------------------------------------------------- */
static double length_of(const float *x, int64_t width)
{
    double sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += (double)x[i] * (double)x[i];
    return fmax(sqrt(sum), 1e-12); /* torch's normalize */
}

void hep_safety_cosines(const float *image, const float *concepts, int count, int64_t width, double *cosines)
{
    double own = length_of(image, width);
    for (int row = 0; row < count; row++) {
        const float *concept = concepts + row * width;
        double sum = 0;
        for (int64_t i = 0; i < width; i++)
        sum += (double)image[i] * (double)concept[i];
        cosines[row] = sum / own / length_of(concept, width);
    }
}

static double score(double cosine, float threshold, double adjustment)
{
    return nearbyint((cosine - (double)threshold + adjustment) * 1000) / 1000;
}

void hep_safety_judge(const double special[HEP_SAFETY_SPECIAL_CONCEPTS], const float *special_thresholds,
                      const double concepts[HEP_SAFETY_CONCEPTS], const float *thresholds,
                      struct hep_safety_verdict *verdict)
{
    double adjustment = 0;
    *verdict = (struct hep_safety_verdict){0};
    for (int i = 0; i < HEP_SAFETY_SPECIAL_CONCEPTS; i++) {
        verdict->special[i] = score(special[i], special_thresholds[i], adjustment);
        if (verdict->special[i] > 0)
            adjustment = 0.01;
    }
    for (int i = 0; i < HEP_SAFETY_CONCEPTS; i++) {
        verdict->concepts[i] = score(concepts[i], thresholds[i], adjustment);
        verdict->flagged = verdict->flagged || verdict->concepts[i] > 0;
    }
}
