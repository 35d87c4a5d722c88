/*
 * The skeleton as a process: --describe, --stdio, and under a supervisor that is this test. Most of it with the
 * instructor of tests/support/test_instructor.c, a little with heptad-scheduler.
 */
#include "tests/proc/skeleton_fixture.h"

#include "common/build.h"
#include "common/clock.h"
#include "common/operation.h"
#include "common/wire.h"
#include "shm/arena.h"
#include "shm/segment.h"
#include "tests/support/check_status.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_INSTRUCTOR           "test_instructor"
#define EXITED_WITH(status, code) (WIFEXITED(status) && WEXITSTATUS(status) == (code))

/* ---- alone ------------------------------------------------------------------------------------------------------- */
START_TEST(describe_prints_the_table_without_a_supervisor)
{
    int status;
    json_t *all =
        json_loads(run_tool("heptad-scheduler", (const char *const[]){"--describe", NULL}, "", &status), 0, NULL);
    ck_assert(EXITED_WITH(status, 0));
    ck_assert_str_eq(hep_json_str(all, "domain", ""), "scheduler");
    json_t *operations = json_object_get(all, "operations");
    static const char *const wanted[] = {"plan", "list", "get_status", "describe", "cleanup", "ping", "configure"};
    for (size_t i = 0; i < HEP_COUNT_OF(wanted); i++) {
        bool found = false;
        size_t index;
        json_t *row;
        json_array_foreach(operations, index, row) found =
            found || strcmp(hep_json_str(row, "name", ""), wanted[i]) == 0;
        ck_assert_msg(found, "%s", wanted[i]);
    }
    json_decref(all);
}
END_TEST

START_TEST(a_domain_alone_writes_nothing_into_the_current_folder)
{
    char folder[] = "/tmp/heptad-test-XXXXXX", here[512];
    int status;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(chdir(folder), 0);
    run_tool("heptad-device", (const char *const[]){"--stdio", NULL}, "{\"type\":\"device.list\"}\n", &status);
    ck_assert_int_eq(chdir(here), 0);
    ck_assert(EXITED_WITH(status, 0));
    ck_assert_msg(rmdir(folder) == 0, "%s is not empty", folder);
}
END_TEST

