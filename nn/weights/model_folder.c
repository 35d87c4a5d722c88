/*
 * Opens model folders and reads their defaults; called by heptad-model, the evaluation programs and tests. It reads no
 * weights and knows no network beyond two numbers of its configs: the latent's side and the VAE's factor.
 */
#include "nn/weights/folder.h"
#include "nn/weights/model_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCALE_FACTOR = 8 }; /* pixels per latent of every published Stable Diffusion: of a file without a VAE */

/* ---- heptad.json ---- */

/* To add a default: a member of struct hep_model_defaults and a row. */
static const struct default_row {
    const char *key;
    enum { INTEGER, REAL, NAME } type;
    size_t offset;
    double min, max; /* of numbers; bytes of a name */
} default_rows[] = {
    {"num_inference_steps", INTEGER, offsetof(struct hep_model_defaults, num_inference_steps), 1, HEP_STEPS_MAX},
    {"guidance_scale", REAL, offsetof(struct hep_model_defaults, guidance_scale), 0, 100},
    {"width", INTEGER, offsetof(struct hep_model_defaults, width), HEP_IMAGE_SIDE_MIN, HEP_IMAGE_SIDE_MAX},
    {"height", INTEGER, offsetof(struct hep_model_defaults, height), HEP_IMAGE_SIDE_MIN, HEP_IMAGE_SIDE_MAX},
    {"scheduler", NAME, offsetof(struct hep_model_defaults, scheduler), 0, HEP_NAME_MAX - 1},
};

static enum hep_status read_default(struct hep_model *model, const char *key, const json_t *value,
                                    struct hep_error *error)
{
    const struct default_row *row = NULL;
    for (size_t i = 0; i < HEP_COUNT_OF(default_rows); i++)
        if (strcmp(default_rows[i].key, key) == 0)
            row = &default_rows[i];
    if (!row)
        return hep_fail(error, HEP_E_BAD_MODEL, "'heptad.json': there is no default '%.60s'", key);
    char *to = (char *)&model->defaults + row->offset;
    if (row->type == NAME) {
        if (!json_is_string(value) || json_string_length(value) > (size_t)row->max)
            return hep_fail(error, HEP_E_BAD_MODEL, "'heptad.json': '%s' is not a string of at most %g bytes", key,
                            row->max);
        snprintf(to, HEP_NAME_MAX, "%s", json_string_value(value));
        return HEP_OK;
    }
    double number = json_number_value(value);
    if (row->type == INTEGER ? !json_is_integer(value) : !json_is_number(value))
        return hep_fail(error, HEP_E_BAD_MODEL, "'heptad.json': '%s' is not %s", key,
                        row->type == INTEGER ? "an integer" : "a number");
    if (!(number >= row->min && number <= row->max))
        return hep_fail(error, HEP_E_BAD_MODEL, "'heptad.json': '%s' is %g, outside %g … %g", key, number, row->min,
                        row->max);
    if (row->type == INTEGER)
        *(int *)(void *)to = (int)number;
    else
        *(double *)(void *)to = number;
    return HEP_OK;
}

static enum hep_status read_heptad_json(struct hep_model *model, struct hep_error *error)
{
    json_t *object, *value;
    const char *key;
    if (!hep_model_has_file(model, "heptad.json"))
        return HEP_OK;
    HEP_TRY(hep_model_read_json(model, "heptad.json", &object, error));
    enum hep_status status = HEP_OK;
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "defaults") != 0 || !json_is_object(value)) {
            status =
                hep_fail(error, HEP_E_BAD_MODEL, "'heptad.json' may hold an object \"defaults\", not '%.60s'", key);
            break;
        }
    }
    json_object_foreach(json_object_get(object, "defaults"), key, value)
    {
        if (status != HEP_OK || (status = read_default(model, key, value, error)) != HEP_OK)
            break;
    }
    json_decref(object);
    return status;
}

/* ---- defaults that follow from the configs ---- */

static enum hep_status read_config(const struct hep_model *model, const char *component, json_t **config,
                                   struct hep_error *error)
{
    char path[HEP_NAME_MAX + 16];
    snprintf(path, sizeof path, "%.*s/config.json", HEP_NAME_MAX, component);
    return hep_model_read_json(model, path, config, error);
}

