/*
 * Parses and validates one workflow template, and describes it. Called for each file by workflows.c and for each
 * session found in the store. Reads no file and knows no session.
 */
#include "supervisor/engine/workflow.h"

#include "common/limits.h"
#include "common/wire.h"
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
};

__attribute__((format(printf, 2, 3))) static void problem(json_t *problems, const char *format, ...)
{
    char text[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(problems, json_string(text));
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
    return strcmp(name, "id") == 0 || strcmp(name, "output") == 0 || strcmp(name, "priority") == 0 ||
           strcmp(name, "version") == 0;
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
            problem(p->problems, "%s: ${%s}: a session has id, output, priority, version", p->where, path);
    } else if (hep_reference_is(path, "plan", &rest)) {
        if (!is_plan_field(rest))
            problem(p->problems, "%s: ${%s}: a plan has arena_bytes, memory_bytes, flops", p->where, path);
    } else if (hep_reference_is(path, "model", &rest)) {
        if (!rest[0])
            problem(p->problems, "%s: ${model} needs a parameter named model", p->where);
    } else {
        int step = hep_workflow_step_index(p->workflow, path, length);
        if (step < 0)
            problem(p->problems, "%s: ${%s}: there is no parameter and no step of this name", p->where, path);
        else if ((size_t)step >= p->known_steps)
            problem(p->problems, "%s: ${%s} refers forward: step %.*s comes later", p->where, path, (int)length, path);
        else if (!path[length])
            problem(p->problems, "%s: ${%s} names a step; name a field of its reply", p->where, path);
    }
    return HEP_OK;
}

static void check_references(struct parser *p, const char *where, size_t known_steps, const json_t *value)
{
    struct hep_error error;
    p->where = where;
    p->known_steps = known_steps;
    if (hep_reference_walk(value, check_reference, p, &error) != HEP_OK)
        problem(p->problems, "%s: %s", where, error.message);
}

static bool is_name(const char *text)
{
    return text && text[0] && strlen(text) < HEP_NAME_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
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
            problem(p->problems, "%s: unknown key \"%.60s\"", where, key);
    }
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */
static void parse_parameters(struct parser *p, json_t *object)
{
    const char *key;
    json_t *value;
    size_t count = json_object_size(object);
    if (object && !json_is_object(object))
        problem(p->problems, "parameters must be an object");
    if (count > HEP_WORKFLOW_PARAMETERS_MAX) {
        problem(p->problems, "%zu parameters, at most %d are allowed", count, HEP_WORKFLOW_PARAMETERS_MAX);
        return;
    }
    p->workflow->parameters = calloc(count + 1, sizeof *p->workflow->parameters);
    if (!p->workflow->parameters)
        return;
    json_object_foreach(object, key, value)
        hep_parameter_parse(key, value, &p->workflow->parameters[p->workflow->parameter_count++], p->problems);
    for (size_t i = 0; i < p->workflow->parameter_count; i++) {
        size_t index;
        json_t *alias;
        json_array_foreach(p->workflow->parameters[i].aliases, index,
                           alias) if (has_parameter(p->workflow, json_string_value(alias)))
            problem(p->problems, "parameter %.60s: alias \"%.60s\" is a parameter itself",
                    p->workflow->parameters[i].name, json_string_value(alias));
    }
}

static void parse_step(struct parser *p, const char *where, json_t *object, struct hep_workflow_step *step, bool final)
{
    static const char *const keys[] = {"id",    "type", "operation", "parameters", "required_models",
                                       "renew", "help", NULL};
    const char *type = hep_json_str(object, "type", "");
    json_t *parameters = json_object_get(object, "parameters");
    check_keys(p, where, object, keys);
    *step = (struct hep_workflow_step){.id = hep_json_str(object, "id", ""),
                                       .role = hep_role_from_prefix(type, strlen(type)),
                                       .operation = hep_json_str(object, "operation", ""),
                                       .parameters = parameters,
                                       .required_models = json_object_get(object, "required_models"),
                                       .renew = hep_json_bool(object, "renew", false)};
    if (!final && !is_name(step->id))
        problem(p->problems, "%s: id \"%.60s\" is not a name made of a-z 0-9 _", where, step->id);
    for (size_t i = 0; i < HEP_COUNT_OF(reserved); i++)
        if (strcmp(step->id, reserved[i]) == 0)
            problem(p->problems, "%s: the id \"%s\" is reserved", where, reserved[i]);
    if (step->role == HEP_ROLE_NONE)
        problem(p->problems, "%s: type \"%.60s\" is not a domain", where, type);
    if (!is_name(step->operation))
        problem(p->problems, "%s: operation \"%.60s\" is not a name", where, step->operation);
    if (!json_is_object(parameters)) {
        if (parameters)
            problem(p->problems, "%s: parameters must be an object", where);
        json_object_set_new(object, "parameters", json_object());
        step->parameters = json_object_get(object, "parameters");
    }
    if (step->required_models && !json_is_array(step->required_models))
        problem(p->problems, "%s: required_models must be an array", where);
}

