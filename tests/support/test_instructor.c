/*
 * An instructor for the tests of the skeleton: the role of the scheduler, operations that sleep, echo, crash and defer.
 * Settings: test.slow_start=MS sleeps before READY (and reports `starting`); test.no_start=1 fails with BAD_CONFIG.
 */
#include "common/clock.h"
#include "instructors/skeleton/instructor.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFERRED_MAX = 64 };

/* Worker thread only. */
struct state {
    struct hep_call *deferred[DEFERRED_MAX];
    int64_t due_ms[DEFERRED_MAX];
    int count;
};

struct ms_request {
    int32_t ms;
    bool patient; /* goes on when the domain drains */
};
struct ms_reply {
    int32_t ms, cores;
};
struct text_request {
    struct hep_str text;
    json_t *any;
};
struct text_reply {
    struct hep_str text, session;
    json_t *any;
};
struct none {
    char unused;
};
struct write_request {
    struct hep_tensor_ref out;
    int32_t count;
};

static const struct hep_field ms_fields[] = {
    HEP_FIELD(I32, ms_request, ms, DEFAULTED, .fallback = 100, .min = 0, .max = 60000, .help = "milliseconds"),
    HEP_FIELD(BOOL, ms_request, patient, DEFAULTED, .fallback = 0, .help = "go on when the domain drains"),
};
static const struct hep_field ms_reply_fields[] = {
    HEP_FIELD(I32, ms_reply, ms, REQUIRED, .help = "milliseconds that it took"),
    HEP_FIELD(I32, ms_reply, cores, REQUIRED, .help = "of the lease"),
};
static const struct hep_field text_fields[] = {
    HEP_FIELD(STR, text_request, text, OPTIONAL, .max = 900000, .help = "comes back"),
    HEP_FIELD(JSON, text_request, any, OPTIONAL, .help = "comes back"),
};
static const struct hep_field text_reply_fields[] = {
    HEP_FIELD(STR, text_reply, text, OPTIONAL, .help = "the text"),
    HEP_FIELD(STR, text_reply, session, OPTIONAL, .help = "of the request"),
    HEP_FIELD(JSON, text_reply, any, OPTIONAL, .help = "the value"),
};
static const struct hep_field write_fields[] = {
    HEP_FIELD(REF, write_request, out, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .help = "out: [count]"),
    HEP_FIELD(I32, write_request, count, REQUIRED, .min = 1, .max = 1000, .help = "elements"),
};

static enum hep_status sleep_(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct ms_request *request = request_;
    struct ms_reply *reply = reply_;
    int64_t began = hep_now_us();
    for (int step = 0; hep_now_us() - began < request->ms * 1000LL; step++) {
        if (hep_call_cancelled(call) && !request->patient)
            return hep_fail(error, HEP_E_CANCELLED, "asked to end");
        hep_call_progress(call, step, request->ms / 5, "asleep");
        usleep(5000);
    }
    reply->ms = (int32_t)((hep_now_us() - began) / 1000);
    reply->cores = hep_call_cores(call);
    return HEP_OK;
}

static enum hep_status echo(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct text_request *request = request_;
    struct text_reply *reply = reply_;
    (void)error;
    reply->text = hep_call_text(call, "%s", request->text.data);
    reply->session = hep_str_of(hep_call_session(call));
    reply->any = json_incref(request->any);
    return HEP_OK;
}

static enum hep_status crash(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)call, (void)request, (void)reply, (void)error;
    signal(SIGSEGV, SIG_DFL); /* a sanitizer would make it an exit */
    raise(SIGSEGV);
    return HEP_OK;
}

/* Fails with its reply half filled and without words of its own. */
static enum hep_status fail(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)call, (void)request, (void)error;
    ((struct text_reply *)reply)->any = json_array();
    return HEP_E_CONFLICT;
}

/* More than a frame holds. */
static enum hep_status flood(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct text_request *request = request_;
    (void)call, (void)error;
    json_t *many = json_array();
    for (int i = 0; i < 20; i++)
        json_array_append_new(many, json_string(request->text.data));
    ((struct text_reply *)reply_)->any = many;
    return HEP_OK;
}

