/*
 * Messages between whoever uses the daemon: communication.publish, respond and wait. A message is a durable event named
 * "message": its number is its name and the cursor of those who wait, so nothing is lost when anybody is started again,
 * and whoever listens to events (events.poll, GET /api/events) sees it as well.
 */
#include "common/wire.h"
#include "supervisor/front/operations.h"

#include <stdio.h>
#include <string.h>

#define MESSAGE_EVENT "message"
enum {
    MESSAGE_BYTES_MAX = 64 << 10, /* of an event, as text                                                 */
    MESSAGE_DEPTH_MAX = 6,        /* arrays and objects in it: a reply that holds it nests no deeper than a frame may */
    PAGE_BYTES_MAX = 96 << 10,    /* of events in one reply: a frame holds 65536 values, of two bytes each at least   */
    PAGE_EVENTS = 256             /* looked at in one go                                                              */
};

struct publish_request {
    json_t *event;
    struct hep_str to, from;
};
struct respond_request {
    json_t *event;
    struct hep_str from;
    int64_t in_reply_to;
};
struct wait_request {
    struct hep_str subscriber;
    int64_t after, in_reply_to;
    bool messages;
    int32_t limit, wait_ms;
};
#define NAME_OF(type, member, ...) HEP_FIELD(STR, type, member, OPTIONAL, .max = HEP_NAME_MAX - 1, .help = __VA_ARGS__)
static const struct hep_field publish_fields[] = {
    HEP_FIELD(JSON, publish_request, event, REQUIRED, .help = "what to say: anything of at most 64 KiB"),
    NAME_OF(publish_request, to, "the subscriber that it is for; everybody if empty"),
    NAME_OF(publish_request, from, "who says it: an answer goes there"),
};
static const struct hep_field publish_says[] = {
    SAYS(I64, "message_id", "number of the message: for respond, and a cursor for wait")};
static const struct hep_field respond_fields[] = {
    HEP_FIELD(I64, respond_request, in_reply_to, REQUIRED, .min = 1, .help = "message_id of what is answered"),
    HEP_FIELD(JSON, respond_request, event, REQUIRED, .help = "the answer: anything of at most 64 KiB"),
    NAME_OF(respond_request, from, "who says it"),
};
static const struct hep_field respond_says[] = {SAYS(I64, "message_id", "number of the answer"),
                                                SAYS(STR, "to", "who gets it: whom the message was from")};
static const struct hep_field wait_fields[] = {
    NAME_OF(wait_request, subscriber, "own name: messages to others are left out; all messages if empty"),
    HEP_FIELD(I64, wait_request, after, DEFAULTED, .fallback = -1,
              .help = "cursor of the answer before; -1 = only what comes from now on"),
    HEP_FIELD(I64, wait_request, in_reply_to, OPTIONAL, .min = 0, .max = (double)(1LL << 53),
              .help = "only answers to this message; 0 = whatever"),
    HEP_FIELD(BOOL, wait_request, messages, OPTIONAL, .help = "messages only, not what the daemon itself tells"),
    HEP_FIELD(I32, wait_request, limit, DEFAULTED, .fallback = 100, .min = 1, .max = 500,
              .help = "events of one answer"),
    HEP_FIELD(I32, wait_request, wait_ms, DEFAULTED, .fallback = 30000, .max = HEP_WAIT_MAX_MS,
              .help = "wait so long for the first, ms"),
};
static const struct hep_field wait_says[] = {
    SAYS(JSON, "events",
         "seq, time, time_ms, name and the event's own fields of each; a message has event, to, from, in_reply_to"),
    SAYS(I64, "cursor", "`after` of the next wait")};

static const struct hep_event_filter every_event = {.session = "", .types = ""};

/* ---- pages --------------------------------------------------------------------------------------------------------
 */
json_t *hep_event_page(struct hep_events *events, uint64_t *after, const struct hep_event_filter *filter, int limit,
                       bool (*wants)(const json_t *event, const void *context), const void *context)
{
    json_t *page = json_array();
    size_t used = 0;
    for (;;) {
        uint64_t reached = *after;
        json_t *list = hep_events_after(events, *after, filter, wants ? PAGE_EVENTS : limit, &reached), *event;
        size_t index, count = json_array_size(list);
        json_array_foreach(list, index, event)
        {
            size_t bytes = json_dumpb(event, NULL, 0, JSON_COMPACT);
            bool wanted = !wants || wants(event, context);
            if (wanted && json_array_size(page) > 0 && used + bytes > PAGE_BYTES_MAX)
                break;
            *after = (uint64_t)hep_json_int(event, "seq", (int64_t)*after);
            if (wanted) {
                json_array_append(page, event);
                used += bytes;
            }
            if (json_array_size(page) >= (size_t)limit)
                break;
        }
        json_decref(list);
        if (index < count)
            return page;
        *after = reached;
        if (!wants || reached >= hep_events_last(events))
            return page;
    }
}

/* ---- saying -------------------------------------------------------------------------------------------------------
 */
