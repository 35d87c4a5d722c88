/* See fake_instructor.h. Nothing here is in the product. */
#include "tests/support/fake_instructor.h"

#include "tests/support/check_status.h"

#include <omp.h>
#include <string.h>

void fake_call_map(struct hep_call *call, const struct hep_tensor_ref *ref, enum hep_access access)
{
    ck_assert_int_lt(call->mapped_count, FAKE_MAPPED_MAX);
    ck_assert_ok(hep_resolve(call->self->resolver, ref, access, &call->mapped[call->mapped_count].tensor, error));
    call->mapped[call->mapped_count++].ref = ref;
}

void fake_call_clear(struct hep_call *call)
{
    for (int i = 0; i < call->mapped_count; i++)
        hep_resolver_release(call->self->resolver, &call->mapped[i].tensor);
    call->mapped_count = 0;
    json_decref(hep_take(&call->preview));
}

struct hep_instructor *hep_call_instructor(struct hep_call *call)
{
    return call->self;
}

const char *hep_call_session(const struct hep_call *call)
{
    return call->session;
}

struct hep_log_context hep_call_log(const struct hep_call *call)
{
    return hep_log_enter(call->session, "");
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
    hep_assert(false && "the reference is part of the request and placed");
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

int hep_instructor_cores(const struct hep_instructor *self, const int **cores)
{
    *cores = self->cores;
    return self->core_count;
}

#ifdef __SANITIZE_THREAD__
/* In place of the skeleton's: ThreadSanitizer does not see libgomp's locks, so nobody starts a team. */
void hep_cores_use(const int *cores, int count)
{
    (void)cores;
    (void)count;
    omp_set_num_threads(1);
}
#endif

int32_t hep_call_attempt(const struct hep_call *call)
{
    (void)call;
    return 1;
}

void hep_call_progress(struct hep_call *call, int32_t step, int32_t steps, const char *note)
{
    (void)step;
    (void)steps;
    (void)note;
    call->progress++;
}

void hep_call_preview(struct hep_call *call, json_t *preview)
{
    call->previews++;
    json_decref(call->preview);
    call->preview = preview;
}

enum hep_status hep_call_check(const struct hep_call *call, struct hep_error *error)
{
    if (call->checks_left && (*call->checks_left == 0 || --*call->checks_left == 0))
        return hep_fail(error, HEP_E_CANCELLED, "the session was cancelled");
    return call->self->draining ? hep_fail(error, HEP_E_DOMAIN_DOWN, "draining") : HEP_OK;
}

bool hep_call_cancelled(const struct hep_call *call)
{
    return hep_call_check(call, NULL) != HEP_OK;
}

enum hep_status hep_call_defer(struct hep_call *call)
{
    (void)call;
    return HEP_STATUS_COUNT;
}

void hep_call_finish(struct hep_call *call, enum hep_status status, const struct hep_error *error)
{
    call->finished++;
    call->status = status;
    if (error)
        call->error = *error;
}
