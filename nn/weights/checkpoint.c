/* Opens single files; called by model_folder.c. What a file is and what its shapes mean, family*.c say. */
#include "nn/weights/checkpoint.h"

#include "common/limits.h"
#include "nn/weights/control_file.h"
#include "nn/weights/folder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { YAML_MAX = 1 << 18 };

struct hep_checkpoint {
    int folder;               /* where the file lies …                 */
    char file[HEP_PATH_MAX];  /* … and its name there                   */
    int beside_folder;        /* where it was found: by a link, perhaps */
    char found[HEP_PATH_MAX]; /* its name there                         */
    const char *bare;
    const struct hep_family *family;
    struct hep_ldm_layout layout;
    json_t *beside; /* NAME.heptad.json, or an empty object */
    json_t *made;   /* {path: object}                        */
};

/* ---- what lies beside the file ---- */

/* "a.safetensors" → "a" and ending. */
static bool beside(const struct hep_checkpoint *checkpoint, const char *ending, char path[HEP_PATH_MAX])
{
    const char *dot = strrchr(checkpoint->found, '.');
    int length = dot ? (int)(dot - checkpoint->found) : (int)strlen(checkpoint->found);
    return (size_t)snprintf(path, HEP_PATH_MAX, "%.*s%s", length, checkpoint->found, ending) < HEP_PATH_MAX &&
           hep_folder_has_file(checkpoint->beside_folder, path);
}

static enum hep_status read_beside(struct hep_checkpoint *checkpoint, struct hep_error *error)
{
    static const char *const known[] = {"unet",      "vae",        "text_encoder", "text_encoder_2",
                                        "scheduler", "controlnet", "defaults"};
    char path[HEP_PATH_MAX];
    const char *key;
    json_t *value;
    if (!beside(checkpoint, ".heptad.json", path)) {
        checkpoint->beside = json_object();
        return checkpoint->beside ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a model");
    }
    HEP_TRY(hep_folder_read_json(checkpoint->beside_folder, path, &checkpoint->beside, error));
    json_object_foreach(checkpoint->beside, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < HEP_COUNT_OF(known); i++)
            found = found || strcmp(known[i], key) == 0;
        if (!found || !json_is_object(value))
            return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': '%.60s' is not the name of a component with an object",
                            path, key);
    }
    return HEP_OK;
}

/* Whether NAME.yaml has a line  KEY: "WORD"  (quotes and case as they come). No more of YAML is understood. */
static bool yaml_says(const struct hep_checkpoint *checkpoint, const char *key, const char *word)
{
    char path[HEP_PATH_MAX], *text = NULL;
    size_t size;
    if (!beside(checkpoint, ".yaml", path) ||
        hep_folder_read_file(checkpoint->beside_folder, path, YAML_MAX, &text, &size, NULL) != HEP_OK)
        return false;
    bool says = false;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        line += strspn(line, " \t");
        if (strncmp(line, key, strlen(key)) != 0 || line[strlen(key)] != ':')
            continue;
        line += strlen(key) + 1;
        line += strspn(line, " \t\"'");
        says = strncasecmp(line, word, strlen(word)) == 0 && strchr("\"' \t\r", line[strlen(word)]); /* NUL too */
    }
    free(text);
    return says;
}

/* ---- the small files ---- */

static enum hep_status add(struct hep_checkpoint *checkpoint, const char *path, json_t *object, struct hep_error *error)
{
    return json_object_set_new(checkpoint->made, path, object) == 0
               ? HEP_OK
               : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a model");
}

/* Lays what NAME.heptad.json says of the component over its configuration. */
static enum hep_status lay_over(const struct hep_checkpoint *checkpoint, const char *component, json_t *config,
                                struct hep_error *error)
{
    const json_t *over = json_object_get(checkpoint->beside, component);
    if (over && json_object_update(config, (json_t *)(uintptr_t)over) != 0)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a model");
    return HEP_OK;
}

/* A component's weights with an empty configuration, to look at its shapes. */
static enum hep_status open_shapes(const struct hep_checkpoint *checkpoint, const char *name,
                                   struct hep_component **component, struct hep_error *error)
{
    return hep_component_open_part(checkpoint->folder, checkpoint->file, &checkpoint->layout, name, NULL, component,
                                   error);
}

static enum hep_status make_config(struct hep_checkpoint *checkpoint, const char *name, int text_embeds,
                                   struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    const struct hep_family *family = checkpoint->family;
    json_t *config = NULL;
    char path[HEP_NAME_MAX];
    HEP_TRY(open_shapes(checkpoint, name, &component, error));
    const struct hep_weight_table *table = hep_component_table(component);
    enum hep_status status =
        strcmp(name, "unet") == 0         ? hep_family_unet_config(family, table, text_embeds, &config, error)
        : strcmp(name, "vae") == 0        ? hep_family_vae_config(family, table, &config, error)
        : strcmp(name, "controlnet") == 0 ? hep_family_controlnet_config(family, table, &config, error)
                                          : hep_family_clip_config(family, table, &config, error);
    if (status != HEP_OK)
        return hep_prefix(error, "'%.150s'", checkpoint->file), status;
    if (strcmp(name, "controlnet") == 0 && yaml_says(checkpoint, "global_average_pooling", "true"))
        json_object_set_new(config, "global_pool_conditions", json_true()); /* the config's reader refuses it by name */
    snprintf(path, sizeof path, "%s/config.json", name);
    status = lay_over(checkpoint, name, config, error);
    if (status != HEP_OK) {
        json_decref(config);
        return status;
    }
    return add(checkpoint, path, config, error);
}

