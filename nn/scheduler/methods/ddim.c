/*
 * DDIM (Song et al. 2020, "Denoising Diffusion Implicit Models", eq. 12 and 16): each step predicts the clean image and
 * goes back along the predicted noise; eta > 0 exchanges part of that for fresh noise, eta 1 being ancestral sampling.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum hep_status ddim_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                          struct hep_error *error)
{
    static const char *const vectors[] = {"sample", NULL};
    const struct scheduler_config *config = context->config;
    const struct noise_schedule *noise = context->noise;
    int steps = context->options->num_inference_steps, apart = noise->count / steps;
    double eta = fmax(context->options->eta, 0), final = noise_final_alpha(noise, config), timesteps[HEP_STEPS_MAX];
    HEP_TRY(ladder_timesteps(config, PLACE_ROUNDED, steps, noise->count, timesteps, error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double alpha, alpha_next;
        HEP_TRY(noise_alpha(noise, (int)timesteps[i], final, &alpha, error));
        HEP_TRY(noise_alpha(noise, (int)timesteps[i] - apart, final, &alpha_next, error));
        double variance = (1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next);
        double deviation = eta > 0 ? eta * sqrt(variance) : 0;
        struct predicted p =
            predict(config->prediction_type, row_of(0), row_of(HEP_PLAN_MODEL), sqrt(alpha), sqrt(1 - alpha));
        struct coefficients next =
            row_sum(sqrt(alpha_next), p.x0, sqrt(1 - alpha_next - deviation * deviation), p.epsilon);
        evaluation->timestep = timesteps[i];
        builder_alpha(evaluation, alpha);
        builder_clean(evaluation, p.x0);
        builder_row(evaluation, 0, row_add(next, deviation, row_of(HEP_PLAN_NOISE)));
        if (eta > 0)
            builder_draw(builder, evaluation);
    }
    builder->info.final_sigma = (float)sigma_of_alpha(final);
    return HEP_OK;
}
