/* The front that the door asks, and raw HTTP. Called by tests/unit/test_http.c. */
#include "tests/unit/http_fixture.h"

#include "common/base64.h"
#include "common/limits.h"
#include "common/operation.h"
#include "common/rpc.h"
#include "common/wire.h"
#include "tests/support/check_status.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS_MAX = 4096, FIRST_SEQ = 100 };

/* ---- the front --------------------------------------------------------------------------------------------------- */
atomic_int front_requests;
static struct hep_rpc_server *front;
static char images[96];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static char state[16];
static json_t *events[EVENTS_MAX]; /* of number FIRST_SEQ + i */
static int event_count, kept_since, all_since;
static struct poll {
    struct hep_rpc_request *request;
    int64_t after;
    int limit;
    char session[HEP_SESSION_ID_MAX], types[HEP_EVENT_TYPES_MAX + 1];
} polls[HEP_OPERATIONS_IN_FLIGHT_MAX];
static int poll_count;
static json_t *running; /* {session: number of its last event} */
static char ended_batch[HEP_SESSION_ID_MAX];

static void reply(struct hep_rpc_request *request, json_t *message)
{
    void *frame;
    size_t bytes;
    ck_assert_ok(hep_wire_encode(message, &frame, &bytes, error));
    hep_rpc_reply(request, frame, bytes);
    free(frame);
    json_decref(message);
}

static void reply_data(struct hep_rpc_request *request, json_t *data)
{
    reply(request, json_pack("{s:b, s:o}", "success", 1, "data", data));
}

static void reply_error(struct hep_rpc_request *request, enum hep_status code, const char *field)
{
    struct hep_error error = {0};
    hep_fail_field(&error, code, field, "the front says no");
    if (code == HEP_E_DOMAIN_DOWN)
        error.retry_after_ms = 4001;
    reply(request, json_pack("{s:b, s:o}", "success", 0, "error", hep_error_to_json(&error)));
}

static bool is_wanted(const struct poll *poll, const json_t *event)
{
    return (!poll->session[0] || strcmp(hep_json_str(event, "session", ""), poll->session) == 0) &&
           (!poll->types[0] || hep_names_hold(poll->types, hep_json_str(event, "name", "")));
}

/* The lock is held. now: also if there is nothing. */
static bool answer_poll(const struct poll *poll, bool now)
{
    json_t *list = json_array();
    int newest = FIRST_SEQ + event_count - 1;
    int64_t reached = poll->after > newest ? newest : poll->after;
    while (reached < newest && json_array_size(list) < (size_t)poll->limit) {
        json_t *event = ++reached < FIRST_SEQ || reached < kept_since ? NULL : events[reached - FIRST_SEQ];
        if (event && is_wanted(poll, event))
            json_array_append(list, event);
    }
    if (json_array_size(list) == 0 && !now) {
        json_decref(list);
        return false;
    }
    reply_data(poll->request, json_pack("{s:o, s:I, s:i, s:i}", "events", list, "last_seq", (json_int_t)reached,
                                        "kept_since", kept_since, "all_since", all_since));
    return true;
}

static void serve_poll(struct hep_rpc_request *request, const json_t *data)
{
    struct poll poll = {request, hep_json_int(data, "after_seq", -1), (int)hep_json_int(data, "limit", 100), "", ""};
    snprintf(poll.session, sizeof poll.session, "%s", hep_json_str(data, "session_id", ""));
    snprintf(poll.types, sizeof poll.types, "%s", hep_json_str(data, "types", ""));
    pthread_mutex_lock(&lock);
    bool silent = poll.after < 0 && !state[0];
    if (poll.after < 0)
        poll.after = FIRST_SEQ + event_count - 1;
    if (!silent && !answer_poll(&poll, hep_json_int(data, "wait_ms", 0) == 0))
        polls[poll_count++] = poll;
    pthread_mutex_unlock(&lock);
}

