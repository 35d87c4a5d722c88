/* Completes the workflow of a request. Called by accept.c; asks nobody, knows no session. */
#include "supervisor/engine/expand.h"

#include "common/limits.h"
#include "common/wire.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/router.h"

#include <stdio.h>
#include <string.h>

struct expansion {
    const struct hep_workflow *base;
    const struct hep_router *router;
    enum hep_permission caller;
    json_t *steps;         /* of the result                                     */
    json_t *configuration; /* what the given steps say of base's parameters     */
    json_t *problems;
    bool taken[HEP_WORKFLOW_STEPS_MAX]; /* steps of base that stand in the result already */
    int unnamed;                        /* steps that got an id                           */
};

static json_t *base_steps(const struct expansion *e)
{
    return e->base ? json_object_get(e->base->source, "steps") : NULL;
}

/* The operation's own name, by its row; what the domain does not have keeps the name that it was given. */
static const char *own_name(const struct expansion *e, enum hep_role role, const char *name)
{
    return hep_json_str(role == HEP_ROLE_NONE ? NULL : hep_router_operation(e->router, role, name), "name", name);
}

static enum hep_role role_of(const json_t *step)
{
    const char *type = hep_json_str(step, "type", "");
    return hep_role_from_prefix(type, strlen(type));
}

/* Index of the step of base that this one stands for; -1 if there is none. */
static int base_index(const struct expansion *e, const json_t *step)
{
    enum hep_role role = role_of(step);
    const char *name = own_name(e, role, hep_json_str(step, "operation", ""));
    for (size_t i = 0; e->base && i < e->base->step_count; i++)
        if (e->base->steps[i].role == role && strcmp(e->base->steps[i].operation, name) == 0)
            return (int)i;
    return -1;
}

static void take_base(struct expansion *e, int index, const json_t *given)
{
    static const char *const policies[] = {"when", "retry", "timeout_ms", "on_error", "help"};
    json_t *step = json_copy(json_array_get(base_steps(e), (size_t)index));
    for (size_t i = 0; given && i < HEP_COUNT_OF(policies); i++)
        if (json_object_get(given, policies[i]))
            json_object_set(step, policies[i], json_object_get(given, policies[i]));
    json_array_append_new(e->steps, step);
    e->taken[index] = true;
}

/* All steps of base before this one that are not there yet, in their order. */
static void take_base_before(struct expansion *e, int index)
{
    for (int i = 0; i < index; i++)
        if (!e->taken[i])
            take_base(e, i, NULL);
}

static bool base_has_parameter(const struct expansion *e, const char *key)
{
    size_t index;
    json_t *alias;
    for (size_t i = 0; i < e->base->parameter_count; i++) {
        if (strcmp(e->base->parameters[i].name, key) == 0)
            return true;
        json_array_foreach(e->base->parameters[i].aliases, index,
                           alias) if (strcmp(json_string_value(alias), key) == 0) return true;
    }
    return false;
}

/* A given parameter of a step that base knows: it is said by the configuration, or it is the engine's. */
static void take_parameter(struct expansion *e, const json_t *step, int index, const char *key, json_t *value)
{
    const json_t *pattern = json_object_get(e->base->steps[index].parameters, key);
    const char *text = json_string_value(pattern);
    char name[HEP_NAME_MAX] = "";
    if (text && sscanf(text, "${%63[a-z0-9_]}", name) == 1 && base_has_parameter(e, name)) {
        json_object_set(e->configuration, name, value);
    } else if (!pattern && base_has_parameter(e, key)) {
        json_object_set(e->configuration, key, value);
    } else {
        hep_problem_add(e->problems, hep_json_str(step, "id", e->base->steps[index].id), key,
                        pattern ? HEP_E_NOT_ALLOWED : HEP_E_UNKNOWN_FIELD, "%s.%s: \"%.60s\" is %s",
                        hep_role_name(e->base->steps[index].role), e->base->steps[index].operation, key,
                        pattern ? "filled in by the engine" : "unknown");
    }
}

/* What the step's name stands for, as far as it is the configuration's to say; parameters that it gives go before. */
static void take_preset(struct expansion *e, const json_t *step, int index)
{
    const struct hep_workflow_step *known = &e->base->steps[index];
    const char *called = hep_json_str(step, "operation", ""), *key;
    json_t *value;
    json_object_foreach(hep_router_preset(hep_router_operation(e->router, known->role, called), called), key,
                        value) if (base_has_parameter(e, key) &&
                                   !json_object_get(json_object_get(step, "parameters"), key))
        take_parameter(e, step, index, key, value);
}

static void take_known(struct expansion *e, const json_t *step, int index)
{
    const char *key;
    json_t *value, *parameters = json_object_get(step, "parameters");
    if (parameters && !json_is_object(parameters))
        hep_problem_add(e->problems, hep_json_str(step, "id", ""), "parameters", HEP_E_BAD_FIELD,
                        "parameters must be an object");
    json_object_foreach(parameters, key, value) take_parameter(e, step, index, key, value);
    take_preset(e, step, index);
    take_base_before(e, index);
    if (!e->taken[index])
        take_base(e, index, step);
}

