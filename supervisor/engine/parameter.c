/*
 * The declarations of a workflow's parameters: read, and a configuration brought under their names. Called by
 * workflow.c when a file is loaded and by accept.c for each request, which then has the values checked by
 * parameter_value.c.
 */
#include "supervisor/engine/parameter.h"

#include "common/limits.h"
#include "supervisor/engine/problem.h"

#include <stdio.h>
#include <string.h>

static const char *const type_names[HEP_PARAMETER_TYPE_COUNT] = {
#define HEP_PARAMETER_NAME(id, name, help) name,
    HEP_PARAMETER_TYPES(HEP_PARAMETER_NAME)
#undef HEP_PARAMETER_NAME
};

const char *hep_parameter_type_name(enum hep_parameter_type type)
{
    return type_names[type];
}

bool hep_parameter_is_numeric(enum hep_parameter_type type)
{
    return type == HEP_PARAMETER_INTEGER || type == HEP_PARAMETER_NUMBER;
}

bool hep_parameter_is_part(enum hep_parameter_type type)
{
    return type == HEP_PARAMETER_VAE || type == HEP_PARAMETER_SAFETY_CHECKER;
}

static bool is_text(enum hep_parameter_type type)
{
    enum hep_model_kind kind;
    return type == HEP_PARAMETER_STRING || type == HEP_PARAMETER_MODEL || type == HEP_PARAMETER_SCHEDULER ||
           hep_model_kind_find(type_names[type], &kind);
}

bool hep_parameter_names_file(const struct hep_parameter *parameter, enum hep_model_kind *kind)
{
    return !hep_parameter_is_part(parameter->type) && hep_model_kind_find(type_names[parameter->type], kind);
}

/* ---- declarations ------------------------------------------------------------------------------------------------ */
/* A limit is a number or a reference to the model. */
static bool is_limit(const json_t *value)
{
    return json_is_number(value) || (json_is_string(value) && strncmp(json_string_value(value), "${model.", 8) == 0);
}

static bool is_list_of_strings(const json_t *value)
{
    size_t index;
    json_t *member;
    json_array_foreach(value, index, member) if (!json_is_string(member)) return false;
    return json_array_size(value) > 0;
}

static bool take_key(struct hep_parameter *p, const char *key, json_t *value)
{
    struct {
        const char *key;
        json_t **to;
        bool good;
    } rows[] = {
        {"default", &p->fallback, !json_is_object(value) && !json_is_array(value)},
        {"min", &p->min, is_limit(value) && (hep_parameter_is_numeric(p->type) || is_text(p->type))},
        {"max", &p->max, is_limit(value) && (hep_parameter_is_numeric(p->type) || is_text(p->type))},
        {"above", &p->above, is_limit(value) && hep_parameter_is_numeric(p->type)},
        {"multiple_of", &p->multiple_of, is_limit(value) && p->type == HEP_PARAMETER_INTEGER},
        {"choices", &p->choices, is_list_of_strings(value) && p->type == HEP_PARAMETER_STRING},
        {"aliases", &p->aliases, is_list_of_strings(value)},
        {"prompts", &p->prompts,
         is_list_of_strings(value) && (p->type == HEP_PARAMETER_LORAS || p->type == HEP_PARAMETER_EMBEDDINGS)},
    };
    if (strcmp(key, "type") == 0)
        return true; /* read before */
    if (strcmp(key, "required") == 0) {
        p->required = json_is_true(value);
        return json_is_boolean(value);
    }
    if (strcmp(key, "help") == 0) {
        p->help = json_string_value(value);
        return p->help != NULL;
    }
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        if (strcmp(key, rows[i].key) == 0) {
            *rows[i].to = value;
            return rows[i].good;
        }
    return false;
}

