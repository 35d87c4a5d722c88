/*
 * One process: what it reports is read and distrusted here, its death is seen here. Called by domain.c on the loop
 * thread. A report that breaks the contract is dropped and counted; it never stops the supervisor.
 */
#include "supervisor/proc/child.h"

#include "common/build.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PING_ID "heptad.ping"

enum { REPORTS_PER_TURN = 64 };

static void emit(struct hep_child *child, enum hep_life_event event, const char *why)
{
    child->events.event(child->events.context, event, why);
}

/* ---- reports -------------------------------------------------------------------------------------------------------
 */
static void bad_report(struct hep_child *child, const char *what)
{
    char quoted[160];
    if (++child->bad_reports <= 5)
        hep_log(HEP_WARNING, "domain.bad_report", "domain=%s pid=%d count=%u what=%s", hep_role_name(child->role),
                (int)child->process.pid, child->bad_reports, hep_log_quote(what, quoted, sizeof quoted));
    if (child->bad_reports == HEP_BAD_REPORTS_MAX)
        emit(child, HEP_LIFE_ON_KILL, "its reports break the contract");
}

static void refuse_ready(struct hep_child *child, bool mismatch, const char *why)
{
    child->mismatch = mismatch;
    emit(child, HEP_LIFE_ON_KILL, why);
}

static void on_ready(struct hep_child *child, const json_t *report)
{
    char why[256];
    const char *version = hep_json_str(report, "version", "?"), *build = hep_json_str(report, "build", "?");
    json_t *operations = json_object_get(report, "operations");
    if (child->ready_ms != 0) {
        bad_report(child, "a second ready");
        return;
    }
    if (hep_json_int(report, "generation", -1) != (int64_t)child->generation ||
        hep_json_int(report, "pid", -1) != (int64_t)child->process.pid || !json_is_array(operations)) {
        refuse_ready(child, false, "its READY is not of this process");
        return;
    }
    if (strcmp(version, HEP_VERSION) != 0 || strcmp(build, hep_build_id()) != 0) {
        snprintf(why, sizeof why,
                 "is version %.32s build %.32s, heptad is %s build %s: install all programs of one build", version,
                 build, HEP_VERSION, hep_build_id());
        refuse_ready(child, true, why);
        return;
    }
    child->ready_ms = child->answered_ms = hep_now_ms();
    child->operations = json_incref(operations);
    snprintf(child->isa, sizeof child->isa, "%s", hep_json_str(report, "isa", ""));
    emit(child, HEP_LIFE_ON_READY, "");
}

static bool is_ping(const json_t *report)
{
    return strcmp(hep_json_str(report, "request_id", ""), PING_ID) == 0;
}

static void on_begin(struct hep_child *child, const json_t *report)
{
    bool first = child->watch.count == 0;
    if (!hep_watch_begin(&child->watch, report, hep_now_ms()))
        bad_report(child, "a begin that is malformed, or too many in hand");
    else if (first)
        emit(child, HEP_LIFE_ON_WORK, child->watch.items[0].operation);
}

static void on_end(struct hep_child *child, const json_t *report)
{
    if (!hep_watch_end(&child->watch, report))
        bad_report(child, "an end without its begin");
    else if (child->watch.count == 0)
        emit(child, HEP_LIFE_ON_IDLE, "");
}

static void on_status(struct hep_child *child, json_t *report)
{
    json_decref(child->status);
    child->status = json_incref(report);
}

/* Returns whether whoever is above should hear of it. */
static bool take_report(struct hep_child *child, json_t *report)
{
    const char *kind = hep_json_str(report, "kind", "");
    if (strcmp(kind, "ready") == 0) {
        on_ready(child, report);
        return false;
    }
    if (strcmp(kind, "begin") == 0 || strcmp(kind, "end") == 0) {
        if (is_ping(report))
            return false;
        (kind[0] == 'b' ? on_begin : on_end)(child, report);
    } else if (strcmp(kind, "progress") == 0) {
        if (hep_watch_progress(&child->watch, report, hep_now_ms()))
            emit(child, HEP_LIFE_ON_PROGRESS, "");
    } else if (strcmp(kind, "event") == 0) {
        hep_watch_touch(&child->watch, hep_now_ms());
    } else if (strcmp(kind, "status") == 0) {
        on_status(child, report);
    } else if (strcmp(kind, "preview") == 0) {
        return true; /* it is no progress: whoever sends them says that as well */
    } else if (strcmp(kind, "starting") == 0) {
        emit(child, HEP_LIFE_ON_PROGRESS, hep_json_str(report, "note", ""));
    } else {
        bad_report(child, kind[0] ? kind : "no kind");
        return false;
    }
    return true;
}

