/* The operation `safety_check`: images to verdicts. Its row is in ops.c. */
#include "instructors/postprocessing/safety_ops.h"

#include "common/limits.h"
#include "instructors/postprocessing/levels.h"
#include "instructors/skeleton/instructor.h"

#include <stdlib.h>

const struct hep_field safety_fields[SAFETY_FIELDS] = {
    HEP_FIELD(REF, safety_request, safety_checker, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load_safety_checker"),
    HEP_FIELD(REF, safety_request, feature_extractor, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "configuration from model.load_safety_checker"),
    HEP_FIELD(REF, safety_request, image, REQUIRED, .access = HEP_READ, .rank = 4, .help = "[count, height, width, 3]"),
    HEP_FIELD(STR, safety_request, policy, DEFAULTED, .fallback_text = "flag", .choices = hep_safety_policy_names,
              .help = "what is done with a flagged image; refuse: the request fails with UNSAFE; off: nothing is "
                      "looked at"),
};
const struct hep_field safety_reply_fields[SAFETY_REPLY_FIELDS] = {
    HEP_FIELD(I32, safety_reply, flagged, REQUIRED, .help = "images that are flagged"),
    HEP_FIELD(JSON, safety_reply, safety, OPTIONAL,
              .help = "for encode: policy, and of each image whether it is flagged and its scores; absent if off"),
};

static enum hep_status open_checker(struct networks *networks, struct hep_call *call,
                                    const struct safety_request *request, const struct hep_shape *image,
                                    struct checker *checker, struct hep_error *error)
{
    const int64_t *dims = image->dims;
    if (dims[0] < 1 || dims[0] > HEP_IMAGES_MAX || dims[1] < 1 || dims[1] > HEP_IMAGE_FILE_SIDE_MAX || dims[2] < 1 ||
        dims[2] > HEP_IMAGE_FILE_SIDE_MAX || dims[3] != 3)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image",
                              "image must be [1 … %d, height, width, 3], sides to %d", HEP_IMAGES_MAX,
                              HEP_IMAGE_FILE_SIDE_MAX);
    HEP_TRY(networks_check_ref(&request->feature_extractor, error));
    struct hep_tensor files = hep_call_map(call, &request->feature_extractor);
    return checker_open(networks, hep_call_instructor(call), &request->safety_checker, &files, checker, error);
}

static enum hep_safety_policy policy_of(const struct safety_request *request)
{
    enum hep_safety_policy policy = HEP_SAFETY_OFF;
    hep_assert(hep_safety_policy_from_name(request->policy.data, &policy)); /* one of the field's choices */
    return policy;
}

enum hep_status safety_measure(struct networks *networks, struct hep_call *call, const struct safety_request *request,
                               const struct hep_shape *image, struct hep_output_plan *outputs, struct hep_error *error)
{
    struct checker checker;
    HEP_TRY(open_checker(networks, call, request, image, &checker, error));
    HEP_TRY(checker_cost(&checker, &outputs->unit_flops, &outputs->memory_bytes, error));
    outputs->flops = outputs->unit_flops * (double)image->dims[0];
    return HEP_OK;
}

/* Image number index; the checker looks at bytes. */
static enum hep_status judge(const struct checker *checker, const struct network_step *step,
                             const struct hep_tensor *images, int64_t index, struct hep_safety_verdict *verdict,
                             struct hep_error *error)
{
    uint8_t *made;
    const uint8_t *bytes;
    HEP_TRY(levels_bytes(images, index, &made, &bytes, error));
    enum hep_status status =
        checker_judge(checker, step, bytes, images->shape.dims[1], images->shape.dims[2], verdict, error);
    free(made);
    return status;
}

enum hep_status safety_check(struct networks *networks, struct hep_call *call, const struct safety_request *request,
                             const struct hep_tensor *image, struct safety_reply *reply, struct hep_error *error)
{
    struct hep_safety_verdict verdicts[HEP_IMAGES_MAX];
    enum hep_safety_policy policy = policy_of(request), decided;
    struct checker checker;
    if (policy == HEP_SAFETY_OFF)
        return HEP_OK;
    HEP_TRY(open_checker(networks, call, request, &image->shape, &checker, error));
    HEP_TRY(levels_check("image", image->dtype, error));
    int64_t count = image->shape.dims[0];
    for (int64_t i = 0; i < count; i++) {
        struct network_step step = {call, (int32_t)i, (int32_t)count, "safety_check"};
        HEP_TRY(hep_call_check(call, error));
        HEP_TRY(judge(&checker, &step, image, i, &verdicts[i], error));
        reply->flagged += verdicts[i].flagged;
        hep_call_progress(call, (int32_t)i + 1, (int32_t)count, "safety_check");
    }
    json_t *safety = safety_json(policy, verdicts, count);
    enum hep_status status = safety_decide(safety, HEP_SAFETY_OFF, count, &decided, error);
    if (status == HEP_OK)
        reply->safety = safety;
    else
        json_decref(safety);
    return status;
}
