/* The table of weights; filled by component.c from files of any layout, read by graph builders and by packing. */
#include "nn/weights/weight_table.h"

#include <math.h>
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

static enum hep_status check_finite(const struct hep_weight *weight, const float *values, int64_t elements,
                                    struct hep_error *error)
{
    for (int64_t i = 0; i < elements; i++)
        if (!isfinite(values[i])) {
            hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': weight '%.150s' is %g at element %" PRId64 " of %" PRId64,
                     weight->file, weight->name, (double)values[i], i, elements);
            return hep_hint(error, "the file is damaged, or was converted to a type too small for it: fetch it again");
        }
    return HEP_OK;
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
    if (!hep_to_f32(to, weight->data, weight->dtype, (size_t)elements))
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': weight '%.150s' is %s, not a float type", weight->file, name,
                        hep_dtype_name(weight->dtype));
    if (weight->transposed)
        HEP_TRY(turn(to, &weight->shape, error));
    return check_finite(weight, to, elements, error);
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
