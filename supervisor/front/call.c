/*
 * Requests in hand: decoding what is ours by the operation tables, passing on what is a domain's, answering, waiting.
 * Called by control.c and front.c with messages of either socket. Does nothing itself that an operation does.
 */
#include "supervisor/front/call.h"

#include "common/envelope.h"
#include "common/log.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a caller who may only look may ask of the supervisor and of domains, by the operations' own names. To add one: a
   row. */
static const char *const read_only[] = {
    "workflow.list",       "workflow.get",       "session.list",        "session.get",    "session.wait",
    "status.get",          "domain.list",        "domain.describe",     "events.poll",    "device.list",
    "device.get",          "device.get_memory",  "device.capabilities", "model.list",     "model.info",
    "model.details",       "conditioning.info",  "scheduler.list",      "scheduler.info", "inference.info",
    "postprocessing.info", "communication.wait", "batch.list",          "batch.get",      "metrics.get",
    "input.get",           "preview.get",        "preview.poll",        "workflow.check",
};
static const char *const read_only_names[] = {"get_status", "ping", "describe"};

/* ---- answering --------------------------------------------------------------------------------------------------- */
static json_t *error_json(const struct hep_call *call, const struct hep_error *error)
{
    struct hep_error said = *error;
    if (!said.hint[0])
        snprintf(said.hint, sizeof said.hint, "%s", hep_status_hint(said.code));
    if (!said.operation[0])
        snprintf(said.operation, sizeof said.operation, "%.60s", call->type);
    return hep_envelope_error(&said, call->error_format);
}

static json_t *reply_json(const struct hep_call *call, enum hep_status status, json_t *data,
                          const struct hep_error *error)
{
    json_t *reply = json_pack("{s:s, s:b}", "request_id", call->request_id, "success", status == HEP_OK);
    if (status == HEP_OK)
        json_object_set_new(reply, "data", data ? json_incref(data) : json_object());
    else
        json_object_set_new(reply, "error", error_json(call, error));
    if (status != HEP_OK && json_object_get(data, "problems"))
        json_object_set(json_object_get(reply, "error"), "problems", json_object_get(data, "problems"));
    return reply;
}

static void send_reply(struct hep_call *call, enum hep_status status, json_t *data, const struct hep_error *error)
{
    struct hep_error reason = {0};
    void *frame = NULL;
    size_t bytes = 0;
    json_t *reply = reply_json(call, status, data, error);
    if (hep_wire_encode(reply, &frame, &bytes, &reason) != HEP_OK) {
        hep_hint(&reason, "ask for less at once");
        json_decref(reply);
        reply = reply_json(call, reason.code, NULL, &reason);
        if (hep_wire_encode(reply, &frame, &bytes, NULL) != HEP_OK)
            frame = NULL;
    }
    json_decref(reply);
    if (call->connection && frame)
        hep_control_send(call->connection, frame, bytes);
    else if (call->request)
        hep_rpc_reply(call->request, frame ? frame : "", frame ? bytes : 0);
    free(frame);
}

void hep_front_refuse(struct hep_rpc_request *request, const struct hep_error *error)
{
    struct hep_call call = {.request = request};
    send_reply(&call, error->code, NULL, error);
}

/* A domain's prefix is ours for those operations only that our table has. */
static const struct hep_front_table *own_table(const char *type)
{
    size_t length = strcspn(type, ".");
    for (const struct hep_front_table *table = hep_front_tables; table->prefix; table++) {
        if (strncmp(table->prefix, type, length) != 0 || table->prefix[length])
            continue;
        if (hep_role_from_prefix(type, length) == HEP_ROLE_NONE ||
            (type[length] && hep_operation_find(table->operations, type + length + 1)))
            return table;
    }
    return NULL;
}

/* By the name that the table has, never by what the caller wrote. */
static void count(const struct hep_call *call, enum hep_status status)
{
    const struct hep_front_table *table = own_table(call->type);
    const char *dot = strchr(call->type, '.');
    const struct hep_operation *row = table && dot ? hep_operation_find(table->operations, dot + 1) : NULL;
    char name[HEP_NAME_MAX];
    if (call->passed)
        return;
    if (!row) {
        hep_engine_count_refused(call->front->engine, call->type, status);
        return;
    }
    snprintf(name, sizeof name, "%s.%s", table->prefix, row->name);
    hep_metrics_own(call->front->engine->metrics, HEP_METRICS_SUPERVISOR, name, status);
}

/* Sends the answer and takes the call off the front's list. */
static void conclude(struct hep_call *call, enum hep_status status, json_t *data, const struct hep_error *error)
{
    struct hep_front *front = call->front;
    struct hep_call **place = &front->calls;
    while (*place != call)
        place = &(*place)->next;
    *place = call->next;
    front->call_count--;
    if (status != HEP_OK)
        hep_log(HEP_DEBUG, "front.refused", "type=%s code=%s", call->type, hep_status_name(status));
    count(call, status);
    send_reply(call, status, data, error);
    if (call->connection)
        hep_control_calls(call->connection, -1);
    call->front = NULL;
    call->connection = NULL;
    call->request = NULL;
    call->check = NULL;
}

