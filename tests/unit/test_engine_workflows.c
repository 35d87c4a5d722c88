/* Workflows that come with a request, on domains without processes (engine_fake.h): what is added to them, what happens
   to a step beside being done, and all that is wrong with one before it is accepted. */
#include "common/wire.h"
#include "supervisor/engine/condition.h"
#include "supervisor/engine/problem.h"
#include "tests/support/check_status.h"
#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <string.h>

#define APPLE "\"configuration\": {\"prompt\": \"a red apple\", \"steps\": 6}"

/* Asks and runs it to its end; the session is in view. */
static const char *run(const char *request)
{
    char id[HEP_SESSION_ID_MAX];
    ck_assert_msg(engine_ask(request, false) == HEP_OK, "%s", error.message);
    snprintf(id, sizeof id, "%s", hep_json_str(reply, "session_id", ""));
    fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
    engine_look(id);
    return hep_json_str(view, "status", "");
}

static json_t *step_of(json_t *object, const char *id)
{
    size_t index;
    json_t *step;
    json_array_foreach(json_object_get(object, "steps"), index,
                       step) if (strcmp(hep_json_str(step, "id", ""), id) == 0) return step;
    ck_abort_msg("no step %s", id);
}

static const char *status_of(const char *id)
{
    return hep_json_str(step_of(view, id), "status", "");
}

/* A problem with this code, step and field (NULL = any) is in the list. */
static bool has_problem(const json_t *problems, const char *code, const char *step, const char *field)
{
    size_t index;
    json_t *problem;
    json_array_foreach(problems, index,
                       problem) if (strcmp(hep_json_str(problem, "code", ""), code) == 0 &&
                                    (!step || strcmp(hep_json_str(problem, "step", ""), step) == 0) &&
                                    (!field || strcmp(hep_json_str(problem, "field", ""), field) == 0) &&
                                    hep_json_str(problem, "hint", "")[0]) return true;
    return false;
}

/* ---- conditions -------------------------------------------------------------------------------------------------- */
static json_t *lookup(void *context, const char *path, struct hep_error *why)
{
    json_t *value = json_object_get(context, path);
    (void)why;
    return value ? json_incref(value) : json_null();
}

static const struct {
    const char *condition;
    int holds; /* -1: it is not written right */
} conditions[] = {
    {"\"${yes}\"", 1},
    {"\"${no}\"", 0},
    {"\"${empty}\"", 0},
    {"\"${absent}\"", 0},
    {"\"${two}\"", 1},
    {"\"${object}\"", 1},
    {"true", 1},
    {"{\"value\": \"${two}\", \"equals\": 2}", 1},
    {"{\"value\": \"${two}\", \"equals\": 2.0}", 1},
    {"{\"value\": \"${two}\", \"not_equals\": 2}", 0},
    {"{\"value\": \"${two}\", \"above\": 1.5}", 1},
    {"{\"value\": \"${two}\", \"above\": 2}", 0},
    {"{\"value\": \"${two}\", \"at_least\": 2}", 1},
    {"{\"value\": \"${two}\", \"below\": \"${three}\"}", 1},
    {"{\"value\": \"${two}\", \"at_most\": 1}", 0},
    {"{\"value\": \"${absent}\", \"below\": 1}", 0},
    {"{\"value\": \"${word}\", \"above\": 1}", 0},
    {"{\"value\": \"${word}\", \"one_of\": [\"image\", \"latent\"]}", 1},
    {"{\"value\": \"${two}\", \"one_of\": [1, 3]}", 0},
    {"{\"all\": [\"${yes}\", {\"not\": \"${no}\"}]}", 1},
    {"{\"all\": [\"${yes}\", \"${no}\"]}", 0},
    {"{\"any\": [\"${no}\", \"${two}\"]}", 1},
    {"{\"any\": [\"${no}\", \"${empty}\"]}", 0},
    {"{\"value\": 1}", -1},
    {"{\"value\": 1, \"above\": true}", -1},
    {"{\"value\": 1, \"one_of\": 1}", -1},
    {"{\"value\": 1, \"above\": 0, \"below\": 2}", -1},
    {"{\"all\": []}", -1},
    {"{\"sometimes\": 1}", -1},
    {"7", -1},
    {"{\"not\":{\"not\":{\"not\":{\"not\":{\"not\":{\"not\":{\"not\":{\"not\":\"${yes}\"}}}}}}}}", -1},
};

START_TEST(a_condition_holds_or_not)
{
    json_t *condition = json_loads(conditions[_i].condition, JSON_DECODE_ANY, NULL),
           *values = json_loads(
               "{\"yes\": true, \"no\": false, \"empty\": \"\", \"two\": 2, \"three\": 3, \"word\": \"latent\", "
               "\"object\": {\"not\": true}}",
               0, NULL);
    bool holds = false;
    ck_assert_ptr_nonnull(condition);
    ck_assert_msg((hep_condition_check(condition, &error) == HEP_OK) == (conditions[_i].holds >= 0), "%s: %s",
                  conditions[_i].condition, error.message);
    if (conditions[_i].holds >= 0) {
        ck_assert_int_eq(hep_condition_holds(condition, lookup, values, &holds, &error), HEP_OK);
        ck_assert_msg(holds == conditions[_i].holds, "%s", conditions[_i].condition);
    }
    json_decref(condition);
    json_decref(values);
}
END_TEST

