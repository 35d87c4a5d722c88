/* encode_image and resize_latents: images, masks and latents on their way to the UNet. Rows of ops.c. */
#ifndef HEP_INSTRUCTORS_CONDITIONING_IMAGE_OPS_H
#define HEP_INSTRUCTORS_CONDITIONING_IMAGE_OPS_H

#include "instructors/skeleton/instructor.h"

struct encode_image_request {
    struct hep_tensor_ref vae, unet, refiner_unet, image, mask, latents, latent_mask, masked_latents;
    struct hep_str rng, fill;
    uint64_t seed;
    int32_t count, draw, masked_draw, fill_draw;
};
struct encode_image_reply {
    int32_t width, height;
    bool masked;
};
struct resize_latents_request {
    struct hep_tensor_ref latents, resized;
    struct hep_str filter;
    double scale;
    int32_t vae_scale_factor;
};
struct resize_latents_reply {
    int32_t width, height;
};
enum {
    ENCODE_IMAGE_FIELDS = 15,
    ENCODE_IMAGE_REPLY_FIELDS = 3,
    RESIZE_LATENTS_FIELDS = 5,
    RESIZE_LATENTS_REPLY_FIELDS = 2
};
extern const struct hep_field encode_image_fields[ENCODE_IMAGE_FIELDS],
    encode_image_reply_fields[ENCODE_IMAGE_REPLY_FIELDS];
extern const struct hep_field resize_latents_fields[RESIZE_LATENTS_FIELDS],
    resize_latents_reply_fields[RESIZE_LATENTS_REPLY_FIELDS];

hep_measure measure_encode_image, measure_resize_latents;
hep_handler encode_image, resize_latents;

#endif
