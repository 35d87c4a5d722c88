/*
 * What the supervisor itself answers under the domains' names: whole jobs, messages, device.optimize; and what it sees
 * to before a request goes to a domain: aliases, references, the form of errors. With the engine on domains without
 * processes (engine_fake.h).
 */
#include "tests/unit/front_client.h"

#include "common/wire.h"
#include "supervisor/front/call.h"
#include "tests/support/check_status.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fake fake;
static struct hep_front *front;
static char control_path[96];

static void open_front(void)
{
    const struct hep_front_options options = {.control_path = control_path};
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    ck_assert_ok(hep_front_create(fake.loop, fake.engine, &options, &front, error));
}

static void setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    fake_setup(&fake, 5);
    snprintf(control_path, sizeof control_path, "%s/control.sock", fake.folder);
    open_front();
}

static void close_front(void)
{
    hep_front_destroy(hep_take(&front));
    fake_crash(&fake);
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

static void request(int fd, const char *id, const char *type, json_t *data)
{
    ck_assert_ptr_nonnull(data);
    front_client_send(fd, json_pack("{s:s, s:s, s:o}", "type", type, "request_id", id, "data", data));
}

static json_t *json(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    ck_assert_msg(value != NULL, "%s", text);
    return value;
}

/* data of a request that must succeed; turn: the clock goes on meanwhile. */
static json_t *ask_at(int fd, const char *type, const char *data, bool turn)
{
    request(fd, "q", type, json(data));
    json_t *reply = front_client_receive(&fake, fd, turn, NULL), *error = json_object_get(reply, "error");
    ck_assert_msg(hep_json_bool(reply, "success", false), "%s %s: %s", type, data, hep_json_str(error, "message", "?"));
    json_t *answer = json_incref(json_object_get(reply, "data"));
    json_decref(reply);
    return answer;
}

static json_t *ask(int fd, const char *type, const char *data)
{
    return ask_at(fd, type, data, true);
}

/* The error of a request that must fail so; new reference. */
static json_t *refuse(int fd, const char *type, const char *data, const char *code, const char *field)
{
    request(fd, "q", type, json(data));
    json_t *reply = front_client_receive(&fake, fd, true, NULL), *error = json_object_get(reply, "error");
    ck_assert_msg(strcmp(hep_json_str(error, "code", ""), code) == 0 &&
                      strcmp(hep_json_str(error, "field", ""), field) == 0,
                  "%s %s: %s %s, not %s %s", type, data, hep_json_str(error, "code", "?"),
                  hep_json_str(error, "field", ""), code, field);
    json_incref(error);
    json_decref(reply);
    return error;
}

static void expect(int fd, const char *type, const char *data, const char *code, const char *field)
{
    json_decref(refuse(fd, type, data, code, field));
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */
START_TEST(a_job_becomes_a_session_and_answers_with_its_id)
{
    char id[HEP_SESSION_ID_MAX];
    int fd = dial();
    json_t *answer = ask(fd, "inference.text2img", "{\"prompt\": \"an apple\", \"seed\": 7, \"priority\": 3}");
    snprintf(id, sizeof id, "%s", hep_json_str(answer, "session_id", ""));
    ck_assert(hep_json_bool(answer, "created", false));
    json_decref(answer);
    json_t *session = fake_get(&fake, id), *configuration = json_object_get(session, "configuration");
    ck_assert_str_eq(hep_json_str(session, "workflow_id", ""), "txt2img");
    ck_assert_int_eq(hep_json_int(session, "priority", 0), 3);
    ck_assert_str_eq(hep_json_str(configuration, "prompt", ""), "an apple");
    ck_assert_int_eq(hep_json_int(configuration, "seed", 0), 7);
    ck_assert_ptr_null(json_object_get(configuration, "priority"));
    json_decref(session);
    const char *both = "{\"configuration\": {\"prompt\": \"a pear\"}, \"idempotency_key\": \"k\"}";
    json_t *first = ask(fd, "inference.text2img", both), *second = ask(fd, "inference.text2img", both);
    ck_assert_str_eq(hep_json_str(first, "session_id", "1"), hep_json_str(second, "session_id", "2"));
    ck_assert(!hep_json_bool(second, "created", true));
    json_decref(first);
    json_decref(second);
    expect(fd, "inference.text2img", "{}", "MISSING_FIELD", "prompt");
    expect(fd, "inference.text2img", "{\"prompt\": \"x\", \"colour\": \"red\"}", "UNKNOWN_FIELD", "colour");
    expect(fd, "inference.text2img", "{\"configuration\": {\"prompt\": \"x\"}, \"seed\": 1}", "UNKNOWN_FIELD", "seed");
    expect(fd, "inference.text2img", "{\"prompt\": \"x\", \"wait\": 61}", "OUT_OF_RANGE", "wait");
    close(fd);
}
END_TEST

START_TEST(under_wait_a_job_answers_with_what_has_become_of_it)
{
    int fd = dial();
    json_t *done = ask(fd, "inference.text2img", "{\"prompt\": \"x\", \"wait\": 60}");
    ck_assert_str_eq(hep_json_str(done, "status", ""), "completed");
    ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(done, "results"), "files")), 1);
    json_decref(done);
    fake_rule(&fake, (struct fake_rule){.type = "inference.generate", .count = 1, .code = HEP_E_UNSUPPORTED});
    json_t *error = refuse(fd, "inference.text2img", "{\"prompt\": \"x\", \"wait\": 60}", "UNSUPPORTED", "");
    ck_assert_msg(strncmp(hep_json_str(error, "message", ""), "session s", 9) == 0, "%s",
                  hep_json_str(error, "message", ""));
    json_decref(error);
    json_t *early = ask(fd, "inference.text2img", "{\"prompt\": \"x\", \"wait\": 0.03}"); /* ms of the fake's clock */
    ck_assert_str_ne(hep_json_str(early, "session_id", ""), "");
    ck_assert_str_ne(hep_json_str(early, "status", ""), "completed");
    json_decref(early);
    close(fd);
}
END_TEST