static void take_packet(struct hep_child *child, size_t bytes)
{
    struct hep_error error = {0};
    json_t *report = NULL;
    if (bytes > HEP_REPORT_MAX) {
        bad_report(child, "larger than allowed");
    } else if (hep_wire_decode(child->packet, bytes, &report, &error) != HEP_OK) {
        bad_report(child, error.message);
    } else if (take_report(child, report)) {
        child->events.report(child->events.context, report);
    }
    json_decref(report);
}

static void close_report(struct hep_child *child)
{
    hep_loop_unwatch(hep_take(&child->report_source));
    if (child->process.report_fd >= 0)
        close(child->process.report_fd);
    child->process.report_fd = -1;
}

/* Reads at most `most` reports. */
static void read_reports(struct hep_child *child, int most)
{
    while (most-- > 0 && child->process.report_fd >= 0) {
        ssize_t got = recv(child->process.report_fd, child->packet, HEP_REPORT_MAX, MSG_DONTWAIT | MSG_TRUNC);
        if (got > 0) {
            take_packet(child, (size_t)got);
        } else if (got < 0 && errno == EINTR) {
            continue;
        } else {
            if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
                close_report(child); /* its death, if this is one, comes by the pidfd */
            return;
        }
    }
}

static void on_report(void *context, uint32_t events)
{
    (void)events;
    read_reports(context, REPORTS_PER_TURN);
}

/* ---- its last words
 * -------------------------------------------------------------------------------------------------- */
static void close_stderr(struct hep_child *child)
{
    hep_loop_unwatch(hep_take(&child->stderr_source));
    if (child->process.stderr_fd >= 0)
        close(child->process.stderr_fd);
    child->process.stderr_fd = -1;
}

static void on_stderr(void *context, uint32_t events)
{
    struct hep_child *child = context;
    (void)events;
    if (!hep_lines_read(&child->lines, hep_role_name(child->role)))
        close_stderr(child);
}

/* ---- its death
 * ------------------------------------------------------------------------------------------------------- */
