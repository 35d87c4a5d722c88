/* control_hint: an image to the hint of a ControlNet, as it is or by a preprocessor. A row of ops.c. */
#ifndef HEP_INSTRUCTORS_CONDITIONING_HINT_H
#define HEP_INSTRUCTORS_CONDITIONING_HINT_H

#include "instructors/skeleton/instructor.h"

struct hint_request {
    struct hep_tensor_ref image, hint;
    struct hep_str preprocessor;
    double low_threshold, high_threshold;
    bool l2_gradient;
};
struct hint_reply {
    int32_t width, height, edges;
};
enum { HINT_FIELDS = 6, HINT_REPLY_FIELDS = 3 };
extern const struct hep_field hint_fields[HINT_FIELDS], hint_reply_fields[HINT_REPLY_FIELDS];

hep_measure measure_control_hint;
hep_handler control_hint;
/* Name and help of each preprocessor. */
json_t *hint_preprocessors(void);

#endif
