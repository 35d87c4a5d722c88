/*
 * From a scheduler's name to the sealed plan: finds the row, reads the config over the row's defaults and under its
 * preset, refuses what the row cannot do, lets the method fill a builder, checks every number, writes the blob.
 */
#include "nn/scheduler/plan.h"
#include "nn/scheduler/methods.h"
#include "nn/scheduler/sigmas.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum hep_status find_method(const char *name, const json_t *config, const struct scheduler_method **method,
                                   struct hep_error *error)
{
    bool own = name[0] == '\0';
    const char *wanted = own ? json_string_value(json_object_get(config, "_class_name")) : name;
    if (!wanted)
        return hep_fail_field(error, HEP_E_BAD_MODEL, "_class_name",
                              "scheduler_config has no _class_name, and no scheduler was asked for");
    if (!own)
        return scheduler_method_get(wanted, method, error);
    *method = scheduler_method_of_class(wanted);
    if (*method)
        return HEP_OK;
    hep_fail_field(error, HEP_E_BAD_MODEL, "_class_name", "there is no scheduler '%.64s'", wanted);
    return hep_hint(error, "`heptctl call scheduler.list` shows the names"), HEP_E_BAD_MODEL;
}

/* Overlays a text of the table. */
static enum hep_status read_text(const char *text, struct scheduler_config *config, struct hep_error *error)
{
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    if (!json)
        return text ? hep_fail(error, HEP_E_NO_MEMORY, "scheduler: a row's keys") : HEP_OK;
    enum hep_status status = scheduler_config_read(json, config, error);
    json_decref(json);
    return status;
}

static enum hep_status read_config(const struct scheduler_method *method, const json_t *json,
                                   struct scheduler_config *config, struct hep_error *error)
{
    scheduler_config_init(config);
    HEP_TRY(read_text(method->defaults, config, error));
    HEP_TRY(scheduler_config_read(json, config, error));
    struct scheduler_config set = *config;
    if (method->preset && strstr(method->preset, "sigmas")) /* a name's sigma spacing replaces the model's */
        set.use_karras_sigmas = set.use_exponential_sigmas = set.use_beta_sigmas = set.use_lu_lambdas = false;
    HEP_TRY(read_text(method->preset, &set, error));
    *config = set;
    if (method->clips && config->clip_sample) {
        hep_fail_field(error, HEP_E_UNSUPPORTED, "clip_sample",
                       "scheduler_config: clip_sample true is not supported by %s", method->name);
        return hep_hint(error, "latent models are trained with clip_sample false");
    }
    if (!(method->predictions & 1u << config->prediction_type))
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "prediction_type", "%s does not support prediction_type %s",
                              method->name, hep_prediction_name(config->prediction_type));
    return HEP_OK;
}

/* A schedule that the request names stands for whatever the configuration says of sigmas. */
static enum hep_status read_sigmas(const struct scheduler_method *method, const struct scheduler_options *options,
                                   struct scheduler_config *config, struct hep_error *error)
{
    const struct sigma_schedule *schedule = NULL;
    const char *family = options->family ? options->family : "";
    if (!options->sigmas || options->sigmas[0] == '\0')
        return HEP_OK;
    HEP_TRY(sigma_schedule_get(options->sigmas, &schedule, error));
    if (method->by_timesteps)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "sigmas", "%s goes by timesteps: it has no sigma schedules",
                              method->name);
    if (method->preset && strstr(method->preset, "sigmas"))
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "sigmas", "%s says its own sigmas", method->name);
    if (schedule->needs_family && family[0] == '\0')
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "family", "%s needs the model's family", schedule->name);
    config->use_karras_sigmas = config->use_exponential_sigmas = config->use_beta_sigmas = false;
    config->use_lu_lambdas = false;
    config->interpolation_type = INTERPOLATE_LINEAR;
    config->sigmas = schedule;
    config->sdxl = strncmp(family, "sdxl", strlen("sdxl")) == 0; /* the refiner too */
    return read_text(schedule->preset, config, error);
}

static enum hep_status check_options(const struct scheduler_options *o, struct hep_error *error)
{
    if (o->num_inference_steps < 1 || o->num_inference_steps > HEP_STEPS_MAX)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "num_inference_steps",
                              "num_inference_steps %" PRId32 " is not in 1 … %d", o->num_inference_steps,
                              HEP_STEPS_MAX);
    if (!(o->strength > 0 && o->strength <= 1))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "strength", "strength %g is not in (0, 1]", o->strength);
    if (!(o->eta <= 1))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "eta", "eta %g is not in 0 … 1", o->eta);
    if (o->lms_order < 1 || o->lms_order > 4)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "lms_order", "lms_order %d is not in 1 … 4", o->lms_order);
    if (!(o->s_churn >= 0 && o->s_tmin >= 0 && o->s_tmax >= 0 && o->s_noise >= 0))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "s_churn", "s_churn, s_tmin, s_tmax, s_noise: below 0");
    return HEP_OK;
}

