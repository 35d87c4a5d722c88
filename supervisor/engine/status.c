/*
 * The one answer about the whole daemon: its state, one sentence that is true, and everything behind it. Called by the
 * front for status.get. Asks nobody: what it says is what has been reported.
 */
#include "common/build.h"
#include "common/clock.h"
#include "common/wire.h"
#include "shm/segment.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_up(const char *state)
{
    return strcmp(state, "ready") == 0 || strcmp(state, "busy") == 0;
}

/* "inference restarting in 200 ms (killed by SIGSEGV in inference.generate)" */
static void say_domain(FILE *line, json_t *domain)
{
    const char *name = hep_json_str(domain, "domain", "?"), *state = hep_json_str(domain, "state", "?");
    json_t *obituary = json_object_get(domain, "last_obituary");
    const char *cause = hep_json_str(domain, "cause", hep_json_str(obituary, "cause", ""));
    int64_t next = hep_json_int(domain, "next_try_ms", -1);
    const char *operation = hep_json_str(obituary, "operation", "");
    if (strcmp(state, "backoff") == 0 && next >= 0)
        fprintf(line, "%s restarting in %" PRId64 " ms", name, next);
    else if (strcmp(state, "starting") == 0)
        fprintf(line, "%s starting", name);
    else if (is_up(state) && hep_json_int(domain, "idle_ms", 0) >= HEP_STALL_MS)
        fprintf(line, "%s busy without progress for %" PRId64 " s", name, hep_json_int(domain, "idle_ms", 0) / 1000);
    else if (is_up(state))
        fprintf(line, "%s silent", name);
    else
        fprintf(line, "%s %s", name, state);
    if (cause[0] && !is_up(state))
        fprintf(line, " (%s%s%s%s%s)", cause, operation[0] ? " in " : "",
                operation[0] && !strchr(operation, '.') ? name : "", operation[0] && !strchr(operation, '.') ? "." : "",
                operation);
}

struct tally {
    int up, starting, failed;
    char *trouble; /* what is not well, "" = all is; malloc'ed, as long as it is */
};

/* How long the process has had work in hand without getting on with any of it, ms. */
static int64_t idle_ms(const json_t *domain)
{
    size_t index;
    json_t *item;
    int64_t longest = 0;
    json_array_foreach(json_object_get(domain, "in_hand"), index, item)
    {
        int64_t idle = hep_json_int(item, "idle_ms", 0);
        longest = idle > longest ? idle : longest;
    }
    return longest;
}

/* Ready means: the process says so, it has reported within HEP_FRESH_MS, and it gets on with what it has in hand. A
   report alone proves only that the process has a thread that reports. */
static struct tally count_domains(const struct hep_engine *engine, json_t *domains)
{
    struct tally tally = {0};
    size_t index, size = 0;
    json_t *domain;
    FILE *trouble = open_memstream(&tally.trouble, &size); /* without memory the sentence is short, and true */
    json_array_foreach(domains, index, domain)
    {
        const char *name = hep_json_str(domain, "domain", ""), *state = hep_json_str(domain, "state", "");
        enum hep_role role = hep_role_from_prefix(name, strlen(name));
        int64_t report = role == HEP_ROLE_NONE ? 0 : engine->domains[role].report_ms;
        int64_t idle = idle_ms(domain);
        bool fresh = report && hep_now_ms() - report < HEP_FRESH_MS;
        bool up = is_up(state) && fresh && idle < HEP_STALL_MS;
        json_object_set_new(domain, "idle_ms", json_integer(idle));
        json_object_set_new(domain, "healthy", json_boolean(up));
        if (role != HEP_ROLE_NONE)
            json_object_set_new(domain, "busy_ms",
                                json_integer((json_int_t)hep_metrics_busy_us(engine->metrics, role) / 1000));
        if (report)
            json_object_set_new(domain, "reported_ms_ago", json_integer(hep_now_ms() - report));
        if (role != HEP_ROLE_NONE && engine->incidents.last[role] > 0)
            json_object_set_new(domain, "incident", json_integer(engine->incidents.last[role]));
        tally.up += up;
        tally.starting += strcmp(state, "starting") == 0 || strcmp(state, "absent") == 0;
        tally.failed += strcmp(state, "failed") == 0;
        if (!up && trouble) {
            fputs(ftell(trouble) > 0 ? ", " : "", trouble);
            say_domain(trouble, domain);
        }
    }
    if (trouble)
        fclose(trouble);
    return tally;
}

static bool sessions_in_hand(const struct hep_engine *engine)
{
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        if (s->errand)
            return true;
    return false;
}

static const char *judge(const struct hep_engine *engine, const struct tally *tally)
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
    else if (engine->held)
        state = "drained";
    return state;
}

/* The one sentence: "degraded: inference failed (…)". */
static json_t *sentence(const struct hep_engine *engine, const struct tally *tally, const char *state)
{
    bool broken = engine->store_error.code != HEP_OK;
    const char *trouble = tally->trouble ? tally->trouble : "";
    const char *held = !engine->held              ? ""
                       : sessions_in_hand(engine) ? " by the operator, what is in hand reaches its step boundary"
                                                  : " by the operator, nothing begins";
    return json_sprintf("%s%s%s%s%s%s", state, held, broken ? ": requests are refused, " : "",
                        broken ? engine->store_error.message : "",
                        !trouble[0] ? ""
                        : broken    ? "; "
                                    : ": ",
                        trouble);
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

void hep_engine_line(const struct hep_engine *engine, char *line, size_t size)
{
    json_t *domains = engine->proc ? hep_proc_status(engine->proc) : json_array();
    struct tally tally = count_domains(engine, domains);
    json_t *said = sentence(engine, &tally, judge(engine, &tally));
    snprintf(line, size, "%s", said ? json_string_value(said) : "");
    json_decref(said);
    json_decref(domains);
    free(tally.trouble);
}

json_t *hep_engine_status(struct hep_engine *engine)
{
    json_t *domains = engine->proc ? hep_proc_status(engine->proc) : NULL, *store = hep_store_status(engine->store);
    if (!domains)
        domains = json_array();
    struct tally tally = count_domains(engine, domains);
    const char *state = judge(engine, &tally);
    json_object_set_new(store, "works", json_boolean(engine->store_error.code == HEP_OK));
    json_t *status = json_pack(
        "{s:s, s:o, s:b, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:I, s:I}", "state", state, "line",
        sentence(engine, &tally, state), "ready", strcmp(state, "ready") == 0, "domains_ready", tally.up,
        "domains_total", (int)HEP_ROLE_COUNT, "domains", domains, "sessions", count_sessions(engine), "memory",
        sum_memory(engine), "queue", count_queue(engine), "leases",
        hep_lease_status(hep_dispatch_ledger(engine->dispatch)), "store", store, "version", HEP_VERSION, "build",
        hep_build_id(), "instance", engine->instance, "uptime_ms", (json_int_t)(hep_now_ms() - engine->created_ms),
        "last_event", (json_int_t)hep_events_last(engine->events));
    free(tally.trouble);
    return status;
}
