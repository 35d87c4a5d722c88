/*
 * The VAE's decoder: which way an image is decoded, what that costs, and the plain way, whole; decode_tiled.c has the
 * other. Worker thread only.
 */
#include "instructors/postprocessing/decode_parts.h"

#include "nn/cpu/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct build_context {
    const struct hep_vae_config *config;
    struct hep_vae_build build;
};

static void build_whole(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_vae_decoder_build(graph, shape->config, &shape->build);
}

static void build_mid(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_vae_decoder_mid_build(graph, shape->config, &shape->build);
}

static void build_up(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_vae_decoder_up_build(graph, shape->config, &shape->build);
}

static const struct part {
    const char *name;
    hep_network_build *build;
} parts[] = {
    [DECODER_WHOLE] = {"", build_whole}, [DECODER_MID] = {"mid-", build_mid}, [DECODER_UP] = {"up-", build_up}};

static struct build_context shape_of(const struct decoder *decoder, enum decoder_part part, int64_t height,
                                     int64_t width, char key[64])
{
    snprintf(key, 64, "%sn1h%" PRId64 "w%" PRId64, parts[part].name, height, width);
    return (struct build_context){decoder->config, {.batch = 1, .height = height, .width = width}};
}

enum hep_status decoder_part_cost(const struct decoder *decoder, enum decoder_part part, int64_t height, int64_t width,
                                  struct hep_network_cost *cost, struct hep_error *error)
{
    char key[64];
    struct build_context context = shape_of(decoder, part, height, width, key);
    return hep_network_cost(decoder->network, key, parts[part].build, &context, cost, error);
}

enum hep_status decoder_part_ready(const struct decoder *decoder, enum decoder_part part, int64_t height, int64_t width,
                                   struct hep_plan **plan, struct hep_error *error)
{
    char key[64];
    struct build_context context = shape_of(decoder, part, height, width, key);
    return hep_network_ready(decoder->network, key, parts[part].build, &context, plan, error);
}

enum hep_status decoder_open(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *vae,
                             struct decoder *decoder, struct hep_error *error)
{
    static const struct network_want want = {"packed.decoder", "vae/config.json", hep_any_config_read_vae};
    const union hep_any_config *config;
    HEP_TRY(networks_get(networks, self, vae, &want, &decoder->network, &config, error));
    decoder->config = &config->vae;
    decoder->step = NULL;
    return HEP_OK;
}

/* ---- whole or in tiles ------------------------------------------------------------------------------------------- */
static struct decoder_tiling tiling_of(const struct decoder *decoder, int64_t height, int64_t width, int64_t tile)
{
    struct decoder_tiling tiling = {tile_axis_make(height, tile), tile_axis_make(width, tile), 0};
    if (tiling.rows.count * tiling.columns.count > 1)
        tiling.side = (int32_t)(tile * hep_vae_scale_factor(decoder->config));
    return tiling;
}

static enum hep_status largest_that_fits(const struct decoder *decoder, int64_t height, int64_t width, uint64_t limit,
                                         struct decoder_tiling *tiling, struct hep_error *error)
{
    static const int16_t sides[] = {INT16_MAX, 192, 128, 96,
                                    64,        48,  32}; /* latents; the first is more than any image */
    for (size_t i = 0; i < HEP_COUNT_OF(sides); i++) {
        struct hep_network_cost cost;
        *tiling = tiling_of(decoder, height, width, sides[i]);
        HEP_TRY(decoder_part_cost(decoder, tiling->side ? DECODER_UP : DECODER_WHOLE, tiling->rows.tile,
                                  tiling->columns.tile, &cost, error));
        if (cost.value_bytes <= limit)
            break;
    }
    return HEP_OK;
}

enum hep_status decoder_tile(const struct decoder *decoder, int64_t height, int64_t width, int32_t tile, uint64_t limit,
                             struct decoder_tiling *tiling, struct hep_error *error)
{
    int64_t factor = hep_vae_scale_factor(decoder->config);
    if (tile == DECODE_TILE_AUTO)
        return largest_that_fits(decoder, height, width, limit, tiling, error);
    if (tile % factor != 0 || (tile != DECODE_WHOLE && tile < DECODE_TILE_LEAST * factor))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "tile",
                              "tile is %d; it must be a multiple of %" PRId64 ", the VAE's factor, from %" PRId64 " on",
                              tile, factor, DECODE_TILE_LEAST * factor);
    *tiling = tiling_of(decoder, height, width, tile == DECODE_WHOLE ? INT16_MAX : tile / factor);
    return HEP_OK;
}

static int64_t places_of(const struct decoder *decoder, const struct decoder_tiling *tiling)
{
    int64_t factor = hep_vae_scale_factor(decoder->config);
    return tiling->rows.length * tiling->columns.length * factor * factor;
}

static enum hep_status tiled_cost(const struct decoder *decoder, const struct decoder_tiling *tiling, double *flops,
                                  double *unit_flops, uint64_t *bytes, struct hep_error *error)
{
    struct hep_network_cost mid, up;
    HEP_TRY(decoder_part_cost(decoder, DECODER_MID, tiling->rows.length, tiling->columns.length, &mid, error));
    HEP_TRY(decoder_part_cost(decoder, DECODER_UP, tiling->rows.tile, tiling->columns.tile, &up, error));
    *flops = mid.flops + 2 * up.flops * (double)(tiling->rows.count * tiling->columns.count);
    *unit_flops = fmax(mid.flops, up.flops);
    *bytes = (mid.peak_bytes > up.peak_bytes ? mid.peak_bytes : up.peak_bytes) + decoder_tiled_bytes(decoder, tiling);
    return HEP_OK;
}