START_TEST(stdio_answers_one_line_for_each_line)
{
    static const struct {
        const char *request, *reply; /* reply: a part of it */
    } lines[] = {
        {"{\"type\":\"scheduler.echo\",\"request_id\":\"a\",\"session\":\"s\",\"data\":{\"text\":\"hi\",\"any\":{\"x\":"
         "[1,null]}}}",
         "{\"request_id\":\"a\",\"success\":true,\"data\":{\"text\":\"hi\",\"session\":\"s\",\"any\":{\"x\":[1,null]}}"
         "}"},
        {"{\"type\":\"scheduler.sleep\",\"data\":{\"ms\":10}}", "\"success\":true"},
        {"{\"type\":\"scheduler.nap\",\"data\":{\"ms\":0},\"lease\":{\"cores\":[0]}}", "\"cores\":1"},
        {"{\"type\":\"scheduler.defer\",\"data\":{\"ms\":30}}", "{\"ms\":30,\"cores\":0}"},
        {"{\"type\":\"model.load\",\"request_id\":\"b\"}", "\"code\":\"UNKNOWN_DOMAIN\""},
        {"{\"type\":\"schedule.echo\"}", "\"code\":\"UNKNOWN_DOMAIN\""},
        {"{\"type\":7}", "\"code\":\"BAD_FIELD\",\"message\":\"type of a request must be a string\""},
        {"{\"type\":\"scheduler.echo\",\"request_id\":7}", "\"field\":\"request_id\""},
        {"{\"type\":\"scheduler.echo\",\"attempt\":\"1\"}", "\"field\":\"attempt\""},
        {"{\"type\":\"scheduler.echo\",\"lease\":[0]}", "\"field\":\"lease\""},
        {"{\"type\":\"scheduler.echo\",\"measure\":1}", "\"field\":\"measure\""},
        {"{\"type\":\"scheduler.echo\",\"txet\":\"hi\"}", "\"code\":\"UNKNOWN_FIELD\""},
        {"{\"data\":{}}", "\"code\":\"MISSING_FIELD\""},
        {"{\"type\":\"scheduler.echo\",\"data\":{\"x\":1}}", "\"hint\":\"see `heptctl operations scheduler.echo`\""},
        {"{\"type\":\"scheduler.nothing\"}", "\"code\":\"UNKNOWN_OPERATION\""},
        {"{\"type\":\"scheduler.\"}", "\"code\":\"UNKNOWN_OPERATION\""},
        {"{\"type\":\"scheduler.sleep\",\"data\":{\"ms\":-1}}", "\"code\":\"OUT_OF_RANGE\""},
        {"{\"type\":\"scheduler.sleep\",\"data\":{\"ms\":-1}}", "\"field\":\"ms\""},
        {"{\"type\":\"scheduler.sleep\",\"data\":{\"sm\":1}}", "\"code\":\"UNKNOWN_FIELD\""},
        {"{\"type\":\"scheduler.sleep\",\"data\":[1]}", "\"field\":\"data\""},
        {"{\"type\":\"scheduler.sleep\",\"error_format\":\"string\",\"data\":{\"ms\":\"x\"}}",
         "\"success\":false,\"error\":\"BAD_FIELD: ms must be of type integer, not a string\"}"},
        {"{\"type\":\"scheduler.fail\"}", "\"code\":\"CONFLICT\",\"message\":\"it contradicts what is there\""},
        {"{\"type\":\"scheduler.write\",\"data\":{\"count\":5}}", "\"field\":\"out\""},
        {"{\"type\":\"scheduler.write\",\"measure\":true,\"data\":{\"count\":5}}",
         "\"data\":{\"outputs\":{\"out\":{\"segment\":\"\",\"offset\":0,\"generation\":0,\"dtype\":\"f32\",\"shape\":["
         "5]}},\"memory_bytes\":4096,\"flops\":5.0,\"unit_flops\":5.0}"},
        {"{\"type\":\"scheduler.write\",\"measure\":true,\"data\":{\"count\":13}}", "\"code\":\"UNSUPPORTED\""},
        {"{\"type\":\"scheduler.cleanup\"}", "\"freed\":{\"mapped_bytes\":0,\"test_bytes\":1}"},
        {"{\"type\":\"scheduler.ping\",\"data\":{\"echo\":\"é\"}}", "{\"echo\":\"é\",\"generation\":1}"},
        {"{\"type\":\"scheduler.get_status\"}", "\"state\":\"ready\""},
        {"{\"type\":\"scheduler.how_are_you\"}", "\"state\":\"ready\""},
        {"{\"type\":\"scheduler.greet\"}", "\"data\":{\"text\":\"hello\"}"},
        {"{\"type\":\"scheduler.greet\",\"data\":null}", "\"data\":{\"text\":\"hello\"}"},
        {"{\"type\":\"scheduler.greet\",\"data\":{\"text\":\"bye\"}}", "\"field\":\"text\""},
        {"{\"type\":\"scheduler.muse\",\"data\":{\"of\":[1]}}",
         "\"code\":\"UNSUPPORTED\",\"message\":\"dream is not built yet: nothing is dreamt here\",\"hint\":\"sleep\""},
        {"{\"type\":\"scheduler.nothing\",\"error_format\":\"alias\"}", "\"code\":\"UNKNOWN_ACTION\""},
        {"{\"type\":\"scheduler.nothing\",\"error_format\":\"object\"}", "\"code\":\"UNKNOWN_OPERATION\""},
        {"{\"type\":\"scheduler.fail\",\"error_format\":\"alias\"}", "\"code\":\"CONFLICT\""},
        {"{\"type\":\"scheduler.ping\",\"error_format\":\"xml\"}", "\"field\":\"error_format\""},
        {"{\"type\":", "\"code\":\"BAD_JSON\""},
        {"[[[[[[[[[[[[[[[[[[[[[[", "\"code\":\"BAD_JSON\""},
        {"[]", "\"code\":\"BAD_FIELD\",\"message\":\"a request must be an object\""},
    };
    char input[8192] = "\n"; /* an empty line is none */
    int status;
    for (size_t i = 0; i < HEP_COUNT_OF(lines); i++) {
        strcat(input, lines[i].request);
        strcat(input, "\n");
    }
    char *output = strdup(run_tool(TEST_INSTRUCTOR, (const char *const[]){"--stdio", NULL}, input, &status)),
         *rest = output;
    ck_assert(EXITED_WITH(status, 0));
    for (size_t i = 0; i < HEP_COUNT_OF(lines); i++) {
        char *line = strsep(&rest, "\n");
        ck_assert_msg(line && strstr(line, lines[i].reply), "%s\n gave %s\n not  %s", lines[i].request, line,
                      lines[i].reply);
    }
    ck_assert_str_eq(rest, "");
    free(output);
}
END_TEST

