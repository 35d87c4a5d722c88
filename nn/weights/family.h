/*
 * The families of models that come as single files: how a file is recognised, and what it does not say about itself
 * (the diffusion scheduler, heads, groups of the norms, the VAE's scale, padding). From diffusers' configurations of
 * the published models. A file's name says nothing; its keys, shapes and metadata do.
 */
#ifndef HEP_NN_WEIGHTS_FAMILY_H
#define HEP_NN_WEIGHTS_FAMILY_H

#include "common/model_kinds.h"
#include "nn/weights/safetensors.h"
#include "nn/weights/weight_table.h"

#include <jansson.h>

#define HEP_FAMILY_HINT "supported are Stable Diffusion 1.x, 2.x and XL"

/* Of the time_ids that have an aesthetic score in place of the target's height and width. */
enum { HEP_FAMILY_TIME_IDS_SCORED = 5 };

/* One family. Constant data. */
struct hep_family {
    const char *name;        /* "sdxl"                                                               */
    const char *mark;        /* beginning of a key that only its files have                          */
    const char *pipeline;    /* diffusers' class                                                     */
    const char *encoders[2]; /* component and class: "text_encoder CLIPTextModel"; NULL for none     */
    const char *pads[2];     /* pad token of tokenizer, tokenizer_2; NULL for none                   */
    const char *scheduler;   /* scheduler_config.json                                                */
    int heads;               /* of the UNet; 0: one for each 64 channels                             */
    int sample_size;         /* latents, each way                                                    */
    int sample_size_v;       /* the same of those that predict v; 0: no other */
    int time_ids;            /* numbers beside text_embeds; 5: the last is an aesthetic score        */
    bool zeros_for_empty;    /* stand for the states of an empty negative prompt                     */
    bool last_block_unused;  /* of the text encoder (SD 2.x)                                         */
    double scaling_factor;   /* of the VAE                                                           */
};

/* NULL if there is none of this name. */
const struct hep_family *hep_family_find(const char *name);

/* What the file is, by its keys: the family of a whole model, or UNSUPPORTED with what it is instead, and *kind (always
   set; CHECKPOINT if nothing is known). */
enum hep_status hep_family_recognise(const struct hep_safetensors *file, const struct hep_family **family,
                                     enum hep_model_kind *kind, struct hep_error *error);

/* A new scheduler_config.json: the family's, and what file and UNet say of prediction type and noise schedule: metadata
   (modelspec.*), the keys "v_pred" and "ztsnr", else for SD 2.x the spread of a weight. unet: present names. NULL: no
   memory. */
json_t *hep_family_scheduler(const struct hep_family *family, const struct hep_safetensors *file,
                             const struct hep_weight_table *unet);

/* New configurations, as diffusers' folders have them, from the shapes in a component's table. BAD_MODEL names a weight
   that is missing or has not the rank that it should. */
enum hep_status hep_family_unet_config(const struct hep_family *family, const struct hep_weight_table *table,
                                       int text_embeds, json_t **config, struct hep_error *error);
/* Without weights of SDXL's size that say how wide its sinusoids are, addition_time_embed_dim is 0. */
enum hep_status hep_family_controlnet_config(const struct hep_family *family, const struct hep_weight_table *table,
                                             json_t **config, struct hep_error *error);
enum hep_status hep_family_vae_config(const struct hep_family *family, const struct hep_weight_table *table,
                                      json_t **config, struct hep_error *error);
enum hep_status hep_family_clip_config(const struct hep_family *family, const struct hep_weight_table *table,
                                       json_t **config, struct hep_error *error);

#endif
