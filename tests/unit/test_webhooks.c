/* Webhooks on domains without processes (engine_fake.h): who is told, how it is signed, when it is tried again, and
   that no end goes untold when something dies. */
#include "common/wire.h"
#include "supervisor/engine/webhooks.h"
#include "tests/unit/engine_fake.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET "0123456789abcdef0123"
#define URL    "https://hooks.example.com/done"

static struct fake fake;
static struct hep_error error;
static char secret_file[96];

static void setup(void)
{
    fake_setup(&fake, 1);
    snprintf(secret_file, sizeof secret_file, "%s/secret", fake.folder);
    int fd = open(secret_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert(fd >= 0 && write(fd, SECRET "\n", strlen(SECRET) + 1) > 0);
    close(fd);
}

static void teardown(void)
{
    fake_teardown(&fake);
}

static void start(void)
{
    const struct hep_engine_options options = {.webhook_hosts = "hooks.example.com, .slow.example.com, 127.0.0.1:9000",
                                               .webhook_secret_file = secret_file};
    fake_start(&fake, &options);
}

/* A session with this callback_url; its id. */
static const char *execute(const char *url, const char *key)
{
    static char id[HEP_SESSION_ID_MAX];
    char request[512];
    json_t *reply = NULL;
    snprintf(request, sizeof request,
             "{\"configuration\": {\"prompt\": \"a red apple\", \"steps\": 2, \"seed\": 1}, \"callback_url\": \"%s\","
             " \"key\": \"%s\"}",
             url, key);
    enum hep_status status = fake_request(&fake, request, false, &reply, &error);
    ck_assert_msg(status == HEP_OK, "%s: %s", url, error.message);
    snprintf(id, sizeof id, "%s", hep_json_str(reply, "session_id", ""));
    json_decref(reply);
    return id;
}

static void run_until_deliveries(size_t count)
{
    for (int turn = 0; json_array_size(fake.deliveries) < count; turn++)
        ck_assert_msg(turn < 300000 && fake_turn(&fake), "only %zu deliveries", json_array_size(fake.deliveries));
}

static int waiting(void)
{
    return hep_webhooks_waiting(fake.engine->webhooks);
}

static const json_t *delivery(size_t index)
{
    return json_array_get(fake.deliveries, index);
}

static const char *header(size_t index, const char *name)
{
    return hep_json_str(json_object_get(delivery(index), "headers"), name, "");
}

static json_t *body(size_t index)
{
    json_t *said = json_loads(hep_json_str(delivery(index), "body", ""), 0, NULL);
    ck_assert_ptr_nonnull(said);
    return said;
}

/* ---- who may be told --------------------------------------------------------------------------------------------- */
static const struct {
    const char *hosts;
    bool secret;
    const char *url;
    enum hep_status status;
    const char *hint; /* has this in it */
} refusals[] = {
    {"", true, URL, HEP_E_NOT_ALLOWED, "webhooks.hosts"},
    {NULL, true, "nonsense", HEP_E_NOT_ALLOWED, "webhooks.hosts"},
    {"hooks.example.com", false, URL, HEP_E_NOT_ALLOWED, "webhooks.secret_file"},
    {"hooks.example.com", true, "https://other.example.com/", HEP_E_NOT_ALLOWED, "webhooks.hosts"},
    {"hooks.example.com", true, "https://hooks.example.com:444/", HEP_E_NOT_ALLOWED, "webhooks.hosts"},
    {"hooks.example.com", true, "https://u@hooks.example.com/", HEP_E_BAD_FIELD, "https://"},
    {"hooks.example.com", true, "ftp://hooks.example.com/", HEP_E_BAD_FIELD, "https://"},
    {"hooks.example.com", true, URL, HEP_OK, ""},
    {"hooks.example.com", true, "", HEP_OK, ""},
};

START_TEST(a_callback_url_is_checked_before_anything_is_accepted)
{
    const struct hep_engine_options options = {.webhook_hosts = refusals[_i].hosts,
                                               .webhook_secret_file = refusals[_i].secret ? secret_file : NULL};
    char request[256];
    json_t *reply = NULL;
    fake_start(&fake, &options);
    snprintf(request, sizeof request, "{\"configuration\": {\"prompt\": \"x\"}, \"callback_url\": \"%s\"}",
             refusals[_i].url);
    enum hep_status status = fake_request(&fake, request, false, &reply, &error);
    ck_assert_msg(status == refusals[_i].status, "%s: %s %s", refusals[_i].url, hep_status_name(status), error.message);
    if (status != HEP_OK) {
        ck_assert_str_eq(error.field, "callback_url");
        ck_assert_msg(strstr(error.hint, refusals[_i].hint) != NULL, "%s", error.hint);
        ck_assert_ptr_null(fake.engine->sessions);
    }
    json_decref(reply);
}
END_TEST

START_TEST(a_list_or_a_secret_that_is_wrong_ends_the_start)
{
    struct hep_engine *engine = NULL;
    struct hep_loop *loop = NULL;
    char output[96];
    snprintf(output, sizeof output, "%s/images", fake.folder);
    hep_loop_create(&loop, NULL);
    struct hep_engine_options options = {.instance = fake.instance,
                                         .state_dir = fake.folder,
                                         .workflows_dir = HEP_SOURCE_DIR "/etc/workflows",
                                         .output_dir = output,
                                         .webhook_hosts = "https://x"};
    ck_assert_int_eq(hep_engine_create(loop, &options, &engine, &error), HEP_E_BAD_CONFIG);
    options.webhook_hosts = "x";
    options.webhook_secret_file = "/nowhere/secret";
    ck_assert_int_eq(hep_engine_create(loop, &options, &engine, &error), HEP_E_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.message, "webhooks.secret_file"));
    hep_loop_destroy(loop);
}
END_TEST

