/*
 * `heptctl status` and `heptctl domains`. Called by main and by tests. Shows what status.get says; adds nothing that is
 * not in it but, from model.list, the models.
 */
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

enum { LABEL = 10 }; /* columns of "sessions  " */

static enum ctl_colour colour_of(const char *state, bool healthy)
{
    if (strcmp(state, "failed") == 0 || strcmp(state, "hung") == 0 || strcmp(state, "dying") == 0 ||
        strcmp(state, "dead") == 0)
        return CTL_RED;
    if (strcmp(state, "ready") == 0 || strcmp(state, "busy") == 0)
        return healthy ? CTL_GREEN : CTL_YELLOW;
    return CTL_YELLOW;
}

/* ---- domains ----------------------------------------------------------------------------------------------------- */
/* "generate 12/20 3.4s", and how many more are in hand or wait. */
static char *in_hand(const json_t *domain)
{
    const json_t *hand = json_object_get(domain, "in_hand"), *first = json_array_get(hand, 0);
    const char *operation = hep_json_str(domain, "operation", "");
    int64_t queue = hep_json_int(domain, "queue", 0), steps = hep_json_int(first, "steps", 0);
    char progress[48] = "", since[32] = "", more[48] = "", took[24];
    if (first) {
        operation = hep_json_str(first, "operation", "?");
        snprintf(since, sizeof since, " %s", ctl_duration_short(hep_json_int(first, "for_ms", 0), took, sizeof took));
    }
    if (steps > 0)
        snprintf(progress, sizeof progress, " %" PRId64 "/%" PRId64, hep_json_int(first, "step", 0), steps);
    if (json_array_size(hand) > 1 || queue > 0)
        snprintf(more, sizeof more, " +%zu",
                 (json_array_size(hand) > 1 ? json_array_size(hand) - 1 : 0) + (size_t)(queue > 0 ? queue : 0));
    return ctl_format("%s%s%s%s", operation, progress, since, more);
}

static char *number_or_nothing(const json_t *domain, const char *key)
{
    int64_t number = hep_json_int(domain, key, 0);
    return number > 0 ? ctl_format("%" PRId64, number) : ctl_format("%s", "");
}

static void add_domain(struct ctl_table *table, const json_t *domain)
{
    char up[24] = "", memory[24] = "", cpu[24] = "";
    const char *state = hep_json_str(domain, "state", "?");
    bool alive = hep_json_int(domain, "pid", 0) > 0, healthy = hep_json_bool(domain, "healthy", true);
    char *pid = number_or_nothing(domain, "pid"), *hand = in_hand(domain);
    if (alive) {
        ctl_duration_short(hep_json_int(domain, "uptime_ms", 0), up, sizeof up);
        ctl_bytes(hep_json_int(domain, "rss_bytes", 0), memory, sizeof memory);
        ctl_duration_short(hep_json_int(domain, "cpu_ms", 0), cpu, sizeof cpu);
    }
    int64_t restarts = hep_json_int(domain, "restarts", 0);
    bool silent = !healthy && colour_of(state, true) == CTL_GREEN;
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(domain, "domain", "?"));
    ctl_cell(table, colour_of(state, healthy), "%s", silent ? "silent" : state);
    ctl_cell(table, CTL_PLAIN, "%s", pid);
    ctl_cell(table, CTL_PLAIN, "%s", up);
    ctl_cell(table, restarts > 0 ? CTL_YELLOW : CTL_PLAIN, "%" PRId64, restarts);
    ctl_cell(table, CTL_PLAIN, "%s", hand);
    ctl_cell(table, CTL_PLAIN, "%s", memory);
    ctl_cell(table, CTL_PLAIN, "%s", cpu);
    free(pid);
    free(hand);
}

