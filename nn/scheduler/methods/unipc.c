/*
 * UniPC (Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework", algorithms 5 to 8): each evaluation first
 * corrects the sample that the last predictor gave (UniC), now that the network's output there is known, then predicts
 * the next one (UniP). Orders 1 to 3, B(h) = h (bh1) or e^h − 1 (bh2).
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum { SAMPLE, LAST_SAMPLE, OUTPUT_1, OUTPUT_2, OUTPUT_3 };
static const char *const names[] = {"sample", "last_sample", "output_1", "output_2", "output_3"};

/* Solves the n × n system a · x = b into b, by elimination with pivots. */
static void solve(int n, double a[3][3], double b[3])
{
    for (int c = 0; c < n; c++) {
        int pivot = c;
        for (int r = c + 1; r < n; r++)
            pivot = fabs(a[r][c]) > fabs(a[pivot][c]) ? r : pivot;
        for (int k = 0; k < n; k++) {
            double swap = a[c][k];
            a[c][k] = a[pivot][k];
            a[pivot][k] = swap;
        }
        double swap = b[c];
        b[c] = b[pivot];
        b[pivot] = swap;
        for (int r = 0; r < n; r++) {
            double factor = r == c ? 0 : a[r][c] / a[c][c];
            for (int k = c; k < n && r != c; k++)
                a[r][k] -= factor * a[c][k];
            b[r] -= factor * b[c];
        }
    }
    for (int c = 0; c < n; c++)
        b[c] /= a[c][c];
}

/* What one update from level s[0] to s_next is made of; s[1], s[2] are levels before s[0]. */
struct uni {
    double base, output; /* weights of the sample and of m0                    */
    double difference;   /* weight of the sum of the weighted differences      */
    double r[3];         /* (λ(s[k]) − λ(s[0])) / h, and 1 at the end          */
    double b[3];         /* right sides of the order conditions                */
};

static struct uni uni_of(const struct scheduler_config *config, int order, const double *s, double s_next)
{
    double h = log(s[0] / s_next), hh = config->predict_x0 ? -h : h, phi_1 = expm1(hh), phi = phi_1 / hh - 1;
    double alpha = alpha_of_sigma(s_next), sigma = s_next * alpha, back = alpha_of_sigma(s[0]);
    double b_h = config->solver_type == SOLVER_BH1 ? hh : phi_1, scale = config->predict_x0 ? alpha : sigma;
    struct uni uni = {.base = config->predict_x0 ? sigma / (s[0] * back) : alpha / back,
                      .output = -scale * phi_1,
                      .difference = -scale * b_h};
    double factorial = 1;
    for (int k = 0; k < order; k++) {
        uni.r[k] = k + 1 < order ? log(s[0] / s[k + 1]) / h : 1;
        uni.b[k] = phi * factorial / b_h;
        factorial *= k + 2;
        phi = phi / hh - 1 / factorial;
    }
    return uni;
}

/* Weights of the differences: the first n order conditions for the first n nodes. */
static void conditions(const struct uni *uni, int n, double rho[3])
{
    double a[3][3];
    for (int r = 0; r < n; r++) {
        rho[r] = uni->b[r];
        for (int c = 0; c < n; c++)
            a[r][c] = pow(uni->r[c], r);
    }
    solve(n, a, rho);
}

/* The sample at s_next from `from` at s[0]; m[0] is the output at s[0], m[1] … before; `at_end`, if not NULL, is the
   output at s_next: with it this is the corrector, without it the predictor. */
static struct coefficients update(const struct scheduler_config *config, int order, const double *s, double s_next,
                                  struct coefficients from, const struct coefficients *m,
                                  const struct coefficients *at_end)
{
    struct uni uni = uni_of(config, order, s, s_next);
    struct coefficients next = row_sum(uni.base, from, uni.output, m[0]);
    double rho[3] = {0.5}; /* what order 1 corrects and order 2 predicts with */
    int nodes = at_end ? order : order - 1;
    if (nodes > 1)
        conditions(&uni, nodes, rho);
    for (int k = 0; k < order - 1; k++)
        next = row_sum(1, next, uni.difference * rho[k] / uni.r[k], row_sum(1, m[k + 1], -1, m[0]));
    return at_end ? row_sum(1, next, uni.difference * rho[order - 1], row_sum(1, *at_end, -1, m[0])) : next;
}

/* Order of the predictor at evaluation i. */
static int order_at(const struct scheduler_config *config, int i, int first, int steps)
{
    int order = config->solver_order, known = i - first + 1;
    if (config->lower_order_final && steps - i < order)
        order = steps - i;
    return order < known ? order : known;
}

enum hep_status unipc_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                           struct hep_error *error)
{
    const struct scheduler_config *config = context->config;
    int steps = context->options->num_inference_steps, most = config->solver_order;
    const char *vectors[6] = {0};
    struct ladder ladder;
    if (config->solver_type == SOLVER_BH1 && config->final_sigmas_type == FINAL_SIGMA_ZERO)
        return hep_fail_field(
            error, HEP_E_UNSUPPORTED, "solver_type",
            "unipc with solver_type bh1 needs final_sigmas_type sigma_min: at sigma 0 it is not finite");
    for (int k = 0; k < most + 2; k++)
        vectors[k] = names[k];
    HEP_TRY(ladder_make(config, context->noise, PLACE_INTERIOR, SIGMAS_OF_ALL, true, steps, &ladder, error));
    HEP_TRY(builder_open(builder, context, steps, 1, vectors, error));
    const struct coefficients history[] = {row_of(OUTPUT_1), row_of(OUTPUT_2), row_of(OUTPUT_3)};
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        double levels[4], alpha = alpha_of_sigma(ladder.sigmas[i]);
        for (int k = 0; k < 4; k++)
            levels[k] = i >= k ? ladder.sigmas[i - k] : 0;
        struct coefficients x = row_of(SAMPLE);
        struct predicted p = predict(config->prediction_type, x, row_of(HEP_PLAN_MODEL), alpha, levels[0] * alpha);
        struct coefficients output = config->predict_x0 ? p.x0 : p.epsilon;
        if (i > builder->first)
            x = update(config, order_at(config, i - 1, builder->first, steps), levels + 1, levels[0],
                       row_of(LAST_SAMPLE), history, &output);
        const struct coefficients outputs[] = {output, history[0], history[1]};
        int order = order_at(config, i, builder->first, steps);
        evaluation->timestep = ladder.timesteps[i];
        builder_sigma_vp(evaluation, levels[0]);
        builder_clean(evaluation, p.x0);
        builder_row(evaluation, SAMPLE, update(config, order, levels, ladder.sigmas[i + 1], x, outputs, NULL));
        builder_row(evaluation, LAST_SAMPLE, x);
        for (int k = 0; k < most; k++)
            builder_row(evaluation, OUTPUT_1 + k, k == 0 ? output : history[k - 1]);
    }
    builder->info.final_sigma = (float)ladder.sigmas[steps];
    return HEP_OK;
}
