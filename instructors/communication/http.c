/*
 * HTTP to the supervisor's operations and back. A connection that waits for an answer is suspended, so one thread serves
 * all; the answer resumes it. Parses no image and maps no tensor: an image is a file that is sent as it is.
 */
#include "instructors/communication/http.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/operation.h"
#include "common/wire.h"
#include "instructors/communication/guard.h"
#include "instructors/communication/routes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_MS = 60000, URL_MAX = 2048 };

struct http_server {
    struct MHD_Daemon *daemon;
    struct front_client *client;
    struct guard guard;
    char images_dir[HEP_PATH_MAX];
    int port;
    atomic_uint_fast64_t requests, refused;
    atomic_int connections, waiting;
};

/* One HTTP request from its first header to its last byte. */
struct exchange {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct route_match match;
    char *body;
    size_t body_bytes;
    bool too_large, asked;
    int status;            /* HTTP status of the answer, once there is one */
    json_t *answer;        /* body of the answer                           */
    char image[HEP_PATH_MAX]; /* or this file                              */
    char allow[64];        /* for 405                                      */
    int retry_after;       /* seconds; 0 = no such header                  */
};

/* ---- answers ----------------------------------------------------------------------------------------------------------- */
static void set_error(struct exchange *exchange, const struct hep_error *error)
{
    json_t *inner = hep_error_to_json(error);
    exchange->status = exchange->allow[0] ? MHD_HTTP_METHOD_NOT_ALLOWED : hep_status_http(error->code);
    exchange->answer = json_pack("{s:o}", "error", inner);
    exchange->retry_after = exchange->status == MHD_HTTP_SERVICE_UNAVAILABLE ? 1 : 0;
    atomic_fetch_add(&exchange->server->refused, 1);
}

static const char *type_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (dot && strcmp(dot, ".png") == 0)
        return "image/png";
    if (dot && strcmp(dot, ".jpg") == 0)
        return "image/jpeg";
    return dot && strcmp(dot, ".webp") == 0 ? "image/webp" : "application/octet-stream";
}

static struct MHD_Response *file_response(struct exchange *exchange)
{
    struct hep_error error = {0};
    struct stat state;
    int file = open(exchange->image, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file >= 0 && fstat(file, &state) == 0 && S_ISREG(state.st_mode)) {
        struct MHD_Response *response = MHD_create_response_from_fd64((uint64_t)state.st_size, file);
        if (response) {
            MHD_add_response_header(response, "Content-Type", type_of(exchange->image));
            return response;
        }
    }
    hep_fail(&error, HEP_E_NOT_FOUND, "the image's file is gone: %s", exchange->image);
    if (file >= 0)
        close(file);
    set_error(exchange, &error);
    return NULL;
}

