/* The command line of heptctl: what is taken, and what each mistake is called. */
#include "supervisor/ctl/ctl.h"

#include "tests/unit/ctl_test.h"

#define PARSE(ctl, error, ...)                                                                                         \
    ctl_parse((int)(sizeof((const char *[]){"heptctl", __VA_ARGS__}) / sizeof(char *)),                                \
              (char *[]){"heptctl", __VA_ARGS__}, ctl, error)

START_TEST(options_stand_anywhere_and_take_values_in_every_form)
{
    struct ctl ctl = {0};
    struct hep_error error = {0};
    ck_assert_int_eq(PARSE(&ctl, &error, "--json", "generate", "--steps", "7", "a red apple", "-W64", "--seed=9",
                           "--state", "/tmp/s"),
                     HEP_OK);
    ck_assert_str_eq(ctl.verb->name, "generate");
    ck_assert_int_eq(ctl.word_count, 1);
    ck_assert_str_eq(ctl.words[0], "a red apple");
    ck_assert_str_eq(ctl_value(&ctl, "steps"), "7");
    ck_assert_str_eq(ctl_value(&ctl, "width"), "64");
    ck_assert_str_eq(ctl_value(&ctl, "seed"), "9");
    ck_assert_str_eq(ctl_value(&ctl, "state"), "/tmp/s");
    ck_assert(ctl.json && !ctl_flag(&ctl, "show"));
    ck_assert_int_eq(ctl.timeout_ms, CTL_TIMEOUT_MS);
}
END_TEST

START_TEST(two_dashes_end_options)
{
    struct ctl ctl = {0};
    ck_assert_int_eq(PARSE(&ctl, NULL, "generate", "--", "--steps"), HEP_OK);
    ck_assert_str_eq(ctl.words[0], "--steps");
    ck_assert_ptr_null(ctl_value(&ctl, "steps"));
}
END_TEST

START_TEST(a_dash_alone_is_an_argument)
{
    struct ctl ctl = {0};
    ck_assert_int_eq(PARSE(&ctl, NULL, "generate", "-"), HEP_OK);
    ck_assert_str_eq(ctl.words[0], "-");
}
END_TEST

/* One mistake, its code, and a word that the message must have. */
#define MISTAKE(wanted, word, ...)                                                                                     \
    do {                                                                                                               \
        struct ctl ctl = {0};                                                                                          \
        struct hep_error error = {0};                                                                                  \
        ck_assert_int_eq(PARSE(&ctl, &error, __VA_ARGS__), wanted);                                                    \
        ck_assert_int_eq(error.code, wanted);                                                                          \
        ck_assert_msg(strstr(error.message, word) != NULL, "\"%s\" does not name %s", error.message, word);            \
        ck_assert_int_eq(hep_status_exit(error.code), CTL_EXIT_USAGE);                                                 \
        ctl_explain(&ctl, &error);                                                                                     \
        ck_assert_msg(error.hint[0] && !strstr(error.hint, "heptctl operations"), "%s", error.hint);                   \
    } while (0)

START_TEST(each_mistake_is_named)
{
    MISTAKE(HEP_E_UNKNOWN_OPERATION, "frobnicate", "frobnicate");
    MISTAKE(HEP_E_UNKNOWN_FIELD, "--stepz", "generate", "x", "--stepz", "3");
    MISTAKE(HEP_E_UNKNOWN_FIELD, "-Z", "status", "-Z");
    MISTAKE(HEP_E_UNKNOWN_FIELD, "--steps", "--steps", "3", "generate", "x");
    MISTAKE(HEP_E_MISSING_FIELD, "FILE", "upscale");
    MISTAKE(HEP_E_MISSING_FIELD, "--steps", "generate", "x", "--steps");
    MISTAKE(HEP_E_BAD_FIELD, "apple", "generate", "red", "apple");
    MISTAKE(HEP_E_BAD_FIELD, "gif", "generate", "x", "--format", "gif");
    MISTAKE(HEP_E_BAD_FIELD, "twice", "generate", "x", "--steps", "3", "--steps", "4");
    MISTAKE(HEP_E_BAD_FIELD, "no value", "generate", "x", "--show=1");
    MISTAKE(HEP_E_BAD_FIELD, "not valid UTF-8", "generate", "caf\xe9");
    MISTAKE(HEP_E_BAD_FIELD, "whole number", "status", "--timeout", "soon");
}
END_TEST

START_TEST(mistakes_point_to_the_help_of_their_verb)
{
    struct ctl ctl = {0};
    struct hep_error error = {0};
    ck_assert_int_eq(PARSE(&ctl, &error, "status", "--timeout", "0"), HEP_E_OUT_OF_RANGE);
    ctl_explain(&ctl, &error);
    ck_assert_str_eq(error.hint, "see `heptctl help status`");
    ctl = (struct ctl){0};
    ck_assert_int_eq(PARSE(&ctl, &error, "sessions", "--status", "bogus"), HEP_E_BAD_FIELD);
    ctl_explain(&ctl, &error);
    ck_assert_str_eq(error.hint, "see `heptctl help sessions`");
    ctl = (struct ctl){0};
    ck_assert_int_eq(PARSE(&ctl, &error, "completion", "fish"), HEP_OK);
    ck_assert_int_eq(ctl.verb->run(&ctl, &error), HEP_E_BAD_FIELD);
    ctl_explain(&ctl, &error);
    ck_assert_str_eq(error.hint, "see `heptctl help completion`");
    hep_fail_field(&error, HEP_E_BAD_FIELD, "x", "a daemon's");
    snprintf(error.operation, sizeof error.operation, "session.list");
    ctl_explain(&ctl, &error);
    ck_assert_ptr_null(strstr(error.hint, "help"));
}
END_TEST

