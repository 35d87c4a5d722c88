/* Log lines to one descriptor, one write each. Called by every process; never blocks, never fails, allocates nothing.
 */
#include "common/log.h"

#include "common/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include <unistd.h>

/* What follows the fields always has room. */
enum { LINE_MAX_BYTES = 2048, TAIL_BYTES = 64 + HEP_REQUEST_ID_MAX + 16 };

static const char *const level_names[HEP_LOG_LEVEL_COUNT] = {"debug", "info", "notice", "warning", "error"};
static char process_name[32] = "heptad";
static atomic_int lowest_level = HEP_INFO;
static atomic_int log_fd = STDERR_FILENO;
static atomic_uint lost_lines;
static _Thread_local struct hep_log_context here;

void hep_log_init(const char *name, enum hep_log_level level)
{
    snprintf(process_name, sizeof process_name, "%s", name);
    atomic_store(&lowest_level, level);
}

void hep_log_set_level(enum hep_log_level level)
{
    atomic_store(&lowest_level, level);
}

void hep_log_set_fd(int fd)
{
    atomic_store(&log_fd, fd);
}

const char *hep_log_level_name(enum hep_log_level level)
{
    return (unsigned)level < HEP_LOG_LEVEL_COUNT ? level_names[level] : "error";
}

bool hep_log_level_from_name(const char *name, enum hep_log_level *level)
{
    for (int i = 0; i < HEP_LOG_LEVEL_COUNT; i++)
        if (strcmp(level_names[i], name) == 0) {
            *level = (enum hep_log_level)i;
            return true;
        }
    return false;
}

/* ---- whom the lines are about ------------------------------------------------------------------------------------ */
static void copy_name(char *to, size_t size, const char *from)
{
    size_t used = 0;
    for (; used < size - 1 && from[used]; used++)
        to[used] = from[used] > ' ' && from[used] < 0x7f && !strchr("\"\\=", from[used]) ? from[used] : '?';
    to[used] = '\0';
}

struct hep_log_context hep_log_enter(const char *session, const char *request)
{
    struct hep_log_context before = here;
    copy_name(here.session, sizeof here.session, session);
    copy_name(here.request, sizeof here.request, request);
    return before;
}

void hep_log_leave(const struct hep_log_context *before)
{
    here = *before;
}

bool hep_log_line_is_of(const char *line, size_t length, const char *session)
{
    static const char key[] = " session=";
    size_t key_length = sizeof key - 1, id_length = strlen(session);
    const char *end = line + length;
    for (const char *at = line; (at = memmem(at, (size_t)(end - at), key, key_length)) != NULL;) {
        at += key_length;
        if ((size_t)(end - at) >= id_length && memcmp(at, session, id_length) == 0 &&
            (at + id_length == end || at[id_length] == ' '))
            return true;
    }
    return false;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */
/* A pipe whose reader does not read would block us: ask first. One line is below PIPE_BUF, so POLLOUT means it fits. */
static bool can_write(int fd)
{
    struct pollfd state = {.fd = fd, .events = POLLOUT};
    return poll(&state, 1, 0) == 1 && (state.revents & POLLOUT);
}

/* printf behind what the line has, up to limit. */
__attribute__((format(printf, 4, 0))) static size_t append_list(char *line, size_t used, size_t limit,
                                                                const char *format, va_list arguments)
{
    int wrote = vsnprintf(line + used, limit - used, format, arguments);
    used = wrote < 0 ? used : used + (size_t)wrote;
    return used < limit ? used : limit - 1;
}

__attribute__((format(printf, 4, 5))) static size_t append(char *line, size_t used, size_t limit, const char *format,
                                                           ...)
{
    va_list arguments;
    va_start(arguments, format);
    used = append_list(line, used, limit, format, arguments);
    va_end(arguments);
    return used;
}

/* The fields, and the context: the session before them, because a long line is cut at its end. */
__attribute__((format(printf, 3, 0))) static size_t append_fields(char *line, size_t used, const char *format,
                                                                  va_list arguments)
{
    const size_t limit = LINE_MAX_BYTES - TAIL_BYTES;
    char fields[LINE_MAX_BYTES];
    append_list(fields, 0, sizeof fields, format, arguments);
    bool own = strncmp(fields, "session=", 8) == 0 || strstr(fields, " session=");
    bool before = here.session[0] && !own, request = here.request[0] != '\0';
    if (before)
        used = append(line, used, limit, "session=%s%s%s ", here.session, request ? " request=" : "", here.request);
    used = append(line, used, limit, "%s", fields);
    return request && !before ? append(line, used, LINE_MAX_BYTES, " request=%s", here.request) : used;
}

void hep_log(enum hep_log_level level, const char *event, const char *format, ...)
{
    if ((int)level < atomic_load(&lowest_level))
        return;
    int saved_errno = errno;
    char line[LINE_MAX_BYTES], when[32];
    unsigned lost = atomic_exchange(&lost_lines, 0);
    size_t used = append(line, 0, sizeof line, "%s %s %s ", hep_wall_text(hep_wall_ms(), when, sizeof when),
                         hep_log_level_name(level), event);
    va_list arguments;
    va_start(arguments, format);
    used = append_fields(line, used, format, arguments);
    va_end(arguments);
    used = append(line, used, sizeof line, " process=%s", process_name);
    if (lost)
        used = append(line, used, sizeof line, " lost_lines=%u", lost);
    line[used++] = '\n';
    int fd = atomic_load(&log_fd);
    if (!can_write(fd) || write(fd, line, used) < 0)
        atomic_fetch_add(&lost_lines, lost + 1);
    errno = saved_errno;
}

const char *hep_log_quote(const char *text, char *buffer, size_t size)
{
    size_t used = 0;
    if (size < 8)
        return "";
    buffer[used++] = '"';
    for (const unsigned char *p = (const unsigned char *)text; *p && used < size - 6; p++) {
        if (*p == '"' || *p == '\\') {
            buffer[used++] = '\\';
            buffer[used++] = (char)*p;
        } else if (*p < 0x20 || *p == 0x7f) {
            used += (size_t)snprintf(buffer + used, 5, "\\x%02x", *p);
        } else {
            buffer[used++] = (char)*p;
        }
    }
    buffer[used++] = '"';
    buffer[used] = '\0';
    return buffer;
}
