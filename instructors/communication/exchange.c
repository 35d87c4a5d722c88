/*
 * What is done for a request: its query and body are taken, the supervisor is asked, its answer becomes ours. Called by
 * http.c on libmicrohttpd's thread; answers of the supervisor come on a thread of the rpc layer, which only keeps them
 * and lets the connection go on.
 */
#include "instructors/communication/exchange.h"

#include "common/crash_point.h"
#include "common/wire.h"
#include "instructors/communication/openapi.h"

#include <stdlib.h>
#include <string.h>

enum { RETRY_MAX_MS = 3600000 };

/* ---- the answer -------------------------------------------------------------------------------------------------- */
/* Rounded up; not known is a second. */
static int seconds_of(int64_t ms)
{
    return ms <= 1000 ? 1 : ms > RETRY_MAX_MS ? RETRY_MAX_MS / 1000 : (int)((ms + 999) / 1000);
}

enum exchange_state exchange_say(struct exchange *exchange, int status, json_t *answer)
{
    json_decref(exchange->answer);
    exchange->answer = answer;
    exchange->status = status;
    exchange->failed = false;
    return EXCHANGE_ANSWERED;
}

enum exchange_state exchange_refuse(struct exchange *exchange, const struct hep_error *error)
{
    json_decref(exchange->answer);
    exchange->status = exchange->allow[0] ? MHD_HTTP_METHOD_NOT_ALLOWED : hep_status_http(error->code);
    exchange->answer = hep_error_to_json(error);
    exchange->failed = true;
    exchange->retry_after = exchange->status == MHD_HTTP_SERVICE_UNAVAILABLE ? seconds_of(error->retry_after_ms) : 0;
    atomic_fetch_add(&exchange->server->refused, 1);
    return EXCHANGE_ANSWERED;
}

