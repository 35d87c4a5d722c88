/*
 * Beta schedules and what follows from them. Arithmetic is in f32 where torch's is, because some methods (DEIS) amplify
 * the rounding of alphas_cumprod; goldens/schedulers/inputs.safetensors has torch's values, and a test compares.
 */
#include "nn/scheduler/noise_schedule.h"

#include <math.h>

/* torch.linspace in f32: from both ends towards the middle, each value rounded once. */
static void linspace_f32(float start, float end, int count, float *out)
{
    float step = (end - start) / (float)(count - 1);
    for (int i = 0; i < count; i++)
        out[i] = i < count / 2 ? fmaf(step, (float)i, start) : fmaf(-step, (float)(count - i - 1), end);
}

/* Nichol and Dhariwal 2021, eq. 17, with betas capped at 0.999. */
static double cosine_alpha_bar(double t)
{
    double c = cos((t + 0.008) / 1.008 * 3.14159265358979323846 / 2);
    return c * c;
}

static void make_betas(const struct scheduler_config *config, float *betas)
{
    int count = config->num_train_timesteps;
    switch (config->beta_schedule) {
    case BETAS_LINEAR:
        linspace_f32((float)config->beta_start, (float)config->beta_end, count, betas);
        return;
    case BETAS_SCALED_LINEAR:
        linspace_f32((float)sqrt(config->beta_start), (float)sqrt(config->beta_end), count, betas);
        for (int i = 0; i < count; i++)
            betas[i] *= betas[i];
        return;
    case BETAS_SQUAREDCOS_CAP_V2:
        for (int i = 0; i < count; i++) {
            double ratio = cosine_alpha_bar((double)(i + 1) / count) / cosine_alpha_bar((double)i / count);
            betas[i] = (float)fmin(1 - ratio, 0.999);
        }
        return;
    }
}

/* Running product of 1 − beta: accumulated in double, stored in f32. */
static void cumulate(const float *betas, int count, float *alphas_cumprod)
{
    double product = 1;
    for (int i = 0; i < count; i++) {
        product *= (double)(1.0f - betas[i]);
        alphas_cumprod[i] = (float)product;
    }
}

/* Lin et al. 2023, algorithm 1: shifts and scales sqrt(ᾱ) so that the last one is 0; betas follow, in place. */
static void rescale_to_zero_snr(float *betas, int count, float *scratch)
{
    cumulate(betas, count, scratch);
    for (int i = 0; i < count; i++)
        scratch[i] = sqrtf(scratch[i]);
    float first = scratch[0], last = scratch[count - 1], scale = first / (first - last);
    for (int i = 0; i < count; i++) {
        scratch[i] = (scratch[i] - last) * scale;
        scratch[i] *= scratch[i];
    }
    betas[0] = 1.0f - scratch[0];
    for (int i = 1; i < count; i++)
        betas[i] = 1.0f - scratch[i] / scratch[i - 1];
}

enum hep_status noise_schedule_make(const struct scheduler_config *config, enum zero_snr zero_snr,
                                    struct noise_schedule *noise, struct hep_error *error)
{
    int count = config->num_train_timesteps;
    float *betas = noise->log_sigmas; /* until the end */
    if (config->trained_betas && json_array_size(config->trained_betas) != (size_t)count)
        return hep_fail_field(error, HEP_E_BAD_MODEL, "trained_betas",
                              "scheduler_config: trained_betas has %zu values, num_train_timesteps is %d",
                              json_array_size(config->trained_betas), count);
    noise->count = count;
    if (config->trained_betas)
        for (int i = 0; i < count; i++)
            betas[i] = (float)json_number_value(json_array_get(config->trained_betas, (size_t)i));
    else
        make_betas(config, betas);
    bool rescale = config->rescale_betas_zero_snr && zero_snr != ZERO_SNR_IGNORED;
    if (rescale)
        rescale_to_zero_snr(betas, count, noise->alphas_cumprod);
    cumulate(betas, count, noise->alphas_cumprod);
    if (rescale && zero_snr == ZERO_SNR_CLAMPED)
        noise->alphas_cumprod[count - 1] = 0x1p-24f;
    for (int i = 0; i < count; i++) {
        noise->sigmas[i] = sqrtf((1.0f - noise->alphas_cumprod[i]) / noise->alphas_cumprod[i]);
        noise->log_sigmas[i] = logf(noise->sigmas[i]);
    }
    return HEP_OK;
}

enum hep_status noise_alpha(const struct noise_schedule *noise, int timestep, double final, double *alpha,
                            struct hep_error *error)
{
    if (timestep >= noise->count)
        return hep_fail(error, HEP_E_OUT_OF_RANGE,
                        "the schedule asks for timestep %d, the model was trained on 0 … %d: use fewer steps", timestep,
                        noise->count - 1);
    *alpha = timestep < 0 ? final : (double)noise->alphas_cumprod[timestep];
    return HEP_OK;
}

double noise_final_alpha(const struct noise_schedule *noise, const struct scheduler_config *config)
{
    return config->set_alpha_to_one ? 1.0 : (double)noise->alphas_cumprod[0];
}

double noise_sigma_at(const struct noise_schedule *noise, double timestep)
{
    if (timestep <= 0)
        return noise->sigmas[0];
    if (timestep >= noise->count - 1)
        return noise->sigmas[noise->count - 1];
    int low = (int)timestep;
    double from = noise->sigmas[low], to = noise->sigmas[low + 1];
    return (to - from) * (timestep - low) + from;
}

double noise_timestep_of(const struct noise_schedule *noise, double sigma)
{
    double log_sigma = log(fmax(sigma, 1e-10));
    int low = 0;
    for (int i = 0; i < noise->count - 1; i++) /* the last one at or below sigma, but one */
        if (log_sigma >= (double)noise->log_sigmas[i])
            low = i;
    double from = noise->log_sigmas[low], to = noise->log_sigmas[low + 1];
    double weight = fmin(fmax((from - log_sigma) / (from - to), 0), 1);
    return (1 - weight) * low + weight * (low + 1);
}
