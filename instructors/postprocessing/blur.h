/* Gaussian blur of one plane, for masks. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_BLUR_H
#define HEP_INSTRUCTORS_POSTPROCESSING_BLUR_H

#include "common/status.h"

/* pixels: [height, width] u8, in place; along x, then along y, rounded between. sigma > 0, in pixels; 2 · int(2.5 ·
   sigma + 0.5) + 1 taps, the image mirrored at its edges. NO_MEMORY. Source: stable-diffusion-webui 1.10 (mask_blur,
   modules/processing.py). */
enum hep_status blur_run(uint8_t *pixels, int64_t width, int64_t height, double sigma, struct hep_error *error);
/* Bytes that it takes. */
uint64_t blur_bytes(int64_t width, int64_t height);

#endif
