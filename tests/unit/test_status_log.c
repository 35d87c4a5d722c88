/* Status codes, error records, log lines, clocks. */
#include "tests/support/check_status.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

START_TEST(every_code_has_a_name_a_meaning_and_a_status)
{
    for (int i = 0; i < HEP_STATUS_COUNT; i++) {
        enum hep_status code = (enum hep_status)i;
        ck_assert_int_eq(hep_status_from_name(hep_status_name(code)), code);
        ck_assert(hep_status_meaning(code)[0] != '\0');
        ck_assert_msg(code == HEP_OK || hep_status_hint(code)[0] != '\0', "%s has no hint", hep_status_name(code));
        ck_assert(hep_status_http(code) >= 200 && hep_status_http(code) < 600);
        ck_assert(code == HEP_OK ? hep_status_exit(code) == 0
                                 : hep_status_exit(code) > 0 && hep_status_exit(code) < 126);
    }
    ck_assert_int_eq(hep_status_from_name("NO_SUCH"), HEP_E_INTERNAL);
    ck_assert_str_eq(hep_status_name((enum hep_status)12345), "INTERNAL");
}
END_TEST

START_TEST(names_that_other_callers_know_are_aliases_of_codes)
{
    static const struct {
        enum hep_status code;
        const char *field, *alias;
    } rows[] = {
        {HEP_E_UNKNOWN_OPERATION, "type", "UNKNOWN_ACTION"},
        {HEP_E_BAD_FIELD, "type", "INVALID_ACTION"},
        {HEP_E_OUT_OF_RANGE, "action", "INVALID_ACTION"},
        {HEP_E_NOT_FOUND, "device_id", "INVALID_DEVICE_ID"},
        {HEP_E_INTERNAL, "", "UNKNOWN_ERROR"},
        {HEP_E_BAD_FIELD, "width", ""},
        {HEP_E_NOT_FOUND, "model", ""},
        {HEP_E_BUSY, "", ""},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        ck_assert_str_eq(hep_status_alias(rows[i].code, rows[i].field), rows[i].alias);
        for (int code = 0; code < HEP_STATUS_COUNT; code++) /* no alias is a code's own name */
            ck_assert_str_ne(hep_status_name((enum hep_status)code), rows[i].alias);
    }
    ck_assert_int_eq(hep_status_from_name("UNKNOWN_ACTION"), HEP_E_UNKNOWN_OPERATION);
    ck_assert_int_eq(hep_status_from_name("INVALID_DEVICE_ID"), HEP_E_NOT_FOUND);
}
END_TEST

START_TEST(an_error_is_filled_prefixed_and_hinted)
{
    struct hep_error error;
    ck_assert_int_eq(hep_fail(&error, HEP_E_BUSY, "%d in hand", 3), HEP_E_BUSY);
    ck_assert_str_eq(error.message, "3 in hand");
    ck_assert_str_eq(error.hint, "try again later");
    ck_assert_int_eq(hep_fail(&error, HEP_E_BUSY, "now: %s", error.message), HEP_E_BUSY); /* of its own old message */
    ck_assert_str_eq(error.message, "now: 3 in hand");
    ck_assert_int_eq(hep_prefix(&error, "domain %s", "x"), HEP_E_BUSY);
    ck_assert_str_eq(error.message, "domain x: now: 3 in hand");
    ck_assert_int_eq(hep_hint(&error, "wait %d s", 5), HEP_E_BUSY);
    ck_assert_str_eq(error.hint, "wait 5 s");
    ck_assert_int_eq(hep_suggest(&error, "no better"), HEP_E_BUSY);
    ck_assert_str_eq(error.hint, "wait 5 s");
    hep_fail(&error, HEP_E_BUSY, "x");
    hep_suggest(&error, "better than the default");
    ck_assert_str_eq(error.hint, "better than the default");
    ck_assert_int_eq(hep_fail_field(&error, HEP_E_BAD_FIELD, "seed", "no"), HEP_E_BAD_FIELD);
    ck_assert_str_eq(error.field, "seed");
    ck_assert_int_eq(hep_fail_errno(&error, ENOSPC, "writing %s", "f"), HEP_E_NO_SPACE);
    ck_assert_str_eq(error.message, "writing f: No space left on device");
    ck_assert_int_eq(hep_fail_errno(&error, EPERM, "x"), HEP_E_SYSTEM);
}
END_TEST

START_TEST(no_error_record_is_fine_and_long_messages_are_cut)
{
    struct hep_error error;
    char text[2000];
    memset(text, 'm', sizeof text);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(hep_fail(NULL, HEP_E_IO, "x"), HEP_E_IO);
    ck_assert_int_eq(hep_fail_errno(NULL, ENOENT, "x"), HEP_E_NOT_FOUND);
    hep_prefix(NULL, "x");
    hep_hint(NULL, "x");
    hep_fail(&error, HEP_E_IO, "%s", text);
    ck_assert_uint_eq(strlen(error.message), HEP_ERROR_MESSAGE_MAX - 1);
    hep_prefix(&error, "%s", text);
    ck_assert_uint_eq(strlen(error.message), HEP_ERROR_MESSAGE_MAX - 1);
    hep_fail_errno(&error, ENOSPC, "%s", text);
    ck_assert_uint_lt(strlen(error.message), HEP_ERROR_MESSAGE_MAX);
}
END_TEST

