/*
 * A session's life: the table of its states, its memory, and its rows in the store. Called by all files of the engine;
 * the only one that changes session->state.
 */
#include "supervisor/engine/session.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[HEP_SESSION_STATE_COUNT] = {
#define STATE_NAME(id, name) name,
    HEP_SESSION_STATES(STATE_NAME)
#undef STATE_NAME
};
static const char *const event_names[HEP_SESSION_EVENT_COUNT] = {
#define EVENT_NAME(id, name) name,
    HEP_SESSION_EVENTS(EVENT_NAME)
#undef EVENT_NAME
};
static const char *const step_state_names[HEP_STEP_STATE_COUNT] = {"pending", "running",   "done",
                                                                   "failed",  "cancelled", "skipped"};

/* What follows what; a zero is an event that the state does not have. To add a state: a column in HEP_SESSION_STATES
   and a row here. */
#define TO(state) (HEP_SESSION_##state + 1)
/* clang-format off */
static const unsigned char transitions[HEP_SESSION_STATE_COUNT][HEP_SESSION_EVENT_COUNT] = {
    /*                          begin        no_room     pause       resume      cancel         finish         fail        retry     */
    [HEP_SESSION_QUEUED]    = {TO(RUNNING),  0,          TO(PAUSED), 0,          TO(CANCELLED), 0,             TO(FAILED), 0},
    [HEP_SESSION_RUNNING]   = {0,            TO(QUEUED), TO(PAUSED), 0,          TO(CANCELLED), TO(COMPLETED), TO(FAILED), 0},
    [HEP_SESSION_PAUSED]    = {0,            0,          0,          TO(QUEUED), TO(CANCELLED), 0,             TO(FAILED), 0},
    [HEP_SESSION_COMPLETED] = {0},
    [HEP_SESSION_FAILED]    = {0,            0,          0,          0,          0,             0,             0,          TO(QUEUED)},
    [HEP_SESSION_CANCELLED] = {0,            0,          0,          0,          0,             0,             0,          TO(QUEUED)},
};
/* clang-format on */

const char *hep_session_state_name(enum hep_session_state state)
{
    return state_names[state];
}

const char *hep_step_state_name(enum hep_step_state state)
{
    return step_state_names[state];
}

enum hep_session_state hep_session_state_from_name(const char *name)
{
    int state = 0;
    while (state < HEP_SESSION_STATE_COUNT && strcmp(name, state_names[state]) != 0)
        state++;
    return (enum hep_session_state)state;
}

bool hep_session_is_ended(enum hep_session_state state)
{
    return state >= HEP_SESSION_COMPLETED;
}

bool hep_step_is_over(const struct hep_session_step *step)
{
    return step->state == HEP_STEP_DONE || step->state == HEP_STEP_SKIPPED || step->state == HEP_STEP_FAILED;
}

void hep_session_touch(struct hep_session *session, enum hep_session_dirt dirt)
{
    if (dirt > session->dirt)
        session->dirt = dirt;
}

/* The session has ended: what is in hand is not waited for, and its row must not go on saying that it runs. */
static void cancel_steps(struct hep_session *session)
{
    for (size_t i = 0; i < session->workflow->step_count; i++) {
        struct hep_session_step *step = &session->steps[i];
        if (step->state != HEP_STEP_RUNNING)
            continue;
        step->state = HEP_STEP_CANCELLED;
        step->ended = session->ended;
        step->dirty = true;
        json_t *reached = json_pack("{s:i, s:i}", "step", step->inner, "steps", step->inner_steps);
        if (session->workflow->steps[i].is_batch)
            json_object_update_missing(reached, step->result); /* which one it is, for a retry */
        json_decref(step->result);
        step->result = reached;
    }
}

enum hep_status hep_session_take(struct hep_session *session, enum hep_session_event event, struct hep_error *error)
{
    enum hep_session_state from = session->state;
    if (!transitions[from][event])
        return hep_fail(error, HEP_E_NOT_NOW, "session %s is %s: it cannot take \"%s\"", session->id, state_names[from],
                        event_names[event]);
    session->state = (enum hep_session_state)(transitions[from][event] - 1);
    bool asked = from == HEP_SESSION_PAUSED || session->state == HEP_SESSION_PAUSED || event == HEP_SESSION_EVENT_RETRY;
    hep_session_touch(session,
                      asked || hep_session_is_ended(session->state) ? HEP_SESSION_PROMISED : HEP_SESSION_CHANGED);
    if (session->state == HEP_SESSION_RUNNING && !session->started)
        session->started = hep_wall_ms();
    if (hep_session_is_ended(session->state)) {
        session->ended = hep_wall_ms();
        session->engine->ended_since_trim++;
        json_decref(hep_take(&session->preview));
        cancel_steps(session);
    }
    if (hep_session_is_ended(session->state) || event == HEP_SESSION_EVENT_RETRY)
        hep_batch_session_changed(session);
    hep_log(session->state == HEP_SESSION_FAILED ? HEP_WARNING : HEP_INFO, "session.state",
            "session=%s from=%s to=%s event=%s", session->id, state_names[from], state_names[session->state],
            event_names[event]);
    hep_engine_event(session->engine, session, "session.state", true,
                     json_pack("{s:s, s:s, s:s}", "from", state_names[from], "to", state_names[session->state], "why",
                               event_names[event]));
    if (hep_session_is_ended(session->state))
        hep_webhooks_session_ended(session);
    return HEP_OK;
}

