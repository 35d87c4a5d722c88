/*
 * Image files: pixels to the bytes of a PNG, JPEG or WebP file that carries its recipe, and a file that is there whole
 * or not at all. The same input gives the same bytes: nothing here writes a time, a host or a random name.
 */
#ifndef HEP_POSTPROCESSING_IMAGE_FILE_H
#define HEP_POSTPROCESSING_IMAGE_FILE_H

#include "common/limits.h"
#include "common/status.h"

enum image_format { IMAGE_PNG, IMAGE_PNG16, IMAGE_JPEG, IMAGE_WEBP, IMAGE_FORMAT_COUNT };

/* What is encoded. Everything is borrowed. */
struct image_source {
    const uint8_t *pixels;  /* [height, width, 3] u8, sRGB, dense                                      */
    const uint16_t *deep;   /* the same with 16 bits, for PNG16; NULL = not there                          */
    int32_t width, height;  /* pixels, in [1, HEP_IMAGE_FILE_SIDE_MAX]                                           */
    const char *parameters; /* the recipe as A1111 writes it, UTF-8; NULL or "" = none                 */
    const char *request;    /* the recipe as Heptad's JSON, UTF-8; NULL or "" = none                   */
};

/* The bytes of a file. */
struct image_bytes {
    uint8_t *data; /* owned */
    size_t size;
};
void image_bytes_clear(struct image_bytes *bytes); /* zeroed bytes are accepted */

extern const char *const image_format_names[];                /* by format, ends with NULL       */
const char *image_format_name(enum image_format format);      /* "png", "png16", "jpeg", "webp" */
const char *image_format_extension(enum image_format format); /* "png", "png", "jpg", "webp" */
const char *image_format_mime(enum image_format format);      /* "image/png" …              */
/* From a name, an alias ("jpg") or an extension, in any case; false if there is none. */
bool image_format_from_name(const char *name, enum image_format *format);

/* Whether files of this format (its name) hold 16 bits, so that images for them are f32 (levels.h). */
bool image_format_is_deep(const char *name);

/* Encodes. quality: 1 … 100, for JPEG and WebP (WebP: 100 is lossless); 0 takes the format's default; PNG is lossless
   and ignores it. The recipe goes into tEXt or iTXt chunks `parameters` and `heptad` (PNG), or into EXIF's UserComment
   (parameters) and XMP (heptad:request) (JPEG, WebP). The caller clears bytes.
   PNG16 takes the pixels from deep, the others from pixels.
   Errors: OUT_OF_RANGE for sides or quality; BAD_FIELD for a recipe that is not valid UTF-8; TOO_LARGE for a recipe
   that JPEG cannot hold (64 KiB each); NO_MEMORY; INTERNAL with the library's words. */
enum hep_status image_encode(enum image_format format, const struct image_source *source, int quality,
                             struct image_bytes *bytes, struct hep_error *error);

/* Reads a text chunk of a PNG file in memory: "parameters", "heptad", or any other keyword. The caller frees text
   (UTF-8). Errors: BAD_FILE for what is no PNG; NOT_FOUND where the keyword is not there; NO_MEMORY. */
enum hep_status image_png_read_text(const void *data, size_t size, const char *keyword, char **text,
                                    struct hep_error *error);

/* Writes folder/name: first as folder/.name.part, which is synced, renamed and the folder synced, so that a kill at any
   instant leaves no file of that name, the old one or the whole new one; a left-over part is written over by the next
   try. name has no '/' and does not start with '.'. Mode 0644 under the umask. Errors: BAD_FIELD for such a name;
   NOT_FOUND, NO_SPACE, SYSTEM with the path. */
enum hep_status image_save_file(const char *folder, const char *name, const void *data, size_t size,
                                struct hep_error *error);

#endif
