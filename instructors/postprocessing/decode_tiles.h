/*
 * Tiling an image: tiles of one size that overlap, evenly spread over each axis, and the weights with which they fade
 * into each other. What lies near a tile's own edge, where its network saw zeros instead of the neighbours, gets no
 * weight. Pure arithmetic: the same sizes give the same tiles and the same bytes.
 */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_DECODE_TILES_H
#define HEP_INSTRUCTORS_POSTPROCESSING_DECODE_TILES_H

#include <stdint.h>

/* One axis, in latents. */
struct tile_axis {
    int64_t length; /* of the whole                                       */
    int64_t tile;   /* of one tile, at most length                        */
    int64_t count;  /* tiles; neighbours overlap by a quarter of a tile or more */
};

/* tile: at least 8, or all of length. */
struct tile_axis tile_axis_make(int64_t length, int64_t tile);
/* First latent of tile i, 0 … count - 1. */
int64_t tile_start(const struct tile_axis *axis, int64_t i);
/* First pixel that no tile before i has a share in; factor: pixels per latent. */
int64_t tile_settled(const struct tile_axis *axis, int64_t i, int64_t factor);
/* Share of tile i in the pixels of its tile · factor places: weights[tile · factor]. At each pixel of the whole the
   shares of all tiles sum up to 1, and at most two are not 0. */
void tile_weights(const struct tile_axis *axis, int64_t i, int64_t factor, float *weights);

/* Rows of an image in the making, as high as one tile: tiles of one row are added from left to right, then what is
   finished leaves. */
struct tile_band {
    int64_t width;  /* pixels                                             */
    int64_t height; /* rows of a tile                                     */
    float *sum;     /* [height, width, 3], owned by the caller            */
};
/* Adds tile [rows, columns, 3], whose left edge is at pixel x, weighted. rows = band->height. */
void tile_band_add(const struct tile_band *band, int64_t x, int64_t columns, const float *tile,
                   const float *row_weights, const float *column_weights);
/* Drops the first `rows` rows; zeros follow below. */
void tile_band_advance(const struct tile_band *band, int64_t rows);

#endif
