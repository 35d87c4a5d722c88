/* The front's two sockets, with the engine on domains without processes (engine_fake.h). */
#include "tests/unit/front_client.h"

#include "common/wire.h"
#include "supervisor/front/call.h"
#include "tests/support/reply_check.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fake fake;
static struct hep_front *front;
static char control_path[96], front_path[96], log_path[96];
static int stops;
static bool reload_fails;

static json_t *say_config(void *context)
{
    (void)context;
    return json_pack("{s:{s:i}, s:s, s:{}}", "config", "http.port", 7780, "file", "", "waiting");
}

static enum hep_status say_reload(void *context, json_t **reply, struct hep_error *error)
{
    (void)context;
    if (reload_fails) {
        hep_fail(error, HEP_E_BAD_CONFIG, "x.conf:7: http.port: \"x\" is not an integer");
        return hep_hint(error, "write digits only");
    }
    *reply = json_pack("{s:s, s:[{s:s, s:s, s:s, s:s}]}", "file", "/x.conf", "changes", "key", "log.level", "from",
                       "info", "to", "debug", "waits_for", "");
    return HEP_OK;
}

static void count_stop(void *context, int64_t drain_ms)
{
    (void)context, (void)drain_ms;
    stops++;
}

static void successor_is_good(void *context)
{
    (void)context;
    if (front)
        hep_front_upgrade_checked(front, HEP_OK, NULL);
}

static enum hep_status check_successor(void *context, struct hep_error *error)
{
    (void)context, (void)error;
    hep_loop_post(fake.loop, successor_is_good, NULL);
    return HEP_OK;
}

static void open_front(void)
{
    struct hep_error error;
    struct hep_front_options options = {.front_path = front_path,
                                        .control_path = control_path,
                                        .log_path = log_path,
                                        .config = say_config,
                                        .reload = say_reload,
                                        .stop = count_stop,
                                        .upgrade = check_successor};
    ck_assert_msg(hep_front_create(fake.loop, fake.engine, &options, &front, &error) == HEP_OK, "%s", error.message);
}

static void setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    stops = 0;
    reload_fails = false;
    fake_setup(&fake, 3);
    chmod(fake.folder, 0700);
    snprintf(control_path, sizeof control_path, "%s/control.sock", fake.folder);
    snprintf(front_path, sizeof front_path, "%s/front.sock", fake.folder);
    snprintf(log_path, sizeof log_path, "%s/heptad.log", fake.folder);
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    open_front();
}

static void teardown(void)
{
    hep_front_destroy(front);
    fake_teardown(&fake);
}

/* ---- a client ---------------------------------------------------------------------------------------------------- */
static int dial(void)
{
    return front_client_dial(&fake, control_path, geteuid());
}

static void send_request(int fd, const char *id, const char *type, const char *data)
{
    json_t *value = json_loads(data, 0, NULL);
    ck_assert_ptr_nonnull(value);
    front_client_send(fd, json_pack("{s:s, s:s, s:o}", "type", type, "request_id", id, "data", value));
}

static const struct hep_operation *row_of(const char *type)
{
    for (const struct hep_front_table *table = hep_front_tables; table->prefix; table++) {
        size_t length = strlen(table->prefix);
        if (strncmp(type, table->prefix, length) == 0 && type[length] == '.')
            return hep_operation_find(table->operations, type + length + 1);
    }
    return NULL; /* a domain's */
}

/* Every answer of the supervisor's own is what its table says. */
static void check_answer(const char *type, const json_t *answer)
{
    const struct hep_operation *row = answer ? row_of(type) : NULL;
    const char *wrong = row ? reply_check(row, answer) : "";
    ck_assert_msg(!wrong[0], "%s: %s", type, wrong);
}

/* {…data} of a request that must succeed, or the error's code. */
static json_t *ask(int fd, const char *type, const char *data, const char **code)
{
    static char name[64];
    send_request(fd, "q", type, data);
    json_t *reply = front_client_receive(&fake, fd, true, NULL);
    ck_assert_msg(reply != NULL, "%s is not answered", type);
    ck_assert_str_eq(hep_json_str(reply, "request_id", ""), "q");
    json_t *answer = json_object_get(reply, "data") ? json_incref(json_object_get(reply, "data")) : NULL;
    snprintf(name, sizeof name, "%s", hep_json_str(json_object_get(reply, "error"), "code", ""));
    if (code)
        *code = name;
    else
        ck_assert_msg(answer != NULL, "%s: %s", type, hep_json_str(json_object_get(reply, "error"), "message", ""));
    check_answer(type, answer);
    json_decref(reply);
    return answer;
}

static void expect_code(int fd, const char *type, const char *data, const char *expected)
{
    const char *code;
    json_t *answer = ask(fd, type, data, &code);
    ck_assert_msg(strcmp(code, expected) == 0, "%s %s: %s, not %s", type, data, code, expected);
    json_decref(answer);
}

/* The whole error of a request that must fail. */
static json_t *ask_error(int fd, const char *type, const char *data)
{
    send_request(fd, "q", type, data);
    json_t *reply = front_client_receive(&fake, fd, true, NULL), *error = json_object_get(reply, "error");
    ck_assert_msg(error != NULL, "%s %s is no error", type, data);
    json_incref(error);
    json_decref(reply);
    return error;
}

