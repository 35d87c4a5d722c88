/* What config.get says of settings that were read again and are not in force yet. */
#include "supervisor/main/waiting.h"

#include "common/wire.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/test_waiting.XXXXXX";
static struct hep_config *config;
static json_t *list;

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static void setup(void)
{
    close(mkstemp(path));
    write_file("[http]\nport = 1\n[log]\nlevel = info\n[sessions]\nrunning_max = 2\n");
    const char *places[] = {"domains.bin_dir=" HEP_BIN_DIR, "instance.state_dir=/tmp/heptad-none",
                            "workflows.dir=" HEP_SOURCE_DIR "/etc/workflows"};
    ck_assert_int_eq(hep_config_create(path, places, 3, &config, NULL), HEP_OK);
}

static void teardown(void)
{
    hep_config_destroy(config);
    json_decref(list);
    unlink(path);
}

/* The processes as they are: communication is so old, ms. */
static json_t *domains(int64_t uptime_ms)
{
    return json_pack("[{s:s, s:i}, {s:s, s:I}]", "domain", "model", "uptime_ms", 100000, "domain", "communication",
                     "uptime_ms", (json_int_t)uptime_ms);
}

static void reload(const char *text, int64_t uptime_ms, int64_t now_ms)
{
    json_t *changed = NULL, *processes = domains(uptime_ms);
    write_file(text);
    ck_assert_int_eq(hep_config_reload(config, &changed, NULL), HEP_OK);
    hep_waiting_note(&list, changed, processes, now_ms);
    json_decref(changed);
    json_decref(processes);
}

/* "in_force→file restart" of a key, "" = it does not wait; the configuration has the value in force. */
static const char *waits(const char *key, int64_t uptime_ms, int64_t now_ms)
{
    static char text[128];
    json_t *processes = domains(uptime_ms), *all = hep_waiting_describe(config, list, processes, now_ms),
           *one = json_object_get(json_object_get(all, "waiting"), key);
    snprintf(text, sizeof text, "%s", "");
    if (one) {
        const char *in_force = hep_json_str(one, "in_force", "?");
        const json_t *value = json_object_get(json_object_get(all, "config"), key);
        snprintf(text, sizeof text, "%s→%s %s", in_force, hep_json_str(one, "file", "?"),
                 json_string_value(json_array_get(json_object_get(one, "restart"), 0)));
        ck_assert_int_eq(json_is_integer(value) ? json_integer_value(value) : atoi(json_string_value(value)),
                         atoi(in_force));
    }
    ck_assert_str_eq(hep_json_str(all, "file", ""), path);
    json_decref(processes);
    json_decref(all);
    return text;
}

START_TEST(nothing_waits_at_first)
{
    ck_assert_str_eq(waits("http.port", 1000, 1000), "");
    reload("[http]\nport = 1\n[log]\nlevel = debug\n[sessions]\nrunning_max = 2\n", 1000, 1000);
    ck_assert_str_eq(waits("log.level", 1000, 1000), ""); /* applies at once */
}
END_TEST

START_TEST(a_domains_setting_waits_until_it_has_another_process)
{
    reload("[http]\nport = 2\n[sessions]\nrunning_max = 2\n", 500, 1000);
    ck_assert_str_eq(waits("http.port", 700, 1200), "1→2 communication");
    reload("[http]\nport = 3\n[sessions]\nrunning_max = 2\n", 900, 1400);
    ck_assert_str_eq(waits("http.port", 1000, 1500), "1→3 communication");
    ck_assert_str_eq(waits("http.port", 10, 1600), ""); /* started at 1590 */
    reload("[http]\nport = 4\n[sessions]\nrunning_max = 2\n", 110, 1700);
    ck_assert_str_eq(waits("http.port", 210, 1800), "3→4 communication");
    reload("[http]\nport = 3\n[sessions]\nrunning_max = 2\n", 310, 1900);
    ck_assert_str_eq(waits("http.port", 410, 2000), ""); /* back again */
}
END_TEST

START_TEST(what_only_heptad_takes_waits_until_its_restart)
{
    reload("[http]\nport = 1\n[sessions]\nrunning_max = 3\n", 500, 1000);
    ck_assert_str_eq(waits("sessions.running_max", 10, 1100), "2→3 heptad");
    reload("[http]\nport = 1\n[sessions]\nrunning_max = 4\n", 500, 1200);
    ck_assert_str_eq(waits("sessions.running_max", 10, 1300), "2→4 heptad");
    reload("[http]\nport = 1\n[sessions]\nrunning_max = 2\n", 500, 1400);
    ck_assert_str_eq(waits("sessions.running_max", 10, 1500), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("waiting");
    TCase *tests = tcase_create("waiting");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, nothing_waits_at_first);
    tcase_add_test(tests, a_domains_setting_waits_until_it_has_another_process);
    tcase_add_test(tests, what_only_heptad_takes_waits_until_its_restart);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
