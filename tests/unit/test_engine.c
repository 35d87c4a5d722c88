/* The engine on domains without processes (engine_fake.h): sessions from acceptance to the end, and what may go wrong.
 */
#include "tests/unit/engine_fake.h"

#include "common/log.h"
#include "common/wire.h"
#include "shm/segment.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct fake fake;
static char id[HEP_SESSION_ID_MAX], other[HEP_SESSION_ID_MAX];
static const char apple[] = "{\"prompt\": \"a red apple\"}";

static void setup(void)
{
    fake_setup(&fake, 1);
}

static void teardown(void)
{
    fake_teardown(&fake);
}

static bool segment_seen(const struct hep_segment_entry *entry, void *context)
{
    (void)entry;
    ++*(int *)context;
    return true;
}

static int segments(void)
{
    int count = 0;
    ck_assert_int_eq(hep_segment_list(fake.instance, segment_seen, &count, NULL), HEP_OK);
    return count;
}

static void expect_completed(const char *session)
{
    enum hep_session_state state = fake_run_until(&fake, session, HEP_SESSION_COMPLETED);
    json_t *view = fake_get(&fake, session);
    char *text = json_dumps(view, JSON_INDENT(1));
    ck_assert_msg(state == HEP_SESSION_COMPLETED, "%s", text);
    free(text);
    json_decref(view);
}

static enum hep_status control(const char *session, const char *action)
{
    json_t *reply = NULL;
    struct hep_error error = {0};
    enum hep_status status = hep_engine_control(fake.engine, session, action, 0, &reply, &error);
    json_decref(reply);
    return status;
}

START_TEST(a_request_runs_to_its_image)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"a red apple\", \"steps\": 6, \"seed\": 7}", 0, NULL, id, NULL);
    expect_completed(id);
    json_t *view = fake_get(&fake, id),
           *file = json_array_get(json_object_get(json_object_get(view, "results"), "files"), 0);
    ck_assert_ptr_nonnull(strstr(hep_json_str(file, "path", ""), id));
    ck_assert(hep_json_num(view, "progress", 0) == 1.0);
    ck_assert_int_eq(hep_json_int(json_object_get(view, "configuration"), "seed", 0), 7);
    ck_assert_int_eq(hep_json_int(json_object_get(view, "configuration"), "width", 0), 64);
    ck_assert_int_eq(json_array_size(json_object_get(view, "steps")), 18);
    json_decref(view);
    fake_run(&fake, 1000);
    ck_assert_int_eq(segments(), 0); /* the arena is gone */
    ck_assert_ptr_null(fake.engine->sessions);
    ck_assert_int_eq(fake.overlaps, 0);
}
END_TEST

START_TEST(progress_only_grows_and_names_the_step)
{
    double before = 0;
    int denoising = 0;
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 6}", 0, NULL, id, NULL);
    for (int turn = 0; turn < 1000; turn++) {
        json_t *view = fake_get(&fake, id);
        double now = hep_json_num(view, "progress", -1);
        ck_assert_msg(now >= before - 1e-9, "from %g to %g", before, now);
        before = now;
        denoising = (int)hep_json_int(view, "denoising_step", denoising);
        json_decref(view);
        if (!fake_turn(&fake))
            break;
    }
    ck_assert_int_eq(denoising, 6);
    ck_assert(before == 1.0);
}
END_TEST

/* A subseed that is left out stays 0: it says nothing while there is no variation. */
START_TEST(two_chosen_seeds_of_a_request_differ)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"subseed\": -1, \"seed\": -1}", 0, NULL, id, NULL);
    json_t *view = fake_get(&fake, id), *chosen = json_object_get(view, "configuration");
    ck_assert_int_gt(hep_json_int(chosen, "subseed", -1), 0);
    ck_assert_int_ne(hep_json_int(chosen, "subseed", -1), hep_json_int(chosen, "seed", -1));
    json_decref(view);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    view = fake_get(&fake, id);
    ck_assert_int_eq(hep_json_int(json_object_get(view, "configuration"), "subseed", -1), 0);
    json_decref(view);
}
END_TEST

START_TEST(a_seed_is_chosen_once_and_kept)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    json_t *view = fake_get(&fake, id);
    json_t *seed = json_incref(json_object_get(json_object_get(view, "configuration"), "seed"));
    ck_assert_int_ge(json_integer_value(seed), 0);
    ck_assert(json_is_integer(seed));
    json_decref(view);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    expect_completed(id);
    view = fake_get(&fake, id);
    ck_assert(json_equal(seed, json_object_get(json_object_get(view, "results"), "seed")));
    json_decref(seed);
    json_decref(view);
}
END_TEST

/* ---- bad requests ------------------------------------------------------------------------------------------------ */
static const struct {
    const char *configuration;
    enum hep_status code;
    const char *field;
} bad[] = {
    {"{}", HEP_E_MISSING_FIELD, "prompt"},
    {"{\"prompt\": \"\"}", HEP_E_OUT_OF_RANGE, "prompt"},
    {"{\"prompt\": 7}", HEP_E_BAD_FIELD, "prompt"},
    {"{\"promt\": \"x\"}", HEP_E_UNKNOWN_FIELD, "promt"},
    {"{\"prompt\": \"x\", \"width\": 0}", HEP_E_OUT_OF_RANGE, "width"},
    {"{\"prompt\": \"x\", \"height\": 100000}", HEP_E_OUT_OF_RANGE, "height"},
    {"{\"prompt\": \"x\", \"width\": 65}", HEP_E_OUT_OF_RANGE, "width"},
    {"{\"prompt\": \"x\", \"width\": \"64\"}", HEP_E_BAD_FIELD, "width"},
    {"{\"prompt\": \"x\", \"width\": 64.5}", HEP_E_BAD_FIELD, "width"},
    {"{\"prompt\": \"x\", \"steps\": 0}", HEP_E_OUT_OF_RANGE, "num_inference_steps"},
    {"{\"prompt\": \"x\", \"steps\": 5, \"num_inference_steps\": 5}", HEP_E_CONFLICT, "num_inference_steps"},
    {"{\"prompt\": \"x\", \"guidance\": -1}", HEP_E_OUT_OF_RANGE, "guidance_scale"},
    {"{\"prompt\": \"x\", \"guidance\": \"NaN\"}", HEP_E_BAD_FIELD, "guidance_scale"},
    {"{\"prompt\": \"x\", \"count\": 65}", HEP_E_OUT_OF_RANGE, "count"},
    {"{\"prompt\": \"x\", \"seed\": -2}", HEP_E_OUT_OF_RANGE, "seed"},
    {"{\"prompt\": \"x\", \"seed\": \"-2\"}", HEP_E_OUT_OF_RANGE, "seed"},
    {"{\"prompt\": \"x\", \"seed\": \"many\"}", HEP_E_BAD_FIELD, "seed"},
    {"{\"prompt\": \"x\", \"width\": \"9223372036854775808\"}", HEP_E_OUT_OF_RANGE, "width"},
    {"{\"prompt\": \"x\", \"guidance\": \"18446744073709551615\"}", HEP_E_OUT_OF_RANGE, "guidance_scale"},
    {"{\"prompt\": \"x\", \"seed\": 1.5}", HEP_E_BAD_FIELD, "seed"},
    {"{\"prompt\": \"x\", \"seed\": \"18446744073709551616\"}", HEP_E_OUT_OF_RANGE, "seed"},
    {"{\"prompt\": \"x\", \"rng\": \"dice\"}", HEP_E_OUT_OF_RANGE, "rng"},
    {"{\"prompt\": \"x\", \"scheduler\": \"nope\"}", HEP_E_OUT_OF_RANGE, "scheduler"},
    {"{\"prompt\": \"x\", \"model\": 3}", HEP_E_BAD_FIELD, "model"},
    {"[]", HEP_E_BAD_FIELD, "configuration"},
};

