/*
 * The calls that are in hand, for get_status, the watchdog and whoever ends a session's: entered before the handler,
 * left with what it took. Called by calls.c and builtin.c, on the loop thread and the worker thread.
 */
#include "instructors/skeleton/internal.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

void in_hand_enter(struct hep_call *call)
{
    struct hep_instructor *self = call->self;
    pthread_mutex_lock(&self->lock);
    call->next_in_hand = self->in_hand;
    self->in_hand = call;
    pthread_mutex_unlock(&self->lock);
    report_send(&self->report,
                json_pack("{s:s, s:s, s:s, s:s, s:i, s:i}", "kind", "begin", "request_id", call->request_id, "session",
                          call->session, "operation", call->row->name, "attempt", call->attempt, "deadline_ms",
                          call->row->deadline_ms),
                true);
}

static struct operation_stats *stats_of(const struct hep_call *call)
{
    size_t rows = 0;
    while (call->self->spec->operations[rows].name)
        rows++;
    return call->builtin ? &call->self->stats[rows + (size_t)(call->row - builtin_operations)]
                         : &call->self->stats[call->row - call->self->spec->operations];
}

/* What a session had done at level debug, what went wrong with it at level info; others' at level debug, or a client
   could fill the log. */
static void log_end(const struct hep_call *call, const struct hep_error *error)
{
    char quoted[HEP_ERROR_MESSAGE_MAX];
    int64_t ms = (hep_now_us() - call->started_us) / 1000;
    const char *kind = call->measure ? " measure=yes" : "";
    if (call->builtin)
        return;
    if (!error)
        hep_log(HEP_DEBUG, "operation.done", "operation=%s attempt=%d ms=%" PRId64 "%s", call->row->name, call->attempt,
                ms, kind);
    else
        hep_log(call->session[0] ? HEP_INFO : HEP_DEBUG, "operation.failed",
                "operation=%s attempt=%d ms=%" PRId64 "%s code=%s message=%s", call->row->name, call->attempt, ms, kind,
                hep_status_name(error->code), hep_log_quote(error->message, quoted, sizeof quoted));
}

void in_hand_leave(struct hep_call *call, const struct hep_error *error)
{
    struct hep_instructor *self = call->self;
    int64_t duration = hep_now_us() - call->started_us, cpu = hep_process_cpu_us() - call->cpu_started_us;
    struct operation_stats *stats = stats_of(call);
    pthread_mutex_lock(&self->lock);
    for (struct hep_call **link = &self->in_hand; *link; link = &(*link)->next_in_hand)
        if (*link == call) {
            *link = call->next_in_hand;
            break;
        }
    stats->latency_us[stats->count++ % LATENCIES_KEPT] = duration;
    stats->cpu_us += cpu;
    if (error) {
        stats->errors++;
        snprintf(stats->last_error, sizeof stats->last_error, "%s: %.80s", hep_status_name(error->code),
                 error->message);
    }
    pthread_mutex_unlock(&self->lock);
    log_end(call, error);
    atomic_fetch_add(&self->progress, 1);
    report_send(&self->report,
                json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I}", "kind", "end", "request_id", call->request_id,
                          "session", call->session, "operation", call->row->name, "success", error == NULL,
                          "duration_us", (json_int_t)duration, "cpu_us", (json_int_t)cpu, "progress",
                          (json_int_t)atomic_load(&self->progress)),
                true);
}

static int mark_cancelled(struct hep_call *call, const char *session, const char *request_id)
{
    if (call->common || strcmp(call->session, session) != 0 ||
        (request_id[0] && strcmp(call->request_id, request_id) != 0))
        return 0;
    atomic_store(&call->cancelled, true);
    return 1;
}

int calls_cancel(struct hep_instructor *self, const char *session, const char *request_id)
{
    int count = 0;
    pthread_mutex_lock(&self->lock);
    for (struct hep_call *call = self->in_hand; call; call = call->next_in_hand)
        count += mark_cancelled(call, session, request_id);
    for (struct hep_call *call = self->heavy_head; call; call = call->next)
        count += mark_cancelled(call, session, request_id);
    pthread_mutex_unlock(&self->lock);
    hep_instructor_wake(self); /* deferred calls are answered by work() */
    return count;
}
