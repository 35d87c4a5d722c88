/*
 * Layouts and packing of the CPU backend: plain rows and tables here, convolutions and linears by oneDNN where it has a
 * fast kernel, else the direct kernel's [kh, kw, in, out rounded up to HEP_DIRECT_LANES] in f32.
 */
#include "nn/cpu/backend_cpu.h"
#include "nn/cpu/onednn.h"

#include <string.h>

static int64_t lanes_up(int64_t out)
{
    return (out + HEP_DIRECT_LANES - 1) / HEP_DIRECT_LANES * HEP_DIRECT_LANES;
}

/* Elements of a direct weight per output channel. */
static int64_t taps(const struct hep_shape *s)
{
    return s->rank == 4 ? s->dims[1] * s->dims[2] * s->dims[3] : s->dims[1];
}

static enum hep_status plain_layout(struct hep_weight_layout *layout, struct hep_error *error)
{
    char shape[96];
    const struct hep_weight_key *key = &layout->key;
    if (!hep_shape_bytes(&key->shape, key->dtype, &layout->bytes))
        return hep_fail(error, HEP_E_TOO_LARGE, "a weight of shape %s is too large",
                        hep_shape_text(&key->shape, shape, sizeof shape));
    snprintf(layout->id, sizeof layout->id, "plain:%s:%s", hep_dtype_name(key->dtype),
             hep_shape_text(&key->shape, shape, sizeof shape));
    return HEP_OK;
}

enum hep_status hep_cpu_layout_create(struct hep_weight_layout *layout, struct hep_error *error)
{
    char shape[96];
    const struct hep_weight_key *key = &layout->key;
    layout->state = NULL;
    if (key->use == HEP_WEIGHT_PLAIN || key->use == HEP_WEIGHT_TABLE)
        return plain_layout(layout, error);
    bool found = false;
    HEP_TRY(hep_onednn_layout_create(layout, &found, error));
    if (found)
        return HEP_OK;
    layout->bytes = (size_t)(taps(&key->shape) * lanes_up(key->shape.dims[0])) * sizeof(float);
    snprintf(layout->id, sizeof layout->id, "direct:f32:%s:%d", hep_shape_text(&key->shape, shape, sizeof shape),
             HEP_DIRECT_LANES);
    return HEP_OK;
}

void hep_cpu_layout_clear(struct hep_weight_layout *layout)
{
    if (layout->state)
        hep_onednn_layout_clear(layout);
}

/* [out, in, kh, kw] → [kh, kw, in, out'] with zeros in the last row's rest. */
static void pack_direct(const struct hep_shape *s, const float *from, float *to)
{
    int64_t out = s->dims[0], in = s->dims[1], area = s->rank == 4 ? s->dims[2] * s->dims[3] : 1, wide = lanes_up(out);
    memset(to, 0, (size_t)(area * in * wide) * sizeof *to);
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++)
            for (int64_t k = 0; k < area; k++)
                to[(k * in + i) * wide + o] = from[(o * in + i) * area + k];
}

enum hep_status hep_cpu_pack(const struct hep_weight_layout *layout, const float *from, void *to,
                             struct hep_error *error)
{
    int64_t elements;
    const struct hep_weight_key *key = &layout->key;
    if (layout->state)
        return hep_onednn_pack(layout, from, to, error);
    hep_assert(hep_shape_elements(&key->shape, &elements));
    if (key->use == HEP_WEIGHT_CONV || key->use == HEP_WEIGHT_LINEAR) {
        pack_direct(&key->shape, from, to);
    } else if (key->dtype == HEP_BF16) {
        uint16_t *half = to;
        for (int64_t i = 0; i < elements; i++)
            half[i] = hep_f32_to_bf16(from[i]);
    } else {
        memcpy(to, from, layout->bytes);
    }
    return HEP_OK;
}
