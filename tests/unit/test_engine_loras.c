/*
 * LoRAs and embeddings of requests: A1111's tags in prompts, lists in configurations, and what of them the engine says
 * to the domains; and what it refuses in prompts (engine_fake.h). What a LoRA does is tests/unit/test_model_loras.c's
 * to show.
 */
#include "common/wire.h"
#include "supervisor/engine/loras.h"
#include "tests/support/check_status.h"
#include "tests/unit/engine_fake.h"

#include <string.h>

/* ---- tags
 * ---------------------------------------------------------------------------------------------------------------------
 */
static const struct tag_row {
    const char *text, *rest;
    const char *loras; /* JSON; NULL: BAD_FIELD */
} tag_rows[] = {
    {"a cat", "a cat", "[]"},
    {"a <lora:ink> cat", "a  cat", "[{\"name\": \"ink\", \"weight\": 1.0}]"},
    {"<lora:ink:0.8>a cat", "a cat", "[{\"name\": \"ink\", \"weight\": 0.8}]"},
    {"a cat<lyco:xl/ink:-0.5>", "a cat", "[{\"name\": \"xl/ink\", \"weight\": -0.5}]"},
    {"(a cat <lora:a:1><lora:b:.25>:1.2)", "(a cat :1.2)",
     "[{\"name\": \"a\", \"weight\": 1.0}, {\"name\": \"b\", \"weight\": 0.25}]"},
    {"<lora:ink:0.5:0.8>", "", "[{\"name\": \"ink\", \"weight\": 0.8, \"text_encoder_weight\": 0.5}]"},
    {"<lora:ink:te=0.5:unet=0.8>", "", "[{\"name\": \"ink\", \"weight\": 0.8, \"text_encoder_weight\": 0.5}]"},
    {"<lora:ink:unet=0.8:0.5>", "", "[{\"name\": \"ink\", \"weight\": 0.8, \"text_encoder_weight\": 0.5}]"},
    {"<lora:ink:te=0>", "", "[{\"name\": \"ink\", \"weight\": 0.0}]"},
    {"<lora:ink:1:0>", "", "[{\"name\": \"ink\", \"weight\": 0.0, \"text_encoder_weight\": 1.0}]"},
    {"<lora:ink", "<lora:ink", "[]"}, /* no tag: it does not end */
    {"<hypernet:ink:1> 1 < 2 > lora:x", "<hypernet:ink:1> 1 < 2 > lora:x", "[]"},
    {"<lora:>", NULL, NULL},
    {"<lora::1>", NULL, NULL},
    {"<lora:ink:>", NULL, NULL},
    {"<lora:ink:much>", NULL, NULL},
    {"<lora:ink:1x>", NULL, NULL},
    {"<lora:ink:nan>", NULL, NULL},
    {"<lora:ink:1:1:1>", NULL, NULL},
    {"<lora:ink:dyn=4>", NULL, NULL},
    {"<lora:a123456789012345678901234567890123456789012345678901234567890123>", NULL, NULL},
};

START_TEST(tags_are_read_as_a1111_does)
{
    const struct tag_row *row = &tag_rows[_i];
    json_t *loras = json_array(), *expected = row->loras ? json_loads(row->loras, 0, NULL) : NULL;
    struct hep_error error = {0};
    char *rest = NULL;
    enum hep_status status = hep_lora_tags_take(row->text, "prompt", &rest, loras, &error);
    if (row->loras) {
        ck_assert_msg(status == HEP_OK, "%s", error.message);
        ck_assert_str_eq(rest, row->rest);
        ck_assert_msg(json_equal(loras, expected), "%s", json_dumps(loras, 0));
    } else {
        ck_assert_int_eq(status, HEP_E_BAD_FIELD);
        ck_assert_str_eq(error.field, "prompt");
        ck_assert(strstr(error.message, "<lora:") && error.hint[0]);
    }
    free(rest);
    json_decref(loras);
    json_decref(expected);
}
END_TEST

/* ---- lists
 * --------------------------------------------------------------------------------------------------------------------
 */
