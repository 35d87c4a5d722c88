/* What is to be made, and what has been accepted: workflow.* and session.*. */
#include "supervisor/front/operations.h"

#include <stdio.h>

static const struct hep_field session_says[] = {
    SAYS(STR, "session_id", "name of the session"),
    SAYS(STR, "workflow_id", "its workflow"),
    SAYS(STR, "status", "queued, running, paused, completed, failed, cancelled"),
    SAYS(I32, "current_step", "step in hand, from 1"),
    SAYS(I32, "total_steps", "steps of its workflow"),
    SAYS(STR, "step_name", "id of the step in hand"),
    SAYS(I32, "denoising_step", "denoising steps done"),
    SAYS(I32, "denoising_steps", "denoising steps in all"),
    SAYS(F64, "progress", "0 to 1, by floating point operations"),
    SAYS(I64, "eta_ms", "estimated time to the end, ms"),
    SAYS(I64, "estimated_duration_ms", "from its first step to its end, as it was estimated when it was planned"),
    SAYS(I32, "queue_position", "of a queued one, from 1"),
    SAYS(I32, "priority", "higher goes first"),
    SAYS(STR, "note", "what a person should know about it now"),
    SAYS(JSON, "configuration", "complete: with every default filled in"),
    SAYS(JSON, "domains", "per domain, the state of the session's step there"),
    SAYS(JSON, "steps",
         "id, domain, operation, status, attempt, queued_ms, started_ms, ended_ms (since it was created), duration_ms, "
         "memory_bytes (planned)"),
    SAYS(JSON, "results", "files: path, bytes, sha256, width, height, format, seed of each image"),
    SAYS(JSON, "errors", "all that went wrong on the way, oldest first, with time, step, attempt, cause and obituary"),
    SAYS(JSON, "error", "why it failed"),
    SAYS(STR, "callback_url", "who is told of its end"),
    SAYS(JSON, "webhooks",
         "those of it that are not delivered: delivery_id, event, status (waiting, failed), attempts, next_try_ms, "
         "error"),
    SAYS(STR, "created", "time of acceptance"),
    SAYS(STR, "started", "time of its first step"),
    SAYS(STR, "ended", "time of its end"),
    SAYS(I64, "elapsed_ms", "from its first step to now or to its end"),
    SAYS(I64, "seq", "number of its last change, for session.wait"),
};

/* ---- workflow ---------------------------------------------------------------------------------------------------- */
struct workflow_request {
    struct hep_str workflow_id;
};
struct put_request {
    struct hep_str workflow_id;
    json_t *workflow;
};
struct execute_request {
    struct hep_str workflow_id, idempotency_key, callback_url;
    json_t *workflow, *steps, *configuration;
    int32_t priority;
};
static const struct hep_field workflow_fields[] = {
    HEP_FIELD(STR, workflow_request, workflow_id, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1,
              .help = "name of the workflow"),
};
/* What is to be done: a template, or a workflow that comes with the request. */
#define WORK_FIELDS(type)                                                                                              \
    HEP_FIELD(STR, type, workflow_id, DEFAULTED, .fallback_text = HEP_WORKFLOW_BASE, .max = HEP_NAME_MAX - 1,          \
              .help = "name of the workflow"),                                                                         \
        HEP_FIELD(JSON, type, workflow, OPTIONAL,                                                                      \
                  .help = "an object: a workflow of the request's own; what a generating step implies is added"),      \
        HEP_FIELD(JSON, type, steps, OPTIONAL, .help = "an array: as workflow, its steps alone"),                      \
        HEP_FIELD(JSON, type, configuration, OPTIONAL,                                                                 \
                  .help = "an object: the workflow's parameters, see workflow.get")
static const struct hep_field execute_fields[] = {
    WORK_FIELDS(execute_request),
    HEP_FIELD(I32, execute_request, priority, DEFAULTED, .min = -1000, .max = 1000, .help = "higher goes first"),
    HEP_FIELD(STR, execute_request, idempotency_key, OPTIONAL, .max = HEP_IDEMPOTENCY_KEY_MAX,
              .help = "the same key and request again gives the same session"),
    HEP_FIELD(STR, execute_request, callback_url, OPTIONAL, .max = HEP_URL_MAX,
              .help = "an http or https URL that is called when it has ended (docs/webhooks.md); its host must be in "
                      "webhooks.hosts"),
};
static const struct hep_field validate_fields[] = {WORK_FIELDS(execute_request)};
static const struct hep_field execute_says[] = {
    SAYS(STR, "session_id", "name of the session"), SAYS(STR, "status", "queued"),
    SAYS(BOOL, "created", "false if the idempotency key was known"), SAYS(I32, "queue_position", "from 1")};
