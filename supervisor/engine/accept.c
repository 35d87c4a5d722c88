/*
 * Accepting a request: workflow, names, model, values, then one row. Called by the front for workflow.execute. A
 * session exists for nobody before its row is committed; the answer comes after.
 */
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* A request on its way to acceptance, while the model domain is asked. */
struct application {
    struct hep_engine *engine;
    struct hep_workflow *workflow;
    json_t *request;   /* configuration as given */
    json_t *canonical; /* under its own names    */
    int priority;
    char *key;
    hep_engine_answer *answer;
    void *context;
};

/* What is wrong with a parameter is explained by the workflow; what a domain lacks, by the domain. */
static void explain(const struct application *a, struct hep_error *error)
{
    if (error->code == HEP_E_DOMAIN_DOWN && !hep_proc_is_ready(a->engine->proc, HEP_ROLE_MODEL))
        hep_engine_refuse_down(a->engine, HEP_ROLE_MODEL, "info", error);
    if (a->workflow && hep_status_is_of_field(error->code))
        hep_suggest(error, "see `heptctl workflows %s`, or GET /api/processing/workflows/%s", a->workflow->id,
                    a->workflow->id);
}

static void application_end(struct application *a, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_error said = error ? *error : (struct hep_error){0};
    if (status != HEP_OK)
        explain(a, &said);
    a->answer(a->context, status, reply, &said);
    hep_workflow_release(a->workflow);
    json_decref(a->request);
    json_decref(a->canonical);
    free(a->key);
    free(a);
}

/* "s" and 17 letters of time and chance: sorts by age, never repeats. */
static void make_id(char id[HEP_SESSION_ID_MAX])
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint64_t time = (uint64_t)hep_wall_ms(), chance = 0;
    if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        chance = (uint64_t)hep_now_us() * UINT64_C(0x9e3779b97f4a7c15);
    id[0] = 's';
    for (int i = 9; i > 0; i--, time >>= 5)
        id[i] = letters[time & 31];
    for (int i = 17; i > 9; i--, chance >>= 5)
        id[i] = letters[chance & 31];
    id[18] = '\0';
}

/* A seed of 32 bits, so that every client can hold it in a number. */
static uint64_t choose_seed(void)
{
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint32_t)hep_now_us();
    return seed;
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
    if (strcmp(row->workflow_id, a->workflow->id) == 0 && json_equal(row->request, a->request))
        known->reply = json_pack("{s:s, s:s, s:b, s:i}", "session_id", row->id, "status", row->state, "created", 0,
                                 "queue_position", 0);
}

/* True if the key is known: the application has been answered. */
static bool answer_known(struct application *a)
{
    struct known known = {.application = a};
    struct hep_error error = {0};
    if (!a->key || hep_store_get_key(a->engine->store, a->key, see_known, &known, &error) == HEP_E_NOT_FOUND)
        return false;
    if (error.code == HEP_OK && !known.reply) {
        hep_fail_field(&error, HEP_E_CONFLICT, "idempotency_key", "this key was used for another request");
        hep_hint(&error, "use a new key for a new request");
    }
    application_end(a, error.code, known.reply, &error);
    return true;
}

/* ---- the row ----------------------------------------------------------------------------------------------------- */
static enum hep_status insert(struct hep_engine *engine, struct hep_session *session, struct hep_error *error)
{
    HEP_TRY(hep_store_begin(engine->store, HEP_STORE_POWER_SAFE, error));
    enum hep_status status = hep_session_insert(session, error);
    if (status == HEP_OK)
        status = hep_store_put_value(engine->store, "sessions.seq", session->seq, error);
    if (status != HEP_OK) {
        hep_store_rollback(engine->store);
        return status;
    }
    HEP_CRASH_POINT("accept.before_commit");
    return hep_store_commit(engine->store, error);
}

static enum hep_status check_models(const struct hep_engine *engine, struct hep_session *session,
                                    struct hep_error *error)
{
    json_t *models = hep_catalog_models(engine->catalog), *model, *name;
    size_t index, other;
    for (size_t i = 0; models && i < session->workflow->step_count; i++) {
        json_t *required = NULL;
        if (!session->workflow->steps[i].required_models)
            continue;
        HEP_TRY(hep_session_fill(session, session->workflow->steps[i].required_models, &required, error));
        json_array_foreach(required, index, name)
        {
            bool found =
                !json_is_string(name) || strcmp(json_string_value(name), hep_json_str(session->model, "name", "")) == 0;
            json_array_foreach(models, other, model) found =
                found || strcmp(hep_json_str(model, "name", ""), json_string_value(name)) == 0;
            if (!found) {
                hep_fail_field(error, HEP_E_NOT_FOUND, "model", "step %s needs the model \"%.80s\", which is not there",
                               session->workflow->steps[i].id, json_string_value(name));
                json_decref(required);
                return hep_hint(error, "see `heptctl models`"), HEP_E_NOT_FOUND;
            }
        }
        json_decref(required);
    }
    return HEP_OK;
}

