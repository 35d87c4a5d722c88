/*
 * `heptctl events` and `heptctl logs`: what happened, and with --follow what happens. Called by main and by tests.
 * Events have numbers, so none is lost between two questions; log lines have none, so the end of the last answer is
 * looked for in the next one.
 */
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/proc/places.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_MS = 20000, LOG_EVERY_MS = 500, LOG_WINDOW = 1000, FIELD_MAX = 200 };

/* ---- events ------------------------------------------------------------------------------------------------------ */
static enum ctl_colour event_colour(const char *name)
{
    if (strstr(name, "died") || strstr(name, "failed") || strstr(name, "error"))
        return CTL_RED;
    return strstr(name, "progress") || strstr(name, "step") ? CTL_DIM : CTL_BOLD;
}

/* " key=value", cut where it is very long; malloc'ed. */
static char *field_text(const char *key, const json_t *value)
{
    const char *plain =
        json_is_string(value) && !strpbrk(json_string_value(value), " \"") ? json_string_value(value) : NULL;
    char *text = plain ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(4));
    const char *said = plain ? plain : text ? text : "?";
    size_t length = strlen(said) > FIELD_MAX ? FIELD_MAX : strlen(said);
    while (length < strlen(said) && length > 0 && (said[length] & 0xc0) == 0x80)
        length--; /* not in the middle of a letter */
    char *field = ctl_format(" %s=%.*s%s", key, (int)length, said, length < strlen(said) ? "…" : "");
    free(text);
    return field;
}

static char *fields_text(const json_t *event)
{
    static const char *const first[] = {"seq",  "time",    "time_ms",
                                        "name", "session", "domain"}; /* shown before the others, or not */
    char *text = ctl_format("%s", "");
    const char *key;
    json_t *value;
    size_t shown = 4; /* the first four are not shown here */
    for (; shown < HEP_COUNT_OF(first); shown++)
        if ((value = json_object_get(event, first[shown])) != NULL) {
            char *field = field_text(first[shown], value), *longer = ctl_format("%s%s", text, field);
            free(text);
            free(field);
            text = longer;
        }
    json_object_foreach((json_t *)(uintptr_t)event, key, value)
    {
        bool done = false;
        for (size_t i = 0; i < HEP_COUNT_OF(first); i++)
            done = done || strcmp(first[i], key) == 0;
        if (done)
            continue;
        char *field = field_text(key, value), *longer = ctl_format("%s%s", text, field);
        free(text);
        free(field);
        text = longer;
    }
    return text;
}

void ctl_show_event(const json_t *event, const struct ctl_style *style, FILE *out)
{
    enum { INDENT = 13 };
    const char *name = hep_json_str(event, "name", "?"), *time = hep_json_str(event, "time", "?"),
               *clock = strchr(time, 'T');
    char *fields = fields_text(event);
    int column =
        style->width > 0 && clock && strlen(clock) > 12 ? fprintf(out, "%.12s ", clock + 1) : fprintf(out, "%s ", time);
    fputs(ctl_colour(style, event_colour(name)), out);
    column += ctl_put(out, name, -1);
    fputs(ctl_colour(style, CTL_PLAIN), out);
    fputc(' ', out);
    ctl_wrap(out, fields[0] ? fields + 1 : fields, INDENT, column + 1, style->width);
    free(fields);
}

static void print_events(struct ctl *ctl, const json_t *events)
{
    size_t index;
    const json_t *event;
    json_array_foreach((json_t *)(uintptr_t)events, index, event)
    {
        if (ctl->json)
            ctl_print_json(ctl->out, event, true);
        else
            ctl_show_event(event, &ctl->style, ctl->out);
    }
    fflush(ctl->out);
}

static enum hep_status poll_events(struct ctl *ctl, int64_t after, int64_t limit, int wait_ms, json_t **reply,
                                   struct hep_error *error)
{
    const char *session = ctl_value(ctl, "session"), *types = ctl_value(ctl, "types");
    return ctl_ask_waiting(ctl, "events.poll",
                           json_pack("{s:I, s:I, s:i, s:s, s:s}", "after_seq", (json_int_t)after, "limit",
                                     (json_int_t)limit, "wait_ms", wait_ms, "session_id", session ? session : "",
                                     "types", types ? types : ""),
                           wait_ms, reply, error);
}

static bool is_filtered(const struct ctl *ctl)
{
    return ctl_value(ctl, "session") || ctl_value(ctl, "types");
}

/* Where the last limit events begin: the newest number is in status.get. Those that are filtered may be anywhere. */
static enum hep_status find_start(struct ctl *ctl, int64_t limit, int64_t *after, struct hep_error *error)
{
    json_t *status = NULL;
    int64_t said;
    HEP_TRY(ctl_number(ctl, "after", 0, INT64_MAX, -1, &said, error));
    if (said < 0 && !is_filtered(ctl)) {
        HEP_TRY(ctl_ask(ctl, "status.get", NULL, &status, error));
        said = hep_json_int(status, "last_event", 0) - limit;
        json_decref(status);
    }
    *after = said > 0 ? said : 0;
    return HEP_OK;
}

/* The last limit of all that are kept after that number, which moves on to the newest. */
static enum hep_status gather(struct ctl *ctl, int64_t limit, int64_t *after, json_t *events, struct hep_error *error)
{
    for (int64_t before = -1; before != *after;) {
        json_t *reply = NULL;
        before = *after;
        HEP_TRY(poll_events(ctl, before, 500, 0, &reply, error));
        json_array_extend(events, json_object_get(reply, "events"));
        while ((int64_t)json_array_size(events) > limit)
            json_array_remove(events, 0);
        *after = hep_json_int(reply, "last_seq", before);
        json_decref(reply);
    }
    return HEP_OK;
}

