/* Random numbers against goldens/rng: `cpu.*` measured with torch, `nv.*` computed by the NumPy Philox of its README,
   Philox itself against the Random123 known answers. Limits are the README's: exact words, 1e-6 for normal values. */
#include "common/random.h"
#include "tests/support/golden_tensors.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDENS HEP_SOURCE_DIR "/tests/golden/data/goldens/rng/"

static struct golden_tensors *tensors;
static json_t *vectors;

static void open_goldens(void)
{
    tensors = golden_tensors_open(GOLDENS "randn.safetensors");
    vectors = golden_json(GOLDENS "vectors.json");
}

static void close_goldens(void)
{
    golden_tensors_close(tensors);
    json_decref(vectors);
}

static void same_within(const float *got, const float *expected, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(fabsf(got[i] - expected[i]) <= 1e-6f, "%s[%zu] is %.9g, expected %.9g", what, i, (double)got[i],
                      (double)expected[i]);
}

static void hex_words(json_t *list, uint32_t *words)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        words[i] = (uint32_t)strtoul(json_string_value(json_array_get(list, i)), NULL, 16);
}

START_TEST(philox_gives_the_known_answers_of_random123)
{
    size_t i;
    json_t *row, *rows = json_object_get(vectors, "philox4x32_10_known_answers");
    ck_assert_uint_eq(json_array_size(rows), 3);
    json_array_foreach(rows, i, row)
    {
        uint32_t counter[4], key[2], expected[4], got[4];
        hex_words(json_object_get(row, "counter"), counter);
        hex_words(json_object_get(row, "key"), key);
        hex_words(json_object_get(row, "result"), expected);
        hep_philox4x32_10(counter, key, got);
        ck_assert_mem_eq(got, expected, sizeof got);
    }
}
END_TEST

START_TEST(mt19937_gives_torchs_first_words)
{
    const char *seed;
    json_t *words, *all = json_object_get(vectors, "mt19937_first_words");
    ck_assert_uint_eq(json_object_size(all), 7);
    json_object_foreach(all, seed, words)
    {
        struct hep_torch_cpu generator;
        hep_torch_cpu_seed(&generator, strtoull(seed, NULL, 10));
        for (size_t i = 0; i < json_array_size(words); i++)
            ck_assert_uint_eq(hep_torch_cpu_word(&generator), json_integer_value(json_array_get(words, i)));
    }
}
END_TEST

/* Walks every golden tensor; returns how many have the prefix. */
static int each_golden(const char *prefix, void (*check)(uint64_t seed, const char *rest, const char *name))
{
    int found = 0;
    const char *seed;
    json_t *words;
    json_object_foreach(json_object_get(vectors, "mt19937_first_words"), seed, words)
    {
        static const char *const rests[] = {
            "1", "2", "5", "8", "15", "16", "17", "31", "32", "33", "100", "256", "first", "second", "latent_1x4x8x12"};
        for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
            char name[64];
            size_t count;
            snprintf(name, sizeof name, "%s.%s.%s", prefix, seed, rests[i]);
            if (!golden_tensors_find(tensors, name, &count))
                continue;
            check(strtoull(seed, NULL, 10), rests[i], name);
            found++;
        }
    }
    return found;
}

static void check_philox(uint64_t seed, const char *rest, const char *name)
{
    size_t count;
    float got[256], piece;
    const float *expected = golden_tensors_find(tensors, name, &count);
    uint32_t draw = strcmp(rest, "second") == 0;
    hep_philox_normal(seed, draw, 0, count, got);
    same_within(got, expected, count, name);
    for (size_t i = 0; i < count; i += 13) { /* any element alone is the same element */
        hep_philox_normal(seed, draw, i, 1, &piece);
        ck_assert_mem_eq(&piece, &got[i], sizeof piece);
    }
}

START_TEST(philox_normals_are_the_goldens_for_each_draw_and_from_any_element)
{
    ck_assert_int_eq(each_golden("nv", check_philox), 14);
}
END_TEST

static void check_torch_cpu(uint64_t seed, const char *rest, const char *name)
{
    (void)rest;
    size_t count;
    float got[384];
    const float *expected = golden_tensors_find(tensors, name, &count);
    ck_assert_uint_le(count, 384);
    hep_torch_cpu_draw(seed, 0, count, got);
    same_within(got, expected, count, name);
}