enum exchange_state exchange_fail(struct exchange *exchange)
{
    exchange_refuse(exchange, &exchange->error);
    if (exchange->reply) {
        json_decref(exchange->answer);
        exchange->answer = hep_take(&exchange->reply);
    }
    return EXCHANGE_ANSWERED;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */
/* A thread of the rpc layer: keep the answer, let the connection go on. */
static void answered(void *context, enum hep_status status, json_t *data, const struct hep_error *error)
{
    struct exchange *exchange = context;
    HEP_CRASH_POINT("communication.before_answer");
    exchange->said = status;
    exchange->reply = data;
    if (status != HEP_OK)
        exchange->error = *error;
    atomic_fetch_sub(&exchange->server->waiting, 1);
    MHD_resume_connection(exchange->connection);
}

/* The connection sleeps before the question leaves: its answer may come at once. */
enum exchange_state exchange_ask(struct exchange *exchange, const char *type, json_t *data, exchange_step *then)
{
    struct http_server *server = exchange->server;
    const char *operator_token = exchange_header(exchange->connection, "X-Heptad-Operator");
    struct hep_error error = {0};
    json_decref(hep_take(&exchange->reply));
    exchange->next = then;
    visitor_now(server, exchange->connection, VISITOR_SERVED);
    atomic_fetch_add(&server->waiting, 1);
    MHD_suspend_connection(exchange->connection);
    if (front_request(server->client, type, data, operator_token, server->answer_ms, answered, exchange, &error) !=
        HEP_OK)
        answered(exchange, error.code, NULL, &error);
    return EXCHANGE_ASLEEP;
}

/* ---- the routes -------------------------------------------------------------------------------------------------- */
static enum exchange_state say_operation(struct exchange *exchange)
{
    const struct route *route = exchange->match.route;
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    json_t *reply = hep_take(&exchange->reply);
    exchange_say(exchange, route->status ? route->status : MHD_HTTP_OK, reply ? reply : json_object());
    return exchange_wait(exchange);
}

static enum exchange_state begin_operation(struct exchange *exchange)
{
    return exchange_ask(exchange, exchange->match.route->operation, json_incref(exchange->match.data), say_operation);
}

static enum exchange_state say_image(struct exchange *exchange)
{
    struct hep_error error = {0};
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    const json_t *session = exchange->reply, *files = json_object_get(json_object_get(session, "results"), "files");
    const char *n = hep_json_str(exchange->match.data, "n", "");
    char *end;
    unsigned long index = strtoul(n, &end, 10);
    const char *path =
        *n >= '0' && *n <= '9' && !*end ? hep_json_str(json_array_get(files, index), "path", NULL) : NULL;
    if (!path || strlen(path) >= sizeof exchange->image) {
        hep_fail(&error, HEP_E_NOT_FOUND, "session %s has no image %.20s", hep_json_str(session, "session_id", "?"), n);
        hep_hint(&error, "it is %s and has %zu images", hep_json_str(session, "status", "?"), json_array_size(files));
        return exchange_refuse(exchange, &error);
    }
    snprintf(exchange->image, sizeof exchange->image, "%s", path);
    exchange->status = MHD_HTTP_OK;
    return EXCHANGE_ANSWERED;
}

static enum exchange_state begin_image(struct exchange *exchange)
{
    json_t *data = json_copy(exchange->match.data);
    json_object_del(data, "n");
    return exchange_ask(exchange, exchange->match.route->operation, data, say_image);
}

/* Ready needs every domain: the one that is tried again last, ms. */
static int64_t longest_wait(const json_t *domains)
{
    size_t index;
    const json_t *domain;
    int64_t longest = 0;
    json_array_foreach((json_t *)(uintptr_t)domains, index, domain)
    {
        int64_t next = hep_json_int(domain, "next_try_ms", 0);
        longest = next > longest ? next : longest;
    }
    return longest;
}

static enum exchange_state say_ready(struct exchange *exchange)
{
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    const json_t *status = exchange->reply;
    bool ready = strcmp(hep_json_str(status, "state", ""), "ready") == 0;
    exchange->retry_after = ready ? 0 : seconds_of(longest_wait(json_object_get(status, "domains")));
    return exchange_say(exchange, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                        json_pack("{s:b, s:s, s:s}", "ready", ready, "state", hep_json_str(status, "state", "unknown"),
                                  "line", hep_json_str(status, "line", "")));
}

static enum exchange_state begin_ready(struct exchange *exchange)
{
    return exchange_ask(exchange, exchange->match.route->operation, NULL, say_ready);
}

static enum exchange_state say_document(struct exchange *exchange)
{
    struct hep_error error = {0};
    json_t *document = NULL;
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    if (openapi_document(json_object_get(exchange->reply, "operations"), exchange->server->guard.token[0] != '\0',
                         &document, &error) != HEP_OK)
        return exchange_refuse(exchange, &error);
    return exchange_say(exchange, MHD_HTTP_OK, document);
}

static enum exchange_state begin_document(struct exchange *exchange)
{
    return exchange_ask(exchange, exchange->match.route->operation, NULL, say_document);
}

static enum exchange_state say_text(struct exchange *exchange)
{
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    return exchange_say(exchange, MHD_HTTP_OK, json_string(hep_json_str(exchange->reply, "text", "")));
}

static enum exchange_state begin_text(struct exchange *exchange)
{
    return exchange_ask(exchange, exchange->match.route->operation, NULL, say_text);
}

static enum exchange_state say_alive(struct exchange *exchange)
{
    return exchange_say(exchange, MHD_HTTP_OK, json_pack("{s:s}", "status", "alive"));
}

/* To add a kind of route: a row in routes.h, its first step here. */
static exchange_step *const first_steps[ROUTE_KIND_COUNT] = {
    [ROUTE_OPERATION] = begin_operation, [ROUTE_IMAGE] = begin_image,
    [ROUTE_PREVIEW] = exchange_preview,  [ROUTE_READY] = begin_ready,
    [ROUTE_TEXT] = begin_text,           [ROUTE_EVENTS] = exchange_events,
    [ROUTE_ALIVE] = say_alive,           [ROUTE_SESSION_EVENTS] = exchange_session_events,
    [ROUTE_REQUEST] = exchange_request,  [ROUTE_OPENAPI] = begin_document,
    [ROUTE_INPUT] = exchange_upload,
};

/* ---- the request ------------------------------------------------------------------------------------------------- */
struct query {
    struct exchange *exchange;
    struct hep_error error;
};

static enum MHD_Result take_parameter(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct query *query = context;
    (void)kind;
    return route_query(&query->exchange->match, name, value, &query->error) == HEP_OK ? MHD_YES : MHD_NO;
}

static enum hep_status take_query(struct exchange *exchange, struct hep_error *error)
{
    struct query query = {.exchange = exchange};
    MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, take_parameter, &query);
    if (query.error.code != HEP_OK) {
        *error = query.error;
        return error->code;
    }
    return route_options(&exchange->match, &exchange->options, error);
}

