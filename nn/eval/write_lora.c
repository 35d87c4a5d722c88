/* Writes random LoRAs; called by hep-bench. It knows a model by the names and shapes in its files only. */
#include "nn/eval/write_lora.h"

#include "nn/weights/folder.h"
#include "nn/weights/lora_names.h"
#include "nn/weights/model_folder.h"
#include "nn/weights/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GAIN 0.33 /* size of the update over that of a weight of variance 1 / fan-in */

/* Components that it changes, with the beginnings of their names. */
static const struct {
    const char *component, *begin;
} parts[] = {{"unet", "lora_unet_"}, {"text_encoder", "lora_te_"}, {"text_encoder_2", "lora_te2_"}};

struct tensors {
    struct hep_safetensors_source *items;
    size_t count, room;
    uint64_t seed; /* of the file's name */
};

static void clear(struct tensors *tensors)
{
    for (size_t i = 0; i < tensors->count; i++)
        free((char *)(uintptr_t)tensors->items[i].name);
    free(tensors->items);
}

static enum hep_status add(struct tensors *tensors, const char *begin, const char *module, const char *end,
                           struct hep_shape shape, struct hep_error *error)
{
    if (tensors->count == tensors->room) {
        size_t room = tensors->room ? 2 * tensors->room : 256;
        struct hep_safetensors_source *grown = realloc(tensors->items, room * sizeof *grown);
        if (!grown)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu tensors", room);
        tensors->items = grown;
        tensors->room = room;
    }
    char *name = NULL;
    if (asprintf(&name, "%s%s%s", begin, module, end) < 0)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a name");
    tensors->items[tensors->count++] = (struct hep_safetensors_source){name, HEP_F16, shape, NULL};
    return HEP_OK;
}

static bool is_attention(const char *weight, const struct hep_shape *shape)
{
    return shape->rank == 2 &&
           (strstr(weight, ".attn1.") || strstr(weight, ".attn2.") || strstr(weight, ".self_attn."));
}

static enum hep_status add_component(struct tensors *tensors, const struct hep_model *model, size_t part, int rank,
                                     struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    const char *begin = parts[part].begin;
    HEP_TRY(hep_model_component(model, parts[part].component, NULL, &component, error));
    for (size_t i = 0; i < hep_component_weight_count(component); i++) {
        struct hep_weight_info info;
        char module[HEP_WEIGHT_NAME_MAX];
        const char *weight = hep_component_weight_at(component, i, &info);
        if (!is_attention(weight, &info.shape) || !hep_lora_module_of_weight(weight, module))
            continue;
        HEP_TRY(add(tensors, begin, module, ".lora_down.weight", HEP_SHAPE(rank, info.shape.dims[1]), error));
        HEP_TRY(add(tensors, begin, module, ".lora_up.weight", HEP_SHAPE(info.shape.dims[0], rank), error));
        HEP_TRY(add(tensors, begin, module, ".alpha", HEP_SHAPE(1), error));
    }
    return HEP_OK;
}

/* FNV-1a, continued. */
static uint64_t hash(uint64_t seed, const char *text)
{
    for (; *text; text++)
        seed = (seed ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return seed;
}

/* Uniform in ± spread: down of variance 1 / fan-in, up so that the product has GAIN; alpha is the rank. */
static enum hep_status fill(void *context, size_t index, void *to, size_t bytes, struct hep_error *error)
{
    const struct tensors *tensors = context;
    const struct hep_safetensors_source *tensor = &tensors->items[index];
    uint64_t state = hash(tensors->seed, tensor->name);
    const int64_t *dims = tensor->shape.dims;
    uint16_t *half = to;
    (void)error;
    if (tensor->shape.rank == 1) {
        half[0] = hep_f32_to_f16((float)tensors->items[index - 1].shape.dims[1]); /* after its up */
        return HEP_OK;
    }
    double spread = sqrt(3) / sqrt((double)dims[1]) * (strstr(tensor->name, "lora_up") ? GAIN : 1);
    for (size_t i = 0; i < bytes / sizeof *half; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407); /* Knuth's MMIX */
        half[i] = hep_f32_to_f16((float)(spread * ((double)(state >> 40) * 0x1p-23 - 1)));
    }
    return HEP_OK;
}

enum hep_status hep_write_lora(const char *model_dir, const char *path, int rank, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    struct tensors tensors = {0};
    enum hep_status status;
    char file[HEP_PATH_MAX];
    int folder = -1;
    HEP_TRY(hep_model_open(model_dir, &model, error));
    for (size_t i = 0; i < HEP_COUNT_OF(parts); i++)
        if (hep_model_has(model, parts[i].component))
            HEP_TRY_DONE(status, add_component(&tensors, model, i, rank, error));
    HEP_TRY_DONE(status, hep_folder_open_parent(path, &folder, file, error));
    tensors.seed = hash(UINT64_C(14695981039346656037), file);
    status = hep_safetensors_write(folder, file, tensors.items, tensors.count, fill, &tensors, error);
done:
    if (folder >= 0)
        close(folder);
    clear(&tensors);
    return status;
}
