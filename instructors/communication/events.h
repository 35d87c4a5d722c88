/*
 * Events for the door's clients: one long poll of the supervisor's events.poll serves all of them, in order, each from
 * the number and with the filter that it asked for; who wants older events gets those first, by questions of its own.
 * A subscriber that does not read is let go: it comes back with Last-Event-ID. Knows no HTTP; any thread may call.
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

/* What a subscriber wants. Texts are copied. */
struct event_wish {
    int64_t after;     /* number of the last event that it has; < 0 = only what happens from now on             */
    bool resumes;      /* after is a number that the client has named: what is lost since then is told to it    */
    const char *kind;  /* "session" or "batch": only events of that of this name, and the stream ends behind the */
    const char *name;  /* event of its end; NULL = all                                                           */
    bool over;         /* it has ended already: the stream ends with what there is                              */
    const char *types; /* HEP_TEXT_NAMES; "" or NULL = all                                                      */
    bool previews;     /* the newest previews of what it is about as well: events without numbers, left out while it has
                          much unread                                                                            */
    int64_t until_ms;  /* monotonic: the stream ends then in any case; 0 = never                                */
    bool silent;       /* gets no text, costs no place: only the end is of interest. It counts as asleep        */
    bool (*gone)(void *context); /* of a silent one: asked now and then whether anybody still waits; NULL = yes   */
};

/* client must outlive the hub. keep_alive_ms: EVENTS_KEEP_ALIVE_MS but in tests. */
enum hep_status event_hub_create(struct front_client *client, int64_t keep_alive_ms, struct event_hub **hub,
                                 struct hep_error *error);
/* Ends the poller and every stream; the subscribers stay until each is destroyed. The client must have been closed. */
void event_hub_stop(struct event_hub *hub);
void event_hub_destroy(struct event_hub *hub); /* after the last subscriber; NULL is accepted */

/* wake is called once after each read that gave nothing, when there is something to read or the stream has ended; of a
   silent subscriber once, at its end, maybe before this returns. BUSY, NO_MEMORY, DOMAIN_DOWN (the door is closing):
   wake is not called. */
enum hep_status event_hub_subscribe(struct event_hub *hub, const struct event_wish *wish, subscriber_signal *wake,
                                    void *context, struct subscriber **subscriber, struct hep_error *error);
/* Bytes of the stream into buffer; 0: none now, and pause(context) was called before any wake could be; −1: the end. */
ssize_t subscriber_read(struct subscriber *subscriber, char *buffer, size_t size, subscriber_signal *pause);
void subscriber_destroy(struct subscriber *subscriber); /* NULL is accepted */

int event_hub_subscribers(struct event_hub *hub); /* without the silent ones */

#endif
