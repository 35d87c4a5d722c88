/*
 * DPM-Solver-2 in the terms of Karras et al. (2022): an Euler step to the geometric mean of two noise levels, the slope
 * there carries the whole step. The ancestral variant aims below the next level and comes back up with fresh noise.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum { SAMPLE, SAVED };

/* One step: from a noise level to one below it, and then up by fresh noise. */
struct stride {
    double from, middle, down, up;
};

static struct stride stride_of(const struct ladder *ladder, int step, bool ancestral)
{
    double from = ladder->sigmas[step], to = ladder->sigmas[step + 1];
    double up = ancestral ? sqrt(to * to * (from * from - to * to) / (from * from)) : 0;
    double down = sqrt(to * to - up * up);
    return (struct stride){.from = from, .middle = sqrt(from * down), .down = down, .up = up};
}

static enum hep_status plan(const struct scheduler_context *context, struct scheduler_builder *builder, bool ancestral,
                            struct hep_error *error)
{
    static const char *const vectors[] = {"sample", "saved_sample", NULL};
    const struct scheduler_config *config = context->config;
    struct ladder ladder;
    int steps = context->options->num_inference_steps;
    HEP_TRY(ladder_make_to_zero(config, context->noise, true, steps, &ladder, error));
    HEP_TRY(builder_open(builder, context, 2 * steps - 1, 2, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        bool second = i % 2, last = i == 2 * steps - 2;
        struct stride stride = stride_of(&ladder, i / 2, ancestral);
        double sigma = second ? stride.middle : stride.from;
        struct coefficients x = row_of(SAMPLE),
                            x0 = predict_k(config->prediction_type, x, row_of(HEP_PLAN_MODEL), sigma).x0;
        struct coefficients slope = row_sum(1 / sigma, x, -1 / sigma, x0);
        evaluation->timestep = second ? noise_timestep_of(context->noise, sigma) : ladder.timesteps[i / 2];
        builder_sigma(evaluation, ladder.sigmas[(i + 1) / 2]);
        builder_clean(evaluation, x0);
        evaluation->in_scale = alpha_of_sigma(sigma);
        if (second) {
            struct coefficients down = row_sum(1, row_of(SAVED), stride.down - stride.from, slope);
            builder_row(evaluation, SAMPLE, row_add(down, stride.up, row_of(HEP_PLAN_NOISE)));
            if (ancestral)
                builder_draw(builder, evaluation);
        } else {
            builder_row(evaluation, SAMPLE, row_sum(1, x, (last ? 0 : stride.middle) - stride.from, slope));
            builder_row(evaluation, SAVED, x);
        }
    }
    builder->info.init_noise_sigma = (float)ladder_init_noise_sigma(&ladder, config);
    builder->info.final_sigma = 0;
    return HEP_OK;
}

enum hep_status kdpm2_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                           struct hep_error *error)
{
    return plan(context, builder, false, error);
}

enum hep_status kdpm2_ancestral_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                                     struct hep_error *error)
{
    return plan(context, builder, true, error);
}
