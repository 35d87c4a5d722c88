/* The HTTP door: what clients of every kind get, against a front of the test's own. */
#include "tests/unit/http_fixture.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/wire.h"
#include "tests/support/check_status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct door door;

static void start(void)
{
    door_start(&door, (struct http_options){.answer_ms = 1500, .idle_s = 2, .keep_alive_ms = 400});
}

static void end(void)
{
    door_end(&door);
}

static void expect(const char *method, const char *path, const char *headers, const char *body, int status,
                   const char *code)
{
    struct response response = ask(&door, method, path, headers, body);
    ck_assert_msg(response.status == status && strcmp(response_code(&response), code) == 0, "%s %s: %d %s", method,
                  path, response.status, response.body);
    if (code[0]) { /* every error has the same form, and none sends a client to the control socket */
        json_t *json = json_loads(response.body, 0, NULL), *inner = json_object_get(json, "error");
        ck_assert_msg(hep_json_str(inner, "message", "")[0] && hep_json_str(inner, "hint", "")[0], "%s", response.body);
        ck_assert_msg(!strstr(hep_json_str(inner, "hint", ""), "socket"), "%s", response.body);
        ck_assert_ptr_nonnull(strstr(response.head, "application/json"));
        json_decref(json);
    }
    response_clear(&response);
}

static void expect_header(const char *method, const char *path, const char *headers, const char *wanted)
{
    struct response response = ask(&door, method, path, headers, NULL);
    ck_assert_msg(strcasestr(response.head, wanted) != NULL, "%s %s: %s", method, path, response.head);
    response_clear(&response);
}

static struct http_counters counters(void)
{
    struct http_counters result;
    http_counters(door.server, &result);
    return result;
}

static void wait_until_idle(void)
{
    for (int64_t until = hep_now_ms() + 8000;
         hep_now_ms() < until && (counters().connections > 0 || counters().waiting > 0);)
        usleep(2000);
    ck_assert_int_eq(counters().connections, 0);
    ck_assert_int_eq(counters().waiting, 0);
}

/* ---- routes and answers ------------------------------------------------------------------------------------------ */
START_TEST(routes_reach_the_supervisor_and_bring_its_answer)
{
    expect("GET", "/healthz", "", NULL, 200, "");
    ck_assert_int_eq(atomic_load(&front_requests), 0);
    struct response response = ask(&door, "GET", "/api/processing/sessions?limit=5&status=a%20b", "", NULL);
    ck_assert_str_eq(response.body, "{\"type\":\"session.list\",\"asked\":{\"limit\":5,\"status\":\"a b\"}}");
    response_clear(&response);
    response = ask(&door, "POST", "/api/processing/sessions/s-7/control", "",
                   "{\"action\":\"cancel\",\"session_id\":\"forged\"}");
    ck_assert_str_eq(response.body,
                     "{\"type\":\"session.control\",\"asked\":{\"action\":\"cancel\",\"session_id\":\"s-7\"}}");
    response_clear(&response);
    response = ask(&door, "POST", "/api/processing/workflows/execute", "Idempotency-Key: k1\r\n",
                   "{\"workflow_id\":\"txt2img\"}");
    ck_assert_int_eq(response.status, 202);
    ck_assert_str_eq(response.body,
                     "{\"session_id\":\"s-1\",\"status\":\"queued\",\"created\":true,\"asked\":{\"workflow_id\":"
                     "\"txt2img\",\"idempotency_key\":\"k1\"}}");
    ck_assert_ptr_nonnull(strstr(response.head, "Location: /api/processing/sessions/s-1\r\n"));
    response_clear(&response);
    ck_assert_int_eq(atomic_load(&front_requests), 3);
}
END_TEST

START_TEST(metrics_are_sent_as_the_text_that_they_are)
{
    struct response response = ask(&door, "GET", "/metrics", "", NULL);
    ck_assert_int_eq(response.status, 200);
    ck_assert_str_eq(response.body, "# TYPE x gauge\nx{a=\"é\"} 1\n");
    ck_assert_msg(strcasestr(response.head, "content-type: text/plain; version=0.0.4") != NULL, "%s", response.head);
    response_clear(&response);
    expect_header("HEAD", "/metrics", "", "content-type: text/plain; version=0.0.4");
    expect("GET", "/metrics?x=1", "", NULL, 400, "UNKNOWN_FIELD");
    expect("POST", "/metrics", "", "{}", 405, "NOT_ALLOWED");
}
END_TEST

