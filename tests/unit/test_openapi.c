/* The OpenAPI document, made of the golden descriptions: whole, without a dead reference, and what a field is. */
#include "instructors/communication/openapi.h"

#include "common/wire.h"
#include "instructors/communication/routes.h"
#include "instructors/communication/schema.h"
#include "tests/support/check_status.h"

#include <ctype.h>
#include <string.h>

static json_t *operations, *document;

static void add_rows(const char *domain, json_t *rows)
{
    size_t index;
    json_t *row;
    json_array_foreach(rows, index, row)
    {
        json_t *copy = json_copy(row);
        json_object_set_new(copy, "type", json_sprintf("%s.%s", domain, hep_json_str(row, "name", "")));
        json_array_append_new(operations, copy);
    }
}

/* As domain.describe answers. */
static void start(void)
{
    static const char *const files[] = {"supervisor", "device", "model", "scheduler", "communication"};
    operations = json_array();
    for (size_t i = 0; i < HEP_COUNT_OF(files); i++) {
        char path[512];
        json_error_t why;
        size_t index;
        json_t *prefix;
        snprintf(path, sizeof path, "%s/tests/golden/describe/%s.json", HEP_SOURCE_DIR, files[i]);
        json_t *file = json_load_file(path, 0, &why);
        ck_assert_msg(file != NULL, "%s: %s", path, why.text);
        if (json_is_object(file))
            add_rows(files[i], json_object_get(file, "operations"));
        json_array_foreach(file, index, prefix)
            add_rows(hep_json_str(prefix, "domain", ""), json_object_get(prefix, "operations"));
        json_decref(file);
    }
    ck_assert_ok(openapi_document(operations, true, &document, error));
}

static void end(void)
{
    json_decref(operations);
    json_decref(document);
}

/* "#/components/schemas/x" or a path of keys with blanks between them. */
static json_t *at(const char *path)
{
    json_t *value = document;
    char key[128];
    for (path += *path == '#'; value && *path;) {
        path += *path == '/' || *path == ' ';
        size_t length = strcspn(path, path[-1] == '/' ? "/" : " ");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        value = json_object_get(value, key);
        path += length;
    }
    return value;
}

static void check_references(const json_t *value, int *count)
{
    const char *key;
    const json_t *member;
    size_t index;
    const char *reference = hep_json_str(value, "$ref", NULL);
    if (reference) {
        ck_assert_msg(at(reference) != NULL, "%s leads nowhere", reference);
        ++*count;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member) check_references(member, count);
    json_array_foreach((json_t *)(uintptr_t)value, index, member) check_references(member, count);
}

static json_t *operation_at(const struct route *route)
{
    char method[8] = "";
    for (size_t i = 0; route->method[i]; i++)
        method[i] = (char)tolower((unsigned char)route->method[i]);
    return json_object_get(json_object_get(json_object_get(document, "paths"), route->path), method);
}

START_TEST(every_route_is_there_with_its_parameters_and_answers)
{
    json_t *ids = json_object();
    int references = 0;
    for (size_t i = 0; i < routes_count; i++) {
        const struct route *route = &routes[i];
        json_t *operation = operation_at(route), *parameter, *answers = json_object_get(operation, "responses");
        const char *id = hep_json_str(operation, "operationId", ""), *status;
        json_t *answer;
        size_t index;
        bool good = false;
        ck_assert_msg(operation != NULL, "%s %s", route->method, route->path);
        ck_assert_msg(id[0] && !json_object_get(ids, id), "%s %s: %s", route->method, route->path, id);
        json_object_set_new(ids, id, json_true());
        json_array_foreach(json_object_get(operation, "parameters"), index, parameter)
        {
            ck_assert(hep_json_str(parameter, "name", "")[0] && json_object_get(parameter, "schema"));
            ck_assert_msg(hep_json_str(parameter, "description", "")[0], "%s: %s", id,
                          hep_json_str(parameter, "name", ""));
        }
        json_object_foreach(answers, status, answer) good = good || status[0] == '2';
        ck_assert(good && json_object_get(answers, "400") && json_object_get(answers, "401"));
        ck_assert((json_object_get(operation, "requestBody") != NULL) ==
                  (route->takes_body || route->kind == ROUTE_INPUT));
        if (route->takes_body)
            ck_assert_msg(
                json_object_get(json_object_get(json_object_get(json_object_get(operation, "requestBody"), "content"),
                                                "application/json"),
                                "example"),
                "%s has no example", id);
    }
    check_references(document, &references);
    ck_assert_int_gt(references, 200);
    json_decref(ids);
}
END_TEST

