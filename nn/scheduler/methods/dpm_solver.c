/* The weights that the DPM-Solver methods share; see dpm_solver.h. Called by dpmpp_2m.c and dpmpp_single.c. */
#include "nn/scheduler/methods/dpm_solver.h"
#include "nn/scheduler/builder.h"

#include <math.h>

struct dpm_step dpm_step_of(double s, double s_next)
{
    double alpha = alpha_of_sigma(s_next);
    return (struct dpm_step){.s = s, .s_next = s_next, .alpha = alpha, .sigma = s_next * alpha, .h = log(s / s_next)};
}

struct dpm_weights dpm_weights_of(enum algorithm_type algorithm, bool midpoint, const struct dpm_step *step)
{
    double alpha = step->alpha, sigma = step->sigma, h = step->h, e = expm1(h);
    double back = alpha_of_sigma(step->s), shrink = step->s_next * alpha / (step->s * back);
    double down = -expm1(-h), down2 = -expm1(-2 * h); /* 1 − exp(−h), 1 − exp(−2h) */
    switch (algorithm) {
    case ALGORITHM_DPM:
        return (struct dpm_weights){.x = alpha / back,
                                    .d0 = -sigma * e,
                                    .d1 = midpoint ? -0.5 * sigma * e : -sigma * (e / h - 1),
                                    .d2 = -sigma * ((e - h) / (h * h) - 0.5)};
    case ALGORITHM_SDE_DPM:
        return (struct dpm_weights){.x = alpha / back,
                                    .d0 = -2 * sigma * e,
                                    .d1 = midpoint ? -sigma * e : -2 * sigma * (e / h - 1),
                                    .noise = sigma * sqrt(expm1(2 * h))};
    case ALGORITHM_SDE_DPMPP:
        return (struct dpm_weights){.x = shrink * exp(-h),
                                    .d0 = alpha * down2,
                                    .d1 = midpoint ? 0.5 * alpha * down2 : alpha * (down2 / (-2 * h) + 1),
                                    .d2 = alpha * ((down2 - 2 * h) / (4 * h * h) - 0.5),
                                    .noise = sigma * sqrt(down2)};
    default:
        return (struct dpm_weights){.x = shrink,
                                    .d0 = alpha * down,
                                    .d1 = midpoint ? 0.5 * alpha * down : alpha * (1 - down / h),
                                    .d2 = -alpha * ((h - down) / (h * h) - 0.5)};
    }
}

void dpm_translate(struct scheduler_config *config)
{
    if (config->algorithm_type == ALGORITHM_DEIS)
        config->algorithm_type = ALGORITHM_DPMPP;
    if (config->solver_type != SOLVER_HEUN)
        config->solver_type = SOLVER_MIDPOINT;
}

enum hep_status dpm_check(const struct scheduler_config *config, struct hep_error *error)
{
    bool plus = config->algorithm_type == ALGORITHM_DPMPP || config->algorithm_type == ALGORITHM_SDE_DPMPP;
    if (!plus && config->final_sigmas_type == FINAL_SIGMA_ZERO)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "algorithm_type",
                              "algorithm_type dpmsolver and sde-dpmsolver need final_sigmas_type sigma_min");
    return HEP_OK;
}
