/* What `heptctl top` shows: two looks at the daemon, and what went on between them. For top.c and its tests. */
#ifndef HEP_SUPERVISOR_CTL_TOP_H
#define HEP_SUPERVISOR_CTL_TOP_H

#include "supervisor/ctl/text.h"

#include <jansson.h>

enum { CTL_TOP_RUNNING = 50, CTL_TOP_QUEUED = 10 };

/* What was asked at one time. */
struct ctl_look {
    int64_t at_ms;            /* CLOCK_MONOTONIC                                     */
    json_t *status;           /* status.get                                          */
    json_t *running, *queued; /* session.list of these: at most so many, see above   */
};
void ctl_look_clear(struct ctl_look *look);

/* {at, interval_ms, state, line, uptime_ms, sessions, steps_per_second, running: [{session_id, status, progress,
   denoising_step, denoising_steps, steps_per_second, eta_ms, step_name, elapsed_ms, prompt}], queued: [{session_id,
   queue_position, priority, prompt}], domains: [{domain, state, healthy, busy, cpu, in_hand: {operation, session, step,
   steps, for_ms} or null, waiting, rss_bytes, reported_ms_ago}], memory}. Rates are null where nothing was seen yet.
   busy: share of the time with an operation in hand; cpu: cores. wall_ms: now. New reference. */
json_t *ctl_top_view(const struct ctl_look *before, const struct ctl_look *now, int64_t wall_ms);
void ctl_show_top(const json_t *view, const struct ctl_style *style, FILE *out);

#endif
