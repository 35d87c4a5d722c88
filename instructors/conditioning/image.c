/* The VAE's encoder on one image, and the way from 8-bit pixels to [-1, 1] planes. Called by encode_image. */
#include "instructors/conditioning/image.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MASKED = 128 /* of a mask: from here on the image is made anew */ };

const char *const image_fill_names[] = {"fill", "original", "latent_noise", "latent_nothing", NULL};

struct build_context {
    const struct hep_vae_config *config;
    struct hep_vae_build build;
};

static void build(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_vae_encoder_build(graph, shape->config, &shape->build);
}

static struct build_context shape_of(const struct image_encoder *encoder, int64_t height, int64_t width, char key[64])
{
    snprintf(key, 64, "n1h%" PRId64 "w%" PRId64, height, width);
    return (struct build_context){encoder->config, {.batch = 1, .height = height, .width = width}};
}

enum hep_status image_encoder_open(struct networks *networks, struct hep_instructor *self,
                                   const struct hep_tensor_ref *vae, struct image_encoder *encoder,
                                   struct hep_error *error)
{
    static const struct network_want want = {"packed.encoder", "vae/config.json", hep_any_config_read_vae};
    const union hep_any_config *config;
    HEP_TRY(networks_get(networks, self, vae, &want, &encoder->network, &config, error));
    encoder->config = &config->vae;
    encoder->step = NULL;
    return HEP_OK;
}

static int64_t places_of(const struct image_encoder *encoder, int64_t height, int64_t width)
{
    int64_t factor = hep_vae_scale_factor(encoder->config);
    return height * factor * width * factor;
}

enum hep_status image_encoder_cost(const struct image_encoder *encoder, int64_t height, int64_t width, double *flops,
                                   uint64_t *bytes, struct hep_error *error)
{
    char key[64];
    struct build_context context = shape_of(encoder, height, width, key);
    struct hep_network_cost cost;
    int64_t elements = encoder->config->latent_channels * height * width;
    HEP_TRY(hep_network_cost(encoder->network, key, build, &context, &cost, error));
    *flops = cost.flops;
    *bytes = cost.peak_bytes + (uint64_t)(3 * places_of(encoder, height, width) + 2 * elements) * sizeof(float);
    return HEP_OK;
}

static void to_planes(const uint8_t *image, const uint8_t *mask, int64_t places, float *planes)
{
    for (int64_t c = 0; c < 3; c++)
        for (int64_t i = 0; i < places; i++)
            planes[c * places + i] = mask && mask[i] >= MASKED ? 0 : (float)image[3 * i + c] / 127.5f - 1;
}

enum hep_status image_encoder_run(const struct image_encoder *encoder, const uint8_t *image, const uint8_t *mask,
                                  int64_t height, int64_t width, float *moments, struct hep_error *error)
{
    char key[64];
    struct build_context context = shape_of(encoder, height, width, key);
    struct hep_plan *plan;
    int64_t factor = hep_vae_scale_factor(encoder->config), channels = encoder->config->latent_channels;
    int64_t places = places_of(encoder, height, width), elements = channels * height * width;
    HEP_TRY(hep_network_ready(encoder->network, key, build, &context, &plan, error));
    float *planes = malloc((size_t)(3 * places) * sizeof *planes), *deviation = moments + elements;
    if (!planes)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image of %" PRId64 " pixels", places);
    to_planes(image, mask, places, planes);
    struct hep_argument input = {"image", {planes, HEP_F32, HEP_SHAPE(1, 3, height * factor, width * factor)}};
    struct hep_argument outputs[] = {{"mean", {moments, HEP_F32, HEP_SHAPE(1, channels, height, width)}},
                                     {"logvar", {deviation, HEP_F32, HEP_SHAPE(1, channels, height, width)}}};
    enum hep_status status = networks_run(encoder->step, plan, &input, 1, outputs, 2, error);
    free(planes);
    HEP_TRY(status);
    for (int64_t i = 0; i < 2 * elements; i++)
        if (!isfinite(moments[i]))
            return hep_fail(error, HEP_E_OUT_OF_RANGE, "the VAE gave a value that is not finite for this image");
    hep_vae_clamp_logvar(deviation, (size_t)elements);
    for (int64_t i = 0; i < elements; i++)
        deviation[i] = (float)exp(0.5 * (double)deviation[i]);
    return HEP_OK;
}

void image_latents(const struct hep_vae_config *config, const float *moments, const float *noise, size_t elements,
                   float *latents)
{
    float scale = (float)config->scaling_factor, shift = (float)config->shift_factor;
    for (size_t i = 0; i < elements; i++)
        latents[i] = (moments[i] + moments[elements + i] * noise[i] - shift) * scale;
}

void image_latent_mask(const uint8_t *mask, int64_t height, int64_t width, int64_t factor, float *latent_mask)
{
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            latent_mask[y * width + x] = mask[(y * width * factor + x) * factor] >= MASKED;
}

void image_latents_fill(const float *latent_mask, const float *noise, int64_t channels, int64_t places, float *latents)
{
    for (int64_t i = 0; i < channels * places; i++)
        if (latent_mask[i % places] > 0)
            latents[i] = noise ? noise[i] : 0;
}