static void call_free(struct hep_call *call)
{
    hep_loop_cancel(call->timer);
    json_decref(call->answer);
    free(call);
}

void hep_call_end(struct hep_call *call, enum hep_status status, json_t *data, const struct hep_error *error)
{
    if (call->front)
        conclude(call, status, data, error);
    json_decref(data);
    call->ended = true;
    if (!call->asking)
        call_free(call);
}

void hep_call_orphan(struct hep_call *call, const struct hep_error *error)
{
    conclude(call, error->code, NULL, error);
}

void hep_call_answer(struct hep_call *call, json_t *data)
{
    json_decref(call->answer);
    call->answer = data;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */
static void on_wait_over(void *context)
{
    struct hep_call *call = context;
    bool (*check)(struct hep_call *) = call->check;
    call->timer = NULL;
    call->check = NULL; /* says to check that it must answer now */
    hep_assert(check(call));
}

void hep_call_wait(struct hep_call *call, bool (*check)(struct hep_call *call), int64_t wait_ms)
{
    call->deferred = true;
    call->check = check;
    if (check(call))
        return;
    call->timer =
        hep_loop_after(call->front->loop, wait_ms < HEP_WAIT_MAX_MS ? wait_ms : HEP_WAIT_MAX_MS, on_wait_over, call);
}

void hep_front_changed(void *context)
{
    struct hep_front *front = context;
    for (struct hep_call *call = front->calls, *next; call; call = next) {
        next = call->next;
        if (call->check)
            call->check(call);
    }
}

void hep_front_forget(struct hep_front *front, struct hep_connection *connection)
{
    for (struct hep_call *call = front->calls, *next; call; call = next) {
        next = call->next;
        if (call->connection != connection)
            continue;
        call->connection = NULL;
        if (call->check)
            hep_call_end(call, HEP_OK, NULL, NULL); /* to nobody */
    }
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */
static void on_passed(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    hep_call_end(context, status, reply, error);
}

/* The operation's own name, which an alias stands for; name itself if it is not known. */
static const char *own_name(const struct hep_call *call, const char *name)
{
    const struct hep_front_table *table = own_table(call->type);
    const struct hep_operation *row = table ? hep_operation_find(table->operations, name) : NULL;
    enum hep_role role = hep_role_from_prefix(call->type, strcspn(call->type, "."));
    if (row)
        return row->name;
    if (role == HEP_ROLE_NONE)
        return name;
    return hep_json_str(hep_router_operation(call->front->engine->router, role, name), "name", name);
}

static bool is_read_only(const struct hep_call *call)
{
    char type[sizeof call->type];
    size_t length = strcspn(call->type, ".");
    const char *name = call->type[length] ? own_name(call, call->type + length + 1) : "";
    snprintf(type, sizeof type, "%.*s.%s", (int)length, call->type, name);
    for (size_t i = 0; i < HEP_COUNT_OF(read_only); i++)
        if (strcmp(read_only[i], type) == 0)
            return true;
    for (size_t i = 0; i < HEP_COUNT_OF(read_only_names); i++)
        if (strcmp(read_only_names[i], name) == 0)
            return true;
    return false;
}

static enum hep_status find_own(const struct hep_front_table *table, struct hep_call *call,
                                const struct hep_operation **row, struct hep_error *error)
{
    const char *dot = strchr(call->type, '.');
    *row = dot ? hep_operation_find(table->operations, dot + 1) : NULL;
    if (!*row) {
        hep_fail_field(error, HEP_E_UNKNOWN_OPERATION, "type", "there is no operation \"%.100s\"", call->type);
        return hep_hint(error, "see `heptctl operations %s`", table->prefix), HEP_E_UNKNOWN_OPERATION;
    }
    if ((*row)->permission > call->caller.permission)
        return hep_router_refuse(call->type, (*row)->permission, call->caller.permission, error);
    return HEP_OK;
}

static enum hep_status decode_and_run(const struct hep_operation *row, struct hep_call *call, json_t *data,
                                      struct hep_error *error)
{
    void *request = calloc(1, row->request_size ? row->request_size : 1);
    if (!request)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    enum hep_status status =
        hep_decode(row->request, row->request_count, data, false, request, row->request_size, error);
    if (status == HEP_OK)
        status = row->handler(call, request, NULL, error);
    free(request);
    return status;
}

/* Runs an operation of the supervisor. */
static enum hep_status run_own(const struct hep_front_table *table, struct hep_call *call, json_t *data,
                               struct hep_error *error)
{
    const struct hep_operation *row;
    json_t *whole = NULL, *gathered;
    HEP_TRY(find_own(table, call, &row, error));
    enum hep_status status = hep_operation_check_built(row, error);
    if (status == HEP_OK)
        status = hep_operation_data(row, strchr(call->type, '.') + 1, data, &whole, error);
    if (status == HEP_OK && table->gather) {
        gathered = table->gather(row, whole);
        json_decref(whole);
        whole = gathered;
    }
    if (status == HEP_OK)
        status = decode_and_run(row, call, whole, error);
    json_decref(whole);
    if (hep_status_is_of_field(status))
        hep_suggest(error, "see `heptctl operations %.60s`", call->type);
    return status;
}

/* Neither a domain's nor ours: says all that there are. */
static enum hep_status unknown_prefix(const char *type, struct hep_error *error)
{
    char list[HEP_ERROR_HINT_MAX] = "";
    for (int i = 0; i < HEP_ROLE_COUNT; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", hep_role_name((enum hep_role)i));
    }
    for (const struct hep_front_table *table = hep_front_tables; table->prefix; table++) {
        size_t used = strlen(list);
        if (hep_role_from_prefix(table->prefix, strlen(table->prefix)) != HEP_ROLE_NONE)
            continue;
        snprintf(list + used, sizeof list - used, "%s%s", table == hep_front_tables ? "; and heptad's own: " : ", ",
                 table->prefix);
    }
    hep_fail_field(error, HEP_E_UNKNOWN_DOMAIN, "type", "there is no domain \"%.*s\"", (int)strcspn(type, "."), type);
    return hep_hint(error, "there are %s", list), HEP_E_UNKNOWN_DOMAIN;
}

static void ask(struct hep_call *call, json_t *message)
{
    struct hep_error error = {0};
    json_t *data = json_object_get(message, "data");
    const struct hep_front_table *table = own_table(call->type);
    enum hep_status status = HEP_OK;
    call->asking = true;
    if (call->caller.read_only && !is_read_only(call)) {
        status =
            hep_fail(&error, HEP_E_NOT_ALLOWED, "%s changes something, and the caller is another user", call->type);
        hep_hint(&error, "ask as the user that heptad runs as, or as root");
    } else if (table) {
        status = run_own(table, call, json_is_null(data) ? NULL : data, &error);
    } else if (strchr(call->type, '.') && hep_role_from_prefix(call->type, strcspn(call->type, ".")) == HEP_ROLE_NONE) {
        status = unknown_prefix(call->type, &error);
    } else {
        call->deferred = call->passed = true;
        hep_engine_pass(call->front->engine, call->type, data, call->caller.permission,
                        hep_json_str(message, "session", ""), on_passed, call);
    }
    call->asking = false;
    if (call->ended) {
        call_free(call);
    } else if (status != HEP_OK || !call->deferred) {
        hep_call_end(call, status, status == HEP_OK ? hep_take(&call->answer) : NULL, &error);
    }
}

static enum hep_status read_envelope(struct hep_call *call, json_t *message, struct hep_error *error)
{
    const char *type = hep_json_str(message, "type", ""), *id = hep_json_str(message, "request_id", "");
    if (strlen(id) >= sizeof call->request_id)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "request_id", "request_id has more than %zu bytes",
                              sizeof call->request_id - 1);
    snprintf(call->request_id, sizeof call->request_id, "%s", id);
    if (hep_json_bool(message, "internal", false)) {
        if (!call->caller.engineer)
            return hep_fail(error, HEP_E_NOT_ALLOWED, "only the daemon's user and root may ask what is internal");
        call->caller.permission = HEP_INTERNAL;
    }
    call->error_format = hep_envelope_error_format(message);
    HEP_TRY(hep_envelope_check(message, HEP_FROM_CALLER, error));
    if (strlen(type) >= sizeof call->type)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "type", "type has more than %zu bytes", sizeof call->type - 1);
    snprintf(call->type, sizeof call->type, "%s", type);
    return HEP_OK;
}

