/*
 * The UNet's graph, in the order of diffusers' unet_2d_condition.py and unet_2d_blocks.py; built by heptad-model,
 * heptad-inference, hep-eval and hep-bench. It computes nothing and reads no weights.
 */
#include "nn/models/unet.h"

enum { SKIPS_MAX = HEP_LEVELS_MAX * 17 + 1 };

/* What every block needs. */
struct unet {
    struct hep_graph *g;
    const struct hep_unet_config *c;
    const struct hep_stages *stages;
    hep_value time;             /* [n, 4 × first channels] f32, after the SiLU that every resnet begins with */
    hep_value context;          /* [n, tokens, cross_attention_dim]                                                */
    hep_value skips[SKIPS_MAX]; /* a stack: what the down blocks leave for the up blocks                            */
    int skip_count;
};

/* ResnetBlock2D: x [n, h, w, in] → [n, h, w, out]. */
static hep_value resnet(struct unet *u, hep_value x, struct hep_scope s, int64_t out)
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
static hep_value attention(struct unet *u, hep_value x, hep_value states, struct hep_scope s, int heads)
{
    struct hep_graph *g = u->g;
    int64_t width = hep_channels(g, x);
    hep_value q = hep_linear(g, x, s, "to_q", .out = width, .no_bias = true);
    hep_value k = hep_linear(g, states, s, "to_k", .out = width, .no_bias = true);
    hep_value v = hep_linear(g, states, s, "to_v", .out = width, .no_bias = true);
    hep_value a = hep_attention(g, q, k, v, .heads = heads);
    return hep_stage(u->stages, s, "", hep_linear(g, a, s, "to_out.0", .out = width));
}

static hep_value feed_forward(struct unet *u, hep_value x, struct hep_scope s)
{
    struct hep_graph *g = u->g;
    int64_t width = hep_channels(g, x), inner = 4 * width;
    hep_value h = hep_geglu(g, hep_linear(g, x, s, "net.0.proj", .out = 2 * inner));
    hep_stage(u->stages, s, "net.0", h);
    return hep_stage(u->stages, s, "", hep_linear(g, h, s, "net.2", .out = width));
}

/* BasicTransformerBlock: x [n, t, c]. */
static hep_value transformer_block(struct unet *u, hep_value x, struct hep_scope s, int heads)
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

/* Transformer2DModel: x [n, h, w, c]; the projections around the blocks are linear or 1 × 1 convolutions. */
static hep_value transformer(struct unet *u, hep_value x, struct hep_scope s, int heads, int layers)
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

static void push(struct unet *u, hep_value x)
{
    hep_assert(u->skip_count < SKIPS_MAX);
    u->skips[u->skip_count++] = x;
}

static hep_value pop(struct unet *u)
{
    hep_assert(u->skip_count > 0);
    return u->skips[--u->skip_count];
}

static hep_value down_block(struct unet *u, hep_value x, int level)
{
    const struct hep_unet_config *c = u->c;
    struct hep_scope s = hep_in(hep_root(u->g), "down_blocks.%d", level);
    int skip = 0;
    for (int i = 0; i < c->layers_per_block[level]; i++) {
        x = resnet(u, x, hep_in(s, "resnets.%d", i), c->block_out_channels[level]);
        if (c->down_block_types[level] == HEP_UNET_BLOCK_CROSS_ATTENTION)
            x = transformer(u, x, hep_in(s, "attentions.%d", i), c->attention_head_dim[level],
                            c->transformer_layers_per_block[level]);
        push(u, hep_stage(u->stages, hep_in(s, "skip.%d", skip++), "", x));
    }
    if (level < c->levels - 1) {
        x = hep_conv2d(u->g, x, hep_in(s, "downsamplers.0"), "conv", .kernel = 3, .stride = 2, .padding = 1,
                       .out = c->block_out_channels[level]);
        push(u, x);
    }
    return hep_stage(u->stages, s, "", x);
}

static hep_value mid_block(struct unet *u, hep_value x)
{
    const struct hep_unet_config *c = u->c;
    int last = c->levels - 1;
    struct hep_scope s = hep_in(hep_root(u->g), "mid_block");
    x = resnet(u, x, hep_in(s, "resnets.0"), c->block_out_channels[last]);
    x = transformer(u, x, hep_in(s, "attentions.0"), c->attention_head_dim[last],
                    c->transformer_layers_per_block[last]);
    x = resnet(u, x, hep_in(s, "resnets.1"), c->block_out_channels[last]);
    return hep_stage(u->stages, s, "", x);
}