START_TEST(a_bad_field_is_named)
{
    struct hep_error error;
    fake_start(&fake, NULL);
    fake_run(&fake, 40);
    fake_execute(&fake, bad[_i].configuration, 0, NULL, id, &error);
    ck_assert_str_eq(id, "");
    ck_assert_msg(error.code == bad[_i].code, "%s: %s %s", bad[_i].configuration, hep_status_name(error.code),
                  error.message);
    ck_assert_str_eq(error.field, bad[_i].field);
    ck_assert_int_ne(error.message[0], 0);
    if (strcmp(error.field, "seed") == 0 && !strstr(error.message, "of type"))
        ck_assert_msg(strstr(error.message, "it is 0 to 2^64 - 1, or -1"), "%s", error.message);
    ck_assert_ptr_null(fake.engine->sessions);
}
END_TEST

START_TEST(a_whole_number_is_an_integer_however_it_is_written)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"width\": 64.0, \"seed\": 7e0, \"steps\": 5.0}", 0, NULL, id, NULL);
    json_t *view = fake_get(&fake, id), *configuration = json_object_get(view, "configuration");
    static const char *const names[] = {"width", "seed", "num_inference_steps"};
    static const int values[] = {64, 7, 5};
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) {
        ck_assert_msg(json_is_integer(json_object_get(configuration, names[i])), "%s", names[i]);
        ck_assert_int_eq(hep_json_int(configuration, names[i], 0), values[i]);
    }
    json_decref(view);
}
END_TEST

START_TEST(a_number_that_is_not_finite_is_refused)
{
    struct hep_error error;
    json_t *configuration = json_pack("{s:s}", "prompt", "x"), *nan = json_real(0.0), *complete = NULL;
    struct hep_workflow *workflow = NULL;
    struct hep_parameter_scope scope = {0};
    fake_start(&fake, NULL);
    ck_assert_int_eq(hep_workflows_find(fake.engine->workflows, "txt2img", &workflow, &error), HEP_OK);
    json_real_set(nan, 1e308); /* jansson takes no NaN: what is left is the range */
    json_object_set_new(configuration, "guidance_scale", nan);
    ck_assert_int_eq(hep_parameters_fill(workflow->parameters, workflow->parameter_count, configuration, &scope,
                                         &complete, NULL, &error),
                     HEP_E_OUT_OF_RANGE);
    ck_assert_str_eq(error.field, "guidance_scale");
    json_decref(configuration);
}
END_TEST

START_TEST(a_safety_policy_is_never_less_than_the_instances)
{
    static const struct {
        const char *asked, *effective; /* NULL: nothing; an error */
        enum hep_safety_policy least;
        bool has_checker;
        enum hep_status code;
    } rows[] = {{NULL, "off", HEP_SAFETY_OFF, false, HEP_OK},
                {"off", "off", HEP_SAFETY_OFF, false, HEP_OK},
                {"flag", "flag", HEP_SAFETY_OFF, true, HEP_OK},
                {NULL, "blur", HEP_SAFETY_BLUR, true, HEP_OK},
                {"off", "blur", HEP_SAFETY_BLUR, true, HEP_OK},
                {"refuse", "refuse", HEP_SAFETY_BLUR, true, HEP_OK},
                {"flag", NULL, HEP_SAFETY_OFF, false, HEP_E_UNSUPPORTED},
                {NULL, NULL, HEP_SAFETY_FLAG, false, HEP_E_UNSUPPORTED},
                {"Off", NULL, HEP_SAFETY_OFF, true, HEP_E_OUT_OF_RANGE}};
    struct hep_workflow *workflow = NULL;
    fake_start(&fake, NULL);
    ck_assert_int_eq(hep_workflows_find(fake.engine->workflows, "txt2img", &workflow, NULL), HEP_OK);
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct hep_error error = {0};
        json_t *configuration = json_pack("{s:s}", "prompt", "x"), *complete = NULL;
        struct hep_parameter_scope scope = {.model_info = json_pack("{s:b}", "safety_checker", rows[i].has_checker),
                                            .model = "m",
                                            .safety = rows[i].least};
        if (rows[i].asked)
            json_object_set_new(configuration, "safety", json_string(rows[i].asked));
        enum hep_status status = hep_parameters_fill(workflow->parameters, workflow->parameter_count, configuration,
                                                     &scope, &complete, NULL, &error);
        ck_assert_msg(status == rows[i].code, "row %zu: %s", i, error.message);
        ck_assert_str_eq(status == HEP_OK ? hep_json_str(complete, "safety", "") : error.field,
                         status == HEP_OK ? rows[i].effective : "safety");
        json_decref(complete);
        json_decref(scope.model_info);
        json_decref(configuration);
    }
}
END_TEST

START_TEST(a_model_without_a_vae_is_accepted_with_one_and_not_without)
{
    struct hep_error error;
    fake.needs_vae = true;
    fake_start(&fake, NULL);
    ck_assert_str_eq(fake_execute(&fake, apple, 0, NULL, id, &error), "");
    ck_assert_int_eq(error.code, HEP_E_MISSING_FIELD);
    ck_assert_str_eq(error.field, "vae");
    ck_assert(strstr(error.message, "emoji") && strstr(error.hint, "--kind vae"));
    fake_execute(&fake, "{\"prompt\": \"a red apple\", \"vae\": \"b\"}", 0, NULL, id, NULL);
    ck_assert_int_gt(fake_in_hand_of(HEP_ROLE_MODEL, "\"vae\": \"b\""), -1);
}
END_TEST

