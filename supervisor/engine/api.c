/*
 * What the front asks of the engine beside workflow.execute and lists: looking at a session, controlling it, passing
 * requests on to domains. Called by supervisor/front. Decides nothing that the session's table does not decide.
 */
#include "common/log.h"
#include "common/limits.h"
#include "common/wire.h"
#include "supervisor/engine/batch_step.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOON_MS = 1000, BY_HAND_MS = 60000 /* nothing happens by itself: asking often helps nobody */ };

/* ---- looking ----------------------------------------------------------------------------------------------------- */
struct opening {
    struct hep_engine *engine;
    struct hep_session *session;
    enum hep_status status;
    struct hep_error *error;
};

static void see_one(void *context, const struct hep_store_session *row)
{
    struct opening *opening = context;
    opening->status = hep_session_load(opening->engine, row, true, &opening->session, opening->error);
}

enum hep_status hep_engine_open(struct hep_engine *engine, const char *id, struct hep_session **session, bool *owned,
                                struct hep_error *error)
{
    struct hep_session *found = hep_engine_find(engine, id);
    if (!found) {
        struct opening opening = {.engine = engine, .error = error};
        HEP_TRY(hep_store_get_session(engine->store, id, see_one, &opening, error));
        HEP_TRY(opening.status);
        found = opening.session;
        *owned = true;
    } else {
        *owned = false;
    }
    *session = found;
    return HEP_OK;
}

enum hep_status hep_engine_get(struct hep_engine *engine, const char *id, json_t **session, struct hep_error *error)
{
    struct hep_session *found;
    bool owned;
    HEP_TRY(hep_engine_open(engine, id, &found, &owned, error));
    *session = hep_session_to_json(found, true);
    if (owned)
        hep_session_free(found);
    return HEP_OK;
}

/* ---- holding ------------------------------------------------------------------------------------------------------
 */
int hep_engine_hold(struct hep_engine *engine, bool held)
{
    int running = 0;
    if (held != engine->held) {
        engine->held = held;
        hep_log(HEP_NOTICE, held ? "daemon.drained" : "daemon.undrained", "asked_by=operator");
        hep_engine_event(engine, NULL, held ? "daemon.drained" : "daemon.undrained", true, NULL);
    }
    for (struct hep_session *s = engine->sessions; s; s = s->next) {
        if (held && s->state == HEP_SESSION_RUNNING)
            hep_session_stop(s); /* the denoising steps that are committed stay */
        running += s->errand != NULL;
    }
    hep_engine_settle(engine, NULL);
    return running;
}

/* ---- controlling ------------------------------------------------------------------------------------------------- */
static enum hep_status pause_session(struct hep_session *session, int priority, struct hep_error *error)
{
    (void)priority;
    HEP_TRY(hep_session_take(session, HEP_SESSION_EVENT_PAUSE, error));
    hep_session_stop(session); /* the denoising steps that are committed stay; resuming asks again from there */
    hep_session_control_batch(session, "pause");
    return HEP_OK;
}

static enum hep_status resume_session(struct hep_session *session, int priority, struct hep_error *error)
{
    (void)priority;
    HEP_TRY(hep_session_take(session, HEP_SESSION_EVENT_RESUME, error));
    hep_session_control_batch(session, "resume");
    return HEP_OK;
}

static enum hep_status cancel_session(struct hep_session *session, int priority, struct hep_error *error)
{
    (void)priority;
    if (!hep_session_is_ended(session->state))
        hep_session_control_batch(session, "cancel");
    return hep_session_take(session, HEP_SESSION_EVENT_CANCEL, error); /* the rest is winding up, after the commit */
}

static enum hep_status prioritise_session(struct hep_session *session, int priority, struct hep_error *error)
{
    if (hep_session_is_ended(session->state))
        return hep_fail(error, HEP_E_NOT_NOW, "session %s is %s", session->id, hep_session_state_name(session->state));
    session->priority = priority;
    hep_session_prioritise_batch(session, priority);
    hep_session_touch(session, HEP_SESSION_PROMISED);
    hep_engine_event(session->engine, session, "session.priority", true, json_pack("{s:i}", "priority", priority));
    if (session->errand && session->workflow->steps[session->step].role == HEP_ROLE_INFERENCE &&
        hep_errand_is_sent(session->errand))
        hep_engine_tell(
            session->engine, HEP_ROLE_INFERENCE, "control", session->id,
            json_pack("{s:s, s:s, s:i}", "session", session->id, "action", "priority", "priority", priority));
    return HEP_OK;
}

/* To add an action: a row. */
static const struct {
    const char *name;
    enum hep_status (*act)(struct hep_session *session, int priority, struct hep_error *error);
} actions[] = {
    {"pause", pause_session}, {"resume", resume_session}, {"cancel", cancel_session}, {"priority", prioritise_session}};

