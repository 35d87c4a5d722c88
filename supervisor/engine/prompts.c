/* Finds the prompts of a request by the steps that they go to; see prompts.h. Called by accept_request.c. */
#include "supervisor/engine/prompts.h"

#include "common/prompt_words.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/reference.h"

#include <stdio.h>
#include <string.h>

/* Fields of the conditioning domain's operations that are prompts. To add one: a row. */
static const char *const prompt_fields[] = {"prompt", "negative_prompt"};

struct look {
    const json_t *canonical;
    json_t *problems;
    json_t *seen; /* names of parameters that have been looked at: several steps may have the same prompt */
};

static void check(const json_t *text, const char *step, const char *field, json_t *problems)
{
    struct hep_error error = {0};
    if (!json_is_string(text) ||
        hep_prompt_check_and(json_string_value(text), json_string_length(text), &error) == HEP_OK)
        return; /* what is wrong with one that is no text is said when its value is checked */
    snprintf(error.field, sizeof error.field, "%s", field);
    hep_problem_add_error(problems, step, &error);
}

static enum hep_status check_parameter(void *context, const char *path, struct hep_error *error)
{
    struct look *look = context;
    (void)error;
    if (!json_object_get(look->seen, path)) {
        json_object_set_new(look->seen, path, json_true());
        check(json_object_get(look->canonical, path), "", path, look->problems);
    }
    return HEP_OK;
}

void hep_prompts_check(const struct hep_workflow *workflow, const json_t *canonical, json_t *problems)
{
    struct look look = {canonical, problems, json_object()};
    for (size_t i = 0; i < workflow->step_count; i++) {
        const struct hep_workflow_step *step = &workflow->steps[i];
        for (size_t f = 0; step->role == HEP_ROLE_CONDITIONING && f < HEP_COUNT_OF(prompt_fields); f++) {
            const json_t *text = json_object_get(step->parameters, prompt_fields[f]);
            check(text, step->id, prompt_fields[f], problems);
            hep_reference_walk(text, check_parameter, &look, NULL);
        }
    }
    json_decref(look.seen);
}
