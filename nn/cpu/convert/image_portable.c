/* An image's f32 in [-1, 1] to u8, for every level: once per image, not worth more than the compiler's own vectors. */
#include "nn/cpu/kernels.h"
#include "nn/cpu/rows.h"

#include <math.h>

/* round(clamp(x / 2 + 1/2, 0, 1) · 255), halves to even; NaN gives 0. */
static uint8_t to_u8(float x)
{
    float v = x * 0.5f + 0.5f;
    v = v > 0.0f ? v : 0.0f;
    v = v < 1.0f ? v : 1.0f;
    return (uint8_t)(v * 255.0f + 12582912.0f - 12582912.0f);
}

static void f32_to_u8(const void *context, int64_t first, int64_t last)
{
    const struct hep_rows_work *work = context;
    for (int64_t r = first; r < last; r++) {
        int64_t n = hep_rows_in(work, r);
        const float *x = (const float *)work->a.x + r * work->a.x_stride;
        uint8_t *y = (uint8_t *)work->a.y + r * work->a.y_stride;
        for (int64_t i = 0; i < n; i++)
            y[i] = to_u8(x[i]);
    }
}

void hep_from_f32_u8__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, f32_to_u8);
}
