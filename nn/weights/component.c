/*
 * Opens a component: finds its weight files, opens each, and builds one sorted table from present key names to tensors.
 * Called by model_folder.c, heptad-model and the evaluation programs. It decides nothing about a network; what a config
 * means is nn/models' to say.
 */
#include "nn/weights/component.h"

#include "common/limits.h"

#include "nn/weights/folder.h"
#include "nn/weights/key_map.h"
#include "nn/weights/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* To add a kind: a row here, its reader and builder in nn/models. */
static const struct hep_component_kind kinds[] = {
    {"text_encoder", "CLIPTextModel CLIPTextModelWithProjection", "model"},
    {"text_encoder_2", "CLIPTextModelWithProjection CLIPTextModel", "model"},
    {"unet", "UNet2DConditionModel", "diffusion_pytorch_model"},
    {"vae", "AutoencoderKL", "diffusion_pytorch_model"},
};

struct weight {
    char *name; /* present name, owned         */
    const struct hep_safetensors_entry *entry;
    const struct hep_safetensors *file;
};

struct hep_component {
    struct hep_weight_source source; /* first: the source is the component   */
    const struct hep_component_kind *kind;
    char subfolder[HEP_PATH_MAX];
    json_t *config;
    struct hep_safetensors *files[HEP_SHARDS_MAX];
    size_t file_count;
    struct weight *weights; /* sorted by name */
    size_t weight_count;
};

const struct hep_component_kind *hep_component_kind_at(size_t index)
{
    return index < HEP_COUNT_OF(kinds) ? &kinds[index] : NULL;
}

const struct hep_component_kind *hep_component_kind_find(const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

/* ---- the weight source ---- */

static int name_against(const void *name, const void *weight)
{
    return strcmp(name, ((const struct weight *)weight)->name);
}

static const struct weight *find_weight(const struct hep_component *component, const char *name)
{
    return component->weight_count
               ? bsearch(name, component->weights, component->weight_count, sizeof *component->weights, name_against)
               : NULL;
}

static bool source_find(const struct hep_weight_source *source, const char *name, struct hep_weight_info *info)
{
    const struct weight *weight = find_weight((const struct hep_component *)(const void *)source, name);
    if (weight && info)
        *info = (struct hep_weight_info){weight->entry->dtype, weight->entry->shape};
    return weight != NULL;
}

static enum hep_status source_read_f32(const struct hep_weight_source *source, const char *name, float *to,
                                       int64_t elements, struct hep_error *error)
{
    const struct hep_component *component = (const struct hep_component *)(const void *)source;
    const struct weight *weight = find_weight(component, name);
    int64_t stored = 0;
    if (!weight)
        return hep_fail(error, HEP_E_NOT_FOUND, "%s has no weight '%.150s'", component->kind->name, name);
    const char *file = hep_safetensors_name(weight->file);
    if (!hep_shape_elements(&weight->entry->shape, &stored) || stored != elements)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': weight '%.150s' has %" PRId64 " elements, not %" PRId64,
                        file, name, stored, elements);
    if (!hep_to_f32(to, weight->entry->data, weight->entry->dtype, (size_t)elements))
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': weight '%.150s' is %s, not a float type", file, name,
                        hep_dtype_name(weight->entry->dtype));
    for (int64_t i = 0; i < elements; i++)
        if (!isfinite(to[i])) {
            hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': weight '%.150s' is %g at element %" PRId64 " of %" PRId64, file,
                     name, (double)to[i], i, elements);
            return hep_hint(error, "the file is damaged, or was converted to a type too small for it: fetch it again");
        }
    return HEP_OK;
}

static const struct hep_weight_source_ops source_ops = {
    .kind = "safetensors", .open = false, .find = source_find, .read_f32 = source_read_f32};

/* ---- which files ---- */

/* "unet" + "config.json" → "unet/config.json". */
static enum hep_status join(const struct hep_component *component, const char *file, char *path, size_t size,
                            struct hep_error *error)
{
    int length = component->subfolder[0] ? snprintf(path, size, "%s/%s", component->subfolder, file)
                                         : snprintf(path, size, "%s", file);
    if (length < 0 || (size_t)length >= size)
        return hep_fail(error, HEP_E_BAD_MODEL, "%s: the path of '%.100s' is too long", component->kind->name, file);
    return HEP_OK;
}

static enum hep_status add_file(struct hep_component *component, int folder, const char *path, struct hep_error *error)
{
    if (component->file_count == HEP_SHARDS_MAX)
        return hep_fail(error, HEP_E_BAD_MODEL, "%s has more than %d weight files", component->kind->name,
                        HEP_SHARDS_MAX);
    HEP_TRY(hep_safetensors_open(folder, path, &component->files[component->file_count], error));
    component->file_count++;
    return HEP_OK;
}