/* ---- what is added ----------------------------------------------------------------------------------------------- */
START_TEST(a_generating_step_brings_what_it_implies)
{
    fake_start(&fake, NULL);
    ck_assert_str_eq(run("{\"workflow_id\": \"inference-workflow\", " APPLE ", \"workflow\": {\"steps\": ["
                         "{\"type\": \"device\", \"operation\": \"get_memory\"},"
                         "{\"type\": \"model\", \"operation\": \"load\"},"
                         "{\"type\": \"inference\", \"operation\": \"generate\"}]}}"),
                     "completed");
    ck_assert_str_eq(hep_json_str(view, "workflow_id", ""), "inference-workflow");
    static const char *const order[] = {"step_1",  "weights", "refiner_weights", "enlarger", "checker",
                                        "device",  "text",    "refiner_text",    "schedule", "switch",
                                        "preview", "denoise", "refine",          "image",    "larger",
                                        "colours", "better",  "judged",          "file"};
    ck_assert_uint_eq(json_array_size(json_object_get(view, "steps")), HEP_COUNT_OF(order));
    for (size_t i = 0; i < HEP_COUNT_OF(order); i++)
        ck_assert_str_eq(hep_json_str(json_array_get(json_object_get(view, "steps"), i), "id", ""), order[i]);
    ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(view, "results"), "files")), 1);
}
END_TEST

/* Each way through the template's optional steps: what is read is what the last step that was wanted wrote. */
START_TEST(steps_that_are_not_wanted_leave_their_place_to_the_one_before)
{
    static const struct {
        const char *wishes, *image;
    } rows[] = {{"", "image"},
                {", \"upscale\": 2", "upscaled"},
                {", \"upscaler\": \"x4\"", "upscaled"},
                {", \"sharpen\": 1", "enhanced"},
                {", \"upscale\": 2, \"contrast\": 0.5", "enhanced"}};
    char request[200];
    fake_start(&fake, NULL);
    snprintf(request, sizeof request, "{\"configuration\": {\"prompt\": \"x\"%s}}", rows[_i].wishes);
    ck_assert_str_eq(run(request), "completed");
    ck_assert_str_eq(fake.encoded, rows[_i].image);
}
END_TEST

/* A refiner goes on from the base's state, where the plan is handed on; without one there is no other. */
START_TEST(a_refiner_does_the_rest_of_the_plan)
{
    fake_start(&fake, NULL);
    ck_assert_str_eq(run("{\"configuration\": {\"prompt\": \"x\", \"steps\": 8}}"), "completed");
    ck_assert_uint_eq(json_array_size(fake.generated), 1);
    json_t *base = json_array_get(fake.generated, 0);
    ck_assert_ptr_null(json_object_get(base, "end_evaluation"));
    ck_assert_str_eq(run("{\"configuration\": {\"prompt\": \"x\", \"steps\": 8, \"refiner\": \"emoji\"}}"),
                     "completed");
    ck_assert_uint_eq(json_array_size(fake.generated), 3);
    base = json_array_get(fake.generated, 1);
    json_t *rest = json_array_get(fake.generated, 2);
    ck_assert_int_eq(hep_json_int(base, "end_evaluation", 0), FAKE_SWITCH);
    ck_assert_int_eq(hep_json_int(rest, "first_evaluation", 0), FAKE_SWITCH);
    ck_assert_ptr_null(json_object_get(rest, "end_evaluation"));
    ck_assert(json_equal(json_object_get(rest, "begin_state"), json_object_get(base, "state")));
    ck_assert(json_equal(json_object_get(rest, "plan"), json_object_get(base, "plan")));
    ck_assert(!json_equal(json_object_get(rest, "state"), json_object_get(base, "state")));
    ck_assert_str_eq(hep_json_str(step_of(view, "refine"), "status", ""), "done");
    json_t *answer = NULL;
    ck_assert_int_eq(fake_request(&fake, "{\"configuration\": {\"prompt\": \"x\", \"refiner\": \"nobody\"}}", false,
                                  &answer, &error),
                     HEP_E_NOT_FOUND);
    json_decref(answer);
}
END_TEST

START_TEST(what_a_step_says_goes_into_the_configuration)
{
    fake_start(&fake, NULL);
    ck_assert_str_eq(
        run("{\"configuration\": {\"prompt\": \"x\", \"seed\": 5}, \"workflow\": {\"steps\": [{\"type\": "
            "\"inference\", \"operation\": \"generate\", \"parameters\": {\"guidance_scale\": 3.5, \"seed\": 9, "
            "\"steps\": 4}}]}}"),
        "completed");
    json_t *configuration = json_object_get(view, "configuration");
    ck_assert(hep_json_num(configuration, "guidance_scale", 0) == 3.5);
    ck_assert_int_eq(hep_json_int(configuration, "seed", 0), 5); /* what the configuration says goes before */
    ck_assert_int_eq(hep_json_int(configuration, "num_inference_steps", 0), 4);
}
END_TEST

START_TEST(what_a_steps_name_stands_for_goes_into_the_configuration)
{
    fake_start(&fake, NULL);
    ck_assert_str_eq(run("{" APPLE ", \"workflow\": {\"steps\": [{\"type\": \"scheduler\", \"operation\": \"ddim\"},"
                         "{\"type\": \"inference\", \"operation\": \"generate\"}]}}"),
                     "completed");
    ck_assert_str_eq(hep_json_str(json_object_get(view, "configuration"), "scheduler", ""), "DDIMScheduler");
    ck_assert_str_eq(run("{\"workflow\": {\"steps\": [{\"type\": \"scheduler\", \"operation\": \"ddim\"}]}}"),
                     "completed"); /* alone: the domain fills it in */
    ck_assert_str_eq(hep_json_str(step_of(view, "step_1"), "operation", ""), "ddim");
}
END_TEST

START_TEST(a_step_that_is_not_built_says_so)
{
    fake_start(&fake, NULL);
    ck_assert_int_eq(
        engine_ask("{\"workflow\": {\"steps\": [{\"type\": \"scheduler\", \"operation\": \"sketch\"}]}}", false),
        HEP_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "not built yet: nobody draws"));
}
END_TEST

