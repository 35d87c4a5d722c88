/*
 * The autoencoder's two graphs, in the order of diffusers' vae.py; built by heptad-model, heptad-postprocessing,
 * heptad-conditioning, hep-eval and hep-bench. It computes nothing and reads no weights.
 */
#include "nn/models/autoencoder.h"

static const double eps = 1e-6; /* of every group norm here; no config field */

static const char *const down_blocks[] = {"DownEncoderBlock2D", NULL};
static const char *const up_blocks[] = {"UpDecoderBlock2D", NULL};

#define KEY(type, key, ...)                                                                                            \
    {                                                                                                                  \
#key, HEP_CONFIG_##type, offsetof(struct hep_vae_config, key), __VA_ARGS__                                     \
    }
#define ONLY(key, value)                                                                                               \
    {                                                                                                                  \
#key, HEP_CONFIG_ONLY, 0, value, 0, 0, NULL                                                                    \
    }
/* To add a field: a member of struct hep_vae_config, a row (block_out_channels stays first), its use below. Defaults
   are diffusers'. */
static const struct hep_config_key keys[] = {
    KEY(LIST, block_out_channels, NULL, 1, 1 << 14, NULL),
    KEY(NAMES, down_block_types, NULL, 0, 0, down_blocks),
    KEY(NAMES, up_block_types, NULL, 0, 0, up_blocks),
    KEY(INT, layers_per_block, "1", 1, 16, NULL),
    KEY(INT, in_channels, "3", 1, 4096, NULL),
    KEY(INT, out_channels, "3", 1, 4096, NULL),
    KEY(INT, latent_channels, "4", 1, 4096, NULL),
    KEY(INT, norm_num_groups, "32", 1, 1 << 14, NULL),
    KEY(REAL, scaling_factor, "0.18215", 1e-6, 1e6, NULL),
    KEY(REAL, shift_factor, "0", -1e6, 1e6, NULL),
    KEY(BOOL, use_quant_conv, "true", 0, 0, NULL),
    KEY(BOOL, use_post_quant_conv, "true", 0, 0, NULL),
    KEY(BOOL, mid_block_add_attention, "true", 0, 0, NULL),
    ONLY(act_fn, "\"silu\""),
    ONLY(latents_mean, "null"),
    ONLY(latents_std, "null"),
};
#undef KEY
#undef ONLY

enum hep_status hep_vae_config_read(const json_t *json, const char *file, struct hep_vae_config *config,
                                    struct hep_error *error)
{
    struct hep_vae_config read = {0};
    HEP_TRY(hep_config_read(json, file, keys, HEP_COUNT_OF(keys), &read, &read.levels, error));
    for (int i = 0; i < read.levels; i++)
        if (read.block_out_channels[i] % read.norm_num_groups != 0)
            return hep_fail(error, HEP_E_BAD_MODEL,
                            "'%s': 'norm_num_groups' %d does not divide %d channels of level %d", file,
                            read.norm_num_groups, read.block_out_channels[i], i);
    *config = read;
    return HEP_OK;
}

int64_t hep_vae_scale_factor(const struct hep_vae_config *config)
{
    return INT64_C(1) << (config->levels - 1);
}

/* What every block needs. */
struct vae {
    struct hep_graph *g;
    const struct hep_vae_config *c;
    const struct hep_stages *stages;
};

/* ResnetBlock2D without a timestep: x [n, h, w, in] → [n, h, w, out]. */
static hep_value resnet(const struct vae *v, hep_value x, struct hep_scope s, int64_t out)
{
    struct hep_graph *g = v->g;
    int64_t in = hep_channels(g, x);
    hep_value h = hep_silu(g, hep_group_norm(g, x, s, "norm1", v->c->norm_num_groups, eps));
    h = hep_conv2d(g, h, s, "conv1", .kernel = 3, .padding = 1, .out = out);
    h = hep_silu(g, hep_group_norm(g, h, s, "norm2", v->c->norm_num_groups, eps));
    h = hep_conv2d(g, h, s, "conv2", .kernel = 3, .padding = 1, .out = out);
    if (in != out)
        x = hep_conv2d(g, x, s, "conv_shortcut", .out = out);
    return hep_stage(v->stages, s, "", hep_add(g, x, h));
}

