/*
 * Heun (Karras et al. 2022, algorithm 1): an Euler step, then the same step again with the mean of the slopes at both
 * ends. Two evaluations per step, one for the last.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

enum { SAMPLE, SLOPE, SAVED };

enum hep_status heun_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                          struct hep_error *error)
{
    static const char *const vectors[] = {"sample", "slope", "saved_sample", NULL};
    const struct scheduler_config *config = context->config;
    struct ladder ladder;
    int steps = context->options->num_inference_steps;
    HEP_TRY(ladder_make_to_zero(config, context->noise, false, steps, &ladder, error));
    HEP_TRY(builder_open(builder, context, 2 * steps - 1, 2, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        bool again = i % 2;
        int rung = (i + 1) / 2; /* of the network's input */
        double sigma = ladder.sigmas[rung], from = ladder.sigmas[i / 2], to = ladder.sigmas[i / 2 + 1];
        struct coefficients x = row_of(SAMPLE),
                            x0 = predict_k(config->prediction_type, x, row_of(HEP_PLAN_MODEL), sigma).x0;
        struct coefficients slope = row_sum(1 / sigma, x, -1 / sigma, x0);
        evaluation->timestep = ladder.timesteps[rung];
        builder_sigma(evaluation, sigma);
        builder_clean(evaluation, x0);
        if (again) {
            struct coefficients mean = row_sum(0.5, row_of(SLOPE), 0.5, slope);
            builder_row(evaluation, SAMPLE, row_sum(1, row_of(SAVED), to - from, mean));
        } else {
            builder_row(evaluation, SAMPLE, row_sum(1, x, to - from, slope));
            builder_row(evaluation, SLOPE, slope);
            builder_row(evaluation, SAVED, x);
        }
    }
    builder->info.init_noise_sigma = (float)ladder_init_noise_sigma(&ladder, config);
    builder->info.final_sigma = 0;
    return HEP_OK;
}
