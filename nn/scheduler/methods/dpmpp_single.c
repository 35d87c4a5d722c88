/*
 * DPM-Solver++ single step (Lu et al. 2022, "DPM-Solver++", algorithm 1): evaluations come in groups of solver_order;
 * within a group the first is of order 1, the second of order 2, …, each from the sample at the group's start.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"
#include "nn/scheduler/methods/dpm_solver.h"

#include <math.h>

enum { SAMPLE, START, CONVERTED_1, CONVERTED_2 };

/* The update from the group's start; s: noise levels of this evaluation and the ones before, m0: this one's output. */
static struct coefficients update(const struct scheduler_config *config, int order, const double *s, double s_next,
                                  struct coefficients start, struct coefficients m0)
{
    struct dpm_step step = dpm_step_of(s[order - 1], s_next);
    bool midpoint = config->solver_type == SOLVER_MIDPOINT;
    struct dpm_weights w = dpm_weights_of(config->algorithm_type, midpoint && order < 3, &step);
    struct coefficients m1 = row_of(CONVERTED_1), m2 = row_of(CONVERTED_2), d0 = order == 1 ? m0 : order == 2 ? m1 : m2;
    struct coefficients next = row_add(row_sum(w.x, start, w.d0, d0), w.noise, row_of(HEP_PLAN_NOISE));
    if (order == 1)
        return next;
    double r0 = log(s[order - 1] / s[0]) / step.h;
    struct coefficients far = row_sum(1 / r0, m0, -1 / r0, d0); /* slope from the start to this evaluation */
    if (order == 2 || midpoint)
        return row_sum(1, next, w.d1, far);
    double r1 = log(s[2] / s[1]) / step.h;
    struct coefficients near = row_sum(1 / r1, m1, -1 / r1, d0);
    struct coefficients d1 = row_sum(r0 / (r0 - r1), near, -r1 / (r0 - r1), far);
    struct coefficients d2 = row_sum(2 / (r0 - r1), far, -2 / (r0 - r1), near);
    return row_sum(1, row_sum(1, next, w.d1, d1), w.d2, d2);
}

/* Position in the group; the very last evaluation is of order 1 where a whole group would end at the clean image. */
static int order_at(const struct scheduler_config *config, int i, int first, int steps)
{
    int group = config->solver_order, order = i % group + 1, known = i - first + 1;
    bool zero = config->final_sigmas_type == FINAL_SIGMA_ZERO;
    if (i == steps - 1 && (zero || (config->lower_order_final && steps % group == 0)))
        return 1;
    return order < known ? order : known;
}

enum hep_status dpmpp_single_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                                  struct hep_error *error)
{
    struct scheduler_config config = *context->config;
    int steps = context->options->num_inference_steps, most = config.solver_order;
    const char *const vectors[] = {"sample", "group_start", most > 1 ? "converted_1" : NULL,
                                   most > 2 ? "converted_2" : NULL, NULL};
    struct ladder ladder;
    dpm_translate(&config);
    HEP_TRY(dpm_check(&config, error));
    if (config.algorithm_type == ALGORITHM_SDE_DPM)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "algorithm_type",
                              "dpmpp_single has no algorithm_type sde-dpmsolver");
    config.timestep_spacing = SPACING_LINSPACE; /* its class has no other */
    config.lower_order_final = config.lower_order_final || steps % most != 0;
    bool plus = config.algorithm_type != ALGORITHM_DPM, stochastic = config.algorithm_type == ALGORITHM_SDE_DPMPP;
    HEP_TRY(ladder_make(&config, context->noise, PLACE_INTERIOR, SIGMAS_OF_ALL, true, steps, &ladder, error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double s = ladder.sigmas[i], alpha = alpha_of_sigma(s);
        double levels[3] = {s, i > 0 ? ladder.sigmas[i - 1] : 0, i > 1 ? ladder.sigmas[i - 2] : 0};
        struct coefficients x = row_of(SAMPLE);
        struct predicted p = predict(config.prediction_type, x, row_of(HEP_PLAN_MODEL), alpha, s * alpha);
        struct coefficients converted = plus ? p.x0 : p.epsilon;
        int order = order_at(&config, i, builder->first, steps);
        struct coefficients start = order == 1 ? x : row_of(START);
        evaluation->timestep = ladder.timesteps[i];
        builder_sigma_vp(evaluation, s);
        builder_clean(evaluation, p.x0);
        builder_row(evaluation, SAMPLE, update(&config, order, levels, ladder.sigmas[i + 1], start, converted));
        builder_row(evaluation, START, start);
        if (most > 1)
            builder_row(evaluation, CONVERTED_1, converted);
        if (most > 2)
            builder_row(evaluation, CONVERTED_2, row_of(CONVERTED_1));
        if (stochastic)
            builder_draw(builder, evaluation);
    }
    builder->info.final_sigma = (float)ladder.sigmas[steps];
    return HEP_OK;
}
