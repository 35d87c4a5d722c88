/*
 * The domains alone (--stdio), asked by the names that callers know: what they answer, and what they refuse. Whole
 * chains of them are in tests/e2e/known_names.py.
 */
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/support/domain_process.h"

#include <string.h>
#include <unistd.h>

static char instance[32];
static struct domain_process *process;

static void setup(void)
{
    snprintf(instance, sizeof instance, "nam-%d", (int)getpid());
}

static void begin(const char *domain)
{
    process = domain_start_stdio(domain, instance, NULL);
}

static void finish(void)
{
    domain_end(hep_take(&process));
}

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    ck_assert_msg(value != NULL, "%s", text);
    return value;
}

static json_t *ask(const char *operation, const char *data)
{
    return domain_call(process, operation, "", false, parse(data));
}

static void expect(const char *operation, const char *data, enum hep_status code, const char *field)
{
    struct hep_error error = {0};
    enum hep_status status = domain_ask(process, operation, "", false, parse(data), NULL, &error);
    ck_assert_msg(status == code && strcmp(error.field, field) == 0, "%s %s: %s %s (%s)", operation, data,
                  hep_status_name(status), error.field, error.message);
}

/* ---- device ------------------------------------------------------------------------------------------------------ */
START_TEST(a_device_is_known_by_its_id)
{
    static const char *const operations[] = {"get_device", "get_info", "get_capabilities", "get_device_status",
                                             "set_device"};
    begin("device");
    json_t *list = ask("list_devices", "{}"), *one = ask("get_device", "{\"device_id\": \"cpu0\"}"),
           *device = json_object_get(one, "device"), *settings = json_object_get(one, "settings");
    ck_assert(json_equal(json_array_get(json_object_get(list, "devices"), 0), device));
    ck_assert_int_eq(hep_json_int(settings, "threads", 0), (int)json_array_size(json_object_get(list, "cores")));
    json_t *can = ask("get_capabilities", "{}"), *isa = json_object_get(can, "isa");
    ck_assert_str_eq(hep_json_str(isa, "level", "1"), hep_json_str(settings, "isa", "2"));
    ck_assert_int_eq(hep_json_int(can, "threads_max", 0), hep_json_int(settings, "threads", 1));
    ck_assert_int_eq(hep_json_int(can, "memory_bytes", 0), hep_json_int(json_object_get(one, "memory"), "free", 1));
    for (size_t i = 0; i < HEP_COUNT_OF(operations); i++) {
        json_decref(ask(operations[i], "{}"));
        expect(operations[i], "{\"device_id\": \"gpu7\"}", HEP_E_NOT_FOUND, "device_id");
    }
    expect("reserve", "{\"session\": \"s\", \"memory_bytes\": 5, \"device_id\": \"gpu7\"}", HEP_E_NOT_FOUND,
           "device_id");
    finish();
    json_decref(list);
    json_decref(one);
    json_decref(can);
}
END_TEST

START_TEST(the_status_is_of_the_domain_or_of_one_device)
{
    begin("device");
    json_decref(ask("reserve", "{\"session\": \"s\", \"memory_bytes\": 4096}"));
    json_t *whole = ask("get_status", "{}"), *status = json_object_get(whole, "status");
    ck_assert_str_eq(hep_json_str(status, "domain", ""), "device");
    ck_assert_str_eq(hep_json_str(status, "state", ""), "ready"); /* asking for it is no work */
    ck_assert_uint_eq(json_array_size(json_object_get(status, "in_hand")), 0);
    json_t *one = ask("get_status", "{\"device_id\": \"cpu0\"}");
    status = json_object_get(one, "status");
    ck_assert_str_eq(hep_json_str(status, "device_id", ""), "cpu0");
    ck_assert_int_eq(hep_json_int(json_object_get(status, "memory"), "reserved", 0), 4096);
    ck_assert_str_eq(hep_json_str(json_array_get(json_object_get(status, "reservations"), 0), "session", ""), "s");
    finish();
    json_decref(whole);
    json_decref(one);
}
END_TEST

static int64_t cores(void)
{
    json_t *list = ask("list", "{}"), *one = ask("get", "{}");
    int64_t count = (int64_t)json_array_size(json_object_get(list, "cores"));
    ck_assert_int_eq(hep_json_int(json_object_get(one, "settings"), "threads", -1), count);
    json_decref(list);
    json_decref(one);
    return count;
}

