/* Batches on domains without processes (engine_fake.h): what their items are, how many run at a time, how they end, and
   that nothing is lost or made twice when something dies. */
#include "common/wire.h"
#include "supervisor/engine/batch_parts.h"
#include "supervisor/engine/problem.h"
#include "tests/support/check_status.h"
#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <string.h>

struct answered {
    bool there;
    enum hep_status status;
};

static void on_answer(void *context, enum hep_status status, json_t *said, const struct hep_error *why)
{
    struct answered *answered = context;
    *answered = (struct answered){true, status};
    json_decref(reply);
    reply = said;
    error = why ? *why : (struct hep_error){0};
}

static enum hep_status create(const char *request, const char *key)
{
    struct answered answered = {0};
    json_t *json = json_loads(request, 0, NULL);
    ck_assert_msg(json != NULL, "%s", request);
    fake_run(&fake, 60);
    hep_engine_create_batch(fake.engine, json, 0, key, on_answer, &answered);
    for (int turn = 0; !answered.there && turn < 100000; turn++)
        fake_turn(&fake);
    ck_assert(answered.there);
    json_decref(json);
    return answered.status;
}

static const char *created(const char *request, char id[HEP_SESSION_ID_MAX])
{
    ck_assert_msg(create(request, NULL) == HEP_OK, "%s", error.message);
    snprintf(id, HEP_SESSION_ID_MAX, "%s", hep_json_str(reply, "batch_id", ""));
    return id;
}

static enum hep_status control(const char *id, const char *action)
{
    json_t *said = NULL;
    enum hep_status status = hep_engine_control_batch(fake.engine, id, action, &said, &error);
    json_decref(said);
    return status;
}

static const struct hep_batch_page all_items = {.after = -1, .limit = 100};

static const char *look(const char *id)
{
    json_decref(hep_take(&view));
    ck_assert_msg(hep_engine_get_batch(fake.engine, id, &all_items, &view, &error) == HEP_OK, "%s", error.message);
    return hep_json_str(view, "status", "");
}

/* Turns until it is in this state; most: so many of its sessions ran at the same time. */
static int run_until(const char *id, const char *state)
{
    int most = 0;
    for (int turn = 0; turn < 200000 && strcmp(look(id), state) != 0; turn++) {
        int running = 0;
        for (const struct hep_session *s = fake.engine->sessions; s; s = s->next)
            running += strcmp(s->batch, id) == 0 && s->state == HEP_SESSION_RUNNING;
        most = running > most ? running : most;
        if (!fake_turn(&fake))
            break;
    }
    ck_assert_str_eq(look(id), state);
    return most;
}

static int64_t count(const char *name)
{
    return hep_json_int(view, name, -1);
}

