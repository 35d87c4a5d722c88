/*
 * f32 from and to bf16 and f16, to nearest even, the same bytes at every level and as the scalar functions of
 * common/tensor.h (which do the tails; one level's NaNs may carry other payloads in f16). Included by the level's file
 * after its simd header.
 */
#include "nn/cpu/kernels.h"
#include "nn/cpu/rows.h"

static void bf16_to_f32(const void *context, int64_t first, int64_t last)
{
    const struct hep_rows_work *work = context;
    for (int64_t r = first; r < last; r++) {
        int64_t n = hep_rows_in(work, r), i = 0;
        const uint16_t *x = (const uint16_t *)work->a.x + r * work->a.x_stride;
        float *y = (float *)work->a.y + r * work->a.y_stride;
        for (; i + LANES <= n; i += LANES)
            v_store(y + i, v_load_bf16(x + i));
        for (; i < n; i++)
            y[i] = hep_bf16_to_f32(x[i]);
    }
}

static void f32_to_bf16(const void *context, int64_t first, int64_t last)
{
    const struct hep_rows_work *work = context;
    for (int64_t r = first; r < last; r++) {
        int64_t n = hep_rows_in(work, r), i = 0;
        const float *x = (const float *)work->a.x + r * work->a.x_stride;
        uint16_t *y = (uint16_t *)work->a.y + r * work->a.y_stride;
        for (; i + LANES <= n; i += LANES)
            v_store_bf16(y + i, v_load(x + i));
        for (; i < n; i++)
            y[i] = hep_f32_to_bf16(x[i]);
    }
}

static void f16_to_f32(const void *context, int64_t first, int64_t last)
{
    const struct hep_rows_work *work = context;
    for (int64_t r = first; r < last; r++) {
        int64_t n = hep_rows_in(work, r), i = 0;
        const uint16_t *x = (const uint16_t *)work->a.x + r * work->a.x_stride;
        float *y = (float *)work->a.y + r * work->a.y_stride;
        for (; i + LANES <= n; i += LANES)
            v_store(y + i, v_load_f16(x + i));
        for (; i < n; i++)
            y[i] = hep_f16_to_f32(x[i]);
    }
}

static void f32_to_f16(const void *context, int64_t first, int64_t last)
{
    const struct hep_rows_work *work = context;
    for (int64_t r = first; r < last; r++) {
        int64_t n = hep_rows_in(work, r), i = 0;
        const float *x = (const float *)work->a.x + r * work->a.x_stride;
        uint16_t *y = (uint16_t *)work->a.y + r * work->a.y_stride;
        for (; i + LANES <= n; i += LANES)
            v_store_f16(y + i, v_load(x + i));
        for (; i < n; i++)
            y[i] = hep_f32_to_f16(x[i]);
    }
}