static int add_event(json_t *event)
{
    int seq = FIRST_SEQ + event_count, left = 0;
    json_t *numbered = json_pack("{s:i}", "seq", seq);
    json_object_update(numbered, event);
    json_decref(event);
    ck_assert_int_lt(event_count, EVENTS_MAX);
    events[event_count++] = numbered;
    for (int i = 0; i < poll_count; i++)
        if (!answer_poll(&polls[i], false))
            polls[left++] = polls[i];
    poll_count = left;
    return seq;
}

static int add_session_event(const char *name, const char *session, const char *to)
{
    json_t *event = json_pack("{s:s, s:s}", "name", name, "session", session);
    if (to)
        json_object_set_new(event, "to", json_string(to));
    int seq = add_event(event);
    if (json_object_get(running, session))
        json_object_set_new(running, session, json_integer(seq));
    return seq;
}

void front_add_event(const char *name)
{
    pthread_mutex_lock(&lock);
    add_event(json_pack("{s:s}", "name", name));
    pthread_mutex_unlock(&lock);
}

void front_add_full_event(const char *name, json_t *padding)
{
    pthread_mutex_lock(&lock);
    add_event(json_pack("{s:s, s:O}", "name", name, "padding", padding));
    pthread_mutex_unlock(&lock);
}

int front_add_session_event(const char *name, const char *session, const char *to)
{
    pthread_mutex_lock(&lock);
    int seq = add_session_event(name, session, to);
    pthread_mutex_unlock(&lock);
    return seq;
}

void front_forget_events(int kept, int all)
{
    pthread_mutex_lock(&lock);
    kept_since = kept;
    all_since = all;
    pthread_mutex_unlock(&lock);
}

bool front_event_is_of(int seq, const char *session)
{
    pthread_mutex_lock(&lock);
    bool result = strcmp(hep_json_str(events[seq - FIRST_SEQ], "session", ""), session) == 0;
    pthread_mutex_unlock(&lock);
    return result;
}

int front_polls(void)
{
    pthread_mutex_lock(&lock);
    int count = poll_count;
    pthread_mutex_unlock(&lock);
    return count;
}

void front_begin_session(const char *session)
{
    pthread_mutex_lock(&lock);
    json_object_set_new(running, session, json_integer(0));
    add_session_event("session.accepted", session, NULL);
    pthread_mutex_unlock(&lock);
}

void front_end_session(const char *session, const char *to)
{
    pthread_mutex_lock(&lock);
    json_object_del(running, session);
    add_session_event("session.state", session, to);
    pthread_mutex_unlock(&lock);
}

void front_set_state(const char *text)
{
    pthread_mutex_lock(&lock);
    snprintf(state, sizeof state, "%s", text);
    pthread_mutex_unlock(&lock);
}

static void serve_status(struct hep_rpc_request *request)
{
    char text[16];
    pthread_mutex_lock(&lock);
    snprintf(text, sizeof text, "%s", state);
    int last = FIRST_SEQ + event_count - 1;
    pthread_mutex_unlock(&lock);
    if (text[0])
        reply_data(request, json_pack("{s:s, s:s, s:i, s:[{s:i}, {s:i}, {}]}", "state", text, "line", "one line",
                                      "last_event", last, "domains", "next_try_ms", 200, "next_try_ms", 2100));
}

void front_end_batch(const char *batch, const char *to)
{
    pthread_mutex_lock(&lock);
    snprintf(ended_batch, sizeof ended_batch, "%s", batch);
    add_event(json_pack("{s:s, s:s, s:s}", "name", "batch.state", "batch", batch, "to", to));
    pthread_mutex_unlock(&lock);
}

static void serve_batch(struct hep_rpc_request *request, const json_t *data)
{
    const char *id = hep_json_str(data, "batch_id", "");
    pthread_mutex_lock(&lock);
    bool ended = strcmp(id, ended_batch) == 0;
    pthread_mutex_unlock(&lock);
    json_t *view = json_pack("{s:s, s:n}", "batch_id", id, "ended");
    if (ended)
        json_object_set_new(view, "ended", json_string("2026-01-31T12:00:00.000Z"));
    reply_data(request, view);
}

/* Sessions: none, wrong, hang, slow, busy, down, big; images of the others: 0 is a.png, 1 lies outside, 2 is gone, 3
 * has no path. */