START_TEST(a_batch_is_one_session_with_all_its_images)
{
    char id[HEP_SESSION_ID_MAX];
    int fd = dial();
    json_t *done =
               ask(fd, "inference.batch_process",
                   "{\"configuration\": {\"prompt\": \"x\", \"steps\": 2}, \"items\": [{\"seed\": 1}, {\"seed\": 5}], "
                   "\"batch_config\": {\"total_images\": 4}, \"priority\": 2, \"wait\": 60}"),
           *results = json_object_get(done, "results");
    ck_assert_str_eq(hep_json_str(done, "workflow_id", ""), "batch");
    ck_assert_int_eq(hep_json_int(done, "priority", 0), 2);
    ck_assert_int_eq(hep_json_int(results, "completed_items", 0), 4);
    ck_assert_uint_eq(json_array_size(json_object_get(results, "files")), 4);
    json_decref(done);
    expect(fd, "inference.batch_process", "{\"prompt\": \"x\", \"items\": [{\"width\": 63}]}", "OUT_OF_RANGE", "width");
    json_t *flat = ask(fd, "inference.batch_process", "{\"prompt\": \"x\", \"ranges\": {\"seed\": [1, 2, 3]}}");
    snprintf(id, sizeof id, "%s", hep_json_str(flat, "session_id", ""));
    json_decref(flat);
    json_t *session = fake_get(&fake, id),
           *common = json_object_get(json_object_get(session, "configuration"), "configuration");
    ck_assert_str_eq(hep_json_str(common, "prompt", ""), "x");
    ck_assert_uint_eq(json_object_size(common), 1);
    json_decref(session);
    expect(fd, "inference.batch_process", "{\"seed\": 1}", "MISSING_FIELD", "prompt");
    expect(fd, "inference.batch_process", "{\"prompt\": \"x\", \"items\": []}", "OUT_OF_RANGE", "items");
    close(fd);
}
END_TEST

