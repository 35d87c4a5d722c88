/*
 * Accepting a request: workflow, names, model, values, then one row. Called by the front for workflow.execute and,
 * without the row, for workflow.validate. A session exists for nobody before its row is committed; the answer comes
 * after.
 */
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/batch_step.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/embeddings.h"
#include "supervisor/engine/expand.h"
#include "supervisor/engine/loras.h"
#include "supervisor/engine/named.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/reference.h"
#include "supervisor/engine/required.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum purpose {
    ACCEPT, /* it becomes a session                                    */
    TRY,    /* only to be validated: what it takes is to be told, too  */
    CHECK,  /* only what is wrong with it                              */
};

/* A request on its way to acceptance, while the model domain is asked. */
struct application {
    struct hep_engine *engine;
    struct hep_workflow *workflow;
    json_t *request;   /* configuration as given                                 */
    json_t *canonical; /* under its own names, with what the definition's steps say */
    json_t *problems;  /* all that is wrong, problem.h                           */
    json_t *info;      /* of its model; NULL = it has none, or there is none     */
    bool has_no_model; /* there is none, and that is among the problems          */
    struct hep_named named;
    struct hep_session *made; /* while the items of its batch are looked at         */
    bool is_own;              /* the workflow came with the request                     */
    enum purpose purpose;
    char batch[HEP_SESSION_ID_MAX]; /* that it is an item of, "" = none                 */
    int item;
    int priority;
    char *key, *callback_url;
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

void hep_make_id(char kind, char id[HEP_SESSION_ID_MAX])
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint64_t time = (uint64_t)hep_wall_ms(), chance = 0;
    if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        chance = (uint64_t)hep_now_us() * UINT64_C(0x9e3779b97f4a7c15);
    id[0] = kind;
    for (int i = 9; i > 0; i--, time >>= 5)
        id[i] = letters[time & 31];
    for (int i = 17; i > 9; i--, chance >>= 5)
        id[i] = letters[chance & 31];
    id[18] = '\0';
}

uint64_t hep_choose_seed(void)
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

/* ---- the row ----------------------------------------------------------------------------------------------------- */
static enum hep_status insert(struct hep_engine *engine, struct hep_session *session, struct hep_error *error)
{
    HEP_TRY(hep_store_begin(engine->store, HEP_STORE_POWER_SAFE, error));
    enum hep_status status = hep_session_insert(session, error);
    if (status == HEP_OK)
        status = hep_engine_hold_inputs(engine, session->configuration, session->id, error);
    if (status == HEP_OK)
        status = hep_engine_hold_inputs(engine, session->workflow->source, session->id, error);
    if (status == HEP_OK)
        status = hep_store_put_value(engine->store, "sessions.seq", session->seq, error);
    if (status != HEP_OK) {
        hep_store_rollback(engine->store);
        return status;
    }
    HEP_CRASH_POINT("accept.before_commit");
    return hep_store_commit(engine->store, error);
}

/* A session that nobody knows yet; NULL with problems noted. */
static struct hep_session *make_session(struct application *a, json_t *info)
{
    struct hep_engine *engine = a->engine;
    struct hep_parameter_scope scope = {.model_info = info,
                                        .schedulers = hep_catalog_schedulers(engine->catalog),
                                        .inputs = engine->inputs,
                                        .model = info ? hep_json_str(info, "name", "") : NULL,
                                        .seed = hep_choose_seed(),
                                        .safety = engine->safety};
    json_t *configuration = NULL;
    if (hep_parameters_fill(a->workflow->parameters, a->workflow->parameter_count, a->canonical, &scope, &configuration,
                            a->problems, NULL) != HEP_OK)
        return NULL;
    struct hep_session *result = hep_session_create(engine, a->workflow);
    if (!result) {
        json_decref(configuration);
        hep_problem_add(a->problems, "", "", HEP_E_NO_MEMORY, "no memory for a session");
        return NULL;
    }
    hep_make_id('s', result->id);
    result->seq = engine->last_seq + 1;
    result->state = HEP_SESSION_QUEUED;
    result->priority = a->priority;
    result->key = a->key ? strdup(a->key) : NULL;
    result->callback_url = a->callback_url ? strdup(a->callback_url) : NULL;
    snprintf(result->batch, sizeof result->batch, "%s", a->batch);
    result->item = a->item;
    result->request = json_incref(a->request);
    result->configuration = configuration;
    result->model = json_incref(info);
    result->created = hep_wall_ms();
    hep_required_check(result, a->problems);
    if (json_array_size(a->problems) > 0) {
        hep_session_free(result);
        return NULL;
    }
    return result;
}

