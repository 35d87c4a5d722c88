/* ?wait= and Prefer: wait=: the answer comes with the end of the session, or in time without it, and nobody else waits.
 */
#include "tests/unit/http_fixture.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/wire.h"
#include "instructors/communication/exchange.h"
#include "tests/support/check_status.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char execute[] = "/api/processing/workflows/execute";
static struct door door;

static void start(void)
{
    door_start(&door, (struct http_options){.answer_ms = 1500, .idle_s = 2, .keep_alive_ms = 400});
    front_begin_session("s-1");
}

static void end(void)
{
    door_end(&door);
}

static struct http_counters counters(void)
{
    struct http_counters result;
    http_counters(door.server, &result);
    return result;
}

static void wait_for_waiters(int count)
{
    for (int64_t until = hep_now_ms() + 5000 * HEP_TEST_SLOW; counters().waiting != count && hep_now_ms() < until;)
        usleep(1000);
    ck_assert_int_eq(counters().waiting, count);
}

/* A request of its own thread. */
struct asked {
    pthread_t thread;
    char path[96];
    const char *headers;
    struct response response;
    int64_t took_ms;
};

static void *ask_and_wait(void *context)
{
    struct asked *asked = context;
    int64_t began = hep_now_ms();
    asked->response = ask(&door, "POST", asked->path, asked->headers, "{\"configuration\":{}}");
    asked->took_ms = hep_now_ms() - began;
    return NULL;
}

static void begin_asking(struct asked *asked, const char *query, const char *headers)
{
    *asked = (struct asked){.headers = headers};
    snprintf(asked->path, sizeof asked->path, "%s%s", execute, query);
    ck_assert_int_eq(pthread_create(&asked->thread, NULL, ask_and_wait, asked), 0);
}

static json_t *body_of(const struct response *response)
{
    json_t *body = json_loadb(response->body, response->bytes, 0, NULL);
    ck_assert_msg(body != NULL, "%s", response->body);
    return body;
}

static void expect_finished(struct asked *asked)
{
    pthread_join(asked->thread, NULL);
    json_t *body = body_of(&asked->response);
    ck_assert_int_eq(asked->response.status, 200);
    ck_assert_str_eq(hep_json_str(body, "session_id", ""), "s-1");
    ck_assert_msg(json_is_string(json_object_get(body, "ended")), "%s", asked->response.body);
    ck_assert_ptr_nonnull(strstr(asked->response.head, "\r\nContent-Location: /api/processing/sessions/s-1\r\n"));
    ck_assert(!strstr(asked->response.head, "\r\nLocation:"));
    json_decref(body);
    response_clear(&asked->response);
}

static void expect_accepted(struct asked *asked)
{
    pthread_join(asked->thread, NULL);
    json_t *body = body_of(&asked->response);
    ck_assert_int_eq(asked->response.status, 202);
    ck_assert_str_eq(hep_json_str(body, "session_id", ""), "s-1");
    ck_assert_ptr_nonnull(strstr(asked->response.head, "\r\nLocation: /api/processing/sessions/s-1\r\n"));
    json_decref(body);
    response_clear(&asked->response);
}

START_TEST(a_waiting_request_is_answered_with_the_finished_session)
{
    static const char *const ends[] = {"completed", "failed", "cancelled"};
    for (size_t i = 0; i < HEP_COUNT_OF(ends); i++) {
        struct asked asked;
        front_begin_session("s-1");
        begin_asking(&asked, "?wait=20", "");
        wait_for_waiters(1);
        front_add_session_event("session.step", "s-1", NULL);
        front_add_session_event("session.state", "s-1", "running");
        front_add_session_event("session.state", "s-2", "completed"); /* another's end */
        usleep(50000);
        ck_assert_int_eq(counters().waiting, 1);
        front_end_session("s-1", ends[i]);
        expect_finished(&asked);
        ck_assert_int_lt(asked.took_ms, 3000 * HEP_TEST_SLOW);
        wait_for_waiters(0);
    }
}
END_TEST

START_TEST(a_session_that_has_ended_before_is_not_waited_for)
{
    struct asked asked;
    front_end_session("s-1", "completed");
    begin_asking(&asked, "?wait=20", "");
    expect_finished(&asked);
    ck_assert_int_lt(asked.took_ms, 3000 * HEP_TEST_SLOW);
}
END_TEST

