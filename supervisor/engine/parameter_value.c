/*
 * Checks the values of a configuration against the declarations of parameters, and fills in what is missing. Called by
 * accept.c for each request. Asks nobody: what it must know of models, schedulers and inputs is handed in.
 */
#include "supervisor/engine/parameter.h"

#include "common/limits.h"
#include "common/name.h"
#include "common/tensor.h"
#include "common/wire.h"
#include "supervisor/engine/embeddings.h"
#include "supervisor/engine/inputs.h"
#include "supervisor/engine/loras.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/reference.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *hep_model_info_follow(json_t *info, const char *path)
{
    json_t *value = hep_reference_follow(info, path);
    if (!value && strncmp(path, "default_", 8) == 0)
        value = json_object_get(json_object_get(info, "defaults"), path + 8);
    return value;
}

static json_t *lookup_model(void *context, const char *path, struct hep_error *error)
{
    const struct hep_parameter_scope *scope = context;
    const char *rest;
    if (!hep_reference_is(path, "model", &rest) || !rest[0]) {
        hep_fail(error, HEP_E_BAD_FIELD, "a default or a limit can only refer to ${model.…}, not to ${%s}", path);
        return NULL;
    }
    json_t *value = hep_model_info_follow(scope->model_info, rest);
    return value ? json_incref(value) : json_null();
}

/* The number behind a limit; false if there is none. */
static bool limit_of(json_t *limit, const struct hep_parameter_scope *scope, double *number)
{
    json_t *value = NULL;
    if (!limit || hep_reference_resolve(limit, lookup_model, (void *)(uintptr_t)scope, &value, NULL) != HEP_OK)
        return false;
    bool found = json_is_number(value);
    if (found)
        *number = json_number_value(value);
    json_decref(value);
    return found;
}

static enum hep_status wrong_type(const struct hep_parameter *p, const json_t *value, struct hep_error *error)
{
    static const char *const names[] = {"an object", "an array", "a string", "an integer",
                                        "a number",  "true",     "false",    "null"};
    if (hep_parameter_is_numeric(p->type) && hep_json_is_wide(value))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is %s, which is too large", p->name,
                              json_string_value(value));
    return hep_fail_field(error, HEP_E_BAD_FIELD, p->name, "%s must be of type %s, not %s", p->name,
                          hep_parameter_type_name(p->type), names[json_typeof(value)]);
}

static enum hep_status check_number(const struct hep_parameter *p, double value,
                                    const struct hep_parameter_scope *scope, struct hep_error *error)
{
    double limit;
    if (!isfinite(value))
        return hep_fail_field(error, HEP_E_BAD_FIELD, p->name, "%s must be a finite number", p->name);
    if (limit_of(p->min, scope, &limit) && value < limit)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is %.10g, at least %.10g is needed", p->name,
                              value, limit);
    if (limit_of(p->above, scope, &limit) && !(value > limit))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is %.10g, it must be greater than %.10g", p->name,
                              value, limit);
    if (limit_of(p->max, scope, &limit) && value > limit)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is %.10g, at most %.10g is allowed", p->name,
                              value, limit);
    if (limit_of(p->multiple_of, scope, &limit) && limit >= 1 && fmod(value, limit) != 0)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is %.10g, it must be a multiple of %.10g",
                              p->name, value, limit);
    return HEP_OK;
}

static bool is_choice(const json_t *choices, const char *text, char *list, size_t size)
{
    size_t index;
    json_t *choice;
    json_array_foreach(choices, index, choice)
    {
        if (strcmp(json_string_value(choice), text) == 0)
            return true;
        hep_problem_list(list, size, json_string_value(choice));
    }
    return choices == NULL;
}

/* Whether the row of scheduler.list has this name: its own, its title (A1111's name) or an alias (diffusers' class). */
static bool scheduler_has_name(const json_t *row, const char *text)
{
    size_t index;
    json_t *alias;
    if (hep_name_is(hep_json_str(row, "name", ""), text) || hep_name_is(hep_json_str(row, "title", ""), text))
        return true;
    json_array_foreach(json_object_get(row, "aliases"), index,
                       alias) if (json_is_string(alias) && hep_name_is(json_string_value(alias), text)) return true;
    return false;
}

static bool is_scheduler(const json_t *schedulers, const char *text, char *list, size_t size)
{
    size_t index;
    json_t *row;
    if (!schedulers || text[0] == '\0') /* not known yet: the domain will judge; "" is the model's own */
        return true;
    json_array_foreach(schedulers, index, row)
    {
        if (scheduler_has_name(row, text))
            return true;
        hep_problem_list(list, size, hep_json_str(row, "name", "?"));
    }
    return false;
}

