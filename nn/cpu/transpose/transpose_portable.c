/* [n, rows, cols] → [n, cols, rows], for every level: only at a network's borders. An item is 16 rows of an output
 * image. */
#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"

enum { BLOCK = 16 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Output rows c0 … c1 - 1 of one image. */
static void block_f32(const float *x, float *y, int64_t rows, int64_t columns, int64_t c0, int64_t c1)
{
    for (int64_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (int64_t c = c0; c < c1; c++)
            for (int64_t r = r0; r < smaller(r0 + BLOCK, rows); r++)
                y[c * rows + r] = x[r * columns + c];
}

static void block_bf16(const uint16_t *x, uint16_t *y, int64_t rows, int64_t columns, int64_t c0, int64_t c1)
{
    for (int64_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (int64_t c = c0; c < c1; c++)
            for (int64_t r = r0; r < smaller(r0 + BLOCK, rows); r++)
                y[c * rows + r] = x[r * columns + c];
}

static int64_t blocks_of(const struct hep_transpose_args *a)
{
    return (a->columns + BLOCK - 1) / BLOCK;
}

static void transpose_f32(const void *context, int64_t first, int64_t last)
{
    const struct hep_transpose_args *a = context;
    for (int64_t item = first; item < last; item++) {
        int64_t image = item / blocks_of(a), c0 = item % blocks_of(a) * BLOCK, at = image * a->rows * a->columns;
        block_f32((const float *)a->x + at, (float *)a->y + at, a->rows, a->columns, c0,
                  smaller(c0 + BLOCK, a->columns));
    }
}

static void transpose_bf16(const void *context, int64_t first, int64_t last)
{
    const struct hep_transpose_args *a = context;
    for (int64_t item = first; item < last; item++) {
        int64_t image = item / blocks_of(a), c0 = item % blocks_of(a) * BLOCK, at = image * a->rows * a->columns;
        block_bf16((const uint16_t *)a->x + at, (uint16_t *)a->y + at, a->rows, a->columns, c0,
                   smaller(c0 + BLOCK, a->columns));
    }
}

void hep_transpose_f32__portable(const struct hep_transpose_args *a)
{
    hep_parallel_for(a->images * blocks_of(a), 16384 / (BLOCK * a->rows), transpose_f32, a);
}

void hep_transpose_bf16__portable(const struct hep_transpose_args *a)
{
    hep_parallel_for(a->images * blocks_of(a), 16384 / (BLOCK * a->rows), transpose_bf16, a);
}
