/*
 * Asking the supervisor for events, on one thread for all subscribers: where "now" is, then a long poll from there, and
 * beside it a question for each subscriber that is behind. Answers come on threads of the rpc layer and are looked at
 * here. The lock is held but while a question is sent.
 */
#include "common/clock.h"
#include "common/wire.h"
#include "instructors/communication/events_parts.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_WAIT_MS = 10000, ANSWER_MS = 5000, POLL_LIMIT = 256, HISTORY_LIMIT = 64, RETRY_MS = 1000 };
enum { HISTORY_ROOM = 32 << 10 /* unread bytes of a subscriber that is asked for more */ };

/* What is asked of the supervisor. To add one: a row, and what its answer is good for in take_answer. */
enum question_kind { POSITION, LIVE, HISTORY, PREVIEWS };
static const char *const operations[] = {
    [POSITION] = "events.poll", [LIVE] = "events.poll", [HISTORY] = "events.poll", [PREVIEWS] = "preview.poll"};

struct question {
    struct question *next;
    struct event_hub *hub;
    enum question_kind kind;
    struct subscriber *subscriber; /* HISTORY: who it is for; NULL: gone meanwhile */
    bool answered;
    enum hep_status status;
    json_t *data; /* owned */
};

/* ---- asking ------------------------------------------------------------------------------------------------------ */
static void answered(void *context, enum hep_status status, json_t *data, const struct hep_error *error)
{
    struct question *question = context;
    struct event_hub *hub = question->hub;
    (void)error;
    pthread_mutex_lock(&hub->lock);
    question->answered = true;
    question->status = status;
    question->data = data;
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
}

static void ask(struct event_hub *hub, enum question_kind kind, struct subscriber *subscriber, json_t *request,
                int64_t timeout_ms)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question) {
        json_decref(request);
        hub->retry_ms = hep_now_ms() + RETRY_MS;
        return;
    }
    *question = (struct question){.next = hub->questions, .hub = hub, .kind = kind, .subscriber = subscriber};
    hub->questions = question;
    hub->asking = hub->asking || kind == POSITION;
    hub->polling = hub->polling || kind == LIVE;
    hub->looking = hub->looking || kind == PREVIEWS;
    if (subscriber)
        subscriber->history = question;
    pthread_mutex_unlock(&hub->lock);
    enum hep_status status =
        front_request(hub->client, operations[kind], request, NULL, timeout_ms, answered, question, NULL);
    if (status != HEP_OK)
        answered(question, status, NULL, NULL);
    pthread_mutex_lock(&hub->lock);
}

static void ask_history(struct event_hub *hub, struct subscriber *subscriber)
{
    json_t *request = json_pack("{s:I, s:i}", "after_seq", (json_int_t)subscriber->last, "limit", HISTORY_LIMIT);
    if (strcmp(subscriber->kind, "session") == 0) /* its few events are looked through here */
        json_object_set_new(request, "session_id", json_string(subscriber->name));
    else if (subscriber->kind[0])
        json_object_set_new(request, "types", json_sprintf("%s.state", subscriber->kind));
    else
        json_object_set_new(request, "types", json_string(subscriber->types));
    ask(hub, HISTORY, subscriber, request, ANSWER_MS);
}

static bool needs_history(const struct subscriber *subscriber, int64_t position)
{
    if (subscriber->ended || subscriber->history || outbox_unread(&subscriber->outbox) > HISTORY_ROOM)
        return false;
    return subscriber->last < position ||
           (!subscriber->checked && (subscriber->over || subscriber->last > position)); /* we may be late ourselves */
}

static bool wants_previews(const struct event_hub *hub)
{
    for (const struct subscriber *s = hub->subscribers; s; s = s->next)
        if (s->previews && !s->ended)
            return true;
    return false;
}

