/* Steps of workflows that are batches (batch_step.h), on domains without processes: their session waits for the images,
   takes what a person asks of it to them, and is one session with one batch whenever something dies. */
#include "common/log.h"
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/unit/engine_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIVE                                                                                                           \
    "{\"workflow_id\": \"batch\", \"configuration\": {\"configuration\": {\"prompt\": \"x\", \"steps\": 3}, "          \
    "\"ranges\": {\"seed\": [1, 2, 3, 4, 5]}}}"

static struct fake fake;
static json_t *reply, *view;
static char id[HEP_SESSION_ID_MAX];

static void setup(void)
{
    hep_log_init("test", getenv("HEP_TEST_LOG") ? HEP_DEBUG : HEP_LOG_LEVEL_COUNT);
    fake_setup(&fake, 1);
    reply = view = NULL;
}

static void teardown(void)
{
    json_decref(reply);
    json_decref(view);
    fake_teardown(&fake);
}

static enum hep_status ask(const char *request)
{
    struct hep_error error;
    json_decref(hep_take(&reply));
    enum hep_status status = fake_request(&fake, request, false, &reply, &error);
    snprintf(id, sizeof id, "%s", hep_json_str(reply, "session_id", ""));
    return status;
}

static json_t *results(void)
{
    json_decref(hep_take(&view));
    view = fake_get(&fake, id);
    return json_object_get(view, "results");
}

static void nothing(void *context)
{
    (void)context;
}

static void control(const char *action)
{
    struct hep_error error = {0};
    json_t *said = NULL;
    ck_assert_msg(hep_engine_control(fake.engine, id, action, 0, &said, &error) == HEP_OK, "%s", error.message);
    json_decref(said);
}

static json_t *batches(void)
{
    json_t *list = NULL;
    ck_assert_int_eq(hep_engine_list_batches(fake.engine, "", "", 100, &list, NULL), HEP_OK);
    json_t *rows = json_incref(json_object_get(list, "batches"));
    json_decref(list);
    return rows;
}

/* How many batches there are, the state of the newest, and how many sessions there are in all, 0 = any. */
static void expect(size_t batch_count, const char *state, size_t session_count)
{
    const struct hep_engine_filter all = {
        .status = "", .workflow_id = "", .created_after = "", .created_before = "", .cursor = "", .limit = 100};
    json_t *rows = batches(), *sessions = NULL;
    ck_assert_uint_eq(json_array_size(rows), batch_count);
    ck_assert_str_eq(hep_json_str(json_array_get(rows, 0), "status", ""), state);
    ck_assert_int_eq(hep_engine_list(fake.engine, &all, &sessions, NULL), HEP_OK);
    if (session_count)
        ck_assert_uint_eq(json_array_size(json_object_get(sessions, "sessions")), session_count);
    json_decref(sessions);
    json_decref(rows);
}

START_TEST(a_session_has_the_images_of_its_batch)
{
    fake_start(&fake, NULL);
    ck_assert_int_eq(ask(FIVE), HEP_OK);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    ck_assert_uint_eq(json_array_size(json_object_get(results(), "files")), 5);
    ck_assert_int_eq(hep_json_int(results(), "completed_items", 0), 5);
    expect(1, "completed", 6);
    ck_assert_int_eq(ask("{\"workflow_id\": \"prompt-matrix\", \"configuration\": {\"prompt\": \"a|b\", \"seed\": 7, "
                         "\"configuration\": {\"steps\": 2}}}"),
                     HEP_OK);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    ck_assert_uint_eq(json_array_size(json_object_get(results(), "files")), 2);
}
END_TEST

START_TEST(a_supervisor_killed_at_any_turn_makes_each_image_once)
{
    for (int turns = 1; turns < 330; turns += 41) {
        fake_start(&fake, NULL);
        fake_run(&fake, 60);
        ck_assert_int_eq(ask(FIVE), HEP_OK);
        for (int turn = 0; turn < turns; turn++)
            fake_turn(&fake);
        fake_crash(&fake);
        fake_start(&fake, NULL);
        ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
        ck_assert_uint_eq(json_array_size(json_object_get(results(), "files")), 5);
        expect(1, "completed", 6);
        teardown();
        setup();
    }
}
END_TEST

