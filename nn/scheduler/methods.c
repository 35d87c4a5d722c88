/*
 * The table of diffusion schedulers and the search for a name in it. Read by the planner, by `scheduler.list` and by
 * everything that shows names to people.
 *
 * To add one: a file methods/<name>.c with its plan function, the function's name in methods.h, a row here, its runs in
 * tests/golden. A variant (another sigma spacing, another algorithm) is a row alone, with a preset.
 */
#include "nn/scheduler/methods.h"

#include "common/name.h"

#include <string.h>

#define ALIASES(...) ((const char *const[]){__VA_ARGS__, NULL})

enum {
    E_V = 1u << HEP_PREDICT_EPSILON | 1u << HEP_PREDICT_V,
    E_V_SAMPLE = E_V | 1u << HEP_PREDICT_SAMPLE,
};

#define LEADING    "{\"timestep_spacing\": \"leading\"}"
#define SD_BETAS   "\"beta_start\": 0.00085, \"beta_end\": 0.012"
#define K_BETAS    "{" SD_BETAS "}"
#define DISTILLED  "{" SD_BETAS ", \"beta_schedule\": \"scaled_linear\", \"timestep_spacing\": \"leading\"}"
#define KARRAS     "{\"use_karras_sigmas\": true}"
#define SDE        "{\"algorithm_type\": \"sde-dpmsolver++\"}"
#define SDE_KARRAS "{\"algorithm_type\": \"sde-dpmsolver++\", \"use_karras_sigmas\": true}"