static void serve_session(struct hep_rpc_request *request, const json_t *data)
{
    char path[160], gone[160];
    const char *id = hep_json_str(data, "session_id", "");
    if (strcmp(id, "none") == 0) {
        reply_error(request, HEP_E_NOT_FOUND, "session_id");
        return;
    }
    if (strcmp(id, "busy") == 0) {
        reply_error(request, HEP_E_BUSY, "");
        return;
    }
    if (strcmp(id, "wrong") == 0) {
        reply(request, json_pack("{s:b, s:{s:s, s:s, s:s, s:b, s:[{s:s}]}}", "success", 0, "error", "code", "BAD_FIELD",
                                 "message", "m", "hint", "h", "retryable", 0, "problems", "step", "one"));
        return;
    }
    if (strcmp(id, "down") == 0) {
        reply_error(request, HEP_E_DOMAIN_DOWN, "");
        return;
    }
    if (strcmp(id, "garbage") == 0) {
        hep_rpc_reply(request, "\xc1", 1);
        return;
    }
    if (strcmp(id, "hang") == 0)
        return;
    if (strcmp(id, "slow") == 0)
        usleep(150000);
    pthread_mutex_lock(&lock);
    int64_t seq = hep_json_int(running, id, -1);
    pthread_mutex_unlock(&lock);
    if (seq >= 0) {
        reply_data(request, json_pack("{s:s, s:s, s:n, s:I}", "session_id", id, "status", "running", "ended", "seq",
                                      (json_int_t)seq));
        return;
    }
    snprintf(path, sizeof path, "%s/a.png", images);
    snprintf(gone, sizeof gone, "%s/gone.png", images);
    reply_data(request, json_pack("{s:s, s:s, s:s, s:i, s:{s:[{s:s}, {s:s}, {s:s}, {}]}}", "session_id", id, "status",
                                  "completed", "ended", "2026-01-31T12:00:00.000Z", "seq", 0, "results", "files",
                                  "path", path, "path", "/etc/passwd", "path", gone));
}

/* ---- previews ---------------------------------------------------------------------------------------------------- */
static struct hep_rpc_request *watcher; /* waits for one; the lock guards it, and these */
static int64_t watched_after, preview_number;
static char preview_session[HEP_SESSION_ID_MAX];

/* The lock is held. */
static void answer_watcher(void)
{
    if (!watcher || watched_after >= preview_number)
        return;
    reply_data(hep_take(&watcher), json_pack("{s:[{s:s, s:I, s:s, s:s}], s:I}", "previews", "name", "session.preview",
                                             "number", (json_int_t)preview_number, "session", preview_session, "png",
                                             "UE5H", "last", (json_int_t)preview_number));
}

static void serve_watcher(struct hep_rpc_request *request, const json_t *data)
{
    pthread_mutex_lock(&lock);
    watcher = request;
    watched_after = hep_json_int(data, "after", 0);
    answer_watcher();
    pthread_mutex_unlock(&lock);
}

void front_show_preview(const char *session)
{
    pthread_mutex_lock(&lock);
    snprintf(preview_session, sizeof preview_session, "%s", session);
    preview_number++;
    answer_watcher();
    pthread_mutex_unlock(&lock);
}

bool front_is_watched(void)
{
    pthread_mutex_lock(&lock);
    bool is_watched = watcher != NULL;
    pthread_mutex_unlock(&lock);
    return is_watched;
}

static void serve_preview(struct hep_rpc_request *request, const json_t *data)
{
    const char *id = hep_json_str(data, "session_id", "");
    if (strcmp(id, "none") == 0)
        reply_error(request, HEP_E_NOT_FOUND, "session_id");
    else
        reply_data(request, json_pack("{s:s}", "png", strcmp(id, "garbage") == 0 ? "!" : "iVBORwA="));
}

/* ---- uploads -------------------------------------------------------------------------------------------------------
 */