START_TEST(the_largest_seed_survives)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"seed\": \"18446744073709551615\"}", 0, NULL, id, NULL);
    json_t *view = fake_get(&fake, id);
    ck_assert_str_eq(hep_json_str(json_object_get(view, "configuration"), "seed", ""), "18446744073709551615");
    json_decref(view);
}
END_TEST

START_TEST(an_idempotency_key_makes_one_session)
{
    struct hep_error error;
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, "key-1", id, NULL);
    fake_execute(&fake, apple, 0, "key-1", other, NULL);
    ck_assert_str_eq(id, other);
    fake_execute(&fake, "{\"prompt\": \"a pear\"}", 0, "key-1", other, &error);
    ck_assert_int_eq(error.code, HEP_E_CONFLICT);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, "key-1", other, NULL);
    ck_assert_str_eq(id, other);
}
END_TEST

START_TEST(requests_are_accepted_while_the_model_domain_restarts)
{
    struct hep_error error;
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, &error);
    fake.down[HEP_ROLE_MODEL] = true;
    fake_kill(&fake, HEP_ROLE_MODEL);
    fake_execute(&fake, apple, 0, NULL, other, &error);
    ck_assert_str_ne(other, "");
}
END_TEST

/* ---- deaths ------------------------------------------------------------------------------------------------------ */
START_TEST(a_killed_step_is_asked_again)
{
    static const char *const types[] = {"model.load",           "device.reserve",     "conditioning.encode_prompt",
                                        "scheduler.plan",       "inference.generate", "postprocessing.decode",
                                        "postprocessing.encode"};
    fake_start(&fake, NULL);
    fake_rule(&fake, (struct fake_rule){.type = types[_i], .count = 1, .dies = true, .after_steps = 3});
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    expect_completed(id);
    json_t *view = fake_get(&fake, id), *error = json_array_get(json_object_get(view, "errors"), 0);
    ck_assert_str_eq(hep_json_str(error, "code", ""), "OUTCOME_UNKNOWN");
    ck_assert_str_eq(hep_json_str(json_object_get(error, "obituary"), "signal", ""), "SEGV");
    json_decref(view);
}
END_TEST

START_TEST(three_deaths_fail_the_session_and_the_others_go_on)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_execute(&fake, apple, 0, NULL, other, NULL);
    fake_rule(&fake, (struct fake_rule){.type = "postprocessing.decode", .count = -1, .dies = true, .only = id});
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    expect_completed(other);
    json_t *view = fake_get(&fake, id), *error = json_object_get(view, "error");
    ck_assert_ptr_nonnull(strstr(hep_json_str(error, "message", ""), "3 times"));
    ck_assert_str_eq(hep_json_str(json_object_get(error, "obituary"), "signal", ""), "SEGV");
    json_decref(view);
    fake_run(&fake, 1000);
    ck_assert_int_eq(segments(), 0);
}
END_TEST

START_TEST(whoever_was_there_at_a_death_is_asked_alone_and_the_poison_is_found)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 200}", 0, NULL, other, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    ck_assert_int_eq(control(other, "pause"), HEP_OK);
    fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 60}", 0, NULL, id, NULL);
    fake_rule(&fake, (struct fake_rule){
                         .type = "inference.generate", .count = -1, .dies = true, .after_steps = 50, .only = id});
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    ck_assert_int_eq(control(other, "resume"), HEP_OK); /* now both denoise together */
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    expect_completed(other);
    json_t *view = fake_get(&fake, other);
    ck_assert_int_gt(json_array_size(json_object_get(view, "errors")), 0); /* it was there */
    json_decref(view);
}
END_TEST

START_TEST(the_count_of_deaths_survives_a_restart_of_the_supervisor)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_rule(&fake, (struct fake_rule){.type = "postprocessing.decode", .count = -1, .dies = true});
    for (int deaths = 0; deaths < 2; deaths++) {
        fake_run_to(&fake, HEP_ROLE_POSTPROCESSING);
        while (fake_is_busy(HEP_ROLE_POSTPROCESSING))
            fake_turn(&fake);
    }
    fake_crash(&fake);
    fake_start(&fake, NULL);
    int seen = fake.requests[HEP_ROLE_POSTPROCESSING];
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    ck_assert_int_eq(fake.requests[HEP_ROLE_POSTPROCESSING] - seen, 1);
}
END_TEST

START_TEST(deaths_with_progress_between_them_are_no_poison)
{
    fake_start(&fake, NULL);
    for (int i = 0; i < 5; i++)
        fake_rule(&fake, (struct fake_rule){.type = "inference.generate", .count = 1, .dies = true, .after_steps = i});
    fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 6}", 0, NULL, id, NULL);
    expect_completed(id);
}
END_TEST

START_TEST(a_session_waits_for_a_domain_that_is_down)
{
    fake_start(&fake, NULL);
    fake_run(&fake, 40);
    fake.down[HEP_ROLE_CONDITIONING] = true;
    fake_kill(&fake, HEP_ROLE_CONDITIONING);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_run(&fake, 500);
    json_t *view = fake_get(&fake, id);
    ck_assert_str_eq(hep_json_str(view, "status", ""), "running");
    json_decref(view);
    json_t *status = hep_engine_status(fake.engine);
    ck_assert_str_eq(hep_json_str(status, "state", ""), "degraded");
    ck_assert_ptr_nonnull(strstr(hep_json_str(status, "line", ""), "conditioning"));
    json_decref(status);
}
END_TEST

START_TEST(stale_weights_are_loaded_again)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_CONDITIONING);
    fake.published_generation = 2; /* the model domain has published anew */
    fake.weights_generation = 2;
    expect_completed(id);
}
END_TEST

START_TEST(an_arena_that_is_gone_is_made_again)
{
    static const enum hep_role roles[] = {HEP_ROLE_CONDITIONING, HEP_ROLE_INFERENCE, HEP_ROLE_POSTPROCESSING,
                                          HEP_ROLE_POSTPROCESSING};
    struct hep_segment_sweep swept;
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_run_to(&fake, roles[_i]);
    if (_i == 3)
        fake_run_to(&fake, HEP_ROLE_POSTPROCESSING); /* encode, which needs no weights */
    ck_assert_int_eq(hep_segment_sweep(fake.instance, NULL, NULL, &swept, NULL), HEP_OK);
    ck_assert_int_eq(swept.removed, 1);
    expect_completed(id);
    fake_run(&fake, 1000);
    ck_assert_int_eq(segments(), 0);
}
END_TEST

START_TEST(a_reservation_is_asked_for_again_when_the_device_domain_restarts)
{
    fake_start(&fake, NULL);
    struct fake_rule *reserved = fake_rule(&fake, (struct fake_rule){.type = "device.reserve", .count = 100});
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_CONDITIONING);
    ck_assert_int_eq(reserved->count, 99);
    fake_kill(&fake, HEP_ROLE_DEVICE);
    expect_completed(id);
    ck_assert_int_eq(reserved->count, 98);
}
END_TEST

