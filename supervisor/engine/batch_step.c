/* Runs the steps of batch_step.h. Called by run.c, and by api.c for what a person asks of the session. */
#include "supervisor/engine/batch_step.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/batch_parts.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_AGAIN_MS = 1000 };

static const char *batch_of(const struct hep_session *session, int index)
{
    return hep_json_str(session->steps[index].result, "batch_id", "");
}

/* Whether the batch that it has was asked for, or goes on, in this attempt: not one of an attempt before. */
static bool is_of_attempt(const struct hep_session *session, int index)
{
    const struct hep_session_step *step = &session->steps[index];
    return hep_json_int(step->result, "attempt", 0) == step->attempt;
}

static void set_batch(struct hep_session_step *step, const char *id)
{
    json_t *result = json_pack("{s:s, s:i}", "batch_id", id, "attempt", step->attempt);
    json_decref(step->result); /* id may be in it */
    step->result = result;
    step->dirty = true;
}

/* The batch step that has been begun and is not over; -1 = none. Read from the store, one that was in hand is pending.
 */
static int begun(const struct hep_session *session)
{
    for (int i = 0; i < (int)session->workflow->step_count; i++)
        if (hep_session_what(session, i)->is_batch &&
            (session->steps[i].state == HEP_STEP_RUNNING ||
             (session->steps[i].state == HEP_STEP_PENDING && batch_of(session, i)[0] && is_of_attempt(session, i))))
            return i;
    return -1;
}

bool hep_session_is_in_batch(const struct hep_session *session)
{
    return begun(session) >= 0;
}

/* ---- asking for it ----------------------------------------------------------------------------------------------- */
struct asking {
    struct hep_engine *engine;
    char session[HEP_SESSION_ID_MAX];
};

static void on_created(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct asking *asking = context;
    struct hep_engine *engine = asking->engine;
    struct hep_session *session = hep_engine_find(engine, asking->session);
    bool is_wanted = session && hep_session_is_in_batch(session) && !hep_session_is_ended(session->state);
    if (session)
        session->asks_batch = false;
    if (is_wanted && status == HEP_OK) {
        set_batch(&session->steps[session->step], hep_json_str(reply, "batch_id", ""));
    } else if (is_wanted && hep_status_retryable(status) && !error->final) {
        hep_session_wait_for(session, ASK_AGAIN_MS);
    } else if (is_wanted) {
        hep_session_fail(session, error, json_copy(reply));
    }
    json_decref(reply);
    free(asking); /* one that is not wanted any more stays as it was created: nothing of it runs */
    hep_engine_settle(engine, NULL);
}

static void ask_for(struct hep_session *session, int index)
{
    struct hep_error error = {0};
    struct asking *asking = malloc(sizeof *asking);
    json_t *request = NULL;
    char key[HEP_SESSION_ID_MAX + HEP_NAME_MAX + 16];
    if (!asking)
        return; /* the next settle tries again */
    if (hep_session_resolve(session, hep_session_what(session, index), false, &request, &error) != HEP_OK) {
        free(asking);
        hep_session_fail(session, &error, NULL);
        return;
    }
    *asking = (struct asking){.engine = session->engine};
    snprintf(asking->session, sizeof asking->session, "%s", session->id);
    snprintf(key, sizeof key, "%s/%s/%d", session->id, hep_session_what(session, index)->id,
             session->steps[index].attempt);
    session->asks_batch = true;
    hep_engine_create_batch(session->engine, request, session->priority, key, on_created, asking);
    json_decref(request);
}

/* Another attempt: its batch goes on with what was not done. False: not now. */
static bool go_on(struct hep_session *session, int index)
{
    struct hep_session_step *step = &session->steps[index];
    const char *id = batch_of(session, index);
    enum hep_status status = hep_batch_retry(session->engine, id, NULL);
    if (status != HEP_OK && status != HEP_E_NOT_NOW && status != HEP_E_NOT_FOUND) {
        hep_session_wait_for(session, ASK_AGAIN_MS);
        return false;
    }
    struct hep_batch *batch = hep_batch_find(session->engine, id);
    if (batch && batch->priority != session->priority)
        hep_batch_prioritise(batch, session->priority);
    if (status == HEP_E_NOT_FOUND) { /* a new one, with all items */
        json_decref(hep_take(&step->result));
        step->dirty = true;
    } else {
        set_batch(step, id);
    }
    return true;
}

