/*
 * The table of sigma schedules, and those of them that a configuration has no key for. Called by plan.c and ladder.c.
 *
 * To add one: its function, a row; or a row alone, with a preset.
 */
#include "nn/scheduler/sigmas.h"

#include "common/name.h"

#include <math.h>
#include <string.h>

#define ALIASES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The noise level of a fractional timestep: log sigma linearly between its neighbours, as k-diffusion has it. */
static double sigma_of(const struct noise_schedule *noise, double timestep)
{
    int below = (int)floor(timestep), above = below + 1 < noise->count ? below + 1 : below;
    double share = timestep - below;
    return exp((1 - share) * (double)noise->log_sigmas[below] + share * (double)noise->log_sigmas[above]);
}

/* Timesteps in equal strides from the last one, the first one included or not. */
static void normal(const struct noise_schedule *noise, bool sdxl, int n, double *sigmas)
{
    (void)sdxl;
    for (int i = 0; i < n; i++)
        sigmas[i] = sigma_of(noise, n == 1 ? noise->count - 1 : (noise->count - 1) * (1 - (double)i / (n - 1)));
}

static void sgm_uniform(const struct noise_schedule *noise, bool sdxl, int n, double *sigmas)
{
    (void)sdxl;
    for (int i = 0; i < n; i++)
        sigmas[i] = sigma_of(noise, (noise->count - 1) * (1 - (double)i / n));
}

static void simple(const struct noise_schedule *noise, bool sdxl, int n, double *sigmas)
{
    (void)sdxl;
    for (int i = 0; i < n; i++)
        sigmas[i] = (double)noise->sigmas[noise->count - 1 - (int)(i * ((double)noise->count / n))];
}

/* Sabour et al. 2024, "Align Your Steps", for 10 steps; the last level ends the run, where zero stands for it. Other
   numbers of steps go along straight lines of log sigma, as the authors say. */
static void align_your_steps(const struct noise_schedule *noise, bool sdxl, int n, double *sigmas)
{
    enum { LEVELS = 11 };
    static const double levels[2][LEVELS] = {
        {14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029},
        {14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029}};
    const double *known = levels[sdxl];
    (void)noise;
    for (int i = 0; i < n; i++) {
        double at = (double)i * (LEVELS - 1) / n;
        int level = (int)at;
        double share = at - level;
        sigmas[i] = share == 0 ? known[level] : exp((1 - share) * log(known[level]) + share * log(known[level + 1]));
    }
}

const struct sigma_schedule sigma_schedules[] = {
    {"normal", "Normal", ALIASES("uniform"), NULL, normal, false, "equal strides of timesteps, down to the first one"},
    {"karras", "Karras", ALIASES("karras_sigmas"), "{\"use_karras_sigmas\": true}", NULL, false,
     "Karras et al. 2022: many small levels"},
    {"exponential", "Exponential", ALIASES("exponential_sigmas"), "{\"use_exponential_sigmas\": true}", NULL, false,
     "equal strides of log sigma"},
    {"beta", "Beta", ALIASES("beta_sigmas"), "{\"use_beta_sigmas\": true}", NULL, false,
     "Lee et al. 2024: many levels at both ends"},
    {"sgm_uniform", "SGM Uniform", ALIASES("sgm"), NULL, sgm_uniform, false,
     "equal strides of timesteps, the first one left out"},
    {"simple", "Simple", ALIASES("simple_sigmas"), NULL, simple, false, "every so many of the model's own levels"},
    {"ays", "Align Your Steps", ALIASES("ays_sigmas"), NULL, align_your_steps, true,
     "Sabour et al. 2024: levels found for few steps, 10 best"},
};
const size_t sigma_schedules_count = HEP_COUNT_OF(sigma_schedules);

static bool row_has_name(const struct sigma_schedule *schedule, const char *name)
{
    if (hep_name_is(schedule->name, name) || hep_name_is(schedule->title, name))
        return true;
    for (const char *const *alias = schedule->aliases; *alias; alias++)
        if (hep_name_is(*alias, name))
            return true;
    return false;
}

enum hep_status sigma_schedule_get(const char *name, const struct sigma_schedule **schedule, struct hep_error *error)
{
    for (size_t i = 0; strlen(name) < HEP_NAME_MAX && i < sigma_schedules_count; i++)
        if (row_has_name(&sigma_schedules[i], name)) {
            *schedule = &sigma_schedules[i];
            return HEP_OK;
        }
    hep_fail_field(error, HEP_E_NOT_FOUND, "sigmas", "there is no sigma schedule '%.64s'", name);
    return hep_hint(error, "`heptctl call scheduler.list` shows the names"), HEP_E_NOT_FOUND;
}
