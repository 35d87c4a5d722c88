/*
 * Subscribers and the text of their streams. Called by http's exchanges (subscribe, read, destroy) and by the poller
 * (give, tick); everything is under the hub's one lock.
 */
#include "common/clock.h"
#include "common/text_format.h"
#include "common/wire.h"
#include "instructors/communication/events_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char greeting[] = "retry: 2000\n\n", comment[] = ": still here\n";

/* ---- the text of an event ---------------------------------------------------------------------------------------- */
/* A line break in a name would begin another field of the stream. */
static const char *name_of(const json_t *event)
{
    const char *name = hep_json_str(event, "name", "message");
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ')
            return "message";
    return name[0] ? name : "message";
}

/* False when out of memory. */
static bool make_text(struct event_text *text)
{
    if (text->text)
        return true;
    char *data = json_dumps(text->event, JSON_COMPACT | JSON_ENCODE_ANY);
    int length = -1;
    if (data && text->seq >= 0)
        length =
            asprintf(&text->text, "id: %" PRId64 "\nevent: %s\ndata: %s\n\n", text->seq, name_of(text->event), data);
    else if (data)
        length = asprintf(&text->text, "event: %s\ndata: %s\n\n", name_of(text->event), data);
    free(data);
    if (length < 0)
        text->text = NULL;
    text->bytes = length < 0 ? 0 : (size_t)length;
    return length >= 0;
}

void event_text_clear(struct event_text *text)
{
    free(text->text);
    text->text = NULL;
}

/* ---- one subscriber ---------------------------------------------------------------------------------------------- */
static void wake(struct subscriber *subscriber)
{
    if (!subscriber->paused)
        return;
    subscriber->paused = false;
    subscriber->wake(subscriber->context);
}

void subscriber_end(struct subscriber *subscriber)
{
    if (subscriber->ended)
        return;
    subscriber->ended = true;
    wake(subscriber);
}

static void append(struct subscriber *subscriber, const char *text, size_t bytes)
{
    if (subscriber->ended || subscriber->silent)
        return;
    if (!outbox_put(&subscriber->outbox, text, bytes)) {
        subscriber_end(subscriber);
        return;
    }
    subscriber->written_ms = hep_now_ms();
    wake(subscriber);
}

/* For what happens now there is room, or the reader is too slow. */
static void append_live(struct subscriber *subscriber, const char *text, size_t bytes)
{
    if (outbox_unread(&subscriber->outbox) + bytes > HEP_EVENTS_BACKLOG)
        subscriber_end(subscriber);
    else
        append(subscriber, text, bytes);
}

static bool wants(const struct subscriber *subscriber, const json_t *event)
{
    return !subscriber->types[0] || hep_names_hold(subscriber->types, hep_json_str(event, "name", ""));
}

static bool is_about(const struct subscriber *subscriber, const json_t *event)
{
    return !subscriber->kind[0] || strcmp(hep_json_str(event, subscriber->kind, ""), subscriber->name) == 0;
}

/* The last event of what it is about: into one of the states that end it. */
static bool is_end(const struct subscriber *subscriber, const json_t *event)
{
    static const char *const ends[] = {"completed", "failed", "cancelled"};
    const char *to = hep_json_str(event, "to", ""), *name = hep_json_str(event, "name", "");
    size_t length = strlen(subscriber->kind);
    if (length == 0 || strncmp(name, subscriber->kind, length) != 0 || strcmp(name + length, ".state") != 0)
        return false;
    for (size_t i = 0; i < HEP_COUNT_OF(ends); i++)
        if (strcmp(to, ends[i]) == 0)
            return true;
    return false;
}

static void tell_lost(struct subscriber *subscriber, int64_t kept_since, const char *what)
{
    struct event_text text = {.seq = -1};
    json_t *event = json_pack("{s:s, s:I, s:I, s:s}", "name", "events.lost", "after_seq", (json_int_t)subscriber->last,
                              "kept_since", (json_int_t)kept_since, "message", what);
    text.event = event;
    if (make_text(&text))
        append(subscriber, text.text, text.bytes);
    event_text_clear(&text);
    json_decref(event);
}

void subscriber_tell_lost(struct subscriber *subscriber, int64_t kept_since, int64_t all_since)
{
    int64_t next = subscriber->last + 1;
    if (subscriber->told_lost || !subscriber->resumes)
        return;
    subscriber->told_lost = true;
    if (next < kept_since)
        tell_lost(subscriber, kept_since, "events before kept_since are not kept any more");
    else if (next < all_since)
        tell_lost(subscriber, all_since, "events of progress before kept_since are not kept; all others follow");
}

void subscriber_start_over(struct subscriber *subscriber, int64_t seq)
{
    if (subscriber->resumes && !subscriber->told_lost)
        tell_lost(subscriber, seq + 1, "no event has had the number after_seq: what follows begins at kept_since");
    subscriber->told_lost = true;
    subscriber->last = seq;
}

/* A session's stream from its beginning begins with its acceptance, or that is gone. (A batch's are silent.) */
static void look_for_beginning(struct subscriber *subscriber, const json_t *event)
{
    bool begins = strcmp(hep_json_str(event, "name", ""), "session.accepted") == 0;
    if (!subscriber->kind[0] || subscriber->resumes || subscriber->told_lost || subscriber->silent)
        return;
    subscriber->told_lost = true;
    if (!begins)
        tell_lost(subscriber, hep_json_int(event, "seq", 0), "the beginning of this session is not kept any more");
}

