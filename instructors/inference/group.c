/*
 * One evaluation of a group: gather inputs, one call of the UNet, guidance, each row's own scheduler matrix, commit.
 * The order of rows in the call changes nothing in their bytes. Called by batch.c, by several threads at once: a group
 * touches its lane, its jobs and the atomics of the view, and nothing else.
 */
#include "instructors/inference/group.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLOW_BIND_US = 20000 /* a new shape's kernels take time: worth a line */ };

enum hep_status group_begin(struct lane *lane, struct hep_instructor *self, const struct hep_tensor_ref *unet,
                            const struct row *row, struct group *group, struct hep_error *error)
{
    memset(group, 0, sizeof *group);
    group->lane = lane;
    group->shape = row->shape;
    HEP_TRY(batch_unet(&lane->networks, self, unet, &group->network, &group->config, error));
    return controls_ready(&lane->networks, self, row, &group->controls, error);
}

/* ---- running
 * ---------------------------------------------------------------------------------------------------------- */
size_t group_place(size_t *at, size_t floats)
{
    size_t offset = *at;
    *at += (floats + 15) / 16 * 16;
    return offset;
}

static struct group_layout layout_of(const struct row_shape *shape, const struct control_networks *controls,
                                     size_t rows, size_t samples)
{
    size_t places = (size_t)(shape->height * shape->width), elements = (size_t)shape->channels * places, at = 0;
    struct group_layout layout;
    layout.sample = group_place(&at, samples * (elements + (size_t)shape->extra_channels * places));
    layout.timestep = group_place(&at, samples);
    layout.context = group_place(&at, samples * (size_t)(shape->tokens * shape->context_dim));
    layout.pooled = group_place(&at, samples * (size_t)shape->pooled_dim);
    layout.time_ids = group_place(&at, samples * (size_t)shape->time_ids);
    layout.out = group_place(&at, samples * elements);
    layout.noise = group_place(&at, 2 * elements);
    layout.scratch = group_place(&at, rows * HEP_PLAN_VECTORS_MAX * elements);
    controls_place(controls, shape, rows, samples, &at, &layout.control);
    layout.total = at;
    return layout;
}

size_t group_workspace_bytes(const struct row_shape *shape, const struct control_networks *controls, int rows,
                             int samples)
{
    return layout_of(shape, controls, (size_t)rows, (size_t)samples).total * sizeof(float);
}

static enum hep_status grow_workspace(struct lane *lane, size_t floats, struct hep_error *error)
{
    if (floats <= lane->workspace_floats)
        return HEP_OK;
    free(lane->workspace);
    lane->workspace_floats = 0;
    lane->workspace = aligned_alloc(HEP_ALIGN, floats * sizeof(float));
    if (!lane->workspace)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu values of network input", floats);
    lane->workspace_floats = floats;
    return HEP_OK;
}

/* One sample of the network: the row's input with one of its two conditionings. */
static void put_sample(float *space, const struct group_layout *layout, const struct row *row, const float *state,
                       size_t sample, bool positive)
{
    const struct row_shape *shape = &row->shape;
    size_t context = (size_t)(shape->tokens * shape->context_dim), pooled = (size_t)shape->pooled_dim;
    size_t elements = (size_t)row_elements(row), input = elements + (size_t)row_extra_elements(row);
    row_input(row, state, space + layout->sample + sample * input);
    row_input_extra(row, space + layout->sample + sample * input + elements);
    space[layout->timestep + sample] = row->plan->timesteps[row->evaluation];
    row_told(row, positive, space + layout->context + sample * context, space + layout->pooled + sample * pooled,
             space + layout->time_ids + sample * (size_t)shape->time_ids);
}

void group_report(const struct group *group)
{
    if (group->count > 0)
        HEP_CRASH_POINT("inference.step.before_report");
    for (int i = 0; i < group->count; i++) {
        const struct job *job = group->jobs[i];
        int32_t done = 0;
        if (i > 0 && group->jobs[i - 1] == job)
            continue;
        for (int r = 0; r < job->row_count; r++)
            done += row_done(&job->rows[r]);
        hep_call_progress(job->call, done, job->row_count * (job->rows[0].end - job->rows[0].first), "denoise");
    }
}