START_TEST(the_same_key_with_another_url_is_another_request)
{
    char first[HEP_SESSION_ID_MAX];
    json_t *reply = NULL;
    start();
    snprintf(first, sizeof first, "%s", execute(URL, "k"));
    ck_assert_str_eq(execute(URL, "k"), first);
    ck_assert_int_eq(fake_request(&fake,
                                  "{\"configuration\": {\"prompt\": \"a red apple\", \"steps\": 2, \"seed\": 1}, "
                                  "\"key\": \"k\"}",
                                  false, &reply, &error),
                     HEP_E_CONFLICT);
    json_decref(reply);
}
END_TEST

/* ---- what is told ------------------------------------------------------------------------------------------------ */
START_TEST(the_signature_is_what_the_page_says)
{
    /* python3: hmac.new(b"0123456789abcdef0123", b'1700000000.{"event":"x"}', "sha256").hexdigest() */
    char text[HEP_WEBHOOK_SIGNATURE_MAX];
    ck_assert_int_eq(hep_webhook_sign(SECRET, 1700000000, "{\"event\":\"x\"}", text, &error), HEP_OK);
    ck_assert_str_eq(text, "t=1700000000,v1=7770933a8235b5e0c0b0c7291a51054655dbcb5741f5e959c8b3739cb40f228f");
}
END_TEST

static void check_signature(size_t index)
{
    char again[HEP_WEBHOOK_SIGNATURE_MAX];
    const char *signature = header(index, "Heptad-Signature");
    ck_assert_int_eq(strncmp(signature, "t=", 2), 0);
    ck_assert_int_eq(hep_webhook_sign(SECRET, strtoll(signature + 2, NULL, 10),
                                      hep_json_str(delivery(index), "body", ""), again, &error),
                     HEP_OK);
    ck_assert_str_eq(signature, again);
}

