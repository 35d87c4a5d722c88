/*
 * A session's way through its steps: what is next, what an answer means, and the end; what goes wrong is trouble.c's.
 * Called by hep_engine_settle and by the ends of errands. Every change is only marked here; settle stores it, and only
 * then is anything sent.
 */
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/batch_step.h"
#include "supervisor/engine/core.h"

#include <string.h>

enum { PROGRESS_EVERY_MS = 50 };

/* ---- what is next ------------------------------------------------------------------------------------------------ */
/* Whether the effect of a done step is still wanted: a later step refers to it, or still computes. */
static bool is_needed(const struct hep_session *session, int index)
{
    const char *id = hep_session_what(session, index)->id;
    for (size_t i = (size_t)index + 1; i < session->workflow->step_count; i++) {
        if (hep_step_is_over(&session->steps[i]))
            continue;
        if (hep_step_refers_to(&session->workflow->steps[i], id) || hep_session_flops(session, (int)i) > 0)
            return true;
    }
    return false;
}

static bool must_renew(const struct hep_session *session, int index)
{
    const struct hep_workflow_step *what = hep_session_what(session, index);
    struct hep_engine *engine = session->engine;
    return what->renew && session->steps[index].state == HEP_STEP_DONE &&
           session->steps[index].generation != engine->domains[what->role].generation &&
           hep_proc_is_ready(engine->proc, what->role) && is_needed(session, index);
}

/* Index of the step to ask, -1 if all are over. */
static int next_step(struct hep_session *session)
{
    for (size_t i = 0; i < session->workflow->step_count; i++)
        if (!hep_step_is_over(&session->steps[i]) || must_renew(session, (int)i))
            return (int)i;
    return -1;
}

void hep_session_skip_step(struct hep_session *session, int index, const char *why)
{
    struct hep_session_step *step = &session->steps[index];
    const struct hep_workflow_step *what = hep_session_what(session, index);
    step->state = HEP_STEP_SKIPPED;
    step->ended = hep_wall_ms();
    step->dirty = true;
    json_decref(step->result);
    step->result = json_pack("{s:s}", "skipped", why);
    hep_engine_event(session->engine, session, "session.step", true,
                     json_pack("{s:s, s:s, s:s, s:s}", "step", what->id, "status", "skipped", "domain",
                               hep_role_name(what->role), "why", why));
}

void hep_session_step_back(struct hep_session *session, int index)
{
    struct hep_session_step *step = &session->steps[index];
    step->state = HEP_STEP_PENDING;
    step->inner = step->inner_steps = 0;
    step->dirty = true;
}

static void finish(struct hep_session *session)
{
    struct hep_error error = {0};
    json_t *results = NULL;
    if (session->workflow->results &&
        hep_session_fill(session, session->workflow->results, &results, &error) != HEP_OK) {
        hep_session_fail(session, &error, NULL);
        return;
    }
    json_decref(session->results);
    session->results = results ? results : json_object();
    hep_session_learn_rest(session);
    hep_session_take(session, HEP_SESSION_EVENT_FINISH, NULL);
}

static void prepare_step(struct hep_session *session, int index)
{
    const struct hep_workflow_step *what = hep_session_what(session, index);
    struct hep_session_step *step = &session->steps[index];
    struct hep_error error = {0};
    json_t *data = NULL;
    if (hep_session_place(session, &error) != HEP_OK) {
        hep_session_trouble(session, index, &error);
        return;
    }
    if (hep_session_resolve(session, what, false, &data, &error) != HEP_OK) {
        hep_session_fail(session, &error, NULL);
        return;
    }
    if (strncmp(session->note, "waits ", 6) == 0)
        hep_session_note(session, "%s", "");
    session->lacks_shm = false;
    step->attempt++;
    step->state = HEP_STEP_RUNNING;
    step->queued = hep_wall_ms();
    step->dirty = true;
    session->step = index;
    session->outgoing = hep_session_message(session, what, step->attempt, data);
    hep_engine_event(session->engine, session, "session.step", false,
                     json_pack("{s:s, s:s, s:i}", "step", what->id, "status", "queued", "attempt", step->attempt));
}

