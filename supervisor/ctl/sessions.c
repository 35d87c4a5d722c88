/*
 * `heptctl sessions | session | cancel | pause | resume | retry`. Called by main and by tests. What a session looks
 * like to a person is decided here; how one is followed while it runs, in follow.c.
 */
#include "common/clock.h"
#include "common/text_format.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

enum ctl_colour ctl_state_colour(const char *status)
{
    if (strcmp(status, "completed") == 0 || strcmp(status, "done") == 0)
        return CTL_GREEN;
    if (strcmp(status, "failed") == 0 || strcmp(status, "refused") == 0)
        return CTL_RED;
    return strcmp(status, "running") == 0 || strcmp(status, "paused") == 0 ? CTL_YELLOW : CTL_PLAIN;
}

int64_t ctl_time_ms(const char *text)
{
    int64_t ms;
    return hep_time_parse(text, &ms) ? ms : -1;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */
static void add_session(struct ctl_table *table, const json_t *session, int64_t now_ms)
{
    char age[24] = "", took[24] = "", progress[32] = "";
    const char *status = hep_json_str(session, "status", "?");
    int64_t created, elapsed = hep_json_int(session, "elapsed_ms", 0);
    if (hep_time_parse(hep_json_str(session, "created", ""), &created))
        ctl_duration_short(now_ms - created, age, sizeof age);
    if (elapsed > 0)
        ctl_duration_short(elapsed, took, sizeof took);
    if (strcmp(status, "running") == 0 || strcmp(status, "paused") == 0)
        snprintf(progress, sizeof progress, "%.0f%%", 100 * hep_json_num(session, "progress", 0));
    else if (strcmp(status, "queued") == 0)
        snprintf(progress, sizeof progress, "#%" PRId64, hep_json_int(session, "queue_position", 0));
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(session, "session_id", "?"));
    ctl_cell(table, ctl_state_colour(status), "%s", status);
    ctl_cell(table, CTL_PLAIN, "%s", progress);
    ctl_cell(table, CTL_PLAIN, "%s", age);
    ctl_cell(table, CTL_PLAIN, "%s", took);
    ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(session, "prompt", hep_json_str(session, "workflow_id", "")));
}

void ctl_show_sessions(const json_t *sessions, int64_t now_ms, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {{"SESSION", .right = false}, {"STATUS", .right = false},
                                                {"DONE", .right = true},     {"AGE", .right = true},
                                                {"TOOK", .right = true},     {"PROMPT", .flows = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    const json_t *session;
    json_array_foreach((json_t *)(uintptr_t)sessions, index, session) add_session(table, session, now_ms);
    ctl_table_end(table, style, out, "no sessions");
}

/* ---- one --------------------------------------------------------------------------------------------------------- */
enum { LABEL = 12 };

static void print_line(FILE *out, const struct ctl_style *style, const char *label, const char *text)
{
    fprintf(out, "%-*s", LABEL, label);
    ctl_wrap(out, text, LABEL, LABEL, style->width);
}

static char *value_text(const json_t *value)
{
    if (json_is_string(value))
        return ctl_format("%s", json_string_value(value));
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)),
         *copy = ctl_format("%s", text ? text : "?");
    free(text);
    return copy;
}

static void print_configuration(FILE *out, const struct ctl_style *style, const json_t *configuration)
{
    const char *name;
    json_t *value;
    char *rest = ctl_format("%s", "");
    json_object_foreach((json_t *)(uintptr_t)configuration, name, value)
    {
        char *text = value_text(value);
        if (strcmp(name, "prompt") == 0 || strcmp(name, "negative_prompt") == 0) {
            if (text[0])
                print_line(out, style, strcmp(name, "prompt") == 0 ? "prompt" : "negative", text);
        } else {
            char *longer = ctl_format("%s%s%s=%s", rest, rest[0] ? " " : "", name, text[0] ? text : "\"\"");
            free(rest);
            rest = longer;
        }
        free(text);
    }
    if (rest[0])
        print_line(out, style, "parameters", rest);
    free(rest);
}