START_TEST(the_end_of_a_session_is_told_once_and_signed)
{
    start();
    char id[HEP_SESSION_ID_MAX];
    snprintf(id, sizeof id, "%s", execute(URL, ""));
    fake_run(&fake, 5000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 1);
    check_signature(0);
    json_t *said = body(0), *session = json_object_get(said, "session"), *view = fake_get(&fake, id);
    ck_assert_str_eq(hep_json_str(delivery(0), "url", ""), URL);
    ck_assert_str_eq(header(0, "Heptad-Event"), "session.completed");
    ck_assert_str_eq(hep_json_str(said, "event", ""), "session.completed");
    ck_assert_str_eq(hep_json_str(said, "delivery_id", ""), header(0, "Heptad-Delivery"));
    ck_assert_int_eq(strlen(hep_json_str(said, "time", "")), strlen("2026-01-31T12:34:56.789Z"));
    ck_assert_str_eq(hep_json_str(session, "session_id", ""), id);
    ck_assert_str_eq(hep_json_str(session, "status", ""), "completed");
    ck_assert_str_eq(hep_json_str(json_object_get(session, "configuration"), "prompt", ""), "a red apple");
    ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(session, "results"), "files")), 1);
    ck_assert(json_equal(json_object_get(session, "results"), json_object_get(view, "results")));
    ck_assert_str_eq(hep_json_str(view, "callback_url", ""), URL);
    ck_assert_uint_eq(json_array_size(json_object_get(view, "webhooks")), 0);
    ck_assert_int_eq(waiting(), 0);
    json_decref(said);
    json_decref(view);
}
END_TEST

START_TEST(nobody_is_told_who_did_not_ask)
{
    char id[HEP_SESSION_ID_MAX];
    start();
    fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 2}", 0, NULL, id, NULL);
    fake_run(&fake, 5000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 0);
    json_t *view = fake_get(&fake, id);
    ck_assert_ptr_null(json_object_get(view, "webhooks"));
    json_decref(view);
}
END_TEST

static void on_batch(void *context, enum hep_status status, json_t *reply, const struct hep_error *why)
{
    ck_assert_msg(status == HEP_OK, "%s", why ? why->message : "");
    snprintf(context, HEP_SESSION_ID_MAX, "%s", hep_json_str(reply, "batch_id", ""));
    json_decref(reply);
}

START_TEST(the_end_of_a_batch_is_told_with_its_items)
{
    char id[HEP_SESSION_ID_MAX] = "";
    json_t *reply = NULL, *request = json_pack("{s:{s:s, s:i}, s:{s:i}, s:s}", "configuration", "prompt", "x", "steps",
                                               2, "batch_config", "total_images", 3, "callback_url", URL);
    start();
    fake_run(&fake, 60);
    hep_engine_create_batch(fake.engine, request, 0, NULL, on_batch, id);
    for (int turn = 0; !id[0] && turn < 10000; turn++)
        fake_turn(&fake);
    ck_assert_int_eq(hep_engine_control_batch(fake.engine, id, "execute", &reply, &error), HEP_OK);
    fake_run(&fake, 20000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 1);
    json_t *said = body(0), *batch = json_object_get(said, "batch");
    ck_assert_str_eq(hep_json_str(said, "event", ""), "batch.completed");
    ck_assert_str_eq(hep_json_str(batch, "batch_id", ""), id);
    ck_assert_int_eq(hep_json_int(batch, "completed_items", 0), 3);
    ck_assert_uint_eq(json_array_size(json_object_get(batch, "items")), 3);
    ck_assert_int_eq(waiting(), 0);
    json_decref(said);
    json_decref(reply);
    json_decref(request);
}
END_TEST

/* ---- again and again --------------------------------------------------------------------------------------------- */
START_TEST(the_waits_grow_to_an_hour_and_make_a_day)
{
    static const int64_t first[] = {1000, 5000, 25000, 125000, 625000, 3125000, 3600000, 3600000};
    int64_t sum = 0;
    for (int i = 0; i < (int)HEP_COUNT_OF(first); i++)
        ck_assert_int_eq(hep_webhook_wait_ms(i + 1), first[i]);
    for (int i = 1; i < HEP_WEBHOOK_ATTEMPTS_MAX; i++)
        sum += hep_webhook_wait_ms(i);
    ck_assert_int_ge(sum, INT64_C(24) * 3600 * 1000);
    ck_assert_int_lt(sum, INT64_C(25) * 3600 * 1000);
}
END_TEST