START_TEST(time_that_is_up_gives_what_was_accepted)
{
    struct asked asked;
    begin_asking(&asked, "?wait=1", "");
    expect_accepted(&asked);
    ck_assert_msg(asked.took_ms >= 950 && asked.took_ms < 1500 + 1000 * HEP_TEST_SLOW, "%d ms", (int)asked.took_ms);
    begin_asking(&asked, "?wait=0", "");
    expect_accepted(&asked);
    ck_assert_int_lt(asked.took_ms, 900 * HEP_TEST_SLOW);
    begin_asking(&asked, "", "");
    expect_accepted(&asked);
    ck_assert_int_lt(asked.took_ms, 900 * HEP_TEST_SLOW);
}
END_TEST

START_TEST(a_preference_is_heeded_and_the_query_goes_before_it)
{
    struct asked asked;
    begin_asking(&asked, "", "Prefer: respond-async, wait=20\r\n");
    wait_for_waiters(1);
    front_end_session("s-1", "completed");
    pthread_join(asked.thread, NULL);
    ck_assert_int_eq(asked.response.status, 200);
    ck_assert_ptr_nonnull(strstr(asked.response.head, "\r\nPreference-Applied: wait=20\r\n"));
    response_clear(&asked.response);
    front_begin_session("s-1");
    begin_asking(&asked, "?wait=0", "Prefer: wait=20\r\n");
    expect_accepted(&asked);
    ck_assert_int_lt(asked.took_ms, 900 * HEP_TEST_SLOW);
    struct response response = ask(&door, "GET", "/api/status", "Prefer: wait=20\r\n", NULL);
    ck_assert_int_eq(response.status, 200);
    ck_assert(!strstr(response.head, "Preference-Applied"));
    response_clear(&response);
}
END_TEST

START_TEST(a_batch_is_waited_for_too)
{
    struct asked asked = {.headers = "", .path = "/api/processing/batches/b-1/execute?wait=20"};
    ck_assert_int_eq(pthread_create(&asked.thread, NULL, ask_and_wait, &asked), 0);
    wait_for_waiters(1);
    usleep(50000);
    front_end_batch("b-2", "completed");
    front_end_session("b-1", "completed"); /* of another kind */
    usleep(50000);
    ck_assert_int_eq(counters().waiting, 1);
    front_end_batch("b-1", "failed");
    pthread_join(asked.thread, NULL);
    ck_assert_int_eq(asked.response.status, 200);
    ck_assert_str_eq(asked.response.body, "{\"batch_id\":\"b-1\",\"ended\":\"2026-01-31T12:00:00.000Z\"}");
    ck_assert_ptr_nonnull(strstr(asked.response.head, "\r\nContent-Location: /api/processing/batches/b-1\r\n"));
    response_clear(&asked.response);
    struct response response = ask(&door, "POST", "/api/processing/batches/b-3/execute", "", "{}");
    ck_assert_int_eq(response.status, 202);
    ck_assert_ptr_nonnull(strstr(response.head, "\r\nLocation: /api/processing/batches/b-3\r\n"));
    response_clear(&response);
}
END_TEST

START_TEST(preferences_are_read_as_rfc_7240_says)
{
    static const struct {
        const char *header;
        int wait;
    } rows[] = {{NULL, 0},
                {"", 0},
                {"wait=10", 10},
                {"WAIT=10", 10},
                {"respond-async, wait=10", 10},
                {"respond-async,wait=10;x=1", 10},
                {"wait=10, wait=20", 10},
                {"wait=99999999999999999999", HEP_HTTP_WAIT_MAX_S},
                {"wait=-1", 0},
                {"wait=x, wait=3", 3},
                {"wait=1x", 0},
                {"await=10", 0},
                {"wait", 0}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        ck_assert_msg(prefer_wait(rows[i].header) == rows[i].wait, "%s: %d", rows[i].header,
                      prefer_wait(rows[i].header));
}
END_TEST

START_TEST(a_wrong_wait_is_refused_before_anything_is_begun)
{
    static const char *const wrong[] = {"?wait=-1", "?wait=601", "?wait=x", "?wait=", "?wait", "?wait=1&wait=2"};
    int before = atomic_load(&front_requests);
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s%s", execute, wrong[i]);
        struct response response = ask(&door, "POST", path, "", "{}");
        ck_assert_msg(response.status == 400 || response.status == 422, "%s: %s", path, response.body);
        response_clear(&response);
    }
    ck_assert_int_eq(atomic_load(&front_requests), before);
}
END_TEST