START_TEST(unknown_paths_and_methods_say_what_there_is)
{
    expect("GET", "/nothing", "", NULL, 404, "NOT_FOUND");
    expect("GET", "/api/processing/sessions/a/b/c", "", NULL, 404, "NOT_FOUND");
    expect("POST", "/api/status", "", "{}", 405, "NOT_ALLOWED");
    expect("PUT", "/api/processing/sessions/s-1", "", "{}", 405, "NOT_ALLOWED");
    expect_header("PUT", "/api/processing/sessions/s-1", "", "\r\nAllow: GET, HEAD, DELETE\r\n");
    expect("GET", "/api/processing/sessions?limt=3", "", NULL, 400, "UNKNOWN_FIELD");
    expect("GET", "/api/processing/sessions?limit=many", "", NULL, 400, "BAD_FIELD");
    expect("GET", "/api/processing/sessions?limit", "", NULL, 400, "BAD_FIELD");
    expect("GET", "/healthz?x=1", "", NULL, 400, "UNKNOWN_FIELD");
    ck_assert_int_eq(atomic_load(&front_requests), 0);
}
END_TEST

START_TEST(what_is_escaped_in_a_url_is_what_it_stands_for)
{
    static const struct {
        const char *path, *asked;
    } rows[] = {{"/api/processing/sessions?status=a%20b+c%2B%3d", "{\"status\":\"a b c+=\"}"},
                {"/api/processing/sessions?status=x%00y", "{\"status\":\"x%00y\"}"},
                {"/api/processing/sessions?status=%", "{\"status\":\"%\"}"},
                {"/api/processing/sessions?status=%4", "{\"status\":\"%4\"}"},
                {"/api/processing/sessions?status=%zz%c3%a9", "{\"status\":\"%zz\xc3\xa9\"}"},
                {"/api/processing/sessions?st%61tus=%2561", "{\"status\":\"%61\"}"}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        char wanted[160];
        struct response response = ask(&door, "GET", rows[i].path, "", NULL);
        snprintf(wanted, sizeof wanted, "{\"type\":\"session.list\",\"asked\":%s}", rows[i].asked);
        ck_assert_msg(strcmp(response.body, wanted) == 0, "%s: %s", rows[i].path, response.body);
        response_clear(&response);
    }
    expect("GET", "/api/status%00", "", NULL, 404, "NOT_FOUND");
    expect("GET", "/api/processing/sessions/none%00x", "", NULL, 200, ""); /* not the one that is "none" */
}
END_TEST

START_TEST(bad_bodies_are_refused_before_the_supervisor_hears_of_them)
{
    static const char path[] = "/api/processing/workflows/execute";
    expect("POST", path, "", "{", 400, "BAD_JSON");
    expect("POST", path, "", "", 400, "BAD_JSON");
    expect("POST", path, "", "[1]", 400, "BAD_JSON");
    expect("POST", path, "", "{\"a\":1,\"a\":2}", 400, "BAD_JSON");
    expect("POST", path, "", "{\"a\":\"\xff\"}", 400, "BAD_JSON");
    expect("POST", path, "", "[[[[[[[[[[[[[[[[[[[[[[[[", 400, "BAD_JSON");
    expect("POST", path, "", NULL, 400, "BAD_JSON");
    expect("GET", "/api/status", "", "{}", 400, "BAD_FIELD");
    expect("DELETE", "/api/processing/sessions/s-1", "", "{}", 400, "BAD_FIELD");
    ck_assert_int_eq(atomic_load(&front_requests), 0);
}
END_TEST

/* Refused with this status, and the error names the field and holds these words. */
static void expect_field(const char *body, int status, const char *field, const char *words)
{
    struct response response = ask(&door, "POST", "/api/processing/workflows/execute", "", body);
    json_t *answer = json_loads(response.body, 0, NULL), *error = json_object_get(answer, "error");
    ck_assert_int_eq(response.status, status);
    ck_assert_str_eq(hep_json_str(error, "field", ""), field);
    ck_assert_msg(strstr(hep_json_str(error, "message", ""), words), "%s", response.body);
    json_decref(answer);
    response_clear(&response);
}

