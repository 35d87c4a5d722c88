/*
 * The models that this daemon knows: every diffusers folder found directly below the configured paths, by the name of
 * its folder. A request names a model by that name and never by a path. Scanning reads everything but the weights'
 * values (inspect.h); a folder that looks like a model and is not usable stays in the list with the reason.
 */
#ifndef HEP_INSTRUCTORS_MODEL_CATALOGUE_H
#define HEP_INSTRUCTORS_MODEL_CATALOGUE_H

#include "nn/weights/model_folder.h"

/* One model. */
struct catalogue_entry {
    char name[HEP_NAME_MAX];  /* name of its folder                                */
    char path[HEP_PATH_MAX];  /* absolute                                          */
    const char *family;       /* "sd1", "sd2", "sdxl", or "" if it is not usable   */
    uint64_t bytes;           /* of all component files, as stored                 */
    enum hep_dtype dtype;     /* which most of the UNet's weights have             */
    int latent_channels;      /* of the VAE                                        */
    int vae_scale_factor;     /* pixels per latent                                 */
    int context_dim;          /* width of the conditioning                         */
    int in_channels;          /* of the UNet: 4, or 9 for inpainting               */
    char prediction_type[24]; /* "epsilon", "v_prediction", "sample"               */
    struct hep_model_defaults defaults;
    struct hep_error problem;      /* code OK if it is usable                           */
    struct hep_error load_problem; /* of the last load since the scan; code OK if that went well or there was none */
};

struct catalogue {
    char paths[HEP_PATH_MAX]; /* colon-separated folders                           */
    int count;
    struct catalogue_entry *entries; /* [count], by name                           */
};

/* paths: colon-separated folders; one that is missing is skipped and logged. */
void catalogue_init(struct catalogue *catalogue, const char *paths);
void catalogue_clear(struct catalogue *catalogue);
/* Reads the folders again; *found is how many models there are. progress (may be NULL) is called before each model: a
   folder of the size of Stable Diffusion takes some 70 ms, most of it for the tokenizer. NO_MEMORY: the list stays as
   it was; every other problem of a model is kept with it. */
enum hep_status catalogue_scan(struct catalogue *catalogue, void (*progress)(void *context, const char *note),
                               void *context, int *found, struct hep_error *error);
/* Keeps what a load of the model ended with, for model.list. */
void catalogue_note_load(struct catalogue *catalogue, const char *name, const struct hep_error *error);
/* The entry of this name; "" gives the only usable or else the first one. NOT_FOUND lists the names there are. The
   entry's own problem if it is not usable. */
enum hep_status catalogue_find(const struct catalogue *catalogue, const char *name,
                               const struct catalogue_entry **entry, struct hep_error *error);

#endif