enum hep_status hep_session_retry(struct hep_session *session, struct hep_error *error)
{
    HEP_TRY(hep_session_take(session, HEP_SESSION_EVENT_RETRY, error));
    for (size_t i = 0; i < session->workflow->step_count; i++) {
        struct hep_session_step *step = &session->steps[i];
        bool is_batch = session->workflow->steps[i].is_batch; /* another attempt goes on with its batch */
        if (step->state == HEP_STEP_DONE)
            continue;
        if (!is_batch)
            json_decref(hep_take(&step->result));
        *step = (struct hep_session_step){
            .attempt = step->attempt + is_batch, .result = step->result, .error = step->error, .dirty = true};
    }
    hep_session_check_arena(session);
    json_decref(hep_take(&session->error));
    json_decref(hep_take(&session->results));
    session->ended = 0;
    hep_session_note(session, "%s", "");
    return HEP_OK;
}

const struct hep_workflow_step *hep_session_what(const struct hep_session *session, int step)
{
    return &session->workflow->steps[step];
}

void hep_session_keep_error(struct hep_session *session, int step, const json_t *error)
{
    const struct hep_workflow_step *what = hep_session_what(session, step);
    json_t *kept = json_copy((json_t *)(uintptr_t)error);
    char time[32];
    if (!session->errors)
        session->errors = json_array();
    json_object_set_new(kept, "step", json_string(what->id));
    json_object_set_new(kept, "time", json_string(hep_wall_text(hep_wall_ms(), time, sizeof time)));
    if (!json_object_get(kept, "domain"))
        json_object_set_new(kept, "domain", json_string(hep_role_name(what->role)));
    if (!json_object_get(kept, "operation"))
        json_object_set_new(kept, "operation", json_string(what->operation));
    json_array_append_new(session->errors, kept);
    while (json_array_size(session->errors) > HEP_SESSION_ERRORS_MAX)
        json_array_remove(session->errors, 0);
    hep_session_touch(session, HEP_SESSION_CHANGED);
}

