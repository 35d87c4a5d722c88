/* WebP by libwebp, with EXIF and XMP chunks put in by its muxer. Called through image_encode(). One thread, so that the
   same pixels give the same bytes. */
#include <stdlib.h>
#include <string.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include "instructors/postprocessing/image_codecs.h"

enum {
    LOSSLESS = 100,       /* the quality that means: every pixel exact                        */
    LOSSLESS_EFFORT = 70, /* libwebp reads "quality" of a lossless image as effort            */
    METHOD = 4,           /* libwebp's default trade of time for size                         */
};

static const char *words_of(WebPEncodingError code)
{
    switch (code) {
    case VP8_ENC_ERROR_OUT_OF_MEMORY:
    case VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY:
        return "out of memory";
    case VP8_ENC_ERROR_BAD_DIMENSION:
        return "bad dimensions";
    case VP8_ENC_ERROR_PARTITION0_OVERFLOW:
    case VP8_ENC_ERROR_PARTITION_OVERFLOW:
    case VP8_ENC_ERROR_FILE_TOO_BIG:
        return "the image does not fit the format";
    default:
        return "encoding failed";
    }
}

static enum hep_status fail_picture(struct hep_error *error, const WebPPicture *picture)
{
    bool no_memory = picture->error_code == VP8_ENC_ERROR_OUT_OF_MEMORY ||
                     picture->error_code == VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY;
    return hep_fail(error, no_memory ? HEP_E_NO_MEMORY : HEP_E_INTERNAL, "WebP: %s (%d)", words_of(picture->error_code),
                    (int)picture->error_code);
}

/* The pixels alone. The caller frees with WebPMemoryWriterClear. */
static enum hep_status encode_pixels(const struct image_source *source, int quality, WebPMemoryWriter *writer,
                                     struct hep_error *error)
{
    WebPConfig config;
    WebPPicture picture;
    if (!WebPConfigInit(&config) || !WebPPictureInit(&picture))
        return hep_fail(error, HEP_E_MISMATCH, "WebP: the library is of another version");
    config.lossless = quality == LOSSLESS;
    config.quality = (float)(config.lossless ? LOSSLESS_EFFORT : quality);
    config.method = METHOD;
    config.thread_level = 0;
    picture.use_argb = config.lossless;
    picture.width = source->width;
    picture.height = source->height;
    picture.writer = WebPMemoryWrite;
    picture.custom_ptr = writer;
    bool made = WebPPictureImportRGB(&picture, source->pixels, source->width * 3) && WebPEncode(&config, &picture);
    enum hep_status status = made ? HEP_OK : fail_picture(error, &picture);
    WebPPictureFree(&picture);
    return status;
}

static enum hep_status set_chunk(WebPMux *mux, const char fourcc[4], const struct image_bytes *content,
                                 struct hep_error *error)
{
    WebPData data = {content->data, content->size};
    WebPMuxError result = WebPMuxSetChunk(mux, fourcc, &data, 1);
    if (result == WEBP_MUX_OK)
        return HEP_OK;
    return hep_fail(error, result == WEBP_MUX_MEMORY_ERROR ? HEP_E_NO_MEMORY : HEP_E_INTERNAL,
                    "WebP: the chunk %.4s failed (%d)", fourcc, (int)result);
}

static enum hep_status put_recipe(WebPMux *mux, const struct image_source *source, struct hep_error *error)
{
    struct image_bytes exif = {0}, xmp = {0};
    enum hep_status status = HEP_OK;
    if (source->parameters && *source->parameters) {
        HEP_TRY_DONE(status, image_exif(source->parameters, &exif, error));
        HEP_TRY_DONE(status, set_chunk(mux, "EXIF", &exif, error));
    }
    if (source->request && *source->request) {
        HEP_TRY_DONE(status, image_xmp(source->request, &xmp, error));
        HEP_TRY_DONE(status, set_chunk(mux, "XMP ", &xmp, error));
    }
done:
    image_bytes_clear(&exif);
    image_bytes_clear(&xmp);
    return status;
}

enum hep_status image_webp_encode(const struct image_source *source, int quality, struct image_bytes *bytes,
                                  struct hep_error *error)
{
    WebPMemoryWriter writer;
    WebPMemoryWriterInit(&writer);
    WebPData file = {NULL, 0};
    WebPMux *mux = NULL;
    enum hep_status status;
    HEP_TRY_DONE(status, encode_pixels(source, quality, &writer, error));
    WebPData pixels = {writer.mem, writer.size};
    mux = WebPMuxCreate(&pixels, 0);
    if (!mux) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a WebP file");
        goto done;
    }
    HEP_TRY_DONE(status, put_recipe(mux, source, error));
    WebPMuxError result = WebPMuxAssemble(mux, &file);
    uint8_t *data =
        result == WEBP_MUX_OK ? malloc(file.size) : NULL; /* libwebp's memory may not be freed with free() */
    if (data) {
        memcpy(data, file.bytes, file.size);
        *bytes = (struct image_bytes){data, file.size};
    } else {
        status = hep_fail(error, HEP_E_NO_MEMORY, "WebP: the file cannot be put together (%d)", (int)result);
    }
done:
    WebPDataClear(&file);
    WebPMuxDelete(mux);
    WebPMemoryWriterClear(&writer);
    return status;
}