/* One head over all places of the image: x [n, h, w, c]. */
static hep_value attention(const struct vae *v, hep_value x, struct hep_scope s)
{
    struct hep_graph *g = v->g;
    struct hep_shape shape = hep_shape_of(g, x);
    int64_t channels = hep_channels(g, x);
    hep_value h = hep_to_tokens(g, hep_group_norm(g, x, s, "group_norm", v->c->norm_num_groups, eps));
    hep_value q = hep_linear(g, h, s, "to_q", .out = channels);
    hep_value k = hep_linear(g, h, s, "to_k", .out = channels);
    hep_value w = hep_linear(g, h, s, "to_v", .out = channels);
    h = hep_linear(g, hep_attention(g, q, k, w, .heads = 1), s, "to_out.0", .out = channels);
    return hep_stage(v->stages, s, "", hep_add(g, x, hep_to_image(g, h, shape.dims[1], shape.dims[2])));
}

static hep_value mid_block(const struct vae *v, hep_value x, struct hep_scope s)
{
    int64_t channels = hep_channels(v->g, x);
    x = resnet(v, x, hep_in(s, "resnets.0"), channels);
    if (v->c->mid_block_add_attention)
        x = attention(v, x, hep_in(s, "attentions.0"));
    x = resnet(v, x, hep_in(s, "resnets.1"), channels);
    return hep_stage(v->stages, s, "", x);
}

/* Half the size; the padding is on the right and at the bottom only. */
static hep_value downsample(const struct vae *v, hep_value x, struct hep_scope s)
{
    x = hep_conv2d(v->g, x, s, "conv", .kernel = 3, .stride = 2, .pads = {0, 0, 1, 1}, .out = hep_channels(v->g, x));
    return hep_stage(v->stages, s, "", x);
}

static hep_value upsample(const struct vae *v, hep_value x, struct hep_scope s)
{
    x = hep_conv2d(v->g, hep_upsample2x(v->g, x), s, "conv", .kernel = 3, .padding = 1, .out = hep_channels(v->g, x));
    return hep_stage(v->stages, s, "", x);
}

/* conv_norm_out, SiLU, conv_out. */
static hep_value head(const struct vae *v, hep_value x, struct hep_scope s, int64_t out)
{
    x = hep_group_norm(v->g, x, s, "conv_norm_out", v->c->norm_num_groups, eps);
    x = hep_silu(v->g, hep_stage(v->stages, s, "conv_norm_out", x));
    x = hep_conv2d(v->g, x, s, "conv_out", .kernel = 3, .padding = 1, .out = out);
    return hep_stage(v->stages, s, "conv_out", x);
}

void hep_vae_encoder_build(struct hep_graph *graph, const struct hep_vae_config *c, const struct hep_vae_build *b)
{
    struct vae v = {graph, c, &b->stages};
    struct hep_scope s = hep_in(hep_root(graph), "encoder");
    int64_t factor = hep_vae_scale_factor(c), twice = INT64_C(2) * c->latent_channels;
    hep_value x =
        hep_input(graph, "image", HEP_F32, HEP_SHAPE(b->batch, c->in_channels, b->height * factor, b->width * factor));
    x = hep_conv2d(graph, hep_from_nchw(graph, x), s, "conv_in", .kernel = 3, .padding = 1,
                   .out = c->block_out_channels[0]);
    hep_stage(v.stages, s, "conv_in", x);
    for (int level = 0; level < c->levels; level++) {
        struct hep_scope block = hep_in(s, "down_blocks.%d", level);
        for (int i = 0; i < c->layers_per_block; i++)
            x = resnet(&v, x, hep_in(block, "resnets.%d", i), c->block_out_channels[level]);
        if (level < c->levels - 1)
            x = downsample(&v, x, hep_in(block, "downsamplers.0"));
        hep_stage(v.stages, block, "", x);
    }
    x = head(&v, mid_block(&v, x, hep_in(s, "mid_block")), s, twice);
    if (c->use_quant_conv)
        x = hep_conv2d(graph, x, hep_root(graph), "quant_conv", .out = twice);
    hep_stage(v.stages, hep_root(graph), "quant_conv", x);
    hep_output(graph, "mean", hep_to_nchw(graph, hep_slice(graph, x, 0, c->latent_channels)));
    hep_output(graph, "logvar", hep_to_nchw(graph, hep_slice(graph, x, c->latent_channels, c->latent_channels)));
}

