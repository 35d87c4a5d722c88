/*
 * layer_norm, a row at a time. Included by the level's file after its simd header. The mean is summed as distances from
 * the row's first element, the variance as squared distances from the mean: constant rows give beta exactly. Four
 * partial sums per lane, joined in a fixed order.
 */
#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"
#include "nn/cpu/simd/dtype.h"

#include <math.h>

enum { PARTS = 4 };

HEP_INLINE vf added(vf sum, vf distance, bool squared)
{
    return squared ? v_fma(distance, distance, sum) : v_add(sum, distance);
}

/* Σ (x - centre), or of its square. */
HEP_INLINE float row_sum(const void *x, int64_t n, float centre, bool squared, enum hep_dtype dtype)
{
    vf middle = v_set(centre), sum[PARTS];
    int64_t i = 0;
    for (int p = 0; p < PARTS; p++)
        sum[p] = v_zero();
    for (; i + PARTS * LANES <= n; i += PARTS * LANES)
        for (int p = 0; p < PARTS; p++)
            sum[p] = added(sum[p], v_sub(v_get(x, i + p * LANES, dtype), middle), squared);
    for (; i + LANES <= n; i += LANES)
        sum[0] = added(sum[0], v_sub(v_get(x, i, dtype), middle), squared);
    if (i < n) { /* lanes past the end hold 0 - centre: they are stored away, not summed */
        float rest[LANES] = {0};
        v_store_n(rest, v_sub(v_get_n(x, i, n - i, dtype), middle), n - i);
        sum[1] = added(sum[1], v_load(rest), squared);
    }
    return v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

HEP_INLINE void norm_row(const struct hep_layer_norm_args *a, const void *x, void *y, enum hep_dtype dtype)
{
    int64_t n = a->channels, i = 0;
    float first = dtype == HEP_BF16 ? hep_bf16_to_f32(*(const uint16_t *)x) : *(const float *)x;
    float mean = first + row_sum(x, n, first, false, dtype) / (float)n;
    float variance = row_sum(x, n, mean, true, dtype) / (float)n;
    vf middle = v_set(mean), inverse = v_set(1.0f / sqrtf(variance + a->eps));
    for (; i + LANES <= n; i += LANES) {
        vf normal = v_mul(v_sub(v_get(x, i, dtype), middle), inverse);
        v_put(y, i, v_fma(normal, v_load(a->gamma + i), v_load(a->beta + i)), dtype);
    }
    if (i < n) {
        vf normal = v_mul(v_sub(v_get_n(x, i, n - i, dtype), middle), inverse);
        v_put_n(y, i, v_fma(normal, v_load_n(a->gamma + i, n - i), v_load_n(a->beta + i, n - i)), n - i, dtype);
    }
}

HEP_INLINE void norm_rows(const struct hep_layer_norm_args *a, int64_t first, int64_t last, enum hep_dtype dtype)
{
    for (int64_t r = first; r < last; r++)
        norm_row(a, v_at(a->x, r * a->x_stride, dtype), v_at_out(a->y, r * a->y_stride, dtype), dtype);
}

static void rows_f32(const void *a, int64_t first, int64_t last)
{
    norm_rows(a, first, last, HEP_F32);
}
static void rows_bf16(const void *a, int64_t first, int64_t last)
{
    norm_rows(a, first, last, HEP_BF16);
}

static void layer_norm_run(const struct hep_layer_norm_args *a, hep_parallel_body *rows)
{
    hep_parallel_for(a->rows, 8192 / a->channels, rows, a);
}
