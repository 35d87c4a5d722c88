/*
 * Which evaluations of its plan a request does, and the state that it goes on from: so a base model begins and a
 * refiner ends, with one plan between them. Checked with the call, on the worker thread.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_RANGE_H
#define HEP_INSTRUCTORS_INFERENCE_RANGE_H

#include "instructors/inference/row.h"

/* The fields of generate that are about it. begin_state of undefined dtype: left out. */
struct range_request {
    struct hep_tensor_ref begin_state;
    int32_t first_evaluation, end_evaluation; /* from 0; end excluded, below 0 = all of the plan */
};
#define RANGE_FIELDS                                                                                                   \
    RANGE_FIELD(REF, begin_state, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,                            \
                .help = "the state of another call with the same plan, size and count, which this one goes on from"),  \
        RANGE_FIELD(I32, first_evaluation, OPTIONAL, .max = HEP_PLAN_EVALUATIONS_MAX,                                  \
                    .help = "of the plan, from 0: how many begin_state has behind it"),                                \
        RANGE_FIELD(I32, end_evaluation, DEFAULTED, .fallback = -1, .min = -1, .max = HEP_PLAN_EVALUATIONS_MAX,        \
                    .help = "evaluation before which it ends; -1 = after the last")
#define RANGE_FIELD(kind, member, how, ...)                                                                            \
    {                                                                                                                  \
        .name = #member, .type = HEP_FIELD_##kind, .presence = HEP_##how,                                              \
        .offset = offsetof(struct generate_request, range.member), __VA_ARGS__                                         \
    }

/* The same, mapped. */
struct range {
    int32_t first, end;
    const float *states[HEP_IMAGES_MAX]; /* of each image, as row_state_vectors gives them; NULL: it begins at 0 */
    uint32_t crc;                        /* of all of it: saved steps of another one are worth nothing       */
};

struct generate_request;
/* For rows of this shape. OUT_OF_RANGE: evaluations that the plan has not. MISSING_FIELD: a first one without a state.
   BAD_REFERENCE: a state of another size or count. STALE: a state that is not of first_evaluation. */
enum hep_status range_open(struct hep_call *call, const struct generate_request *request,
                           const struct hep_scheduler_plan *plan, const struct row_shape *shape, struct range *range,
                           struct hep_error *error);

#endif