json_t *hep_session_batch_request(struct hep_session *session, int *step)
{
    json_t *request = NULL;
    for (int i = 0; i < (int)session->workflow->step_count && !request; i++) {
        const struct hep_workflow_step *what = hep_session_what(session, i);
        bool depends = false;
        for (int j = 0; j < i; j++)
            depends = depends || hep_step_refers_to(what, hep_session_what(session, j)->id);
        if (what->is_batch && !depends && hep_session_resolve(session, what, true, &request, NULL) == HEP_OK && step)
            *step = i;
    }
    return request;
}

/* ---- its end ----------------------------------------------------------------------------------------------------- */
static void done(struct hep_session *session, int index, json_t *result)
{
    struct hep_session_step *step = &session->steps[index];
    step->state = HEP_STEP_DONE;
    step->ended = hep_wall_ms();
    step->duration_us = (step->ended - step->started) * 1000;
    step->tries = 0;
    step->dirty = true;
    hep_loop_cancel(hep_take(&session->limit));
    json_decref(step->result);
    step->result = result;
    hep_session_note(session, "%s", "");
    hep_engine_event(session->engine, session, "session.step", true,
                     json_pack("{s:s, s:s, s:s, s:i, s:I}", "step", hep_session_what(session, index)->id, "status",
                               "done", "domain", hep_role_name(hep_session_what(session, index)->role), "attempt",
                               step->attempt, "duration_ms", (json_int_t)(step->duration_us / 1000)));
}

/* All files of its items, in their order, as far as a page goes. */
static json_t *result_of(const json_t *view)
{
    static const char *const kept[] = {"batch_id", "total_items", "completed_items", "failed_items"};
    json_t *result = json_object(), *files = json_array(), *item, *file;
    size_t i, f;
    for (size_t k = 0; k < HEP_COUNT_OF(kept); k++)
        json_object_set(result, kept[k], json_object_get(view, kept[k]));
    json_array_foreach(json_object_get(view, "items"), i, item)
        json_array_foreach(json_object_get(item, "files"), f, file) json_array_append(files, file);
    json_object_set_new(result, "files", files);
    return result;
}

/* What to do about it is the workflow's to say. */
static void fail_with(struct hep_session *session, int index, const struct hep_error *error)
{
    struct hep_session_step *step = &session->steps[index];
    hep_loop_cancel(hep_take(&session->limit));
    hep_session_trouble(session, index, error);
    step->attempt += step->state == HEP_STEP_PENDING; /* it is tried again: its batch goes on */
}

/* The error of the first item that has one. */
static void failed(struct hep_session *session, int index, const json_t *view)
{
    struct hep_error error = {0};
    const char *status = hep_json_str(view, "status", "gone");
    json_t *item;
    size_t i;
    json_array_foreach(json_object_get(view, "items"), i,
                       item) if (error.code == HEP_OK && json_object_get(item, "error"))
        hep_error_from_json(json_object_get(item, "error"), &error);
    if (error.code == HEP_OK)
        hep_fail(&error, HEP_E_CANCELLED, "it is %s", status);
    hep_prefix(&error, "batch %s", batch_of(session, index));
    hep_final(&error);
    fail_with(session, index, &error);
}

static void conclude(struct hep_session *session, int index)
{
    const struct hep_batch_page page = {.after = -1, .limit = HEP_BATCH_STEP_FILES_MAX};
    struct hep_error error = {0};
    json_t *view = NULL;
    enum hep_status status = hep_engine_get_batch(session->engine, batch_of(session, index), &page, &view, &error);
    if (status == HEP_OK && strcmp(hep_json_str(view, "status", ""), "completed") == 0)
        done(session, index, result_of(view));
    else if (status == HEP_OK || status == HEP_E_NOT_FOUND)
        failed(session, index, view);
    else
        hep_session_wait_for(session, ASK_AGAIN_MS);
    json_decref(view);
}

