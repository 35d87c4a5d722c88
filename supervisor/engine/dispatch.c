/*
 * Decides when a request goes to its domain, and keeps count of what is in hand there. Called by sessions for their
 * steps and by the front for requests that are passed on. The one place where leases are taken and given.
 */
#include "supervisor/engine/dispatch.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum errand_state {
    WAITING, /* not sent                                              */
    REFUSED, /* could not be sent; done is called from the loop soon  */
    SENT,    /* in hand at the domain                                 */
};

struct hep_errand {
    struct hep_dispatch *dispatch;
    struct hep_errand *next;
    struct hep_errand_spec spec;
    enum errand_state state;
    bool leased; /* it counts as a user of its domain's lease              */
    int64_t sent_ms;
    int64_t submitted_us, sent_us; /* CLOCK_MONOTONIC; sent_us 0 = not yet                  */
    char request_id[24];
    struct hep_loop_timer *timer; /* of a REFUSED one                                       */
    struct hep_error error;       /* of a REFUSED one                                       */
};

struct hep_dispatch {
    struct hep_loop *loop;
    struct hep_proc *proc;
    struct hep_metrics *metrics;
    struct hep_lease_ledger ledger;
    struct hep_errand *errands; /* sorted by order_of                                     */
    uint64_t next_request;
    int in_hand[HEP_ROLE_COUNT]; /* errands sent                                           */
    int ordered[HEP_ROLE_COUNT]; /* of these, sessions'                                    */
    int alone[HEP_ROLE_COUNT];   /* of these, ones that must be alone                      */
    bool stopped;
    const struct hep_errand *short_of_cores; /* the first such one of the last pump            */
};

enum hep_status hep_dispatch_create(struct hep_loop *loop, struct hep_metrics *metrics, struct hep_dispatch **dispatch,
                                    struct hep_error *error)
{
    struct hep_dispatch *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the dispatch");
    result->loop = loop;
    result->metrics = metrics;
    hep_lease_init(&result->ledger);
    *dispatch = result;
    return HEP_OK;
}

static void errand_free(struct hep_errand *errand)
{
    json_decref(errand->spec.message);
    free(errand);
}

void hep_dispatch_attach(struct hep_dispatch *dispatch, struct hep_proc *proc)
{
    dispatch->proc = proc;
}

struct hep_lease_ledger *hep_dispatch_ledger(struct hep_dispatch *dispatch)
{
    return &dispatch->ledger;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */
static bool goes_before(const struct hep_errand_spec *a, const struct hep_errand_spec *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->remaining != b->remaining)
        return a->remaining < b->remaining;
    if (a->prepares != b->prepares)
        return a->prepares;
    return a->age < b->age;
}

static void list_insert(struct hep_dispatch *dispatch, struct hep_errand *errand)
{
    struct hep_errand **place = &dispatch->errands;
    while (*place && !goes_before(&errand->spec, &(*place)->spec))
        place = &(*place)->next;
    errand->next = *place;
    *place = errand;
}

static void list_remove(struct hep_dispatch *dispatch, struct hep_errand *errand)
{
    if (dispatch->short_of_cores == errand)
        dispatch->short_of_cores = NULL;
    struct hep_errand **place = &dispatch->errands;
    while (*place != errand)
        place = &(*place)->next;
    *place = errand->next;
}

enum hep_status hep_dispatch_submit(struct hep_dispatch *dispatch, const struct hep_errand_spec *spec,
                                    struct hep_errand **errand, struct hep_error *error)
{
    struct hep_errand *result = calloc(1, sizeof *result);
    if (!result) {
        json_decref(spec->message);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request to %s", hep_role_name(spec->role));
    }
    *result = (struct hep_errand){.dispatch = dispatch, .spec = *spec, .state = WAITING, .submitted_us = hep_now_us()};
    list_insert(dispatch, result);
    *errand = result;
    return HEP_OK;
}

bool hep_dispatch_withdraw(struct hep_errand *errand)
{
    if (errand->state != WAITING)
        return false;
    list_remove(errand->dispatch, errand);
    errand_free(errand);
    return true;
}

bool hep_errand_goes_before(const struct hep_errand *a, const struct hep_errand *b)
{
    return goes_before(&a->spec, &b->spec);
}

