/*
 * Opens a LoRA file: reads every tensor's name, puts those of one module together and checks that they fit each other.
 * Called by heptad-model and by tests. What the updates are added to is lora_merge.c's to know.
 */
#include "nn/weights/lora.h"

#include "common/limits.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hep_lora {
    struct hep_safetensors *file;
    struct hep_lora_module *modules; /* by component, then name */
    size_t count;
    char *names; /* of the modules, one allocation */
};

/* A tensor of the file, before the modules are put together. */
struct tensor {
    struct hep_lora_key key;
    const struct hep_safetensors_entry *entry;
};

/* ---- alpha without a tensor
 * ---------------------------------------------------------------------------------------------------- */
/* What peft said when diffusers saved the file: {"unet.lora_alpha": 8, "unet.use_dora": false, …}. */
struct adapter {
    json_t *said; /* NULL: nothing */
};

static enum hep_status read_adapter(const struct hep_safetensors *file, struct adapter *adapter,
                                    struct hep_error *error)
{
    static const char *const refused[] = {".use_dora", ".use_rslora", ".alpha_pattern", ".lora_bias"};
    const char *text = hep_safetensors_metadata(file, "lora_adapter_metadata"), *key;
    json_t *value;
    if (!text)
        return HEP_OK;
    adapter->said = strlen(text) <= HEP_CONFIG_JSON_MAX ? json_loads(text, 0, NULL) : NULL;
    if (!json_is_object(adapter->said))
        return hep_fail(error, HEP_E_BAD_FILE, "its lora_adapter_metadata is no JSON object");
    json_object_foreach(adapter->said, key, value) for (size_t i = 0; i < HEP_COUNT_OF(refused); i++)
    {
        size_t length = strlen(key), tail = strlen(refused[i]);
        bool set = json_is_true(value) || json_object_size(value) > 0;
        if (set && length >= tail && strcmp(key + length - tail, refused[i]) == 0)
            return hep_fail(error, HEP_E_UNSUPPORTED, "its lora_adapter_metadata has '%.80s', which is not applied",
                            key);
    }
    return HEP_OK;
}

static double adapter_alpha(const struct adapter *adapter, const struct hep_lora_module *module)
{
    char key[64];
    snprintf(key, sizeof key, "%s.lora_alpha", module->component);
    const json_t *value = json_object_get(adapter->said, key);
    return json_is_number(value) ? json_number_value(value) : (double)module->rank;
}

/* ---- one module
 * ---------------------------------------------------------------------------------------------------------------- */
static enum hep_status check_tensor(const struct tensor *t, struct hep_error *error)
{
    const struct hep_safetensors_entry *entry = t->entry;
    char shape[128];
    float none;
    int64_t elements;
    bool alpha = t->key.part == HEP_LORA_ALPHA;
    if (!hep_to_f32(&none, entry->data, entry->dtype, 0))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is %s, not a float type", entry->name,
                        hep_dtype_name(entry->dtype));
    bool ranks = alpha ? entry->shape.rank <= 1 : entry->shape.rank == 2 || entry->shape.rank == 4;
    if (!ranks || !hep_shape_elements(&entry->shape, &elements) || elements < 1 || (alpha && elements != 1))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' has shape %s, not that of %s", entry->name,
                        hep_shape_text(&entry->shape, shape, sizeof shape),
                        alpha ? "a number" : "a linear layer or a convolution");
    return HEP_OK;
}

static int64_t kernel_of(const struct hep_safetensors_entry *entry, int axis)
{
    return entry->shape.rank == 4 ? entry->shape.dims[2 + axis] : 1;
}

static bool is_pointwise(const struct hep_safetensors_entry *entry)
{
    return kernel_of(entry, 0) == 1 && kernel_of(entry, 1) == 1;
}

static enum hep_status read_alpha(const struct hep_safetensors_entry *entry, struct hep_lora_module *module,
                                  struct hep_error *error)
{
    float alpha;
    hep_to_f32(&alpha, entry->data, entry->dtype, 1);
    if (!isfinite(alpha))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is not finite", entry->name);
    module->alpha = (double)alpha;
    return HEP_OK;
}

