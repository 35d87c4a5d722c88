/* The configuration: defaults, values, errors with file, line and hint, reload, and the files printed from the table.
 */
#include "supervisor/proc/config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct hep_config *parse_good(const char *text)
{
    struct hep_config *config = NULL;
    struct hep_error error = {0};
    ck_assert_msg(hep_config_parse(text, strlen(text), "x.conf", &config, &error) == HEP_OK, "%s", error.message);
    return config;
}

/* The error of a text that is wrong. */
static struct hep_error parse_bad(const char *text)
{
    struct hep_config *config = NULL;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_config_parse(text, strlen(text), "x.conf", &config, &error), HEP_E_BAD_CONFIG);
    ck_assert_ptr_null(config);
    ck_assert_int_ne(error.hint[0], 0);
    return error;
}

START_TEST(an_empty_file_gives_the_defaults)
{
    struct hep_config *config = parse_good("");
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_HTTP_ADDRESS), "127.0.0.1");
    ck_assert_int_eq(hep_config_int(config, HEP_CONFIG_HTTP_PORT), 7780);
    ck_assert_int_eq(hep_config_int(config, HEP_CONFIG_INSTANCE_DRAIN_MS), 30000);
    const char *state = hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR);
    ck_assert_int_eq(state[0], '/');
    if (strcmp(state, "/var/lib/heptad") != 0) /* of whoever is not root */
        ck_assert(strncmp(hep_config_text(config, HEP_CONFIG_INSTANCE_RUNTIME_DIR), state, strlen(state)) == 0);
    hep_config_destroy(config);
}
END_TEST

START_TEST(the_systems_daemon_has_the_systems_places)
{
    struct hep_config *config = NULL;
    const char *system[] = {"instance.state_dir=/var/lib/heptad"}, *own[] = {"instance.state_dir=/tmp/heptad-none"};
    ck_assert_int_eq(hep_config_create(NULL, system, 1, &config, NULL), HEP_OK);
    ck_assert_str_eq(hep_config_control_socket(config), "/run/heptad/control.sock");
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_INSTANCE_PID_FILE), "/run/heptad/heptad.pid");
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_LOG_FILE), "/var/log/heptad/heptad.log");
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_IMAGES_DIR), "/var/lib/heptad/images");
    hep_config_destroy(config);
    ck_assert_int_eq(hep_config_create(NULL, own, 1, &config, NULL), HEP_OK);
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_LOG_FILE), "");
    hep_config_destroy(config);
}
END_TEST

START_TEST(values_are_taken_from_their_section)
{
    struct hep_config *config =
        parse_good("# a comment\n[http]\nport = 8080 ; another\naddress=::1\n[models]\npaths = /a:/b\npaths = /c\n"
                   "memory_budget = 8G\ndtype = bf16\n");
    ck_assert_int_eq(hep_config_int(config, HEP_CONFIG_HTTP_PORT), 8080);
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_HTTP_ADDRESS), "::1");
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_MODELS_PATHS), "/a:/b:/c");
    ck_assert_int_eq(hep_config_int(config, HEP_CONFIG_MODELS_MEMORY_BUDGET), 8LL << 30);
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_MODELS_MEMORY_BUDGET), "8589934592");
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_MODELS_DTYPE), "bf16");
    hep_config_destroy(config);
}
END_TEST

