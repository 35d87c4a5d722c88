/*
 * What the routes answer, for the OpenAPI document: replies, streams and files, links, and every error by its status.
 * Called by openapi.c.
 */
#include "common/wire.h"
#include "instructors/communication/openapi_parts.h"
#include "instructors/communication/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_MAX = 600 };

static json_t *text_header(const char *help)
{
    return json_pack("{s:s, s:b, s:{s:s}}", "description", help, "required", 1, "schema", "type", "string");
}

static bool is_asked(const struct route *route) /* the supervisor */
{
    return route->kind != ROUTE_ALIVE;
}

/* Whether an answer of the route may have this status: what a request of its form can be refused for. */
static bool may_have(const struct document *document, const struct route *route, int status)
{
    bool named = strchr(route->path, '{') != NULL, changes = strcmp(route->method, "GET") != 0,
         given = named || route->takes_body || route->query || route->own || route->kind == ROUTE_INPUT;
    switch (status) {
    case 400:
    case 403:
        return true;
    case 401:
        return document->token;
    case 404:
        return named || route->takes_body;
    case 413:
    case 422:
        return given;
    case 409:
    case 507:
        return changes;
    default:
        return status >= 500 && is_asked(route);
    }
}

static void add_errors(const struct document *document, const struct route *route, json_t *answers)
{
    for (int code = HEP_OK + 1; code < HEP_STATUS_COUNT; code++) {
        char status[8], name[16];
        int http = hep_status_http((enum hep_status)code);
        snprintf(status, sizeof status, "%d", http);
        snprintf(name, sizeof name, "%s%d", route->kind == ROUTE_REQUEST ? "Routed" : "Error", http);
        if (may_have(document, route, http) && !json_object_get(answers, status))
            json_object_set_new(answers, status, openapi_reference("responses", name));
    }
    if (document->token)
        json_object_set_new(answers, "401",
                            openapi_reference("responses", route->kind == ROUTE_REQUEST ? "Routed401" : "Error401"));
}

static json_t *image_content(void)
{
    static const char *const types[] = {"image/png", "image/jpeg", "image/webp", "application/octet-stream"};
    json_t *content = json_object();
    for (size_t i = 0; i < HEP_COUNT_OF(types); i++)
        json_object_set_new(content, types[i], json_object());
    return content;
}

/* The schema of what a route answers when all is well, under a name of its own. */
static json_t *reply_schema(struct document *document, const struct route *route, const char *operation,
                            const char *name)
{
    char schema[HEP_NAME_MAX + 16];
    json_t *own = route->reply ? hep_describe_fields(route->reply, route->reply_count) : NULL;
    const json_t *row = openapi_operation(document, operation);
    snprintf(schema, sizeof schema, "%s_reply", name);
    if (!json_object_get(document->schemas, schema))
        json_object_set_new(document->schemas, schema,
                            schema_of_fields(own ? own : json_object_get(row, "reply"),
                                             !own && hep_json_bool(row, "reply_open", false), SCHEMA_REPLY));
    json_decref(own);
    return openapi_reference("schemas", schema);
}

static json_t *routed_schema(void)
{
    return json_pack("{s:s, s:{s:{s:s}, s:{s:b}, s:{s:s}}, s:[s, s, s], s:b}", "type", "object", "properties",
                     "request_id", "type", "string", "success", "const", 1, "data", "type", "object", "required",
                     "request_id", "success", "data", "additionalProperties", 0);
}

static json_t *answer(const char *help, json_t *content)
{
    json_t *object = json_pack("{s:s}", "description", help);
    if (content)
        json_object_set_new(object, "content", content);
    return object;
}

/* The GET route of what `location` names. */
static const struct route *route_at(const char *location, size_t length)
{
    for (size_t i = 0; i < routes_count; i++)
        if (strcmp(routes[i].method, "GET") == 0 && strlen(routes[i].path) == length &&
            strncmp(routes[i].path, location, length) == 0)
            return &routes[i];
    return NULL;
}

