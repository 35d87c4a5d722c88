/*
 * Where a method puts its timesteps and sigmas: spacings of timesteps (leading, trailing, linspace) and of sigmas
 * (Karras et al. 2022 eq. 5, exponential, Beta(0.6, 0.6), Lu et al. 2022). Follows diffusers to the rounding: a
 * timestep that rounds the other way would be another image. Called by the methods.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/sigmas.h"

#include <math.h>

/* numpy.linspace(start, end, count)[i] */
static double linspace(double start, double end, int count, int i)
{
    if (count == 1)
        return start;
    return i == count - 1 ? end : i * ((end - start) / (count - 1)) + start;
}

enum hep_status ladder_timesteps(const struct scheduler_config *config, enum spacing_rule place, int steps,
                                 int last_timestep, double *timesteps, struct hep_error *error)
{
    bool trailing = config->timestep_spacing == SPACING_TRAILING;
    int points = place == PLACE_INTERIOR && !trailing ? steps + 1 : steps, ratio = last_timestep / points;
    double step = (double)config->num_train_timesteps / steps;
    double stride = (last_timestep - step) - last_timestep; /* as numpy.arange rounds it */
    if (points > last_timestep)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "num_inference_steps",
                              "%d steps are more than the model's %d training timesteps allow", steps, last_timestep);
    for (int i = 0; i < steps; i++) {
        int from_below = points - 1 - i;
        switch (config->timestep_spacing) {
        case SPACING_LEADING:
            timesteps[i] = from_below * ratio + config->steps_offset;
            break;
        case SPACING_TRAILING:
            timesteps[i] = rint(last_timestep + i * stride) - 1;
            break;
        case SPACING_LINSPACE:
            timesteps[i] = linspace(0, last_timestep - 1, points, from_below);
            timesteps[i] = place == PLACE_FRACTIONAL ? (double)(float)timesteps[i] : rint(timesteps[i]);
            break;
        }
        if (timesteps[i] < 0)
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "num_inference_steps",
                                  "%d steps of the model's %d training timesteps go below timestep 0", steps,
                                  last_timestep);
    }
    return HEP_OK;
}

/* Rung i of n from high to low, spaced as the config says. */
static double spaced_sigma(const struct scheduler_config *config, double high, double low, int n, int i)
{
    const double rho = 7;
    if (config->use_karras_sigmas) {
        double from = pow(high, 1 / rho), to = pow(low, 1 / rho);
        return pow(from + linspace(0, 1, n, i) * (to - from), rho);
    }
    if (config->use_beta_sigmas)
        return low + beta_quantile(1 - linspace(0, 1, n, i), 0.6) * (high - low);
    return exp(linspace(log(high), log(low), n, i)); /* exponential, and Lu's uniform log-SNR */
}

static bool is_spaced(const struct scheduler_config *config)
{
    return config->use_karras_sigmas || config->use_exponential_sigmas || config->use_beta_sigmas ||
           config->use_lu_lambdas;
}

/* Replaces the sigmas by spaced ones and the timesteps by what they imply. */
static void respace(const struct scheduler_config *config, const struct noise_schedule *noise, enum sigma_rule rule,
                    bool round_karras, int selected, struct ladder *ladder)
{
    bool all = rule == SIGMAS_OF_ALL;
    double high = all ? (double)noise->sigmas[noise->count - 1] : ladder->sigmas[0];
    double low = all ? (double)noise->sigmas[0] : ladder->sigmas[selected - 1];
    high = config->sigma_max > 0 ? config->sigma_max : high;
    low = config->sigma_min > 0 ? config->sigma_min : low;
    bool rounds = round_karras && (config->use_karras_sigmas || config->use_lu_lambdas);
    for (int i = 0; i < ladder->count; i++) {
        double sigma = spaced_sigma(config, high, low, ladder->count, i);
        double timestep = noise_timestep_of(noise, sigma);
        timestep = rounds ? rint(timestep) : timestep;
        ladder->timesteps[i] = all ? trunc(timestep) : timestep;
        ladder->sigmas[i] = sigma;
    }
}