START_TEST(pause_resume_and_cancel_are_its_batchs)
{
    fake_start(&fake, NULL);
    ck_assert_int_eq(ask(FIVE), HEP_OK);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    control("pause");
    fake_run(&fake, 2000);
    expect(1, "paused", 0);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    fake_run(&fake, 2000);
    expect(1, "paused", 0);
    control("resume");
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    expect(1, "running", 0);
    control("cancel");
    fake_run(&fake, 2000);
    expect(1, "cancelled", 0);
    ck_assert_ptr_null(fake.engine->sessions);
}
END_TEST

/* The newest batch: its items {item, status, session_id, files}; a new reference. */
static json_t *items(void)
{
    const struct hep_batch_page page = {.after = -1, .limit = 100};
    json_t *rows = batches(), *batch = NULL;
    hep_engine_get_batch(fake.engine, hep_json_str(json_array_get(rows, 0), "batch_id", ""), &page, &batch, NULL);
    json_t *list = batch ? json_incref(json_object_get(batch, "items")) : json_array();
    json_decref(batch);
    json_decref(rows);
    return list;
}

/* Those that are done; a new reference. */
static json_t *done_items(void)
{
    json_t *all = items(), *done = json_array(), *item;
    size_t index;
    json_array_foreach(all, index, item) if (strcmp(hep_json_str(item, "status", ""), "completed") == 0)
        json_array_append(done, item);
    json_decref(all);
    return done;
}

static void run_until_done(size_t count)
{
    for (;;) {
        json_t *done = done_items();
        size_t there = json_array_size(done);
        json_decref(done);
        if (there >= count)
            return;
        ck_assert(fake_turn(&fake));
    }
}

/* What was done has the same session and files; and none is there twice. */
static void expect_kept(const json_t *before)
{
    json_t *after = items(), *item;
    size_t index;
    json_array_foreach(before, index, item)
    {
        json_t *kept = json_array_get(after, (size_t)hep_json_int(item, "item", -1));
        ck_assert_str_eq(hep_json_str(kept, "session_id", ""), hep_json_str(item, "session_id", "?"));
        ck_assert(json_equal(json_object_get(kept, "files"), json_object_get(item, "files")));
    }
    ck_assert_uint_eq(json_array_size(after), 5);
    json_array_foreach(after, index, item) ck_assert_str_eq(hep_json_str(item, "status", ""), "completed");
    json_decref(after);
    ck_assert_uint_eq(json_array_size(json_object_get(results(), "files")), 5);
    ck_assert_int_eq(hep_json_int(results(), "completed_items", 0), 5);
}

START_TEST(a_retry_makes_only_what_was_not_done_whenever_the_supervisor_dies)
{
    for (int turns = 0; turns < 160; turns += 37) {
        fake_start(&fake, NULL);
        fake_run(&fake, 60);
        ck_assert_int_eq(ask(FIVE), HEP_OK);
        run_until_done(2);
        control("cancel");
        fake_run(&fake, 2000);
        json_t *done = done_items();
        ck_assert_uint_lt(json_array_size(done), 5);
        control("retry");
        for (int turn = 0; turn < turns; turn++)
            fake_turn(&fake);
        if (turns) {
            fake_crash(&fake);
            fake_start(&fake, NULL);
        }
        ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
        expect(1, "completed", 0);
        expect_kept(done);
        json_decref(done);
        teardown();
        setup();
    }
}
END_TEST

START_TEST(a_retry_without_its_batch_makes_another)
{
    fake_start(&fake, NULL);
    ck_assert_int_eq(ask(FIVE), HEP_OK);
    run_until_done(1);
    control("cancel");
    fake_run(&fake, 2000);
    json_t *rows = batches();
    ck_assert_int_eq(hep_engine_delete_batch(fake.engine, hep_json_str(json_array_get(rows, 0), "batch_id", ""), NULL),
                     HEP_OK);
    json_decref(rows);
    control("retry");
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    expect(1, "completed", 0);
    ck_assert_uint_eq(json_array_size(json_object_get(results(), "files")), 5);
}
END_TEST

/* A template of the batch with this said of its step. */
static void put_timed(const char *policy)
{
    json_t *source =
               json_loads("{\"workflow_id\": \"timed\", \"extends\": \"batch\", \"steps\": {\"images\": {}}}", 0, NULL),
           *said = json_loads(policy, 0, NULL), *problems = json_array();
    json_object_update(json_object_get(json_object_get(source, "steps"), "images"), said);
    ck_assert_int_eq(hep_engine_put_workflow(fake.engine, "timed", source, problems, NULL), HEP_OK);
    json_decref(problems);
    json_decref(said);
    json_decref(source);
}

