/*
 * The linear map from latents to colours that comes nearest to a decoder, by least squares over latents that it is
 * shown. Knows no network: previews.c decodes.
 */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_PREVIEW_FIT_H
#define HEP_INSTRUCTORS_POSTPROCESSING_PREVIEW_FIT_H

#include "common/preview.h"

#include <stdint.h>

enum { PREVIEW_PROBES = 8, PREVIEW_PROBE_SIDE = 8 /* latents: small, and still most of them not at the border */ };

/* Latents like those of pictures: a colour of its own for each of them, patches, and grain. [channels,
   PREVIEW_PROBE_SIDE, PREVIEW_PROBE_SIDE]; the same for the same number on every machine. */
void preview_probe(int number, int channels, float *latents);

/* What has been shown so far: sums over the places of all probes. Zero-initialised is empty. */
struct preview_fit {
    int channels;
    double products[HEP_PREVIEW_CHANNELS_MAX + 1][HEP_PREVIEW_CHANNELS_MAX + 1]; /* of latents, and 1 behind them */
    double colours[HEP_PREVIEW_CHANNELS_MAX + 1][3];                             /* of latents and colours        */
};
/* A probe and what it decodes to: image [side · factor, side · factor, 3] u8, of which each latent stands for a square.
 */
void preview_fit_add(struct preview_fit *fit, const float *latents, const uint8_t *image, int factor);
/* The map; a channel that colours nothing gets zeros. */
void preview_fit_solve(const struct preview_fit *fit, struct hep_preview_map *map);

#endif