static void expect_hint(int fd, const char *type, const char *data, const char *part)
{
    json_t *error = ask_error(fd, type, data);
    const char *hint = hep_json_str(error, "hint", "");
    ck_assert_msg(strstr(hint, part) != NULL, "%s %s: \"%s\" has no %s", type, data, hint, part);
    json_decref(error);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */
START_TEST(five_mistakes_are_five_errors)
{
    int fd = dial();
    expect_code(fd, "kitchen.cook", "{}", "UNKNOWN_DOMAIN");
    expect_code(fd, "model.cook", "{}", "UNKNOWN_OPERATION");
    expect_code(fd, "session.cook", "{}", "UNKNOWN_OPERATION");
    expect_code(fd, "session.get", "{\"session\": \"x\"}", "UNKNOWN_FIELD");
    expect_code(fd, "session.get", "{}", "MISSING_FIELD");
    expect_code(fd, "session.get", "{\"session_id\": 5}", "BAD_FIELD");
    expect_code(fd, "session.list", "{\"limit\": 0}", "OUT_OF_RANGE");
    expect_code(fd, "session.get", "{\"session_id\": \"nobody\"}", "NOT_FOUND");
    expect_code(fd, "nonsense", "{}", "BAD_FIELD");
    fake.down[HEP_ROLE_MODEL] = true;
    fake_kill(&fake, HEP_ROLE_MODEL);
    expect_code(fd, "model.info", "{}", "DOMAIN_DOWN");
    expect_code(fd, "model.cook", "{}", "UNKNOWN_OPERATION"); /* still known */
    hep_engine_drain(fake.engine);
    expect_code(fd, "device.list", "{}", "NOT_NOW");
    close(fd);
}
END_TEST

START_TEST(each_hint_says_what_helps_there)
{
    int fd = dial();
    expect_hint(fd, "session.list", "{\"x\": 1}", "see `heptctl operations session.list`");
    expect_hint(fd, "session.get", "{\"session_id\": \"nobody\"}", "`heptctl sessions`");
    expect_hint(fd, "session.delete", "{\"session_id\": \"nobody\"}", "`heptctl sessions`");
    expect_hint(fd, "workflow.get", "{\"workflow_id\": \"nobody\"}", "`heptctl workflows`");
    expect_hint(fd, "kitchen.cook", "{}",
                "communication; and heptad's own: workflow, session, input, preview, "
                "batch, status,");
    expect_hint(fd, "session.cook", "{}", "see `heptctl operations session`");
    static const char *const parameters[] = {"{\"configuration\": {\"prompt\": 1}}", "{\"configuration\": {}}",
                                             "{\"configuration\": {\"prompt\": \"x\", \"num_inference_steps\": 0}}"};
    for (size_t i = 0; i < HEP_COUNT_OF(parameters); i++) {
        expect_hint(fd, "workflow.execute", parameters[i], "`heptctl workflows txt2img`");
        expect_hint(fd, "workflow.execute", parameters[i], "GET /api/processing/workflows/txt2img");
    }
    expect_hint(fd, "workflow.execute", "{\"configuration\": {\"prompt\": \"x\", \"y\": 1}}", "it has: prompt,");
    expect_hint(fd, "workflow.execute", "{\"configuration\": {}, \"x\": 1}",
                "see `heptctl operations workflow.execute`");
    fake_rule(&fake, (struct fake_rule){.type = "model.load", .count = 1, .dies = true});
    expect_hint(fd, "model.load", "{}", "not asked again by itself");
    close(fd);
}
END_TEST

START_TEST(a_domain_that_is_down_is_named_with_its_next_try)
{
    int fd = dial();
    fake.down[HEP_ROLE_MODEL] = true;
    fake_kill(&fake, HEP_ROLE_MODEL);
    json_t *error = ask_error(fd, "model.info", "{}");
    ck_assert_str_eq(hep_json_str(error, "code", ""), "DOMAIN_DOWN");
    ck_assert_str_eq(hep_json_str(error, "domain", ""), "model");
    ck_assert_str_eq(hep_json_str(error, "operation", ""), "info");
    ck_assert_int_eq(hep_json_int(error, "retry_after_ms", 0), 20);
    ck_assert_ptr_nonnull(strstr(hep_json_str(error, "hint", ""), "in 20 ms by itself"));
    json_decref(error);
    fake.given_up = true;
    error = ask_error(fd, "model.info", "{}");
    ck_assert_ptr_nonnull(strstr(hep_json_str(error, "hint", ""), "not started again by itself"));
    ck_assert_ptr_nonnull(strstr(hep_json_str(error, "hint", ""), "`heptctl restart model`"));
    ck_assert_int_eq(hep_json_int(error, "retry_after_ms", 0), 60000);
    json_decref(error);
    error = ask_error(fd, "workflow.execute", "{\"configuration\": {\"prompt\": \"x\", \"model\": \"never-seen\"}}");
    ck_assert_str_eq(hep_json_str(error, "code", ""), "DOMAIN_DOWN");
    ck_assert_str_eq(hep_json_str(error, "domain", ""), "model");
    json_decref(error);
    close(fd);
}
END_TEST

START_TEST(the_sentence_of_status_is_whole_and_names_incidents)
{
    int fd = dial();
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        fake.down[role] = true;
        fake_kill(&fake, (enum hep_role)role);
    }
    fake.long_cause = true;
    fake_run(&fake, 100);
    json_t *status = ask(fd, "status.get", "{}", NULL), *incidents = ask(fd, "domain.incidents", "{}", NULL);
    const char *line = hep_json_str(status, "line", ""), *last = strstr(line, "communication ");
    ck_assert_uint_gt(strlen(line), 7 * 200);
    ck_assert_msg(last && line[strlen(line) - 1] == ')', "%s", line);
    for (size_t i = 0; i < HEP_ROLE_COUNT; i++) {
        const json_t *domain = json_array_get(json_object_get(status, "domains"), i),
                     *incident = json_array_get(json_object_get(incidents, "incidents"), HEP_ROLE_COUNT - 1 - i);
        ck_assert_int_gt(hep_json_int(domain, "incident", 0), 0);
        ck_assert_int_eq(hep_json_int(domain, "incident", 0), hep_json_int(incident, "incident", 0));
        ck_assert_str_eq(hep_json_str(domain, "domain", ""), hep_json_str(incident, "domain", "?"));
    }
    json_decref(status);
    json_decref(incidents);
    close(fd);
}
END_TEST

START_TEST(a_request_goes_to_its_domain_and_back)
{
    int fd = dial();
    json_t *answer = ask(fd, "model.info", "{\"model\": \"emoji\"}", NULL);
    ck_assert_str_eq(hep_json_str(answer, "name", ""), "emoji");
    json_decref(answer);
    fake_rule(&fake, (struct fake_rule){.type = "device.select", .count = 1, .code = HEP_E_NO_MEMORY});
    expect_code(fd, "device.select", "{}", "NO_MEMORY");
    fake_rule(&fake, (struct fake_rule){.type = "model.load", .count = 1, .dies = true});
    expect_code(fd, "model.load", "{}", "OUTCOME_UNKNOWN"); /* nobody asks an operator's request again */
    close(fd);
}
END_TEST

