/*
 * HTTP to the supervisor's operations and back. A connection that waits for an answer is suspended, so one thread
 * serves all; the answer resumes it. Parses no image and maps no tensor: an image is a file that is sent as it is.
 */
#include "instructors/communication/http.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/listen.h"
#include "common/log.h"
#include "common/operation.h"
#include "common/wire.h"
#include "instructors/communication/events.h"
#include "instructors/communication/guard.h"
#include "instructors/communication/image.h"
#include "instructors/communication/routes.h"
#include "instructors/communication/visitors.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STREAM_BLOCK = 16384, RETRY_MAX_MS = 3600000 };

struct http_server {
    struct MHD_Daemon *daemon;
    struct front_client *client;
    struct event_hub *events;
    struct visitors *visitors;
    struct guard guard;
    char images_dir[HEP_PATH_MAX];
    int port, answer_ms, idle_s, keep_alive_ms;
    atomic_uint_fast64_t requests, refused;
    atomic_int connections, waiting;
};

/* One HTTP request from its first header to its last byte. */
struct exchange {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct route_match match;
    char *body; /* its first kept_bytes */
    size_t kept_bytes, body_bytes;
    bool refused; /* from the headers: the body is read and dropped */
    bool asked;
    int status;                /* HTTP status of the answer, once there is one */
    json_t *answer;            /* body of the answer                           */
    struct subscriber *stream; /* or this stream; the response's afterwards */
    char image[HEP_PATH_MAX];  /* or this file                              */
    char allow[64];            /* for 405                                      */
    int retry_after;           /* seconds; 0 = no such header                  */
};

/* Rounded up; not known is a second. */
static int seconds_of(int64_t ms)
{
    return ms <= 1000 ? 1 : ms > RETRY_MAX_MS ? RETRY_MAX_MS / 1000 : (int)((ms + 999) / 1000);
}

static void visitor_now(struct http_server *server, struct MHD_Connection *connection, enum visitor_state state)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    visitor_is(server->visitors, info ? info->socket_context : NULL, state);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */
static void set_error(struct exchange *exchange, const struct hep_error *error)
{
    json_t *inner = hep_error_to_json(error);
    exchange->status = exchange->allow[0] ? MHD_HTTP_METHOD_NOT_ALLOWED : hep_status_http(error->code);
    exchange->answer = json_pack("{s:o}", "error", inner);
    exchange->retry_after = exchange->status == MHD_HTTP_SERVICE_UNAVAILABLE ? seconds_of(error->retry_after_ms) : 0;
    atomic_fetch_add(&exchange->server->refused, 1);
}

static struct MHD_Response *file_response(struct exchange *exchange)
{
    struct hep_error error = {0};
    uint64_t bytes;
    int file;
    if (image_open(exchange->server->images_dir, exchange->image, &file, &bytes, &error) == HEP_OK) {
        struct MHD_Response *response = MHD_create_response_from_fd64(bytes, file); /* closes it */
        if (response) {
            MHD_add_response_header(response, "Content-Type", image_content_type(exchange->image));
            return response;
        }
        close(file);
        hep_fail(&error, HEP_E_NO_MEMORY, "no memory for an answer");
    }
    set_error(exchange, &error);
    return NULL;
}

static struct MHD_Response *text_response(const struct exchange *exchange)
{
    const char *text = json_string_value(exchange->answer);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (response)
        MHD_add_response_header(response, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return response;
}

static struct MHD_Response *json_response(const struct exchange *exchange)
{
    char *text = json_dumps(exchange->answer, JSON_COMPACT | JSON_ENCODE_ANY);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response)
        MHD_add_response_header(response, "Content-Type", "application/json");
    else
        free(text);
    return response;
}

/* ---- the stream of events: its connection sleeps while there is nothing to send ---------------------------------- */
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

static struct MHD_Response *stream_response(struct exchange *exchange)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, exchange->stream, free_stream);
    if (response) {
        exchange->stream = NULL;
        MHD_add_response_header(response, "Content-Type", "text/event-stream");
    }
    return response;
}

