/* Server-sent events at the door: every subscriber gets what it asked for, in order, each event once. */
#include "tests/unit/http_fixture.h"

#include "common/clock.h"
#include "tests/support/check_status.h"

#include <malloc.h>
#include <pthread.h>
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

/* A stream that may end at once. */
static int open_stream(const char *path, const char *headers)
{
    char text[256];
    int fd = door_connect(&door);
    int length =
        snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: localhost\r\n%s\r\n", path, headers); /* 1.0: no chunks */
    send_text(fd, text, (size_t)length);
    return fd;
}

/* Returns when the greeting has come (it stays unread): from then on no event is missed. */
static int subscribe(const char *path, const char *headers)
{
    char peeked[1024] = "";
    int before = counters().subscribers, fd = open_stream(path, headers);
    for (int64_t until = hep_now_ms() + 5000 * HEP_TEST_SLOW; !strstr(peeked, "retry: ") && hep_now_ms() < until;) {
        usleep(1000);
        ssize_t got = recv(fd, peeked, sizeof peeked - 1, MSG_PEEK | MSG_DONTWAIT);
        peeked[got > 0 ? got : 0] = '\0';
    }
    ck_assert_msg(strstr(peeked, "retry: ") != NULL, "%s", peeked);
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

START_TEST(an_event_cannot_forge_fields)
{
    static char text[65536];
    int fd = subscribe("/api/events", "");
    front_add_event("a\nid: 999");
    front_add_event("");
    ck_assert_msg(stream_has(fd, text, sizeof text,
                             "id: 100\nevent: message\ndata: {\"seq\":100,\"name\":\"a\\nid: 999\"}\n\n"
                             "id: 101\nevent: message\ndata: {\"seq\":101,\"name\":\"\"}\n\n"),
                  "%s", text);
    close(fd);
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
    static char text[8 << 20], full[16001];
    memset(full, 'p', sizeof full - 1);
    json_t *padding = json_string(full);
    door_end(&door);
    door_start(&door, (struct http_options){.idle_s = 60, .keep_alive_ms = 400}); /* no timeout lets it go before */
    size_t before = allocated();
    int sleeper = subscribe("/api/events", ""), reader = subscribe("/api/events", "");
    for (int i = 0; i < 1500; i++) { /* 24 MB; the system's socket buffers take some */
        front_add_full_event("flood", padding);
        text[0] = '\0';
        ck_assert(stream_has(reader, text, sizeof text, "event: flood"));
    }
    ck_assert_uint_lt(allocated(), before + (4u << 20)); /* the front's own events among it */
    text[0] = '\0';
    front_add_event("the.last");
    ck_assert(stream_has(reader, text, sizeof text, "event: the.last"));
    close(sleeper), close(reader);
    json_decref(padding);
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

/* ---- of one session, and filtered -------------------------------------------------------------------------------- */
/* Reads the whole stream, to its end. */
static void read_all(int fd, char *buffer, size_t size)
{
    size_t used = 0;
    for (ssize_t got; used < size - 1 && (got = recv(fd, buffer + used, size - 1 - used, 0)) > 0;)
        used += (size_t)got;
    buffer[used] = '\0';
    close(fd);
}

static void expect_stream(const char *path, const char *headers, const char *ids)
{
    static char text[65536], seen[4096];
    read_all(open_stream(path, headers), text, sizeof text);
    seen[0] = '\0';
    for (const char *p = text; (p = strstr(p, "\nid: ")); p += 5)
        snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%.*s ", (int)strcspn(p + 5, "\n"), p + 5);
    ck_assert_msg(strcmp(seen, ids) == 0, "%s: %s\n%s", path, seen, text);
}

static const char of_session[] = "/api/processing/sessions/s-1/events";
static const char of_session_with_previews[] = "/api/processing/sessions/s-1/events?previews=1";

START_TEST(a_sessions_stream_has_its_events_from_its_beginning_to_its_end)
{
    static char text[65536];
    front_add_event("old.one");                           /* 100 */
    front_begin_session("s-1");                           /* 101 */
    front_begin_session("s-2");                           /* 102 */
    front_add_session_event("session.step", "s-1", NULL); /* 103 */
    int fd = subscribe(of_session, "");
    ck_assert_msg(stream_has(fd, text, sizeof text, "id: 103"), "%s", text);
    front_add_session_event("session.state", "s-2", "completed"); /* 104 */
    front_add_session_event("session.state", "s-1", "running");   /* 105 */
    front_add_event("domain.state");                              /* 106 */
    front_end_session("s-1", "completed");                        /* 107 */
    size_t used = strlen(text);
    read_all(fd, text + used, sizeof text - used);
    ck_assert_msg(times(text, "id: ") == 4 && strstr(text, "id: 101\nevent: session.accepted") &&
                      strstr(text, "id: 105") && strstr(text, "id: 107\n"),
                  "%s", text);
    front_add_session_event("session.note", "s-1", NULL); /* 108: after the end nobody is told */
    expect_stream(of_session, "", "101 103 105 107 ");
    expect_stream(of_session, "Last-Event-ID: 103\r\n", "105 107 ");
    expect_stream("/api/processing/sessions/s-1/events?after_seq=105", "", "107 ");
    expect_stream("/api/processing/sessions/s-1/events?types=session.step,session.acc.*", "", "103 ");
    expect_stream("/api/processing/sessions/s-1/events?types=session.*", "", "101 103 105 107 ");
}
END_TEST

START_TEST(previews_come_to_streams_that_ask_for_them)
{
    static char plain[65536], all[65536], own[65536];
    front_begin_session("s-1"); /* 100 */
    int a = subscribe("/api/events", "");
    ck_assert(!front_is_watched());
    int b = subscribe("/api/events?previews=1&types=domain.*", ""), c = subscribe(of_session_with_previews, "");
    front_show_preview("s-2");
    ck_assert_msg(stream_has(b, all, sizeof all,
                             "\n\nevent: session.preview\ndata: {\"name\":\"session.preview\",\"number\":1,"
                             "\"session\":\"s-2\",\"png\":\"UE5H\"}\n\n"),
                  "%s", all);
    front_show_preview("s-1");
    ck_assert_msg(stream_has(c, own, sizeof own, "\"number\":2"), "%s", own);
    front_add_event("domain.state"); /* 101 */
    ck_assert(stream_has(a, plain, sizeof plain, "id: 101") && stream_has(b, all, sizeof all, "id: 101"));
    ck_assert(stream_has(b, all, sizeof all, "\"number\":2"));
    ck_assert(!strstr(plain, "preview") && !strstr(own, "s-2"));
    ck_assert_int_eq(times(all, "id: "), 1); /* none is counted */
    front_end_session("s-1", "completed");
    ck_assert(stream_has(c, own, sizeof own, "id: 102"));
    close(a), close(b), close(c);
    expect("/api/events?previews=2", "", 422, "OUT_OF_RANGE");
}
END_TEST

START_TEST(a_client_that_has_a_sessions_end_is_told_not_to_come_back)
{
    front_begin_session("s-1");            /* 100 */
    front_end_session("s-1", "cancelled"); /* 101 */
    static const struct {
        const char *path, *headers;
        int status;
    } rows[] = {{"/api/processing/sessions/s-1/events", "Last-Event-ID: 101\r\n", 204},
                {"/api/processing/sessions/s-1/events", "Last-Event-ID: 100\r\n", 200},
                {"/api/processing/sessions/s-1/events?types=none", "Last-Event-ID: 99\r\n", 204},
                {"/api/processing/sessions/none/events", "", 404},
                {"/api/processing/sessions/none/events", "Last-Event-ID: 5\r\n", 404},
                {"/api/processing/sessions/s-1/events?types=", "", 200},
                {"/api/processing/sessions/s-1/events?types=a,,b", "", 400},
                {"/api/processing/sessions/s-1/events?types=*", "", 400},
                {"/api/processing/sessions/s-1/events?seconds=-1", "", 422},
                {"/api/processing/sessions/s-1/events?after_seq=x", "", 400},
                {"/api/processing/sessions/s-1/events", "Last-Event-ID: -1\r\n", 400}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct response response = ask(&door, "GET", rows[i].path, rows[i].headers, NULL);
        ck_assert_msg(response.status == rows[i].status, "%s: %d %s", rows[i].path, response.status, response.body);
        ck_assert(response.status != 204 || response.bytes == 0);
        response_clear(&response);
    }
}
END_TEST

START_TEST(types_are_chosen_by_name_and_a_silent_stream_says_how_far_it_is)
{
    static char text[65536];
    int fd = subscribe("/api/events?types=domain.*,session.state", "Last-Event-ID: 99\r\n");
    front_add_event("session.step");   /* 100 */
    front_add_event("domain.died");    /* 101 */
    front_add_event("session.state");  /* 102 */
    front_add_event("domain");         /* 103 */
    front_add_event("session.states"); /* 104 */
    ck_assert_msg(stream_has(fd, text, sizeof text, ": still here\nid: 104\n\n"), "%s", text);
    ck_assert_msg(times(text, "event: ") == 2 && strstr(text, "id: 101\nevent: domain.died") &&
                      strstr(text, "id: 102\nevent: session.state\n"),
                  "%s", text);
    close(fd);
}
END_TEST

START_TEST(what_is_not_kept_is_said_plainly)
{
    static char text[65536];
    for (int i = 0; i < 20; i++)
        front_add_event("some.event"); /* 100 … 119 */
    front_begin_session("s-1");        /* 120 */
    front_add_session_event("session.step", "s-1", NULL);
    front_forget_events(110, 115);
    int fd = subscribe("/api/events", "Last-Event-ID: 104\r\n");
    ck_assert_msg(stream_has(fd, text, sizeof text, "id: 121"), "%s", text);
    ck_assert_msg(
        strstr(text, "event: events.lost\ndata: {\"name\":\"events.lost\",\"after_seq\":104,\"kept_since\":110,"), "%s",
        text);
    ck_assert(times(text, "\nid: ") == 12 && times(text, "events.lost\"") == 1);
    close(fd);
    static const char *const edges[][2] = {
        {"Last-Event-ID: 108\r\n", "\"after_seq\":108,\"kept_since\":110,"},
        {"Last-Event-ID: 109\r\n", "\"after_seq\":109,\"kept_since\":115,"}, /* only those of progress are gone */
        {"Last-Event-ID: 113\r\n", "\"after_seq\":113,\"kept_since\":115,"}};
    for (size_t i = 0; i < HEP_COUNT_OF(edges); i++) {
        text[0] = '\0';
        fd = subscribe("/api/events", edges[i][0]);
        ck_assert(stream_has(fd, text, sizeof text, "id: 121"));
        ck_assert_msg(strstr(text, edges[i][1]), "%s", text);
        close(fd);
    }
    text[0] = '\0';
    fd = subscribe("/api/events", "Last-Event-ID: 114\r\n");
    ck_assert(stream_has(fd, text, sizeof text, "id: 121"));
    ck_assert(!strstr(text, "events.lost"));
    close(fd);
    front_forget_events(121, 121);
    front_end_session("s-1", "failed"); /* 122 */
    text[0] = '\0';
    read_all(open_stream(of_session, ""), text, sizeof text); /* its acceptance is gone */
    ck_assert_msg(strstr(text, "events.lost\"") && strstr(text, "id: 121") && strstr(text, "id: 122"), "%s", text);
    front_forget_events(123, 123);
    read_all(open_stream(of_session, ""), text, sizeof text); /* and then all of it */
    ck_assert_msg(strstr(text, "events.lost\"") && !strstr(text, "\nid: "), "%s", text);
}
END_TEST

START_TEST(a_number_that_no_event_has_had_begins_now)
{
    static char text[65536];
    front_add_event("old.one"); /* 100 */
    int fd = subscribe("/api/events", "Last-Event-ID: 5000\r\n");
    ck_assert_msg(stream_has(fd, text, sizeof text, "\"after_seq\":5000,\"kept_since\":101,"), "%s", text);
    front_add_event("new.one"); /* 101 */
    ck_assert_msg(stream_has(fd, text, sizeof text, "id: 101"), "%s", text);
    ck_assert(!strstr(text, "old.one"));
    close(fd);
}
END_TEST

START_TEST(a_stream_ends_after_the_time_that_was_asked_for)
{
    static char text[65536];
    int64_t began = hep_now_ms();
    read_all(open_stream("/api/events?seconds=1", ""), text, sizeof text);
    int64_t took = hep_now_ms() - began;
    ck_assert_msg(took >= 950 && took < 1500 + 1000 * HEP_TEST_SLOW, "%d ms", (int)took);
    expect("/api/events?seconds=x", "", 400, "BAD_FIELD");
    expect("/api/events?seconds=86401", "", 422, "OUT_OF_RANGE");
}
END_TEST

START_TEST(a_long_history_waits_for_its_reader)
{
    enum { COUNT = 1500 };
    static char name[7900], text[1 << 17];
    memset(name, 'n', sizeof name - 1);
    for (int i = 0; i < COUNT; i++)
        front_add_event(name); /* 24 MB of stream, and 256 kB may be unread of what happens now */
    size_t before = allocated();
    int fd = subscribe("/api/events", "Last-Event-ID: 99\r\n"), next = 100;
    usleep(400000);
    ck_assert_uint_lt(allocated(), before + (6u << 20));
    while (next < 100 + COUNT) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "\nid: %d\n", next);
        ck_assert_msg(stream_has(fd, text, sizeof text, wanted), "%d is missing", next);
        for (char *at; (at = strstr(text, wanted)); snprintf(wanted, sizeof wanted, "\nid: %d\n", ++next))
            memmove(text, at + 1, strlen(at)); /* the first byte of wanted ends what came before */
        if (next % 300 == 0)
            usleep(20000);
    }
    ck_assert(!strstr(text, "events.lost"));
    close(fd);
}
END_TEST

