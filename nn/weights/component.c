/*
 * Opens a component: finds its weight files, opens each, and fills one table from present key names to tensors.
 * Called by model_folder.c, heptad-model and the evaluation programs. It decides nothing about a network; what a config
 * means is nn/models' to say.
 */
#include "nn/weights/component.h"

#include "common/limits.h"

#include "nn/weights/folder.h"
#include "nn/weights/shards.h"
#include "nn/weights/upscaler_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* To add a kind: a row here, its reader and builder in nn/models. */
static const struct hep_component_kind kinds[] = {
    {"text_encoder", "CLIPTextModel CLIPTextModelWithProjection", "model", NULL},
    {"text_encoder_2", "CLIPTextModelWithProjection CLIPTextModel", "model", NULL},
    {"unet", "UNet2DConditionModel", "diffusion_pytorch_model", NULL},
    {"controlnet", "ControlNetModel", "diffusion_pytorch_model", NULL},
    {"vae", "AutoencoderKL", "diffusion_pytorch_model", NULL},
    {"safety_checker", "StableDiffusionSafetyChecker", "model", NULL},
    {"upscaler", "RRDBNet", NULL, hep_upscaler_config},
};

struct hep_component {
    const struct hep_component_kind *kind;
    char subfolder[HEP_PATH_MAX];
    json_t *config;
    struct hep_safetensors *files[HEP_SHARDS_MAX];
    size_t file_count;
    struct hep_weight_table table;
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

/* Whether each weight is in the file that the index says, and no other is in them. */
static enum hep_status check_shards(const struct hep_component *component, const json_t *index, const char *index_path,
                                    const struct hep_shards *shards, struct hep_error *error)
{
    const char *weight;
    json_t *value;
    json_object_foreach(json_object_get(index, "weight_map"), weight, value)
    {
        const struct hep_safetensors *file = component->files[hep_shards_of(shards, index, weight)];
        if (!hep_safetensors_find(file, weight))
            return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s' says that '%.100s' is in '%.150s', but it is not",
                            index_path, weight, hep_safetensors_name(file));
    }
    for (size_t f = 0; f < shards->count; f++)
        for (size_t i = 0; i < hep_safetensors_count(component->files[f]); i++) {
            weight = hep_safetensors_at(component->files[f], i)->name;
            if (hep_shards_of(shards, index, weight) != f)
                return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s' holds '%.100s', which '%.150s' does not say",
                                hep_safetensors_name(component->files[f]), weight, index_path);
        }
    return HEP_OK;
}

