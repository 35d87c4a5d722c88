/* The table of HTTP routes and its matching. Pure; no socket here. To add a route: a row. */
#include "instructors/communication/routes.h"

#include "common/limits.h"
#include "common/wire.h"
#include "instructors/communication/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKFLOWS "/api/processing/workflows"
#define SESSIONS  "/api/processing/sessions"
#define SESSION   SESSIONS "/{session_id}"
#define BATCHES   "/api/processing/batches"
#define BATCH     BATCHES "/{batch_id}"
#define EXECUTE   "{\"workflow_id\": \"txt2img\", \"configuration\": {\"prompt\": \"a red apple\", \"seed\": 7}}"

static const struct hep_field waits[] = {
    HEP_FIELD(I32, route_options, wait, DEFAULTED, .max = HEP_HTTP_WAIT_MAX_S,
              .help = "answer when the session or batch that it begins has ended, at the latest after so many seconds"),
};
static const struct hep_field ends[] = {
    HEP_FIELD(I32, route_options, seconds, DEFAULTED, .max = HEP_HTTP_STREAM_MAX_S,
              .help = "the stream ends after so many seconds; 0 = it does not"),
    HEP_FIELD(I32, route_options, previews, DEFAULTED, .max = 1,
              .help = "1: also session.preview, without an id: how an image that is being made looks now, of sessions "
                      "that asked for previews"),
};
#define OWN(fields)  .own = fields, .own_count = HEP_COUNT_OF(fields)
#define BODY(fields) .takes_body = true, .body = fields, .body_count = HEP_COUNT_OF(fields)

#define REPLY(fields) .reply = fields, .reply_count = HEP_COUNT_OF(fields)

static const char *const alive_choices[] = {"alive", NULL};
static const struct hep_field alive_fields[] = {HEP_SAYS(STR, "status", REQUIRED, "alive", .choices = alive_choices)};
static const struct hep_field ready_fields[] = {
    HEP_SAYS(BOOL, "ready", REQUIRED, "every domain is ready and has shown progress"),
    HEP_SAYS(STR, "state", REQUIRED, "as status.get"),
    HEP_SAYS(STR, "line", REQUIRED, "one sentence"),
};

static const struct hep_field input_fields[] = {
    HEP_SAYS(STR, "input", REQUIRED, "its name: the SHA-256 of its bytes"),
    HEP_SAYS(I64, "bytes", REQUIRED, "of the file"),
};