const struct scheduler_method scheduler_methods[] = {
    {"ddim", "DDIM", ALIASES("DDIMScheduler"), "DDIMScheduler", ddim_plan, ZERO_SNR_EXACT, true, E_V_SAMPLE, LEADING,
     NULL, "deterministic with eta 0 (default), ancestral with eta 1", 1, true},
    {"pndm", "PLMS", ALIASES("PNDMScheduler", "k_plms"), "PNDMScheduler", pndm_plan, ZERO_SNR_IGNORED, false, E_V,
     "{\"timestep_spacing\": \"leading\", \"set_alpha_to_one\": false}", NULL,
     "linear multistep, the first of Stable Diffusion; one evaluation more than steps", 4, true},
    {"euler", "Euler", ALIASES("EulerDiscreteScheduler", "k_euler"), "EulerDiscreteScheduler", euler_plan,
     ZERO_SNR_CLAMPED, false, E_V_SAMPLE, "{}", NULL, "first order, deterministic; simple and dependable", 1, false},
    {"euler_karras", "Euler Karras", ALIASES("k_euler_ka"), NULL, euler_plan, ZERO_SNR_CLAMPED, false, E_V_SAMPLE, "{}",
     KARRAS, "euler with the noise levels of Karras et al.", 1, false},
    {"euler_ancestral", "Euler a", ALIASES("EulerAncestralDiscreteScheduler", "k_euler_a", "k_euler_ancestral"),
     "EulerAncestralDiscreteScheduler", euler_ancestral_plan, ZERO_SNR_CLAMPED, false, E_V, "{}", NULL,
     "first order with fresh noise each step: images keep changing with more steps", 1, false},
    {"dpmpp_2m", "DPM++ 2M", ALIASES("DPMSolverMultistepScheduler", "k_dpmpp_2m", "dpmsolver++"),
     "DPMSolverMultistepScheduler", dpmpp_2m_plan, ZERO_SNR_CLAMPED, false, E_V_SAMPLE, "{}", NULL,
     "second order multistep, deterministic; good from about 15 steps", 0, false},
    {"dpmpp_2m_karras", "DPM++ 2M Karras", ALIASES("k_dpmpp_2m_ka"), NULL, dpmpp_2m_plan, ZERO_SNR_CLAMPED, false,
     E_V_SAMPLE, "{}", KARRAS, "dpmpp_2m with the noise levels of Karras et al.", 0, false},
    {"dpmpp_2m_sde", "DPM++ 2M SDE", ALIASES("k_dpmpp_2m_sde"), NULL, dpmpp_2m_plan, ZERO_SNR_CLAMPED, false,
     E_V_SAMPLE, "{}", SDE, "dpmpp_2m with fresh noise each step", 0, false},
    {"dpmpp_2m_sde_karras", "DPM++ 2M SDE Karras", ALIASES("k_dpmpp_2m_sde_ka"), NULL, dpmpp_2m_plan, ZERO_SNR_CLAMPED,
     false, E_V_SAMPLE, "{}", SDE_KARRAS, "dpmpp_2m_sde with the noise levels of Karras et al.", 0, false},
    {"lcm", "LCM", ALIASES("LCMScheduler"), "LCMScheduler", lcm_plan, ZERO_SNR_EXACT, true, E_V_SAMPLE, DISTILLED, NULL,
     "for latent consistency models: 1 to 8 steps, low guidance", 1, true},
    {"heun", "Heun", ALIASES("HeunDiscreteScheduler", "k_heun"), "HeunDiscreteScheduler", heun_plan, ZERO_SNR_IGNORED,
     true, E_V_SAMPLE, K_BETAS, NULL, "second order, two evaluations per step", 2, false},
    {"kdpm2", "DPM2", ALIASES("KDPM2DiscreteScheduler", "k_dpm_2", "dpm_2"), "KDPM2DiscreteScheduler", kdpm2_plan,
     ZERO_SNR_IGNORED, false, E_V, K_BETAS, NULL, "second order by midpoints, two evaluations per step", 2, false},
    {"kdpm2_ancestral", "DPM2 a", ALIASES("KDPM2AncestralDiscreteScheduler", "k_dpm_2_a", "dpm_2_ancestral"),
     "KDPM2AncestralDiscreteScheduler", kdpm2_ancestral_plan, ZERO_SNR_IGNORED, false, E_V, K_BETAS, NULL,
     "kdpm2 with fresh noise each step", 2, false},
    {"lms", "LMS", ALIASES("LMSDiscreteScheduler", "k_lms"), "LMSDiscreteScheduler", lms_plan, ZERO_SNR_IGNORED, false,
     E_V_SAMPLE, "{}", NULL, "linear multistep over noise levels, order 4", 4, false},
    {"lms_karras", "LMS Karras", ALIASES("k_lms_ka"), NULL, lms_plan, ZERO_SNR_IGNORED, false, E_V_SAMPLE, "{}", KARRAS,
     "lms with the noise levels of Karras et al.", 4, false},
    {"unipc", "UniPC", ALIASES("UniPCMultistepScheduler", "uni_pc", "uni_pc_bh2"), "UniPCMultistepScheduler",
     unipc_plan, ZERO_SNR_CLAMPED, false, E_V_SAMPLE, "{\"solver_type\": \"bh2\"}", NULL,
     "predictor and corrector, deterministic; good from about 10 steps", 0, false},
    {"deis", "DEIS", ALIASES("DEISMultistepScheduler"), "DEISMultistepScheduler", deis_plan, ZERO_SNR_IGNORED, false,
     E_V_SAMPLE, "{}", NULL, "exponential integrator, multistep, deterministic", 0, false},
    {"dpmpp_single", "DPM++ 2S", ALIASES("DPMSolverSinglestepScheduler", "dpmpp_2s"), "DPMSolverSinglestepScheduler",
     dpmpp_single_plan, ZERO_SNR_IGNORED, false, E_V_SAMPLE, "{\"lower_order_final\": false}", NULL,
     "DPM-Solver++ single step: orders alternate within each group of evaluations", 0, false},
    {"dpmpp_sde", "DPM++ SDE", ALIASES("DPMSolverSDEScheduler", "k_dpmpp_sde"), "DPMSolverSDEScheduler", dpmpp_sde_plan,
     ZERO_SNR_IGNORED, false, E_V, K_BETAS, NULL, "stochastic, second order, two evaluations per step", 2, false},
    {"dpmpp_sde_karras", "DPM++ SDE Karras", ALIASES("k_dpmpp_sde_ka"), NULL, dpmpp_sde_plan, ZERO_SNR_IGNORED, false,
     E_V, K_BETAS, KARRAS, "dpmpp_sde with the noise levels of Karras et al.", 2, false},
    {"ddpm", "DDPM", ALIASES("DDPMScheduler"), "DDPMScheduler", ddpm_plan, ZERO_SNR_EXACT, true, E_V_SAMPLE, LEADING,
     NULL, "ancestral sampling as in training; wants many steps", 1, true},
    {"tcd", "TCD", ALIASES("TCDScheduler"), "TCDScheduler", tcd_plan, ZERO_SNR_EXACT, true, E_V_SAMPLE, DISTILLED, NULL,
     "for trajectory consistency models: few steps; eta (default 0.3) is the noise", 1, true},
};
const size_t scheduler_methods_count = HEP_COUNT_OF(scheduler_methods);

static bool row_has_name(const struct scheduler_method *method, const char *name)
{
    if (hep_name_is(method->name, name) || hep_name_is(method->title, name))
        return true;
    for (const char *const *alias = method->aliases; *alias; alias++)
        if (hep_name_is(*alias, name))
            return true;
    return false;
}

const struct scheduler_method *scheduler_method_find(const char *name)
{
    for (size_t i = 0; i < scheduler_methods_count; i++)
        if (strlen(name) < HEP_NAME_MAX && row_has_name(&scheduler_methods[i], name))
            return &scheduler_methods[i];
    return NULL;
}

enum hep_status scheduler_method_get(const char *name, const struct scheduler_method **method, struct hep_error *error)
{
    const struct scheduler_method *found = scheduler_method_find(name);
    if (!found) {
        hep_fail_field(error, HEP_E_NOT_FOUND, "scheduler", "there is no scheduler '%.64s'", name);
        return hep_hint(error, "`heptctl call scheduler.list` shows the names"), HEP_E_NOT_FOUND;
    }
    *method = found;
    return HEP_OK;
}

const struct scheduler_method *scheduler_method_of_class(const char *class_name)
{
    for (size_t i = 0; i < scheduler_methods_count; i++)
        if (scheduler_methods[i].class_name && strcmp(scheduler_methods[i].class_name, class_name) == 0)
            return &scheduler_methods[i];
    return NULL;
}