START_TEST(what_is_the_engines_is_not_to_be_said)
{
    static const char *const secrets[] = {
        "{\"type\": \"postprocessing\", \"operation\": \"encode\", \"parameters\": {\"path\": \"/etc/passwd\"}}",
        "{\"type\": \"model\", \"operation\": \"load\", \"parameters\": {\"session\": \"another\"}}"};
    char request[512];
    fake_start(&fake, NULL);
    snprintf(request, sizeof request,
             "{" APPLE ", \"workflow\": {\"steps\": [{\"type\": \"inference\", \"operation\": \"generate\"}, %s]}}",
             secrets[_i]);
    ck_assert_int_eq(engine_ask(request, false), HEP_E_NOT_ALLOWED);
    ck_assert_str_eq(error.field, _i ? "session" : "path");
}
END_TEST

START_TEST(what_a_caller_may_not_ask_is_no_step_either)
{
    fake_start(&fake, NULL);
    ck_assert_int_eq(engine_ask("{\"workflow\": {\"steps\": [{\"type\": \"device\", \"operation\": \"release\", "
                                "\"parameters\": {\"session\": \"x\"}}]}}",
                                false),
                     HEP_E_NOT_ALLOWED);
    ck_assert_int_eq(
        engine_ask("{\"workflow\": {\"steps\": [{\"type\": \"device\", \"operation\": \"list\"}], \"finally\": "
                   "[{\"type\": \"device\", \"operation\": \"release\", \"parameters\": {\"session\": "
                   "\"x\"}}]}}",
                   false),
        HEP_E_NOT_ALLOWED);
    ck_assert_int_eq(engine_ask("{\"workflow\": {\"steps\": [{\"type\": \"scheduler\", \"operation\": \"plan\", "
                                "\"parameters\": {\"config\": {\"segment\": \"/x\"}}}]}}",
                                false),
                     HEP_E_NOT_ALLOWED); /* somebody's tensor */
    ck_assert_ptr_null(fake.engine->sessions);
}
END_TEST

/* ---- what happens to a step -------------------------------------------------------------------------------------- */
#define STEP(id, more)    "{\"id\": \"" id "\", \"type\": \"device\", \"operation\": \"get_memory\"" more "}"
#define ENCODE_STEP(more) "{\"type\": \"postprocessing\", \"operation\": \"encode\"" more "}"
#define GENERATE          "{\"type\": \"inference\", \"operation\": \"generate\"}"

START_TEST(a_step_whose_condition_does_not_hold_is_skipped)
{
    fake_start(&fake, NULL);
    ck_assert_str_eq(
        run("{\"workflow\": {\"parameters\": {\"deep\": {\"type\": \"boolean\", \"default\": false}}, \"steps\": "
            "[" STEP("a", "") "," STEP("b", ", \"when\": \"${deep}\"") "," STEP(
                "c", ", \"when\": {\"value\": \"${a.limit}\", \"at_least\": 0}") "," STEP("d",
                                                                                          ", \"when\": {\"value\": "
                                                                                          "\"${b.limit}\", "
                                                                                          "\"above\": 0}") "]}}"),
        "completed");
    ck_assert_str_eq(status_of("a"), "done");
    ck_assert_str_eq(status_of("b"), "skipped");
    ck_assert_str_eq(status_of("c"), "done");
    ck_assert_str_eq(status_of("d"), "skipped"); /* what was skipped gives nothing */
    ck_assert_int_eq(hep_json_int(step_of(view, "b"), "attempt", -1), 0);
    ck_assert(hep_json_num(view, "progress", 0) == 1.0);
}
END_TEST

START_TEST(a_tensor_step_that_is_skipped_is_not_planned)
{
    fake_start(&fake, NULL);
    ck_assert_str_eq(run("{" APPLE ", \"workflow\": {\"results\": {\"seed\": \"${seed}\"}, \"steps\": [" GENERATE
                         ", {\"type\": \"postprocessing\", \"operation\": \"decode\", \"when\": false}, " ENCODE_STEP(
                             ", \"when\": false") "]}}"),
                     "completed");
    ck_assert_str_eq(status_of("image"), "skipped");
    ck_assert_str_eq(status_of("file"), "skipped");
    ck_assert_ptr_null(json_object_get(step_of(view, "image"), "memory_bytes"));
}
END_TEST

START_TEST(a_failed_step_ends_the_session_or_not)
{
    static const struct {
        const char *policy, *session, *second, *third;
    } rows[] = {{"", "failed", "pending", "pending"},
                {", \"on_error\": \"fail\"", "failed", "pending", "pending"},
                {", \"on_error\": \"continue\"", "completed", "done", "done"},
                {", \"on_error\": \"skip\"", "completed", "skipped", "done"}};
    char request[1024];
    fake_start(&fake, NULL);
    fake_run(&fake, 50); /* the catalog has asked */
    fake_rule(&fake, (struct fake_rule){.type = "scheduler.list", .count = -1, .code = HEP_E_BAD_FILE});
    snprintf(request, sizeof request,
             "{\"workflow\": {\"steps\": [{\"id\": \"a\", \"type\": \"scheduler\", \"operation\": \"list\"%s},"
             "{\"id\": \"b\", \"type\": \"model\", \"operation\": \"info\", \"parameters\": {\"model\": "
             "\"${a.schedulers}\"}}," STEP("c", "") "]}}",
             rows[_i].policy);
    ck_assert_str_eq(run(request), rows[_i].session);
    ck_assert_str_eq(status_of("a"), "failed");
    ck_assert_str_eq(status_of("b"), rows[_i].second);
    ck_assert_str_eq(status_of("c"), rows[_i].third);
    json_t *errors = json_object_get(view, "errors"); /* a later success swallows nothing */
    ck_assert_uint_eq(json_array_size(errors), 1);
    ck_assert_str_eq(hep_json_str(json_array_get(errors, 0), "code", ""), "BAD_FILE");
    ck_assert_str_eq(hep_json_str(json_array_get(errors, 0), "step", ""), "a");
    ck_assert_int_eq(json_object_get(view, "error") != NULL, _i < 2);
}
END_TEST

