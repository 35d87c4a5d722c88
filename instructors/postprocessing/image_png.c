/* PNG by libspng: pixels and recipe into memory, and the recipe back out. Called through image_encode() and by tests.
 */
#include <spng.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "instructors/postprocessing/image_codecs.h"

enum { COMPRESSION = 6 /* zlib's default; the image of a small model takes a millisecond */ };

static enum hep_status fail_spng(struct hep_error *error, enum hep_status code, const char *what, int result)
{
    return hep_fail(error, result == SPNG_EMEM ? HEP_E_NO_MEMORY : code, "PNG: %s: %s", what, spng_strerror(result));
}

/* One text chunk as PIL (and so A1111) writes it: tEXt where ISO 8859-1 holds the text, else iTXt. *owned, if made,
   must live until the image is encoded. */
static enum hep_status text_chunk(const char *keyword, const char *text, struct spng_text *chunk, char **owned,
                                  struct hep_error *error)
{
    static char none[] = "";
    bool fits = false;
    HEP_TRY(image_latin1_from_utf8(text, owned, &fits, error));
    if (!fits && !(*owned = strdup(text)))
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image's recipe");
    *chunk = (struct spng_text){.type = fits ? SPNG_TEXT : SPNG_ITXT,
                                .length = strlen(*owned),
                                .text = *owned,
                                .language_tag = none,
                                .translated_keyword = none};
    memcpy(chunk->keyword, keyword, strlen(keyword) + 1);
    return HEP_OK;
}

/* depth: bits of a value; libspng takes 16 of them in the machine's order. */
static enum hep_status encode(spng_ctx *context, const struct image_source *source, uint8_t depth,
                              struct spng_text *texts, uint32_t texts_count, struct image_bytes *bytes,
                              struct hep_error *error)
{
    const void *pixels = depth == 16 ? (const void *)source->deep : source->pixels;
    struct spng_ihdr header = {.width = (uint32_t)source->width,
                               .height = (uint32_t)source->height,
                               .bit_depth = depth,
                               .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
    int result = spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
    if (result == 0)
        result = spng_set_option(context, SPNG_IMG_COMPRESSION_LEVEL, COMPRESSION);
    if (result == 0)
        result = spng_set_ihdr(context, &header);
    if (result == 0 && texts_count > 0)
        result = spng_set_text(context, texts, texts_count);
    size_t size = (size_t)source->width * (size_t)source->height * 3 * (depth / 8);
    if (result == 0)
        result = spng_encode_image(context, pixels, size, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    if (result != 0)
        return fail_spng(error, HEP_E_INTERNAL, "encoding", result);
    size_t file_size = 0;
    uint8_t *data = spng_get_png_buffer(context, &file_size, &result);
    if (!data)
        return fail_spng(error, HEP_E_INTERNAL, "encoding", result);
    *bytes = (struct image_bytes){data, file_size};
    return HEP_OK;
}

static enum hep_status encode_of_depth(const struct image_source *source, uint8_t depth, struct image_bytes *bytes,
                                       struct hep_error *error)
{
    const char *const keywords[] = {"parameters", "heptad"};
    const char *const values[] = {source->parameters, source->request};
    struct spng_text texts[HEP_COUNT_OF(keywords)];
    char *owned[HEP_COUNT_OF(keywords)] = {NULL};
    uint32_t count = 0;
    spng_ctx *context = spng_ctx_new(SPNG_CTX_ENCODER);
    enum hep_status status = HEP_OK;
    if (!context) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a PNG encoder");
        goto done;
    }
    for (size_t i = 0; i < HEP_COUNT_OF(keywords); i++) {
        if (!values[i] || !*values[i])
            continue;
        HEP_TRY_DONE(status, text_chunk(keywords[i], values[i], &texts[count], &owned[count], error));
        count++;
    }
    status = encode(context, source, depth, texts, count, bytes, error);
done:
    spng_ctx_free(context);
    for (size_t i = 0; i < HEP_COUNT_OF(owned); i++)
        free(owned[i]);
    return status;
}

enum hep_status image_png_encode(const struct image_source *source, int quality, struct image_bytes *bytes,
                                 struct hep_error *error)
{
    (void)quality;
    return encode_of_depth(source, 8, bytes, error);
}

enum hep_status image_png16_encode(const struct image_source *source, int quality, struct image_bytes *bytes,
                                   struct hep_error *error)
{
    (void)quality;
    hep_assert(source->deep);
    return encode_of_depth(source, 16, bytes, error);
}

static enum hep_status find_text(spng_ctx *context, const char *keyword, char **text, struct hep_error *error)
{
    struct spng_text texts[HEP_PNG_TEXTS_MAX];
    uint32_t count = 0;
    int result = spng_get_text(context, NULL, &count);
    if (result == 0 && count > HEP_PNG_TEXTS_MAX)
        return hep_fail(error, HEP_E_BAD_FILE, "PNG: %u text chunks; at most %d are read", count, HEP_PNG_TEXTS_MAX);
    if (result == 0)
        result = spng_get_text(context, texts, &count);
    if (result != 0 && result != SPNG_ECHUNKAVAIL)
        return fail_spng(error, HEP_E_BAD_FILE, "reading its texts", result);
    for (uint32_t i = 0; result == 0 && i < count; i++) {
        if (strcmp(texts[i].keyword, keyword) != 0)
            continue;
        if (texts[i].type != SPNG_ITXT)
            return image_utf8_from_latin1(texts[i].text, texts[i].length, text, error);
        *text = strndup(texts[i].text, texts[i].length);
        return *text ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for the text of a PNG");
    }
    return hep_fail(error, HEP_E_NOT_FOUND, "the PNG has no text \"%s\"", keyword);
}

enum hep_status image_png_read_text(const void *data, size_t size, const char *keyword, char **text,
                                    struct hep_error *error)
{
    spng_ctx *context = spng_ctx_new(0);
    if (!context)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a PNG decoder");
    int result = spng_set_chunk_limits(context, HEP_PNG_CHUNK_MAX, HEP_PNG_CHUNKS_MAX);
    if (result == 0)
        result = spng_set_image_limits(context, HEP_IMAGE_FILE_SIDE_MAX, HEP_IMAGE_FILE_SIDE_MAX);
    if (result == 0)
        result = spng_set_png_buffer(context, data, size);
    enum hep_status status =
        result == 0 ? find_text(context, keyword, text, error) : fail_spng(error, HEP_E_BAD_FILE, "reading", result);
    spng_ctx_free(context);
    return status;
}