/* ---- log lines --------------------------------------------------------------------------------------------------- */
static int channel[2];

static void log_to_pipe(void)
{
    ck_assert_int_eq(pipe2(channel, 0), 0);
    fcntl(channel[0], F_SETFL, O_NONBLOCK); /* our end; the log's end blocks, as the supervisor's pipe does */
    hep_log_set_fd(channel[1]);
}

static const char *logged(void)
{
    static char text[8192];
    ssize_t bytes = read(channel[0], text, sizeof text - 1);
    text[bytes > 0 ? bytes : 0] = '\0';
    return text;
}

START_TEST(a_line_has_time_level_event_and_process)
{
    log_to_pipe();
    hep_log_init("inference", HEP_INFO);
    errno = 77;
    hep_log(HEP_WARNING, "domain.died", "domain=%s pid=%d", "model", 12);
    ck_assert_int_eq(errno, 77);
    const char *line = logged();
    ck_assert_msg(strlen(line) > 26 && line[10] == 'T' && line[23] == 'Z' &&
                      strcmp(line + 25, "warning domain.died domain=model pid=12 process=inference\n") == 0,
                  "%s", line);
    hep_log(HEP_DEBUG, "x", "y");
    ck_assert_str_eq(logged(), "");
    hep_log_set_level(HEP_DEBUG);
    hep_log(HEP_DEBUG, "x", "y");
    ck_assert_str_ne(logged(), "");
}
END_TEST

START_TEST(a_reader_that_sleeps_loses_lines_and_learns_how_many)
{
    log_to_pipe();
    char big[1500];
    memset(big, 'b', sizeof big);
    big[sizeof big - 1] = '\0';
    int64_t began = hep_now_ms();
    for (int i = 0; i < 200; i++)
        hep_log(HEP_ERROR_LEVEL, "flood", "text=%s", big); /* 300 kB into a pipe of 64 kB */
    ck_assert_int_lt(hep_now_ms() - began, 2000);
    while (logged()[0])
        ;
    hep_log(HEP_ERROR_LEVEL, "after", "all=1");
    const char *line = logged(), *lost = strstr(line, "lost_lines=");
    ck_assert_msg(lost && atoi(lost + 11) > 100, "%s", line);
    hep_log(HEP_ERROR_LEVEL, "later", "all=1");
    ck_assert_ptr_null(strstr(logged(), "lost_lines="));
}
END_TEST

START_TEST(a_reader_that_is_gone_hurts_nobody)
{
    signal(SIGPIPE, SIG_IGN);
    log_to_pipe();
    close(channel[0]);
    for (int i = 0; i < 10; i++)
        hep_log(HEP_ERROR_LEVEL, "to.nobody", "i=%d", i);
}
END_TEST

START_TEST(a_long_line_is_one_line)
{
    log_to_pipe();
    char big[5000];
    memset(big, 'b', sizeof big);
    big[sizeof big - 1] = '\0';
    hep_log(HEP_ERROR_LEVEL, "long", "text=%s", big);
    const char *line = logged();
    ck_assert_uint_le(strlen(line), 2048);
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    ck_assert_ptr_nonnull(strstr(line, " process="));
}
END_TEST

/* ---- whom a line is about ---------------------------------------------------------------------------------------- */
static void expect_logged(const char *end)
{
    const char *line = logged();
    ck_assert_msg(strlen(line) > 25 && strcmp(line + 25, end) == 0, "%s is not %s", line, end);
}

static void *log_from_elsewhere(void *context)
{
    hep_log(HEP_WARNING, "else", "x=1");
    return context;
}

START_TEST(lines_say_for_whom_their_thread_works)
{
    pthread_t thread;
    log_to_pipe();
    hep_log_init("model", HEP_INFO);
    struct hep_log_context nobody = hep_log_enter("s1", "e7");
    hep_log(HEP_WARNING, "a", "x=1");
    expect_logged("warning a session=s1 request=e7 x=1 process=model\n");
    hep_log(HEP_WARNING, "a", "x=1 session=s2 y=2"); /* says itself whom it is about */
    expect_logged("warning a x=1 session=s2 y=2 request=e7 process=model\n");
    hep_log(HEP_WARNING, "a", "session=s2");
    expect_logged("warning a session=s2 request=e7 process=model\n");
    pthread_create(&thread, NULL, log_from_elsewhere, NULL);
    pthread_join(thread, NULL);
    expect_logged("warning else x=1 process=model\n");
    struct hep_log_context first = hep_log_enter("s2", "");
    hep_log(HEP_WARNING, "a", "x=1");
    expect_logged("warning a session=s2 x=1 process=model\n");
    hep_log_leave(&first);
    hep_log(HEP_WARNING, "a", "x=1");
    expect_logged("warning a session=s1 request=e7 x=1 process=model\n");
    hep_log_leave(&nobody);
    hep_log(HEP_WARNING, "a", "x=1");
    expect_logged("warning a x=1 process=model\n");
    hep_log_enter("", "e 9=\"\n\xc3");
    hep_log(HEP_WARNING, "a", "x=1"); /* a name from outside does not make fields of its own */
    expect_logged("warning a x=1 request=e?9???? process=model\n");
}
END_TEST

