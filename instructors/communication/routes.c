/* The table of HTTP routes and its matching. Pure; no socket here. To add a route: a row. */
#include "instructors/communication/routes.h"

#include "common/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKFLOWS "/api/processing/workflows"
#define SESSIONS  "/api/processing/sessions"
#define BATCHES   "/api/processing/batches"
const struct route routes[] = {
    {"GET", "/healthz", ROUTE_ALIVE, NULL, 200, "", false, NULL, "the door answers"},
    {"GET", "/readyz", ROUTE_READY, "status.get", 200, "", false, NULL, "every domain is ready and has shown progress"},
    {"GET", "/metrics", ROUTE_TEXT, "metrics.get", 200, "", false, NULL, "counts and gauges, as Prometheus reads them"},
    {"GET", "/api/status", ROUTE_OPERATION, "status.get", 200, "", false, NULL, "the whole daemon in one answer"},
    {"GET", "/api/events", ROUTE_EVENTS, "events.poll", 200, "after_seq:i", false, NULL,
     "events as they happen (text/event-stream)"},
    {"GET", "/api/models", ROUTE_OPERATION, "model.list", 200, "", false, NULL, "models and their defaults"},
    {"GET", "/api/schedulers", ROUTE_OPERATION, "scheduler.list", 200, "", false, NULL, "diffusion schedulers"},
    {"GET", WORKFLOWS, ROUTE_OPERATION, "workflow.list", 200, "", false, NULL, "workflow templates"},
    {"POST", WORKFLOWS "/execute", ROUTE_OPERATION, "workflow.execute", 202, "", true, "idempotency_key",
     "make images; answers when the request is durable"},
    {"GET", WORKFLOWS "/{workflow_id}", ROUTE_OPERATION, "workflow.get", 200, "", false, NULL, "one template"},
    {"GET", SESSIONS, ROUTE_OPERATION, "session.list", 200, "limit:i status cursor", false, NULL,
     "sessions, newest first"},
    {"GET", SESSIONS "/{session_id}", ROUTE_OPERATION, "session.get", 200, "", false, NULL, "one session"},
    {"POST", SESSIONS "/{session_id}/control", ROUTE_OPERATION, "session.control", 200, "", true, NULL,
     "pause, resume, cancel"},
    {"DELETE", SESSIONS "/{session_id}", ROUTE_OPERATION, "session.delete", 200, "", false, NULL,
     "forget an ended session"},
    {"GET", SESSIONS "/{session_id}/images/{n}", ROUTE_IMAGE, "session.get", 200, "", false, NULL,
     "image n of a session, from 0"},
    {"POST", WORKFLOWS "/validate", ROUTE_OPERATION, "workflow.validate", 200, "", true, NULL,
     "all that is wrong with a request, and what it would take"},
    {"PUT", WORKFLOWS "/{workflow_id}", ROUTE_OPERATION, "workflow.put", 200, "", true, NULL,
     "keep a workflow of the operator's own"},
    {"DELETE", WORKFLOWS "/{workflow_id}", ROUTE_OPERATION, "workflow.delete", 200, "", false, NULL,
     "forget one that was put"},
    {"GET", BATCHES, ROUTE_OPERATION, "batch.list", 200, "limit:i status cursor", false, NULL, "batches, newest first"},
    {"POST", BATCHES "/create", ROUTE_OPERATION, "batch.create", 201, "", true, "idempotency_key",
     "keep a batch; nothing runs yet"},
    {"GET", BATCHES "/{batch_id}", ROUTE_OPERATION, "batch.get", 200, "", false, NULL, "one batch, with its items"},
    {"POST", BATCHES "/{batch_id}/execute", ROUTE_OPERATION, "batch.execute", 202, "", true, NULL, "begin a batch"},
    {"POST", BATCHES "/{batch_id}/control", ROUTE_OPERATION, "batch.control", 200, "", true, NULL,
     "pause, resume, cancel"},
    {"DELETE", BATCHES "/{batch_id}", ROUTE_OPERATION, "batch.delete", 200, "", false, NULL,
     "forget a batch that does not run"},
};
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
        if (length == 0 || length >= HEP_NAME_MAX)
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
            *match = (struct route_match){&routes[i], data};
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
    return hep_hint(error, "the routes are listed in docs/http.md"), HEP_E_NOT_FOUND;
}

/* The table has "limit:i status": people read "limit status". */
static enum hep_status no_parameter(const struct route *route, const char *name, struct hep_error *error)
{
    char names[128] = "";
    for (const char *word = route->query; *word; word += strcspn(word, " "), word += *word == ' ') {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%.*s", used ? ", " : "", (int)strcspn(word, " :"), word);
    }
    hep_fail_field(error, HEP_E_UNKNOWN_FIELD, name, "there is no query parameter \"%.60s\" here", name);
    return hep_hint(error, "%s takes %s", route->path, names[0] ? names : "no query parameters"), HEP_E_UNKNOWN_FIELD;
}

enum hep_status route_query(const struct route *route, const char *name, const char *value, json_t *data,
                            struct hep_error *error)
{
    size_t length = strlen(name);
    for (const char *word = route->query; *word; word += strcspn(word, " "), word += *word == ' ') {
        size_t word_length = strcspn(word, " :");
        if (word_length != length || strncmp(word, name, length) != 0)
            continue;
        if (word[word_length] != ':') {
            json_t *text = json_string(value ? value : "");
            if (!text)
                return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s is not UTF-8", name);
            json_object_set_new(data, name, text);
            return HEP_OK;
        }
        char *end;
        errno = 0;
        long long number = strtoll(value ? value : "", &end, 10);
        if (!value || (*value != '-' && (*value < '0' || *value > '9')) || *end || errno)
            return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s must be an integer", name);
        json_object_set_new(data, name, json_integer(number));
        return HEP_OK;
    }
    return no_parameter(route, name, error);
}
