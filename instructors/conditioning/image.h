/*
 * Images to latents through the VAE's encoder, masks to masks of latents. Worker thread only; pure functions of the
 * request.
 */
#ifndef HEP_INSTRUCTORS_CONDITIONING_IMAGE_H
#define HEP_INSTRUCTORS_CONDITIONING_IMAGE_H

#include "instructors/skeleton/networks.h"
#include "nn/models/autoencoder.h"

/* An encoder of one model. Plain data; the network belongs to `networks`. */
struct image_encoder {
    struct hep_network *network;
    const struct hep_vae_config *config;
    const struct network_step *step; /* what image_encoder_run reports; NULL: it is not watched */
};

/* vae: the published bundle. Sets step to NULL. */
enum hep_status image_encoder_open(struct networks *networks, struct hep_instructor *self,
                                   const struct hep_tensor_ref *vae, struct image_encoder *encoder,
                                   struct hep_error *error);
/* For an image of height × width latents: FLOPs of one run and bytes of it. */
enum hep_status image_encoder_cost(const struct image_encoder *encoder, int64_t height, int64_t width, double *flops,
                                   uint64_t *bytes, struct hep_error *error);
/* image: [height · f, width · f, 3] u8. mask: [height · f, width · f] u8 or NULL: where it is 128 or more the image is
   grey (0 in [-1, 1]), as diffusers masks what is to be made anew. moments: [2][latent_channels, height, width] f32,
   the mean and the standard deviation of the latents, unscaled. OUT_OF_RANGE: the VAE gave a value that is not finite;
   errors of networks_run. */
enum hep_status image_encoder_run(const struct image_encoder *encoder, const uint8_t *image, const uint8_t *mask,
                                  int64_t height, int64_t width, float *moments, struct hep_error *error);
/* latents: a sample of those moments, scaled as the UNet takes them; noise: [elements], and `latents` itself may be it.
   elements: latent_channels · height · width. */
void image_latents(const struct hep_vae_config *config, const float *moments, const float *noise, size_t elements,
                   float *latents);
/* mask: [height · f, width · f] u8 → [height, width] f32: 1 where the pixel at the latent's upper left corner is 128 or
   more, else 0: torch's nearest of the binary mask, as diffusers makes it. */
void image_latent_mask(const uint8_t *mask, int64_t height, int64_t width, int64_t factor, float *latent_mask);
/* What is made anew begins from; A1111's inpainting_fill, in its order. The first two are a matter of pixels: the
   latents are those of the image that is given. */
enum image_fill {
    IMAGE_FILL_SURROUNDINGS,
    IMAGE_FILL_ORIGINAL,
    IMAGE_FILL_LATENT_NOISE,
    IMAGE_FILL_LATENT_NOTHING,
    IMAGE_FILL_COUNT
};
extern const char *const image_fill_names[]; /* by fill, ending with NULL */
/* latents: [channels, places]; where latent_mask ([places], 0 or 1) is 1 they become noise ([channels, places]), or 0
   where noise is NULL. Source: stable-diffusion-webui 1.10 (inpainting_fill 2 and 3, modules/processing.py). */
void image_latents_fill(const float *latent_mask, const float *noise, int64_t channels, int64_t places, float *latents);

#endif
