/*
 * What is said of a dead process: signal, core, uptime, what it had in hand, its last lines. Called by domain.c when a
 * process was reaped or could not be started; the record goes to the log, to the engine and into the status.
 */
#include "supervisor/proc/domain.h"

#include "common/build.h"
#include "common/clock.h"
#include "common/contract.h"
#include "common/log.h"
#include "common/wire.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

const char *hep_signal_name(int signal_number)
{
    const char *name = sigabbrev_np(signal_number);
    return name ? name : "?";
}

/* The reason as a sentence: what we know first (a deadline, the operator), else what its end says and, if it gave its
   reason before it exited, that. */
static void describe_end(const struct hep_domain *domain, const struct hep_child_end *end, const char *reason,
                         char *cause, size_t size)
{
    if (domain->cause[0])
        snprintf(cause, size, "%s", domain->cause);
    else if (end->signal == SIGSYS)
        snprintf(cause, size, "killed by SIGSYS: it made a system call that its confinement forbids");
    else if (end->signal)
        snprintf(cause, size, "killed by SIG%s", hep_signal_name(end->signal));
    else if (reason[0])
        snprintf(cause, size, "exit status %d: %s", end->exit_status, reason);
    else
        snprintf(cause, size, "exit status %d%s", end->exit_status,
                 domain->child->ready_ms ? "" : " before it was ready");
}

json_t *hep_obituary_of_child(const struct hep_domain *domain, const struct hep_child_end *end)
{
    const struct hep_child *child = domain->child;
    char cause[HEP_ERROR_MESSAGE_MAX + 64], reason[HEP_ERROR_MESSAGE_MAX] = "", hint[HEP_ERROR_HINT_MAX] = "";
    int64_t now = hep_now_ms();
    bool gave_reason = hep_lines_reason(&child->lines, reason, sizeof reason, hint, sizeof hint);
    describe_end(domain, end, gave_reason ? reason : "", cause, sizeof cause);
    json_t *obituary = json_pack(
        "{s:s, s:I, s:i, s:s, s:b, s:b, s:I, s:s, s:I, s:I, s:o, s:o}", "domain", hep_role_name(domain->role),
        "generation", (json_int_t)child->generation, "pid", (int)child->process.pid, "cause", cause, "core", end->core,
        "was_ready", child->ready_ms != 0, "uptime_ms", (json_int_t)(now - child->started_ms), "build", hep_build_id(),
        "max_rss_bytes", (json_int_t)end->max_rss_bytes, "cpu_ms", (json_int_t)end->cpu_ms, "last_lines",
        hep_lines_to_json(&child->lines), "in_hand", hep_watch_to_json(&child->watch, now));
    if (end->signal)
        json_object_set_new(obituary, "signal", json_string(hep_signal_name(end->signal)));
    else
        json_object_set_new(obituary, "exit_status", json_integer(end->exit_status));
    if (gave_reason && hint[0] && !domain->cause[0] && !end->signal)
        json_object_set_new(obituary, "hint", json_string(hint));
    hep_lines_add_crash(&child->lines, obituary);
    if (child->watch.count > 0) {
        const struct hep_watched *oldest = &child->watch.items[0];
        json_object_set_new(obituary, "operation", json_string(oldest->operation));
        json_object_set_new(obituary, "session", json_string(oldest->session));
        json_object_set_new(obituary, "attempt", json_integer((json_int_t)oldest->attempt));
    }
    return obituary;
}

json_t *hep_obituary_of_unborn(const struct hep_domain *domain, uint64_t generation, const struct hep_error *error)
{
    json_t *obituary =
        json_pack("{s:s, s:I, s:i, s:s, s:b, s:b, s:I, s:[], s:[]}", "domain", hep_role_name(domain->role),
                  "generation", (json_int_t)generation, "pid", 0, "cause", error->message, "core", 0, "was_ready", 0,
                  "uptime_ms", (json_int_t)0, "last_lines", "in_hand");
    if (error->hint[0])
        json_object_set_new(obituary, "hint", json_string(error->hint));
    return obituary;
}

void hep_obituary_log(const json_t *obituary)
{
    char cause[HEP_ERROR_MESSAGE_MAX], line[HEP_LINE_MAX], end[48], hand[256] = "", next[64] = "",
                                                                    last[HEP_LINE_MAX + 16] = "";
    const char *signal_name = hep_json_str(obituary, "signal", NULL);
    const json_t *lines = json_object_get(obituary, "last_lines");
    if (signal_name)
        snprintf(end, sizeof end, "signal=%s", signal_name);
    else if (!json_object_get(obituary, "exit_status"))
        snprintf(end, sizeof end, "started=no");
    else
        snprintf(end, sizeof end, "exit_status=%" PRId64, hep_json_int(obituary, "exit_status", -1));
    if (json_object_get(obituary, "operation"))
        snprintf(hand, sizeof hand, " operation=%.64s session=%.40s attempt=%" PRId64,
                 hep_json_str(obituary, "operation", ""), hep_json_str(obituary, "session", ""),
                 hep_json_int(obituary, "attempt", 0));
    if (json_object_get(obituary, "next_try_ms"))
        snprintf(next, sizeof next, " next_try_ms=%" PRId64, hep_json_int(obituary, "next_try_ms", 0));
    if (json_array_size(lines) > 0)
        snprintf(
            last, sizeof last, " last_line=%s",
            hep_log_quote(json_string_value(json_array_get(lines, json_array_size(lines) - 1)), line, sizeof line));
    bool asked = hep_json_bool(obituary, "asked", false);
    hep_log(asked ? HEP_INFO : HEP_WARNING, asked ? "domain.ended" : "domain.died",
            "domain=%s pid=%" PRId64 " generation=%" PRId64 " %s core=%s uptime_ms=%" PRId64 "%s state=%s%s cause=%s%s",
            hep_json_str(obituary, "domain", ""), hep_json_int(obituary, "pid", 0),
            hep_json_int(obituary, "generation", 0), end, hep_json_bool(obituary, "core", false) ? "yes" : "no",
            hep_json_int(obituary, "uptime_ms", 0), hand, hep_json_str(obituary, "state", ""), next,
            hep_log_quote(hep_json_str(obituary, "cause", ""), cause, sizeof cause), last);
}
