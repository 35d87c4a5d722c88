/*
 * Log lines: one line, key=value, the event first:
 *     hep_log(HEP_WARNING, "domain.died", "domain=%s pid=%d signal=%s", …)
 * gives   2026-01-31T12:34:56.789Z warning domain.died domain=inference pid=4711 signal=SEGV
 * Written to standard error with one write(2) each; a reader that is gone or slow loses lines, never blocks us: the
 * count of lost lines is part of the next line that gets through. Values from outside go through hep_log_quote.
 */
#ifndef HEP_COMMON_LOG_H
#define HEP_COMMON_LOG_H

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
/* text in double quotes with control characters, quotes and backslashes escaped, cut to fit; returns buffer. */
const char *hep_log_quote(const char *text, char *buffer, size_t size);

#endif