static void accept_session(struct application *a, struct hep_session *session)
{
    struct hep_engine *engine = a->engine;
    struct hep_error unstored = {0};
    if (insert(engine, session, &unstored) != HEP_OK) {
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
static void on_tried(void *context, json_t *resources, const struct hep_error *error, struct hep_session *session)
{
    struct application *a = context;
    if (error)
        hep_problem_add_error(a->problems, "", error);
    json_t *reply = json_pack("{s:b, s:O, s:o, s:O, s:o}", "valid", error == NULL, "problems", a->problems, "workflow",
                              hep_workflow_describe(a->workflow), "configuration", session->configuration, "resources",
                              resources ? resources : json_object());
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

static void decide(struct application *a, json_t *info)
{
    if (answer_known(a)) /* the same key may have come twice while the model domain was asked */
        return;
    struct hep_session *session = make_session(a, info);
    json_t *batch = session ? hep_session_batch_request(session) : NULL;
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
        decide(a, a->info);
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

static const struct hep_parameter *model_parameter(const struct hep_workflow *workflow)
{
    for (size_t i = 0; i < workflow->parameter_count; i++)
        if (workflow->parameters[i].type == HEP_PARAMETER_MODEL)
            return &workflow->parameters[i];
    return NULL;
}

/* What the request names that is to fit the model, as model.info takes it: a new reference. */
static json_t *parts_of(const struct application *a)
{
    const struct hep_workflow *workflow = a->workflow;
    json_t *with = json_object(), *loras = hep_loras_of(workflow->parameters, workflow->parameter_count, a->canonical);
    if (json_array_size(loras) > 0)
        json_object_set(with, "loras", loras);
    json_decref(loras);
    for (size_t i = 0; i < workflow->parameter_count; i++) {
        const struct hep_parameter *p = &workflow->parameters[i];
        const char *value = json_string_value(json_object_get(a->canonical, p->name));
        if (hep_parameter_is_part(p->type) && value && value[0])
            json_object_set_new(with, hep_parameter_type_name(p->type), json_string(value));
    }
    return with;
}

static enum hep_status ask_model(struct application *a, const struct hep_parameter *parameter, struct hep_error *error)
{
    json_t *given = json_object_get(a->canonical, parameter->name);
    const char *name = given ? json_string_value(given) : json_string_value(parameter->fallback);
    if (given && (!name || strlen(name) >= HEP_NAME_MAX))
        return hep_fail_field(error, name ? HEP_E_TOO_LARGE : HEP_E_BAD_FIELD, parameter->name,
                              "%s must be a string of less than %d bytes", parameter->name, HEP_NAME_MAX);
    json_t *with = parts_of(a);
    hep_embeddings_ask(a->workflow->parameters, a->workflow->parameter_count, a->canonical, with);
    enum hep_status status =
        hep_catalog_model(a->engine->catalog, name ? name : "", a->engine->default_model, with, on_model, a, error);
    json_decref(with);
    return status;
}

/* The workflow that came with the request, completed. What its steps say of the configuration goes before what the
   configuration says itself. */
static enum hep_status take_definition(struct application *a, const struct hep_engine_request *request, json_t **given,
                                       struct hep_error *error)
{
    struct hep_workflow *base = NULL;
    json_t *source = NULL,
           *named = json_is_object(request->definition) ? json_copy(request->definition) : json_object();
    if (!json_object_get(named, "workflow_id") && request->workflow_id && request->workflow_id[0])
        json_object_set_new(named, "workflow_id", json_string(request->workflow_id));
    hep_workflows_find(a->engine->workflows, HEP_WORKFLOW_BASE, &base, NULL);
    hep_workflow_expand(named, base, a->engine->router, request->caller, &source, given, a->problems);
    json_decref(named);
    a->is_own = true;
    enum hep_status status = hep_workflow_parse(source, a->problems, &a->workflow, error);
    json_decref(source);
    json_object_update(*given, a->request);
    return status;
}

static enum hep_status take_workflow(struct application *a, const struct hep_engine_request *request, json_t **given,
                                     struct hep_error *error)
{
    const char *id = request->workflow_id && request->workflow_id[0] ? request->workflow_id : HEP_WORKFLOW_BASE;
    struct hep_workflow *workflow = NULL;
    a->request = request->configuration ? json_incref(request->configuration) : json_object();
    if (request->definition)
        return take_definition(a, request, given, error);
    *given = json_incref(a->request);
    HEP_TRY(hep_workflows_find(a->engine->workflows, id, &workflow, error));
    a->workflow = hep_workflow_hold(workflow);
    return HEP_OK;
}

/* Where every image is to be checked, a workflow that writes some must have them checked. */
static void check_safety(struct application *a)
{
    if (a->engine->safety == HEP_SAFETY_OFF || !a->workflow)
        return;
    for (size_t i = 0; i < a->workflow->step_count; i++) {
        const struct hep_workflow_step *step = &a->workflow->steps[i];
        if (step->role == HEP_ROLE_POSTPROCESSING && strcmp(step->operation, "encode") == 0 &&
            !json_object_get(step->parameters, "safety"))
            hep_problem_add(a->problems, step->id, "safety", HEP_E_NOT_ALLOWED,
                            "step %s writes images that nothing has checked, and this instance's safety.policy is %s",
                            step->id, hep_safety_policy_names[a->engine->safety]);
    }
}

/* Everything that can be said of the request without asking the model domain. */
static void check_request(struct application *a, json_t *given)
{
    hep_workflow_check_operations(a->workflow, a->engine->router, a->problems);
    check_safety(a);
    hep_parameters_name(a->workflow->parameters, a->workflow->parameter_count, given, &a->canonical, a->problems, NULL);
    hep_loras_take_tags(a->workflow->parameters, a->workflow->parameter_count, a->canonical, a->problems);
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
    HEP_TRY_DONE(status, take_workflow(a, request, &given, &error));
    if (answer_known(a)) {
        json_decref(given);
        return;
    }
    check_request(a, given);
    json_decref(hep_take(&given));
    const struct hep_parameter *parameter = model_parameter(a->workflow);
    if (!parameter) {
        check_named(a);
        return;
    }
    HEP_TRY_DONE(status, ask_model(a, parameter, &error));
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