/* Every number must fit f32: a coefficient that does not would come out of the network loop as a grey image. */
static enum hep_status check_finite(const struct scheduler_builder *builder, const struct scheduler_method *method,
                                    const struct scheduler_config *config, struct hep_error *error)
{
    bool finite = isfinite(builder->info.init_noise_sigma) && builder->info.init_noise_sigma > 0 &&
                  isfinite(builder->info.final_sigma);
    for (int32_t i = 0; finite && i < builder->info.evaluations; i++) {
        const struct hep_plan_evaluation *e = &builder->evaluations[i];
        finite = isfinite((float)e->timestep) && isfinite((float)e->in_scale) && isfinite((float)e->sigma) &&
                 isfinite((float)e->add_sample) && isfinite((float)e->add_noise) && isfinite((float)e->x0_sample) &&
                 isfinite((float)e->x0_model);
        for (int32_t r = 0; r < builder->info.state_vectors; r++)
            for (int c = 0; c < HEP_PLAN_COLUMNS; c++)
                finite = finite && isfinite((float)e->rows[r][c]);
    }
    if (finite)
        return HEP_OK;
    hep_fail(
        error, HEP_E_UNSUPPORTED, "%s with %" PRId32 " steps, prediction_type %s%s%s gives values that are not finite",
        method->name, builder->info.num_inference_steps, hep_prediction_name(config->prediction_type),
        config->rescale_betas_zero_snr && method->zero_snr != ZERO_SNR_IGNORED ? ", rescale_betas_zero_snr true" : "",
        config->final_sigmas_type == FINAL_SIGMA_ZERO ? "" : ", final_sigmas_type sigma_min");
    return hep_hint(error, "choose another scheduler or another number of steps");
}

static enum hep_status write_blob(const struct scheduler_builder *builder, void *blob, size_t capacity, size_t *bytes,
                                  struct hep_error *error)
{
    size_t needed = hep_scheduler_plan_bytes(builder->info.evaluations, builder->info.state_vectors);
    if (blob && capacity < needed)
        return hep_fail(error, HEP_E_TOO_LARGE, "the plan needs %zu bytes, there are %zu", needed, capacity);
    if (blob) {
        hep_scheduler_plan_begin(blob, &builder->info);
        for (int32_t i = 0; i < builder->info.evaluations; i++)
            hep_scheduler_plan_put(blob, i, &builder->evaluations[i]);
        hep_scheduler_plan_seal(blob);
    }
    *bytes = needed;
    return HEP_OK;
}

enum hep_status scheduler_plan_make(const char *name, const json_t *config, const struct scheduler_options *options,
                                    void *blob, size_t capacity, size_t *bytes, struct hep_error *error)
{
    const struct scheduler_method *method = NULL;
    struct scheduler_config read;
    HEP_TRY(check_options(options, error));
    HEP_TRY(find_method(name, config, &method, error));
    HEP_TRY(read_config(method, config, &read, error));
    HEP_TRY(read_sigmas(method, options, &read, error));
    enum hep_status status;
    struct scheduler_builder builder = {0};
    struct noise_schedule *noise = malloc(sizeof *noise);
    struct scheduler_context context = {.config = &read, .options = options, .noise = noise};
    if (!noise)
        return hep_fail(error, HEP_E_NO_MEMORY, "scheduler: noise schedule");
    HEP_TRY_DONE(status, noise_schedule_make(&read, method->zero_snr, noise, error));
    HEP_TRY_DONE(status, method->plan(&context, &builder, error));
    snprintf(builder.info.scheduler, sizeof builder.info.scheduler, "%s", method->name);
    HEP_TRY_DONE(status, check_finite(&builder, method, &read, error));
    HEP_TRY_DONE(status, write_blob(&builder, blob, capacity, bytes, error));
done:
    builder_clear(&builder);
    free(noise);
    return status;
}

int32_t scheduler_switch_at(const struct hep_scheduler_plan *plan, int num_train_timesteps, double at)
{
    double cutoff = nearbyint(num_train_timesteps - at * num_train_timesteps);
    for (int32_t e = 1; e < plan->info.evaluations; e++)
        if ((double)plan->timesteps[e] < cutoff && plan->steps_of[e] != plan->steps_of[e - 1])
            return e;
    return plan->info.evaluations;
}
