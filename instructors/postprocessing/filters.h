/*
 * What enhancement does to an image, one function each, on numbers. Every formula is here; docs/postprocessing.md tells
 * people what each is good for. All are functions of the image and their arguments alone: the number of threads changes
 * no byte, and no function of the C library is asked whose last bit may differ between machines.
 */
#ifndef HEP_POSTPROCESSING_FILTERS_H
#define HEP_POSTPROCESSING_FILTERS_H

#include "instructors/postprocessing/levels.h"

#include <stdint.h>

/* [height, width, 3] f32, dense: red, green, blue in levels, 0 … 255 (sRGB as stored). A result may leave that range;
   filters_to_levels brings it back. */
struct filter_image {
    int64_t height, width;
    float *values;
};

/* Bilateral (Tomasi and Manduchi 1998): to = Σ w·x / Σ w over the 7 × 7 places around each, as far as the image goes,
   w = exp(-(dx² + dy²) / (2 · 1.5²)) · (1 - d²/h²)² for d < h, else 0; d: the distance of the two colours (Euclid, in
   levels), h = 100 · strength, at least a half. So edges higher than h stay as they are. strength in (0, 1]; from and
   to are apart. */
void filter_denoise(const struct filter_image *from, const struct filter_image *to, double strength);

/* Mean and standard deviation of each of Y, Cb, Cr (ITU-T T.871, without its offsets). */
struct filter_colors {
    double mean[3], deviation[3];
};
void filter_measure(const struct filter_image *image, struct filter_colors *colors);
/* Each of Y, Cb, Cr gets the reference's mean and deviation (Reinhard et al. 2001, there in lαβ):
   x + strength · ((x - mean) · deviation' / deviation + mean' - x); a channel without any deviation gets the mean
   alone. In place; strength in (0, 1]. */
void filter_color_match(const struct filter_image *image, const struct filter_colors *reference, double strength);
/* mean + (1 + strength) · (x - mean), mean: of Y over the image. In place; strength above -1 … */
void filter_contrast(const struct filter_image *image, double strength);
/* Unsharp mask: x + strength · (x - blurred), blurred by a Gaussian of standard deviation `radius` pixels, cut off at
   three of them, the image mirrored at its border. In place; scratch: as large. */
void filter_sharpen(const struct filter_image *image, const struct filter_image *scratch, double strength,
                    double radius);

/* From and to an image of either dtype (levels.h). */
void filters_from_levels(const void *from, enum hep_dtype dtype, const struct filter_image *to);
void filters_to_levels(const struct filter_image *from, enum hep_dtype dtype, void *to);

#endif
