/*
 * The domains alone (--stdio), asked by the names that callers know: what they answer, and what they refuse.
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

int main(void)
{
    TCase *cases = tcase_create("known operations");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_device_is_known_by_its_id);
    tcase_add_test(cases, the_status_is_of_the_domain_or_of_one_device);
    tcase_add_test(cases, cores_and_huge_pages_change_while_it_runs);
    return check_status_run("known operations", cases);
}
