/*
 * The blocks of UNet2DConditionModel that ControlNetModel has as well; called by unet.c and controlnet.c, which differ
 * in what they do with the skips.
 */
#include "nn/models/unet_blocks.h"

/* TimestepEmbedding: two linear layers; never rounded to bf16. */
static hep_value time_mlp(struct unet_blocks *u, hep_value x, const char *name, int64_t width)
{
    struct hep_scope s = hep_in(hep_root(u->g), "%s", name);
    hep_value h = hep_silu(u->g, hep_linear(u->g, x, s, "linear_1", .out = width, .f32 = true));
    return hep_linear(u->g, h, s, "linear_2", .out = width, .f32 = true);
}

/* The timestep, and for SDXL the pooled text and the sizes: [n, 4 × first channels]. */
static hep_value time_embedding(struct unet_blocks *u, int64_t batch)
{
    struct hep_graph *g = u->g;
    const struct hep_unet_config *c = u->c;
    int64_t width = INT64_C(4) * c->block_out_channels[0];
    hep_value t = hep_input(g, "timestep", HEP_F32, HEP_SHAPE(batch));
    t = hep_timestep_embedding(g, t, .width = c->block_out_channels[0], .flip = c->flip_sin_to_cos,
                               .shift = c->freq_shift);
    hep_value time = time_mlp(u, hep_stage(u->stages, hep_root(g), "time_proj", t), "time_embedding", width);
    hep_stage(u->stages, hep_root(g), "time_embedding", time);
    if (c->addition_embed_type == 0)
        return time;
    hep_value text = hep_input(g, "text_embeds", HEP_F32, HEP_SHAPE(batch, hep_unet_text_embeds_width(c)));
    hep_value ids = hep_input(g, "time_ids", HEP_F32, HEP_SHAPE(batch, hep_unet_time_ids(c)));
    hep_value sizes = hep_timestep_embedding(g, ids, .width = c->addition_time_embed_dim, .flip = c->flip_sin_to_cos,
                                             .shift = c->freq_shift);
    sizes = hep_reshape(g, sizes, HEP_SHAPE(batch, hep_unet_time_ids(c) * c->addition_time_embed_dim));
    return hep_add(g, time, time_mlp(u, hep_concat(g, text, sizes), "add_embedding", width));
}

void unet_conditions(struct unet_blocks *u, int64_t batch, int64_t tokens)
{
    u->time = hep_silu(u->g, time_embedding(u, batch));
    u->context =
        hep_input(u->g, "encoder_hidden_states", HEP_F32, HEP_SHAPE(batch, tokens, u->c->cross_attention_dim[0]));
}

hep_value unet_resnet(struct unet_blocks *u, hep_value x, struct hep_scope s, int64_t out)
{
    struct hep_graph *g = u->g;
    const struct hep_unet_config *c = u->c;
    int64_t in = hep_channels(g, x);
    hep_value h = hep_stage(u->stages, s, "norm1", hep_group_norm(g, x, s, "norm1", c->norm_num_groups, c->norm_eps));
    h = hep_conv2d(g, hep_silu(g, h), s, "conv1", .kernel = 3, .padding = 1, .out = out);
    hep_stage(u->stages, s, "conv1", h);
    hep_value time = hep_linear(g, u->time, s, "time_emb_proj", .out = out, .f32 = true);
    h = hep_add_channels(g, h, hep_stage(u->stages, s, "time_emb_proj", time));
    h = hep_stage(u->stages, s, "norm2", hep_group_norm(g, h, s, "norm2", c->norm_num_groups, c->norm_eps));
    h = hep_conv2d(g, hep_silu(g, h), s, "conv2", .kernel = 3, .padding = 1, .out = out);
    if (in != out)
        x = hep_conv2d(g, x, s, "conv_shortcut", .kernel = 1, .out = out);
    return hep_stage(u->stages, s, "", hep_add(g, x, h));
}

/* Attention of x to itself or to the text: x [n, t, c], states [n, t', c']. */
static hep_value attention(struct unet_blocks *u, hep_value x, hep_value states, struct hep_scope s, int heads)
{
    struct hep_graph *g = u->g;
    int64_t width = hep_channels(g, x);
    hep_value q = hep_linear(g, x, s, "to_q", .out = width, .no_bias = true);
    hep_value k = hep_linear(g, states, s, "to_k", .out = width, .no_bias = true);
    hep_value v = hep_linear(g, states, s, "to_v", .out = width, .no_bias = true);
    hep_value a = hep_attention(g, q, k, v, .heads = heads);
    return hep_stage(u->stages, s, "", hep_linear(g, a, s, "to_out.0", .out = width));
}