START_TEST(numbers_have_bounds)
{
    struct ctl ctl = {0};
    struct hep_error error = {0};
    int64_t number = 5;
    ck_assert_int_eq(PARSE(&ctl, &error, "logs", "-n", "1001"), HEP_OK);
    ck_assert_int_eq(ctl_number(&ctl, "lines", 1, 1000, 50, &number, &error), HEP_E_OUT_OF_RANGE);
    ck_assert_int_eq(number, 5);
    ck_assert_str_eq(error.field, "lines");
    ck_assert_int_eq(ctl_number(&ctl, "lines", 1, 2000, 50, &number, &error), HEP_OK);
    ck_assert_int_eq(number, 1001);
    ck_assert_int_eq(ctl_number(&ctl, "limit", 1, 2000, 50, &number, &error), HEP_OK);
    ck_assert_int_eq(number, 50);
}
END_TEST

START_TEST(every_row_of_the_tables_is_whole)
{
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++) {
        ck_assert(verb->run && verb->help[0] && verb->more && verb->arguments);
        ck_assert_int_le(verb->words_min, verb->words_max);
        ck_assert_int_le(verb->words_max, CTL_WORDS_MAX);
        ck_assert_ptr_eq(ctl_verb_find(verb->name), verb);
        for (const struct ctl_option *option = verb->options; option && option->name; option++) {
            ck_assert_msg(!option->choices == (option->kind != CTL_KIND_CHOICE), "%s --%s", verb->name, option->name);
            for (const struct ctl_option *other = verb->options; other != option; other++) {
                ck_assert_msg(!option->letter || other->letter != option->letter, "%s -%c", verb->name, option->letter);
                ck_assert_str_ne(other->name, option->name);
            }
        }
    }
}
END_TEST

START_TEST(every_exit_code_of_the_errors_is_documented)
{
    for (int code = 0; code < HEP_STATUS_COUNT; code++) {
        bool found = false;
        for (const struct ctl_exit_row *row = ctl_exit_rows; row->meaning; row++)
            found = found || row->code == hep_status_exit((enum hep_status)code);
        ck_assert_msg(found, "%d of %s", hep_status_exit((enum hep_status)code),
                      hep_status_name((enum hep_status)code));
    }
}
END_TEST

START_TEST(the_state_folder_comes_from_option_environment_or_place)
{
    struct ctl_where where;
    struct hep_error error;
    char long_path[200];
    setenv("HEPTAD_STATE", "/tmp/one/", 1);
    ck_assert_int_eq(ctl_where_find(NULL, NULL, &where, NULL), HEP_OK);
    ck_assert_str_eq(where.socket, "/tmp/one/run/control.sock");
    ck_assert_int_eq(ctl_where_find(NULL, "/tmp/two", &where, NULL), HEP_OK);
    ck_assert_str_eq(where.state, "/tmp/two");
    ck_assert_int_eq(ctl_where_find("/tmp/three.sock", NULL, &where, NULL), HEP_OK);
    ck_assert_str_eq(where.socket, "/tmp/three.sock");
    ck_assert_str_eq(where.state, "");
    unsetenv("HEPTAD_STATE");
    setenv("XDG_STATE_HOME", "/nonexistent", 1);
    ck_assert_int_eq(ctl_where_find(NULL, NULL, &where, NULL), HEP_OK);
    ck_assert_str_eq(where.state, "/var/lib/heptad");
    ck_assert_str_eq(where.socket, "/run/heptad/control.sock");
    memset(long_path, 'x', sizeof long_path);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = '\0';
    ck_assert_int_eq(ctl_where_find(NULL, long_path, &where, &error), HEP_E_BAD_FIELD);
    ck_assert_ptr_nonnull(strstr(error.message, "control socket"));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, options_stand_anywhere_and_take_values_in_every_form);
    tcase_add_test(tests, two_dashes_end_options);
    tcase_add_test(tests, a_dash_alone_is_an_argument);
    tcase_add_test(tests, each_mistake_is_named);
    tcase_add_test(tests, mistakes_point_to_the_help_of_their_verb);
    tcase_add_test(tests, numbers_have_bounds);
    tcase_add_test(tests, every_row_of_the_tables_is_whole);
    tcase_add_test(tests, every_exit_code_of_the_errors_is_documented);
    tcase_add_test(tests, the_state_folder_comes_from_option_environment_or_place);
}

int main(void)
{
    return ctl_run_tests("ctl_arguments", add);
}