void hep_session_note(struct hep_session *session, const char *format, ...)
{
    char text[sizeof session->note];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (strcmp(text, session->note) == 0)
        return;
    memcpy(session->note, text, sizeof text);
    hep_session_touch(session, HEP_SESSION_CHANGED);
    if (text[0])
        hep_engine_event(session->engine, session, "session.note", false, json_pack("{s:s}", "note", text));
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */
struct hep_session *hep_session_create(struct hep_engine *engine, struct hep_workflow *workflow)
{
    struct hep_session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    *session = (struct hep_session){.engine = engine, .lost = HEP_ROLE_NONE, .workflow = hep_workflow_hold(workflow)};
    session->steps = calloc(workflow->step_count, sizeof *session->steps);
    if (!session->steps) {
        hep_session_free(session);
        return NULL;
    }
    return session;
}

void hep_session_free(struct hep_session *session)
{
    if (!session)
        return;
    for (size_t i = 0; session->steps && i < session->workflow->step_count; i++) {
        json_decref(session->steps[i].result);
        json_decref(session->steps[i].error);
    }
    hep_loop_cancel(session->timer);
    hep_loop_cancel(session->limit);
    free(session->steps);
    hep_workflow_release(session->workflow);
    json_decref(session->request);
    json_decref(session->configuration);
    json_decref(session->model);
    json_decref(session->plan);
    json_decref(session->results);
    json_decref(session->errors);
    json_decref(session->error);
    json_decref(session->outgoing);
    json_decref(session->preview);
    free(session->key);
    free(session->callback_url);
    free(session);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */
static struct hep_store_session row_of(const struct hep_session *session)
{
    return (struct hep_store_session){
        .seq = session->seq,
        .id = session->id,
        .workflow_id = session->workflow->id,
        .state = state_names[session->state],
        .priority = session->priority,
        .key = session->key,
        .batch = session->batch[0] ? session->batch : NULL,
        .item = session->item,
        .callback_url = session->callback_url,
        .request = session->request,
        .configuration = session->configuration,
        .model = session->model,
        .workflow = session->workflow->source,
        .plan = session->plan,
        .results = session->results,
        .errors = session->errors,
        .error = session->error,
        .note = session->note,
        .arena_generation = session->arena_generation,
        .created = session->created,
        .started = session->started,
        .ended = session->ended,
    };
}

static enum hep_status save_step(struct hep_session *session, size_t index, struct hep_error *error)
{
    const struct hep_session_step *step = &session->steps[index];
    const struct hep_workflow_step *what = &session->workflow->steps[index];
    struct hep_store_step row = {
        .session = session->id,
        .step = (int)index,
        .id = what->id,
        .domain = hep_role_name(what->role),
        .operation = what->operation,
        .state = step_state_names[step->state],
        .attempt = step->attempt,
        .crashes = step->crashes,
        .result = step->result,
        .error = step->error,
        .queued = step->queued,
        .started = step->started,
        .ended = step->ended,
        .duration_us = step->duration_us,
    };
    return hep_store_put_step(session->engine->store, &row, error);
}

enum hep_status hep_session_save(struct hep_session *session, struct hep_error *error)
{
    if (session->dirt != HEP_SESSION_CLEAN) {
        struct hep_store_session row = row_of(session);
        HEP_TRY(hep_store_change_session(session->engine->store, &row, error));
    }
    for (size_t i = 0; i < session->workflow->step_count; i++)
        if (session->steps[i].dirty)
            HEP_TRY(save_step(session, i, error));
    return HEP_OK;
}

void hep_session_saved(struct hep_session *session)
{
    session->dirt = HEP_SESSION_CLEAN;
    for (size_t i = 0; i < session->workflow->step_count; i++)
        session->steps[i].dirty = false;
}

enum hep_status hep_session_insert(struct hep_session *session, struct hep_error *error)
{
    struct hep_store_session row = row_of(session);
    HEP_TRY(hep_store_add_session(session->engine->store, &row, error));
    for (size_t i = 0; i < session->workflow->step_count; i++)
        HEP_TRY(save_step(session, i, error));
    return HEP_OK;
}

static void load_step(void *context, const struct hep_store_step *row)
{
    struct hep_session *session = context;
    if (row->step < 0 || (size_t)row->step >= session->workflow->step_count)
        return;
    struct hep_session_step *step = &session->steps[row->step];
    for (int i = 0; i < HEP_STEP_STATE_COUNT; i++)
        if (strcmp(row->state, step_state_names[i]) == 0)
            step->state = (enum hep_step_state)i;
    step->attempt = row->attempt;
    step->crashes = row->crashes;
    step->queued = row->queued;
    step->started = row->started;
    step->ended = row->ended;
    step->duration_us = row->duration_us;
    step->result = json_incref(row->result);
    step->error = json_incref(row->error);
    if (step->state == HEP_STEP_CANCELLED) {
        step->inner = (int)hep_json_int(step->result, "step", 0);
        step->inner_steps = (int)hep_json_int(step->result, "steps", 0);
    }
}

/* The workflow of a row; sessions that are read one after another have the same, as a rule. A new reference. */
static enum hep_status load_workflow(struct hep_engine *engine, json_t *source, struct hep_workflow **workflow,
                                     struct hep_error *error)
{
    if (source != engine->loaded_source) {
        struct hep_workflow *parsed = NULL;
        HEP_TRY(hep_workflow_parse(source, NULL, &parsed, error));
        hep_workflow_release(engine->loaded_workflow);
        json_decref(engine->loaded_source);
        engine->loaded_workflow = parsed;
        engine->loaded_source = json_incref(source);
    }
    *workflow = hep_workflow_hold(engine->loaded_workflow);
    return HEP_OK;
}

enum hep_status hep_session_load(struct hep_engine *engine, const struct hep_store_session *row, bool whole,
                                 struct hep_session **session, struct hep_error *error)
{
    struct hep_workflow *workflow = NULL;
    enum hep_session_state state = hep_session_state_from_name(row->state);
    if (state == HEP_SESSION_STATE_COUNT || strlen(row->id) >= HEP_SESSION_ID_MAX ||
        !json_is_object(row->configuration) || load_workflow(engine, row->workflow, &workflow, error) != HEP_OK)
        return hep_fail(error, HEP_E_BAD_FILE, "session %.60s in the store cannot be understood", row->id);
    struct hep_session *result = hep_session_create(engine, workflow);
    hep_workflow_release(workflow);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for session %.60s", row->id);
    snprintf(result->id, sizeof result->id, "%s", row->id);
    snprintf(result->note, sizeof result->note, "%s", row->note);
    result->seq = row->seq;
    result->state = state;
    result->priority = row->priority;
    result->key = row->key ? strdup(row->key) : NULL;
    snprintf(result->batch, sizeof result->batch, "%s", row->batch ? row->batch : "");
    result->item = row->item;
    result->callback_url = row->callback_url ? strdup(row->callback_url) : NULL;
    result->request = json_incref(row->request);
    result->configuration = json_incref(row->configuration);
    result->model = json_incref(row->model);
    result->plan = json_incref(row->plan);
    result->results = json_incref(row->results);
    result->errors = json_incref(row->errors);
    result->error = json_incref(row->error);
    result->arena_generation = row->arena_generation;
    result->created = row->created;
    result->started = row->started;
    result->ended = row->ended;
    enum hep_status status = hep_store_steps(engine->store, result->id, whole, load_step, result, error);
    if (status != HEP_OK) {
        hep_session_free(result);
        return status;
    }
    *session = result;
    return HEP_OK;
}
