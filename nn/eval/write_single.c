/*
 * Writes an architecture as one safetensors file in the original layout; called by hep-bench. Which key a weight has
 * there, and how it lies in it, is nn/weights/ldm_inverse.h's to say.
 */
#include "nn/eval/write_model.h"
#include "nn/eval/write_tokenizer.h"
#include "nn/eval/write_weights.h"
#include "nn/weights/family.h"
#include "nn/weights/folder.h"
#include "nn/weights/ldm_inverse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A tensor of the file. */
struct stored {
    struct hep_ldm_place place;
    const struct hep_safetensors_source *parts[HEP_LDM_PARTS_MAX]; /* the weights in it */
};

struct single {
    const struct hep_arch *arch;
    const struct hep_family *family;
    struct hep_ldm_layout layout;
    struct hep_random_weights weights[HEP_ARCH_COMPONENTS_MAX];
    struct stored *stored;
    struct hep_safetensors_source *sources; /* of the same indexes */
    size_t count;
};

static const struct hep_family *family_of(const struct hep_arch *arch)
{
    static const char *const names[] = {"sd1", "sd2", "sdxl"};
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) {
        const struct hep_family *family = hep_family_find(names[i]);
        bool same = true;
        for (size_t t = 0; t < HEP_COUNT_OF(family->pads); t++)
            same = same && (family->pads[t] && arch->pad_tokens[t] ? strcmp(family->pads[t], arch->pad_tokens[t]) == 0
                                                                   : family->pads[t] == arch->pad_tokens[t]);
        if (same)
            return family;
    }
    return NULL;
}

/* ---- what is in the file ---- */

/* Its weights, and those of the block that such files have without a use. */
static enum hep_status list_component(struct single *single, size_t index, struct hep_error *error)
{
    const struct hep_arch_component *component = &single->arch->components[index];
    json_t *config = json_loads(component->config, 0, NULL);
    hep_assert(config);
    if (strcmp(component->name, "unet") == 0) {
        const json_t *layers = json_object_get(config, "layers_per_block"); /* diffusers' default is 2 */
        single->layout.blocks_per_level = (layers ? (int)json_integer_value(layers) : 2) + 1;
    }
    if (strcmp(component->name, "vae") == 0)
        single->layout.vae_levels = (int)json_array_size(json_object_get(config, "block_out_channels"));
    if (single->family->last_block_unused && strcmp(component->name, "text_encoder") == 0) {
        json_int_t used = json_integer_value(json_object_get(config, "num_hidden_layers"));
        json_object_set_new(config, "num_hidden_layers", json_integer(used + 1));
    }
    enum hep_status status = hep_random_weights_list(component->name, config, &single->weights[index], error);
    json_decref(config);
    return status;
}

