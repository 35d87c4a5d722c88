/* Nearest-neighbour resize, for every level: whole places are copied. An item is one row of an output image. */
#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"

#include <string.h>

static void resize(const struct hep_resize_args *a, int64_t first, int64_t last, size_t bytes)
{
    size_t place = (size_t)a->channels * bytes, x_step = (size_t)a->x_stride * bytes,
           y_step = (size_t)a->y_stride * bytes;
    for (int64_t item = first; item < last; item++) {
        int64_t image = item / a->out_height, i = item % a->out_height;
        size_t source_row = (size_t)(image * a->height + i * a->height / a->out_height) * (size_t)a->width;
        const char *x = (const char *)a->x + source_row * x_step;
        char *y = (char *)a->y + (size_t)(item * a->out_width) * y_step;
        for (int64_t j = 0; j < a->out_width; j++)
            memcpy(y + (size_t)j * y_step, x + (size_t)(j * a->width / a->out_width) * x_step, place);
    }
}

static void resize_f32(const void *a, int64_t first, int64_t last)
{
    resize(a, first, last, 4);
}

static void resize_bf16(const void *a, int64_t first, int64_t last)
{
    resize(a, first, last, 2);
}

static void run(const struct hep_resize_args *a, hep_parallel_body *body)
{
    hep_parallel_for(a->images * a->out_height, 16384 / (a->out_width * a->channels), body, a);
}

void hep_resize_f32__portable(const struct hep_resize_args *a)
{
    run(a, resize_f32);
}

void hep_resize_bf16__portable(const struct hep_resize_args *a)
{
    run(a, resize_bf16);
}
