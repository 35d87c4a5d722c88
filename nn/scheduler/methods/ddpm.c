/*
 * DDPM (Ho et al. 2020, "Denoising Diffusion Probabilistic Models", eq. 7): the posterior mean of the previous timestep
 * given sample and predicted image, plus noise of the posterior's variance, which variance_type chooses.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

/* Standard deviation of the noise (Ho et al. 2020, section 3.2). */
static enum hep_status deviation(enum variance_type type, double alpha, double alpha_next, double *out,
                                 struct hep_error *error)
{
    double beta = 1 - alpha / alpha_next;
    double small = fmax((1 - alpha_next) / (1 - alpha) * beta, 1e-20);
    if (type == VARIANCE_FIXED_LARGE_LOG)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "variance_type",
                              "ddpm: variance_type fixed_large_log has no use");
    *out = sqrt(type == VARIANCE_FIXED_LARGE ? beta : small); /* fixed_small_log differs in rounding alone */
    return HEP_OK;
}

enum hep_status ddpm_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                          struct hep_error *error)
{
    static const char *const vectors[] = {"sample", NULL};
    const struct scheduler_config *config = context->config;
    const struct noise_schedule *noise = context->noise;
    int steps = context->options->num_inference_steps;
    double timesteps[HEP_STEPS_MAX];
    HEP_TRY(ladder_timesteps(config, PLACE_ROUNDED, steps, noise->count, timesteps, error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double alpha, alpha_next, fresh = 0;
        HEP_TRY(noise_alpha(noise, (int)timesteps[i], 1, &alpha, error));
        HEP_TRY(noise_alpha(noise, i + 1 < steps ? (int)timesteps[i + 1] : -1, 1, &alpha_next, error));
        double kept = alpha / alpha_next; /* alpha of this step alone */
        struct coefficients x = row_of(0);
        struct coefficients x0 =
            predict(config->prediction_type, x, row_of(HEP_PLAN_MODEL), sqrt(alpha), sqrt(1 - alpha)).x0;
        struct coefficients next =
            row_sum(sqrt(alpha_next) * (1 - kept) / (1 - alpha), x0, sqrt(kept) * (1 - alpha_next) / (1 - alpha), x);
        evaluation->timestep = timesteps[i];
        builder_alpha(evaluation, alpha);
        builder_clean(evaluation, x0);
        if (timesteps[i] > 0) {
            HEP_TRY(deviation(config->variance_type, alpha, alpha_next, &fresh, error));
            builder_draw(builder, evaluation);
        }
        builder_row(evaluation, 0, row_add(next, fresh, row_of(HEP_PLAN_NOISE)));
    }
    builder->info.final_sigma = 0;
    return HEP_OK;
}