START_TEST(every_answer_is_what_its_table_says)
{
    static const char *const datas[][2] = {
        {"session.get", "{\"session_id\": \"%s\"}"},
        {"session.wait", "{\"session_id\": \"%s\"}"},
        {"workflow.get", "{\"workflow_id\": \"txt2img\"}"},
        {"workflow.put", "{\"workflow_id\": \"w\", \"workflow\": {\"steps\": [{\"id\": \"a\", \"type\": \"device\", "
                         "\"operation\": \"list\"}]}}"},
        {"workflow.check", "{\"workflow\": {\"extends\": \"nobody\"}}"},
        {"workflow.delete", "{\"workflow_id\": \"w\"}"},
        {"workflow.validate", "{\"configuration\": {\"prompt\": \"x\"}}"},
        {"workflow.execute", "{\"configuration\": {\"prompt\": \"x\"}}"},
        {"input.put", "{\"upload\": \"u\", \"data\": \"YWJj\", \"end\": true}"},
        {"input.get", "{\"input\": \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}"},
        {"batch.create", "{\"configuration\": {\"prompt\": \"x\"}}"},
        {"batch.get", "{\"batch_id\": \"%s\"}"},
        {"batch.execute", "{\"batch_id\": \"%s\"}"},
        {"batch.control", "{\"batch_id\": \"%s\", \"action\": \"cancel\"}"},
        {"batch.delete", "{\"batch_id\": \"%s\"}"},
        {"inference.text2img", "{\"prompt\": \"x\"}"},
        {"inference.batch_process", "{\"prompt\": \"x\"}"},
        {"communication.publish", "{\"event\": 1}"},
        {"domain.restart", "{\"domain\": \"device\"}"}};
    char id[HEP_SESSION_ID_MAX], batch[HEP_SESSION_ID_MAX];
    int fd = dial();
    FILE *log = fopen(log_path, "w");
    fputs("one\ntwo\nthree\n", log);
    fclose(log);
    fake_execute(&fake, "{\"prompt\": \"x\"}", 0, NULL, id, NULL);
    fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
    fake_run(&fake, 200);
    json_t *made = ask(fd, "batch.create", "{\"configuration\": {\"prompt\": \"x\"}}", NULL);
    snprintf(batch, sizeof batch, "%s", hep_json_str(made, "batch_id", ""));
    json_decref(made);
    json_decref(ask(fd, "inference.text2img", "{\"prompt\": \"x\", \"wait\": 60}", NULL));
    for (const struct hep_front_table *table = hep_front_tables; table->prefix; table++)
        for (const struct hep_operation *row = table->operations; row->name; row++) {
            char type[64], data[256] = "{}";
            snprintf(type, sizeof type, "%s.%s", table->prefix, row->name);
            for (size_t i = 0; i < HEP_COUNT_OF(datas); i++)
                if (strcmp(datas[i][0], type) == 0)
                    snprintf(data, sizeof data, datas[i][1], strncmp(type, "batch.", 6) == 0 ? batch : id);
            if (strcmp(table->prefix, "inference") == 0 && strcmp(row->name, "text2img") != 0 &&
                strcmp(row->name, "batch_process") != 0)
                continue; /* their workflows are not there */
            if (strcmp(type, "communication.respond") == 0) {
                json_t *message = ask(fd, "communication.publish", "{\"event\": 1}", NULL);
                snprintf(data, sizeof data, "{\"event\": 1, \"in_reply_to\": %d}",
                         (int)hep_json_int(message, "message_id", 0));
                json_decref(message);
            }
            if (strcmp(type, "session.control") == 0 || strcmp(type, "session.delete") == 0 ||
                strcmp(type, "preview.get") == 0)
                continue; /* the session has ended, and is still needed */
            json_t *answer = ask(fd, type, data, NULL);
            ck_assert_int_ne(row->help[0], 0);
            json_decref(answer);
        }
    ck_assert_int_eq(stops, 1);
    close(fd);
}
END_TEST

START_TEST(a_deleted_session_is_gone_and_a_running_one_is_not)
{
    char id[HEP_SESSION_ID_MAX], data[96];
    int fd = dial();
    fake_execute(&fake, "{\"prompt\": \"x\"}", 0, NULL, id, NULL);
    snprintf(data, sizeof data, "{\"session_id\": \"%s\"}", id);
    expect_code(fd, "session.delete", data, "NOT_NOW");
    fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
    fake_run(&fake, 200);
    json_decref(ask(fd, "session.delete", data, NULL));
    expect_code(fd, "session.get", data, "NOT_FOUND");
    expect_code(fd, "session.delete", data, "NOT_FOUND");
    close(fd);
}
END_TEST

/* The number behind "heptad_requests_total{what}" of metrics.get; 0 if there is no such line. */
static int requests(int fd, const char *what)
{
    char wanted[160];
    snprintf(wanted, sizeof wanted, "\nheptad_requests_total{%s} ", what);
    json_t *answer = ask(fd, "metrics.get", "{}", NULL);
    const char *line = strstr(hep_json_str(answer, "text", ""), wanted);
    int count = line ? atoi(line + strlen(wanted)) : 0;
    json_decref(answer);
    return count;
}

START_TEST(the_supervisors_own_operations_are_counted_by_their_results)
{
    int fd = dial();
    expect_code(fd, "session.get", "{\"session_id\": \"nobody\"}", "NOT_FOUND");
    expect_code(fd, "session.get", "{\"session_id\": \"nobody\"}", "NOT_FOUND");
    expect_code(fd, "session.cook", "{}", "UNKNOWN_OPERATION");
    expect_code(fd, "device.reserve", "{\"session\": \"x\", \"memory_bytes\": 1}", "NOT_ALLOWED");
    json_decref(ask(fd, "session.list", "{}", NULL));
    json_decref(ask(fd, "device.list", "{}", NULL));
    ck_assert_int_eq(requests(fd, "domain=\"supervisor\",operation=\"session.get\",result=\"NOT_FOUND\""), 2);
    ck_assert_int_eq(requests(fd, "domain=\"supervisor\",operation=\"session.list\",result=\"ok\""), 1);
    ck_assert_int_eq(requests(fd, "domain=\"unknown\",operation=\"unknown\",result=\"UNKNOWN_OPERATION\""), 1);
    ck_assert_int_eq(requests(fd, "domain=\"device\",operation=\"reserve\",result=\"NOT_ALLOWED\""), 1);
    ck_assert_int_eq(requests(fd, "domain=\"supervisor\",operation=\"device.list\",result=\"ok\""), 0);
    ck_assert_int_eq(requests(fd, "domain=\"device\",operation=\"list\",result=\"ok\""),
                     2); /* at its READY, and ours */
    ck_assert_int_eq(requests(fd, "domain=\"supervisor\",operation=\"metrics.get\",result=\"ok\""), 6);
    close(fd);
}
END_TEST