START_TEST(a_job_that_is_cancelled_under_wait_says_so)
{
    char data[96];
    int waits = dial(), other = dial();
    fake.step_ms = 1000;
    request(waits, "w", "inference.text2img", json("{\"prompt\": \"x\", \"wait\": 60}"));
    fake_poll(&fake, 5);
    fake_run_to(&fake, HEP_ROLE_CONDITIONING);
    json_t *list = ask(other, "session.list", "{}"), *session = json_array_get(json_object_get(list, "sessions"), 0);
    snprintf(data, sizeof data, "{\"session_id\": \"%s\", \"action\": \"cancel\"}",
             hep_json_str(session, "session_id", ""));
    json_decref(list);
    json_decref(ask(other, "session.control", data));
    json_t *reply = front_client_receive(&fake, waits, true, NULL);
    ck_assert_str_eq(hep_json_str(reply, "request_id", ""), "w");
    ck_assert_str_eq(hep_json_str(json_object_get(reply, "error"), "code", ""), "CANCELLED");
    json_decref(reply);
    close(waits);
    close(other);
}
END_TEST

START_TEST(a_job_without_a_workflow_is_not_built_yet)
{
    static const char *const jobs[] = {"img2img", "inpainting", "controlnet"};
    int fd = dial();
    for (size_t i = 0; i < HEP_COUNT_OF(jobs); i++) {
        char type[64], workflow[64];
        struct hep_workflow *found;
        snprintf(type, sizeof type, "inference.%s", jobs[i]);
        snprintf(workflow, sizeof workflow, "%s", strcmp(jobs[i], "inpainting") == 0 ? "inpaint" : jobs[i]);
        if (hep_workflows_find(fake.engine->workflows, workflow, &found, NULL) == HEP_OK)
            continue; /* it is there by now */
        json_t *error = refuse(fd, type, "{\"prompt\": \"x\"}", "UNSUPPORTED", "");
        ck_assert_ptr_nonnull(strstr(hep_json_str(error, "message", ""), "not built yet"));
        ck_assert_ptr_nonnull(strstr(hep_json_str(error, "hint", ""), "heptctl workflows"));
        json_decref(error);
    }
    close(fd);
}
END_TEST

/* ---- messages ---------------------------------------------------------------------------------------------------- */
static int64_t publish(int fd, const char *data)
{
    json_t *answer = ask_at(fd, "communication.send_message", data, false);
    int64_t id = hep_json_int(answer, "message_id", 0);
    json_decref(answer);
    ck_assert_int_gt(id, 0);
    return id;
}

/* The messages that a subscriber gets at once, as "text text …" of their event.t; *cursor goes on. */
static const char *mail(int fd, const char *subscriber, int64_t *cursor)
{
    static char text[256];
    char data[160];
    size_t index, used = 0;
    json_t *event;
    snprintf(data, sizeof data, "{\"subscriber\": \"%s\", \"after\": %d, \"wait_ms\": 0}", subscriber, (int)*cursor);
    json_t *answer = ask(fd, "communication.receive_message", data);
    text[0] = '\0';
    json_array_foreach(json_object_get(answer, "events"), index, event)
    {
        ck_assert_str_eq(hep_json_str(event, "name", ""), "message");
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? " " : "",
                                 hep_json_str(json_object_get(event, "event"), "t", "?"));
    }
    *cursor = hep_json_int(answer, "cursor", -1);
    json_decref(answer);
    return text;
}

START_TEST(messages_reach_whom_they_are_for_and_survive_a_restart)
{
    int fd = dial();
    int64_t al = 0, bo = 0, before;
    publish(fd, "{\"event\": {\"t\": \"all\"}}");
    publish(fd, "{\"event\": {\"t\": \"bo\"}, \"to\": \"bo\"}");
    ck_assert_str_eq(mail(fd, "al", &al), "all");
    ck_assert_str_eq(mail(fd, "bo", &bo), "all bo");
    ck_assert_str_eq(mail(fd, "bo", &bo), ""); /* each once */
    before = bo;
    close_front();
    close(fd);
    open_front();
    fd = dial();
    publish(fd, "{\"event\": {\"t\": \"later\"}, \"to\": \"bo\"}");
    ck_assert_str_eq(mail(fd, "bo", &before), "later");
    al = 0;
    ck_assert_str_eq(mail(fd, "", &al), "all bo later");
    close(fd);
}
END_TEST