START_TEST(what_is_wrong_in_a_body_is_said_with_its_field)
{
    expect_field("{\"configuration\":{\"prompt\":\"a\\u0000\"}}", 400, "prompt", "NUL character");
    expect_field("{\"configuration\":{\"seed\":18446744073709551616}}", 422, "seed", "past 2^64 - 1");
    static const char begin[] = "{\"configuration\":{\"model\":\"m\",\"prompt\":\"";
    size_t length = sizeof begin - 1 + HEP_JSON_MAX; /* a prompt of exactly 1 MiB */
    char *body = malloc(length + 4);
    memcpy(body, begin, sizeof begin - 1);
    memset(body + sizeof begin - 1, 'a', HEP_JSON_MAX);
    memcpy(body + length, "\"}}", 4);
    expect_field(body, 413, "prompt", "at most 1048576 are allowed");
    free(body);
    ck_assert_int_eq(atomic_load(&front_requests), 0);
}
END_TEST

START_TEST(a_seed_of_64_bits_reaches_the_supervisor)
{
    struct response response = ask(&door, "POST", "/api/processing/workflows/execute", "",
                                   "{\"configuration\":{\"seed\":18446744073709551615}}");
    ck_assert_int_eq(response.status, 202);
    ck_assert_ptr_nonnull(strstr(response.body, "\"seed\":\"18446744073709551615\""));
    response_clear(&response);
}
END_TEST

START_TEST(a_body_has_a_limit_whether_its_length_is_told_or_not)
{
    static const char path[] = "/api/processing/workflows/execute";
    char *body = malloc(HEP_JSON_MAX + 2);
    memset(body, ' ', HEP_JSON_MAX + 1);
    body[0] = '{';
    body[1] = '}';
    body[HEP_JSON_MAX + 1] = '\0';
    expect("POST", path, "", body, 413, "TOO_LARGE");
    body[HEP_JSON_MAX] = '\0';
    expect("POST", path, "", body, 202, "");
    free(body);
    int fd = door_connect(&door); /* told and far too large: an answer before the body */
    static const char told[] =
        "POST /api/processing/workflows/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n";
    send_text(fd, told, sizeof told - 1);
    struct response response = read_response(fd, false);
    ck_assert_int_eq(response.status, 413);
    response_clear(&response);
    close(fd);
    fd = door_connect(&door); /* not told and without end: cut off */
    static const char chunked[] =
        "POST /api/processing/workflows/execute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    static char chunk[65536 + 16];
    int length = sprintf(chunk, "10000\r\n");
    memset(chunk + length, ' ', 65536);
    memcpy(chunk + length + 65536, "\r\n", 2);
    bool open = send_text(fd, chunked, sizeof chunked - 1);
    size_t sent = 0;
    for (; open && sent < 20 * (size_t)HEP_HTTP_BODY_MAX; sent += 65536)
        open = send_text(fd, chunk, (size_t)length + 65536 + 2);
    ck_assert(!open);
    close(fd);
    expect("GET", "/healthz", "", NULL, 200, "");
}
END_TEST

START_TEST(head_sends_the_headers_alone)
{
    int fd = door_connect(&door);
    static const char twice[] =
        "HEAD /api/status HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    send_text(fd, twice, sizeof twice - 1);
    struct response response = read_response(fd, true);
    ck_assert_int_eq(response.status, 200);
    ck_assert_ptr_nonnull(strcasestr(response.head, "Content-Length:"));
    response_clear(&response);
    response = read_response(fd, false); /* nothing of a body lay between */
    ck_assert_str_eq(response.body, "{\"status\":\"alive\"}");
    response_clear(&response);
    close(fd);
}
END_TEST

START_TEST(ready_is_what_the_supervisor_says)
{
    expect("GET", "/readyz", "", NULL, 200, "");
    front_set_state("degraded");
    struct response response = ask(&door, "GET", "/readyz", "", NULL);
    ck_assert_int_eq(response.status, 503);
    ck_assert_ptr_nonnull(strstr(response.head, "Retry-After: 3\r\n")); /* 2100 ms, rounded up */
    ck_assert_str_eq(response.body, "{\"ready\":false,\"state\":\"degraded\",\"line\":\"one line\"}");
    response_clear(&response);
    front_set_state("ready");
}
END_TEST