/* Each level of the VAE but the first halves the image. */
static enum hep_status read_vae_factor(struct hep_model *model, struct hep_error *error)
{
    json_t *config;
    model->vae_scale_factor = SCALE_FACTOR;
    if (!hep_model_has(model, "vae"))
        return HEP_OK;
    HEP_TRY(read_config(model, "vae", &config, error));
    size_t levels = json_array_size(json_object_get(config, "block_out_channels"));
    json_decref(config);
    if (levels < 1 || levels > 8)
        return hep_fail(error, HEP_E_BAD_MODEL, "'vae/config.json': 'block_out_channels' has %zu levels, not 1 … 8",
                        levels);
    model->vae_scale_factor = 1 << (levels - 1);
    return HEP_OK;
}

/* sample_size is a number, or [height, width]; older files leave it out. */
static enum hep_status read_sample_size(struct hep_model *model, struct hep_error *error)
{
    json_t *config;
    HEP_TRY(read_config(model, "unet", &config, error));
    const json_t *size = json_object_get(config, "sample_size");
    const json_t *height = json_is_array(size) ? json_array_get(size, 0) : size;
    const json_t *width = json_is_array(size) ? json_array_get(size, 1) : size;
    json_int_t h = 64, w = 64, most = HEP_IMAGE_SIDE_MAX / model->vae_scale_factor;
    if (size && !json_is_null(size)) {
        h = json_integer_value(height);
        w = json_integer_value(width);
    }
    json_decref(config);
    if (h < 1 || w < 1 || h > most || w > most)
        return hep_fail(error, HEP_E_BAD_MODEL,
                        "'unet/config.json': 'sample_size' is not a number from 1 to %" JSON_INTEGER_FORMAT, most);
    model->defaults.width = (int)w * model->vae_scale_factor;
    model->defaults.height = (int)h * model->vae_scale_factor;
    return HEP_OK;
}

static enum hep_status read_defaults(struct hep_model *model, struct hep_error *error)
{
    model->defaults = (struct hep_model_defaults){.num_inference_steps = 20,
                                                  .guidance_scale = hep_model_has(model, "text_encoder_2") ? 5.0 : 7.5};
    HEP_TRY(read_vae_factor(model, error));
    HEP_TRY(read_sample_size(model, error));
    HEP_TRY(read_heptad_json(model, error));
    const struct hep_model_defaults *defaults = &model->defaults;
    if (defaults->width % model->vae_scale_factor || defaults->height % model->vae_scale_factor)
        return hep_fail(error, HEP_E_BAD_MODEL, "'heptad.json': %d × %d is not a multiple of %d, the VAE's factor",
                        defaults->width, defaults->height, model->vae_scale_factor);
    return HEP_OK;
}

/* ---- model_index.json ---- */

/* Whether word is one of the space-separated words of list. */
static bool in_list(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; length > 0 && (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' '))
            return true;
    return false;
}

/* The pipelines whose networks Heptad knows. To add one: a row. */
static const struct pipeline_row {
    const char *class;
    bool pair; /* a second text encoder with its tokenizer (SDXL) */
} pipeline_rows[] = {
    {"StableDiffusionPipeline", false},         {"StableDiffusionImg2ImgPipeline", false},
    {"StableDiffusionInpaintPipeline", false},  {"LatentConsistencyModelPipeline", false},
    {"StableDiffusionXLPipeline", true},        {"StableDiffusionXLImg2ImgPipeline", true},
    {"StableDiffusionXLInpaintPipeline", true},
};

static enum hep_status check_pipeline(const struct hep_model *model, struct hep_error *error)
{
    const char *class = hep_model_pipeline(model);
    const struct pipeline_row *row = NULL;
    if (!class)
        return hep_fail(error, HEP_E_BAD_MODEL, "'model_index.json' has no '_class_name'");
    for (size_t i = 0; i < HEP_COUNT_OF(pipeline_rows); i++)
        if (strcmp(pipeline_rows[i].class, class) == 0)
            row = &pipeline_rows[i];
    if (!row) {
        hep_fail(error, HEP_E_UNSUPPORTED, "'model_index.json': '_class_name' is '%.80s', which is not supported",
                 class);
        return hep_hint(error, "supported are Stable Diffusion 1.x, 2.x and XL");
    }
    if (hep_model_has(model, "text_encoder_2") != row->pair || hep_model_has(model, "tokenizer_2") != row->pair)
        return hep_fail(error, HEP_E_BAD_MODEL, "'model_index.json': a %s has %s", class,
                        row->pair ? "'text_encoder_2' and 'tokenizer_2'" : "no 'text_encoder_2' and no 'tokenizer_2'");
    return HEP_OK;
}