/* Sizes of the update, from tensors that have been checked one by one. */
static enum hep_status fit(struct hep_lora_module *module, struct hep_error *error)
{
    const struct hep_shape *up = &module->up->shape, *down = &module->down->shape;
    const struct hep_safetensors_entry *kernel = module->mid ? module->mid : module->down;
    char a[128], b[128], c[128] = "";
    module->rows = up->dims[0];
    module->rank = up->dims[1];
    module->down_rank = down->dims[0];
    for (int axis = 0; axis < 2; axis++)
        module->kernel[axis] = kernel_of(kernel, axis);
    bool fits = is_pointwise(module->up) && (module->mid ? is_pointwise(module->down) : down->dims[0] == up->dims[1]);
    if (module->mid)
        fits = fits && module->mid->shape.dims[0] == up->dims[1] && module->mid->shape.dims[1] == down->dims[0];
    if (!fits) {
        if (module->mid)
            snprintf(c, sizeof c, ", mid %s", hep_shape_text(&module->mid->shape, b, sizeof b));
        return hep_fail(error, HEP_E_BAD_FILE, "the tensors of %.100s do not fit each other: up %s%s, down %s",
                        module->name, hep_shape_text(up, a, sizeof a), c, hep_shape_text(down, b, sizeof b));
    }
    if (module->rank > HEP_LORA_RANK_MAX || module->down_rank > HEP_LORA_RANK_MAX)
        return hep_fail(error, HEP_E_BAD_FILE, "the update of %.100s has rank %" PRId64 ", more than %d", module->name,
                        module->rank > module->down_rank ? module->rank : module->down_rank, HEP_LORA_RANK_MAX);
    int64_t elements; /* of what hep_lora_read writes: they must be countable, as the update itself */
    struct hep_shape columns = HEP_SHAPE(down->dims[1], module->kernel[0], module->kernel[1]);
    struct hep_shape whole = HEP_SHAPE(module->rows, module->rank, down->dims[1], module->kernel[0], module->kernel[1]);
    if (!hep_shape_elements(&whole, &elements) || !hep_shape_elements(&columns, &module->columns))
        return hep_fail(error, HEP_E_BAD_FILE, "the update of %.100s is too large", module->name);
    return HEP_OK;
}

static enum hep_status make_module(const struct tensor *parts[HEP_LORA_PART_COUNT], const struct adapter *adapter,
                                   struct hep_lora_module *module, struct hep_error *error)
{
    if (!parts[HEP_LORA_UP] || !parts[HEP_LORA_DOWN])
        return hep_fail(error, HEP_E_BAD_FILE, "%s %.100s has no %s matrix", module->component, module->name,
                        parts[HEP_LORA_UP] ? "down" : "up");
    module->up = parts[HEP_LORA_UP]->entry;
    module->down = parts[HEP_LORA_DOWN]->entry;
    module->mid = parts[HEP_LORA_MID] ? parts[HEP_LORA_MID]->entry : NULL;
    HEP_TRY(fit(module, error));
    module->alpha = adapter_alpha(adapter, module);
    return parts[HEP_LORA_ALPHA] ? read_alpha(parts[HEP_LORA_ALPHA]->entry, module, error) : HEP_OK;
}

/* ---- the file
 * ------------------------------------------------------------------------------------------------------------------ */
static int same_module(const struct tensor *a, const struct tensor *b)
{
    int order = strcmp(a->key.component, b->key.component);
    return order ? order : strcmp(a->key.module, b->key.module);
}

static int by_module(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    int order = same_module(x, y);
    if (order)
        return order;
    return x->key.part != y->key.part ? (int)x->key.part - (int)y->key.part : strcmp(x->entry->name, y->entry->name);
}