enum hep_status decoder_cost(const struct decoder *decoder, const struct decoder_tiling *tiling, double *flops,
                             double *unit_flops, uint64_t *bytes, struct hep_error *error)
{
    struct hep_network_cost cost;
    if (tiling->side)
        return tiled_cost(decoder, tiling, flops, unit_flops, bytes, error);
    HEP_TRY(decoder_part_cost(decoder, DECODER_WHOLE, tiling->rows.length, tiling->columns.length, &cost, error));
    *flops = *unit_flops = cost.flops;
    *bytes = cost.peak_bytes + (uint64_t)(2 * 3 * places_of(decoder, tiling)) * sizeof(float);
    return HEP_OK;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */
static enum hep_status check_finite(const char *what, const float *values, int64_t count, struct hep_error *error)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return hep_fail(error, HEP_E_OUT_OF_RANGE, "%s: value %" PRId64 " of %" PRId64 " is not finite", what, i,
                            count);
    return HEP_OK;
}

enum hep_status decoding_run(struct decoding *d, struct hep_plan *plan, const struct hep_argument *input,
                             const struct hep_argument *output, struct hep_error *error)
{
    const struct network_step *image = d->decoder->step;
    struct network_step step;
    if (image)
        step = (struct network_step){image->call, (int32_t)(image->step * d->runs + d->run),
                                     (int32_t)(image->steps * d->runs), image->note};
    d->run++;
    return networks_run(image ? &step : NULL, plan, input, 1, output, 1, error);
}

enum hep_status decoding_take_planes(const struct decoding *d, int64_t places, struct hep_error *error)
{
    HEP_TRY(check_finite("the VAE's image", d->planes, 3 * places, error));
    hep_kernels()->transpose[HEP_F32].run(
        &(struct hep_transpose_args){.images = 1, .rows = 3, .columns = places, .x = d->planes, .y = d->pixels});
    return HEP_OK;
}

void decoding_write(const struct decoding *d, const float *pixels, int64_t first, int64_t places)
{
    if (d->dtype == HEP_U8)
        hep_kernels()->from_f32[HEP_U8].run(&(struct hep_rows_args){.rows = places,
                                                                    .columns = 3,
                                                                    .x = pixels,
                                                                    .x_stride = 3,
                                                                    .y = (uint8_t *)d->image + 3 * first,
                                                                    .y_stride = 3});
    for (int64_t i = 0; d->dtype != HEP_U8 && i < 3 * places; i++)
        level_put(d->image, d->dtype, 3 * first + i, (pixels[i] + 1.0f) * 127.5f);
}

static enum hep_status decode_whole(struct decoding *d, struct hep_error *error)
{
    int64_t height = d->tiling->rows.length, width = d->tiling->columns.length,
            places = places_of(d->decoder, d->tiling);
    struct hep_argument z = {"z", {d->z, HEP_F32, HEP_SHAPE(1, d->decoder->config->latent_channels, height, width)}};
    struct hep_plan *plan;
    HEP_TRY(decoder_part_ready(d->decoder, DECODER_WHOLE, height, width, &plan, error));
    float *memory = malloc((size_t)(2 * 3 * places) * sizeof *memory);
    if (!memory)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image of %" PRId64 " pixels", places);
    d->planes = memory;
    d->pixels = memory + 3 * places;
    struct hep_argument decoded = {"decoded",
                                   {d->planes, HEP_F32, HEP_SHAPE(1, 3, height * d->factor, width * d->factor)}};
    enum hep_status status = decoding_run(d, plan, &z, &decoded, error);
    if (status == HEP_OK)
        status = decoding_take_planes(d, places, error);
    if (status == HEP_OK)
        decoding_write(d, d->pixels, 0, places);
    free(memory);
    return status;
}

enum hep_status decoder_run(const struct decoder *decoder, const struct decoder_tiling *tiling, const float *latents,
                            enum hep_dtype dtype, void *image, struct hep_error *error)
{
    const struct hep_vae_config *config = decoder->config;
    int64_t elements = config->latent_channels * tiling->rows.length * tiling->columns.length;
    float scale = (float)config->scaling_factor, shift = (float)config->shift_factor;
    struct decoding d = {.decoder = decoder,
                         .tiling = tiling,
                         .factor = hep_vae_scale_factor(config),
                         .features = config->block_out_channels[config->levels - 1],
                         .runs = tiling->side ? 1 + 2 * tiling->rows.count * tiling->columns.count : 1,
                         .dtype = dtype,
                         .image = image};
    HEP_TRY(check_finite("latents", latents, elements, error));
    d.z = malloc((size_t)elements * sizeof *d.z);
    if (!d.z)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %" PRId64 " latents", elements);
    for (int64_t i = 0; i < elements; i++)
        d.z[i] = latents[i] / scale + shift;
    enum hep_status status = tiling->side ? decode_tiled(&d, error) : decode_whole(&d, error);
    free(d.z);
    return status;
}