START_TEST(cores_and_huge_pages_change_while_it_runs)
{
    begin("device");
    int64_t all = cores();
    json_decref(ask("configure", "{\"settings\": {\"compute.cores\": \"1\", \"compute.huge_pages\": \"off\"}}"));
    ck_assert_int_eq(cores(), 1);
    json_t *one = ask("get", "{}");
    ck_assert_str_eq(hep_json_str(json_object_get(one, "settings"), "huge_pages", ""), "off");
    json_decref(one);
    json_decref(ask("configure", "{\"settings\": {\"compute.cores\": \"4096\"}}")); /* no more than there are */
    ck_assert_int_eq(cores(), all);
    json_decref(ask("configure", "{\"settings\": {\"compute.cores\": \"1\"}}"));
    json_decref(ask("configure", "{\"settings\": {\"compute.cores\": \"0\"}}"));
    ck_assert_int_eq(cores(), all);
    expect("configure", "{\"settings\": {\"compute.cores\": \"two\"}}", HEP_E_BAD_FIELD, "settings");
    expect("configure", "{\"settings\": {\"compute.huge_pages\": \"maybe\"}}", HEP_E_BAD_FIELD, "settings");
    expect("configure", "{\"settings\": {\"compute.isa\": \"avx2\"}}", HEP_E_UNSUPPORTED, "settings");
    finish();
}
END_TEST

/* ---- scheduler --------------------------------------------------------------------------------------------------- */
START_TEST(a_plan_is_described_without_a_model)
{
    static const struct {
        const char *operation, *scheduler;
    } names[] = {{"ddim", "ddim"}, {"dpm_plus_plus", "dpmpp_2m"}, {"euler", "euler"}};
    begin("scheduler");
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) {
        json_t *plan = ask(names[i].operation, "{\"num_inference_steps\": 4, \"describe\": true}");
        ck_assert_str_eq(hep_json_str(plan, "scheduler", ""), names[i].scheduler);
        ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(plan, "table"), "timesteps")), 4);
        json_decref(plan);
    }
    json_t *plan = ask("create_scheduler", "{\"scheduler\": \"Heun\", \"num_inference_steps\": 4}");
    ck_assert_int_eq(hep_json_int(plan, "evaluations", 0), 7);
    json_decref(plan);
    expect("configure_scheduler", "{}", HEP_E_MISSING_FIELD, "scheduler");
    expect("create_scheduler", "{\"scheduler\": \"nonsense\"}", HEP_E_NOT_FOUND, "scheduler");
    expect("euler", "{\"scheduler\": \"ddim\"}", HEP_E_BAD_FIELD, "scheduler");
    expect("ddim", "{\"num_inference_steps\": 0}", HEP_E_OUT_OF_RANGE, "num_inference_steps");
    struct hep_error error = {0}; /* measured with a configuration that is nowhere */
    ck_assert_int_eq(
        domain_ask(process, "ddim", "", true, parse("{\"config\": {\"dtype\": \"u8\", \"shape\": [5]}}"), NULL, &error),
        HEP_E_BAD_REFERENCE);
    ck_assert_str_eq(error.field, "config");
    finish();
}
END_TEST

/* What info says of a row is what a plan of it is. */
static void check_info(const char *called, const char *name)
{
    char data[128];
    snprintf(data, sizeof data, "{\"scheduler\": \"%s\"}", called);
    json_t *answer = ask("get_scheduler_info", data), *info = json_object_get(answer, "scheduler");
    ck_assert_str_eq(hep_json_str(info, "name", ""), name);
    json_t *plan = ask("plan", data);
    ck_assert_int_eq(hep_json_int(info, "evaluations", 0), hep_json_int(plan, "evaluations", 1));
    ck_assert_int_eq((int64_t)json_array_size(json_object_get(info, "state_vectors")),
                     hep_json_int(plan, "state_vectors", 0));
    int64_t order = hep_json_int(info, "order", 0);
    ck_assert_msg(order >= 1 && order <= 4, "%s has order %d", name, (int)order);
    ck_assert_uint_gt(json_array_size(json_object_get(info, "prediction_types")), 0);
    json_decref(plan);
    json_decref(answer);
}

