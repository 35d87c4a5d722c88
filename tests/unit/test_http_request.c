/* POST /api/processing/request: a request in the form that processes send each other. */
#include "tests/unit/http_fixture.h"

#include "common/wire.h"
#include "tests/support/check_status.h"

#include <string.h>

static const char path[] = "/api/processing/request";
static struct door door;

static void start(void)
{
    door_start(&door, (struct http_options){.answer_ms = 1500, .idle_s = 2, .keep_alive_ms = 400});
}

static void end(void)
{
    door_end(&door);
}

static void expect(const char *headers, const char *body, int status, const char *answer)
{
    struct response response = ask(&door, "POST", path, headers, body);
    ck_assert_msg(response.status == status && strcmp(response.body, answer) == 0, "%s: %d %s", body, response.status,
                  response.body);
    response_clear(&response);
}

/* The error with this code, inside the answer to this request. */
static void expect_error(const char *headers, const char *body, int status, const char *code, const char *id)
{
    struct response response = ask(&door, "POST", path, headers, body);
    json_t *answer = json_loads(response.body, 0, NULL), *inner = json_object_get(answer, "error");
    ck_assert_msg(response.status == status && strcmp(hep_json_str(inner, "code", ""), code) == 0, "%s: %d %s", body,
                  response.status, response.body);
    ck_assert(json_is_false(json_object_get(answer, "success")) && json_object_size(answer) == 3);
    ck_assert_str_eq(hep_json_str(answer, "request_id", "none"), id);
    ck_assert(hep_json_str(inner, "message", "")[0] && hep_json_str(inner, "hint", "")[0]);
    json_decref(answer);
    response_clear(&response);
}

START_TEST(a_request_is_passed_on_and_its_reply_carries_its_id)
{
    expect("", "{\"type\":\"model.list\",\"request_id\":\"r 1\",\"data\":{\"a\":[1]}}", 200,
           "{\"request_id\":\"r 1\",\"success\":true,\"data\":{\"type\":\"model.list\",\"asked\":{\"a\":[1]}}}");
    expect("", "{\"type\":\"model.list\"}", 200,
           "{\"request_id\":\"\",\"success\":true,\"data\":{\"type\":\"model.list\",\"asked\":{}}}");
    expect("", "{\"type\":\"model.list\",\"request_id\":null,\"data\":null,\"error_format\":null}", 200,
           "{\"request_id\":\"\",\"success\":true,\"data\":{\"type\":\"model.list\",\"asked\":{}}}");
    expect("", "{\"type\":\"model.list\",\"request_id\":\"\xc3\xa9\",\"error_format\":\"string\"}", 200,
           "{\"request_id\":\"\xc3\xa9\",\"success\":true,\"data\":{\"type\":\"model.list\",\"asked\":{}}}");
}
END_TEST

START_TEST(an_error_is_an_object_or_text_as_the_request_says)
{
    expect_error("", "{\"type\":\"session.get\",\"request_id\":\"7\",\"data\":{\"session_id\":\"none\"}}", 404,
                 "NOT_FOUND", "7");
    expect_error("", "{\"type\":\"daemon.stop\",\"request_id\":\"8\"}", 403, "NOT_ALLOWED", "8");
    expect("",
           "{\"type\":\"session.get\",\"request_id\":\"7\",\"data\":{\"session_id\":\"none\"},\"error_format\":"
           "\"string\"}",
           404, "{\"request_id\":\"7\",\"success\":false,\"error\":\"NOT_FOUND: the front says no\"}");
    expect("", "{\"request_id\":\"7\",\"error_format\":\"string\"}", 400,
           "{\"request_id\":\"7\",\"success\":false,\"error\":\"MISSING_FIELD: type is required\"}");
    expect_error("", "{\"type\":\"device.unknown\",\"request_id\":\"9\"}", 404, "UNKNOWN_OPERATION", "9");
    expect_error("", "{\"type\":\"device.unknown\",\"request_id\":\"9\",\"error_format\":\"alias\"}", 404,
                 "UNKNOWN_ACTION", "9");
    struct response response =
        ask(&door, "POST", path, "", "{\"type\":\"session.get\",\"data\":{\"session_id\":\"down\"}}");
    ck_assert_int_eq(response.status, 503);
    ck_assert_ptr_nonnull(strstr(response.head, "\r\nRetry-After: 5\r\n"));
    response_clear(&response);
}
END_TEST

