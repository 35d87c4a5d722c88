/*
 * Linear multistep over noise levels (k-diffusion's sample_lms): the slope is interpolated through the last slopes and
 * integrated to the next level. The integrand is a polynomial of degree 3 at most: two Gauss points are exact.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

/* Lagrange's polynomial of node sigmas[i − which] among the order nodes sigmas[i], sigmas[i − 1], … */
static double lagrange(const double *sigmas, int i, int order, int which, double at)
{
    double product = 1;
    for (int k = 0; k < order; k++)
        if (k != which)
            product *= (at - sigmas[i - k]) / (sigmas[i - which] - sigmas[i - k]);
    return product;
}

static double weight(const double *sigmas, int i, int order, int which)
{
    double middle = 0.5 * (sigmas[i] + sigmas[i + 1]), half = 0.5 * (sigmas[i + 1] - sigmas[i]);
    double away = half / sqrt(3);
    return half * (lagrange(sigmas, i, order, which, middle - away) + lagrange(sigmas, i, order, which, middle + away));
}

enum hep_status lms_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                         struct hep_error *error)
{
    static const char *const names[] = {"sample", "slope_1", "slope_2", "slope_3"};
    const struct scheduler_config *config = context->config;
    const char *vectors[5] = {names[0]};
    struct ladder ladder;
    int steps = context->options->num_inference_steps, most = context->options->lms_order;
    hep_assert(most <= (int)HEP_COUNT_OF(names)); /* the field's range */
    for (int k = 1; k < most; k++)
        vectors[k] = names[k];
    HEP_TRY(ladder_make_to_zero(config, context->noise, false, steps, &ladder, error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double sigma = ladder.sigmas[i];
        int known = i - builder->first + 1, order = known < most ? known : most;
        struct coefficients x = row_of(0), x0 = predict_k(config->prediction_type, x, row_of(HEP_PLAN_MODEL), sigma).x0;
        struct coefficients slope = row_sum(1 / sigma, x, -1 / sigma, x0);
        struct coefficients next = row_sum(1, x, weight(ladder.sigmas, i, order, 0), slope);
        for (int k = 1; k < order; k++)
            next = row_add(next, weight(ladder.sigmas, i, order, k), row_of(k));
        evaluation->timestep = ladder.timesteps[i];
        builder_sigma(evaluation, sigma);
        builder_clean(evaluation, x0);
        builder_row(evaluation, 0, next);
        for (int k = 1; k < most; k++)
            builder_row(evaluation, k, k == 1 ? slope : row_of(k - 1));
    }
    builder->info.init_noise_sigma = (float)ladder_init_noise_sigma(&ladder, config);
    builder->info.final_sigma = 0;
    return HEP_OK;
}
