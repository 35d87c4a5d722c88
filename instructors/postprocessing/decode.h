/* Latents to images through the VAE's decoder, one image at a time, so that memory does not grow with the batch. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_DECODE_H
#define HEP_INSTRUCTORS_POSTPROCESSING_DECODE_H

#include "instructors/skeleton/networks.h"
#include "nn/models/autoencoder.h"

/* A decoder of one model. Plain data; the network belongs to `networks`. */
struct decoder {
    struct hep_network *network;
    const struct hep_vae_config *config;
    const struct network_step *step; /* what decoder_run reports; NULL: it is not watched */
};

/* vae: the published bundle. Sets step to NULL. */
enum hep_status decoder_open(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *vae,
                             struct decoder *decoder, struct hep_error *error);
/* For latents of height × width: FLOPs and bytes of one image. */
enum hep_status decoder_cost(const struct decoder *decoder, int64_t height, int64_t width, double *flops,
                             uint64_t *bytes, struct hep_error *error);
/* latents: [latent_channels, height, width] f32 as the UNet leaves them (scaled). image: [height · f, width · f, 3] u8.
   OUT_OF_RANGE: a value that is not finite, in the latents or in what the VAE made of them; errors of networks_run. */
enum hep_status decoder_run(const struct decoder *decoder, const float *latents, int64_t height, int64_t width,
                            uint8_t *image, struct hep_error *error);

#endif