static void report_again(void *context)
{
    group_report(context);
}

enum hep_status group_run_plan(struct group *group, struct hep_plan *plan, const struct hep_argument *inputs,
                               size_t input_count, const struct hep_argument *outputs, size_t output_count,
                               struct hep_error *error)
{
    struct hep_call *calls[ROWS_TOGETHER_MAX];
    for (int i = 0; i < group->count; i++)
        calls[i] = group->jobs[i]->call;
    struct network_watch watch = {.calls = calls, .count = group->count, .report = report_again, .context = group};
    struct hep_plan_watch plan_watch = network_watch_begin(&watch);
    return hep_plan_run_watched(plan, inputs, input_count, outputs, output_count, &plan_watch, error);
}

static enum hep_status run_unet(struct group *group, float *space, const struct group_layout *layout, size_t samples,
                                struct hep_plan *plan, struct hep_error *error)
{
    const struct row_shape *shape = &group->shape;
    int64_t n = (int64_t)samples;
    struct hep_shape latents = HEP_SHAPE(n, shape->channels, shape->height, shape->width), sample = latents;
    sample.dims[1] += shape->extra_channels;
    struct hep_argument inputs[5 + HEP_UNET_RESIDUALS_MAX] = {
        {"sample", {space + layout->sample, HEP_F32, sample}},
        {"timestep", {space + layout->timestep, HEP_F32, HEP_SHAPE(n)}},
        {"encoder_hidden_states", {space + layout->context, HEP_F32, HEP_SHAPE(n, shape->tokens, shape->context_dim)}},
        {"text_embeds", {space + layout->pooled, HEP_F32, HEP_SHAPE(n, shape->pooled_dim)}},
        {"time_ids", {space + layout->time_ids, HEP_F32, HEP_SHAPE(n, shape->time_ids)}},
    };
    struct hep_argument output = {"out", {space + layout->out, HEP_F32, latents}};
    size_t used = hep_unet_text_embeds_width(group->config) > 0 ? 5 : 3;
    struct hep_unet_residuals list;
    used += controls_inputs(group, space, &layout->control, samples, &list, inputs + used);
    return group_run_plan(group, plan, inputs, used, &output, 1, error);
}

/* ---- rows that cannot go on
 * ------------------------------------------------------------------------------------------ */
enum hep_status group_state_lost(struct job *job)
{
    return hep_fail(&job->failure, HEP_E_STALE, "the saved steps were overwritten by somebody else");
}

/* Finds the state of every row; leaves out those that have none. */
static void find_states(struct group *group, float *scratch, const float **states)
{
    int kept = 0;
    for (int i = 0; i < group->count; i++) {
        struct row *row = group->rows[i];
        struct job *job = group->jobs[i];
        if (job->failure.code != HEP_OK)
            continue;
        states[kept] =
            row_state_vectors(row, scratch + (size_t)kept * HEP_PLAN_VECTORS_MAX * (size_t)row_elements(row));
        if (!states[kept]) {
            group_state_lost(job);
            continue;
        }
        group->rows[kept] = row;
        group->jobs[kept++] = job;
    }
    group->count = kept;
}

static bool all_finite(const float *values, size_t count)
{
    bool finite = true;
    for (size_t i = 0; i < count; i++)
        finite &= isfinite(values[i]) != 0;
    return finite;
}

