/*
 * The models and files of other kinds (LoRAs, VAEs, ControlNets, upscalers, embeddings) that this daemon knows, by kind
 * and name: what find.h finds below the configured paths. A request names one and never gives a path. Scanning reads
 * everything but the weights' values (inspect.h); what looks like a model and is not usable stays in the list with the
 * reason.
 */
#ifndef HEP_INSTRUCTORS_MODEL_CATALOGUE_H
#define HEP_INSTRUCTORS_MODEL_CATALOGUE_H

#include "common/model_kinds.h"
#include "nn/weights/model_folder.h"

/* The family of SDXL's refiner. */
#define CATALOGUE_REFINER "sdxl_refiner"

/* One model, or one file of another kind. */
struct catalogue_entry {
    enum hep_model_kind kind;
    char name[HEP_NAME_MAX];       /* of its folder, or of its file without the ending; "xl/NAME" below a folder */
    char *path;                    /* absolute, owned; of a link to a file, where it leads */
    char *place;                   /* absolute, owned; where it was found: what belongs to it lies beside */
    bool is_folder;                /* else a single file                                */
    const char *family;            /* "sd1", "sd2", "sdxl", "sdxl_refiner"; "" if it is not usable */
    uint64_t bytes;                /* of all component files, as stored                 */
    enum hep_dtype dtype;          /* which most of the (UNet's) weights have           */
    struct hep_error problem;      /* code OK if it is usable                           */
    struct hep_error load_problem; /* of the last load since the scan; code OK if that went well or there was none */
    int scale;                     /* upscalers only: pixels out per pixel in, each way                     */
    /* checkpoints and VAEs */
    int latent_channels;  /* of the VAE                                        */
    int vae_scale_factor; /* pixels per latent                                 */
    /* checkpoints only */
    double scaling_factor;    /* of its VAE, or of its family: latents as the UNet has them per latent of the VAE */
    int context_dim;          /* width of the conditioning                         */
    int in_channels;          /* of the UNet: 4, or 9 for inpainting               */
    char prediction_type[24]; /* "epsilon", "v_prediction", "sample"               */
    bool has_safety_checker;  /* that looks at images                              */
    bool needs_vae;           /* it is a single file without one                   */
    struct hep_model_defaults defaults;
};

struct catalogue {
    char paths[HEP_PATH_MAX]; /* colon-separated folders                           */
    int count;
    struct catalogue_entry *entries; /* [count], by kind, then by name             */
};

/* paths: colon-separated folders; one that is missing is skipped and logged. */
void catalogue_init(struct catalogue *catalogue, const char *paths);
void catalogue_clear(struct catalogue *catalogue);
/* Reads the folders again. progress (may be NULL) is called before each model: a folder of the size of Stable Diffusion
   takes some 70 ms, most of it for the tokenizer. NO_MEMORY: the list stays as it was; every other problem of a
   model is kept with it. */
enum hep_status catalogue_scan(struct catalogue *catalogue, void (*progress)(void *context, const char *note),
                               void *context, struct hep_error *error);
int catalogue_count(const struct catalogue *catalogue, enum hep_model_kind kind, bool usable_only);
/* Keeps what a load ended with, for model.list. */
void catalogue_note_load(struct catalogue *catalogue, enum hep_model_kind kind, const char *name,
                         const struct hep_error *error);
/* The entry of this kind and name; "" gives the first usable one, of models one that needs no VAE if there is any, and
   a refiner only if there is nothing else. NOT_FOUND lists the names there are, and has the kind's field. The entry's
   own problem if it is not usable. Valid until the next scan. */
enum hep_status catalogue_find(const struct catalogue *catalogue, enum hep_model_kind kind, const char *name,
                               const struct catalogue_entry **entry, struct hep_error *error);
/* What a scan would say of the file or folder at path, which need not lie below the paths: the entry without a name of
   a place; its problem is the error. kind: NULL leaves it to the file. Clear the entry in either case. */
enum hep_status catalogue_look(const struct catalogue *catalogue, const char *path, const enum hep_model_kind *kind,
                               struct catalogue_entry *entry, struct hep_error *error);
void catalogue_entry_clear(struct catalogue_entry *entry);
/* Whether the kind has networks of its own, and so can be opened: a LoRA and a textual inversion have none. */
bool catalogue_is_network(enum hep_model_kind kind);
/* Opens the folder or file of such a kind. The vocabulary of a single file may also lie in a
   folder `tokenizer` of any of the paths. Errors of hep_model_open, hep_model_open_component, hep_model_open_file. */
enum hep_status catalogue_open(const struct catalogue *catalogue, const struct catalogue_entry *entry,
                               struct hep_model **model, struct hep_error *error);

#endif