void hep_session_advance(struct hep_session *session)
{
    struct hep_engine *engine = session->engine;
    if (session->state != HEP_SESSION_RUNNING || engine->draining || engine->held || session->errand ||
        session->outgoing || session->timer || session->lost != HEP_ROLE_NONE)
        return;
    int index = next_step(session);
    if (index < 0) {
        finish(session);
        return;
    }
    const struct hep_workflow_step *what = hep_session_what(session, index);
    struct hep_error error;
    bool wanted;
    if (hep_session_wants(session, what, false, &wanted, &error) != HEP_OK) {
        hep_session_fail(session, &error, NULL);
        return;
    }
    if (!wanted) {
        hep_session_skip_step(session, index, "its condition does not hold");
        hep_session_advance(session); /* at most as deep as there are steps */
        return;
    }
    if (what->is_batch) {
        hep_session_run_batch(session, index);
        return;
    }
    if (!hep_router_knows(engine->router, what->role)) {
        hep_session_note(session, "waits for the domain %s", hep_role_name(what->role));
        return;
    }
    if (!hep_router_operation(engine->router, what->role, what->operation)) {
        hep_fail(&error, HEP_E_UNKNOWN_OPERATION, "step %s: %s has no operation \"%s\"", what->id,
                 hep_role_name(what->role), what->operation);
        hep_session_fail(session, &error, NULL);
        return;
    }
    if (hep_step_needs_plan(session, what)) {
        bool waits = false;
        if (!hep_session_is_planned(session) && hep_session_measure(session, &waits, &error) != HEP_OK) {
            hep_session_trouble(session, session->step, &error);
            return;
        }
        if (waits || !hep_session_claim_room(session))
            return;
    }
    prepare_step(session, index);
}

/* ---- the end of a step ------------------------------------------------------------------------------------------- */
static void step_done(struct hep_session *session, json_t *data, int64_t sent_ms)
{
    const struct hep_workflow_step *what = hep_session_what(session, session->step);
    struct hep_session_step *step = &session->steps[session->step];
    step->state = HEP_STEP_DONE;
    step->ended = hep_wall_ms();
    step->duration_us = (hep_now_ms() - sent_ms) * 1000;
    step->started = step->ended - step->duration_us / 1000;
    step->retries = step->tries = 0;
    step->generation = session->engine->domains[what->role].generation;
    step->dirty = true;
    json_decref(step->result);
    step->result = data ? json_incref(data) : json_object();
    hep_session_learn_rate(session, session->step);
    hep_session_learn_time(session, session->step);
    hep_session_note(session, "%s", "");
    hep_engine_event(session->engine, session, "session.step", true,
                     json_pack("{s:s, s:s, s:s, s:i, s:I}", "step", what->id, "status", "done", "domain",
                               hep_role_name(what->role), "attempt", step->attempt, "duration_ms",
                               (json_int_t)(step->duration_us / 1000)));
}

/* It has given way to another one, and is asked again behind it. What it has committed stays. */
static void yield(struct hep_session *session)
{
    struct hep_session_step *step = &session->steps[session->step];
    int inner = step->inner, inner_steps = step->inner_steps;
    hep_session_step_back(session, session->step);
    step->inner = inner;
    step->inner_steps = inner_steps;
    hep_engine_event(session->engine, session, "session.step", false,
                     json_pack("{s:s, s:s, s:i}", "step", hep_session_what(session, session->step)->id, "status",
                               "yielded", "attempt", step->attempt));
}

static void on_step_end(void *context, enum hep_status status, json_t *reply, const struct hep_error *said)
{
    struct hep_session *session = context;
    struct hep_error error = {0};
    int64_t sent_ms = session->errand ? hep_errand_sent_ms(session->errand) : hep_now_ms();
    bool timed_out = session->timed_out, yielded = session->yielding;
    session->errand = NULL;
    session->stopping = session->timed_out = session->yielding = false;
    hep_loop_cancel(hep_take(&session->limit));
    HEP_CRASH_POINT("step.answered");
    if (hep_session_is_ended(session->state)) {
        /* cancelled meanwhile: nobody needs it */
    } else if (status == HEP_OK && hep_json_bool(reply, "success", false)) {
        step_done(session, json_object_get(reply, "data"), sent_ms);
    } else if (status == HEP_E_OUTCOME_UNKNOWN) {
        hep_session_lose(session, session->step, said);
    } else {
        if (status == HEP_OK)
            hep_error_from_json(json_object_get(reply, "error"), &error);
        else
            error = *said;
        if (timed_out && error.code == HEP_E_CANCELLED)
            hep_session_say_timeout(session, session->step, &error);
        if (yielded && error.code == HEP_E_NOT_NOW)
            yield(session);
        else
            hep_session_trouble(session, session->step, &error);
    }
    hep_engine_settle(session->engine, NULL);
}

/* The step has been in hand for its timeout_ms: it is told to end. Until it has been sent, its time does not run. */
static void on_limit(void *context)
{
    struct hep_session *session = context;
    session->limit = NULL;
    if (!session->errand)
        return;
    int64_t sent_ms = hep_errand_sent_ms(session->errand),
            timeout_ms = hep_session_what(session, session->step)->timeout_ms;
    int64_t left = sent_ms ? sent_ms + timeout_ms - hep_now_ms() : timeout_ms;
    if (left > 0) {
        session->limit = hep_loop_after(session->engine->loop, left, on_limit, session);
        return;
    }
    session->timed_out = true;
    hep_session_stop(session);
}

