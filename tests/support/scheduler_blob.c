/* See scheduler_blob.h. */
#include "tests/support/scheduler_blob.h"

#include "nn/scheduler/plan.h"
#include "tests/support/check_status.h"

void *scheduler_blob(const char *name, const json_t *config, int32_t num_inference_steps, size_t *bytes)
{
    return scheduler_blob_of(name, config, num_inference_steps, 1, bytes);
}

void *scheduler_blob_of(const char *name, const json_t *config, int32_t num_inference_steps, double strength,
                        size_t *bytes)
{
    struct scheduler_options options = SCHEDULER_OPTIONS_DEFAULT;
    options.num_inference_steps = num_inference_steps;
    options.strength = strength;
    ck_assert_ok(scheduler_plan_make(name, config, &options, NULL, 0, bytes, error));
    void *blob = malloc(*bytes);
    ck_assert_ok(scheduler_plan_make(name, config, &options, blob, *bytes, bytes, error));
    return blob;
}