START_TEST(wrong_arguments_and_configuration_end_with_125)
{
    static const char *const wrong[][4] = {{NULL},
                                           {"--nonsense", NULL},
                                           {"--socket", NULL},
                                           {"--set", "novalue", "--stdio", NULL},
                                           {"--stdio", "--set", "test.no_start=1", NULL},
                                           {"--what", "ever", NULL}};
    int status;
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        run_tool(TEST_INSTRUCTOR, wrong[i], "", &status);
        ck_assert_msg(EXITED_WITH(status, 125), "%zu: %x", i, status);
    }
    ck_assert_ptr_nonnull(
        strstr(run_tool(TEST_INSTRUCTOR, (const char *const[]){"--version", NULL}, "", &status), hep_build_id()));
    ck_assert_ptr_nonnull(
        strstr(run_tool(TEST_INSTRUCTOR, (const char *const[]){"--help", NULL}, "", &status), "--stdio"));
    ck_assert(EXITED_WITH(status, 0));
}
END_TEST

START_TEST(the_door_without_a_supervisor_says_that_it_is_closed)
{
    int status;
    const char *output = run_tool("heptad-communication", (const char *const[]){"--stdio", NULL},
                                  "{\"type\":\"communication.listen\"}\n{\"type\":\"communication.ping\"}\n", &status);
    ck_assert(EXITED_WITH(status, 0));
    ck_assert_ptr_nonnull(strstr(output, "\"code\":\"NOT_NOW\""));
    ck_assert_ptr_nonnull(strstr(output, "\"success\":true"));
}
END_TEST

/* Confined as the daemon does it; what that forbids is in test_confine.c. */
START_TEST(a_confined_instructor_serves_says_so_and_ends)
{
    static const char *const settings[] = {"domains.confine=on", NULL};
    static const char *const binaries[] = {TEST_INSTRUCTOR, "heptad-scheduler"};
    static const char *const asks[] = {"{\"type\":\"scheduler.get_status\"}", "{\"type\":\"scheduler.list\"}",
                                       "{\"type\":\"scheduler.cleanup\"}"};
    struct child confined;
    enum hep_status status;
    child_start(&confined, binaries[_i], settings, true);
    for (size_t i = 0; i < HEP_COUNT_OF(asks); i++) {
        json_t *reply = child_ask(&confined, asks[i], &status);
        ck_assert_int_eq(status, HEP_OK);
        if (i == 0) {
            json_t *said = json_object_get(json_object_get(json_object_get(reply, "data"), "status"), "confinement");
            ck_assert_str_eq(hep_json_str(said, "mode", ""), "on");
            ck_assert(hep_json_bool(said, "no_new_privs", false));
            ck_assert_int_gt(hep_json_int(json_object_get(json_object_get(reply, "data"), "status"), "rss_bytes", 0),
                             0);
        }
        json_decref(reply);
    }
    kill(confined.pid, SIGTERM);
    int ended = child_wait(&confined, 5000 * HEP_TEST_SLOW);
    ck_assert(EXITED_WITH(ended, 0));
    child_end(&confined);
}
END_TEST

/* ---- supervised -------------------------------------------------------------------------------------------------- */
static struct child child;

static void start_child(void)
{
    child_start(&child, TEST_INSTRUCTOR, NULL, true);
}

static void end_child(void)
{
    child_end(&child);
}

START_TEST(ready_carries_the_table_and_a_ping_comes_back)
{
    enum hep_status status;
    json_t *ready = json_array_get(child.reports, 0);
    ck_assert_int_eq(hep_json_int(ready, "generation", 0), 7);
    ck_assert_int_eq(hep_json_int(ready, "pid", 0), child.pid);
    ck_assert_str_eq(hep_json_str(ready, "build", ""), hep_build_id());
    ck_assert_uint_eq(json_array_size(json_object_get(ready, "operations")), 9 + 5);
    json_t *reply =
        child_ask(&child, "{\"type\":\"scheduler.ping\",\"request_id\":\"p1\",\"data\":{\"echo\":42}}", &status);
    ck_assert_str_eq(hep_json_str(reply, "request_id", ""), "p1");
    ck_assert_int_eq(hep_json_int(json_object_get(reply, "data"), "echo", 0), 42);
    ck_assert_int_eq(hep_json_int(json_object_get(reply, "data"), "generation", 0), 7);
    json_decref(reply);
}
END_TEST

