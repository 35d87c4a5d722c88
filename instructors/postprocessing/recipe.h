/*
 * The recipe of an image: what was asked, in the two forms that files carry. `parameters` is the text that
 * AUTOMATIC1111's web UI writes and that other tools read; `request` is Heptad's own JSON.
 */
#ifndef HEP_POSTPROCESSING_RECIPE_H
#define HEP_POSTPROCESSING_RECIPE_H

#include "common/operation.h"

/* What one image was made from. Strings are UTF-8 and borrowed; an empty one is left out, as is a zero where it says
 * so. */
struct image_recipe {
    struct hep_str prompt;          /* as asked, brackets and all                                       */
    struct hep_str negative_prompt; /* likewise                                                         */
    int32_t steps;                  /* denoising steps                                                  */
    struct hep_str sampler;         /* A1111's name: "Euler a", "DPM++ 2M"                              */
    struct hep_str schedule_type;   /* A1111's name: "Karras", "Automatic"                              */
    double guidance_scale;          /* "CFG scale"                                                      */
    double guidance_rescale;        /* 0 = left out                                                     */
    uint64_t seed;                  /* of this image                                                    */
    uint64_t subseed;               /* "Variation seed"; left out with its strength                     */
    double subseed_strength;        /* "Variation seed strength"; 0 = left out                          */
    int32_t width, height;          /* pixels, before it was upscaled                                   */
    struct hep_str model_hash;      /* first 10 hex digits of the weights' SHA-256                      */
    struct hep_str model;           /* name                                                             */
    double strength;                /* "Denoising strength" of img2img; 0 = left out                    */
    int32_t clip_skip;              /* web UIs' numbering; 0 and 1 are left out, as A1111 does          */
    struct hep_str mask_mode;       /* of inpainting, A1111's names: "Inpaint not masked"               */
    double mask_blur;               /* 0 = left out                                                     */
    struct hep_str inpaint_area;    /* "Only masked"                                                    */
    int32_t masked_area_padding;    /* pixels; left out with the area                                   */
    struct hep_str masked_content;  /* "fill", "original", "latent noise", "latent nothing"             */
    double upscale;                 /* "Postprocess upscale by"; 0 = left out                           */
    struct hep_str upscaler;        /* "Postprocess upscaler": name                                     */
    struct hep_str refiner;         /* "Refiner": name and first digits of its hash                      */
    double refiner_switch;          /* "Refiner switch at"; 0 = left out                                */
    struct hep_str rng;             /* "CPU" for torch-cpu noise; empty is A1111's default, GPU (philox) */
};

/* The text: prompt, "Negative prompt: …", and one line "Steps: 20, Sampler: Euler a, …, Version: Heptad 0.1.0". Values
   with a comma, a colon or a newline are quoted as JSON strings; NULs in prompts become spaces. The caller frees it.
   Errors: NO_MEMORY; BAD_FIELD for a value that is not valid UTF-8.
   Source: create_infotext of stable-diffusion-webui 1.10 (modules/processing.py). */
enum hep_status image_recipe_parameters(const struct image_recipe *recipe, char **parameters, struct hep_error *error);

#endif