/* A query parameter is read as its operation's field has it. */
START_TEST(integers_of_queries_are_integers_of_operations)
{
    for (size_t i = 0; i < routes_count; i++)
        for (const char *word = routes[i].query ? routes[i].query : ""; *word;) {
            size_t length = strcspn(word, " "), name = strcspn(word, " :"), index;
            json_t *operation = operation_at(&routes[i]), *parameter;
            bool found = false;
            json_array_foreach(json_object_get(operation, "parameters"), index, parameter)
            {
                const char *own = hep_json_str(parameter, "name", "");
                if (strlen(own) != name || strncmp(own, word, name) != 0)
                    continue;
                bool integer = strcmp(hep_json_str(json_object_get(parameter, "schema"), "type", ""), "integer") == 0;
                ck_assert_msg(integer == (name < length), "%s of %s", own, routes[i].path);
                found = true;
            }
            ck_assert_msg(found, "%s of %s", word, routes[i].path);
            word += length + (word[length] == ' ');
        }
}
END_TEST

START_TEST(a_schema_says_what_the_decoder_does)
{
    static const char *const kinds[] = {"", "png", NULL};
    static const struct hep_field inner[] = {HEP_SAYS(STR, "id", REQUIRED, "an id"), HEP_END_OF_FIELDS};
    static const struct hep_field value[] = {HEP_SAYS(I32, "", REQUIRED, "a number"), HEP_END_OF_FIELDS};
    static const struct {
        struct hep_field field;
        enum schema_side side;
        const char *schema;
    } rows[] = {
        {HEP_SAYS(STR, "a", OPTIONAL, "x", .max = 63), SCHEMA_REQUEST,
         "{\"type\":[\"string\",\"null\"],\"pattern\":\"^[^\\\\u0000]*$\",\"maxLength\":63,\"description\":\"x\"}"},
        {HEP_SAYS(STR, "a", REQUIRED, "x", .min = 1, .max = 63), SCHEMA_REQUEST,
         "{\"type\":\"string\",\"pattern\":\"^[^\\\\u0000]*$\",\"maxLength\":63,\"minLength\":1,\"description\":"
         "\"x\"}"},
        {HEP_SAYS(STR, "a", OPTIONAL, "x", .choices = kinds), SCHEMA_REQUEST,
         "{\"type\":[\"string\",\"null\"],\"enum\":[\"\",\"png\",null],\"description\":\"x\"}"},
        {HEP_SAYS(STR, "a", OPTIONAL, "x", .choices = kinds), SCHEMA_QUERY,
         "{\"type\":\"string\",\"enum\":[\"\",\"png\"],\"description\":\"x\"}"},
        {HEP_SAYS(STR, "a", REQUIRED, "x", .nullable = true), SCHEMA_REPLY,
         "{\"type\":[\"string\",\"null\"],\"description\":\"x\"}"},
        {HEP_SAYS(I32, "a", DEFAULTED, "x", .fallback = 50, .min = 1, .max = 500), SCHEMA_QUERY,
         "{\"type\":\"integer\",\"format\":\"int32\",\"minimum\":1,\"maximum\":500,\"description\":\"x\",\"default\":"
         "50}"},
        {HEP_SAYS(I64, "a", REQUIRED, "x"), SCHEMA_REPLY,
         "{\"type\":\"integer\",\"format\":\"int64\",\"minimum\":-9223372036854775808,\"maximum\":9223372036854775807,"
         "\"description\":\"x\"}"},
        {HEP_SAYS(U64, "a", REQUIRED, "x"), SCHEMA_REPLY,
         "{\"anyOf\":[{\"type\":\"integer\",\"minimum\":0,\"exclusiveMaximum\":1.8446744073709552e19},{\"type\":"
         "\"string\","
         "\"pattern\":\"^[0-9]{1,20}$\"}],\"description\":\"x\"}"},
        {HEP_SAYS(F64, "a", REQUIRED, "x", .has_above = true, .above = 0, .max = 1), SCHEMA_REQUEST,
         "{\"type\":\"number\",\"maximum\":1.0,\"exclusiveMinimum\":0.0,\"description\":\"x\"}"},
        {HEP_SAYS(JSON, "a", REQUIRED, "x"), SCHEMA_REQUEST, "{\"description\":\"x\"}"},
        {HEP_SAYS(JSON, "a", OPTIONAL, "x", .form = HEP_FORM_OBJECT, .open = true), SCHEMA_REQUEST,
         "{\"type\":[\"object\",\"null\"],\"description\":\"x\"}"},
        {HEP_SAYS(JSON, "a", REQUIRED, "x", HEP_INSIDE(LIST, inner), .min = 1, .max = 9), SCHEMA_REPLY,
         "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\","
         "\"description\":\"an "
         "id\"}},\"required\":[\"id\"],\"additionalProperties\":false},\"minItems\":1,\"maxItems\":9,\"description\":"
         "\"x\"}"},
        {HEP_SAYS(JSON, "a", REQUIRED, "x", HEP_INSIDE(MAP, value)), SCHEMA_REPLY,
         "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\",\"format\":\"int32\",\"minimum\":-"
         "2147483648,"
         "\"maximum\":2147483647,\"description\":\"a number\"},\"description\":\"x\"}"},
        {HEP_SAYS(STR, "a", OPTIONAL, "x", .format = HEP_TEXT_NUMBER, .max = 18), SCHEMA_QUERY,
         "{\"anyOf\":[{\"type\":\"string\",\"pattern\":\"^[1-9][0-9]{0,17}$\"},{\"const\":\"\"}],\"maxLength\":18,"
         "\"description\":\"x\"}"},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        json_t *fields = hep_describe_fields(&rows[i].field, 1),
               *schema = schema_of_field(json_array_get(fields, 0), rows[i].side);
        char *text = json_dumps(schema, JSON_COMPACT);
        ck_assert_str_eq(text, rows[i].schema);
        free(text);
        json_decref(schema);
        json_decref(fields);
    }
}
END_TEST

