/*
 * Decoding in tiles. Two things in a VAE's decoder look at the whole image: the attention of its mid block, and the
 * group norms. The mid block is cheap at the latents' size and runs whole. What follows runs on tiles of its features,
 * twice: the first time each norm takes its tile's own moments and adds them up, the second time all tiles take the
 * sums. So tiles do not differ in colour or contrast, and what is left at a seam, the network's view of zeros beyond a
 * tile's edge, is cut off and faded (decode_tiles.h). Called by decode.c.
 */
#include "instructors/postprocessing/decode_parts.h"

#include <stdlib.h>
#include <string.h>

/* What one tiled decoding has beside the networks' activations. */
struct tiled {
    struct decoding *d;
    struct hep_plan *up;
    struct hep_moments *moments; /* of the up part's norms                       */
    float *features;             /* [rows, columns, channels] of the whole image */
    float *part;                 /* [tile, tile, channels]                       */
    float *row_weights, *column_weights;
    struct tile_band band;
};

static int64_t tile_places(const struct decoder_tiling *tiling, int64_t factor)
{
    return tiling->rows.tile * tiling->columns.tile * factor * factor;
}

/* Floats of features, part, planes, pixels, band, weights, in this order. */
static int64_t floats_of(const struct decoder_tiling *tiling, int64_t features, int64_t factor, int64_t parts[6])
{
    int64_t sum = 0;
    parts[0] = tiling->rows.length * tiling->columns.length * features;
    parts[1] = tiling->rows.tile * tiling->columns.tile * features;
    parts[2] = parts[3] = 3 * tile_places(tiling, factor);
    parts[4] = 3 * tiling->rows.tile * tiling->columns.length * factor * factor;
    parts[5] = (tiling->rows.tile + tiling->columns.tile) * factor;
    for (int i = 0; i < 6; i++)
        sum += parts[i];
    return sum;
}

uint64_t decoder_tiled_bytes(const struct decoder *decoder, const struct decoder_tiling *tiling)
{
    int64_t parts[6], features = decoder->config->block_out_channels[decoder->config->levels - 1];
    return (uint64_t)floats_of(tiling, features, hep_vae_scale_factor(decoder->config), parts) * sizeof(float);
}

static enum hep_status run_mid(const struct tiled *t, struct hep_error *error)
{
    struct decoding *d = t->d;
    int64_t height = d->tiling->rows.length, width = d->tiling->columns.length;
    struct hep_argument z = {"z", {d->z, HEP_F32, HEP_SHAPE(1, d->decoder->config->latent_channels, height, width)}};
    struct hep_argument features = {"features", {t->features, HEP_F32, HEP_SHAPE(1, height, width, d->features)}};
    struct hep_plan *mid;
    HEP_TRY(decoder_part_ready(d->decoder, DECODER_MID, height, width, &mid, error));
    return decoding_run(d, mid, &z, &features, error);
}

/* d->planes of tile (row, column). */
static enum hep_status run_tile(const struct tiled *t, int64_t row, int64_t column, struct hep_error *error)
{
    struct decoding *d = t->d;
    const struct tile_axis *rows = &d->tiling->rows, *columns = &d->tiling->columns;
    int64_t top = tile_start(rows, row), left = tile_start(columns, column);
    size_t line = (size_t)(columns->tile * d->features);
    for (int64_t y = 0; y < rows->tile; y++)
        memcpy(t->part + (size_t)y * line, t->features + ((top + y) * columns->length + left) * d->features,
               line * sizeof *t->part);
    struct hep_argument features = {"features",
                                    {t->part, HEP_F32, HEP_SHAPE(1, rows->tile, columns->tile, d->features)}};
    struct hep_argument decoded = {
        "decoded", {d->planes, HEP_F32, HEP_SHAPE(1, 3, rows->tile * d->factor, columns->tile * d->factor)}};
    return decoding_run(d, t->up, &features, &decoded, error);
}

static enum hep_status collect_moments(const struct tiled *t, struct hep_error *error)
{
    const struct decoder_tiling *tiling = t->d->tiling;
    hep_plan_set_moments(t->up, &(struct hep_norm_moments){.collect = t->moments});
    for (int64_t row = 0; row < tiling->rows.count; row++)
        for (int64_t column = 0; column < tiling->columns.count; column++)
            HEP_TRY(run_tile(t, row, column, error));
    return HEP_OK;
}

/* One row of tiles into the band; what no later row has a share in leaves for the image. */
static enum hep_status decode_row(const struct tiled *t, int64_t row, struct hep_error *error)
{
    const struct decoding *d = t->d;
    const struct tile_axis *rows = &d->tiling->rows, *columns = &d->tiling->columns;
    int64_t top = tile_start(rows, row) * d->factor, first = tile_settled(rows, row, d->factor),
            end = tile_settled(rows, row + 1, d->factor);
    tile_weights(rows, row, d->factor, t->row_weights);
    for (int64_t column = 0; column < columns->count; column++) {
        HEP_TRY(run_tile(t, row, column, error));
        HEP_TRY(decoding_take_planes(d, tile_places(d->tiling, d->factor), error));
        tile_weights(columns, column, d->factor, t->column_weights);
        tile_band_add(&t->band, tile_start(columns, column) * d->factor, columns->tile * d->factor, d->pixels,
                      t->row_weights, t->column_weights);
    }
    decoding_write(d, t->band.sum + (first - top) * t->band.width * 3, first * t->band.width,
                   (end - first) * t->band.width);
    if (row + 1 < rows->count)
        tile_band_advance(&t->band, tile_start(rows, row + 1) * d->factor - top);
    return HEP_OK;
}

static enum hep_status run_all(struct tiled *t, struct hep_error *error)
{
    const struct decoder_tiling *tiling = t->d->tiling;
    HEP_TRY(run_mid(t, error));
    HEP_TRY(decoder_part_ready(t->d->decoder, DECODER_UP, tiling->rows.tile, tiling->columns.tile, &t->up, error));
    t->moments = calloc(hep_plan_norm_groups(t->up), sizeof *t->moments);
    if (!t->moments)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the moments of tiles");
    enum hep_status status = collect_moments(t, error);
    hep_plan_set_moments(t->up, &(struct hep_norm_moments){.use = t->moments});
    for (int64_t row = 0; status == HEP_OK && row < tiling->rows.count; row++)
        status = decode_row(t, row, error);
    hep_plan_set_moments(t->up, &(struct hep_norm_moments){0});
    free(t->moments);
    return status;
}

enum hep_status decode_tiled(struct decoding *d, struct hep_error *error)
{
    int64_t parts[6], floats = floats_of(d->tiling, d->features, d->factor, parts);
    float *memory = calloc((size_t)floats, sizeof *memory);
    if (!memory)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for tiles of an image: %" PRId64 " floats", floats);
    struct tiled t = {.d = d, .features = memory, .part = memory + parts[0]};
    d->planes = t.part + parts[1];
    d->pixels = d->planes + parts[2];
    t.band = (struct tile_band){d->tiling->columns.length * d->factor, d->tiling->rows.tile * d->factor,
                                d->pixels + parts[3]};
    t.row_weights = t.band.sum + parts[4];
    t.column_weights = t.row_weights + d->tiling->rows.tile * d->factor;
    enum hep_status status = run_all(&t, error);
    free(memory);
    return status;
}
