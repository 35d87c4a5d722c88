/*
 * One row's arithmetic: initial noise, network input, the scheduler's matrix, the commit of a step. Pure functions of
 * the request and the committed slot. Called by the batch between two runs of the network; allocates nothing.
 */
#include "instructors/inference/row.h"

#include "common/crash_point.h"
#include "nn/cpu/kernels.h"

#include <math.h>
#include <string.h>

int64_t row_elements(const struct row *row)
{
    return row->shape.channels * row->shape.height * row->shape.width;
}

bool row_is_guided(const struct row *row)
{
    return row->guidance_scale > 1;
}

bool row_state_floats(const struct row_shape *shape, uint32_t *floats)
{
    int64_t area, elements, all;
    if (__builtin_mul_overflow(shape->height, shape->width, &area) ||
        __builtin_mul_overflow(area, shape->channels, &elements) ||
        __builtin_mul_overflow(elements, (int64_t)HEP_PLAN_VECTORS_MAX, &all) || elements <= 0 || all > UINT32_MAX)
        return false;
    *floats = (uint32_t)all;
    return true;
}

/* ---- noise ----------------------------------------------------------------------------------------------------------
 */
static void draw(const struct row *row, int32_t number, float *noise)
{
    row->noise(row->noise_context, row->seed, (uint32_t)number, (size_t)row_elements(row), noise);
}

/* The draw that stands for noise at the start. other: scratch, [elements]. */
static void draw_initial(const struct row *row, float *noise, float *other)
{
    draw(row, row->source.noise_draw, noise);
    if (row->subseed_strength <= 0)
        return;
    row->noise(row->noise_context, row->subseed, (uint32_t)row->source.noise_draw, (size_t)row_elements(row), other);
    noise_towards(noise, other, row->shape.channels, row->shape.height, row->shape.width, row->subseed_strength);
}

/* ---- where a row begins, and what stays -----------------------------------------------------------------------------
 */
/* The whole schedule over a masked image is noise alone at its start, as diffusers has it: nothing of what was there
   shows through. */
static bool begins_in_noise(const struct row *row)
{
    return !row->source.latents || (row->source.mask && row->plan->info.skipped_evaluations == 0);
}

/* noise: the initial draw, which becomes the sample before evaluation 0. */
static void begin(const struct row *row, float *noise)
{
    const struct hep_scheduler_plan *plan = row->plan;
    bool from_noise = begins_in_noise(row);
    for (int64_t i = 0; i < row_elements(row); i++)
        noise[i] = from_noise ? plan->info.init_noise_sigma * noise[i]
                              : plan->add_sample[0] * row->source.latents[i] + plan->add_noise[0] * noise[i];
}

/* Puts the image back where the mask says that it stays: into the sample that evaluation e has made. An inpainting UNet
   does that by itself. Source: StableDiffusionInpaintPipeline (diffusers), 4 channels. */
static void keep_outside(const struct row *row, int32_t e, float *sample, float *noise)
{
    const struct hep_scheduler_plan *plan = row->plan;
    const struct row_source *source = &row->source;
    int64_t places = row->shape.height * row->shape.width;
    bool is_last = e + 1 == plan->info.evaluations;
    if (!source->mask || row->shape.extra_channels > 0)
        return;
    if (!is_last)
        draw_initial(row, noise, noise + row_elements(row));
    float keep = is_last ? 1 : plan->add_sample[e + 1], add = is_last ? 0 : plan->add_noise[e + 1];
    for (int64_t i = 0; i < row_elements(row); i++) {
        float mask = source->mask[i % places], own = keep * source->latents[i] + (is_last ? 0 : add * noise[i]);
        sample[i] = (1 - mask) * own + mask * sample[i];
    }
}

/* ---- steps ----------------------------------------------------------------------------------------------------------
 */
/* What this row committed last; NULL if it is not there any more. */
static const float *committed(const struct row *row)
{
    uint32_t step;
    const float *state;
    if (hep_slot_committed(row->slots, row->index, &step, &state) != HEP_SLOT_OK || step != (uint32_t)row->evaluation)
        return NULL;
    return state;
}

void row_resume(struct row *row, enum hep_slot_result *found)
{
    uint32_t step = 0;
    const float *state;
    *found = hep_slot_committed(row->slots, row->index, &step, &state);
    bool is_ours = *found == HEP_SLOT_OK && step >= (uint32_t)row->first && step <= (uint32_t)row->end;
    row->evaluation = is_ours ? (int32_t)step : row->first;
    row->state = row_is_finished(row) ? ROW_DONE : ROW_RUNNING;
}

const float *row_state_vectors(const struct row *row, float *scratch)
{
    size_t elements = (size_t)row_elements(row);
    if (row->evaluation > row->first)
        return committed(row);
    if (row->begin_state)
        return row->begin_state;
    draw_initial(row, scratch, scratch + elements);
    begin(row, scratch);
    memset(scratch + elements, 0, ((size_t)row->plan->info.state_vectors - 1) * elements * sizeof *scratch);
    return scratch;
}

