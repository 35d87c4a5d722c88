/*
 * Drives the life of one domain: every event goes through the table of life.c, and the actions of that table are here.
 * Called by proc.c and, through callbacks, by child.c and timers.
 */
#include "supervisor/proc/domain.h"

#include "common/clock.h"
#include "common/contract.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/proc/config.h"
#include "supervisor/proc/lock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- the timer of the state
 * ------------------------------------------------------------------------------------------ */
static int64_t ready_ms(const struct hep_domain *domain)
{
    return hep_config_int(domain->proc->config, HEP_CONFIG_DOMAINS_READY_MS);
}

static int64_t drain_ms(const struct hep_domain *domain)
{
    return domain->proc->stopping ? domain->proc->drain_ms
                                  : hep_config_int(domain->proc->config, HEP_CONFIG_INSTANCE_DRAIN_MS);
}

static void on_timer(void *context)
{
    struct hep_domain *domain = context;
    domain->timer = NULL;
    domain->next_try_ms = 0;
    bool waits = domain->life == HEP_LIFE_BACKOFF || domain->life == HEP_LIFE_FAILED;
    char why[128] = "";
    if (domain->life == HEP_LIFE_STARTING)
        snprintf(why, sizeof why, "was not ready %" PRId64 " ms after its start or its last sign of progress",
                 ready_ms(domain));
    else if (domain->life == HEP_LIFE_DRAINING)
        snprintf(why, sizeof why, "had not ended %" PRId64 " ms after it was asked to", drain_ms(domain));
    hep_domain_event(domain, waits ? HEP_LIFE_ON_PROBE : HEP_LIFE_ON_DEADLINE, why);
}

static void stop_timer(struct hep_domain *domain)
{
    hep_loop_cancel(hep_take(&domain->timer));
    domain->next_try_ms = domain->due_ms = 0;
}

static void set_timer(struct hep_domain *domain, int64_t after_ms)
{
    stop_timer(domain);
    domain->timer = hep_loop_after(domain->proc->loop, after_ms, on_timer, domain);
    domain->due_ms = hep_now_ms() + after_ms;
}

/* ---- telling
 * ---------------------------------------------------------------------------------------------------------- */
static void tell_change(struct hep_domain *domain, enum hep_life_state from, enum hep_life_event event, const char *why)
{
    const struct hep_proc_events *events = &domain->proc->events;
    bool work = event == HEP_LIFE_ON_WORK || event == HEP_LIFE_ON_IDLE;
    char quoted[HEP_ERROR_MESSAGE_MAX];
    hep_log(work ? HEP_DEBUG : HEP_INFO, "domain.state", "domain=%s from=%s to=%s event=%s why=%s",
            hep_role_name(domain->role), hep_life_state_name(from), hep_life_state_name(domain->life),
            hep_life_event_name(event), hep_log_quote(why, quoted, sizeof quoted));
    if (events->state)
        events->state(events->context, domain->role, hep_life_state_name(from), hep_life_state_name(domain->life), why);
}

/* ---- what the child says
 * ----------------------------------------------------------------------------------------------- */
static void on_child_event(void *context, enum hep_life_event event, const char *why)
{
    hep_domain_event(context, event, why);
}

static void on_child_report(void *context, json_t *report)
{
    struct hep_domain *domain = context;
    const struct hep_proc_events *events = &domain->proc->events;
    if (events->report)
        events->report(events->context, domain->role, domain->child->generation, report);
    if (strcmp(hep_json_str(report, "kind", ""), "status") == 0)
        hep_domain_weigh(domain, report);
}

/* The record is complete before anybody hears of it: what follows is part of it. */
static void announce_death(struct hep_domain *domain, uint64_t generation, json_t *obituary,
                           enum hep_life_event verdict, int64_t delay_ms)
{
    struct hep_life_step step = {domain->life, HEP_LIFE_DO_NONE};
    hep_life_next(domain->life, verdict, &step);
    json_object_set_new(obituary, "state", json_string(hep_life_state_name(step.next)));
    if (verdict != HEP_LIFE_ON_DRAINED && delay_ms >= 0)
        json_object_set_new(obituary, "next_try_ms", json_integer((json_int_t)delay_ms));
    hep_obituary_log(obituary);
    json_decref(domain->last_obituary);
    domain->last_obituary = obituary;
    const struct hep_proc_events *events = &domain->proc->events;
    if (events->died)
        events->died(events->context, domain->role, generation, obituary);
}

