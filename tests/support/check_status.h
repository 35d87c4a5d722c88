/* libcheck for functions that return enum hep_status: assertions that show the message, and main()'s one line. */
#ifndef HEP_TESTS_CHECK_STATUS_H
#define HEP_TESTS_CHECK_STATUS_H

#include "common/status.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The call, which takes `error`, succeeds. */
#define ck_assert_ok(call)                                                                                             \
    do {                                                                                                               \
        struct hep_error error_ = {0};                                                                                 \
        struct hep_error *error = &error_;                                                                             \
        enum hep_status status_ = (call);                                                                              \
        ck_assert_msg(status_ == HEP_OK, "%s: %s: %s", #call, hep_status_name(status_), error_.message);               \
    } while (0)
/* The call, which takes `error`, fails with the code and says so in both ways. */
#define ck_assert_fails(call, expected)                                                                                \
    do {                                                                                                               \
        struct hep_error error_ = {0};                                                                                 \
        struct hep_error *error = &error_;                                                                             \
        enum hep_status status_ = (call);                                                                              \
        ck_assert_msg(status_ == (expected) && error_.code == (expected) && error_.message[0], "%s: %s: %s", #call,    \
                      hep_status_name(status_), error_.message);                                                       \
    } while (0)

/* Runs a command, which succeeds. */
__attribute__((format(printf, 1, 2))) static inline void check_shell(const char *format, ...)
{
    char command[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static inline int check_status_run(const char *name, TCase *cases)
{
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
