/*
 * Trajectory consistency distillation (Zheng et al. 2024, strategic stochastic sampling): each step jumps along the
 * trajectory to a timestep s below the next one, (1 − eta) of it, and comes back up with fresh noise.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum hep_status tcd_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                         struct hep_error *error)
{
    static const char *const vectors[] = {"sample", NULL};
    const struct scheduler_config *config = context->config;
    const struct noise_schedule *noise = context->noise;
    int steps = context->options->num_inference_steps;
    double eta = context->options->eta < 0 ? 0.3 : context->options->eta, timesteps[HEP_STEPS_MAX];
    HEP_TRY(ladder_distilled(config, steps, timesteps, error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        bool ends = i == steps - 1;
        double alpha, alpha_next, alpha_s, next_timestep = ends ? 0 : timesteps[i + 1];
        /* the product is rounded to f32, as torch does */
        int s = (int)floorf((float)(1 - eta) * (float)next_timestep);
        HEP_TRY(noise_alpha(noise, (int)timesteps[i], 1, &alpha, error));
        HEP_TRY(noise_alpha(noise, (int)next_timestep, 1, &alpha_next, error));
        HEP_TRY(noise_alpha(noise, s, 1, &alpha_s, error));
        struct predicted p =
            predict(config->prediction_type, row_of(0), row_of(HEP_PLAN_MODEL), sqrt(alpha), sqrt(1 - alpha));
        struct coefficients next = row_sum(sqrt(alpha_s), p.x0, sqrt(1 - alpha_s), p.epsilon);
        if (eta > 0 && !ends) {
            next = row_sum(sqrt(alpha_next / alpha_s), next, sqrt(1 - alpha_next / alpha_s), row_of(HEP_PLAN_NOISE));
            builder_draw(builder, evaluation);
        }
        evaluation->timestep = timesteps[i];
        builder_alpha(evaluation, alpha);
        builder_clean(evaluation, p.x0);
        builder_row(evaluation, 0, next);
    }
    builder->info.final_sigma = (float)sigma_of_alpha((double)noise->alphas_cumprod[0]);
    return HEP_OK;
}