/* ---- items ------------------------------------------------------------------------------------------------------- */
static const struct {
    const char *request;
    int items; /* -1: it has a problem */
    const char *first, *last;
} lists[] = {
    {"{\"configuration\": {\"prompt\": \"a\", \"seed\": 5}}", 1, "{\"prompt\": \"a\", \"seed\": 5}",
     "{\"prompt\": \"a\", \"seed\": 5}"},
    {"{\"configuration\": {\"prompt\": \"a\", \"seed\": 5}, \"batch_config\": {\"total_images\": 3}}", 3,
     "{\"prompt\": \"a\", \"seed\": 5}", "{\"prompt\": \"a\", \"seed\": 7}"},
    {"{\"configuration\": {\"prompt\": \"a\"}, \"batch_config\": {\"total_images\": 3}}", 3,
     "{\"prompt\": \"a\", \"seed\": 1000}", "{\"prompt\": \"a\", \"seed\": 1002}"},
    {"{\"configuration\": {\"steps\": 4}, \"items\": [{\"prompt\": \"a\", \"seed\": 1}, {\"prompt\": \"b\", \"steps\": "
     "5, "
     "\"seed\": 1}]}",
     2, "{\"prompt\": \"a\", \"steps\": 4, \"seed\": 1}", "{\"prompt\": \"b\", \"steps\": 5, \"seed\": 1}"},
    {"{\"configuration\": {\"prompt\": \"a\", \"seed\": 1}, \"ranges\": {\"steps\": [4, 8], \"guidance\": {\"from\": "
     "1, \"to\": "
     "2, \"step\": 0.5}}}",
     6, "{\"prompt\": \"a\", \"seed\": 1, \"steps\": 4, \"guidance\": 1.0}",
     "{\"prompt\": \"a\", \"seed\": 1, \"steps\": 8, \"guidance\": 2.0}"},
    {"{\"configuration\": {\"prompt\": \"a\"}, \"ranges\": {\"seed\": {\"from\": 3, \"to\": 6}}}", 4,
     "{\"prompt\": \"a\", \"seed\": 3}", "{\"prompt\": \"a\", \"seed\": 6}"},
    {"{\"configuration\": {\"seed\": 3}, \"ranges\": {\"prompt\": {\"matrix\": \"a cat| red, |on [a|the] table\"}}}", 4,
     "{\"prompt\": \"a cat\", \"seed\": 3}", "{\"prompt\": \"a cat, red, on [a|the] table\", \"seed\": 3}"},
    {"{\"ranges\": {\"prompt\": {\"matrix\": \"a|b|\"}}}", 4, "{\"prompt\": \"a\", \"seed\": 1000}",
     "{\"prompt\": \"a, b, \", \"seed\": 1003}"},
    {"{\"ranges\": {\"prompt\": {\"matrix\": \"a|b\\\\|c\"}}}", 2, "{\"prompt\": \"a\", \"seed\": 1000}",
     "{\"prompt\": \"a, b\\\\|c\", \"seed\": 1001}"},
    {"{\"ranges\": {\"prompt\": {\"matrix\": \"1|2|3|4|5|6|7|8|9|10|11|12|13|14\"}}}", -1, NULL, NULL},
    {"{\"ranges\": {\"prompt\": {\"matrix\": 3}}}", -1, NULL, NULL},
    {"{\"items\": []}", -1, NULL, NULL},
    {"{\"items\": [1]}", -1, NULL, NULL},
    {"{\"configuration\": []}", -1, NULL, NULL},
    {"{\"ranges\": {\"seed\": {\"from\": 6, \"to\": 3}}}", -1, NULL, NULL},
    {"{\"ranges\": {\"seed\": {\"from\": 1, \"to\": 100000}}}", -1, NULL, NULL},
    {"{\"ranges\": {\"seed\": {\"from\": 1, \"to\": 1000}, \"steps\": {\"from\": 1, \"to\": 100}}}", -1, NULL, NULL},
    {"{\"ranges\": {\"seed\": {\"from\": 1, \"to\": 3, \"step\": 0}}}", -1, NULL, NULL},
    {"{\"ranges\": {\"seed\": [1, 2, 3]}, \"batch_config\": {\"total_images\": 2}}", -1, NULL, NULL},
    {"{\"batch_config\": {\"total_images\": 0}}", -1, NULL, NULL},
    {"{\"batch_config\": {\"max_batch_size\": 17}}", -1, NULL, NULL},
    {"{\"batch_config\": {\"preferred_batch_size\": 5}}", -1, NULL, NULL},
    {"{\"batch_config\": {\"memory_threshold\": \"much\"}}", -1, NULL, NULL},
    {"{\"batch_config\": {\"colour\": 1}}", -1, NULL, NULL},
};