START_TEST(a_step_is_tried_as_often_as_its_retry_says)
{
    fake_start(&fake, NULL);
    fake_run(&fake, 50); /* the catalog has asked */
    fake_rule(&fake, (struct fake_rule){.type = "scheduler.list", .count = 2 + _i, .code = HEP_E_BAD_FILE});
    int64_t began = fake_now(&fake);
    const char *end =
        run("{\"workflow\": {\"steps\": [{\"id\": \"a\", \"type\": \"scheduler\", \"operation\": \"list\", "
            "\"retry\": {\"attempts\": 3, \"delay_ms\": 1000}}]}}");
    ck_assert_str_eq(end, _i == 0 ? "completed" : "failed");
    ck_assert_int_eq(hep_json_int(step_of(view, "a"), "attempt", 0), 3);
    ck_assert_uint_eq(json_array_size(json_object_get(view, "errors")), (size_t)(2 + _i));
    ck_assert_int_ge(fake_now(&fake) - began, 3000); /* 1 s, then 2 s */
}
END_TEST

START_TEST(a_step_that_takes_too_long_is_ended)
{
    fake_start(&fake, NULL);
    ck_assert_str_eq(
        run("{\"configuration\": {\"prompt\": \"x\", \"steps\": 1000}, \"workflow\": {\"steps\": [{\"type\": "
            "\"inference\", \"operation\": \"generate\", \"timeout_ms\": 1}]}}"),
        "failed");
    json_t *why = json_object_get(view, "error");
    ck_assert_str_eq(hep_json_str(why, "code", ""), "TIMEOUT");
    ck_assert_ptr_nonnull(strstr(hep_json_str(why, "message", ""), "denoise"));
    ck_assert_int_eq(fake.cancels[HEP_ROLE_INFERENCE], 1);
    ck_assert_int_eq(hep_json_int(step_of(view, "denoise"), "attempt", 0), 1); /* it would take as long again */
}
END_TEST

/* ---- trying again ------------------------------------------------------------------------------------------------ */
START_TEST(a_failed_session_is_retried_from_where_it_failed)
{
    json_t *said = NULL;
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    fake_run(&fake, 50); /* the catalog has asked */
    fake_rule(&fake, (struct fake_rule){.type = "scheduler.list", .count = 1, .code = HEP_E_BAD_FILE});
    ck_assert_str_eq(run("{\"workflow\": {\"steps\": [" STEP(
                         "a", "") ", {\"id\": \"b\", \"type\": \"scheduler\", \"operation\": \"list\"}]}}"),
                     "failed");
    snprintf(id, sizeof id, "%s", hep_json_str(view, "session_id", ""));
    fake_run(&fake, 1000);
    fake_crash(&fake); /* it is the store that knows it */
    fake_start(&fake, NULL);
    ck_assert_msg(hep_engine_control(fake.engine, id, "retry", 0, &said, &error) == HEP_OK, "%s", error.message);
    ck_assert_str_eq(hep_json_str(said, "status", ""), "queued");
    json_decref(said);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    engine_look(id);
    ck_assert_int_eq(hep_json_int(step_of(view, "a"), "attempt", 0), 1);
    ck_assert_int_eq(hep_json_int(step_of(view, "b"), "attempt", 0), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(view, "errors")), 1);
    ck_assert_ptr_null(json_object_get(view, "error"));
    fake_run(&fake, 1000);
    ck_assert_int_eq(hep_engine_control(fake.engine, id, "retry", 0, &said, &error), HEP_E_NOT_NOW);
}
END_TEST

START_TEST(a_cancelled_generation_is_retried_to_the_same_image)
{
    json_t *said = NULL;
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"a red apple\", \"steps\": 50}", 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    ck_assert_int_eq(hep_engine_control(fake.engine, id, "cancel", 0, &said, &error), HEP_OK);
    json_decref(hep_take(&said));
    fake_run(&fake, 1000);
    ck_assert_int_eq(hep_engine_control(fake.engine, id, "retry", 0, &said, &error), HEP_OK);
    json_decref(said);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    engine_look(id);
    ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(view, "results"), "files")), 1);
}
END_TEST

/* ---- validating -------------------------------------------------------------------------------------------------- */
START_TEST(all_problems_are_told_at_once)
{
    fake_start(&fake, NULL);
    const char *request =
        "{\"configuration\": {\"prompt\": 7, \"width\": 63, \"colour\": \"red\"}, \"workflow\": {\"steps\": ["
        "{\"type\": \"inference\", \"operation\": \"generate\"},"
        "{\"id\": \"x\", \"type\": \"device\", \"operation\": \"get_memory\", \"parameters\": {\"moon\": 1}},"
        "{\"id\": \"y\", \"type\": \"device\", \"operation\": \"fly\"}]}}";
    ck_assert_int_eq(engine_ask(request, true), HEP_OK);
    ck_assert(!hep_json_bool(reply, "valid", true));
    const json_t *problems = json_object_get(reply, "problems");
    ck_assert(has_problem(problems, "UNKNOWN_FIELD", "x", "moon"));
    ck_assert(has_problem(problems, "UNKNOWN_OPERATION", "y", "operation"));
    ck_assert(has_problem(problems, "UNKNOWN_FIELD", NULL, "colour"));
    ck_assert(has_problem(problems, "BAD_FIELD", NULL, "prompt"));
    ck_assert(has_problem(problems, "OUT_OF_RANGE", NULL, "width"));
    ck_assert_uint_eq(json_array_size(problems), 5);
    ck_assert_int_ne(engine_ask(request, false), HEP_OK); /* the same as a real request */
    ck_assert_uint_eq(json_array_size(json_object_get(reply, "problems")), 5);
    ck_assert_ptr_null(fake.engine->sessions);
}
END_TEST

