/*
 * Tells systemd how the daemon is. Called by main and server.c. The watchdog is fed by what it is there to watch: the
 * loop turns, since a timer of the loop feeds it, and supervision does for every domain what it owes it. A domain that
 * has died, hangs or has failed does not starve it: that is dealt with here, and the status line says so.
 */
#include "supervisor/main/notify.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/status.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LINE_EVERY_MS = 1000,
    END_MS = 15000, /* beyond the drain: kills, reaping, closing the store */
    LINE_MAX_BYTES = 480
};

struct hep_notifier {
    struct hep_loop *loop;
    const struct hep_engine *engine;
    const struct hep_proc *proc;
    struct hep_loop_timer *timer;
    int64_t every_ms;
    int64_t line_ms; /* when the status line was looked at last                      */
    bool stopping;
    bool late; /* the watchdog is not fed at the moment                        */
    char line[LINE_MAX_BYTES];
};

static char notify_socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
static int64_t watchdog_ms; /* 0 = the unit has none, or it is for another process */

/* ---- the protocol ------------------------------------------------------------------------------------------------ */
void hep_notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET"), *microseconds = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (path && (path[0] == '/' || path[0] == '@') && strlen(path) < sizeof notify_socket)
        memcpy(notify_socket, path, strlen(path) + 1);
    if (microseconds && (!pid || strtol(pid, NULL, 10) == getpid()))
        watchdog_ms = strtoll(microseconds, NULL, 10) / 1000;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void hep_notify(const char *format, ...)
{
    const char *path = notify_socket;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[1024];
    va_list arguments;
    if (!path[0])
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* an abstract name */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    close(fd);
}

void hep_notify_busy(const char *what, int64_t ms)
{
    hep_notify("EXTEND_TIMEOUT_USEC=%" PRId64 "\nSTATUS=%s", ms * 1000, what);
}

void hep_notify_reloading(void)
{
    hep_notify("RELOADING=1\nMONOTONIC_USEC=%" PRId64, hep_now_ms() * 1000);
}

void hep_notify_reloaded(void)
{
    hep_notify("READY=1");
}

/* ---- from the loop ----------------------------------------------------------------------------------------------- */
static void tell_line(struct hep_notifier *notifier, int64_t now, const char *before)
{
    char line[LINE_MAX_BYTES];
    notifier->line_ms = now;
    hep_engine_line(notifier->engine, line, sizeof line);
    if (strcmp(line, notifier->line) == 0 && !before[0])
        return;
    memcpy(notifier->line, line, sizeof line);
    hep_notify("%sSTATUS=%s", before, line);
}

static void feed_watchdog(struct hep_notifier *notifier)
{
    char why[160] = "";
    bool on_time = hep_proc_is_on_time(notifier->proc, why, sizeof why);
    if (!on_time && !notifier->late)
        hep_log(HEP_ERROR_LEVEL, "watchdog.starved", "reason=\"%s\" watchdog_ms=%" PRId64, why, watchdog_ms);
    notifier->late = !on_time;
    if (on_time && watchdog_ms > 0)
        hep_notify("WATCHDOG=1");
}

static void on_turn(void *context)
{
    struct hep_notifier *notifier = context;
    int64_t now = hep_now_ms();
    notifier->timer = hep_loop_after(notifier->loop, notifier->every_ms, on_turn, notifier);
    feed_watchdog(notifier);
    if (!notifier->stopping && now - notifier->line_ms >= LINE_EVERY_MS)
        tell_line(notifier, now, "");
}

enum hep_status hep_notifier_create(struct hep_loop *loop, const struct hep_engine *engine, const struct hep_proc *proc,
                                    struct hep_notifier **notifier, struct hep_error *error)
{
    *notifier = NULL;
    if (!notify_socket[0])
        return HEP_OK;
    struct hep_notifier *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to tell systemd anything");
    *made = (struct hep_notifier){.loop = loop, .engine = engine, .proc = proc, .every_ms = LINE_EVERY_MS};
    if (watchdog_ms > 0 && watchdog_ms / 3 < made->every_ms)
        made->every_ms = watchdog_ms / 3 + 1;
    made->timer = hep_loop_after(loop, made->every_ms, on_turn, made);
    tell_line(made, hep_now_ms(), "READY=1\n");
    *notifier = made;
    return HEP_OK;
}

void hep_notifier_stopping(struct hep_notifier *notifier, int64_t drain_ms)
{
    if (!notifier)
        return;
    notifier->stopping = true;
    hep_notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\nSTATUS=stopping: what is in hand ends at a step boundary",
               (drain_ms + END_MS) * 1000);
}

void hep_notifier_destroy(struct hep_notifier *notifier)
{
    if (!notifier)
        return;
    hep_loop_cancel(notifier->timer);
    free(notifier);
}
