/* What the multistep and the single-step DPM-Solver share: the weights of one update. In terms of the noise level s =
   σ/α of the evaluations, λ = −ln s, so that exp(−h) is a ratio of noise levels. */
#ifndef HEP_SCHEDULER_METHODS_DPM_SOLVER_H
#define HEP_SCHEDULER_METHODS_DPM_SOLVER_H

#include "nn/scheduler/config.h"

/* An update from noise level s to s_next. */
struct dpm_step {
    double s, s_next;
    double alpha, sigma; /* at the end: x = alpha · x0 + sigma · epsilon     */
    double h;            /* λ(end) − λ(start); infinite if the end is clean  */
};
struct dpm_step dpm_step_of(double s, double s_next);

/* Weights of the sample, of D0, D1, D2 (the solution's derivatives, from converted outputs) and of the noise. */
struct dpm_weights {
    double x, d0, d1, d2, noise;
};
/* Lu et al. 2022, "DPM-Solver++", eq. 9, 12, 13, and its stochastic variants; midpoint: the second-order weight of D1
   that solver_type midpoint asks for. */
struct dpm_weights dpm_weights_of(enum algorithm_type algorithm, bool midpoint, const struct dpm_step *step);

/* Gives solver_type and algorithm_type of other classes the meaning they have for these. */
void dpm_translate(struct scheduler_config *config);
/* Refuses what is not finite: the plain variants divide by the last sigma. */
enum hep_status dpm_check(const struct scheduler_config *config, struct hep_error *error);

#endif