/* clang-format off */
const struct route routes[] = {
    {.method = "GET", .path = "/healthz", .kind = ROUTE_ALIVE, REPLY(alive_fields), .help = "the door answers"},
    {.method = "GET", .path = "/readyz", .kind = ROUTE_READY, .operation = "status.get", REPLY(ready_fields),
     .help = "every domain is ready and has shown progress"},
    {.method = "GET", .path = "/api/openapi.json", .kind = ROUTE_OPENAPI, .operation = "domain.describe",
     .help = "this API as an OpenAPI 3.1 document"},
    {.method = "GET", .path = "/metrics", .kind = ROUTE_TEXT, .operation = "metrics.get",
     .help = "counts and gauges, as Prometheus reads them"},
    {.method = "GET", .path = "/api/status", .operation = "status.get", .help = "the whole daemon in one answer"},
    {.method = "GET", .path = "/api/events", .kind = ROUTE_EVENTS, .operation = "events.poll",
     .query = "after_seq:i types", OWN(ends), .help = "events as they happen (text/event-stream)"},
    {.method = "GET", .path = "/api/models", .operation = "model.list", .help = "models and their defaults"},
    {.method = "GET", .path = "/api/schedulers", .operation = "scheduler.list", .help = "diffusion schedulers"},

    {.method = "POST", .path = "/api/inputs", .kind = ROUTE_INPUT, .operation = "input.put", .status = 201,
     .location = "/api/inputs/{input}", REPLY(input_fields),
     .help = "give an image for later requests: a PNG, JPEG or WebP file as the body; the answer has its name"},
    {.method = "GET", .path = "/api/inputs/{input}", .operation = "input.get",
     .help = "whether an image that was given is still there"},

    {.method = "POST", .path = "/api/processing/request", .kind = ROUTE_REQUEST, BODY(routed_fields),
     .location = SESSION " " BATCH, OWN(waits),
     .example = "{\"type\": \"scheduler.list\", \"request_id\": \"1\", \"data\": {}}", .help = "one request in the form that processes send each other; what a client may ask"},

    {.method = "GET", .path = WORKFLOWS, .operation = "workflow.list", .help = "workflow templates"},
    {.method = "POST", .path = WORKFLOWS "/execute", .operation = "workflow.execute", .status = 202, .takes_body = true,
     .key = "idempotency_key", .location = SESSION, OWN(waits), .example = EXECUTE,
     .help = "make images; answers when the request is durable, or with ?wait= when its session has ended"},
    {.method = "POST", .path = WORKFLOWS "/validate", .operation = "workflow.validate", .takes_body = true,
     .example = EXECUTE,
     .help = "all that is wrong with a request, and what it would take"},
    {.method = "GET", .path = WORKFLOWS "/{workflow_id}", .operation = "workflow.get", .help = "one template"},
    {.method = "PUT", .path = WORKFLOWS "/{workflow_id}", .operation = "workflow.put", .takes_body = true,
     .example = "{\"workflow\": {\"steps\": [{\"id\": \"look\", \"type\": \"device\", \"operation\": \"list\"}]}}",
     .help = "keep a workflow of the operator's own"},
    {.method = "DELETE", .path = WORKFLOWS "/{workflow_id}", .operation = "workflow.delete",
     .help = "forget one that was put"},

    {.method = "GET", .path = SESSIONS, .operation = "session.list",
     .query = "status workflow_id created_after created_before limit:i cursor", .help = "sessions, newest first"},
    {.method = "GET", .path = SESSION, .operation = "session.get", .help = "one session"},
    {.method = "POST", .path = SESSION "/control", .operation = "session.control", .takes_body = true,
     .example = "{\"action\": \"cancel\"}",
     .help = "pause, resume, cancel, change the priority"},
    {.method = "DELETE", .path = SESSION, .operation = "session.delete", .help = "forget an ended session"},
    {.method = "GET", .path = SESSION "/images/{n}", .kind = ROUTE_IMAGE, .operation = "session.get",
     .help = "image n of a session, from 0"},
    {.method = "GET", .path = SESSION "/preview", .kind = ROUTE_PREVIEW, .operation = "preview.get",
     .help = "how an image of a session that asked for previews looks now"},
    {.method = "GET", .path = SESSION "/events", .kind = ROUTE_SESSION_EVENTS, .operation = "events.poll",
     .query = "after_seq:i types", OWN(ends),
     .help = "the session's events from its beginning to its end (text/event-stream)"},

    {.method = "GET", .path = BATCHES, .operation = "batch.list", .query = "status limit:i cursor",
     .help = "batches, newest first"},
    {.method = "POST", .path = BATCHES "/create", .operation = "batch.create", .status = 201, .takes_body = true,
     .key = "idempotency_key", .location = BATCH,
     .example = "{\"configuration\": {\"prompt\": \"pizza\"}, \"ranges\": {\"seed\": [1, 2]}}", .help = "keep a batch; nothing runs yet"},
    {.method = "GET", .path = BATCH, .operation = "batch.get", .help = "one batch, with its items"},
    {.method = "POST", .path = BATCH "/execute", .operation = "batch.execute", .status = 202, .takes_body = true,
     .example = "{}",
     .location = BATCH, OWN(waits), .help = "begin a batch; answers when that is durable, or with ?wait= when it has ended"},
    {.method = "POST", .path = BATCH "/control", .operation = "batch.control", .takes_body = true,
     .example = "{\"action\": \"pause\"}",
     .help = "pause, resume, cancel"},
    {.method = "DELETE", .path = BATCH, .operation = "batch.delete", .help = "forget a batch that does not run"},
};
/* clang-format on */
const size_t routes_count = HEP_COUNT_OF(routes);

static bool has_names(const struct route *route)
{
    return strchr(route->path, '{') != NULL;
}

/* Takes the parts of path that stand for {names} into data; false if it is another path. */
static bool match_path(const char *pattern, const char *path, json_t *data)
{
    json_object_clear(data);
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        const char *close = strchr(pattern, '}');
        size_t length = strcspn(path, "/");
        if (length == 0 || length > HEP_NAME_MAX)
            return false;
        char name[HEP_NAME_MAX];
        snprintf(name, sizeof name, "%.*s", (int)(close - pattern - 1), pattern + 1);
        json_t *value = json_stringn(path, length);
        if (!value)
            return false; /* not UTF-8 */
        json_object_set_new(data, name, value);
        pattern = close + 1;
        path += length;
    }
    return *pattern == *path;
}