START_TEST(the_supervisors_errors_arrive_with_their_status)
{
    expect("GET", "/api/processing/sessions/none", "", NULL, 404, "NOT_FOUND");
    expect("GET", "/api/processing/sessions/busy", "", NULL, 503, "BUSY");
    expect_header("GET", "/api/processing/sessions/busy", "", "\r\nRetry-After: 1\r\n");
    expect("GET", "/api/processing/sessions/down", "", NULL, 503, "DOMAIN_DOWN");
    expect_header("GET", "/api/processing/sessions/down", "", "\r\nRetry-After: 5\r\n"); /* 4001 ms */
    expect("GET", "/api/processing/sessions/garbage", "", NULL, 400, "BAD_FRAME");
    struct response response = ask(&door, "GET", "/api/processing/sessions/none", "", NULL);
    ck_assert_ptr_nonnull(strstr(response.body, "\"field\":\"session_id\""));
    response_clear(&response);
}
END_TEST

START_TEST(an_error_arrives_with_all_that_the_supervisor_says)
{
    struct response response = ask(&door, "GET", "/api/processing/sessions/wrong", "", NULL);
    ck_assert_int_eq(response.status, 400);
    ck_assert_str_eq(response.body, "{\"error\":{\"code\":\"BAD_FIELD\",\"message\":\"m\",\"hint\":\"h\",\"retryable\":"
                                    "false,\"problems\":[{\"step\":\"one\"}]}}");
    response_clear(&response);
}
END_TEST

START_TEST(strange_hosts_and_origins_are_refused)
{
    expect("GET", "/healthz", "Host: evil.example\r\n", NULL, 403, "NOT_ALLOWED");
    expect("GET", "/healthz", "Host: 127.0.0.1:1\r\n", NULL, 200, "");
    expect("POST", "/api/processing/workflows/execute", "Origin: http://evil.example\r\n", "{}", 403, "NOT_ALLOWED");
    expect("POST", "/api/processing/workflows/execute", "Origin: http://localhost:3000\r\n", "{}", 403, "NOT_ALLOWED");
    expect("POST", "/api/processing/workflows/execute", "Origin: http://localhost\r\n", "{}", 202, "");
    ck_assert_int_eq(atomic_load(&front_requests), 1);
}
END_TEST

START_TEST(a_token_is_asked_for_where_there_is_one)
{
    char path[] = "/tmp/heptad-token-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, "0123456789abcdef\n", 17), 17);
    close(fd);
    door_end(&door);
    door_start(&door, (struct http_options){.token_file = path});
    expect("GET", "/healthz", "", NULL, 401, "NOT_ALLOWED");
    expect_header("GET", "/healthz", "", "\r\nWWW-Authenticate: Bearer\r\n");
    expect("GET", "/healthz", "Authorization: Bearer 0123456789abcdeF\r\n", NULL, 401, "NOT_ALLOWED");
    expect("GET", "/healthz", "Authorization: Bearer 0123456789abcdef\r\n", NULL, 200, "");
    unlink(path);
}
END_TEST

START_TEST(images_are_sent_from_their_folder_only)
{
    char path[160];
    snprintf(path, sizeof path, "%s/a.png", door.images);
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(file, "\x89PNG\0image", 10), 10);
    close(file);
    struct response response = ask(&door, "GET", "/api/processing/sessions/s-1/images/0", "", NULL);
    ck_assert_int_eq(response.status, 200);
    ck_assert_ptr_nonnull(strstr(response.head, "Content-Type: image/png\r\n"));
    ck_assert_ptr_nonnull(strstr(response.head, "X-Content-Type-Options: nosniff\r\n"));
    ck_assert_uint_eq(response.bytes, 10);
    ck_assert_int_eq(memcmp(response.body, "\x89PNG\0image", 10), 0);
    response_clear(&response);
    expect_header("HEAD", "/api/processing/sessions/s-1/images/0", "", "\r\nContent-Length: 10\r\n");
    static const char *const wrong[] = {"1",   "2",    "3",    "4", "99999999999999999999", "-1", "+0",
                                        "0x0", "%200", "0%00", "a"};
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        snprintf(path, sizeof path, "/api/processing/sessions/s-1/images/%s", wrong[i]);
        expect("GET", path, "", NULL, 404, "NOT_FOUND");
    }
    expect("GET", "/api/processing/sessions/none/images/0", "", NULL, 404, "NOT_FOUND");
}
END_TEST

