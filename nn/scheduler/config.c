/*
 * Reads scheduler_config.json through one table of keys. Called by the planner, for a method's defaults, for the
 * model's own file and for the presets of names like "DPM++ 2M Karras", which all are JSON of the same keys. Never
 * guesses.
 */
#include "nn/scheduler/config.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum key_kind {
    KEY_NUMBER,  /* double in [min, max]                       */
    KEY_INTEGER, /* int in [min, max]                          */
    KEY_FLAG,    /* bool                                       */
    KEY_CHOICE,  /* enum: index of the name in choices         */
    KEY_LIST,    /* const json_t *: an array of numbers        */
    KEY_REFUSED  /* must be false, null, empty or absent       */
};

struct config_key {
    const char *name;
    enum key_kind kind;
    size_t offset; /* of the member in struct scheduler_config */
    double min, max;
    const char *const *choices; /* ends with NULL                           */
};

#define CHOICES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define AT(member)   offsetof(struct scheduler_config, member)

/* To add one: a member in config.h, a row here, its default in scheduler_config_init(). */
static const struct config_key keys[] = {
    {"num_train_timesteps", KEY_INTEGER, AT(num_train_timesteps), 2, SCHEDULER_TRAIN_TIMESTEPS_MAX, NULL},
    {"beta_start", KEY_NUMBER, AT(beta_start), 1e-12, 1, NULL},
    {"beta_end", KEY_NUMBER, AT(beta_end), 1e-12, 1, NULL},
    {"beta_schedule", KEY_CHOICE, AT(beta_schedule), 0, 0, CHOICES("linear", "scaled_linear", "squaredcos_cap_v2")},
    {"trained_betas", KEY_LIST, AT(trained_betas), 1e-12, 1, NULL},
    {"rescale_betas_zero_snr", KEY_FLAG, AT(rescale_betas_zero_snr), 0, 0, NULL},
    {"prediction_type", KEY_CHOICE, AT(prediction_type), 0, 0, CHOICES("epsilon", "v_prediction", "sample")},
    {"timestep_spacing", KEY_CHOICE, AT(timestep_spacing), 0, 0, CHOICES("leading", "trailing", "linspace")},
    {"timestep_type", KEY_CHOICE, SIZE_MAX, 0, 0, CHOICES("discrete")},
    {"steps_offset", KEY_INTEGER, AT(steps_offset), 0, SCHEDULER_TRAIN_TIMESTEPS_MAX, NULL},
    {"set_alpha_to_one", KEY_FLAG, AT(set_alpha_to_one), 0, 0, NULL},
    {"clip_sample", KEY_FLAG, AT(clip_sample), 0, 0, NULL},
    {"thresholding", KEY_REFUSED, SIZE_MAX, 0, 0, NULL},
    {"skip_prk_steps", KEY_FLAG, AT(skip_prk_steps), 0, 0, NULL},
    {"use_karras_sigmas", KEY_FLAG, AT(use_karras_sigmas), 0, 0, NULL},
    {"use_exponential_sigmas", KEY_FLAG, AT(use_exponential_sigmas), 0, 0, NULL},
    {"use_beta_sigmas", KEY_FLAG, AT(use_beta_sigmas), 0, 0, NULL},
    {"use_lu_lambdas", KEY_FLAG, AT(use_lu_lambdas), 0, 0, NULL},
    {"use_flow_sigmas", KEY_REFUSED, SIZE_MAX, 0, 0, NULL},
    {"use_dynamic_shifting", KEY_REFUSED, SIZE_MAX, 0, 0, NULL},
    {"sigma_min", KEY_NUMBER, AT(sigma_min), 1e-12, 1e6, NULL},
    {"sigma_max", KEY_NUMBER, AT(sigma_max), 1e-12, 1e6, NULL},
    {"interpolation_type", KEY_CHOICE, AT(interpolation_type), 0, 0, CHOICES("linear", "log_linear")},
    {"final_sigmas_type", KEY_CHOICE, AT(final_sigmas_type), 0, 0, CHOICES("zero", "sigma_min")},
    {"lambda_min_clipped", KEY_NUMBER, AT(lambda_min_clipped), -INFINITY, 100, NULL},
    {"solver_order", KEY_INTEGER, AT(solver_order), 1, 3, NULL},
    {"solver_type", KEY_CHOICE, AT(solver_type), 0, 0, CHOICES("midpoint", "heun", "logrho", "bh1", "bh2")},
    {"algorithm_type", KEY_CHOICE, AT(algorithm_type), 0, 0,
     CHOICES("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis")},
    {"lower_order_final", KEY_FLAG, AT(lower_order_final), 0, 0, NULL},
    {"euler_at_final", KEY_FLAG, AT(euler_at_final), 0, 0, NULL},
    {"predict_x0", KEY_FLAG, AT(predict_x0), 0, 0, NULL},
    {"disable_corrector", KEY_REFUSED, SIZE_MAX, 0, 0, NULL},
    {"solver_p", KEY_REFUSED, SIZE_MAX, 0, 0, NULL},
    {"variance_type", KEY_CHOICE, AT(variance_type), 0, 0,
     CHOICES("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")},
    {"original_inference_steps", KEY_INTEGER, AT(original_inference_steps), 1, SCHEDULER_TRAIN_TIMESTEPS_MAX, NULL},
    {"timestep_scaling", KEY_NUMBER, AT(timestep_scaling), 0, 1e6, NULL},
};