START_TEST(what_is_not_taken_is_told_again_under_the_same_name)
{
    start();
    char id[HEP_SESSION_ID_MAX];
    fake.http_status = 500;
    snprintf(id, sizeof id, "%s", execute(URL, ""));
    run_until_deliveries(2);
    char *counted = hep_metrics_text(fake.engine);
    ck_assert_ptr_nonnull(strstr(counted, "\nheptad_webhooks_waiting 1\n"));
    free(counted);
    json_t *view = fake_get(&fake, id), *hook = json_array_get(json_object_get(view, "webhooks"), 0);
    ck_assert_str_eq(hep_json_str(hook, "status", ""), "waiting");
    ck_assert_int_eq(hep_json_int(hook, "attempts", 0), 2);
    ck_assert_ptr_nonnull(strstr(hep_json_str(json_object_get(hook, "error"), "message", ""), "500"));
    json_decref(view);
    fake.http_status = 302; /* nor is a redirect a yes */
    run_until_deliveries(3);
    fake.http_status = 200;
    fake_run(&fake, 5000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 4);
    for (size_t i = 0; i < 4; i++) {
        check_signature(i);
        ck_assert_str_eq(header(i, "Heptad-Delivery"), header(0, "Heptad-Delivery"));
        ck_assert_str_eq(hep_json_str(delivery(i), "body", ""), hep_json_str(delivery(0), "body", ""));
    }
    for (size_t i = 1; i < 4; i++) {
        int64_t waited = hep_json_int(delivery(i), "at_ms", 0) - hep_json_int(delivery(i - 1), "at_ms", 0);
        ck_assert_int_ge(waited, hep_webhook_wait_ms((int)i));
        ck_assert_int_lt(waited, hep_webhook_wait_ms((int)i) + 200);
    }
    ck_assert_int_eq(waiting(), 0);
}
END_TEST

static json_t *all_events(void)
{
    static const struct hep_event_filter all = {.session = "", .types = ""};
    uint64_t reached;
    return hep_events_after(fake.engine->events, 0, &all, 10000, &reached);
}

static int events_named(const char *name)
{
    json_t *list = all_events(), *event;
    size_t index;
    int count = 0;
    json_array_foreach(list, index, event) count += strcmp(hep_json_str(event, "name", ""), name) == 0;
    json_decref(list);
    return count;
}

START_TEST(attempts_are_counted_across_a_death)
{
    start();
    char id[HEP_SESSION_ID_MAX];
    fake.http_status = 500;
    snprintf(id, sizeof id, "%s", execute(URL, ""));
    run_until_deliveries(3);
    fake_crash(&fake);
    start();
    json_t *view = fake_get(&fake, id), *hook = json_array_get(json_object_get(view, "webhooks"), 0);
    ck_assert_int_eq(hep_json_int(hook, "attempts", 0), 3);
    ck_assert_int_gt(hep_json_int(hook, "next_try_ms", 0), 20000);
    ck_assert_ptr_nonnull(json_object_get(hook, "error"));
    json_decref(view);
    int64_t began = fake_now(&fake);
    run_until_deliveries(4);
    ck_assert_int_gt(fake_now(&fake) - began, 20000);
    run_until_deliveries(5);
    ck_assert_int_gt(fake_now(&fake) - began, 125000);
}
END_TEST

