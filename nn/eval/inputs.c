/*
 * Reads the inputs of one case out of a file, converted to what the plan takes; called by evaluation.c. It checks
 * shapes and ids, and runs nothing.
 */
#include "nn/eval/inputs.h"

#include <stdlib.h>
#include <string.h>

/* The input whose shape says the case's size, and the rank it must have. To add a network: a row. */
static const struct primary {
    const char *network, *input;
    int rank;
} primaries[] = {
    {"text_encoder", "input_ids", 2}, {"text_encoder_2", "input_ids", 2},  {"unet", "sample", 4},
    {"controlnet", "sample", 4},      {"vae_encoder", "image", 4},         {"vae_decoder", "z", 4},
    {"upscaler", "image", 4},         {"safety_checker", "clip_input", 4},
};

static const struct primary *primary_of(const struct hep_network_kind *network)
{
    size_t i = 0;
    while (i < HEP_COUNT_OF(primaries) && strcmp(primaries[i].network, network->name) != 0)
        i++;
    hep_assert(i < HEP_COUNT_OF(primaries)); /* every network has a row */
    return &primaries[i];
}

/* "base" if name is "base.sample" and input is "sample"; "" if name is "sample"; false otherwise. */
static bool case_of(const char *name, const char *input, char *case_name, size_t size)
{
    size_t length = strlen(name), tail = strlen(input);
    if (length < tail || strcmp(name + length - tail, input) != 0)
        return false;
    size_t head = length - tail;
    if (head > 0 && name[head - 1] != '.')
        return false;
    head = head > 0 ? head - 1 : 0;
    if (head >= size)
        return false;
    memcpy(case_name, name, head);
    case_name[head] = '\0';
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum hep_status inputs_cases(const struct hep_network_kind *network, const struct hep_safetensors *file,
                             const char ***names, size_t *count, struct hep_error *error)
{
    const struct primary *primary = primary_of(network);
    size_t total = hep_safetensors_count(file), found = 0;
    /* cppcheck-suppress pointerSize ; pointers to the names, then the names */
    char *block = malloc(total * (sizeof(char *) + HEP_WEIGHT_NAME_MAX) + 1);
    if (!block)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu names", total);
    const char **list = (const char **)(void *)block;
    char *text = block + total * sizeof(char *);
    for (size_t i = 0; i < total; i++)
        if (case_of(hep_safetensors_at(file, i)->name, primary->input, text + found * HEP_WEIGHT_NAME_MAX,
                    HEP_WEIGHT_NAME_MAX)) {
            list[found] = text + found * HEP_WEIGHT_NAME_MAX;
            found++;
        }
    if (found == 0) {
        free(block);
        return hep_fail(error, HEP_E_NOT_FOUND, "'%.200s' has no '%s' (or 'CASE.%s') for %s",
                        hep_safetensors_name(file), primary->input, primary->input, network->name);
    }
    qsort(list, found, sizeof *list, by_text);
    *names = list;
    *count = found;
    return HEP_OK;
}

static enum hep_status find(const struct hep_safetensors *file, const char *name, const char *input,
                            const struct hep_safetensors_entry **entry, struct hep_error *error)
{
    char full[2 * HEP_WEIGHT_NAME_MAX];
    snprintf(full, sizeof full, "%s%s%s", name, *name ? "." : "", input);
    *entry = hep_safetensors_find(file, full);
    if (!*entry)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.200s' has no '%.150s'", hep_safetensors_name(file), full);
    return HEP_OK;
}

enum hep_status inputs_size(const struct hep_network_kind *network, const union hep_any_config *config,
                            const struct hep_safetensors *file, const char *name, struct hep_network_size *size,
                            struct hep_error *error)
{
    const struct primary *primary = primary_of(network);
    const struct hep_safetensors_entry *entry, *context;
    char text[160];
    HEP_TRY(find(file, name, primary->input, &entry, error));
    if (entry->shape.rank != primary->rank)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is %s, not of %d dimensions", entry->name,
                        hep_shape_text(&entry->shape, text, sizeof text), primary->rank);
    const int64_t *dims = entry->shape.dims;
    *size = (struct hep_network_size){.batch = dims[0], .tokens = 77};
    if (primary->rank == 2) {
        size->tokens = dims[1];
        return HEP_OK;
    }
    int64_t factor = strcmp(network->name, "vae_encoder") == 0 ? hep_vae_scale_factor(&config->vae) : 1;
    if (dims[2] % factor || dims[3] % factor)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is %s: height and width must be multiples of %" PRId64,
                        entry->name, hep_shape_text(&entry->shape, text, sizeof text), factor);
    size->height = dims[2] / factor;
    size->width = dims[3] / factor;
    if (strcmp(primary->input, "sample") == 0) {
        HEP_TRY(find(file, name, "encoder_hidden_states", &context, error));
        size->tokens = context->shape.rank == 3 ? context->shape.dims[1] : 0;
    }
    return HEP_OK;
}