static enum hep_status read_names(const struct hep_safetensors *file, struct tensor *tensors, struct hep_error *error)
{
    size_t count = hep_safetensors_count(file), unknown = 0;
    struct hep_error first = {0};
    for (size_t i = 0; i < count; i++) {
        struct hep_error one = {0};
        tensors[i].entry = hep_safetensors_at(file, i);
        enum hep_status status = hep_lora_key_read(tensors[i].entry->name, &tensors[i].key, &one);
        if (status == HEP_OK)
            HEP_TRY(check_tensor(&tensors[i], error));
        else if (unknown++ == 0)
            first = one;
    }
    if (unknown == 0)
        return HEP_OK;
    char more[64] = "";
    if (unknown > 1)
        snprintf(more, sizeof more, " (and %zu more of %zu)", unknown - 1, count);
    hep_fail(error, first.code, "%s%s", first.message, more);
    return hep_hint(error, "%s", first.hint), first.code;
}

/* The modules of sorted tensors, one after another. */
static enum hep_status group(struct hep_lora *lora, const struct tensor *tensors, size_t count,
                             const struct adapter *adapter, struct hep_error *error)
{
    char *name = lora->names;
    for (size_t i = 0; i < count;) {
        const struct tensor *parts[HEP_LORA_PART_COUNT] = {NULL};
        struct hep_lora_module *module = &lora->modules[lora->count];
        size_t first = i;
        for (; i < count && same_module(&tensors[first], &tensors[i]) == 0; i++) {
            const struct tensor **part = &parts[tensors[i].key.part];
            if (*part)
                return hep_fail(error, HEP_E_BAD_FILE, "'%.100s' and '%.100s' are the same part of one module",
                                (*part)->entry->name, tensors[i].entry->name);
            *part = &tensors[i];
        }
        *module = (struct hep_lora_module){.component = tensors[first].key.component, .name = name};
        strcpy(name, tensors[first].key.module);
        name += strlen(name) + 1;
        HEP_TRY(make_module(parts, adapter, module, error));
        lora->count++;
    }
    return HEP_OK;
}

static enum hep_status read_modules(struct hep_lora *lora, struct hep_error *error)
{
    size_t count = hep_safetensors_count(lora->file), bytes = 0;
    struct adapter adapter = {0};
    if (count == 0)
        return hep_fail(error, HEP_E_BAD_FILE, "it holds no tensor");
    struct tensor *tensors = calloc(count, sizeof *tensors);
    if (!tensors)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu tensors", count);
    enum hep_status status = read_names(lora->file, tensors, error);
    if (status == HEP_OK)
        status = read_adapter(lora->file, &adapter, error);
    for (size_t i = 0; status == HEP_OK && i < count; i++)
        bytes += strlen(tensors[i].key.module) + 1;
    if (status == HEP_OK) {
        qsort(tensors, count, sizeof *tensors, by_module);
        lora->modules = calloc(count, sizeof *lora->modules);
        lora->names = malloc(bytes);
        status = lora->modules && lora->names ? group(lora, tensors, count, &adapter, error)
                                              : hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu modules", count);
    }
    json_decref(adapter.said);
    free(tensors);
    return status;
}

static enum hep_status finish(struct hep_safetensors *file, struct hep_lora **lora, struct hep_error *error)
{
    struct hep_lora *opened = calloc(1, sizeof *opened);
    if (!opened) {
        hep_safetensors_close(file);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a LoRA");
    }
    opened->file = file;
    enum hep_status status = read_modules(opened, error);
    if (status != HEP_OK) {
        hep_prefix(error, "'%.150s'", hep_safetensors_name(file));
        hep_lora_close(opened);
        return status;
    }
    *lora = opened;
    return HEP_OK;
}

enum hep_status hep_lora_open(int folder, const char *path, struct hep_lora **lora, struct hep_error *error)
{
    struct hep_safetensors *file = NULL;
    HEP_TRY(hep_safetensors_open(folder, path, &file, error));
    return finish(file, lora, error);
}