/* Decides, announces, goes on. obituary is taken. */
static void bury(struct hep_domain *domain, uint64_t generation, json_t *obituary, int64_t ready_for_ms,
                 bool cannot_start)
{
    char cause[HEP_ERROR_MESSAGE_MAX];
    struct hep_verdict verdict = {HEP_LIFE_ON_DRAINED, -1};
    bool recycled = domain->recycling && hep_json_bool(obituary, "was_ready", false) &&
                    hep_json_int(obituary, "exit_status", -1) == 0;
    if (domain->restart_asked)
        memset(&domain->backoff, 0, sizeof domain->backoff);
    if (!domain->proc->stopping && (domain->restart_asked || recycled))
        verdict = (struct hep_verdict){HEP_LIFE_ON_RETRY, 0}; /* an end that was asked for is no death */
    else if (!domain->proc->stopping)
        verdict = hep_backoff_died(&domain->backoff, hep_now_ms(), ready_for_ms, cannot_start);
    json_object_set_new(obituary, "asked",
                        json_boolean(domain->restart_asked || hep_json_int(obituary, "exit_status", -1) == 0));
    domain->restart_asked = false;
    domain->swollen_bytes = 0;
    domain->recycling = recycled && !domain->proc->stopping; /* until the new process is ready */
    snprintf(cause, sizeof cause, "%s", hep_json_str(obituary, "cause", ""));
    snprintf(domain->cause, sizeof domain->cause, "%s", cause);
    domain->deaths += !recycled;
    domain->recycled += recycled;
    announce_death(domain, generation, obituary, verdict.event, verdict.delay_ms);
    if (domain->life != HEP_LIFE_DEAD)
        return; /* whoever heard of it has decided otherwise */
    if (verdict.delay_ms >= 0)
        domain->next_try_ms = hep_now_ms() + verdict.delay_ms; /* WAIT sets the timer to it */
    hep_domain_event(domain, verdict.event, cause);
}

static void on_child_ended(void *context, const struct hep_child_end *end)
{
    struct hep_domain *domain = context;
    stop_timer(domain);
    struct hep_life_step step;
    enum hep_life_state from = domain->life;
    hep_assert(hep_life_next(from, HEP_LIFE_ON_EXIT, &step)); /* only states with a process have one that ends */
    json_t *obituary = hep_obituary_of_child(domain, end);
    struct hep_child *child = hep_take(&domain->child);
    uint64_t generation = child->generation;
    int64_t ready_for_ms = child->ready_ms ? hep_now_ms() - child->ready_ms : 0;
    bool cannot_start = child->mismatch || (end->signal == 0 && end->exit_status == HEP_EXIT_CONFIG);
    domain->life = step.next;
    if (domain->proc->lock)
        hep_lock_forget_child(domain->proc->lock, child->process.pid);
    hep_child_destroy(child, hep_json_str(obituary, "cause", "it died")); /* answers what was in flight */
    tell_change(domain, from, HEP_LIFE_ON_EXIT, hep_json_str(obituary, "cause", ""));
    bury(domain, generation, obituary, ready_for_ms, cannot_start);
}

/* ---- actions
 * ----------------------------------------------------------------------------------------------------------- */
static void start(struct hep_domain *domain)
{
    const struct hep_child_events events = {domain, on_child_event, on_child_report, on_child_ended};
    struct hep_error error = {0};
    uint64_t generation = 0;
    stop_timer(domain);
    enum hep_status status = hep_generation_next(&domain->proc->generations, &generation, &error);
    if (status == HEP_OK)
        status = hep_domain_spawn(domain, generation, &events, &error);
    if (status == HEP_OK) {
        domain->spawned++;
        domain->cause[0] = '\0';
        hep_log(HEP_INFO, "domain.started", "domain=%s pid=%d generation=%" PRIu64, hep_role_name(domain->role),
                (int)domain->child->process.pid, generation);
        hep_domain_event(domain, HEP_LIFE_ON_SPAWN, "");
        return;
    }
    struct hep_life_step step;
    hep_assert(hep_life_next(domain->life, HEP_LIFE_ON_REFUSED, &step));
    domain->life = step.next;
    tell_change(domain, HEP_LIFE_ABSENT, HEP_LIFE_ON_REFUSED, error.message);
    bury(domain, generation, hep_obituary_of_unborn(domain, generation, &error), 0, status == HEP_E_NOT_FOUND);
}

