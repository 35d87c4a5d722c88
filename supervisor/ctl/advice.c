/*
 * What the operator can do about what status.get says: one rule per trouble. Called by ctl_show_status. Says nothing
 * when nothing is wrong. To add a rule: a function and its row in the table.
 */
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

enum { SHM_LOW = 256 << 20, RESTARTS_MANY = 3 };

struct advice {
    const struct ctl_style *style;
    FILE *out;
    int count;
};

static void advise(struct advice *advice, char *text)
{
    if (advice->count++ == 0)
        fprintf(advice->out, "\n%swhat to do%s\n", ctl_colour(advice->style, CTL_BOLD),
                ctl_colour(advice->style, CTL_PLAIN));
    fputs("  ", advice->out);
    ctl_wrap(advice->out, text, 4, 2, advice->style->width);
    free(text);
}

static bool is(const json_t *object, const char *key, const char *value)
{
    return strcmp(hep_json_str(object, key, ""), value) == 0;
}

/* "killed by SIGSEGV in generate" */
static char *cause_of(const json_t *domain)
{
    const json_t *obituary = json_object_get(domain, "last_obituary");
    const char *operation = hep_json_str(obituary, "operation", "");
    const char *cause = hep_json_str(domain, "cause", hep_json_str(obituary, "cause", "the cause is not known"));
    return ctl_format("%s%s%s", cause, operation[0] ? " in " : "", operation);
}

/* "`heptctl incidents 12`": what is known of the last death; the log if nobody has kept it. */
static char *look_of(const json_t *domain)
{
    int64_t number = hep_json_int(domain, "incident", 0);
    return number > 0 ? ctl_format("`heptctl incidents %" PRId64 "`", number) : ctl_format("`heptctl logs -n 50`");
}

/* ---- one domain -------------------------------------------------------------------------------------------------- */
static void when_failed(struct advice *advice, const json_t *domain, const char *name, const char *cause,
                        const char *look)
{
    char next[24];
    int64_t next_ms = hep_json_int(domain, "next_try_ms", -1);
    const char *hint = hep_json_str(json_object_get(domain, "last_obituary"), "hint", ""); /* its own */
    char *what = hint[0] ? ctl_format("To do: %s", hint) : ctl_format("Look: %s, `heptctl doctor`", look);
    if (next_ms >= 0)
        advise(advice, ctl_format("%s is given up for now: %s; tried again in %s. Sessions wait and are not lost. %s. "
                                  "When the cause is gone: `heptctl restart %s`.",
                                  name, cause, ctl_duration(next_ms, next, sizeof next), what, name));
    else
        advise(advice,
               ctl_format("%s cannot start: %s. It is not tried again by itself. %s; then `heptctl restart %s`.", name,
                          cause, what, name));
    free(what);
}

static void about_domain(struct advice *advice, const json_t *domain)
{
    const char *name = hep_json_str(domain, "domain", "?"), *state = hep_json_str(domain, "state", "");
    bool serving = strcmp(state, "ready") == 0 || strcmp(state, "busy") == 0;
    int64_t restarts = hep_json_int(domain, "restarts", 0), silent = hep_json_int(domain, "reported_ms_ago", 0);
    int64_t idle = hep_json_int(domain, "idle_ms", 0);
    char *cause = cause_of(domain), *look = look_of(domain), span[24];
    if (strcmp(state, "failed") == 0)
        when_failed(advice, domain, name, cause, look);
    else if (strcmp(state, "backoff") == 0)
        advise(advice,
               ctl_format(
                   "%s died: %s. It is started again in %s by itself; sessions go on from their last step. If it keeps "
                   "dying: %s.",
                   name, cause, ctl_duration(hep_json_int(domain, "next_try_ms", 0), span, sizeof span), look));
    else if (strcmp(state, "hung") == 0 || strcmp(state, "dying") == 0)
        advise(advice,
               ctl_format("%s made no progress and is being ended (%s). It is started again by itself.", name, cause));
    else if (serving && idle >= silent && !hep_json_bool(domain, "healthy", true))
        advise(
            advice,
            ctl_format("%s has had %s in hand for %s without progress. It is ended by itself at its deadline, and its "
                       "sessions go on; to do it now: `heptctl restart %s`.",
                       name, hep_json_str(domain, "operation", "work"), ctl_duration(idle, span, sizeof span), name));
    else if (serving && !hep_json_bool(domain, "healthy", true))
        advise(
            advice,
            ctl_format(
                "%s has said nothing for %s. If it stays so it is ended by itself; to do it now: `heptctl restart %s`.",
                name, ctl_duration(silent, span, sizeof span), name));
    else if (restarts >= RESTARTS_MANY)
        advise(advice,
               ctl_format("%s was started again %" PRId64 " times; last: %s. Look: %s.", name, restarts, cause, look));
    free(look);
    free(cause);
}

