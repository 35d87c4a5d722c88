/* Plans and the table of schedulers as JSON, for `hep-eval scheduler` and for people. Formats only. */
#include "nn/scheduler/methods.h"
#include "nn/scheduler/plan.h"

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
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:b, s:i, s:f, s:f, s:o}", "evaluation", e, "step", plan->steps_of[e],
                     "timestep", (double)plan->timesteps[e], "sigma", (double)plan->sigmas[e], "in_scale",
                     (double)plan->in_scale[e], "draws_noise", plan->draw_of[e] != 0, "draw", plan->draw_of[e],
                     "add_sample", (double)plan->add_sample[e], "add_noise", (double)plan->add_noise[e], "matrix",
                     matrix);
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

json_t *scheduler_list_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < scheduler_methods_count; i++) {
        const struct scheduler_method *method = &scheduler_methods[i];
        json_t *aliases = json_array();
        for (const char *const *alias = method->aliases; *alias; alias++)
            json_array_append_new(aliases, json_string(*alias));
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o, s:s?, s:s}", "name", method->name, "title", method->title,
                                        "aliases", aliases, "class", method->class_name, "help", method->help));
    }
    return list;
}
