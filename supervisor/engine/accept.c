/*
 * Accepting a request: workflow and names (accept_request.c), model, values, then one row (accept_row.c). Called by the
 * front for workflow.execute and, without the row, for workflow.validate. A session exists for nobody before its row is
 * committed; the answer comes after.
 */
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/accept_parts.h"
#include "supervisor/engine/batch_step.h"
#include "supervisor/engine/problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is wrong with a parameter is explained by the workflow; what a domain lacks, by the domain. */
static void explain(const struct application *a, struct hep_error *error)
{
    if (error->code == HEP_E_DOMAIN_DOWN && !hep_proc_is_ready(a->engine->proc, HEP_ROLE_MODEL))
        hep_engine_refuse_down(a->engine, HEP_ROLE_MODEL, "info", error);
    if (a->workflow && hep_status_is_of_field(error->code))
        hep_suggest(error, "see `heptctl workflows %s`, or GET /api/processing/workflows/%s", a->workflow->id,
                    a->workflow->id);
}

static void application_free(struct application *a)
{
    hep_workflow_release(a->workflow);
    json_decref(a->request);
    json_decref(a->canonical);
    json_decref(a->problems);
    json_decref(a->info);
    free(a->key);
    free(a->callback_url);
    free(a);
}

/* The answer to a request that is not accepted; to one that is only validated, what is wrong is no failure. */
static void application_fail(struct application *a, const struct hep_error *error)
{
    struct hep_error said = *error;
    explain(a, &said);
    if (json_array_size(a->problems) == 0)
        hep_problem_add_error(a->problems, "", &said);
    json_t *reply = NULL;
    if (a->purpose != ACCEPT) {
        reply = json_pack("{s:b, s:O}", "valid", 0, "problems", a->problems);
        if (a->workflow)
            json_object_set_new(reply, "workflow", hep_workflow_describe(a->workflow));
    } else if (json_array_size(a->problems) > 1) {
        reply = json_pack("{s:O}", "problems", a->problems);
    }
    a->answer(a->context, a->purpose != ACCEPT ? HEP_OK : said.code, reply, a->purpose != ACCEPT ? NULL : &said);
    application_free(a);
}

static void application_end(struct application *a, json_t *reply)
{
    a->answer(a->context, HEP_OK, reply, NULL);
    application_free(a);
}

/* Ends it with all its problems, if there are any. */
static bool end_with_problems(struct application *a)
{
    struct hep_error error = {0};
    if (hep_problem_first(a->problems, &error) == HEP_OK)
        return false;
    application_fail(a, &error);
    return true;
}

static json_t *accepted_json(const struct hep_session *session, bool created)
{
    json_t *view = hep_session_to_json(session, false);
    json_t *reply =
        json_pack("{s:s, s:s, s:b, s:I}", "session_id", session->id, "status", hep_session_state_name(session->state),
                  "created", created, "queue_position", (json_int_t)hep_json_int(view, "queue_position", 0));
    json_decref(view);
    return reply;
}

/* ---- the same request again -------------------------------------------------------------------------------------- */
struct known {
    const struct application *application;
    json_t *reply; /* NULL: it is another request with the same key */
};

static void see_known(void *context, const struct hep_store_session *row)
{
    struct known *known = context;
    const struct application *a = known->application;
    if (strcmp(row->workflow_id, a->workflow->id) == 0 && json_equal(row->request, a->request) &&
        (!a->is_own || json_equal(row->workflow, a->workflow->source)) &&
        strcmp(row->callback_url ? row->callback_url : "", a->callback_url ? a->callback_url : "") == 0)
        known->reply = json_pack("{s:s, s:s, s:b, s:i}", "session_id", row->id, "status", row->state, "created", 0,
                                 "queue_position", 0);
}

/* True if the key is known: the application has been answered. */
static bool answer_known(struct application *a)
{
    struct known known = {.application = a};
    struct hep_error error = {0};
    if (a->purpose != ACCEPT || !a->key ||
        hep_store_get_key(a->engine->store, a->key, see_known, &known, &error) == HEP_E_NOT_FOUND)
        return false;
    if (error.code == HEP_OK && !known.reply) {
        hep_fail_field(&error, HEP_E_CONFLICT, "idempotency_key", "this key was used for another request");
        hep_hint(&error, "use a new key for a new request");
    }
    if (error.code == HEP_OK)
        application_end(a, known.reply);
    else
        application_fail(a, &error);
    return true;
}