/* SD 2.x: those that predict v were trained for larger images. */
static enum hep_status size_for_v(struct hep_checkpoint *checkpoint, const json_t *scheduler, struct hep_error *error)
{
    const char *type = json_string_value(json_object_get(scheduler, "prediction_type"));
    if (!type || strcmp(type, "v_prediction") != 0 || checkpoint->family->sample_size_v == 0 ||
        json_object_get(json_object_get(checkpoint->beside, "unet"), "sample_size"))
        return HEP_OK;
    json_t *size = json_integer(checkpoint->family->sample_size_v);
    enum hep_status status = hep_checkpoint_set(checkpoint, "unet/config.json", "sample_size", size, error);
    json_decref(size);
    return status;
}

static enum hep_status make_scheduler(struct hep_checkpoint *checkpoint, const struct hep_safetensors *file,
                                      struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *unet = NULL;
    HEP_TRY(open_shapes(checkpoint, "unet", &unet, error));
    json_t *config = hep_family_scheduler(checkpoint->family, file, hep_component_table(unet));
    if (!config)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a model");
    if (yaml_says(checkpoint, "parameterization", "v"))
        json_object_set_new(config, "prediction_type", json_string("v_prediction"));
    enum hep_status status = lay_over(checkpoint, "scheduler", config, error);
    if (status == HEP_OK)
        status = size_for_v(checkpoint, config, error);
    if (status != HEP_OK) {
        json_decref(config);
        return status;
    }
    return add(checkpoint, "scheduler/scheduler_config.json", config, error);
}

static enum hep_status make_tokenizers(struct hep_checkpoint *checkpoint, struct hep_error *error)
{
    static const char *const paths[] = {"tokenizer/tokenizer_config.json", "tokenizer_2/tokenizer_config.json"};
    for (size_t i = 0; i < HEP_COUNT_OF(paths); i++)
        if (checkpoint->family->pads[i])
            HEP_TRY(
                add(checkpoint, paths[i],
                    json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:b}", "tokenizer_class", "CLIPTokenizer", "bos_token",
                              "<|startoftext|>", "eos_token", "<|endoftext|>", "unk_token", "<|endoftext|>",
                              "pad_token", checkpoint->family->pads[i], "model_max_length", 77, "do_lower_case", 1),
                    error));
    return HEP_OK;
}

static json_t *class_of(const char *library, const char *class)
{
    return json_pack("[s, s]", library, class);
}

static enum hep_status make_index(struct hep_checkpoint *checkpoint, struct hep_error *error)
{
    static const char *const tokenizers[] = {"tokenizer", "tokenizer_2"};
    const struct hep_family *family = checkpoint->family;
    json_t *index = json_pack("{s:s, s:o, s:o, s:o}", "_class_name", family->pipeline, "unet",
                              class_of("diffusers", "UNet2DConditionModel"), "vae",
                              class_of("diffusers", "AutoencoderKL"), "scheduler", class_of("diffusers", "Scheduler"));
    for (size_t i = 0; index && i < HEP_COUNT_OF(tokenizers); i++) {
        const char *space = family->encoders[i] ? strchr(family->encoders[i], ' ') : NULL;
        if (!space)
            continue;
        json_object_setn_new(index, family->encoders[i], (size_t)(space - family->encoders[i]),
                             class_of("transformers", space + 1));
        json_object_set_new(index, tokenizers[i], class_of("transformers", "CLIPTokenizer"));
    }
    if (index && family->time_ids > 0) {
        json_object_set_new(index, "force_zeros_for_empty_prompt", json_boolean(family->zeros_for_empty));
        json_object_set_new(index, "requires_aesthetics_score",
                            json_boolean(family->time_ids == HEP_FAMILY_TIME_IDS_SCORED));
    }
    return add(checkpoint, "model_index.json", index, error);
}

static enum hep_status check_parts(const struct hep_checkpoint *checkpoint, const struct hep_safetensors *file,
                                   struct hep_error *error)
{
    static const char *const parts[] = {"unet", "vae", "text_encoder", "text_encoder_2"};
    const json_t *index = hep_checkpoint_json(checkpoint, "model_index.json");
    for (size_t i = 0; i < HEP_COUNT_OF(parts); i++)
        if (json_object_get(index, parts[i]) && !hep_ldm_has(file, parts[i]))
            return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s' is of the family %s, but has no %s", checkpoint->file,
                            checkpoint->family->name, parts[i]);
    return HEP_OK;
}

