/*
 * What a process has in hand and whether it still gets on: the operations between their begin and end reports, each
 * with a clock that begins anew with every progress of the process. Pure: the caller brings the time and the reports.
 */
#ifndef HEP_SUPERVISOR_PROC_WATCH_H
#define HEP_SUPERVISOR_PROC_WATCH_H

#include "common/limits.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { HEP_WATCHED_MAX = HEP_OPERATIONS_IN_FLIGHT_MAX + 16 };

struct hep_watched {
    char request_id[HEP_REQUEST_ID_MAX];
    char operation[HEP_NAME_MAX];
    char session[HEP_SESSION_ID_MAX];
    int64_t attempt;
    int64_t deadline_ms; /* without progress for so long = hung; 0 = never               */
    int64_t began_ms;
    int64_t since_ms;    /* of its begin or of the last progress                         */
    int64_t step, steps; /* as it last said; 0 of 0 if it has none                    */
};

struct hep_watch {
    struct hep_watched items[HEP_WATCHED_MAX]; /* in order of their begin */
    int count;
    int64_t counter;     /* the largest progress counter so far                          */
    int64_t progress_ms; /* when it last grew                                            */
};

/* A begin report. False if it is malformed or too many are in hand. */
bool hep_watch_begin(struct hep_watch *watch, const json_t *report, int64_t now_ms);
/* An end report. False if nothing with its request_id is in hand. */
bool hep_watch_end(struct hep_watch *watch, const json_t *report);
/* A progress report. Only growth of its counter is progress: returns whether it grew. */
bool hep_watch_progress(struct hep_watch *watch, const json_t *report, int64_t now_ms);
/* Something was done that has no counter (an event). */
void hep_watch_touch(struct hep_watch *watch, int64_t now_ms);
/* The operation that has missed its deadline the longest ago; NULL if none has. */
const struct hep_watched *hep_watch_overdue(const struct hep_watch *watch, int64_t now_ms);
/* The longest deadline of what is in hand; 0 if nothing is. */
int64_t hep_watch_longest_deadline(const struct hep_watch *watch);
/* When the first deadline passes unless there is progress; 0 = none is set. */
int64_t hep_watch_due(const struct hep_watch *watch);
/* [{request_id, operation, session, attempt, for_ms, idle_ms (since the last progress of its process), step, steps}] of
   what is in hand; a new array. */
json_t *hep_watch_to_json(const struct hep_watch *watch, int64_t now_ms);

#endif