START_TEST(it_is_given_up_after_a_day_and_says_so)
{
    start();
    char id[HEP_SESSION_ID_MAX];
    fake.http_status = 404;
    snprintf(id, sizeof id, "%s", execute(URL, ""));
    fake_run(&fake, 20000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), HEP_WEBHOOK_ATTEMPTS_MAX);
    ck_assert_int_eq(waiting(), 0);
    ck_assert_int_eq(events_named("webhook.failed"), 1);
    ck_assert_int_eq(events_named("webhook.delivered"), 0);
    char *counted = hep_metrics_text(fake.engine);
    ck_assert_ptr_nonnull(strstr(counted, "\nheptad_webhooks_total{result=\"delivered\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(counted, "\nheptad_webhooks_total{result=\"failed\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(counted, "\nheptad_webhooks_waiting 0\n"));
    free(counted);
    fake_crash(&fake); /* and nothing of it begins again */
    start();
    fake_run(&fake, 5000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), HEP_WEBHOOK_ATTEMPTS_MAX);
    json_t *view = fake_get(&fake, id), *hook = json_array_get(json_object_get(view, "webhooks"), 0);
    ck_assert_str_eq(hep_json_str(hook, "status", ""), "failed");
    ck_assert_int_eq(hep_json_int(hook, "attempts", 0), HEP_WEBHOOK_ATTEMPTS_MAX);
    json_decref(view);
}
END_TEST

/* ---- order ------------------------------------------------------------------------------------------------------- */
START_TEST(a_session_that_fails_and_then_completes_is_told_in_this_order)
{
    start();
    char id[HEP_SESSION_ID_MAX];
    json_t *reply = NULL;
    fake.http_status = 500;
    struct fake_rule *rule =
        fake_rule(&fake, (struct fake_rule){.type = "postprocessing.decode", .count = -1, .code = HEP_E_BAD_FILE});
    snprintf(id, sizeof id, "%s", execute(URL, ""));
    run_until_deliveries(2);
    rule->count = 0;
    for (int turn = 0; hep_engine_control(fake.engine, id, "retry", 0, &reply, &error) != HEP_OK; turn++)
        ck_assert(turn < 1000 && fake_turn(&fake));
    json_decref(reply);
    run_until_deliveries(4);
    fake_crash(&fake); /* the order is the store's, too */
    start();
    fake.http_status = 0;
    fake_run(&fake, 5000);
    size_t count = json_array_size(fake.deliveries);
    ck_assert_str_eq(header(count - 1, "Heptad-Event"), "session.completed");
    ck_assert_str_ne(header(count - 1, "Heptad-Delivery"), header(0, "Heptad-Delivery"));
    for (size_t i = 0; i + 1 < count; i++)
        ck_assert_str_eq(header(i, "Heptad-Event"), "session.failed");
    ck_assert_int_eq(waiting(), 0);
}
END_TEST

/* From the first one on that gets no answer, its host has one in hand. */
static void run_with_silence(int turns)
{
    int before = 0;
    bool silent = false;
    while (turns-- > 0) {
        ck_assert(fake_turn(&fake));
        int now = fake_in_hand_of(HEP_ROLE_COMMUNICATION, "slow.example.com");
        silent = silent || now < before;
        ck_assert_msg(!silent || now <= 1 || now <= before, "%d after %d", now, before);
        before = now;
    }
    ck_assert(silent);
}

START_TEST(who_does_not_answer_keeps_nobody_waiting)
{
    start();
    fake_run(&fake, 60);
    fake.down[HEP_ROLE_COMMUNICATION] = true; /* so that all are due at the same time */
    fake_kill(&fake, HEP_ROLE_COMMUNICATION);
    for (int i = 0; i < 12; i++)
        execute("https://a.slow.example.com/", "");
    for (int i = 0; i < 3; i++)
        execute(URL, "");
    fake_run(&fake, 20000);
    ck_assert_int_eq(waiting(), 15);
    fake_crash(&fake);
    fake.down[HEP_ROLE_COMMUNICATION] = false;
    fake.silent_host = "slow.example.com";
    start();
    run_with_silence(200);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(hep_json_str(delivery(i), "url", ""), URL);
    fake.silent_host = NULL;
    fake_run(&fake, 20000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 15);
    ck_assert_int_eq(waiting(), 0);
}
END_TEST

/* ---- deaths ------------------------------------------------------------------------------------------------------ */
START_TEST(a_domain_that_dies_with_it_in_hand_is_asked_again)
{
    start();
    fake_rule(&fake, (struct fake_rule){.type = "communication.deliver", .count = 2, .dies = true});
    execute(URL, "");
    fake_run(&fake, 5000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 1);
    ck_assert_int_eq(waiting(), 0);
}
END_TEST

START_TEST(what_was_not_sent_is_no_attempt)
{
    start();
    fake_rule(&fake, (struct fake_rule){.type = "communication.deliver", .count = 3, .code = HEP_E_DOMAIN_DOWN});
    execute(URL, "");
    fake_run(&fake, 5000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 1);
    json_t *list = all_events(), *event;
    size_t index;
    json_array_foreach(list, index, event) if (strcmp(hep_json_str(event, "name", ""), "webhook.delivered") == 0)
        ck_assert_int_eq(hep_json_int(event, "attempts", 0), 1);
    json_decref(list);
    ck_assert_int_eq(events_named("webhook.delivered"), 1);
}
END_TEST

START_TEST(while_the_domain_is_down_no_attempt_is_counted)
{
    start();
    fake_run(&fake, 60);
    fake.down[HEP_ROLE_COMMUNICATION] = true;
    fake_kill(&fake, HEP_ROLE_COMMUNICATION);
    char id[HEP_SESSION_ID_MAX];
    snprintf(id, sizeof id, "%s", execute(URL, ""));
    fake_run(&fake, 5000);
    ck_assert_int_eq(waiting(), 1);
    json_t *view = fake_get(&fake, id);
    ck_assert_int_eq(hep_json_int(json_array_get(json_object_get(view, "webhooks"), 0), "attempts", -1), 0);
    json_decref(view);
    fake_crash(&fake);
    fake.down[HEP_ROLE_COMMUNICATION] = false;
    start();
    fake_run(&fake, 5000);
    ck_assert_uint_eq(json_array_size(fake.deliveries), 1);
}
END_TEST

START_TEST(a_supervisor_killed_at_any_turn_tells_every_end)
{
    for (int turns = 20; turns < 260; turns += 3) {
        start();
        json_array_clear(fake.deliveries);
        char id[HEP_SESSION_ID_MAX];
        snprintf(id, sizeof id, "%s", execute(URL, ""));
        for (int turn = 0; turn < turns; turn++)
            fake_turn(&fake);
        if (turns % 2)
            fake_kill(&fake, HEP_ROLE_COMMUNICATION);
        fake_crash(&fake);
        start();
        fake_run(&fake, 5000);
        size_t count = json_array_size(fake.deliveries);
        ck_assert_msg(count == 1 || count == 2, "killed after %d turns: told %zu times", turns, count);
        ck_assert_str_eq(header(count - 1, "Heptad-Delivery"), header(0, "Heptad-Delivery"));
        ck_assert_int_eq(waiting(), 0);
        fake_crash(&fake);
    }
    start();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("webhooks");
    TCase *all = tcase_create("webhooks");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_set_timeout(all, 120);
    suite_add_tcase(suite, all);
    tcase_add_loop_test(all, a_callback_url_is_checked_before_anything_is_accepted, 0, HEP_COUNT_OF(refusals));
    tcase_add_test(all, a_list_or_a_secret_that_is_wrong_ends_the_start);
    tcase_add_test(all, the_same_key_with_another_url_is_another_request);
    tcase_add_test(all, the_signature_is_what_the_page_says);
    tcase_add_test(all, the_end_of_a_session_is_told_once_and_signed);
    tcase_add_test(all, nobody_is_told_who_did_not_ask);
    tcase_add_test(all, the_end_of_a_batch_is_told_with_its_items);
    tcase_add_test(all, the_waits_grow_to_an_hour_and_make_a_day);
    tcase_add_test(all, what_is_not_taken_is_told_again_under_the_same_name);
    tcase_add_test(all, attempts_are_counted_across_a_death);
    tcase_add_test(all, it_is_given_up_after_a_day_and_says_so);
    tcase_add_test(all, a_session_that_fails_and_then_completes_is_told_in_this_order);
    tcase_add_test(all, who_does_not_answer_keeps_nobody_waiting);
    tcase_add_test(all, a_domain_that_dies_with_it_in_hand_is_asked_again);
    tcase_add_test(all, what_was_not_sent_is_no_attempt);
    tcase_add_test(all, while_the_domain_is_down_no_attempt_is_counted);
    tcase_add_test(all, a_supervisor_killed_at_any_turn_tells_every_end);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
