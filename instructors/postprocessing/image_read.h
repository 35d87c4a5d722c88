/*
 * Image files of strangers: what one's header says, and its pixels. Knows PNG, JPEG and WebP by their first bytes; a
 * name or a type that somebody claimed for it does not matter.
 */
#ifndef HEP_POSTPROCESSING_IMAGE_READ_H
#define HEP_POSTPROCESSING_IMAGE_READ_H

#include "instructors/postprocessing/image_file.h"

/* What a file's header says. */
struct image_about {
    enum image_format format;
    int32_t width, height; /* pixels, as it is shown                                  */
    int orientation;       /* EXIF's, 1 … 8, of JPEG: how it is turned to be shown    */
    int bits;              /* of a value: 8, or 16 of some PNGs                       */
};

/* Reads the header only: whoever knows the size can refuse before a pixel is decoded. Errors: BAD_FILE for what is none
   of the three, is damaged, or moves; OUT_OF_RANGE for more than HEP_INPUT_PIXELS_MAX pixels or a side beyond
   HEP_IMAGE_FILE_SIDE_MAX; UNSUPPORTED for JPEGs of printers (CMYK); NO_MEMORY. */
enum hep_status image_probe(const void *data, size_t size, struct image_about *about, struct hep_error *error);
/* Decodes all of it, as it is shown: rgba [height, width, 4] u8, alpha 255 = opaque, not premultiplied. about: from
   image_probe of the same bytes. A file that is cut off or damaged is BAD_FILE, and what is in rgba then means nothing.
 */
enum hep_status image_read(const void *data, size_t size, const struct image_about *about, uint8_t *rgba,
                           struct hep_error *error);
/* The same of a file whose values have 16 bits (about->bits), not one of them lost: rgba [height, width, 4] u16, alpha
   65535 = opaque. */
enum hep_status image_read_deep(const void *data, size_t size, const struct image_about *about, uint16_t *rgba,
                                struct hep_error *error);
/* Bytes that image_read takes beside the file and rgba, of the libraries' some. */
uint64_t image_read_bytes(const struct image_about *about);

#endif