static const struct list_row {
    const char *list;
    enum hep_status code;
    const char *read; /* JSON, or a word of the message */
} list_rows[] = {
    {"[]", HEP_OK, "[]"},
    {"[{\"name\": \"a\"}]", HEP_OK, "[{\"name\": \"a\", \"weight\": 1.0}]"},
    {"[{\"name\": \"a\", \"weight\": 2, \"text_encoder_weight\": 0}]", HEP_OK,
     "[{\"name\": \"a\", \"weight\": 2.0, \"text_encoder_weight\": 0.0}]"},
    {"[{\"name\": \"a\", \"weight\": null}]", HEP_OK, "[{\"name\": \"a\", \"weight\": 1.0}]"},
    {"{}", HEP_E_BAD_FIELD, "a list of objects"},
    {"[\"a\"]", HEP_E_BAD_FIELD, "a list of objects"},
    {"[{\"weight\": 1}]", HEP_E_MISSING_FIELD, "name"},
    {"[{\"name\": \"\"}]", HEP_E_OUT_OF_RANGE, "1 to 63 bytes"},
    {"[{\"name\": 1}]", HEP_E_BAD_FIELD, "must be a text"},
    {"[{\"name\": \"a\", \"weight\": \"1\"}]", HEP_E_BAD_FIELD, "must be a number"},
    {"[{\"name\": \"a\", \"weight\": 101}]", HEP_E_OUT_OF_RANGE, "-100 to 100"},
    {"[{\"name\": \"a\", \"scale\": 1}]", HEP_E_UNKNOWN_FIELD, "scale"},
    {"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", HEP_E_OUT_OF_RANGE, "at most 16"},
};

START_TEST(lists_are_checked)
{
    const struct list_row *row = &list_rows[_i];
    json_t *given = json_loads(row->list, 0, NULL), *list = NULL;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_loras_read("loras", given, &list, &error), row->code);
    if (row->code == HEP_OK) {
        json_t *expected = json_loads(row->read, 0, NULL);
        ck_assert_msg(json_equal(list, expected), "%s", json_dumps(list, 0));
        json_decref(expected);
    } else {
        ck_assert_str_eq(error.field, "loras");
        ck_assert_msg(strstr(error.message, row->read) != NULL, "%s", error.message);
    }
    json_decref(list);
    json_decref(given);
}
END_TEST

/* ---- requests
 * ----------------------------------------------------------------------------------------------------------------- */
static struct fake fake;
static char id[HEP_SESSION_ID_MAX];

static void setup(void)
{
    fake_setup(&fake, 1);
    fake_start(&fake, NULL);
    fake_run(&fake, 50);
}

static void teardown(void)
{
    fake_teardown(&fake);
}

#define LIST "[{\"name\": \"a\", \"weight\": 0.5}]"
#define REQUEST                                                                                                        \
    "{\"prompt\": \"cat <lora:ink:0.8>\", \"negative_prompt\": \"dog<lora:b>\", \"seed\": 7, \"loras\": " LIST "}"

START_TEST(tags_join_the_list_and_leave_the_prompt)
{
    struct hep_error error = {0};
    ck_assert_str_ne(fake_execute(&fake, REQUEST, 0, "key", id, &error), "");
    json_t *view = fake_get(&fake, id), *configuration = json_object_get(view, "configuration");
    json_t *expected = json_loads("[{\"name\": \"a\", \"weight\": 0.5}, {\"name\": \"ink\", \"weight\": 0.8}, "
                                  "{\"name\": \"b\", \"weight\": 1.0}]",
                                  0, NULL);
    ck_assert_str_eq(hep_json_str(configuration, "prompt", ""), "cat ");
    ck_assert_str_eq(hep_json_str(configuration, "negative_prompt", ""), "dog");
    ck_assert(json_equal(json_object_get(configuration, "loras"), expected));
    ck_assert_int_eq(fake_in_hand_of(HEP_ROLE_MODEL, "\"ink\""), 1); /* model.load has them */
    fake_run_to(&fake, HEP_ROLE_CONDITIONING);
    ck_assert_int_eq(fake_in_hand_of(HEP_ROLE_CONDITIONING, "cat "), 1);
    ck_assert_int_eq(fake_in_hand_of(HEP_ROLE_CONDITIONING, "<lora"), 0);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    char again[HEP_SESSION_ID_MAX];
    ck_assert_str_eq(fake_execute(&fake, REQUEST, 0, "key", again, &error), id); /* the request itself was kept */
    json_decref(expected);
    json_decref(view);
}
END_TEST