static enum hep_status check_text(const struct hep_parameter *p, const json_t *value,
                                  const struct hep_parameter_scope *scope, struct hep_error *error)
{
    double limit;
    char list[480] = "";
    if (!json_is_string(value))
        return wrong_type(p, value, error);
    const char *text = json_string_value(value);
    size_t bytes = json_string_length(value);
    if (strlen(text) != bytes)
        return hep_fail_field(error, HEP_E_BAD_FIELD, p->name, "%s holds a NUL character", p->name);
    if (!limit_of(p->max, scope, &limit))
        limit = p->type == HEP_PARAMETER_STRING ? HEP_PROMPT_MAX : HEP_NAME_MAX - 1;
    if ((double)bytes > limit)
        return hep_fail_field(error, HEP_E_TOO_LARGE, p->name, "%s has %zu bytes, at most %.0f are allowed", p->name,
                              bytes, limit);
    if (limit_of(p->min, scope, &limit) && (double)bytes < limit)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s has %zu bytes, at least %.0f are needed", p->name,
                              bytes, limit);
    bool allowed = p->type == HEP_PARAMETER_SCHEDULER ? is_scheduler(scope->schedulers, text, list, sizeof list)
                                                      : is_choice(p->choices, text, list, sizeof list);
    if (!allowed)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is \"%.60s\", which is not one of: %s", p->name,
                              text, list);
    return HEP_OK;
}

/* A seed in its canonical form: an integer, or decimal text above 2^63 - 1 (JSON integers are signed here). */
static json_t *seed_value(uint64_t seed)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, seed);
    return seed > INT64_MAX ? json_string(text) : json_integer((json_int_t)seed);
}

/* Of a request that leaves the choice to us: two parameters of it are not given the same one. */
static uint64_t chosen_seed(const struct hep_parameter *p, const struct hep_parameter_scope *scope)
{
    bool is_first = strcmp(p->name, "seed") == 0;
    return is_first ? scope->seed : (scope->seed ^ hep_crc32c(0, p->name, strlen(p->name))) & UINT32_MAX;
}

static enum hep_status read_seed(const struct hep_parameter *p, const json_t *value,
                                 const struct hep_parameter_scope *scope, json_t **seed, struct hep_error *error)
{
    int64_t whole;
    if (hep_json_whole(value, &whole)) {
        if (whole < -1)
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is %" PRId64 ", it is 0 to 2^64 - 1, or -1",
                                  p->name, whole);
        *seed = seed_value(whole == -1 ? chosen_seed(p, scope) : (uint64_t)whole);
        return HEP_OK;
    }
    if (!json_is_string(value))
        return wrong_type(p, value, error);
    const char *text = json_string_value(value), *digits = text + (text[0] == '-');
    char *end;
    errno = 0;
    unsigned long long number = strtoull(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end)
        return hep_fail_field(error, HEP_E_BAD_FIELD, p->name, "%s is \"%.40s\", it is 0 to 2^64 - 1, or -1", p->name,
                              text);
    if (errno || digits > text)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is %.40s, it is 0 to 2^64 - 1, or -1", p->name,
                              text);
    *seed = seed_value(number);
    return HEP_OK;
}

static enum hep_status check_input(const struct hep_parameter *p, const json_t *value,
                                   const struct hep_parameter_scope *scope, struct hep_error *error)
{
    const char *name = json_string_value(value);
    if (!name)
        return wrong_type(p, value, error);
    if (hep_input_is_name(name) && (!scope->inputs || hep_inputs_bytes(scope->inputs, name) > 0))
        return HEP_OK;
    hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name, "%s is \"%.70s\", and there is no such input (any more)",
                   p->name, name);
    return hep_hint(error, "give the image first: POST /api/inputs answers what it is called"), HEP_E_OUT_OF_RANGE;
}

/* At least what the instance asks for; whatever it is, the model must have what checks. */
static enum hep_status read_safety(const struct hep_parameter *p, const json_t *value,
                                   const struct hep_parameter_scope *scope, json_t **to, struct hep_error *error)
{
    enum hep_safety_policy policy;
    if (!json_is_string(value))
        return wrong_type(p, value, error);
    if (!hep_safety_policy_from_name(json_string_value(value), &policy))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, p->name,
                              "%s is \"%.60s\", which is not one of: off, flag, blur, refuse", p->name,
                              json_string_value(value));
    policy = policy > scope->safety ? policy : scope->safety;
    if (policy != HEP_SAFETY_OFF && scope->model_info && !hep_json_bool(scope->model_info, "safety_checker", false)) {
        hep_fail_field(error, HEP_E_UNSUPPORTED, p->name,
                       "model %.60s has no safety checker, so nothing can be done by the policy %s", scope->model,
                       hep_safety_policy_names[policy]);
        return hep_hint(error, "choose a model that has one, or name one in safety_checker%s",
                        scope->safety == HEP_SAFETY_OFF ? ", or say safety off" : ""),
               HEP_E_UNSUPPORTED;
    }
    *to = json_string(hep_safety_policy_names[policy]);
    return HEP_OK;
}

