/*
 * The OpenAPI document: paths from routes.c, parameters and bodies from the fields of their operations, errors from
 * common/errors.def. Called by exchange.c for GET /api/openapi.json. Has no table of its own of what others have.
 */
#include "instructors/communication/openapi.h"

#include "common/limits.h"
#include "common/wire.h"
#include "instructors/communication/openapi_parts.h"
#include "instructors/communication/schema.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *openapi_reference(const char *kind, const char *name)
{
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/%s/%s", kind, name));
}

json_t *openapi_content(json_t *schema)
{
    return json_pack("{s:{s:o}}", "application/json", "schema", schema);
}

/* ---- operations -------------------------------------------------------------------------------------------------- */
const json_t *openapi_operation(const struct document *document, const char *type)
{
    size_t index;
    const json_t *row;
    json_array_foreach((json_t *)(uintptr_t)document->operations, index,
                       row) if (strcmp(hep_json_str(row, "type", ""), type) == 0) return row;
    return NULL;
}

static const json_t *field_named(const json_t *fields, const char *name, size_t length)
{
    size_t index;
    const json_t *field;
    json_array_foreach((json_t *)(uintptr_t)fields, index, field)
    {
        const char *own = hep_json_str(field, "name", "");
        if (strlen(own) == length && strncmp(own, name, length) == 0)
            return field;
    }
    return NULL;
}

/* "session_list"; a route that is not just an operation is called by its path: "sessions_events". */
void openapi_name_route(const struct route *route, char *name, size_t size)
{
    size_t used = 0;
    const char *text = route->kind == ROUTE_OPERATION && route->operation ? route->operation : route->path;
    static const char *const dull[] = {"/api/processing", "/api"};
    for (size_t i = 0; i < HEP_COUNT_OF(dull); i++)
        if (strncmp(text, dull[i], strlen(dull[i])) == 0)
            text += strlen(dull[i]);
    for (; *text && used + 1 < size; text++) {
        if (*text == '{')
            text += strcspn(text, "}");
        else if (isalnum((unsigned char)*text))
            name[used++] = *text;
        else if (used > 0 && name[used - 1] != '_' && text[1] && text[1] != '{')
            name[used++] = '_';
    }
    name[used] = '\0';
}

/* ---- parameters -------------------------------------------------------------------------------------------------- */
static void add_parameter(json_t *parameters, const char *in, const json_t *field, const char *name)
{
    bool path = strcmp(in, "path") == 0;
    json_t *schema = schema_of_field(field, SCHEMA_QUERY);
    if (path) { /* never empty; the names that there are, are ASCII */
        json_object_set_new(schema, "minLength", json_integer(1));
        json_object_set_new(schema, "pattern", json_string("^[!-.0-~]+$"));
    }
    json_array_append_new(parameters, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", name, "in", in, "required", path,
                                                "description", hep_json_str(field, "help", ""), "schema", schema));
}

static void add_header(json_t *parameters, const char *name, const char *help, json_t *schema)
{
    json_array_append_new(parameters, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", name, "in", "header", "required",
                                                0, "description", help, "schema", schema));
}

static void add_path_parameters(json_t *parameters, const struct route *route, const json_t *fields)
{
    for (const char *open = route->path; (open = strchr(open, '{')); open++) {
        size_t length = strcspn(open + 1, "}");
        const json_t *field = field_named(fields, open + 1, length);
        char name[HEP_NAME_MAX];
        snprintf(name, sizeof name, "%.*s", (int)length, open + 1);
        if (field)
            add_parameter(parameters, "path", field, name);
        else /* {n} */
            json_array_append_new(parameters, json_pack("{s:s, s:s, s:b, s:s, s:{s:s, s:i}}", "name", name, "in",
                                                        "path", "required", 1, "description", "number, from 0",
                                                        "schema", "type", "integer", "minimum", 0));
    }
}

static void add_query(json_t *parameters, const struct route *route, const json_t *fields)
{
    json_t *own = hep_describe_fields(route->own, route->own_count), *field;
    size_t index;
    for (const char *word = route->query ? route->query : ""; *word;) {
        size_t length = strcspn(word, " :");
        char name[HEP_NAME_MAX];
        snprintf(name, sizeof name, "%.*s", (int)length, word);
        add_parameter(parameters, "query", field_named(fields, word, length), name);
        word += strcspn(word, " ");
        word += *word == ' ';
    }
    json_array_foreach(own, index, field) add_parameter(parameters, "query", field, hep_json_str(field, "name", ""));
    json_decref(own);
}

static void add_headers(json_t *parameters, const struct route *route, const json_t *row)
{
    const json_t *fields = json_object_get(row, "request");
    const json_t *key = route->key ? field_named(fields, route->key, strlen(route->key)) : NULL;
    int64_t longest = hep_json_int(key, "max_bytes", HEP_IDEMPOTENCY_KEY_MAX);
    if (key || route->kind == ROUTE_REQUEST)
        add_header(parameters, "Idempotency-Key", "the same key and request again is the same work",
                   json_pack("{s:s, s:i, s:I, s:s}", "type", "string", "minLength", 1, "maxLength", (json_int_t)longest,
                             "pattern", "^[!-~]([ -~]*[!-~])?$"));
    if (route->kind == ROUTE_REQUEST || strcmp(hep_json_str(row, "permission", ""), "operator") == 0)
        add_header(parameters, "X-Heptad-Operator", "token of an operator, for what only an operator may",
                   json_pack("{s:s}", "type", "string"));
    for (size_t i = 0; i < route->own_count; i++)
        if (strcmp(route->own[i].name, "wait") == 0)
            add_header(parameters, "Prefer", "wait=SECONDS, as the query parameter; what is not understood is ignored",
                       json_pack("{s:s}", "type", "string"));
    if (route->kind == ROUTE_EVENTS || route->kind == ROUTE_SESSION_EVENTS)
        add_header(parameters, "Last-Event-ID", "number of the last event that the client has",
                   json_pack("{s:s, s:s}", "type", "string", "pattern", "^[0-9]{1,18}$"));
}

