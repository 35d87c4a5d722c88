/* What the tests of heptctl share: running a list of tests, and catching what is written. */
#ifndef HEP_TESTS_UNIT_CTL_TEST_H
#define HEP_TESTS_UNIT_CTL_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline int ctl_run_tests(const char *name, void (*add)(TCase *tests))
{
    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);
    add(tests);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

/* FILE *out = ctl_catch(); … char *text = ctl_caught(out); then text, malloc'ed, has all that was written. */
static struct {
    char *text;
    size_t size;
} ctl_catching;

static inline FILE *ctl_catch(void)
{
    FILE *out = open_memstream(&ctl_catching.text, &ctl_catching.size);
    ck_assert_ptr_nonnull(out);
    return out;
}

static inline char *ctl_caught(FILE *out)
{
    fclose(out);
    return ctl_catching.text;
}

#endif
