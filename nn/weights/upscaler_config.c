/*
 * What an upscaler's weights say of its network. Called by component.c for a file that has no config.json beside it. It
 * reads names and shapes only; whether all of the network's weights are there is found when its graph is built.
 */
#include "nn/weights/upscaler_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_WEIGHTS = 3 * 5 * 2 }; /* three dense blocks of five convolutions, each with a bias */

static bool shape_of(const struct hep_component *component, const char *name, struct hep_shape *shape)
{
    const struct hep_weight_source *source = hep_component_weights(component);
    struct hep_weight_info info;
    if (!source->ops->find(source, name, &info) || info.shape.rank != 4)
        return false;
    *shape = info.shape;
    return true;
}

static enum hep_status other_network(const struct hep_component *component, const char *name, struct hep_error *error)
{
    hep_fail(error, HEP_E_UNSUPPORTED, "'%.150s' is no RRDBNet: it has %s'%.100s'", hep_component_file(component, 0),
             name ? "" : "no ", name ? name : "conv_first.weight");
    return hep_hint(error, "upscalers of the ESRGAN and Real-ESRGAN kind are run"), HEP_E_UNSUPPORTED;
}

/* Blocks 0 … blocks - 1, each with its convolutions and nothing more (ESRGAN+ has further ones). */
static enum hep_status count_blocks(const struct hep_component *component, int *blocks, struct hep_error *error)
{
    const char *last = NULL;
    size_t found = 0;
    long most = -1;
    for (size_t i = 0; i < hep_component_weight_count(component); i++) {
        const char *name = hep_component_weight_at(component, i, NULL);
        int block, dense, convolution, used = 0;
        if (strncmp(name, "body.", 5) != 0)
            continue;
        last = name;
        if (sscanf(name, "body.%3d.rdb%1d.conv%1d.%n", &block, &dense, &convolution, &used) != 3 || used == 0)
            return other_network(component, name, error);
        most = block > most ? block : most;
        found++;
    }
    if (!last)
        return other_network(component, NULL, error);
    if (found != (size_t)(most + 1) * BLOCK_WEIGHTS)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s' has %zu weights in %ld blocks, not %d in each",
                        hep_component_file(component, 0), found, most + 1, BLOCK_WEIGHTS);
    *blocks = (int)most + 1;
    return HEP_OK;
}

enum hep_status hep_upscaler_config(const struct hep_component *component, json_t **config, struct hep_error *error)
{
    struct hep_shape first, last, grow;
    char name[32];
    int blocks = 0, doublings = 0, unshuffle = 1;
    if (!shape_of(component, "conv_first.weight", &first) || !shape_of(component, "conv_last.weight", &last))
        return other_network(component, NULL, error);
    HEP_TRY(count_blocks(component, &blocks, error));
    if (!shape_of(component, "body.0.rdb1.conv1.weight", &grow))
        return other_network(component, NULL, error);
    for (struct hep_shape up;
         snprintf(name, sizeof name, "conv_up%d.weight", doublings + 1) > 0 && shape_of(component, name, &up);)
        doublings++;
    int64_t in = first.dims[1], out = last.dims[0];
    while (unshuffle < 4 && unshuffle * unshuffle * out < in)
        unshuffle *= 2;
    if (out < 1 || unshuffle * unshuffle * out != in)
        return hep_fail(error, HEP_E_BAD_MODEL,
                        "'%.150s': conv_first takes %" PRId64 " channels and conv_last gives %" PRId64,
                        hep_component_file(component, 0), in, out);
    *config = json_pack("{s:I, s:I, s:I, s:I, s:i, s:i, s:i}", "num_in_ch", (json_int_t)out, "num_out_ch",
                        (json_int_t)out, "num_feat", (json_int_t)first.dims[0], "num_grow_ch", (json_int_t)grow.dims[0],
                        "num_block", blocks, "doublings", doublings, "unshuffle", unshuffle);
    return *config ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a configuration");
}
