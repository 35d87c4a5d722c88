/*
 * Latents to images through the VAE's decoder, one image at a time, so that memory does not grow with the batch; in
 * overlapping tiles where the whole would take too much (decode_tiled.c). Whether it does is a function of latents,
 * model, dtype and limit, never of what is free: an image's bytes must not depend on the neighbours of the hour.
 */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_DECODE_H
#define HEP_INSTRUCTORS_POSTPROCESSING_DECODE_H

#include "instructors/postprocessing/decode_tiles.h"
#include "instructors/postprocessing/levels.h"
#include "instructors/skeleton/networks.h"
#include "nn/models/autoencoder.h"

enum { DECODE_TILE_AUTO = -1, DECODE_WHOLE = 0, DECODE_TILE_LEAST = 8 /* latents */ };

/* A decoder of one model. Plain data; the network belongs to `networks`. */
struct decoder {
    struct hep_network *network;
    const struct hep_vae_config *config;
    const struct network_step *step; /* what decoder_run reports; NULL: it is not watched */
};

/* How one image is decoded. */
struct decoder_tiling {
    struct tile_axis rows, columns; /* one tile on both: whole                        */
    int32_t side;                   /* of a tile, pixels; 0 if it is decoded whole    */
};

/* vae: the published bundle. Sets step to NULL. */
enum hep_status decoder_open(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *vae,
                             struct decoder *decoder, struct hep_error *error);
/* Decides for latents of height × width. tile: DECODE_WHOLE, the side of a tile in pixels, or DECODE_TILE_AUTO: whole
   if the values that are alive together fit into limit bytes, else the largest of some sides that does, or the least of
   them. OUT_OF_RANGE: a side that is no multiple of the VAE's factor, or less than DECODE_TILE_LEAST latents. */
enum hep_status decoder_tile(const struct decoder *decoder, int64_t height, int64_t width, int32_t tile, uint64_t limit,
                             struct decoder_tiling *tiling, struct hep_error *error);
/* FLOPs of one image, those of the longest run of a network for it, and its bytes. */
enum hep_status decoder_cost(const struct decoder *decoder, const struct decoder_tiling *tiling, double *flops,
                             double *unit_flops, uint64_t *bytes, struct hep_error *error);
/* latents: [latent_channels, height, width] f32 as the UNet leaves them (scaled). image: [height · f, width · f, 3] of
   dtype u8 or f32 (levels.h).
   OUT_OF_RANGE: a value that is not finite, in the latents or in what the VAE made of them; errors of networks_run. */
enum hep_status decoder_run(const struct decoder *decoder, const struct decoder_tiling *tiling, const float *latents,
                            enum hep_dtype dtype, void *image, struct hep_error *error);

#endif