START_TEST(the_log_has_its_last_lines)
{
    int fd = dial();
    FILE *log = fopen(log_path, "w");
    for (int i = 0; i < 1000; i++)
        fprintf(log, "line %d\n", i);
    fclose(log);
    json_t *answer = ask(fd, "log.tail", "{\"lines\": 2}", NULL), *lines = json_object_get(answer, "lines");
    ck_assert_int_eq(json_array_size(lines), 2);
    ck_assert_str_eq(json_string_value(json_array_get(lines, 0)), "line 998");
    ck_assert_str_eq(json_string_value(json_array_get(lines, 1)), "line 999");
    json_decref(answer);
    unlink(log_path);
    expect_code(fd, "log.tail", "{}", "NOT_FOUND");
    close(fd);
}
END_TEST

START_TEST(the_log_has_one_sessions_lines)
{
    enum { LINES = 40000 }; /* 2 MB: many pieces */
    int fd = dial();
    FILE *log = fopen(log_path, "w");
    for (int i = 0; i < LINES; i++)
        fprintf(log, "t info event.x session=s%d request=e%d %s\n", i % 1000 == 7 ? 1 : i % 10 + 10, i,
                "filled with words");
    fputs("t info event.x n=1 session=s1\nt info event.x session=s1 has no end", log);
    fclose(log);
    json_t *answer = ask(fd, "log.tail", "{\"lines\": 5, \"session\": \"s1\"}", NULL),
           *lines = json_object_get(answer, "lines");
    ck_assert_uint_eq(json_array_size(lines), 5);
    for (int i = 0; i < 3; i++) {
        char wanted[96];
        snprintf(wanted, sizeof wanted, "t info event.x session=s1 request=e%d filled with words", (37 + i) * 1000 + 7);
        ck_assert_str_eq(json_string_value(json_array_get(lines, (size_t)i)), wanted);
    }
    ck_assert_str_eq(json_string_value(json_array_get(lines, 3)), "t info event.x n=1 session=s1");
    ck_assert_str_eq(json_string_value(json_array_get(lines, 4)), "t info event.x session=s1 has no end");
    json_decref(answer);
    answer = ask(fd, "log.tail", "{\"lines\": 1000, \"session\": \"s1\"}", NULL); /* all, also the first line's */
    lines = json_object_get(answer, "lines");
    ck_assert_uint_eq(json_array_size(lines), LINES / 1000 + 2);
    ck_assert_ptr_nonnull(strstr(json_string_value(json_array_get(lines, 0)), "request=e7 "));
    json_decref(answer);
    answer = ask(fd, "log.tail", "{\"session\": \"s2\"}", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "lines")), 0);
    json_decref(answer);
    answer = ask(fd, "log.tail", "{\"lines\": 1000}", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "lines")), 1000);
    json_decref(answer);
    close(fd);
}
END_TEST

START_TEST(a_wait_ends_with_a_change_while_others_are_answered)
{
    char id[HEP_SESSION_ID_MAX], data[128];
    int fd = dial();
    fake_execute(&fake, "{\"prompt\": \"x\"}", 0, NULL, id, NULL);
    json_t *view = fake_get(&fake, id);
    snprintf(data, sizeof data, "{\"session_id\": \"%s\", \"after_seq\": %d, \"timeout_ms\": 60000}", id,
             (int)hep_json_int(view, "seq", 0));
    json_decref(view);
    send_request(fd, "wait", "session.wait", data);
    send_request(fd, "poll", "events.poll", "{\"wait_ms\": 60000}");
    send_request(fd, "now", "workflow.list", "{}");
    json_t *reply = front_client_receive(&fake, fd, false, NULL);
    ck_assert_str_eq(hep_json_str(reply, "request_id", ""), "now");
    json_decref(reply);
    ck_assert_ptr_null(front_client_receive(&fake, fd, false, NULL)); /* nothing has changed */
    bool seen[2] = {false, false};
    for (int i = 0; i < 2; i++) {
        reply = front_client_receive(&fake, fd, true, NULL);
        ck_assert_ptr_nonnull(reply);
        seen[strcmp(hep_json_str(reply, "request_id", ""), "poll") == 0] = true;
        ck_assert(hep_json_bool(reply, "success", false));
        json_decref(reply);
    }
    ck_assert(seen[0] && seen[1]);
    ck_assert_int_lt(fake_now(&fake), 30000); /* not the end of the wait */
    close(fd);
}
END_TEST

START_TEST(a_wait_ends_with_its_time)
{
    int fd = dial();
    fake_run(&fake, 1000);
    send_request(fd, "poll", "events.poll", "{\"wait_ms\": 500}");
    json_t *reply = front_client_receive(&fake, fd, true, NULL);
    ck_assert_int_eq(json_array_size(json_object_get(json_object_get(reply, "data"), "events")), 0);
    ck_assert(json_is_integer(json_object_get(json_object_get(reply, "data"), "last_seq")));
    json_decref(reply);
    close(fd);
}
END_TEST