/* True: something was asked, and the lock was not held meanwhile. */
static bool ask_what_is_due(struct event_hub *hub)
{
    if (!hub->subscribers || hep_now_ms() < hub->retry_ms)
        return false;
    if (hub->position < 0) {
        if (hub->asking)
            return false;
        ask(hub, POSITION, NULL, json_pack("{s:i}", "after_seq", -1), ANSWER_MS);
        return true;
    }
    if (!hub->polling) {
        ask(hub, LIVE, NULL,
            json_pack("{s:I, s:i, s:i}", "after_seq", (json_int_t)hub->position, "limit", POLL_LIMIT, "wait_ms",
                      POLL_WAIT_MS),
            POLL_WAIT_MS + ANSWER_MS);
        return true;
    }
    if (!hub->looking && wants_previews(hub)) {
        ask(hub, PREVIEWS, NULL, json_pack("{s:I, s:i}", "after", (json_int_t)hub->previews, "wait_ms", POLL_WAIT_MS),
            POLL_WAIT_MS + ANSWER_MS);
        return true;
    }
    for (struct subscriber *s = hub->subscribers; s; s = s->next) {
        if (s->last < 0)
            subscriber_place(s, hub->position);
        if (!needs_history(s, hub->position))
            continue;
        ask_history(hub, s);
        return true;
    }
    return false;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */
static int64_t seq_of(const json_t *event)
{
    return hep_json_int(event, "seq", -1);
}

static void take_live(struct event_hub *hub, const json_t *data)
{
    size_t index;
    json_t *event;
    int64_t reached = hep_json_int(data, "last_seq", hub->position);
    json_array_foreach(json_object_get(data, "events"), index, event)
    {
        struct event_text text = {.event = event, .seq = seq_of(event)};
        for (struct subscriber *s = hub->subscribers; s; s = s->next)
            if (s->last >= hub->position && text.seq > s->last) { /* who is behind gets it from its history */
                subscriber_give(s, &text, false);
                s->last = s->last < text.seq ? text.seq : s->last;
            }
        event_text_clear(&text);
        hub->position = text.seq > hub->position ? text.seq : hub->position;
    }
    for (struct subscriber *s = hub->subscribers; s; s = s->next)
        if (s->last >= hub->position)
            subscriber_reached(s, reached);
    hub->position = reached > hub->position ? reached : hub->position;
}

static void take_history(struct event_hub *hub, struct subscriber *subscriber, const json_t *data)
{
    size_t index;
    json_t *event;
    int64_t before = subscriber->last, reached = hep_json_int(data, "last_seq", before);
    subscriber->checked = true;
    if (reached < before) {
        subscriber_start_over(subscriber, reached);
        return;
    }
    subscriber_tell_lost(subscriber, hep_json_int(data, "kept_since", 0), hep_json_int(data, "all_since", 0));
    json_array_foreach(json_object_get(data, "events"), index, event)
    {
        struct event_text text = {.event = event, .seq = seq_of(event)};
        if (text.seq > subscriber->last)
            subscriber_give(subscriber, &text, true);
        event_text_clear(&text);
    }
    subscriber_reached(subscriber, reached > before ? reached : hub->position);
}

static void take_previews(struct event_hub *hub, const json_t *data)
{
    size_t index;
    json_t *preview;
    json_array_foreach(json_object_get(data, "previews"), index, preview)
    {
        struct event_text text = {.event = preview, .seq = -1};
        for (struct subscriber *s = hub->subscribers; s; s = s->next)
            subscriber_show(s, &text);
        event_text_clear(&text);
    }
    hub->previews = hep_json_int(data, "last", 0);
}

static void take_answer(struct event_hub *hub, struct question *question)
{
    bool good = question->status == HEP_OK;
    if (!good)
        hub->retry_ms = hep_now_ms() + RETRY_MS;
    switch (question->kind) {
    case POSITION:
        hub->asking = false;
        if (good)
            hub->position = hep_json_int(question->data, "last_seq", 0);
        return;
    case LIVE:
        hub->polling = false;
        if (good)
            take_live(hub, question->data);
        return;
    case PREVIEWS:
        hub->looking = false;
        if (good)
            take_previews(hub, question->data);
        return;
    case HISTORY:
        if (!question->subscriber)
            return;
        question->subscriber->history = NULL;
        if (good && !question->subscriber->ended)
            take_history(hub, question->subscriber, question->data);
        return;
    }
}

static void take_answers(struct event_hub *hub)
{
    for (struct question **link = &hub->questions; *link;) {
        struct question *question = *link;
        if (!question->answered) {
            link = &question->next;
            continue;
        }
        *link = question->next;
        take_answer(hub, question);
        json_decref(question->data);
        free(question);
    }
}

static bool has_answers(const struct event_hub *hub)
{
    for (const struct question *q = hub->questions; q; q = q->next)
        if (q->answered)
            return true;
    return false;
}

static void nap(struct event_hub *hub, int64_t due)
{
    if (!hub->subscribers && !hub->questions) {
        hub->position = -1; /* whoever comes next starts from its own "now" */
        pthread_cond_wait(&hub->changed, &hub->lock);
        return;
    }
    if (hub->retry_ms > hep_now_ms() && hub->retry_ms < due)
        due = hub->retry_ms;
    struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
    pthread_cond_timedwait(&hub->changed, &hub->lock, &until);
}

static void *poller_main(void *context)
{
    struct event_hub *hub = context;
    pthread_mutex_lock(&hub->lock);
    while (!hub->stopping) {
        take_answers(hub);
        int64_t due = subscribers_tick(hub, hep_now_ms());
        if (!ask_what_is_due(hub) && !hub->stopping && !has_answers(hub))
            nap(hub, due);
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
        subscriber_end(s);
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
    pthread_join(hub->poller, NULL);
}

void event_hub_destroy(struct event_hub *hub)
{
    if (!hub)
        return;
    hep_assert(hub->stopping && !hub->subscribers);
    while (hub->questions) { /* all answered: the client was closed */
        struct question *question = hub->questions;
        hep_assert(question->answered);
        hub->questions = question->next;
        json_decref(question->data);
        free(question);
    }
    pthread_cond_destroy(&hub->changed);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
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
    hub->listeners -= !subscriber->silent;
    if (subscriber->history)
        subscriber->history->subscriber = NULL;
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
    subscriber_free(subscriber);
}