static void announce_ready(struct hep_domain *domain)
{
    struct hep_error error = {0};
    struct hep_child *child = domain->child;
    stop_timer(domain);
    domain->recycling = false;
    if (hep_child_connect(child, &error) != HEP_OK) {
        hep_domain_event(domain, HEP_LIFE_ON_KILL, error.message);
        return;
    }
    hep_log(HEP_INFO, "domain.ready", "domain=%s pid=%d generation=%" PRIu64 " after_ms=%" PRId64 " operations=%zu",
            hep_role_name(domain->role), (int)child->process.pid, child->generation,
            child->ready_ms - child->started_ms, json_array_size(child->operations));
    hep_domain_configure(domain); /* read again since it was started? */
    const struct hep_proc_events *events = &domain->proc->events;
    if (events->ready)
        events->ready(events->context, domain->role, child->generation, child->operations);
}

static void extend(struct hep_domain *domain)
{
    set_timer(domain, domain->life == HEP_LIFE_DRAINING ? drain_ms(domain) : ready_ms(domain));
}

static void wait_for_next_try(struct hep_domain *domain)
{
    int64_t due = domain->next_try_ms;
    stop_timer(domain);
    if (due == 0)
        return; /* not by itself: a reload or the operator's restart */
    set_timer(domain, due - hep_now_ms());
    domain->next_try_ms = due;
}

static void act(struct hep_domain *domain, enum hep_life_action action)
{
    switch (action) {
    case HEP_LIFE_DO_AWAIT:
    case HEP_LIFE_DO_EXTEND:
        extend(domain);
        break;
    case HEP_LIFE_DO_ANNOUNCE:
        announce_ready(domain);
        break;
    case HEP_LIFE_DO_TERMINATE:
        hep_child_signal(domain->child, SIGTERM);
        set_timer(domain, drain_ms(domain));
        break;
    case HEP_LIFE_DO_ABORT:
        hep_child_signal(domain->child, SIGABRT);
        set_timer(domain, HEP_GRACE_MS);
        break;
    case HEP_LIFE_DO_MURDER:
        stop_timer(domain);
        domain->due_ms = hep_now_ms() + HEP_DEATH_MS;
        hep_child_signal(domain->child, SIGKILL);
        break;
    case HEP_LIFE_DO_WAIT:
        wait_for_next_try(domain);
        break;
    case HEP_LIFE_DO_START:
        start(domain);
        break;
    case HEP_LIFE_DO_NONE:
    case HEP_LIFE_DO_BURY: /* on_child_ended and start do it: they have what there is to bury */
    case HEP_LIFE_ACTION_COUNT:
        break;
    }
}

/* ---- the one way
 * --------------------------------------------------------------------------------------------------------- */
void hep_domain_event(struct hep_domain *domain, enum hep_life_event event, const char *why)
{
    struct hep_life_step step;
    enum hep_life_state from = domain->life;
    if (!hep_life_next(from, event, &step)) {
        hep_log(HEP_DEBUG, "domain.event_ignored", "domain=%s state=%s event=%s", hep_role_name(domain->role),
                hep_life_state_name(from), hep_life_event_name(event));
        return;
    }
    hep_assert(step.action != HEP_LIFE_DO_BURY);
    bool ends = step.next == HEP_LIFE_HUNG || step.next == HEP_LIFE_DYING;
    if (ends && why[0] && domain->cause[0] == '\0')
        snprintf(domain->cause, sizeof domain->cause, "%s", why);
    domain->life = step.next;
    if (step.next != from)
        tell_change(domain, from, event, why);
    if (domain->life == HEP_LIFE_ABSENT && step.action == HEP_LIFE_DO_NONE) {
        stop_timer(domain);
        hep_proc_domain_is_absent(domain->proc);
    }
    act(domain, step.action);
}

void hep_domain_init(struct hep_domain *domain, struct hep_proc *proc, enum hep_role role)
{
    *domain = (struct hep_domain){.proc = proc, .role = role, .life = HEP_LIFE_ABSENT};
}

void hep_domain_clear(struct hep_domain *domain)
{
    stop_timer(domain);
    struct hep_child *child = hep_take(&domain->child);
    if (child && domain->proc->lock)
        hep_lock_forget_child(domain->proc->lock, child->process.pid);
    hep_child_destroy(child, "the daemon ends");
    json_decref(domain->last_obituary);
    domain->last_obituary = NULL;
}
