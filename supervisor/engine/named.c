/* Asks for the files that a configuration names. Called by accept.c; knows no session. */
#include "supervisor/engine/named.h"

#include "common/limits.h"
#include "common/wire.h"
#include "supervisor/engine/problem.h"

#include <stdio.h>
#include <string.h>

static const struct hep_parameter *asked_for(const struct hep_named *named)
{
    return &named->workflow->parameters[named->next];
}

/* The name that the parameter has; "" = none. One of a wrong form is told when the values are checked. */
static const char *name_of(const struct hep_named *named)
{
    const struct hep_parameter *parameter = asked_for(named);
    const json_t *given = json_object_get(named->canonical, parameter->name),
                 *value = given ? given : parameter->fallback;
    const char *name = json_string_value(value);
    bool is_good = name && strlen(name) < HEP_NAME_MAX && strlen(name) == json_string_length(value);
    return is_good && strncmp(name, "${", 2) != 0 ? name : "";
}

static void note(const struct hep_named *named, const struct hep_error *error)
{
    struct hep_error said = *error;
    if (said.code == HEP_E_NOT_FOUND) /* as of a request's value */
        said.code = HEP_E_OUT_OF_RANGE;
    snprintf(said.field, sizeof said.field, "%s", asked_for(named)->name);
    hep_problem_add_error(named->problems, "", &said);
}

/* A ControlNet steers the models of its family alone. */
static void check_family(const struct hep_named *named, json_t *info)
{
    const char *its = hep_json_str(info, "family", ""), *model = json_string_value(named->family);
    struct hep_error error;
    if (asked_for(named)->type != HEP_PARAMETER_CONTROLNET || !its[0] || !model || strcmp(its, model) == 0)
        return;
    hep_fail(&error, HEP_E_BAD_MODEL, "ControlNet %s steers models of the family %s, and the model is of %s",
             name_of(named), its, model);
    hep_hint(&error, "`heptctl models --kind controlnet` says the family of each");
    note(named, &error);
}

static void on_info(void *context, json_t *info, const struct hep_error *error)
{
    struct hep_named *named = context;
    if (info)
        check_family(named, info);
    else if (error->code == HEP_E_CANCELLED)
        named->next = named->workflow->parameter_count - 1; /* the daemon ends: nothing more is asked */
    else if (!hep_status_retryable(error->code))
        note(named, error);
    named->next++;
    hep_named_check(named);
}

void hep_named_check(struct hep_named *named)
{
    enum hep_model_kind kind;
    struct hep_error error = {0};
    for (; named->next < named->workflow->parameter_count; named->next++) {
        if (!hep_parameter_names_file(asked_for(named), &kind) || !name_of(named)[0])
            continue;
        if (hep_catalog_file(named->catalog, kind, name_of(named), on_info, named, &error) == HEP_OK)
            return;
        note(named, &error);
    }
    named->done(named->context);
}
