/*
 * The elementwise kernels over rows: silu, quick_gelu, gelu, relu, leaky_relu, scale, geglu. Included by the level's
 * file after its simd header. Every lane, in a full vector or in a tail, goes through the same operations: an element's
 * bytes do not depend on its position.
 */
#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"
#include "nn/cpu/rows.h"
#include "nn/cpu/simd/dtype.h"
#include "nn/cpu/simd/math.h"

/* factor is a constant of the kernel or the argument of scale. */
typedef vf activation(vf x, float factor);

HEP_INLINE vf swish(vf x, float factor)
{
    return v_swish(x, factor);
}
HEP_INLINE vf gelu(vf x, float factor)
{
    (void)factor;
    return v_gelu(x);
}
HEP_INLINE vf relu(vf x, float factor)
{
    (void)factor;
    return v_max(v_zero(), x); /* NaN stays NaN */
}
HEP_INLINE vf leaky_relu(vf x, float factor)
{
    return v_max(v_mul(x, v_set(factor)), x); /* as relu */
}
HEP_INLINE vf scale(vf x, float factor)
{
    return v_mul(x, v_set(factor));
}

HEP_INLINE void map(const struct hep_rows_work *work, int64_t first, int64_t last, enum hep_dtype dtype, float factor,
                    activation *f)
{
    for (int64_t r = first; r < last; r++) {
        int64_t n = hep_rows_in(work, r);
        const void *x = v_at(work->a.x, r * work->a.x_stride, dtype);
        void *y = v_at_out(work->a.y, r * work->a.y_stride, dtype);
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES)
            v_put(y, i, f(v_get(x, i, dtype), factor), dtype);
        if (i < n)
            v_put_n(y, i, f(v_get_n(x, i, n - i, dtype), factor), n - i, dtype);
    }
}

HEP_INLINE void map_geglu(const struct hep_rows_work *work, int64_t first, int64_t last, enum hep_dtype dtype)
{
    int64_t n = work->a.columns;
    for (int64_t r = first; r < last; r++) {
        const void *x = v_at(work->a.x, r * work->a.x_stride, dtype), *gate = v_at(x, n, dtype);
        void *y = v_at_out(work->a.y, r * work->a.y_stride, dtype);
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES)
            v_put(y, i, v_mul(v_get(x, i, dtype), v_gelu(v_get(gate, i, dtype))), dtype);
        if (i < n)
            v_put_n(y, i, v_mul(v_get_n(x, i, n - i, dtype), v_gelu(v_get_n(gate, i, n - i, dtype))), n - i, dtype);
    }
}

static void silu_f32(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_F32, 1.0f, swish);
}
static void silu_bf16(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_BF16, 1.0f, swish);
}
static void quick_gelu_f32(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_F32, 1.702f, swish);
}
static void quick_gelu_bf16(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_BF16, 1.702f, swish);
}
static void gelu_f32(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_F32, 0.0f, gelu);
}
static void gelu_bf16(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_BF16, 0.0f, gelu);
}
static void relu_f32(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_F32, 0.0f, relu);
}
static void relu_bf16(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_BF16, 0.0f, relu);
}
static void leaky_relu_f32(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_F32, 0.2f, leaky_relu);
}
static void leaky_relu_bf16(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_BF16, 0.2f, leaky_relu);
}
static void scale_f32(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_F32, ((const struct hep_rows_work *)work)->a.factor, scale);
}
static void scale_bf16(const void *work, int64_t first, int64_t last)
{
    map(work, first, last, HEP_BF16, ((const struct hep_rows_work *)work)->a.factor, scale);
}
static void geglu_f32(const void *work, int64_t first, int64_t last)
{
    map_geglu(work, first, last, HEP_F32);
}
static void geglu_bf16(const void *work, int64_t first, int64_t last)
{
    map_geglu(work, first, last, HEP_BF16);
}