START_TEST(files_that_are_not_there_are_told_before_acceptance)
{
    fake_start(&fake, NULL);
    const char *request = "{\"configuration\": {\"prompt\": \"x\", \"upscaler\": \"nobody\", \"width\": 63}}";
    ck_assert_int_eq(engine_ask(request, true), HEP_OK);
    const json_t *problems = json_object_get(reply, "problems");
    ck_assert(has_problem(problems, "OUT_OF_RANGE", NULL, "upscaler"));
    ck_assert(has_problem(problems, "OUT_OF_RANGE", NULL, "width"));
    ck_assert_int_eq(engine_ask(request, false), HEP_E_OUT_OF_RANGE);
    ck_assert_ptr_null(fake.engine->sessions);
    ck_assert_int_eq(engine_ask("{\"configuration\": {\"prompt\": \"x\", \"upscaler\": \"x4\"}}", false), HEP_OK);
}
END_TEST

START_TEST(a_name_is_good_while_nobody_can_say_whether_it_is)
{
    fake_start(&fake, NULL);
    const char *request = "{\"configuration\": {\"prompt\": \"x\", \"upscaler\": \"x4\"}}";
    ck_assert_int_eq(engine_ask(request, false), HEP_OK); /* the model is known now */
    fake.down[HEP_ROLE_MODEL] = true;
    fake_kill(&fake, HEP_ROLE_MODEL);
    ck_assert_int_eq(engine_ask(request, false), HEP_OK);
}
END_TEST

START_TEST(references_that_lead_nowhere_are_told_with_their_step)
{
    fake_start(&fake, NULL);
    ck_assert_int_eq(engine_ask("{\"workflow\": {\"steps\": [" STEP("a", ", \"when\": \"${b.limit}\"") "," STEP(
                                    "b", ", \"when\": \"${nobody}\"") "," STEP("b", "") "]}}",
                                true),
                     HEP_OK);
    const json_t *problems = json_object_get(reply, "problems");
    ck_assert(has_problem(problems, "BAD_FIELD", "a", "when")); /* forward */
    ck_assert(has_problem(problems, "NOT_FOUND", "b", "when")); /* nothing */
    ck_assert(has_problem(problems, "BAD_FIELD", "b", "id"));   /* twice   */
}
END_TEST

START_TEST(a_valid_request_is_told_what_it_takes)
{
    fake_start(&fake, NULL);
    ck_assert_int_eq(engine_ask("{" APPLE "}", true), HEP_OK);
    const json_t *resources = json_object_get(reply, "resources");
    int64_t memory = hep_json_int(resources, "memory_bytes", 0);
    ck_assert(hep_json_bool(reply, "valid", false));
    ck_assert_str_eq(hep_json_str(resources, "fits", ""), "now");
    ck_assert_int_gt(hep_json_int(resources, "arena_bytes", 0), 0);
    /* every operation of the stand-ins takes 1 MiB: conditioning, scheduler, inference, postprocessing keep one each */
    ck_assert_int_eq(memory - hep_json_int(resources, "arena_bytes", 0), 4 << 20);
    ck_assert_int_gt(hep_json_int(reply, "estimated_duration_ms", -1), 0);
    const json_t *gone = json_array_get(json_object_get(json_object_get(resources, "weights"), "evicts"), 0);
    ck_assert_str_eq(hep_json_str(gone, "model", ""), "old");
    ck_assert_ptr_nonnull(strstr(fake.order, "model.load:"));
    ck_assert_int_eq(hep_json_int(json_object_get(reply, "configuration"), "width", 0), 64);
    ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(reply, "workflow"), "steps")), 18);
    ck_assert_ptr_null(fake.engine->sessions); /* nothing was accepted */
    ck_assert_str_eq(run("{" APPLE "}"), "completed");
    ck_assert_int_eq(hep_json_int(view, "memory_bytes", 0), memory);
}
END_TEST

START_TEST(what_two_models_take_and_evict_adds_up)
{
    fake_start(&fake, NULL);
    fake.weights_bytes = 4096;
    ck_assert_int_eq(engine_ask("{" APPLE "}", true), HEP_OK);
    json_t *one = json_incref(json_object_get(json_object_get(reply, "resources"), "weights"));
    ck_assert_int_eq(engine_ask("{\"configuration\": {\"prompt\": \"an apple\", \"refiner\": \"emoji\"}}", true),
                     HEP_OK);
    const json_t *two = json_object_get(json_object_get(reply, "resources"), "weights");
    for (const char *const *name = (const char *const[]){"weights_bytes", "new_bytes", "evicted_bytes", NULL}; *name;
         name++) {
        ck_assert_int_gt(hep_json_int(one, *name, 0), 0);
        ck_assert_int_eq(hep_json_int(two, *name, 0), 2 * hep_json_int(one, *name, 0));
    }
    ck_assert_uint_eq(json_array_size(json_object_get(two, "evicts")), 2);
    ck_assert_int_eq(hep_json_int(two, "published_bytes", 0), hep_json_int(one, "published_bytes", -1));
    json_decref(one);
}
END_TEST

