/*
 * The supervisor's own operations: their tables and handlers. A handler reads its request, asks the engine, and gives
 * its data to hep_call_answer, or defers and answers later with hep_call_end. To add an operation: fields, handler,
 * row, a test.
 */
#include "common/crash_point.h"
#include "common/wire.h"
#include "supervisor/front/call.h"

#include <stdio.h>
#include <string.h>

/* Replies are JSON that the engine makes; their tables only describe them. */
struct described {
    char unused;
};
#define SAYS(kind, field, ...)                                                                                         \
    {                                                                                                                  \
        .name = field, .type = HEP_FIELD_##kind, .presence = HEP_OPTIONAL, .offset = 0, .help = __VA_ARGS__            \
    }
struct nothing {
    char unused;
};
#define NO_FIELDS     .request = NULL, .request_count = 0, .request_size = sizeof(struct nothing)
#define REPLY(fields) .reply = fields, .reply_count = HEP_COUNT_OF(fields), .reply_size = sizeof(struct described)
#define REQUEST(type, fields)                                                                                          \
    .request = fields, .request_count = HEP_COUNT_OF(fields), .request_size = sizeof(struct type)

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
    SAYS(I32, "queue_position", "of a queued one, from 1"),
    SAYS(I32, "priority", "higher goes first"),
    SAYS(STR, "note", "what a person should know about it now"),
    SAYS(JSON, "configuration", "complete: with every default filled in"),
    SAYS(JSON, "domains", "per domain, the state of the session's step there"),
    SAYS(JSON, "steps",
         "id, domain, operation, status, attempt, queued_ms, started_ms (since it was created), duration_ms"),
    SAYS(JSON, "results", "files: path, bytes, sha256, width, height, format, seed of each image"),
    SAYS(JSON, "errors", "what went wrong on the way, with obituaries"),
    SAYS(JSON, "error", "why it failed"),
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
struct execute_request {
    struct hep_str workflow_id, idempotency_key;
    json_t *configuration;
    int32_t priority;
};
static const struct hep_field workflow_fields[] = {
    HEP_FIELD(STR, workflow_request, workflow_id, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1,
              .help = "name of the workflow"),
};
static const struct hep_field execute_fields[] = {
    HEP_FIELD(STR, execute_request, workflow_id, DEFAULTED, .fallback_text = "txt2img", .max = HEP_NAME_MAX - 1,
              .help = "name of the workflow"),
    HEP_FIELD(JSON, execute_request, configuration, REQUIRED,
              .help = "an object: the workflow's parameters, see workflow.get"),
    HEP_FIELD(I32, execute_request, priority, DEFAULTED, .min = -1000, .max = 1000, .help = "higher goes first"),
    HEP_FIELD(STR, execute_request, idempotency_key, OPTIONAL, .max = HEP_IDEMPOTENCY_KEY_MAX,
              .help = "the same key and request again gives the same session"),
};
static const struct hep_field execute_says[] = {
    SAYS(STR, "session_id", "name of the session"), SAYS(STR, "status", "queued"),
    SAYS(BOOL, "created", "false if the idempotency key was known"), SAYS(I32, "queue_position", "from 1")};
static const struct hep_field workflows_says[] = {
    SAYS(JSON, "workflows", "workflow_id, name, help, version, file, usable, problems of each")};