START_TEST(events_come_in_order_by_their_numbers)
{
    char id[HEP_SESSION_ID_MAX], data[64];
    int fd = dial();
    fake_execute(&fake, "{\"prompt\": \"x\"}", 0, NULL, id, NULL);
    fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
    int64_t seq = 0;
    for (int page = 0; page < 100; page++) {
        snprintf(data, sizeof data, "{\"after_seq\": %d, \"limit\": 5}", (int)seq);
        json_t *answer = ask(fd, "events.poll", data, NULL), *event;
        size_t index;
        json_array_foreach(json_object_get(answer, "events"), index, event)
        {
            ck_assert_int_gt(hep_json_int(event, "seq", 0), seq);
            seq = hep_json_int(event, "seq", 0);
        }
        size_t count = json_array_size(json_object_get(answer, "events"));
        ck_assert_int_eq(hep_json_int(answer, "last_seq", 0), seq);
        json_decref(answer);
        if (count == 0)
            break;
    }
    ck_assert_int_gt(seq, 20);
    close(fd);
}
END_TEST

START_TEST(events_of_a_session_are_waited_for_while_others_come)
{
    char id[HEP_SESSION_ID_MAX], data[160];
    int fd = dial();
    fake_run(&fake, 1000);
    fake_execute(&fake, "{\"prompt\": \"x\"}", 0, NULL, id, NULL);
    snprintf(data, sizeof data, "{\"session_id\": \"%s\", \"types\": \"session.state\", \"wait_ms\": 60000}", id);
    send_request(fd, "mine", "events.poll", data);
    send_request(fd, "none", "events.poll", "{\"session_id\": \"none\", \"wait_ms\": 2000}");
    json_t *reply = front_client_receive(&fake, fd, true, NULL),
           *mine = json_object_get(json_object_get(reply, "data"), "events");
    ck_assert_str_eq(hep_json_str(reply, "request_id", ""), "mine");
    ck_assert_uint_eq(json_array_size(mine), 1);
    ck_assert_str_eq(hep_json_str(json_array_get(mine, 0), "to", ""), "completed");
    json_decref(reply);
    reply = front_client_receive(&fake, fd, true, NULL);
    ck_assert_str_eq(hep_json_str(reply, "request_id", ""), "none");
    ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(reply, "data"), "events")), 0);
    ck_assert_int_gt(hep_json_int(json_object_get(reply, "data"), "last_seq", 0),
                     10); /* those of others were looked at */
    json_decref(reply);
    expect_code(fd, "events.poll", "{\"types\": \"a,,b\"}", "BAD_FIELD");
    close(fd);
}
END_TEST

/* ---- what peers do ----------------------------------------------------------------------------------------------- */
static const struct {
    const char *name;
    const char *bytes;
    size_t count;
} malformed[] = {
    {"an array of four billion", "\xdd\xff\xff\xff\xff", 5},
    {"a map of four billion", "\xdf\xff\xff\xff\xff", 5},
    {"a string of four billion", "\xdb\xff\xff\xff\xff", 5},
    {"a cut string", "\xa5hel", 4},
    {"a cut map", "\x81\xa4type", 6},
    {"bytes after the end", "\x80\x80", 2},
    {"a reserved tag", "\xc1", 1},
    {"a binary value", "\x81\xa4type\xc4\x01x", 9},
    {"an extension", "\xd4\x01\x02", 3},
    {"a key that is no string", "\x81\x01\x02", 3},
    {"NaN", "\x81\xa4type\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", 15},
    {"not UTF-8", "\x81\xa4type\xa2\xff\xfe", 9},
    {"deep nesting", "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x90", 21},
    {"a key twice", "\x82\xa1q\x01\xa1q\x02", 7},
};

START_TEST(a_malformed_frame_drops_its_connection_only)
{
    int good = dial(), bad = dial();
    bool closed = false;
    ck_assert_int_eq(send(bad, malformed[_i].bytes, malformed[_i].count, 0), (ssize_t)malformed[_i].count);
    ck_assert_ptr_null(front_client_receive(&fake, bad, false, &closed));
    ck_assert_msg(closed, "%s", malformed[_i].name);
    close(bad);
    json_decref(ask(good, "workflow.list", "{}", NULL));
    int another = dial();
    json_decref(ask(another, "workflow.list", "{}", NULL));
    close(good);
    close(another);
}
END_TEST

START_TEST(a_frame_that_is_too_large_drops_its_connection)
{
    bool closed = false;
    size_t bytes = HEP_FRAME_MAX + 1;
    char *frame = calloc(1, bytes);
    int fd = dial();
    ssize_t sent = send(fd, frame, bytes, 0);
    free(frame);
    if (sent < 0) {
        close(fd);
        return; /* this system does not even take it */
    }
    ck_assert_ptr_null(front_client_receive(&fake, fd, false, &closed));
    ck_assert(closed);
    close(fd);
}
END_TEST

START_TEST(a_message_of_a_wrong_form_is_answered)
{
    int fd = dial();
    front_client_send(fd, json_pack("[i]", 1));
    json_t *reply = front_client_receive(&fake, fd, false, NULL);
    ck_assert_str_eq(hep_json_str(json_object_get(reply, "error"), "code", ""), "BAD_FIELD");
    json_decref(reply);
    static const struct {
        const char *message, *code, *field;
    } wrong[] = {
        {"{\"type\": \"status.get\", \"request_id\": 7}", "BAD_FIELD", "request_id"},
        {"{\"type\": 5}", "BAD_FIELD", "type"},
        {"{\"type\": \"status.get\", \"session\": []}", "BAD_FIELD", "session"},
        {"{\"type\": \"status.get\", \"error_format\": 1}", "BAD_FIELD", "error_format"},
        {"{\"type\": \"status.get\", \"data\": [1]}", "BAD_FIELD", "data"},
        {"{\"type\": \"status.get\", \"limit\": 3}", "UNKNOWN_FIELD", "limit"},
        {"{\"type\": \"device.list\", \"lease\": {}}", "UNKNOWN_FIELD", "lease"},
        {"{\"request_id\": \"7\"}", "MISSING_FIELD", "type"},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        front_client_send(fd, json_loads(wrong[i].message, 0, NULL));
        reply = front_client_receive(&fake, fd, false, NULL);
        const json_t *error = json_object_get(reply, "error");
        ck_assert_msg(strcmp(hep_json_str(error, "code", ""), wrong[i].code) == 0 &&
                          strcmp(hep_json_str(error, "field", ""), wrong[i].field) == 0,
                      "%s: %s %s", wrong[i].message, hep_json_str(error, "code", ""), hep_json_str(error, "field", ""));
        json_decref(reply);
    }
    front_client_send(fd, json_pack("{s:s}", "request_id", "7"));
    reply = front_client_receive(&fake, fd, false, NULL);
    ck_assert_str_eq(hep_json_str(json_object_get(reply, "error"), "code", ""), "MISSING_FIELD");
    ck_assert_str_eq(hep_json_str(reply, "request_id", ""), "7");
    json_decref(reply);
    front_client_send(fd, json_pack("{s:s, s:s}", "type", "model.cook", "error_format", "string"));
    reply = front_client_receive(&fake, fd, false, NULL);
    ck_assert_ptr_nonnull(strstr(hep_json_str(reply, "error", ""), "UNKNOWN_OPERATION: "));
    json_decref(reply);
    close(fd);
}
END_TEST

