/* Checks which evaluations a request does, and finds each row's state to go on from. Called by job.c. */
#include "instructors/inference/batch.h"

#include <stdio.h>

static enum hep_status check_evaluations(const struct range_request *request, const struct hep_scheduler_plan *plan,
                                         struct range *range, struct hep_error *error)
{
    int32_t all = plan->info.evaluations, first = request->first_evaluation,
            end = request->end_evaluation < 0 ? all : request->end_evaluation;
    if (end < 1 || end > all)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "end_evaluation",
                              "end_evaluation is %d, the plan has %d evaluations", end, all);
    if (first > end)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "first_evaluation",
                              "first_evaluation is %d, the last one is before %d", first, end);
    if (first > 0 && !hep_ref_is_placed(&request->begin_state))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "begin_state",
                              "evaluation %d is not the first: it goes on from a begin_state", first);
    if (first == 0 && hep_ref_is_placed(&request->begin_state))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "first_evaluation",
                              "begin_state comes with a first_evaluation");
    *range = (struct range){.first = first, .end = end};
    return HEP_OK;
}

/* The states lie in place: the call that wrote them is over. */
static enum hep_status find_states(struct hep_call *call, const struct generate_request *request,
                                   const struct row_shape *shape, struct range *range, struct hep_error *error)
{
    const struct hep_tensor_ref *ref = &request->range.begin_state;
    struct hep_tensor region = hep_call_map(call, ref);
    struct hep_slots slots;
    uint32_t floats = 0;
    hep_assert(row_state_floats(shape, &floats));
    enum hep_status status = hep_slots_attach(&region, (uint32_t)request->count, floats, hep_call_session(call),
                                              ref->generation, NULL, &slots, error);
    if (status != HEP_OK) {
        if (error)
            snprintf(error->field, sizeof error->field, "begin_state");
        return status;
    }
    for (int i = 0; i < request->count; i++) {
        uint32_t step = 0;
        enum hep_slot_result found = hep_slot_committed(&slots, (uint32_t)i, &step, &range->states[i]);
        if (found != HEP_SLOT_OK || step != (uint32_t)range->first)
            return hep_fail_field(error, HEP_E_STALE, "begin_state",
                                  "image %d: begin_state is of evaluation %" PRIu32 " (%s), not of %d", i, step,
                                  hep_slot_result_name(found), range->first);
        range->crc = hep_crc32c(range->crc, range->states[i], floats * sizeof(float));
    }
    return HEP_OK;
}

enum hep_status range_open(struct hep_call *call, const struct generate_request *request,
                           const struct hep_scheduler_plan *plan, const struct row_shape *shape, struct range *range,
                           struct hep_error *error)
{
    struct range opened = {0};
    HEP_TRY(check_evaluations(&request->range, plan, &opened, error));
    if (opened.first > 0)
        HEP_TRY(find_states(call, request, shape, &opened, error));
    int32_t ends[] = {opened.first, opened.end};
    opened.crc = hep_crc32c(opened.crc, ends, sizeof ends);
    *range = opened;
    return HEP_OK;
}