void scheduler_config_init(struct scheduler_config *config)
{
    *config = (struct scheduler_config){.num_train_timesteps = 1000,
                                        .beta_start = 0.0001,
                                        .beta_end = 0.02,
                                        .timestep_spacing = SPACING_LINSPACE,
                                        .set_alpha_to_one = true,
                                        .lambda_min_clipped = -INFINITY,
                                        .solver_order = 2,
                                        .algorithm_type = ALGORITHM_DPMPP,
                                        .lower_order_final = true,
                                        .predict_x0 = true,
                                        .original_inference_steps = 50,
                                        .timestep_scaling = 10};
}

/* "scheduler_config: KEY VALUE is PROBLEM" */
static enum hep_status refuse(const char *key, const json_t *value, const char *problem, struct hep_error *error)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    enum hep_status status = hep_fail_field(error, HEP_E_BAD_MODEL, key, "scheduler_config: %s %.100s is %s", key,
                                            text ? text : "?", problem);
    free(text);
    return status;
}

static enum hep_status read_number(const struct config_key *key, const json_t *value, double *number,
                                   struct hep_error *error)
{
    if (!json_is_number(value))
        return refuse(key->name, value, "not a number", error);
    double got = json_number_value(value);
    if (key->kind == KEY_INTEGER && got != floor(got))
        return refuse(key->name, value, "not an integer", error);
    if (!(got >= key->min && got <= key->max))
        return refuse(key->name, value, "out of range", error);
    *number = got;
    return HEP_OK;
}

static enum hep_status read_choice(const struct config_key *key, const json_t *value, int *choice,
                                   struct hep_error *error)
{
    for (int i = 0; key->choices[i]; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), key->choices[i]) == 0) {
            *choice = i;
            return HEP_OK;
        }
    char problem[160] = "not supported; supported are";
    for (int i = 0; key->choices[i]; i++) {
        strncat(problem, i ? ", " : " ", sizeof problem - strlen(problem) - 1);
        strncat(problem, key->choices[i], sizeof problem - strlen(problem) - 1);
    }
    return refuse(key->name, value, problem, error);
}

static enum hep_status check_list(const struct config_key *key, const json_t *value, struct hep_error *error)
{
    size_t i;
    double ignored;
    const json_t *element;
    if (!json_is_array(value))
        return refuse(key->name, value, "not a list", error);
    json_array_foreach(value, i, element) HEP_TRY(read_number(key, element, &ignored, error));
    return HEP_OK;
}

static enum hep_status read_key(const struct config_key *key, const json_t *value, struct scheduler_config *config,
                                struct hep_error *error)
{
    char *member = (char *)config + (key->offset == SIZE_MAX ? 0 : key->offset);
    double number = 0;
    int whole = 0;
    bool flag;
    switch (key->kind) {
    case KEY_NUMBER:
        HEP_TRY(read_number(key, value, &number, error));
        memcpy(member, &number, sizeof number);
        return HEP_OK;
    case KEY_INTEGER:
        HEP_TRY(read_number(key, value, &number, error));
        whole = (int)number;
        memcpy(member, &whole, sizeof whole);
        return HEP_OK;
    case KEY_FLAG:
        if (!json_is_boolean(value))
            return refuse(key->name, value, "neither true nor false", error);
        flag = json_is_true(value);
        memcpy(member, &flag, sizeof flag);
        return HEP_OK;
    case KEY_CHOICE:
        HEP_TRY(read_choice(key, value, &whole, error));
        if (key->offset != SIZE_MAX)
            memcpy(member, &whole, sizeof whole);
        return HEP_OK;
    case KEY_LIST:
        HEP_TRY(check_list(key, value, error));
        memcpy(member, &value, sizeof value);
        return HEP_OK;
    case KEY_REFUSED:
        if (!json_is_false(value) && !(json_is_array(value) && json_array_size(value) == 0))
            return refuse(key->name, value, "not supported", error);
        return HEP_OK;
    }
    return HEP_OK;
}
_Static_assert(sizeof(enum beta_schedule) == sizeof(int), "choices are stored as int");

enum hep_status scheduler_config_read(const json_t *json, struct scheduler_config *config, struct hep_error *error)
{
    struct scheduler_config read = *config;
    if (!json_is_object(json))
        return hep_fail(error, HEP_E_BAD_MODEL, "scheduler_config is not a JSON object");
    for (size_t i = 0; i < HEP_COUNT_OF(keys); i++) {
        const json_t *value = json_object_get(json, keys[i].name);
        if (value && !json_is_null(value))
            HEP_TRY(read_key(&keys[i], value, &read, error));
    }
    if (read.use_karras_sigmas + read.use_exponential_sigmas + read.use_beta_sigmas > 1)
        return hep_fail_field(error, HEP_E_BAD_MODEL, "use_karras_sigmas",
                              "scheduler_config: only one of use_karras_sigmas, use_exponential_sigmas and "
                              "use_beta_sigmas may be true");
    *config = read;
    return HEP_OK;
}
