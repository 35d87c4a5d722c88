/*
 * Latent consistency models (Luo et al. 2023, "Latent Consistency Models", multistep consistency sampling): each step
 * predicts the clean image, weighted by the boundary condition, and noises it again to the next timestep.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum hep_status lcm_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                         struct hep_error *error)
{
    static const char *const vectors[] = {"sample", NULL};
    const double sigma_data = 0.5;
    const struct scheduler_config *config = context->config;
    int steps = context->options->num_inference_steps;
    double timesteps[HEP_STEPS_MAX], final = noise_final_alpha(context->noise, config);
    HEP_TRY(ladder_distilled(config, steps, timesteps, error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        bool ends = i == steps - 1;
        double alpha, alpha_next, scaled = timesteps[i] * config->timestep_scaling;
        HEP_TRY(noise_alpha(context->noise, (int)timesteps[i], final, &alpha, error));
        HEP_TRY(noise_alpha(context->noise, (int)timesteps[ends ? i : i + 1], final, &alpha_next, error));
        double c_skip = sigma_data * sigma_data / (scaled * scaled + sigma_data * sigma_data);
        double c_out = scaled / sqrt(scaled * scaled + sigma_data * sigma_data);
        struct coefficients x = row_of(0);
        struct predicted p = predict(config->prediction_type, x, row_of(HEP_PLAN_MODEL), sqrt(alpha), sqrt(1 - alpha));
        struct coefficients denoised = row_sum(c_out, p.x0, c_skip, x);
        evaluation->timestep = timesteps[i];
        builder_alpha(evaluation, alpha);
        builder_clean(evaluation, denoised);
        builder_row(evaluation, 0,
                    ends ? denoised
                         : row_sum(sqrt(alpha_next), denoised, sqrt(1 - alpha_next), row_of(HEP_PLAN_NOISE)));
        if (!ends)
            builder_draw(builder, evaluation);
    }
    builder->info.final_sigma = 0;
    return HEP_OK;
}
