/* What a model was trained with: the noise level of each training timestep. */
#ifndef HEP_NN_SCHEDULER_NOISE_SCHEDULE_H
#define HEP_NN_SCHEDULER_NOISE_SCHEDULE_H

#include "nn/scheduler/config.h"

/* What a method makes of rescale_betas_zero_snr. */
enum zero_snr {
    ZERO_SNR_IGNORED, /* the method does not have the key, as its class in diffusers        */
    ZERO_SNR_EXACT,   /* the last alpha is 0: fine for v_prediction, not finite for epsilon */
    ZERO_SNR_CLAMPED  /* the last alpha is 2^-24, sigma 4096: for methods that divide by it */
};

struct noise_schedule {
    int count;                                           /* T                                                */
    float alphas_cumprod[SCHEDULER_TRAIN_TIMESTEPS_MAX]; /* ᾱ of each timestep, rounded where torch rounds   */
    float sigmas[SCHEDULER_TRAIN_TIMESTEPS_MAX];         /* sqrt((1 − ᾱ) / ᾱ)                                */
    float log_sigmas[SCHEDULER_TRAIN_TIMESTEPS_MAX];
};

/* HEP_E_BAD_MODEL if trained_betas has not num_train_timesteps elements. */
enum hep_status noise_schedule_make(const struct scheduler_config *config, enum zero_snr zero_snr,
                                    struct noise_schedule *noise, struct hep_error *error);
/* ᾱ of a timestep; below 0 it is `final`. HEP_E_OUT_OF_RANGE past the last one: steps_offset can bring it there. */
enum hep_status noise_alpha(const struct noise_schedule *noise, int timestep, double final, double *alpha,
                            struct hep_error *error);
/* What lies past timestep 0: 1 or ᾱ of 0. */
double noise_final_alpha(const struct noise_schedule *noise, const struct scheduler_config *config);
/* sigma at a fractional timestep, linearly between its neighbours, held at the ends. */
double noise_sigma_at(const struct noise_schedule *noise, double timestep);
/* The fractional timestep whose log sigma, linearly between neighbours, is that of sigma; 0 … T − 1. */
double noise_timestep_of(const struct noise_schedule *noise, double sigma);

#endif