START_TEST(a_peer_that_does_not_read_is_dropped)
{
    int slow = dial(), good = dial();
    bool dropped = false;
    for (int i = 0; i < 20000 && !dropped; i++) {
        json_t *message = json_pack("{s:s, s:s}", "type", "domain.describe", "request_id", "s");
        void *frame;
        size_t bytes;
        hep_wire_encode(message, &frame, &bytes, NULL);
        json_decref(message);
        if (send(slow, frame, bytes, MSG_DONTWAIT) < 0 && errno != EAGAIN)
            dropped = true;
        free(frame);
        fake_poll(&fake, 0);
    }
    ck_assert(dropped);
    json_decref(ask(good, "workflow.list", "{}", NULL));
    close(slow);
    close(good);
}
END_TEST

START_TEST(too_many_requests_of_one_connection_are_refused)
{
    int fd = dial();
    fake_run(&fake, 1000);
    for (int i = 0; i <= HEP_CONNECTION_CALLS_MAX; i++)
        send_request(fd, "w", "events.poll", "{\"wait_ms\": 60000}");
    for (int i = 0; i < 100; i++)
        fake_poll(&fake, 0);
    json_t *reply = front_client_receive(&fake, fd, false, NULL);
    ck_assert_str_eq(hep_json_str(json_object_get(reply, "error"), "code", ""), "BUSY");
    json_decref(reply);
    close(fd);
    fake_poll(&fake, 1);
    fake_poll(&fake, 1);
    ck_assert_int_eq(front->call_count, 0); /* nobody waits for them any more */
}
END_TEST

START_TEST(a_peer_that_goes_while_a_domain_works_is_forgotten)
{
    int fd = dial();
    send_request(fd, "x", "model.info", "{}");
    fake_poll(&fake, 1);
    ck_assert_int_eq(front->call_count, 1);
    close(fd);
    fake_poll(&fake, 1);
    fake_run(&fake, 100);
    ck_assert_int_eq(front->call_count, 0);
    ck_assert_int_eq(front->connection_count, 0);
}
END_TEST

START_TEST(another_user_may_look_and_change_nothing)
{
    if (geteuid() != 0)
        return; /* nobody else to be */
    chmod(control_path, 0666);
    chmod(fake.folder, 0755);
    int fd = front_client_dial(&fake, control_path, 65534);
    json_decref(ask(fd, "status.get", "{}", NULL));
    json_decref(ask(fd, "model.info", "{}", NULL));
    json_decref(ask(fd, "metrics.get", "{}", NULL));
    expect_code(fd, "log.tail", "{\"session\": \"s1\"}", "NOT_ALLOWED");
    expect_code(fd, "daemon.stop", "{}", "NOT_ALLOWED");
    expect_code(fd, "workflow.execute", "{\"configuration\": {}}", "NOT_ALLOWED");
    expect_code(fd, "model.load", "{}", "NOT_ALLOWED");
    ck_assert_int_eq(stops, 0);
    close(fd);
}
END_TEST

/* The error's code, "" if it worked; hint: of the error. */
static const char *ask_internal(int fd, bool internal, char *hint, size_t size)
{
    static char code[64];
    front_client_send(fd, json_pack("{s:s, s:s, s:b, s:{s:s, s:i}}", "type", "device.reserve", "request_id", "i",
                                    "internal", internal, "data", "session", "ghost", "memory_bytes", 5));
    json_t *reply = front_client_receive(&fake, fd, true, NULL), *error = json_object_get(reply, "error");
    snprintf(code, sizeof code, "%s", hep_json_str(error, "code", ""));
    snprintf(hint, size, "%s", hep_json_str(error, "hint", ""));
    json_decref(reply);
    return code;
}

START_TEST(what_is_internal_must_be_asked_for_as_such)
{
    char hint[256];
    int fd = dial();
    ck_assert_str_eq(ask_internal(fd, false, hint, sizeof hint), "NOT_ALLOWED");
    ck_assert_msg(strstr(hint, "--internal") != NULL, "%s", hint);
    ck_assert_str_eq(ask_internal(fd, true, hint, sizeof hint), "");
    ck_assert_str_eq(ask_internal(fd, false, hint, sizeof hint), "NOT_ALLOWED"); /* each time anew */
    close(fd);
    if (geteuid() != 0)
        return;
    chmod(control_path, 0666);
    chmod(fake.folder, 0755);
    fd = front_client_dial(&fake, control_path, 65534);
    ck_assert_str_eq(ask_internal(fd, true, hint, sizeof hint), "NOT_ALLOWED");
    close(fd);
}
END_TEST

START_TEST(a_reservation_of_no_session_is_taken_back)
{
    char id[HEP_SESSION_ID_MAX];
    const struct hep_proc_events *events = hep_engine_events(fake.engine);
    ck_assert_str_ne(fake_execute(&fake, "{\"prompt\": \"x\"}", 0, NULL, id, NULL), "");
    fake.released[0] = '\0';
    json_t *report = json_pack("{s:s, s:{s:i}}", "kind", "status", "reservations", id, 7);
    events->report(events->context, HEP_ROLE_DEVICE, fake.engine->domains[HEP_ROLE_DEVICE].generation, report);
    fake_run(&fake, 5);
    ck_assert_str_eq(fake.released, "");
    json_object_set_new(json_object_get(report, "reservations"), "ghost", json_integer(5));
    events->report(events->context, HEP_ROLE_DEVICE, fake.engine->domains[HEP_ROLE_DEVICE].generation, report);
    for (int i = 0; i < 50 && !fake.released[0]; i++)
        fake_run(&fake, 1);
    ck_assert_str_eq(fake.released, "ghost");
    json_decref(report);
}
END_TEST

