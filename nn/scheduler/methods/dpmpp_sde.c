/*
 * DPM-Solver++ (2S) as a stochastic differential equation (k-diffusion's sample_dpmpp_sde with r = 1/2): two half steps
 * in log σ, each split into a part down and fresh noise up, the second from the start with the image seen in the
 * middle. The noise is drawn per evaluation; a Brownian tree, as elsewhere, would only correlate the two draws.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum { SAMPLE, SAVED };

/* From sample `start` at level `from` to level `to`, with the predicted image x0. */
static struct coefficients ancestral_step(struct coefficients start, struct coefficients x0, double from, double to)
{
    double up = fmin(to, sqrt(to * to * (from * from - to * to) / (from * from)));
    double down = sqrt(to * to - up * up);
    struct coefficients moved = row_sum(down / from, start, 1 - down / from, x0);
    return row_add(moved, up, row_of(HEP_PLAN_NOISE));
}

enum hep_status dpmpp_sde_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                               struct hep_error *error)
{
    static const char *const vectors[] = {"sample", "saved_sample", NULL};
    const struct scheduler_config *config = context->config;
    struct ladder ladder;
    int steps = context->options->num_inference_steps;
    HEP_TRY(ladder_make_to_zero(config, context->noise, false, steps, &ladder, error));
    HEP_TRY(builder_open(builder, context, 2 * steps - 1, 2, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        bool second = i % 2, last = i == 2 * steps - 2;
        double from = ladder.sigmas[i / 2], to = ladder.sigmas[i / 2 + 1], middle = sqrt(from * to);
        double sigma = second ? middle : from;
        struct coefficients x = row_of(SAMPLE),
                            x0 = predict_k(config->prediction_type, x, row_of(HEP_PLAN_MODEL), sigma).x0;
        evaluation->timestep = second ? noise_timestep_of(context->noise, middle) : ladder.timesteps[i / 2];
        builder_sigma(evaluation, ladder.sigmas[(i + 1) / 2]);
        builder_clean(evaluation, x0);
        evaluation->in_scale = alpha_of_sigma(sigma);
        if (last)
            builder_row(evaluation, SAMPLE, x0); /* the Euler step to 0 */
        else
            builder_row(evaluation, SAMPLE, ancestral_step(second ? row_of(SAVED) : x, x0, from, second ? to : middle));
        builder_row(evaluation, SAVED, x);
        if (!last)
            builder_draw(builder, evaluation);
    }
    builder->info.init_noise_sigma = (float)ladder_init_noise_sigma(&ladder, config);
    builder->info.final_sigma = 0;
    return HEP_OK;
}