START_TEST(a_workflow_reserves_what_it_says_that_it_needs)
{
    fake.memory_limit = 100 << 20;
    fake_start(&fake, NULL);
    ck_assert_int_eq(engine_ask("{" APPLE
                                ", \"workflow\": {\"resource_requirements\": {\"memory_bytes\": 50000000, \"models\": "
                                "[\"${model}\"]}, \"steps\": [" GENERATE "]}}",
                                true),
                     HEP_OK);
    ck_assert(hep_json_bool(reply, "valid", false));
    ck_assert_int_eq(hep_json_int(json_object_get(reply, "resources"), "memory_bytes", 0), 50000000);
    ck_assert_int_eq(engine_ask("{" APPLE
                                ", \"workflow\": {\"resource_requirements\": {\"memory_bytes\": 500000000, \"models\": "
                                "[\"nobody\"], \"moons\": 1}, \"steps\": [" GENERATE "]}}",
                                true),
                     HEP_OK);
    ck_assert(has_problem(json_object_get(reply, "problems"), "UNKNOWN_FIELD", NULL, "moons"));
    ck_assert_int_eq(
        engine_ask("{" APPLE
                   ", \"workflow\": {\"resource_requirements\": {\"models\": [\"nobody\"]}, \"steps\": [" GENERATE
                   "]}}",
                   true),
        HEP_OK);
    ck_assert(has_problem(json_object_get(reply, "problems"), "NOT_FOUND", NULL, "model"));
}
END_TEST

START_TEST(a_request_that_can_never_fit_is_told_so)
{
    fake.memory_limit = 1000;
    fake_start(&fake, NULL);
    ck_assert_int_eq(engine_ask("{" APPLE "}", true), HEP_OK);
    ck_assert(!hep_json_bool(reply, "valid", true));
    ck_assert(has_problem(json_object_get(reply, "problems"), "NO_MEMORY", NULL, NULL));
    ck_assert_str_eq(hep_json_str(json_object_get(reply, "resources"), "fits", ""), "never");
}
END_TEST

START_TEST(a_model_that_has_no_room_is_not_loaded_to_say_so)
{
    fake_start(&fake, NULL);
    fake_rule(&fake, (struct fake_rule){.type = "model.foresee", .count = 1, .code = HEP_E_NO_MEMORY});
    ck_assert_int_eq(engine_ask("{" APPLE "}", true), HEP_OK);
    ck_assert(!hep_json_bool(reply, "valid", true));
    ck_assert(has_problem(json_object_get(reply, "problems"), "NO_MEMORY", NULL, NULL));
    ck_assert_ptr_null(strstr(fake.order, "model.load:"));
}
END_TEST

START_TEST(validating_while_the_model_domain_dies_is_an_answer)
{
    fake_start(&fake, NULL);
    fake_rule(&fake, (struct fake_rule){.type = "model.load", .count = 1, .dies = true});
    ck_assert_int_eq(engine_ask("{" APPLE "}", true), HEP_OK);
    ck_assert(!hep_json_bool(reply, "valid", true));
    ck_assert(hep_json_bool(json_array_get(json_object_get(reply, "problems"), 0), "retryable", false));
    fake_run(&fake, 2000);
    ck_assert_int_eq(engine_ask("{" APPLE "}", true), HEP_OK);
    ck_assert(hep_json_bool(reply, "valid", false));
}
END_TEST

START_TEST(previews_that_the_safety_policy_does_not_give_are_a_warning)
{
    static const struct {
        enum hep_safety_policy least;
        const char *asked, *previews;
        int warnings;
    } rows[] = {{HEP_SAFETY_OFF, "off", "true", 0},
                {HEP_SAFETY_FLAG, "off", "true", 0},
                {HEP_SAFETY_OFF, "blur", "true", 1},
                {HEP_SAFETY_REFUSE, "off", "true", 1},
                {HEP_SAFETY_REFUSE, "off", "false", 0}};
    char request[256];
    fake.has_checker = true;
    fake_start(&fake, NULL);
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        fake.engine->safety = rows[i].least;
        snprintf(request, sizeof request,
                 "{\"configuration\": {\"prompt\": \"x\", \"safety\": \"%s\", \"previews\": %s}}", rows[i].asked,
                 rows[i].previews);
        ck_assert_int_eq(engine_ask(request, true), HEP_OK);
        const json_t *problems = json_object_get(reply, "problems"), *first = json_array_get(problems, 0);
        ck_assert_msg(hep_json_bool(reply, "valid", false), "%s", hep_problem_text(problems, 0));
        ck_assert_int_gt(hep_json_int(json_object_get(reply, "resources"), "memory_bytes", 0), 0);
        ck_assert_int_eq((int)json_array_size(problems), rows[i].warnings);
        ck_assert_str_eq(hep_json_str(first, "severity", ""), rows[i].warnings ? "warning" : "");
        ck_assert(!first || has_problem(problems, "NOT_ALLOWED", NULL, "previews"));
        ck_assert_int_eq(engine_ask(request, false), HEP_OK); /* it is accepted all the same */
    }
    ck_assert_int_eq(engine_ask("{\"configuration\": {\"prompt\": \"x\", \"width\": 63}}", true), HEP_OK);
    ck_assert_str_eq(hep_json_str(json_array_get(json_object_get(reply, "problems"), 0), "severity", ""), "error");
}
END_TEST

static double estimate(void)
{
    ck_assert_int_eq(engine_ask("{" APPLE "}", true), HEP_OK);
    return hep_json_num(reply, "estimated_duration_ms", 0);
}

/* How good an estimate is is seen on the real daemon: here, that it comes from what was done, which takes no time here.
 */
START_TEST(an_estimate_learns_from_what_was_done)
{
    fake_start(&fake, NULL);
    double before = estimate();
    for (int i = 0; i < 8; i++)
        ck_assert_str_eq(run("{" APPLE "}"), "completed");
    double learned = estimate();
    fake_run(&fake, 1000);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    ck_assert_msg(learned < before / 2, "%g ms before anything was done, %g after", before, learned);
    double after = estimate(); /* the sessions' own milliseconds differ a little by what else the machine does */
    ck_assert_msg(after < before / 2, "%g ms after a restart, %g before, %g at first", after, learned, before);
}
END_TEST