static size_t file_of(const struct hep_component *component, const char *path)
{
    size_t i = 0;
    while (i < component->file_count && strcmp(hep_safetensors_name(component->files[i]), path) != 0)
        i++;
    return i;
}

/* Opens every shard that the index names, and checks that each key is in the shard that it is said to be in. */
static enum hep_status open_shards(struct hep_component *component, int folder, const char *index_path,
                                   struct hep_error *error)
{
    json_t *index;
    HEP_TRY(hep_folder_read_json(folder, index_path, &index, error));
    enum hep_status status = HEP_OK;
    json_t *map = json_object_get(index, "weight_map"), *value;
    const char *key;
    if (!json_is_object(map) || json_object_size(map) == 0)
        status = hep_fail(error, HEP_E_BAD_MODEL, "'%.200s' has no 'weight_map'", index_path);
    json_object_foreach(map, key, value)
    {
        char path[HEP_PATH_MAX];
        if (status != HEP_OK)
            break;
        if (!json_is_string(value)) {
            status =
                hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': the file of '%.100s' is not a string", index_path, key);
            break;
        }
        HEP_TRY_DONE(status, join(component, json_string_value(value), path, sizeof path, error));
        size_t i = file_of(component, path);
        if (i == component->file_count)
            HEP_TRY_DONE(status, add_file(component, folder, path, error));
        if (!hep_safetensors_find(component->files[i], key))
            status = hep_fail(error, HEP_E_BAD_MODEL, "'%.150s' says that '%.100s' is in '%.150s', but it is not",
                              index_path, key, path);
    }
done:
    json_decref(index);
    return status;
}

/* The single file, else the index; diffusers puts a variant ("" for none) before ".safetensors" in files and before
   ".json" in indexes. */
static enum hep_status open_variant(struct hep_component *component, int folder, const char *variant, bool *found,
                                    struct hep_error *error)
{
    char dotted[HEP_NAME_MAX] = "", file[HEP_PATH_MAX], path[HEP_PATH_MAX];
    if (*variant && (size_t)snprintf(dotted, sizeof dotted, ".%s", variant) >= sizeof dotted)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the variant '%.60s…' is too long", variant);
    snprintf(file, sizeof file, "%s%s.safetensors", component->kind->stem, dotted);
    HEP_TRY(join(component, file, path, sizeof path, error));
    *found = hep_folder_has_file(folder, path);
    if (*found)
        return add_file(component, folder, path, error);
    snprintf(file, sizeof file, "%s.safetensors.index%s.json", component->kind->stem, dotted);
    HEP_TRY(join(component, file, path, sizeof path, error));
    *found = hep_folder_has_file(folder, path);
    return *found ? open_shards(component, folder, path, error) : HEP_OK;
}

static enum hep_status missing_weights(const struct hep_component *component, int folder, const char *variant,
                                       struct hep_error *error)
{
    static const char *const pickles[] = {"diffusion_pytorch_model.bin", "pytorch_model.bin"};
    char path[HEP_PATH_MAX], file[HEP_PATH_MAX];
    for (size_t i = 0; i < HEP_COUNT_OF(pickles); i++)
        if (join(component, pickles[i], path, sizeof path, NULL) == HEP_OK && hep_folder_has_file(folder, path)) {
            hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is a pickle, which can run code and is not read", path);
            return hep_hint(error, HEP_PICKLE_HINT);
        }
    snprintf(file, sizeof file, "%s%s%s.safetensors", component->kind->stem, variant ? "." : "",
             variant ? variant : "");
    HEP_TRY(join(component, file, path, sizeof path, error));
    /* Names the reason if the file is there but cannot be opened. */
    int fd;
    return hep_folder_open_file(folder, path, &fd, error);
}

static enum hep_status open_files(struct hep_component *component, int folder, const char *variant,
                                  struct hep_error *error)
{
    static const char *const usual[] = {"", "fp16", "bf16"};
    bool found = false;
    if (variant)
        HEP_TRY(open_variant(component, folder, variant, &found, error));
    for (size_t i = 0; !variant && !found && i < HEP_COUNT_OF(usual); i++)
        HEP_TRY(open_variant(component, folder, usual[i], &found, error));
    return found ? HEP_OK : missing_weights(component, folder, variant, error);
}