enum hep_status ladder_make(const struct scheduler_config *config, const struct noise_schedule *noise,
                            enum spacing_rule place, enum sigma_rule rule, bool round_karras, int steps,
                            struct ladder *ladder, struct hep_error *error)
{
    int last_timestep = noise->count;
    if (place == PLACE_INTERIOR)
        for (int i = 0; i < noise->count; i++) /* log-SNR is −log sigma */
            last_timestep -= -(double)noise->log_sigmas[i] < config->lambda_min_clipped;
    HEP_TRY(ladder_timesteps(config, place, steps, last_timestep, ladder->timesteps, error));
    int selected = steps; /* sigmas before the final one */
    ladder->count = steps;
    for (int i = 0; i < steps; i++) {
        double ignored;
        HEP_TRY(noise_alpha(noise, (int)ceil(ladder->timesteps[i]), 1, &ignored, error));
        ladder->sigmas[i] = noise_sigma_at(noise, ladder->timesteps[i]);
    }
    if (place == PLACE_FRACTIONAL && config->interpolation_type == INTERPOLATE_LOG_LINEAR) {
        selected = steps + 1; /* the last step then ends at the lowest sigma, not at the final one */
        for (int i = 0; i < selected; i++)
            ladder->sigmas[i] = exp(linspace(noise->log_sigmas[noise->count - 1], noise->log_sigmas[0], selected, i));
    }
    if (config->sigmas && config->sigmas->fill) {
        selected = steps;
        config->sigmas->fill(noise, config->sdxl, steps, ladder->sigmas);
        for (int i = 0; i < steps; i++)
            ladder->timesteps[i] = noise_timestep_of(noise, ladder->sigmas[i]);
    } else if (is_spaced(config)) {
        respace(config, noise, rule, round_karras, selected, ladder);
        selected = steps;
    }
    ladder->sigmas[selected] = config->final_sigmas_type == FINAL_SIGMA_MIN ? (double)noise->sigmas[0] : 0;
    ladder->max_sigma = 0;
    for (int i = 0; i <= selected; i++) {
        ladder->sigmas[i] = (double)(float)ladder->sigmas[i];
        ladder->max_sigma = fmax(ladder->max_sigma, ladder->sigmas[i]);
    }
    return HEP_OK;
}

enum hep_status ladder_make_to_zero(const struct scheduler_config *config, const struct noise_schedule *noise,
                                    bool round_karras, int steps, struct ladder *ladder, struct hep_error *error)
{
    struct scheduler_config own = *config;
    own.final_sigmas_type = FINAL_SIGMA_ZERO;
    own.interpolation_type = INTERPOLATE_LINEAR;
    return ladder_make(&own, noise, PLACE_FRACTIONAL, SIGMAS_OF_SELECTED, round_karras, steps, ladder, error);
}

enum hep_status ladder_distilled(const struct scheduler_config *config, int steps, double *timesteps,
                                 struct hep_error *error)
{
    int original = config->original_inference_steps;
    if (original > config->num_train_timesteps)
        return hep_fail_field(error, HEP_E_BAD_MODEL, "original_inference_steps",
                              "scheduler_config: original_inference_steps %d is more than num_train_timesteps %d",
                              original, config->num_train_timesteps);
    if (steps > original)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "num_inference_steps",
                              "%d steps, but the model was distilled to %d (original_inference_steps)", steps,
                              original);
    int apart = config->num_train_timesteps / original;
    double stride = (double)original / steps;
    for (int i = 0; i < steps; i++) {
        int skipped = (int)floor(i * stride);
        timesteps[i] = (original - skipped) * apart - 1;
    }
    return HEP_OK;
}

double ladder_init_noise_sigma(const struct ladder *ladder, const struct scheduler_config *config)
{
    bool leading = config->timestep_spacing == SPACING_LEADING;
    return leading ? sqrt(ladder->max_sigma * ladder->max_sigma + 1) : ladder->max_sigma;
}