/* What a caller may not ask for by itself is no step of his workflow either. That is known only once the domain is. */
static void check_allowed(struct expansion *e, const json_t *step)
{
    enum hep_role role = role_of(step);
    char type[2 * HEP_NAME_MAX];
    struct hep_route route;
    struct hep_error error = {0};
    if (role == HEP_ROLE_NONE)
        return;
    snprintf(type, sizeof type, "%s.%.60s", hep_role_name(role), hep_json_str(step, "operation", ""));
    if (!hep_router_knows(e->router, role))
        hep_fail(&error, HEP_E_DOMAIN_DOWN, "the domain %s has not been ready yet, so its operations are not known",
                 hep_role_name(role));
    else if (hep_router_route(e->router, type, e->caller, &route, &error) == HEP_OK)
        hep_router_check_references(route.operation, json_object_get(step, "parameters"), e->caller, &error);
    if (error.code == HEP_E_DOMAIN_DOWN || error.code == HEP_E_NOT_ALLOWED)
        hep_problem_add_error(e->problems, hep_json_str(step, "id", ""), &error);
}

/* A step that base does not have goes in as it is. */
static void take_other(struct expansion *e, const json_t *given)
{
    json_t *step = json_copy((json_t *)(uintptr_t)given);
    enum hep_role role = role_of(given);
    const char *operation = hep_json_str(given, "operation", "");
    char id[HEP_NAME_MAX];
    if (!json_object_get(step, "id")) {
        snprintf(id, sizeof id, "step_%d", ++e->unnamed);
        json_object_set_new(step, "id", json_string(id));
    }
    json_t *preset =
        role == HEP_ROLE_NONE ? NULL : hep_router_preset(hep_router_operation(e->router, role, operation), operation);
    if (!preset) /* else the domain fills in what the name stands for */
        json_object_set_new(step, "operation", json_string(own_name(e, role, operation)));
    check_allowed(e, step);
    json_array_append_new(e->steps, step);
}

static bool has_generation(const struct expansion *e, const json_t *steps)
{
    size_t index;
    json_t *step;
    json_array_foreach(steps, index, step)
    {
        int found = base_index(e, step);
        if (found >= 0 && e->base->steps[found].role == HEP_ROLE_INFERENCE)
            return true;
    }
    return false;
}

static void expand_steps(struct expansion *e, const json_t *steps)
{
    size_t index;
    json_t *step;
    json_array_foreach(steps, index, step)
    {
        int known = json_is_object(step) ? base_index(e, step) : -1;
        if (!json_is_object(step))
            json_array_append(e->steps, step); /* hep_workflow_parse says what is wrong with it */
        else if (known >= 0)
            take_known(e, step, known);
        else
            take_other(e, step);
    }
    if (e->base)
        take_base_before(e, (int)e->base->step_count);
}

/* Members of base that the definition does not have. */
static void take_members(json_t *result, const json_t *base)
{
    static const char *const members[] = {"finally", "results"};
    json_t *parameters = json_copy(json_object_get(base, "parameters"));
    json_object_update(parameters, json_object_get(result, "parameters"));
    json_object_set_new(result, "parameters", parameters);
    for (size_t i = 0; i < HEP_COUNT_OF(members); i++)
        if (!json_object_get(result, members[i]))
            json_object_set(result, members[i], json_object_get(base, members[i]));
}

void hep_workflow_expand(const json_t *definition, const struct hep_workflow *base, const struct hep_router *router,
                         enum hep_permission caller, json_t **workflow, json_t **configuration, json_t *problems)
{
    struct expansion e = {.base = base,
                          .router = router,
                          .caller = caller,
                          .steps = json_array(),
                          .configuration = json_object(),
                          .problems = problems};
    json_t *result = json_is_object(definition) ? json_copy((json_t *)(uintptr_t)definition) : json_object();
    const json_t *steps = json_object_get(definition, "steps");
    size_t index;
    json_t *final;
    if (json_object_get(definition, "extends")) {
        hep_problem_add(problems, "", "extends", HEP_E_UNSUPPORTED,
                        "a workflow that comes with a request extends no template: a step inference.generate "
                        "brings " HEP_WORKFLOW_BASE
                        " with it, and an operator may keep a template that extends another");
        json_object_del(result, "extends");
    }
    if (!has_generation(&e, steps))
        e.base = NULL;
    json_array_foreach(json_object_get(definition, "finally"), index, final) check_allowed(&e, final);
    if (json_array_size(steps) <= HEP_WORKFLOW_STEPS_MAX)
        expand_steps(&e, steps);
    if (!json_object_get(result, "workflow_id"))
        json_object_set_new(result, "workflow_id", json_string("adhoc"));
    if (e.base)
        take_members(result, e.base->source);
    json_object_set_new(result, "steps", e.steps);
    *workflow = result;
    *configuration = e.configuration;
}