/* ---- broken at random -------------------------------------------------------------------------------------------- */
static void *make_events(void *context)
{
    unsigned seed = *(const unsigned *)context;
    for (int i = 0; i < 1500; i++) {
        if (rand_r(&seed) % 3 == 0)
            front_add_session_event("session.step", "s-1", NULL);
        else
            front_add_event(rand_r(&seed) % 2 ? "a.b" : "a.c");
        usleep((useconds_t)(rand_r(&seed) % 1000));
    }
    front_end_session("s-1", "completed");
    return NULL;
}

/* Takes the numbers of whole events out of what was read. */
static int take_ids(char *text, int *ids, int count)
{
    for (char *end; (end = strstr(text, "\n\n"));) {
        char *id = strstr(text, "id: ");
        if (id && id < end)
            ids[count++] = atoi(id + 4);
        memmove(text, end + 2, strlen(end + 2) + 1);
    }
    return count;
}

/* Collects a stream to its session's end (or to the number `last`), breaking the connection at random. */
static int collect(const char *path, int last, int *ids, unsigned *seed)
{
    static char text[1 << 20];
    int count = 0, breaks = 0;
    for (bool over = false; !over; breaks++) {
        char header[64] = "Last-Event-ID: 99\r\n";
        if (count > 0)
            snprintf(header, sizeof header, "Last-Event-ID: %d\r\n", ids[count - 1]);
        int fd = open_stream(path, header), bytes = rand_r(seed) % (last ? 30000 : 4000);
        size_t used = 0;
        while (bytes > 0) {
            ssize_t got = recv(fd, text + used, 1 + (size_t)rand_r(seed) % 3000, 0);
            if (got <= 0) {
                over = last == 0; /* the session's */
                break;
            }
            bytes -= (int)got;
            text[used += (size_t)got] = '\0';
            count = take_ids(text, ids, count);
            used = strlen(text);
            if (last && count > 0 && ids[count - 1] >= last) {
                over = true;
                break;
            }
        }
        close(fd);
        for (int64_t until = hep_now_ms() + 3000; counters().subscribers > 0 && hep_now_ms() < until;)
            usleep(500);
    }
    ck_assert_int_gt(breaks, 3);
    return count;
}

