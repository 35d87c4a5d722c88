/* WebP to pixels, by libwebp on one thread. Called through image_read(). */
#include <webp/decode.h>

#include "instructors/postprocessing/image_readers.h"

static enum hep_status features_of(const void *data, size_t size, WebPBitstreamFeatures *features,
                                   struct hep_error *error)
{
    VP8StatusCode code = WebPGetFeatures(data, size, features);
    if (code != VP8_STATUS_OK)
        return hep_fail(error, code == VP8_STATUS_OUT_OF_MEMORY ? HEP_E_NO_MEMORY : HEP_E_BAD_FILE,
                        "WebP: the header is damaged (%d)", (int)code);
    return features->has_animation ? hep_fail(error, HEP_E_BAD_FILE, "WebP: it moves; one image is wanted") : HEP_OK;
}

enum hep_status image_webp_probe(const void *data, size_t size, struct image_about *about, struct hep_error *error)
{
    WebPBitstreamFeatures features;
    HEP_TRY(features_of(data, size, &features, error));
    about->width = features.width;
    about->height = features.height;
    return HEP_OK;
}

enum hep_status image_webp_read(const void *data, size_t size, int32_t width, int32_t height, uint8_t *rgba,
                                struct hep_error *error)
{
    size_t bytes = (size_t)width * (size_t)height * 4;
    return WebPDecodeRGBAInto(data, size, rgba, bytes, width * 4)
               ? HEP_OK
               : hep_fail(error, HEP_E_BAD_FILE, "WebP: its pixels are damaged, or cut off");
}