static unsigned char input[HEP_INPUT_MAX + HEP_INPUT_PART_MAX];
static size_t input_bytes;
static char input_upload[HEP_NAME_MAX];
static int input_parts, refused_part;
static enum hep_status refused_code;

const unsigned char *front_input(size_t *bytes)
{
    *bytes = input_bytes;
    return input;
}

void front_refuse_inputs(enum hep_status code, int part)
{
    refused_code = code;
    refused_part = part;
}

/* What an input is called here: letters of its length. The lock is held. */
static void serve_part(struct hep_rpc_request *request, const json_t *data)
{
    const char *text = hep_json_str(data, "data", ""), *upload = hep_json_str(data, "upload", "");
    size_t offset = (size_t)hep_json_int(data, "offset", 0), bytes = 0;
    input_parts = offset == 0 ? 1 : input_parts + 1;
    if (refused_code != HEP_OK && input_parts >= refused_part) {
        reply_error(request, refused_code, "upload");
        return;
    }
    if (offset == 0)
        snprintf(input_upload, sizeof input_upload, "%s", upload);
    if (strcmp(input_upload, upload) != 0) { /* another one has begun since */
        reply_data(request, json_pack("{s:i}", "received", 0));
        return;
    }
    ck_assert((offset == 0 || offset == input_bytes) && strlen(text) <= HEP_BASE64_LENGTH(HEP_INPUT_PART_MAX));
    ck_assert(hep_base64_decode(text, strlen(text), input + offset, &bytes));
    input_bytes = offset + bytes;
    json_t *said = json_pack("{s:I}", "received", (json_int_t)input_bytes);
    if (hep_json_bool(data, "end", false))
        json_object_update_new(said, json_pack("{s:s, s:I}", "input", "abcdef", "bytes", (json_int_t)input_bytes));
    reply_data(request, said);
}

static void serve_input(struct hep_rpc_request *request, const json_t *data)
{
    pthread_mutex_lock(&lock);
    serve_part(request, data);
    pthread_mutex_unlock(&lock);
}