START_TEST(a_wrong_line_is_named_with_a_hint)
{
    static const struct {
        const char *text, *message, *hint;
    } cases[] = {
        {"[http]\nprot = 1\n", "x.conf:2: no key is called http.prot", "did you mean http.port?"},
        {"[web]\nport = 1\n", "x.conf:2: no key is called web.port", "did you mean http.port?"},
        {"port = 1\n", "x.conf:1: no key is called port", "did you mean http.port?"},
        {"[http]\n\nport = eighty\n", "x.conf:3: http.port: \"eighty\" is not an integer", "digits"},
        {"[http]\nport = 65536\n", "x.conf:2: http.port: 65536 is outside its range", "from 0 to 65535"},
        {"[http]\nport = 99999999999999999999\n", "x.conf:2: http.port: \"99999999999999999999\" is not an integer",
         "digits"},
        {"[models]\nmemory_budget = 9X\n", "x.conf:2: models.memory_budget: \"9X\" is not a size", "8G"},
        {"[models]\nmemory_budget = 9000000T\n", "x.conf:2: models.memory_budget: 9000000T is outside its range",
         "from 0"},
        {"[models]\ndtype = f64\n", "x.conf:2: models.dtype: \"f64\" is none of its values", "auto|f32|bf16"},
        {"[models]\ndtype = f\n", "x.conf:2: models.dtype: \"f\" is none of its values", "auto|f32|bf16"},
        {"[instance]\nname = Heptad\n", "x.conf:2: instance.name: \"Heptad\" has a letter that is not allowed", "a-z"},
        {"[images]\ndir = pictures\n", "x.conf:2: images.dir: \"pictures\" is not an absolute path", "begin it with /"},
        {"[http]\nport = 1\nport = 2\n", "x.conf:3: http.port stands twice", "keep one"},
        {"[http]\nport 80\n", "x.conf:2: neither", "comments"},
        {"[http\nport = 80\n", "x.conf:1: neither", "comments"},
        {"[log]\nlevel =\n", "x.conf:2: log.level: \"\" is none of its values", "debug|info"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hep_error error = parse_bad(cases[i].text);
        ck_assert_msg(strncmp(error.message, cases[i].message, strlen(cases[i].message)) == 0, "%s", error.message);
        ck_assert_msg(strstr(error.hint, cases[i].hint) != NULL, "%s: %s", error.message, error.hint);
    }
}
END_TEST

START_TEST(bytes_that_are_no_text_are_refused)
{
    struct hep_config *config = NULL;
    struct hep_error error;
    ck_assert_int_eq(hep_config_parse("[http]\0\n", 8, "x", &config, &error), HEP_E_BAD_CONFIG);
    ck_assert_int_eq(hep_config_parse("[models]\ndefault=\xff\n", 19, "x", &config, &error), HEP_E_BAD_CONFIG);
    ck_assert_int_eq(hep_config_parse("[models]\ndefault=a\x1b[m\n", 22, "x", &config, &error), HEP_E_BAD_CONFIG);
    char *longest = malloc(40000);
    memset(longest, 'a', 40000);
    ck_assert_int_eq(hep_config_parse(longest, 40000, "x", &config, &error), HEP_E_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.message, "x:1: line longer"));
    free(longest);
}
END_TEST

START_TEST(overrides_win_and_are_checked)
{
    struct hep_config *config = NULL;
    struct hep_error error = {0};
    const char *good[] = {"http.port=0", "instance.state_dir=/tmp/heptad-none"};
    ck_assert_int_eq(hep_config_create(NULL, good, 2, &config, &error), HEP_OK);
    ck_assert_int_eq(hep_config_int(config, HEP_CONFIG_HTTP_PORT), 0);
    ck_assert_str_eq(hep_config_front_socket(config), "/tmp/heptad-none/run/front.sock");
    hep_config_destroy(config);
    const char *bad[] = {"http.port=x", "http.prot=1", "nonsense", "=", ".="};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(hep_config_create(NULL, &bad[i], 1, &config, &error), HEP_E_BAD_CONFIG);
        ck_assert_msg(strncmp(error.message, "--set ", 6) == 0, "%s", error.message);
    }
}
END_TEST

START_TEST(two_state_folders_have_two_instances)
{
    struct hep_config *a = NULL, *b = NULL;
    const char *one[] = {"instance.state_dir=/tmp/heptad-one"}, *two[] = {"instance.state_dir=/tmp/heptad-two"};
    ck_assert_int_eq(hep_config_create(NULL, one, 1, &a, NULL), HEP_OK);
    ck_assert_int_eq(hep_config_create(NULL, two, 1, &b, NULL), HEP_OK);
    ck_assert_str_ne(hep_config_instance(a), hep_config_instance(b));
    ck_assert_uint_lt(strlen(hep_config_instance(a)), 21); /* shm/names.h */
    hep_config_destroy(a);
    hep_config_destroy(b);
}
END_TEST

