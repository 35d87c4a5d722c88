/*
 * The scheduler domain's one computation: a name, a model's scheduler_config and a few options in, a plan out. A pure
 * function: the same inputs give the same bytes. Used by heptad-scheduler and by `hep-eval scheduler`.
 */
#ifndef HEP_NN_SCHEDULER_PLAN_H
#define HEP_NN_SCHEDULER_PLAN_H

#include "nn/scheduler/builder.h"

/*
 * Computes the plan of scheduler `name` (a row's name, title, alias or class; "" takes the config's _class_name) for a
 * model with this scheduler_config (a JSON object). Call with blob NULL to learn *bytes, then with a blob of that many
 * bytes, aligned to 4; *bytes is set in both. options: start from SCHEDULER_OPTIONS_DEFAULT.
 * Errors: HEP_E_NOT_FOUND for an unknown name, HEP_E_BAD_MODEL for a config value that is wrong or not supported (names
 * key and value), HEP_E_OUT_OF_RANGE for an option (names the field), HEP_E_UNSUPPORTED for a combination that the
 * method does not have or that gives values which are not finite, HEP_E_TOO_LARGE if capacity is too small.
 */
enum hep_status scheduler_plan_make(const char *name, const json_t *config, const struct scheduler_options *options,
                                    void *blob, size_t capacity, size_t *bytes, struct hep_error *error);

/* The evaluation, 1 … all of them, from which a refiner goes on in place of the base: the first that begins a step and
   whose timestep is below round(num_train_timesteps · (1 − at)); all of them, if there is none. The base always begins.
   at: 0 … 1. Source: denoising_end and denoising_start of diffusers' SDXL pipelines, apply_refiner of
   stable-diffusion-webui 1.10. */
int32_t scheduler_switch_at(const struct hep_scheduler_plan *plan, int num_train_timesteps, double at);

/* The plan as JSON, as docs/scheduler.md describes it; a new reference, or NULL without memory. */
json_t *scheduler_plan_json(const struct hep_scheduler_plan *plan);

/* One row of the table: name, title, aliases, class, help; config: the keys whose absence means something else to it,
   preset: what its name decides against a scheduler_config; prediction_types; order; of the plan that these alone give
   for 20 steps: evaluations, state_vectors, noise (whether they draw it). A new reference. NOT_FOUND, field scheduler;
   NO_MEMORY. */
enum hep_status scheduler_info_json(const char *name, json_t **info, struct hep_error *error);

/* The table as a JSON list of {name, title, aliases, class, help}; a new reference, or NULL without memory. */
json_t *scheduler_list_json(void);
/* The same of sigma schedules: {name, title, aliases, help}. */
json_t *sigma_list_json(void);

#endif