void hep_parameter_parse(const char *name, json_t *declaration, struct hep_parameter *parameter, json_t *problems)
{
    const char *key, *type = json_string_value(json_object_get(declaration, "type"));
    json_t *value;
    *parameter = (struct hep_parameter){.name = name, .type = HEP_PARAMETER_TYPE_COUNT, .help = ""};
    for (int i = 0; type && i < HEP_PARAMETER_TYPE_COUNT; i++)
        if (strcmp(type, type_names[i]) == 0)
            parameter->type = (enum hep_parameter_type)i;
    if (!name[0] || strlen(name) >= HEP_NAME_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name))
        hep_problem_add(problems, "", name, HEP_E_BAD_FIELD, "parameter \"%.60s\": a name is made of a-z 0-9 _", name);
    if (parameter->type == HEP_PARAMETER_TYPE_COUNT) {
        char list[240] = "";
        for (int i = 0; i < HEP_PARAMETER_TYPE_COUNT; i++)
            hep_problem_list(list, sizeof list, type_names[i]);
        hep_problem_add(problems, "", name, HEP_E_BAD_FIELD, "parameter %.60s: type \"%.40s\" is not one of %s", name,
                        type ? type : "", list);
        return;
    }
    json_object_foreach(declaration, key, value) if (!take_key(parameter, key, value)) hep_problem_add(
        problems, "", name, HEP_E_UNKNOWN_FIELD,
        "parameter %.60s: key \"%.40s\" is unknown, or not for type %s, or has a wrong value", name, key, type);
    if (parameter->required && parameter->fallback)
        hep_problem_add(problems, "", name, HEP_E_BAD_FIELD, "parameter %.60s: required, so its default is never used",
                        name);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */
static const struct hep_parameter *parameter_named(const struct hep_parameter *parameters, size_t count,
                                                   const char *key)
{
    size_t index;
    json_t *alias;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(parameters[i].name, key) == 0)
            return &parameters[i];
        json_array_foreach(parameters[i].aliases, index,
                           alias) if (strcmp(json_string_value(alias), key) == 0) return &parameters[i];
    }
    return NULL;
}

static enum hep_status unknown_field(const struct hep_parameter *parameters, size_t count, const char *key,
                                     struct hep_error *error)
{
    char list[HEP_ERROR_HINT_MAX - 32] = "";
    for (size_t i = 0, used = 0; i < count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", parameters[i].name);
    hep_fail_field(error, HEP_E_UNKNOWN_FIELD, key, "the workflow has no parameter \"%.60s\"", key);
    return hep_hint(error, "it has: %s", list), HEP_E_UNKNOWN_FIELD;
}

static enum hep_status take_value(const struct hep_parameter *parameters, size_t count, const char *key, json_t *value,
                                  json_t *canonical, struct hep_error *error)
{
    const struct hep_parameter *parameter = parameter_named(parameters, count, key);
    if (!parameter)
        return unknown_field(parameters, count, key, error);
    if (json_object_get(canonical, parameter->name))
        return hep_fail_field(error, HEP_E_CONFLICT, key, "%s is given twice: \"%.60s\" is another name for it",
                              parameter->name, key);
    if (!json_is_null(value))
        json_object_set(canonical, parameter->name, value);
    return HEP_OK;
}

enum hep_status hep_parameters_name(const struct hep_parameter *parameters, size_t count, json_t *configuration,
                                    json_t **canonical, json_t *problems, struct hep_error *error)
{
    const char *key;
    json_t *value;
    enum hep_status first = HEP_OK;
    struct hep_error problem = {0};
    *canonical = json_object();
    if (configuration && !json_is_object(configuration))
        hep_fail_field(&problem, HEP_E_BAD_FIELD, "configuration", "configuration must be an object");
    hep_problem_note(&problem, &first, problems, error);
    json_object_foreach(configuration, key, value)
    {
        problem.code = take_value(parameters, count, key, value, *canonical, &problem);
        hep_problem_note(&problem, &first, problems, error);
    }
    return first;
}
