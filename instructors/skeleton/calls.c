/*
 * One request from arrival to answer: find its row, decode and validate by the table, map its tensors, run the handler
 * on the right thread, answer. Called by the loop thread and the worker thread. What is in hand is in_hand.c, what
 * handlers ask is handler.c.
 */
#include "instructors/skeleton/internal.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/envelope.h"
#include "common/log.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hep_call *call_create(struct hep_instructor *self, json_t *message, answer_function *answer)
{
    struct hep_call *call = calloc(1, sizeof *call);
    if (!call) {
        json_decref(message);
        return NULL;
    }
    call->self = self;
    call->message = message;
    call->answer = answer;
    call->request_id = hep_json_str(message, "request_id", "");
    call->session = hep_json_str(message, "session", "");
    call->attempt = (int32_t)hep_json_int(message, "attempt", 1);
    call->measure = hep_json_bool(message, "measure", false);
    call->error_format = hep_envelope_error_format(message);
    call->arrived_us = hep_now_us();
    size_t index;
    json_t *core;
    json_array_foreach(json_object_get(json_object_get(message, "lease"), "cores"), index,
                       core) if (json_is_integer(core) && call->core_count < CORES_MAX)
        call->cores[call->core_count++] = (int)json_integer_value(core);
    pthread_mutex_lock(&self->lock);
    self->open_calls++;
    pthread_mutex_unlock(&self->lock);
    return call;
}

