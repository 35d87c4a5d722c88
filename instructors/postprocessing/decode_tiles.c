/* Places and weights of tiles, and the band of rows in which they are added up. Called by decode.c; knows no network.
 */
#include "instructors/postprocessing/decode_tiles.h"

#include <string.h>

enum { OVERLAP = 4, FADE = 8 }; /* a quarter of a tile is common to neighbours, an eighth of one fades */

struct tile_axis tile_axis_make(int64_t length, int64_t tile)
{
    if (tile >= length)
        return (struct tile_axis){length, length, 1};
    int64_t apart = tile - tile / OVERLAP;
    return (struct tile_axis){length, tile, 1 + (length - tile + apart - 1) / apart};
}

int64_t tile_start(const struct tile_axis *axis, int64_t i)
{
    int64_t gaps = axis->count - 1;
    return gaps == 0 ? 0 : (i * (axis->length - axis->tile) + gaps / 2) / gaps;
}

/* Twice the pixel in the middle of what tiles i - 1 and i have in common. */
static int64_t twice_middle(const struct tile_axis *axis, int64_t i, int64_t factor)
{
    return (tile_start(axis, i - 1) + axis->tile + tile_start(axis, i)) * factor;
}

static int64_t fade_pixels(const struct tile_axis *axis, int64_t factor)
{
    return axis->tile * factor / FADE;
}

/* From 0 to 1 where tile i takes over from the one before it. */
static float rise(const struct tile_axis *axis, int64_t i, int64_t factor, int64_t pixel)
{
    if (i == 0)
        return 1.0f;
    if (i == axis->count)
        return 0.0f;
    int64_t fade = fade_pixels(axis, factor), twice = 2 * pixel + 1 - twice_middle(axis, i, factor) + fade;
    return twice <= 0 ? 0.0f : twice >= 2 * fade ? 1.0f : (float)twice / (float)(2 * fade);
}

void tile_weights(const struct tile_axis *axis, int64_t i, int64_t factor, float *weights)
{
    int64_t first = tile_start(axis, i) * factor;
    for (int64_t p = 0; p < axis->tile * factor; p++) {
        float in = rise(axis, i, factor, first + p), out = rise(axis, i + 1, factor, first + p);
        weights[p] = in < 1.0f ? in : 1.0f - out;
    }
}

int64_t tile_settled(const struct tile_axis *axis, int64_t i, int64_t factor)
{
    if (i == 0)
        return 0;
    return i == axis->count ? axis->length * factor : (twice_middle(axis, i, factor) - fade_pixels(axis, factor)) / 2;
}

void tile_band_add(const struct tile_band *band, int64_t x, int64_t columns, const float *tile,
                   const float *row_weights, const float *column_weights)
{
    for (int64_t r = 0; r < band->height; r++) {
        float *to = band->sum + (r * band->width + x) * 3;
        const float *from = tile + r * columns * 3;
        for (int64_t c = 0; c < columns; c++) {
            float weight = row_weights[r] * column_weights[c];
            for (int channel = 0; channel < 3; channel++)
                to[c * 3 + channel] += weight * from[c * 3 + channel];
        }
    }
}

void tile_band_advance(const struct tile_band *band, int64_t rows)
{
    size_t row = (size_t)band->width * 3, kept = (size_t)(band->height - rows);
    memmove(band->sum, band->sum + (size_t)rows * row, kept * row * sizeof *band->sum);
    memset(band->sum + kept * row, 0, (size_t)rows * row * sizeof *band->sum);
}