START_TEST(a_full_disk_is_waited_for)
{
    fake_start(&fake, NULL);
    fake_rule(&fake, (struct fake_rule){.type = "postprocessing.encode", .count = 40, .code = HEP_E_NO_SPACE});
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    expect_completed(id);
    ck_assert_int_eq(fake.requests[HEP_ROLE_INFERENCE], 1); /* the image was kept */
}
END_TEST

START_TEST(an_error_that_cannot_pass_fails_the_session)
{
    fake_start(&fake, NULL);
    fake_rule(&fake, (struct fake_rule){.type = "model.load", .count = -1, .code = HEP_E_BAD_MODEL});
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    json_t *view = fake_get(&fake, id);
    ck_assert_str_eq(hep_json_str(json_object_get(view, "error"), "code", ""), "BAD_MODEL");
    json_decref(view);
}
END_TEST

/* ---- control ----------------------------------------------------------------------------------------------------- */
START_TEST(a_cancelled_session_stops_and_stays_so)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 500}", 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    fake_run(&fake, 3);
    ck_assert_int_eq(control(id, "cancel"), HEP_OK);
    fake_run(&fake, 2000);
    ck_assert_ptr_null(fake.engine->sessions);
    ck_assert_int_eq(fake.requests[HEP_ROLE_POSTPROCESSING], 0);
    ck_assert_int_eq(segments(), 0);
    ck_assert_int_eq(control(id, "cancel"), HEP_E_NOT_NOW);
    ck_assert_int_eq(control("nobody", "cancel"), HEP_E_NOT_FOUND);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    json_t *view = fake_get(&fake, id);
    ck_assert_str_eq(hep_json_str(view, "status", ""), "cancelled");
    ck_assert_str_eq(hep_json_str(json_object_get(view, "domains"), "inference", ""), "cancelled");
    ck_assert_int_gt(hep_json_int(view, "denoising_step", 0), 0); /* how far it had come */
    json_decref(view);
}
END_TEST

START_TEST(a_cancel_is_durable_at_once)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    ck_assert_int_eq(control(id, "cancel"), HEP_OK);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    ck_assert_int_eq(segments(), 0); /* swept: no live session has it */
    json_t *view = fake_get(&fake, id);
    ck_assert_str_eq(hep_json_str(view, "status", ""), "cancelled");
    json_decref(view);
}
END_TEST

START_TEST(a_paused_session_goes_on_where_it_was)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 50}", 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    ck_assert_int_eq(control(id, "pause"), HEP_OK);
    ck_assert_int_eq(control(id, "pause"), HEP_E_NOT_NOW);
    fake_run(&fake, 2000);
    json_t *view = fake_get(&fake, id);
    ck_assert_str_eq(hep_json_str(view, "status", ""), "paused");
    json_decref(view);
    ck_assert_int_eq(segments(), 1); /* its denoised steps are kept */
    int texts = fake.requests[HEP_ROLE_CONDITIONING];
    ck_assert_int_eq(control(id, "resume"), HEP_OK);
    expect_completed(id);
    ck_assert_int_eq(fake.requests[HEP_ROLE_CONDITIONING], texts);
}
END_TEST

START_TEST(priority_then_age_decides)
{
    char ids[4][HEP_SESSION_ID_MAX];
    struct hep_engine_options options = {.sessions_max = 1};
    static const int priorities[4] = {0, 0, 5, 0}, expected[4] = {0, 2, 1, 3};
    fake_start(&fake, &options);
    for (int i = 0; i < 4; i++)
        fake_execute(&fake, apple, priorities[i], NULL, ids[i], NULL);
    fake_run(&fake, 100000);
    const char *at = fake.order;
    for (int i = 0; i < 4; i++) {
        char wanted[80];
        snprintf(wanted, sizeof wanted, "inference.generate:%s ", ids[expected[i]]);
        at = strstr(at, wanted);
        ck_assert_msg(at != NULL, "%d of %s", i, fake.order);
    }
}
END_TEST

/* Denoising steps that the first did before the second began to denoise. */
static int steps_before_the_other(const char *configuration, int priority)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"long\", \"steps\": 500}", 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    fake_execute(&fake, configuration, priority, NULL, other, NULL);
    int steps = 0;
    for (int turn = 0; turn < 20000; turn++) {
        const struct hep_session *second = hep_engine_find(fake.engine, other),
                                 *slow = hep_engine_find(fake.engine, id);
        if (!second || second->state == HEP_SESSION_COMPLETED)
            break;
        steps = slow ? slow->steps[5].position : 500; /* denoise */
        fake_turn(&fake);
    }
    expect_completed(other);
    expect_completed(id);
    return steps;
}

START_TEST(an_urgent_session_gets_the_cores_at_the_next_step)
{
    int steps = steps_before_the_other("{\"prompt\": \"urgent\", \"steps\": 3, \"width\": 128}", 5);
    ck_assert_msg(steps < 60, "%d of 500 steps", steps);
    json_t *view = fake_get(&fake, id);
    ck_assert_uint_eq(json_array_size(json_object_get(view, "errors")), 0); /* giving way is no error */
    json_decref(view);
}
END_TEST

START_TEST(one_that_cannot_run_together_with_it_waits_for_the_cores)
{
    ck_assert_int_eq(steps_before_the_other("{\"prompt\": \"other\", \"steps\": 3, \"width\": 128}", 0), 500);
}
END_TEST

START_TEST(one_of_less_priority_waits_for_the_cores)
{
    ck_assert_int_eq(steps_before_the_other("{\"prompt\": \"other\", \"steps\": 3}", -1), 500);
}
END_TEST

START_TEST(one_of_the_same_kind_joins_at_the_next_step)
{
    int steps = steps_before_the_other("{\"prompt\": \"other\", \"steps\": 3}", 0);
    ck_assert_msg(steps < 60, "%d of 500 steps", steps);
    ck_assert_int_eq(fake.overlaps, 0);
}
END_TEST

START_TEST(a_call_that_has_no_place_for_company_is_not_interrupted)
{
    fake_start(&fake, NULL);
    json_t *manager = json_pack("{s:s}", "limited_by", "memory");
    hep_batches_see_manager(fake.engine, manager);
    json_decref(manager);
    fake_execute(&fake, "{\"prompt\": \"long\", \"steps\": 50}", 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    fake_execute(&fake, apple, 0, NULL, other, NULL);
    fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
    ck_assert_int_eq(fake.requests[HEP_ROLE_INFERENCE], 1);
    ck_assert_int_eq(fake_run_until(&fake, other, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
}
END_TEST

START_TEST(a_session_near_its_end_gets_the_cores_first)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    fake_execute(&fake, "{\"prompt\": \"other\", \"width\": 128}", 0, NULL, other, NULL);
    fake_run(&fake, 100000);
    char mine[80], its[80];
    snprintf(mine, sizeof mine, "postprocessing.decode:%s ", id);
    snprintf(its, sizeof its, "model.load:%s ", other);
    ck_assert(strstr(fake.order, mine) < strstr(fake.order, its));
}
END_TEST

START_TEST(a_finished_image_is_not_kept_waiting_by_those_that_denoise)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"short\", \"steps\": 30}", 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE);
    fake_execute(&fake, "{\"prompt\": \"long\", \"steps\": 500}", 0, NULL, other, NULL);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    ck_assert_int_lt(hep_engine_find(fake.engine, other)->steps[5].position, 500);
    expect_completed(other);
}
END_TEST

