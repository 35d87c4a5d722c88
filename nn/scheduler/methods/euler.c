/*
 * Euler (Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", algorithm 2 without
 * the second-order correction). s_churn > 0 raises the noise level a little before each step, with fresh noise.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum hep_status euler_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                           struct hep_error *error)
{
    static const char *const vectors[] = {"sample", NULL};
    const struct scheduler_options *options = context->options;
    enum hep_prediction prediction = context->config->prediction_type;
    struct ladder ladder;
    int steps = options->num_inference_steps;
    HEP_TRY(ladder_make(context->config, context->noise, PLACE_FRACTIONAL, SIGMAS_OF_SELECTED, false, steps, &ladder,
                        error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double sigma = ladder.sigmas[i], next = ladder.sigmas[i + 1];
        bool churns = options->s_churn > 0 && options->s_tmin <= sigma && sigma <= options->s_tmax;
        double raised = churns ? sigma * (1 + fmin(options->s_churn / steps, sqrt(2) - 1)) : sigma;
        double fresh = options->s_noise * sqrt(raised * raised - sigma * sigma);
        struct coefficients x = row_add(row_of(0), churns ? fresh : 0, row_of(HEP_PLAN_NOISE));
        /* epsilon is meant at the raised level, v at the level of the network's input */
        struct coefficients x0 =
            predict_k(prediction, x, row_of(HEP_PLAN_MODEL), prediction == HEP_PREDICT_EPSILON ? raised : sigma).x0;
        struct coefficients slope = row_sum(1 / raised, x, -1 / raised, x0);
        evaluation->timestep = ladder.timesteps[i];
        builder_sigma(evaluation, sigma);
        builder_clean(evaluation, predict_k(prediction, row_of(0), row_of(HEP_PLAN_MODEL), sigma).x0);
        builder_row(evaluation, 0, row_sum(1, x, next - raised, slope));
        if (churns)
            builder_draw(builder, evaluation);
    }
    builder->info.init_noise_sigma = (float)ladder_init_noise_sigma(&ladder, context->config);
    builder->info.final_sigma = (float)ladder.sigmas[steps];
    return HEP_OK;
}
