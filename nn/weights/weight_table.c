/* The table of weights; filled by component.c from files of any layout, read by graph builders and by packing. */
#include "nn/weights/weight_table.h"

#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hep_weight *)a)->name, ((const struct hep_weight *)b)->name);
}

static int name_against(const void *name, const void *weight)
{
    return strcmp(name, ((const struct hep_weight *)weight)->name);
}

const struct hep_weight *hep_weight_table_find(const struct hep_weight_table *table, const char *name)
{
    return table->count ? bsearch(name, table->weights, table->count, sizeof *table->weights, name_against) : NULL;
}

/* ---- the weight source ---- */

static bool source_find(const struct hep_weight_source *source, const char *name, struct hep_weight_info *info)
{
    const struct hep_weight *weight =
        hep_weight_table_find((const struct hep_weight_table *)(const void *)source, name);
    if (weight && info)
        *info = (struct hep_weight_info){weight->dtype, weight->shape};
    return weight != NULL;
}

/* A matrix of [columns, rows] as stored, to [rows, columns]. */
static enum hep_status turn(float *values, const struct hep_shape *shape, struct hep_error *error)
{
    int64_t rows = shape->dims[0], columns = shape->dims[1];
    float *stored = malloc((size_t)(rows * columns) * sizeof *stored);
    if (!stored)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to transpose a matrix");
    memcpy(stored, values, (size_t)(rows * columns) * sizeof *stored);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            values[r * columns + c] = stored[c * rows + r];
    free(stored);
    return HEP_OK;
}

/* A large weight is converted and looked at in blocks that stay in a core's cache, by all cores of the lease. */
enum { BLOCK = 16384 };

struct conversion {
    const struct hep_weight *weight;
    hep_to_f32_run_fn *kernel; /* NULL: this type has none, or the data is not aligned for it */
    float *to;
    int64_t elements;
    atomic_bool *bad; /* something is not finite */
};

static bool all_finite(const float *values, int64_t count)
{
    uint32_t found = 0; /* without an early end, for the compiler's vectors */
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        found |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return found == 0;
}

static void convert_blocks(const void *context, int64_t first, int64_t last)
{
    const struct conversion *c = context;
    size_t bytes = hep_dtype_bytes(c->weight->dtype);
    for (int64_t block = first; block < last; block++) {
        int64_t at = block * BLOCK, left = c->elements - at, count = left < BLOCK ? left : BLOCK;
        const char *from = (const char *)c->weight->data + (size_t)at * bytes;
        if (c->kernel)
            c->kernel(&(struct hep_rows_args){
                .rows = 1, .columns = count, .x = from, .x_stride = count, .y = c->to + at, .y_stride = count});
        else
            hep_to_f32(c->to + at, from, c->weight->dtype, (size_t)count);
        if (!all_finite(c->to + at, count))
            atomic_store_explicit(c->bad, true, memory_order_relaxed);
    }
}

static enum hep_status not_finite(const struct hep_weight *weight, const float *values, int64_t elements,
                                  struct hep_error *error)
{
    int64_t i = 0;
    while (i < elements - 1 && isfinite(values[i]))
        i++;
    hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': weight '%.150s' is %g at element %" PRId64 " of %" PRId64, weight->file,
             weight->name, (double)values[i], i, elements);
    return hep_hint(error, "the file is damaged, or was converted to a type too small for it: fetch it again");
}

static enum hep_status convert(const struct hep_weight *weight, float *to, int64_t elements, struct hep_error *error)
{
    atomic_bool bad = false;
    bool is_aligned = (uintptr_t)weight->data % hep_dtype_bytes(weight->dtype) == 0;
    struct conversion conversion = {weight, is_aligned ? hep_kernels()->to_f32[weight->dtype].run : NULL, to, elements,
                                    &bad};
    hep_parallel_for((elements + BLOCK - 1) / BLOCK, 1, convert_blocks, &conversion);
    if (weight->stored) /* a load has no more of its files mapped than the weight in hand */
        hep_safetensors_forget(weight->stored, weight->data, weight->bytes);
    return bad ? not_finite(weight, to, elements, error) : HEP_OK;
}

static enum hep_status source_read_f32(const struct hep_weight_source *source, const char *name, float *to,
                                       int64_t elements, struct hep_error *error)
{
    const struct hep_weight_table *table = (const struct hep_weight_table *)(const void *)source;
    const struct hep_weight *weight = hep_weight_table_find(table, name);
    int64_t stored = 0;
    if (!weight)
        return hep_fail(error, HEP_E_NOT_FOUND, "%s has no weight '%.150s'", table->component, name);
    if (!hep_shape_elements(&weight->shape, &stored) || stored != elements)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': weight '%.150s' has %" PRId64 " elements, not %" PRId64,
                        weight->file, name, stored, elements);
    if (!hep_dtype_is_float(weight->dtype))
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': weight '%.150s' is %s, not a float type", weight->file, name,
                        hep_dtype_name(weight->dtype));
    HEP_TRY(convert(weight, to, elements, error));
    return weight->transposed ? turn(to, &weight->shape, error) : HEP_OK;
}

static const struct hep_weight_source_ops source_ops = {
    .kind = "safetensors", .open = false, .find = source_find, .read_f32 = source_read_f32};

/* ---- filling ---- */

void hep_weight_table_init(struct hep_weight_table *table, const char *component)
{
    *table = (struct hep_weight_table){.source = {&source_ops}, .component = component};
}

void hep_weight_table_clear(struct hep_weight_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->weights[i].name);
    free(table->weights);
    table->weights = NULL;
    table->count = table->room = 0;
}

enum hep_status hep_weight_table_add(struct hep_weight_table *table, const struct hep_weight *weight,
                                     struct hep_error *error)
{
    if (table->count == table->room) {
        size_t room = table->room ? 2 * table->room : 256;
        struct hep_weight *grown = reallocarray(table->weights, room, sizeof *grown);
        if (!grown)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a table of %zu weights", room);
        table->weights = grown;
        table->room = room;
    }
    struct hep_weight *added = &table->weights[table->count];
    *added = *weight;
    added->name = strdup(weight->name);
    if (!added->name)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a table of %zu weights", table->count + 1);
    table->count++;
    return HEP_OK;
}

enum hep_status hep_weight_table_seal(struct hep_weight_table *table, struct hep_error *error)
{
    if (table->count > 0)
        qsort(table->weights, table->count, sizeof *table->weights, by_name);
    for (size_t i = 1; i < table->count; i++)
        if (strcmp(table->weights[i - 1].name, table->weights[i].name) == 0)
            return hep_fail(error, HEP_E_BAD_MODEL, "weight '%.150s' is in '%.120s' and in '%.120s'",
                            table->weights[i].name, table->weights[i - 1].file, table->weights[i].file);
    return HEP_OK;
}
