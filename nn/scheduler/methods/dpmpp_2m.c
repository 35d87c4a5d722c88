/*
 * DPM-Solver and DPM-Solver++ multistep, orders 1 to 3, deterministic and stochastic (Lu et al. 2022, "DPM-Solver++",
 * algorithm 2). Each remembered vector is a converted output: the clean image for the ++ variants, the noise for the
 * others.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"
#include "nn/scheduler/methods/dpm_solver.h"

#include <math.h>

static const char *const vectors[] = {"sample", "converted_1", "converted_2", NULL};

/* The update of one order, from converted outputs m0 (this one), m1, m2 and the noise levels before this one. */
static struct coefficients update(const struct scheduler_config *config, const struct dpm_step *step, int order,
                                  struct coefficients m0, double s1, double s2)
{
    struct coefficients m1 = row_of(1), m2 = row_of(2);
    struct dpm_weights w =
        dpm_weights_of(config->algorithm_type, config->solver_type == SOLVER_MIDPOINT && order < 3, step);
    struct coefficients next = row_add(row_sum(w.x, row_of(0), w.d0, m0), w.noise, row_of(HEP_PLAN_NOISE));
    if (order == 1)
        return next;
    double r0 = log(s1 / step->s) / step->h;
    struct coefficients d1_0 = row_sum(1 / r0, m0, -1 / r0, m1);
    if (order == 2)
        return row_sum(1, next, w.d1, d1_0);
    double r1 = log(s2 / s1) / step->h;
    struct coefficients d1_1 = row_sum(1 / r1, m1, -1 / r1, m2), bend = row_sum(1, d1_0, -1, d1_1);
    struct coefficients d1 = row_sum(1, d1_0, r0 / (r0 + r1), bend), d2 = row_scale(1 / (r0 + r1), bend);
    return row_sum(1, row_sum(1, next, w.d1, d1), w.d2, d2);
}

/* Lower orders while there is no history, and at the end where high orders are unstable. */
static int order_at(const struct scheduler_config *config, int i, int first, int steps)
{
    bool few = config->lower_order_final && steps < 15;
    int order = i - first + 1 < config->solver_order ? i - first + 1 : config->solver_order;
    if (i == steps - 1 && (config->euler_at_final || few || config->final_sigmas_type == FINAL_SIGMA_ZERO))
        return 1;
    return i == steps - 2 && few && order > 2 ? 2 : order;
}

enum hep_status dpmpp_2m_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                              struct hep_error *error)
{
    struct scheduler_config config = *context->config;
    int steps = context->options->num_inference_steps;
    struct ladder ladder;
    dpm_translate(&config);
    bool plus = config.algorithm_type == ALGORITHM_DPMPP || config.algorithm_type == ALGORITHM_SDE_DPMPP;
    bool stochastic = config.algorithm_type == ALGORITHM_SDE_DPM || config.algorithm_type == ALGORITHM_SDE_DPMPP;
    HEP_TRY(dpm_check(&config, error));
    if (config.algorithm_type == ALGORITHM_SDE_DPM && config.solver_order == 3)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "solver_order", "sde-dpmsolver has no solver_order 3");
    bool rounds = config.beta_schedule != BETAS_SQUAREDCOS_CAP_V2;
    HEP_TRY(ladder_make(&config, context->noise, PLACE_INTERIOR, SIGMAS_OF_ALL, rounds, steps, &ladder, error));
    const char *const names[] = {vectors[0], config.solver_order > 1 ? vectors[1] : NULL,
                                 config.solver_order > 2 ? vectors[2] : NULL, NULL};
    HEP_TRY(builder_open(builder, context, steps, 1, names, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double s = ladder.sigmas[i], alpha = alpha_of_sigma(s);
        struct dpm_step step = dpm_step_of(s, ladder.sigmas[i + 1]);
        struct predicted p = predict(config.prediction_type, row_of(0), row_of(HEP_PLAN_MODEL), alpha, s * alpha);
        struct coefficients converted = plus ? p.x0 : p.epsilon;
        int order = order_at(&config, i, builder->first, steps);
        struct coefficients next = update(&config, &step, order, converted, order > 1 ? ladder.sigmas[i - 1] : 0,
                                          order > 2 ? ladder.sigmas[i - 2] : 0);
        evaluation->timestep = ladder.timesteps[i];
        builder_sigma_vp(evaluation, s);
        builder_clean(evaluation, p.x0);
        builder_row(evaluation, 0, next);
        if (config.solver_order > 1)
            builder_row(evaluation, 1, converted);
        if (config.solver_order > 2)
            builder_row(evaluation, 2, row_of(1));
        if (stochastic)
            builder_draw(builder, evaluation);
    }
    builder->info.final_sigma = (float)ladder.sigmas[steps];
    return HEP_OK;
}
