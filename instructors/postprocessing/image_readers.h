/* The three decoders behind image_probe() and image_read(). Only this folder includes it. */
#ifndef HEP_POSTPROCESSING_IMAGE_READERS_H
#define HEP_POSTPROCESSING_IMAGE_READERS_H

#include "instructors/postprocessing/image_read.h"

/* Fills width, height (as stored), and orientation and bits if they are not 1 and 8. */
typedef enum hep_status image_prober(const void *data, size_t size, struct image_about *about, struct hep_error *error);
/* rgba: [height, width, 4] as stored; width and height are the file's. */
typedef enum hep_status image_reader(const void *data, size_t size, int32_t width, int32_t height, uint8_t *rgba,
                                     struct hep_error *error);
image_prober image_png_probe, image_jpeg_probe, image_webp_probe;
image_reader image_png_read, image_jpeg_read, image_webp_read;
/* Of a PNG of 16 bits: rgba in u16. */
enum hep_status image_png_read_deep(const void *data, size_t size, int32_t width, int32_t height, uint16_t *rgba,
                                    struct hep_error *error);

/* EXIF's orientation, 1 … 8, from an APP1 segment; 1 if it says none that can be understood. */
int image_exif_orientation(const uint8_t *segment, size_t size);

#endif
