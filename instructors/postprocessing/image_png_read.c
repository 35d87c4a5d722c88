/* PNG to pixels, by libspng. Called through image_read(). */
#include <spng.h>

#include "common/limits.h"
#include "instructors/postprocessing/image_readers.h"

static enum hep_status fail_spng(struct hep_error *error, int result)
{
    return hep_fail(error, result == SPNG_EMEM ? HEP_E_NO_MEMORY : HEP_E_BAD_FILE, "PNG: %s", spng_strerror(result));
}

/* A decoder that has read the header. The caller frees it, also after an error. */
static enum hep_status open_png(const void *data, size_t size, spng_ctx **context, struct spng_ihdr *header,
                                struct hep_error *error)
{
    *context = spng_ctx_new(0);
    if (!*context)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a PNG decoder");
    int result = spng_set_chunk_limits(*context, HEP_PNG_CHUNK_MAX, HEP_PNG_CHUNKS_MAX);
    if (result == 0)
        result = spng_set_image_limits(*context, HEP_IMAGE_FILE_SIDE_MAX, HEP_IMAGE_FILE_SIDE_MAX);
    if (result == 0)
        result = spng_set_png_buffer(*context, data, size);
    if (result == 0)
        result = spng_get_ihdr(*context, header);
    return result == 0 ? HEP_OK : fail_spng(error, result);
}

enum hep_status image_png_probe(const void *data, size_t size, struct image_about *about, struct hep_error *error)
{
    spng_ctx *context;
    struct spng_ihdr header;
    enum hep_status status = open_png(data, size, &context, &header, error);
    if (status == HEP_OK) {
        about->width = (int32_t)header.width;
        about->height = (int32_t)header.height;
        about->bits = header.bit_depth == 16 ? 16 : 8;
    }
    spng_ctx_free(context);
    return status;
}

/* format: of enum spng_format; bytes: of rgba, which has it. */
static enum hep_status decode_as(const void *data, size_t size, int format, void *rgba, size_t bytes,
                                 struct hep_error *error)
{
    spng_ctx *context;
    struct spng_ihdr header;
    enum hep_status status = open_png(data, size, &context, &header, error);
    if (status == HEP_OK) {
        int result = spng_decode_image(context, rgba, bytes, format, SPNG_DECODE_TRNS);
        status = result == 0 ? HEP_OK : fail_spng(error, result);
    }
    spng_ctx_free(context);
    return status;
}

enum hep_status image_png_read(const void *data, size_t size, int32_t width, int32_t height, uint8_t *rgba,
                               struct hep_error *error)
{
    return decode_as(data, size, SPNG_FMT_RGBA8, rgba, (size_t)width * (size_t)height * 4, error);
}

enum hep_status image_png_read_deep(const void *data, size_t size, int32_t width, int32_t height, uint16_t *rgba,
                                    struct hep_error *error)
{
    return decode_as(data, size, SPNG_FMT_RGBA16, rgba, (size_t)width * (size_t)height * 4 * sizeof *rgba, error);
}
