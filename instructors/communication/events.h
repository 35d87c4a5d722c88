/*
 * Server-sent events: one poller asks the supervisor's events.poll for everybody and hands each event to the
 * subscribers of GET /api/events, in order, from the number that each asked for. A subscriber that does not read is let
 * go: it comes back with Last-Event-ID. Knows no HTTP; any thread may call.
 */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_EVENTS_H
#define HEP_INSTRUCTORS_COMMUNICATION_EVENTS_H

#include "instructors/communication/front.h"

#include <sys/types.h>

enum {
    EVENTS_KEEP_ALIVE_MS = 15000 /* a comment is sent when nothing else was for so long */
};

struct event_hub;
struct subscriber;

/* Called with the hub's lock held: must not call back into the hub. */
typedef void subscriber_signal(void *context);

/* client must outlive the hub. keep_alive_ms: EVENTS_KEEP_ALIVE_MS but in tests. */
enum hep_status event_hub_create(struct front_client *client, int64_t keep_alive_ms, struct event_hub **hub,
                                 struct hep_error *error);
/* Ends the poller and every stream; the subscribers stay until each is destroyed. The client must have been closed. */
void event_hub_stop(struct event_hub *hub);
void event_hub_destroy(struct event_hub *hub); /* after the last subscriber; NULL is accepted */

/* after: the number of the last event that the subscriber has; < 0 = only what happens from now on. wake is called once
   after each read that gave nothing, when there is something to read or the stream has ended. BUSY, NO_MEMORY. */
enum hep_status event_hub_subscribe(struct event_hub *hub, int64_t after, subscriber_signal *wake, void *context,
                                    struct subscriber **subscriber, struct hep_error *error);
/* Bytes of the stream into buffer; 0: none now, and pause(context) was called before any wake could be; −1: the end. */
ssize_t subscriber_read(struct subscriber *subscriber, char *buffer, size_t size, subscriber_signal *pause);
void subscriber_destroy(struct subscriber *subscriber); /* NULL is accepted */

/* Sends an event of its own (without a number) to every subscriber; returns how many there are. Its name is its member
   "name", else "message". */
int event_hub_publish(struct event_hub *hub, const json_t *event);
int event_hub_subscribers(struct event_hub *hub);

#endif