/* ---- what becomes of it ----------------------------------------------------------------------------------------- */
static void accept_session(struct application *a, struct hep_session *session)
{
    struct hep_engine *engine = a->engine;
    struct hep_error unstored = {0};
    if (application_insert(engine, session, &unstored) != HEP_OK) {
        hep_session_free(session);
        hep_engine_store_broke(engine, &unstored); /* nothing more is accepted until it works */
        application_fail(a, &unstored);
        return;
    }
    HEP_CRASH_POINT("accept.after_commit");
    hep_engine_add_session(engine, session);
    hep_log(HEP_INFO, "session.accepted", "session=%s workflow=%s priority=%d", session->id, a->workflow->id,
            a->priority);
    hep_engine_event(engine, session, "session.accepted", true,
                     json_pack("{s:s, s:i}", "workflow_id", a->workflow->id, "priority", a->priority));
    json_t *reply = accepted_json(session, true);
    hep_engine_settle(engine, NULL);
    application_end(a, reply);
    HEP_CRASH_POINT("accept.replied");
}

/* What a request would take is known. */
static void on_tried(void *context, json_t *resources, json_t *problems, struct hep_session *session)
{
    struct application *a = context;
    json_array_extend(a->problems, problems);
    json_t *reply = json_pack("{s:b, s:O, s:o, s:O, s:o}", "valid", !hep_problems_have_error(problems), "problems",
                              a->problems, "workflow", hep_workflow_describe(a->workflow), "configuration",
                              session->configuration, "resources", resources ? resources : json_object());
    json_object_set(reply, "estimated_duration_ms", json_object_get(resources, "estimated_duration_ms"));
    json_object_del(resources, "estimated_duration_ms");
    hep_session_free(session);
    application_end(a, reply);
}

static void end_checked(struct application *a, struct hep_session *session)
{
    hep_session_free(session);
    application_end(a, json_pack("{s:b, s:O}", "valid", 1, "problems", a->problems));
}

/* Nothing is wrong with it. */
static void conclude(struct application *a, struct hep_session *session)
{
    if (a->purpose == ACCEPT)
        accept_session(a, session);
    else if (a->purpose == TRY)
        hep_session_try(session, on_tried, a);
    else
        end_checked(a, session);
}

/* The items of its batch are known. */
static void on_items(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct application *a = context;
    struct hep_session *session = hep_take(&a->made);
    if (status != HEP_OK)
        hep_problem_add_error(a->problems, "", error);
    json_array_extend(a->problems, json_object_get(reply, "problems"));
    json_decref(reply);
    if (json_array_size(a->problems) > 0) {
        hep_session_free(session);
        end_with_problems(a);
    } else if (answer_known(a)) { /* the same key may have come meanwhile */
        hep_session_free(session);
    } else {
        conclude(a, session);
    }
}

/* A workflow with a step that is a batch: its items are looked at as those of batch.create. */
static void check_items(struct application *a, struct hep_session *session, json_t *request)
{
    struct hep_engine *engine = a->engine;
    a->made = session;
    if (a->batch[0] || a->purpose == CHECK) {
        struct hep_error error;
        hep_fail_field(&error, HEP_E_UNSUPPORTED, "workflow_id", "an item of a batch cannot be a batch itself");
        on_items(a, error.code, NULL, &error);
        return;
    }
    hep_engine_check_batch(engine, request, on_items, a); /* a may be gone after this */
    hep_engine_settle(engine, NULL);                      /* sends what it asks */
}

static void decide(struct application *a)
{
    if (answer_known(a)) /* the same key may have come twice while the model domain was asked */
        return;
    struct hep_session *session = application_make_session(a);
    json_t *batch = session ? hep_session_batch_request(session, NULL) : NULL;
    if (!session)
        end_with_problems(a);
    else if (batch)
        check_items(a, session, batch);
    else
        conclude(a, session);
    json_decref(batch);
}

/* The files that it names are known. */
static void on_named(void *context)
{
    struct application *a = context;
    if (a->engine->draining) {
        struct hep_error draining;
        hep_fail(&draining, HEP_E_NOT_NOW, "the daemon is ending");
        application_fail(a, &draining);
    } else if (a->has_no_model) {
        end_with_problems(a);
    } else {
        decide(a);
    }
}

static void check_named(struct application *a)
{
    a->named = (struct hep_named){.catalog = a->engine->catalog,
                                  .workflow = a->workflow,
                                  .canonical = a->canonical,
                                  .problems = a->problems,
                                  .done = on_named,
                                  .context = a,
                                  .family = json_object_get(a->info, "family")};
    hep_named_check(&a->named);
}

