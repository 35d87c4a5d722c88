/*
 * What handlers ask of the call that they have in hand (instructor.h): its tensors and texts, progress, previews,
 * whether it may go on. On the thread of the handler, unless instructor.h says any.
 */
#include "instructors/skeleton/internal.h"

#include "common/log.h"
#include "common/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hep_instructor *hep_call_instructor(struct hep_call *call)
{
    return call->self;
}

const char *hep_call_session(const struct hep_call *call)
{
    return call->session;
}

int32_t hep_call_attempt(const struct hep_call *call)
{
    return call->attempt;
}

int32_t hep_call_cores(const struct hep_call *call)
{
    return call->core_count > 0 ? call->core_count : 1;
}

void *hep_call_reply(struct hep_call *call)
{
    return call->reply;
}

const void *hep_call_request(const struct hep_call *call)
{
    return call->request;
}

struct hep_tensor hep_call_map(struct hep_call *call, const struct hep_tensor_ref *ref)
{
    for (int i = 0; i < call->mapped_count; i++)
        if (call->mapped[i].ref == ref)
            return call->mapped[i].tensor;
    hep_assert_failed("the reference is part of the request and placed", __FILE__, __LINE__);
}

enum hep_status hep_instructor_hold(struct hep_instructor *self, const struct hep_tensor_ref *ref,
                                    struct hep_tensor *tensor, struct hep_error *error)
{
    return hep_resolve(self->resolver, ref, HEP_READ, tensor, error);
}

void hep_instructor_unhold(struct hep_instructor *self, const struct hep_tensor *tensor)
{
    hep_resolver_release(self->resolver, tensor);
}

struct hep_str hep_call_text(struct hep_call *call, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    struct text_node *node = malloc(sizeof *node + (size_t)length + 1);
    struct hep_str result = {"", 0};
    if (node) {
        vsnprintf(node->text, (size_t)length + 1, format, again);
        node->next = call->texts;
        call->texts = node;
        result = (struct hep_str){node->text, (size_t)length};
    }
    va_end(again);
    return result;
}

void hep_call_progress(struct hep_call *call, int32_t step, int32_t steps, const char *note)
{
    struct hep_instructor *self = call->self;
    uint64_t counter = atomic_fetch_add(&self->progress, 1) + 1;
    pthread_mutex_lock(&self->lock);
    call->step = step;
    call->steps = steps;
    pthread_mutex_unlock(&self->lock);
    report_send(&self->report,
                json_pack("{s:s, s:I, s:s, s:s, s:s, s:i, s:i, s:i, s:s}", "kind", "progress", "counter",
                          (json_int_t)counter, "request_id", call->request_id, "session", call->session, "operation",
                          call->row->name, "attempt", call->attempt, "step", step, "steps", steps, "note", note),
                false);
}

void hep_call_preview(struct hep_call *call, json_t *preview)
{
    if (preview) {
        json_object_set_new(preview, "kind", json_string("preview"));
        json_object_set_new(preview, "request_id", json_string(call->request_id));
        json_object_set_new(preview, "session", json_string(call->session));
    }
    report_send(&call->self->report, preview, false);
}

bool hep_call_cancelled(const struct hep_call *call)
{
    return hep_call_check(call, NULL) != HEP_OK;
}

enum hep_status hep_call_check(const struct hep_call *call, struct hep_error *error)
{
    if (atomic_load(&call->cancelled))
        return hep_fail(error, HEP_E_CANCELLED, "the session was paused or cancelled");
    if (atomic_load(&call->self->draining))
        return hep_fail(error, HEP_E_DOMAIN_DOWN, "%s is draining", hep_role_name(call->self->spec->role));
    return HEP_OK;
}

struct hep_log_context hep_call_log(const struct hep_call *call)
{
    return hep_log_enter(call->session, call->request_id);
}