/* The embeddings by their full names, as the model domain has found them; `otherwise` where it was not asked. */
static json_t *embeddings_of(const struct hep_parameter_scope *scope, json_t *otherwise)
{
    json_t *found = json_object_get(scope->model_info, "embeddings");
    return found ? found : otherwise;
}

/* Checks a value that is there; *to: a new reference to it in canonical form. */
static enum hep_status read_value(const struct hep_parameter *p, json_t *value, const struct hep_parameter_scope *scope,
                                  json_t **to, struct hep_error *error)
{
    int64_t number;
    switch (p->type) {
    case HEP_PARAMETER_STRING:
    case HEP_PARAMETER_MODEL:
    case HEP_PARAMETER_VAE:
    case HEP_PARAMETER_SAFETY_CHECKER:
    case HEP_PARAMETER_CONTROLNET:
    case HEP_PARAMETER_UPSCALER:
    case HEP_PARAMETER_SCHEDULER:
        HEP_TRY(check_text(p, value, scope, error));
        break;
    case HEP_PARAMETER_INTEGER:
        if (!hep_json_whole(value, &number))
            return wrong_type(p, value, error);
        HEP_TRY(check_number(p, (double)number, scope, error));
        *to = json_integer((json_int_t)number);
        return HEP_OK;
    case HEP_PARAMETER_NUMBER:
        if (!json_is_number(value))
            return wrong_type(p, value, error);
        HEP_TRY(check_number(p, json_number_value(value), scope, error));
        break;
    case HEP_PARAMETER_BOOLEAN:
        if (!json_is_boolean(value))
            return wrong_type(p, value, error);
        break;
    case HEP_PARAMETER_INPUT:
        HEP_TRY(check_input(p, value, scope, error));
        break;
    case HEP_PARAMETER_OBJECT:
    case HEP_PARAMETER_LIST:
        if (p->type == HEP_PARAMETER_OBJECT ? !json_is_object(value) : !json_is_array(value))
            return wrong_type(p, value, error);
        break;
    case HEP_PARAMETER_SEED:
        return read_seed(p, value, scope, to, error);
    case HEP_PARAMETER_LORAS:
        return hep_loras_read(p->name, value, to, error);
    case HEP_PARAMETER_EMBEDDINGS:
        HEP_TRY(hep_embeddings_check(p->name, value, error));
        value = embeddings_of(scope, value);
        break;
    case HEP_PARAMETER_SAFETY:
        return read_safety(p, value, scope, to, error);
    case HEP_PARAMETER_TYPE_COUNT:
        break; /* the loader has refused such a declaration */
    }
    *to = json_incref(value);
    return HEP_OK;
}

/* The value of a parameter that the request leaves out: a new reference, JSON null for none. */
static enum hep_status missing_value(const struct hep_parameter *p, const struct hep_parameter_scope *scope,
                                     json_t **value, struct hep_error *error)
{
    if (p->required)
        return hep_fail_field(error, HEP_E_MISSING_FIELD, p->name, "%s is required", p->name);
    if (p->type == HEP_PARAMETER_SEED && !p->fallback)
        *value = json_integer(-1);
    else if (p->type == HEP_PARAMETER_MODEL && scope->model)
        *value = json_string(scope->model);
    else if (p->type == HEP_PARAMETER_SAFETY && !p->fallback)
        *value = json_string(hep_safety_policy_names[HEP_SAFETY_OFF]);
    else if (p->type == HEP_PARAMETER_EMBEDDINGS)
        *value = json_incref(embeddings_of(scope, json_null()));
    else if (p->fallback)
        return hep_reference_resolve(p->fallback, lookup_model, (void *)(uintptr_t)scope, value, error);
    else
        *value = json_null();
    return HEP_OK;
}

static enum hep_status fill_one(const struct hep_parameter *p, json_t *canonical,
                                const struct hep_parameter_scope *scope, json_t *complete, struct hep_error *error)
{
    json_t *given = json_object_get(canonical, p->name), *value = json_incref(given), *checked = NULL;
    if (!given)
        HEP_TRY(missing_value(p, scope, &value, error));
    enum hep_status status = json_is_null(value) ? HEP_OK : read_value(p, value, scope, &checked, error);
    if (checked)
        json_object_set_new(complete, p->name, checked);
    json_decref(value);
    return status;
}

enum hep_status hep_parameters_fill(const struct hep_parameter *parameters, size_t count, json_t *canonical,
                                    const struct hep_parameter_scope *scope, json_t **complete, json_t *problems,
                                    struct hep_error *error)
{
    json_t *result = json_object();
    enum hep_status first = HEP_OK;
    for (size_t i = 0; i < count; i++) {
        struct hep_error problem = {0};
        problem.code = fill_one(&parameters[i], canonical, scope, result, &problem);
        hep_problem_note(&problem, &first, problems, error);
    }
    if (first == HEP_OK)
        *complete = json_incref(result);
    json_decref(result);
    return first;
}
