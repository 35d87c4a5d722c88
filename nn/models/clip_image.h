/*
 * From an 8-bit image to what CLIP's vision transformer takes, as transformers' CLIPImageProcessor does it: the short
 * side to a size (bicubic, antialiased, in 8 bits), a square from the middle, normalised.
 */
#ifndef HEP_NN_MODELS_CLIP_IMAGE_H
#define HEP_NN_MODELS_CLIP_IMAGE_H

#include "common/status.h"

#include <jansson.h>

/* preprocessor_config.json. Plain data. */
struct hep_clip_image_config {
    int size;                           /* of the short side, pixels                          */
    int crop_size;                      /* of the square, pixels, at most size                */
    double image_mean[3], image_std[3]; /* of values in 0 … 1                             */
};

/* file: how messages call the config ("feature_extractor/preprocessor_config.json"). BAD_MODEL; UNSUPPORTED: a step
   that is left out, or another filter than bicubic. */
enum hep_status hep_clip_image_config_read(const json_t *json, const char *file, struct hep_clip_image_config *config,
                                           struct hep_error *error);

/* pixels: [height, width, 3] u8. to: [3, crop_size, crop_size] f32. NO_MEMORY. */
enum hep_status hep_clip_image(const struct hep_clip_image_config *config, const uint8_t *pixels, int64_t height,
                               int64_t width, float *to, struct hep_error *error);

#endif
