/* Files that come by HTTP: each byte reaches the supervisor, in parts that fit a message, or the client learns why not.
 */
#include "common/limits.h"
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/unit/http_fixture.h"

#include <string.h>
#include <unistd.h>

static struct door door;
static unsigned char file[HEP_INPUT_MAX + 1];

static void begin(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof file; i++)
        file[i] = (unsigned char)((state = state * 1664525u + 1013904223u) >> 24);
    front_refuse_inputs(HEP_OK, 0);
    door_start(&door, (struct http_options){0});
}

static void end(void)
{
    door_end(&door);
}

/* chunk 0: with its length told. */
static struct response give(const unsigned char *data, size_t bytes, size_t chunk)
{
    char head[256];
    int fd = door_connect(&door), length;
    length = snprintf(head, sizeof head,
                      chunk ? "POST /api/inputs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                            : "POST /api/inputs HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                              "Content-Length: %zu\r\n\r\n",
                      bytes);
    send_text(fd, head, (size_t)length);
    for (size_t sent = 0; chunk && sent < bytes; sent += chunk) {
        size_t size = bytes - sent < chunk ? bytes - sent : chunk;
        length = snprintf(head, sizeof head, "%zx\r\n", size);
        send_text(fd, head, (size_t)length);
        send_text(fd, (const char *)data + sent, size);
        send_text(fd, "\r\n", 2);
    }
    if (chunk)
        send_text(fd, "0\r\n\r\n", 5);
    else
        send_text(fd, (const char *)data, bytes);
    struct response response = read_response(fd, false);
    close(fd);
    return response;
}

static void expect_whole(size_t bytes, size_t chunk)
{
    size_t got;
    struct response response = give(file, bytes, chunk);
    ck_assert_msg(response.status == 201, "%zu bytes: %d %s", bytes, response.status, response.body);
    ck_assert_ptr_nonnull(strstr(response.head, "Location: /api/inputs/abcdef\r\n"));
    json_t *body = json_loads(response.body, 0, NULL);
    ck_assert_uint_eq((size_t)hep_json_int(body, "bytes", 0), bytes);
    ck_assert_str_eq(hep_json_str(body, "input", ""), "abcdef");
    ck_assert_ptr_null(json_object_get(body, "received"));
    json_decref(body);
    response_clear(&response);
    const unsigned char *arrived = front_input(&got);
    ck_assert(got == bytes && memcmp(arrived, file, bytes) == 0);
}

static void expect_refused(const unsigned char *data, size_t bytes, size_t chunk, int status, const char *code)
{
    struct response response = give(data, bytes, chunk);
    ck_assert_msg(response.status == status, "%zu bytes: %d %s", bytes, response.status, response.body);
    ck_assert_str_eq(response_code(&response), code);
    response_clear(&response);
}

START_TEST(a_file_of_any_size_arrives_as_it_is)
{
    static const size_t sizes[] = {1,
                                   1000,
                                   HEP_INPUT_PART_MAX - 1,
                                   HEP_INPUT_PART_MAX,
                                   HEP_INPUT_PART_MAX + 1,
                                   3 * HEP_INPUT_PART_MAX,
                                   5000001,
                                   HEP_INPUT_MAX};
    for (size_t i = 0; i < HEP_COUNT_OF(sizes); i++)
        expect_whole(sizes[i], 0);
    expect_whole(5000001, 100000);
    expect_whole(HEP_INPUT_PART_MAX, 1 << 20);
}
END_TEST

START_TEST(a_file_that_is_too_large_or_empty_is_refused)
{
    static const char told[] =
        "POST /api/inputs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554433\r\n\r\n"; /* before it comes */
    int fd = door_connect(&door);
    send_text(fd, told, sizeof told - 1);
    struct response response = read_response(fd, false);
    ck_assert_int_eq(response.status, 413);
    response_clear(&response);
    close(fd);
    expect_refused(file, sizeof file, 1 << 16, 413, "TOO_LARGE");
    expect_refused(file, 0, 0, 400, "BAD_FIELD");
    expect_whole(1000, 0);
}
END_TEST

START_TEST(what_the_supervisor_refuses_is_told)
{
    for (int part = 1; part <= 4; part++) { /* the third is the last */
        front_refuse_inputs(HEP_E_NO_SPACE, part);
        if (part <= 3)
            expect_refused(file, 3 * HEP_INPUT_PART_MAX - 5, 0, 507, "NO_SPACE");
        else
            expect_whole(3 * HEP_INPUT_PART_MAX - 5, 0);
    }
    front_refuse_inputs(HEP_E_NOT_FOUND, 2); /* it was started anew meanwhile */
    expect_refused(file, 3 * HEP_INPUT_PART_MAX, 0, 503, "DOMAIN_DOWN");
    front_refuse_inputs(HEP_E_BUSY, 1);
    expect_refused(file, 10, 0, 503, "BUSY");
}
END_TEST

START_TEST(who_leaves_in_the_middle_leaves_nothing_behind)
{
    static const char head[] = "POST /api/inputs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n\r\n";
    for (int i = 0; i < 8; i++) {
        int fd = door_connect(&door);
        send_text(fd, head, sizeof head - 1);
        send_text(fd, (const char *)file, (size_t)(i + 1) * 300000);
        close(fd);
    }
    struct http_counters counters = {.connections = 1};
    for (int tries = 0; tries < 1000 && counters.connections + counters.waiting > 0; tries++) {
        usleep(10000);
        http_counters(door.server, &counters);
    }
    ck_assert_int_eq(counters.connections + counters.waiting, 0);
    expect_whole(1000, 0);
}
END_TEST

START_TEST(an_input_is_asked_for_by_its_name)
{
    struct response response = ask(&door, "GET", "/api/inputs/abc", "", NULL);
    ck_assert_int_eq(response.status, 200);
    ck_assert_ptr_nonnull(strstr(response.body, "\"input.get\""));
    response_clear(&response);
    response = ask(&door, "PUT", "/api/inputs", "", "x");
    ck_assert_int_eq(response.status, 405);
    response_clear(&response);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("http_inputs");
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_file_of_any_size_arrives_as_it_is);
    tcase_add_test(tcase, a_file_that_is_too_large_or_empty_is_refused);
    tcase_add_test(tcase, what_the_supervisor_refuses_is_told);
    tcase_add_test(tcase, who_leaves_in_the_middle_leaves_nothing_behind);
    tcase_add_test(tcase, an_input_is_asked_for_by_its_name);
    return check_status_run("http_inputs", tcase);
}
