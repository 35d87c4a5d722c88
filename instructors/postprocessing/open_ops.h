/* What the operation `open` asks and answers; its row is in ops.c. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_OPEN_OPS_H
#define HEP_INSTRUCTORS_POSTPROCESSING_OPEN_OPS_H

#include "common/operation.h"

struct open_request {
    struct hep_str input, as, resize, format;
    int32_t width, height;
    bool invert;
    double blur;
    struct hep_tensor_ref image;
};
struct open_reply {
    int32_t width, height, source_width, source_height, bits;
    struct hep_str format;
};
enum { OPEN_FIELDS = 9, OPEN_REPLY_FIELDS = 6 };
extern const struct hep_field open_fields[OPEN_FIELDS], open_reply_fields[OPEN_REPLY_FIELDS];
enum hep_status open_measure(struct hep_call *call, const void *request, struct hep_output_plan *outputs,
                             struct hep_error *error);
enum hep_status open_input(struct hep_call *call, const void *request, void *reply, struct hep_error *error);

#endif
