/* Plans and the table of schedulers as JSON, for `hep-eval scheduler` and for people. Formats only. */
#include "nn/scheduler/methods.h"
#include "nn/scheduler/plan.h"
#include "nn/scheduler/sigmas.h"

#include <stdlib.h>

static json_t *numbers(const float *values, int32_t count)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++)
        json_array_append_new(list, json_real((double)values[i]));
    return list;
}

static json_t *integers(const int32_t *values, int32_t count)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(values[i]));
    return list;
}

static json_t *vector_names(const struct hep_plan_info *info)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < info->state_vectors; i++)
        json_array_append_new(list, json_string(info->vectors[i]));
    return list;
}

static json_t *evaluation_json(const struct hep_scheduler_plan *plan, int32_t e)
{
    int32_t vectors = plan->info.state_vectors;
    json_t *matrix = json_array();
    for (int32_t r = 0; r < vectors; r++)
        json_array_append_new(matrix, numbers(hep_scheduler_plan_row(plan, e, r), vectors + 2));
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:b, s:i, s:f, s:f, s:f, s:f, s:o}", "evaluation", e, "step",
                     plan->steps_of[e], "timestep", (double)plan->timesteps[e], "sigma", (double)plan->sigmas[e],
                     "in_scale", (double)plan->in_scale[e], "draws_noise", plan->draw_of[e] != 0, "draw",
                     plan->draw_of[e], "add_sample", (double)plan->add_sample[e], "add_noise",
                     (double)plan->add_noise[e], "x0_sample", (double)plan->x0_sample[e], "x0_model",
                     (double)plan->x0_model[e], "matrix", matrix);
}

json_t *scheduler_plan_json(const struct hep_scheduler_plan *plan)
{
    const struct hep_plan_info *info = &plan->info;
    json_t *columns = vector_names(info), *evaluations = json_array();
    json_array_append_new(columns, json_string("model_output"));
    json_array_append_new(columns, json_string("noise"));
    for (int32_t e = 0; e < info->evaluations; e++)
        json_array_append_new(evaluations, evaluation_json(plan, e));
    return json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "scheduler", info->scheduler,
        "prediction_type", hep_prediction_name(info->prediction), "num_inference_steps", info->num_inference_steps,
        "steps", info->steps, "evaluations_count", info->evaluations, "skipped_evaluations", info->skipped_evaluations,
        "init_noise_sigma", (double)info->init_noise_sigma, "timesteps", numbers(plan->timesteps, info->evaluations),
        "sigmas", numbers(plan->sigmas, info->evaluations + 1), "in_scale", numbers(plan->in_scale, info->evaluations),
        "steps_of", integers(plan->steps_of, info->evaluations), "rows", vector_names(info), "columns", columns,
        "evaluations", evaluations);
}

static json_t *names_json(const char *const *names)
{
    json_t *list = json_array();
    for (; *names; names++)
        json_array_append_new(list, json_string(*names));
    return list;
}

static json_t *row_json(const struct scheduler_method *method)
{
    return json_pack("{s:s, s:s, s:o, s:s?, s:s}", "name", method->name, "title", method->title, "aliases",
                     names_json(method->aliases), "class", method->class_name, "help", method->help);
}

json_t *scheduler_list_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < scheduler_methods_count; i++)
        json_array_append_new(list, row_json(&scheduler_methods[i]));
    return list;
}

json_t *sigma_list_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sigma_schedules_count; i++) {
        const struct sigma_schedule *row = &sigma_schedules[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s}", "name", row->name, "title", row->title, "aliases",
                                              names_json(row->aliases), "help", row->help));
    }
    return list;
}

/* ---- one row ------------------------------------------------------------------------------------------------------
 */
static json_t *predictions_of(const struct scheduler_method *method)
{
    json_t *names = json_array();
    for (int i = 0; i < HEP_PREDICTION_COUNT; i++)
        if (method->predictions & 1u << i)
            json_array_append_new(names, json_string(hep_prediction_name((enum hep_prediction)i)));
    return names;
}

/* The method's own default, unless its defaults or its preset say another. */
static int order_of(const struct scheduler_method *method, json_t *config, json_t *preset)
{
    struct scheduler_config read;
    scheduler_config_init(&read);
    if (method->order > 0 || scheduler_config_read(config, &read, NULL) != HEP_OK ||
        scheduler_config_read(preset, &read, NULL) != HEP_OK)
        return method->order;
    return read.solver_order;
}

static enum hep_status add_plan(const struct scheduler_method *method, json_t *info, struct hep_error *error)
{
    const struct scheduler_options options = SCHEDULER_OPTIONS_DEFAULT;
    struct hep_scheduler_plan plan;
    size_t bytes;
    bool draws = false;
    json_t *nothing = json_object();
    enum hep_status status = scheduler_plan_make(method->name, nothing, &options, NULL, 0, &bytes, error);
    void *blob = status == HEP_OK ? malloc(bytes) : NULL;
    if (status == HEP_OK && !blob)
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a plan");
    if (status == HEP_OK)
        status = scheduler_plan_make(method->name, nothing, &options, blob, bytes, &bytes, error);
    if (status == HEP_OK)
        status = hep_scheduler_plan_open(blob, bytes, &plan, error);
    if (status == HEP_OK) {
        for (int32_t e = 0; e < plan.info.evaluations; e++)
            draws = draws || plan.draw_of[e] != 0;
        json_object_set_new(info, "noise", json_boolean(draws));
        json_object_set_new(info, "evaluations", json_integer(plan.info.evaluations));
        json_object_set_new(info, "state_vectors", vector_names(&plan.info));
    }
    free(blob);
    json_decref(nothing);
    return status;
}

enum hep_status scheduler_info_json(const char *name, json_t **info, struct hep_error *error)
{
    const struct scheduler_method *method;
    HEP_TRY(scheduler_method_get(name, &method, error));
    json_t *made = row_json(method), *config = json_loads(method->defaults, 0, NULL),
           *preset = method->preset ? json_loads(method->preset, 0, NULL) : json_object();
    if (!made || !config || !preset) {
        json_decref(made);
        json_decref(config);
        json_decref(preset);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a scheduler's description");
    }
    json_object_set_new(made, "order", json_integer(order_of(method, config, preset)));
    json_object_set_new(made, "config", config);
    json_object_set_new(made, "preset", preset);
    json_object_set_new(made, "prediction_types", predictions_of(method));
    enum hep_status status = add_plan(method, made, error);
    if (status == HEP_OK)
        *info = made;
    else
        json_decref(made);
    return status;
}