START_TEST(who_waits_for_a_message_is_woken_by_his)
{
    int waits = dial(), other = dial();
    fake_run(&fake, 200);
    request(waits, "w", "communication.wait", json("{\"subscriber\": \"bo\", \"messages\": true, \"wait_ms\": 60000}"));
    fake_poll(&fake, 5);
    publish(other, "{\"event\": {\"t\": \"no\"}, \"to\": \"al\"}");
    ck_assert_ptr_null(front_client_receive(&fake, waits, false, NULL));
    publish(other, "{\"event\": {\"t\": \"yes\"}, \"to\": \"bo\"}");
    json_t *reply = front_client_receive(&fake, waits, false, NULL),
           *events = json_object_get(json_object_get(reply, "data"), "events");
    ck_assert_uint_eq(json_array_size(events), 1);
    ck_assert_str_eq(hep_json_str(json_object_get(json_array_get(events, 0), "event"), "t", ""), "yes");
    json_decref(reply);
    close(waits);
    close(other);
}
END_TEST

START_TEST(an_answer_goes_to_whom_the_message_was_from)
{
    char data[96];
    int fd = dial();
    int64_t question = publish(fd, "{\"event\": {\"t\": \"?\"}, \"to\": \"bo\", \"from\": \"al\"}"), cursor = question,
            others = question;
    snprintf(data, sizeof data, "{\"in_reply_to\": %d, \"event\": {\"t\": \"!\"}, \"from\": \"bo\"}", (int)question);
    json_t *answer = ask(fd, "communication.send_response", data);
    ck_assert_str_eq(hep_json_str(answer, "to", ""), "al");
    json_decref(answer);
    publish(fd, "{\"event\": {\"t\": \"other\"}, \"to\": \"al\"}");
    ck_assert_str_eq(mail(fd, "al", &cursor), "! other");
    ck_assert_str_eq(mail(fd, "bo", &others), "");
    snprintf(data, sizeof data, "{\"in_reply_to\": %d, \"after\": 0, \"wait_ms\": 0}", (int)question);
    json_t *got = ask(fd, "communication.wait", data);
    ck_assert_uint_eq(json_array_size(json_object_get(got, "events")), 1);
    json_decref(got);
    expect(fd, "communication.respond", "{\"in_reply_to\": 99999, \"event\": 1}", "NOT_FOUND", "in_reply_to");
    expect(fd, "communication.respond", "{\"event\": 1}", "MISSING_FIELD", "in_reply_to");
    close(fd);
}
END_TEST

static json_t *big_message(size_t bytes)
{
    char *text = malloc(bytes + 1);
    memset(text, 'x', bytes);
    text[bytes] = '\0';
    json_t *data = json_pack("{s:{s:s}}", "event", "t", text);
    free(text);
    return data;
}

START_TEST(a_message_that_no_reply_could_hold_is_refused)
{
    int fd = dial();
    request(fd, "big", "communication.publish", big_message(65 << 10));
    json_t *reply = front_client_receive(&fake, fd, true, NULL);
    ck_assert_str_eq(hep_json_str(json_object_get(reply, "error"), "code", ""), "TOO_LARGE");
    json_decref(reply);
    expect(fd, "communication.publish", "{\"event\": [[[[[[[1]]]]]]]}", "BAD_FIELD", "event");
    expect(fd, "communication.publish", "{\"to\": \"al\"}", "MISSING_FIELD", "event");
    json_decref(ask(fd, "communication.publish", "{\"event\": [[[[[[1]]]]]]}"));
    json_decref(ask(fd, "events.poll", "{\"after_seq\": 0}"));
    close(fd);
}
END_TEST