static const char large[] = "{\"prompt\": \"x\", \"width\": 128, \"height\": 128, \"count\": 64}"; /* 3 MiB of image */

static void expect_note(const char *session, const char *state, const char *note)
{
    json_t *view = fake_get(&fake, session);
    ck_assert_str_eq(hep_json_str(view, "status", ""), state);
    ck_assert_msg(strstr(hep_json_str(view, "note", ""), note) != NULL, "%s", hep_json_str(view, "note", ""));
    json_decref(view);
}

START_TEST(an_arena_larger_than_shm_fails_at_once_and_blocks_nobody)
{
    char ids[4][HEP_SESSION_ID_MAX];
    fake.shm_total = 2 << 20;
    fake_start(&fake, NULL);
    for (int i = 0; i < 4; i++)
        fake_execute(&fake, large, 0, NULL, ids[i], NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    int64_t began = fake_now(&fake);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(fake_run_until(&fake, ids[i], HEP_SESSION_FAILED), HEP_SESSION_FAILED);
        json_t *view = fake_get(&fake, ids[i]), *error = json_object_get(view, "error");
        ck_assert_str_eq(hep_json_str(error, "code", ""), "NO_SHM");
        ck_assert(!hep_json_bool(error, "retryable", true));
        ck_assert_ptr_nonnull(strstr(hep_json_str(error, "message", ""), "2 MiB in all"));
        ck_assert_ptr_nonnull(strstr(hep_json_str(error, "hint", ""), "remount,size="));
        json_decref(view);
    }
    ck_assert_int_lt(fake_now(&fake) - began, 1000);
    expect_completed(id);
}
END_TEST

START_TEST(weights_count_beside_the_arena)
{
    fake.shm_total = 5 << 20;
    fake.weights_bytes = 4 << 20;
    fake_start(&fake, NULL);
    fake_execute(&fake, large, 0, NULL, id, NULL);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    fake_execute(&fake, apple, 0, NULL, other, NULL);
    expect_completed(other);
}
END_TEST

START_TEST(a_full_shm_sends_back_to_the_queue_and_smaller_ones_go_first)
{
    struct hep_engine_options options = {.sessions_max = 1};
    fake.shm_total = 64 << 20;
    fake.shm_foreign = 62 << 20;
    fake_start(&fake, &options);
    fake_execute(&fake, large, 0, NULL, id, NULL);
    fake_execute(&fake, apple, 0, NULL, other, NULL);
    expect_completed(other);
    fake_run(&fake, 200);
    expect_note(id, "queued", "waits for shared memory");
    json_t *status = hep_engine_status(fake.engine);
    ck_assert_int_eq(hep_json_int(json_object_get(status, "memory"), "waiting_for_shm", 0), 1);
    json_decref(status);
    fake.shm_foreign = 0;
    expect_completed(id);
    status = hep_engine_status(fake.engine);
    ck_assert_int_eq(hep_json_int(json_object_get(status, "memory"), "waiting_for_shm", -1), 0);
    json_decref(status);
}
END_TEST

static int place_of(const char *type, const char *session)
{
    char what[96];
    snprintf(what, sizeof what, "%s:%s ", type, session);
    const char *found = strstr(fake.order, what);
    ck_assert_ptr_nonnull(found);
    return (int)(found - fake.order);
}

START_TEST(nobody_overtakes_who_waits_for_an_arena_of_ours)
{
    fake.shm_total = 6 << 20;
    fake_start(&fake, NULL);
    fake_execute(&fake, large, 0, NULL, id, NULL);
    fake_execute(&fake, large, 0, NULL, other, NULL); /* both do not fit */
    for (int turn = 0; turn < 100000; turn++) {
        json_t *view = fake_get(&fake, other);
        bool back = strstr(hep_json_str(view, "note", ""), "waits for shared memory") != NULL;
        json_decref(view);
        if (back)
            break;
        ck_assert(fake_turn(&fake));
    }
    char third[HEP_SESSION_ID_MAX];
    fake_execute(&fake, apple, 0, NULL, third, NULL);
    expect_completed(id);
    expect_completed(other);
    expect_completed(third);
    ck_assert_int_lt(place_of("inference.generate", other), place_of("inference.generate", third));
}
END_TEST

START_TEST(weights_that_find_no_room_wait_without_a_place)
{
    struct hep_engine_options options = {.sessions_max = 1};
    fake_start(&fake, &options);
    fake_rule(&fake, (struct fake_rule){.type = "model.load", .count = 1, .code = HEP_E_NO_SHM});
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_execute(&fake, apple, 0, NULL, other, NULL);
    fake_run_to(&fake, HEP_ROLE_CONDITIONING);
    expect_note(id, "queued", "waits for shared memory");
    expect_completed(other);
    expect_completed(id);
    fake_rule(&fake, (struct fake_rule){.type = "model.load", .count = 30, .code = HEP_E_NO_SHM});
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    expect_completed(id); /* no try is the last one */
}
END_TEST

START_TEST(a_request_is_refused_while_shm_has_room_for_nobody)
{
    struct hep_error error;
    fake.shm_total = 8 << 20;
    fake.shm_foreign = 8 << 20;
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, &error);
    ck_assert_int_eq(error.code, HEP_E_NO_SHM);
    ck_assert_int_eq(hep_status_http(error.code), 503);
    fake.shm_foreign = 0;
    fake_execute(&fake, apple, 0, NULL, id, &error);
    expect_completed(id);
}
END_TEST

