/* Rates of matrix multiplication: measured quickly, stored whole or not at all. */
#include "tests/support/check_status.h"

#include "instructors/device/rates.h"
#include "nn/cpu/isa.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[128];

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/device-rates.json", folder);
}

static void teardown(void)
{
    unlink(path);
    rmdir(folder); /* fails, and is seen, if anything else is left */
}

static void put(const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static const struct device_rates some = {.gflops = {[HEP_F32] = 123.5, [HEP_I8] = 456.25},
                                         .spread = {[HEP_F32] = 0.25},
                                         .measured_ms = 99.5,
                                         .measurements = 3,
                                         .settled = true};

START_TEST(a_measurement_is_plausible_and_short)
{
    struct device_rates rates;
    ck_assert_ok(device_rates_measure(1, 60, &rates, error));
    fprintf(stderr, "gflops f32=%.0f bf16=%.0f i8=%.0f ms=%.0f\n", rates.gflops[HEP_F32], rates.gflops[HEP_BF16],
            rates.gflops[HEP_I8], rates.measured_ms);
    ck_assert_double_gt(rates.gflops[HEP_F32], 0.1);
    ck_assert_double_lt(rates.gflops[HEP_F32], 1e5);
    ck_assert_double_eq(rates.gflops[HEP_F64], 0);
    ck_assert_double_gt(rates.measured_ms, 0);
    if (hep_isa_machine() == HEP_ISA_AVX512BF16)
        ck_assert_double_gt(rates.gflops[HEP_BF16], 0.1);
}
END_TEST

START_TEST(stored_rates_are_read_back)
{
    struct device_rates rates;
    ck_assert_fails(device_rates_load(folder, "key", &rates, error), HEP_E_NOT_FOUND);
    ck_assert_ok(device_rates_store(folder, "key", &some, error));
    ck_assert_ok(device_rates_load(folder, "key", &rates, error));
    ck_assert_double_eq(rates.gflops[HEP_F32], 123.5);
    ck_assert_double_eq(rates.gflops[HEP_I8], 456.25);
    ck_assert_double_eq(rates.gflops[HEP_BF16], 0);
    ck_assert_double_eq(rates.measured_ms, 99.5);
    ck_assert_double_eq(rates.spread[HEP_F32], 0.25);
    ck_assert_int_eq(rates.measurements, 3);
    ck_assert(rates.settled);
}
END_TEST

START_TEST(the_best_is_kept_and_two_that_agree_settle_it)
{
    static const struct {
        double f32, bf16, best_f32, best_bf16;
        bool settled;
    } steps[] = {
        {44, 300, 44, 300, false},                                /* the first says nothing of how good it is  */
        {101, 310, 101, 310, false},                              /* the machine was busy before               */
        {38, 400, 101, 400, false},                               /* it is busy again; the other is better     */
        {208, 810, 208, 810, false}, {190, 725, 208, 810, false}, /* one of them is not within 10 %            */
        {190, 800, 208, 810, true},  {40, 90, 208, 810, false},   /* a busy one takes nothing away             */
        {215, 820, 215, 820, true},
    };
    struct device_rates known = {.measurements = 0};
    for (size_t i = 0; i < HEP_COUNT_OF(steps); i++) {
        struct device_rates fresh = {.gflops = {[HEP_F32] = steps[i].f32, [HEP_BF16] = steps[i].bf16}};
        device_rates_add(&known, &fresh);
        ck_assert_double_eq(known.gflops[HEP_F32], steps[i].best_f32);
        ck_assert_double_eq(known.gflops[HEP_BF16], steps[i].best_bf16);
        ck_assert_msg(known.settled == steps[i].settled, "step %zu", i);
    }
    ck_assert_int_eq(known.measurements, HEP_COUNT_OF(steps));
}
END_TEST

START_TEST(rates_of_another_key_are_not_found_and_replaced)
{
    struct device_rates rates, faster = some;
    char here[DEVICE_RATES_KEY_MAX], there[DEVICE_RATES_KEY_MAX];
    device_rates_key("EPYC", "avx2", 2, "b1", here);
    device_rates_key("EPYC", "avx2", 4, "b1", there);
    ck_assert_str_ne(here, there);
    ck_assert_ok(device_rates_store(folder, here, &some, error));
    ck_assert_fails(device_rates_load(folder, there, &rates, error), HEP_E_NOT_FOUND);
    faster.gflops[HEP_F32] = 200;
    ck_assert_ok(device_rates_store(folder, there, &faster, error));
    ck_assert_ok(device_rates_load(folder, there, &rates, error));
    ck_assert_double_eq(rates.gflops[HEP_F32], 200);
}
END_TEST

START_TEST(a_damaged_file_is_refused_whatever_it_is)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"format\": 1, \"key\": \"key\", \"gflops\": {\"f32\": 1}, \"spread\": {}, \"measured_ms\": 1, "
        "\"measurements\": 1, \"settled\": true}",
        "{\"format\": 2, \"key\": 5, \"gflops\": {\"f32\": 1}, \"spread\": {}, \"measured_ms\": 1, \"measurements\": "
        "1, \"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": [1], \"spread\": {}, \"measured_ms\": 1, \"measurements\": 1, "
        "\"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": {}, \"spread\": {}, \"measured_ms\": 1, \"measurements\": 1, "
        "\"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": {\"f32\": -1}, \"spread\": {}, \"measured_ms\": 1, "
        "\"measurements\": 1, \"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": {\"f32\": 1, \"i8\": -1}, \"spread\": {}, \"measured_ms\": 1, "
        "\"measurements\": 1, \"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": {\"f32\": \"1\"}, \"spread\": {}, \"measured_ms\": 1, "
        "\"measurements\": 1, \"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": {\"f32\": 1, \"f99\": 1}, \"spread\": {}, \"measured_ms\": 1, "
        "\"measurements\": 1, \"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": {\"f32\": 1}, \"spread\": 7, \"measured_ms\": 1, "
        "\"measurements\": 1, \"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": {\"f32\": 1}, \"spread\": {}, \"measured_ms\": 1, "
        "\"measurements\": 0, \"settled\": true}",
        "{\"format\": 2, \"key\": \"key\", \"gflops\": {\"f32\": 1}, \"spread\": {}, \"measured_ms\": 1}",
    };
    struct device_rates rates;
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++) {
        put(bad[i]);
        ck_assert_fails(device_rates_load(folder, "key", &rates, error), HEP_E_BAD_FILE);
    }
    ck_assert_ok(device_rates_store(folder, "key", &some, error));
    ck_assert_ok(device_rates_load(folder, "key", &rates, error));
}
END_TEST

START_TEST(a_store_that_fails_leaves_the_old_file)
{
    struct device_rates rates;
    char blocker[160];
    ck_assert_ok(device_rates_store(folder, "key", &some, error));
    snprintf(blocker, sizeof blocker, "%s.new", path);
    ck_assert_int_eq(mkdir(blocker, 0700), 0); /* the new file cannot be made */
    ck_assert_fails(device_rates_store(folder, "other", &some, error), HEP_E_SYSTEM);
    ck_assert_ok(device_rates_load(folder, "key", &rates, error));
    rmdir(blocker);
    ck_assert_fails(device_rates_store("/nonexistent", "key", &some, error), HEP_E_NOT_FOUND);
}
END_TEST

START_TEST(nothing_but_the_file_is_left_in_the_folder)
{
    int count = 0;
    ck_assert_ok(device_rates_store(folder, "key", &some, error));
    DIR *directory = opendir(folder);
    for (struct dirent *file; (file = readdir(directory));)
        count += file->d_name[0] != '.';
    closedir(directory);
    ck_assert_int_eq(count, 1);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("rates");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 30);
    tcase_add_test(cases, a_measurement_is_plausible_and_short);
    tcase_add_test(cases, stored_rates_are_read_back);
    tcase_add_test(cases, the_best_is_kept_and_two_that_agree_settle_it);
    tcase_add_test(cases, rates_of_another_key_are_not_found_and_replaced);
    tcase_add_test(cases, a_damaged_file_is_refused_whatever_it_is);
    tcase_add_test(cases, a_store_that_fails_leaves_the_old_file);
    tcase_add_test(cases, nothing_but_the_file_is_left_in_the_folder);
    return check_status_run("device_rates", cases);
}