/* As many messages as no reply holds are told in several. */
START_TEST(a_page_of_events_fits_into_a_reply)
{
    enum { COUNT = 40 };
    int fd = dial(), seen = 0, pages = 0;
    int64_t after = publish(fd, "{\"event\": {\"t\": \"first\"}}");
    for (int i = 0; i < COUNT; i++) {
        request(fd, "big", "communication.publish", big_message(60 << 10));
        json_t *reply = front_client_receive(&fake, fd, true, NULL);
        ck_assert(hep_json_bool(reply, "success", false));
        json_decref(reply);
    }
    for (; seen < COUNT && pages < 2 * COUNT; pages++) {
        char data[64];
        size_t index;
        json_t *event;
        snprintf(data, sizeof data, "{\"after_seq\": %d, \"limit\": 500}", (int)after);
        json_t *page = ask(fd, "events.poll", data);
        ck_assert_uint_gt(json_array_size(json_object_get(page, "events")), 0);
        json_array_foreach(json_object_get(page, "events"), index, event) seen +=
            strcmp(hep_json_str(event, "name", ""), "message") == 0;
        after = hep_json_int(page, "last_seq", 0);
        json_decref(page);
    }
    ck_assert_int_eq(seen, COUNT);
    close(fd);
}
END_TEST

/* ---- device.optimize ----------------------------------------------------------------------------------------------
 */
static void expect_changes(int fd, const char *data, const char *wanted)
{
    json_t *answer = ask(fd, "device.optimize_settings", data);
    char *text = json_dumps(json_object_get(answer, "changes"), JSON_COMPACT);
    ck_assert_msg(strcmp(text, wanted) == 0, "%s: %s, not %s", data, text, wanted);
    free(text);
    json_decref(answer);
}

START_TEST(optimize_says_what_it_changed_and_it_is_in_force)
{
    int fd = dial();
    fake.cores = fake.cores_all = 8;
    expect_changes(fd, "{\"threads\": 3}", "[{\"setting\":\"threads\",\"old\":8,\"new\":3}]");
    fake_run(&fake, 20);
    ck_assert_int_eq(hep_lease_cores(hep_dispatch_ledger(fake.engine->dispatch)), 3);
    expect_changes(fd, "{\"threads\": 3}", "[]");
    ck_assert_int_eq(fake.cleanups, 0);
    expect_changes(fd, "{\"huge_pages\": \"off\"}", "[{\"setting\":\"huge_pages\",\"old\":\"on\",\"new\":\"off\"}]");
    ck_assert_int_eq(fake.cleanups, 3); /* the domains that have networks open */
    uint64_t generation = fake.engine->domains[HEP_ROLE_INFERENCE].generation;
    expect_changes(fd, "{\"isa\": \"portable\"}", "[{\"setting\":\"isa\",\"old\":\"avx2\",\"new\":\"portable\"}]");
    ck_assert_uint_gt(fake.engine->domains[HEP_ROLE_INFERENCE].generation, generation);
    expect_changes(fd, "{}",
                   "[{\"setting\":\"threads\",\"old\":3,\"new\":8},{\"setting\":\"huge_pages\",\"old\":\"off\",\"new\":"
                   "\"on\"},{\"setting\":\"isa\",\"old\":\"portable\",\"new\":\"avx2\"}]");
    close(fd);
}
END_TEST

