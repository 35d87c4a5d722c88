/*
 * The poller and the subscribers of server-sent events. One thread asks the supervisor; everything else is under one
 * lock. A subscriber that asks for older events moves the poller back: the others skip what they have.
 */
#include "instructors/communication/events.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/wire.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_WAIT_MS = 10000, ANSWER_MS = 5000, POLL_LIMIT = 256, RETRY_MS = 1000, ABANDONED_MAX = 4 };

struct subscriber {
    struct event_hub *hub;
    struct subscriber *next;
    int64_t last; /* number of the newest event it was given; < 0 = the next is the first */
    char *text;   /* unread part of the stream                                             */
    size_t begin, end, capacity;
    int64_t written_ms; /* when text was added last                                              */
    bool paused, ended;
    subscriber_signal *wake;
    void *context;
};

/* One question to the supervisor; whoever of the poller and the answer comes last frees it. */
struct question {
    struct event_hub *hub;
    bool answered, abandoned;
    enum hep_status status;
    json_t *data; /* owned */
};

struct event_hub {
    struct front_client *client;
    int64_t keep_alive_ms;
    pthread_t poller;
    pthread_mutex_t lock; /* guards all below                                                  */
    pthread_cond_t changed;
    struct subscriber *subscribers;
    int count;
    int64_t position; /* number of the event handed out last; < 0 = not known              */
    int64_t newest;   /* highest number known: position may have been set back since       */
    bool moved;       /* position was set back: the question in flight is for too new ones */
    int abandoned;    /* questions in flight that nobody waits for                         */
    bool stopping;
};

/* ---- the text of a stream ---------------------------------------------------------------------------------------- */
static void end_stream(struct subscriber *subscriber)
{
    subscriber->ended = true;
    if (subscriber->paused) {
        subscriber->paused = false;
        subscriber->wake(subscriber->context);
    }
}

static void append(struct subscriber *subscriber, const char *text, size_t bytes)
{
    size_t unread = subscriber->end - subscriber->begin;
    if (subscriber->ended)
        return;
    if (unread + bytes > HEP_EVENTS_BACKLOG) {
        end_stream(subscriber);
        return;
    }
    if (subscriber->begin > 0) {
        memmove(subscriber->text, subscriber->text + subscriber->begin, unread);
        subscriber->begin = 0;
        subscriber->end = unread;
    }
    if (unread + bytes > subscriber->capacity) {
        size_t capacity = 2 * (unread + bytes);
        char *grown = realloc(subscriber->text, capacity);
        if (!grown) {
            end_stream(subscriber);
            return;
        }
        subscriber->text = grown;
        subscriber->capacity = capacity;
    }
    memcpy(subscriber->text + subscriber->end, text, bytes);
    subscriber->end += bytes;
    subscriber->written_ms = hep_now_ms();
    if (subscriber->paused) {
        subscriber->paused = false;
        subscriber->wake(subscriber->context);
    }
}

/* A line break in a name would begin another field of the stream. */
static const char *name_of(const json_t *event)
{
    const char *name = hep_json_str(event, "name", "message");
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ')
            return "message";
    return name[0] ? name : "message";
}

/* malloc'ed; NULL when out of memory. seq < 0: without a number. */
static char *text_of(const json_t *event, int64_t seq, size_t *bytes)
{
    char *data = json_dumps(event, JSON_COMPACT | JSON_ENCODE_ANY), *text = NULL;
    int length = -1;
    if (data && seq >= 0)
        length = asprintf(&text, "id: %" PRId64 "\nevent: %s\ndata: %s\n\n", seq, name_of(event), data);
    else if (data)
        length = asprintf(&text, "event: %s\ndata: %s\n\n", name_of(event), data);
    free(data);
    *bytes = length < 0 ? 0 : (size_t)length;
    return length < 0 ? NULL : text;
}

static void hand_out(struct event_hub *hub, const json_t *event)
{
    size_t bytes;
    int64_t seq = hep_json_int(event, "seq", -1);
    char *text = text_of(event, seq, &bytes);
    for (struct subscriber *s = hub->subscribers; text && s; s = s->next)
        if (seq < 0 || seq > s->last) {
            append(s, text, bytes);
            s->last = seq < 0 ? s->last : seq;
        }
    free(text);
    if (seq > hub->position)
        hub->position = seq;
    if (seq > hub->newest)
        hub->newest = seq;
}