START_TEST(each_scheduler_says_what_it_is_by_each_of_its_names)
{
    begin("scheduler");
    json_t *list = ask("list_schedulers", "{}"), *row, *alias;
    size_t index, other;
    json_array_foreach(json_object_get(list, "schedulers"), index, row)
    {
        const char *name = hep_json_str(row, "name", "");
        check_info(name, name);
        check_info(hep_json_str(row, "title", ""), name);
        json_array_foreach(json_object_get(row, "aliases"), other, alias) check_info(json_string_value(alias), name);
    }
    json_decref(list);
    static const struct {
        const char *name;
        int64_t order;
        bool noise;
    } rows[] = {{"ddim", 1, false},        {"pndm", 4, false}, {"euler_ancestral", 1, true}, {"dpmpp_2m", 2, false},
                {"dpmpp_2m_sde", 2, true}, {"heun", 2, false}, {"kdpm2_ancestral", 2, true}, {"lms", 4, false},
                {"unipc", 2, false},       {"ddpm", 1, true},  {"dpmpp_2m_karras", 2, false}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        char data[96];
        snprintf(data, sizeof data, "{\"scheduler\": \"%s\"}", rows[i].name);
        json_t *answer = ask("info", data), *info = json_object_get(answer, "scheduler");
        ck_assert_msg(hep_json_int(info, "order", 0) == rows[i].order, "%s", rows[i].name);
        ck_assert_msg(hep_json_bool(info, "noise", !rows[i].noise) == rows[i].noise, "%s", rows[i].name);
        json_decref(answer);
    }
    json_t *answer = ask("info", "{\"scheduler\": \"DPM++ 2M Karras\"}");
    ck_assert(json_is_true(
        json_object_get(json_object_get(json_object_get(answer, "scheduler"), "preset"), "use_karras_sigmas")));
    json_decref(answer);
    expect("info", "{\"scheduler\": \"nonsense\"}", HEP_E_NOT_FOUND, "scheduler");
    expect("info", "{}", HEP_E_MISSING_FIELD, "scheduler");
    finish();
}
END_TEST

/* ---- what they can do -------------------------------------------------------------------------------------------- */
START_TEST(domains_say_what_they_can_do)
{
    static const struct {
        const char *domain, *operation, *field;
    } rows[] = {{"conditioning", "get_conditioning_info", "syntax"},
                {"conditioning", "get_conditioning_info", "preprocessors"},
                {"inference", "get_pipeline_info", "pipelines"},
                {"postprocessing", "get_processing_info", "formats"}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        begin(rows[i].domain);
        json_t *info = ask(rows[i].operation, "{}");
        ck_assert_uint_gt(json_array_size(json_object_get(info, rows[i].field)), 0);
        ck_assert_int_eq(hep_json_int(json_object_get(info, "networks"), "networks", -1), 0);
        json_decref(info);
        expect(rows[i].operation, "{\"x\": 1}", HEP_E_UNKNOWN_FIELD, "x");
        finish();
    }
}
END_TEST

START_TEST(a_pipeline_says_which_part_lacks_what)
{
    static const struct {
        const char *data;
        enum hep_status code;
        const char *field;
    } rows[] = {
        {"{}", HEP_E_MISSING_FIELD, "operations"},
        {"{\"operations\": []}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": \"decode\"}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": [1]}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": [\"fry\"]}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": [\"encode\", \"decode\"]}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": [\"decode\", \"decode\"]}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": [\"info\"]}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": [\"encode\", \"safety_check\"]}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": [\"safety_check\"]}", HEP_E_MISSING_FIELD, "source"},
        {"{\"operations\": [\"enhance\", \"upscale\"]}", HEP_E_BAD_FIELD, "operations"},
        {"{\"operations\": [\"upscale\"]}", HEP_E_MISSING_FIELD, "source"},
        {"{\"operations\": [\"decode\"]}", HEP_E_MISSING_FIELD, "vae"},
        {"{\"operations\": [\"encode\"], \"path\": \"/tmp/x\"}", HEP_E_MISSING_FIELD, "source"},
    };
    begin("postprocessing");
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        expect("pipeline", rows[i].data, rows[i].code, rows[i].field);
    finish();
}
END_TEST

START_TEST(the_doors_health_is_its_status)
{
    begin("communication");
    json_t *health = ask("health_check", "{}");
    ck_assert_str_eq(hep_json_str(json_object_get(health, "status"), "domain", ""), "communication");
    json_decref(health);
    finish();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("known operations");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_device_is_known_by_its_id);
    tcase_add_test(cases, the_status_is_of_the_domain_or_of_one_device);
    tcase_add_test(cases, cores_and_huge_pages_change_while_it_runs);
    tcase_add_test(cases, a_plan_is_described_without_a_model);
    tcase_add_test(cases, each_scheduler_says_what_it_is_by_each_of_its_names);
    tcase_add_test(cases, domains_say_what_they_can_do);
    tcase_add_test(cases, a_pipeline_says_which_part_lacks_what);
    tcase_add_test(cases, the_doors_health_is_its_status);
    return check_status_run("known operations", cases);
}