START_TEST(an_operation_is_reported_from_begin_to_end)
{
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.sleep\",\"request_id\":\"r1\",\"session\":\"s1\","
                                         "\"attempt\":2,\"data\":{\"ms\":60}}"),
                     "");
    json_t *begin = child_report(&child, "begin", "sleep", 2000),
           *progress = child_report(&child, "progress", "sleep", 2000);
    ck_assert_str_eq(hep_json_str(begin, "request_id", ""), "r1");
    ck_assert_str_eq(hep_json_str(begin, "session", ""), "s1");
    ck_assert_int_eq(hep_json_int(begin, "attempt", 0), 2);
    ck_assert_int_eq(hep_json_int(begin, "deadline_ms", 0), 60000);
    ck_assert_str_eq(hep_json_str(progress, "note", ""), "asleep");
    json_t *end = child_report(&child, "end", "sleep", 2000);
    ck_assert(hep_json_bool(end, "success", false));
    ck_assert_int_ge(hep_json_int(end, "duration_us", 0), 60000);
    json_t *status = child_report(&child, "status", NULL, 3000), *after;
    ck_assert_int_eq(hep_json_int(status, "pid", 0), child.pid);
    ck_assert_int_gt(hep_json_int(status, "rss_bytes", 0), 100000);
    after = child_report(&child, "status", NULL, 3000);
    ck_assert_int_eq(hep_json_int(json_object_get(json_object_get(after, "operations"), "sleep"), "count", 0), 1);
    ck_assert_int_gt(hep_json_int(after, "progress", 0), hep_json_int(progress, "counter", 0));
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.fail\",\"request_id\":\"r2\"}"), "CONFLICT");
    end = child_report(&child, "end", "fail", 2000);
    ck_assert(!hep_json_bool(end, "success", true));
}
END_TEST

/* ---- what it logs ------------------------------------------------------------------------------------------------ */
/* All that a child writes to its standard error while it is asked these, malloc'ed. */
static char *logged_while(const char *const *asks)
{
    static const char *const settings[] = {"log.level=debug", NULL};
    struct child talker;
    enum hep_status status;
    char *text = calloc(1, 1 << 16);
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    ck_assert(text && file && before >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    child_start(&talker, TEST_INSTRUCTOR, settings, true);
    ck_assert_int_ge(dup2(before, STDERR_FILENO), 0);
    close(before);
    for (; *asks; asks++)
        json_decref(child_ask(&talker, *asks, &status));
    child_end(&talker);
    rewind(file);
    ck_assert_uint_lt(fread(text, 1, 1 << 16, file), 1 << 16);
    fclose(file);
    return text;
}

START_TEST(its_lines_say_for_which_session_and_request_they_are)
{
    static const char *const asks[] = {
        "{\"type\":\"scheduler.echo\",\"request_id\":\"r1\",\"session\":\"s1\"}",
        "{\"type\":\"scheduler.sleep\",\"request_id\":\"r2\",\"session\":\"s2\",\"data\":{\"ms\":5}}",
        "{\"type\":\"scheduler.defer\",\"request_id\":\"r3\",\"session\":\"s3\",\"data\":{\"ms\":20}}",
        "{\"type\":\"scheduler.fail\",\"request_id\":\"r4\",\"session\":\"s4\"}",
        "{\"type\":\"scheduler.fail\",\"request_id\":\"r5\"}",
        "{\"type\":\"scheduler.write\",\"request_id\":\"r6\",\"session\":\"s6\",\"measure\":true,\"data\":{\"count\":5}"
        "}",
        NULL};
    static const char *const wanted[] = {
        "debug operation.done session=s1 request=r1 operation=echo attempt=1 ms=0 process",
        "debug operation.done session=s2 request=r2 operation=sleep attempt=1 ms=",
        "debug operation.done session=s3 request=r3 operation=defer attempt=1 ms=",
        "info operation.failed session=s4 request=r4 operation=fail attempt=1 ms=0 "
        "code=CONFLICT message=\"it contradicts what is there\" process",
        "debug operation.failed operation=fail attempt=1 ms=0 code=CONFLICT message=\"it "
        "contradicts what is there\" request=r5 process",
        "request=r6 operation=write attempt=1 ms=0 measure=yes process"};
    char *text = logged_while(asks);
    for (size_t i = 0; i < HEP_COUNT_OF(wanted); i++)
        ck_assert_msg(strstr(text, wanted[i]) != NULL, "%s\nhas no\n%s", text, wanted[i]);
    const char *draining = strstr(text, "domain.draining");
    ck_assert_msg(!draining || !memmem(draining, strcspn(draining, "\n"), "session=", 8), "%s", text);
    free(text);
}
END_TEST

START_TEST(malformed_messages_leave_it_alive)
{
    static const char *const frames[] = {"",     "\xc1", "\xdd\xff\xff\xff\xff", "\x81\xa4type",
                                         "\x90", "\x01", "plain text",           "\x81\xa4type\xc0"};
    static const size_t sizes[] = {0, 1, 5, 6, 1, 1, 10, 7};
    for (size_t i = 0; i < HEP_COUNT_OF(frames); i++) {
        void *answer;
        size_t bytes;
        json_t *reply = NULL;
        ck_assert_ok(hep_rpc_client_call(child.client, frames[i], sizes[i], 5000, &answer, &bytes, error));
        ck_assert_ok(hep_wire_decode(answer, bytes, &reply, error));
        ck_assert(!hep_json_bool(reply, "success", true));
        const char *code = hep_json_str(json_object_get(reply, "error"), "code", "");
        ck_assert_msg(strcmp(code, "BAD_FRAME") == 0 || strcmp(code, "BAD_FIELD") == 0, "%zu: %s", i, code);
        json_decref(reply);
        free(answer);
    }
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.ping\"}"), "");
}
END_TEST