static enum MHD_Result respond(struct exchange *exchange)
{
    struct MHD_Response *response = exchange->stream     ? stream_response(exchange)
                                    : exchange->image[0] ? file_response(exchange)
                                                         : NULL;
    if (!response && !exchange->stream) /* an error of a text is JSON, too */
        response = json_is_string(exchange->answer) ? text_response(exchange) : json_response(exchange);
    if (!response)
        return MHD_NO;
    visitor_now(exchange->server, exchange->connection, VISITOR_SERVED);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (exchange->allow[0])
        MHD_add_response_header(response, "Allow", exchange->allow);
    if (exchange->retry_after) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", exchange->retry_after);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    if (exchange->status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    const char *session =
        exchange->status == MHD_HTTP_ACCEPTED ? hep_json_str(exchange->answer, "session_id", NULL) : NULL;
    if (session) {
        char location[128];
        snprintf(location, sizeof location, "/api/processing/sessions/%s", session);
        MHD_add_response_header(response, "Location", location);
    }
    enum MHD_Result queued = MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    HEP_CRASH_POINT("communication.after_answer");
    return queued;
}

/* ---- what the supervisor said ------------------------------------------------------------------------------------ */
static void take_image(struct exchange *exchange, const json_t *session)
{
    struct hep_error error = {0};
    const char *n = hep_json_str(exchange->match.data, "n", "");
    char *end;
    unsigned long index = strtoul(n, &end, 10);
    const json_t *files = json_object_get(json_object_get(session, "results"), "files");
    const char *path =
        *n >= '0' && *n <= '9' && !*end ? hep_json_str(json_array_get(files, index), "path", NULL) : NULL;
    if (!path || strlen(path) >= sizeof exchange->image) {
        hep_fail(&error, HEP_E_NOT_FOUND, "session %s has no image %.20s", hep_json_str(session, "session_id", "?"), n);
        hep_hint(&error, "it is %s and has %zu images", hep_json_str(session, "status", "?"), json_array_size(files));
        set_error(exchange, &error);
        return;
    }
    snprintf(exchange->image, sizeof exchange->image, "%s", path);
    exchange->status = MHD_HTTP_OK;
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

static void take_reply(struct exchange *exchange, json_t *data)
{
    bool ready;
    switch (exchange->match.route->kind) {
    case ROUTE_IMAGE:
        take_image(exchange, data);
        return;
    case ROUTE_READY:
        ready = strcmp(hep_json_str(data, "state", ""), "ready") == 0;
        exchange->status = ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
        exchange->retry_after = ready ? 0 : seconds_of(longest_wait(json_object_get(data, "domains")));
        exchange->answer = json_pack("{s:b, s:s, s:s}", "ready", ready, "state", hep_json_str(data, "state", "unknown"),
                                     "line", hep_json_str(data, "line", ""));
        return;
    case ROUTE_TEXT:
        exchange->status = exchange->match.route->status;
        exchange->answer = json_string(hep_json_str(data, "text", ""));
        return;
    case ROUTE_OPERATION:
    case ROUTE_EVENTS:
    case ROUTE_ALIVE:
        exchange->status = exchange->match.route->status;
        exchange->answer = data ? json_deep_copy(data) : json_object(); /* its own: another thread frees the reply */
        return;
    }
}

/* A thread of the rpc layer: keep the answer, let the connection go on. */
static void answered(void *context, enum hep_status status, json_t *data, const struct hep_error *error)
{
    struct exchange *exchange = context;
    HEP_CRASH_POINT("communication.before_answer");
    if (status == HEP_OK)
        take_reply(exchange, data);
    else
        set_error(exchange, error);
    atomic_fetch_sub(&exchange->server->waiting, 1);
    MHD_resume_connection(exchange->connection);
}

/* ---- a request --------------------------------------------------------------------------------------------------- */
struct query {
    struct exchange *exchange;
    struct hep_error error;
};

static enum MHD_Result take_query(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct query *query = context;
    (void)kind;
    return route_query(query->exchange->match.route, name, value, query->exchange->match.data, &query->error) == HEP_OK
               ? MHD_YES
               : MHD_NO;
}

static enum hep_status take_body(struct exchange *exchange, struct hep_error *error)
{
    json_t *body = NULL;
    if (!exchange->match.route->body)
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

static const char *header(void *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* The connection sleeps before the question leaves: its answer may come at once. */
static void ask_supervisor(struct exchange *exchange)
{
    struct http_server *server = exchange->server;
    const struct route *route = exchange->match.route;
    struct hep_error error = {0};
    json_t *data = json_copy(exchange->match.data);
    if (route->kind == ROUTE_IMAGE)
        json_object_del(data, "n");
    exchange->asked = true;
    visitor_now(server, exchange->connection, VISITOR_SERVED);
    atomic_fetch_add(&server->waiting, 1);
    MHD_suspend_connection(exchange->connection);
    if (front_request(server->client, route->operation, data, server->answer_ms, answered, exchange, &error) != HEP_OK)
        answered(exchange, error.code, NULL, &error);
}

/* The browser's EventSource says where it was in a header, others in the query. */
static enum hep_status subscribe(struct exchange *exchange, struct hep_error *error)
{
    const char *last = header(exchange->connection, "Last-Event-ID");
    int64_t after = hep_json_int(exchange->match.data, "after_seq", -1);
    char *end;
    if (last) {
        errno = 0;
        after = strtoll(last, &end, 10);
        if (*last < '0' || *last > '9' || *end || errno)
            return hep_fail_field(error, HEP_E_BAD_FIELD, "Last-Event-ID",
                                  "Last-Event-ID must be the number of an event");
    }
    return event_hub_subscribe(exchange->server->events, after, wake_stream, exchange->connection, &exchange->stream,
                               error);
}

/* Everything is here: query, body. Afterwards the exchange has an answer, or waits for one (`asked`). */
static enum hep_status dispatch(struct exchange *exchange, struct hep_error *error)
{
    struct query query = {.exchange = exchange};
    const struct route *route = exchange->match.route;
    const char *key = route->key ? header(exchange->connection, "Idempotency-Key") : NULL;
    MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, take_query, &query);
    if (query.error.code != HEP_OK) {
        *error = query.error;
        return error->code;
    }
    HEP_TRY(take_body(exchange, error));
    if (key)
        json_object_set_new(exchange->match.data, route->key, hep_json_text(key));
    exchange->status = MHD_HTTP_OK;
    switch (route->kind) {
    case ROUTE_ALIVE:
        exchange->answer = json_pack("{s:s}", "status", "alive");
        return HEP_OK;
    case ROUTE_EVENTS:
        return subscribe(exchange, error);
    case ROUTE_OPERATION:
    case ROUTE_TEXT:
    case ROUTE_IMAGE:
    case ROUTE_READY:
        ask_supervisor(exchange);
        return HEP_OK;
    }
    return hep_fail(error, HEP_E_INTERNAL, "a route without a kind");
}

/* What the headers alone tell: who asks, for what. A refusal is kept until the body has been read, or the client, still
   sending, would see a broken connection instead of it. */
static void examine(struct exchange *exchange, const char *url, const char *method)
{
    struct hep_error error = {0};
    if (guard_check(&exchange->server->guard, header, exchange->connection, &error) == HEP_OK &&
        route_find(method, url, &exchange->match, exchange->allow, &error) == HEP_OK) {
        exchange->allow[0] = '\0';
        return;
    }
    exchange->refused = true;
    set_error(exchange, &error);
    if (strcmp(error.field, "Authorization") == 0)
        exchange->status = MHD_HTTP_UNAUTHORIZED;
}

static enum MHD_Result begin(struct http_server *server, struct MHD_Connection *connection, const char *url,
                             const char *method, void **request)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return MHD_NO;
    *request = exchange;
    exchange->server = server;
    exchange->connection = connection;
    atomic_fetch_add(&server->requests, 1);
    visitor_now(server, connection, VISITOR_ASKING);
    examine(exchange, url, method);
    const char *length = header(connection, "Content-Length");
    if (length && strtoull(length, NULL, 10) > HEP_HTTP_BODY_MAX) {
        struct hep_error error = {0};
        hep_fail(&error, HEP_E_TOO_LARGE, "a body of %.20s bytes, at most %u are allowed", length, HEP_JSON_MAX);
        json_decref(hep_take(&exchange->answer));
        exchange->allow[0] = '\0';
        set_error(exchange, &error);
        return respond(exchange); /* before the body: MHD closes the connection after it */
    }
    return MHD_YES;
}

/* Keeps what may be a good body, or the beginning of one that is too large, to say what is large in it; counts the
   rest; past HEP_HTTP_BODY_MAX the connection is closed. */
static enum MHD_Result take_upload(struct exchange *exchange, const char *data, size_t bytes)
{
    size_t room = HEP_JSON_MAX - exchange->kept_bytes, taken = bytes < room ? bytes : room;
    exchange->body_bytes += bytes;
    if (exchange->body_bytes > HEP_HTTP_BODY_MAX)
        return MHD_NO;
    if (exchange->refused || !exchange->match.route->body || taken == 0)
        return MHD_YES;
    char *grown = realloc(exchange->body, exchange->kept_bytes + taken);
    if (!grown)
        return MHD_NO;
    memcpy(grown + exchange->kept_bytes, data, taken);
    exchange->kept_bytes += taken;
    exchange->body = grown;
    return MHD_YES;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_bytes, void **request)
{
    struct exchange *exchange = *request;
    struct hep_error error = {0};
    (void)version;
    if (!exchange) /* headers only */
        return begin(context, connection, url, method, request);
    if (*upload_bytes) {
        enum MHD_Result taken = take_upload(exchange, upload, *upload_bytes);
        *upload_bytes = 0;
        return taken;
    }
    if (exchange->refused || exchange->asked) /* asked: resumed with the answer */
        return respond(exchange);
    if (dispatch(exchange, &error) != HEP_OK)
        set_error(exchange, &error);
    return exchange->asked ? MHD_YES : respond(exchange);
}

static void complete(void *context, struct MHD_Connection *connection, void **request,
                     enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *request;
    visitor_now(context, connection, VISITOR_KEPT);
    (void)code;
    if (!exchange)
        return;
    subscriber_destroy(exchange->stream);
    json_decref(exchange->match.data);
    json_decref(exchange->answer);
    free(exchange->body);
    free(exchange);
    *request = NULL;
}

static void connection_changed(void *context, struct MHD_Connection *connection, void **socket_context,
                               enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = info ? visitors_enter(server->visitors, info->connect_fd) : NULL;
    } else {
        visitors_leave(server->visitors, *socket_context);
    }
    atomic_fetch_add(&server->connections, code == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */
static enum hep_status parse_address(const struct http_options *options, struct hep_listen *listen,
                                     struct hep_error *error)
{
    if (options->port < 0 || options->port > UINT16_MAX)
        return hep_fail(error, HEP_E_BAD_CONFIG, "http.port is %d, it must be from 0 to %d", options->port, UINT16_MAX);
    if (hep_listen_parse(options->address, (uint16_t)options->port, listen, error) == HEP_OK)
        return HEP_OK;
    hep_prefix(error, "http.address");
    return HEP_E_BAD_CONFIG;
}

/* What is in the way may go away (a server that ends, an address that comes up); a port that needs a privilege does
   not. */
static enum hep_status cannot_listen(const struct hep_listen *listen, int port, int reason, struct hep_error *error)
{
    bool wrong = reason == EACCES || reason == EAFNOSUPPORT;
    hep_fail(error, wrong ? HEP_E_BAD_CONFIG : HEP_E_SYSTEM, "cannot listen on %s port %d: %s", listen->text, port,
             strerror(reason));
    if (reason == EADDRINUSE)
        return hep_hint(error, "another program has the port (`ss -ltnp 'sport = :%d'`): end it, or set http.port",
                        port);
    if (reason == EADDRNOTAVAIL)
        return hep_hint(error, "no interface of this machine has the address (`ip addr`): set http.address");
    if (reason == EACCES)
        return hep_hint(error, "ports below 1024 need a privilege: set http.port");
    return error ? error->code : HEP_E_SYSTEM;
}

static enum hep_status start_daemon(struct http_server *server, const struct hep_listen *listen, int port,
                                    struct hep_error *error)
{
    /* not epoll, which libmicrohttpd uses edge-triggered: it misses an end that comes together with the last bytes, and
       the connection of a client that has left counts until its time is over */
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    if (listen->address.any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    errno = 0;
    server->daemon = MHD_start_daemon(
        flags, (uint16_t)port, NULL, NULL, handle, server, MHD_OPTION_SOCK_ADDR, &listen->address.any,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HEP_HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)server->idle_s, MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)HEP_HTTP_PER_ADDRESS_MAX,
        MHD_OPTION_NOTIFY_COMPLETED, complete, server, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, server,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END); /* asked to reuse, it shares the port with another server */
    if (!server->daemon)
        return cannot_listen(listen, port, errno, error);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    server->port = info ? info->port : port;
    return HEP_OK;
}

enum hep_status http_start(const struct http_options *options, struct front_client *client, struct http_server **server,
                           struct hep_error *error)
{
    struct hep_listen listen = {.loopback = false};
    HEP_TRY(parse_address(options, &listen, error));
    struct http_server *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the HTTP server");
    result->client = client;
    result->answer_ms = options->answer_ms > 0 ? options->answer_ms : HEP_HTTP_ANSWER_MS;
    result->idle_s = options->idle_s > 0 ? options->idle_s : HEP_HTTP_TIMEOUT_S;
    result->keep_alive_ms = options->keep_alive_ms > 0 ? options->keep_alive_ms : EVENTS_KEEP_ALIVE_MS;
    snprintf(result->images_dir, sizeof result->images_dir, "%s", options->images_dir);
    const struct visitor_limits limits = {.header_ms = options->header_ms > 0 ? options->header_ms : HEP_HTTP_HEADER_MS,
                                          .request_ms =
                                              options->request_ms > 0 ? options->request_ms : HEP_HTTP_REQUEST_MS,
                                          .crowd_ms = HEP_HTTP_CROWD_MS,
                                          .crowd = HEP_HTTP_CROWD};
    enum hep_status status = guard_init(&result->guard, &listen, options->token_file, error);
    if (status == HEP_OK)
        status = visitors_create(&limits, &result->visitors, error);
    if (status == HEP_OK)
        status = event_hub_create(client, result->keep_alive_ms, &result->events, error);
    if (status == HEP_OK)
        status = start_daemon(result, &listen, options->port, error);
    if (status != HEP_OK) {
        http_stop(result);
        return status;
    }
    *server = result;
    return HEP_OK;
}

void http_stop(struct http_server *server)
{
    if (!server)
        return;
    if (server->events)
        event_hub_stop(server->events); /* wakes the streams */
    if (server->daemon)
        MHD_stop_daemon(server->daemon); /* nobody sleeps any more: the front client was closed first */
    event_hub_destroy(server->events);
    visitors_destroy(server->visitors);
    free(server);
}

int http_publish(struct http_server *server, const json_t *event)
{
    return event_hub_publish(server->events, event);
}

void http_counters(struct http_server *server, struct http_counters *counters)
{
    *counters = (struct http_counters){.port = server->port,
                                       .requests = atomic_load(&server->requests),
                                       .refused = atomic_load(&server->refused),
                                       .connections = atomic_load(&server->connections),
                                       .waiting = atomic_load(&server->waiting),
                                       .subscribers = event_hub_subscribers(server->events)};
}
