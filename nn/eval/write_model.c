/*
 * Writes a model folder out of an architecture's configs; called by hep-bench. Single files are write_single.c's.
 */
#include "nn/eval/write_model.h"

#include "nn/eval/write_tokenizer.h"
#include "nn/eval/write_weights.h"
#include "nn/weights/component.h"
#include "nn/weights/folder.h"
#include "nn/weights/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum hep_status make_folder(int folder, const char *name, struct hep_error *error)
{
    if (mkdirat(folder, name, 0755) != 0 && errno != EEXIST)
        return hep_fail_errno(error, errno, "cannot create folder '%.200s'", name);
    return HEP_OK;
}

enum hep_status hep_make_path(const char *path, struct hep_error *error)
{
    char copy[HEP_PATH_MAX];
    if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy || !*path)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the path of the folder is empty or too long");
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        HEP_TRY(make_folder(AT_FDCWD, copy, error));
        *slash = '/';
    }
    return make_folder(AT_FDCWD, copy, error);
}

static enum hep_status fill(void *context, size_t index, void *to, size_t bytes, struct hep_error *error)
{
    const struct hep_random_weights *list = context;
    (void)error;
    hep_random_weight_fill(&list->items[index], to, bytes / sizeof(uint16_t));
    return HEP_OK;
}

static enum hep_status write_component(int folder, const struct hep_arch_component *component, struct hep_error *error)
{
    const struct hep_component_kind *kind = hep_component_kind_find(component->name);
    struct hep_random_weights list = {0};
    char path[HEP_PATH_MAX];
    enum hep_status status;
    hep_assert(kind);
    json_t *config = json_loads(component->config, 0, NULL);
    hep_assert(config);
    HEP_TRY_DONE(status, make_folder(folder, component->name, error));
    snprintf(path, sizeof path, "%s/config.json", component->name);
    HEP_TRY_DONE(status, hep_write_json(folder, path, config, JSON_INDENT(2), error));
    HEP_TRY_DONE(status, hep_random_weights_list(component->name, config, &list, error));
    snprintf(path, sizeof path, "%s/%s.safetensors", component->name, kind->stem);
    status = hep_safetensors_write(folder, path, list.items, list.count, fill, &list, error);
done:
    hep_random_weights_clear(&list);
    json_decref(config);
    return status;
}

static enum hep_status write_tokenizers(int folder, const struct hep_arch *arch, struct hep_error *error)
{
    static const char *const names[] = {"tokenizer", "tokenizer_2"};
    for (size_t i = 0; i < HEP_COUNT_OF(names) && arch->pad_tokens[i]; i++) {
        HEP_TRY(make_folder(folder, names[i], error));
        HEP_TRY(hep_write_tokenizer(folder, names[i], arch->pad_tokens[i], error));
    }
    return HEP_OK;
}

static enum hep_status write_scheduler(int folder, const struct hep_arch *arch, struct hep_error *error)
{
    HEP_TRY(make_folder(folder, "scheduler", error));
    json_t *config = json_loads(arch->scheduler_config, 0, NULL);
    hep_assert(config);
    enum hep_status status = hep_write_json(folder, "scheduler/scheduler_config.json", config, JSON_INDENT(2), error);
    json_decref(config);
    return status;
}

/* model_index.json is written last: a folder without it is no model. */
static enum hep_status write_index(int folder, const struct hep_arch *arch, struct hep_error *error)
{
    json_t *index = json_pack("{s:s, s:[s, s], s:[s, s]}", "_class_name", arch->pipeline, "scheduler", "diffusers",
                              arch->scheduler_class, "tokenizer", "transformers", "CLIPTokenizer");
    if (arch->pad_tokens[1])
        json_object_set_new(index, "tokenizer_2", json_pack("[s, s]", "transformers", "CLIPTokenizer"));
    for (size_t i = 0; i < HEP_ARCH_COMPONENTS_MAX && arch->components[i].name; i++) {
        const struct hep_arch_component *component = &arch->components[i];
        bool text = strncmp(component->class, "CLIP", 4) == 0;
        json_object_set_new(index, component->name,
                            json_pack("[s, s]", text ? "transformers" : "diffusers", component->class));
    }
    enum hep_status status = hep_write_json(folder, "model_index.json", index, JSON_INDENT(2), error);
    json_decref(index);
    return status;
}

enum hep_status hep_write_model(const struct hep_arch *arch, const char *path, struct hep_error *error)
{
    int folder;
    HEP_TRY(hep_make_path(path, error));
    HEP_TRY(hep_folder_open(path, &folder, error));
    enum hep_status status = HEP_OK;
    if (hep_folder_has_file(folder, "model_index.json"))
        status = hep_fail(error, HEP_E_CONFLICT, "'%.200s' holds a model already", path);
    for (size_t i = 0; status == HEP_OK && i < HEP_ARCH_COMPONENTS_MAX && arch->components[i].name; i++)
        status = write_component(folder, &arch->components[i], error);
    if (status == HEP_OK && (status = write_tokenizers(folder, arch, error)) == HEP_OK &&
        (status = write_scheduler(folder, arch, error)) == HEP_OK)
        status = write_index(folder, arch, error);
    close(folder);
    return status;
}
