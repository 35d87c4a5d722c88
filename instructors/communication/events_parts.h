/* Inside the hub of events: shared by events.c (subscribers and their streams) and poller.c (asking the supervisor). */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_EVENTS_PARTS_H
#define HEP_INSTRUCTORS_COMMUNICATION_EVENTS_PARTS_H

#include "common/limits.h"
#include "instructors/communication/events.h"
#include "instructors/communication/outbox.h"

#include <pthread.h>

struct question; /* poller.c */

/*
 * `last` is the number up to which a subscriber has been given everything. It is level with the hub when it is not less
 * than the hub's position: then it gets the next event as it comes. Else it is behind, and history is asked for it.
 */
struct subscriber {
    struct event_hub *hub;
    struct subscriber *next;
    int64_t last; /* < 0 = where the hub will be when it knows                                    */
    bool resumes, over, silent, previews;
    const char *kind; /* "" = of everything                                                        */
    char name[HEP_SESSION_ID_MAX], *types;
    int64_t until_ms;
    struct question *history; /* asked for it; NULL = none                                        */
    bool checked;             /* it has been answered once                                        */
    bool told_lost;           /* whether something may be lost has been decided                   */
    struct outbox outbox;
    int64_t written_ms; /* when text was added last                                               */
    bool paused, ended;
    subscriber_signal *wake;
    bool (*gone)(void *context);
    void *context;
};

struct event_hub {
    struct front_client *client;
    int64_t keep_alive_ms;
    pthread_t poller;
    pthread_mutex_t lock; /* guards all below                                                     */
    pthread_cond_t changed;
    struct subscriber *subscribers;
    int listeners;              /* that are not silent                                                    */
    int64_t position;           /* everything up to this number has been handed out; < 0 = not known      */
    struct question *questions; /* in hand, or answered and not looked at yet                     */
    bool asking, polling;       /* among them: where "now" is; the long poll                      */
    bool looking;               /* and the long poll of previews, while somebody wants them        */
    int64_t previews;           /* number of the last one that was handed out; 0 = none            */
    int64_t retry_ms;           /* monotonic: nothing is asked before; the last question went wrong       */
    bool stopping;
};

/* An event on its way to subscribers; its text is made for the first that takes it. */
struct event_text {
    const json_t *event;
    int64_t seq; /* < 0 = none            */
    char *text;  /* NULL = not made yet   */
    size_t bytes;
};
void event_text_clear(struct event_text *text);

/* events.c */
void subscriber_free(struct subscriber *subscriber);
/* events.c; the lock is held. */
void subscriber_end(struct subscriber *subscriber);
/* The supervisor's next event for it: given if its filter takes it. history: it was asked for, and waited for room. */
void subscriber_give(struct subscriber *subscriber, struct event_text *text, bool history);
/* A preview for it, if it wants them, is there, and has little unread. Given once more, newer, if it is left out. */
void subscriber_show(struct subscriber *subscriber, struct event_text *text);
/* Its number is not one of this store: what follows begins behind seq. */
void subscriber_start_over(struct subscriber *subscriber, int64_t seq);
/* It came without a number: it gets what follows seq, and the greeting says that from here on nothing escapes it. */
void subscriber_place(struct subscriber *subscriber, int64_t seq);
/* Everything up to seq has been looked at for it. */
void subscriber_reached(struct subscriber *subscriber, int64_t seq);
/* Events after its `last` may be gone: kept_since … are there, and all_since … with those of progress. */
void subscriber_tell_lost(struct subscriber *subscriber, int64_t kept_since, int64_t all_since);
/* Comments to those that heard nothing for long, ends of those whose time is over. When to look again. */
int64_t subscribers_tick(struct event_hub *hub, int64_t now_ms);

#endif
