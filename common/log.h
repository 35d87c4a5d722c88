/*
 * Log lines: one line, key=value, the event first:
 *     hep_log(HEP_WARNING, "domain.died", "domain=%s pid=%d signal=%s", …)
 * gives   2026-01-31T12:34:56.789Z warning domain.died domain=inference pid=4711 signal=SEGV
 * Written to standard error with one write(2) each; a reader that is gone or slow loses lines, never blocks us: the
 * count of lost lines is part of the next line that gets through. Values from outside go through hep_log_quote.
 *
 * What a thread does for a session is said once, by whoever begins it (hep_log_enter): until hep_log_leave every line
 * of this thread has session= and request= of it, so that one session's lines can be found among those of all
 * processes.
 */
#ifndef HEP_COMMON_LOG_H
#define HEP_COMMON_LOG_H

#include "common/limits.h"

#include <stdbool.h>
#include <stddef.h>

enum hep_log_level { HEP_DEBUG, HEP_INFO, HEP_NOTICE, HEP_WARNING, HEP_ERROR_LEVEL, HEP_LOG_LEVEL_COUNT };

/* name: shown in every line (the process: "heptad", "inference"); copied. level: lowest that is written. */
void hep_log_init(const char *name, enum hep_log_level level);
void hep_log_set_level(enum hep_log_level level);
/* Where the lines go, standard error by default. fd is not closed by the log. */
void hep_log_set_fd(int fd);
const char *hep_log_level_name(enum hep_log_level level);
/* Level of a name ("debug" … "error"); false if there is none. */
bool hep_log_level_from_name(const char *name, enum hep_log_level *level);
__attribute__((format(printf, 3, 4))) void hep_log(enum hep_log_level level, const char *event, const char *format,
                                                   ...);
/* Whom a thread's lines are about. "" = nobody, no request. */
struct hep_log_context {
    char session[HEP_SESSION_ID_MAX];
    char request[HEP_REQUEST_ID_MAX];
};
/* From now on this thread's lines have this session and request (both copied; cut, and with '?' for what would break a
   line apart). A line that names a session itself gets the request only. Returns what was there before, for
   hep_log_leave. */
struct hep_log_context hep_log_enter(const char *session, const char *request);
void hep_log_leave(const struct hep_log_context *before);
/* Whether a line of a log says session=ID of this one. length: without the new line. */
bool hep_log_line_is_of(const char *line, size_t length, const char *session);
/* text in double quotes with control characters, quotes and backslashes escaped, cut to fit; returns buffer. */
const char *hep_log_quote(const char *text, char *buffer, size_t size);

#endif
