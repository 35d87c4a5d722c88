/*
 * What becomes of a session when a step fails or the domain that has it in hand dies: asked again later, earlier steps
 * done again, gone on without, or failed. Called by run.c for what a step answers, by what finds a step that cannot be
 * done, and by told.c for deaths. Every change is only marked here, as in run.c.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <string.h>

enum { BACKOFF_MAX_MS = 5000, SHM_AGAIN_MS = 200, OBITUARY_DUE_MS = 5000 };

/* Errors that may pass by themselves: how often the step is tried again (0 = until it is cancelled), and how long the
   first wait is; each further one is twice as long. An error that says that it is final is not among them. Too little
   shared memory sends the session back to the queue instead (room.c). To add one: a row. */
static const struct {
    enum hep_status code;
    int tries;
    int64_t first_ms;
} patience[] = {
    {HEP_E_DOMAIN_DOWN, 0, 20},      /* it waits for the domain by itself             */
    {HEP_E_CANCELLED, 0, 50},        /* the domain drained, or it was paused          */
    {HEP_E_BUSY, 0, 100},            /* files that changed, a domain that is full     */
    {HEP_E_NO_SPACE, 0, 500},        /* finished images are kept until there is space */
    {HEP_E_NO_MEMORY, 20, 200},      /* what others free                              */
    {HEP_E_OUTCOME_UNKNOWN, 5, 100}, /* a broken connection without a death           */
    {HEP_E_TIMEOUT, 3, 100},         /* a slow disk, a slow peer                      */
    {HEP_E_IO, 3, 200},              /* the same                                      */
};

void hep_session_fail(struct hep_session *session, const struct hep_error *error, json_t *details)
{
    json_decref(session->error);
    session->error = hep_error_to_json(error);
    if (details)
        json_object_update(session->error, details);
    json_decref(details);
    char quoted[600];
    hep_log(HEP_WARNING, "session.failed", "session=%s code=%s message=%s", session->id, hep_status_name(error->code),
            hep_log_quote(error->message, quoted, sizeof quoted));
    hep_session_take(session, HEP_SESSION_EVENT_FAIL, NULL);
}

void hep_session_say_timeout(const struct hep_session *session, int step, struct hep_error *error)
{
    const struct hep_workflow_step *what = hep_session_what(session, step);
    hep_fail(error, HEP_E_TIMEOUT, "step %s was in hand for more than its timeout_ms, %" PRId64, what->id,
             what->timeout_ms);
    hep_hint(error, "give the step more time in the workflow, or ask for less");
    hep_final(error);
}

static void on_timer(void *context)
{
    struct hep_session *session = context;
    session->timer = NULL;
    if (session->lost != HEP_ROLE_NONE) /* there is no obituary: the process lives */
        hep_session_keep_error(session, session->step, session->steps[session->step].error);
    session->lost = HEP_ROLE_NONE;
    hep_engine_settle(session->engine, NULL);
}

void hep_session_wait_for(struct hep_session *session, int64_t ms)
{
    hep_loop_cancel(session->timer);
    session->timer = hep_loop_after(session->engine->loop, ms, on_timer, session);
}

/* As the step's last error. */
static void note_error(struct hep_session *session, int index, const struct hep_error *error)
{
    struct hep_session_step *step = &session->steps[index];
    json_decref(step->error);
    step->error = hep_error_to_json(error);
    json_object_set_new(step->error, "attempt", json_integer(step->attempt));
    step->dirty = true;
}

/* And among all of the session. obituary: of the death behind it, NULL = there was none. */
static void keep_error(struct hep_session *session, int index, const struct hep_error *error, json_t *obituary)
{
    note_error(session, index, error);
    if (obituary)
        json_object_set(session->steps[index].error, "obituary", obituary);
    hep_session_keep_error(session, index, session->steps[index].error);
}

/* A reference does not hold any more: the arena is gone, or weights were published anew. Does the steps again that give
   what this one refers to. False if there are none. */
static bool redo_sources(struct hep_session *session, int index)
{
    const struct hep_workflow_step *what = hep_session_what(session, index);
    bool found = false;
    if (session->steps[index].redos++ >= HEP_STEP_REDOS_MAX)
        return false;
    if (session->arena_there) {
        session->arena_there = false;
        hep_session_check_arena(session);
        found = !session->arena_there;
    }
    for (int i = 0; i < index; i++)
        if (hep_session_what(session, i)->renew && hep_step_refers_to(what, hep_session_what(session, i)->id)) {
            hep_session_step_back(session, i);
            found = true;
        }
    return found;
}

static int64_t backoff_ms(int retries, int64_t first_ms)
{
    int64_t wait = first_ms << (retries < 10 ? retries : 10);
    return wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
}

static void ask_again(struct hep_session *session, int index, const struct hep_error *error, int64_t wait_ms)
{
    hep_session_note(session, "step %s is asked again: %.150s", hep_session_what(session, index)->id, error->message);
    hep_session_wait_for(session, wait_ms);
}

/* Skips what refers to a step that gives nothing, and what refers to that. */
static void skip_dependents(struct hep_session *session, int index)
{
    char why[HEP_NAME_MAX + 32];
    snprintf(why, sizeof why, "step %.60s gives nothing", hep_session_what(session, index)->id);
    for (int i = index + 1; i < (int)session->workflow->step_count; i++)
        if (!hep_step_is_over(&session->steps[i]) &&
            hep_step_refers_to(hep_session_what(session, i), hep_session_what(session, index)->id)) {
            hep_session_skip_step(session, i, why);
            skip_dependents(session, i);
        }
}