START_TEST(an_evaluation_that_would_take_too_long_is_refused_with_its_numbers)
{
    fake_start(&fake, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"width\": 256, \"height\": 1024}", 0, NULL, id, NULL);
    fake_execute(&fake, "{\"prompt\": \"x\", \"width\": 256, \"height\": 256, \"steps\": 2}", 0, NULL, other, NULL);
    int before = fake.requests[HEP_ROLE_INFERENCE];
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    ck_assert_int_eq(fake.requests[HEP_ROLE_INFERENCE], before);
    json_t *view = fake_get(&fake, id), *error = json_object_get(view, "error");
    ck_assert_str_eq(hep_json_str(error, "code", ""), "OUT_OF_RANGE");
    ck_assert_str_eq(hep_json_str(error, "field", ""), "height");
    ck_assert_ptr_nonnull(strstr(hep_json_str(error, "message", ""), "410 s")); /* 409.6 GFLOP at 1 GFLOP/s */
    ck_assert_ptr_nonnull(strstr(hep_json_str(error, "message", ""), "120 s"));
    ck_assert_ptr_nonnull(strstr(hep_json_str(error, "hint", ""), "sessions.evaluation_max_ms"));
    json_decref(view);
    expect_completed(other);
}
END_TEST

START_TEST(a_rate_that_was_measured_too_low_is_put_right_by_what_runs)
{
    fake_start(&fake, NULL);
    fake.step_ms = 10; /* of 0.1 GFLOP: ten times what device.list says */
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    expect_completed(id);
    fake_execute(&fake, "{\"prompt\": \"x\", \"width\": 256, \"height\": 1024, \"steps\": 2}", 0, NULL, other, NULL);
    expect_completed(other);
}
END_TEST

START_TEST(a_cancel_reaches_the_domain_that_works_on_it)
{
    static const enum hep_role roles[] = {HEP_ROLE_CONDITIONING, HEP_ROLE_INFERENCE, HEP_ROLE_POSTPROCESSING};
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_run_to(&fake, roles[_i]);
    ck_assert_int_eq(control(id, "cancel"), HEP_OK);
    for (int turn = 0; fake.cancels[roles[_i]] == 0; turn++)
        ck_assert(turn < 1000 && fake_turn(&fake));
    fake_run(&fake, 200);
    ck_assert_int_eq(segments(), 0);
}
END_TEST

START_TEST(memory_limits_how_many_run)
{
    struct hep_engine_options options = {.memory_bytes = 5 << 20};
    fake_start(&fake, &options);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_execute(&fake, apple, 0, NULL, other, NULL);
    for (int turn = 0; turn < 5000 && fake_turn(&fake); turn++) {
        int rooms = 0;
        for (struct hep_session *s = fake.engine->sessions; s; s = s->next)
            rooms += s->room;
        ck_assert_int_le(rooms, 1);
    }
    expect_completed(id);
    expect_completed(other);
    fake_execute(&fake, "{\"prompt\": \"x\", \"width\": 4096, \"height\": 4096}", 0, NULL, id, NULL);
    ck_assert_int_eq(fake_run_until(&fake, id, HEP_SESSION_FAILED), HEP_SESSION_FAILED);
    json_t *view = fake_get(&fake, id);
    ck_assert_str_eq(hep_json_str(json_object_get(view, "error"), "code", ""), "NO_MEMORY");
    json_decref(view);
}
END_TEST

/* ---- the supervisor's death -------------------------------------------------------------------------------------- */
START_TEST(a_supervisor_killed_after_any_turn_resumes)
{
    int turns = 0;
    for (bool ended = false; !ended; turns++) {
        fake_start(&fake, NULL);
        fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 12, \"seed\": 9}", 0, NULL, id, NULL);
        ended = true;
        for (int i = 0; i < turns; i++)
            ended = fake_turn(&fake) && ended;
        json_t *view = fake_get(&fake, id);
        ended = strcmp(hep_json_str(view, "status", ""), "completed") == 0 && !fake.engine->sessions;
        json_decref(view);
        fake_crash(&fake);
        fake_start(&fake, NULL);
        expect_completed(id);
        fake_run(&fake, 1000);
        ck_assert_int_eq(segments(), 0);
        ck_assert_ptr_null(fake.engine->sessions);
        fake_crash(&fake);
    }
    ck_assert_int_gt(turns, 20);
}
END_TEST

START_TEST(a_drained_engine_begins_nothing)
{
    struct hep_error error;
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_CONDITIONING);
    hep_engine_drain(fake.engine);
    fake_execute(&fake, apple, 0, NULL, other, &error);
    ck_assert_int_eq(error.code, HEP_E_NOT_NOW);
    fake_run(&fake, 1000);
    ck_assert_int_eq(fake.requests[HEP_ROLE_INFERENCE], 0);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    expect_completed(id);
    ck_assert_int_eq(fake.requests[HEP_ROLE_CONDITIONING], 1); /* what was done stayed done */
}
END_TEST

START_TEST(a_full_disk_refuses_requests_and_loses_nothing)
{
    struct rlimit limit, small;
    struct hep_error error;
    signal(SIGXFSZ, SIG_IGN);
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &small);
    fake_execute(&fake, apple, 0, NULL, other, &error);
    ck_assert_str_eq(other, "");
    ck_assert(error.code == HEP_E_IO || error.code == HEP_E_NO_SPACE);
    fake_run(&fake, 50);
    json_t *status = hep_engine_status(fake.engine);
    ck_assert_str_eq(hep_json_str(status, "state", ""), "degraded");
    json_decref(status);
    ck_assert_int_eq(fake.requests[HEP_ROLE_INFERENCE], 0); /* nothing is sent that is not stored */
    setrlimit(RLIMIT_FSIZE, &limit);
    expect_completed(id);
    fake_execute(&fake, apple, 0, NULL, other, &error);
    expect_completed(other);
}
END_TEST

/* ---- many at once ------------------------------------------------------------------------------------------------ */
static void storm(uint64_t seed, int cores)
{
    char ids[6][HEP_SESSION_ID_MAX];
    uint64_t dice = seed;
    fake.seed = seed;
    fake.cores = cores;
    fake_start(&fake, NULL);
    for (int i = 0; i < 6; i++)
        fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 8}", (int)(fake_random(&dice) % 3), NULL, ids[i], NULL);
    for (int turn = 0; turn < 1500 && fake_turn(&fake); turn++) {
        uint64_t chance = fake_random(&dice) % 150;
        if (chance < HEP_ROLE_COUNT && (turn % 4) == 0)
            fake_kill(&fake, (enum hep_role)chance);
        if (chance == 20) {
            fake_crash(&fake);
            fake_start(&fake, NULL);
        }
        if (chance == 30)
            control(ids[chance % 6], "pause");
    }
    for (int i = 0; i < 6; i++) {
        json_t *view = fake_get(&fake, ids[i]);
        if (strcmp(hep_json_str(view, "status", ""), "paused") == 0)
            ck_assert_int_eq(control(ids[i], "resume"), HEP_OK);
        json_decref(view);
    }
    for (int i = 0; i < 6; i++) {
        enum hep_session_state state = fake_run_until(&fake, ids[i], HEP_SESSION_COMPLETED);
        json_t *view = fake_get(&fake, ids[i]);
        const char *message = hep_json_str(json_object_get(view, "error"), "message", "");
        ck_assert_msg(state == HEP_SESSION_COMPLETED || strstr(message, "3 times"),
                      "seed %" PRIu64 ": session %d is %s: %s", seed, i, hep_session_state_name(state), message);
        json_decref(view);
    }
    fake_run(&fake, 2000);
    ck_assert_msg(segments() == 0 && !fake.engine->sessions, "seed %" PRIu64, seed);
    json_t *leases = hep_lease_status(hep_dispatch_ledger(fake.engine->dispatch));
    ck_assert_msg(json_array_size(leases) == 0, "seed %" PRIu64 ": a lease is left", seed);
    json_decref(leases);
    fake_crash(&fake);
}