static void parse_steps(struct parser *p, json_t *array, bool final, struct hep_workflow_step **steps, size_t *count)
{
    size_t size = json_array_size(array);
    if ((array && !json_is_array(array)) || size > HEP_WORKFLOW_STEPS_MAX || (!final && size == 0)) {
        problem(p->problems, "%s must be an array of %d to %d steps", final ? "finally" : "steps", final ? 0 : 1,
                HEP_WORKFLOW_STEPS_MAX);
        return;
    }
    *steps = calloc(size + 1, sizeof **steps);
    if (!*steps)
        return;
    for (size_t i = 0; i < size; i++) {
        json_t *object = json_array_get(array, i);
        char where[HEP_NAME_MAX + 32];
        snprintf(where, sizeof where, "%s %.60s", final ? "final step" : "step", hep_json_str(object, "id", ""));
        if (!json_is_object(object)) {
            problem(p->problems, "%s %zu must be an object", final ? "final step" : "step", i + 1);
            continue;
        }
        struct hep_workflow_step step;
        parse_step(p, where, object, &step, final);
        if (!final && hep_workflow_step_index(p->workflow, step.id, strlen(step.id)) >= 0)
            problem(p->problems, "%s: the id stands twice", where);
        (*steps)[(*count)++] = step;
    }
}

static void check_all_references(struct parser *p)
{
    struct hep_workflow *w = p->workflow;
    char where[HEP_NAME_MAX + 32];
    for (size_t i = 0; i < w->step_count; i++) {
        snprintf(where, sizeof where, "step %.60s", w->steps[i].id);
        check_references(p, where, i, w->steps[i].parameters);
        check_references(p, where, i, w->steps[i].required_models);
    }
    for (size_t i = 0; i < w->final_count; i++)
        check_references(p, "finally", w->step_count, w->finals[i].parameters);
    check_references(p, "results", w->step_count, w->results);
    for (size_t i = 0; i < w->parameter_count; i++) {
        const struct hep_parameter *parameter = &w->parameters[i];
        const char *text = json_string_value(parameter->fallback);
        if (text && strstr(text, "${") && strncmp(text, "${model.", 8) != 0)
            problem(p->problems, "parameter %.60s: a default can only refer to ${model.…}", parameter->name);
    }
}

enum hep_status hep_workflow_parse(json_t *source, json_t *problems, struct hep_workflow **workflow,
                                   struct hep_error *error)
{
    static const char *const keys[] = {"workflow_id", "name",    "help",    "version", "parameters",
                                       "steps",       "finally", "results", NULL};
    struct hep_workflow *w = calloc(1, sizeof *w);
    json_t *found = json_array(), *copy = json_deep_copy(source);
    struct parser parser = {.workflow = w, .problems = found};
    if (!w || !found || !copy) {
        free(w);
        json_decref(found);
        json_decref(copy);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a workflow");
    }
    *w = (struct hep_workflow){.references = 1, .source = copy};
    if (!json_is_object(copy))
        problem(found, "a workflow is a JSON object");
    check_keys(&parser, "workflow", copy, keys);
    w->id = hep_json_str(copy, "workflow_id", "");
    w->name = hep_json_str(copy, "name", w->id);
    w->help = hep_json_str(copy, "help", "");
    w->version = (int)hep_json_int(copy, "version", 1);
    w->results = json_object_get(copy, "results");
    if (!is_name(w->id))
        problem(found, "workflow_id \"%.60s\" is not a name made of a-z 0-9 _", w->id);
    parse_parameters(&parser, json_object_get(copy, "parameters"));
    parse_steps(&parser, json_object_get(copy, "steps"), false, &w->steps, &w->step_count);
    parse_steps(&parser, json_object_get(copy, "finally"), true, &w->finals, &w->final_count);
    check_all_references(&parser);
    enum hep_status status = HEP_OK;
    if (json_array_size(found) > 0) {
        status =
            hep_fail(error, HEP_E_BAD_FILE, "workflow %.60s: %s", w->id, json_string_value(json_array_get(found, 0)));
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
    for (size_t i = 0; i < workflow->step_count; i++)
        json_array_append_new(steps,
                              json_pack("{s:s, s:s, s:s, s:O}", "id", workflow->steps[i].id, "domain",
                                        hep_role_name(workflow->steps[i].role), "operation",
                                        workflow->steps[i].operation, "parameters", workflow->steps[i].parameters));
    return json_pack("{s:s, s:s, s:s, s:i, s:o, s:o}", "workflow_id", workflow->id, "name", workflow->name, "help",
                     workflow->help, "version", workflow->version, "parameters",
                     parameters ? json_incref(parameters) : json_object(), "steps", steps);
}