START_TEST(without_a_token_nobody_is_told_to_send_one)
{
    json_t *open = NULL;
    ck_assert_ok(openapi_document(operations, false, &open, error));
    char *text = json_dumps(open, JSON_COMPACT);
    ck_assert(!strstr(text, "401") && !strstr(text, "bearer") && !json_object_get(open, "security"));
    ck_assert_ptr_nonnull(json_object_get(document, "security"));
    free(text);
    json_decref(open);
}
END_TEST

START_TEST(an_operation_that_is_not_known_yet_is_waited_for)
{
    json_t *some = json_array(), *none = NULL, *row;
    size_t index;
    json_array_foreach(operations, index, row) if (strncmp(hep_json_str(row, "type", ""), "model.", 6) != 0)
        json_array_append(some, row);
    ck_assert_fails(openapi_document(some, false, &none, error), HEP_E_DOMAIN_DOWN);
    ck_assert_ptr_null(none);
    json_decref(some);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("openapi");
    tcase_add_checked_fixture(cases, start, end);
    tcase_add_test(cases, every_route_is_there_with_its_parameters_and_answers);
    tcase_add_test(cases, integers_of_queries_are_integers_of_operations);
    tcase_add_test(cases, a_schema_says_what_the_decoder_does);
    tcase_add_test(cases, without_a_token_nobody_is_told_to_send_one);
    tcase_add_test(cases, an_operation_that_is_not_known_yet_is_waited_for);
    return check_status_run("openapi", cases);
}
