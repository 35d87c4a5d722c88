/*
 * The one answer about the whole daemon: its state, one sentence that is true, and everything behind it. Called by the
 * front for status.get. Asks nobody: what it says is what has been reported.
 */
#include "common/clock.h"
#include "common/wire.h"
#include "shm/segment.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <string.h>

/* Appends printf to a sentence. */
__attribute__((format(printf, 3, 4))) static void say(char *line, size_t size, const char *format, ...)
{
    size_t used = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + used, size - used, format, arguments);
    va_end(arguments);
}

static bool is_up(const char *state)
{
    return strcmp(state, "ready") == 0 || strcmp(state, "busy") == 0;
}

/* "inference restarting in 200 ms (SEGV in inference.generate)" */
static void say_domain(char *line, size_t size, json_t *domain)
{
    const char *name = hep_json_str(domain, "domain", "?"), *state = hep_json_str(domain, "state", "?");
    json_t *obituary = json_object_get(domain, "last_obituary");
    const char *cause =
        hep_json_str(domain, "cause", hep_json_str(obituary, "signal", hep_json_str(obituary, "cause", "")));
    int64_t next = hep_json_int(domain, "next_try_ms", -1);
    const char *operation = hep_json_str(obituary, "operation", "");
    if (strcmp(state, "backoff") == 0 && next >= 0)
        say(line, size, "%s restarting in %" PRId64 " ms", name, next);
    else if (strcmp(state, "starting") == 0)
        say(line, size, "%s starting", name);
    else if (is_up(state))
        say(line, size, "%s silent", name);
    else
        say(line, size, "%s %s", name, state);
    if (cause[0] && !is_up(state))
        say(line, size, " (%s%s%s%s%s)", cause, operation[0] ? " in " : "",
            operation[0] && !strchr(operation, '.') ? name : "", operation[0] && !strchr(operation, '.') ? "." : "",
            operation);
}

struct tally {
    int up, starting, failed;
    char line[400]; /* what is not well, "" = all is */
};

/* Ready means: the process says so, and it has reported within HEP_FRESH_MS. */
static struct tally count_domains(const struct hep_engine *engine, json_t *domains)
{
    struct tally tally = {0};
    size_t index;
    json_t *domain;
    json_array_foreach(domains, index, domain)
    {
        const char *name = hep_json_str(domain, "domain", ""), *state = hep_json_str(domain, "state", "");
        enum hep_role role = hep_role_from_prefix(name, strlen(name));
        int64_t report = role == HEP_ROLE_NONE ? 0 : engine->domains[role].report_ms;
        bool fresh = report && hep_now_ms() - report < HEP_FRESH_MS, up = is_up(state) && fresh;
        json_object_set_new(domain, "healthy", json_boolean(up));
        if (report)
            json_object_set_new(domain, "reported_ms_ago", json_integer(hep_now_ms() - report));
        tally.up += up;
        tally.starting += strcmp(state, "starting") == 0 || strcmp(state, "absent") == 0;
        tally.failed += strcmp(state, "failed") == 0;
        if (!up) {
            say(tally.line, sizeof tally.line, "%s", tally.line[0] ? ", " : "");
            say_domain(tally.line, sizeof tally.line, domain);
        }
    }
    return tally;
}

static const char *judge(const struct hep_engine *engine, const struct tally *tally, char *line, size_t size)
{
    bool broken = engine->store_error.code != HEP_OK;
    const char *state = "ready";
    if (engine->draining)
        state = "draining";
    else if (tally->failed == HEP_ROLE_COUNT)
        state = "failed";
    else if (tally->up < HEP_ROLE_COUNT && tally->up + tally->starting == HEP_ROLE_COUNT && !broken &&
             hep_now_ms() - engine->created_ms < 30000)
        state = "starting";
    else if (tally->up < HEP_ROLE_COUNT || broken)
        state = "degraded";
    say(line, size, "%s", state);
    if (broken)
        say(line, size, ": requests are refused, %.200s", engine->store_error.message);
    if (tally->line[0])
        say(line, size, "%s%s", broken ? "; " : ": ", tally->line);
    return state;
}

static json_t *count_sessions(struct hep_engine *engine)
{
    json_t *counts = json_object(), *stored = hep_store_counts(engine->store);
    for (int i = 0; i < HEP_SESSION_STATE_COUNT; i++) {
        const char *name = hep_session_state_name((enum hep_session_state)i);
        json_object_set_new(counts, name, json_integer(hep_json_int(stored, name, 0)));
    }
    json_decref(stored);
    return counts;
}

static json_t *sum_memory(const struct hep_engine *engine)
{
    struct hep_shm_usage usage = {0};
    uint64_t used = 0;
    int waiting = 0;
    for (const struct hep_session *s = engine->sessions; s; s = s->next) {
        used += s->room ? hep_session_memory(s) : 0;
        waiting += s->state == HEP_SESSION_QUEUED && s->lacks_shm;
    }
    if (hep_shm_usage(engine->instance, &usage, NULL) != HEP_OK)
        usage = (struct hep_shm_usage){0};
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "budget_bytes", (json_int_t)hep_engine_budget(engine),
                     "sessions_bytes", (json_int_t)used, "shm_total_bytes", (json_int_t)usage.total, "shm_free_bytes",
                     (json_int_t)usage.free, "shm_instance_bytes", (json_int_t)usage.instance, "segments",
                     (int)usage.segments, "waiting_for_shm", waiting);
}

static json_t *count_queue(const struct hep_engine *engine)
{
    json_t *queue = json_object();
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        json_object_set_new(queue, hep_role_name((enum hep_role)role),
                            json_pack("{s:i, s:i}", "waiting",
                                      hep_dispatch_waiting(engine->dispatch, (enum hep_role)role), "in_hand",
                                      hep_dispatch_in_hand(engine->dispatch, (enum hep_role)role)));
    return queue;
}

json_t *hep_engine_status(struct hep_engine *engine)
{
    char line[800] = "";
    json_t *domains = engine->proc ? hep_proc_status(engine->proc) : NULL, *store = hep_store_status(engine->store);
    if (!domains)
        domains = json_array();
    struct tally tally = count_domains(engine, domains);
    const char *state = judge(engine, &tally, line, sizeof line);
    json_object_set_new(store, "works", json_boolean(engine->store_error.code == HEP_OK));
    return json_pack("{s:s, s:s, s:b, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:I, s:I}", "state", state,
                     "line", line, "ready", strcmp(state, "ready") == 0, "domains_ready", tally.up, "domains_total",
                     (int)HEP_ROLE_COUNT, "domains", domains, "sessions", count_sessions(engine), "memory",
                     sum_memory(engine), "queue", count_queue(engine), "leases",
                     hep_lease_status(hep_dispatch_ledger(engine->dispatch)), "store", store, "version", HEP_VERSION,
                     "instance", engine->instance, "uptime_ms", (json_int_t)(hep_now_ms() - engine->created_ms),
                     "last_event", (json_int_t)hep_events_last(engine->events));
}