static const struct hep_field workflow_says[] = {
    SAYS(STR, "workflow_id", "name"),
    SAYS(STR, "name", "for people"),
    SAYS(STR, "help", "what it does"),
    SAYS(I32, "version", "of the template"),
    SAYS(JSON, "parameters", "per name: type, required, default, min, max, multiple_of, choices, aliases, help"),
    SAYS(JSON, "steps", "id, domain, operation, parameters of each"),
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

static void on_executed(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    hep_call_end(context, status, reply, error);
}

static enum hep_status workflow_execute(struct hep_call *call, const void *request_, void *reply,
                                        struct hep_error *error)
{
    const struct execute_request *request = request_;
    (void)reply, (void)error;
    call->deferred = true;
    hep_engine_execute(call->front->engine, request->workflow_id.data, request->configuration, request->priority,
                       request->idempotency_key.data, on_executed, call);
    return HEP_OK;
}

static const struct hep_operation workflow_operations[] = {
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
static const char *const action_choices[] = {"pause", "resume", "cancel", "priority", NULL};
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

static const struct hep_operation session_operations[] = {
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

/* ---- status, domain ---------------------------------------------------------------------------------------------- */
struct domain_request {
    struct hep_str domain;
};
struct incidents_request {
    struct hep_str domain;
    int64_t before;
    int32_t limit;
};
static const struct hep_field incidents_fields[] = {
    HEP_FIELD(STR, incidents_request, domain, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "only of this one; supervisor = heptad itself"),
    HEP_FIELD(I64, incidents_request, before, OPTIONAL,
              .help = "only with a smaller number: the page after; 0 = from the newest"),
    HEP_FIELD(I32, incidents_request, limit, DEFAULTED, .fallback = 20, .min = 1, .max = 100,
              .help = "at most so many, newest first"),
};
static const struct hep_field incidents_says[] = {
    SAYS(JSON, "incidents",
         "incident (its number), time, domain, cause, signal or exit_status, operation, session, attempt, uptime_ms, "
         "crash, stack, last_lines of each"),
};
static const struct hep_field domain_fields[] = {
    HEP_FIELD(STR, domain_request, domain, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1, .help = "name of the domain")};
static const struct hep_field describe_fields[] = {HEP_FIELD(
    STR, domain_request, domain, OPTIONAL, .max = HEP_NAME_MAX - 1, .help = "only of this one, or of this prefix")};
static const struct hep_field status_says[] = {
    SAYS(STR, "state", "ready, starting, degraded, drained, draining, failed"),
    SAYS(STR, "line", "one sentence"),
    SAYS(BOOL, "ready", "every domain is ready and has reported within 5 s, and the store works"),
    SAYS(I32, "domains_ready", "how many are"),
    SAYS(I32, "domains_total", "how many there are"),
    SAYS(JSON, "domains", "as domain.list"),
    SAYS(JSON, "sessions", "how many are in each status"),
    SAYS(JSON, "memory", "budget, taken by sessions, shared memory, bytes"),
    SAYS(JSON, "queue", "per domain, requests waiting and in hand"),
    SAYS(JSON, "leases", "which domain has which cores"),
    SAYS(JSON, "store", "path, version, bytes, wal_bytes, works"),
    SAYS(STR, "version", "of Heptad"),
    SAYS(STR, "build", "of its programs: all processes of one daemon have the same"),
    SAYS(STR, "instance", "name of this daemon"),
    SAYS(I64, "uptime_ms", "since its start"),
    SAYS(I64, "last_event", "seq of the newest event"),
};
static const struct hep_field domains_says[] = {
    SAYS(JSON, "domains", "domain, state, pid, generation, uptime_ms, restarts, memory, operations of each")};
static const struct hep_field restart_says[] = {SAYS(STR, "domain", "name of the domain")};
static const struct hep_field describe_says[] = {
    SAYS(JSON, "operations",
         "type, domain, help, permission, deadline_ms, heavy, lease, aliases, request, reply of each"),
    SAYS(JSON, "unknown", "domains that have not been ready yet")};

static enum hep_status status_get(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply, (void)error;
    hep_call_answer(call, hep_engine_status(call->front->engine));
    return HEP_OK;
}

static enum hep_status domain_list(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    json_t *status = hep_engine_status(call->front->engine);
    (void)request, (void)reply, (void)error;
    hep_call_answer(call, json_pack("{s:O}", "domains", json_object_get(status, "domains")));
    json_decref(status);
    return HEP_OK;
}

static enum hep_status unknown_domain(const char *name, struct hep_error *error)
{
    hep_fail_field(error, HEP_E_UNKNOWN_DOMAIN, "domain", "there is no domain \"%.60s\"", name);
    return hep_hint(error, "see `heptctl domains`"), HEP_E_UNKNOWN_DOMAIN;
}

static enum hep_status domain_restart(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct domain_request *request = request_;
    enum hep_role role = hep_role_from_prefix(request->domain.data, request->domain.length);
    (void)reply;
    if (role == HEP_ROLE_NONE)
        return unknown_domain(request->domain.data, error);
    HEP_TRY(hep_proc_restart(call->front->engine->proc, role, error));
    hep_call_answer(call, json_pack("{s:s}", "domain", request->domain.data));
    return HEP_OK;
}

static enum hep_status domain_incidents(struct hep_call *call, const void *request_, void *reply,
                                        struct hep_error *error)
{
    const struct incidents_request *request = request_;
    const char *domain = request->domain.data;
    json_t *list = NULL;
    (void)reply;
    if (domain[0] && strcmp(domain, "supervisor") != 0 &&
        hep_role_from_prefix(domain, request->domain.length) == HEP_ROLE_NONE)
        return unknown_domain(domain, error);
    HEP_TRY(hep_store_incidents(call->front->engine->store, domain[0] ? domain : NULL,
                                request->before > 0 ? request->before : INT64_MAX, request->limit, &list, error));
    hep_call_answer(call, json_pack("{s:o}", "incidents", list));
    return HEP_OK;
}

static void describe_rows(json_t *list, const char *prefix, json_t *rows)
{
    size_t index;
    json_t *row;
    json_array_foreach(rows, index, row)
    {
        json_t *copy = json_copy(row);
        json_object_set_new(copy, "type", json_sprintf("%s.%s", prefix, hep_json_str(row, "name", "")));
        json_object_set_new(copy, "domain", json_string(prefix));
        json_array_append_new(list, copy);
    }
}

static enum hep_status domain_describe(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct domain_request *request = request_;
    const char *only = request->domain.data;
    json_t *list = json_array(), *unknown = json_array();
    bool found = !only[0];
    (void)reply;
    for (const struct hep_front_table *table = hep_front_tables; table->prefix; table++)
        if (!only[0] || strcmp(only, table->prefix) == 0) {
            json_t *rows = hep_describe(table->operations);
            describe_rows(list, table->prefix, rows);
            json_decref(rows);
            found = true;
        }
    for (int i = 0; i < HEP_ROLE_COUNT; i++) {
        const char *name = hep_role_name((enum hep_role)i);
        if (only[0] && strcmp(only, name) != 0)
            continue;
        describe_rows(list, name, hep_router_operations(call->front->engine->router, (enum hep_role)i));
        if (!hep_router_knows(call->front->engine->router, (enum hep_role)i))
            json_array_append_new(unknown, json_string(name));
        found = true;
    }
    json_t *answer = json_pack("{s:o, s:o}", "operations", list, "unknown", unknown);
    if (!found) {
        json_decref(answer);
        return unknown_domain(only, error);
    }
    hep_call_answer(call, answer);
    return HEP_OK;
}

static const struct hep_operation status_operations[] = {
    {.name = "get",
     .handler = status_get,
     NO_FIELDS,
     REPLY(status_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the whole daemon in one answer"},
    {0},
};
static const struct hep_operation domain_operations[] = {
    {.name = "list",
     .handler = domain_list,
     NO_FIELDS,
     REPLY(domains_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the domains and how they are"},
    {.name = "incidents",
     .handler = domain_incidents,
     REQUEST(incidents_request, incidents_fields),
     REPLY(incidents_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "processes that died unasked, with their last words"},
    {.name = "describe",
     .handler = domain_describe,
     REQUEST(domain_request, describe_fields),
     REPLY(describe_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "every operation with its fields"},
    {.name = "restart",
     .handler = domain_restart,
     REQUEST(domain_request, domain_fields),
     REPLY(restart_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "end a domain's process and start it again"},
    {0},
};

/* ---- events, config, log, daemon --------------------------------------------------------------------------------- */
struct poll_request {
    int64_t after_seq;
    int32_t limit, wait_ms;
};
struct tail_request {
    int32_t lines;
};
struct stop_request {
    int32_t drain_ms;
};
static const struct hep_field poll_fields[] = {
    HEP_FIELD(I64, poll_request, after_seq, DEFAULTED, .fallback = -1,
              .help = "newest seq that is known; -1 = only what comes from now on"),
    HEP_FIELD(I32, poll_request, limit, DEFAULTED, .fallback = 100, .min = 1, .max = 500,
              .help = "events of one answer"),
    HEP_FIELD(I32, poll_request, wait_ms, DEFAULTED, .max = HEP_WAIT_MAX_MS, .help = "wait so long for the first, ms"),
};
static const struct hep_field tail_fields[] = {HEP_FIELD(I32, tail_request, lines, DEFAULTED, .fallback = 50, .min = 1,
                                                         .max = 1000, .help = "how many of the last lines")};
static const struct hep_field stop_fields[] = {HEP_FIELD(I32, stop_request, drain_ms, DEFAULTED, .fallback = -1,
                                                         .min = -1, .max = 600000,
                                                         .help = "time for what is in hand, ms; -1 = as configured")};
static const struct hep_field poll_says[] = {
    SAYS(JSON, "events", "seq, time, time_ms, name and the event's own fields of each"),
    SAYS(I64, "last_seq", "for the next events.poll")};
static const struct hep_field config_says[] = {
    SAYS(JSON, "config", "the configuration in force, key by key"),
    SAYS(STR, "file", "that it was read from; \"\" = none: the defaults"),
    SAYS(JSON, "waiting", "per key that was read again and waits: in_force, file (what that says), restart (of whom)")};
static const struct hep_field reload_says[] = {SAYS(STR, "file", "that was read; \"\" = there is none"),
                                               SAYS(JSON, "changes",
                                                    "key, from, to of each, and waits_for: \"\" (in force now), "
                                                    "\"heptad\", or whose next start it waits for: \"*\" "
                                                    "any domain, else their names")};
static const struct hep_field tail_says[] = {SAYS(JSON, "lines", "the last lines of the log, oldest first")};
static const struct hep_field drain_says[] = {
    SAYS(BOOL, "drained", "true: nothing new begins until daemon.undrain"),
    SAYS(I32, "running", "sessions that are on their way to a step boundary")};
static const struct hep_field upgrade_says[] = {
    SAYS(BOOL, "upgrading", "true: it ends at a step boundary and goes on as the program that lies there now")};
static const struct hep_field stop_says[] = {SAYS(BOOL, "stopping", "true: it ends when what is in hand is done")};

static bool check_events(struct hep_call *call)
{
    struct hep_events *events = call->front->engine->events;
    if (call->check && hep_events_last(events) <= call->after_seq)
        return false;
    json_t *list = hep_events_after(events, call->after_seq, call->limit);
    json_t *last = json_array_get(list, json_array_size(list) - (json_array_size(list) > 0));
    int64_t seq = hep_json_int(last, "seq", (int64_t)call->after_seq);
    hep_call_end(call, HEP_OK, json_pack("{s:o, s:I}", "events", list, "last_seq", (json_int_t)seq), NULL);
    return true;
}

static enum hep_status events_poll(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct poll_request *request = request_;
    (void)reply, (void)error;
    call->after_seq =
        request->after_seq < 0 ? hep_events_last(call->front->engine->events) : (uint64_t)request->after_seq;
    call->limit = request->limit;
    hep_call_wait(call, check_events, request->wait_ms);
    return HEP_OK;
}

static enum hep_status config_get(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const struct hep_front *front = call->front;
    (void)request, (void)reply;
    if (!front->config)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this daemon does not say its configuration");
    hep_call_answer(call, front->config(front->context));
    return HEP_OK;
}

static enum hep_status config_reload(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const struct hep_front *front = call->front;
    json_t *says = NULL;
    (void)request, (void)reply;
    if (!front->reload)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this daemon cannot read its configuration again");
    HEP_TRY(front->reload(front->context, &says, error));
    hep_call_answer(call, says);
    return HEP_OK;
}

static enum hep_status log_tail(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct tail_request *request = request_;
    json_t *lines;
    (void)reply;
    HEP_TRY(hep_log_tail(call->front->log_path, request->lines, &lines, error));
    hep_call_answer(call, json_pack("{s:o}", "lines", lines));
    return HEP_OK;
}

static enum hep_status daemon_stop(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct stop_request *request = request_;
    struct hep_front *front = call->front;
    (void)reply;
    if (!front->stop)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this daemon cannot be stopped so");
    call->deferred = true;
    hep_call_end(call, HEP_OK, json_pack("{s:b}", "stopping", 1), NULL); /* before it begins */
    front->stop(front->context, request->drain_ms);
    return HEP_OK;
}

#ifdef HEP_CRASH_POINTS
struct crash_request {
    struct hep_str at;
};
static const struct hep_field crash_fields[] = {
    HEP_FIELD(STR, crash_request, at, REQUIRED, .max = 127, .help = "as HEPTAD_CRASH_AT; \"\" = nowhere")};
static const struct hep_field crash_says[] = {SAYS(STR, "program", "who will die; a domain has been restarted for it")};

/* A domain gets it with its next process, which is started here. */
static enum hep_status daemon_crash_at(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct crash_request *request = request_;
    const char *program;
    (void)reply;
    HEP_TRY(hep_crash_set(request->at.data, &program, error));
    enum hep_role role = hep_role_from_prefix(program, strlen(program));
    if (role != HEP_ROLE_NONE)
        HEP_TRY(hep_proc_restart(call->front->engine->proc, role, error));
    hep_call_answer(call, json_pack("{s:s}", "program", program));
    return HEP_OK;
}
#endif

static enum hep_status answer_held(struct hep_call *call, bool held)
{
    int running = hep_engine_hold(call->front->engine, held);
    hep_call_answer(call, json_pack("{s:b, s:i}", "drained", held, "running", running));
    return HEP_OK;
}

static enum hep_status daemon_drain(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply, (void)error;
    return answer_held(call, true);
}

static enum hep_status daemon_undrain(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply, (void)error;
    return answer_held(call, false);
}

static enum hep_status daemon_upgrade(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct hep_front *front = call->front;
    (void)request, (void)reply;
    if (!front->upgrade)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this daemon cannot be upgraded so");
    HEP_TRY(front->upgrade(front->context, error));
    call->deferred = true;
    front->upgrading = call;
    return HEP_OK;
}

static const struct hep_operation events_operations[] = {
    {.name = "poll",
     .handler = events_poll,
     REQUEST(poll_request, poll_fields),
     REPLY(poll_says),
     .permission = HEP_CLIENT,
     .deadline_ms = HEP_WAIT_MAX_MS,
     .help = "what has happened since"},
    {0},
};
static const struct hep_operation config_operations[] = {
    {.name = "get",
     .handler = config_get,
     NO_FIELDS,
     REPLY(config_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "the configuration in force, and what waits for a restart"},
    {.name = "reload",
     .handler = config_reload,
     NO_FIELDS,
     REPLY(reload_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "read the configuration again; with a mistake in it nothing changes"},
    {0},
};
static const struct hep_operation log_operations[] = {
    {.name = "tail",
     .handler = log_tail,
     REQUEST(tail_request, tail_fields),
     REPLY(tail_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "the last lines of the log"},
    {0},
};
static const struct hep_operation daemon_operations[] = {
    {.name = "stop",
     .handler = daemon_stop,
     REQUEST(stop_request, stop_fields),
     REPLY(stop_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "end the daemon; what is in hand goes on at the next start"},
    {.name = "drain",
     .handler = daemon_drain,
     NO_FIELDS,
     REPLY(drain_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "bring all sessions to a step boundary and hold them there; refuse requests"},
    {.name = "undrain",
     .handler = daemon_undrain,
     NO_FIELDS,
     REPLY(drain_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "let them go on, accept requests again"},
    {.name = "upgrade",
     .handler = daemon_upgrade,
     NO_FIELDS,
     REPLY(upgrade_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 30000,
     .help = "become the program that lies where this one was started from"},
#ifdef HEP_CRASH_POINTS
    {.name = "crash_at",
     .handler = daemon_crash_at,
     REQUEST(crash_request, crash_fields),
     REPLY(crash_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "fault tests: where a process dies"},
#endif
    {0},
};

const struct hep_front_table hep_front_tables[] = {
    {"workflow", workflow_operations, "templates of work, and accepting it"},
    {"session", session_operations, "accepted requests"},
    {"status", status_operations, "the whole daemon"},
    {"domain", domain_operations, "the seven processes"},
    {"events", events_operations, "what has happened"},
    {"config", config_operations, "the configuration"},
    {"log", log_operations, "the log"},
    {"daemon", daemon_operations, "the daemon itself"},
    {NULL, NULL, NULL},
};