enum hep_status hep_lora_open_memory(const void *bytes, size_t size, const char *name, struct hep_lora **lora,
                                     struct hep_error *error)
{
    struct hep_safetensors *file = NULL;
    HEP_TRY(hep_safetensors_open_memory(bytes, size, name, &file, error));
    return finish(file, lora, error);
}

void hep_lora_close(struct hep_lora *lora)
{
    if (!lora)
        return;
    hep_safetensors_close(lora->file);
    free(lora->modules);
    free(lora->names);
    free(lora);
}

const char *hep_lora_file(const struct hep_lora *lora)
{
    return hep_safetensors_name(lora->file);
}

size_t hep_lora_count(const struct hep_lora *lora)
{
    return lora->count;
}

const struct hep_lora_module *hep_lora_at(const struct hep_lora *lora, size_t i)
{
    hep_assert(i < lora->count);
    return &lora->modules[i];
}

bool hep_lora_touches(const struct hep_lora *lora, const char *component)
{
    for (size_t i = 0; i < lora->count; i++)
        if (strcmp(lora->modules[i].component, component) == 0)
            return true;
    return false;
}

/* ---- values
 * --------------------------------------------------------------------------------------------------------------------
 */
static enum hep_status read_values(const struct hep_lora *lora, const struct hep_safetensors_entry *entry, float *to,
                                   struct hep_error *error)
{
    size_t count = entry->bytes / hep_dtype_bytes(entry->dtype);
    hep_to_f32(to, entry->data, entry->dtype, count);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(to[i])) {
            hep_fail(error, HEP_E_BAD_FILE, "'%.150s': '%.150s' is %g at element %zu of %zu",
                     hep_safetensors_name(lora->file), entry->name, (double)to[i], i, count);
            return hep_hint(error, "the file is damaged: fetch it again"), HEP_E_BAD_FILE;
        }
    return HEP_OK;
}

/* down[a][i, y, x] = Σ_b mid[a, b, y, x] · down[b, i], in order of b. */
static void unfold(const struct hep_lora_module *module, const float *mid, const float *plain, float *down)
{
    int64_t area = module->kernel[0] * module->kernel[1], inputs = module->columns / area;
    memset(down, 0, (size_t)(module->rank * module->columns) * sizeof *down);
    for (int64_t a = 0; a < module->rank; a++)
        for (int64_t b = 0; b < module->down_rank; b++)
            for (int64_t i = 0; i < inputs; i++)
                for (int64_t k = 0; k < area; k++)
                    down[a * module->columns + i * area + k] +=
                        mid[(a * module->down_rank + b) * area + k] * plain[b * inputs + i];
}

static enum hep_status read_tucker(const struct hep_lora *lora, const struct hep_lora_module *module, float *down,
                                   struct hep_error *error)
{
    int64_t area = module->kernel[0] * module->kernel[1], inputs = module->columns / area;
    float *mid = malloc((size_t)(module->rank * module->down_rank * area) * sizeof *mid);
    float *plain = malloc((size_t)(module->down_rank * inputs) * sizeof *plain);
    enum hep_status status = mid && plain ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a LoRA's update");
    if (status == HEP_OK)
        status = read_values(lora, module->mid, mid, error);
    if (status == HEP_OK)
        status = read_values(lora, module->down, plain, error);
    if (status == HEP_OK)
        unfold(module, mid, plain, down);
    free(mid);
    free(plain);
    return status;
}

enum hep_status hep_lora_read(const struct hep_lora *lora, const struct hep_lora_module *module, double weight,
                              float *up, float *down, struct hep_error *error)
{
    double scale = weight * (module->alpha / (double)module->rank);
    HEP_TRY(read_values(lora, module->up, up, error));
    HEP_TRY(module->mid ? read_tucker(lora, module, down, error) : read_values(lora, module->down, down, error));
    for (int64_t i = 0; i < module->rows * module->rank; i++)
        up[i] = (float)(scale * (double)up[i]);
    return HEP_OK;
}