/* ---- meanwhile --------------------------------------------------------------------------------------------------- */
static void begin(struct hep_session *session, int index)
{
    struct hep_session_step *step = &session->steps[index];
    step->attempt += step->attempt == 0;
    step->state = HEP_STEP_RUNNING;
    step->queued = step->queued ? step->queued : hep_wall_ms();
    step->started = step->started ? step->started : hep_wall_ms();
    step->dirty = true;
    hep_engine_event(session->engine, session, "session.step", false,
                     json_pack("{s:s, s:s, s:i}", "step", hep_session_what(session, index)->id, "status", "queued",
                               "attempt", step->attempt));
}

/* The batch of the step that it has in hand; NULL: there is none, or it has ended. */
static struct hep_batch *in_hand(const struct hep_session *session)
{
    int index = begun(session);
    return index < 0 ? NULL : hep_batch_find(session->engine, batch_of(session, index));
}

/* It has had its time: what is not done of it is cancelled, in the same commit. */
static void on_limit(void *context)
{
    struct hep_session *session = context;
    const struct hep_engine *engine = session->engine;
    int index = begun(session);
    struct hep_batch *batch = in_hand(session);
    struct hep_error error = {0};
    session->limit = NULL;
    if (session->state == HEP_SESSION_RUNNING && batch && !engine->draining && !engine->held &&
        hep_batch_control(batch, "cancel", NULL) == HEP_OK) {
        hep_session_say_timeout(session, index, &error);
        fail_with(session, index, &error);
    }
    hep_engine_settle(session->engine, NULL);
}

/* Its time runs while the batch does: after a pause it has all of it again, as a step that is asked again. */
static void keep_time(struct hep_session *session, int index, const struct hep_batch *batch)
{
    int64_t timeout_ms = hep_session_what(session, index)->timeout_ms;
    if (batch->state != HEP_BATCH_RUNNING)
        hep_loop_cancel(hep_take(&session->limit));
    else if (timeout_ms && !session->limit)
        session->limit = hep_loop_after(session->engine->loop, timeout_ms, on_limit, session);
}

static void watch(struct hep_session *session, int index, struct hep_batch *batch)
{
    struct hep_session_step *step = &session->steps[index];
    int ended = hep_batch_ended_items(batch), size = hep_batch_size(batch);
    if (batch->state == HEP_BATCH_CREATED)
        hep_batch_take(batch, HEP_BATCH_EVENT_EXECUTE, NULL);
    keep_time(session, index, batch);
    hep_session_note(session, batch->state == HEP_BATCH_PAUSED ? "batch %s is paused" : "batch %s", batch->id);
    if (step->inner == ended && step->inner_steps == size)
        return;
    step->inner = ended;
    step->inner_steps = size;
    hep_engine_event(session->engine, session, "session.progress", false,
                     json_pack("{s:s, s:s, s:i, s:i, s:f}", "step", hep_session_what(session, index)->id, "batch",
                               batch->id, "ended_items", ended, "total_items", size, "progress",
                               hep_session_progress(session)));
}

void hep_session_run_batch(struct hep_session *session, int index)
{
    session->step = index;
    if (session->asks_batch)
        return;
    if (session->steps[index].state != HEP_STEP_RUNNING)
        begin(session, index);
    if (batch_of(session, index)[0] && !is_of_attempt(session, index) && !go_on(session, index))
        return;
    struct hep_batch *batch = hep_batch_find(session->engine, batch_of(session, index));
    if (!batch_of(session, index)[0])
        ask_for(session, index);
    else if (batch)
        watch(session, index, batch);
    else
        conclude(session, index);
}

void hep_session_control_batch(struct hep_session *session, const char *action)
{
    struct hep_batch *batch = in_hand(session);
    if (!batch)
        return;
    hep_loop_cancel(hep_take(&session->limit)); /* its time begins anew when it runs again */
    hep_batch_control(batch, action, NULL);     /* one that cannot take it is not concerned */
}

void hep_session_prioritise_batch(struct hep_session *session, int priority)
{
    struct hep_batch *batch = in_hand(session);
    if (batch)
        hep_batch_prioritise(batch, priority);
}
