/*
 * The routes of server-sent events: where a stream begins, and its bytes. Its connection sleeps while there is nothing
 * to send. Called by exchange.c and answer.c.
 */
#include "common/clock.h"
#include "common/wire.h"
#include "instructors/communication/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_BLOCK = 16384 };

/* ---- bytes ------------------------------------------------------------------------------------------------------- */
static void pause_stream(void *connection)
{
    MHD_suspend_connection(connection);
}

static void wake_stream(void *connection)
{
    MHD_resume_connection(connection);
}

static ssize_t read_stream(void *stream, uint64_t position, char *buffer, size_t size)
{
    (void)position;
    ssize_t bytes = subscriber_read(stream, buffer, size, pause_stream);
    return bytes < 0 ? MHD_CONTENT_READER_END_OF_STREAM : bytes;
}

static void free_stream(void *stream)
{
    subscriber_destroy(stream);
}

struct MHD_Response *stream_response(struct exchange *exchange)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, exchange->stream, free_stream);
    if (response) {
        exchange->stream = NULL;
        MHD_add_response_header(response, "Content-Type", "text/event-stream");
    }
    return response;
}

/* ---- where it begins --------------------------------------------------------------------------------------------- */
/* The browser's EventSource says where it was in a header, others in the query. */
static enum hep_status find_start(struct exchange *exchange, struct event_wish *wish, struct hep_error *error)
{
    const char *last = exchange_header(exchange->connection, "Last-Event-ID");
    json_t *named = json_object_get(exchange->match.data, "after_seq");
    char *end;
    if (last) {
        errno = 0;
        wish->after = strtoll(last, &end, 10);
        if (*last < '0' || *last > '9' || *end || errno)
            return hep_fail_field(error, HEP_E_BAD_FIELD, "Last-Event-ID",
                                  "Last-Event-ID must be the number of an event");
    } else if (named) {
        wish->after = (int64_t)json_integer_value(named);
    }
    wish->resumes = wish->after >= 0 && (last || named);
    return HEP_OK;
}

static enum hep_status find_wish(struct exchange *exchange, struct event_wish *wish, struct hep_error *error)
{
    const char *types = hep_json_str(exchange->match.data, "types", "");
    HEP_TRY(find_start(exchange, wish, error));
    if (strlen(types) > HEP_EVENT_TYPES_MAX)
        return hep_fail_field(error, HEP_E_TOO_LARGE, "types", "types has %zu bytes, at most %d are allowed",
                              strlen(types), HEP_EVENT_TYPES_MAX);
    if (types[0] && !hep_text_is(HEP_TEXT_NAMES, types))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "types", "types is \"%.60s\"; it must be %s", types,
                              hep_text_format_what(HEP_TEXT_NAMES));
    wish->types = types;
    wish->previews = exchange->options.previews;
    if (exchange->options.seconds > 0)
        wish->until_ms = hep_now_ms() + INT64_C(1000) * exchange->options.seconds;
    return HEP_OK;
}

static enum exchange_state subscribe(struct exchange *exchange, const struct event_wish *wish)
{
    struct hep_error error = {0};
    if (event_hub_subscribe(exchange->server->events, wish, wake_stream, exchange->connection, &exchange->stream,
                            &error) != HEP_OK)
        return exchange_refuse(exchange, &error);
    exchange->status = MHD_HTTP_OK;
    return EXCHANGE_ANSWERED;
}

enum exchange_state exchange_events(struct exchange *exchange)
{
    struct event_wish wish = {.after = -1};
    struct hep_error error = {0};
    if (find_wish(exchange, &wish, &error) != HEP_OK)
        return exchange_refuse(exchange, &error);
    return subscribe(exchange, &wish);
}

/* ---- of one session ---------------------------------------------------------------------------------------------- */
static enum exchange_state listen_to(struct exchange *exchange, bool over)
{
    struct event_wish wish = {.over = over, .kind = "session", .name = exchange->session};
    struct hep_error error = {0};
    if (find_wish(exchange, &wish, &error) != HEP_OK)
        return exchange_refuse(exchange, &error);
    if (wish.after < 0)
        wish.after = 0;
    return subscribe(exchange, &wish);
}

/* It has ended: is there an event that the client does not have? A stream without one would make it come back for ever;
   204 tells an EventSource not to. */
static enum exchange_state say_rest(struct exchange *exchange)
{
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    if (json_array_size(json_object_get(exchange->reply, "events")) > 0)
        return listen_to(exchange, true);
    exchange->status = MHD_HTTP_NO_CONTENT;
    exchange->empty = true;
    return EXCHANGE_ANSWERED;
}

static enum exchange_state see_session(struct exchange *exchange)
{
    struct event_wish wish = {.after = 0};
    struct hep_error error = {0};
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    if (find_wish(exchange, &wish, &error) != HEP_OK)
        return exchange_refuse(exchange, &error);
    if (!session_has_ended(exchange->reply) || !wish.resumes)
        return listen_to(exchange, session_has_ended(exchange->reply));
    return exchange_ask(exchange, "events.poll",
                        json_pack("{s:I, s:s, s:s, s:i}", "after_seq", (json_int_t)wish.after, "session_id",
                                  exchange->session, "types", wish.types, "limit", 1),
                        say_rest);
}

enum exchange_state exchange_session_events(struct exchange *exchange)
{
    struct event_wish wish = {.after = 0};
    struct hep_error error = {0};
    const char *session = hep_json_str(exchange->match.data, "session_id", "");
    if (find_wish(exchange, &wish, &error) != HEP_OK) /* before anybody is asked */
        return exchange_refuse(exchange, &error);
    snprintf(exchange->session, sizeof exchange->session, "%s", session);
    return exchange_ask(exchange, "session.get", json_pack("{s:s}", "session_id", session), see_session);
}
