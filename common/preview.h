/*
 * Previews of latents while an image is denoised: colours as a linear map of one latent's channels. The map is made by
 * heptad-postprocessing from a VAE's decoder, goes through the engine unread, and is used by heptad-inference.
 */
#ifndef HEP_COMMON_PREVIEW_H
#define HEP_COMMON_PREVIEW_H

#include "common/status.h"

#include <jansson.h>

enum {
    HEP_PREVIEW_CHANNELS_MAX = 16, /* of latents that have a map                            */
    HEP_PREVIEW_PIXELS_MAX = 4096, /* of a preview: a larger image's is smaller than its latents */
    HEP_PREVIEW_PNG_MAX = 24576    /* bytes of its file; 3 of each pixel and the frame round them are less */
};

/* red, green, blue (0 … 1) = Σ colours[c] · latent[c] + colours[channels], where c counts the latents' channels. */
struct hep_preview_map {
    int channels; /* 0: there is none */
    float colours[HEP_PREVIEW_CHANNELS_MAX + 1][3];
};

/* [[r, g, b] of each channel, and at the end the colour of zeros]. A new reference; NULL when out of memory. */
json_t *hep_preview_map_to_json(const struct hep_preview_map *map);
/* The map of latents with so many channels. BAD_FIELD, field preview_map: it is no such list. */
enum hep_status hep_preview_map_read(const json_t *json, int channels, struct hep_preview_map *map,
                                     struct hep_error *error);

#endif