static enum hep_status make_model(struct hep_checkpoint *checkpoint, const struct hep_safetensors *file,
                                  struct hep_error *error)
{
    static const char *const encoders[] = {"text_encoder", "text_encoder_2"};
    bool has_vae = hep_ldm_has(file, "vae");
    HEP_TRY(make_index(checkpoint, error));
    if (!has_vae) /* pruned: one from elsewhere is to be used */
        json_object_del(json_object_get(checkpoint->made, "model_index.json"), "vae");
    HEP_TRY(check_parts(checkpoint, file, error));
    for (size_t i = 0; i < HEP_COUNT_OF(encoders); i++)
        if (checkpoint->family->encoders[i])
            HEP_TRY(make_config(checkpoint, encoders[i], 0, error));
    const json_t *second = hep_checkpoint_json(checkpoint, "text_encoder_2/config.json");
    HEP_TRY(make_config(checkpoint, "unet", (int)json_integer_value(json_object_get(second, "projection_dim")), error));
    if (has_vae)
        HEP_TRY(make_config(checkpoint, "vae", 0, error));
    HEP_TRY(make_scheduler(checkpoint, file, error));
    HEP_TRY(make_tokenizers(checkpoint, error));
    json_t *defaults = json_object_get(checkpoint->beside, "defaults");
    return defaults ? add(checkpoint, "heptad.json", json_pack("{s:O}", "defaults", defaults), error) : HEP_OK;
}

/* ---- public ---- */

static enum hep_status open_header(struct hep_checkpoint *checkpoint, struct hep_error *error)
{
    HEP_CLEANUP(hep_safetensors_close) struct hep_safetensors *file = NULL;
    enum hep_model_kind kind;
    HEP_TRY(hep_safetensors_open(checkpoint->folder, checkpoint->file, &file, error));
    if (!checkpoint->bare)
        HEP_TRY(hep_family_recognise(file, &checkpoint->family, &kind, error));
    HEP_TRY(hep_ldm_layout_find(file, checkpoint->bare, &checkpoint->layout, error));
    if (checkpoint->bare && strcmp(checkpoint->bare, "controlnet") == 0)
        HEP_TRY(hep_control_recognise(file, &checkpoint->layout, &checkpoint->family, error));
    HEP_TRY(read_beside(checkpoint, error));
    return checkpoint->bare ? make_config(checkpoint, checkpoint->bare, 0, error) : make_model(checkpoint, file, error);
}

enum hep_status hep_checkpoint_open(const char *path, const char *bare, const struct hep_family *family,
                                    struct hep_checkpoint **checkpoint, struct hep_error *error)
{
    char target[PATH_MAX];
    if (!realpath(path, target))
        return hep_fail(error, HEP_E_NOT_FOUND, "there is no file '%.200s'", path);
    HEP_CLEANUP(hep_checkpoint_close) struct hep_checkpoint *opened = calloc(1, sizeof *opened);
    if (!opened)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a model");
    opened->folder = opened->beside_folder = -1;
    opened->bare = bare;
    opened->family = family;
    opened->made = json_object();
    if (!opened->made)
        /* cppcheck-suppress memleak ; HEP_CLEANUP closes it */
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a model"); /* NOLINT: as above */
    HEP_TRY(hep_folder_open_parent(target, &opened->folder, opened->file, error));
    HEP_TRY(hep_folder_open_parent(path, &opened->beside_folder, opened->found, error));
    HEP_TRY(open_header(opened, error));
    *checkpoint = hep_take(&opened);
    return HEP_OK;
}

void hep_checkpoint_close(struct hep_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    if (checkpoint->folder >= 0)
        close(checkpoint->folder);
    if (checkpoint->beside_folder >= 0)
        close(checkpoint->beside_folder);
    json_decref(checkpoint->beside);
    json_decref(checkpoint->made);
    free(checkpoint);
}

const char *hep_checkpoint_family(const struct hep_checkpoint *checkpoint)
{
    return checkpoint->family->name;
}

int hep_checkpoint_folder(const struct hep_checkpoint *checkpoint)
{
    return checkpoint->folder;
}

int hep_checkpoint_beside(const struct hep_checkpoint *checkpoint)
{
    return checkpoint->beside_folder;
}

const char *hep_checkpoint_file(const struct hep_checkpoint *checkpoint)
{
    return checkpoint->file;
}

const json_t *hep_checkpoint_json(const struct hep_checkpoint *checkpoint, const char *path)
{
    return json_object_get(checkpoint->made, path);
}

enum hep_status hep_checkpoint_set(struct hep_checkpoint *checkpoint, const char *path, const char *key,
                                   const json_t *value, struct hep_error *error)
{
    if (value && json_object_set_new(json_object_get(checkpoint->made, path), key, json_deep_copy(value)) != 0)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for '%.200s'", path);
    return HEP_OK;
}

enum hep_status hep_checkpoint_component(const struct hep_checkpoint *checkpoint, const char *name,
                                         struct hep_component **component, struct hep_error *error)
{
    char path[HEP_NAME_MAX];
    snprintf(path, sizeof path, "%s/config.json", name);
    return hep_component_open_part(checkpoint->folder, checkpoint->file, &checkpoint->layout, name,
                                   hep_checkpoint_json(checkpoint, path), component, error);
}