START_TEST(a_preview_is_sent_as_the_file_that_it_is)
{
    struct response response = ask(&door, "GET", "/api/processing/sessions/s-1/preview", "", NULL);
    ck_assert_int_eq(response.status, 200);
    ck_assert_ptr_nonnull(strstr(response.head, "Content-Type: image/png\r\n"));
    ck_assert_ptr_nonnull(strstr(response.head, "Cache-Control: no-store\r\n"));
    ck_assert_uint_eq(response.bytes, 5);
    ck_assert_int_eq(memcmp(response.body, "\x89PNG", 5), 0);
    response_clear(&response);
    expect("GET", "/api/processing/sessions/none/preview", "", NULL, 404, "NOT_FOUND");
    expect("GET", "/api/processing/sessions/garbage/preview", "", NULL, 500, "INTERNAL");
}
END_TEST

/* ---- time and load ----------------------------------------------------------------------------------------------- */
START_TEST(a_question_without_an_answer_ends_with_504)
{
    int64_t began = hep_now_ms();
    expect("GET", "/api/processing/sessions/hang", "", NULL, 504, "TIMEOUT");
    int64_t took = hep_now_ms() - began;
    ck_assert_msg(took >= 1400 && took < 2500 * HEP_TEST_SLOW, "%d ms", (int)took);
}
END_TEST

START_TEST(waiting_for_one_answer_holds_up_nobody_else)
{
    int waiting = door_connect(&door);
    static const char hang[] = "GET /api/processing/sessions/hang HTTP/1.1\r\nHost: localhost\r\n\r\n";
    send_text(waiting, hang, sizeof hang - 1);
    for (int64_t until = hep_now_ms() + 1000; counters().waiting == 0 && hep_now_ms() < until;)
        usleep(1000);
    ck_assert_int_eq(counters().waiting, 1);
    int64_t began = hep_now_ms();
    expect("GET", "/api/status", "", NULL, 200, "");
    ck_assert_int_lt(hep_now_ms() - began, 700);
    struct response response = read_response(waiting, false);
    ck_assert_int_eq(response.status, 504);
    response_clear(&response);
    close(waiting);
}
END_TEST

START_TEST(clients_that_leave_while_they_wait_leave_nothing_behind)
{
    for (int i = 0; i < 20; i++) {
        int fd = door_connect(&door);
        const char *text = i % 2 ? "GET /api/processing/sessions/slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                 : "GET /api/processing/sessions/hang HTTP/1.1\r\nHost: localhost\r\n\r\n";
        send_text(fd, text, strlen(text));
        if (i % 4 < 2) { /* by a reset */
            struct linger hard = {.l_onoff = 1};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        }
        usleep(5000);
        close(fd);
    }
    expect("GET", "/healthz", "", NULL, 200, "");
    wait_until_idle();
}
END_TEST

START_TEST(a_connection_is_kept_for_the_next_request)
{
    int fd = door_connect(&door);
    for (int i = 0; i < 50; i++) {
        const char *text = i % 2 ? "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                 : "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
        ck_assert(send_text(fd, text, strlen(text)));
        struct response response = read_response(fd, false);
        ck_assert_int_eq(response.status, i % 2 ? 200 : 404);
        response_clear(&response);
    }
    ck_assert_int_eq(counters().connections, 1);
    ck_assert_uint_eq(counters().requests, 50);
    ck_assert_uint_eq(counters().refused, 25);
    close(fd);
}
END_TEST

