/* What a mask covers, in the colours of what lies round it: A1111's "fill". */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_FILL_H
#define HEP_INSTRUCTORS_POSTPROCESSING_FILL_H

#include "common/status.h"

/*
 * image: [height, width, 3] u8. mask: [height, width] u8, 255 is filled, 0 stays to the last bit. filled: as image.
 * The image without its masked part (alpha 255 - mask), blurred with sigma 256, 64, 16, 4, 2 and 0, each over the one
 * before: 1, 1, 2, 4, 2 and 1 times; where even the widest reached nothing it is black. NO_MEMORY. Source: fill() of
 * stable-diffusion-webui 1.10 (modules/masking.py), byte for byte what it makes with Pillow 10 and later, whose blur is
 * three boxes (Gwosdek et al. 2011, Theoretical foundations of Gaussian convolution by extended box filtering).
 */
enum hep_status fill_run(const uint8_t *image, const uint8_t *mask, int64_t width, int64_t height, uint8_t *filled,
                         struct hep_error *error);
/* Bytes that it takes. */
uint64_t fill_bytes(int64_t width, int64_t height);

#endif
