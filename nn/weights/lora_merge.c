/*
 * The source that adds updates to weights while they are packed; one per component and load, called by heptad-model's
 * publish.c and by tests. Only one weight is in memory at a time.
 */
#include "nn/weights/lora_merge.h"

#include "common/crash_point.h"
#include "nn/cpu/parallel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_AT_ONCE = 256, GRAIN_ROWS = 8 };

/* An update and the weight that it changes. */
struct update {
    char weight[HEP_WEIGHT_NAME_MAX];
    const struct hep_lora_use *use; /* in hep_lora_merge.uses: their order is the request's */
    const struct hep_lora_module *module;
};

struct hep_lora_merge {
    struct hep_weight_source source; /* first: the source is the merge */
    const struct hep_component *component;
    struct hep_lora_use *uses;
    struct update *updates; /* by weight, then in the order of the uses */
    size_t count;
};

/* ---- the sums
 * ------------------------------------------------------------------------------------------------------------------ */
struct addition {
    float *weight;
    const float *up, *down;
    int64_t rank, columns;
};

/* Rows first … last - 1. */
static void add_rows(const void *context, int64_t first, int64_t last)
{
    const struct addition *a = context;
    for (int64_t row = first; row < last; row++)
        for (int64_t start = 0; start < a->columns; start += COLUMNS_AT_ONCE) {
            float sums[COLUMNS_AT_ONCE] = {0};
            int64_t width = a->columns - start < COLUMNS_AT_ONCE ? a->columns - start : COLUMNS_AT_ONCE;
            float *weight = a->weight + row * a->columns + start;
            for (int64_t r = 0; r < a->rank; r++) {
                const float factor = a->up[row * a->rank + r], *down = a->down + r * a->columns + start;
                for (int64_t i = 0; i < width; i++)
                    sums[i] += factor * down[i];
            }
            for (int64_t i = 0; i < width; i++)
                weight[i] += sums[i];
        }
}

static enum hep_status add_update(const struct update *update, float *weight, struct hep_error *error)
{
    const struct hep_lora_module *module = update->module;
    float *up = malloc((size_t)(module->rows * module->rank) * sizeof *up);
    float *down = malloc((size_t)(module->rank * module->columns) * sizeof *down);
    enum hep_status status = up && down ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a LoRA's update");
    if (status == HEP_OK)
        status = hep_lora_read(update->use->lora, module, update->use->weight, up, down, error);
    if (status == HEP_OK) {
        const struct addition addition = {weight, up, down, module->rank, module->columns};
        hep_parallel_for(module->rows, GRAIN_ROWS, add_rows, &addition);
    }
    free(up);
    free(down);
    return status;
}

/* ---- the source
 * ---------------------------------------------------------------------------------------------------------------- */
static int by_weight(const void *a, const void *b)
{
    const struct update *x = a, *y = b;
    int order = strcmp(x->weight, y->weight);
    return order ? order : (x->use > y->use) - (x->use < y->use);
}