/* Most copies of a model leave its safety checker out, while the index still names it: then it has none. */
static void drop_missing_checker(struct hep_model *model)
{
    if (model->folder < 0 || !hep_folder_has_file(model->folder, "safety_checker/config.json"))
        json_object_del(model->index, "safety_checker");
}

static enum hep_status check_index(const struct hep_model *model, struct hep_error *error)
{
    static const char *const required[] = {"unet", "vae", "scheduler", "text_encoder", "tokenizer"};
    HEP_TRY(check_pipeline(model, error));
    /* SDXL's refiner has the second text encoder alone */
    bool second_alone = hep_model_has(model, "text_encoder_2") && !hep_model_has(model, "text_encoder") &&
                        !hep_model_has(model, "tokenizer");
    for (size_t i = 0; i < HEP_COUNT_OF(required) - (second_alone ? 2 : 0); i++)
        if (!hep_model_has(model, required[i]) && !(model->checkpoint && strcmp(required[i], "vae") == 0))
            return hep_fail(error, HEP_E_BAD_MODEL, "'model_index.json' names no '%s'", required[i]);
    const struct hep_component_kind *kind;
    for (size_t i = 0; (kind = hep_component_kind_at(i)); i++) {
        if (!hep_model_has(model, kind->name))
            continue;
        const char *class = json_string_value(json_array_get(json_object_get(model->index, kind->name), 1));
        if (!in_list(kind->class, class))
            return hep_fail(error, HEP_E_UNSUPPORTED, "'model_index.json': '%s' is of class '%.80s', not %s",
                            kind->name, class, kind->class);
    }
    return HEP_OK;
}

/* ---- opening ---- */

/* The small file that says what the model is, of a folder or a single file. */
static enum hep_status open_index(struct hep_model *model, struct hep_error *error)
{
    if (model_is_regular(model->path)) {
        HEP_TRY(hep_checkpoint_open(model->path, NULL, NULL, &model->checkpoint, error));
        hep_folder_open_beside(hep_checkpoint_beside(model->checkpoint), "tokenizer", &model->tokenizers);
    } else {
        HEP_TRY(hep_folder_open(model->path, &model->folder, error));
    }
    enum hep_status status = hep_model_read_json(model, "model_index.json", &model->index, error);
    if (status == HEP_E_NOT_FOUND) {
        status = hep_fail(error, HEP_E_BAD_MODEL, "'%.200s' has no model_index.json", model->path);
        hep_hint(error, "a model is a folder in the diffusers layout, or a single safetensors file");
    }
    return status;
}

static enum hep_status create(const char *path, struct hep_model **model, struct hep_error *error)
{
    struct hep_model *created = calloc(1, sizeof *created);
    char *copy = strdup(path);
    if (!created || !copy) {
        free(created);
        free(copy);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for model '%.200s'", path);
    }
    created->folder = created->tokenizers = created->vae_folder = -1;
    created->path = copy;
    *model = created;
    return HEP_OK;
}

/* Inside a model a missing file is the model's defect. */
static enum hep_status as_defect(enum hep_status status, const char *path, struct hep_error *error)
{
    if (status == HEP_E_NOT_FOUND) {
        status = HEP_E_BAD_MODEL;
        if (error)
            error->code = status;
    }
    if (status != HEP_OK)
        hep_prefix(error, "model '%.150s'", path);
    return status;
}

enum hep_status hep_model_open(const char *path, struct hep_model **model, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *opened = NULL;
    HEP_TRY(create(path, &opened, error));
    HEP_TRY(open_index(opened, error));
    drop_missing_checker(opened);
    enum hep_status status = check_index(opened, error);
    if (status == HEP_OK)
        status = read_defaults(opened, error);
    HEP_TRY(as_defect(status, path, error));
    *model = hep_take(&opened);
    return HEP_OK;
}