/* An ended session goes on where it failed or was cancelled, under its own id and with what it has already made. */
static enum hep_status retry_session(struct hep_engine *engine, const char *id, json_t **reply, struct hep_error *error)
{
    struct hep_session *session;
    bool owned;
    HEP_TRY(hep_engine_open(engine, id, &session, &owned, error));
    if (!owned && hep_session_is_ended(session->state)) {
        hep_fail(error, HEP_E_BUSY, "session %s is just ending", id);
        error->retry_after_ms = SOON_MS;
        return hep_hint(error, "ask again in a moment"), HEP_E_BUSY;
    }
    enum hep_status status = hep_session_retry(session, error);
    if (status != HEP_OK) {
        if (owned)
            hep_session_free(session);
        return status;
    }
    hep_engine_add_session(engine, session);
    json_t *said = json_pack("{s:s, s:s}", "session_id", id, "status", hep_session_state_name(session->state));
    status = hep_engine_settle(engine, error);
    if (status == HEP_OK)
        *reply = said;
    else
        json_decref(said);
    return status;
}

static enum hep_status not_in_memory(struct hep_engine *engine, const char *id, const char *action,
                                     struct hep_error *error)
{
    json_t *view = NULL;
    HEP_TRY(hep_engine_get(engine, id, &view, error));
    hep_fail(error, HEP_E_NOT_NOW, "session %s is %s: it cannot take \"%s\"", id, hep_json_str(view, "status", "ended"),
             action);
    json_decref(view);
    return HEP_E_NOT_NOW;
}

enum hep_status hep_engine_control(struct hep_engine *engine, const char *id, const char *action, int priority,
                                   json_t **reply, struct hep_error *error)
{
    if (strcmp(action, "retry") == 0)
        return retry_session(engine, id, reply, error);
    for (size_t i = 0; i < HEP_COUNT_OF(actions); i++) {
        if (strcmp(actions[i].name, action) != 0)
            continue;
        struct hep_session *session = hep_engine_find(engine, id);
        if (!session)
            return not_in_memory(engine, id, action, error);
        HEP_TRY(actions[i].act(session, priority, error));
        json_t *said =
            json_pack("{s:s, s:s}", "session_id", session->id, "status", hep_session_state_name(session->state));
        enum hep_status status = hep_engine_settle(engine, error); /* the session may be gone after this */
        if (status != HEP_OK) {
            json_decref(said);
            return status;
        }
        *reply = said;
        return HEP_OK;
    }
    return hep_fail_field(error, HEP_E_BAD_FIELD, "action",
                          "action is \"%.40s\", not one of pause, resume, cancel, retry, priority", action);
}

enum hep_status hep_engine_delete(struct hep_engine *engine, const char *id, struct hep_error *error)
{
    const struct hep_session *session = hep_engine_find(engine, id);
    if (session) {
        hep_fail(error, HEP_E_NOT_NOW, "session %s is %s", id,
                 hep_session_is_ended(session->state) ? "ending" : hep_session_state_name(session->state));
        return hep_hint(error, "cancel it first");
    }
    HEP_TRY(hep_store_begin(engine->store, HEP_STORE_POWER_SAFE, error));
    enum hep_status status = hep_store_delete_session(engine->store, id, error);
    if (status != HEP_OK) {
        hep_store_rollback(engine->store);
        return status;
    }
    HEP_TRY(hep_store_commit(engine->store, error));
    hep_engine_event(engine, NULL, "session.deleted", true, json_pack("{s:s}", "session", id));
    return hep_engine_settle(engine, error);
}

/* ---- a domain that is not there -----------------------------------------------------------------------------------
 */
static json_t *row_of(json_t *domains, enum hep_role role)
{
    size_t index;
    json_t *row;
    json_array_foreach(domains, index,
                       row) if (strcmp(hep_json_str(row, "domain", ""), hep_role_name(role)) == 0) return row;
    return NULL;
}

enum hep_status hep_engine_refuse_down(const struct hep_engine *engine, enum hep_role role, const char *operation,
                                       struct hep_error *error)
{
    json_t *domains = engine->proc ? hep_proc_status(engine->proc) : NULL;
    const json_t *row = row_of(domains, role), *obituary = json_object_get(row, "last_obituary");
    const char *name = hep_role_name(role), *state = hep_json_str(row, "state", "absent"),
               *cause = hep_json_str(row, "cause", hep_json_str(obituary, "cause", ""));
    int64_t next_ms = hep_json_int(row, "next_try_ms", -1);
    bool failed = strcmp(state, "failed") == 0;
    hep_fail(error, HEP_E_DOMAIN_DOWN, "the domain %s is not running, it is %s%s%.300s%s", name, state,
             cause[0] ? " (" : "", cause, cause[0] ? ")" : "");
    if (next_ms >= 0)
        hep_hint(error, "it is started again in %" PRId64 " ms by itself; see `heptctl status`", next_ms);
    else if (failed)
        hep_hint(error, "it is not started again by itself: put right what is wrong, then `heptctl restart %s`", name);
    error->retry_after_ms = next_ms > 0 ? next_ms : failed && next_ms < 0 ? BY_HAND_MS : SOON_MS;
    snprintf(error->domain, sizeof error->domain, "%s", name);
    snprintf(error->operation, sizeof error->operation, "%s", operation);
    json_decref(domains);
    return HEP_E_DOMAIN_DOWN;
}