static enum hep_status defer(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    struct state *state = hep_instructor_state(hep_call_instructor(call));
    const struct ms_request *request = request_;
    (void)reply;
    if (state->count == DEFERRED_MAX)
        return hep_fail(error, HEP_E_BUSY, "%d calls are deferred", DEFERRED_MAX);
    state->deferred[state->count] = call;
    state->due_ms[state->count++] = hep_now_ms() + request->ms;
    return hep_call_defer(call);
}

static bool work(struct hep_instructor *self)
{
    struct state *state = hep_instructor_state(self);
    struct hep_error error;
    for (int i = state->count - 1; i >= 0; i--) {
        struct hep_call *call = state->deferred[i];
        bool cancelled = hep_call_cancelled(call), due = hep_now_ms() >= state->due_ms[i];
        if (!cancelled && !due)
            continue;
        ((struct ms_reply *)hep_call_reply(call))->ms = ((const struct ms_request *)hep_call_request(call))->ms;
        state->deferred[i] = state->deferred[--state->count];
        state->due_ms[i] = state->due_ms[state->count];
        if (due)
            hep_call_finish(call, HEP_OK, NULL);
        else
            hep_call_finish(call, hep_fail(&error, HEP_E_CANCELLED, "drained"), &error);
    }
    if (state->count > 0)
        usleep(1000);
    return state->count > 0;
}

static enum hep_status measure_write(struct hep_call *call, const void *request_, struct hep_output_plan *plan,
                                     struct hep_error *error)
{
    const struct write_request *request = request_;
    (void)call;
    if (request->count == 13)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "count", "13 is not done here");
    hep_output_add(plan, "out", HEP_F32, HEP_SHAPE(request->count));
    plan->memory_bytes = 4096;
    plan->flops = request->count;
    return HEP_OK;
}

static enum hep_status write_(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct write_request *request = request_;
    (void)reply, (void)error;
    float *out = hep_call_map(call, &request->out).data;
    for (int i = 0; i < request->count; i++)
        out[i] = (float)i;
    return HEP_OK;
}

static enum hep_status start(struct hep_instructor *self, void **state, struct hep_error *error)
{
    if (hep_instructor_setting(self, "test.no_start"))
        return hep_fail(error, HEP_E_BAD_CONFIG, "told not to start");
    for (int64_t left = hep_instructor_setting_int(self, "test.slow_start", 0); left > 0; left -= 50) {
        hep_instructor_starting(self, "slowly");
        usleep(50000);
    }
    *state = calloc(1, sizeof(struct state));
    return *state ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory");
}

static void stop(struct hep_instructor *self)
{
    free(hep_instructor_state(self));
}

static void drop(struct hep_instructor *self, json_t *freed)
{
    (void)self;
    json_object_set_new(freed, "test_bytes", json_integer(1));
}

#define ROW(text, function, request, reply, ...)                                                                       \
    HEP_OPERATION(text, function, request##_request, request##_fields, reply##_reply, reply##_reply_fields,            \
                  .permission = HEP_CLIENT, .deadline_ms = 60000, __VA_ARGS__)
static const struct hep_operation operations[] = {
    ROW("sleep", sleep_, ms, ms, .heavy = true, .help = "takes its time", .aliases = HEP_ALIASES(HEP_ALIAS("nap"))),
    ROW("echo", echo, text, text, .help = "what it was given",
        .aliases = HEP_ALIASES(HEP_ALIAS_FOR("greet", "{\"text\": \"hello\"}"))),
    ROW("crash", crash, text, text, .heavy = true, .help = "dies by SIGSEGV"),
    ROW("fail", fail, text, text, .help = "fails"),
    ROW("flood", flood, text, text, .help = "a reply that is too large"),
    ROW("defer", defer, ms, ms, .heavy = true, .help = "answers later"),
    HEP_UNBUILT("dream", "nothing is dreamt here", "sleep", .aliases = HEP_ALIASES(HEP_ALIAS("muse")),
                .help = "while asleep"),
    HEP_STATUS_OPERATION(.aliases = HEP_ALIASES(HEP_ALIAS("how_are_you"))),
    ROW("write", write_, write, ms, .heavy = true, .measure = measure_write, .help = "writes a tensor"),
    {0},
};

static const struct hep_instructor_spec spec = {
    .role = HEP_ROLE_SCHEDULER, .operations = operations, .start = start, .stop = stop, .work = work, .cleanup = drop};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
