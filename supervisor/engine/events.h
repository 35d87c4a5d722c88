/*
 * Events: what has happened, in order, each with a sequence number that never goes back, also over restarts. The newest
 * are in a ring in memory; durable ones are rows of the store too. An event is seen by nobody before it is committed.
 */
#ifndef HEP_SUPERVISOR_ENGINE_EVENTS_H
#define HEP_SUPERVISOR_ENGINE_EVENTS_H

#include "supervisor/engine/store.h"

enum { HEP_EVENTS_RING = 4096, HEP_EVENTS_STORED = 20000, HEP_EVENTS_LOOKED_AT = 2000 /* rows of one question */ };

struct hep_events;

/* Continues the numbers of the store. NO_MEMORY, errors of the store. */
enum hep_status hep_events_create(struct hep_store *store, struct hep_events **events, struct hep_error *error);
void hep_events_destroy(struct hep_events *events); /* NULL is accepted */
/* Adds an event {seq, time, name, …fields}; fields is an object or NULL, its reference is taken. Returns its seq. */
uint64_t hep_events_add(struct hep_events *events, const char *name, bool durable, json_t *fields);
/* Whether there is anything for hep_events_store or _announce. */
bool hep_events_pending(const struct hep_events *events);
bool hep_events_pending_durable(const struct hep_events *events);
/* Whether the next hep_events_store takes a new range of numbers, which must not be forgotten: clients will know them.
 */
bool hep_events_must_reserve(const struct hep_events *events);
/* Inside a transaction: writes the pending durable ones. */
enum hep_status hep_events_store(struct hep_events *events, struct hep_error *error);
/* After the commit: the pending ones can be seen. */
void hep_events_announce(struct hep_events *events);
/* The newest that can be seen; 0 = none yet. */
uint64_t hep_events_last(const struct hep_events *events);
/* What of the events is wanted; texts may be "". */
struct hep_event_filter {
    const char *session; /* only those of this session                  */
    const char *types;   /* only those with such a name, HEP_TEXT_NAMES */
    bool follows;        /* who asks wants every event: those that neither ring nor store has any more are counted */
};
/* Array of at most limit events with seq > after; what the ring has lost comes from the store. *reached: the number up
   to which all have been looked at, those that are not wanted included: the next question begins there. It may be
   smaller than that of the newest even with an empty array. New reference. */
json_t *hep_events_after(struct hep_events *events, uint64_t after, const struct hep_event_filter *filter, int limit,
                         uint64_t *reached);
/* From this number on every durable event is there … */
uint64_t hep_events_kept_since(const struct hep_events *events);
/* … and from this one on the others are there too. */
uint64_t hep_events_all_since(const struct hep_events *events);
/* Events that somebody who follows came too late for, so far. */
uint64_t hep_events_missed(const struct hep_events *events);

#endif