void hep_front_request(struct hep_front *front, json_t *message, struct hep_caller caller,
                       struct hep_connection *connection, struct hep_rpc_request *request)
{
    struct hep_error error = {0};
    struct hep_call *call = calloc(1, sizeof *call);
    if (!call) {
        hep_log(HEP_ERROR_LEVEL, "front.no_memory", "a request is dropped");
        if (request)
            hep_rpc_reply(request, "", 0);
        return;
    }
    *call = (struct hep_call){
        .front = front, .connection = connection, .request = request, .caller = caller, .next = front->calls};
    front->calls = call;
    front->call_count++;
    int mine = connection ? hep_control_calls(connection, 1) : 0;
    enum hep_status status = read_envelope(call, message, &error);
    if (status == HEP_OK && (front->call_count > HEP_CALLS_MAX || mine > HEP_CONNECTION_CALLS_MAX))
        status = hep_fail(&error, HEP_E_BUSY, "%d requests are in hand",
                          mine > HEP_CONNECTION_CALLS_MAX ? mine - 1 : front->call_count - 1);
    struct hep_log_context before = hep_log_enter(hep_json_str(message, "session", ""), call->request_id);
    if (status != HEP_OK)
        hep_call_end(call, status, NULL, &error);
    else
        ask(call, message);
    hep_log_leave(&before);
}