START_TEST(a_wrong_request_is_refused_in_the_form_of_a_reply)
{
    char body[256], id[160];
    expect_error("", "{", 400, "BAD_JSON", "");
    expect_error("", "[]", 400, "BAD_JSON", "");
    expect_error("", "{}", 400, "MISSING_FIELD", "");
    expect_error("", "{\"type\":\"\",\"request_id\":\"1\"}", 422, "OUT_OF_RANGE", "1");
    expect_error("", "{\"type\":7,\"request_id\":\"1\"}", 400, "BAD_FIELD", "1");
    expect_error("", "{\"type\":\"a.b\",\"request_id\":1}", 400, "BAD_FIELD", "");
    expect_error("", "{\"type\":\"a.b\",\"request_id\":\"1\",\"data\":[]}", 400, "BAD_FIELD", "1");
    expect_error("", "{\"type\":\"a.b\",\"request_id\":\"1\",\"error_format\":\"xml\"}", 422, "OUT_OF_RANGE", "1");
    static const char *const others[] = {"internal", "session", "lease", "measure", "deadline_ms", "x"};
    for (size_t i = 0; i < HEP_COUNT_OF(others); i++) {
        snprintf(body, sizeof body, "{\"type\":\"a.b\",\"request_id\":\"1\",\"%s\":true}", others[i]);
        expect_error("", body, 400, "UNKNOWN_FIELD", "1");
    }
    memset(id, 'i', 128);
    id[128] = '\0';
    snprintf(body, sizeof body, "{\"type\":\"a.b\",\"request_id\":\"%s\"}", id);
    expect_error("", body, 413, "TOO_LARGE", "");
    ck_assert_int_eq(atomic_load(&front_requests), 0);
    struct response response = ask(&door, "GET", path, "", NULL);
    ck_assert_int_eq(response.status, 405);
    response_clear(&response);
}
END_TEST

static const char execute[] = "{\"type\":\"workflow.execute\",\"request_id\":\"1\",\"data\":{\"configuration\":{}}}";

START_TEST(work_is_accepted_and_may_be_waited_for)
{
    struct response response = ask(&door, "POST", path, "", execute);
    ck_assert_int_eq(response.status, 202);
    ck_assert_ptr_nonnull(strstr(response.head, "\r\nLocation: /api/processing/sessions/s-1\r\n"));
    ck_assert_ptr_nonnull(strstr(response.body, "\"success\":true,\"data\":{\"session_id\":\"s-1\""));
    response_clear(&response);
    response = ask(&door, "POST", "/api/processing/request?wait=5", "", execute); /* s-1 has ended */
    ck_assert_int_eq(response.status, 200);
    ck_assert_msg(strstr(response.body, "{\"request_id\":\"1\",\"success\":true,\"data\":{\"session_id\":\"s-1\","
                                        "\"status\":\"completed\"") == response.body,
                  "%s", response.body);
    response_clear(&response);
    front_begin_session("s-1");
    response = ask(&door, "POST", "/api/processing/request?wait=1", "", execute);
    ck_assert_int_eq(response.status, 202);
    ck_assert_ptr_nonnull(strstr(response.body, "{\"request_id\":\"1\",\"success\":true,\"data\":{\"session_id\""));
    response_clear(&response);
}
END_TEST

START_TEST(an_operation_has_the_status_and_the_place_of_its_own_route)
{
    struct response response =
        ask(&door, "POST", path, "", "{\"type\":\"batch.execute\",\"data\":{\"batch_id\":\"b-1\"}}");
    ck_assert_int_eq(response.status, 202);
    ck_assert_ptr_nonnull(strstr(response.head, "\r\nLocation: /api/processing/batches/b-1\r\n"));
    response_clear(&response);
    response = ask(&door, "POST", path, "", "{\"type\":\"session.get\",\"data\":{\"session_id\":\"s-9\"}}");
    ck_assert_int_eq(response.status, 200);
    ck_assert(!strstr(response.head, "Location"));
    response_clear(&response);
    /* none of its own, but a session is begun by it */
    response = ask(&door, "POST", path, "", "{\"type\":\"inference.text2img\",\"data\":{\"prompt\":\"x\"}}");
    ck_assert_int_eq(response.status, 202);
    ck_assert_ptr_nonnull(strstr(response.head, "\r\nLocation: /api/processing/sessions/s-1\r\n"));
    response_clear(&response);
}
END_TEST

START_TEST(a_key_is_the_operations_field)
{
    struct response response = ask(&door, "POST", path, "Idempotency-Key: k 1\r\n", execute);
    ck_assert_msg(strstr(response.body, "\"idempotency_key\":\"k 1\""), "%s", response.body);
    response_clear(&response);
    expect_error("Idempotency-Key: \r\n", execute, 400, "BAD_FIELD", "1");
    expect_error("Idempotency-Key: \xff\r\n", execute, 400, "BAD_FIELD", "1");
    expect_error("Idempotency-Key: \xc3\xa9\r\n", execute, 400, "BAD_FIELD", "1");
    expect_error("Idempotency-Key: a\r\n",
                 "{\"type\":\"workflow.execute\",\"request_id\":\"1\",\"data\":{\"idempotency_key\":\"b\"}}", 409,
                 "CONFLICT", "1");
    response = ask(&door, "POST", "/api/processing/workflows/execute", "Idempotency-Key: \xff\r\n", "{}");
    ck_assert_int_eq(response.status, 400);
    ck_assert_ptr_nonnull(strstr(response.body, "\"field\":\"Idempotency-Key\""));
    response_clear(&response);
    ck_assert_int_eq(atomic_load(&front_requests), 1);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("http_request");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, start, end);
    tcase_add_test(cases, a_request_is_passed_on_and_its_reply_carries_its_id);
    tcase_add_test(cases, an_error_is_an_object_or_text_as_the_request_says);
    tcase_add_test(cases, a_wrong_request_is_refused_in_the_form_of_a_reply);
    tcase_add_test(cases, work_is_accepted_and_may_be_waited_for);
    tcase_add_test(cases, an_operation_has_the_status_and_the_place_of_its_own_route);
    tcase_add_test(cases, a_key_is_the_operations_field);
    return check_status_run("http_request", cases);
}
