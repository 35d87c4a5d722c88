/*
 * What a child writes to its standard error: read without blocking, copied line by line to the log, the last ones kept
 * for its obituary. A flood is copied up to a rate and counted beyond it.
 */
#ifndef HEP_SUPERVISOR_PROC_LINES_H
#define HEP_SUPERVISOR_PROC_LINES_H

#include "common/crash.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEP_LINES_KEPT = 20, HEP_LINE_MAX = 1024, HEP_LINES_PER_SECOND = 200 };

struct hep_lines {
    int fd;                                  /* the pipe, not owned                        */
    char kept[HEP_LINES_KEPT][HEP_LINE_MAX]; /* ring of the last lines, NUL-terminated     */
    uint64_t count;                          /* lines so far                               */
    char partial[HEP_LINE_MAX];              /* the line that has no end yet               */
    size_t partial_length;
    char crash[HEP_LINE_MAX];                        /* what its crash handler said, see common/crash.h; "" = nothing */
    char frames[HEP_CRASH_FRAMES_MAX][HEP_LINE_MAX]; /* its stack, innermost first                  */
    int frame_count;
    int64_t second; /* of the rate                                */
    unsigned in_second;
    uint64_t dropped; /* not copied since the last report of it     */
};

void hep_lines_init(struct hep_lines *lines, int fd);
/* Reads what is there, at most a fixed amount. False at the end of the pipe. who: named when lines were dropped. */
bool hep_lines_read(struct hep_lines *lines, const char *who);
/* Takes bytes as if they had been read. */
void hep_lines_take(struct hep_lines *lines, const char *bytes, size_t count, const char *who);
/* The kept lines, oldest first, with the unfinished one; a new array. */
json_t *hep_lines_to_json(const struct hep_lines *lines);
/* What it said of its own end: reason and hint of its last line `domain.failed`, unquoted. False if it said nothing;
   the hint may be "". */
bool hep_lines_reason(const struct hep_lines *lines, char *reason, size_t reason_size, char *hint, size_t hint_size);
/* If its crash handler spoke, sets "crash" (signal, address, thread) and "stack" (module+offset of each frame). */
void hep_lines_add_crash(const struct hep_lines *lines, json_t *obituary);

#endif