/* An index with the one component, of the class that config.json says. */
static enum hep_status make_index(struct hep_model *model, const struct hep_component_kind *kind,
                                  struct hep_error *error)
{
    json_t *config;
    HEP_TRY(hep_folder_read_json(model->folder, "config.json", &config, error));
    const char *class = json_string_value(json_object_get(config, "_class_name"));
    enum hep_status status = HEP_OK;
    if (!class) /* transformers' way */
        class = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    if (!class)
        status = hep_fail(error, HEP_E_BAD_MODEL, "'config.json' has no '_class_name'");
    else if (!in_list(kind->class, class))
        status =
            hep_fail(error, HEP_E_UNSUPPORTED, "'config.json': '_class_name' is '%.80s', not %s", class, kind->class);
    else if (!(model->index = json_pack("{s:[s, s]}", kind->name, "diffusers", class)))
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for an index");
    else if (strcmp(kind->name, "safety_checker") == 0) /* what makes its images lies beside it */
        json_object_set_new(model->index, "feature_extractor",
                            json_pack("[s, s]", "transformers", "CLIPImageProcessor"));
    json_decref(config);
    return status;
}

/* A single file says by its keys what it is. */
static enum hep_status open_component_file(struct hep_model *model, const struct hep_component_kind *kind,
                                           struct hep_error *error)
{
    HEP_TRY(hep_checkpoint_open(model->path, kind->name, hep_family_find("sd1"), &model->checkpoint, error));
    model->index = json_pack("{s:[s, s]}", kind->name, "diffusers", kind->class);
    return model->index ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for an index");
}

enum hep_status hep_model_open_component(const char *path, const char *component, struct hep_model **model,
                                         struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *opened = NULL;
    const struct hep_component_kind *kind = hep_component_kind_find(component);
    hep_assert(kind);
    HEP_TRY(create(path, &opened, error));
    opened->component = kind->name;
    if (model_is_regular(path)) {
        HEP_TRY(open_component_file(opened, kind, error));
    } else {
        HEP_TRY(hep_folder_open(path, &opened->folder, error));
        HEP_TRY(as_defect(make_index(opened, kind, error), path, error));
    }
    *model = hep_take(&opened);
    return HEP_OK;
}

enum hep_status hep_model_open_file(const char *path, const char *component, struct hep_model **model,
                                    struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *opened = calloc(1, sizeof *opened);
    const struct hep_component_kind *kind = hep_component_kind_find(component);
    char name[HEP_PATH_MAX];
    hep_assert(kind && kind->derive);
    if (!opened)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for model '%.200s'", path);
    opened->folder = opened->tokenizers = opened->vae_folder = -1;
    HEP_TRY(hep_folder_open_parent(path, &opened->folder, name, error));
    opened->path = strdup(path);
    opened->file = strdup(name);
    opened->index = json_pack("{s:[s, s]}", component, "heptad", kind->class);
    if (!opened->path || !opened->file || !opened->index)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for model '%.200s'", path);
    *model = hep_take(&opened);
    return HEP_OK;
}

void hep_model_close(struct hep_model *model)
{
    if (!model)
        return;
    const int folders[] = {model->folder, model->tokenizers, model->vae_folder};
    for (size_t i = 0; i < HEP_COUNT_OF(folders); i++)
        if (folders[i] >= 0)
            close(folders[i]);
    hep_checkpoint_close(model->checkpoint);
    hep_checkpoint_close(model->vae_file);
    json_decref(model->index);
    free(model->path);
    free(model->file);
    free(model);
}

/* ---- questions ---- */

const char *hep_model_path(const struct hep_model *model)
{
    return model->path;
}

bool hep_model_is_file(const struct hep_model *model)
{
    return model->checkpoint != NULL;
}

const json_t *hep_model_index(const struct hep_model *model)
{
    return model->index;
}

const char *hep_model_pipeline(const struct hep_model *model)
{
    return json_string_value(json_object_get(model->index, "_class_name"));
}

bool hep_model_has(const struct hep_model *model, const char *component)
{
    /* [library, class]; an absent component is [null, null] */
    return json_is_string(json_array_get(json_object_get(model->index, component), 1));
}

const struct hep_model_defaults *hep_model_defaults(const struct hep_model *model)
{
    return &model->defaults;
}

int hep_model_vae_scale_factor(const struct hep_model *model)
{
    return model->vae_scale_factor;
}