START_TEST(a_stream_that_is_broken_at_random_has_no_gap)
{
    static int all[4096], session[4096];
    unsigned seed = (unsigned)hep_wall_ms();
    pthread_t maker;
    printf("seed %u\n", seed);
    front_begin_session("s-1"); /* 100 */
    ck_assert_int_eq(pthread_create(&maker, NULL, make_events, &seed), 0);
    unsigned breaks = seed;
    int count = collect("/api/events", 1601, all, &breaks);
    pthread_join(maker, NULL);
    ck_assert_int_eq(count, 1502);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(all[i], 100 + i);
    count = collect(of_session, 0, session, &breaks);
    int expected = 0;
    for (int seq = 100; seq <= 1601; seq++)
        if (front_event_is_of(seq, "s-1"))
            ck_assert_int_eq(session[expected++], seq);
    ck_assert_int_eq(count, expected);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("http_events");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, start, end);
    tcase_add_test(cases, events_reach_every_subscriber_from_where_each_one_was);
    tcase_add_test(cases, an_event_cannot_forge_fields);
    tcase_add_test(cases, a_silent_stream_is_kept_alive_and_a_reader_that_is_gone_is_noticed);
    tcase_add_test(cases, a_subscriber_that_does_not_read_is_let_go_and_the_others_stay);
    tcase_add_test(cases, subscriptions_have_a_limit_and_checked_numbers);
    tcase_add_test(cases, a_supervisor_that_is_silent_for_a_while_loses_no_event);
    tcase_add_test(cases, a_sessions_stream_has_its_events_from_its_beginning_to_its_end);
    tcase_add_test(cases, previews_come_to_streams_that_ask_for_them);
    tcase_add_test(cases, a_client_that_has_a_sessions_end_is_told_not_to_come_back);
    tcase_add_test(cases, types_are_chosen_by_name_and_a_silent_stream_says_how_far_it_is);
    tcase_add_test(cases, what_is_not_kept_is_said_plainly);
    tcase_add_test(cases, a_number_that_no_event_has_had_begins_now);
    tcase_add_test(cases, a_stream_ends_after_the_time_that_was_asked_for);
    tcase_add_test(cases, a_long_history_waits_for_its_reader);
    tcase_add_test(cases, a_stream_that_is_broken_at_random_has_no_gap);
    return check_status_run("http_events", cases);
}