static int depth_of(const json_t *value, int most)
{
    int deepest = 0;
    size_t index;
    const char *key;
    json_t *member;
    if ((!json_is_object(value) && !json_is_array(value)) || most == 0)
        return 0;
    json_array_foreach(value, index, member)
    {
        int depth = depth_of(member, most - 1);
        deepest = depth > deepest ? depth : deepest;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        int depth = depth_of(member, most - 1);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static enum hep_status check_event(const json_t *event, struct hep_error *error)
{
    size_t bytes = json_dumpb(event, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    if (bytes > MESSAGE_BYTES_MAX)
        return hep_fail_field(error, HEP_E_TOO_LARGE, "event", "event has %zu bytes, at most %d are told", bytes,
                              MESSAGE_BYTES_MAX);
    if (depth_of(event, MESSAGE_DEPTH_MAX + 1) > MESSAGE_DEPTH_MAX)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "event", "event nests deeper than %d", MESSAGE_DEPTH_MAX);
    return HEP_OK;
}

/* fields is taken. *seq: of the message, which is stored when this returns OK. */
static enum hep_status say(struct hep_engine *engine, json_t *event, const struct hep_str *from, json_t *fields,
                           uint64_t *seq, struct hep_error *error)
{
    enum hep_status status = check_event(event, error);
    if (status == HEP_OK && engine->store_error.code != HEP_OK) {
        *error = engine->store_error;
        status = error->code;
    }
    if (status != HEP_OK) {
        json_decref(fields);
        return status;
    }
    json_object_set(fields, "event", event);
    if (from->length > 0)
        json_object_set_new(fields, "from", json_string(from->data));
    *seq = hep_events_add(engine->events, MESSAGE_EVENT, true, fields);
    return hep_engine_settle(engine, error);
}

static enum hep_status publish(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct publish_request *request = request_;
    json_t *fields = json_object();
    uint64_t seq;
    (void)reply;
    if (request->to.length > 0)
        json_object_set_new(fields, "to", json_string(request->to.data));
    HEP_TRY(say(call->front->engine, request->event, &request->from, fields, &seq, error));
    hep_call_answer(call, json_pack("{s:I}", "message_id", (json_int_t)seq));
    return HEP_OK;
}

/* Who said the message of this number; a new reference. */
static enum hep_status find_message(struct hep_events *events, int64_t id, json_t **message, struct hep_error *error)
{
    uint64_t reached;
    json_t *list = hep_events_after(events, (uint64_t)id - 1, &every_event, 1, &reached),
           *found = json_array_get(list, 0);
    bool there = hep_json_int(found, "seq", 0) == id && strcmp(hep_json_str(found, "name", ""), MESSAGE_EVENT) == 0;
    *message = there ? json_incref(found) : NULL;
    json_decref(list);
    return there ? HEP_OK
                 : hep_fail_field(error, HEP_E_NOT_FOUND, "in_reply_to", "there is no message %" PRId64 " (any more)",
                                  id);
}

static enum hep_status respond(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct respond_request *request = request_;
    struct hep_engine *engine = call->front->engine;
    json_t *message;
    uint64_t seq = 0;
    (void)reply;
    HEP_TRY(find_message(engine->events, request->in_reply_to, &message, error));
    const char *to = hep_json_str(message, "from", "");
    json_t *fields = json_pack("{s:I}", "in_reply_to", (json_int_t)request->in_reply_to);
    if (to[0])
        json_object_set_new(fields, "to", json_string(to));
    enum hep_status status = say(engine, request->event, &request->from, fields, &seq, error);
    if (status == HEP_OK)
        hep_call_answer(call, json_pack("{s:I, s:s}", "message_id", (json_int_t)seq, "to", to));
    json_decref(message);
    return status;
}

/* ---- waiting ------------------------------------------------------------------------------------------------------
 */
static bool is_wanted(const json_t *event, const void *context)
{
    const struct hep_mail *mail = context;
    const char *to = hep_json_str(event, "to", "");
    if (strcmp(hep_json_str(event, "name", ""), MESSAGE_EVENT) != 0)
        return !mail->messages && mail->in_reply_to == 0;
    if (mail->in_reply_to > 0 && hep_json_int(event, "in_reply_to", 0) != mail->in_reply_to)
        return false;
    return !mail->subscriber[0] || !to[0] || strcmp(to, mail->subscriber) == 0;
}

static bool check_mail(struct hep_call *call)
{
    struct hep_events *events = call->front->engine->events;
    if (call->check && hep_events_last(events) <= call->after_seq)
        return false;
    json_t *page = hep_event_page(events, &call->after_seq, &every_event, call->limit, is_wanted, &call->mail);
    if (call->check && json_array_size(page) == 0) {
        json_decref(page);
        return false;
    }
    hep_call_end(call, HEP_OK, json_pack("{s:o, s:I}", "events", page, "cursor", (json_int_t)call->after_seq), NULL);
    return true;
}

static enum hep_status wait_for(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct wait_request *request = request_;
    (void)reply, (void)error;
    snprintf(call->mail.subscriber, sizeof call->mail.subscriber, "%s", request->subscriber.data);
    call->mail.in_reply_to = request->in_reply_to;
    call->mail.messages = request->messages;
    call->after_seq = request->after < 0 ? hep_events_last(call->front->engine->events) : (uint64_t)request->after;
    call->limit = request->limit;
    hep_call_wait(call, check_mail, request->wait_ms);
    return HEP_OK;
}

const struct hep_operation hep_message_operations[] = {
    {.name = "publish",
     .handler = publish,
     HEP_REQUEST(publish_request, publish_fields),
     REPLY(publish_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .aliases = HEP_ALIASES(HEP_ALIAS("send_message")),
     .help = "send a message to whoever listens to events, or to one of them"},
    {.name = "wait",
     .handler = wait_for,
     HEP_REQUEST(wait_request, wait_fields),
     REPLY(wait_says),
     .permission = HEP_CLIENT,
     .deadline_ms = HEP_WAIT_MAX_MS,
     .aliases = HEP_ALIASES(HEP_ALIAS_FOR("receive_message", "{\"messages\": true}")),
     .help = "events for a subscriber, from where it stopped: nothing is lost in between"},
    {.name = "respond",
     .handler = respond,
     HEP_REQUEST(respond_request, respond_fields),
     REPLY(respond_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .aliases = HEP_ALIASES(HEP_ALIAS("send_response")),
     .help = "answer a message: to whom it was from"},
    {0},
};