START_TEST(no_two_domains_share_a_core_under_random_deaths)
{
    const char *given = getenv("HEP_TEST_SEED");
    for (uint64_t seed = 1; seed <= 12; seed++)
        storm(given ? strtoull(given, NULL, 10) : seed * 7919, seed % 3 == 0 ? 16 : 2);
}
END_TEST

static void see_state(void *context, const struct hep_store_session *row)
{
    snprintf(context, 24, "%s", row->state);
}

/* What a session says of itself, what its row says, and what the domains have in hand are one thing. */
static void expect_agreement(uint64_t seed, int turn)
{
    ck_assert_msg(fake_strays(&fake) == 0, "seed %" PRIu64 ", turn %d: a domain works for nobody", seed, turn);
    for (const struct hep_session *s = fake.engine->sessions; s; s = s->next) {
        const char *said = hep_session_state_name(s->state);
        char row[24] = "";
        int in_hand = fake_in_hand(s->id), sent = s->errand && !s->measuring && hep_errand_is_sent(s->errand) ? 1 : 0,
            running = 0;
        for (size_t i = 0; i < s->workflow->step_count; i++)
            running += s->steps[i].state == HEP_STEP_RUNNING;
        ck_assert_int_eq(hep_store_get_session(fake.engine->store, s->id, see_state, row, NULL), HEP_OK);
        ck_assert_msg(strcmp(row, said) == 0, "seed %" PRIu64 ", turn %d: %s is %s, its row says %s", seed, turn, s->id,
                      said, row);
        ck_assert_msg(in_hand == sent, "seed %" PRIu64 ", turn %d: %s (%s) has sent %d, %d are in hand", seed, turn,
                      s->id, said, sent, in_hand);
        ck_assert_msg(running <= 1 && (!sent || running == 1 || s->state != HEP_SESSION_RUNNING),
                      "seed %" PRIu64 ", turn %d: %s (%s) has %d steps that run", seed, turn, s->id, said, running);
    }
}

static void random_act(uint64_t *seed)
{
    static const char *const actions[] = {"pause", "resume", "cancel", "resume", "resume"};
    char session[HEP_SESSION_ID_MAX];
    switch (fake_random(seed) % 40) {
    case 0:
        fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 9}", (int)(fake_random(seed) % 3), NULL, session, NULL);
        break;
    case 1:
    case 2:
        for (const struct hep_session *s = fake.engine->sessions; s; s = s->next)
            if (fake_random(seed) % 3 == 0) {
                control(s->id, actions[fake_random(seed) % HEP_COUNT_OF(actions)]);
                break;
            }
        break;
    case 3:
        fake_kill(&fake, (enum hep_role)(fake_random(seed) % HEP_ROLE_COUNT));
        break;
    case 4:
        if (fake_random(seed) % 8 == 0) {
            fake_crash(&fake);
            fake_start(&fake, NULL);
        }
        break;
    default:
        break;
    }
}

START_TEST(session_state_and_execution_state_agree_at_every_turn)
{
    const char *given = getenv("HEP_TEST_SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : 104729 * (uint64_t)(_i + 1), seed = first;
    fake_start(&fake, NULL);
    for (int turn = 0; turn < 2500; turn++) {
        random_act(&seed);
        fake_turn(&fake);
        expect_agreement(first, turn);
    }
}
END_TEST

START_TEST(a_large_machine_decodes_while_it_denoises)
{
    fake.cores = 16;
    fake_start(&fake, NULL);
    char ids[4][HEP_SESSION_ID_MAX];
    for (int i = 0; i < 4; i++)
        fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 30}", 0, NULL, ids[i], NULL);
    for (int i = 0; i < 4; i++)
        expect_completed(ids[i]);
    ck_assert_int_gt(fake.overlaps, 0);
}
END_TEST

/* ---- the log ----------------------------------------------------------------------------------------------------- */
START_TEST(what_an_answer_leads_to_is_logged_with_its_request)
{
    char line[4096] = "";
    FILE *log = tmpfile();
    fake_rule(&fake, (struct fake_rule){.type = "inference.generate", .count = 1, .code = HEP_E_UNSUPPORTED});
    fake_start(&fake, NULL);
    hep_log_init("test", HEP_INFO);
    hep_log_set_fd(fileno(log));
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    fake_execute(&fake, apple, 0, NULL, other, NULL);
    expect_completed(other);
    hep_log_init("test", HEP_LOG_LEVEL_COUNT);
    hep_log_set_fd(STDERR_FILENO);
    rewind(log);
    int failed = 0, of_nobody = 0;
    while (fgets(line, sizeof line, log)) {
        bool is_first = hep_log_line_is_of(line, strcspn(line, "\n"), id),
             is_other = hep_log_line_is_of(line, strcspn(line, "\n"), other);
        failed += is_first && strstr(line, " session.failed ") && strstr(line, " request=e");
        of_nobody += strstr(line, " session.") && !is_first && !is_other;
        /* settling is about all sessions: no request of one of them is in another's line */
        ck_assert_msg(!strstr(line, "to=running") || !strstr(line, "request="), "%s", line);
    }
    fclose(log);
    ck_assert_int_eq(failed, 1);
    ck_assert_int_eq(of_nobody, 0);
}
END_TEST

/* ---- events, status ---------------------------------------------------------------------------------------------- */
START_TEST(events_have_numbers_that_never_go_back)
{
    const struct hep_event_filter all = {"", "", false};
    uint64_t reached;
    fake_start(&fake, NULL);
    fake_execute(&fake, apple, 0, NULL, id, NULL);
    expect_completed(id);
    uint64_t last = hep_events_last(fake.engine->events);
    json_t *list = hep_events_after(fake.engine->events, 0, &all, 10000, &reached), *event;
    size_t index;
    int64_t before = 0;
    bool completed = false;
    json_array_foreach(list, index, event)
    {
        ck_assert_int_gt(hep_json_int(event, "seq", 0), before);
        before = hep_json_int(event, "seq", 0);
        completed = completed || strcmp(hep_json_str(event, "to", ""), "completed") == 0;
    }
    ck_assert(completed);
    json_decref(list);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    fake_run(&fake, 20);
    ck_assert_uint_gt(hep_events_last(fake.engine->events), last);
    list = hep_events_after(fake.engine->events, last, &all, 10, &reached);
    ck_assert_int_gt(hep_json_int(json_array_get(list, 0), "seq", 0), (int64_t)last);
    json_decref(list);
    list =
        hep_events_after(fake.engine->events, 0, &all, 3, &reached); /* what the ring has lost comes from the store */
    ck_assert_int_lt(hep_json_int(json_array_get(list, 0), "seq", 0), (int64_t)last);
    json_decref(list);
}
END_TEST