/* The measure pass of a plan says how often the network will run, before the plan is made: not once a step. */
START_TEST(an_estimate_counts_the_evaluations_of_the_plan)
{
    static const char *const requests[] = {"{\"configuration\": {\"prompt\": \"an apple\"}}",
                                           "{\"configuration\": {\"prompt\": \"an apple\", \"eta\": " FAKE_TWICE "}}"};
    double times[2];
    fake_start(&fake, NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(engine_ask(requests[i], true), HEP_OK);
        ck_assert(hep_json_bool(reply, "valid", false));
        times[i] = hep_json_num(reply, "estimated_duration_ms", 0);
    }
    ck_assert_msg(times[1] > 1.5 * times[0], "%g ms, %g ms", times[0], times[1]);
}
END_TEST

/* ---- an operator's own ------------------------------------------------------------------------------------------- */
#define MEMORY_WORKFLOW "{\"steps\": [" STEP("a", "") "]}"

static enum hep_status put(const char *id, const char *source, json_t **problems)
{
    json_t *json = json_loads(source, 0, NULL);
    *problems = json_array();
    enum hep_status status = hep_engine_put_workflow(fake.engine, id, json, *problems, &error);
    json_decref(json);
    return status;
}

START_TEST(a_workflow_that_was_put_is_there_after_a_restart_until_it_is_deleted)
{
    json_t *problems;
    fake_start(&fake, NULL);
    fake_run(&fake, 50);
    ck_assert_msg(put("memory", MEMORY_WORKFLOW, &problems) == HEP_OK, "%s", error.message);
    json_decref(problems);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    ck_assert_str_eq(run("{\"workflow_id\": \"memory\"}"), "completed");
    ck_assert_int_eq(hep_engine_reload(fake.engine, &error), HEP_OK);
    ck_assert_str_eq(run("{\"workflow_id\": \"memory\"}"), "completed");
    ck_assert_int_eq(hep_engine_delete_workflow(fake.engine, "memory", &error), HEP_OK);
    ck_assert_int_eq(engine_ask("{\"workflow_id\": \"memory\"}", false), HEP_E_NOT_FOUND);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    ck_assert_int_eq(engine_ask("{\"workflow_id\": \"memory\"}", false), HEP_E_NOT_FOUND);
    ck_assert_int_eq(hep_engine_delete_workflow(fake.engine, "memory", &error), HEP_E_NOT_FOUND);
}
END_TEST

START_TEST(a_workflow_with_mistakes_is_not_kept_nor_one_of_the_folder_touched)
{
    json_t *problems;
    fake_start(&fake, NULL);
    fake_run(&fake, 50);
    ck_assert_int_ne(put("w", "{\"steps\": [" STEP("a", ", \"when\": \"${b.x}\"") "," STEP("a", "") "]}", &problems),
                     HEP_OK);
    ck_assert(has_problem(problems, "NOT_FOUND", "a", "when") && has_problem(problems, "BAD_FIELD", "a", "id"));
    json_decref(problems);
    ck_assert_int_eq(put("w", "{\"workflow_id\": \"v\", \"steps\": [" STEP("a", "") "]}", &problems), HEP_E_CONFLICT);
    json_decref(problems);
    ck_assert_int_eq(put("txt2img", MEMORY_WORKFLOW, &problems), HEP_E_CONFLICT);
    json_decref(problems);
    ck_assert_int_eq(hep_engine_delete_workflow(fake.engine, "txt2img", &error), HEP_E_NOT_ALLOWED);
    ck_assert_int_eq(engine_ask("{\"workflow_id\": \"w\"}", false), HEP_E_NOT_FOUND);
    ck_assert_str_eq(run("{" APPLE "}"), "completed");
}
END_TEST

START_TEST(a_template_that_is_checked_is_not_kept)
{
    json_t *bad = json_loads(
               "{\"workflow_id\": \"w\", \"steps\": [" STEP("a", ", \"when\": \"${b.x}\"") "," STEP("a", "") "]}", 0,
               NULL),
           *good = json_loads(MEMORY_WORKFLOW, 0, NULL), *none = json_array(), *some = json_array();
    struct hep_workflow *workflow = NULL;
    fake_start(&fake, NULL);
    fake_run(&fake, 50);
    json_object_set_new(good, "workflow_id", json_string("memory"));
    hep_engine_check_workflow(fake.engine, good, none);
    ck_assert_uint_eq(json_array_size(none), 0);
    ck_assert_int_eq(hep_workflows_find(fake.engine->workflows, "memory", &workflow, NULL), HEP_E_NOT_FOUND);
    hep_engine_check_workflow(fake.engine, bad, some);
    ck_assert_uint_eq(json_array_size(some), 2);
    ck_assert_str_eq(hep_json_str(json_array_get(some, 0), "step", ""), "a");
    json_decref(bad);
    json_decref(good);
    json_decref(none);
    json_decref(some);
}
END_TEST

START_TEST(a_session_goes_on_with_a_workflow_that_was_deleted)
{
    json_t *problems;
    char id[HEP_SESSION_ID_MAX];
    fake_start(&fake, NULL);
    fake_run(&fake, 50);
    ck_assert_int_eq(put("memory", MEMORY_WORKFLOW, &problems), HEP_OK);
    json_decref(problems);
    ck_assert_int_eq(engine_ask("{\"workflow_id\": \"memory\"}", false), HEP_OK);
    snprintf(id, sizeof id, "%s", hep_json_str(reply, "session_id", ""));
    ck_assert_int_eq(hep_engine_delete_workflow(fake.engine, "memory", &error), HEP_OK);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
}
END_TEST