START_TEST(a_long_line_keeps_whom_it_is_about)
{
    char big[5000], name[300];
    memset(big, 'b', sizeof big);
    memset(name, 'n', sizeof name);
    big[sizeof big - 1] = name[sizeof name - 1] = '\0';
    log_to_pipe();
    hep_log_init("model", HEP_INFO);
    hep_log_enter(name, name);
    for (int own = 0; own < 2; own++) {
        hep_log(HEP_WARNING, "long", own ? "session=s2 text=%s" : "text=%s", big);
        const char *line = logged(), *session = strstr(line, own ? " session=s2 " : " session=nnn");
        ck_assert_uint_le(strlen(line), 2048);
        ck_assert_msg(session && session - line < 100 && strstr(line, " request=nnn"), "%s", line);
        ck_assert_str_eq(line + strlen(line) - strlen(" process=model\n"), " process=model\n");
    }
}
END_TEST

START_TEST(a_line_is_of_the_session_that_it_names)
{
    static const struct {
        const char *line;
        bool is;
    } lines[] = {
        {"t info a session=s1 x=1", true},
        {"t info a x=1 session=s1", true},
        {"t info a session=s12 x=1", false},
        {"t info a session=s x=1", false},
        {"t info a xsession=s1", false},
        {"t info a session=s2 session=s1", true},
        {"t info a text=\"session=s1\"", false},
        {"", false},
        {" session=", false},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(lines); i++)
        ck_assert_msg(hep_log_line_is_of(lines[i].line, strlen(lines[i].line), "s1") == lines[i].is, "%s",
                      lines[i].line);
    ck_assert(!hep_log_line_is_of("a session=s1", 11, "s1")); /* length counts, not the end of the text */
}
END_TEST

START_TEST(values_from_outside_are_quoted_and_cut)
{
    char buffer[64], small[12], tiny[4];
    ck_assert_str_eq(hep_log_quote("a \"b\"\n\\", buffer, sizeof buffer), "\"a \\\"b\\\"\\x0a\\\\\"");
    ck_assert_uint_lt(strlen(hep_log_quote("\n\n\n\n\n\n\n\n", small, sizeof small)), sizeof small);
    ck_assert_str_eq(hep_log_quote("abc", tiny, sizeof tiny), "");
}
END_TEST

START_TEST(levels_roles_and_clocks)
{
    enum hep_log_level level;
    char text[32];
    ck_assert(hep_log_level_from_name("notice", &level) && level == HEP_NOTICE);
    ck_assert(!hep_log_level_from_name("loud", &level));
    for (int i = 0; i < HEP_ROLE_COUNT; i++)
        ck_assert_int_eq(hep_role_from_prefix(hep_role_name((enum hep_role)i), strlen(hep_role_name((enum hep_role)i))),
                         i);
    ck_assert_int_eq(hep_role_from_prefix("model.load", 5), HEP_ROLE_MODEL);
    ck_assert_int_eq(hep_role_from_prefix("mode", 4), HEP_ROLE_NONE);
    ck_assert_str_eq(hep_role_name(HEP_ROLE_NONE), "none");
    ck_assert_str_eq(hep_wall_text(1767225599123, text, sizeof text), "2025-12-31T23:59:59.123Z");
    int64_t before = hep_now_us(), thread = hep_thread_cpu_us();
    ck_assert(hep_now_ms() >= before / 1000 && hep_process_cpu_us() >= thread);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("status_log");
    tcase_add_test(cases, every_code_has_a_name_a_meaning_and_a_status);
    tcase_add_test(cases, names_that_other_callers_know_are_aliases_of_codes);
    tcase_add_test(cases, an_error_is_filled_prefixed_and_hinted);
    tcase_add_test(cases, no_error_record_is_fine_and_long_messages_are_cut);
    tcase_add_test(cases, a_line_has_time_level_event_and_process);
    tcase_add_test(cases, a_reader_that_sleeps_loses_lines_and_learns_how_many);
    tcase_add_test(cases, a_reader_that_is_gone_hurts_nobody);
    tcase_add_test(cases, a_long_line_is_one_line);
    tcase_add_test(cases, lines_say_for_whom_their_thread_works);
    tcase_add_test(cases, a_long_line_keeps_whom_it_is_about);
    tcase_add_test(cases, a_line_is_of_the_session_that_it_names);
    tcase_add_test(cases, values_from_outside_are_quoted_and_cut);
    tcase_add_test(cases, levels_roles_and_clocks);
    return check_status_run("status_log", cases);
}
