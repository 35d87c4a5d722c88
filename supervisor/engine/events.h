/*
 * Events: what has happened, in order, each with a sequence number that never goes back, also over restarts. The newest
 * are in a ring in memory; durable ones are rows of the store too. An event is seen by nobody before it is committed.
 */
#ifndef HEP_SUPERVISOR_ENGINE_EVENTS_H
#define HEP_SUPERVISOR_ENGINE_EVENTS_H

#include "supervisor/engine/store.h"

enum { HEP_EVENTS_RING = 4096, HEP_EVENTS_STORED = 20000 };

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
/* Array of at most limit events with seq > after; what the ring has lost comes from the store. follows: who asks wants
   every event, and those that neither has any more are counted. New reference. */
json_t *hep_events_after(struct hep_events *events, uint64_t after, int limit, bool follows);
/* Events that somebody who follows came too late for, so far. */
uint64_t hep_events_missed(const struct hep_events *events);

#endif
