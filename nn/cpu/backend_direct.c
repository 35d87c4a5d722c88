/*
 * Convolution and linear, written out: for the few layers that oneDNN runs only by its reference or by its plain GEMM
 * (the first and last convolutions at the portable level, odd channel counts). Each result is one sum in a fixed order:
 * bias, then kernel rows, columns, channels. Called through backend.c's table.
 */
#include "nn/cpu/backend_cpu.h"
#include "nn/cpu/onednn.h"
#include "nn/cpu/parallel.h"

#include <math.h>
#include <stdlib.h>

struct direct {
    int64_t height, width, channels; /* of x                            */
    int64_t out_height, out_width, out;
    int64_t wide; /* out rounded up to the lanes     */
    int kernel, stride, top, left;
    enum hep_dtype dtype; /* of x, residual and result       */
    enum hep_activation activation;
    int64_t lines; /* images · out_height             */
    const void *x, *residual;
    const float *weight, *bias;
    void *y;
};

static float activate(float x, enum hep_activation activation)
{
    switch (activation) {
    case HEP_ACT_SILU:
        return x / (1.0f + expf(-x));
    case HEP_ACT_QUICK_GELU:
        return x / (1.0f + expf(-1.702f * x));
    case HEP_ACT_GELU:
        return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case HEP_ACT_RELU:
        return x > 0 ? x : 0;
    case HEP_ACT_LEAKY_RELU:
        return x > 0 ? x : 0.2f * x;
    default:
        return x;
    }
}

static inline float load(const void *data, int64_t index, bool bf16)
{
    return bf16 ? hep_bf16_to_f32(((const uint16_t *)data)[index]) : ((const float *)data)[index];
}

/* sums[lanes] of one place and one block of output channels. */
static inline __attribute__((always_inline)) void place(const struct direct *d, int64_t image, int64_t oy, int64_t ox,
                                                        int64_t block, bool bf16, float *sums)
{
    for (int lane = 0; lane < HEP_DIRECT_LANES; lane++)
        sums[lane] = d->bias && block + lane < d->out ? d->bias[block + lane] : 0;
    for (int ky = 0; ky < d->kernel; ky++) {
        int64_t iy = oy * d->stride + ky - d->top;
        if (iy < 0 || iy >= d->height)
            continue;
        for (int kx = 0; kx < d->kernel; kx++) {
            int64_t ix = ox * d->stride + kx - d->left;
            if (ix < 0 || ix >= d->width)
                continue;
            int64_t from = ((image * d->height + iy) * d->width + ix) * d->channels;
            const float *w = d->weight + (ky * d->kernel + kx) * d->channels * d->wide + block;
            for (int64_t c = 0; c < d->channels; c++) {
                float x = load(d->x, from + c, bf16);
                for (int lane = 0; lane < HEP_DIRECT_LANES; lane++)
                    sums[lane] += x * w[c * d->wide + lane];
            }
        }
    }
}

static void finish(const struct direct *d, int64_t at, int64_t block, const float *sums)
{
    bool bf16 = d->dtype == HEP_BF16;
    for (int64_t o = block; o < d->out && o < block + HEP_DIRECT_LANES; o++) {
        float y = activate(sums[o - block], d->activation);
        if (d->residual)
            y += load(d->residual, at + o, bf16);
        if (bf16)
            ((uint16_t *)d->y)[at + o] = hep_f32_to_bf16(y);
        else
            ((float *)d->y)[at + o] = y;
    }
}

/* Lines first … last - 1: rows of output places. */
static void lines(const void *context, int64_t first, int64_t last)
{
    const struct direct *d = context;
    float sums[HEP_DIRECT_LANES];
    for (int64_t line = first; line < last; line++) {
        int64_t image = line / d->out_height, oy = line % d->out_height;
        for (int64_t ox = 0; ox < d->out_width; ox++) {
            for (int64_t block = 0; block < d->wide; block += HEP_DIRECT_LANES) {
                if (d->dtype == HEP_BF16)
                    place(d, image, oy, ox, block, true, sums);
                else
                    place(d, image, oy, ox, block, false, sums);
                finish(d, (line * d->out_width + ox) * d->out, block, sums);
            }
        }
    }
}

static void run(const struct hep_kernel *kernel, void *const *at)
{
    struct direct d = *(const struct direct *)kernel->state;
    d.x = at[HEP_SLOT_A];
    d.weight = at[HEP_SLOT_WEIGHT];
    d.bias = at[HEP_SLOT_BIAS];
    d.residual = at[HEP_SLOT_RESIDUAL];
    d.y = at[HEP_SLOT_OUT];
    hep_parallel_for(d.lines, 1, lines, &d);
}

/* Everything that oneDNN offers was refused, or this kernel would not be here. */
static void why(const struct hep_kernel *kernel, FILE *to)
{
    hep_onednn_why_none(&kernel->problem, to);
}

static void clear(struct hep_kernel *kernel)
{
    free(kernel->state);
    kernel->state = NULL;
}

enum hep_status hep_cpu_direct(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_problem *p = &kernel->problem;
    const struct hep_shape *x = &p->operand[HEP_SLOT_A].shape, *y = &p->operand[HEP_SLOT_OUT].shape;
    struct direct *d = calloc(1, sizeof *d);
    if (!d)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a kernel");
    bool conv = p->op == HEP_OP_CONV2D;
    *d = (struct direct){.height = conv ? x->dims[1] : hep_rows(x),
                         .width = conv ? x->dims[2] : 1,
                         .channels = hep_row(x),
                         .out_height = conv ? y->dims[1] : hep_rows(x),
                         .out_width = conv ? y->dims[2] : 1,
                         .out = hep_row(y),
                         .kernel = conv ? p->attr.kernel : 1,
                         .stride = conv ? p->attr.stride : 1,
                         .top = p->attr.pads[0],
                         .left = p->attr.pads[1],
                         .dtype = p->operand[HEP_SLOT_A].dtype,
                         .activation = p->activation,
                         .lines = conv ? y->dims[0] * y->dims[1] : hep_rows(x)};
    d->wide = (d->out + HEP_DIRECT_LANES - 1) / HEP_DIRECT_LANES * HEP_DIRECT_LANES;
    kernel->state = d;
    kernel->run = run;
    kernel->clear = clear;
    kernel->why = why;
    kernel->symbol = d->dtype == HEP_BF16 ? "hep_direct_bf16__portable" : "hep_direct_f32__portable";
    return HEP_OK;
}
