/*
 * The scheduler's step and classifier-free guidance, for every level: one source without fused operations, so that a
 * row's latents have the same bytes on every machine once the networks' outputs have.
 */
#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"

enum { SEGMENT = 1024, ALONE = 16, VECTORS_MAX = 8 };

static int64_t end_of(int64_t segment, int64_t count)
{
    int64_t end = (segment + 1) * SEGMENT;
    return end < count ? end : count;
}

/* sum = c · x, or sum + c · x: one product rounded, one sum rounded. */
static void first_term(float *restrict sum, float c, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = c * x[i];
}
static void add_term(float *restrict sum, float c, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += c * x[i];
}

static void update(const void *context, int64_t first, int64_t last)
{
    const struct hep_update_args *a = context;
    float fresh[VECTORS_MAX][SEGMENT]; /* all rows of a segment before any is stored: out may be state */
    for (int64_t segment = first; segment < last; segment++) {
        int64_t at = segment * SEGMENT, n = end_of(segment, a->count) - at;
        for (int32_t r = 0; r < a->vectors; r++) {
            const float *row = a->matrix + r * (a->vectors + 2);
            first_term(fresh[r], row[0], a->state[0] + at, n);
            for (int32_t c = 1; c < a->vectors; c++)
                add_term(fresh[r], row[c], a->state[c] + at, n);
            add_term(fresh[r], row[a->vectors], a->model + at, n);
            if (a->noise)
                add_term(fresh[r], row[a->vectors + 1], a->noise + at, n);
        }
        for (int32_t r = 0; r < a->vectors; r++)
            for (int64_t i = 0; i < n; i++)
                a->out[r][at + i] = fresh[r][i];
    }
}

void hep_update_f32__portable(const struct hep_update_args *a)
{
    hep_parallel_for((a->count + SEGMENT - 1) / SEGMENT, ALONE, update, a);
}

static void guidance(const void *context, int64_t first, int64_t last)
{
    const struct hep_guidance_args *a = context;
    for (int64_t i = first * SEGMENT; i < end_of(last - 1, a->count); i++)
        a->out[i] = a->uncond[i] + a->guidance * (a->cond[i] - a->uncond[i]);
}

void hep_guidance_f32__portable(const struct hep_guidance_args *a)
{
    hep_parallel_for((a->count + SEGMENT - 1) / SEGMENT, ALONE, guidance, a);
}