static const struct hep_field put_fields[] = {
    HEP_FIELD(STR, put_request, workflow_id, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1, .help = "its name"),
    HEP_FIELD(JSON, put_request, workflow, REQUIRED, .help = "an object: the template, as a file of workflows.dir"),
};
static const struct hep_field put_says[] = {SAYS(STR, "workflow_id", "name of the workflow")};
static const struct hep_field validate_says[] = {
    SAYS(BOOL, "valid", "workflow.execute would accept it"),
    SAYS(JSON, "problems", "all that is wrong: code, message, hint, and step and field where there is one"),
    SAYS(JSON, "workflow", "as it would run, with the steps that were added"),
    SAYS(JSON, "configuration", "complete: with every default filled in"),
    SAYS(JSON, "resources",
         "fits (now, when_others_end, when_shm_is_free, never), waits_for, memory_bytes (arena and largest operation), "
         "arena_bytes, weights_bytes, budget_bytes, taken_bytes, shm_total_bytes, shm_free_bytes, flops"),
    SAYS(I64, "estimated_duration_ms", "alone, from its first step to its end")};
static const struct hep_field workflows_says[] = {
    SAYS(JSON, "workflows",
         "workflow_id, name, help, version, file, own (put by an operator, not a file), usable, problems of each")};
static const struct hep_field workflow_says[] = {
    SAYS(STR, "workflow_id", "name"),
    SAYS(STR, "name", "for people"),
    SAYS(STR, "help", "what it does"),
    SAYS(I32, "version", "of the template"),
    SAYS(JSON, "parameters", "per name: type, required, default, min, max, multiple_of, choices, aliases, help"),
    SAYS(JSON, "steps", "id, domain, operation, parameters of each"),
    SAYS(JSON, "resource_requirements", "as written: memory_bytes, models"),
    SAYS(JSON, "estimated_duration", "as written"),
    SAYS(JSON, "problems", "what the domains that are there do not have")};

static enum hep_status workflow_list(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply, (void)error;
    hep_call_answer(call, json_pack("{s:o}", "workflows", hep_workflows_list(call->front->engine->workflows)));
    return HEP_OK;
}

static enum hep_status workflow_get(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct workflow_request *request = request_;
    struct hep_engine *engine = call->front->engine;
    struct hep_workflow *workflow;
    (void)reply;
    HEP_TRY(hep_workflows_find(engine->workflows, request->workflow_id.data, &workflow, error));
    json_t *view = hep_workflow_describe(workflow), *problems = json_array();
    hep_workflow_check_operations(workflow, engine->router, problems);
    json_object_set_new(view, "problems", problems);
    hep_call_answer(call, view);
    return HEP_OK;
}

/* As it was said to be wrong: the answer to a workflow that is not kept. */
static enum hep_status workflow_put(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct put_request *request = request_;
    json_t *problems = json_array();
    (void)reply;
    if (hep_engine_put_workflow(call->front->engine, request->workflow_id.data, request->workflow, problems, error) ==
        HEP_OK) {
        hep_call_answer(call, json_pack("{s:s}", "workflow_id", request->workflow_id.data));
        json_decref(problems);
        return HEP_OK;
    }
    call->deferred = true;
    hep_call_end(call, error->code, json_pack("{s:o}", "problems", problems), error);
    return HEP_OK;
}

static enum hep_status workflow_delete(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct workflow_request *request = request_;
    (void)reply;
    HEP_TRY(hep_engine_delete_workflow(call->front->engine, request->workflow_id.data, error));
    hep_call_answer(call, json_pack("{s:s}", "workflow_id", request->workflow_id.data));
    return HEP_OK;
}

static void on_executed(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    hep_call_end(context, status, reply, error);
}