static void on_model(void *context, json_t *info, const struct hep_error *error)
{
    struct application *a = context;
    if (error) {
        struct hep_error said = *error;
        explain(a, &said);
        hep_problem_add_error(a->problems, "", &said);
    }
    a->info = json_incref(info);
    a->has_no_model = error != NULL;
    check_named(a);
}

/* ---- its arrival ------------------------------------------------------------------------------------------------ */
static int waiting_sessions(const struct hep_engine *engine)
{
    int count = 0;
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        count += s->state == HEP_SESSION_QUEUED;
    return count;
}

static enum hep_status may_accept(const struct hep_engine *engine, const struct application *a, struct hep_error *error)
{
    if (engine->held) {
        hep_fail(error, HEP_E_BUSY, "the operator has drained this daemon: nothing is accepted");
        return hep_hint(error, "try again later; the operator ends it with `heptctl undrain`"), HEP_E_BUSY;
    }
    if (engine->draining)
        return hep_fail(error, HEP_E_NOT_NOW, "the daemon is ending");
    if (engine->store_error.code != HEP_OK) {
        *error = engine->store_error;
        return error->code;
    }
    HEP_TRY(hep_engine_check_shm(engine, error));
    if (waiting_sessions(engine) >= engine->queue_max)
        return hep_fail(error, HEP_E_BUSY, "%d sessions are waiting, no more are accepted", engine->queue_max);
    if (a->key && (!a->key[0] || strlen(a->key) > HEP_IDEMPOTENCY_KEY_MAX))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "idempotency_key", "a key has 1 to %d bytes",
                              HEP_IDEMPOTENCY_KEY_MAX);
    return HEP_OK;
}

static struct application *make_application(struct hep_engine *engine, const struct hep_engine_request *request,
                                            enum purpose purpose, hep_engine_answer *answer, void *context)
{
    struct hep_error error;
    struct application *a = calloc(1, sizeof *a);
    if (!a) {
        hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a request");
        answer(context, HEP_E_NO_MEMORY, NULL, &error);
        return NULL;
    }
    *a = (struct application){.engine = engine,
                              .priority = request->priority,
                              .purpose = purpose,
                              .item = request->item,
                              .problems = json_array(),
                              .answer = answer,
                              .context = context};
    a->key = request->key && request->key[0] ? strdup(request->key) : NULL;
    if (request->callback_url && request->callback_url[0])
        a->callback_url = strdup(request->callback_url);
    snprintf(a->batch, sizeof a->batch, "%s", request->batch ? request->batch : "");
    return a;
}

static void apply(struct application *a, const struct hep_engine_request *request)
{
    struct hep_error error = {0};
    json_t *given = NULL;
    enum hep_status status = HEP_OK;
    if (a->purpose == ACCEPT) {
        HEP_TRY_DONE(status, may_accept(a->engine, a, &error));
        HEP_TRY_DONE(status, hep_webhooks_check(a->engine->webhooks, request->callback_url, &error));
    }
    HEP_TRY_DONE(status, application_take_workflow(a, request, &given, &error));
    if (answer_known(a)) {
        json_decref(given);
        return;
    }
    application_check_request(a, given);
    json_decref(hep_take(&given));
    const struct hep_parameter *parameter = application_model_parameter(a);
    if (!parameter) {
        check_named(a);
        return;
    }
    HEP_TRY_DONE(status, application_ask_model(a, parameter, on_model, &error));
    hep_engine_settle(a->engine, NULL); /* sends the question */
    return;
done:
    json_decref(given);
    if (!end_with_problems(a))
        application_fail(a, &error);
}

void hep_engine_execute(struct hep_engine *engine, const struct hep_engine_request *request, hep_engine_answer *answer,
                        void *context)
{
    struct application *a = make_application(engine, request, ACCEPT, answer, context);
    if (a)
        apply(a, request);
}

void hep_engine_validate(struct hep_engine *engine, const struct hep_engine_request *request, hep_engine_answer *answer,
                         void *context)
{
    struct application *a = make_application(engine, request, TRY, answer, context);
    if (a)
        apply(a, request);
}

void hep_engine_check(struct hep_engine *engine, const struct hep_engine_request *request, hep_engine_answer *answer,
                      void *context)
{
    struct application *a = make_application(engine, request, CHECK, answer, context);
    if (a)
        apply(a, request);
}