START_TEST(ready_means_every_domain)
{
    fake_start(&fake, NULL);
    json_t *status = hep_engine_status(fake.engine);
    ck_assert_str_ne(hep_json_str(status, "state", ""), "ready");
    json_decref(status);
    fake_run(&fake, 100);
    status = hep_engine_status(fake.engine);
    ck_assert_str_eq(hep_json_str(status, "line", ""), "ready");
    ck_assert(hep_json_bool(status, "ready", false));
    json_decref(status);
    fake.idle_ms[HEP_ROLE_INFERENCE] = HEP_STALL_MS - 1;
    status = hep_engine_status(fake.engine);
    ck_assert(hep_json_bool(status, "ready", false));
    json_decref(status);
    fake.idle_ms[HEP_ROLE_INFERENCE] = HEP_STALL_MS; /* it reports, and does not get on */
    status = hep_engine_status(fake.engine);
    ck_assert(!hep_json_bool(status, "ready", true));
    ck_assert_ptr_nonnull(strstr(hep_json_str(status, "line", ""), "inference busy without progress for 20 s"));
    json_decref(status);
    fake.idle_ms[HEP_ROLE_INFERENCE] = 0;
    fake.engine->domains[HEP_ROLE_SCHEDULER].report_ms -= HEP_FRESH_MS + 1; /* silent */
    status = hep_engine_status(fake.engine);
    ck_assert(!hep_json_bool(status, "ready", true));
    ck_assert_ptr_nonnull(strstr(hep_json_str(status, "line", ""), "scheduler silent"));
    json_decref(status);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engine");
    TCase *cases = tcase_create("engine");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 100);
    tcase_add_test(cases, a_request_runs_to_its_image);
    tcase_add_test(cases, progress_only_grows_and_names_the_step);
    tcase_add_test(cases, a_seed_is_chosen_once_and_kept);
    tcase_add_test(cases, two_chosen_seeds_of_a_request_differ);
    tcase_add_loop_test(cases, a_bad_field_is_named, 0, (int)HEP_COUNT_OF(bad));
    tcase_add_test(cases, a_whole_number_is_an_integer_however_it_is_written);
    tcase_add_test(cases, a_number_that_is_not_finite_is_refused);
    tcase_add_test(cases, a_safety_policy_is_never_less_than_the_instances);
    tcase_add_test(cases, the_largest_seed_survives);
    tcase_add_test(cases, a_model_without_a_vae_is_accepted_with_one_and_not_without);
    tcase_add_test(cases, an_idempotency_key_makes_one_session);
    tcase_add_test(cases, requests_are_accepted_while_the_model_domain_restarts);
    tcase_add_loop_test(cases, a_killed_step_is_asked_again, 0, 7);
    tcase_add_test(cases, three_deaths_fail_the_session_and_the_others_go_on);
    tcase_add_test(cases, whoever_was_there_at_a_death_is_asked_alone_and_the_poison_is_found);
    tcase_add_test(cases, the_count_of_deaths_survives_a_restart_of_the_supervisor);
    tcase_add_test(cases, deaths_with_progress_between_them_are_no_poison);
    tcase_add_test(cases, a_session_waits_for_a_domain_that_is_down);
    tcase_add_test(cases, stale_weights_are_loaded_again);
    tcase_add_loop_test(cases, an_arena_that_is_gone_is_made_again, 0, 4);
    tcase_add_test(cases, a_reservation_is_asked_for_again_when_the_device_domain_restarts);
    tcase_add_test(cases, a_full_disk_is_waited_for);
    tcase_add_test(cases, an_error_that_cannot_pass_fails_the_session);
    tcase_add_test(cases, a_cancelled_session_stops_and_stays_so);
    tcase_add_test(cases, a_cancel_is_durable_at_once);
    tcase_add_test(cases, a_paused_session_goes_on_where_it_was);
    tcase_add_test(cases, priority_then_age_decides);
    tcase_add_test(cases, an_urgent_session_gets_the_cores_at_the_next_step);
    tcase_add_test(cases, a_finished_image_is_not_kept_waiting_by_those_that_denoise);
    tcase_add_test(cases, one_that_cannot_run_together_with_it_waits_for_the_cores);
    tcase_add_test(cases, one_of_less_priority_waits_for_the_cores);
    tcase_add_test(cases, one_of_the_same_kind_joins_at_the_next_step);
    tcase_add_test(cases, a_call_that_has_no_place_for_company_is_not_interrupted);
    tcase_add_test(cases, a_session_near_its_end_gets_the_cores_first);
    tcase_add_test(cases, an_arena_larger_than_shm_fails_at_once_and_blocks_nobody);
    tcase_add_test(cases, weights_count_beside_the_arena);
    tcase_add_test(cases, a_full_shm_sends_back_to_the_queue_and_smaller_ones_go_first);
    tcase_add_test(cases, nobody_overtakes_who_waits_for_an_arena_of_ours);
    tcase_add_test(cases, weights_that_find_no_room_wait_without_a_place);
    tcase_add_test(cases, a_request_is_refused_while_shm_has_room_for_nobody);
    tcase_add_test(cases, an_evaluation_that_would_take_too_long_is_refused_with_its_numbers);
    tcase_add_test(cases, a_rate_that_was_measured_too_low_is_put_right_by_what_runs);
    tcase_add_loop_test(cases, a_cancel_reaches_the_domain_that_works_on_it, 0, 3);
    tcase_add_test(cases, memory_limits_how_many_run);
    tcase_add_test(cases, a_supervisor_killed_after_any_turn_resumes);
    tcase_add_test(cases, a_drained_engine_begins_nothing);
    tcase_add_test(cases, a_full_disk_refuses_requests_and_loses_nothing);
    tcase_add_test(cases, no_two_domains_share_a_core_under_random_deaths);
    tcase_add_loop_test(cases, session_state_and_execution_state_agree_at_every_turn, 0, 6);
    tcase_add_test(cases, a_large_machine_decodes_while_it_denoises);
    tcase_add_test(cases, what_an_answer_leads_to_is_logged_with_its_request);
    tcase_add_test(cases, events_have_numbers_that_never_go_back);
    tcase_add_test(cases, ready_means_every_domain);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
