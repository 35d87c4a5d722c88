/* Rows of a table by id, and CLIP's pooling, for every level: copies of rows, a few per prompt. In the calling thread.
 */
#include "nn/cpu/kernels.h"

#include <string.h>

static void gather(const struct hep_embedding_args *a, size_t bytes)
{
    size_t row = (size_t)a->width * bytes;
    for (int64_t i = 0; i < a->count; i++) {
        int32_t id = a->ids[i] < a->table_rows ? a->ids[i] : 0;
        char *y = (char *)a->y + (size_t)(i * a->y_stride) * bytes;
        if (id < 0)
            memset(y, 0, row);
        else
            memcpy(y, (const char *)a->table + (size_t)id * row, row);
    }
}

void hep_embedding_f32__portable(const struct hep_embedding_args *a)
{
    gather(a, 4);
}

void hep_embedding_bf16__portable(const struct hep_embedding_args *a)
{
    gather(a, 2);
}

/* The position that stands for a prompt: see struct hep_pool_eos_args. */
static int64_t pooled(const int32_t *ids, int64_t tokens, int32_t eos_id)
{
    int64_t best = 0;
    for (int64_t t = 0; t < tokens; t++) {
        if (eos_id >= 0 && ids[t] == eos_id)
            return t;
        if (eos_id < 0 && ids[t] > ids[best])
            best = t;
    }
    return best;
}

static void pool(const struct hep_pool_eos_args *a, size_t bytes)
{
    size_t row = (size_t)a->width * bytes;
    for (int64_t n = 0; n < a->images; n++) {
        int64_t token = n * a->tokens + pooled(a->ids + n * a->tokens, a->tokens, a->eos_id);
        memcpy((char *)a->y + (size_t)n * row, (const char *)a->x + (size_t)(token * a->x_stride) * bytes, row);
    }
}

void hep_pool_eos_f32__portable(const struct hep_pool_eos_args *a)
{
    pool(a, 4);
}

void hep_pool_eos_bf16__portable(const struct hep_pool_eos_args *a)
{
    pool(a, 2);
}