static enum hep_status make_session(struct application *a, json_t *info, struct hep_session **session,
                                    struct hep_error *error)
{
    struct hep_engine *engine = a->engine;
    struct hep_parameter_scope scope = {.model_info = info,
                                        .schedulers = hep_catalog_schedulers(engine->catalog),
                                        .model = info ? hep_json_str(info, "name", "") : NULL,
                                        .seed = choose_seed()};
    json_t *configuration = NULL;
    HEP_TRY(hep_parameters_fill(a->workflow->parameters, a->workflow->parameter_count, a->canonical, &scope,
                                &configuration, error));
    struct hep_session *result = hep_session_create(engine, a->workflow);
    if (!result) {
        json_decref(configuration);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a session");
    }
    make_id(result->id);
    result->seq = engine->last_seq + 1;
    result->state = HEP_SESSION_QUEUED;
    result->priority = a->priority;
    result->key = a->key ? strdup(a->key) : NULL;
    result->request = json_incref(a->request);
    result->configuration = configuration;
    result->model = json_incref(info);
    result->created = hep_wall_ms();
    struct hep_error unstored = {0};
    enum hep_status status = check_models(engine, result, error);
    if (status == HEP_OK && (status = insert(engine, result, &unstored)) != HEP_OK) {
        *error = unstored;
        hep_engine_store_broke(engine, &unstored); /* nothing more is accepted until it works */
    }
    if (status != HEP_OK) {
        hep_session_free(result);
        return status;
    }
    *session = result;
    return HEP_OK;
}

static void decide(struct application *a, json_t *info)
{
    struct hep_engine *engine = a->engine;
    struct hep_session *session = NULL;
    struct hep_error error = {0};
    if (answer_known(a)) /* the same key may have come twice while the model domain was asked */
        return;
    enum hep_status status = make_session(a, info, &session, &error);
    if (status != HEP_OK) {
        application_end(a, status, NULL, &error);
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
    application_end(a, HEP_OK, reply, NULL);
    HEP_CRASH_POINT("accept.replied");
}

static void on_model(void *context, json_t *info, const struct hep_error *error)
{
    struct application *a = context;
    if (a->engine->draining && !error) {
        struct hep_error draining;
        hep_fail(&draining, HEP_E_NOT_NOW, "the daemon is ending");
        application_end(a, HEP_E_NOT_NOW, NULL, &draining);
    } else if (error) {
        application_end(a, error->code, NULL, error);
    } else {
        decide(a, info);
    }
}

/* ---- the request ------------------------------------------------------------------------------------------------- */
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

static enum hep_status check_template(const struct hep_engine *engine, const struct hep_workflow *workflow,
                                      struct hep_error *error)
{
    json_t *problems = json_array();
    enum hep_status status = HEP_OK;
    hep_workflow_check_operations(workflow, engine->router, problems);
    if (json_array_size(problems) > 0)
        status = hep_fail_field(error, HEP_E_BAD_FILE, "workflow_id", "workflow %s cannot run: %s", workflow->id,
                                json_string_value(json_array_get(problems, 0)));
    json_decref(problems);
    return status;
}

static const struct hep_parameter *model_parameter(const struct hep_workflow *workflow)
{
    for (size_t i = 0; i < workflow->parameter_count; i++)
        if (workflow->parameters[i].type == HEP_PARAMETER_MODEL)
            return &workflow->parameters[i];
    return NULL;
}

static enum hep_status ask_model(struct application *a, const struct hep_parameter *parameter, struct hep_error *error)
{
    json_t *given = json_object_get(a->canonical, parameter->name);
    const char *name = given ? json_string_value(given) : json_string_value(parameter->fallback);
    if (given && (!name || strlen(name) >= HEP_NAME_MAX))
        return hep_fail_field(error, name ? HEP_E_TOO_LARGE : HEP_E_BAD_FIELD, parameter->name,
                              "%s must be a string of less than %d bytes", parameter->name, HEP_NAME_MAX);
    return hep_catalog_model(a->engine->catalog, name ? name : "", a->engine->default_model, on_model, a, error);
}

void hep_engine_execute(struct hep_engine *engine, const char *workflow_id, json_t *configuration, int priority,
                        const char *key, hep_engine_answer *answer, void *context)
{
    struct hep_error error = {0};
    struct hep_workflow *workflow = NULL;
    enum hep_status status;
    struct application *a = calloc(1, sizeof *a);
    if (!a) {
        status = hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a request");
        answer(context, status, NULL, &error);
        return;
    }
    *a = (struct application){.engine = engine, .priority = priority, .answer = answer, .context = context};
    a->key = key && key[0] ? strdup(key) : NULL;
    HEP_TRY_DONE(status, may_accept(engine, a, &error));
    HEP_TRY_DONE(status, hep_workflows_find(engine->workflows, workflow_id, &workflow, &error));
    a->workflow = hep_workflow_hold(workflow);
    a->request = configuration ? json_incref(configuration) : json_object();
    if (answer_known(a))
        return;
    HEP_TRY_DONE(status, check_template(engine, workflow, &error));
    HEP_TRY_DONE(status, hep_parameters_name(workflow->parameters, workflow->parameter_count, a->request, &a->canonical,
                                             &error));
    const struct hep_parameter *parameter = model_parameter(workflow);
    if (!parameter) {
        decide(a, NULL);
        return;
    }
    HEP_TRY_DONE(status, ask_model(a, parameter, &error));
    hep_engine_settle(engine, NULL); /* sends the question */
    return;
done:
    application_end(a, status, NULL, &error);
}
