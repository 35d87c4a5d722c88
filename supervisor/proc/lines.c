/* Lines of a child's standard error. Called by child.c; writes to the log through log_sink.h and never blocks. */
#include "supervisor/proc/lines.h"

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/proc/log_sink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

enum { READ_AT_ONCE = 16384, READS_PER_TURN = 4 };

void hep_lines_init(struct hep_lines *lines, int fd)
{
    memset(lines, 0, sizeof *lines);
    lines->fd = fd;
}

static void copy_to_log(struct hep_lines *lines, const char *line, const char *who)
{
    int64_t second = hep_now_ms() / 1000;
    if (second != lines->second) {
        lines->second = second;
        lines->in_second = 0;
    }
    if (lines->in_second >= HEP_LINES_PER_SECOND) {
        lines->dropped++;
        return;
    }
    if (lines->dropped > 0 && lines->in_second == 0) {
        hep_log(HEP_WARNING, "log.dropped", "domain=%s lines=%" PRIu64, who, lines->dropped);
        lines->dropped = 0;
    }
    lines->in_second++;
    hep_log_sink_line(line);
}

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

/* A crash has room of its own, so that its frames do not push out what the process said before. */
static bool keep_crash(struct hep_lines *lines, const char *line)
{
    if (begins(line, HEP_CRASH_LINE)) {
        snprintf(lines->crash, sizeof lines->crash, "%s", line + strlen(HEP_CRASH_LINE));
        lines->frame_count = 0;
        return true;
    }
    if (!begins(line, HEP_CRASH_FRAME))
        return false;
    if (lines->frame_count < HEP_CRASH_FRAMES_MAX)
        snprintf(lines->frames[lines->frame_count++], HEP_LINE_MAX, "%s", line + strlen(HEP_CRASH_FRAME));
    return true;
}

static void end_line(struct hep_lines *lines, const char *who)
{
    lines->partial[lines->partial_length] = '\0';
    if (lines->partial_length > 0) {
        if (!keep_crash(lines, lines->partial))
            memcpy(lines->kept[lines->count++ % HEP_LINES_KEPT], lines->partial, lines->partial_length + 1);
        copy_to_log(lines, lines->partial, who);
    }
    lines->partial_length = 0;
}

void hep_lines_take(struct hep_lines *lines, const char *bytes, size_t count, const char *who)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '\n')
            end_line(lines, who);
        else if (lines->partial_length < HEP_LINE_MAX - 1) /* the log's reader must not be steered by a child's bytes */
            lines->partial[lines->partial_length++] = byte < 0x20 || byte == 0x7f ? ' ' : (char)byte;
    }
}

bool hep_lines_read(struct hep_lines *lines, const char *who)
{
    char buffer[READ_AT_ONCE];
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t got = read(lines->fd, buffer, sizeof buffer);
        if (got < 0)
            return errno == EAGAIN || errno == EINTR;
        if (got == 0)
            return false;
        hep_lines_take(lines, buffer, (size_t)got, who);
    }
    return true;
}

/* JSON text must be UTF-8; a child's words need not be. */
static json_t *text_of(const char *line)
{
    char clean[HEP_LINE_MAX];
    const unsigned char *p = (const unsigned char *)line;
    utf8proc_int32_t point;
    size_t used = 0;
    while (*p) {
        utf8proc_ssize_t length = utf8proc_iterate(p, -1, &point);
        if (length <= 0) {
            clean[used++] = '?';
            p++;
            continue;
        }
        memcpy(clean + used, p, (size_t)length);
        used += (size_t)length;
        p += length;
    }
    return json_stringn(clean, used);
}

json_t *hep_lines_to_json(const struct hep_lines *lines)
{
    json_t *array = json_array();
    uint64_t first = lines->count > HEP_LINES_KEPT ? lines->count - HEP_LINES_KEPT : 0;
    for (uint64_t i = first; i < lines->count; i++)
        json_array_append_new(array, text_of(lines->kept[i % HEP_LINES_KEPT]));
    if (lines->partial_length > 0) {
        char rest[HEP_LINE_MAX];
        memcpy(rest, lines->partial, lines->partial_length);
        rest[lines->partial_length] = '\0';
        json_array_append_new(array, text_of(rest));
    }
    return array;
}

/* The value of ` key="…"` in a log line, as hep_log_quote wrote it; "" if it is not there. */
static void unquote(const char *line, const char *key, char *value, size_t size)
{
    char opening[32];
    size_t used = 0;
    snprintf(opening, sizeof opening, " %s=\"", key);
    const char *at = strstr(line, opening);
    for (at = at ? at + strlen(opening) : ""; *at && *at != '"' && used < size - 1; at++) {
        at += *at == '\\' && at[1];
        value[used++] = *at;
    }
    value[used] = '\0';
}

bool hep_lines_reason(const struct hep_lines *lines, char *reason, size_t reason_size, char *hint, size_t hint_size)
{
    uint64_t first = lines->count > HEP_LINES_KEPT ? lines->count - HEP_LINES_KEPT : 0;
    for (uint64_t i = lines->count; i > first; i--) {
        const char *line = lines->kept[(i - 1) % HEP_LINES_KEPT];
        const char *event = strstr(line, " domain.failed ");
        if (!event)
            continue;
        unquote(event, "reason", reason, reason_size);
        unquote(event, "hint", hint, hint_size);
        return reason[0] != '\0';
    }
    return false;
}

void hep_lines_add_crash(const struct hep_lines *lines, json_t *obituary)
{
    json_t *stack = json_array();
    if (lines->crash[0]) {
        for (int i = 0; i < lines->frame_count; i++)
            json_array_append_new(stack, text_of(lines->frames[i]));
        json_object_set_new(obituary, "crash", text_of(lines->crash));
        json_object_set(obituary, "stack", stack);
    }
    json_decref(stack);
}
