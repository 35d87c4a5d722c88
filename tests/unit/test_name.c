/* Names of schedulers in the ways that people write them. */
#include "common/name.h"

#include <check.h>
#include <stdlib.h>

START_TEST(spellings_of_one_name_are_one)
{
    ck_assert(hep_name_is("DPM++ 2M Karras", "dpmpp_2m_karras"));
    ck_assert(hep_name_is("Euler a", "euler-A"));
    ck_assert(hep_name_is("", " _-"));
    ck_assert(hep_name_is("DDIM ", "ddim"));
}
END_TEST

START_TEST(other_names_are_not)
{
    ck_assert(!hep_name_is("Euler", "Euler a"));
    ck_assert(!hep_name_is("dpmpp_2m", "dpmpp_2s"));
    ck_assert(!hep_name_is("", "ddim"));
    ck_assert(!hep_name_is("DPM++ 2M", "DPM+ 2M"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("name");
    TCase *cases = tcase_create("name");
    tcase_add_test(cases, spellings_of_one_name_are_one);
    tcase_add_test(cases, other_names_are_not);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
