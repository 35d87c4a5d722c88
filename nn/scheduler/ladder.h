/* The descending ladder of timesteps and sigmas that a method climbs down. */
#ifndef HEP_NN_SCHEDULER_LADDER_H
#define HEP_NN_SCHEDULER_LADDER_H

#include "nn/scheduler/noise_schedule.h"

/* How a family of methods places its timesteps. */
enum spacing_rule {
    PLACE_ROUNDED,    /* whole timesteps: the DDIM family                                                    */
    PLACE_FRACTIONAL, /* linspace is not rounded: the Euler family                                           */
    PLACE_INTERIOR    /* one more point than steps, the lowest left out: the DPM-Solver family               */
};

/* What sigma spacings (Karras and others) span, and what becomes of the timesteps they imply. */
enum sigma_rule {
    SIGMAS_OF_SELECTED, /* from the highest to the lowest selected sigma, timesteps stay fractional          */
    SIGMAS_OF_ALL       /* the whole range of the noise schedule, timesteps become whole                     */
};

struct ladder {
    int count; /* rungs: num_inference_steps                                  */
    double timesteps[HEP_STEPS_MAX];
    double sigmas[HEP_STEPS_MAX + 2]; /* f32 values; sigmas[count] ends the last step                */
    double max_sigma;                 /* of sigmas                                                   */
};

/* Timesteps alone, highest first. HEP_E_OUT_OF_RANGE if there are more steps than training timesteps. */
enum hep_status ladder_timesteps(const struct scheduler_config *config, enum spacing_rule place, int steps,
                                 int last_timestep, double *timesteps, struct hep_error *error);
/* Timesteps and sigmas. The final sigma is as the config's final_sigmas_type says; round_karras: timesteps of Karras
   and Lu spacings are rounded before anything else. */
enum hep_status ladder_make(const struct scheduler_config *config, const struct noise_schedule *noise,
                            enum spacing_rule place, enum sigma_rule rule, bool round_karras, int steps,
                            struct ladder *ladder, struct hep_error *error);
/* The same for samplers whose classes have no keys for it: fractional timesteps of the selected sigmas, which end at 0
   and lie on a line between those of the noise schedule. */
enum hep_status ladder_make_to_zero(const struct scheduler_config *config, const struct noise_schedule *noise,
                                    bool round_karras, int steps, struct ladder *ladder, struct hep_error *error);
/* LCM's and TCD's timesteps: those of the distillation, thinned to `steps`. */
enum hep_status ladder_distilled(const struct scheduler_config *config, int steps, double *timesteps,
                                 struct hep_error *error);
/* Standard deviation of the initial sample of the Euler family: sqrt(σ² + 1) with leading spacing, σ otherwise. */
double ladder_init_noise_sigma(const struct ladder *ladder, const struct scheduler_config *config);

/* x with I_x(a, a) = p for the regularised incomplete beta function, 0 ≤ p ≤ 1: the quantile of Beta(a, a). */
double beta_quantile(double p, double a);

#endif