START_TEST(a_silent_or_half_said_request_is_closed)
{
    static const char *const halves[] = {
        "", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
        "POST /api/processing/workflows/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"};
    int fds[HEP_COUNT_OF(halves)];
    char byte;
    for (size_t i = 0; i < HEP_COUNT_OF(halves); i++) {
        fds[i] = door_connect(&door);
        send_text(fds[i], halves[i], strlen(halves[i]));
    }
    int64_t began = hep_now_ms();
    for (size_t i = 0; i < HEP_COUNT_OF(halves); i++) {
        while (recv(fds[i], &byte, 1, 0) == 1) /* MHD may say 408 first */
            ;
        close(fds[i]);
    }
    ck_assert_int_lt(hep_now_ms() - began, 6000);
    wait_until_idle();
}
END_TEST

/* Sends text again and again, a piece at a time; how long until the door closes. */
static int64_t trickle(const char *begin, const char *piece, int64_t every_ms)
{
    int fd = door_connect(&door);
    char byte;
    int64_t began = hep_now_ms();
    ck_assert(send_text(fd, begin, strlen(begin)));
    while (hep_now_ms() - began < 8000) {
        ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN) || !send_text(fd, piece, strlen(piece)))
            break;
        usleep((useconds_t)every_ms * 1000);
    }
    close(fd);
    return hep_now_ms() - began;
}

START_TEST(a_request_that_trickles_in_has_a_deadline)
{
    door_end(&door);
    door_start(&door, (struct http_options){.header_ms = 800, .request_ms = 1600, .idle_s = 10});
    int64_t header = trickle("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ", "x", 100);
    ck_assert_msg(header >= 700 && header < 1500 + 500 * HEP_TEST_SLOW, "header: %d ms", (int)header);
    int64_t body = trickle("POST /api/processing/workflows/execute HTTP/1.1\r\nHost: localhost\r\n"
                           "Content-Length: 100000\r\n\r\n{",
                           " ", 100);
    ck_assert_msg(body >= 1500 && body < 2300 + 500 * HEP_TEST_SLOW, "body: %d ms", (int)body);
    wait_until_idle();
}
END_TEST

