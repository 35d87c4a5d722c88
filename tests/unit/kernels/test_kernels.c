/* The ISA level and the dispatch table; what the kernels compute is hep-kernels' business. */
#include "nn/cpu/kernels.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libcheck forks each test: the level of a process is still open in each. */

START_TEST(the_level_is_the_machines_without_a_limit)
{
    unsetenv("HEP_ISA");
    ck_assert_int_eq(hep_isa_level(), hep_isa_machine());
}
END_TEST

START_TEST(the_environment_lowers_the_level)
{
    setenv("HEP_ISA", "portable", 1);
    ck_assert_int_eq(hep_isa_level(), HEP_ISA_PORTABLE);
    setenv("HEP_ISA", "avx2", 1); /* the first answer stands */
    ck_assert_int_eq(hep_isa_level(), HEP_ISA_PORTABLE);
    ck_assert_str_eq(hep_kernels()->attention[HEP_F32].info.symbol, "hep_attention_f32__portable_6x8");
}
END_TEST

START_TEST(the_environment_never_raises_the_level)
{
    setenv("HEP_ISA", "avx512bf16", 1);
    ck_assert_int_eq(hep_isa_level(), hep_isa_machine());
}
END_TEST

START_TEST(a_limit_lowers_the_level_and_is_refused_after_the_answer)
{
    struct hep_error error;
    unsetenv("HEP_ISA");
    if (hep_isa_machine() == HEP_ISA_PORTABLE)
        return;
    ck_assert_int_eq(hep_isa_limit(HEP_ISA_AVX2, &error), HEP_OK);
    ck_assert_int_eq(hep_isa_level(), HEP_ISA_AVX2);
    ck_assert_int_eq(hep_isa_limit(HEP_ISA_AVX2, &error), HEP_OK);
    ck_assert_int_eq(hep_isa_limit(HEP_ISA_PORTABLE, &error), HEP_E_NOT_NOW);
    ck_assert_int_eq(hep_isa_level(), HEP_ISA_AVX2);
}
END_TEST

START_TEST(a_wrong_level_name_is_an_error_with_a_hint)
{
    struct hep_error error;
    setenv("HEP_ISA", "avx3", 1);
    ck_assert_int_eq(hep_isa_check(&error), HEP_E_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.message, "avx3"));
    ck_assert_ptr_nonnull(strstr(error.hint, "portable"));
    setenv("HEP_ISA", "portable", 1);
    ck_assert_int_eq(hep_isa_check(&error), HEP_OK);
}
END_TEST

START_TEST(names_and_levels_are_inverse)
{
    for (enum hep_isa isa = HEP_ISA_PORTABLE; isa < HEP_ISA_COUNT; isa++)
        ck_assert_int_eq(hep_isa_from_name(hep_isa_name(isa)), isa);
    ck_assert_int_eq(hep_isa_from_name(""), HEP_ISA_COUNT);
}
END_TEST

START_TEST(every_row_has_a_portable_kernel_below_it)
{
    const struct hep_kernel_info *row, *other;
    for (size_t i = 0; (row = hep_kernel_row(i)); i++) {
        bool found = false;
        for (size_t j = 0; (other = hep_kernel_row(j)); j++)
            found = found ||
                    (other->isa == HEP_ISA_PORTABLE && other->dtype == row->dtype && strcmp(other->op, row->op) == 0);
        ck_assert_msg(found, "%s has no portable kernel", row->symbol);
    }
}
END_TEST

START_TEST(a_symbol_says_operator_dtype_and_level)
{
    const struct hep_kernel_info *row;
    for (size_t i = 0; (row = hep_kernel_row(i)); i++) {
        char start[128];
        snprintf(start, sizeof start, "hep_%s_%s__%s", row->op, hep_dtype_name(row->dtype), hep_isa_name(row->isa));
        ck_assert_msg(strncmp(row->symbol, start, strlen(start)) == 0, "%s should start with %s", row->symbol, start);
    }
}
END_TEST

START_TEST(the_table_of_a_level_has_its_own_kernels_over_those_below)
{
    static struct hep_kernels table;
    hep_kernels_fill(&table, HEP_ISA_PORTABLE);
    ck_assert_int_eq(table.silu[HEP_F32].info.isa, HEP_ISA_PORTABLE);
    ck_assert_ptr_null((void *)(uintptr_t)table.silu[HEP_I32].run);
    if (hep_isa_machine() >= HEP_ISA_AVX2) {
        hep_kernels_fill(&table, HEP_ISA_AVX2);
        ck_assert_int_eq(table.silu[HEP_F32].info.isa, HEP_ISA_AVX2);
        ck_assert_int_eq(table.copy[HEP_F32].info.isa, HEP_ISA_PORTABLE);
    }
    struct hep_rows_args shape = {.rows = 1, .columns = 1};
    ck_assert_uint_eq(table.silu[HEP_F32].scratch(&shape), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernels");
    TCase *tests = tcase_create("level and table");
    suite_add_tcase(suite, tests);
    tcase_add_test(tests, the_level_is_the_machines_without_a_limit);
    tcase_add_test(tests, the_environment_lowers_the_level);
    tcase_add_test(tests, the_environment_never_raises_the_level);
    tcase_add_test(tests, a_limit_lowers_the_level_and_is_refused_after_the_answer);
    tcase_add_test(tests, a_wrong_level_name_is_an_error_with_a_hint);
    tcase_add_test(tests, names_and_levels_are_inverse);
    tcase_add_test(tests, every_row_has_a_portable_kernel_below_it);
    tcase_add_test(tests, a_symbol_says_operator_dtype_and_level);
    tcase_add_test(tests, the_table_of_a_level_has_its_own_kernels_over_those_below);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
