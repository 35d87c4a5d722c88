/*
 * ControlNets in an evaluation: run one after another before the UNet, their results scaled and summed in f32. Called
 * by group.c, and by job.c for what that costs.
 */
#include "instructors/inference/controlnet.h"

#include "instructors/inference/group.h"

#include <stdio.h>
#include <string.h>

enum { KEY_MAX = 96 };

/* ---- cost -------------------------------------------------------------------------------------------------------- */

struct build_context {
    const struct hep_controlnet_config *config;
    struct hep_controlnet_build build;
};

static void build(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_controlnet_build(graph, shape->config, &shape->build);
}

static struct build_context context_of(const struct hep_controlnet_config *config, const struct row_shape *shape,
                                       int64_t samples, char key[KEY_MAX])
{
    snprintf(key, KEY_MAX, "n%" PRId64 "h%" PRId64 "w%" PRId64 "t%" PRId64, samples, shape->height, shape->width,
             shape->tokens);
    return (struct build_context){
        config, {.batch = samples, .height = shape->height, .width = shape->width, .tokens = shape->tokens}};
}

enum hep_status controls_cost(const struct control_networks *networks, const struct row_shape *shape, int64_t rows,
                              int64_t samples, struct hep_network_cost *cost, struct hep_error *error)
{
    for (int i = 0; i < networks->count; i++) {
        const struct control_network *item = &networks->items[i];
        char key[KEY_MAX];
        struct hep_network_cost one;
        struct build_context context = context_of(item->config, shape, item->half ? rows : samples, key);
        HEP_TRY(hep_network_cost(item->network, key, build, &context, &one, error));
        cost->peak_bytes += one.peak_bytes;
        cost->flops += one.flops;
    }
    return HEP_OK;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static size_t hint_floats(const struct hep_controlnet_config *config, const struct row_shape *shape)
{
    int64_t factor = hep_controlnet_scale_factor(config);
    return (size_t)(config->conditioning_channels * shape->height * factor * shape->width * factor);
}

static size_t floats_of(const struct hep_unet_residual *residual)
{
    return (size_t)(residual->channels * residual->height * residual->width);
}

static size_t residual_floats(const struct hep_unet_residuals *list)
{
    size_t floats = 0;
    for (int i = 0; i < list->count; i++)
        floats += floats_of(&list->items[i]);
    return floats;
}

void controls_place(const struct control_networks *networks, const struct row_shape *shape, size_t rows, size_t samples,
                    size_t *at, struct control_layout *layout)
{
    struct hep_unet_residuals list;
    size_t most = 0, hint = 0;
    memset(layout, 0, sizeof *layout);
    for (int i = 0; i < networks->count; i++) {
        size_t of_one = networks->items[i].half ? rows : samples;
        size_t floats = of_one * hint_floats(networks->items[i].config, shape);
        most = of_one > most ? of_one : most;
        hint = floats > hint ? floats : hint;
    }
    if (networks->count == 0)
        return;
    hep_unet_residuals(&networks->items[0].config->unet, shape->height, shape->width, &list);
    layout->residuals = group_place(at, samples * residual_floats(&list));
    layout->outputs = group_place(at, most * residual_floats(&list));
    layout->sample = group_place(at, most * (size_t)(shape->channels * shape->height * shape->width));
    layout->timestep = group_place(at, most);
    layout->context = group_place(at, most * (size_t)(shape->tokens * shape->context_dim));
    layout->pooled = group_place(at, most * (size_t)shape->pooled_dim);
    layout->time_ids = group_place(at, most * (size_t)shape->time_ids);
    layout->hint = group_place(at, hint);
}

/* One run of a ControlNet: of which rows its samples are, and where the UNet has the same ones. */
struct control_run {
    struct group *group;
    float *space;
    const struct group_layout *layout;
    const struct control_network *network;
    struct hep_unet_residuals list;
    const struct control *controls[ROWS_TOGETHER_MAX]; /* of each row  */
    size_t samples;                                    /* of the UNet  */
    size_t count;                                      /* of this one  */
    struct control_sample {
        int row;
        size_t sample; /* of the UNet's */
    } items[2 * ROWS_TOGETHER_MAX];
};

static void choose_samples(struct control_run *run)
{
    size_t sample = 0;
    for (int row = 0; row < run->group->count; row++)
        for (int half = row_is_guided(run->group->rows[row]) ? 0 : 1; half < 2; half++, sample++)
            if (half == 1 || !run->network->half)
                run->items[run->count++] = (struct control_sample){row, sample};
}

static void copy_sample(float *space, size_t to, size_t at, size_t from, size_t sample, size_t floats)
{
    memcpy(space + to + at * floats, space + from + sample * floats, floats * sizeof *space);
}

static void put_inputs(const struct control_run *run, const float *const *states)
{
    const struct row_shape *shape = &run->group->shape;
    const struct group_layout *from = run->layout;
    const struct control_layout *to = &from->control;
    size_t context = (size_t)(shape->tokens * shape->context_dim), hint = hint_floats(run->network->config, shape);
    float *space = run->space;
    for (size_t i = 0; i < run->count; i++) {
        const struct row *row = run->group->rows[run->items[i].row];
        size_t sample = run->items[i].sample;
        row_input(row, states[run->items[i].row], space + to->sample + i * (size_t)row_elements(row));
        copy_sample(space, to->timestep, i, from->timestep, sample, 1);
        copy_sample(space, to->context, i, from->context, sample, context);
        copy_sample(space, to->pooled, i, from->pooled, sample, (size_t)shape->pooled_dim);
        copy_sample(space, to->time_ids, i, from->time_ids, sample, (size_t)shape->time_ids);
        memcpy(space + to->hint + i * hint, run->controls[run->items[i].row]->hint, hint * sizeof *space);
    }
}

static enum hep_status run_network(const struct control_run *run, struct hep_error *error)
{
    const struct row_shape *shape = &run->group->shape;
    const struct control_layout *at = &run->layout->control;
    const struct hep_controlnet_config *config = run->network->config;
    int64_t n = (int64_t)run->count, factor = hep_controlnet_scale_factor(config);
    float *space = run->space, *out = space + at->outputs;
    struct hep_argument outputs[HEP_UNET_RESIDUALS_MAX];
    struct hep_argument inputs[] = {
        {"sample", {space + at->sample, HEP_F32, HEP_SHAPE(n, shape->channels, shape->height, shape->width)}},
        {"timestep", {space + at->timestep, HEP_F32, HEP_SHAPE(n)}},
        {"encoder_hidden_states", {space + at->context, HEP_F32, HEP_SHAPE(n, shape->tokens, shape->context_dim)}},
        {"controlnet_cond",
         {space + at->hint, HEP_F32,
          HEP_SHAPE(n, config->conditioning_channels, shape->height * factor, shape->width * factor)}},
        {"text_embeds", {space + at->pooled, HEP_F32, HEP_SHAPE(n, shape->pooled_dim)}},
        {"time_ids", {space + at->time_ids, HEP_F32, HEP_SHAPE(n, shape->time_ids)}},
    };
    char key[KEY_MAX];
    struct hep_plan *plan;
    struct build_context context = context_of(config, shape, n, key);
    for (int i = 0; i < run->list.count; i++) {
        const struct hep_unet_residual *r = &run->list.items[i];
        outputs[i] = (struct hep_argument){r->output, {out, HEP_F32, HEP_SHAPE(n, r->channels, r->height, r->width)}};
        out += run->count * floats_of(r);
    }
    HEP_TRY(hep_network_ready(run->network->network, key, build, &context, &plan, error));
    return group_run_plan(run->group, plan, inputs, hep_unet_text_embeds_width(&config->unet) > 0 ? 6 : 4, outputs,
                          (size_t)run->list.count, error);
}

/* Adds what came out, at each row's own scale, to the samples of the UNet that it is for. */
static void add_outputs(const struct control_run *run)
{
    const float *from = run->space + run->layout->control.outputs;
    float *to = run->space + run->layout->control.residuals;
    for (int i = 0; i < run->list.count; i++) {
        size_t floats = floats_of(&run->list.items[i]);
        for (size_t s = 0; s < run->count; s++) {
            const struct controlnet_request *request = run->controls[run->items[s].row]->request;
            double factor = request->guess ? hep_controlnet_guess_factor(i, run->list.count) : 1;
            float scale = (float)(request->scale * factor), *sum = to + run->items[s].sample * floats;
            for (size_t f = 0; f < floats; f++)
                sum[f] += scale * from[s * floats + f];
        }
        from += run->count * floats;
        to += run->samples * floats;
    }
}

enum hep_status controls_run(struct group *group, float *space, const struct group_layout *layout,
                             const float *const *states, size_t samples, struct hep_error *error)
{
    struct control_run run = {.group = group, .space = space, .layout = layout, .samples = samples};
    hep_unet_residuals(group->config, group->shape.height, group->shape.width, &run.list);
    memset(space + layout->control.residuals, 0, samples * residual_floats(&run.list) * sizeof *space);
    for (int k = 0; k < group->controls.count; k++) {
        run.network = &group->controls.items[k];
        run.count = 0;
        for (int row = 0; row < group->count; row++) {
            const struct control *active[CONTROLS_MAX];
            hep_assert(controls_active(group->rows[row], active) == group->controls.count);
            run.controls[row] = active[k];
        }
        choose_samples(&run);
        put_inputs(&run, states);
        HEP_TRY(run_network(&run, error));
        add_outputs(&run);
    }
    return HEP_OK;
}

size_t controls_inputs(const struct group *group, float *space, const struct control_layout *layout, size_t samples,
                       struct hep_unet_residuals *list, struct hep_argument *inputs)
{
    float *at = space + layout->residuals;
    if (group->controls.count == 0)
        return 0;
    hep_unet_residuals(group->config, group->shape.height, group->shape.width, list);
    for (int i = 0; i < list->count; i++) {
        const struct hep_unet_residual *r = &list->items[i];
        inputs[i] = (struct hep_argument){r->input,
                                          {at, HEP_F32, HEP_SHAPE((int64_t)samples, r->channels, r->height, r->width)}};
        at += samples * floats_of(r);
    }
    return (size_t)list->count;
}