static void serve(void *context, struct hep_rpc_request *request, const void *frame, size_t bytes)
{
    json_t *message = NULL;
    (void)context;
    atomic_fetch_add(&front_requests, 1);
    ck_assert_ok(hep_wire_decode(frame, bytes, &message, error));
    const char *type = hep_json_str(message, "type", "");
    json_t *data = json_object_get(message, "data");
    if (strcmp(type, "status.get") == 0)
        serve_status(request);
    else if (strcmp(type, "session.get") == 0)
        serve_session(request, data);
    else if (strcmp(type, "events.poll") == 0)
        serve_poll(request, data);
    else if (strcmp(type, "metrics.get") == 0)
        reply_data(request, json_pack("{s:s}", "text", "# TYPE x gauge\nx{a=\"é\"} 1\n"));
    else if (strcmp(type, "workflow.execute") == 0 || strcmp(type, "inference.text2img") == 0)
        reply_data(request, json_pack("{s:s, s:s, s:b, s:O}", "session_id", "s-1", "status", "queued", "created", 1,
                                      "asked", data));
    else if (strcmp(type, "batch.execute") == 0)
        reply_data(request,
                   json_pack("{s:O, s:s}", "batch_id", json_object_get(data, "batch_id"), "status", "running"));
    else if (strcmp(type, "batch.get") == 0)
        serve_batch(request, data);
    else if (strcmp(type, "preview.poll") == 0)
        serve_watcher(request, data);
    else if (strcmp(type, "preview.get") == 0)
        serve_preview(request, data);
    else if (strcmp(type, "input.put") == 0)
        serve_input(request, data);
    else if (strcmp(type, "device.unknown") == 0)
        reply_error(request, HEP_E_UNKNOWN_OPERATION, "type");
    else if (strcmp(type, "daemon.stop") == 0)
        reply_error(request, HEP_E_NOT_ALLOWED, "");
    else
        reply_data(request, json_pack("{s:s, s:O}", "type", type, "asked", data));
    json_decref(message);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */
void door_start(struct door *door, struct http_options options)
{
    struct http_counters counters;
    memset(door, 0, sizeof *door);
    snprintf(door->folder, sizeof door->folder, "/tmp/heptad-http-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(door->folder));
    snprintf(door->images, sizeof door->images, "%s/images", door->folder);
    snprintf(images, sizeof images, "%s", door->images);
    snprintf(state, sizeof state, "ready");
    event_count = poll_count = kept_since = all_since = 0;
    running = json_object();
    ended_batch[0] = '\0';
    watcher = NULL;
    preview_number = 0;
    snprintf(door->front_path, sizeof door->front_path, "%s/front.sock", door->folder);
    ck_assert_int_eq(mkdir(door->images, 0700), 0);
    if (!options.address)
        options.address = "127.0.0.1";
    if (!options.token_file)
        options.token_file = "";
    options.images_dir = door->images;
    ck_assert_ok(hep_rpc_server_create(door->front_path, HEP_OPERATIONS_IN_FLIGHT_MAX, serve, NULL, &front, error));
    ck_assert_ok(front_client_create(door->front_path, &door->client, error));
    ck_assert_ok(http_start(&options, door->client, &door->server, error));
    http_counters(door->server, &counters);
    door->port = counters.port;
    ck_assert_int_gt(door->port, 0);
}

void door_end(struct door *door)
{
    char path[160];
    front_client_close(door->client);
    http_stop(door->server);
    front_client_destroy(door->client);
    hep_rpc_server_destroy(front);
    while (event_count > 0)
        json_decref(events[--event_count]);
    json_decref(hep_take(&running));
    unlink(door->front_path);
    snprintf(path, sizeof path, "%s/a.png", door->images);
    unlink(path);
    ck_assert(rmdir(door->images) == 0 && rmdir(door->folder) == 0);
}

/* ---- raw HTTP ---------------------------------------------------------------------------------------------------- */
int door_connect(const struct door *door)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)door->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

bool send_text(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        text += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

struct response read_response(int fd, bool head_only)
{
    struct response response = {.body = calloc(1, 1)};
    size_t used = 0;
    while (used < sizeof response.head - 1 && !strstr(response.head, "\r\n\r\n")) {
        if (recv(fd, response.head + used, 1, 0) != 1)
            break;
        response.head[++used] = '\0';
    }
    sscanf(response.head, "HTTP/1.%*d %d", &response.status);
    const char *header = strcasestr(response.head, "\r\nContent-Length:");
    size_t wanted = header ? strtoul(header + 17, NULL, 10) : SIZE_MAX;
    if (head_only || response.status == 0)
        return response;
    while (response.bytes < wanted) {
        char block[65536];
        size_t left = wanted - response.bytes;
        ssize_t got = recv(fd, block, left < sizeof block ? left : sizeof block, 0);
        if (got <= 0)
            break;
        response.body = realloc(response.body, response.bytes + (size_t)got + 1);
        memcpy(response.body + response.bytes, block, (size_t)got);
        response.bytes += (size_t)got;
        response.body[response.bytes] = '\0';
    }
    return response;
}

void response_clear(struct response *response)
{
    free(response->body);
    response->body = NULL;
}

struct response ask(const struct door *door, const char *method, const char *path, const char *headers,
                    const char *body)
{
    char *text, length[64] = "";
    if (body)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
    const char *host =
        strncasecmp(headers, "Host:", 5) == 0 || strcasestr(headers, "\nHost:") ? "" : "Host: localhost\r\n";
    int bytes = asprintf(&text, "%s %s HTTP/1.1\r\n%sConnection: close\r\n%s%s\r\n%s", method, path, host, length,
                         headers, body ? body : "");
    int fd = door_connect(door);
    send_text(fd, text, (size_t)bytes);
    free(text);
    struct response response = read_response(fd, strcmp(method, "HEAD") == 0);
    close(fd);
    return response;
}

const char *response_code(const struct response *response)
{
    static char code[64];
    json_t *body = json_loadb(response->body, response->bytes, 0, NULL);
    snprintf(code, sizeof code, "%s", hep_json_str(json_object_get(body, "error"), "code", ""));
    json_decref(body);
    return code;
}
