/* How near a whole run must come to diffusers' (the README of the reference data says why). */
#ifndef HEP_TESTS_GOLDEN_IMAGE_H
#define HEP_TESTS_GOLDEN_IMAGE_H

#include "common/tensor.h"

/* Final latents: rel_rms 1e-4 in f32, 2e-1 in bf16. Fails the test past it. label: of the case. */
void golden_latents_check(const char *label, enum hep_dtype dtype, const float *is, const float *should, size_t count);
/* An image, is: [places, 3] of the product, should: [3, places] of torch. f32: every value within 1 level. bf16: single
   values may be far off, so the mean of each channel is compared, and the mean of the differences. */
void golden_image_check(const char *label, enum hep_dtype dtype, const unsigned char *is, const unsigned char *should,
                        size_t places);

#endif
