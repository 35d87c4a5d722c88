/* The operations fill and extend: what an image that is painted over begins from. Their rows are in ops.c. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_PAINT_OPS_H
#define HEP_INSTRUCTORS_POSTPROCESSING_PAINT_OPS_H

#include "common/operation.h"

struct fill_request {
    struct hep_tensor_ref image, mask, filled;
    struct hep_str content;
};
struct fill_reply {
    int32_t width, height;
    struct hep_str content;
};
struct extend_request {
    struct hep_tensor_ref image, mask, extended, extended_mask;
    int32_t left, right, top, bottom, overlap;
    double blur;
};
struct extend_reply {
    int32_t x, y, width, height;
};
enum { FILL_FIELDS = 4, FILL_REPLY_FIELDS = 3, EXTEND_FIELDS = 10, EXTEND_REPLY_FIELDS = 4 };
extern const struct hep_field fill_fields[FILL_FIELDS], fill_reply_fields[FILL_REPLY_FIELDS];
extern const struct hep_field extend_fields[EXTEND_FIELDS], extend_reply_fields[EXTEND_REPLY_FIELDS];
hep_measure measure_fill, measure_extend;
hep_handler fill_masked, extend;

#endif