/* As heptad-inference reports one. */
static void report_preview(enum hep_role role, const char *session, int image, int width, const char *png)
{
    const struct hep_proc_events *events = hep_engine_events(fake.engine);
    json_t *report =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:s}", "kind", "preview", "session", session, "image", image,
                  "denoising_step", 3, "denoising_steps", 20, "width", width, "height", 64, "png", png);
    events->report(events->context, role, fake.engine->domains[role].generation, report);
    json_decref(report);
}

static void expect_preview(json_t *previews, size_t index, int number, const char *png)
{
    const json_t *preview = json_array_get(previews, index);
    ck_assert_int_eq(hep_json_int(preview, "number", 0), number);
    ck_assert_str_eq(hep_json_str(preview, "png", ""), png);
}

START_TEST(the_newest_preview_of_a_session_is_there_while_it_runs)
{
    char id[HEP_SESSION_ID_MAX], data[80];
    int fd = dial();
    fake_execute(&fake, "{\"prompt\": \"x\", \"previews\": true}", 0, NULL, id, NULL);
    snprintf(data, sizeof data, "{\"session_id\": \"%s\"}", id);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    expect_code(fd, "preview.get", data, "NOT_FOUND");
    send_request(fd, "waits", "preview.poll", "{\"wait_ms\": 60000}");
    report_preview(HEP_ROLE_SCHEDULER, id, 0, 64, "bm8="); /* not of whoever makes it */
    report_preview(HEP_ROLE_INFERENCE, "none", 0, 64, "bm8=");
    report_preview(HEP_ROLE_INFERENCE, id, 0, 65, "bm8="); /* more pixels than there may be */
    report_preview(HEP_ROLE_INFERENCE, id, 64, 64, "bm8=");
    report_preview(HEP_ROLE_INFERENCE, id, 0, 64, "");
    report_preview(HEP_ROLE_INFERENCE, id, 0, 64, "b25l");
    json_t *reply = front_client_receive(&fake, fd, true, NULL), *answer = json_object_get(reply, "data");
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "previews")), 1);
    expect_preview(json_object_get(answer, "previews"), 0, 1, "b25l");
    ck_assert_int_eq(hep_json_int(answer, "last", 0), 1);
    json_decref(reply);
    report_preview(HEP_ROLE_INFERENCE, id, 1, 64, "dHdv");
    answer = ask(fd, "preview.get", data, NULL);
    ck_assert_str_eq(hep_json_str(answer, "png", ""), "dHdv");
    ck_assert_int_eq(hep_json_int(answer, "image", 0), 1);
    json_decref(answer);
    answer = ask(fd, "preview.poll", "{\"after\": 1}", NULL);
    expect_preview(json_object_get(answer, "previews"), 0, 2, "dHdv");
    json_decref(answer);
    answer = ask(fd, "preview.poll", "{\"after\": 2}", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "previews")), 0);
    json_decref(answer);
    fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
    expect_hint(fd, "preview.get", data, "completed");
    close(fd);
}
END_TEST

START_TEST(there_is_no_preview_of_what_must_be_judged)
{
    char id[HEP_SESSION_ID_MAX], data[80];
    int fd = dial();
    fake_execute(&fake, "{\"prompt\": \"x\", \"previews\": true}", 0, NULL, id, NULL);
    snprintf(data, sizeof data, "{\"session_id\": \"%s\"}", id);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    fake.engine->safety = HEP_SAFETY_BLUR;
    report_preview(HEP_ROLE_INFERENCE, id, 0, 64, "b25l");
    expect_hint(fd, "preview.get", data, "blur");
    fake.engine->safety = HEP_SAFETY_OFF;
    json_object_set_new(hep_engine_find(fake.engine, id)->configuration, "safety", json_string("refuse"));
    report_preview(HEP_ROLE_INFERENCE, id, 0, 64, "b25l");
    expect_hint(fd, "preview.get", data, "refuse");
    close(fd);
}
END_TEST

START_TEST(a_reload_says_what_changed_or_what_is_wrong)
{
    int fd = dial();
    json_t *says = ask(fd, "config.reload", "{}", NULL);
    ck_assert_str_eq(hep_json_str(json_array_get(json_object_get(says, "changes"), 0), "key", ""), "log.level");
    json_decref(says);
    reload_fails = true;
    expect_code(fd, "config.reload", "{}", "BAD_CONFIG");
    close(fd);
}
END_TEST

START_TEST(the_control_socket_is_for_owner_and_group)
{
    struct stat about;
    ck_assert_int_eq(stat(control_path, &about), 0);
    ck_assert_int_eq(about.st_mode & 0777, 0660);
}
END_TEST

START_TEST(the_end_of_the_front_answers_what_waits)
{
    int fd = dial();
    fake_run(&fake, 1000);
    send_request(fd, "w", "events.poll", "{\"wait_ms\": 60000}");
    send_request(fd, "d", "model.info", "{}");
    fake_poll(&fake, 1);
    fake_poll(&fake, 1);
    ck_assert_int_eq(front->call_count, 2);
    hep_front_destroy(front);
    char frame[4096];
    for (int i = 0; i < 2; i++) {
        ssize_t bytes = recv(fd, frame, sizeof frame, 0);
        json_t *reply;
        ck_assert_int_gt(bytes, 0);
        ck_assert_int_eq(hep_wire_decode(frame, (size_t)bytes, &reply, NULL), HEP_OK);
        ck_assert_str_eq(hep_json_str(json_object_get(reply, "error"), "code", ""), "NOT_NOW");
        json_decref(reply);
    }
    fake_run(&fake, 100); /* the domain's answer comes, to nobody */
    close(fd);
    open_front();
}
END_TEST

/* ---- the front socket -------------------------------------------------------------------------------------------- */
struct got {
    _Atomic bool there;
    enum hep_status status;
    char code[64];
};