/* ---- the table of weights ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct weight *)a)->name, ((const struct weight *)b)->name);
}

static enum hep_status build_table(struct hep_component *component, struct hep_error *error)
{
    size_t total = 0;
    for (size_t f = 0; f < component->file_count; f++)
        total += hep_safetensors_count(component->files[f]);
    component->weights = calloc(total + 1, sizeof *component->weights);
    if (!component->weights)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a table of %zu weights", total);
    for (size_t f = 0; f < component->file_count; f++)
        for (size_t i = 0; i < hep_safetensors_count(component->files[f]); i++) {
            const struct hep_safetensors_entry *entry = hep_safetensors_at(component->files[f], i);
            char name[HEP_WEIGHT_NAME_MAX];
            HEP_TRY(hep_key_map(component->kind->name, entry->name, name, sizeof name, error));
            struct weight *weight = &component->weights[component->weight_count];
            *weight = (struct weight){strdup(name), entry, component->files[f]};
            if (!weight->name)
                return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a table of %zu weights", total);
            component->weight_count++;
        }
    if (total > 0)
        qsort(component->weights, total, sizeof *component->weights, by_name);
    for (size_t i = 1; i < total; i++)
        if (strcmp(component->weights[i - 1].name, component->weights[i].name) == 0)
            return hep_fail(error, HEP_E_BAD_MODEL, "weight '%.150s' is in '%.120s' and in '%.120s'",
                            component->weights[i].name, hep_safetensors_name(component->weights[i - 1].file),
                            hep_safetensors_name(component->weights[i].file));
    return HEP_OK;
}

/* Inside a model a missing file is the model's defect. */
static enum hep_status incomplete(enum hep_status status, struct hep_error *error)
{
    if (status != HEP_E_NOT_FOUND)
        return status;
    if (error)
        error->code = HEP_E_BAD_MODEL;
    hep_hint(error, "%s", hep_status_hint(HEP_E_BAD_MODEL));
    return HEP_E_BAD_MODEL;
}

enum hep_status hep_component_open(int folder, const char *subfolder, const char *name, const char *variant,
                                   struct hep_component **component, struct hep_error *error)
{
    const struct hep_component_kind *kind = hep_component_kind_find(name);
    if (!kind)
        return hep_fail(error, HEP_E_UNSUPPORTED, "there is no component '%.60s'", name);
    HEP_CLEANUP(hep_component_close) struct hep_component *opened = calloc(1, sizeof *opened);
    if (!opened)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for component '%s'", kind->name);
    opened->source.ops = &source_ops;
    opened->kind = kind;
    char path[HEP_PATH_MAX];
    if ((size_t)snprintf(opened->subfolder, sizeof opened->subfolder, "%s", subfolder) >= sizeof opened->subfolder)
        /* cppcheck-suppress memleak ; HEP_CLEANUP closes it */
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the path of component '%s' is too long", kind->name);
    HEP_TRY(join(opened, "config.json", path, sizeof path, error));
    HEP_TRY(incomplete(hep_folder_read_json(folder, path, &opened->config, error), error));
    HEP_TRY(incomplete(open_files(opened, folder, variant, error), error));
    HEP_TRY(build_table(opened, error));
    *component = hep_take(&opened);
    return HEP_OK;
}

void hep_component_close(struct hep_component *component)
{
    if (!component)
        return;
    for (size_t i = 0; i < component->weight_count; i++)
        free(component->weights[i].name);
    free(component->weights);
    for (size_t i = 0; i < component->file_count; i++)
        hep_safetensors_close(component->files[i]);
    json_decref(component->config);
    free(component);
}

/* ---- questions ---- */

const char *hep_component_name(const struct hep_component *component)
{
    return component->kind->name;
}

const json_t *hep_component_config(const struct hep_component *component)
{
    return component->config;
}

const struct hep_weight_source *hep_component_weights(const struct hep_component *component)
{
    return &component->source;
}

size_t hep_component_weight_count(const struct hep_component *component)
{
    return component->weight_count;
}

const char *hep_component_weight_at(const struct hep_component *component, size_t i, struct hep_weight_info *info)
{
    hep_assert(i < component->weight_count);
    const struct weight *weight = &component->weights[i];
    if (info)
        *info = (struct hep_weight_info){weight->entry->dtype, weight->entry->shape};
    return weight->name;
}

uint64_t hep_component_bytes(const struct hep_component *component)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < component->weight_count; i++)
        bytes += component->weights[i].entry->bytes;
    return bytes;
}

enum hep_dtype hep_component_dtype(const struct hep_component *component)
{
    uint64_t bytes[HEP_DTYPE_COUNT] = {0};
    enum hep_dtype most = HEP_DTYPE_UNDEF;
    for (size_t i = 0; i < component->weight_count; i++)
        bytes[component->weights[i].entry->dtype] += component->weights[i].entry->bytes;
    for (int d = HEP_DTYPE_UNDEF + 1; d < HEP_DTYPE_COUNT; d++)
        if (bytes[d] > bytes[most])
            most = (enum hep_dtype)d;
    return most;
}

const char *hep_component_file(const struct hep_component *component, size_t i)
{
    return i < component->file_count ? hep_safetensors_name(component->files[i]) : NULL;
}