START_TEST(a_reply_that_is_too_large_is_an_error_of_its_own)
{
    char *message = malloc(100200);
    int used = sprintf(message, "{\"type\":\"scheduler.flood\",\"data\":{\"text\":\"");
    memset(message + used, 'x', 100000);
    strcpy(message + used + 100000, "\"}}");
    ck_assert_str_eq(child_error(&child, message), "TOO_LARGE");
    free(message);
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.ping\"}"), "");
}
END_TEST

/* ---- many at once ------------------------------------------------------------------------------------------------ */
enum { MANY = 64 };
static struct outcome {
    atomic_int calls;
    enum hep_status status;
    char code[32]; /* of the error, "" = success */
} outcomes[MANY];
static atomic_int answers;

static void keep_outcome(void *context, enum hep_status status, const void *frame, size_t bytes)
{
    struct outcome *outcome = context;
    json_t *reply = NULL;
    outcome->status = status;
    if (status == HEP_OK && hep_wire_decode(frame, bytes, &reply, NULL) == HEP_OK)
        snprintf(outcome->code, sizeof outcome->code, "%s", hep_json_str(json_object_get(reply, "error"), "code", ""));
    json_decref(reply);
    atomic_fetch_add(&outcome->calls, 1);
    atomic_fetch_add(&answers, 1);
}

static void send_(int slot, const char *message)
{
    json_t *request = json_loads(message, 0, NULL);
    void *frame;
    size_t bytes;
    ck_assert_ok(hep_wire_encode(request, &frame, &bytes, error));
    ck_assert_ok(hep_rpc_client_send(child.client, frame, bytes, 30000, keep_outcome, &outcomes[slot], NULL, error));
    free(frame);
    json_decref(request);
}

static bool wait_answers(int count, int timeout_ms)
{
    int64_t until = hep_now_ms() + timeout_ms;
    while (atomic_load(&answers) < count && hep_now_ms() < until)
        usleep(500);
    return atomic_load(&answers) >= count;
}

START_TEST(sixty_four_requests_at_once_are_all_answered_and_leak_nothing)
{
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.ping\"}"), "");
    int descriptors = child_descriptors(&child);
    for (int round = 1; round <= 10; round++) {
        for (int i = 0; i < MANY; i++)
            send_(i, i % 3 == 0   ? "{\"type\":\"scheduler.ping\"}"
                     : i % 3 == 1 ? "{\"type\":\"scheduler.defer\",\"data\":{\"ms\":5}}"
                                  : "{\"type\":\"scheduler.get_status\"}");
        ck_assert(wait_answers(MANY * round, 20000));
    }
    for (int i = 0; i < MANY; i++)
        ck_assert_msg(outcomes[i].calls == 10 && outcomes[i].status == HEP_OK && !outcomes[i].code[0], "%d %d %s",
                      outcomes[i].calls, outcomes[i].status, outcomes[i].code);
    ck_assert_int_eq(child_descriptors(&child), descriptors);
}
END_TEST

