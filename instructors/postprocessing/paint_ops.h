/* The operation fill: what an image that is painted over begins from. Its row is in ops.c. */
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
enum { FILL_FIELDS = 4, FILL_REPLY_FIELDS = 3 };
extern const struct hep_field fill_fields[FILL_FIELDS], fill_reply_fields[FILL_REPLY_FIELDS];
hep_measure measure_fill;
hep_handler fill_masked;

#endif
