/*
 * A model: a folder in diffusers' layout, or a single file that is shown as such a folder (checkpoint.h).
 * model_index.json says which components it has; heptad.json, which is optional, gives the model's own defaults.
 * Opening reads and checks these small files only; weights are opened per component.
 */
#ifndef HEP_NN_WEIGHTS_MODEL_FOLDER_H
#define HEP_NN_WEIGHTS_MODEL_FOLDER_H

#include "nn/weights/component.h"

struct hep_model;

/* What a request gets where it says nothing. From heptad.json's "defaults"; else num_inference_steps 20, guidance_scale
   7.5 (5 for SDXL), the UNet's sample_size × vae_scale_factor, and the model's own scheduler. */
struct hep_model_defaults {
    int num_inference_steps;
    double guidance_scale;
    int width;                    /* pixels, a multiple of vae_scale_factor                       */
    int height;                   /* pixels, a multiple of vae_scale_factor                       */
    char scheduler[HEP_NAME_MAX]; /* a name of the scheduler table, or "": scheduler_config.json's */
};

/* Opens the folder or file at path. NOT_FOUND: neither is there. BAD_MODEL: not a diffusers model, or an entry of
   heptad.json that is unknown or out of range (named). BAD_FILE: JSON errors. UNSUPPORTED: a component of an unknown
   class (named). A single file as hep_checkpoint_open. */
enum hep_status hep_model_open(const char *path, struct hep_model **model, struct hep_error *error);
/* A file of another kind ("upscaler") as a model whose only component it is: what publishes components takes models.
   NOT_FOUND. The file itself is read by hep_model_component. */
enum hep_status hep_model_open_file(const char *path, const char *component, struct hep_model **model,
                                    struct hep_error *error);
/* Opens what is one component by itself, as ControlNets are published: a folder whose config.json says the class, with
   the weight files beside it, or a single file ("controlnet" and "vae"). It has no pipeline, no defaults and a
   vae_scale_factor of 0. NOT_FOUND: no such folder. BAD_MODEL: no config.json, or one that names no class. UNSUPPORTED:
   a class that is not the component's (named). A single file as hep_checkpoint_open. */
enum hep_status hep_model_open_component(const char *path, const char *component, struct hep_model **model,
                                         struct hep_error *error);
void hep_model_close(struct hep_model *model);
HEP_DEFINE_CLEANUP(struct hep_model *, hep_model_close)

/* Takes the VAE from elsewhere: a folder with config.json, or a single file, whose scale is taken to be the model's own
   VAE's, or its family's. A single file that has no VAE has one then. Errors of hep_component_open and
   hep_checkpoint_open, with the path. */
enum hep_status hep_model_use_vae(struct hep_model *model, const char *path, struct hep_error *error);
/* A single file holds no vocabulary; `tokenizer` beside it is taken when it is opened. */
bool hep_model_lacks_tokenizer(const struct hep_model *model);
/* Takes the vocabulary of all its tokenizers from the folder at path; false if there is none. */
bool hep_model_use_tokenizer(struct hep_model *model, const char *path);

const char *hep_model_path(const struct hep_model *model);
bool hep_model_is_file(const struct hep_model *model);         /* a single file                    */
const json_t *hep_model_index(const struct hep_model *model);  /* model_index.json, borrowed      */
const char *hep_model_pipeline(const struct hep_model *model); /* "StableDiffusionPipeline"       */
/* Whether model_index.json names the component ("unet", "tokenizer_2", "safety_checker"): present and not null. A
   safety checker whose folder is not there is none. */
bool hep_model_has(const struct hep_model *model, const char *component);
const struct hep_model_defaults *hep_model_defaults(const struct hep_model *model);
int hep_model_vae_scale_factor(const struct hep_model *model); /* pixels per latent, 8 for SD; 4 … */

/* Opens a component of the model (see hep_component_open). BAD_MODEL if model_index.json does not name it. */
enum hep_status hep_model_component(const struct hep_model *model, const char *name, const char *variant,
                                    struct hep_component **component, struct hep_error *error);

/* What model_index.json says of the component that its own configuration does not: {key: value}, a new reference. It is
   in the configuration of what hep_model_component opens. */
json_t *hep_model_told(const struct hep_model *model, const char *component);

/* A file of a model, by its path in the model's folder ("unet/config.json"): where it really lies, or what is shown for
   it. Plain data that lives as long as the model. */
struct hep_model_file {
    int folder;              /* descriptor, borrowed; -1: it lies nowhere          */
    char path[HEP_PATH_MAX]; /* below folder                                       */
    const json_t *shown;     /* what a single file's folder would hold; or NULL    */
};
void hep_model_file(const struct hep_model *model, const char *path, struct hep_model_file *file);
/* The i-th weight file of an opened component of the model; false past the end. */
bool hep_model_weight_file(const struct hep_model *model, const struct hep_component *component, size_t i,
                           struct hep_model_file *file);
bool hep_model_has_file(const struct hep_model *model, const char *path);
/* As hep_folder_read_file and hep_folder_read_json, of a path in the model's folder. */
enum hep_status hep_model_read_file(const struct hep_model *model, const char *path, size_t limit, char **text,
                                    size_t *size, struct hep_error *error);
enum hep_status hep_model_read_json(const struct hep_model *model, const char *path, json_t **object,
                                    struct hep_error *error);
/* scheduler/scheduler_config.json; the caller decrefs it. */
enum hep_status hep_model_scheduler_config(const struct hep_model *model, json_t **config, struct hep_error *error);

#endif