START_TEST(light_operations_answer_while_a_heavy_one_runs)
{
    json_t *reply = NULL, *now = NULL;
    enum hep_status status;
    send_(0, "{\"type\":\"scheduler.sleep\",\"request_id\":\"heavy\",\"session\":\"s9\",\"data\":{\"ms\":3000}}");
    ck_assert_ptr_nonnull(child_report(&child, "begin", "sleep", 2000));
    int64_t began = hep_now_ms();
    send_(1, "{\"type\":\"scheduler.sleep\",\"data\":{\"ms\":0}}");
    send_(2, "{\"type\":\"scheduler.cleanup\"}"); /* what it drops may be in use: it waits for its turn */
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.echo\"}"), "");
    do { /* the second one may take another way through nng's threads */
        json_decref(reply);
        reply = child_ask(&child, "{\"type\":\"scheduler.get_status\"}", &status);
        now = json_object_get(json_object_get(reply, "data"), "status");
    } while (hep_json_int(now, "queue", -1) != 2 && hep_now_ms() - began < 1500);
    ck_assert_int_eq(hep_json_int(now, "queue", -1), 2);
    ck_assert_int_lt(hep_now_ms() - began, 2000);
    ck_assert_int_eq(atomic_load(&answers), 0);
    json_t *hand = json_array_get(json_object_get(now, "in_hand"), 0);
    ck_assert_str_eq(hep_json_str(now, "state", ""), "busy");
    ck_assert_str_eq(hep_json_str(hand, "request_id", ""), "heavy");
    ck_assert_str_eq(hep_json_str(hand, "session", ""), "s9");
    json_decref(reply);
    ck_assert(wait_answers(3, 10000));
}
END_TEST

START_TEST(cancel_ends_the_calls_of_a_session_that_run_wait_or_are_deferred)
{
    send_(0, "{\"type\":\"scheduler.defer\",\"session\":\"s1\",\"data\":{\"ms\":20000}}");
    ck_assert_ptr_nonnull(child_report(&child, "begin", "defer", 5000));
    send_(1, "{\"type\":\"scheduler.sleep\",\"request_id\":\"r1\",\"session\":\"s1\",\"data\":{\"ms\":20000}}");
    ck_assert_ptr_nonnull(child_report(&child, "begin", "sleep", 5000));
    send_(2, "{\"type\":\"scheduler.sleep\",\"request_id\":\"r2\",\"session\":\"s1\",\"data\":{\"ms\":20000}}");
    send_(3, "{\"type\":\"scheduler.sleep\",\"request_id\":\"r3\",\"session\":\"s2\",\"data\":{\"ms\":50}}");
    enum hep_status status;
    json_t *reply = NULL;
    int64_t began = hep_now_ms();
    do { /* r2 may take another way through nng's threads */
        json_decref(reply);
        reply = child_ask(&child, "{\"type\":\"scheduler.cancel\",\"data\":{\"session\":\"s1\",\"request\":\"r2\"}}",
                          &status);
    } while (hep_json_int(json_object_get(reply, "data"), "calls", 0) == 0 && hep_now_ms() - began < 5000);
    ck_assert_int_eq(hep_json_int(json_object_get(reply, "data"), "calls", -1), 1);
    ck_assert_int_eq(atomic_load(&answers), 0); /* it has not begun: it is answered in its turn */
    json_decref(reply);
    reply = child_ask(&child, "{\"type\":\"scheduler.cancel\",\"data\":{\"session\":\"s1\"}}", &status);
    ck_assert_int_eq(hep_json_int(json_object_get(reply, "data"), "calls", -1), 3);
    json_decref(reply);
    ck_assert(wait_answers(4, 5000 * HEP_TEST_SLOW));
    for (int i = 0; i < 3; i++)
        ck_assert_msg(strcmp(outcomes[i].code, "CANCELLED") == 0, "%d: %s", i, outcomes[i].code);
    ck_assert_str_eq(outcomes[3].code, ""); /* another session's */
}
END_TEST

