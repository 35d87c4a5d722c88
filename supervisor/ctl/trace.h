/* A session's life as trace events. For trace.c and the tests. */
#ifndef HEP_SUPERVISOR_CTL_TRACE_H
#define HEP_SUPERVISOR_CTL_TRACE_H

#include <jansson.h>
#include <stdint.h>

/* The trace of a session in the JSON form of Chrome's Trace Event Format, times in µs since its acceptance:
   {traceEvents, displayTimeUnit, otherData}. Spans (ph X) of one track nest.
     track 0: the session (cat "session"), in it its states (cat "state"), which fill it;
     a track for each domain: attempts of steps (cat "step"), in each "waiting" (cat "queue"), "in hand" (cat "hand"),
   and in that, denoising (cat "progress"); instants (ph i) where a process died or was ready again. session: as
   session.get. events: those of the time of its life, oldest first, of it and of the domains; others are passed over,
   and what is missing is left out. incidents: as domain.incidents, NULL = not known. now_ms: wall time, where a session
   ends that has not ended. New reference. */
json_t *ctl_trace_make(const json_t *session, const json_t *events, const json_t *incidents, int64_t now_ms);

#endif
