/*
 * Parses and validates one workflow template, and describes it. Called for each file by workflows.c and for each
 * session found in the store. Reads no file and knows no session.
 */
#include "supervisor/engine/workflow.h"

#include "common/limits.h"
#include "common/wire.h"
#include "supervisor/engine/condition.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/reference.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names that references give a meaning to; no step may take one. */
static const char *const reserved[] = {"model", "session", "plan"};

struct parser {
    struct hep_workflow *workflow;
    json_t *problems;
    size_t known_steps; /* references may name steps before this index          */
    const char *where;  /* "step text", for messages                            */
    const char *step;   /* id of the step in hand, "" outside of one            */
    const char *field;  /* its key that references are looked for in            */
};

/* field: the key that is to be changed. */
__attribute__((format(printf, 4, 5))) static void problem(struct parser *p, enum hep_status code, const char *field,
                                                          const char *format, ...)
{
    char text[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    hep_problem_add(p->problems, p->step, field, code, "%s", text);
}

int hep_workflow_step_index(const struct hep_workflow *workflow, const char *id, size_t length)
{
    for (size_t i = 0; i < workflow->step_count; i++)
        if (strncmp(workflow->steps[i].id, id, length) == 0 && workflow->steps[i].id[length] == '\0')
            return (int)i;
    return -1;
}

static bool has_parameter(const struct hep_workflow *workflow, const char *name)
{
    for (size_t i = 0; i < workflow->parameter_count; i++)
        if (strcmp(workflow->parameters[i].name, name) == 0)
            return true;
    return false;
}

static bool is_plan_field(const char *name)
{
    return strcmp(name, "arena_bytes") == 0 || strcmp(name, "memory_bytes") == 0 || strcmp(name, "flops") == 0;
}

static bool is_session_field(const char *name)
{
    static const char *const names[] = {"id",       "output",    "priority",        "version",
                                        "rows_max", "lanes_max", "memory_threshold"};
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static enum hep_status check_reference(void *context, const char *path, struct hep_error *error)
{
    struct parser *p = context;
    const char *rest;
    (void)error;
    size_t length = strcspn(path, ".");
    if (!path[length] && has_parameter(p->workflow, path))
        return HEP_OK;
    if (hep_reference_is(path, "session", &rest)) {
        if (!is_session_field(rest))
            problem(p, HEP_E_BAD_FIELD, p->field,
                    "%s: ${%s}: a session has id, output, priority, version, rows_max, lanes_max, memory_threshold",
                    p->where, path);
    } else if (hep_reference_is(path, "plan", &rest)) {
        if (!is_plan_field(rest))
            problem(p, HEP_E_BAD_FIELD, p->field, "%s: ${%s}: a plan has arena_bytes, memory_bytes, flops", p->where,
                    path);
    } else if (hep_reference_is(path, "model", &rest)) {
        if (!rest[0])
            problem(p, HEP_E_BAD_FIELD, p->field, "%s: ${model} needs a parameter named model", p->where);
    } else {
        int step = hep_workflow_step_index(p->workflow, path, length);
        if (step < 0)
            problem(p, HEP_E_NOT_FOUND, p->field, "%s: ${%s}: there is no parameter and no step of this name", p->where,
                    path);
        else if ((size_t)step >= p->known_steps)
            problem(p, HEP_E_BAD_FIELD, p->field, "%s: ${%s} refers forward: step %.*s comes later", p->where, path,
                    (int)length, path);
        else if (!path[length])
            problem(p, HEP_E_BAD_FIELD, p->field, "%s: ${%s} names a step; name a field of its reply", p->where, path);
    }
    return HEP_OK;
}

static void check_references(struct parser *p, const char *where, size_t known_steps, const char *field,
                             const json_t *value)
{
    struct hep_error error;
    p->field = field;
    p->where = where;
    p->known_steps = known_steps;
    if (hep_reference_walk(value, check_reference, p, &error) != HEP_OK)
        problem(p, HEP_E_BAD_FIELD, field, "%s: %s", where, error.message);
}

static bool is_made_of(const char *text, const char *letters)
{
    return text && text[0] && strlen(text) < HEP_NAME_MAX && strspn(text, letters) == strlen(text);
}

static bool is_name(const char *text)
{
    return is_made_of(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
}

/* No part of a reference, but the name of a file. */
bool hep_workflow_is_id(const char *text)
{
    return is_made_of(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") && text[0] != '-';
}

static void check_keys(struct parser *p, const char *where, json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool found = false;
        for (const char *const *name = known; *name && !found; name++)
            found = strcmp(*name, key) == 0;
        if (!found)
            problem(p, HEP_E_UNKNOWN_FIELD, key, "%s: unknown key \"%.60s\"", where, key);
    }
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */
static void parse_parameters(struct parser *p, json_t *object)
{
    const char *key;
    json_t *value;
    size_t count = json_object_size(object);
    if (object && !json_is_object(object))
        problem(p, HEP_E_BAD_FIELD, "parameters", "parameters must be an object");
    if (count > HEP_WORKFLOW_PARAMETERS_MAX) {
        problem(p, HEP_E_BAD_FIELD, "parameters", "%zu parameters, at most %d are allowed", count,
                HEP_WORKFLOW_PARAMETERS_MAX);
        return;
    }
    p->workflow->parameters = calloc(count + 1, sizeof *p->workflow->parameters);
    if (!p->workflow->parameters)
        return;
    json_object_foreach(object, key, value)
        hep_parameter_parse(key, value, &p->workflow->parameters[p->workflow->parameter_count++], p->problems);
    for (size_t i = 0; i < p->workflow->parameter_count; i++) {
        size_t index;
        json_t *alias, *prompt;
        json_array_foreach(p->workflow->parameters[i].aliases, index,
                           alias) if (has_parameter(p->workflow, json_string_value(alias)))
            problem(p, HEP_E_BAD_FIELD, "aliases", "parameter %.60s: alias \"%.60s\" is a parameter itself",
                    p->workflow->parameters[i].name, json_string_value(alias));
        json_array_foreach(p->workflow->parameters[i].prompts, index,
                           prompt) if (!has_parameter(p->workflow, json_string_value(prompt)))
            problem(p, HEP_E_NOT_FOUND, "prompts", "parameter %.60s: there is no parameter \"%.60s\"",
                    p->workflow->parameters[i].name, json_string_value(prompt));
    }
}

static int64_t integer_key(struct parser *p, const char *where, json_t *object, const char *key, int64_t fallback,
                           int64_t min, int64_t max)
{
    json_t *value = json_object_get(object, key);
    if (!value)
        return fallback;
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max) {
        problem(p, HEP_E_BAD_FIELD, key, "%s: %s is an integer from %" PRId64 " to %" PRId64, where, key, min, max);
        return fallback;
    }
    return json_integer_value(value);
}

static void parse_retry(struct parser *p, const char *where, json_t *object, struct hep_workflow_step *step)
{
    static const char *const keys[] = {"attempts", "delay_ms", NULL};
    step->retry_attempts = 1;
    if (!object)
        return;
    if (!json_is_object(object)) {
        problem(p, HEP_E_BAD_FIELD, "retry", "%s: retry is {attempts, delay_ms}", where);
        return;
    }
    check_keys(p, where, object, keys);
    step->retry_attempts = (int)integer_key(p, where, object, "attempts", 3, 1, HEP_WORKFLOW_RETRIES_MAX);
    step->retry_delay_ms = integer_key(p, where, object, "delay_ms", 500, 0, HEP_WORKFLOW_DELAY_MAX_MS);
}

static enum hep_workflow_on_error on_error_of(struct parser *p, const char *where, json_t *value)
{
    static const char *const names[] = {
        [HEP_ON_ERROR_FAIL] = "fail", [HEP_ON_ERROR_SKIP] = "skip", [HEP_ON_ERROR_CONTINUE] = "continue"};
    for (size_t i = 0; json_is_string(value) && i < HEP_COUNT_OF(names); i++)
        if (strcmp(json_string_value(value), names[i]) == 0)
            return (enum hep_workflow_on_error)i;
    if (value)
        problem(p, HEP_E_BAD_FIELD, "on_error", "%s: on_error is fail, skip or continue", where);
    return HEP_ON_ERROR_FAIL;
}

/* What may happen to a step beside being done. */
static void parse_policy(struct parser *p, const char *where, json_t *object, struct hep_workflow_step *step)
{
    struct hep_error error;
    step->when = json_object_get(object, "when");
    if (step->when && hep_condition_check(step->when, &error) != HEP_OK)
        problem(p, HEP_E_BAD_FIELD, "when", "%s: when: %s", where, error.message);
    step->on_error = on_error_of(p, where, json_object_get(object, "on_error"));
    step->timeout_ms = integer_key(p, where, object, "timeout_ms", 0, 1, INT32_MAX);
    parse_retry(p, where, json_object_get(object, "retry"), step);
}

static void parse_step(struct parser *p, const char *where, json_t *object, struct hep_workflow_step *step, bool final)
{
    static const char *const keys[] = {"id",   "type", "operation", "parameters", "required_models", "renew",
                                       "help", "when", "on_error",  "timeout_ms", "retry",           NULL};
    const char *type = hep_json_str(object, "type", "");
    json_t *parameters = json_object_get(object, "parameters");
    check_keys(p, where, object, keys);
    *step = (struct hep_workflow_step){.id = hep_json_str(object, "id", ""),
                                       .role = hep_role_from_prefix(type, strlen(type)),
                                       .operation = hep_json_str(object, "operation", ""),
                                       .parameters = parameters,
                                       .required_models = json_object_get(object, "required_models"),
                                       .renew = hep_json_bool(object, "renew", false)};
    parse_policy(p, where, object, step);
    step->is_batch = strcmp(type, HEP_STEP_BATCH) == 0;
    if (step->is_batch)
        step->role = HEP_ROLE_INFERENCE;
    if (step->is_batch && (final || strcmp(step->operation, "run") != 0 || step->renew))
        problem(p, HEP_E_BAD_FIELD, "operation",
                "%s: a batch is one of steps, {\"type\": \"batch\", \"operation\": "
                "\"run\"}, without renew",
                where);
    if (!final && !is_name(step->id))
        problem(p, HEP_E_BAD_FIELD, "id", "%s: id \"%.60s\" is not a name made of a-z 0-9 _", where, step->id);
    for (size_t i = 0; i < HEP_COUNT_OF(reserved); i++)
        if (strcmp(step->id, reserved[i]) == 0)
            problem(p, HEP_E_BAD_FIELD, "id", "%s: the id \"%s\" is reserved", where, reserved[i]);
    if (step->role == HEP_ROLE_NONE)
        problem(p, HEP_E_UNKNOWN_DOMAIN, "type", "%s: type \"%.60s\" is not a domain", where, type);
    if (!is_name(step->operation))
        problem(p, HEP_E_BAD_FIELD, "operation", "%s: operation \"%.60s\" is not a name", where, step->operation);
    if (!json_is_object(parameters)) {
        if (parameters)
            problem(p, HEP_E_BAD_FIELD, "parameters", "%s: parameters must be an object", where);
        json_object_set_new(object, "parameters", json_object());
        step->parameters = json_object_get(object, "parameters");
    }
    if (step->required_models && !json_is_array(step->required_models))
        problem(p, HEP_E_BAD_FIELD, "required_models", "%s: required_models must be an array", where);
}

static void parse_steps(struct parser *p, json_t *array, bool final, struct hep_workflow_step **steps, size_t *count)
{
    size_t size = json_array_size(array);
    if ((array && !json_is_array(array)) || size > HEP_WORKFLOW_STEPS_MAX || (!final && size == 0)) {
        problem(p, HEP_E_BAD_FIELD, final ? "finally" : "steps", "%s must be an array of %d to %d steps",
                final ? "finally" : "steps", final ? 0 : 1, HEP_WORKFLOW_STEPS_MAX);
        return;
    }
    *steps = calloc(size + 1, sizeof **steps);
    if (!*steps)
        return;
    for (size_t i = 0; i < size; i++) {
        json_t *object = json_array_get(array, i);
        char where[HEP_NAME_MAX + 32];
        snprintf(where, sizeof where, "%s %.60s", final ? "final step" : "step", hep_json_str(object, "id", ""));
        p->step = hep_json_str(object, "id", "");
        if (!json_is_object(object)) {
            problem(p, HEP_E_BAD_FIELD, "", "%s %zu must be an object", final ? "final step" : "step", i + 1);
            continue;
        }
        struct hep_workflow_step step;
        parse_step(p, where, object, &step, final);
        if (!final && hep_workflow_step_index(p->workflow, step.id, strlen(step.id)) >= 0)
            problem(p, HEP_E_BAD_FIELD, "id", "%s: the id stands twice", where);
        (*steps)[(*count)++] = step;
    }
    p->step = "";
}

/* What it needs beside what its steps plan. */
static void parse_requirements(struct parser *p, json_t *object)
{
    static const char *const keys[] = {"memory_bytes", "models", NULL};
    if (!object)
        return;
    if (!json_is_object(object)) {
        problem(p, HEP_E_BAD_FIELD, "resource_requirements", "resource_requirements is {memory_bytes, models}");
        return;
    }
    check_keys(p, "resource_requirements", object, keys);
    p->workflow->memory_bytes = integer_key(p, "resource_requirements", object, "memory_bytes", 0, 0, INT64_MAX);
    p->workflow->required_models = json_object_get(object, "models");
    if (p->workflow->required_models && !json_is_array(p->workflow->required_models))
        problem(p, HEP_E_BAD_FIELD, "models", "resource_requirements: models must be an array");
}

static void check_all_references(struct parser *p)
{
    struct hep_workflow *w = p->workflow;
    char where[HEP_NAME_MAX + 32];
    for (size_t i = 0; i < w->step_count; i++) {
        snprintf(where, sizeof where, "step %.60s", w->steps[i].id);
        p->step = w->steps[i].id;
        check_references(p, where, i, "parameters", w->steps[i].parameters);
        check_references(p, where, i, "required_models", w->steps[i].required_models);
        check_references(p, where, i, "when", w->steps[i].when);
    }
    p->step = "";
    for (size_t i = 0; i < w->final_count; i++)
        check_references(p, "finally", w->step_count, "finally", w->finals[i].parameters);
    check_references(p, "results", w->step_count, "results", w->results);
    check_references(p, "resource_requirements", 0, "resource_requirements", w->required_models);
    for (size_t i = 0; i < w->parameter_count; i++) {
        const struct hep_parameter *parameter = &w->parameters[i];
        const char *text = json_string_value(parameter->fallback);
        if (text && strstr(text, "${") && strncmp(text, "${model.", 8) != 0)
            problem(p, HEP_E_BAD_FIELD, "default", "parameter %.60s: a default can only refer to ${model.…}",
                    parameter->name);
    }
}

enum hep_status hep_workflow_parse(json_t *source, json_t *problems, struct hep_workflow **workflow,
                                   struct hep_error *error)
{
    static const char *const keys[] = {"workflow_id",        "name",  "help",    "description", "version",
                                       "parameters",         "steps", "finally", "results",     "resource_requirements",
                                       "estimated_duration", NULL};
    struct hep_workflow *w = calloc(1, sizeof *w);
    json_t *found = json_array(), *copy = json_deep_copy(source);
    struct parser parser = {.workflow = w, .problems = found, .step = ""};
    if (!w || !found || !copy) {
        free(w);
        json_decref(found);
        json_decref(copy);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a workflow");
    }
    *w = (struct hep_workflow){.references = 1, .source = copy};
    if (!json_is_object(copy))
        problem(&parser, HEP_E_BAD_FIELD, "", "a workflow is a JSON object");
    check_keys(&parser, "workflow", copy, keys);
    w->id = hep_json_str(copy, "workflow_id", "");
    w->name = hep_json_str(copy, "name", w->id);
    w->help = hep_json_str(copy, "description", hep_json_str(copy, "help", ""));
    w->version = (int)hep_json_int(copy, "version", 1);
    w->results = json_object_get(copy, "results");
    if (!hep_workflow_is_id(w->id))
        problem(&parser, HEP_E_BAD_FIELD, "workflow_id", "workflow_id \"%.60s\" is not a name made of a-z 0-9 _ -",
                w->id);
    parse_parameters(&parser, json_object_get(copy, "parameters"));
    parse_steps(&parser, json_object_get(copy, "steps"), false, &w->steps, &w->step_count);
    parse_steps(&parser, json_object_get(copy, "finally"), true, &w->finals, &w->final_count);
    parse_requirements(&parser, json_object_get(copy, "resource_requirements"));
    check_all_references(&parser);
    enum hep_status status = HEP_OK;
    if (json_array_size(found) > 0) {
        status = hep_fail(error, HEP_E_BAD_FILE, "workflow %.60s: %s", w->id, hep_problem_text(found, 0));
        if (problems)
            json_array_extend(problems, found);
        hep_workflow_release(w);
    } else {
        *workflow = w;
    }
    json_decref(found);
    return status;
}

struct hep_workflow *hep_workflow_hold(struct hep_workflow *workflow)
{
    workflow->references++;
    return workflow;
}

void hep_workflow_release(struct hep_workflow *workflow)
{
    if (!workflow || --workflow->references > 0)
        return;
    free(workflow->parameters);
    free(workflow->steps);
    free(workflow->finals);
    json_decref(workflow->source);
    free(workflow);
}

json_t *hep_workflow_describe(const struct hep_workflow *workflow)
{
    json_t *steps = json_array(), *parameters = json_object_get(workflow->source, "parameters");
    static const char *const as_written[] = {"parameters", "required_models", "when",  "on_error",
                                             "timeout_ms", "retry",           "renew", "help"};
    for (size_t i = 0; i < workflow->step_count; i++) {
        const struct hep_workflow_step *step = &workflow->steps[i];
        json_t *source = json_array_get(json_object_get(workflow->source, "steps"), i);
        json_t *row = json_pack("{s:s, s:s, s:s, s:s}", "id", step->id, "type",
                                step->is_batch ? HEP_STEP_BATCH : hep_role_name(step->role), "domain",
                                hep_role_name(step->role), "operation", step->operation);
        for (size_t key = 0; key < HEP_COUNT_OF(as_written); key++)
            json_object_set(row, as_written[key], json_object_get(source, as_written[key]));
        json_array_append_new(steps, row);
    }
    json_t *view = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:O*, s:O*}", "workflow_id", workflow->id, "name",
                             workflow->name, "help", workflow->help, "version", workflow->version, "parameters",
                             parameters ? json_incref(parameters) : json_object(), "steps", steps,
                             "resource_requirements", json_object_get(workflow->source, "resource_requirements"),
                             "estimated_duration", json_object_get(workflow->source, "estimated_duration"));
    if (workflow->extends[0])
        json_object_set_new(view, "extends", json_string(workflow->extends));
    return view;
}
