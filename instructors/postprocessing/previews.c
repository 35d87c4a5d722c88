/* The map of previews out of a VAE's decoder, made once for each VAE; see previews.h. */
#include "instructors/postprocessing/previews.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum hep_status check_channels(const struct decoder *decoder, struct hep_error *error)
{
    int channels = (int)decoder->config->latent_channels;
    if (channels > HEP_PREVIEW_CHANNELS_MAX)
        return hep_fail(error, HEP_E_UNSUPPORTED, "latents of %d channels have no previews, at most %d do", channels,
                        HEP_PREVIEW_CHANNELS_MAX);
    return HEP_OK;
}

static enum hep_status show_probe(const struct decoder *decoder, const struct decoder_tiling *tiling, int number,
                                  uint8_t *image, struct preview_fit *fit, struct hep_error *error)
{
    float latents[HEP_PREVIEW_CHANNELS_MAX * PREVIEW_PROBE_SIDE * PREVIEW_PROBE_SIDE];
    preview_probe(number, fit->channels, latents);
    HEP_TRY(decoder_run(decoder, tiling, latents, HEP_U8, image, error));
    preview_fit_add(fit, latents, image, (int)hep_vae_scale_factor(decoder->config));
    return HEP_OK;
}

enum hep_status preview_map_make(const struct decoder *decoder, struct hep_preview_map *map, struct hep_error *error)
{
    size_t side = (size_t)PREVIEW_PROBE_SIDE * (size_t)hep_vae_scale_factor(decoder->config);
    struct preview_fit fit = {.channels = (int)decoder->config->latent_channels};
    struct decoder_tiling tiling;
    HEP_TRY(check_channels(decoder, error));
    HEP_TRY(decoder_tile(decoder, PREVIEW_PROBE_SIDE, PREVIEW_PROBE_SIDE, DECODE_WHOLE, 0, &tiling, error));
    uint8_t *image = malloc(3 * side * side);
    if (!image)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu pixels", side * side);
    enum hep_status status = HEP_OK;
    for (int i = 0; status == HEP_OK && i < PREVIEW_PROBES; i++)
        status = show_probe(decoder, &tiling, i, image, &fit, error);
    free(image);
    if (status == HEP_OK)
        preview_fit_solve(&fit, map);
    return status;
}