START_TEST(many_who_wait_take_no_place_of_others)
{
    enum { WAITERS = 100 };
    static struct asked asked[WAITERS];
    door_end(&door);
    door_start(&door, (struct http_options){.idle_s = 20});
    front_begin_session("s-1");
    for (int i = 0; i < WAITERS; i++)
        begin_asking(&asked[i], "?wait=60", "");
    wait_for_waiters(WAITERS);
    ck_assert_int_eq(counters().subscribers, 0);
    ck_assert_int_le(front_polls(), 1); /* at the supervisor, one long poll for all of them */
    int64_t began = hep_now_ms();
    struct response response = ask(&door, "GET", "/api/status", "", NULL);
    ck_assert_int_eq(response.status, 200);
    response_clear(&response);
    ck_assert_int_lt(hep_now_ms() - began, 500 * HEP_TEST_SLOW);
    front_end_session("s-1", "completed");
    for (int i = 0; i < WAITERS; i++)
        expect_finished(&asked[i]);
    wait_for_waiters(0);
}
END_TEST

START_TEST(a_client_that_leaves_waits_no_more)
{
    static const char text[] = "POST /api/processing/workflows/execute?wait=60 HTTP/1.1\r\nHost: localhost\r\n"
                               "Content-Length: 2\r\n\r\n{}";
    int fd = door_connect(&door);
    send_text(fd, text, sizeof text - 1);
    wait_for_waiters(1);
    usleep(100000);
    close(fd);
    wait_for_waiters(0);
    for (int64_t until = hep_now_ms() + 5000; counters().connections > 0 && hep_now_ms() < until;)
        usleep(1000);
    ck_assert_int_eq(counters().connections, 0);
}
END_TEST

START_TEST(the_end_of_the_door_says_to_those_who_wait_that_their_work_is_accepted)
{
    static const char text[] = "POST /api/processing/workflows/execute?wait=60 HTTP/1.0\r\nHost: localhost\r\n"
                               "Content-Length: 2\r\n\r\n{}";
    int fd = door_connect(&door);
    send_text(fd, text, sizeof text - 1);
    for (int64_t until = hep_now_ms() + 5000 * HEP_TEST_SLOW; front_polls() == 0 && hep_now_ms() < until;)
        usleep(1000); /* its work is accepted, and it listens */
    int64_t began = hep_now_ms();
    door_end(&door);
    ck_assert_int_lt(hep_now_ms() - began, 1200 * HEP_TEST_SLOW);
    struct response response = read_response(fd, false);
    ck_assert_msg(response.status == 202 || response.status == 0, "%d", response.status);
    response_clear(&response);
    close(fd);
    start();
}
END_TEST

/* The end comes at any moment of the request: before it is asked for, between two steps, while it sleeps. */
START_TEST(no_end_is_missed_whenever_it_comes)
{
    unsigned seed = (unsigned)hep_wall_ms();
    printf("seed %u\n", seed);
    for (int i = 0; i < 60; i++) {
        struct asked asked;
        front_begin_session("s-1");
        begin_asking(&asked, "?wait=20", "");
        usleep((useconds_t)(rand_r(&seed) % 4000));
        front_end_session("s-1", "completed");
        expect_finished(&asked);
        ck_assert_msg(asked.took_ms < 3000 * HEP_TEST_SLOW, "%d: %d ms", i, (int)asked.took_ms);
    }
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("http_wait");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, start, end);
    tcase_add_test(cases, a_waiting_request_is_answered_with_the_finished_session);
    tcase_add_test(cases, a_session_that_has_ended_before_is_not_waited_for);
    tcase_add_test(cases, time_that_is_up_gives_what_was_accepted);
    tcase_add_test(cases, a_preference_is_heeded_and_the_query_goes_before_it);
    tcase_add_test(cases, a_batch_is_waited_for_too);
    tcase_add_test(cases, preferences_are_read_as_rfc_7240_says);
    tcase_add_test(cases, a_wrong_wait_is_refused_before_anything_is_begun);
    tcase_add_test(cases, many_who_wait_take_no_place_of_others);
    tcase_add_test(cases, a_client_that_leaves_waits_no_more);
    tcase_add_test(cases, the_end_of_the_door_says_to_those_who_wait_that_their_work_is_accepted);
    tcase_add_test(cases, no_end_is_missed_whenever_it_comes);
    return check_status_run("http_wait", cases);
}