START_TEST(a_run_folder_too_long_for_sockets_is_refused)
{
    struct hep_config *config = NULL;
    struct hep_error error = {0};
    const char *set[] = {
        "instance.runtime_dir=/tmp/a-folder-with-a-name-that-is-so-long-that-no-socket-in-it-could-be-bound-at-all"};
    ck_assert_int_eq(hep_config_create(NULL, set, 1, &config, &error), HEP_E_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.hint, "runtime_dir"));
}
END_TEST

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

START_TEST(a_reload_changes_what_may_change)
{
    char path[] = "/tmp/heptad-test-XXXXXX";
    struct hep_config *config = NULL;
    struct hep_error error = {0};
    json_t *changed = NULL;
    close(mkstemp(path));
    write_text(path, "[log]\nlevel = info\n[instance]\nname = one\n[http]\nport = 1\n");
    const char *binaries[] = {"domains.bin_dir=" HEP_BIN_DIR, "instance.state_dir=/tmp/heptad-none",
                              "workflows.dir=" HEP_SOURCE_DIR "/etc/workflows"};
    ck_assert_int_eq(hep_config_create(path, binaries, 3, &config, &error), HEP_OK);
    write_text(path, "[log]\nlevel = debug\n[instance]\nname = two\n[http]\nport = 2\n");
    ck_assert_int_eq(hep_config_reload(config, &changed, &error), HEP_OK);
    ck_assert_uint_eq(json_array_size(changed), 3);
    static const char *const waits[] = {"heptad", "communication", ""}; /* in the order of the table */
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(json_string_value(json_object_get(json_array_get(changed, i), "waits_for")), waits[i]);
    json_decref(changed);
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_LOG_LEVEL), "debug");
    ck_assert_int_eq(hep_config_int(config, HEP_CONFIG_HTTP_PORT), 2);
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_INSTANCE_NAME), "one");
    write_text(path,
               "[log]\nlevel = warning\n[http]\naddress = 0.0.0.0\n"); /* right by itself, wrong without a token */
    ck_assert_int_eq(hep_config_reload(config, &changed, &error), HEP_E_BAD_CONFIG);
    ck_assert_msg(strstr(error.message, ":4: http.address: 0.0.0.0") != NULL, "%s", error.message);
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_LOG_LEVEL), "debug");
    write_text(path, "[log]\nlevel = loud\n");
    ck_assert_int_eq(hep_config_reload(config, &changed, &error), HEP_E_BAD_CONFIG);
    ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_LOG_LEVEL), "debug");
    hep_config_destroy(config);
    unlink(path);
    ck_assert_int_eq(hep_config_create(path, NULL, 0, &config, &error), HEP_E_BAD_CONFIG);
}
END_TEST

START_TEST(what_is_set_while_it_runs_wins_over_the_file_and_stays)
{
    char path[] = "/tmp/heptad-test-XXXXXX";
    struct hep_config *config;
    struct hep_error error;
    close(mkstemp(path));
    const char *binaries[] = {"domains.bin_dir=" HEP_BIN_DIR, "instance.state_dir=/tmp/heptad-none",
                              "workflows.dir=" HEP_SOURCE_DIR "/etc/workflows", "compute.cores=2"};
    write_text(path, "[compute]\nisa = avx2\n");
    ck_assert_int_eq(hep_config_create(path, binaries, 4, &config, &error), HEP_OK);
    ck_assert_int_eq(hep_config_set(config, "compute.cores", "3", &error), HEP_OK);        /* the command line's */
    ck_assert_int_eq(hep_config_set(config, "compute.cores", "4", &error), HEP_OK);        /* and once more      */
    ck_assert_int_eq(hep_config_set(config, "compute.isa", "portable", &error), HEP_OK);   /* the file's     */
    ck_assert_int_eq(hep_config_set(config, "compute.huge_pages", "off", &error), HEP_OK); /* the default    */
    ck_assert_int_eq(hep_config_set(config, "compute.cores", "many", &error), HEP_E_BAD_CONFIG);
    ck_assert_int_eq(hep_config_set(config, "compute.speed", "1", &error), HEP_E_BAD_CONFIG);
    ck_assert_int_eq(hep_config_set(config, "compute", "1", &error), HEP_E_BAD_CONFIG);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(hep_config_int(config, HEP_CONFIG_COMPUTE_CORES), 4);
        ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_COMPUTE_ISA), "portable");
        ck_assert_str_eq(hep_config_text(config, HEP_CONFIG_COMPUTE_HUGE_PAGES), "off");
        ck_assert_int_eq(hep_config_reload(config, NULL, &error), HEP_OK);
    }
    hep_config_destroy(config);
    unlink(path);
}
END_TEST