START_TEST(optimize_refuses_what_cannot_be)
{
    int fd = dial(), other = dial();
    char id[HEP_SESSION_ID_MAX];
    expect(fd, "device.optimize", "{\"threads\": 5000}", "OUT_OF_RANGE", "threads");
    expect(fd, "device.optimize", "{\"isa\": \"avx512bf16\"}", "UNSUPPORTED_HARDWARE", "isa");
    expect(fd, "device.optimize", "{\"huge_pages\": \"yes\"}", "OUT_OF_RANGE", "huge_pages");
    ck_assert_int_eq(fake.configured, 0);
    fake_execute(&fake, "{\"prompt\": \"x\"}", 0, NULL, id, NULL);
    expect(fd, "device.optimize", "{\"isa\": \"portable\"}", "NOT_NOW", "isa");
    fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
    fake_run(&fake, 200);
    request(fd, "one", "device.optimize", json("{\"threads\": 1}"));
    fake_poll(&fake, 5);
    request(other, "two", "device.optimize", json("{\"threads\": 2}"));
    json_t *second = front_client_receive(&fake, other, false, NULL),
           *first = front_client_receive(&fake, fd, true, NULL);
    ck_assert_str_eq(hep_json_str(json_object_get(second, "error"), "code", ""), "BUSY");
    ck_assert(hep_json_bool(first, "success", false));
    json_decref(first);
    json_decref(second);
    fake.down[HEP_ROLE_MODEL] = true; /* does not come back */
    request(fd, "late", "device.optimize", json("{\"isa\": \"portable\"}"));
    json_t *late = front_client_receive(&fake, fd, true, NULL);
    ck_assert_str_eq(hep_json_str(json_object_get(late, "error"), "code", ""), "TIMEOUT");
    json_decref(late);
    expect(fd, "device.optimize", "{\"threads\": 2, \"device_id\": \"cpu0\", \"mode\": 1}", "UNKNOWN_FIELD", "mode");
    close(fd);
    close(other);
}
END_TEST

START_TEST(an_optimize_in_hand_ends_with_the_daemon)
{
    int fd = dial();
    request(fd, "one", "device.optimize", json("{\"isa\": \"portable\"}"));
    fake_poll(&fake, 5);
    fake_turn(&fake);
    close_front();
    json_t *reply = NULL;
    static char frame[HEP_FRAME_MAX];
    ssize_t bytes = recv(fd, frame, sizeof frame, MSG_DONTWAIT);
    ck_assert_int_gt(bytes, 0);
    ck_assert_ok(hep_wire_decode(frame, (size_t)bytes, &reply, error));
    ck_assert_str_eq(hep_json_str(json_object_get(reply, "error"), "code", ""), "NOT_NOW");
    json_decref(reply);
    close(fd);
    open_front();
}
END_TEST

/* ---- before a request goes to a domain ----------------------------------------------------------------------------
 */
START_TEST(where_is_written_only_the_engine_says)
{
    int fd = dial();
    const char *plan = "{\"scheduler\": \"ddim\", \"plan\": {\"segment\": \"/x\"}}";
    expect(fd, "scheduler.plan", plan, "NOT_ALLOWED", "plan");
    json_decref(ask(fd, "scheduler.plan", "{\"scheduler\": \"ddim\", \"plan\": null}"));
    front_client_send(fd, json_pack("{s:s, s:s, s:b, s:o}", "type", "scheduler.plan", "request_id", "i", "internal", 1,
                                    "data", json("{\"plan\": 1}")));
    json_t *reply = front_client_receive(&fake, fd, true, NULL);
    ck_assert(hep_json_bool(reply, "success", false));
    json_decref(reply);
    close(fd);
}
END_TEST

START_TEST(an_alias_is_allowed_what_its_operation_is)
{
    if (geteuid() != 0)
        return; /* nobody else to be */
    chmod(control_path, 0666);
    chmod(fake.folder, 0755);
    int fd = front_client_dial(&fake, control_path, 65534);
    json_decref(ask(fd, "device.list_devices", "{}"));
    json_decref(ask(fd, "communication.receive_message", "{\"wait_ms\": 0}"));
    expect(fd, "communication.send_message", "{\"event\": 1}", "NOT_ALLOWED", "");
    expect(fd, "device.optimize_device", "{}", "NOT_ALLOWED", "");
    expect(fd, "inference.text2img", "{\"prompt\": \"x\"}", "NOT_ALLOWED", "");
    close(fd);
}
END_TEST