void subscriber_give(struct subscriber *subscriber, struct event_text *text, bool history)
{
    if (!is_about(subscriber, text->event))
        return;
    if (text->seq >= 0)
        look_for_beginning(subscriber, text->event);
    if (wants(subscriber, text->event) && !subscriber->silent) {
        if (!make_text(text))
            subscriber_end(subscriber); /* it comes back for it */
        else if (history)
            append(subscriber, text->text, text->bytes);
        else
            append_live(subscriber, text->text, text->bytes);
    }
    if (text->seq >= 0 && !subscriber->ended)
        subscriber->last = text->seq;
    if (text->seq >= 0 && is_end(subscriber, text->event))
        subscriber_end(subscriber);
}

void subscriber_show(struct subscriber *subscriber, struct event_text *text)
{
    if (!subscriber->previews || subscriber->last < 0 || !is_about(subscriber, text->event) ||
        outbox_unread(&subscriber->outbox) > HEP_EVENTS_BACKLOG / 4)
        return;
    if (make_text(text))
        append(subscriber, text->text, text->bytes);
}

void subscriber_reached(struct subscriber *subscriber, int64_t seq)
{
    if (subscriber->last < seq)
        subscriber->last = seq;
    if (!subscriber->over || !subscriber->checked || subscriber->last < subscriber->hub->position)
        return;
    look_for_beginning(subscriber, NULL);
    subscriber_end(subscriber);
}

void subscriber_place(struct subscriber *subscriber, int64_t seq)
{
    subscriber->last = seq;
    append(subscriber, greeting, sizeof greeting - 1);
}

/* A stream with a filter hears little: the number that it has reached is told, so that it comes back from there. */
static void keep_alive(struct subscriber *subscriber)
{
    char text[64];
    bool filters = subscriber->types[0] || subscriber->kind[0];
    int bytes = filters && subscriber->last >= 0
                    ? snprintf(text, sizeof text, "%sid: %" PRId64 "\n\n", comment, subscriber->last)
                    : snprintf(text, sizeof text, "%s\n", comment);
    append_live(subscriber, text, (size_t)bytes);
}

int64_t subscribers_tick(struct event_hub *hub, int64_t now_ms)
{
    int64_t due = now_ms + hub->keep_alive_ms / 4 + 1;
    for (struct subscriber *s = hub->subscribers; s; s = s->next) {
        if (s->ended)
            continue;
        if (!s->silent && now_ms - s->written_ms >= hub->keep_alive_ms)
            keep_alive(s);
        if ((s->until_ms && now_ms >= s->until_ms) || (s->gone && s->gone(s->context)))
            subscriber_end(s);
        else if (s->until_ms && s->until_ms < due)
            due = s->until_ms;
    }
    return due;
}

/* ---- coming, reading, leaving ------------------------------------------------------------------------------------ */
static enum hep_status admit(struct event_hub *hub, struct subscriber *subscriber, struct hep_error *error)
{
    if (hub->stopping)
        return hep_fail(error, HEP_E_DOMAIN_DOWN, "the door is closing");
    if (!subscriber->silent && hub->listeners == HEP_EVENTS_SUBSCRIBERS_MAX)
        return hep_fail(error, HEP_E_BUSY, "%d clients listen to events already", HEP_EVENTS_SUBSCRIBERS_MAX);
    if (subscriber->last >= 0)
        append(subscriber, greeting, sizeof greeting - 1);
    subscriber->next = hub->subscribers;
    hub->subscribers = subscriber;
    hub->listeners += !subscriber->silent;
    pthread_cond_broadcast(&hub->changed);
    return HEP_OK;
}

void subscriber_free(struct subscriber *subscriber)
{
    outbox_clear(&subscriber->outbox);
    free(subscriber->types);
    free(subscriber);
}

enum hep_status event_hub_subscribe(struct event_hub *hub, const struct event_wish *wish, subscriber_signal *wake_up,
                                    void *context, struct subscriber **subscriber, struct hep_error *error)
{
    struct subscriber *result = calloc(1, sizeof *result);
    char *types = strdup(wish->types ? wish->types : "");
    if (!result || !types) {
        free(result);
        free(types);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a subscriber");
    }
    *result = (struct subscriber){.hub = hub,
                                  .last = wish->after,
                                  .resumes = wish->resumes,
                                  .over = wish->over,
                                  .silent = wish->silent,
                                  .previews = wish->previews,
                                  .kind = wish->kind ? wish->kind : "",
                                  .types = types,
                                  .until_ms = wish->until_ms,
                                  .written_ms = hep_now_ms(),
                                  .paused = wish->silent,
                                  .wake = wake_up,
                                  .gone = wish->gone,
                                  .context = context};
    snprintf(result->name, sizeof result->name, "%s", wish->name ? wish->name : "");
    pthread_mutex_lock(&hub->lock);
    enum hep_status status = admit(hub, result, error);
    if (status == HEP_OK)
        *subscriber = result;
    pthread_mutex_unlock(&hub->lock);
    if (status != HEP_OK)
        subscriber_free(result);
    return status;
}

ssize_t subscriber_read(struct subscriber *subscriber, char *buffer, size_t size, subscriber_signal *pause)
{
    struct event_hub *hub = subscriber->hub;
    pthread_mutex_lock(&hub->lock);
    ssize_t result = (ssize_t)outbox_take(&subscriber->outbox, buffer, size);
    if (result == 0 && subscriber->ended) {
        result = -1;
    } else if (result == 0) {
        subscriber->paused = true;
        pause(subscriber->context);
    }
    if (subscriber->last < hub->position)
        pthread_cond_broadcast(&hub->changed); /* it has room for more of its history */
    pthread_mutex_unlock(&hub->lock);
    return result;
}

int event_hub_subscribers(struct event_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    int count = hub->listeners;
    pthread_mutex_unlock(&hub->lock);
    return count;
}