START_TEST(the_time_of_a_kept_connection_begins_with_each_answer)
{
    static const char ask_alive[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    door_end(&door);
    door_start(&door, (struct http_options){.header_ms = 800, .request_ms = 1600, .idle_s = 10});
    int fd = door_connect(&door);
    char byte;
    for (int i = 0; i < 4; i++) { /* 3.6 s in all */
        ck_assert(send_text(fd, ask_alive, sizeof ask_alive - 1));
        struct response response = read_response(fd, false);
        ck_assert_int_eq(response.status, 200);
        response_clear(&response);
        usleep(900000);
    }
    ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    usleep(1200000); /* and then nothing */
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
    close(fd);
}
END_TEST

START_TEST(a_long_answer_has_no_deadline_of_ours)
{
    door_end(&door);
    door_start(&door, (struct http_options){.answer_ms = 1500, .header_ms = 200, .request_ms = 400, .idle_s = 10});
    expect("GET", "/api/processing/sessions/hang", "", NULL, 504, "TIMEOUT");
}
END_TEST

START_TEST(a_crowd_that_asks_nothing_does_not_lock_the_door)
{
    static int fds[300];
    door_end(&door);
    door_start(&door, (struct http_options){.idle_s = 30});
    for (size_t i = 0; i < HEP_COUNT_OF(fds); i++)
        fds[i] = door_connect(&door);
    int64_t began = hep_now_ms();
    int status = 0;
    while (status != 200 && hep_now_ms() - began < 10000) { /* past the limit of one address it is closed at once */
        struct response response = ask(&door, "GET", "/healthz", "", NULL);
        status = response.status;
        response_clear(&response);
        usleep(20000);
    }
    int64_t took = hep_now_ms() - began;
    ck_assert_msg(status == 200 && took < 2000 * HEP_TEST_SLOW, "%d after %d ms", status, (int)took);
    ck_assert_int_lt(HEP_HTTP_PER_ADDRESS_MAX, HEP_HTTP_CONNECTIONS_MAX);
    ck_assert_int_le(counters().connections, HEP_HTTP_PER_ADDRESS_MAX);
    for (size_t i = 0; i < HEP_COUNT_OF(fds); i++)
        close(fds[i]);
    wait_until_idle();
}
END_TEST

START_TEST(more_connections_than_the_limit_of_an_address_are_closed_at_once)
{
    enum { CONNECTIONS = HEP_HTTP_PER_ADDRESS_MAX + 44 };
    static int fds[CONNECTIONS];
    static const char text[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = door_connect(&door);
    struct pollfd last = {.fd = fds[CONNECTIONS - 1], .events = POLLIN}; /* closed: all have been looked at */
    ck_assert_int_eq(poll(&last, 1, 5000 * HEP_TEST_SLOW), 1);
    ck_assert_int_eq(counters().connections, HEP_HTTP_PER_ADDRESS_MAX);
    int served = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        send_text(fds[i], text, sizeof text - 1);
        struct response response = read_response(fds[i], false);
        served += response.status == 200;
        response_clear(&response);
        close(fds[i]);
    }
    ck_assert_int_eq(served, HEP_HTTP_PER_ADDRESS_MAX);
    expect("GET", "/api/status", "", NULL, 200, "");
    wait_until_idle();
}
END_TEST

START_TEST(noise_is_refused_and_the_door_lives)
{
    static const char *const noise[] = {
        "\r\n\r\n\r\n",
        "\x16\x03\x01\x02",
        "GET\r\n\r\n",
        "GET /%XX HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /% HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    for (size_t i = 0; i < HEP_COUNT_OF(noise); i++) {
        int fd = door_connect(&door);
        char byte;
        send_text(fd, noise[i], strlen(noise[i]));
        shutdown(fd, SHUT_WR);
        while (recv(fd, &byte, 1, 0) == 1)
            ;
        close(fd);
    }
    char *path = malloc(100001);
    memset(path, 'a', 100000);
    path[0] = '/';
    path[100000] = '\0';
    struct response response = ask(&door, "GET", path, "", NULL);
    ck_assert_int_ge(response.status, 400);
    response_clear(&response);
    free(path);
    expect("GET", "/healthz", "", NULL, 200, "");
}
END_TEST

START_TEST(the_end_answers_those_who_wait_and_hangs_on_nobody)
{
    static const char text[] = "GET /api/processing/sessions/hang HTTP/1.1\r\nHost: localhost\r\n\r\n",
                      stream[] = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fds[12];
    for (int i = 0; i < 12; i++) {
        fds[i] = door_connect(&door);
        if (i < 8)
            send_text(fds[i], text, sizeof text - 1);
        else if (i < 10)
            send_text(fds[i], stream, sizeof stream - 1);
    }
    for (int64_t until = hep_now_ms() + 2000;
         (counters().waiting < 8 || counters().subscribers < 2) && hep_now_ms() < until;)
        usleep(1000);
    int64_t began = hep_now_ms();
    door_end(&door);
    ck_assert_int_lt(hep_now_ms() - began, 1200);
    for (int i = 0; i < 12; i++)
        close(fds[i]);
    start();
}
END_TEST

static void *hammer(void *context)
{
    for (int i = 0; i < 40; i++) {
        struct response response = ask(&door, "GET", i % 2 ? "/api/status" : "/api/processing/sessions/s-1", "", NULL);
        bool good = response.status == 200;
        response_clear(&response);
        if (!good)
            return context;
    }
    return NULL;
}

START_TEST(many_clients_at_once_each_get_their_answer)
{
    pthread_t threads[8];
    void *failed;
    for (size_t i = 0; i < HEP_COUNT_OF(threads); i++)
        pthread_create(&threads[i], NULL, hammer, &door);
    for (size_t i = 0; i < HEP_COUNT_OF(threads); i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    wait_until_idle();
}
END_TEST

START_TEST(an_address_that_cannot_be_used_is_a_configuration_error)
{
    struct http_server *server = NULL;
    struct http_options options = {.address = "127.0.0.1", .port = 70000, .token_file = "", .images_dir = ""};
    ck_assert_fails(http_start(&options, door.client, &server, error), HEP_E_BAD_CONFIG);
    options.port = 0;
    options.address = "127.evil.example";
    ck_assert_fails(http_start(&options, door.client, &server, error), HEP_E_BAD_CONFIG);
    options.address = "0.0.0.0";
    ck_assert_fails(http_start(&options, door.client, &server, error), HEP_E_BAD_CONFIG);
    options.address = "::";
    ck_assert_fails(http_start(&options, door.client, &server, error), HEP_E_BAD_CONFIG);
    ck_assert_ptr_null(server);
}
END_TEST

START_TEST(an_address_that_is_taken_may_be_free_later)
{
    struct http_server *server = NULL;
    struct hep_error error = {0};
    struct http_options options = {.address = "127.0.0.1", .port = door.port, .token_file = "", .images_dir = ""};
    ck_assert_int_eq(http_start(&options, door.client, &server, &error), HEP_E_SYSTEM);
    ck_assert_msg(strstr(error.message, "Address already in use") && strstr(error.hint, "http.port"), "%s: %s",
                  error.message, error.hint);
    char path[] = "/tmp/heptad-token-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, "0123456789abcdef\n", 17), 17);
    close(fd);
    options = (struct http_options){.address = "203.0.113.7", .token_file = path, .images_dir = ""};
    ck_assert_int_eq(http_start(&options, door.client, &server, &error), HEP_E_SYSTEM); /* no interface has it */
    ck_assert_ptr_nonnull(strstr(error.hint, "http.address"));
    ck_assert_ptr_null(server);
    unlink(path);
}
END_TEST

START_TEST(localhost_and_version_6_are_addresses)
{
    static const char *const addresses[] = {"localhost", "::1", "127.0.0.9"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        door_end(&door);
        door_start(&door, (struct http_options){.address = addresses[i]});
        ck_assert_int_gt(door.port, 0);
    }
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("http");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, start, end);
    tcase_add_test(cases, routes_reach_the_supervisor_and_bring_its_answer);
    tcase_add_test(cases, metrics_are_sent_as_the_text_that_they_are);
    tcase_add_test(cases, unknown_paths_and_methods_say_what_there_is);
    tcase_add_test(cases, what_is_escaped_in_a_url_is_what_it_stands_for);
    tcase_add_test(cases, bad_bodies_are_refused_before_the_supervisor_hears_of_them);
    tcase_add_test(cases, what_is_wrong_in_a_body_is_said_with_its_field);
    tcase_add_test(cases, a_seed_of_64_bits_reaches_the_supervisor);
    tcase_add_test(cases, a_body_has_a_limit_whether_its_length_is_told_or_not);
    tcase_add_test(cases, head_sends_the_headers_alone);
    tcase_add_test(cases, ready_is_what_the_supervisor_says);
    tcase_add_test(cases, the_supervisors_errors_arrive_with_their_status);
    tcase_add_test(cases, an_error_arrives_with_all_that_the_supervisor_says);
    tcase_add_test(cases, strange_hosts_and_origins_are_refused);
    tcase_add_test(cases, a_token_is_asked_for_where_there_is_one);
    tcase_add_test(cases, images_are_sent_from_their_folder_only);
    tcase_add_test(cases, a_preview_is_sent_as_the_file_that_it_is);
    tcase_add_test(cases, a_question_without_an_answer_ends_with_504);
    tcase_add_test(cases, waiting_for_one_answer_holds_up_nobody_else);
    tcase_add_test(cases, clients_that_leave_while_they_wait_leave_nothing_behind);
    tcase_add_test(cases, a_connection_is_kept_for_the_next_request);
    tcase_add_test(cases, a_silent_or_half_said_request_is_closed);
    tcase_add_test(cases, a_request_that_trickles_in_has_a_deadline);
    tcase_add_test(cases, the_time_of_a_kept_connection_begins_with_each_answer);
    tcase_add_test(cases, a_long_answer_has_no_deadline_of_ours);
    tcase_add_test(cases, a_crowd_that_asks_nothing_does_not_lock_the_door);
    tcase_add_test(cases, more_connections_than_the_limit_of_an_address_are_closed_at_once);
    tcase_add_test(cases, noise_is_refused_and_the_door_lives);
    tcase_add_test(cases, the_end_answers_those_who_wait_and_hangs_on_nobody);
    tcase_add_test(cases, many_clients_at_once_each_get_their_answer);
    tcase_add_test(cases, an_address_that_cannot_be_used_is_a_configuration_error);
    tcase_add_test(cases, an_address_that_is_taken_may_be_free_later);
    tcase_add_test(cases, localhost_and_version_6_are_addresses);
    return check_status_run("http", cases);
}