static enum hep_status take_body(struct exchange *exchange, struct hep_error *error)
{
    json_t *body = NULL;
    if (exchange->match.route->kind == ROUTE_INPUT)
        return HEP_OK; /* upload.c has it */
    if (!exchange->match.route->takes_body)
        return exchange->body_bytes ? hep_fail(error, HEP_E_BAD_FIELD, "this request takes no body") : HEP_OK;
    if (exchange->body_bytes > HEP_JSON_MAX)
        return hep_json_too_large(exchange->body ? exchange->body : "", exchange->kept_bytes, exchange->body_bytes,
                                  error);
    HEP_TRY(hep_json_parse(exchange->body ? exchange->body : "", exchange->body_bytes, &body, error));
    if (!json_is_object(body)) {
        json_decref(body);
        return hep_fail(error, HEP_E_BAD_JSON, "the body must be a JSON object");
    }
    const char *key;
    json_t *value;
    json_object_foreach(exchange->match.data, key, value) /* the path's names win */
        json_object_set(body, key, value);
    json_decref(exchange->match.data);
    exchange->match.data = body;
    return HEP_OK;
}

/* What is no key must not pass for none: the client would be safe no more when it asks again. */
enum hep_status exchange_put_key(const char *key, const char *member, json_t *data, struct hep_error *error)
{
    size_t length = key ? strlen(key) : 0, good = 0;
    if (!key)
        return HEP_OK;
    while (good < length && key[good] >= ' ' && key[good] <= '~')
        good++;
    if (length == 0 || good < length || key[0] == ' ' || key[length - 1] == ' ')
        return hep_fail_field(error, HEP_E_BAD_FIELD, "Idempotency-Key", "Idempotency-Key is %s",
                              length ? "not of printable ASCII" : "empty");
    json_t *given = json_object_get(data, member);
    if (given && !json_is_null(given) && strcmp(hep_json_str(data, member, ""), key) != 0)
        return hep_fail_field(error, HEP_E_CONFLICT, member, "the body has another key than the header");
    json_object_set_new(data, member, json_string(key));
    return HEP_OK;
}

static enum hep_status take_key(struct exchange *exchange, struct hep_error *error)
{
    const char *member = exchange->match.route->key,
               *key = member ? exchange_header(exchange->connection, "Idempotency-Key") : NULL;
    return exchange_put_key(key, member, exchange->match.data, error);
}

static void take_preference(struct exchange *exchange)
{
    int wait = prefer_wait(exchange_header(exchange->connection, "Prefer"));
    for (size_t i = 0; i < exchange->match.route->own_count; i++)
        if (wait > 0 && strcmp(exchange->match.route->own[i].name, "wait") == 0 &&
            !json_object_get(exchange->match.own, "wait"))
            exchange->options.wait = exchange->preferred_wait = wait;
}

enum exchange_state exchange_begin(struct exchange *exchange)
{
    struct hep_error error = {0};
    exchange->routed = exchange->match.route->kind == ROUTE_REQUEST;
    if (take_query(exchange, &error) != HEP_OK || take_body(exchange, &error) != HEP_OK ||
        take_key(exchange, &error) != HEP_OK)
        return exchange_refuse(exchange, &error);
    take_preference(exchange);
    return first_steps[exchange->match.route->kind](exchange);
}

void exchange_free(struct exchange *exchange)
{
    subscriber_destroy(exchange->stream);
    exchange_wait_no_more(exchange);
    route_match_clear(&exchange->match);
    json_decref(exchange->reply);
    json_decref(exchange->answer);
    json_decref(exchange->accepted);
    free(exchange->png);
    free(exchange->body);
    free(exchange);
}

const char *exchange_header(void *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}
