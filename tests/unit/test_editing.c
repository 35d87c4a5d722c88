/*
 * Prompt editing beyond the manual's table (tests/golden/test_tokenizer.c): what is an error, and the worst prompts
 * that 16 KiB can hold.
 */
#include "common/limits.h"
#include "instructors/conditioning/editing.h"
#include "tests/support/check_status.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* `head`, count times text, `tail`. The caller frees it. */
static char *repeat(const char *head, const char *text, size_t count, const char *tail)
{
    size_t size = strlen(text), used = strlen(head);
    char *all = calloc(used + size * count + strlen(tail) + 1, 1);
    memcpy(all, head, used);
    for (size_t i = 0; i < count; i++, used += size)
        memcpy(all + used, text, size);
    memcpy(all + used, tail, strlen(tail));
    return all;
}

static enum hep_status read_prompt(const char *text, int32_t steps, struct prompt_schedule *schedule,
                                   struct hep_error *error)
{
    *schedule = (struct prompt_schedule){0};
    *error = (struct hep_error){0};
    return prompt_schedule_make(text, strlen(text), steps, 0, schedule, error);
}

START_TEST(a_prompt_that_changes_needs_to_know_the_steps)
{
    static const char *const changing[] = {"[a:b:0.5]", "[a|b]", "x [y:3]"}, *const plain[] = {"", "[a]", "(a:1.2)",
                                                                                               "a | b", "[a|b] \\"};
    struct prompt_schedule schedule;
    struct hep_error error;
    for (size_t i = 0; i < HEP_COUNT_OF(changing); i++) {
        ck_assert_int_eq(read_prompt(changing[i], 0, &schedule, &error), HEP_E_MISSING_FIELD);
        ck_assert_str_eq(error.field, "num_inference_steps");
        ck_assert_ptr_null(schedule.variants);
    }
    for (size_t i = 0; i < HEP_COUNT_OF(plain); i++) {
        ck_assert_msg(read_prompt(plain[i], 0, &schedule, &error) == HEP_OK, "%s: %s", plain[i], error.message);
        ck_assert_int_eq(schedule.steps, 1);
        ck_assert_uint_eq(schedule.count, 1);
        ck_assert_str_eq(schedule.variants[0].text, plain[i]);
        prompt_schedule_clear(&schedule);
    }
}
END_TEST

START_TEST(what_is_said_again_is_one_variant)
{
    struct prompt_schedule schedule;
    struct hep_error error;
    static const int32_t expected[] = {0, 0, 1, 0, 1, 0, 2, 2};
    ck_assert_int_eq(read_prompt("[[a|b]:c:5]", 8, &schedule, &error), HEP_OK);
    ck_assert_uint_eq(schedule.count, 3);
    ck_assert_mem_eq(schedule.variant_of, expected, sizeof expected);
    prompt_schedule_clear(&schedule);
}
END_TEST

/* What A1111's get_learned_conditioning_prompt_schedules gives with hires_steps: 8 steps after 8 others. */
static const struct second_pass {
    const char *prompt;
    int32_t steps_of_first; /* that say the first of what is said */
    const char *first;
} second_passes[] = {{"[a:b:0.5]", 8, "b"}, {"[a:b:1.5]", 5, "a"}, {"[a:b:12]", 5, "a"},
                     {"[a:b:3]", 8, "b"},   {"[a:b:2.0]", 8, "a"}, {"[a|b]", 2, "a"}};

START_TEST(a_second_pass_counts_on_from_the_first)
{
    for (size_t i = 0; i < HEP_COUNT_OF(second_passes); i++) {
        const struct second_pass *row = &second_passes[i];
        struct prompt_schedule schedule;
        int32_t steps = 0;
        ck_assert_ok(prompt_schedule_make(row->prompt, strlen(row->prompt), 8, 8, &schedule, error));
        while (steps < 8 && schedule.variant_of[steps] == 0)
            steps++;
        ck_assert_str_eq(schedule.variants[0].text, row->first);
        ck_assert_msg(steps == row->steps_of_first, "%s: %d", row->prompt, steps);
        prompt_schedule_clear(&schedule);
    }
}
END_TEST

START_TEST(bad_text_is_an_error)
{
    struct prompt_schedule schedule;
    struct hep_error error;
    ck_assert_int_eq(read_prompt("cat \xff[a|b]", 8, &schedule, &error), HEP_E_BAD_FIELD);
    ck_assert_ptr_nonnull(strstr(error.message, "byte 4"));
    char *long_text = repeat("", "a", HEP_PROMPT_MAX + 1, "");
    ck_assert_int_eq(read_prompt(long_text, 8, &schedule, &error), HEP_E_TOO_LARGE);
    free(long_text);
    char *many = calloc(8 * HEP_PROMPT_VARIANTS_MAX, 1);
    size_t used = 0;
    for (int i = 0; i <= HEP_PROMPT_VARIANTS_MAX; i++)
        used += (size_t)sprintf(many + used, "%c%d", i == 0 ? '[' : '|', i);
    many[used] = ']';
    ck_assert_int_eq(read_prompt(many, HEP_STEPS_MAX, &schedule, &error), HEP_E_OUT_OF_RANGE);
    ck_assert_int_eq(read_prompt(many, HEP_PROMPT_VARIANTS_MAX, &schedule, &error), HEP_OK);
    prompt_schedule_clear(&schedule);
    free(many);
}
END_TEST

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A thousand steps of 16 KiB, the deepest and the widest. */
START_TEST(the_worst_16_kib_take_under_two_seconds)
{
    const struct {
        const char *head, *text;
        size_t count;
        const char *tail;
    } prompts[] = {{"", "[", 16000, ""},       {"", "[(", 8000, ""},      {"[a", "|", 16000, "]"},
                   {"", "[a|b]", 3200, ""},    {"", "[a:b:1]", 2300, ""}, {"[a|b]", "long text ", 1600, ""},
                   {"", "[a:[b:1]:", 1700, ""}};
    for (size_t i = 0; i < HEP_COUNT_OF(prompts); i++) {
        struct prompt_schedule schedule;
        struct hep_error error;
        char *text = repeat(prompts[i].head, prompts[i].text, prompts[i].count, prompts[i].tail);
        double began = seconds();
        ck_assert_msg(read_prompt(text, HEP_STEPS_MAX, &schedule, &error) == HEP_OK, "%zu: %s", i, error.message);
        ck_assert_double_lt(seconds() - began, 2);
        prompt_schedule_clear(&schedule);
        free(text);
    }
    char *nested = calloc(HEP_PROMPT_MAX + 1, 1); /* [[[…a|b]|b]|b] */
    size_t depth = 4000;
    memset(nested, '[', depth);
    nested[depth] = 'a';
    for (size_t i = 0; i < depth; i++)
        memcpy(nested + depth + 1 + 3 * i, "|b]", 3);
    struct prompt_schedule schedule;
    struct hep_error error;
    double began = seconds();
    ck_assert_int_eq(read_prompt(nested, HEP_STEPS_MAX, &schedule, &error), HEP_OK);
    ck_assert_double_lt(seconds() - began, 2);
    ck_assert_uint_eq(schedule.count, 2);
    prompt_schedule_clear(&schedule);
    free(nested);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("editing");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_prompt_that_changes_needs_to_know_the_steps);
    tcase_add_test(tcase, what_is_said_again_is_one_variant);
    tcase_add_test(tcase, a_second_pass_counts_on_from_the_first);
    tcase_add_test(tcase, bad_text_is_an_error);
    tcase_add_test(tcase, the_worst_16_kib_take_under_two_seconds);
    return check_status_run("editing", tcase);
}