static enum hep_status show_past(struct ctl *ctl, int64_t limit, int64_t *after, struct hep_error *error)
{
    json_t *events = json_array();
    enum hep_status status = gather(ctl, limit, after, events, error);
    print_events(ctl, events);
    json_decref(events);
    return status;
}

enum hep_status ctl_events(struct ctl *ctl, struct hep_error *error)
{
    int64_t limit, after;
    bool follow = ctl_flag(ctl, "follow");
    HEP_TRY(ctl_number(ctl, "limit", 1, 500, follow ? 20 : 100, &limit, error));
    HEP_TRY(find_start(ctl, limit, &after, error));
    if (is_filtered(ctl))
        HEP_TRY(show_past(ctl, limit, &after, error));
    while (follow || !is_filtered(ctl)) {
        json_t *reply = NULL;
        HEP_TRY(poll_events(ctl, after, follow ? 500 : limit, follow ? POLL_MS : 0, &reply, error));
        print_events(ctl, json_object_get(reply, "events"));
        after = hep_json_int(reply, "last_seq", after);
        json_decref(reply);
        if (!follow || ferror(ctl->out))
            break;
    }
    return HEP_OK;
}

/* ---- logs -------------------------------------------------------------------------------------------------------- */
size_t ctl_new_lines(const json_t *before, const json_t *now, bool *lost)
{
    size_t known = json_array_size(before), count = json_array_size(now);
    *lost = false;
    if (known == 0)
        return 0;
    for (size_t end = count; end > 0; end--) { /* the latest place where all of before that fits ends */
        size_t overlap = 0;
        while (overlap < known && overlap < end &&
               json_equal(json_array_get(before, known - 1 - overlap), json_array_get(now, end - 1 - overlap)))
            overlap++;
        if (overlap > 0 && (overlap == known || overlap == end))
            return end;
    }
    *lost = count > 0;
    return 0;
}

static void print_lines(struct ctl *ctl, const json_t *lines, size_t from)
{
    for (size_t i = from; i < json_array_size(lines); i++) {
        const char *line = json_string_value(json_array_get(lines, i));
        if (ctl->json)
            ctl_print_json(ctl->out, json_array_get(lines, i), true);
        else if (line) {
            ctl_put(ctl->out, line, -1);
            fputc('\n', ctl->out);
        }
    }
    fflush(ctl->out);
}

static enum hep_status ask_log(struct ctl *ctl, int64_t count, json_t **reply, struct hep_error *error)
{
    const char *session = ctl_value(ctl, "session");
    return ctl_ask(ctl, "log.tail",
                   json_pack("{s:I, s:s}", "lines", (json_int_t)count, "session", session ? session : ""), reply,
                   error);
}

static enum hep_status follow_log(struct ctl *ctl, json_t *lines, struct hep_error *error)
{
    struct timespec pause = {.tv_nsec = LOG_EVERY_MS * 1000000};
    json_t *before = json_incref(lines);
    enum hep_status status = HEP_OK;
    while (status == HEP_OK && !ferror(ctl->out)) {
        json_t *reply = NULL;
        bool lost;
        nanosleep(&pause, NULL);
        status = ask_log(ctl, LOG_WINDOW, &reply, error);
        if (status != HEP_OK)
            break;
        json_t *now = json_object_get(reply, "lines");
        size_t from = ctl_new_lines(before, now, &lost);
        if (lost)
            fprintf(ctl->err, "heptctl: more lines came than were read; some are missing here\n");
        print_lines(ctl, now, from);
        json_decref(before);
        before = json_incref(now);
        json_decref(reply);
    }
    json_decref(before);
    return status;
}

/* Without a daemon: the file that it logs to by default. */
static enum hep_status read_log_file(struct ctl *ctl, int64_t count, struct hep_error *error)
{
    const char *session = ctl_value(ctl, "session");
    bool system = strcmp(ctl->where.state, HEP_SYSTEM_STATE) == 0;
    char *path = ctl_format("%s/heptad.log", system ? HEP_SYSTEM_LOGS : ctl->where.state);
    FILE *file = ctl->where.state[0] ? fopen(path, "re") : NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    json_t *lines = json_array();
    enum hep_status status = error->code;
    if (file) {
        fprintf(ctl->err, "heptctl: heptad is not running; this is the end of %s\n", path);
        while ((length = getline(&line, &room, file)) >= 0) {
            size_t bytes = (size_t)(length > 0 && line[length - 1] == '\n' ? length - 1 : length);
            if (session && !hep_log_line_is_of(line, bytes, session))
                continue;
            json_t *text = json_stringn(line, bytes);
            json_array_append_new(lines, text ? text : json_string("(a line that is not UTF-8)"));
            if ((int64_t)json_array_size(lines) > count)
                json_array_remove(lines, 0);
        }
        print_lines(ctl, lines, 0);
        fclose(file);
        status = HEP_OK;
    }
    free(line);
    json_decref(lines);
    free(path);
    return status;
}

enum hep_status ctl_logs(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    int64_t count;
    HEP_TRY(ctl_number(ctl, "lines", 1, 1000, 50, &count, error));
    enum hep_status status = ask_log(ctl, count, &reply, error);
    if (status == HEP_E_DOMAIN_DOWN && !ctl_flag(ctl, "follow")) {
        error->code = status;
        return read_log_file(ctl, count, error);
    }
    HEP_TRY(status);
    bool follow = ctl_flag(ctl, "follow");
    if (ctl->json && !follow)
        ctl_print_json(ctl->out, reply, false);
    else
        print_lines(ctl, json_object_get(reply, "lines"), 0);
    if (follow)
        status = follow_log(ctl, json_object_get(reply, "lines"), error);
    json_decref(reply);
    return status;
}