bool hep_errand_prepare_for(struct hep_errand *errand, const struct hep_errand *other)
{
    if (errand->state != WAITING || errand->spec.remaining < other->spec.remaining || errand->spec.prepares)
        return false;
    list_remove(errand->dispatch, errand);
    errand->spec.remaining = other->spec.remaining;
    errand->spec.prepares = true;
    list_insert(errand->dispatch, errand);
    return true;
}

bool hep_errand_is_sent(const struct hep_errand *errand)
{
    return errand->state == SENT;
}

int64_t hep_errand_sent_ms(const struct hep_errand *errand)
{
    return errand->sent_ms;
}

const char *hep_errand_request_id(const struct hep_errand *errand)
{
    return errand->request_id;
}

/* ---- the end of an errand ---------------------------------------------------------------------------------------- */
static void count(const struct hep_errand *errand, enum hep_status status, const json_t *reply)
{
    int64_t now = hep_now_us(), sent = errand->sent_us;
    hep_metrics_answered(errand->dispatch->metrics, errand->spec.message, status, reply,
                         (sent ? sent : now) - errand->submitted_us, sent ? now - sent : -1);
}

static void errand_end(struct hep_errand *errand, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_dispatch *dispatch = errand->dispatch;
    enum hep_role role = errand->spec.role;
    if (errand->state == SENT) {
        dispatch->in_hand[role]--;
        dispatch->ordered[role] -= errand->spec.ordered;
        dispatch->alone[role] -= errand->spec.alone;
    }
    if (errand->leased)
        hep_lease_give(&dispatch->ledger, role);
    list_remove(dispatch, errand);
    count(errand, status, reply);
    /* what follows from the answer is said with whose it was */
    struct hep_log_context before =
        hep_log_enter(hep_json_str(errand->spec.message, "session", ""), errand->request_id);
    errand->spec.done(errand->spec.context, status, reply, error);
    hep_log_leave(&before);
    errand_free(errand);
}

static void on_reply(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    errand_end(context, status, reply, error);
}

static void on_refused(void *context)
{
    struct hep_errand *errand = context;
    struct hep_error error = errand->error;
    errand->timer = NULL;
    errand_end(errand, error.code, NULL, &error);
}

static void refuse(struct hep_errand *errand)
{
    errand->state = REFUSED;
    errand->timer = hep_loop_after(errand->dispatch->loop, 0, on_refused, errand);
    if (!errand->timer) {
        hep_log(HEP_ERROR_LEVEL, "dispatch.no_timer", "domain=%s", hep_role_name(errand->spec.role));
        errand->state = WAITING; /* the next pump tries again */
    }
}

void hep_dispatch_destroy(struct hep_dispatch *dispatch)
{
    struct hep_error error;
    hep_fail(&error, HEP_E_CANCELLED, "the daemon ends");
    while (dispatch && dispatch->errands) {
        struct hep_errand *errand = dispatch->errands;
        hep_assert(errand->state != SENT); /* NOLINT(clang-analyzer-unix.Malloc): errand_end takes it off the list */
        hep_loop_cancel(errand->timer);
        errand_end(errand, HEP_E_CANCELLED, NULL, &error);
    }
    free(dispatch);
}

/* ---- pumping ----------------------------------------------------------------------------------------------------- */
/* What one pass over the list has found so far. */
struct pass {
    bool held_back[HEP_ROLE_COUNT]; /* an errand that must be alone waits for the domain to be empty          */
    bool short_of_cores;            /* a heavy errand earlier in the order waits for cores                    */
    bool busy;                      /* heavy errands of more than one domain exist                            */
};

static bool has_heavy_of_two_domains(const struct hep_dispatch *dispatch)
{
    enum hep_role first = HEP_ROLE_NONE;
    for (const struct hep_errand *e = dispatch->errands; e; e = e->next) {
        if (!e->spec.heavy)
            continue;
        if (first != HEP_ROLE_NONE && first != e->spec.role)
            return true;
        first = e->spec.role;
    }
    return false;
}

