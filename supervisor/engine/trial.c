/*
 * A session that is only tried: what it would take, exactly, without a row or an arena. Made by accept.c for
 * workflow.validate; it is in none of the engine's lists and emits no events. Its model is loaded as for a real one,
 * since only published weights can be planned with.
 */
#include "common/wire.h"
#include "supervisor/engine/batch_step.h"
#include "supervisor/engine/batch_trial.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/problem.h"

#include <stdlib.h>
#include <string.h>

struct hep_trial {
    hep_session_tried *done;
    void *context;
    int asked;        /* index of the step in hand                                                              */
    bool foreseeing;  /* it was asked what the step would take, not the step                                    */
    int foreseen;     /* steps up to this one need not be asked for that any more                               */
    json_t *weights;  /* the answers to that: what loading its models takes and evicts; NULL: not known yet     */
    json_t *problems; /* what keeps it from being accepted, and what is only to be said                         */
    json_t *batch;    /* what the images of its batch take; NULL = it has none                                    */
};

/* What its steps hold for it is given back. */
static void release(struct hep_session *session)
{
    for (size_t i = 0; i < session->workflow->final_count; i++) {
        const struct hep_workflow_step *final = &session->workflow->finals[i];
        json_t *data = NULL;
        bool is_held = false;
        for (size_t step = 0; step < session->workflow->step_count; step++)
            is_held = is_held || (session->workflow->steps[step].role == final->role && session->steps[step].result);
        if (is_held && hep_session_resolve(session, final, true, &data, NULL) == HEP_OK)
            hep_engine_tell(session->engine, final->role, final->operation, session->id, data);
    }
}

static void end(struct hep_session *session, json_t *resources, const struct hep_error *error)
{
    struct hep_engine *engine = session->engine;
    struct hep_trial *trial = hep_take(&session->trial);
    release(session);
    if (error)
        hep_problem_add_error(trial->problems, "", error);
    hep_session_warn_of_previews(session, trial->problems);
    trial->done(trial->context, resources, trial->problems, session);
    json_decref(trial->problems);
    json_decref(trial->weights);
    json_decref(trial->batch);
    free(trial);
    hep_engine_settle(engine, NULL);
}

void hep_trial_fail(struct hep_session *session, const struct hep_error *error)
{
    end(session, NULL, error);
}

/* What it takes by itself. */
static json_t *own_resources(struct hep_session *session, enum hep_fit fit, const struct hep_error *error)
{
    json_t *resources = hep_session_resources(session, fit);
    json_object_set_new(resources, "estimated_duration_ms", json_integer(hep_session_estimate_ms(session)));
    if (json_object_size(session->trial->weights) > 0)
        json_object_set(resources, "weights", session->trial->weights);
    if (fit != HEP_FIT_NEVER && fit != HEP_FIT_NOW)
        json_object_set_new(resources, "waits_for", json_string(error->message));
    return resources;
}

static void judge(struct hep_session *session)
{
    struct hep_error error = {0};
    enum hep_fit fit = hep_session_fit(session, &error);
    json_t *resources = own_resources(session, fit, &error);
    if (session->trial->batch)
        hep_batch_add_resources(session->trial->batch, fit == HEP_FIT_NOW, resources);
    end(session, resources, fit == HEP_FIT_NEVER ? &error : NULL);
}

static void on_batch(void *context, json_t *resources, json_t *problems)
{
    struct hep_session *session = context;
    struct hep_trial *trial = session->trial;
    json_array_extend(trial->problems, problems);
    trial->batch = json_incref(resources);
    if (resources)
        judge(session);
    else
        end(session, NULL, NULL);
}

/* The steps that are batches are tried by their items; of one that depends on others nothing is known yet. */
static void judge_batch(struct hep_session *session)
{
    int tried = -1;
    json_t *request = hep_session_batch_request(session, &tried);
    struct hep_error error;
    for (int i = 0; i < (int)session->workflow->step_count; i++)
        if (session->workflow->steps[i].is_batch && i != tried) {
            hep_fail(&error, HEP_E_NOT_NOW, "what the images of step %s take is not known before it is their turn",
                     session->workflow->steps[i].id);
            hep_hint(&error, "what is said of resources and time is without them");
            hep_problem_add_warning(session->trial->problems, session->workflow->steps[i].id, &error);
        }
    if (request)
        hep_batch_try(session->engine, request, on_batch, session);
    else
        judge(session);
    json_decref(request);
}

/* Whether a step is wanted, is not done, and must be before others can be measured: its result is what they refer to.
 */