/* *definition: the request's own workflow, a new reference, NULL if it names a template. */
static enum hep_status read_work(const struct hep_call *call, const struct execute_request *request,
                                 json_t **definition, struct hep_engine_request *work, struct hep_error *error)
{
    if (request->workflow && request->steps)
        return hep_fail_field(error, HEP_E_CONFLICT, "steps",
                              "steps stand in workflow, or in the request, not in both");
    if (request->workflow && !json_is_object(request->workflow))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "workflow", "workflow must be an object");
    if (request->workflow)
        *definition = json_incref(request->workflow);
    else if (request->steps)
        *definition = json_pack("{s:O}", "steps", request->steps);
    *work = (struct hep_engine_request){.workflow_id = request->workflow_id.data,
                                        .definition = *definition,
                                        .configuration = request->configuration,
                                        .priority = request->priority,
                                        .key = request->idempotency_key.data,
                                        .callback_url = request->callback_url.data,
                                        .caller = call->caller.permission};
    return HEP_OK;
}

static enum hep_status workflow_execute(struct hep_call *call, const void *request_, void *reply,
                                        struct hep_error *error)
{
    struct hep_engine_request work;
    json_t *definition = NULL;
    (void)reply;
    HEP_TRY(read_work(call, request_, &definition, &work, error));
    call->deferred = true;
    hep_engine_execute(call->front->engine, &work, on_executed, call);
    json_decref(definition);
    return HEP_OK;
}

static enum hep_status workflow_validate(struct hep_call *call, const void *request_, void *reply,
                                         struct hep_error *error)
{
    struct hep_engine_request work;
    json_t *definition = NULL;
    (void)reply;
    HEP_TRY(read_work(call, request_, &definition, &work, error));
    call->deferred = true;
    hep_engine_validate(call->front->engine, &work, on_executed, call);
    json_decref(definition);
    return HEP_OK;
}

