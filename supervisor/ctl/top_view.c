/*
 * What went on between two looks at the daemon, as JSON, and how a person reads it. Called by top.c and by tests. Pure.
 */
#include "supervisor/ctl/top.h"

#include "common/clock.h"
#include "common/operation.h"
#include "common/wire.h"

#include <stdlib.h>
#include <string.h>

enum { REPORT_MS_LEAST = 100 /* between two reports of a process: less is the same one */ };

void ctl_look_clear(struct ctl_look *look)
{
    json_decref(look->status);
    json_decref(look->running);
    json_decref(look->queued);
    *look = (struct ctl_look){0};
}

/* ---- what went on ------------------------------------------------------------------------------------------------ */
/* The object of an array whose member key has the text of this one; NULL if there is none. */
static const json_t *same(const json_t *array, const char *key, const json_t *object)
{
    size_t index;
    json_t *other;
    json_array_foreach((json_t *)(uintptr_t)array, index,
                       other) if (strcmp(hep_json_str(other, key, ""), hep_json_str(object, key, "")) ==
                                  0) return other;
    return NULL;
}

static json_t *rate(double amount, double seconds)
{
    return amount >= 0 && seconds > 0 ? json_real(amount / seconds) : json_null();
}

/* The members of these names, as they are. */
static json_t *pick(const json_t *from, const char *const *names, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(from, names[i]);
        if (value)
            json_object_set(object, names[i], value);
    }
    return object;
}

