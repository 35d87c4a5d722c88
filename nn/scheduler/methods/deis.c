/*
 * DEIS (Zhang and Chen 2022, "Fast Sampling of Diffusion Models with Exponential Integrator", ρ-AB): the noise
 * prediction is interpolated in log ρ through the last ones and integrated over ρ = σ/α. Orders 1 to 3.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

/* ∫ of Lagrange's polynomials in log ρ, of node b among b, c (and d). */
static double primitive_2(double t, double b, double c)
{
    return t * (-log(c) + log(t) - 1) / (log(b) - log(c));
}

static double primitive_3(double t, double b, double c, double d)
{
    double lt = log(t), lc = log(c), ld = log(d);
    double above = t * (lc * (ld - lt + 1) - ld * lt + ld + lt * lt - 2 * lt + 2);
    return above / ((log(b) - lc) * (log(b) - ld));
}

/* The integral of the interpolated noise from r[0] to t; r: ρ here, one and two evaluations before. */
static struct coefficients integral(int order, double t, const double *r, struct coefficients now)
{
    if (order == 1)
        return row_scale(t - r[0], now);
    if (order == 2)
        return row_sum(primitive_2(t, r[0], r[1]) - primitive_2(r[0], r[0], r[1]), now,
                       primitive_2(t, r[1], r[0]) - primitive_2(r[0], r[1], r[0]), row_of(1));
    struct coefficients sum =
        row_sum(primitive_3(t, r[0], r[1], r[2]) - primitive_3(r[0], r[0], r[1], r[2]), now,
                primitive_3(t, r[1], r[2], r[0]) - primitive_3(r[0], r[1], r[2], r[0]), row_of(1));
    return row_sum(1, sum, primitive_3(t, r[2], r[0], r[1]) - primitive_3(r[0], r[2], r[0], r[1]), row_of(2));
}

enum hep_status deis_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                          struct hep_error *error)
{
    struct scheduler_config config = *context->config;
    int steps = context->options->num_inference_steps, most = config.solver_order;
    const char *const vectors[] = {"sample", most > 1 ? "epsilon_1" : NULL, most > 2 ? "epsilon_2" : NULL, NULL};
    struct ladder ladder;
    config.final_sigmas_type = FINAL_SIGMA_MIN; /* its class has no other */
    HEP_TRY(ladder_make(&config, context->noise, PLACE_INTERIOR, SIGMAS_OF_ALL, true, steps, &ladder, error));
    if (config.sigmas || config.use_karras_sigmas || config.use_exponential_sigmas || config.use_beta_sigmas)
        ladder.sigmas[steps] = ladder.sigmas[steps - 1];
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double s = ladder.sigmas[i], next = ladder.sigmas[i + 1], alpha = alpha_of_sigma(s);
        double history[3] = {s, i > 0 ? ladder.sigmas[i - 1] : 0, i > 1 ? ladder.sigmas[i - 2] : 0};
        int known = i - builder->first + 1, order = known < most ? known : most;
        if (config.lower_order_final && steps < 15)
            order = order < steps - i ? order : steps - i;
        struct coefficients x = row_of(0);
        struct predicted p = predict(config.prediction_type, x, row_of(HEP_PLAN_MODEL), alpha, s * alpha);
        struct coefficients epsilon = p.epsilon;
        struct coefficients moved = row_sum(1 / alpha, x, 1, integral(order, next, history, epsilon));
        evaluation->timestep = ladder.timesteps[i];
        builder_sigma_vp(evaluation, s);
        builder_clean(evaluation, p.x0);
        builder_row(evaluation, 0, row_scale(alpha_of_sigma(next), moved));
        if (most > 1)
            builder_row(evaluation, 1, epsilon);
        if (most > 2)
            builder_row(evaluation, 2, row_of(1));
    }
    builder->info.final_sigma = (float)ladder.sigmas[steps];
    return HEP_OK;
}