START_TEST(a_crash_is_outcome_unknown_and_its_begin_was_reported)
{
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.crash\",\"request_id\":\"c1\"}"), "OUTCOME_UNKNOWN");
    json_t *begin = child_report(&child, "begin", "crash", 2000);
    ck_assert_str_eq(hep_json_str(begin, "request_id", ""), "c1");
    int status = child_wait(&child, 5000);
    ck_assert(status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
END_TEST

/* ---- the end ----------------------------------------------------------------------------------------------------- */
START_TEST(it_ends_when_the_supervisor_is_gone)
{
    send_(0,
          "{\"type\":\"scheduler.sleep\",\"data\":{\"ms\":20000,\"patient\":true}}"); /* also in the middle of work */
    ck_assert_ptr_nonnull(child_report(&child, "begin", "sleep", 2000));
    close(child.report_fd);
    child.report_fd = -1;
    int64_t began = hep_now_ms();
    ck_assert_int_ne(child_wait(&child, 2000 * HEP_TEST_SLOW), -1);
    ck_assert_int_le(hep_now_ms() - began, 2000 * HEP_TEST_SLOW);
}
END_TEST

START_TEST(sigterm_ends_an_idle_one_at_once)
{
    kill(child.pid, SIGTERM);
    int status = child_wait(&child, 2000 * HEP_TEST_SLOW);
    ck_assert(status != -1 && EXITED_WITH(status, 0));
}
END_TEST

START_TEST(sigterm_lets_what_runs_end_and_delivers_every_answer)
{
    send_(0, "{\"type\":\"scheduler.sleep\",\"data\":{\"ms\":400,\"patient\":true}}");
    ck_assert_ptr_nonnull(child_report(&child, "begin", "sleep", 2000));
    for (int i = 1; i < 8; i++)
        send_(i, "{\"type\":\"scheduler.sleep\",\"data\":{\"ms\":400,\"patient\":true}}"); /* these have not begun */
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.ping\"}"), "");            /* they have arrived */
    kill(child.pid, SIGTERM);
    int status = child_wait(&child, 5000);
    ck_assert(status != -1 && EXITED_WITH(status, 0));
    ck_assert(wait_answers(8, 2000));
    ck_assert_msg(outcomes[0].status == HEP_OK && !outcomes[0].code[0], "%d %s", outcomes[0].status, outcomes[0].code);
    for (int i = 1; i < 8; i++)
        ck_assert_msg(outcomes[i].status == HEP_OK && strcmp(outcomes[i].code, "DOMAIN_DOWN") == 0, "%d: %d %s", i,
                      outcomes[i].status, outcomes[i].code);
}
END_TEST

START_TEST(sigterm_ends_deferred_calls_at_a_boundary)
{
    for (int i = 0; i < 20; i++)
        send_(i, "{\"type\":\"scheduler.defer\",\"data\":{\"ms\":20000}}");
    for (int i = 0; i < 20; i++)
        ck_assert_ptr_nonnull(child_report(&child, "begin", "defer", 5000));
    kill(child.pid, SIGTERM);
    int status = child_wait(&child, 3000 * HEP_TEST_SLOW);
    ck_assert(status != -1 && EXITED_WITH(status, 0));
    ck_assert(wait_answers(20, 2000));
    for (int i = 0; i < 20; i++)
        ck_assert_msg(outcomes[i].calls == 1 && outcomes[i].status == HEP_OK &&
                          strcmp(outcomes[i].code, "CANCELLED") == 0,
                      "%d: %d %s", i, outcomes[i].status, outcomes[i].code);
}
END_TEST

START_TEST(a_supervisor_that_does_not_read_blocks_nobody)
{
    for (int i = 0; i < 400; i++) /* far more reports than the channel and the held list take */
        ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.sleep\",\"data\":{\"ms\":0}}"), "");
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.ping\"}"), "");
    ck_assert_ptr_nonnull(child_report(&child, "begin", "sleep", 1000));
    while (child_report(&child, "status", NULL, 10)) /* read all */
        ;
    ck_assert_ptr_nonnull(child_report(&child, "status", NULL, 5000)); /* and it goes on */
}
END_TEST

START_TEST(progress_while_starting_is_reported_before_ready)
{
    child_end(&child);
    child_start(&child, TEST_INSTRUCTOR, (const char *const[]){"test.slow_start=200", NULL}, false);
    ck_assert_str_eq(hep_json_str(child_report(&child, "starting", NULL, 5000), "note", ""), "slowly");
    ck_assert_ptr_nonnull(child_report(&child, "ready", NULL, 10000));
    ck_assert_str_eq(child_error(&child, "{\"type\":\"scheduler.ping\"}"), "");
}
END_TEST

