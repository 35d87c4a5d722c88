/* Zeros around an image, for every level. An item is one row of an output image. */
#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"

#include <string.h>

static void pad(const struct hep_pad_args *a, int64_t first, int64_t last, size_t bytes)
{
    int64_t out_height = a->top + a->height + a->bottom, out_width = a->left + a->width + a->right;
    size_t place = (size_t)a->channels * bytes;
    size_t left = (size_t)a->left * place, inside = (size_t)a->width * place, right = (size_t)a->right * place;
    for (int64_t item = first; item < last; item++) {
        int64_t image = item / out_height, i = item % out_height - a->top;
        char *y = (char *)a->y + (size_t)(item * out_width) * place;
        if (i < 0 || i >= a->height) {
            memset(y, 0, left + inside + right);
            continue;
        }
        memset(y, 0, left);
        memcpy(y + left, (const char *)a->x + (size_t)(image * a->height + i) * inside, inside);
        memset(y + left + inside, 0, right);
    }
}

static void pad_f32(const void *a, int64_t first, int64_t last)
{
    pad(a, first, last, 4);
}

static void pad_bf16(const void *a, int64_t first, int64_t last)
{
    pad(a, first, last, 2);
}

static void run(const struct hep_pad_args *a, hep_parallel_body *body)
{
    int64_t rows = a->images * (a->top + a->height + a->bottom);
    hep_parallel_for(rows, 16384 / ((a->left + a->width + a->right) * a->channels), body, a);
}

void hep_pad_f32__portable(const struct hep_pad_args *a)
{
    run(a, pad_f32);
}

void hep_pad_bf16__portable(const struct hep_pad_args *a)
{
    run(a, pad_bf16);
}
