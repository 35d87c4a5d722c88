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

enum { LINE_MAX_BYTES = 2048 };

static const char *const level_names[HEP_LOG_LEVEL_COUNT] = {"debug", "info", "notice", "warning", "error"};
static char process_name[32] = "heptad";
static atomic_int lowest_level = HEP_INFO;
static atomic_int log_fd = STDERR_FILENO;
static atomic_uint lost_lines;

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

/* A pipe whose reader does not read would block us: ask first. One line is below PIPE_BUF, so POLLOUT means it fits. */
static bool can_write(int fd)
{
    struct pollfd state = {.fd = fd, .events = POLLOUT};
    return poll(&state, 1, 0) == 1 && (state.revents & POLLOUT);
}

void hep_log(enum hep_log_level level, const char *event, const char *format, ...)
{
    if ((int)level < atomic_load(&lowest_level))
        return;
    int saved_errno = errno;
    char line[LINE_MAX_BYTES], when[32];
    unsigned lost = atomic_exchange(&lost_lines, 0);
    size_t used = (size_t)snprintf(line, sizeof line, "%s %s %s ", hep_wall_text(hep_wall_ms(), when, sizeof when),
                                   hep_log_level_name(level), event);
    va_list arguments;
    va_start(arguments, format);
    int wrote = vsnprintf(line + used, sizeof line - used, format, arguments);
    va_end(arguments);
    used = wrote < 0 ? used : used + (size_t)wrote;
    if (used > sizeof line - 64)
        used = sizeof line - 64;
    used += (size_t)snprintf(line + used, 48, " process=%s", process_name);
    if (lost)
        used += (size_t)snprintf(line + used, sizeof line - used, " lost_lines=%u", lost);
    if (used > sizeof line - 1)
        used = sizeof line - 1;
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