START_TEST(items_come_of_configuration_items_and_ranges)
{
    json_t *request = json_loads(lists[_i].request, 0, NULL), *items = NULL, *problems = json_array();
    struct hep_batch_config config = {0};
    ck_assert_ptr_nonnull(request);
    hep_batch_config_read(json_object_get(request, "batch_config"), &config, problems);
    hep_batch_items(json_object_get(request, "configuration"), json_object_get(request, "items"),
                    json_object_get(request, "ranges"), &config, 1000, &items, problems);
    ck_assert_msg((json_array_size(problems) > 0) == (lists[_i].items < 0), "%s: %s", lists[_i].request,
                  hep_problem_text(problems, 0));
    if (lists[_i].items > 0) {
        json_t *first = json_loads(lists[_i].first, 0, NULL), *last = json_loads(lists[_i].last, 0, NULL);
        ck_assert_uint_eq(json_array_size(items), (size_t)lists[_i].items);
        ck_assert_msg(json_equal(json_array_get(items, 0), first), "%s: %s", lists[_i].request,
                      json_dumps(json_array_get(items, 0), 0));
        ck_assert_msg(json_equal(json_array_get(items, (size_t)lists[_i].items - 1), last), "%s: %s", lists[_i].request,
                      json_dumps(json_array_get(items, (size_t)lists[_i].items - 1), 0));
        json_decref(first);
        json_decref(last);
    }
    json_decref(items);
    json_decref(problems);
    json_decref(request);
}
END_TEST

/* ---- creating ---------------------------------------------------------------------------------------------------- */
#define TEN                                                                                                            \
    "{\"configuration\": {\"prompt\": \"a red apple\", \"steps\": 4, \"seed\": 1}, \"batch_config\": "                 \
    "{\"total_images\": 10, \"max_batch_size\": 3}}"

START_TEST(every_item_is_checked_before_a_batch_is_kept)
{
    fake_start(&fake, NULL);
    ck_assert_int_ne(
        create(
            "{\"configuration\": {\"prompt\": \"x\"}, \"items\": [{\"width\": 64}, {\"width\": 63}, {\"colour\": 1}]}",
            NULL),
        HEP_OK);
    json_t *problems = json_object_get(reply, "problems");
    ck_assert_uint_eq(json_array_size(problems), 2);
    ck_assert_int_eq(hep_json_int(json_array_get(problems, 0), "item", -1), 1);
    ck_assert_str_eq(hep_json_str(json_array_get(problems, 0), "field", ""), "width");
    ck_assert_int_eq(hep_json_int(json_array_get(problems, 1), "item", -1), 2);
    ck_assert_int_eq(create("{\"workflow_id\": \"none\"}", NULL), HEP_E_NOT_FOUND);
    ck_assert_ptr_null(fake.engine->batches);
}
END_TEST

START_TEST(a_key_makes_one_batch)
{
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    ck_assert_int_eq(create(TEN, "k"), HEP_OK);
    snprintf(id, sizeof id, "%s", hep_json_str(reply, "batch_id", ""));
    ck_assert_int_eq(create(TEN, "k"), HEP_OK);
    ck_assert_str_eq(hep_json_str(reply, "batch_id", ""), id);
    ck_assert(!hep_json_bool(reply, "created", true));
    ck_assert_int_eq(create("{\"configuration\": {\"prompt\": \"other\"}}", "k"), HEP_E_CONFLICT);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    ck_assert_int_eq(create(TEN, "k"), HEP_OK);
    ck_assert_str_eq(hep_json_str(reply, "batch_id", ""), id);
}
END_TEST

/* ---- running ----------------------------------------------------------------------------------------------------- */
START_TEST(a_batch_runs_as_many_at_a_time_as_run_together_and_one_more)
{
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    created(TEN, id);
    ck_assert_str_eq(look(id), "created");
    fake_run(&fake, 500);
    ck_assert_ptr_null(fake.engine->sessions); /* it waits for its execute */
    ck_assert_int_eq(control(id, "execute"), HEP_OK);
    ck_assert_int_eq(control(id, "execute"), HEP_E_NOT_NOW);
    int most = run_until(id, "completed");
    ck_assert_msg(most == 4, "%d at a time", most);
    ck_assert_int_eq(count("completed_items"), 10);
    ck_assert_int_eq(count("failed_items"), 0);
    json_t *items = json_object_get(view, "items");
    ck_assert_uint_eq(json_array_size(items), 10);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_int_eq(hep_json_int(json_array_get(items, i), "item", -1), (int64_t)i);
        ck_assert_uint_eq(json_array_size(json_object_get(json_array_get(items, i), "files")), 1);
    }
    fake_run(&fake, 1000);
    ck_assert_ptr_null(fake.engine->sessions);
    ck_assert_ptr_null(fake.engine->batches);
}
END_TEST

