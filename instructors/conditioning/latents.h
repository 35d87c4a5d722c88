/* Latents of another size. */
#ifndef HEP_INSTRUCTORS_CONDITIONING_LATENTS_H
#define HEP_INSTRUCTORS_CONDITIONING_LATENTS_H

#include <stdint.h>

enum latents_filter { LATENTS_BILINEAR, LATENTS_NEAREST, LATENTS_FILTER_COUNT };
extern const char *const latents_filter_names[]; /* by filter, ending with NULL */

/* from: [planes, height, width] → to: [planes, out_height, out_width], f32, as torch's interpolate does it: corners not
   aligned, no antialiasing. */
void latents_resize(enum latents_filter filter, const float *from, int64_t planes, int64_t height, int64_t width,
                    float *to, int64_t out_height, int64_t out_width);

#endif