START_TEST(a_session_without_loras_says_nothing_of_them)
{
    struct hep_error error = {0};
    ck_assert_str_ne(fake_execute(&fake, "{\"prompt\": \"cat\"}", 0, NULL, id, &error), "");
    json_t *view = fake_get(&fake, id);
    ck_assert_ptr_null(json_object_get(json_object_get(view, "configuration"), "loras"));
    ck_assert_int_eq(fake_in_hand_of(HEP_ROLE_MODEL, "loras"), 0);
    json_decref(view);
}
END_TEST

START_TEST(what_the_model_domain_says_of_a_lora_is_the_requests_error)
{
    struct hep_error error = {0};
    fake_rule(&fake, (struct fake_rule){.type = "model.info", .count = 1, .code = HEP_E_OUT_OF_RANGE});
    ck_assert_str_eq(fake_execute(&fake, "{\"prompt\": \"cat <lora:nobody>\"}", 0, NULL, id, &error), "");
    ck_assert_int_eq(error.code, HEP_E_OUT_OF_RANGE);
    ck_assert_str_eq(fake_execute(&fake, "{\"prompt\": \"cat <lora:x:y>\"}", 0, NULL, id, &error), "");
    ck_assert_int_eq(error.code, HEP_E_BAD_FIELD);
    ck_assert_str_eq(error.field, "prompt");
    ck_assert_str_eq(fake_execute(&fake, "{\"prompt\": \"cat <lora:x>\", \"loras\": {}}", 0, NULL, id, &error), "");
    ck_assert_int_eq(error.code, HEP_E_BAD_FIELD);
    ck_assert_str_eq(error.field, "loras");
}
END_TEST

/* ---- embeddings -------------------------------------------------------------------------------------------------- */
static void expect_embeddings(const char *request, const char *names)
{
    struct hep_error error = {0};
    json_t *expected = json_loads(names, 0, NULL);
    ck_assert_str_ne(fake_execute(&fake, request, 0, NULL, id, &error), "");
    json_t *view = fake_get(&fake, id), *list = json_object_get(json_object_get(view, "configuration"), "embeddings");
    ck_assert_msg(json_equal(list, expected), "%s: %s", request, json_dumps(list, JSON_ENCODE_ANY));
    json_decref(view);
    json_decref(expected);
}

START_TEST(a_session_keeps_the_embeddings_that_its_prompts_name)
{
    expect_embeddings("{\"prompt\": \"cat\"}", "[]");
    expect_embeddings("{\"prompt\": \"cat\", \"negative_prompt\": \"wash\"}", "[\"styles/wash\"]");
    ck_assert_int_eq(fake_in_hand_of(HEP_ROLE_MODEL, "\"styles/wash\""), 1); /* model.load has them */
    expect_embeddings("{\"prompt\": \"wash\", \"embeddings\": []}", "[]");
    expect_embeddings("{\"prompt\": \"wash\", \"embeddings\": [\"ink\"]}", "[\"ink\"]");
}
END_TEST

START_TEST(a_list_of_embeddings_is_checked)
{
    struct hep_error error = {0};
    static const char *const bad[] = {"{\"prompt\": \"x\", \"embeddings\": {}}",
                                      "{\"prompt\": \"x\", \"embeddings\": [{\"name\": \"a\"}]}"};
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++) {
        ck_assert_str_eq(fake_execute(&fake, bad[i], 0, NULL, id, &error), "");
        ck_assert_int_eq(error.code, HEP_E_BAD_FIELD);
        ck_assert_str_eq(error.field, "embeddings");
    }
}
END_TEST

/* Which of them a prompt uses, the model domain alone can say. */
START_TEST(without_the_model_domain_only_known_embeddings_are_accepted)
{
    struct hep_error error = {0};
    fake.embeddings_found = 1;
    expect_embeddings("{\"prompt\": \"cat\"}", "[]");
    fake.down[HEP_ROLE_MODEL] = true;
    fake_kill(&fake, HEP_ROLE_MODEL);
    ck_assert_str_eq(fake_execute(&fake, "{\"prompt\": \"cat\"}", 0, NULL, id, &error), "");
    ck_assert_int_eq(error.code, HEP_E_DOMAIN_DOWN);
    expect_embeddings("{\"prompt\": \"wash\", \"embeddings\": [\"styles/wash\"]}", "[\"styles/wash\"]");
}
END_TEST