#define TIMED                                                                                                          \
    "{\"workflow_id\": \"timed\", \"configuration\": {\"configuration\": {\"prompt\": \"x\", \"steps\": 3}, "          \
    "\"batch_config\": {\"max_batch_size\": 1}, \"ranges\": {\"seed\": [1, 2, 3, 4, 5]}}}"

START_TEST(a_batch_that_takes_longer_than_its_timeout_is_cancelled_and_goes_on_in_the_next_attempt)
{
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    put_timed("{\"timeout_ms\": 350}");
    ck_assert_int_eq(ask(TIMED), HEP_OK);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    results();
    ck_assert_str_eq(hep_json_str(json_object_get(view, "error"), "code", ""), "TIMEOUT");
    fake_run(&fake, 2000);
    expect(1, "cancelled", 0);
    json_t *done = done_items();
    ck_assert_uint_ge(json_array_size(done), 1);
    ck_assert_uint_lt(json_array_size(done), 5);
    for (int retries = 0; retries < 5 && strcmp(hep_json_str(view, "status", ""), "completed") != 0; retries++) {
        control("retry");
        fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
        fake_run(&fake, 2000);
        results();
    }
    expect(1, "completed", 0);
    expect_kept(done);
    json_decref(done);
    put_timed("{\"timeout_ms\": 350, \"retry\": {\"attempts\": 6, \"delay_ms\": 1}}");
    ck_assert_int_eq(ask(TIMED), HEP_OK); /* the same, by the step's own retry */
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    expect(2, "completed", 0);
    ck_assert_uint_ge(json_array_size(json_object_get(view ? view : results(), "errors")), 1);
}
END_TEST

START_TEST(the_time_of_a_paused_batch_does_not_run)
{
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    put_timed("{\"timeout_ms\": 100000}");
    ck_assert_int_eq(ask(TIMED), HEP_OK);
    run_until_done(1);
    control("pause");
    hep_loop_after(fake.loop, 99600, nothing, NULL);
    for (int64_t end = fake_now(&fake) + 99600; fake_now(&fake) < end;)
        ck_assert(fake_turn(&fake));
    control("resume");
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
}
END_TEST

START_TEST(a_failed_batch_fails_its_session_and_a_retry_makes_its_items_anew)
{
    fake_start(&fake, NULL);
    struct fake_rule *rule =
        fake_rule(&fake, (struct fake_rule){.type = "postprocessing.decode", .count = -1, .code = HEP_E_BAD_FILE});
    ck_assert_int_eq(ask(FIVE), HEP_OK);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    results();
    ck_assert_str_eq(hep_json_str(json_object_get(view, "error"), "code", ""), "BAD_FILE");
    fake_run(&fake, 2000);
    rule->count = 0;
    control("retry");
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    expect(1, "completed", 11);
}
END_TEST

START_TEST(wrong_items_are_told_before_acceptance)
{
    fake_start(&fake, NULL);
    ck_assert_int_eq(ask("{\"workflow_id\": \"batch\", \"configuration\": {\"configuration\": {\"prompt\": \"x\"}, "
                         "\"items\": [{}, {\"width\": 63}]}}"),
                     HEP_E_OUT_OF_RANGE);
    ck_assert_int_eq(ask("{\"workflow_id\": \"batch\", \"configuration\": {\"workflow_id\": \"prompt-matrix\", "
                         "\"configuration\": {\"prompt\": \"x\"}}}"),
                     HEP_E_UNSUPPORTED);
    ck_assert_ptr_null(fake.engine->sessions);
    ck_assert_ptr_null(fake.engine->batches);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("batch_steps");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_session_has_the_images_of_its_batch);
    tcase_add_test(cases, a_supervisor_killed_at_any_turn_makes_each_image_once);
    tcase_add_test(cases, pause_resume_and_cancel_are_its_batchs);
    tcase_add_test(cases, a_failed_batch_fails_its_session_and_a_retry_makes_its_items_anew);
    tcase_add_test(cases, a_retry_makes_only_what_was_not_done_whenever_the_supervisor_dies);
    tcase_add_test(cases, a_retry_without_its_batch_makes_another);
    tcase_add_test(cases, a_batch_that_takes_longer_than_its_timeout_is_cancelled_and_goes_on_in_the_next_attempt);
    tcase_add_test(cases, the_time_of_a_paused_batch_does_not_run);
    tcase_add_test(cases, wrong_items_are_told_before_acceptance);
    return check_status_run("engine_batch_steps", cases);
}