START_TEST(errors_come_in_the_form_that_is_asked_for)
{
    static const struct {
        const char *type, *format, *code;
    } rows[] = {{"model.cook", "alias", "UNKNOWN_ACTION"}, {"inference.cook", "alias", "UNKNOWN_ACTION"},
                {"nonsense", "alias", "INVALID_ACTION"},   {"model.cook", "object", "UNKNOWN_OPERATION"},
                {"session.get", "alias", "MISSING_FIELD"}, {"status.get", "yaml", "OUT_OF_RANGE"}};
    int fd = dial();
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        front_client_send(fd, json_pack("{s:s, s:s}", "type", rows[i].type, "error_format", rows[i].format));
        json_t *reply = front_client_receive(&fake, fd, true, NULL);
        ck_assert_str_eq(hep_json_str(json_object_get(reply, "error"), "code", ""), rows[i].code);
        json_decref(reply);
    }
    front_client_send(fd, json_pack("{s:s, s:s}", "type", "model.cook", "error_format", "string"));
    json_t *reply = front_client_receive(&fake, fd, true, NULL);
    ck_assert_str_eq(hep_json_str(reply, "error", ""), "UNKNOWN_OPERATION: model has no operation \"cook\"");
    json_decref(reply);
    close(fd);
}
END_TEST

START_TEST(a_core_that_leaves_is_granted_to_nobody_else)
{
    struct hep_lease_ledger ledger;
    json_t *all = json("[0, 1, 2, 3, 4, 5, 6, 7]"), *some = json("[0, 1, 2, 3]");
    hep_lease_init(&ledger);
    hep_lease_set_cores(&ledger, all);
    ck_assert(hep_lease_take(&ledger, HEP_ROLE_INFERENCE, false)); /* all eight */
    hep_lease_set_cores(&ledger, some);
    ck_assert_int_eq(hep_lease_cores(&ledger), 4);
    hep_lease_set_cores(&ledger, all); /* the other four are back, and still held */
    ck_assert(!hep_lease_take(&ledger, HEP_ROLE_POSTPROCESSING, true));
    hep_lease_set_cores(&ledger, some);
    hep_lease_give(&ledger, HEP_ROLE_INFERENCE);
    ck_assert_int_eq(ledger.count, 4);
    ck_assert(hep_lease_take(&ledger, HEP_ROLE_POSTPROCESSING, false));
    json_t *lease = hep_lease_to_json(&ledger, HEP_ROLE_POSTPROCESSING);
    ck_assert_uint_eq(json_array_size(json_object_get(lease, "cores")), 4);
    json_decref(lease);
    json_decref(all);
    json_decref(some);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("front names");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_job_becomes_a_session_and_answers_with_its_id);
    tcase_add_test(cases, under_wait_a_job_answers_with_what_has_become_of_it);
    tcase_add_test(cases, a_batch_is_one_session_with_all_its_images);
    tcase_add_test(cases, a_job_that_is_cancelled_under_wait_says_so);
    tcase_add_test(cases, a_job_without_a_workflow_is_not_built_yet);
    tcase_add_test(cases, messages_reach_whom_they_are_for_and_survive_a_restart);
    tcase_add_test(cases, who_waits_for_a_message_is_woken_by_his);
    tcase_add_test(cases, an_answer_goes_to_whom_the_message_was_from);
    tcase_add_test(cases, a_message_that_no_reply_could_hold_is_refused);
    tcase_add_test(cases, a_page_of_events_fits_into_a_reply);
    tcase_add_test(cases, optimize_says_what_it_changed_and_it_is_in_force);
    tcase_add_test(cases, optimize_refuses_what_cannot_be);
    tcase_add_test(cases, an_optimize_in_hand_ends_with_the_daemon);
    tcase_add_test(cases, where_is_written_only_the_engine_says);
    tcase_add_test(cases, an_alias_is_allowed_what_its_operation_is);
    tcase_add_test(cases, errors_come_in_the_form_that_is_asked_for);
    tcase_add_test(cases, a_core_that_leaves_is_granted_to_nobody_else);
    return check_status_run("front names", cases);
}
