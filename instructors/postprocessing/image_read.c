/* The table of image formats that are read, and turning them as their cameras meant. Called by the `open` operation. */
#include "instructors/postprocessing/image_readers.h"

#include <stdlib.h>
#include <string.h>

/* To add a format: a row, its two functions, first inputs for tests/fuzz/fuzz_image.c. */
static const struct row {
    const char *magic;
    size_t magic_size, magic_at;
    image_prober *probe;
    image_reader *read;
} rows[IMAGE_FORMAT_COUNT] = {
    /* IMAGE_PNG reads every PNG: IMAGE_PNG16 is only written */
    [IMAGE_PNG] = {"\x89PNG\r\n\x1a\n", 8, 0, image_png_probe, image_png_read},
    [IMAGE_JPEG] = {"\xff\xd8\xff", 3, 0, image_jpeg_probe, image_jpeg_read},
    [IMAGE_WEBP] = {"WEBP", 4, 8, image_webp_probe, image_webp_read},
};

static bool is_turned(const struct image_about *about)
{
    return about->orientation >= 5;
}

static enum hep_status find_format(const void *data, size_t size, struct image_about *about, struct hep_error *error)
{
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++)
        if (rows[i].magic_size > 0 && size >= rows[i].magic_at + rows[i].magic_size &&
            memcmp((const char *)data + rows[i].magic_at, rows[i].magic, rows[i].magic_size) == 0) {
            about->format = (enum image_format)i;
            return HEP_OK;
        }
    hep_fail(error, HEP_E_BAD_FILE, "it is no image: %zu bytes that are neither PNG nor JPEG nor WebP", size);
    return hep_hint(error, "give a PNG, JPEG or WebP file"), HEP_E_BAD_FILE;
}

enum hep_status image_probe(const void *data, size_t size, struct image_about *about, struct hep_error *error)
{
    struct image_about found = {.orientation = 1, .bits = 8};
    HEP_TRY(find_format(data, size, &found, error));
    HEP_TRY(rows[found.format].probe(data, size, &found, error));
    if (found.width < 1 || found.height < 1 || found.width > HEP_IMAGE_FILE_SIDE_MAX ||
        found.height > HEP_IMAGE_FILE_SIDE_MAX || (int64_t)found.width * found.height > HEP_INPUT_PIXELS_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "an image of %d x %d; at most %d pixels are read, sides to %d",
                        found.width, found.height, HEP_INPUT_PIXELS_MAX, HEP_IMAGE_FILE_SIDE_MAX);
    if (is_turned(&found)) {
        int32_t width = found.width;
        found.width = found.height;
        found.height = width;
    }
    *about = found;
    return HEP_OK;
}

/* Where pixel (x, y) of the image as it is shown is stored; width and height as stored. */
static size_t stored_at(int orientation, int64_t x, int64_t y, int64_t width, int64_t height)
{
    int64_t column = orientation >= 5 ? y : x, line = orientation >= 5 ? x : y;
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        column = width - 1 - column;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        line = height - 1 - line;
    return (size_t)(line * width + column);
}

static void turn(const uint8_t *stored, const struct image_about *about, uint8_t *rgba)
{
    int64_t width = is_turned(about) ? about->height : about->width,
            height = is_turned(about) ? about->width : about->height;
    for (int64_t y = 0; y < about->height; y++)
        for (int64_t x = 0; x < about->width; x++)
            memcpy(rgba + (size_t)(y * about->width + x) * 4,
                   stored + 4 * stored_at(about->orientation, x, y, width, height), 4);
}

enum hep_status image_read(const void *data, size_t size, const struct image_about *about, uint8_t *rgba,
                           struct hep_error *error)
{
    const struct row *row = &rows[about->format];
    if (about->orientation == 1)
        return row->read(data, size, about->width, about->height, rgba, error);
    uint8_t *stored = malloc((size_t)about->width * (size_t)about->height * 4);
    if (!stored)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image of %d x %d", about->width, about->height);
    int32_t width = is_turned(about) ? about->height : about->width,
            height = is_turned(about) ? about->width : about->height;
    enum hep_status status = row->read(data, size, width, height, stored, error);
    if (status == HEP_OK)
        turn(stored, about, rgba);
    free(stored);
    return status;
}

enum hep_status image_read_deep(const void *data, size_t size, const struct image_about *about, uint16_t *rgba,
                                struct hep_error *error)
{
    hep_assert(about->bits == 16 && about->format == IMAGE_PNG); /* no other has them; a PNG is not turned */
    return image_png_read_deep(data, size, about->width, about->height, rgba, error);
}

uint64_t image_read_bytes(const struct image_about *about)
{
    return about->orientation == 1 ? 0 : (uint64_t)about->width * (uint64_t)about->height * 4;
}

/* ---- EXIF ----------------------------------------------------------------------------------------------------------
 */
struct exif {
    const uint8_t *tiff;
    size_t size;
    bool is_little;
};

/* A number of so many bytes (2 or 4); false beyond the end. */
static bool exif_number(const struct exif *exif, size_t at, size_t bytes, uint32_t *number)
{
    if (at > exif->size || bytes > exif->size - at)
        return false;
    *number = 0;
    for (size_t i = 0; i < bytes; i++)
        *number |= (uint32_t)exif->tiff[at + (exif->is_little ? i : bytes - 1 - i)] << 8 * i;
    return true;
}

int image_exif_orientation(const uint8_t *segment, size_t size)
{
    enum { HEADER = 6, ENTRY = 12, ORIENTATION = 0x0112 };
    uint32_t directory, entries, tag, value;
    if (size < HEADER + 8 || memcmp(segment, "Exif\0\0", HEADER) != 0)
        return 1;
    struct exif exif = {segment + HEADER, size - HEADER, segment[HEADER] == 'I'};
    if (!exif_number(&exif, 4, 4, &directory) || !exif_number(&exif, directory, 2, &entries))
        return 1;
    for (size_t i = 0; i < entries; i++) {
        size_t at = (size_t)directory + 2 + i * ENTRY;
        if (!exif_number(&exif, at, 2, &tag) || !exif_number(&exif, at + 8, 2, &value))
            return 1;
        if (tag == ORIENTATION)
            return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
