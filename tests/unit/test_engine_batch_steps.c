/* Steps of workflows that are batches (batch_step.h), on domains without processes: their session waits for the images,
   takes what a person asks of it to them, and is one session with one batch whenever something dies. */
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <string.h>

#define FIVE                                                                                                           \
    "{\"workflow_id\": \"batch\", \"configuration\": {\"configuration\": {\"prompt\": \"x\", \"steps\": 3}, "          \
    "\"ranges\": {\"seed\": [1, 2, 3, 4, 5]}}}"

static char id[HEP_SESSION_ID_MAX];

static enum hep_status ask(const char *request)
{
    enum hep_status status = engine_ask(request, false);
    snprintf(id, sizeof id, "%s", hep_json_str(reply, "session_id", ""));
    return status;
}

static json_t *results(void)
{
    engine_look(id);
    return json_object_get(view, "results");
}

static void nothing(void *context)
{
    (void)context;
}

static void control(const char *action)
{
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
        engine_teardown();
        engine_setup();
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
        engine_teardown();
        engine_setup();
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

#define TIMED_AS(workflow)                                                                                             \
    "{\"workflow_id\": \"" workflow "\", \"configuration\": {\"configuration\": {\"prompt\": \"x\", \"steps\": 3}, "   \
    "\"batch_config\": {\"max_batch_size\": 1}, \"ranges\": {\"seed\": [1, 2, 3, 4, 5]}}}"
#define TIMED TIMED_AS("timed")

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

/* ---- validation -------------------------------------------------------------------------------------------------- */
/* resources of what workflow.validate says of it; borrowed. */
static json_t *validated(const char *request)
{
    json_decref(hep_take(&reply));
    ck_assert_int_eq(fake_request(&fake, request, true, &reply, &error), HEP_OK);
    return json_object_get(reply, "resources");
}

static const json_t *problem(size_t index)
{
    return json_array_get(json_object_get(reply, "problems"), index);
}

static double number(const char *name)
{
    return hep_json_num(json_object_get(reply, "resources"), name, -1);
}

static double duration(void)
{
    return hep_json_num(reply, "estimated_duration_ms", -1);
}

static void expect_numbers(int items, int kinds, int tried, int group, int largest)
{
    ck_assert_msg(hep_json_bool(reply, "valid", false), "%s", hep_json_str(problem(0), "message", ""));
    ck_assert_int_eq((int)number("items"), items);
    ck_assert_int_eq((int)number("kinds"), kinds);
    ck_assert_int_eq((int)number("kinds_tried"), tried);
    ck_assert_int_eq((int)number("group_size"), group);
    ck_assert_int_eq((int)number("largest_item"), largest);
}

START_TEST(validation_says_what_the_images_take)
{
    enum { LIGHT_MS = 20 };
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    validated("{\"configuration\": {\"prompt\": \"x\", \"steps\": 3}}");
    double memory = number("memory_bytes"), flops = number("flops"), ms = duration();
    validated(FIVE);
    expect_numbers(5, 1, 1, 4, 0); /* max_batch_size */
    ck_assert(number("memory_bytes") == 4 * memory && number("flops") == 5 * flops);
    ck_assert_msg(duration() >= 5 * ms && duration() < 5 * ms + LIGHT_MS, "%g of %g", duration(), ms);
    ck_assert_str_eq(hep_json_str(json_object_get(reply, "resources"), "fits", ""), "now");
    validated(TIMED_AS("batch"));
    expect_numbers(5, 1, 1, 1, 0);
    ck_assert(number("memory_bytes") == memory);

    validated("{\"configuration\": {\"prompt\": \"x\", \"steps\": 3, \"width\": 128}}");
    double wide = number("memory_bytes"), wide_flops = number("flops");
    ck_assert(wide > memory);
    validated("{\"workflow_id\": \"batch\", \"configuration\": {\"configuration\": {\"steps\": 3}, \"items\": ["
              "{\"prompt\": \"x\"}, {\"prompt\": \"x\", \"width\": 128}, {\"prompt\": \"longer\"}], "
              "\"batch_config\": {\"max_batch_size\": 2}}}");
    expect_numbers(3, 2, 2, 2, 1); /* prompts alone make no kind */
    ck_assert(number("memory_bytes") == 2 * wide && number("flops") == 2 * flops + wide_flops);
    ck_assert_ptr_null(fake.engine->sessions);
    ck_assert_ptr_null(fake.engine->batches);
}
END_TEST

START_TEST(a_group_is_as_large_as_the_memory_holds)
{
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    validated("{\"configuration\": {\"prompt\": \"x\", \"steps\": 3}}");
    double memory = number("memory_bytes");
    fake.engine->memory_bytes = (uint64_t)(3.9 * memory);
    validated(FIVE);
    expect_numbers(5, 1, 1, 3, 0); /* of 0.8 of it */
    ck_assert(number("memory_bytes") == 3 * memory);
    fake.engine->memory_bytes = (uint64_t)(0.9 * memory);
    validated(FIVE);
    ck_assert(!hep_json_bool(reply, "valid", true));
    ck_assert_str_eq(hep_json_str(problem(0), "code", ""), "NO_MEMORY");
    ck_assert_int_eq(hep_json_int(problem(0), "item", -1), 0);
    ck_assert_ptr_null(json_object_get(json_object_get(reply, "resources"), "memory_bytes"));
}
END_TEST

START_TEST(of_many_kinds_some_are_tried_and_that_is_said)
{
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    validated("{\"workflow_id\": \"batch\", \"configuration\": {\"configuration\": {\"prompt\": \"x\", \"steps\": 3}, "
              "\"ranges\": {\"width\": [64, 128], \"guidance_scale\": {\"from\": 1, \"to\": 20, \"step\": 0.5}}}}");
    expect_numbers(78, 78, 16, 4, 41); /* the first of those tried that are 128 wide */
    ck_assert_str_eq(hep_json_str(problem(0), "severity", ""), "warning");
    ck_assert_str_eq(hep_json_str(problem(0), "code", ""), "TOO_LARGE");
}
END_TEST

START_TEST(images_that_depend_on_another_step_are_not_counted_and_that_is_said)
{
    json_t *source =
               json_loads("{\"workflow_id\": \"after\", \"extends\": \"batch\", \"steps\": {"
                          "\"seen\": {\"before\": \"images\", \"type\": \"device\", \"operation\": \"get_memory\"},"
                          "\"images\": {\"parameters\": {\"configuration\": {\"prompt\": \"${seen.limit}\"}}}}}",
                          0, NULL),
           *problems = json_array();
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    ck_assert_int_eq(hep_engine_put_workflow(fake.engine, "after", source, problems, NULL), HEP_OK);
    json_decref(problems);
    json_decref(source);
    validated("{\"workflow_id\": \"after\"}");
    ck_assert_msg(hep_json_bool(reply, "valid", false), "%s", hep_json_str(problem(0), "message", ""));
    ck_assert_str_eq(hep_json_str(problem(0), "severity", ""), "warning");
    ck_assert_str_eq(hep_json_str(problem(0), "step", ""), "images");
    ck_assert_ptr_null(json_object_get(json_object_get(reply, "resources"), "items"));
}
END_TEST

/* Of the images of a batch, a warning says which. */
START_TEST(a_warning_of_an_item_is_the_sessions)
{
    fake.has_checker = true;
    fake_start(&fake, NULL);
    fake_run(&fake, 60);
    validated("{\"workflow_id\": \"batch\", \"configuration\": {\"configuration\": {\"prompt\": \"x\", \"safety\": "
              "\"blur\"}, "
              "\"items\": [{}, {\"previews\": true}]}}");
    ck_assert(hep_json_bool(reply, "valid", false));
    ck_assert_str_eq(hep_json_str(problem(0), "field", ""), "previews");
    ck_assert_str_eq(hep_json_str(problem(0), "severity", ""), "warning");
    ck_assert_int_eq(hep_json_int(problem(0), "item", -1), 1);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("batch_steps");
    tcase_add_checked_fixture(cases, engine_setup, engine_teardown);
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
    tcase_add_test(cases, validation_says_what_the_images_take);
    tcase_add_test(cases, a_group_is_as_large_as_the_memory_holds);
    tcase_add_test(cases, of_many_kinds_some_are_tried_and_that_is_said);
    tcase_add_test(cases, images_that_depend_on_another_step_are_not_counted_and_that_is_said);
    tcase_add_test(cases, a_warning_of_an_item_is_the_sessions);
    return check_status_run("engine_batch_steps", cases);
}
