/*
 * a + b with b repeated over rows. Included by the level's file after its simd header. Dense a, b and y of one shape go
 * as segments of one long row; else row by row.
 */
#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"
#include "nn/cpu/rows.h"
#include "nn/cpu/simd/dtype.h"

HEP_INLINE void add_row(const void *a, const void *b, void *y, int64_t n, enum hep_dtype dtype)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_put(y, i, v_add(v_get(a, i, dtype), v_get(b, i, dtype)), dtype);
    if (i < n)
        v_put_n(y, i, v_add(v_get_n(a, i, n - i, dtype), v_get_n(b, i, n - i, dtype)), n - i, dtype);
}

HEP_INLINE void add_rows(const struct hep_add_args *a, int64_t first, int64_t last, enum hep_dtype dtype)
{
    for (int64_t r = first; r < last; r++) {
        int64_t b_row = r / a->b_repeat % a->b_rows;
        add_row(v_at(a->a, r * a->a_stride, dtype), v_at(a->b, b_row * a->b_stride, dtype),
                v_at_out(a->y, r * a->y_stride, dtype), a->columns, dtype);
    }
}

/* Here columns is the length of one long row. */
HEP_INLINE void add_segments(const struct hep_add_args *a, int64_t first, int64_t last, enum hep_dtype dtype)
{
    int64_t start = first * HEP_ROWS_SEGMENT, end = last * HEP_ROWS_SEGMENT;
    end = end < a->columns ? end : a->columns;
    add_row(v_at(a->a, start, dtype), v_at(a->b, start, dtype), v_at_out(a->y, start, dtype), end - start, dtype);
}

static void add_rows_f32(const void *a, int64_t first, int64_t last)
{
    add_rows(a, first, last, HEP_F32);
}
static void add_rows_bf16(const void *a, int64_t first, int64_t last)
{
    add_rows(a, first, last, HEP_BF16);
}
static void add_segments_f32(const void *a, int64_t first, int64_t last)
{
    add_segments(a, first, last, HEP_F32);
}
static void add_segments_bf16(const void *a, int64_t first, int64_t last)
{
    add_segments(a, first, last, HEP_BF16);
}

static void add_run(const struct hep_add_args *a, hep_parallel_body *rows, hep_parallel_body *segments)
{
    int64_t n = a->columns;
    if (a->b_rows != a->rows || a->b_repeat != 1 || a->a_stride != n || a->b_stride != n || a->y_stride != n) {
        hep_parallel_for(a->rows, HEP_ROWS_ALONE / n, rows, a);
        return;
    }
    struct hep_add_args flat = *a;
    flat.columns = a->rows * n;
    hep_parallel_for((flat.columns + HEP_ROWS_SEGMENT - 1) / HEP_ROWS_SEGMENT, HEP_ROWS_ALONE / HEP_ROWS_SEGMENT,
                     segments, &flat);
}