/* Twice the size, or the size of the skip that it will meet, when the latent was not divisible. */
static hep_value upsample(struct unet *u, hep_value x, struct hep_scope s)
{
    hep_assert(u->skip_count > 0);
    hep_value skip = u->skips[u->skip_count - 1];
    struct hep_shape from = hep_shape_of(u->g, x), to = hep_shape_of(u->g, skip);
    bool twice = to.dims[1] == 2 * from.dims[1] && to.dims[2] == 2 * from.dims[2];
    hep_value larger = twice ? hep_upsample2x(u->g, x) : hep_resize_like(u->g, x, skip);
    return hep_conv2d(u->g, larger, s, "conv", .kernel = 3, .padding = 1, .out = hep_channels(u->g, x));
}

static hep_value up_block(struct unet *u, hep_value x, int block)
{
    const struct hep_unet_config *c = u->c;
    int level = c->levels - 1 - block;
    struct hep_scope s = hep_in(hep_root(u->g), "up_blocks.%d", block);
    for (int i = 0; i < c->layers_per_block[level] + 1; i++) {
        x = hep_concat(u->g, x, pop(u));
        x = resnet(u, x, hep_in(s, "resnets.%d", i), c->block_out_channels[level]);
        if (c->up_block_types[block] == HEP_UNET_BLOCK_CROSS_ATTENTION)
            x = transformer(u, x, hep_in(s, "attentions.%d", i), c->attention_head_dim[level],
                            c->transformer_layers_per_block[level]);
    }
    if (block < c->levels - 1)
        x = upsample(u, x, hep_in(s, "upsamplers.0"));
    return hep_stage(u->stages, s, "", x);
}

/* TimestepEmbedding: two linear layers; never rounded to bf16. */
static hep_value time_mlp(struct unet *u, hep_value x, const char *name, int64_t width)
{
    struct hep_scope s = hep_in(hep_root(u->g), "%s", name);
    hep_value h = hep_silu(u->g, hep_linear(u->g, x, s, "linear_1", .out = width, .f32 = true));
    return hep_linear(u->g, h, s, "linear_2", .out = width, .f32 = true);
}

/* The timestep, and for SDXL the pooled text and the six sizes: [n, 4 × first channels]. */
static hep_value time_embedding(struct unet *u, int64_t batch)
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
    hep_value ids = hep_input(g, "time_ids", HEP_F32, HEP_SHAPE(batch, 6));
    hep_value sizes = hep_timestep_embedding(g, ids, .width = c->addition_time_embed_dim, .flip = c->flip_sin_to_cos,
                                             .shift = c->freq_shift);
    sizes = hep_reshape(g, sizes, HEP_SHAPE(batch, INT64_C(6) * c->addition_time_embed_dim));
    return hep_add(g, time, time_mlp(u, hep_concat(g, text, sizes), "add_embedding", width));
}

void hep_unet_build(struct hep_graph *graph, const struct hep_unet_config *c, const struct hep_unet_build *b)
{
    struct unet u = {.g = graph, .c = c, .stages = &b->stages};
    struct hep_scope root = hep_root(graph);
    hep_value sample = hep_input(graph, "sample", HEP_F32, HEP_SHAPE(b->batch, c->in_channels, b->height, b->width));
    u.time = hep_silu(graph, time_embedding(&u, b->batch));
    u.context =
        hep_input(graph, "encoder_hidden_states", HEP_F32, HEP_SHAPE(b->batch, b->tokens, c->cross_attention_dim[0]));
    hep_value x = hep_conv2d(graph, hep_from_nchw(graph, sample), root, "conv_in", .kernel = 3, .padding = 1,
                             .out = c->block_out_channels[0]);
    push(&u, hep_stage(u.stages, root, "conv_in", x));
    for (int level = 0; level < c->levels; level++)
        x = down_block(&u, x, level);
    x = mid_block(&u, x);
    for (int block = 0; block < c->levels; block++)
        x = up_block(&u, x, block);
    x = hep_group_norm(graph, x, root, "conv_norm_out", c->norm_num_groups, c->norm_eps);
    x = hep_silu(graph, hep_stage(u.stages, root, "conv_norm_out", x));
    x = hep_conv2d(graph, x, root, "conv_out", .kernel = 3, .padding = 1, .out = c->out_channels);
    hep_output(graph, "out", hep_to_nchw(graph, hep_stage(u.stages, root, "conv_out", x)));
}