static bool reap(struct hep_child *child, int options, struct hep_child_end *end)
{
    int status;
    struct rusage usage = {0};
    pid_t pid;
    do
        pid = wait4(child->process.pid, &status, options, &usage);
    while (pid < 0 && errno == EINTR);
    if (pid != child->process.pid)
        return false;
    *end = (struct hep_child_end){
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        .core = WIFSIGNALED(status) && WCOREDUMP(status),
        .max_rss_bytes = (int64_t)usage.ru_maxrss * 1024,
        .cpu_ms = (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                  (int64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000,
    };
    hep_loop_unwatch(hep_take(&child->pid_source));
    close(child->process.pid_fd);
    child->process.pid_fd = -1;
    return true;
}

static void on_exit_seen(void *context, uint32_t events)
{
    struct hep_child *child = context;
    struct hep_child_end end;
    (void)events;
    if (!reap(child, WNOHANG, &end))
        return;
    read_reports(child, INT32_MAX); /* what it said before it died; nobody adds to it now */
    if (child->process.stderr_fd >= 0 && !hep_lines_read(&child->lines, hep_role_name(child->role)))
        close_stderr(child);
    child->events.ended(child->events.context, &end); /* destroys the child */
}

void hep_child_signal(struct hep_child *child, int signal_number)
{
    if (child->process.pid_fd >= 0 && pidfd_send_signal(child->process.pid_fd, signal_number, NULL, 0) != 0 &&
        errno != ESRCH)
        hep_log(HEP_WARNING, "domain.signal_failed", "domain=%s pid=%d signal=%d error=%s", hep_role_name(child->role),
                (int)child->process.pid, signal_number, strerror(errno));
}

/* ---- a configuration that was read again --------------------------------------------------------------------------
 */
static void on_configured(void *domain, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    if (status == HEP_OK && hep_json_bool(reply, "success", false))
        return;
    if (status == HEP_E_OUTCOME_UNKNOWN)
        return; /* it ended: the next one is started with the new values */
    const json_t *said = json_object_get(reply, "error");
    hep_log(HEP_WARNING, "domain.not_configured", "domain=%s reason=\"%s\"", (const char *)domain,
            status == HEP_OK ? hep_json_str(said, "message", "") : error->message);
}

void hep_child_configure(struct hep_child *child, json_t *settings)
{
    char type[HEP_NAME_MAX];
    struct hep_error error = {0};
    const char *name = hep_role_name(child->role);
    snprintf(type, sizeof type, "%s.configure", name);
    json_t *message =
        json_pack("{s:s, s:s, s:{s:o}}", "type", type, "request_id", "heptad.configure", "data", "settings", settings);
    if (!message || hep_channel_send(child->channel, message, on_configured, (void *)(uintptr_t)name, &error) != HEP_OK)
        hep_log(HEP_WARNING, "domain.not_configured", "domain=%s reason=\"%s\"", name, error.message);
    json_decref(message);
}

/* ---- liveness
 * -------------------------------------------------------------------------------------------------------- */
static void on_pong(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_child *child = context;
    (void)reply;
    (void)error;
    child->ping_out = false;
    if (status == HEP_OK)
        child->answered_ms = hep_now_ms();
}

static void ping(struct hep_child *child, int64_t now)
{
    char type[HEP_NAME_MAX];
    snprintf(type, sizeof type, "%s.ping", hep_role_name(child->role));
    json_t *message = json_pack("{s:s, s:s, s:{}}", "type", type, "request_id", PING_ID, "data");
    if (message && hep_channel_send(child->channel, message, on_pong, child, NULL) == HEP_OK) {
        child->ping_out = true;
        child->pinged_ms = now;
    }
    json_decref(message);
}

static int64_t answer_allowed(const struct hep_child *child, int64_t hang_ms)
{
    int64_t longest = hep_watch_longest_deadline(&child->watch);
    return longest > hang_ms ? longest : hang_ms;
}

void hep_child_tick(struct hep_child *child, int64_t hang_ms)
{
    char why[160];
    int64_t now = hep_now_ms();
    const struct hep_watched *overdue = hep_watch_overdue(&child->watch, now);
    if (overdue) {
        snprintf(why, sizeof why, "%.63s made no progress for %" PRId64 " ms, its deadline is %" PRId64 " ms",
                 overdue->operation, now - overdue->since_ms, overdue->deadline_ms);
        emit(child, HEP_LIFE_ON_DEADLINE, why);
        return;
    }
    if (!child->channel)
        return;
    if (child->ping_out && now - child->pinged_ms > answer_allowed(child, hang_ms)) {
        snprintf(why, sizeof why, "did not answer a ping for %" PRId64 " ms", now - child->pinged_ms);
        emit(child, HEP_LIFE_ON_DEADLINE, why);
    } else if (!child->ping_out && now - child->answered_ms >= hang_ms / 2) {
        ping(child, now);
    }
}

int64_t hep_child_due(const struct hep_child *child, int64_t hang_ms)
{
    int64_t due = hep_watch_due(&child->watch);
    if (!child->channel)
        return due;
    int64_t ping =
        child->ping_out ? child->pinged_ms + answer_allowed(child, hang_ms) : child->answered_ms + hang_ms / 2;
    return due == 0 || ping < due ? ping : due;
}

/* ---- start and end
 * ----------------------------------------------------------------------------------------------------- */
static enum hep_status watch_all(struct hep_child *child, struct hep_error *error)
{
    HEP_TRY(
        hep_loop_watch(child->loop, child->process.report_fd, EPOLLIN, on_report, child, &child->report_source, error));
    HEP_TRY(
        hep_loop_watch(child->loop, child->process.stderr_fd, EPOLLIN, on_stderr, child, &child->stderr_source, error));
    return hep_loop_watch(child->loop, child->process.pid_fd, EPOLLIN, on_exit_seen, child, &child->pid_source, error);
}

enum hep_status hep_child_create(struct hep_loop *loop, enum hep_role role, uint64_t generation, const char *socket,
                                 const struct hep_spawn_order *order, const struct hep_child_events *events,
                                 struct hep_child **child, struct hep_error *error)
{
    struct hep_child *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a process");
    made->loop = loop;
    made->events = *events;
    made->role = role;
    made->generation = generation;
    made->process = (struct hep_spawned){-1, -1, -1, -1};
    made->started_ms = hep_now_ms();
    made->packet = malloc(HEP_REPORT_MAX);
    enum hep_status status = HEP_OK;
    if (!made->packet)
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a process");
    else if ((size_t)snprintf(made->socket, sizeof made->socket, "%s", socket) >= sizeof made->socket)
        status = hep_fail(error, HEP_E_BAD_CONFIG, "socket path %s is too long", socket);
    if (status == HEP_OK)
        status = hep_spawn(order, &made->process, error);
    if (status == HEP_OK) {
        hep_lines_init(&made->lines, made->process.stderr_fd);
        status = watch_all(made, error);
    }
    if (status != HEP_OK) {
        hep_child_destroy(made, "it could not be watched");
        return status;
    }
    *child = made;
    return HEP_OK;
}

enum hep_status hep_child_connect(struct hep_child *child, struct hep_error *error)
{
    hep_assert(!child->channel);
    return hep_channel_create(child->loop, child->socket, hep_role_name(child->role), &child->channel, error);
}

void hep_child_destroy(struct hep_child *child, const char *why)
{
    struct hep_child_end end;
    if (!child)
        return;
    if (child->process.pid_fd >= 0) {
        hep_child_signal(child, SIGKILL);
        reap(child, 0, &end);
    }
    struct hep_channel *channel = hep_take(&child->channel);
    hep_channel_close(channel, why);
    close_report(child);
    close_stderr(child);
    if (child->socket[0])
        unlink(child->socket);
    json_decref(child->operations);
    json_decref(child->status);
    free(child->packet);
    free(child);
}