static void about_domains(struct advice *advice, const json_t *status)
{
    size_t index;
    const json_t *domain;
    json_array_foreach(json_object_get(status, "domains"), index, domain) about_domain(advice, domain);
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */
static void about_store(struct advice *advice, const json_t *status)
{
    const json_t *store = json_object_get(status, "store");
    if (hep_json_bool(store, "works", true))
        return;
    advise(advice,
           ctl_format(
               "the store %s cannot be written, so requests are refused. Look at the disk (`heptctl doctor`); it is "
               "tried again with each request.",
               hep_json_str(store, "path", "")));
}

static void about_shared_memory(struct advice *advice, const json_t *status)
{
    char rest[24], effect[80] = "larger requests will be refused";
    const json_t *memory = json_object_get(status, "memory");
    int64_t total = hep_json_int(memory, "shm_total_bytes", 0), unused = hep_json_int(memory, "shm_free_bytes", 0);
    int64_t waiting = hep_json_int(memory, "waiting_for_shm", 0);
    if (waiting == 0 && (total == 0 || (unused >= total / 10 && unused >= SHM_LOW)))
        return;
    if (waiting > 0)
        snprintf(effect, sizeof effect, "%" PRId64 " session%s for more (`heptctl sessions --status queued`)", waiting,
                 waiting == 1 ? " waits" : "s wait");
    advise(advice, ctl_format("/dev/shm has %s left: %s. Make it larger (`mount -o remount,size=%" PRId64
                              "G /dev/shm`), or unload a model (`heptctl call model.unload '{\"model\": …}'`).",
                              ctl_bytes(unused, rest, sizeof rest), effect, 2 * (total >> 30) + 1));
}

static void about_draining(struct advice *advice, const json_t *status)
{
    if (is(status, "state", "drained"))
        advise(advice,
               ctl_format("heptad holds its sessions and refuses requests, as the operator asked. To let them go "
                          "on: `heptctl undrain`."));
    if (is(status, "state", "draining"))
        advise(advice,
               ctl_format(
                   "heptad ends when what is in hand has reached a step boundary; `heptctl stop --now` ends it now."));
}

static void about_waiting(struct advice *advice, const json_t *status)
{
    const json_t *sessions = json_object_get(status, "sessions");
    int64_t queued = hep_json_int(sessions, "queued", 0);
    if (queued > 0 && hep_json_int(sessions, "running", 0) == 0 && hep_json_bool(status, "ready", false))
        advise(advice,
               ctl_format("%" PRId64
                          " sessions wait and none runs: `heptctl sessions --status queued`, then `heptctl session ID` "
                          "says what one waits for.",
                          queued));
}

static void (*const rules[])(struct advice *advice, const json_t *status) = {
    about_draining, about_domains, about_store, about_shared_memory, about_waiting,
};

void ctl_show_advice(const json_t *status, const struct ctl_style *style, FILE *out)
{
    struct advice advice = {style, out, 0};
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++)
        rules[i](&advice, status);
}