/* Links from an answer that names something to all that can be done with that. */
static json_t *links_from(const char *location, size_t length, const char *member)
{
    json_t *links = json_object();
    for (size_t i = 0; i < routes_count; i++) {
        char name[HEP_NAME_MAX];
        if (strncmp(routes[i].path, location, length) != 0)
            continue;
        openapi_name_route(&routes[i], name, sizeof name);
        json_object_set_new(links, name,
                            json_pack("{s:s, s:{s:o}}", "operationId", name, "parameters", member,
                                      json_sprintf("$response.body#/%s", member)));
    }
    return links;
}

/* 201 and 202: where it is, and what can be done there; 200, when it was waited for: what it is. */
static void add_work(struct document *document, const struct route *route, json_t *answers, const char *status)
{
    size_t length = strcspn(route->location, " ");
    const struct route *place = route_at(route->location, length);
    const char *open = strchr(route->location, '{') + 1;
    char name[HEP_NAME_MAX], member[HEP_NAME_MAX];
    openapi_name_route(place, name, sizeof name);
    snprintf(member, sizeof member, "%.*s", (int)strcspn(open, "}"), open);
    json_t *accepted = json_object_get(answers, status);
    json_object_set_new(accepted, "headers", json_pack("{s:o}", "Location", text_header("path of what was begun")));
    json_object_set_new(accepted, "links", links_from(route->location, length, member));
    if (route->own)
        json_object_set_new(answers, "200",
                            answer("it has ended while the request waited",
                                   openapi_content(reply_schema(document, place, place->operation, name))));
}

static json_t *success(struct document *document, const struct route *route, const char *name)
{
    switch (route->kind) {
    case ROUTE_IMAGE:
        return answer("the file", image_content());
    case ROUTE_PREVIEW:
        return answer("a small PNG", json_pack("{s:{}}", "image/png"));
    case ROUTE_EVENTS:
    case ROUTE_SESSION_EVENTS:
        return answer("server-sent events: id (its number), event (its name), data (one event of events.poll as JSON)",
                      json_pack("{s:{}}", "text/event-stream"));
    case ROUTE_TEXT:
        return answer("as Prometheus reads it", json_pack("{s:{s:{s:s}}}", "text/plain", "schema", "type", "string"));
    case ROUTE_OPENAPI:
        return answer("the document", openapi_content(json_pack("{s:s}", "type", "object")));
    case ROUTE_REQUEST:
        return answer("the operation's reply; under wait, the ended session or batch",
                      openapi_content(routed_schema()));
    default:
        return answer(route->help,
                      openapi_content(reply_schema(document, route, route->operation ? route->operation : "", name)));
    }
}

json_t *openapi_answers(struct document *document, const struct route *route, const char *name)
{
    json_t *answers = json_object();
    char status[8];
    snprintf(status, sizeof status, "%d", route->status ? route->status : 200);
    json_object_set_new(answers, status, success(document, route, name));
    if (route->kind == ROUTE_REQUEST) {
        json_object_set_new(answers, "201", answer("something was made", openapi_content(routed_schema())));
        json_object_set_new(answers, "202", answer("work was begun", openapi_content(routed_schema())));
        json_object_set_new(json_object_get(answers, "201"), "headers",
                            json_pack("{s:o}", "Location", text_header("its path")));
        json_object_set_new(json_object_get(answers, "202"), "headers",
                            json_pack("{s:o}", "Location", text_header("its path")));
    } else if (route->location) {
        add_work(document, route, answers, status);
    }
    if (route->kind == ROUTE_SESSION_EVENTS)
        json_object_set_new(answers, "204", answer("the client has the session's end already", NULL));
    if (route->kind == ROUTE_READY)
        json_object_set_new(
            answers, "503",
            answer("not ready, or the supervisor does not answer",
                   openapi_content(json_pack("{s:[o, o]}", "anyOf", reply_schema(document, route, "", name),
                                             openapi_reference("schemas", "ErrorBody")))));
    add_errors(document, route, answers);
    return answers;
}