/* ---- bodies ------------------------------------------------------------------------------------------------------ */
/* The operation's fields without those of the path. */
static json_t *body_fields(const struct route *route, const json_t *fields)
{
    json_t *rest = json_array(), *field;
    size_t index;
    if (route->body) {
        json_decref(rest);
        return hep_describe_fields(route->body, route->body_count);
    }
    json_array_foreach((json_t *)(uintptr_t)fields, index, field)
    {
        char name[HEP_NAME_MAX + 2];
        snprintf(name, sizeof name, "{%.62s}", hep_json_str(field, "name", ""));
        if (!strstr(route->path, name))
            json_array_append(rest, field);
    }
    return rest;
}

static json_t *request_body(struct document *document, const struct route *route, const char *name,
                            const json_t *fields)
{
    char schema[HEP_NAME_MAX + 16];
    json_t *rest = body_fields(route, fields), *content;
    snprintf(schema, sizeof schema, "%s_request", name);
    json_object_set_new(document->schemas, schema, schema_of_fields(rest, false, SCHEMA_REQUEST));
    json_decref(rest);
    content = openapi_content(openapi_reference("schemas", schema));
    if (route->example)
        json_object_set_new(json_object_get(content, "application/json"), "example",
                            json_loads(route->example, 0, NULL));
    return json_pack("{s:b, s:o}", "required", 1, "content", content);
}

/* A file as it is. */
static json_t *file_body(void)
{
    static const char *const types[] = {"image/png", "image/jpeg", "image/webp", "application/octet-stream"};
    json_t *content = json_object();
    for (size_t i = 0; i < HEP_COUNT_OF(types); i++)
        json_object_set_new(content, types[i],
                            json_pack("{s:{s:s, s:i, s:i}}", "schema", "type", "string", "minLength", 1, "maxLength",
                                      (int)HEP_INPUT_MAX));
    return json_pack("{s:b, s:o}", "required", 1, "content", content);
}

/* ---- the document ------------------------------------------------------------------------------------------------ */
static enum hep_status add_route(struct document *document, const struct route *route, struct hep_error *error)
{
    char name[HEP_NAME_MAX], method[8];
    const json_t *row = route->operation ? openapi_operation(document, route->operation) : NULL;
    if (route->operation && !row) {
        hep_fail(error, HEP_E_DOMAIN_DOWN, "the operation %s is not known yet: its domain has not been ready",
                 route->operation);
        return hep_hint(error, "ask again in a moment"), HEP_E_DOMAIN_DOWN;
    }
    const json_t *fields = json_object_get(row, "request");
    json_t *path = json_object_get(document->paths, route->path), *parameters = json_array();
    if (!path) {
        json_object_set_new(document->paths, route->path, json_object());
        path = json_object_get(document->paths, route->path);
    }
    openapi_name_route(route, name, sizeof name);
    for (size_t i = 0; i < sizeof method; i++)
        method[i] = (char)tolower((unsigned char)route->method[i < strlen(route->method) ? i : strlen(route->method)]);
    add_path_parameters(parameters, route, fields);
    add_query(parameters, route, fields);
    add_headers(parameters, route, row);
    json_t *operation = json_pack("{s:s, s:s, s:o, s:o}", "operationId", name, "summary", route->help, "parameters",
                                  parameters, "responses", openapi_answers(document, route, name));
    if (route->operation)
        json_object_set_new(operation, "tags",
                            json_pack("[o]", json_stringn(route->operation, strcspn(route->operation, "."))));
    if (route->kind == ROUTE_INPUT)
        json_object_set_new(operation, "requestBody", file_body());
    if (route->takes_body)
        json_object_set_new(operation, "requestBody", request_body(document, route, name, fields));
    json_object_set_new(path, method, operation);
    return HEP_OK;
}

static json_t *assemble(struct document *document)
{
    json_t *components = json_pack("{s:o, s:o}", "schemas", document->schemas, "responses", document->responses);
    json_t *whole = json_pack("{s:s, s:{s:s, s:s, s:s, s:{s:s}}, s:[{s:s}], s:o, s:o}", "openapi", "3.1.0", "info",
                              "title", "Heptad", "version", HEP_VERSION, "description",
                              "Makes images from prompts. An error is {\"error\": {code, message, hint, …}} with the "
                              "status of its code; docs/errors.md lists the codes, docs/http.md says the rest.",
                              "license", "name", "Apache-2.0", "servers", "url", "/", "paths", document->paths,
                              "components", components);
    if (document->token) {
        json_object_set_new(components, "securitySchemes",
                            json_pack("{s:{s:s, s:s}}", "token", "type", "http", "scheme", "bearer"));
        json_object_set_new(whole, "security", json_pack("[{s:[]}]", "token"));
    }
    return whole;
}

enum hep_status openapi_document(const json_t *operations, bool token, json_t **document, struct hep_error *error)
{
    struct document made = {operations, token, json_object(), json_object(), json_object()};
    enum hep_status status = HEP_OK;
    openapi_add_errors(&made);
    for (size_t i = 0; i < routes_count && status == HEP_OK; i++)
        status = add_route(&made, &routes[i], error);
    json_t *whole = assemble(&made);
    if (status == HEP_OK)
        *document = hep_take(&whole);
    json_decref(whole);
    return status;
}