static void print_steps(FILE *out, const struct ctl_style *style, const json_t *steps)
{
    static const struct ctl_column columns[] = {{"STEP", .right = false},   {"OPERATION", .flows = true},
                                                {"STATUS", .right = false}, {"TRIES", .right = true},
                                                {"BEGAN", .right = true},   {"TOOK", .right = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    const json_t *step;
    json_array_foreach((json_t *)(uintptr_t)steps, index, step)
    {
        char began[24] = "", took[24] = "";
        const char *status = hep_json_str(step, "status", "?");
        if (hep_json_int(step, "attempt", 0) > 0 && hep_json_int(step, "started_ms", 0) > 0)
            ctl_duration_short(hep_json_int(step, "started_ms", 0), began, sizeof began);
        if (hep_json_int(step, "attempt", 0) > 0)
            ctl_duration_short(hep_json_int(step, "duration_ms", 0), took, sizeof took);
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(step, "id", "?"));
        ctl_cell(table, CTL_PLAIN, "%s.%s", hep_json_str(step, "domain", "?"), hep_json_str(step, "operation", "?"));
        ctl_cell(table, ctl_state_colour(status), "%s", status);
        ctl_cell(table, CTL_PLAIN, "%" PRId64, hep_json_int(step, "attempt", 0));
        ctl_cell(table, CTL_PLAIN, "%s%s", began[0] ? "+" : "", began);
        ctl_cell(table, CTL_PLAIN, "%s", took);
    }
    fputc('\n', out);
    ctl_table_end(table, style, out, NULL);
}

static void print_files(FILE *out, const struct ctl_style *style, const json_t *files)
{
    size_t index;
    const json_t *file;
    if (json_array_size(files) > 0)
        fputc('\n', out);
    json_array_foreach((json_t *)(uintptr_t)files, index, file)
    {
        char size[24], *seed = value_text(json_object_get(file, "seed"));
        fprintf(out, "%s\n", hep_json_str(file, "path", "?")); /* never broken: it is there to be copied */
        char *about =
            ctl_format("%" PRId64 "×%" PRId64 ", %s, seed %s, sha256 %.16s…", hep_json_int(file, "width", 0),
                       hep_json_int(file, "height", 0), ctl_bytes(hep_json_int(file, "bytes", 0), size, sizeof size),
                       seed, hep_json_str(file, "sha256", "?"));
        fputs("  ", out);
        ctl_wrap(out, about, 2, 2, style->width);
        free(about);
        free(seed);
    }
}

static void print_error(FILE *out, const struct ctl_style *style, const char *label, const json_t *error)
{
    char *where = json_object_get(error, "domain") ? ctl_format(" (%s.%s)", hep_json_str(error, "domain", "?"),
                                                                hep_json_str(error, "operation", "?"))
                                                   : ctl_format("%s", "");
    char *text = ctl_format("%s: %s%s", hep_json_str(error, "code", "?"), hep_json_str(error, "message", ""), where);
    print_line(out, style, label, text);
    if (hep_json_str(error, "cause", "")[0])
        print_line(out, style, "", hep_json_str(error, "cause", ""));
    if (hep_json_str(error, "hint", "")[0])
        print_line(out, style, "", hep_json_str(error, "hint", ""));
    free(where);
    free(text);
}

static void print_errors(FILE *out, const struct ctl_style *style, const json_t *session)
{
    size_t index;
    const json_t *one, *final = json_object_get(session, "error"), *errors = json_object_get(session, "errors");
    if (final)
        print_error(out, style, "error", final);
    json_array_foreach((json_t *)(uintptr_t)errors, index,
                       one) if (!final ||
                                strcmp(hep_json_str(one, "message", ""), hep_json_str(final, "message", "")) != 0)
        print_error(out, style, hep_json_str(one, "step", "step"), one);
}

void ctl_show_session(const json_t *session, const struct ctl_style *style, FILE *out)
{
    char span[24], note[64] = "";
    const char *status = hep_json_str(session, "status", "?");
    int64_t position = hep_json_int(session, "queue_position", 0), eta = hep_json_int(session, "eta_ms", -1);
    if (position > 0)
        snprintf(note, sizeof note, ", number %" PRId64 " in the queue", position);
    else if (strcmp(status, "running") == 0 && eta >= 0)
        snprintf(note, sizeof note, ", %.0f %%, %s left", 100 * hep_json_num(session, "progress", 0),
                 ctl_duration(eta, span, sizeof span));
    else if (hep_json_int(session, "elapsed_ms", 0) > 0)
        snprintf(note, sizeof note, ", %s", ctl_duration(hep_json_int(session, "elapsed_ms", 0), span, sizeof span));
    fprintf(out, "%-*s%s\n", LABEL, "session", hep_json_str(session, "session_id", "?"));
    fprintf(out, "%-*s%s%s%s%s\n", LABEL, "status", ctl_colour(style, ctl_state_colour(status)), status,
            ctl_colour(style, CTL_PLAIN), note);
    if (hep_json_str(session, "note", "")[0])
        print_line(out, style, "note", hep_json_str(session, "note", ""));
    print_line(out, style, "workflow", hep_json_str(session, "workflow_id", "?"));
    print_line(out, style, "created", hep_json_str(session, "created", "?"));
    ctl_show_webhooks(session, style, out);
    print_configuration(out, style, json_object_get(session, "configuration"));
    print_errors(out, style, session);
    print_steps(out, style, json_object_get(session, "steps"));
    print_files(out, style, json_object_get(json_object_get(session, "results"), "files"));
}

/* ---- estimates --------------------------------------------------------------------------------------------------- */
enum { ESTIMATES_MAX = 500 };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show_errors(double *errors, size_t count, FILE *out)
{
    if (count == 0)
        return;
    qsort(errors, count, sizeof *errors, by_size);
    fprintf(out, "error of %zu estimates: median %.0f %%, 90th percentile %.0f %%\n", count, 100 * errors[count / 2],
            100 * errors[count * 9 / 10]);
}

void ctl_show_estimates(const json_t *sessions, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {{"SESSION", .right = false},
                                                {"ESTIMATED", .right = true},
                                                {"TOOK", .right = true},
                                                {"ERROR", .right = true},
                                                {"WORKFLOW", .flows = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    double errors[ESTIMATES_MAX];
    size_t index, count = 0;
    json_t *session;
    json_array_foreach(sessions, index, session)
    {
        char estimated[24], took[24];
        int64_t guess = hep_json_int(session, "estimated_duration_ms", 0),
                truth = hep_json_int(session, "elapsed_ms", 0);
        if (strcmp(hep_json_str(session, "status", ""), "completed") != 0 || guess <= 0 || truth <= 0 ||
            count == ESTIMATES_MAX)
            continue;
        double error = (double)(guess - truth) / (double)truth;
        errors[count++] = error < 0 ? -error : error;
        ctl_duration_short(guess, estimated, sizeof estimated);
        ctl_duration_short(truth, took, sizeof took);
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(session, "session_id", "?"));
        ctl_cell(table, CTL_PLAIN, "%s", estimated);
        ctl_cell(table, CTL_PLAIN, "%s", took);
        ctl_cell(table, CTL_PLAIN, "%+.0f%%", 100 * error);
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(session, "workflow_id", ""));
    }
    ctl_table_end(table, style, out, "no completed session has an estimate");
    show_errors(errors, count, out);
}

/* ---- the verbs --------------------------------------------------------------------------------------------------- */
static json_t *wanted_sessions(struct ctl *ctl, struct hep_error *error)
{
    int64_t limit, after, before;
    const char *status = ctl_value(ctl, "status"), *workflow = ctl_value(ctl, "workflow"),
               *cursor = ctl_value(ctl, "cursor");
    if (ctl_number(ctl, "limit", 1, 500, 20, &limit, error) != HEP_OK ||
        ctl_time(ctl, "after", -1, &after, error) != HEP_OK || ctl_time(ctl, "before", -1, &before, error) != HEP_OK)
        return NULL;
    json_t *data = json_pack("{s:I, s:s, s:s, s:s}", "limit", (json_int_t)limit, "status", status ? status : "",
                             "workflow_id", workflow ? workflow : "", "cursor", cursor ? cursor : "");
    if (after >= 0)
        json_object_set_new(data, "created_after", json_sprintf("%" PRId64, after));
    if (before >= 0)
        json_object_set_new(data, "created_before", json_sprintf("%" PRId64, before));
    return data;
}

enum hep_status ctl_sessions(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL, *data = wanted_sessions(ctl, error);
    if (!data)
        return error->code;
    HEP_TRY(ctl_ask(ctl, "session.list", data, &reply, error));
    const char *next = hep_json_str(reply, "next_cursor", "");
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else if (ctl_flag(ctl, "estimates"))
        ctl_show_estimates(json_object_get(reply, "sessions"), &ctl->style, ctl->out);
    else
        ctl_show_sessions(json_object_get(reply, "sessions"), hep_wall_ms(), &ctl->style, ctl->out);
    if (!ctl->json && next[0])
        fprintf(ctl->out, "… and older ones: --cursor %s, or a larger --limit\n", next);
    json_decref(reply);
    return HEP_OK;
}

enum hep_status ctl_session(struct ctl *ctl, struct hep_error *error)
{
    json_t *session = NULL;
    HEP_TRY(ctl_ask(ctl, "session.get", json_pack("{s:s}", "session_id", ctl->words[0]), &session, error));
    if (ctl->json)
        ctl_print_json(ctl->out, session, false);
    else
        ctl_show_session(session, &ctl->style, ctl->out);
    json_decref(session);
    return HEP_OK;
}

static enum hep_status control(struct ctl *ctl, const char *action, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "session.control", json_pack("{s:s, s:s}", "session_id", ctl->words[0], "action", action),
                    &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        fprintf(ctl->out, "%s: %s\n", ctl->words[0], hep_json_str(reply, "status", "?"));
    json_decref(reply);
    return HEP_OK;
}

enum hep_status ctl_cancel(struct ctl *ctl, struct hep_error *error)
{
    return control(ctl, "cancel", error);
}

enum hep_status ctl_pause(struct ctl *ctl, struct hep_error *error)
{
    return control(ctl, "pause", error);
}

enum hep_status ctl_resume(struct ctl *ctl, struct hep_error *error)
{
    return control(ctl, "resume", error);
}

enum hep_status ctl_retry(struct ctl *ctl, struct hep_error *error)
{
    return control(ctl, "retry", error);
}
