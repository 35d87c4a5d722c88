/* A model's scheduler_config.json as the methods read it. Keys that no method knows are left alone, as other programs
   write many; a known key with a value that is not supported is an error that names both. */
#ifndef HEP_NN_SCHEDULER_CONFIG_H
#define HEP_NN_SCHEDULER_CONFIG_H

#include "common/scheduler_plan.h"

#include <jansson.h>

enum { SCHEDULER_TRAIN_TIMESTEPS_MAX = 4096 };

/* Each list of choices is a list of the values' names in config.c, in the same order. */
enum beta_schedule { BETAS_LINEAR, BETAS_SCALED_LINEAR, BETAS_SQUAREDCOS_CAP_V2 };
enum timestep_spacing { SPACING_LEADING, SPACING_TRAILING, SPACING_LINSPACE };
enum interpolation_type { INTERPOLATE_LINEAR, INTERPOLATE_LOG_LINEAR };
enum final_sigmas_type { FINAL_SIGMA_ZERO, FINAL_SIGMA_MIN };
enum algorithm_type { ALGORITHM_DPM, ALGORITHM_DPMPP, ALGORITHM_SDE_DPM, ALGORITHM_SDE_DPMPP, ALGORITHM_DEIS };
enum solver_type { SOLVER_MIDPOINT, SOLVER_HEUN, SOLVER_LOGRHO, SOLVER_BH1, SOLVER_BH2 };
enum variance_type { VARIANCE_FIXED_SMALL, VARIANCE_FIXED_SMALL_LOG, VARIANCE_FIXED_LARGE, VARIANCE_FIXED_LARGE_LOG };

struct sigma_schedule; /* sigmas.h */

struct scheduler_config {
    int num_train_timesteps;     /* T                                                                     */
    double beta_start, beta_end; /* ends of the beta schedule                                             */
    enum beta_schedule beta_schedule;
    const json_t *trained_betas; /* T betas instead of a schedule, or NULL; borrowed from the JSON        */
    bool rescale_betas_zero_snr; /* the last timestep is pure noise (Lin et al. 2023, algorithm 1)        */
    enum hep_prediction prediction_type;
    enum timestep_spacing timestep_spacing;
    int steps_offset;      /* added to timesteps with leading spacing                               */
    bool set_alpha_to_one; /* the step past timestep 0 ends at alpha 1 instead of alpha of 0        */
    bool clip_sample;      /* no method can: clipping is not linear                                 */
    bool skip_prk_steps;   /* PNDM without its Runge-Kutta warm-up                                  */
    bool use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, use_lu_lambdas; /* at most one          */
    const struct sigma_schedule *sigmas; /* what a request asks for in place of those; NULL = nothing             */
    bool sdxl;                           /* of which family the model is, for schedules that differ                */
    double sigma_min, sigma_max;         /* ends of those sigma spacings; 0: those of the noise schedule          */
    enum interpolation_type interpolation_type;
    enum final_sigmas_type final_sigmas_type;
    double lambda_min_clipped; /* timesteps with a lower log-SNR are left out                           */
    int solver_order;          /* 1 … 3                                                                 */
    enum solver_type solver_type;
    enum algorithm_type algorithm_type;
    bool lower_order_final, euler_at_final; /* the last steps of a multistep method use lower orders        */
    bool predict_x0;                        /* UniPC works on x0 instead of epsilon                                  */
    enum variance_type variance_type;       /* DDPM's noise                                                        */
    int original_inference_steps;           /* LCM, TCD: steps of the distillation                                   */
    double timestep_scaling;                /* LCM's boundary condition                                              */
};

/* The values that every method starts from. */
void scheduler_config_init(struct scheduler_config *config);
/* Overlays the keys of a JSON object, of which null means "absent". HEP_E_BAD_MODEL names key and value. The object
   must outlive config. */
enum hep_status scheduler_config_read(const json_t *json, struct scheduler_config *config, struct hep_error *error);

#endif