static bool has_name(const void *context, const char *prefix)
{
    const struct hep_random_weights *list = context;
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->items[i].name, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

static struct stored *find_stored(struct single *single, const char *key)
{
    for (size_t i = 0; i < single->count; i++)
        if (strcmp(single->stored[i].place.key, key) == 0)
            return &single->stored[i];
    return NULL;
}

static struct hep_shape stored_shape(const struct hep_ldm_place *place, const struct hep_shape *shape)
{
    struct hep_shape result = *shape;
    if (place->transposed) {
        result.dims[0] = shape->dims[1];
        result.dims[1] = shape->dims[0];
    }
    if (place->as_conv && shape->rank == 2) {
        result.rank = 4;
        result.dims[2] = result.dims[3] = 1;
    }
    result.dims[0] *= place->parts;
    return result;
}

static enum hep_status place_component(struct single *single, size_t index, struct hep_error *error)
{
    const struct hep_random_weights *list = &single->weights[index];
    const char *component = single->arch->components[index].name;
    for (size_t i = 0; i < list->count; i++) {
        struct hep_ldm_place place;
        if (!hep_ldm_place(&single->layout, single->family->mark, component, list->items[i].name, has_name, list,
                           &place))
            return hep_fail(error, HEP_E_UNSUPPORTED, "no single file has a place for %s's %.150s", component,
                            list->items[i].name);
        struct stored *stored = find_stored(single, place.key);
        if (!stored) {
            stored = &single->stored[single->count++];
            stored->place = place;
            single->sources[stored - single->stored] = (struct hep_safetensors_source){
                stored->place.key, HEP_F16, stored_shape(&place, &list->items[i].shape), NULL};
        }
        hep_assert(!stored->parts[place.part]);
        stored->parts[place.part] = &list->items[i];
    }
    return HEP_OK;
}

static enum hep_status collect(struct single *single, struct hep_error *error)
{
    size_t most = 0;
    for (size_t i = 0; i < HEP_ARCH_COMPONENTS_MAX && single->arch->components[i].name; i++) {
        HEP_TRY(list_component(single, i, error));
        most += single->weights[i].count;
    }
    single->stored = calloc(most, sizeof *single->stored);
    single->sources = calloc(most, sizeof *single->sources);
    if (!single->stored || !single->sources)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu weights", most);
    for (size_t i = 0; i < HEP_ARCH_COMPONENTS_MAX && single->arch->components[i].name; i++)
        HEP_TRY(place_component(single, i, error));
    return HEP_OK;
}

/* ---- writing ---- */

static enum hep_status fill(void *context, size_t index, void *to, size_t bytes, struct hep_error *error)
{
    const struct single *single = context;
    const struct stored *stored = &single->stored[index];
    size_t count = bytes / sizeof(uint16_t) / (size_t)stored->place.parts;
    uint16_t *half = to;
    for (int part = 0; part < stored->place.parts; part++)
        hep_random_weight_fill(stored->parts[part], half + (size_t)part * count, count);
    if (!stored->place.transposed)
        return HEP_OK;
    const struct hep_shape *shape = &stored->parts[0]->shape;
    uint16_t *plain = malloc(bytes);
    if (!plain)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to transpose %s", stored->place.key);
    memcpy(plain, half, bytes);
    for (int64_t r = 0; r < shape->dims[0]; r++)
        for (int64_t c = 0; c < shape->dims[1]; c++)
            half[c * shape->dims[0] + r] = plain[r * shape->dims[1] + c];
    free(plain);
    return HEP_OK;
}

/* What the file cannot say of the architecture's scheduler. */
static enum hep_status write_beside(const struct single *single, int folder, const char *file, struct hep_error *error)
{
    char path[HEP_PATH_MAX];
    json_t *scheduler = json_loads(single->arch->scheduler_config, 0, NULL);
    hep_assert(scheduler);
    json_t *beside = json_pack("{s:o}", "scheduler", scheduler);
    snprintf(path, sizeof path, "%.*s.heptad.json", (int)(strlen(file) - strlen(".safetensors")), file);
    enum hep_status status = hep_write_json(folder, path, beside, JSON_INDENT(2), error);
    json_decref(beside);
    return status;
}

static enum hep_status write_files(struct single *single, int folder, const char *file, struct hep_error *error)
{
    HEP_TRY(collect(single, error));
    if (mkdirat(folder, "tokenizer", 0755) == 0)
        HEP_TRY(hep_write_tokenizer(folder, "tokenizer", single->arch->pad_tokens[0], error));
    else if (errno != EEXIST)
        return hep_fail_errno(error, errno, "cannot create folder 'tokenizer'");
    HEP_TRY(write_beside(single, folder, file, error));
    return hep_safetensors_write(folder, file, single->sources, single->count, fill, single, error);
}

static enum hep_status split_path(const char *path, char parent[HEP_PATH_MAX], const char **file,
                                  struct hep_error *error)
{
    static const char ending[] = ".safetensors";
    const char *slash = strrchr(path, '/');
    *file = slash ? slash + 1 : path;
    size_t length = strlen(*file);
    if (length < sizeof ending || strcmp(*file + length + 1 - sizeof ending, ending) != 0)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "'%.200s' must end with %s", path, ending);
    if (!slash)
        snprintf(parent, HEP_PATH_MAX, ".");
    else if (snprintf(parent, HEP_PATH_MAX, "%.*s", (int)(slash - path), path) >= HEP_PATH_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the path of the file is too long");
    return *parent ? hep_make_path(parent, error) : HEP_OK;
}

enum hep_status hep_write_single_file(const struct hep_arch *arch, const char *path, struct hep_error *error)
{
    struct single single = {.arch = arch, .family = family_of(arch)};
    char parent[HEP_PATH_MAX];
    const char *file;
    int folder;
    if (!single.family)
        return hep_fail(error, HEP_E_UNSUPPORTED, "%s comes in no single file", arch->name);
    HEP_TRY(split_path(path, parent, &file, error));
    HEP_TRY(hep_folder_open(*parent ? parent : "/", &folder, error));
    enum hep_status status = hep_folder_has_file(folder, file)
                                 ? hep_fail(error, HEP_E_CONFLICT, "'%.200s' is there already", path)
                                 : write_files(&single, folder, file, error);
    for (size_t i = 0; i < HEP_ARCH_COMPONENTS_MAX; i++)
        hep_random_weights_clear(&single.weights[i]);
    free(single.stored);
    free(single.sources);
    close(folder);
    return status;
}