/* The decoder up to its mid block: z → features, at the latents' size. */
static hep_value decoder_mid(const struct vae *v, const struct hep_vae_build *b)
{
    struct hep_graph *g = v->g;
    const struct hep_vae_config *c = v->c;
    struct hep_scope s = hep_in(hep_root(g), "decoder");
    hep_value x = hep_input(g, "z", HEP_F32, HEP_SHAPE(b->batch, c->latent_channels, b->height, b->width));
    x = hep_from_nchw(g, x);
    if (c->use_post_quant_conv)
        x = hep_conv2d(g, x, hep_root(g), "post_quant_conv", .out = c->latent_channels);
    hep_stage(v->stages, hep_root(g), "post_quant_conv", x);
    x = hep_conv2d(g, x, s, "conv_in", .kernel = 3, .padding = 1, .out = c->block_out_channels[c->levels - 1]);
    return mid_block(v, hep_stage(v->stages, s, "conv_in", x), hep_in(s, "mid_block"));
}

/* From there to the image. */
static hep_value decoder_up(const struct vae *v, hep_value x)
{
    const struct hep_vae_config *c = v->c;
    struct hep_scope s = hep_in(hep_root(v->g), "decoder");
    for (int block = 0; block < c->levels; block++) {
        struct hep_scope up = hep_in(s, "up_blocks.%d", block);
        for (int i = 0; i < c->layers_per_block + 1; i++)
            x = resnet(v, x, hep_in(up, "resnets.%d", i), c->block_out_channels[c->levels - 1 - block]);
        if (block < c->levels - 1)
            x = upsample(v, x, hep_in(up, "upsamplers.0"));
        hep_stage(v->stages, up, "", x);
    }
    return head(v, x, s, c->out_channels);
}

void hep_vae_decoder_build(struct hep_graph *graph, const struct hep_vae_config *c, const struct hep_vae_build *b)
{
    struct vae v = {graph, c, &b->stages};
    hep_output(graph, "decoded", hep_to_nchw(graph, decoder_up(&v, decoder_mid(&v, b))));
}

void hep_vae_decoder_mid_build(struct hep_graph *graph, const struct hep_vae_config *c, const struct hep_vae_build *b)
{
    struct vae v = {graph, c, &b->stages};
    hep_output(graph, "features", decoder_mid(&v, b));
}

void hep_vae_decoder_up_build(struct hep_graph *graph, const struct hep_vae_config *c, const struct hep_vae_build *b)
{
    struct vae v = {graph, c, &b->stages};
    int64_t channels = c->block_out_channels[c->levels - 1];
    hep_value x = hep_input(graph, "features", HEP_F32, HEP_SHAPE(b->batch, b->height, b->width, channels));
    hep_output(graph, "decoded", hep_to_nchw(graph, decoder_up(&v, x)));
}

void hep_vae_clamp_logvar(float *logvar, size_t count)
{
    for (size_t i = 0; i < count; i++)
        logvar[i] = logvar[i] < -30.0f ? -30.0f : logvar[i] > 20.0f ? 20.0f : logvar[i];
}
