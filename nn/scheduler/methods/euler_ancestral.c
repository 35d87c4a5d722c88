/*
 * Ancestral sampling with Euler steps: each step goes down further than it should and comes back up with fresh noise
 * (Crowson's k-diffusion, sample_euler_ancestral, eta 1; the split is that of DDPM).
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum hep_status euler_ancestral_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                                     struct hep_error *error)
{
    static const char *const vectors[] = {"sample", NULL};
    struct scheduler_config config = *context->config;
    struct ladder ladder;
    int steps = context->options->num_inference_steps;
    if (!config.sigmas) /* its class has no such keys */
        config.use_karras_sigmas = config.use_exponential_sigmas = config.use_beta_sigmas = false;
    HEP_TRY(ladder_make_to_zero(&config, context->noise, false, steps, &ladder, error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double sigma = ladder.sigmas[i], next = ladder.sigmas[i + 1];
        double up = sqrt(next * next * (sigma * sigma - next * next) / (sigma * sigma));
        double down = sqrt(next * next - up * up);
        struct coefficients x = row_of(0), x0 = predict_k(config.prediction_type, x, row_of(HEP_PLAN_MODEL), sigma).x0;
        struct coefficients slope = row_sum(1 / sigma, x, -1 / sigma, x0);
        evaluation->timestep = ladder.timesteps[i];
        builder_sigma(evaluation, sigma);
        builder_clean(evaluation, x0);
        builder_row(evaluation, 0, row_add(row_sum(1, x, down - sigma, slope), up, row_of(HEP_PLAN_NOISE)));
        builder_draw(builder, evaluation);
    }
    builder->info.init_noise_sigma = (float)ladder_init_noise_sigma(&ladder, &config);
    builder->info.final_sigma = (float)ladder.sigmas[steps];
    return HEP_OK;
}