/* The numbers of its items, read in pages of so many. */
static const char *numbers_in_pages(const char *id, int limit, char text[256])
{
    struct hep_batch_page page = {.after = -1, .limit = limit};
    size_t index, used = 0;
    json_t *item;
    do {
        json_decref(hep_take(&view));
        ck_assert_int_eq(hep_engine_get_batch(fake.engine, id, &page, &view, &error), HEP_OK);
        ck_assert_uint_le(json_array_size(json_object_get(view, "items")), (size_t)limit);
        json_array_foreach(json_object_get(view, "items"), index, item) used +=
            (size_t)snprintf(text + used, 256 - used, "%d ", (int)hep_json_int(item, "item", -1));
        page.after = (int)hep_json_int(view, "next_after", -1);
    } while (page.after >= 0);
    return text;
}

START_TEST(items_come_in_pages_the_refused_among_them)
{
    char id[HEP_SESSION_ID_MAX], text[256] = "";
    fake_start(&fake, NULL);
    created(TEN, id);
    ck_assert_int_eq(control(id, "execute"), HEP_OK);
    run_until(id, "completed");
    for (int limit = 1; limit < 12; limit++)
        ck_assert_str_eq(numbers_in_pages(id, limit, text), "0 1 2 3 4 5 6 7 8 9 ");
    created(TEN, id);
    ck_assert_int_eq(control(id, "execute"), HEP_OK);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    struct hep_batch *batch = hep_batch_find(fake.engine, id);
    snprintf(text, sizeof text, "%s", "");
    look(id);
    int begun = (int)json_array_size(json_object_get(view, "items"));
    ck_assert(begun > 0 && begun < 7);
    json_object_set_new(batch->refused, "9", json_pack("{s:s}", "code", "NO_SPACE"));
    json_object_set_new(batch->refused, "7", json_pack("{s:s}", "code", "NO_SPACE"));
    for (int limit = 1; limit < 9; limit++) {
        const char *behind = strchr(numbers_in_pages(id, limit, text), (char)('0' + begun - 1));
        ck_assert_msg(behind && strcmp(behind + 1, " 7 9 ") == 0, "%d: %s", limit, text);
    }
}
END_TEST