/* The names come from the tables only: what nobody knows is "unknown". */
void hep_engine_count_refused(struct hep_engine *engine, const char *type, enum hep_status code)
{
    size_t length = strcspn(type, ".");
    enum hep_role role = hep_role_from_prefix(type, length);
    const json_t *row =
        role != HEP_ROLE_NONE && type[length] ? hep_router_operation(engine->router, role, type + length + 1) : NULL;
    hep_metrics_own(engine->metrics, role != HEP_ROLE_NONE ? (int)role : HEP_METRICS_UNKNOWN,
                    hep_json_str(row, "name", "unknown"), code);
}

/* ---- passing on -------------------------------------------------------------------------------------------------- */
struct passage {
    enum hep_role role;
    char operation[HEP_NAME_MAX];
    struct hep_engine *engine;
    hep_engine_answer *answer;
    void *context;
};

static void on_passed(void *context, enum hep_status status, json_t *reply, const struct hep_error *said)
{
    struct passage *passage = context;
    struct hep_error error = {0};
    json_t *data = NULL;
    if (status == HEP_OK && hep_json_bool(reply, "success", false)) {
        data = json_object_get(reply, "data") ? json_incref(json_object_get(reply, "data")) : json_object();
    } else if (status == HEP_OK) {
        hep_error_from_json(json_object_get(reply, "error"), &error);
    } else if (status == HEP_E_DOMAIN_DOWN && !hep_proc_is_ready(passage->engine->proc, passage->role)) {
        hep_engine_refuse_down(passage->engine, passage->role, passage->operation, &error);
    } else {
        error = *said;
    }
    if (error.code == HEP_E_OUTCOME_UNKNOWN)
        hep_hint(&error, "it is not asked again by itself: look whether it was done, then ask again");
    if (!data && !error.domain[0])
        snprintf(error.domain, sizeof error.domain, "%s", hep_role_name(passage->role));
    if (!data && !error.operation[0])
        snprintf(error.operation, sizeof error.operation, "%s", passage->operation);
    passage->answer(passage->context, data ? HEP_OK : error.code, data, data ? NULL : &error);
    hep_engine_settle(passage->engine, NULL);
    free(passage);
}

static enum hep_status submit_passage(struct hep_engine *engine, const struct hep_route *route, json_t *data,
                                      const char *session, hep_engine_answer *answer, void *context,
                                      struct hep_error *error)
{
    struct hep_errand *errand;
    struct passage *passage = malloc(sizeof *passage);
    if (!passage)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    *passage = (struct passage){.role = route->role, .engine = engine, .answer = answer, .context = context};
    snprintf(passage->operation, sizeof passage->operation, "%s", route->name);
    json_t *message =
        json_pack("{s:o, s:O, s:I}", "type", json_sprintf("%s.%s", hep_role_name(route->role), route->asked), "data",
                  data, "deadline_ms", (json_int_t)hep_json_int(route->operation, "deadline_ms", 0));
    if (session[0])
        json_object_set_new(message, "session", json_string(session));
    struct hep_errand_spec spec = {
        .role = route->role, .heavy = route->heavy, .message = message, .done = on_passed, .context = passage};
    enum hep_status status = hep_dispatch_submit(engine->dispatch, &spec, &errand, error);
    if (status != HEP_OK)
        free(passage);
    return status;
}

void hep_engine_pass(struct hep_engine *engine, const char *type, json_t *data, enum hep_permission caller,
                     const char *session, hep_engine_answer *answer, void *context)
{
    struct hep_route route;
    struct hep_error error = {0};
    json_t *fields = data && !json_is_null(data) ? json_incref(data) : json_object();
    enum hep_status status = hep_router_route(engine->router, type, caller, &route, &error);
    if (status == HEP_OK && !json_is_object(fields))
        status = hep_fail_field(&error, HEP_E_BAD_FIELD, "data", "data must be an object");
    if (status == HEP_OK && (status = hep_router_check_references(route.operation, fields, caller, &error)) != HEP_OK)
        snprintf(error.domain, sizeof error.domain, "%s", hep_role_name(route.role));
    if (status == HEP_OK && (!engine->proc || (!hep_proc_is_ready(engine->proc, route.role) &&
                                               !hep_proc_is_recycling(engine->proc, route.role))))
        status = hep_engine_refuse_down(engine, route.role, route.name, &error);
    if (status == HEP_OK && engine->draining)
        status = hep_fail(&error, HEP_E_NOT_NOW, "the daemon is ending");
    if (status == HEP_OK)
        status = submit_passage(engine, &route, fields, session, answer, context, &error);
    json_decref(fields);
    if (status != HEP_OK) {
        hep_engine_count_refused(engine, type, status);
        answer(context, status, NULL, &error);
        return;
    }
    hep_engine_settle(engine, NULL);
}