static void on_got(void *context, enum hep_status status, const void *frame, size_t bytes)
{
    struct got *got = context;
    json_t *reply = NULL;
    got->status = status;
    if (status == HEP_OK && hep_wire_decode(frame, bytes, &reply, NULL) == HEP_OK)
        snprintf(got->code, sizeof got->code, "%s",
                 hep_json_bool(reply, "success", false) ? "OK"
                                                        : hep_json_str(json_object_get(reply, "error"), "code", "?"));
    json_decref(reply);
    got->there = true;
}

static void ask_front(struct hep_rpc_client *client, const void *frame, size_t bytes, const char *expected)
{
    struct got got = {0};
    struct hep_rpc_pending *pending;
    struct hep_error error;
    ck_assert_int_eq(hep_rpc_client_send(client, frame, bytes, 5000, on_got, &got, &pending, &error), HEP_OK);
    for (int i = 0; i < 5000 && !got.there; i++) {
        fake_poll(&fake, 1);
        fake_turn(&fake);
    }
    ck_assert(got.there);
    ck_assert_int_eq(got.status, HEP_OK);
    ck_assert_str_eq(got.code, expected);
}

START_TEST(the_door_asks_with_the_permission_of_a_client)
{
    static const char *const rows[][3] = {{"status.get", "{}", "OK"},
                                          {"model.info", "{}", "OK"},
                                          {"daemon.stop", "{}", "NOT_ALLOWED"},
                                          {"config.get", "{}", "NOT_ALLOWED"},
                                          {"workflow.execute", "{\"configuration\": {\"prompt\": \"x\"}}", "OK"},
                                          {"workflow.execute", "{\"configuration\": {\"prompt\": 1}}", "BAD_FIELD"}};
    struct hep_rpc_client *client;
    struct hep_error error;
    ck_assert_int_eq(hep_rpc_client_create(front_path, &client, &error), HEP_OK);
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        json_t *message = json_pack("{s:s, s:s, s:o}", "type", rows[i][0], "request_id", "1", "data",
                                    json_loads(rows[i][1], 0, NULL));
        void *frame;
        size_t bytes;
        ck_assert_int_eq(hep_wire_encode(message, &frame, &bytes, &error), HEP_OK);
        ask_front(client, frame, bytes, rows[i][2]);
        json_decref(message);
        free(frame);
    }
    for (size_t i = 0; i < HEP_COUNT_OF(malformed); i++)
        ask_front(client, malformed[i].bytes, malformed[i].count, "BAD_FRAME");
    hep_rpc_client_destroy(client);
}
END_TEST

START_TEST(an_upgrade_is_answered_when_the_check_is_done_or_the_front_ends)
{
    int fd = dial();
    json_t *answer = ask(fd, "daemon.upgrade", "{}", NULL);
    ck_assert(hep_json_bool(answer, "upgrading", false));
    json_decref(answer);
    send_request(fd, "q", "daemon.upgrade", "{}");
    fake_poll(&fake, 0);
    hep_front_destroy(front); /* before the check is done */
    front = NULL;
    close(fd);
}
END_TEST

START_TEST(a_drained_daemon_holds_and_refuses_until_it_is_undrained)
{
    int fd = dial();
    json_decref(ask(fd, "daemon.drain", "{}", NULL));
    json_t *status = ask(fd, "status.get", "{}", NULL);
    ck_assert_str_eq(hep_json_str(status, "state", ""), "drained");
    json_decref(status);
    expect_code(fd, "workflow.execute", "{\"configuration\": {\"prompt\": \"x\"}}", "BUSY");
    json_decref(ask(fd, "daemon.undrain", "{}", NULL));
    json_decref(ask(fd, "workflow.execute", "{\"configuration\": {\"prompt\": \"x\"}}", NULL));
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("front");
    TCase *cases = tcase_create("front");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, five_mistakes_are_five_errors);
    tcase_add_test(cases, each_hint_says_what_helps_there);
    tcase_add_test(cases, a_domain_that_is_down_is_named_with_its_next_try);
    tcase_add_test(cases, the_sentence_of_status_is_whole_and_names_incidents);
    tcase_add_test(cases, a_request_goes_to_its_domain_and_back);
    tcase_add_test(cases, an_upgrade_is_answered_when_the_check_is_done_or_the_front_ends);
    tcase_add_test(cases, a_drained_daemon_holds_and_refuses_until_it_is_undrained);
    tcase_add_test(cases, every_answer_is_what_its_table_says);
    tcase_add_test(cases, a_deleted_session_is_gone_and_a_running_one_is_not);
    tcase_add_test(cases, the_supervisors_own_operations_are_counted_by_their_results);
    tcase_add_test(cases, the_log_has_its_last_lines);
    tcase_add_test(cases, the_log_has_one_sessions_lines);
    tcase_add_test(cases, a_wait_ends_with_a_change_while_others_are_answered);
    tcase_add_test(cases, a_wait_ends_with_its_time);
    tcase_add_test(cases, events_come_in_order_by_their_numbers);
    tcase_add_test(cases, events_of_a_session_are_waited_for_while_others_come);
    tcase_add_loop_test(cases, a_malformed_frame_drops_its_connection_only, 0, (int)HEP_COUNT_OF(malformed));
    tcase_add_test(cases, a_frame_that_is_too_large_drops_its_connection);
    tcase_add_test(cases, a_message_of_a_wrong_form_is_answered);
    tcase_add_test(cases, a_peer_that_does_not_read_is_dropped);
    tcase_add_test(cases, too_many_requests_of_one_connection_are_refused);
    tcase_add_test(cases, a_peer_that_goes_while_a_domain_works_is_forgotten);
    tcase_add_test(cases, another_user_may_look_and_change_nothing);
    tcase_add_test(cases, the_control_socket_is_for_owner_and_group);
    tcase_add_test(cases, what_is_internal_must_be_asked_for_as_such);
    tcase_add_test(cases, a_reservation_of_no_session_is_taken_back);
    tcase_add_test(cases, the_newest_preview_of_a_session_is_there_while_it_runs);
    tcase_add_test(cases, there_is_no_preview_of_what_must_be_judged);
    tcase_add_test(cases, a_reload_says_what_changed_or_what_is_wrong);
    tcase_add_test(cases, the_end_of_the_front_answers_what_waits);
    tcase_add_test(cases, the_door_asks_with_the_permission_of_a_client);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