/* The first update of the weight; count if there is none. */
static size_t first_update(const struct hep_lora_merge *merge, const char *name)
{
    size_t low = 0, high = merge->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(merge->updates[middle].weight, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool source_find(const struct hep_weight_source *source, const char *name, struct hep_weight_info *info)
{
    const struct hep_lora_merge *merge = (const struct hep_lora_merge *)(const void *)source;
    const struct hep_weight_source *base = hep_component_weights(merge->component);
    return base->ops->find(base, name, info);
}

static enum hep_status source_read_f32(const struct hep_weight_source *source, const char *name, float *to,
                                       int64_t elements, struct hep_error *error)
{
    const struct hep_lora_merge *merge = (const struct hep_lora_merge *)(const void *)source;
    const struct hep_weight_source *base = hep_component_weights(merge->component);
    size_t first = first_update(merge, name), i = first;
    HEP_TRY(base->ops->read_f32(base, name, to, elements, error));
    for (; i < merge->count && strcmp(merge->updates[i].weight, name) == 0; i++)
        HEP_TRY(add_update(&merge->updates[i], to, error));
    if (i > first)
        HEP_CRASH_POINT("model.lora_merged");
    for (int64_t k = 0; i > first && k < elements; k++)
        if (!isfinite(to[k])) {
            hep_fail(error, HEP_E_BAD_MODEL, "weight '%.150s' is %g at element %" PRId64 " with its LoRAs", name,
                     (double)to[k], k);
            return hep_hint(error, "use smaller weights of the LoRAs"), HEP_E_BAD_MODEL;
        }
    return HEP_OK;
}

static const struct hep_weight_source_ops source_ops = {
    .kind = "safetensors with LoRAs", .open = false, .find = source_find, .read_f32 = source_read_f32};

/* ---- which weights
 * ------------------------------------------------------------------------------------------------------------- */
/* The component's weights by the names that updates use. */
struct target {
    char module[HEP_WEIGHT_NAME_MAX];
    const char *weight;
    struct hep_shape shape;
};
struct targets {
    struct target *items; /* by module */
    size_t count;
};

static int by_module(const void *a, const void *b)
{
    return strcmp(((const struct target *)a)->module, ((const struct target *)b)->module);
}

static int module_against(const void *name, const void *target)
{
    return strcmp(name, ((const struct target *)target)->module);
}

static enum hep_status list_targets(const struct hep_component *component, struct targets *targets,
                                    struct hep_error *error)
{
    size_t count = hep_component_weight_count(component);
    targets->items = calloc(count + 1, sizeof *targets->items);
    if (!targets->items)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu weights", count);
    for (size_t i = 0; i < count; i++) {
        struct target *target = &targets->items[targets->count];
        struct hep_weight_info info;
        target->weight = hep_component_weight_at(component, i, &info);
        target->shape = info.shape;
        targets->count += hep_lora_module_of_weight(target->weight, target->module);
    }
    qsort(targets->items, targets->count, sizeof *targets->items, by_module);
    return HEP_OK;
}

/* Linear layers and 1 × 1 convolutions are the same numbers; larger kernels must be the same. */
static bool shape_fits(const struct hep_lora_module *module, const struct hep_shape *shape)
{
    int64_t elements;
    bool kernel = shape->rank == 4 ? shape->dims[2] == module->kernel[0] && shape->dims[3] == module->kernel[1]
                                   : module->kernel[0] == 1 && module->kernel[1] == 1;
    return (shape->rank == 2 || shape->rank == 4) && kernel && shape->dims[0] == module->rows &&
           hep_shape_elements(shape, &elements) && elements == module->rows * module->columns;
}

/* What is wrong with the first update that fits nothing, and how many do not. */
static enum hep_status misfit(const struct hep_lora_merge *merge, const struct hep_lora_use *use,
                              const struct hep_lora_module *module, const struct target *target, size_t others,
                              struct hep_error *error)
{
    const char *component = hep_component_name(merge->component);
    char shape[128], more[64] = "";
    if (others > 0)
        snprintf(more, sizeof more, ", and %zu more", others);
    if (target)
        hep_fail(error, HEP_E_BAD_MODEL,
                 "LoRA %s does not fit: its update of %s %.100s is %" PRId64 " × %" PRId64 ", the weight is %s%s",
                 use->name, component, module->name, module->rows, module->columns,
                 hep_shape_text(&target->shape, shape, sizeof shape), more);
    else
        hep_fail(error, HEP_E_BAD_MODEL, "LoRA %s does not fit: this model's %s has no %.100s%s", use->name, component,
                 module->name, more);
    return hep_hint(error, "it was made for another family of models (SD 1.x, 2.x, XL)"), HEP_E_BAD_MODEL;
}

static enum hep_status add_uses(struct hep_lora_merge *merge, const struct targets *targets, size_t use_count,
                                struct hep_error *error)
{
    const struct hep_lora_use *bad_use = NULL;
    const struct hep_lora_module *bad = NULL;
    const struct target *bad_target = NULL;
    size_t misfits = 0;
    for (size_t u = 0; u < use_count; u++)
        for (size_t i = 0; merge->uses[u].weight != 0 && i < hep_lora_count(merge->uses[u].lora); i++) {
            const struct hep_lora_module *module = hep_lora_at(merge->uses[u].lora, i);
            if (strcmp(module->component, hep_component_name(merge->component)) != 0)
                continue;
            const struct target *target =
                bsearch(module->name, targets->items, targets->count, sizeof *targets->items, module_against);
            if (target && shape_fits(module, &target->shape)) {
                struct update *update = &merge->updates[merge->count++];
                strcpy(update->weight, target->weight);
                update->use = &merge->uses[u];
                update->module = module;
            } else if (misfits++ == 0) {
                bad_use = &merge->uses[u];
                bad = module;
                bad_target = target;
            }
        }
    return misfits == 0 ? HEP_OK : misfit(merge, bad_use, bad, bad_target, misfits - 1, error);
}

enum hep_status hep_lora_merge_create(const struct hep_component *component, const struct hep_lora_use *uses,
                                      size_t count, struct hep_lora_merge **merge, struct hep_error *error)
{
    HEP_CLEANUP(hep_lora_merge_destroy) struct hep_lora_merge *result = calloc(1, sizeof *result);
    struct targets targets = {0};
    size_t updates = 0;
    for (size_t u = 0; u < count; u++)
        updates += hep_lora_count(uses[u].lora);
    if (!result || !(result->uses = calloc(count + 1, sizeof *uses)) ||
        !(result->updates = calloc(updates + 1, sizeof *result->updates)))
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu updates", updates);
    result->source.ops = &source_ops;
    result->component = component;
    memcpy(result->uses, uses, count * sizeof *uses);
    enum hep_status status = list_targets(component, &targets, error);
    if (status == HEP_OK)
        status = add_uses(result, &targets, count, error);
    free(targets.items);
    if (status != HEP_OK)
        return status;
    qsort(result->updates, result->count, sizeof *result->updates, by_weight);
    *merge = hep_take(&result);
    return HEP_OK;
}

void hep_lora_merge_destroy(struct hep_lora_merge *merge)
{
    if (!merge)
        return;
    free(merge->uses);
    free(merge->updates);
    free(merge);
}

const struct hep_weight_source *hep_lora_merge_source(const struct hep_lora_merge *merge)
{
    return &merge->source;
}
