/* Strided copy of rows, for every level: the C library's memcpy knows the machine. */
#include "nn/cpu/kernels.h"
#include "nn/cpu/rows.h"

#include <string.h>

static void copy(const struct hep_rows_work *work, int64_t first, int64_t last, size_t bytes)
{
    for (int64_t r = first; r < last; r++)
        memcpy((char *)work->a.y + (size_t)(r * work->a.y_stride) * bytes,
               (const char *)work->a.x + (size_t)(r * work->a.x_stride) * bytes, (size_t)hep_rows_in(work, r) * bytes);
}

static void copy_f32(const void *work, int64_t first, int64_t last)
{
    copy(work, first, last, 4);
}

static void copy_bf16(const void *work, int64_t first, int64_t last)
{
    copy(work, first, last, 2);
}

void hep_copy_f32__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, copy_f32);
}

void hep_copy_bf16__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, copy_bf16);
}