void row_input(const struct row *row, const float *state, float *input)
{
    float scale = row->plan->in_scale[row->evaluation];
    for (int64_t i = 0; i < row_elements(row); i++)
        input[i] = scale * state[i];
}

int64_t row_extra_elements(const struct row *row)
{
    return row->shape.extra_channels * row->shape.height * row->shape.width;
}

void row_input_extra(const struct row *row, float *input)
{
    size_t places = (size_t)(row->shape.height * row->shape.width);
    if (row->shape.extra_channels == 0)
        return;
    memcpy(input, row->source.mask, places * sizeof *input);
    memcpy(input + places, row->source.masked, (size_t)row_elements(row) * sizeof *input);
}

static size_t variant_at(const struct row *row, bool positive)
{
    const int32_t *variant_of = row->text.variant_of[positive];
    return variant_of ? (size_t)variant_of[row->plan->steps_of[row->evaluation]] : positive;
}

void row_told(const struct row *row, bool positive, float *conditioning, float *pooled, float *time_ids)
{
    size_t variant = variant_at(row, positive), floats = (size_t)(row->shape.tokens * row->shape.context_dim),
           width = (size_t)row->shape.pooled_dim;
    memcpy(conditioning, row->text.conditioning + variant * floats, floats * sizeof *conditioning);
    memcpy(pooled, row->text.pooled + variant * width, width * sizeof *pooled);
    memcpy(time_ids, row->text.time_ids[positive], (size_t)row->shape.time_ids * sizeof *time_ids);
}

/* Of all elements, in memory order; the divisor is the same for both sides of a quotient. */
static double deviation(const float *values, size_t count)
{
    double mean = 0, sum = 0;
    for (size_t i = 0; i < count; i++)
        mean += (double)values[i];
    mean /= (double)count;
    for (size_t i = 0; i < count; i++)
        sum += ((double)values[i] - mean) * ((double)values[i] - mean);
    return sqrt(sum);
}

/* Source: rescale_noise_cfg (diffusers); Lin et al. 2023, section 3.4. */
static void rescale(const float *positive, double share, size_t count, float *guided)
{
    double of_guided = deviation(guided, count);
    float factor = (float)(of_guided > 0 ? share * deviation(positive, count) / of_guided + (1 - share) : 1);
    for (size_t i = 0; i < count; i++)
        guided[i] *= factor;
}

void row_guide(const struct row *row, float *negative, const float *positive)
{
    size_t elements = (size_t)row_elements(row);
    hep_kernels()->guidance[HEP_F32].run(&(struct hep_guidance_args){.count = (int64_t)elements,
                                                                     .uncond = negative,
                                                                     .cond = positive,
                                                                     .guidance = (float)row->guidance_scale,
                                                                     .out = negative});
    if (row->guidance_rescale > 0)
        rescale(positive, row->guidance_rescale, elements, negative);
}

void row_step(struct row *row, const float *state, const float *model, float *noise)
{
    const struct hep_scheduler_plan *plan = row->plan;
    int32_t e = row->evaluation, vectors = plan->info.state_vectors, number = plan->draw_of[e];
    size_t elements = (size_t)row_elements(row);
    const float *from[HEP_PLAN_VECTORS_MAX];
    float *to[HEP_PLAN_VECTORS_MAX], *next = hep_slot_begin(row->slots, row->index);
    if (number > 0)
        draw(row, row->source.step_draw + number, noise);
    for (int32_t v = 0; v < vectors; v++) {
        from[v] = state + (size_t)v * elements;
        to[v] = next + (size_t)v * elements;
    }
    hep_kernels()->update[HEP_F32].run(&(struct hep_update_args){.count = (int64_t)elements,
                                                                 .vectors = vectors,
                                                                 .matrix = hep_scheduler_plan_row(plan, e, 0),
                                                                 .state = from,
                                                                 .model = model,
                                                                 .noise = number > 0 ? noise : NULL,
                                                                 .out = to});
    keep_outside(row, e, next, noise);
    memset(next + (size_t)vectors * elements, 0,
           (row->slots->state_floats - (size_t)vectors * elements) * sizeof *next);
    HEP_CRASH_POINT("inference.step.after_write");
    hep_slot_commit(row->slots, row->index, (uint32_t)++row->evaluation);
    HEP_CRASH_POINT("inference.step.after_commit");
    if (row_is_finished(row))
        row->state = ROW_DONE;
}

bool row_is_finished(const struct row *row)
{
    return row->evaluation == row->end;
}

int32_t row_done(const struct row *row)
{
    return row->evaluation - row->first;
}

bool row_latents(const struct row *row, float *latents)
{
    const float *state = row_done(row) > 0 ? committed(row) : row->begin_state;
    if (state)
        memcpy(latents, state, (size_t)row_elements(row) * sizeof *latents);
    return state != NULL;
}