static enum MHD_Result respond(struct exchange *exchange)
{
    struct MHD_Response *response = exchange->image[0] ? file_response(exchange) : NULL;
    if (!response) {
        char *text = json_dumps(exchange->answer, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
        if (!text)
            return MHD_NO;
        response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
        if (!response) {
            free(text);
            return MHD_NO;
        }
        MHD_add_response_header(response, "Content-Type", "application/json");
    }
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (exchange->allow[0])
        MHD_add_response_header(response, "Allow", exchange->allow);
    if (exchange->retry_after)
        MHD_add_response_header(response, "Retry-After", "1");
    if (exchange->status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    const char *session = exchange->status == MHD_HTTP_ACCEPTED ? hep_json_str(exchange->answer, "session_id", NULL) : NULL;
    if (session) {
        char location[128];
        snprintf(location, sizeof location, "/api/processing/sessions/%s", session);
        MHD_add_response_header(response, "Location", location);
    }
    enum MHD_Result queued = MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* ---- what the supervisor said -------------------------------------------------------------------------------------------- */
static void take_image(struct exchange *exchange, const json_t *session)
{
    struct hep_error error = {0};
    const char *n = hep_json_str(exchange->match.data, "n", "");
    char *end;
    unsigned long index = strtoul(n, &end, 10);
    const json_t *files = json_object_get(json_object_get(session, "results"), "files");
    const char *path = *end || !*n ? NULL : hep_json_str(json_array_get(files, index), "path", NULL);
    size_t folder = strlen(exchange->server->images_dir);
    if (!path || strncmp(path, exchange->server->images_dir, folder) != 0 || path[folder] != '/' || strstr(path, "/../")) {
        hep_fail(&error, HEP_E_NOT_FOUND, "session %s has no image %.20s", hep_json_str(session, "session_id", "?"), n);
        hep_hint(&error, "it is %s and has %zu images", hep_json_str(session, "status", "?"), json_array_size(files));
        set_error(exchange, &error);
        return;
    }
    snprintf(exchange->image, sizeof exchange->image, "%s", path);
    exchange->status = MHD_HTTP_OK;
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
        exchange->retry_after = ready ? 0 : 1;
        exchange->answer = json_pack("{s:b, s:s, s:s}", "ready", ready, "state", hep_json_str(data, "state", "unknown"), "line",
                                     hep_json_str(data, "line", ""));
        return;
    case ROUTE_OPERATION:
    case ROUTE_ALIVE:
        exchange->status = exchange->match.route->status;
        exchange->answer = data ? json_incref(data) : json_object();
        return;
    }
}

/* A thread of the rpc layer: keep the answer, let the connection go on. */
static void answered(void *context, enum hep_status status, json_t *data, const struct hep_error *error)
{
    struct exchange *exchange = context;
    if (status == HEP_OK)
        take_reply(exchange, data);
    else
        set_error(exchange, error);
    atomic_fetch_sub(&exchange->server->waiting, 1);
    MHD_resume_connection(exchange->connection);
}

/* ---- a request -------------------------------------------------------------------------------------------------------------- */
struct query {
    struct exchange *exchange;
    struct hep_error error;
};

static enum MHD_Result take_query(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct query *query = context;
    (void)kind;
    return route_query(query->exchange->match.route, name, value, query->exchange->match.data, &query->error) == HEP_OK ? MHD_YES : MHD_NO;
}

static enum hep_status take_body(struct exchange *exchange, struct hep_error *error)
{
    json_t *body = NULL;
    if (exchange->too_large)
        return hep_fail(error, HEP_E_TOO_LARGE, "the body is larger than %u bytes", HEP_JSON_MAX);
    if (!exchange->match.route->body) {
        return exchange->body_bytes ? hep_fail(error, HEP_E_BAD_FIELD, "this request takes no body") : HEP_OK;
    }
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

static enum hep_status ask(struct exchange *exchange, struct hep_error *error)
{
    struct query query = {.exchange = exchange};
    const struct route *route = exchange->match.route;
    MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, take_query, &query);
    if (query.error.code != HEP_OK) {
        *error = query.error;
        return error->code;
    }
    HEP_TRY(take_body(exchange, error));
    if (route->kind == ROUTE_ALIVE) {
        exchange->status = MHD_HTTP_OK;
        exchange->answer = json_pack("{s:s}", "status", "alive");
        return HEP_OK;
    }
    json_t *data = json_copy(exchange->match.data);
    if (route->kind == ROUTE_IMAGE)
        json_object_del(data, "n");
    atomic_fetch_add(&exchange->server->waiting, 1);
    MHD_suspend_connection(exchange->connection);
    enum hep_status status = front_request(exchange->server->client, route->operation, data, ANSWER_MS, answered, exchange, error);
    if (status != HEP_OK) {
        set_error(exchange, error);
        atomic_fetch_sub(&exchange->server->waiting, 1);
        MHD_resume_connection(exchange->connection);
    }
    return HEP_OK;
}

static enum MHD_Result refuse(struct exchange *exchange, const struct hep_error *error)
{
    set_error(exchange, error);
    if (strcmp(error->field, "Authorization") == 0)
        exchange->status = MHD_HTTP_UNAUTHORIZED;
    return respond(exchange);
}

static const char *header(void *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static struct exchange *begin(struct http_server *server, struct MHD_Connection *connection)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange) {
        exchange->server = server;
        exchange->connection = connection;
        atomic_fetch_add(&server->requests, 1);
    }
    return exchange;
}

static void take_upload(struct exchange *exchange, const char *data, size_t bytes)
{
    char *grown = exchange->body_bytes + bytes > HEP_JSON_MAX ? NULL : realloc(exchange->body, exchange->body_bytes + bytes);
    if (!grown) {
        exchange->too_large = true;
        return;
    }
    memcpy(grown + exchange->body_bytes, data, bytes);
    exchange->body = grown;
    exchange->body_bytes += bytes;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                              const char *upload, size_t *upload_bytes, void **request)
{
    struct http_server *server = context;
    struct exchange *exchange = *request;
    struct hep_error error = {0};
    (void)version;
    if (!exchange) { /* headers only */
        *request = begin(server, connection);
        return *request ? MHD_YES : MHD_NO;
    }
    if (*upload_bytes) {
        take_upload(exchange, upload, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (exchange->asked) /* resumed with the answer */
        return respond(exchange);
    exchange->asked = true;
    if (guard_check(&server->guard, header, connection, &error) != HEP_OK ||
        route_find(method, url, &exchange->match, exchange->allow, &error) != HEP_OK)
        return refuse(exchange, &error);
    exchange->allow[0] = '\0';
    if (ask(exchange, &error) != HEP_OK)
        return refuse(exchange, &error);
    return exchange->match.route->kind == ROUTE_ALIVE ? respond(exchange) : MHD_YES;
}

static void complete(void *context, struct MHD_Connection *connection, void **request, enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *request;
    (void)context;
    (void)connection;
    (void)code;
    if (!exchange)
        return;
    json_decref(exchange->match.data);
    json_decref(exchange->answer);
    free(exchange->body);
    free(exchange);
    *request = NULL;
}

static void connection_changed(void *context, struct MHD_Connection *connection, void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;
    (void)connection;
    (void)socket_context;
    atomic_fetch_add(&server->connections, code == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1);
}

/* ---- life --------------------------------------------------------------------------------------------------------------------- */
union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static enum hep_status parse_address(const struct http_options *options, union address *address, unsigned *flags, struct hep_error *error)
{
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, options->address, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons((uint16_t)options->port);
        return HEP_OK;
    }
    if (inet_pton(AF_INET6, options->address, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons((uint16_t)options->port);
        *flags |= MHD_USE_IPv6;
        return HEP_OK;
    }
    return hep_fail(error, HEP_E_BAD_CONFIG, "http.address \"%s\" is no IP address", options->address);
}

static enum hep_status start_daemon(struct http_server *server, const struct http_options *options, struct hep_error *error)
{
    union address address;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    HEP_TRY(parse_address(options, &address, &flags, error));
    errno = 0;
    server->daemon = MHD_start_daemon(flags, (uint16_t)options->port, NULL, NULL, handle, server, MHD_OPTION_SOCK_ADDR, &address.any,
                                      MHD_OPTION_CONNECTION_LIMIT, (unsigned)HEP_HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                                      (unsigned)HEP_HTTP_TIMEOUT_S, MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)HEP_HTTP_CONNECTIONS_MAX,
                                      MHD_OPTION_NOTIFY_COMPLETED, complete, NULL, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, server,
                                      MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
    if (!server->daemon) {
        hep_fail(error, HEP_E_BAD_CONFIG, "cannot listen on %s port %d: %s", options->address, options->port, strerror(errno));
        return hep_hint(error, "is another server there? set http.port"), HEP_E_BAD_CONFIG;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    server->port = info ? info->port : options->port;
    return HEP_OK;
}

enum hep_status http_start(const struct http_options *options, struct front_client *client, struct http_server **server,
                           struct hep_error *error)
{
    struct http_server *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the HTTP server");
    result->client = client;
    snprintf(result->images_dir, sizeof result->images_dir, "%s", options->images_dir);
    enum hep_status status = guard_init(&result->guard, options->address, options->token_file, error);
    if (status == HEP_OK)
        status = start_daemon(result, options, error);
    if (status != HEP_OK) {
        free(result);
        return status;
    }
    *server = result;
    return HEP_OK;
}

void http_stop(struct http_server *server)
{
    if (!server)
        return;
    MHD_stop_daemon(server->daemon); /* nobody waits any more: the front client ended first */
    free(server);
}

void http_counters(struct http_server *server, struct http_counters *counters)
{
    *counters = (struct http_counters){server->port, atomic_load(&server->requests), atomic_load(&server->refused),
                                       atomic_load(&server->connections), atomic_load(&server->waiting)};
}