static void keep_alive(struct event_hub *hub)
{
    static const char comment[] = ": still here\n\n";
    int64_t now = hep_now_ms();
    for (struct subscriber *s = hub->subscribers; s; s = s->next)
        if (now - s->written_ms >= hub->keep_alive_ms)
            append(s, comment, sizeof comment - 1);
}

/* ---- asking the supervisor (the lock is held but while waiting) -------------------------------------------------- */
static void answered(void *context, enum hep_status status, json_t *data, const struct hep_error *error)
{
    struct question *question = context;
    struct event_hub *hub = question->hub;
    (void)error;
    pthread_mutex_lock(&hub->lock);
    if (question->abandoned) {
        hub->abandoned--;
        free(question);
    } else {
        question->answered = true;
        question->status = status;
        question->data = json_incref(data);
    }
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
}

/* Sleeps until something changes or a keep-alive is due, at most until the deadline. */
static void nap(struct event_hub *hub, int64_t deadline_ms)
{
    int64_t due = hep_now_ms() + hub->keep_alive_ms / 4 + 1;
    if (deadline_ms < due)
        due = deadline_ms;
    struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
    pthread_cond_timedwait(&hub->changed, &hub->lock, &until);
    keep_alive(hub);
}

/* false: no answer, or nobody needs it any more. *data is a new reference. */
static bool ask(struct event_hub *hub, const char *type, json_t *request, int64_t timeout_ms, json_t **data)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question) {
        json_decref(request);
        return false;
    }
    question->hub = hub;
    hub->moved = false;
    pthread_mutex_unlock(&hub->lock);
    enum hep_status status = front_request(hub->client, type, request, timeout_ms, answered, question, NULL);
    pthread_mutex_lock(&hub->lock);
    if (status != HEP_OK) {
        free(question);
        return false;
    }
    while (!question->answered && !(hub->moved && hub->abandoned < ABANDONED_MAX))
        nap(hub, INT64_MAX);
    if (!question->answered) {
        question->abandoned = true;
        hub->abandoned++;
        return false;
    }
    bool good = question->status == HEP_OK;
    *data = question->data;
    if (!good)
        json_decref(question->data);
    free(question);
    return good;
}

/* Where "now" is. Subscribers that know numbers of a future that never was (another store) start from now too. */
static bool find_position(struct event_hub *hub)
{
    json_t *status = NULL;
    if (!ask(hub, "status.get", NULL, ANSWER_MS, &status))
        return false;
    int64_t last = hep_json_int(status, "last_event", 0);
    hub->position = hub->newest = last;
    for (struct subscriber *s = hub->subscribers; s; s = s->next) {
        if (s->last < 0 || s->last > last)
            s->last = last;
        if (s->last < hub->position)
            hub->position = s->last;
    }
    json_decref(status);
    return true;
}

static bool poll_once(struct event_hub *hub)
{
    json_t *reply = NULL, *event;
    size_t index;
    if (!ask(hub, "events.poll",
             json_pack("{s:I, s:i, s:i}", "after_seq", (json_int_t)hub->position, "limit", POLL_LIMIT, "wait_ms",
                       POLL_WAIT_MS),
             POLL_WAIT_MS + ANSWER_MS, &reply))
        return hub->moved;
    if (!hub->moved) /* else: of a place that is not the poller's any more; asked again */
        json_array_foreach(json_object_get(reply, "events"), index, event) hand_out(hub, event);
    json_decref(reply);
    return true;
}

