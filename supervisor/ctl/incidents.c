/*
 * `heptctl incidents`: the obituaries that heptad keeps, as a list, and one in full with its stack by names. Called by
 * main and by tests. What is said of a dead process is supervisor/proc/obituary.c's; here it is only shown.
 */
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---------------------------------------------------------------------------------------------------- */
static const char killed_by[] = "killed by ";

/* "2026-01-31T12:34:56.789Z" → "01-31 12:34:56" */
static char *short_time(const char *time)
{
    return strlen(time) >= 19 ? ctl_format("%.5s %.8s", time + 5, time + 11) : ctl_format("%s", time);
}

static void add_incident(struct ctl_table *table, const json_t *incident)
{
    char up[24] = "", *time = short_time(hep_json_str(incident, "time", ""));
    const char *cause = hep_json_str(incident, "cause", "?");
    if (strncmp(cause, killed_by, sizeof killed_by - 1) == 0)
        cause += sizeof killed_by - 1; /* "SIGSEGV" */
    if (json_object_get(incident, "uptime_ms"))
        ctl_duration_short(hep_json_int(incident, "uptime_ms", 0), up, sizeof up);
    ctl_cell(table, CTL_PLAIN, "%" PRId64, hep_json_int(incident, "incident", 0));
    ctl_cell(table, CTL_PLAIN, "%s", time);
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(incident, "domain", "?"));
    ctl_cell(table, CTL_RED, "%s", cause);
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(incident, "operation", ""));
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(incident, "session", ""));
    ctl_cell(table, CTL_PLAIN, "%s", up);
    free(time);
}

void ctl_show_incidents(const json_t *incidents, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {
        {"ID", .right = true},        {"TIME", .right = false},   {"DOMAIN", .right = false}, {"CAUSE", .flows = true},
        {"OPERATION", .flows = true}, {"SESSION", .flows = true}, {"UP", .right = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    const json_t *incident;
    json_array_foreach((json_t *)(uintptr_t)incidents, index, incident) add_incident(table, incident);
    ctl_table_end(table, style, out, "no incidents: no process has died unasked");
}

/* ---- one --------------------------------------------------------------------------------------------------------- */
enum { LABEL = 15 };

/* What is shown first, and in this order; whatever else is known follows under its own name. */
static const char *const first[] = {"incident", "time",        "domain",    "cause",   "crash",
                                    "signal",   "exit_status", "operation", "session", "attempt"};
/* Shown in another way, or twice the same. */
static const char *const apart[] = {"last_lines", "stack", "symbols", "time_ms"};

static bool is_one_of(const char *key, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], key) == 0)
            return true;
    return false;
}

static void print_field(FILE *out, const struct ctl_style *style, const char *key, const json_t *value)
{
    char span[24], *json = NULL, *text;
    size_t length = strlen(key);
    if (json_is_string(value))
        text = ctl_format("%s", json_string_value(value));
    else if (json_is_integer(value) && length > 3 && strcmp(key + length - 3, "_ms") == 0)
        text = ctl_format("%s", ctl_duration((int64_t)json_integer_value(value), span, sizeof span));
    else if (json_is_integer(value) && length > 6 && strcmp(key + length - 6, "_bytes") == 0)
        text = ctl_format("%s", ctl_bytes((int64_t)json_integer_value(value), span, sizeof span));
    else
        text = ctl_format("%s", (json = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT)) ? json : "?");
    if (text[0] && strcmp(text, "[]") != 0) {
        fprintf(out, "%-*s", LABEL, key);
        ctl_wrap(out, text, LABEL, LABEL, style->width);
    }
    free(json);
    free(text);
}

static void print_lines(FILE *out, const struct ctl_style *style, const char *heading, const json_t *lines,
                        bool numbered)
{
    size_t index;
    const json_t *line;
    if (json_array_size(lines) > 0)
        fprintf(out, "\n%s%s%s\n", ctl_colour(style, CTL_BOLD), heading, ctl_colour(style, CTL_PLAIN));
    json_array_foreach((json_t *)(uintptr_t)lines, index, line)
    {
        int column = numbered ? fprintf(out, "  %2zu  ", index) : fprintf(out, "  ");
        ctl_wrap(out, json_is_string(line) ? json_string_value(line) : "?", column + 2, column, style->width);
    }
}

void ctl_show_incident(const json_t *incident, const struct ctl_style *style, FILE *out)
{
    const char *key;
    json_t *value;
    for (size_t i = 0; i < HEP_COUNT_OF(first); i++)
        if (json_object_get(incident, first[i]))
            print_field(out, style, first[i], json_object_get(incident, first[i]));
    json_object_foreach((json_t *)(uintptr_t)incident, key, value) if (!is_one_of(key, first, HEP_COUNT_OF(first)) &&
                                                                       !is_one_of(key, apart, HEP_COUNT_OF(apart)))
        print_field(out, style, key, value);
    print_lines(out, style, "last lines", json_object_get(incident, "last_lines"), false);
    print_lines(out, style, "stack, innermost first", json_object_get(incident, "symbols"), true);
}

/* Adds "symbols": the stack by names. */
static void name_stack(json_t *incident)
{
    size_t index;
    const json_t *frame;
    json_t *names = json_array();
    struct ctl_symbols *symbols =
        ctl_symbols_create(hep_json_str(incident, "build", ""), hep_json_int(incident, "time_ms", 0));
    json_array_foreach(json_object_get(incident, "stack"), index, frame)
    {
        char *name = ctl_symbol(symbols, json_is_string(frame) ? json_string_value(frame) : "?");
        json_array_append_new(names, json_string(name));
        free(name);
    }
    ctl_symbols_destroy(symbols);
    if (json_array_size(names) > 0)
        json_object_set(incident, "symbols", names);
    json_decref(names);
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */
static enum hep_status show_one(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    char *end = NULL;
    errno = 0;
    long long number = strtoll(ctl->words[0], &end, 10);
    if (*end || number <= 0 || errno == ERANGE || number == INT64_MAX)
        return hep_fail(error, HEP_E_BAD_FIELD, "\"%.40s\" is no number of an incident", ctl->words[0]);
    HEP_TRY(ctl_ask(ctl, "domain.incidents", json_pack("{s:I, s:i}", "before", (json_int_t)number + 1, "limit", 1),
                    &reply, error));
    json_t *incident = json_array_get(json_object_get(reply, "incidents"), 0);
    enum hep_status status = HEP_OK;
    if (hep_json_int(incident, "incident", 0) != number) {
        hep_fail(error, HEP_E_NOT_FOUND, "there is no incident %lld", number);
        status = hep_hint(error, "see `heptctl incidents`; the oldest are forgotten");
    } else {
        name_stack(incident);
        if (ctl->json)
            ctl_print_json(ctl->out, incident, false);
        else
            ctl_show_incident(incident, &ctl->style, ctl->out);
    }
    json_decref(reply);
    return status;
}

enum hep_status ctl_incidents(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    int64_t limit;
    const char *domain = ctl_value(ctl, "domain");
    if (ctl->word_count > 0)
        return show_one(ctl, error);
    HEP_TRY(ctl_number(ctl, "limit", 1, 100, 20, &limit, error));
    HEP_TRY(ctl_ask(ctl, "domain.incidents",
                    json_pack("{s:I, s:s}", "limit", (json_int_t)limit, "domain", domain ? domain : ""), &reply,
                    error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        ctl_show_incidents(json_object_get(reply, "incidents"), &ctl->style, ctl->out);
    json_decref(reply);
    return HEP_OK;
}