/* The step cannot be done: what follows is what its on_error says. details are taken. */
static void give_up(struct hep_session *session, int index, const struct hep_error *error, json_t *details)
{
    const struct hep_workflow_step *what = hep_session_what(session, index);
    struct hep_session_step *step = &session->steps[index];
    step->state = HEP_STEP_FAILED;
    step->ended = hep_wall_ms();
    step->dirty = true;
    if (what->on_error == HEP_ON_ERROR_FAIL) {
        hep_session_fail(session, error, details);
        return;
    }
    json_decref(details);
    hep_session_note(session, "step %s failed, the session goes on: %.150s", what->id, error->message);
    if (what->on_error == HEP_ON_ERROR_SKIP)
        skip_dependents(session, index);
}

void hep_session_trouble(struct hep_session *session, int index, const struct hep_error *error)
{
    struct hep_session_step *step = &session->steps[index];
    hep_session_step_back(session, index);
    keep_error(session, index, error, NULL);
    hep_engine_event(session->engine, session, "session.step", true,
                     json_pack("{s:s, s:s, s:i, s:o}", "step", hep_session_what(session, index)->id, "status", "error",
                               "attempt", step->attempt, "error", hep_error_to_json(error)));
    if (error->code == HEP_E_STALE || error->code == HEP_E_NOT_FOUND || error->code == HEP_E_BAD_REFERENCE) {
        if (redo_sources(session, index))
            return;
    }
    if (error->code == HEP_E_NO_SHM && !error->final) {
        hep_session_lacks_shm(session, error, backoff_ms(step->retries++, SHM_AGAIN_MS));
        return;
    }
    for (size_t i = 0; !error->final && i < HEP_COUNT_OF(patience); i++) {
        if (patience[i].code != error->code || (patience[i].tries && step->retries >= patience[i].tries))
            continue;
        int64_t wait = backoff_ms(step->retries++, patience[i].first_ms);
        ask_again(session, index, error, wait);
        return;
    }
    if (step->tries + 1 < hep_session_what(session, index)->retry_attempts) {
        ask_again(session, index, error, backoff_ms(step->tries++, hep_session_what(session, index)->retry_delay_ms));
        return;
    }
    give_up(session, index, error, NULL);
}

void hep_session_lose(struct hep_session *session, int index, const struct hep_error *error)
{
    hep_session_step_back(session, index);
    note_error(session, index, error); /* the obituary says more */
    session->step = index;
    session->lost = hep_session_what(session, index)->role;
    hep_session_wait_for(session, OBITUARY_DUE_MS);
}

/* An end that was asked for is nobody's fault, and a request that the process had not begun did not kill it. */
static bool is_suspect(const struct hep_session *session, json_t *obituary)
{
    json_t *in_hand = json_object_get(obituary, "in_hand"), *item;
    size_t index;
    if (session->engine->draining || strcmp(hep_json_str(obituary, "cause", ""), "restarted by the operator") == 0)
        return false;
    json_array_foreach(in_hand, index,
                       item) if (strcmp(hep_json_str(item, "session", ""), session->id) == 0) return true;
    return json_array_size(in_hand) == 0;
}

void hep_session_on_death(struct hep_session *session, enum hep_role role, json_t *obituary)
{
    struct hep_session_step *step = &session->steps[session->step];
    const struct hep_workflow_step *what = hep_session_what(session, session->step);
    struct hep_error error;
    if (session->lost != role || hep_session_is_ended(session->state))
        return;
    session->lost = HEP_ROLE_NONE;
    hep_loop_cancel(hep_take(&session->timer));
    hep_fail(&error, HEP_E_OUTCOME_UNKNOWN, "%s died (%s) with step %s in hand, attempt %d", hep_role_name(role),
             hep_json_str(obituary, "signal", hep_json_str(obituary, "cause", "unknown")), what->id, step->attempt);
    snprintf(error.domain, sizeof error.domain, "%s", hep_role_name(role));
    snprintf(error.operation, sizeof error.operation, "%s", what->operation);
    keep_error(session, session->step, &error, obituary);
    if (!is_suspect(session, obituary))
        return;
    step->crashes = step->position > step->crash_position ? 1 : step->crashes + 1;
    step->crash_position = step->position;
    hep_session_note(session, "%s died (%s) in step %s: it is asked again", hep_role_name(role),
                     hep_json_str(obituary, "signal", hep_json_str(obituary, "cause", "unknown")), what->id);
    if (step->crashes < HEP_STEP_CRASHES_MAX)
        return;
    hep_fail(&error, HEP_E_OUTCOME_UNKNOWN, "step %s killed the domain %s %d times", what->id, hep_role_name(role),
             step->crashes);
    hep_hint(&error, "the obituary says how it died; `heptctl logs` has its last words");
    snprintf(error.domain, sizeof error.domain, "%s", hep_role_name(role));
    snprintf(error.operation, sizeof error.operation, "%s", what->operation);
    give_up(session, session->step, &error, json_pack("{s:O, s:b}", "obituary", obituary, "retryable", false));
}