/* ---- tensors ----------------------------------------------------------------------------------------------------- */
START_TEST(a_tensor_is_measured_then_written_where_the_request_says)
{
    struct hep_segment_name name;
    struct hep_arena_region region = {.dtype = HEP_F32, .shape = HEP_SHAPE(5)};
    uint64_t bytes;
    ck_assert_ok(hep_segment_name_make("skeltest", HEP_SEGMENT_ARENA, "session1", 3, &name, error));
    hep_segment_unlink(&name, NULL);
    ck_assert_ok(hep_arena_plan(&region, 1, &bytes, error));
    ck_assert_ok(hep_arena_create(&name, 1, bytes, error));
    struct hep_tensor_ref ref = hep_arena_ref(&name, &region);
    json_t *message =
        json_pack("{s:s, s:{s:i, s:o}}", "type", "scheduler.write", "data", "count", 5, "out", hep_ref_to_json(&ref));
    char *text = json_dumps(message, 0);
    ck_assert_str_eq(child_error(&child, text), "");
    int fd = shm_open(ref.segment, 0, 0);
    float values[5];
    ck_assert_int_eq(pread(fd, values, sizeof values, (off_t)ref.offset), sizeof values);
    for (int i = 0; i < 5; i++)
        ck_assert_float_eq(values[i], (float)i);
    close(fd);
    ck_assert_ok(hep_segment_unlink(&name, error));
    json_object_set_new(json_object_get(json_object_get(message, "data"), "out"), "segment",
                        json_string("/hep.skeltest.arena.other.3"));
    free(text);
    text = json_dumps(message, 0);
    ck_assert_str_eq(child_error(&child, text), "NOT_FOUND");
    free(text);
    json_decref(message);
}
END_TEST

int main(void)
{
    TCase *alone = tcase_create("alone"), *supervised = tcase_create("supervised");
    tcase_set_timeout(alone, 60);
    tcase_set_timeout(supervised, 60);
    tcase_add_test(alone, its_lines_say_for_which_session_and_request_they_are);
    tcase_add_test(alone, describe_prints_the_table_without_a_supervisor);
    tcase_add_test(alone, a_domain_alone_writes_nothing_into_the_current_folder);
    tcase_add_test(alone, stdio_answers_one_line_for_each_line);
    tcase_add_test(alone, wrong_arguments_and_configuration_end_with_125);
    tcase_add_test(alone, the_door_without_a_supervisor_says_that_it_is_closed);
    tcase_add_loop_test(alone, a_confined_instructor_serves_says_so_and_ends, 0, 2);
    tcase_add_checked_fixture(supervised, start_child, end_child);
    tcase_add_test(supervised, ready_carries_the_table_and_a_ping_comes_back);
    tcase_add_test(supervised, an_operation_is_reported_from_begin_to_end);
    tcase_add_test(supervised, malformed_messages_leave_it_alive);
    tcase_add_test(supervised, a_reply_that_is_too_large_is_an_error_of_its_own);
    tcase_add_test(supervised, sixty_four_requests_at_once_are_all_answered_and_leak_nothing);
    tcase_add_test(supervised, light_operations_answer_while_a_heavy_one_runs);
    tcase_add_test(supervised, cancel_ends_the_calls_of_a_session_that_run_wait_or_are_deferred);
    tcase_add_test(supervised, a_crash_is_outcome_unknown_and_its_begin_was_reported);
    tcase_add_test(supervised, it_ends_when_the_supervisor_is_gone);
    tcase_add_test(supervised, sigterm_ends_an_idle_one_at_once);
    tcase_add_test(supervised, sigterm_lets_what_runs_end_and_delivers_every_answer);
    tcase_add_test(supervised, sigterm_ends_deferred_calls_at_a_boundary);
    tcase_add_test(supervised, a_supervisor_that_does_not_read_blocks_nobody);
    tcase_add_test(supervised, progress_while_starting_is_reported_before_ready);
    tcase_add_test(supervised, a_tensor_is_measured_then_written_where_the_request_says);
    Suite *suite = suite_create("skeleton");
    suite_add_tcase(suite, alone);
    suite_add_tcase(suite, supervised);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
