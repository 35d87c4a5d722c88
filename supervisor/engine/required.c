/* What a session needs to be there before it is accepted; see required.h. Asks nobody: the catalog is at hand. */
#include "supervisor/engine/required.h"

#include "common/wire.h"
#include "supervisor/engine/catalog.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/problem.h"

#include <string.h>

static bool model_is_there(const struct hep_session *session, const json_t *name)
{
    json_t *models = hep_catalog_models(session->engine->catalog), *model;
    size_t index;
    if (!models || !json_is_string(name) || json_string_length(name) == 0 || /* none is asked for */
        strcmp(json_string_value(name), hep_json_str(session->model, "name", "")) == 0)
        return true;
    json_array_foreach(models, index,
                       model) if (strcmp(hep_json_str(model, "name", ""), json_string_value(name)) == 0) return true;
    return false;
}

/* required: array of names or references; step: who needs them, "" = the workflow. */
static void check_required(struct hep_session *session, const json_t *required, const char *step, json_t *problems)
{
    json_t *names = NULL, *name;
    size_t index;
    struct hep_error error;
    if (!required)
        return;
    if (hep_session_fill(session, required, &names, &error) != HEP_OK)
        hep_problem_add_error(problems, step, &error);
    json_array_foreach(names, index, name) if (!model_is_there(session, name))
    {
        hep_fail_field(&error, HEP_E_NOT_FOUND, "model", "%s%s needs the model \"%.80s\", which is not there",
                       step[0] ? "step " : "the workflow", step, json_string_value(name));
        hep_hint(&error, "see `heptctl models`");
        hep_problem_add_error(problems, step, &error);
    }
    json_decref(names);
}

/* A model without a VAE is run with the one that the request names. */
static void check_vae(const struct hep_session *session, json_t *problems)
{
    const struct hep_workflow *workflow = session->workflow;
    struct hep_error error;
    const char *vae = "";
    for (size_t i = 0; i < workflow->parameter_count; i++)
        if (workflow->parameters[i].type == HEP_PARAMETER_VAE)
            vae = hep_json_str(session->configuration, workflow->parameters[i].name, "");
    if (vae[0] || !hep_json_bool(session->model, "needs_vae", false))
        return;
    hep_fail_field(&error, HEP_E_MISSING_FIELD, "vae", "model %.60s has no VAE of its own, and the request names none",
                   hep_json_str(session->model, "name", ""));
    hep_hint(&error, "name one in `vae`: `heptctl models --kind vae` lists them");
    hep_problem_add_error(problems, "", &error);
}

void hep_required_check(struct hep_session *session, json_t *problems)
{
    const struct hep_workflow *workflow = session->workflow;
    check_vae(session, problems);
    check_required(session, workflow->required_models, "", problems);
    for (size_t i = 0; i < workflow->step_count; i++)
        check_required(session, workflow->steps[i].required_models, workflow->steps[i].id, problems);
}