static json_t *view_running(const struct ctl_look *before, const struct ctl_look *now, double *total)
{
    static const char *const shown[] = {"session_id",      "status", "progress",  "denoising_step",
                                        "denoising_steps", "eta_ms", "step_name", "elapsed_ms",
                                        "priority",        "note",   "prompt",    "workflow_id"};
    double seconds = (double)(now->at_ms - before->at_ms) * 1e-3;
    json_t *list = json_array(), *session;
    size_t index;
    json_array_foreach(now->running, index, session)
    {
        const json_t *earlier = same(before->running, "session_id", session);
        int64_t steps = hep_json_int(session, "denoising_step", -1), then = hep_json_int(earlier, "denoising_step", 0);
        json_t *row = pick(session, shown, HEP_COUNT_OF(shown)),
               *made = earlier ? rate((double)(steps - then), seconds) : json_null();
        *total += json_number_value(made);
        json_object_set_new(row, "steps_per_second", made);
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *view_queued(const struct ctl_look *now)
{
    static const char *const shown[] = {"session_id", "queue_position", "priority", "note", "prompt", "workflow_id"};
    json_t *list = json_array(), *session;
    size_t index;
    json_array_foreach(now->queued, index, session)
        json_array_append_new(list, pick(session, shown, HEP_COUNT_OF(shown)));
    return list;
}

static json_t *view_in_hand(const json_t *domain)
{
    static const char *const shown[] = {"operation", "session", "step", "steps", "for_ms", "idle_ms"};
    const json_t *hand = json_object_get(domain, "in_hand"), *first = json_array_get(hand, 0);
    json_t *row = first ? pick(first, shown, HEP_COUNT_OF(shown)) : json_null();
    if (first)
        json_object_set_new(row, "count", json_integer((json_int_t)json_array_size(hand)));
    return row;
}

/* CPU time is as of the process's last report: between two of the same process it is a rate. */
static json_t *cpu_of(const json_t *earlier, const json_t *domain, int64_t apart_ms)
{
    int64_t between =
        apart_ms + hep_json_int(earlier, "reported_ms_ago", 0) - hep_json_int(domain, "reported_ms_ago", 0);
    bool known = json_object_get(earlier, "reported_ms_ago") && json_object_get(domain, "reported_ms_ago") &&
                 hep_json_int(earlier, "pid", 0) == hep_json_int(domain, "pid", -1) && between >= REPORT_MS_LEAST;
    return known ? rate((double)(hep_json_int(domain, "cpu_ms", 0) - hep_json_int(earlier, "cpu_ms", 0)) * 1e-3,
                        (double)between * 1e-3)
                 : json_null();
}

static json_t *view_domain(const struct ctl_look *before, const struct ctl_look *now, const json_t *domain)
{
    static const char *const shown[] = {"domain",    "state",           "healthy",     "pid",  "restarts",
                                        "rss_bytes", "reported_ms_ago", "next_try_ms", "queue"};
    const json_t *earlier = same(json_object_get(before->status, "domains"), "domain", domain);
    int64_t apart_ms = now->at_ms - before->at_ms, waits = hep_json_int(domain, "queue", 0);
    const json_t *dispatch = json_object_get(json_object_get(now->status, "queue"), hep_json_str(domain, "domain", ""));
    json_t *row = pick(domain, shown, HEP_COUNT_OF(shown));
    json_object_del(row, "queue");
    json_object_set_new(row, "waiting", json_integer((json_int_t)(waits + hep_json_int(dispatch, "waiting", 0))));
    json_object_set_new(row, "in_hand", view_in_hand(domain));
    json_object_set_new(
        row, "busy",
        earlier
            ? rate((double)(hep_json_int(domain, "busy_ms", 0) - hep_json_int(earlier, "busy_ms", 0)), (double)apart_ms)
            : json_null());
    json_object_set_new(row, "cpu", cpu_of(earlier, domain, apart_ms));
    return row;
}

json_t *ctl_top_view(const struct ctl_look *before, const struct ctl_look *now, int64_t wall_ms)
{
    static const char *const shown[] = {"state", "line", "instance", "version", "uptime_ms", "sessions", "memory"};
    json_t *view = pick(now->status, shown, HEP_COUNT_OF(shown)), *domains = json_array(), *domain;
    double steps = 0;
    size_t index;
    char text[40];
    json_array_foreach(json_object_get(now->status, "domains"), index, domain)
        json_array_append_new(domains, view_domain(before, now, domain));
    json_object_set_new(view, "at", json_string(hep_wall_text(wall_ms, text, sizeof text)));
    json_object_set_new(view, "interval_ms",
                        before->status ? json_integer((json_int_t)(now->at_ms - before->at_ms)) : json_null());
    json_object_set_new(view, "domains", domains);
    json_object_set_new(view, "running", view_running(before, now, &steps));
    json_object_set_new(view, "steps_per_second", before->status ? json_real(steps) : json_null());
    json_object_set_new(view, "queued", view_queued(now));
    return view;
}

/* ---- how it is read ---------------------------------------------------------------------------------------------- */
static const char *share_text(const json_t *share, char text[8])
{
    text[0] = '\0';
    if (json_is_number(share))
        snprintf(text, 8, "%.0f%%", 100 * json_number_value(share));
    return text;
}

static char *hand_text(const json_t *domain)
{
    char steps[48] = "", more[24] = "", took[24];
    const json_t *hand = json_object_get(domain, "in_hand");
    if (!json_is_object(hand))
        return ctl_format("%s", "");
    if (hep_json_int(hand, "steps", 0) > 0)
        snprintf(steps, sizeof steps, " %" PRId64 "/%" PRId64, hep_json_int(hand, "step", 0),
                 hep_json_int(hand, "steps", 0));
    if (hep_json_int(hand, "count", 1) > 1)
        snprintf(more, sizeof more, " +%" PRId64, hep_json_int(hand, "count", 1) - 1);
    return ctl_format("%s%s %s%s", hep_json_str(hand, "operation", "?"), steps,
                      ctl_duration_short(hep_json_int(hand, "for_ms", 0), took, sizeof took), more);
}

static enum ctl_colour domain_colour(const json_t *domain)
{
    const char *state = hep_json_str(domain, "state", "");
    bool serves = strcmp(state, "ready") == 0 || strcmp(state, "busy") == 0;
    if (serves)
        return hep_json_bool(domain, "healthy", true) ? CTL_GREEN : CTL_YELLOW;
    return strcmp(state, "failed") == 0 ? CTL_RED : CTL_YELLOW;
}

static void add_domain(struct ctl_table *table, const json_t *domain)
{
    char busy[8], cpu[8], memory[24] = "", heard[24] = "";
    char *hand = hand_text(domain);
    int64_t waiting = hep_json_int(domain, "waiting", 0);
    if (hep_json_int(domain, "rss_bytes", 0) > 0)
        ctl_bytes(hep_json_int(domain, "rss_bytes", 0), memory, sizeof memory);
    if (json_object_get(domain, "reported_ms_ago"))
        ctl_duration_short(hep_json_int(domain, "reported_ms_ago", 0), heard, sizeof heard);
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(domain, "domain", "?"));
    ctl_cell(table, domain_colour(domain), "%s", hep_json_str(domain, "state", "?"));
    ctl_cell(table, CTL_PLAIN, "%s", share_text(json_object_get(domain, "busy"), busy));
    ctl_cell(table, CTL_PLAIN, "%s", share_text(json_object_get(domain, "cpu"), cpu));
    ctl_cell(table, CTL_PLAIN, "%s", hand);
    ctl_cell(table, waiting > 0 ? CTL_YELLOW : CTL_PLAIN, "%" PRId64, waiting);
    ctl_cell(table, CTL_PLAIN, "%s", memory);
    ctl_cell(table, CTL_PLAIN, "%s", heard);
    free(hand);
}

static void show_domains(const json_t *view, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {
        {"DOMAIN", .right = false}, {"STATE", .right = false}, {"BUSY", .right = true},   {"CPU", .right = true},
        {"IN HAND", .flows = true}, {"WAIT", .right = true},   {"MEMORY", .right = true}, {"HEARD", .right = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    json_t *domain;
    json_array_foreach(json_object_get(view, "domains"), index, domain) add_domain(table, domain);
    ctl_table_end(table, style, out, "no domains");
}

static const char *rate_text(const json_t *rate_value, char *text, size_t size)
{
    double value = json_number_value(rate_value);
    text[0] = '\0';
    if (json_is_number(rate_value))
        snprintf(text, size, value >= 9.95 ? "%.0f" : "%.1f", value);
    return text;
}

static const char *about(const json_t *session)
{
    const char *note = hep_json_str(session, "note", "");
    return note[0] ? note : hep_json_str(session, "prompt", hep_json_str(session, "workflow_id", ""));
}

static void add_running(struct ctl_table *table, const json_t *session)
{
    char made[16], left[24] = "", steps[48] = "";
    if (hep_json_int(session, "eta_ms", -1) >= 0)
        ctl_duration_short(hep_json_int(session, "eta_ms", 0), left, sizeof left);
    if (hep_json_int(session, "denoising_steps", 0) > 0)
        snprintf(steps, sizeof steps, " %" PRId64 "/%" PRId64, hep_json_int(session, "denoising_step", 0),
                 hep_json_int(session, "denoising_steps", 0));
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(session, "session_id", "?"));
    ctl_cell(table, CTL_YELLOW, "%.0f%%", 100 * hep_json_num(session, "progress", 0));
    ctl_cell(table, CTL_PLAIN, "%s%s", hep_json_str(session, "step_name", ""), steps);
    ctl_cell(table, CTL_PLAIN, "%s", rate_text(json_object_get(session, "steps_per_second"), made, sizeof made));
    ctl_cell(table, CTL_PLAIN, "%s", left);
    ctl_cell(table, CTL_PLAIN, "%s", about(session));
}

static void add_queued(struct ctl_table *table, const json_t *session)
{
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(session, "session_id", "?"));
    ctl_cell(table, CTL_PLAIN, "#%" PRId64, hep_json_int(session, "queue_position", 0));
    for (int empty = 0; empty < 3; empty++)
        ctl_cell(table, CTL_PLAIN, "%s", "");
    ctl_cell(table, CTL_PLAIN, "%s", about(session));
}

static void show_sessions(const json_t *view, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {{"SESSION", .right = false}, {"DONE", .right = true},
                                                {"STEP", .right = false},    {"IT/S", .right = true},
                                                {"LEFT", .right = true},     {"PROMPT", .flows = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    json_t *session;
    json_array_foreach(json_object_get(view, "running"), index, session) add_running(table, session);
    json_array_foreach(json_object_get(view, "queued"), index, session) add_queued(table, session);
    ctl_table_end(table, style, out, "no session runs or waits");
}

static void show_head(const json_t *view, const struct ctl_style *style, FILE *out)
{
    char up[24];
    const char *state = hep_json_str(view, "state", "?");
    char *line = ctl_format("heptad is %s, up %s", hep_json_str(view, "line", state),
                            ctl_duration(hep_json_int(view, "uptime_ms", 0), up, sizeof up));
    fputs(ctl_colour(style, strcmp(state, "ready") == 0 ? CTL_GREEN : CTL_YELLOW), out);
    ctl_wrap(out, line, 2, 0, style->width);
    fputs(ctl_colour(style, CTL_PLAIN), out);
    free(line);
}

static void show_counts(const json_t *view, FILE *out)
{
    char made[16], used[24], budget[24], own[24], rest[24];
    const json_t *sessions = json_object_get(view, "sessions"), *memory = json_object_get(view, "memory");
    rate_text(json_object_get(view, "steps_per_second"), made, sizeof made);
    fprintf(out, "sessions  %" PRId64 " running, %" PRId64 " queued, %" PRId64 " paused%s%s%s\n",
            hep_json_int(sessions, "running", 0), hep_json_int(sessions, "queued", 0),
            hep_json_int(sessions, "paused", 0), made[0] ? "; " : "", made, made[0] ? " it/s" : "");
    fprintf(out, "memory    sessions %s of %s; /dev/shm: heptad %s, free %s\n\n",
            ctl_bytes(hep_json_int(memory, "sessions_bytes", 0), used, sizeof used),
            ctl_bytes(hep_json_int(memory, "budget_bytes", 0), budget, sizeof budget),
            ctl_bytes(hep_json_int(memory, "shm_instance_bytes", 0), own, sizeof own),
            ctl_bytes(hep_json_int(memory, "shm_free_bytes", 0), rest, sizeof rest));
}

void ctl_show_top(const json_t *view, const struct ctl_style *style, FILE *out)
{
    show_head(view, style, out);
    show_counts(view, out);
    show_domains(view, style, out);
    fputc('\n', out);
    show_sessions(view, style, out);
}
