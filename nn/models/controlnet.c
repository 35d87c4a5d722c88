/*
 * The ControlNet's config table and graph, in the order of diffusers' controlnet.py; built by heptad-model,
 * heptad-inference, hep-eval and hep-bench. It computes nothing and reads no weights.
 */
#include "nn/models/controlnet.h"

#include "nn/models/unet_blocks.h"

#include <math.h>

/* ---- config ------------------------------------------------------------------------------------------------------ */

/* To add a field: a member of struct hep_controlnet_config, a row. Defaults are diffusers'. */
static const struct hep_config_key keys[] = {
    {"conditioning_embedding_out_channels", HEP_CONFIG_LIST,
     offsetof(struct hep_controlnet_config, conditioning_embedding_out_channels), "[16, 32, 96, 256]", 1, 1 << 14,
     NULL},
    {"conditioning_channels", HEP_CONFIG_INT, offsetof(struct hep_controlnet_config, conditioning_channels), "3", 1,
     4096, NULL},
    {"controlnet_conditioning_channel_order", HEP_CONFIG_ONLY, 0, "\"rgb\"", 0, 0, NULL},
    {"global_pool_conditions", HEP_CONFIG_ONLY, 0, "false", 0, 0, NULL},
};

enum hep_status hep_controlnet_config_read(const json_t *json, const char *file, struct hep_controlnet_config *config,
                                           struct hep_error *error)
{
    struct hep_controlnet_config read = {0};
    HEP_TRY(hep_config_read(json, file, keys, HEP_COUNT_OF(keys), &read, &read.conditioning_embedding_levels, error));
    HEP_TRY(hep_unet_encoder_config_read(json, file, &read.unet, error));
    *config = read;
    return HEP_OK;
}

int64_t hep_controlnet_scale_factor(const struct hep_controlnet_config *config)
{
    return INT64_C(1) << (config->conditioning_embedding_levels - 1);
}

double hep_controlnet_guess_factor(int index, int count)
{
    return pow(10.0, (double)index / (count - 1) - 1);
}

/* ---- graph ------------------------------------------------------------------------------------------------------- */

/* ControlNetConditioningEmbedding: the hint at the size of the latents, [n, h, w, first channels]. */
static hep_value embed_hint(struct unet_blocks *u, const struct hep_controlnet_config *c, hep_value hint)
{
    struct hep_graph *g = u->g;
    struct hep_scope s = hep_in(hep_root(g), "controlnet_cond_embedding");
    const int *channels = c->conditioning_embedding_out_channels;
    hep_value h = hep_silu(g, hep_conv2d(g, hint, s, "conv_in", .kernel = 3, .padding = 1, .out = channels[0]));
    for (int i = 0; i + 1 < c->conditioning_embedding_levels; i++) {
        struct hep_scope same = hep_in(s, "blocks.%d", 2 * i), next = hep_in(s, "blocks.%d", 2 * i + 1);
        h = hep_silu(g, hep_conv2d(g, h, same, "", .kernel = 3, .padding = 1, .out = channels[i]));
        h = hep_silu(g, hep_conv2d(g, h, next, "", .kernel = 3, .stride = 2, .padding = 1, .out = channels[i + 1]));
    }
    h = hep_conv2d(g, h, s, "conv_out", .kernel = 3, .padding = 1, .out = c->unet.block_out_channels[0]);
    return hep_stage(u->stages, s, "", h);
}

/* The "zero convolution" of a skip or of the mid block, as an output. */
static void give(struct unet_blocks *u, hep_value x, struct hep_scope s, const char *name)
{
    x = hep_conv2d(u->g, x, s, "", .kernel = 1, .out = hep_channels(u->g, x));
    hep_output(u->g, name, hep_to_nchw(u->g, x));
}

void hep_controlnet_build(struct hep_graph *graph, const struct hep_controlnet_config *c,
                          const struct hep_controlnet_build *b)
{
    struct unet_blocks u = {.g = graph, .c = &c->unet, .stages = &b->stages};
    struct hep_unet_residuals list;
    struct hep_scope root = hep_root(graph);
    int64_t factor = hep_controlnet_scale_factor(c);
    hep_value sample =
        hep_input(graph, "sample", HEP_F32, HEP_SHAPE(b->batch, c->unet.in_channels, b->height, b->width));
    unet_conditions(&u, b->batch, b->tokens);
    hep_value hint = hep_input(graph, "controlnet_cond", HEP_F32,
                               HEP_SHAPE(b->batch, c->conditioning_channels, b->height * factor, b->width * factor));
    hep_value x = hep_conv2d(graph, hep_from_nchw(graph, sample), root, "conv_in", .kernel = 3, .padding = 1,
                             .out = c->unet.block_out_channels[0]);
    x = hep_add(graph, x, embed_hint(&u, c, hep_from_nchw(graph, hint)));
    unet_push(&u, x);
    x = unet_mid_block(&u, unet_down_blocks(&u, x));
    hep_unet_residuals(&c->unet, b->height, b->width, &list);
    hep_assert(list.count == u.skip_count + 1);
    for (int i = 0; i < u.skip_count; i++)
        give(&u, u.skips[i], hep_in(root, "controlnet_down_blocks.%d", i), list.items[i].output);
    give(&u, x, hep_in(root, "controlnet_mid_block"), list.items[u.skip_count].output);
}
