/*
 * RRDBNet's graph, in the order of basicsr's rrdbnet_arch.py; built by heptad-model, heptad-postprocessing and
 * hep-eval. It computes nothing and reads no weights.
 */
#include "nn/models/rrdbnet.h"

#include <stdio.h>

enum { DENSE = 4 }; /* convolutions of a dense block whose results are kept, before the one that ends it */

static const double residual_scale = 0.2;

#define KEY(key, fallback, min, max)                                                                                   \
    {                                                                                                                  \
#key, HEP_CONFIG_INT, offsetof(struct hep_rrdbnet_config, key), fallback, min, max, NULL                       \
    }
/* To add a key: a member of struct hep_rrdbnet_config, a row, its use below. Defaults are basicsr's. */
static const struct hep_config_key keys[] = {
    KEY(num_in_ch, "3", 1, 64),      KEY(num_out_ch, "3", 1, 64),  KEY(num_feat, "64", 1, 1024),
    KEY(num_grow_ch, "32", 1, 1024), KEY(num_block, "23", 1, 256), KEY(doublings, "2", 0, 3),
    KEY(unshuffle, "1", 1, 4),
};
#undef KEY

enum hep_status hep_rrdbnet_config_read(const json_t *json, const char *file, struct hep_rrdbnet_config *config,
                                        struct hep_error *error)
{
    struct hep_rrdbnet_config read = {0};
    HEP_TRY(hep_config_read(json, file, keys, HEP_COUNT_OF(keys), &read, NULL, error));
    if (1 << read.doublings < read.unshuffle || read.unshuffle == 3)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s': 'unshuffle' %d does not fit %d doublings", file, read.unshuffle,
                        read.doublings);
    *config = read;
    return HEP_OK;
}

int64_t hep_rrdbnet_scale(const struct hep_rrdbnet_config *config)
{
    return (INT64_C(1) << config->doublings) / config->unshuffle;
}

/* Each 3 × 3 convolution adds one place of its resolution; those behind a doubling a half, a quarter, …, less than two
   together with the nearest neighbours. */
int64_t hep_rrdbnet_reach(const struct hep_rrdbnet_config *config)
{
    int64_t places = 2 + INT64_C(3) * (DENSE + 1) * config->num_block + 2;
    return places * config->unshuffle;
}

/* What every block needs. */
struct rrdbnet {
    struct hep_graph *g;
    const struct hep_rrdbnet_config *c;
    const struct hep_stages *stages;
};

static hep_value convolution(const struct rrdbnet *net, hep_value x, struct hep_scope s, const char *key, int64_t out)
{
    return hep_conv2d(net->g, x, s, key, .kernel = 3, .padding = 1, .out = out);
}

static hep_value add_scaled(const struct rrdbnet *net, hep_value y, hep_value x)
{
    return hep_add(net->g, hep_scale(net->g, y, residual_scale), x);
}

/* ResidualDenseBlock. */
static hep_value dense_block(const struct rrdbnet *net, hep_value x, struct hep_scope s)
{
    hep_value all = x;
    char key[24];
    for (int i = 1; i <= DENSE; i++) {
        snprintf(key, sizeof key, "conv%d", i);
        hep_value more = hep_leaky_relu(net->g, convolution(net, all, s, key, net->c->num_grow_ch));
        all = hep_concat(net->g, all, more);
    }
    hep_value y = convolution(net, all, s, "conv5", net->c->num_feat);
    return hep_stage(net->stages, s, "", add_scaled(net, y, x));
}

/* RRDB. */
static hep_value block(const struct rrdbnet *net, hep_value x, struct hep_scope s)
{
    hep_value y = x;
    for (int i = 1; i <= 3; i++)
        y = dense_block(net, y, hep_in(s, "rdb%d", i));
    return hep_stage(net->stages, s, "", add_scaled(net, y, x));
}

void hep_rrdbnet_build(struct hep_graph *graph, const struct hep_rrdbnet_config *c, const struct hep_rrdbnet_build *b)
{
    struct rrdbnet net = {graph, c, &b->stages};
    struct hep_scope s = hep_root(graph);
    char key[24];
    hep_value x = hep_input(graph, "image", HEP_F32, HEP_SHAPE(b->batch, c->num_in_ch, b->height, b->width));
    x = c->unshuffle > 1 ? hep_pixel_unshuffle(graph, x, c->unshuffle) : hep_from_nchw(graph, x);
    x = hep_stage(net.stages, s, "conv_first", convolution(&net, x, s, "conv_first", c->num_feat));
    hep_value y = x;
    for (int i = 0; i < c->num_block; i++)
        y = block(&net, y, hep_in(s, "body.%d", i));
    y = hep_stage(net.stages, s, "conv_body", convolution(&net, y, s, "conv_body", c->num_feat));
    x = hep_add(graph, y, x);
    for (int i = 1; i <= c->doublings; i++) {
        snprintf(key, sizeof key, "conv_up%d", i);
        x = hep_stage(net.stages, s, key, convolution(&net, hep_upsample2x(graph, x), s, key, c->num_feat));
        x = hep_leaky_relu(graph, x);
    }
    x = hep_leaky_relu(graph, hep_stage(net.stages, s, "conv_hr", convolution(&net, x, s, "conv_hr", c->num_feat)));
    hep_output(graph, "out", hep_to_nchw(graph, convolution(&net, x, s, "conv_last", c->num_out_ch)));
}
