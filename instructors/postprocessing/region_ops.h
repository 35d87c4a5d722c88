/* open_region and paste_region: the part of an image that a mask covers, out of it and back. Rows of ops.c. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_REGION_OPS_H
#define HEP_INSTRUCTORS_POSTPROCESSING_REGION_OPS_H

#include "common/operation.h"

struct open_region_request {
    struct hep_str input, mask_input, mask_from;
    int32_t width, height, padding;
    bool invert;
    double blur;
    struct hep_tensor_ref image, mask, original, original_mask;
};
struct open_region_reply {
    int32_t x, y, region_width, region_height, width, height;
};
struct paste_region_request {
    struct hep_tensor_ref images, original, mask, pasted;
    int32_t x, y, region_width, region_height;
};
struct paste_region_reply {
    int32_t width, height, count;
};
enum { OPEN_REGION_FIELDS = 12, OPEN_REGION_REPLY_FIELDS = 6, PASTE_REGION_FIELDS = 8, PASTE_REGION_REPLY_FIELDS = 3 };
extern const struct hep_field open_region_fields[OPEN_REGION_FIELDS],
    open_region_reply_fields[OPEN_REGION_REPLY_FIELDS];
extern const struct hep_field paste_region_fields[PASTE_REGION_FIELDS],
    paste_region_reply_fields[PASTE_REGION_REPLY_FIELDS];
hep_measure measure_open_region, measure_paste_region;
hep_handler open_region, paste_region;

#endif