/* ---- AND --------------------------------------------------------------------------------------------------------- */
static json_t *problems_of(const char *request, bool validate)
{
    struct hep_error error = {0};
    json_t *answer = NULL;
    enum hep_status status = fake_request(&fake, request, validate, &answer, &error);
    ck_assert_int_eq(status, validate ? HEP_OK : HEP_E_UNSUPPORTED);
    json_t *problems = json_incref(json_object_get(answer, "problems"));
    json_decref(answer);
    return problems;
}

static void expect_and(const json_t *problem, const char *step, const char *field)
{
    ck_assert_str_eq(hep_json_str(problem, "code", ""), "UNSUPPORTED");
    ck_assert_str_eq(hep_json_str(problem, "field", ""), field);
    ck_assert_str_eq(hep_json_str(problem, "step", ""), step);
    ck_assert_ptr_nonnull(strstr(hep_json_str(problem, "hint", ""), "BREAK"));
}

START_TEST(and_in_a_prompt_is_told_before_acceptance_with_all_else)
{
    static const char *const both =
        "{\"configuration\": {\"prompt\": \"cat AND dog\", \"negative_prompt\": \"a AND b\", "
        "\"refiner\": \"x\", \"width\": 63}}";
    struct hep_error error = {0};
    for (int validate = 0; validate < 2; validate++) {
        json_t *problems = problems_of(both, validate);
        ck_assert_uint_ge(json_array_size(problems), 3); /* once each, though the refiner reads them too */
        expect_and(json_array_get(problems, 0), "", "prompt");
        expect_and(json_array_get(problems, 1), "", "negative_prompt");
        ck_assert_str_ne(hep_json_str(json_array_get(problems, 2), "code", ""), "UNSUPPORTED");
        json_decref(problems);
    }
    ck_assert_ptr_null(fake.engine->sessions);
    ck_assert_str_eq(fake_execute(&fake, "{\"prompt\": \"(a AND b:1.2)\"}", 0, NULL, id, &error), "");
    ck_assert_str_eq(error.field, "prompt");
    ck_assert_str_ne(fake_execute(&fake, "{\"prompt\": \"SAND, \\\\AND and <lora:a AND b>\"}", 0, NULL, id, &error),
                     "");
}
END_TEST

START_TEST(and_that_a_template_adds_is_told_with_its_step)
{
    json_t *source = json_loads("{\"workflow_id\": \"oil\", \"extends\": \"txt2img\", \"steps\": {\"text\": "
                                "{\"parameters\": {\"prompt\": \"oil AND ${prompt}\"}}}}",
                                0, NULL),
           *problems = json_array();
    ck_assert_int_eq(hep_engine_put_workflow(fake.engine, "oil", source, problems, NULL), HEP_OK);
    json_decref(source);
    json_decref(problems);
    problems = problems_of("{\"workflow_id\": \"oil\", \"configuration\": {\"prompt\": \"cat\"}}", true);
    ck_assert_uint_eq(json_array_size(problems), 1);
    expect_and(json_array_get(problems, 0), "text", "prompt");
    json_decref(problems);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("engine_loras");
    tcase_add_loop_test(cases, tags_are_read_as_a1111_does, 0, (int)HEP_COUNT_OF(tag_rows));
    tcase_add_loop_test(cases, lists_are_checked, 0, (int)HEP_COUNT_OF(list_rows));
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, tags_join_the_list_and_leave_the_prompt);
    tcase_add_test(cases, a_session_without_loras_says_nothing_of_them);
    tcase_add_test(cases, what_the_model_domain_says_of_a_lora_is_the_requests_error);
    tcase_add_test(cases, a_session_keeps_the_embeddings_that_its_prompts_name);
    tcase_add_test(cases, a_list_of_embeddings_is_checked);
    tcase_add_test(cases, without_the_model_domain_only_known_embeddings_are_accepted);
    tcase_add_test(cases, and_in_a_prompt_is_told_before_acceptance_with_all_else);
    tcase_add_test(cases, and_that_a_template_adds_is_told_with_its_step);
    return check_status_run("engine_loras", cases);
}
