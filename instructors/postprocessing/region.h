/* The part of an image that is worked on when only what a mask covers is made anew, as A1111 chooses it. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_REGION_H
#define HEP_INSTRUCTORS_POSTPROCESSING_REGION_H

#include "common/status.h"

/* Inside an image; pixels. */
struct region {
    int64_t x, y, width, height;
};

/* The smallest box round all of mask ([height, width] u8) that is not 0, padding pixels wider each way, then grown to
   the shape of out_width : out_height as far as the image has room. OUT_OF_RANGE: nothing is covered. Source:
   get_crop_region() and expand_crop_region() of stable-diffusion-webui 1.10 (modules/masking.py). */
enum hep_status region_find(const uint8_t *mask, int64_t width, int64_t height, int64_t padding, int64_t out_width,
                            int64_t out_height, struct region *region, struct hep_error *error);
/* from: [height, width, channels] of an image so wide → to: [region height, region width, channels], u8, dense. */
void region_cut(const uint8_t *from, int64_t width, int64_t channels, const struct region *region, uint8_t *to);

#endif
