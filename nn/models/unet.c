/*
 * The UNet's graph, in the order of diffusers' unet_2d_condition.py and unet_2d_blocks.py; built by heptad-model,
 * heptad-inference, hep-eval and hep-bench. It computes nothing and reads no weights.
 */
#include "nn/models/unet_blocks.h"

#include <stdio.h>

static hep_value pop(struct unet_blocks *u)
{
    hep_assert(u->skip_count > 0);
    return u->skips[--u->skip_count];
}

/* Twice the size, or the size of the skip that it will meet, when the latent was not divisible. */
static hep_value upsample(struct unet_blocks *u, hep_value x, struct hep_scope s)
{
    hep_assert(u->skip_count > 0);
    hep_value skip = u->skips[u->skip_count - 1];
    struct hep_shape from = hep_shape_of(u->g, x), to = hep_shape_of(u->g, skip);
    bool twice = to.dims[1] == 2 * from.dims[1] && to.dims[2] == 2 * from.dims[2];
    hep_value larger = twice ? hep_upsample2x(u->g, x) : hep_resize_like(u->g, x, skip);
    return hep_conv2d(u->g, larger, s, "conv", .kernel = 3, .padding = 1, .out = hep_channels(u->g, x));
}

static hep_value up_block(struct unet_blocks *u, hep_value x, int block)
{
    const struct hep_unet_config *c = u->c;
    int level = c->levels - 1 - block;
    struct hep_scope s = hep_in(hep_root(u->g), "up_blocks.%d", block);
    for (int i = 0; i < c->layers_per_block[level] + 1; i++) {
        x = hep_concat(u->g, x, pop(u));
        x = unet_resnet(u, x, hep_in(s, "resnets.%d", i), c->block_out_channels[level]);
        if (c->up_block_types[block] == HEP_UNET_BLOCK_CROSS_ATTENTION)
            x = unet_transformer(u, x, hep_in(s, "attentions.%d", i), c->attention_head_dim[level],
                                 c->transformer_layers_per_block[level]);
    }
    if (block < c->levels - 1)
        x = upsample(u, x, hep_in(s, "upsamplers.0"));
    return hep_stage(u->stages, s, "", x);
}

/* ---- residuals of ControlNets ------------------------------------------------------------------------------------ */

static void add_shape(struct hep_unet_residuals *list, int64_t channels, int64_t height, int64_t width)
{
    hep_assert(list->count < HEP_UNET_RESIDUALS_MAX);
    struct hep_unet_residual *r = &list->items[list->count];
    *r = (struct hep_unet_residual){.channels = channels, .height = height, .width = width};
    snprintf(r->input, sizeof r->input, "down_block_additional_residuals.%d", list->count);
    snprintf(r->output, sizeof r->output, "down.%d", list->count);
    list->count++;
}

void hep_unet_residuals(const struct hep_unet_config *c, int64_t height, int64_t width, struct hep_unet_residuals *list)
{
    list->count = 0;
    add_shape(list, c->block_out_channels[0], height, width);
    for (int level = 0; level < c->levels; level++) {
        for (int i = 0; i < c->layers_per_block[level]; i++)
            add_shape(list, c->block_out_channels[level], height, width);
        if (level == c->levels - 1)
            break;
        height = (height + 1) / 2;
        width = (width + 1) / 2;
        add_shape(list, c->block_out_channels[level], height, width);
    }
    add_shape(list, c->block_out_channels[c->levels - 1], height, width);
    struct hep_unet_residual *mid = &list->items[list->count - 1];
    snprintf(mid->input, sizeof mid->input, "mid_block_additional_residual");
    snprintf(mid->output, sizeof mid->output, "mid");
}

/* x plus what the ControlNets say of it. */
static hep_value add_residual(struct hep_graph *g, hep_value x, const struct hep_unet_residual *r, int64_t batch)
{
    hep_value given = hep_input(g, r->input, HEP_F32, HEP_SHAPE(batch, r->channels, r->height, r->width));
    return hep_add(g, x, hep_from_nchw(g, given));
}

static hep_value mid(struct unet_blocks *u, hep_value x, const struct hep_unet_build *b)
{
    struct hep_unet_residuals list;
    if (!b->residuals)
        return unet_mid_block(u, x);
    hep_unet_residuals(u->c, b->height, b->width, &list);
    hep_assert(list.count == u->skip_count + 1);
    for (int i = 0; i < u->skip_count; i++)
        u->skips[i] = add_residual(u->g, u->skips[i], &list.items[i], b->batch);
    return add_residual(u->g, unet_mid_block(u, x), &list.items[u->skip_count], b->batch);
}

void hep_unet_build(struct hep_graph *graph, const struct hep_unet_config *c, const struct hep_unet_build *b)
{
    struct unet_blocks u = {.g = graph, .c = c, .stages = &b->stages};
    struct hep_scope root = hep_root(graph);
    hep_value sample = hep_input(graph, "sample", HEP_F32, HEP_SHAPE(b->batch, c->in_channels, b->height, b->width));
    unet_conditions(&u, b->batch, b->tokens);
    hep_value x = hep_conv2d(graph, hep_from_nchw(graph, sample), root, "conv_in", .kernel = 3, .padding = 1,
                             .out = c->block_out_channels[0]);
    unet_push(&u, hep_stage(u.stages, root, "conv_in", x));
    x = mid(&u, unet_down_blocks(&u, x), b);
    for (int block = 0; block < c->levels; block++)
        x = up_block(&u, x, block);
    x = hep_group_norm(graph, x, root, "conv_norm_out", c->norm_num_groups, c->norm_eps);
    x = hep_silu(graph, hep_stage(u.stages, root, "conv_norm_out", x));
    x = hep_conv2d(graph, x, root, "conv_out", .kernel = 3, .padding = 1, .out = c->out_channels);
    hep_output(graph, "out", hep_to_nchw(graph, hep_stage(u.stages, root, "conv_out", x)));
}