static void call_destroy(struct hep_call *call)
{
    if (call->reply && call->row)
        hep_reply_clear(call->row->reply, call->row->reply_count, call->reply);
    for (int i = 0; i < call->mapped_count; i++)
        hep_resolver_release(call->self->resolver, &call->mapped[i].tensor);
    for (struct text_node *node = call->texts, *next; node; node = next) {
        next = node->next;
        free(node);
    }
    free(call->request);
    free(call->reply);
    json_decref(call->message);
    free(call);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */
static json_t *error_reply(const struct hep_call *call, const struct hep_error *error)
{
    return json_pack("{s:s, s:b, s:o}", "request_id", call->request_id, "success", 0, "error",
                     hep_envelope_error(error, call->error_format));
}

static void answer(struct hep_call *call, json_t *data, const struct hep_error *error)
{
    struct hep_instructor *self = call->self;
    json_t *reply = error ? error_reply(call, error)
                          : json_pack("{s:s, s:b, s:o}", "request_id", call->request_id, "success", 1, "data", data);
    HEP_CRASH_POINT("call.before_reply");
    call->answer(call, reply);
    HEP_CRASH_POINT("call.after_reply");
    json_decref(reply);
    call_destroy(call);
    pthread_mutex_lock(&self->lock);
    self->open_calls--;
    self->answered_count++;
    pthread_cond_broadcast(&self->answered);
    pthread_mutex_unlock(&self->lock);
}

static void answer_error(struct hep_call *call, struct hep_error *error)
{
    const char *domain = hep_role_name(call->self->spec->role);
    snprintf(error->domain, sizeof error->domain, "%s", domain);
    if (call->row)
        snprintf(error->operation, sizeof error->operation, "%s", call->row->name);
    if (call->row && hep_status_is_of_field(error->code))
        hep_suggest(error, "see `heptctl operations %s.%s`", domain, call->row->name);
    answer(call, NULL, error);
}

static json_t *outputs_to_json(const struct hep_output_plan *plan)
{
    json_t *outputs = json_object();
    for (int i = 0; i < plan->count; i++) {
        struct hep_tensor_ref ref = {.dtype = plan->outputs[i].dtype, .shape = plan->outputs[i].shape};
        json_object_set_new(outputs, plan->outputs[i].field, hep_ref_to_json(&ref));
    }
    json_t *measured =
        json_pack("{s:o, s:I, s:f, s:f}", "outputs", outputs, "memory_bytes", (json_int_t)plan->memory_bytes, "flops",
                  plan->flops, "unit_flops", plan->unit_flops > 0 ? plan->unit_flops : plan->flops);
    if (plan->evaluations > 0)
        json_object_set_new(measured, "evaluations", json_integer(plan->evaluations));
    return measured;
}

/* status decides; a handler that filled no error gets its code's own words. */
static void fail_in_hand(struct hep_call *call, enum hep_status status, const struct hep_error *error)
{
    struct hep_error whole = {0};
    if (error && error->code != HEP_OK)
        whole = *error;
    else
        hep_fail(&whole, status, "%s", hep_status_meaning(status));
    whole.code = status;
    in_hand_leave(call, &whole);
    answer_error(call, &whole);
}

static void execute_measure(struct hep_call *call)
{
    struct hep_error error = {0};
    struct hep_output_plan plan = {0};
    enum hep_status status = HEP_OK;
    if (call->row->measure)
        status = call->row->measure(call, call->request, &plan, &error);
    if (status != HEP_OK) {
        fail_in_hand(call, status, &error);
        return;
    }
    in_hand_leave(call, NULL);
    answer(call, outputs_to_json(&plan), NULL);
}

static void execute(struct hep_call *call)
{
    struct hep_error error = {0};
    call->started_us = hep_now_us();
    call->cpu_started_us = hep_process_cpu_us();
    in_hand_enter(call);
    if (call->measure) {
        execute_measure(call);
        return;
    }
    HEP_CRASH_POINT("call.before_handler");
    enum hep_status status = call->row->handler(call, call->request, call->reply, &error);
    /* A deferred call may be gone by now: `status` alone tells, nothing of *call is read. */
    if (status != HEP_STATUS_COUNT)
        hep_call_finish(call, status, &error);
}

/* The call may be gone before the thread is done with it: what was before is kept apart. */
void call_execute(struct hep_call *call)
{
    struct hep_log_context before = hep_call_log(call);
    execute(call);
    hep_log_leave(&before);
}

static void finish(struct hep_call *call, enum hep_status status, const struct hep_error *error)
{
    struct hep_error failure;
    HEP_CRASH_POINT("call.after_handler");
    if (status != HEP_OK) {
        fail_in_hand(call, status, error);
        return;
    }
    json_t *data = hep_encode(call->row->reply, call->row->reply_count, call->reply);
    memset(call->reply, 0, call->row->reply_size); /* its JSON members are the answer's now */
    if (!data) {
        fail_in_hand(call, hep_fail(&failure, HEP_E_NO_MEMORY, "no memory for the reply"), &failure);
        return;
    }
    in_hand_leave(call, NULL);
    answer(call, data, NULL);
}

void hep_call_finish(struct hep_call *call, enum hep_status status, const struct hep_error *error)
{
    struct hep_log_context before = hep_call_log(call);
    finish(call, status, error);
    hep_log_leave(&before);
}

enum hep_status hep_call_defer(struct hep_call *call)
{
    (void)call;
    return HEP_STATUS_COUNT;
}

/* ---- before the handler ------------------------------------------------------------------------------------------ */
static enum hep_status map_references(struct hep_call *call, struct hep_error *error)
{
    const char *members = call->request;
    for (size_t i = 0; i < call->row->request_count; i++) {
        const struct hep_field *field = &call->row->request[i];
        const struct hep_tensor_ref *ref = (const void *)(members + field->offset);
        if (field->type != HEP_FIELD_REF || !hep_ref_is_placed(ref))
            continue;
        hep_assert(call->mapped_count < MAPPED_MAX);
        struct mapped *mapped = &call->mapped[call->mapped_count];
        enum hep_status status = hep_resolve(call->self->resolver, ref,
                                             field->access == HEP_WRITE ? HEP_WRITE : HEP_READ, &mapped->tensor, error);
        if (status != HEP_OK) {
            hep_prefix(error, "%s", field->name);
            if (error)
                snprintf(error->field, sizeof error->field, "%s", field->name);
            return status;
        }
        mapped->ref = ref;
        call->mapped_count++;
    }
    return HEP_OK;
}

/* *name: as the caller calls it, the row's or an alias; borrowed. */
static enum hep_status find_row(struct hep_call *call, const char **name, struct hep_error *error)
{
    const char *type = hep_json_str(call->message, "type", ""), *dot = strchr(type, '.');
    const char *domain = hep_role_name(call->self->spec->role);
    if (!dot || strlen(domain) != (size_t)(dot - type) || strncmp(type, domain, strlen(domain)) != 0) {
        hep_fail_field(error, HEP_E_UNKNOWN_DOMAIN, "type", "this is %s; it has no operation \"%.60s\"", domain, type);
        return hep_hint(error, "its operations begin with \"%s.\"; --describe lists them", domain),
               HEP_E_UNKNOWN_DOMAIN;
    }
    call->row = hep_operation_find(call->self->spec->operations, dot + 1);
    if (!call->row) {
        call->row = hep_operation_find(builtin_operations, dot + 1);
        call->builtin = call->row != NULL;
    }
    if (!call->row) {
        hep_fail_field(error, HEP_E_UNKNOWN_OPERATION, "type", "%s has no operation \"%.60s\"", domain, dot + 1);
        return hep_hint(error, "see `heptctl operations %s`", domain), HEP_E_UNKNOWN_OPERATION;
    }
    call->common = call->builtin || hep_operation_find(builtin_operations, call->row->name) != NULL;
    *name = dot + 1;
    return hep_operation_check_built(call->row, error);
}

/* The fields of the request, those that an alias stands for included; they live as long as the message. */
static enum hep_status complete_data(struct hep_call *call, const char *name, json_t **data, struct hep_error *error)
{
    json_t *given = json_object_get(call->message, "data"), *whole = NULL;
    HEP_TRY(hep_operation_data(call->row, name, given, &whole, error));
    if (whole && whole != given)
        json_object_set(call->message, "data", whole);
    json_decref(whole);
    *data = whole;
    return HEP_OK;
}

static enum hep_status prepare(struct hep_call *call, struct hep_error *error)
{
    HEP_TRY(hep_envelope_check(call->message, HEP_FROM_SUPERVISOR, error));
    const char *name;
    json_t *data;
    HEP_TRY(find_row(call, &name, error));
    const struct hep_operation *row = call->row;
    HEP_TRY(complete_data(call, name, &data, error));
    call->request = calloc(1, row->request_size ? row->request_size : 1);
    call->reply = calloc(1, row->reply_size ? row->reply_size : 1);
    if (!call->request || !call->reply)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the request");
    HEP_TRY(hep_decode(row->request, row->request_count, data, call->measure, call->request, row->request_size, error));
    return map_references(call, error);
}

bool call_is_heavy(const struct hep_call *call)
{
    return call->row && call->row->heavy;
}

static void run(struct hep_call *call)
{
    struct hep_error error = {0};
    struct hep_instructor *self = call->self;
    if (prepare(call, &error) != HEP_OK) {
        answer_error(call, &error);
        return;
    }
    if (!call_is_heavy(call))
        call_execute(call);
    else if (!call_refuse_ended(call))
        worker_push(self, call);
}

void call_run(struct hep_call *call)
{
    struct hep_log_context before = hep_call_log(call);
    run(call);
    hep_log_leave(&before);
}

bool call_refuse_ended(struct hep_call *call)
{
    struct hep_error error = {0};
    if (hep_call_check(call, &error) == HEP_OK)
        return false;
    answer_error(call, &error);
    return true;
}
