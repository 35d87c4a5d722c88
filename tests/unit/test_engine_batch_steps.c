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

START_TEST(a_failed_batch_fails_its_session_and_a_retry_is_another_batch)
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
    expect(2, "completed", 11);
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
    tcase_add_test(cases, a_failed_batch_fails_its_session_and_a_retry_is_another_batch);
    tcase_add_test(cases, wrong_items_are_told_before_acceptance);
    return check_status_run("engine_batch_steps", cases);
}