/* {error} as everywhere, {request_id, success, error} of a routed request. */
static void add_name(json_t *names, const char *name)
{
    size_t index;
    const json_t *known;
    json_array_foreach(names, index, known) if (strcmp(json_string_value(known), name) == 0) return;
    json_array_append_new(names, json_string(name));
}

static void add_error_schemas(struct document *document)
{
    size_t count = 0;
    while (hep_error_fields[count].name)
        count++;
    json_t *fields = hep_describe_fields(hep_error_fields, count),
           *error = schema_of_fields(fields, false, SCHEMA_REPLY), *codes = json_array(),
           *properties = json_object_get(error, "properties");
    json_decref(fields);
    for (int code = HEP_OK + 1; code < HEP_STATUS_COUNT; code++)
        json_array_append_new(codes, json_string(hep_status_name((enum hep_status)code)));
#define HEP_ERROR_ALIAS(name, code, field, meaning) add_name(codes, #name);
#include "common/error_aliases.def" /* with error_format "alias" */
#undef HEP_ERROR_ALIAS
    json_object_set_new(json_object_get(properties, "code"), "enum", codes);
    json_object_set_new(properties, "problems",
                        json_pack("{s:s, s:{s:s}, s:s}", "type", "array", "items", "type", "object", "description",
                                  "all that is wrong, if it is more than one thing: errors with step or item"));
    json_object_set_new(document->schemas, "Error", error);
    json_object_set_new(document->schemas, "ErrorBody",
                        json_pack("{s:s, s:{s:o}, s:[s], s:b}", "type", "object", "properties", "error",
                                  openapi_reference("schemas", "Error"), "required", "error", "additionalProperties",
                                  0));
    json_object_set_new(document->schemas, "RoutedError",
                        json_pack("{s:s, s:{s:{s:s}, s:{s:b}, s:{s:[{s:s}, o]}}, s:[s, s, s], s:b}", "type", "object",
                                  "properties", "request_id", "type", "string", "success", "const", 0, "error", "anyOf",
                                  "type", "string", openapi_reference("schemas", "Error"), "required", "request_id",
                                  "success", "error", "additionalProperties", 0));
}

static void add_error_response(struct document *document, int http, const char *codes, bool routed)
{
    char name[16];
    json_t *schema = routed ? json_pack("{s:[o, o]}", "anyOf", openapi_reference("schemas", "RoutedError"),
                                        openapi_reference("schemas", "ErrorBody"))
                            : openapi_reference("schemas", "ErrorBody");
    json_t *response = answer(codes, openapi_content(schema));
    snprintf(name, sizeof name, "%s%d", routed ? "Routed" : "Error", http);
    if (http == 503)
        json_object_set_new(response, "headers", json_pack("{s:o}", "Retry-After", text_header("seconds")));
    if (http == 401)
        json_object_set_new(response, "headers", json_pack("{s:o}", "WWW-Authenticate", text_header("Bearer")));
    json_object_set_new(document->responses, name, response);
}

static void add_error_responses(struct document *document)
{
    for (int http = 400; http < STATUS_MAX; http++) {
        char codes[512] = "";
        for (int code = HEP_OK + 1; code < HEP_STATUS_COUNT; code++) {
            size_t used = strlen(codes);
            if (hep_status_http((enum hep_status)code) == http)
                snprintf(codes + used, sizeof codes - used, "%s%s: %s", used ? "; " : "",
                         hep_status_name((enum hep_status)code), hep_status_meaning((enum hep_status)code));
        }
        if (http == 401)
            snprintf(codes, sizeof codes, "NOT_ALLOWED: the token is missing or wrong");
        if (!codes[0] || (http == 401 && !document->token))
            continue;
        add_error_response(document, http, codes, false);
        add_error_response(document, http, codes, true);
    }
}

void openapi_add_errors(struct document *document)
{
    add_error_schemas(document);
    add_error_responses(document);
}