/* Opens every shard that the index names. */
static enum hep_status open_shards(struct hep_component *component, int folder, const char *index_path,
                                   struct hep_error *error)
{
    json_t *index;
    struct hep_shards shards = {0};
    char path[HEP_PATH_MAX];
    HEP_TRY(hep_folder_read_json(folder, index_path, &index, error));
    enum hep_status status = hep_shards_read(index, index_path, &shards, error);
    for (size_t i = 0; status == HEP_OK && i < shards.count; i++) {
        status = join(component, shards.names[i], path, sizeof path, error);
        if (status == HEP_OK)
            status = add_file(component, folder, path, error);
    }
    if (status == HEP_OK)
        status = check_shards(component, index, index_path, &shards, error);
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

/* Every tensor of the component's files; of a single file in the original layout those that are the component's. */
static enum hep_status add_weights(struct hep_component *component, const struct hep_safetensors *file,
                                   const struct hep_ldm_layout *layout, struct hep_error *error)
{
    for (size_t i = 0; i < hep_safetensors_count(file); i++) {
        const struct hep_safetensors_entry *entry = hep_safetensors_at(file, i);
        struct hep_ldm_part parts[HEP_LDM_PARTS_MAX];
        size_t count = 0;
        HEP_TRY(hep_ldm_parts(layout, component->kind->name, entry, parts, &count, error));
        for (size_t p = 0; p < count; p++) {
            struct hep_weight weight = {.name = parts[p].name,
                                        .dtype = entry->dtype,
                                        .shape = parts[p].shape,
                                        .data = (const char *)entry->data + parts[p].offset,
                                        .transposed = parts[p].transposed,
                                        .file = hep_safetensors_name(file),
                                        .stored = file};
            hep_assert(hep_shape_bytes(&weight.shape, weight.dtype, &weight.bytes) &&
                       parts[p].offset + weight.bytes <= entry->bytes);
            HEP_TRY(hep_weight_table_add(&component->table, &weight, error));
        }
    }
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

static enum hep_status create(const char *name, struct hep_component **component, struct hep_error *error)
{
    const struct hep_component_kind *kind = hep_component_kind_find(name);
    if (!kind)
        return hep_fail(error, HEP_E_UNSUPPORTED, "there is no component '%.60s'", name);
    struct hep_component *created = calloc(1, sizeof *created);
    if (!created)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for component '%s'", kind->name);
    created->kind = kind;
    hep_weight_table_init(&created->table, kind->name);
    *component = created;
    return HEP_OK;
}

enum hep_status hep_component_open(int folder, const char *subfolder, const char *name, const char *variant,
                                   struct hep_component **component, struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *opened = NULL;
    HEP_TRY(create(name, &opened, error));
    if (!opened->kind->stem)
        return hep_fail(error, HEP_E_UNSUPPORTED, "there is no component '%.60s' in a folder", name);
    char path[HEP_PATH_MAX];
    if ((size_t)snprintf(opened->subfolder, sizeof opened->subfolder, "%s", subfolder) >= sizeof opened->subfolder)
        /* cppcheck-suppress memleak ; HEP_CLEANUP closes it */
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the path of component '%s' is too long", name);
    HEP_TRY(join(opened, "config.json", path, sizeof path, error));
    HEP_TRY(incomplete(hep_folder_read_json(folder, path, &opened->config, error), error));
    HEP_TRY(incomplete(open_files(opened, folder, variant, error), error));
    for (size_t f = 0; f < opened->file_count; f++)
        HEP_TRY(add_weights(opened, opened->files[f], NULL, error));
    HEP_TRY(hep_weight_table_seal(&opened->table, error));
    *component = hep_take(&opened);
    return HEP_OK;
}

enum hep_status hep_component_open_part(int folder, const char *file, const struct hep_ldm_layout *layout,
                                        const char *name, const json_t *config, struct hep_component **component,
                                        struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *opened = NULL;
    HEP_TRY(create(name, &opened, error));
    opened->config = config ? json_deep_copy(config) : json_object();
    if (!opened->config)
        /* cppcheck-suppress memleak ; HEP_CLEANUP closes it */
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for component '%s'", name); /* NOLINT: as above */
    HEP_TRY(add_file(opened, folder, file, error));
    HEP_TRY(add_weights(opened, opened->files[0], layout, error));
    HEP_TRY(hep_weight_table_seal(&opened->table, error));
    *component = hep_take(&opened);
    return HEP_OK;
}

/* A pickle can run code and is not read, whatever its name says. */
static enum hep_status refuse_pickle(const char *file, struct hep_error *error)
{
    static const char *const endings[] = {".pth", ".pt", ".ckpt", ".bin"};
    size_t length = strlen(file);
    for (size_t i = 0; i < HEP_COUNT_OF(endings); i++)
        if (length > strlen(endings[i]) && strcasecmp(file + length - strlen(endings[i]), endings[i]) == 0) {
            hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is a pickle, which can run code and is not read", file);
            return hep_hint(error, HEP_PICKLE_HINT), HEP_E_UNSUPPORTED;
        }
    return HEP_OK;
}

enum hep_status hep_component_open_file(int folder, const char *file, const char *name,
                                        struct hep_component **component, struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *opened = NULL;
    HEP_TRY(refuse_pickle(file, error));
    HEP_TRY(create(name, &opened, error));
    if (!opened->kind->derive)
        /* cppcheck-suppress memleak ; HEP_CLEANUP closes it */
        return hep_fail(error, HEP_E_UNSUPPORTED, "there is no component '%.60s' of one file", name); /* NOLINT */
    HEP_TRY(add_file(opened, folder, file, error));
    HEP_TRY(add_weights(opened, opened->files[0], NULL, error));
    HEP_TRY(hep_weight_table_seal(&opened->table, error));
    HEP_TRY(opened->kind->derive(opened, &opened->config, error));
    *component = hep_take(&opened);
    return HEP_OK;
}

void hep_component_close(struct hep_component *component)
{
    if (!component)
        return;
    hep_weight_table_clear(&component->table);
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

enum hep_status hep_component_lay_over(struct hep_component *component, json_t *values, struct hep_error *error)
{
    if (json_object_update(component->config, values) != 0)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the configuration of %s", component->kind->name);
    return HEP_OK;
}

const struct hep_weight_source *hep_component_weights(const struct hep_component *component)
{
    return &component->table.source;
}

const struct hep_weight_table *hep_component_table(const struct hep_component *component)
{
    return &component->table;
}

size_t hep_component_weight_count(const struct hep_component *component)
{
    return component->table.count;
}

const char *hep_component_weight_at(const struct hep_component *component, size_t i, struct hep_weight_info *info)
{
    hep_assert(i < component->table.count);
    const struct hep_weight *weight = &component->table.weights[i];
    if (info)
        *info = (struct hep_weight_info){weight->dtype, weight->shape};
    return weight->name;
}

uint64_t hep_component_bytes(const struct hep_component *component)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < component->table.count; i++)
        bytes += component->table.weights[i].bytes;
    return bytes;
}

enum hep_dtype hep_component_dtype(const struct hep_component *component)
{
    uint64_t bytes[HEP_DTYPE_COUNT] = {0};
    enum hep_dtype most = HEP_DTYPE_UNDEF;
    for (size_t i = 0; i < component->table.count; i++)
        bytes[component->table.weights[i].dtype] += component->table.weights[i].bytes;
    for (int d = HEP_DTYPE_UNDEF + 1; d < HEP_DTYPE_COUNT; d++)
        if (bytes[d] > bytes[most])
            most = (enum hep_dtype)d;
    return most;
}

const char *hep_component_file(const struct hep_component *component, size_t i)
{
    return i < component->file_count ? hep_safetensors_name(component->files[i]) : NULL;
}