void hep_session_submit(struct hep_session *session)
{
    const struct hep_workflow_step *what = hep_session_what(session, session->step);
    struct hep_error error = {0};
    struct hep_errand_spec spec = {.role = what->role,
                                   .heavy =
                                       hep_router_needs_lease(session->engine->router, what->role, what->operation),
                                   .alone = session->steps[session->step].crashes > 0,
                                   .patient = true,
                                   .ordered = true,
                                   .priority = session->priority,
                                   .remaining = (int)session->workflow->step_count - session->step,
                                   .age = (uint64_t)session->seq,
                                   .done = on_step_end,
                                   .context = session};
    spec.message = hep_take(&session->outgoing);
    if (hep_dispatch_submit(session->engine->dispatch, &spec, &session->errand, &error) != HEP_OK)
        hep_session_trouble(session, session->step, &error);
    else if (what->timeout_ms)
        session->limit = hep_loop_after(session->engine->loop, what->timeout_ms, on_limit, session);
}

/* ---- meanwhile --------------------------------------------------------------------------------------------------- */
void hep_session_on_progress(struct hep_session *session, enum hep_role role, int inner, int inner_steps)
{
    struct hep_session_step *step = &session->steps[session->step];
    int64_t now = hep_now_ms();
    if (!session->errand || session->measuring || hep_session_what(session, session->step)->role != role || inner < 0 ||
        inner > inner_steps)
        return;
    if (step->inner_steps != inner_steps || inner < step->inner) {
        session->step_began_ms = now;
        session->step_began_at = inner;
    }
    step->inner = inner;
    step->inner_steps = inner_steps;
    if (inner > step->position)
        step->position = inner;
    if (now - session->progress_told_ms < PROGRESS_EVERY_MS && inner < inner_steps)
        return;
    session->progress_told_ms = now;
    hep_engine_event(session->engine, session, "session.progress", false,
                     json_pack("{s:s, s:i, s:i, s:f, s:I}", "step", hep_session_what(session, session->step)->id,
                               "denoising_step", inner, "denoising_steps", inner_steps, "progress",
                               hep_session_progress(session), "eta_ms", (json_int_t)hep_session_eta_ms(session)));
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */
void hep_session_stop(struct hep_session *session)
{
    bool waits = session->outgoing != NULL;
    json_decref(hep_take(&session->outgoing));
    if (session->errand && hep_dispatch_withdraw(session->errand)) {
        session->errand = NULL;
        waits = !session->measuring;
        session->measuring = false;
    }
    if (waits) { /* it was never asked */
        hep_session_step_back(session, session->step);
        session->steps[session->step].attempt--;
    }
    if (session->errand && !session->stopping && !session->measuring) {
        session->stopping = true; /* a step that does not look ends by itself */
        hep_engine_tell(
            session->engine, hep_session_what(session, session->step)->role, "cancel", session->id,
            json_pack("{s:s, s:s}", "session", session->id, "request", hep_errand_request_id(session->errand)));
    }
}

static void on_final_end(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_session *session = context;
    (void)error;
    if (status != HEP_OK || !hep_json_bool(reply, "success", false))
        hep_log(HEP_DEBUG, "session.final_step", "session=%s code=%s", session->id,
                status != HEP_OK ? hep_status_name(status) : hep_json_str(json_object_get(reply, "error"), "code", ""));
    session->finals_in_hand--;
    hep_engine_settle(session->engine, NULL);
}

static void send_finals(struct hep_session *session)
{
    session->finals_sent = true;
    for (size_t i = 0; i < session->workflow->final_count; i++) {
        const struct hep_workflow_step *what = &session->workflow->finals[i];
        json_t *data = NULL;
        struct hep_errand *errand;
        if (session->engine->draining || !hep_router_operation(session->engine->router, what->role, what->operation) ||
            hep_session_resolve(session, what, true, &data, NULL) != HEP_OK)
            continue;
        struct hep_errand_spec spec = {.role = what->role,
                                       .message = hep_session_message(session, what, 1, data),
                                       .done = on_final_end,
                                       .context = session};
        session->finals_in_hand += hep_dispatch_submit(session->engine->dispatch, &spec, &errand, NULL) == HEP_OK;
    }
}

bool hep_session_wind_up(struct hep_session *session)
{
    hep_session_stop(session);
    hep_loop_cancel(hep_take(&session->timer));
    if (session->errand)
        return false;
    HEP_CRASH_POINT("session.before_unlink");
    hep_session_unplace(session);
    HEP_CRASH_POINT("session.after_unlink");
    session->room = false;
    if (!session->finals_sent)
        send_finals(session);
    return session->finals_in_hand == 0;
}
