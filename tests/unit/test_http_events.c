/* Server-sent events at the door: every subscriber gets what it asked for, in order, each event once. */
#include "tests/unit/http_fixture.h"

#include "common/clock.h"
#include "tests/support/check_status.h"

#include <malloc.h>
#include <string.h>
#include <sys/socket.h>
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

static void expect(const char *path, const char *headers, int status, const char *code)
{
    struct response response = ask(&door, "GET", path, headers, NULL);
    ck_assert_msg(response.status == status && strcmp(response_code(&response), code) == 0, "%s: %d %s", path,
                  response.status, response.body);
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

static int subscribe(const char *path, const char *headers)
{
    char text[256];
    int fd = door_connect(&door), before = counters().subscribers;
    int length =
        snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: localhost\r\n%s\r\n", path, headers); /* 1.0: no chunks */
    send_text(fd, text, (size_t)length);
    for (int64_t until = hep_now_ms() + 3000; counters().subscribers == before && hep_now_ms() < until;)
        usleep(1000);
    ck_assert_int_eq(counters().subscribers, before + 1);
    return fd;
}

/* Reads until text is there; what was read so far is kept for the next call on the same buffer. */
static bool stream_has(int fd, char *buffer, size_t size, const char *text)
{
    size_t used = strlen(buffer);
    for (int64_t until = hep_now_ms() + 5000 * HEP_TEST_SLOW; hep_now_ms() < until;) {
        if (strstr(buffer, text))
            return true;
        ssize_t got = recv(fd, buffer + used, size - 1 - used, MSG_DONTWAIT);
        if (got == 0)
            return false;
        if (got < 0)
            usleep(2000);
        else
            buffer[used += (size_t)got] = '\0';
    }
    return false;
}

static int times(const char *text, const char *part)
{
    int count = 0;
    for (const char *p = text; (p = strstr(p, part)); p++)
        count++;
    return count;
}

START_TEST(events_reach_every_subscriber_from_where_each_one_was)
{
    static char now[65536], older[65536], newest[65536];
    front_add_event("old.one"); /* 100, before anybody listens */
    front_add_event("old.two"); /* 101 */
    int a = subscribe("/api/events", "");
    ck_assert(stream_has(a, now, sizeof now, "retry: 2000\n\n"));
    ck_assert_ptr_nonnull(strstr(now, "text/event-stream"));
    usleep(100000);
    front_add_event("live.one"); /* 102 */
    ck_assert_msg(
        stream_has(a, now, sizeof now, "id: 102\nevent: live.one\ndata: {\"seq\":102,\"name\":\"live.one\"}\n\n"), "%s",
        now);
    int b = subscribe("/api/events", "Last-Event-ID: 100\r\n"), c = subscribe("/api/events?after_seq=101", "");
    ck_assert_msg(stream_has(b, older, sizeof older, "id: 102"), "%s", older);
    ck_assert_msg(stream_has(c, newest, sizeof newest, "id: 102"), "%s", newest);
    front_add_event("live.two"); /* 103 */
    ck_assert(stream_has(a, now, sizeof now, "id: 103") && stream_has(b, older, sizeof older, "id: 103") &&
              stream_has(c, newest, sizeof newest, "id: 103"));
    ck_assert(!strstr(now, "old.") && !strstr(newest, "old."));
    ck_assert(times(older, "id: ") == 3 && strstr(older, "old.two") && !strstr(older, "old.one")); /* each once */
    ck_assert(times(now, "id: ") == 2 && times(newest, "id: ") == 2);
    close(a), close(b), close(c);
}
END_TEST

START_TEST(a_published_event_reaches_the_subscribers_and_cannot_forge_fields)
{
    static char text[65536];
    json_t *event = json_pack("{s:s, s:i}", "name", "my.event", "x", 1),
           *forged = json_pack("{s:s}", "name", "a\nid: 999");
    ck_assert_int_eq(http_publish(door.server, event), 0);
    int fd = subscribe("/api/events", "");
    ck_assert_int_eq(http_publish(door.server, event), 1);
    ck_assert_int_eq(http_publish(door.server, forged), 1);
    ck_assert_msg(stream_has(fd, text, sizeof text,
                             "event: my.event\ndata: {\"name\":\"my.event\",\"x\":1}\n\nevent: message\ndata: "
                             "{\"name\":\"a\\nid: 999\"}\n\n"),
                  "%s", text);
    close(fd);
    json_decref(event);
    json_decref(forged);
}
END_TEST

START_TEST(a_silent_stream_is_kept_alive_and_a_reader_that_is_gone_is_noticed)
{
    static char text[65536];
    int fd = subscribe("/api/events", "");
    ck_assert(stream_has(fd, text, sizeof text, ": still here\n\n"));
    text[0] = '\0';
    ck_assert(stream_has(fd, text, sizeof text, ": still here\n\n"));
    usleep(2500000); /* longer than an idle connection may be */
    text[0] = '\0';
    ck_assert(stream_has(fd, text, sizeof text, ": still here\n\n"));
    close(fd);
    for (int64_t until = hep_now_ms() + 5000; counters().subscribers > 0 && hep_now_ms() < until;)
        usleep(5000);
    ck_assert_int_eq(counters().subscribers, 0);
    wait_until_idle();
}
END_TEST

static size_t allocated(void) /* 0 under a sanitizer */
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

START_TEST(a_subscriber_that_does_not_read_is_let_go_and_the_others_stay)
{
    static char text[8 << 20], padding[8000];
    memset(padding, 'p', sizeof padding - 1);
    door_end(&door);
    door_start(&door, (struct http_options){.idle_s = 60, .keep_alive_ms = 400}); /* no timeout lets it go before */
    size_t before = allocated();
    int sleeper = subscribe("/api/events", ""), reader = subscribe("/api/events", "");
    json_t *event = json_pack("{s:s, s:s}", "name", "flood", "padding", padding),
           *last = json_pack("{s:s}", "name", "the.last");
    for (int i = 0; i < 3000; i++) { /* 24 MB; the system's socket buffers take some */
        http_publish(door.server, event);
        text[0] = '\0';
        ck_assert(stream_has(reader, text, sizeof text, "event: flood"));
    }
    ck_assert_uint_lt(allocated(), before + (2u << 20));
    text[0] = '\0';
    http_publish(door.server, last);
    ck_assert(stream_has(reader, text, sizeof text, "event: the.last"));
    close(sleeper), close(reader);
    json_decref(event);
    json_decref(last);
}
END_TEST

START_TEST(subscriptions_have_a_limit_and_checked_numbers)
{
    int fds[64];
    expect("/api/events", "Last-Event-ID: x\r\n", 400, "BAD_FIELD");
    expect("/api/events?after_seq=x", "", 400, "BAD_FIELD");
    for (int i = 0; i < 64; i++)
        fds[i] = subscribe("/api/events", i % 2 ? "Last-Event-ID: 5\r\n" : "");
    expect("/api/events", "", 503, "BUSY");
    expect("/api/status", "", 200, ""); /* and the front is not used up by their polls */
    for (int i = 0; i < 64; i++)
        close(fds[i]);
}
END_TEST

START_TEST(a_supervisor_that_is_silent_for_a_while_loses_no_event)
{
    static char text[65536];
    front_set_state(""); /* status.get is not answered: the poller does not know where now is */
    int fd = subscribe("/api/events", "Last-Event-ID: 99\r\n");
    front_add_event("in.between"); /* 100 */
    usleep(300000);
    front_set_state("ready");
    text[0] = '\0';
    int64_t until = hep_now_ms() + 25000;
    while (hep_now_ms() < until && !stream_has(fd, text, sizeof text, "in.between"))
        ;
    ck_assert_ptr_nonnull(strstr(text, "id: 100"));
    close(fd);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("http_events");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, start, end);
    tcase_add_test(cases, events_reach_every_subscriber_from_where_each_one_was);
    tcase_add_test(cases, a_published_event_reaches_the_subscribers_and_cannot_forge_fields);
    tcase_add_test(cases, a_silent_stream_is_kept_alive_and_a_reader_that_is_gone_is_noticed);
    tcase_add_test(cases, a_subscriber_that_does_not_read_is_let_go_and_the_others_stay);
    tcase_add_test(cases, subscriptions_have_a_limit_and_checked_numbers);
    tcase_add_test(cases, a_supervisor_that_is_silent_for_a_while_loses_no_event);
    return check_status_run("http_events", cases);
}