static void *poller_main(void *context)
{
    struct event_hub *hub = context;
    pthread_mutex_lock(&hub->lock);
    while (!hub->stopping) {
        if (hub->count == 0) {
            hub->position = -1; /* whoever comes next starts from its own "now" */
            pthread_cond_wait(&hub->changed, &hub->lock);
            continue;
        }
        bool went_well = hub->position < 0 ? find_position(hub) : poll_once(hub);
        for (int64_t until = hep_now_ms() + RETRY_MS; !went_well && !hub->stopping && hep_now_ms() < until;)
            nap(hub, until);
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */
enum hep_status event_hub_create(struct front_client *client, int64_t keep_alive_ms, struct event_hub **hub,
                                 struct hep_error *error)
{
    struct event_hub *result = calloc(1, sizeof *result);
    pthread_condattr_t monotonic;
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the events");
    result->client = client;
    result->keep_alive_ms = keep_alive_ms;
    result->position = -1;
    pthread_mutex_init(&result->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&result->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&result->poller, NULL, poller_main, result) != 0) {
        result->stopping = true;
        event_hub_destroy(result);
        return hep_fail(error, HEP_E_SYSTEM, "cannot start the thread that polls events");
    }
    *hub = result;
    return HEP_OK;
}

void event_hub_stop(struct event_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->stopping = true;
    for (struct subscriber *s = hub->subscribers; s; s = s->next)
        end_stream(s);
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
    pthread_join(hub->poller, NULL);
}

void event_hub_destroy(struct event_hub *hub)
{
    if (!hub)
        return;
    hep_assert(hub->stopping && !hub->subscribers && hub->abandoned == 0);
    pthread_cond_destroy(&hub->changed);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

/* ---- subscribers ------------------------------------------------------------------------------------------------- */
static enum hep_status admit(struct event_hub *hub, struct subscriber *subscriber, struct hep_error *error)
{
    static const char greeting[] = "retry: 2000\n\n";
    if (hub->stopping)
        return hep_fail(error, HEP_E_DOMAIN_DOWN, "the door is closing");
    if (hub->count == HEP_EVENTS_SUBSCRIBERS_MAX)
        return hep_fail(error, HEP_E_BUSY, "%d clients listen to events already", HEP_EVENTS_SUBSCRIBERS_MAX);
    append(subscriber, greeting, sizeof greeting - 1);
    if (hub->position >= 0 && (subscriber->last < 0 || subscriber->last > hub->newest))
        subscriber->last = hub->newest;
    if (subscriber->last >= 0 && subscriber->last < hub->position) {
        hub->position = subscriber->last;
        hub->moved = true;
    }
    subscriber->next = hub->subscribers;
    hub->subscribers = subscriber;
    hub->count++;
    pthread_cond_broadcast(&hub->changed);
    return HEP_OK;
}

enum hep_status event_hub_subscribe(struct event_hub *hub, int64_t after, subscriber_signal *wake, void *context,
                                    struct subscriber **subscriber, struct hep_error *error)
{
    struct subscriber *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a subscriber");
    *result = (struct subscriber){.hub = hub, .last = after, .wake = wake, .context = context};
    pthread_mutex_lock(&hub->lock);
    enum hep_status status = admit(hub, result, error);
    pthread_mutex_unlock(&hub->lock);
    if (status != HEP_OK) {
        free(result->text);
        free(result);
        return status;
    }
    *subscriber = result;
    return HEP_OK;
}

ssize_t subscriber_read(struct subscriber *subscriber, char *buffer, size_t size, subscriber_signal *pause)
{
    pthread_mutex_lock(&subscriber->hub->lock);
    size_t unread = subscriber->end - subscriber->begin;
    ssize_t result = (ssize_t)(unread < size ? unread : size);
    if (unread > 0) {
        memcpy(buffer, subscriber->text + subscriber->begin, (size_t)result);
        subscriber->begin += (size_t)result;
    } else if (subscriber->ended) {
        result = -1;
    } else {
        subscriber->paused = true;
        pause(subscriber->context);
    }
    pthread_mutex_unlock(&subscriber->hub->lock);
    return result;
}

void subscriber_destroy(struct subscriber *subscriber)
{
    if (!subscriber)
        return;
    struct event_hub *hub = subscriber->hub;
    pthread_mutex_lock(&hub->lock);
    struct subscriber **link = &hub->subscribers;
    while (*link != subscriber)
        link = &(*link)->next;
    *link = subscriber->next;
    hub->count--;
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
    free(subscriber->text);
    free(subscriber);
}

int event_hub_publish(struct event_hub *hub, const json_t *event)
{
    size_t bytes;
    char *text = text_of(event, -1, &bytes);
    pthread_mutex_lock(&hub->lock);
    int count = hub->count;
    for (struct subscriber *s = hub->subscribers; text && s; s = s->next)
        append(s, text, bytes);
    pthread_mutex_unlock(&hub->lock);
    free(text);
    return count;
}

int event_hub_subscribers(struct event_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    int count = hub->count;
    pthread_mutex_unlock(&hub->lock);
    return count;
}