enum hep_status route_find(const char *method, const char *path, struct route_match *match, char allow[64],
                           struct hep_error *error)
{
    json_t *data = json_object();
    bool literal = false; /* the path itself is in the table: no {name} stands for a part of it */
    allow[0] = '\0';
    for (size_t i = 0; i < routes_count; i++)
        literal = literal || (!has_names(&routes[i]) && strcmp(routes[i].path, path) == 0);
    for (size_t i = 0; i < routes_count; i++) {
        if ((literal && has_names(&routes[i])) || !match_path(routes[i].path, path, data))
            continue;
        if (strcmp(routes[i].method, method) == 0 ||
            (strcmp(method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0)) {
            *match = (struct route_match){&routes[i], data, json_object()};
            return HEP_OK;
        }
        size_t used = strlen(allow);
        snprintf(allow + used, 64 - used, "%s%s%s", used ? ", " : "", routes[i].method,
                 strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    json_decref(data);
    if (allow[0]) {
        hep_fail(error, HEP_E_NOT_ALLOWED, "%.100s takes %s, not %.10s", path, allow, method);
        return hep_hint(error, "ask with %s", allow), HEP_E_NOT_ALLOWED;
    }
    hep_fail(error, HEP_E_NOT_FOUND, "there is nothing at %.100s", path);
    return hep_hint(error, "the routes are in GET /api/openapi.json"), HEP_E_NOT_FOUND;
}

void route_match_clear(struct route_match *match)
{
    json_decref(match->data);
    json_decref(match->own);
    *match = (struct route_match){0};
}

/* ---- the query --------------------------------------------------------------------------------------------------- */
static const char *next_word(const char *word)
{
    word += strcspn(word, " ");
    return word + (*word == ' ');
}

struct names {
    char text[160];
    size_t used;
};

static void add_name(struct names *names, const char *name, size_t length)
{
    if (names->used + length + 3 > sizeof names->text)
        return;
    names->used += (size_t)snprintf(names->text + names->used, sizeof names->text - names->used, "%s%.*s",
                                    names->used ? ", " : "", (int)length, name);
}

/* The table has "limit:i status": people read "limit, status". */
static enum hep_status no_parameter(const struct route *route, const char *name, struct hep_error *error)
{
    struct names names = {.used = 0};
    for (const char *word = route->query ? route->query : ""; *word; word = next_word(word))
        add_name(&names, word, strcspn(word, " :"));
    for (size_t i = 0; i < route->own_count; i++)
        add_name(&names, route->own[i].name, strlen(route->own[i].name));
    hep_fail_field(error, HEP_E_UNKNOWN_FIELD, name, "there is no query parameter \"%.60s\" here", name);
    hep_hint(error, "%s takes %s", route->path, names.used ? names.text : "no query parameters");
    return HEP_E_UNKNOWN_FIELD;
}

static enum hep_status take_text(json_t *to, const char *name, const char *value, struct hep_error *error)
{
    json_t *text = json_string(value ? value : "");
    if (!text)
        return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s is not UTF-8", name);
    json_object_set_new(to, name, text);
    return HEP_OK;
}

static enum hep_status take_integer(json_t *to, const char *name, const char *value, struct hep_error *error)
{
    char *end;
    errno = 0;
    long long number = strtoll(value ? value : "", &end, 10);
    if (!value || (*value != '-' && (*value < '0' || *value > '9')) || *end || errno)
        return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s must be an integer", name);
    json_object_set_new(to, name, json_integer(number));
    return HEP_OK;
}

enum hep_status route_query(struct route_match *match, const char *name, const char *value, struct hep_error *error)
{
    const struct route *route = match->route;
    size_t length = strlen(name);
    if (json_object_get(match->data, name) || json_object_get(match->own, name))
        return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s stands twice", name);
    for (const char *word = route->query ? route->query : ""; *word; word = next_word(word)) {
        size_t word_length = strcspn(word, " :");
        if (word_length == length && strncmp(word, name, length) == 0)
            return word[word_length] == ':' ? take_integer(match->data, name, value, error)
                                            : take_text(match->data, name, value, error);
    }
    for (size_t i = 0; i < route->own_count; i++)
        if (strcmp(route->own[i].name, name) == 0)
            return take_integer(match->own, name, value, error);
    return no_parameter(route, name, error);
}

enum hep_status route_options(const struct route_match *match, struct route_options *options, struct hep_error *error)
{
    return hep_decode(match->route->own, match->route->own_count, match->own, false, options, sizeof *options, error);
}

/* ---- where it is ------------------------------------------------------------------------------------------------- */
/* One of the words of route->location. */
static bool fill_location(const char *word, const json_t *answer, char *to, size_t size)
{
    const char *open = strchr(word, '{');
    char name[HEP_NAME_MAX];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(open + 1, "}"), open + 1);
    const char *said = hep_json_str(answer, name, "");
    int length = snprintf(to, size, "%.*s%s", (int)(open - word), word, said);
    return said[0] && length > 0 && (size_t)length < size;
}

bool route_location(const struct route *route, const json_t *answer, char *to, size_t size)
{
    for (const char *word = route->location ? route->location : ""; *word; word = next_word(word))
        if (fill_location(word, answer, to, size))
            return true;
    to[0] = '\0';
    return false;
}

int route_status(const char *operation)
{
    for (size_t i = 0; i < routes_count; i++)
        if (routes[i].kind == ROUTE_OPERATION && strcmp(routes[i].operation, operation) == 0 && routes[i].status)
            return routes[i].status;
    return 200;
}
