/*
 * What can be known to be wrong with a model folder without reading a weight: its configurations, every network's graph
 * against the names and shapes in the weight files' headers, its tokenizers and its diffusion scheduler, and whether
 * they fit each other. The catalogue lists a model as usable, and a load begins, only after this.
 */
#ifndef HEP_INSTRUCTORS_MODEL_INSPECT_H
#define HEP_INSTRUCTORS_MODEL_INSPECT_H

#include "nn/models/networks.h"
#include "nn/weights/model_folder.h"

/* What was read on the way. */
struct inspection {
    uint64_t bytes;                          /* of all weights, as stored                          */
    enum hep_dtype dtype;                    /* which most of the UNet's weights have              */
    struct hep_unet_config unet;             /* unet/config.json                                   */
    struct hep_vae_config vae;               /* vae/config.json                                    */
    struct hep_controlnet_config controlnet; /* config.json of a ControlNet            */
    struct hep_clip_config clip[2];          /* of the text encoders, in their order; the last of SDXL's also pools */
    bool has_safety_checker;
    struct hep_clip_vision_config vision; /* safety_checker/config.json, if it has one */
    int encoders;                         /* 1, or 2                                            */
};

/* Reads everything but the weights' values. progress (may be NULL) is called between long parts. Errors name the file:
   BAD_MODEL (a file, a weight or a key is missing or does not fit the others), BAD_FILE, UNSUPPORTED; NO_MEMORY. */
enum hep_status inspect_model(const struct hep_model *model, void (*progress)(void *context, const char *note),
                              void *context, struct inspection *inspection, struct hep_error *error);
/* The same for an upscaler: one file. */
struct upscaler_inspection {
    uint64_t bytes;                    /* of all weights, as stored        */
    enum hep_dtype dtype;              /* which most of the weights have   */
    struct hep_rrdbnet_config rrdbnet; /* as its names and shapes have it  */
};
enum hep_status inspect_upscaler(const struct hep_model *model, struct upscaler_inspection *inspection,
                                 struct hep_error *error);
/* The same of one component, for a folder or file that is nothing else: config and graph. */
enum hep_status inspect_component(const struct hep_model *model, const char *component, struct inspection *inspection,
                                  struct hep_error *error);
/* Reads every weight of a component: BAD_MODEL names the first that is not finite. */
enum hep_status inspect_weights(const struct hep_model *model, const char *component,
                                void (*progress)(void *context, const char *note), void *context,
                                struct hep_error *error);
/* The same of every tensor of a file that is no network: a LoRA, a textual inversion. */
enum hep_status inspect_file_weights(const char *path, void (*progress)(void *context, const char *note), void *context,
                                     struct hep_error *error);

#endif
