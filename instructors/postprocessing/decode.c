/* The VAE's decoder on one image at a time, and the way from [-1, 1] planes to 8-bit pixels. Worker thread only. */
#include "instructors/postprocessing/decode.h"

#include "nn/cpu/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct build_context {
    const struct hep_vae_config *config;
    struct hep_vae_build build;
};

static void build(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_vae_decoder_build(graph, shape->config, &shape->build);
}

static struct build_context shape_of(const struct decoder *decoder, int64_t height, int64_t width, char key[64])
{
    snprintf(key, 64, "n1h%" PRId64 "w%" PRId64, height, width);
    return (struct build_context){decoder->config, {.batch = 1, .height = height, .width = width}};
}

enum hep_status decoder_open(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *vae,
                             struct decoder *decoder, struct hep_error *error)
{
    void **extra;
    HEP_TRY(networks_get(networks, self, vae, "packed.decoder", &decoder->network, &extra, error));
    if (!*extra) {
        struct hep_vae_config *config = malloc(sizeof *config);
        if (!config)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a configuration");
        enum hep_status status =
            hep_vae_config_read(hep_network_config(decoder->network), "vae/config.json", config, error);
        if (status != HEP_OK) {
            free(config);
            return status;
        }
        *extra = config;
    }
    decoder->config = *extra;
    decoder->step = NULL;
    return HEP_OK;
}

enum hep_status decoder_cost(const struct decoder *decoder, int64_t height, int64_t width, double *flops,
                             uint64_t *bytes, struct hep_error *error)
{
    char key[64];
    struct build_context context = shape_of(decoder, height, width, key);
    struct hep_network_cost cost;
    int64_t factor = hep_vae_scale_factor(decoder->config);
    HEP_TRY(hep_network_cost(decoder->network, key, build, &context, &cost, error));
    *flops = cost.flops;
    *bytes = cost.peak_bytes + (uint64_t)(2 * 3 * height * width * factor * factor) * sizeof(float);
    return HEP_OK;
}

/* decoded: [3, H · W] f32 → image: [H · W, 3] u8; scratch: as decoded. */
static void to_pixels(const float *decoded, float *scratch, int64_t places, uint8_t *image)
{
    hep_kernels()->transpose[HEP_F32].run(
        &(struct hep_transpose_args){.images = 1, .rows = 3, .columns = places, .x = decoded, .y = scratch});
    hep_kernels()->from_f32[HEP_U8].run(
        &(struct hep_rows_args){.rows = places, .columns = 3, .x = scratch, .x_stride = 3, .y = image, .y_stride = 3});
}

static enum hep_status check_finite(const char *what, const float *values, int64_t count, struct hep_error *error)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return hep_fail(error, HEP_E_OUT_OF_RANGE, "%s: value %" PRId64 " of %" PRId64 " is not finite", what, i,
                            count);
    return HEP_OK;
}

enum hep_status decoder_run(const struct decoder *decoder, const float *latents, int64_t height, int64_t width,
                            uint8_t *image, struct hep_error *error)
{
    char key[64];
    struct build_context context = shape_of(decoder, height, width, key);
    struct hep_plan *plan;
    int64_t factor = hep_vae_scale_factor(decoder->config), channels = decoder->config->latent_channels;
    int64_t places = height * width * factor * factor, elements = channels * height * width;
    HEP_TRY(check_finite("latents", latents, elements, error));
    HEP_TRY(hep_network_ready(decoder->network, key, build, &context, &plan, error));
    float *z = malloc((size_t)elements * sizeof *z), *decoded = malloc((size_t)(2 * 3 * places) * sizeof *decoded);
    enum hep_status status =
        z && decoded ? HEP_OK
                     : hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image of %" PRId64 " pixels", places);
    if (status == HEP_OK) {
        float scale = (float)decoder->config->scaling_factor, shift = (float)decoder->config->shift_factor;
        for (int64_t i = 0; i < elements; i++)
            z[i] = latents[i] / scale + shift;
        struct hep_argument input = {"z", {z, HEP_F32, HEP_SHAPE(1, channels, height, width)}};
        struct hep_argument output = {"decoded", {decoded, HEP_F32, HEP_SHAPE(1, 3, height * factor, width * factor)}};
        status = networks_run(decoder->step, plan, &input, 1, &output, 1, error);
    }
    if (status == HEP_OK)
        status = check_finite("the VAE's image", decoded, 3 * places, error);
    if (status == HEP_OK)
        to_pixels(decoded, decoded + 3 * places, places, image);
    free(z);
    free(decoded);
    return status;
}