const struct hep_operation hep_workflow_operations[] = {
    {.name = "list",
     .handler = workflow_list,
     NO_FIELDS,
     REPLY(workflows_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the workflows that there are"},
    {.name = "get",
     .handler = workflow_get,
     REQUEST(workflow_request, workflow_fields),
     REPLY(workflow_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "one workflow: its parameters and steps"},
    {.name = "put",
     .handler = workflow_put,
     REQUEST(put_request, put_fields),
     REPLY(put_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "keep a workflow of the operator's own, or replace it"},
    {.name = "delete",
     .handler = workflow_delete,
     REQUEST(workflow_request, workflow_fields),
     REPLY(put_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "forget one that was put; sessions that run it go on"},
    {.name = "validate",
     .handler = workflow_validate,
     REQUEST(execute_request, validate_fields),
     REPLY(validate_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 60000,
     .help = "whether a request would be accepted, all that is wrong with it, and what it would take"},
    {.name = "execute",
     .handler = workflow_execute,
     REQUEST(execute_request, execute_fields),
     REPLY(execute_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 10000,
     .help = "accept a request: durable when it is answered"},
    {0},
};

/* ---- session ----------------------------------------------------------------------------------------------------- */
struct session_request {
    struct hep_str session_id;
};
struct list_request {
    struct hep_str status, cursor;
    int32_t limit;
};
struct control_request {
    struct hep_str session_id, action;
    int32_t priority;
};
struct wait_request {
    struct hep_str session_id;
    int64_t after_seq;
    int32_t timeout_ms;
};
static const char *const status_choices[] = {"",          "queued", "running",   "paused",
                                             "completed", "failed", "cancelled", NULL};
static const char *const action_choices[] = {"pause", "resume", "cancel", "retry", "priority", NULL};
#define SESSION_ID(type)                                                                                               \
    HEP_FIELD(STR, type, session_id, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1, .help = "name of the session")
static const struct hep_field session_fields[] = {SESSION_ID(session_request)};
static const struct hep_field list_fields[] = {
    HEP_FIELD(STR, list_request, status, OPTIONAL, .choices = status_choices, .help = "only those; \"\" = all"),
    HEP_FIELD(STR, list_request, cursor, OPTIONAL, .max = 24,
              .help = "next_cursor of the page before; \"\" = from the newest"),
    HEP_FIELD(I32, list_request, limit, DEFAULTED, .fallback = 50, .min = 1, .max = 500, .help = "sessions of a page"),
};
static const struct hep_field control_fields[] = {
    SESSION_ID(control_request),
    HEP_FIELD(STR, control_request, action, REQUIRED, .choices = action_choices,
              .help = "what to do at the next step boundary"),
    HEP_FIELD(I32, control_request, priority, DEFAULTED, .min = -1000, .max = 1000, .help = "for action priority"),
};
static const struct hep_field wait_fields[] = {
    SESSION_ID(wait_request),
    HEP_FIELD(I64, wait_request, after_seq, DEFAULTED, .help = "seq that is known: answer when it is larger"),
    HEP_FIELD(I32, wait_request, timeout_ms, DEFAULTED, .fallback = 30000, .min = 1, .max = HEP_WAIT_MAX_MS,
              .help = "answer after so long in any case, ms"),
};
static const struct hep_field list_says[] = {SAYS(JSON, "sessions", "as session.get without details; prompt is cut"),
                                             SAYS(STR, "next_cursor", "for the next page, if there is one")};
static const struct hep_field control_says[] = {SAYS(STR, "session_id", "name of the session"),
                                                SAYS(STR, "status", "after it")};
static const struct hep_field deleted_says[] = {SAYS(STR, "session_id", "name of the session")};

static enum hep_status session_list(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct list_request *request = request_;
    json_t *list;
    (void)reply;
    HEP_TRY(
        hep_engine_list(call->front->engine, request->status.data, request->cursor.data, request->limit, &list, error));
    hep_call_answer(call, list);
    return HEP_OK;
}

static enum hep_status session_get(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct session_request *request = request_;
    json_t *view;
    (void)reply;
    HEP_TRY(hep_engine_get(call->front->engine, request->session_id.data, &view, error));
    hep_call_answer(call, view);
    return HEP_OK;
}

static enum hep_status session_control(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct control_request *request = request_;
    json_t *answer;
    (void)reply;
    HEP_TRY(hep_engine_control(call->front->engine, request->session_id.data, request->action.data, request->priority,
                               &answer, error));
    hep_call_answer(call, answer);
    return HEP_OK;
}

static enum hep_status session_delete(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct session_request *request = request_;
    (void)reply;
    HEP_TRY(hep_engine_delete(call->front->engine, request->session_id.data, error));
    hep_call_answer(call, json_pack("{s:s}", "session_id", request->session_id.data));
    return HEP_OK;
}

/* Sessions in memory change; one that is only in the store has ended. */
static bool check_session(struct hep_call *call)
{
    const struct hep_session *session = hep_engine_find(call->front->engine, call->session);
    struct hep_error error = {0};
    json_t *view = NULL;
    if (call->check && session && session->change_seq <= call->after_seq && !hep_session_is_ended(session->state))
        return false;
    enum hep_status status = hep_engine_get(call->front->engine, call->session, &view, &error);
    hep_call_end(call, status, view, &error);
    return true;
}

static enum hep_status session_wait(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct wait_request *request = request_;
    (void)reply, (void)error;
    snprintf(call->session, sizeof call->session, "%s", request->session_id.data);
    call->after_seq = request->after_seq > 0 ? (uint64_t)request->after_seq : 0;
    hep_call_wait(call, check_session, request->timeout_ms);
    return HEP_OK;
}

const struct hep_operation hep_session_operations[] = {
    {.name = "list",
     .handler = session_list,
     REQUEST(list_request, list_fields),
     REPLY(list_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "sessions, newest first"},
    {.name = "get",
     .handler = session_get,
     REQUEST(session_request, session_fields),
     REPLY(session_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "one session with its steps, results and errors"},
    {.name = "control",
     .handler = session_control,
     REQUEST(control_request, control_fields),
     REPLY(control_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "pause, resume, cancel, or change the priority"},
    {.name = "delete",
     .handler = session_delete,
     REQUEST(session_request, session_fields),
     REPLY(deleted_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "forget an ended session; its image files stay"},
    {.name = "wait",
     .handler = session_wait,
     REQUEST(wait_request, wait_fields),
     REPLY(session_says),
     .permission = HEP_CLIENT,
     .deadline_ms = HEP_WAIT_MAX_MS,
     .help = "one session, when it has changed"},
    {0},
};