static bool has_place(const struct hep_dispatch *dispatch, struct pass *pass, const struct hep_errand *errand)
{
    enum hep_role role = errand->spec.role;
    if (dispatch->in_hand[role] >= HEP_OPERATIONS_IN_FLIGHT_MAX)
        return false;
    if (!errand->spec.ordered)
        return true;
    if (pass->held_back[role] || dispatch->alone[role] > 0)
        return false;
    if (errand->spec.alone && dispatch->ordered[role] > 0) {
        pass->held_back[role] = true;
        return false;
    }
    return true;
}

/* Whoever comes later in the order does not take or join a lease while an earlier one waits for cores, or a steady
   stream of joiners would keep a finished image from being decoded. */
static bool has_cores(struct hep_dispatch *dispatch, struct pass *pass, struct hep_errand *errand)
{
    if (!errand->spec.heavy)
        return true;
    if (!pass->short_of_cores && hep_lease_take(&dispatch->ledger, errand->spec.role, pass->busy)) {
        errand->leased = true;
        return true;
    }
    if (!pass->short_of_cores)
        dispatch->short_of_cores = errand;
    pass->short_of_cores = true;
    return false;
}

const struct hep_errand *hep_dispatch_short_of_cores(const struct hep_dispatch *dispatch)
{
    return dispatch->short_of_cores;
}

static void give_lease_back(struct hep_errand *errand)
{
    if (errand->leased)
        hep_lease_give(&errand->dispatch->ledger, errand->spec.role);
    errand->leased = false;
}

static void send_errand(struct hep_errand *errand)
{
    struct hep_dispatch *dispatch = errand->dispatch;
    enum hep_role role = errand->spec.role;
    snprintf(errand->request_id, sizeof errand->request_id, "e%" PRIu64, ++dispatch->next_request);
    json_object_set_new(errand->spec.message, "request_id", json_string(errand->request_id));
    if (errand->leased)
        json_object_set_new(errand->spec.message, "lease", hep_lease_to_json(&dispatch->ledger, role));
    HEP_CRASH_POINT("dispatch.before_send");
    enum hep_status status =
        hep_proc_request(dispatch->proc, role, errand->spec.message, on_reply, errand, &errand->error);
    HEP_CRASH_POINT("dispatch.after_send");
    if (status == HEP_OK) {
        errand->state = SENT;
        errand->sent_us = hep_now_us();
        errand->sent_ms = errand->sent_us / 1000;
        dispatch->in_hand[role]++;
        dispatch->ordered[role] += errand->spec.ordered;
        dispatch->alone[role] += errand->spec.alone;
        return;
    }
    give_lease_back(errand);
    if (status != HEP_E_DOMAIN_DOWN || !errand->spec.patient)
        refuse(errand);
}

static void consider(struct hep_dispatch *dispatch, struct pass *pass, struct hep_errand *errand)
{
    if (errand->state != WAITING)
        return;
    if (hep_proc_is_recycling(dispatch->proc, errand->spec.role))
        return; /* the new process takes it */
    if (!hep_proc_is_ready(dispatch->proc, errand->spec.role)) {
        if (!errand->spec.patient) {
            hep_fail(&errand->error, HEP_E_DOMAIN_DOWN, "the domain %s is not running",
                     hep_role_name(errand->spec.role));
            refuse(errand);
        }
        return;
    }
    if (has_place(dispatch, pass, errand) && has_cores(dispatch, pass, errand))
        send_errand(errand);
}

void hep_dispatch_pump(struct hep_dispatch *dispatch)
{
    if (!dispatch->proc || dispatch->stopped)
        return;
    struct pass pass = {.busy = has_heavy_of_two_domains(dispatch)};
    dispatch->short_of_cores = NULL;
    for (struct hep_errand *errand = dispatch->errands, *next; errand; errand = next) {
        next = errand->next; /* consider() ends nothing: done comes from the loop */
        consider(dispatch, &pass, errand);
    }
}

void hep_dispatch_stop(struct hep_dispatch *dispatch)
{
    dispatch->stopped = true;
}

int hep_dispatch_waiting(const struct hep_dispatch *dispatch, enum hep_role role)
{
    int count = 0;
    for (const struct hep_errand *e = dispatch->errands; e; e = e->next)
        count += e->spec.role == role && e->state == WAITING;
    return count;
}

int hep_dispatch_in_hand(const struct hep_dispatch *dispatch, enum hep_role role)
{
    return dispatch->in_hand[role];
}