START_TEST(torch_cpu_normals_are_torchs_for_every_size)
{
    ck_assert_int_eq(each_golden("cpu", check_torch_cpu), 7 * 12 + 1);
}
END_TEST

START_TEST(torch_cpu_draws_in_sequence_are_torchs)
{
    static const size_t sizes[] = {3, 16, 5, 20, 1};
    const char *seed;
    json_t *words;
    json_object_foreach(json_object_get(vectors, "mt19937_first_words"), seed, words)
    {
        struct hep_torch_cpu generator;
        hep_torch_cpu_seed(&generator, strtoull(seed, NULL, 10));
        for (int i = 0; i < 5; i++) {
            char name[64];
            size_t count;
            float got[20];
            snprintf(name, sizeof name, "cpu.%s.seq.%d", seed, i);
            const float *expected = golden_tensors_find(tensors, name, &count);
            ck_assert_uint_eq(count, sizes[i]);
            hep_torch_cpu_normal(&generator, count, got);
            same_within(got, expected, count, name);
        }
    }
}
END_TEST

START_TEST(a_replayed_draw_is_the_draw_of_a_generator_that_ran)
{
    static const size_t sizes[] = {5, 16, 33, 192};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct hep_torch_cpu generator;
        float ran[192], replayed[192];
        hep_torch_cpu_seed(&generator, 42);
        for (uint32_t draw = 0; draw < 4; draw++) {
            hep_torch_cpu_normal(&generator, sizes[s], ran);
            hep_torch_cpu_draw(42, draw, sizes[s], replayed);
            ck_assert_mem_eq(ran, replayed, sizes[s] * sizeof *ran);
        }
    }
}
END_TEST

/* Bytes, not values: the promise is that they are the same on every machine. */
START_TEST(the_bytes_of_a_seed_never_change)
{
    static const uint32_t philox[4] = {0xbf87d733u, 0xbf0636e4u, 0xbd1f5e07u, 0x3fc7d0afu};
    static const uint32_t torch_cpu[4] = {0x3f24dad1u, 0xbf367776u, 0x3f2f512au, 0x3fdd039du};
    float values[16];
    hep_philox_normal(1234567, 3, 1000, 4, values);
    ck_assert_mem_eq(values, philox, sizeof philox);
    hep_torch_cpu_draw(1234567, 1, 16, values);
    ck_assert_mem_eq(values, torch_cpu, sizeof torch_cpu);
}
END_TEST

/* The own logarithm, sine and cosine against libm, over a million draws: a wrong branch would show as a large error. */
START_TEST(philox_normals_agree_with_libm_everywhere)
{
    const double unit = (double)2.3283064e-10f, turn = (double)(float)(2.3283064e-10 * 6.2831855);
    float block[1000];
    for (uint32_t draw = 0; draw < 1000; draw++) {
        hep_philox_normal(7, draw, 0, 1000, block);
        for (uint32_t i = 0; i < 1000; i++) {
            uint32_t random[4];
            hep_philox4x32_10((uint32_t[4]){draw, 0, i, 0}, (uint32_t[2]){7, 0}, random);
            double expected = sqrt(-2 * log(random[0] * unit + unit / 2)) * sin(random[1] * turn + turn / 2);
            ck_assert_double_eq_tol(block[i], expected, 3e-7);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random");
    TCase *cases = tcase_create("goldens");
    tcase_add_unchecked_fixture(cases, open_goldens, close_goldens);
    tcase_add_test(cases, philox_gives_the_known_answers_of_random123);
    tcase_add_test(cases, mt19937_gives_torchs_first_words);
    tcase_add_test(cases, philox_normals_are_the_goldens_for_each_draw_and_from_any_element);
    tcase_add_test(cases, torch_cpu_normals_are_torchs_for_every_size);
    tcase_add_test(cases, torch_cpu_draws_in_sequence_are_torchs);
    tcase_add_test(cases, a_replayed_draw_is_the_draw_of_a_generator_that_ran);
    tcase_add_test(cases, the_bytes_of_a_seed_never_change);
    tcase_add_test(cases, philox_normals_agree_with_libm_everywhere);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