static void commit_row(struct row *row, struct job *job, const float *state, float *model, float *noise)
{
    size_t elements = (size_t)row_elements(row);
    if (row_is_guided(row))
        row_guide(row, model, model + elements);
    if (!all_finite(model, elements)) {
        hep_fail(&job->failure, HEP_E_OUT_OF_RANGE,
                 "image %u: the UNet gave a value that is not finite in evaluation %d of %d", row->index,
                 row->evaluation + 1, row->plan->info.evaluations);
        hep_hint(&job->failure, "try dtype f32, a lower guidance_scale, or check the model's files");
        return;
    }
    int32_t evaluation = row->evaluation;
    row_step(row, state, model, noise);
    job->evaluated++;
    preview_show(&job->previews, job->call, row, job->row_count, evaluation, state, model);
}

/* Its outputs lie in the order of the samples: for a guided row the negative's, then the positive's. */
static void commit_rows(struct batch *batch, struct group *group, float *space, const struct group_layout *layout,
                        const float *const *states)
{
    size_t sample = 0;
    for (int i = 0; i < group->count; i++) {
        struct row *row = group->rows[i];
        /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): find_states() has one for each row that it left */
        commit_row(row, group->jobs[i], states[i], space + layout->out + sample * (size_t)row_elements(row),
                   space + layout->noise);
        sample += row_is_guided(row) ? 2 : 1;
    }
    atomic_fetch_add(&batch->view.evaluations, (uint64_t)group->count);
    atomic_fetch_add(&batch->view.groups[group->count], 1);
}

static size_t samples_of(const struct group *group)
{
    size_t samples = 0;
    for (int i = 0; i < group->count; i++)
        samples += row_is_guided(group->rows[i]) ? 2 : 1;
    return samples;
}

static size_t put_samples(struct group *group, float *space, const struct group_layout *layout,
                          const float *const *states, int64_t now)
{
    size_t samples = 0;
    for (int i = 0; i < group->count; i++) {
        if (group->jobs[i]->first_us == 0)
            group->jobs[i]->first_us = now;
        if (row_is_guided(group->rows[i]))
            put_sample(space, layout, group->rows[i], states[i], samples++, false);
        put_sample(space, layout, group->rows[i], states[i], samples++, true);
    }
    return samples;
}

static enum hep_status bind(struct group *group, size_t samples, struct hep_plan **plan, struct hep_error *error)
{
    int64_t asked = hep_now_us();
    HEP_TRY(batch_plan(group->network, group->config, &group->shape, (int64_t)samples, group->controls.count > 0, plan,
                       error));
    if (hep_now_us() - asked > SLOW_BIND_US)
        hep_log(HEP_INFO, "inference.bound", "samples=%zu height=%" PRId64 " width=%" PRId64 " ms=%" PRId64, samples,
                group->shape.height, group->shape.width, (hep_now_us() - asked) / 1000);
    return HEP_OK;
}

/* Of one evaluation: the UNet's plan, and the ControlNets, which have just run. */
static double flops_of(const struct group *group, const struct hep_plan *plan, size_t samples)
{
    struct hep_network_cost cost = {.flops = plan->flops};
    controls_cost(&group->controls, &group->shape, group->count, (int64_t)samples, &cost, NULL);
    return cost.flops;
}

enum hep_status group_run(struct batch *batch, struct group *group, struct hep_error *error)
{
    const float *states[ROWS_TOGETHER_MAX];
    struct hep_plan *plan;
    struct group_layout layout = layout_of(&group->shape, &group->controls, (size_t)group->count, samples_of(group));
    HEP_TRY(grow_workspace(group->lane, layout.total, error));
    float *space = group->lane->workspace;
    find_states(group, space + layout.scratch, states);
    if (group->count == 0)
        return HEP_OK;
    HEP_TRY(bind(group, samples_of(group), &plan, error));
    size_t samples = put_samples(group, space, &layout, states, hep_now_us());
    HEP_CRASH_POINT("inference.step.before_network");
    if (group->controls.count > 0)
        HEP_TRY(controls_run(group, space, &layout, states, samples, error));
    HEP_TRY(run_unet(group, space, &layout, samples, plan, error));
    HEP_CRASH_POINT("inference.step.after_network");
    commit_rows(batch, group, space, &layout, states);
    group->flops = flops_of(group, plan, samples);
    return HEP_OK;
}