static enum hep_status comes_first(struct hep_session *session, int index, bool *first, struct hep_error *error)
{
    const struct hep_workflow_step *step = &session->workflow->steps[index];
    *first = false;
    if (session->steps[index].state == HEP_STEP_DONE || !step->renew || hep_step_needs_plan(session, step))
        return HEP_OK;
    return hep_session_wants(session, step, true, first, error);
}

/* Another model is loaded beside those before it: what they take and evict adds up. */
static void add_weights(struct hep_trial *trial, const json_t *answer)
{
    static const char *const sums[] = {"weights_bytes", "new_bytes", "evicted_bytes"};
    trial->foreseen = trial->asked + 1;
    if (!trial->weights) {
        trial->weights = answer ? json_deep_copy(answer) : json_object();
        return;
    }
    for (size_t i = 0; i < HEP_COUNT_OF(sums); i++)
        json_object_set_new(trial->weights, sums[i],
                            json_integer(hep_json_int(trial->weights, sums[i], 0) + hep_json_int(answer, sums[i], 0)));
    json_array_extend(json_object_get(trial->weights, "evicts"), json_object_get(answer, "evicts"));
}

static void on_answer(void *context, enum hep_status status, json_t *reply, const struct hep_error *said)
{
    struct hep_session *session = context;
    struct hep_error error = {0};
    session->errand = NULL;
    if (status == HEP_OK && hep_json_bool(reply, "success", false)) {
        json_t *data = json_object_get(reply, "data");
        struct hep_session_step *step = &session->steps[session->trial->asked];
        if (session->trial->foreseeing) {
            add_weights(session->trial, data);
        } else {
            step->result = data ? json_incref(data) : json_object();
            step->state = HEP_STEP_DONE;
        }
        hep_trial_go_on(session);
        return;
    }
    if (status == HEP_OK)
        hep_error_from_json(json_object_get(reply, "error"), &error);
    hep_trial_fail(session, status == HEP_OK ? &error : said);
}

/* What a load would take and evict is asked before it is done: one that cannot be done evicts nothing. */
static const struct hep_workflow_step *foreseen(const struct hep_session *session, int index,
                                                struct hep_workflow_step *question)
{
    const struct hep_workflow_step *step = &session->workflow->steps[index];
    if (index < session->trial->foreseen || step->role != HEP_ROLE_MODEL || strcmp(step->operation, "load") != 0 ||
        !hep_router_operation(session->engine->router, step->role, "foresee"))
        return step;
    *question = *step;
    question->operation = "foresee";
    return question;
}

static enum hep_status ask(struct hep_session *session, int index, struct hep_error *error)
{
    struct hep_workflow_step question;
    const struct hep_workflow_step *step = foreseen(session, index, &question);
    json_t *data = NULL;
    session->trial->foreseeing = step == &question;
    HEP_TRY(hep_session_resolve(session, step, true, &data, error));
    struct hep_errand_spec spec = {.role = step->role,
                                   .heavy =
                                       hep_router_needs_lease(session->engine->router, step->role, step->operation),
                                   .priority = session->priority,
                                   .age = (uint64_t)session->seq,
                                   .message = hep_session_message(session, step, 1, data),
                                   .done = on_answer,
                                   .context = session};
    session->trial->asked = index;
    return hep_dispatch_submit(session->engine->dispatch, &spec, &session->errand, error);
}

void hep_trial_go_on(struct hep_session *session)
{
    struct hep_error error = {0};
    for (int i = 0; i < (int)session->workflow->step_count; i++) {
        const struct hep_workflow_step *step = &session->workflow->steps[i];
        enum hep_status status;
        bool first = false;
        if (!hep_router_knows(session->engine->router, step->role))
            status = hep_engine_refuse_down(session->engine, step->role, step->operation, &error);
        else if ((status = comes_first(session, i, &first, &error)) == HEP_OK && first)
            status = ask(session, i, &error);
        if (status == HEP_OK && !first)
            continue;
        if (status == HEP_OK)
            hep_engine_settle(session->engine, NULL); /* sends it */
        else
            hep_trial_fail(session, &error);
        return;
    }
    bool waits;
    if (hep_session_measure(session, &waits, &error) != HEP_OK)
        hep_trial_fail(session, &error);
    else if (waits)
        hep_engine_settle(session->engine, NULL); /* sends it */
    else
        judge_batch(session);
}

void hep_session_try(struct hep_session *session, hep_session_tried *done, void *context)
{
    struct hep_error error;
    session->trial = calloc(1, sizeof *session->trial);
    json_t *problems = json_array();
    if (!session->trial) {
        hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a trial");
        hep_problem_add_error(problems, "", &error);
        done(context, NULL, problems, session);
        json_decref(problems);
        return;
    }
    *session->trial = (struct hep_trial){.done = done, .context = context, .problems = problems};
    hep_trial_go_on(session);
}