static hep_value feed_forward(struct unet_blocks *u, hep_value x, struct hep_scope s)
{
    struct hep_graph *g = u->g;
    int64_t width = hep_channels(g, x), inner = 4 * width;
    hep_value h = hep_geglu(g, hep_linear(g, x, s, "net.0.proj", .out = 2 * inner));
    hep_stage(u->stages, s, "net.0", h);
    return hep_stage(u->stages, s, "", hep_linear(g, h, s, "net.2", .out = width));
}

/* BasicTransformerBlock: x [n, t, c]. */
static hep_value transformer_block(struct unet_blocks *u, hep_value x, struct hep_scope s, int heads)
{
    struct hep_graph *g = u->g;
    const double eps = 1e-5;
    hep_value h = hep_stage(u->stages, s, "norm1", hep_layer_norm(g, x, s, "norm1", eps));
    x = hep_add(g, x, attention(u, h, h, hep_in(s, "attn1"), heads));
    h = hep_stage(u->stages, s, "norm2", hep_layer_norm(g, x, s, "norm2", eps));
    x = hep_add(g, x, attention(u, h, u->context, hep_in(s, "attn2"), heads));
    h = hep_stage(u->stages, s, "norm3", hep_layer_norm(g, x, s, "norm3", eps));
    return hep_stage(u->stages, s, "", hep_add(g, x, feed_forward(u, h, hep_in(s, "ff"))));
}

hep_value unet_transformer(struct unet_blocks *u, hep_value x, struct hep_scope s, int heads, int layers)
{
    struct hep_graph *g = u->g;
    struct hep_shape shape = hep_shape_of(g, x);
    int64_t height = shape.dims[1], width = shape.dims[2], channels = hep_channels(g, x);
    bool linear = u->c->use_linear_projection;
    hep_value h = hep_group_norm(g, x, s, "norm", u->c->norm_num_groups, 1e-6);
    hep_stage(u->stages, s, "norm", h);
    if (linear)
        h = hep_linear(g, hep_to_tokens(g, h), s, "proj_in", .out = channels);
    else
        h = hep_to_tokens(g, hep_stage(u->stages, s, "proj_in", hep_conv2d(g, h, s, "proj_in", .out = channels)));
    for (int i = 0; i < layers; i++)
        h = transformer_block(u, h, hep_in(s, "transformer_blocks.%d", i), heads);
    if (linear)
        h = hep_to_image(g, hep_linear(g, h, s, "proj_out", .out = channels), height, width);
    else
        h = hep_conv2d(g, hep_to_image(g, h, height, width), s, "proj_out", .out = channels);
    return hep_stage(u->stages, s, "", hep_add(g, x, h));
}

void unet_push(struct unet_blocks *u, hep_value x)
{
    hep_assert(u->skip_count < UNET_SKIPS_MAX);
    u->skips[u->skip_count++] = x;
}

static hep_value down_block(struct unet_blocks *u, hep_value x, int level)
{
    const struct hep_unet_config *c = u->c;
    struct hep_scope s = hep_in(hep_root(u->g), "down_blocks.%d", level);
    int skip = 0;
    for (int i = 0; i < c->layers_per_block[level]; i++) {
        x = unet_resnet(u, x, hep_in(s, "resnets.%d", i), c->block_out_channels[level]);
        if (c->down_block_types[level] == HEP_UNET_BLOCK_CROSS_ATTENTION)
            x = unet_transformer(u, x, hep_in(s, "attentions.%d", i), c->attention_head_dim[level],
                                 c->transformer_layers_per_block[level]);
        unet_push(u, hep_stage(u->stages, hep_in(s, "skip.%d", skip++), "", x));
    }
    if (level < c->levels - 1) {
        x = hep_conv2d(u->g, x, hep_in(s, "downsamplers.0"), "conv", .kernel = 3, .stride = 2, .padding = 1,
                       .out = c->block_out_channels[level]);
        unet_push(u, x);
    }
    return hep_stage(u->stages, s, "", x);
}

hep_value unet_down_blocks(struct unet_blocks *u, hep_value x)
{
    for (int level = 0; level < u->c->levels; level++)
        x = down_block(u, x, level);
    return x;
}

hep_value unet_mid_block(struct unet_blocks *u, hep_value x)
{
    const struct hep_unet_config *c = u->c;
    int last = c->levels - 1;
    struct hep_scope s = hep_in(hep_root(u->g), "mid_block");
    x = unet_resnet(u, x, hep_in(s, "resnets.0"), c->block_out_channels[last]);
    x = unet_transformer(u, x, hep_in(s, "attentions.0"), c->attention_head_dim[last],
                         c->transformer_layers_per_block[last]);
    x = unet_resnet(u, x, hep_in(s, "resnets.1"), c->block_out_channels[last]);
    return hep_stage(u->stages, s, "", x);
}