/* Any number type to f32. */
static bool to_f32(float *to, const struct hep_safetensors_entry *from, size_t count)
{
    if (from->dtype == HEP_I64 || from->dtype == HEP_I32) {
        const char *source = from->data;
        for (size_t i = 0; i < count; i++) {
            int64_t wide = 0;
            int32_t narrow = 0;
            memcpy(from->dtype == HEP_I64 ? (void *)&wide : (void *)&narrow, source + i * hep_dtype_bytes(from->dtype),
                   hep_dtype_bytes(from->dtype));
            to[i] = from->dtype == HEP_I64 ? (float)wide : (float)narrow;
        }
        return true;
    }
    return hep_to_f32(to, from->data, from->dtype, count);
}

static enum hep_status load_ids(int32_t *to, const struct hep_safetensors_entry *from, size_t count, int64_t vocabulary,
                                struct hep_error *error)
{
    if (from->dtype != HEP_I32 && from->dtype != HEP_I64)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is %s, not i32 or i64", from->name,
                        hep_dtype_name(from->dtype));
    for (size_t i = 0; i < count; i++) {
        int64_t id;
        int32_t narrow;
        if (from->dtype == HEP_I64) {
            memcpy(&id, (const char *)from->data + i * sizeof id, sizeof id);
        } else {
            memcpy(&narrow, (const char *)from->data + i * sizeof narrow, sizeof narrow);
            id = narrow;
        }
        if (id < 0 || id >= vocabulary)
            return hep_fail(error, HEP_E_OUT_OF_RANGE,
                            "'%.150s' has id %" PRId64 " at %zu; the vocabulary has %" PRId64, from->name, id, i,
                            vocabulary);
        to[i] = (int32_t)id;
    }
    return HEP_OK;
}

static enum hep_status load_one(const union hep_any_config *config, const struct hep_safetensors_entry *entry,
                                enum hep_dtype dtype, const struct hep_shape *shape, struct hep_tensor *tensor,
                                struct hep_error *error)
{
    char have[160], want[160];
    size_t bytes;
    int64_t count, given;
    if (!hep_shape_bytes(shape, dtype, &bytes) || !hep_shape_elements(shape, &count) ||
        !hep_shape_elements(&entry->shape, &given))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' has an impossible shape", entry->name);
    bool spread = shape->rank == 1 && given == 1 && entry->shape.rank <= 1; /* one timestep for all */
    if (!spread && !hep_shape_equal(shape, &entry->shape))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is %s, not %s", entry->name,
                        hep_shape_text(&entry->shape, have, sizeof have), hep_shape_text(shape, want, sizeof want));
    *tensor = (struct hep_tensor){malloc(bytes ? bytes : 1), dtype, *shape};
    if (!tensor->data)
        return hep_fail(error, HEP_E_NO_MEMORY, "no %zu bytes for '%.150s'", bytes, entry->name);
    if (dtype == HEP_I32)
        return load_ids(tensor->data, entry, (size_t)count, config->clip.vocab_size, error);
    float *to = tensor->data;
    if (!to_f32(to, entry, (size_t)given))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is %s, not numbers", entry->name,
                        hep_dtype_name(entry->dtype));
    for (int64_t i = given; i < count; i++)
        to[i] = to[0]; /* NOLINT(clang-analyzer-core.uninitialized.Assign): given is 1 where it is not count */
    return HEP_OK;
}

enum hep_status inputs_load(const struct hep_network_kind *network, const union hep_any_config *config,
                            const struct hep_plan *plan, const struct hep_safetensors *file, const char *name,
                            struct inputs *inputs, struct hep_error *error)
{
    const char *input;
    enum hep_dtype dtype;
    struct hep_shape shape;
    (void)network;
    for (size_t i = 0; hep_plan_input(plan, i, &input, &dtype, &shape); i++) {
        const struct hep_safetensors_entry *entry;
        hep_assert(i < INPUTS_MAX);
        HEP_TRY(find(file, name, input, &entry, error));
        inputs->arguments[i].name = input;
        inputs->count = i + 1;
        HEP_TRY(load_one(config, entry, dtype, &shape, &inputs->arguments[i].tensor, error));
    }
    return HEP_OK;
}

void inputs_clear(struct inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++)
        free(inputs->arguments[i].tensor.data);
    *inputs = (struct inputs){0};
}

void inputs_finish_output(const struct hep_network_kind *network, struct hep_result *result)
{
    char case_name[HEP_WEIGHT_NAME_MAX];
    int64_t count;
    if (strcmp(network->name, "vae_encoder") == 0 && case_of(result->name, "logvar", case_name, sizeof case_name) &&
        hep_shape_elements(&result->shape, &count))
        hep_vae_clamp_logvar(result->data, (size_t)count);
}
