/*
 * The HTTP server: libmicrohttpd on one thread of its own. A request is read here, refused by its headers if they are
 * wrong, and else goes on as an exchange (exchange.h). Parses no image and maps no tensor: an image is a file that is
 * sent as it is.
 */
#include "instructors/communication/http.h"

#include "common/listen.h"
#include "instructors/communication/exchange.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void visitor_now(struct http_server *server, struct MHD_Connection *connection, enum visitor_state state)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    visitor_is(server->visitors, info ? info->socket_context : NULL, state);
}

/* ---- a request --------------------------------------------------------------------------------------------------- */
/* What the headers alone tell: who asks, for what. A refusal is kept until the body has been read, or the client, still
   sending, would see a broken connection instead of it. */
static void examine(struct exchange *exchange, const char *url, const char *method)
{
    struct hep_error error = {0};
    if (guard_check(&exchange->server->guard, exchange_header, exchange->connection, &error) == HEP_OK &&
        route_find(method, url, &exchange->match, exchange->allow, &error) == HEP_OK) {
        exchange->allow[0] = '\0';
        return;
    }
    exchange->refused = true;
    exchange_refuse(exchange, &error);
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
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    exchange->fd = info ? info->connect_fd : -1;
    atomic_fetch_add(&server->requests, 1);
    visitor_now(server, connection, VISITOR_ASKING);
    examine(exchange, url, method);
    const char *length = exchange_header(connection, "Content-Length");
    bool is_file = !exchange->refused && exchange->match.route->kind == ROUTE_INPUT;
    if (length && strtoull(length, NULL, 10) > (is_file ? HEP_INPUT_MAX : HEP_HTTP_BODY_MAX)) {
        struct hep_error error = {0};
        hep_fail(&error, HEP_E_TOO_LARGE, "a body of %.20s bytes, at most %u are allowed", length,
                 is_file ? HEP_INPUT_MAX : HEP_JSON_MAX);
        exchange->allow[0] = '\0';
        exchange_refuse(exchange, &error);
        return exchange_respond(exchange); /* before the body: MHD closes the connection after it */
    }
    return MHD_YES;
}

/* Keeps what may be a good body, or the beginning of one that is too large, to say what is large in it; counts the
   rest; past HEP_HTTP_BODY_MAX the connection is closed. */
static enum MHD_Result take_body(struct exchange *exchange, const char *data, size_t bytes)
{
    size_t room = HEP_JSON_MAX - exchange->kept_bytes, taken = bytes < room ? bytes : room;
    exchange->body_bytes += bytes;
    if (exchange->body_bytes > HEP_HTTP_BODY_MAX)
        return MHD_NO;
    if (exchange->refused || !exchange->match.route->takes_body || taken == 0)
        return MHD_YES;
    char *grown = realloc(exchange->body, exchange->kept_bytes + taken);
    if (!grown)
        return MHD_NO;
    memcpy(grown + exchange->kept_bytes, data, taken);
    exchange->kept_bytes += taken;
    exchange->body = grown;
    return MHD_YES;
}

/* Behind a chunk of a body the handler is called for the next one even if it has just laid the connection to sleep.
   What it does not take then comes again when the connection goes on. */
static bool is_asleep(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_SUSPENDED);
    return info && info->suspended == MHD_YES;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_bytes, void **request)
{
    struct exchange *exchange = *request;
    (void)version;
    if (!exchange) /* headers only */
        return begin(context, connection, url, method, request);
    if (*upload_bytes && is_asleep(connection))
        return MHD_YES;
    if (*upload_bytes) {
        if (exchange->match.route && exchange->match.route->kind == ROUTE_INPUT)
            return upload_take(exchange, upload, upload_bytes);
        enum MHD_Result taken = take_body(exchange, upload, *upload_bytes);
        *upload_bytes = 0;
        return taken;
    }
    if (exchange->refused)
        return exchange_respond(exchange);
    exchange_step *step = exchange->next ? exchange->next : exchange_begin;
    return step(exchange) == EXCHANGE_ASLEEP ? MHD_YES : exchange_respond(exchange);
}

static int digit_of(char letter)
{
    const char digits[] = "0123456789abcdef", *found = letter ? strchr(digits, tolower((unsigned char)letter)) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Of paths and queries. libmicrohttpd would end a text at %00: then it is another than the client's, and may be known.
   It stays as it is written, as what is no escape does. */
static size_t unescape(void *context, struct MHD_Connection *connection, char *text)
{
    char *to = text;
    (void)context, (void)connection;
    for (const char *from = text; *from; from++) {
        int high = *from == '%' ? digit_of(from[1]) : -1, low = high >= 0 ? digit_of(from[2]) : -1;
        bool escape = low >= 0 && (high || low);
        *to++ = escape ? (char)(16 * high + low) : *from;
        from += escape ? 2 : 0;
    }
    *to = '\0';
    return (size_t)(to - text);
}

static void complete(void *context, struct MHD_Connection *connection, void **request,
                     enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *request;
    visitor_now(context, connection, VISITOR_KEPT);
    (void)code;
    if (exchange)
        exchange_free(exchange);
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
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END); /* asked to reuse, it shares the port with another server */
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

void http_counters(struct http_server *server, struct http_counters *counters)
{
    *counters = (struct http_counters){.port = server->port,
                                       .requests = atomic_load(&server->requests),
                                       .refused = atomic_load(&server->refused),
                                       .connections = atomic_load(&server->connections),
                                       .waiting = atomic_load(&server->waiting),
                                       .subscribers = event_hub_subscribers(server->events)};
}