START_TEST(a_domain_gets_its_own_settings_only)
{
    ck_assert(hep_config_is_for(HEP_CONFIG_HTTP_PORT, HEP_ROLE_COMMUNICATION));
    ck_assert(!hep_config_is_for(HEP_CONFIG_HTTP_PORT, HEP_ROLE_MODEL));
    ck_assert(hep_config_is_for(HEP_CONFIG_LOG_LEVEL, HEP_ROLE_MODEL));
    ck_assert(hep_config_is_for(HEP_CONFIG_IMAGES_DIR, HEP_ROLE_COMMUNICATION));
    ck_assert(hep_config_is_for(HEP_CONFIG_IMAGES_DIR, HEP_ROLE_POSTPROCESSING));
    ck_assert(!hep_config_is_for(HEP_CONFIG_IMAGES_DIR, HEP_ROLE_MODEL));
    ck_assert(!hep_config_is_for(HEP_CONFIG_INSTANCE_STATE_DIR, HEP_ROLE_MODEL));
}
END_TEST

static void compare_with_file(char *text, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", HEP_SOURCE_DIR, name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s is missing", path);
    char *content = calloc(1, 1 << 20);
    size_t length = fread(content, 1, (1 << 20) - 1, file);
    fclose(file);
    ck_assert_msg(length == strlen(text) && memcmp(content, text, length) == 0,
                  "%s is not what the table gives: write it anew with heptad --print-config", name);
    free(content);
    free(text);
}

START_TEST(the_sample_and_the_page_are_those_of_the_table)
{
    compare_with_file(hep_config_sample(), "etc/heptad.conf");
    compare_with_file(hep_config_markdown(), "docs/configuration.md");
}
END_TEST

START_TEST(the_sample_with_its_lines_uncommented_is_the_default)
{
    char *sample = hep_config_sample(), *line = sample;
    for (; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (line[0] == '#' && line[1] != ' ')
            line[0] = ' ';
    struct hep_config *config = parse_good(sample), *plain = parse_good("");
    for (int i = 0; i < HEP_CONFIG_KEY_COUNT; i++)
        ck_assert_str_eq(hep_config_text(config, (enum hep_config_key)i),
                         hep_config_text(plain, (enum hep_config_key)i));
    hep_config_destroy(config);
    hep_config_destroy(plain);
    free(sample);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *all = tcase_create("config");
    tcase_add_test(all, an_empty_file_gives_the_defaults);
    tcase_add_test(all, values_are_taken_from_their_section);
    tcase_add_test(all, a_wrong_line_is_named_with_a_hint);
    tcase_add_test(all, bytes_that_are_no_text_are_refused);
    tcase_add_test(all, overrides_win_and_are_checked);
    tcase_add_test(all, two_state_folders_have_two_instances);
    tcase_add_test(all, the_systems_daemon_has_the_systems_places);
    tcase_add_test(all, a_run_folder_too_long_for_sockets_is_refused);
    tcase_add_test(all, a_reload_changes_what_may_change);
    tcase_add_test(all, what_is_set_while_it_runs_wins_over_the_file_and_stays);
    tcase_add_test(all, a_domain_gets_its_own_settings_only);
    tcase_add_test(all, the_sample_and_the_page_are_those_of_the_table);
    tcase_add_test(all, the_sample_with_its_lines_uncommented_is_the_default);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
