/*
 * What a request for work says, and what can be said of it before its model is known: its workflow, the names of its
 * configuration, the question that the model domain is to be asked. Called by accept.c.
 */
#include "supervisor/engine/accept_parts.h"
#include "supervisor/engine/embeddings.h"
#include "supervisor/engine/expand.h"
#include "supervisor/engine/loras.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/prompts.h"

#include <string.h>

/* The workflow that came with the request, completed. What its steps say of the configuration goes before what the
   configuration says itself. */
static enum hep_status take_definition(struct application *a, const struct hep_engine_request *request, json_t **given,
                                       struct hep_error *error)
{
    struct hep_workflow *base = NULL;
    json_t *source = NULL,
           *named = json_is_object(request->definition) ? json_copy(request->definition) : json_object();
    if (!json_object_get(named, "workflow_id") && request->workflow_id && request->workflow_id[0])
        json_object_set_new(named, "workflow_id", json_string(request->workflow_id));
    hep_workflows_find(a->engine->workflows, HEP_WORKFLOW_BASE, &base, NULL);
    hep_workflow_expand(named, base, a->engine->router, request->caller, &source, given, a->problems);
    json_decref(named);
    a->is_own = true;
    enum hep_status status = hep_workflow_parse(source, a->problems, &a->workflow, error);
    json_decref(source);
    json_object_update(*given, a->request);
    return status;
}

enum hep_status application_take_workflow(struct application *a, const struct hep_engine_request *request,
                                          json_t **given, struct hep_error *error)
{
    const char *id = request->workflow_id && request->workflow_id[0] ? request->workflow_id : HEP_WORKFLOW_BASE;
    struct hep_workflow *workflow = NULL;
    a->request = request->configuration ? json_incref(request->configuration) : json_object();
    if (request->definition)
        return take_definition(a, request, given, error);
    *given = json_incref(a->request);
    HEP_TRY(hep_workflows_find(a->engine->workflows, id, &workflow, error));
    a->workflow = hep_workflow_hold(workflow);
    return HEP_OK;
}

/* Where every image is to be checked, a workflow that writes some must have them checked. */
static void check_safety(struct application *a)
{
    if (a->engine->safety == HEP_SAFETY_OFF || !a->workflow)
        return;
    for (size_t i = 0; i < a->workflow->step_count; i++) {
        const struct hep_workflow_step *step = &a->workflow->steps[i];
        if (step->role == HEP_ROLE_POSTPROCESSING && strcmp(step->operation, "encode") == 0 &&
            !json_object_get(step->parameters, "safety"))
            hep_problem_add(a->problems, step->id, "safety", HEP_E_NOT_ALLOWED,
                            "step %s writes images that nothing has checked, and this instance's safety.policy is %s",
                            step->id, hep_safety_policy_names[a->engine->safety]);
    }
}

void application_check_request(struct application *a, json_t *given)
{
    hep_workflow_check_operations(a->workflow, a->engine->router, a->problems);
    check_safety(a);
    hep_parameters_name(a->workflow->parameters, a->workflow->parameter_count, given, &a->canonical, a->problems, NULL);
    hep_loras_take_tags(a->workflow->parameters, a->workflow->parameter_count, a->canonical, a->problems);
    hep_prompts_check(a->workflow, a->canonical, a->problems);
}

const struct hep_parameter *application_model_parameter(const struct application *a)
{
    const struct hep_workflow *workflow = a->workflow;
    for (size_t i = 0; i < workflow->parameter_count; i++)
        if (workflow->parameters[i].type == HEP_PARAMETER_MODEL)
            return &workflow->parameters[i];
    return NULL;
}

/* What the request names that is to fit the model, as model.info takes it: a new reference. */
static json_t *parts_of(const struct application *a)
{
    const struct hep_workflow *workflow = a->workflow;
    json_t *with = json_object(), *loras = hep_loras_of(workflow->parameters, workflow->parameter_count, a->canonical);
    if (json_array_size(loras) > 0)
        json_object_set(with, "loras", loras);
    json_decref(loras);
    for (size_t i = 0; i < workflow->parameter_count; i++) {
        const struct hep_parameter *p = &workflow->parameters[i];
        const char *value = json_string_value(json_object_get(a->canonical, p->name));
        if (hep_parameter_is_part(p->type) && value && value[0])
            json_object_set_new(with, hep_parameter_type_name(p->type), json_string(value));
    }
    return with;
}

enum hep_status application_ask_model(struct application *a, const struct hep_parameter *parameter,
                                      hep_catalog_done *heard, struct hep_error *error)
{
    json_t *given = json_object_get(a->canonical, parameter->name);
    const char *name = given ? json_string_value(given) : json_string_value(parameter->fallback);
    if (given && (!name || strlen(name) >= HEP_NAME_MAX))
        return hep_fail_field(error, name ? HEP_E_TOO_LARGE : HEP_E_BAD_FIELD, parameter->name,
                              "%s must be a string of less than %d bytes", parameter->name, HEP_NAME_MAX);
    json_t *with = parts_of(a);
    hep_embeddings_ask(a->workflow->parameters, a->workflow->parameter_count, a->canonical, with);
    enum hep_status status =
        hep_catalog_model(a->engine->catalog, name ? name : "", a->engine->default_model, with, heard, a, error);
    json_decref(with);
    return status;
}