void ctl_show_domains(const json_t *domains, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {
        {"DOMAIN", .right = false},  {"STATE", .right = false},  {"PID", .right = true},    {"UP", .right = true},
        {"RESTARTS", .right = true}, {"IN HAND", .flows = true}, {"MEMORY", .right = true}, {"CPU", .right = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    const json_t *domain;
    json_array_foreach((json_t *)(uintptr_t)domains, index, domain) add_domain(table, domain);
    ctl_table_end(table, style, out, "no domains");
}

/* ---- the lines below --------------------------------------------------------------------------------------------- */
static void print_line(FILE *out, const struct ctl_style *style, const char *label, char *text)
{
    fprintf(out, "%-*s", LABEL, label);
    ctl_wrap(out, text, LABEL, LABEL, style->width);
    free(text);
}

static char *session_counts(const json_t *sessions)
{
    static const char *const states[] = {"running", "queued", "paused", "completed", "failed", "cancelled"};
    char *text = ctl_format("%s", "");
    for (size_t i = 0; i < HEP_COUNT_OF(states); i++) {
        int64_t count = hep_json_int(sessions, states[i], 0);
        if (count == 0 && i > 1)
            continue;
        char *longer = ctl_format("%s%s%" PRId64 " %s", text, text[0] ? ", " : "", count, states[i]);
        free(text);
        text = longer;
    }
    return text;
}

static char *queue_counts(const json_t *queue)
{
    const char *domain;
    json_t *counts;
    char *text = ctl_format("%s", "");
    json_object_foreach((json_t *)(uintptr_t)queue, domain, counts)
    {
        int64_t waiting = hep_json_int(counts, "waiting", 0), hand = hep_json_int(counts, "in_hand", 0);
        if (waiting == 0 && hand == 0)
            continue;
        char *longer = ctl_format("%s%s%s %" PRId64 " in hand, %" PRId64 " waiting", text, text[0] ? "; " : "", domain,
                                  hand, waiting);
        free(text);
        text = longer;
    }
    if (!text[0]) {
        free(text);
        text = ctl_format("nothing in hand, nothing waiting");
    }
    return text;
}

/* "the oldest is of 820 ms ago (scheduler); none yet of model": how old what is said of the domains is. */
static char *reports_line(const json_t *domains)
{
    char span[24];
    const char *oldest = NULL;
    int64_t age = -1;
    size_t index;
    const json_t *domain;
    char *none = ctl_format("%s", "");
    json_array_foreach((json_t *)(uintptr_t)domains, index, domain)
    {
        const char *name = hep_json_str(domain, "domain", "?");
        int64_t ago = hep_json_int(domain, "reported_ms_ago", -1);
        if (ago > age) {
            age = ago;
            oldest = name;
        } else if (ago < 0) {
            char *longer = ctl_format("%s%s%s", none, none[0] ? ", " : "", name);
            free(none);
            none = longer;
        }
    }
    char *line =
        ctl_format("%s%s%s%s%s%s%s%s", oldest ? "the oldest is of " : "",
                   oldest ? ctl_duration(age, span, sizeof span) : "", oldest ? " ago (" : "", oldest ? oldest : "",
                   oldest ? ")" : "", oldest && none[0] ? "; " : "", none[0] ? "none yet of " : "", none);
    free(none);
    return line;
}

static char *memory_line(const json_t *memory)
{
    char used[24], budget[24], own[24], rest[24], total[24];
    return ctl_format("sessions %s of %s; /dev/shm: heptad %s, free %s of %s",
                      ctl_bytes(hep_json_int(memory, "sessions_bytes", 0), used, sizeof used),
                      ctl_bytes(hep_json_int(memory, "budget_bytes", 0), budget, sizeof budget),
                      ctl_bytes(hep_json_int(memory, "shm_instance_bytes", 0), own, sizeof own),
                      ctl_bytes(hep_json_int(memory, "shm_free_bytes", 0), rest, sizeof rest),
                      ctl_bytes(hep_json_int(memory, "shm_total_bytes", 0), total, sizeof total));
}

static char *model_names(const json_t *models)
{
    size_t index;
    const json_t *model;
    char *text = ctl_format("%s", "");
    json_array_foreach((json_t *)(uintptr_t)models, index, model)
    {
        const char *note = !hep_json_bool(model, "usable", true)   ? " (not usable)"
                           : hep_json_bool(model, "loaded", false) ? " (loaded)"
                                                                   : "";
        char *longer = ctl_format("%s%s%s%s", text, text[0] ? ", " : "", hep_json_str(model, "name", "?"), note);
        free(text);
        text = longer;
    }
    if (!text[0]) {
        free(text);
        text = ctl_format("none found: see models.paths in the configuration");
    }
    return text;
}

/* "inference: killed by SIGSEGV in generate (`heptctl incidents 12`)": of each domain that died unasked, the last time.
 */
static char *deaths(const json_t *domains)
{
    size_t index;
    const json_t *domain;
    char *text = ctl_format("%s", "");
    json_array_foreach((json_t *)(uintptr_t)domains, index, domain)
    {
        const json_t *obituary = json_object_get(domain, "last_obituary");
        const char *operation = hep_json_str(obituary, "operation", "");
        int64_t number = hep_json_int(domain, "incident", 0);
        if (!obituary || hep_json_bool(obituary, "asked", false))
            continue;
        char *where = number > 0 ? ctl_format(" (`heptctl incidents %" PRId64 "`)", number) : ctl_format("%s", "");
        char *longer = ctl_format("%s%s%s: %s%s%s%s", text, text[0] ? "; " : "", hep_json_str(domain, "domain", "?"),
                                  hep_json_str(obituary, "cause", "the cause is not known"), operation[0] ? " in " : "",
                                  operation, where);
        free(where);
        free(text);
        text = longer;
    }
    return text;
}

static void print_head(const json_t *status, const struct ctl_style *style, FILE *out)
{
    char up[24];
    const char *state = hep_json_str(status, "state", "?");
    enum ctl_colour colour = strcmp(state, "ready") == 0    ? CTL_GREEN
                             : strcmp(state, "failed") == 0 ? CTL_RED
                                                            : CTL_YELLOW;
    char *line = ctl_format("heptad is %s", hep_json_str(status, "line", state));
    fputs(ctl_colour(style, colour), out);
    ctl_wrap(out, line, 2, 0, style->width);
    fputs(ctl_colour(style, CTL_PLAIN), out);
    free(line);
    fprintf(out, "version %s, up %s, instance %s\n\n", hep_json_str(status, "version", "?"),
            ctl_duration(hep_json_int(status, "uptime_ms", 0), up, sizeof up), hep_json_str(status, "instance", "?"));
}

void ctl_show_status(const json_t *status, const json_t *models, const struct ctl_style *style, FILE *out)
{
    char size[24];
    const json_t *store = json_object_get(status, "store");
    print_head(status, style, out);
    ctl_show_domains(json_object_get(status, "domains"), style, out);
    fputc('\n', out);
    char *died = deaths(json_object_get(status, "domains"));
    if (died[0])
        print_line(out, style, "died", died);
    else
        free(died);
    if (json_array_size(json_object_get(status, "domains")) > 0)
        print_line(out, style, "reports", reports_line(json_object_get(status, "domains")));
    print_line(out, style, "sessions", session_counts(json_object_get(status, "sessions")));
    print_line(out, style, "queue", queue_counts(json_object_get(status, "queue")));
    print_line(out, style, "memory", memory_line(json_object_get(status, "memory")));
    print_line(out, style, "models",
               models ? model_names(models) : ctl_format("not known: the model domain does not answer"));
    print_line(out, style, "store",
               ctl_format("%s, %s", hep_json_bool(store, "works", true) ? "works" : "does not work",
                          ctl_bytes(hep_json_int(store, "bytes", 0), size, sizeof size)));
    ctl_show_advice(status, style, out);
}

/* ---- the verbs --------------------------------------------------------------------------------------------------- */
enum hep_status ctl_status(struct ctl *ctl, struct hep_error *error)
{
    json_t *status = NULL, *models = NULL;
    HEP_TRY(ctl_ask(ctl, "status.get", NULL, &status, error));
    const char *state = hep_json_str(status, "state", "");
    ctl->exit_code = strcmp(state, "ready") == 0 || strcmp(state, "starting") == 0 ? 0 : CTL_EXIT_CLAIM;
    if (ctl->json) {
        ctl_print_json(ctl->out, status, false);
    } else {
        struct hep_error unheard;
        int64_t patience = ctl->timeout_ms;
        ctl->timeout_ms = patience < 2000 ? patience : 2000; /* a stuck domain must not keep the status back */
        if (ctl_ask(ctl, "model.list", NULL, &models, &unheard) != HEP_OK)
            models = NULL;
        ctl->timeout_ms = patience;
        ctl_show_status(status, json_object_get(models, "models"), &ctl->style, ctl->out);
    }
    json_decref(status);
    json_decref(models);
    return HEP_OK;
}

enum hep_status ctl_domains(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "domain.list", NULL, &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        ctl_show_domains(json_object_get(reply, "domains"), &ctl->style, ctl->out);
    json_decref(reply);
    return HEP_OK;
}