START_TEST(what_a_put_template_extends_is_kept_apart_from_it)
{
    json_t *problems;
    fake_start(&fake, NULL);
    fake_run(&fake, 50);
    ck_assert_int_eq(put("memory", MEMORY_WORKFLOW, &problems), HEP_OK);
    json_decref(problems);
    ck_assert_msg(put("more",
                      "{\"extends\": \"memory\", \"steps\": {\"b\": {\"after\": \"a\", \"type\": \"device\", "
                      "\"operation\": \"get_memory\"}}}",
                      &problems) == HEP_OK,
                  "%s", error.message);
    json_decref(problems);
    ck_assert_str_eq(run("{\"workflow_id\": \"more\"}"), "completed");
    ck_assert_uint_eq(json_array_size(json_object_get(view, "steps")), 2);
    fake_crash(&fake);
    fake_start(&fake, NULL); /* whichever the store gives first */
    ck_assert_int_eq(put("memory", "{\"steps\": [" STEP("z", "") "," STEP("a", "") "]}", &problems), HEP_OK);
    json_decref(problems);
    ck_assert_str_eq(run("{\"workflow_id\": \"more\"}"), "completed");
    ck_assert_uint_eq(json_array_size(json_object_get(view, "steps")), 3);
    ck_assert_int_eq(put("memory", "{\"steps\": [" STEP("z", "") "]}", &problems), HEP_E_CONFLICT);
    json_decref(problems);
    ck_assert_int_eq(hep_engine_delete_workflow(fake.engine, "memory", &error), HEP_E_CONFLICT);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    ck_assert_str_eq(run("{\"workflow_id\": \"more\"}"), "completed");
    ck_assert_uint_eq(json_array_size(json_object_get(view, "steps")), 3);
}
END_TEST

START_TEST(a_workflow_of_a_request_extends_nothing)
{
    static const char request[] = "{" APPLE ", \"workflow\": {\"extends\": \"txt2img\", \"steps\": [" GENERATE "]}}";
    fake_start(&fake, NULL);
    ck_assert_int_eq(engine_ask(request, false), HEP_E_UNSUPPORTED);
    ck_assert_str_eq(error.field, "extends");
    ck_assert_int_eq(engine_ask(request, true), HEP_OK);
    ck_assert_uint_eq(json_array_size(json_object_get(reply, "problems")), 1); /* nothing else is wrong with it */
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("workflows");
    tcase_add_checked_fixture(all, engine_setup, engine_teardown);
    tcase_set_timeout(all, 60);
    tcase_add_loop_test(all, a_condition_holds_or_not, 0, HEP_COUNT_OF(conditions));
    tcase_add_test(all, a_generating_step_brings_what_it_implies);
    tcase_add_loop_test(all, steps_that_are_not_wanted_leave_their_place_to_the_one_before, 0, 5);
    tcase_add_test(all, a_refiner_does_the_rest_of_the_plan);
    tcase_add_test(all, what_a_step_says_goes_into_the_configuration);
    tcase_add_test(all, what_a_steps_name_stands_for_goes_into_the_configuration);
    tcase_add_test(all, a_step_that_is_not_built_says_so);
    tcase_add_loop_test(all, what_is_the_engines_is_not_to_be_said, 0, 2);
    tcase_add_test(all, what_a_caller_may_not_ask_is_no_step_either);
    tcase_add_test(all, a_step_whose_condition_does_not_hold_is_skipped);
    tcase_add_test(all, a_tensor_step_that_is_skipped_is_not_planned);
    tcase_add_loop_test(all, a_failed_step_ends_the_session_or_not, 0, 4);
    tcase_add_loop_test(all, a_step_is_tried_as_often_as_its_retry_says, 0, 2);
    tcase_add_test(all, a_step_that_takes_too_long_is_ended);
    tcase_add_test(all, a_failed_session_is_retried_from_where_it_failed);
    tcase_add_test(all, a_cancelled_generation_is_retried_to_the_same_image);
    tcase_add_test(all, all_problems_are_told_at_once);
    tcase_add_test(all, files_that_are_not_there_are_told_before_acceptance);
    tcase_add_test(all, a_name_is_good_while_nobody_can_say_whether_it_is);
    tcase_add_test(all, references_that_lead_nowhere_are_told_with_their_step);
    tcase_add_test(all, a_valid_request_is_told_what_it_takes);
    tcase_add_test(all, a_workflow_reserves_what_it_says_that_it_needs);
    tcase_add_test(all, what_two_models_take_and_evict_adds_up);
    tcase_add_test(all, a_request_that_can_never_fit_is_told_so);
    tcase_add_test(all, a_model_that_has_no_room_is_not_loaded_to_say_so);
    tcase_add_test(all, validating_while_the_model_domain_dies_is_an_answer);
    tcase_add_test(all, previews_that_the_safety_policy_does_not_give_are_a_warning);
    tcase_add_test(all, an_estimate_learns_from_what_was_done);
    tcase_add_test(all, an_estimate_counts_the_evaluations_of_the_plan);
    tcase_add_test(all, a_workflow_that_was_put_is_there_after_a_restart_until_it_is_deleted);
    tcase_add_test(all, a_template_that_is_checked_is_not_kept);
    tcase_add_test(all, a_workflow_with_mistakes_is_not_kept_nor_one_of_the_folder_touched);
    tcase_add_test(all, a_session_goes_on_with_a_workflow_that_was_deleted);
    tcase_add_test(all, what_a_put_template_extends_is_kept_apart_from_it);
    tcase_add_test(all, a_workflow_of_a_request_extends_nothing);
    return check_status_run("engine_workflows", all);
}
