/* What the operation `safety_check` asks and answers; its row is in ops.c. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_SAFETY_OPS_H
#define HEP_INSTRUCTORS_POSTPROCESSING_SAFETY_OPS_H

#include "instructors/postprocessing/safety.h"

struct safety_request {
    struct hep_tensor_ref safety_checker, feature_extractor, image;
    struct hep_str policy;
};
struct safety_reply {
    int32_t flagged;
    json_t *safety;
};
enum { SAFETY_FIELDS = 4, SAFETY_REPLY_FIELDS = 2 };
extern const struct hep_field safety_fields[SAFETY_FIELDS], safety_reply_fields[SAFETY_REPLY_FIELDS];
/* For images of this shape; the request's image does not count. */
enum hep_status safety_measure(struct networks *networks, struct hep_call *call, const struct safety_request *request,
                               const struct hep_shape *image, struct hep_output_plan *outputs, struct hep_error *error);
/* Of these images; the request's do not count. UNSAFE: the policy is refuse, and an image is flagged. */
enum hep_status safety_check(struct networks *networks, struct hep_call *call, const struct safety_request *request,
                             const struct hep_tensor *image, struct safety_reply *reply, struct hep_error *error);

#endif