START_TEST(a_session_of_a_client_does_not_wait_for_a_batch)
{
    char id[HEP_SESSION_ID_MAX], session[HEP_SESSION_ID_MAX];
    const struct hep_engine_options one = {.sessions_max = 1};
    fake_start(&fake, &one);
    created(TEN, id);
    ck_assert_int_eq(control(id, "execute"), HEP_OK);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    fake_execute(&fake, "{\"prompt\": \"me\", \"steps\": 4}", 5, NULL, session, NULL);
    ck_assert_int_eq(fake_run_until(&fake, session, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    look(id);
    ck_assert_int_lt(count("completed_items"), 10);
    run_until(id, "completed");
}
END_TEST

START_TEST(a_failed_item_fails_alone)
{
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    created(TEN, id);
    fake_rule(&fake, (struct fake_rule){.type = "postprocessing.decode", .count = 2, .code = HEP_E_BAD_FILE});
    ck_assert_int_eq(control(id, "execute"), HEP_OK);
    run_until(id, "completed");
    ck_assert_int_eq(count("completed_items"), 8);
    ck_assert_int_eq(count("failed_items"), 2);
    fake_crash(&fake); /* and the store knows it so */
    fake_start(&fake, NULL);
    look(id);
    ck_assert_int_eq(count("failed_items"), 2);
}
END_TEST

START_TEST(a_batch_whose_every_item_failed_has_failed)
{
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    created(TEN, id);
    fake_rule(&fake, (struct fake_rule){.type = "postprocessing.decode", .count = -1, .code = HEP_E_BAD_FILE});
    ck_assert_int_eq(control(id, "execute"), HEP_OK);
    run_until(id, "failed");
    ck_assert_int_eq(count("failed_items"), 10);
}
END_TEST

START_TEST(a_cancelled_batch_stops_and_begins_nothing_more)
{
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    created(TEN, id);
    ck_assert_int_eq(control(id, "execute"), HEP_OK);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    ck_assert_int_eq(hep_engine_delete_batch(fake.engine, id, &error), HEP_E_NOT_NOW);
    ck_assert_int_eq(control(id, "cancel"), HEP_OK);
    fake_run(&fake, 5000);
    ck_assert_str_eq(look(id), "cancelled");
    ck_assert_int_eq(count("completed_items") + count("cancelled_items") + count("waiting_items"), 10);
    ck_assert_int_gt(count("waiting_items"), 0);
    ck_assert_ptr_null(fake.engine->sessions);
    ck_assert_int_eq(hep_engine_delete_batch(fake.engine, id, &error), HEP_OK);
    ck_assert_int_eq(hep_engine_get_batch(fake.engine, id, &all_items, &view, &error), HEP_E_NOT_FOUND);
}
END_TEST

START_TEST(a_paused_batch_goes_on_where_it_was)
{
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    created(TEN, id);
    ck_assert_int_eq(control(id, "execute"), HEP_OK);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    ck_assert_int_eq(control(id, "pause"), HEP_OK);
    fake_run(&fake, 5000);
    look(id);
    int64_t before = count("completed_items");
    fake_crash(&fake);
    fake_start(&fake, NULL);
    fake_run(&fake, 5000);
    ck_assert_str_eq(look(id), "paused");
    ck_assert_int_eq(count("completed_items"), before);
    ck_assert_int_eq(control(id, "resume"), HEP_OK);
    run_until(id, "completed");
    ck_assert_int_eq(count("completed_items"), 10);
}
END_TEST

START_TEST(a_supervisor_killed_at_any_turn_makes_each_item_once)
{
    for (int turns = 5; turns < 400; turns += 23) {
        char id[HEP_SESSION_ID_MAX];
        fake_start(&fake, NULL);
        created(TEN, id);
        ck_assert_int_eq(control(id, "execute"), HEP_OK);
        for (int turn = 0; turn < turns; turn++)
            fake_turn(&fake);
        fake_crash(&fake);
        fake_start(&fake, NULL);
        fake_kill(&fake, HEP_ROLE_INFERENCE);
        run_until(id, "completed");
        ck_assert_int_eq(count("completed_items"), 10);
        ck_assert_uint_eq(json_array_size(json_object_get(view, "items")), 10);
        fake_run(&fake, 1000);
        fake_crash(&fake);
    }
    fake_start(&fake, NULL);
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("batches");
    tcase_add_checked_fixture(all, engine_setup, engine_teardown);
    tcase_set_timeout(all, 120);
    tcase_add_loop_test(all, items_come_of_configuration_items_and_ranges, 0, HEP_COUNT_OF(lists));
    tcase_add_test(all, every_item_is_checked_before_a_batch_is_kept);
    tcase_add_test(all, a_key_makes_one_batch);
    tcase_add_test(all, a_batch_runs_as_many_at_a_time_as_run_together_and_one_more);
    tcase_add_test(all, items_come_in_pages_the_refused_among_them);
    tcase_add_test(all, a_session_of_a_client_does_not_wait_for_a_batch);
    tcase_add_test(all, a_failed_item_fails_alone);
    tcase_add_test(all, a_batch_whose_every_item_failed_has_failed);
    tcase_add_test(all, a_cancelled_batch_stops_and_begins_nothing_more);
    tcase_add_test(all, a_paused_batch_goes_on_where_it_was);
    tcase_add_test(all, a_supervisor_killed_at_any_turn_makes_each_item_once);
    return check_status_run("engine_batches", all);
}
