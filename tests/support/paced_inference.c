/*
 * A stand-in for heptad-inference that computes nothing and reports at a pace: every HEP_PACED_MS milliseconds (20) one
 * step of all jobs in hand, as one run of the network for a batch of them would. For tests/e2e/supervisor_cost.py,
 * which measures what the supervisor takes at so many steps a second and leaves out of a workflow what generate has no
 * field for here; the images are grey.
 */
#include "common/clock.h"
#include "common/scheduler_plan.h"
#include "instructors/skeleton/instructor.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOBS_MAX = 64 };

struct job {
    struct hep_call *call;
    int32_t step, steps;
};
struct state { /* worker thread only */
    struct job jobs[JOBS_MAX];
    int count;
    int64_t next_us, pace_us;
};

struct generate_request {
    struct hep_tensor_ref plan, state, latents;
    int32_t width, height, count;
};
struct generate_reply {
    int32_t rows;
};
static const struct hep_field generate_fields[] = {
    HEP_FIELD(REF, generate_request, plan, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1, .help = "steps"),
    HEP_FIELD(I32, generate_request, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, generate_request, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, generate_request, count, REQUIRED, .help = "images"),
    HEP_FIELD(REF, generate_request, state, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 1, .help = "out"),
    HEP_FIELD(REF, generate_request, latents, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 4,
              .help = "out: zeros"),
};
static const struct hep_field generate_reply_fields[] = {
    HEP_FIELD(I32, generate_reply, rows, REQUIRED, .help = "images")};

static enum hep_status measure_generate(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                                        struct hep_error *error)
{
    const struct generate_request *request = request_;
    (void)call, (void)error;
    hep_output_add(outputs, "state", HEP_U8, HEP_SHAPE(4096));
    hep_output_add(outputs, "latents", HEP_F32, HEP_SHAPE(request->count, 4, request->height / 8, request->width / 8));
    outputs->memory_bytes = 1 << 20;
    outputs->flops = outputs->unit_flops = 1e8;
    return HEP_OK;
}

static enum hep_status generate(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct generate_request *request = request_;
    struct state *state = hep_instructor_state(hep_call_instructor(call));
    struct hep_tensor plan = hep_call_map(call, &request->plan);
    struct hep_scheduler_plan opened;
    HEP_TRY(hep_scheduler_plan_open(plan.data, (size_t)plan.shape.dims[0], &opened, error));
    if (state->count == JOBS_MAX)
        return hep_fail(error, HEP_E_BUSY, "%d jobs are in hand", JOBS_MAX);
    ((struct generate_reply *)reply)->rows = request->count;
    state->jobs[state->count++] = (struct job){call, 0, opened.info.evaluations * request->count};
    return hep_call_defer(call);
}

static bool work(struct hep_instructor *self)
{
    struct state *state = hep_instructor_state(self);
    int64_t now = hep_now_us(), wait = state->next_us - now;
    if (state->count > 0 && wait > 0)
        usleep((useconds_t)wait);
    state->next_us = (wait > 0 ? state->next_us : now) + state->pace_us;
    for (int i = state->count - 1; i >= 0; i--) {
        struct job *job = &state->jobs[i];
        struct hep_error error = {0};
        bool ends = hep_call_check(job->call, &error) != HEP_OK;
        if (!ends)
            hep_call_progress(job->call, ++job->step, job->steps, "denoise");
        if (!ends && job->step < job->steps)
            continue;
        struct hep_call *call = job->call;
        *job = state->jobs[--state->count];
        hep_call_finish(call, error.code, &error);
    }
    return state->count > 0;
}

static enum hep_status start(struct hep_instructor *self, void **result, struct hep_error *error)
{
    const char *pace = getenv("HEP_PACED_MS");
    struct state *state = calloc(1, sizeof *state);
    (void)self;
    if (!state)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory");
    state->pace_us = (pace ? atoi(pace) : 20) * 1000;
    *result = state;
    return HEP_OK;
}

static const struct hep_operation operations[] = {
    HEP_OPERATION("generate", generate, generate_request, generate_fields, generate_reply, generate_reply_fields,
                  .measure = measure_generate, .permission = HEP_INTERNAL, .deadline_ms = 300000, .heavy = true,
                  .help = "steps at a pace"),
    {0},
};
static const struct hep_instructor_spec spec = {
    .role = HEP_ROLE_INFERENCE, .operations = operations, .start = start, .work = work};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
