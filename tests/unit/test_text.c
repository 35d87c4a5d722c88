/*
 * What rows are told in the batch manager: a schedule's conditioning step by step, with the bytes of a run whose
 * conditioning is switched by hand; SDXL's sizes; variations of a seed. On a tiny model, in this process.
 */
#include "tests/support/batch_fixture.h"
#include "tests/support/golden_tensors.h"
#include "tests/support/scheduler_blob.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VARIANTS = 4 };

static float *conditioning_of(const struct asked *asked, struct hep_tensor *tensor)
{
    ck_assert_ok(hep_resolve(model.self.resolver, &asked->request.conditioning, HEP_WRITE, tensor, error));
    return tensor->data;
}

/* Values of variant number `variant`, the same in every test. */
static void put_variant(float *to, size_t floats, int variant)
{
    for (size_t i = 0; i < floats; i++)
        to[i] = sinf((float)((size_t)variant * 131u + i % 977u));
}

/* Gives a request of ask_with() VARIANTS variants and a schedule, in an arena of their own. */
static void reschedule(struct asked *asked, const int32_t schedule[2][STEPS])
{
    struct hep_segment_name name;
    struct hep_tensor tensor;
    uint64_t bytes;
    char session[HEP_SESSION_ID_MAX];
    int64_t width = asked->request.conditioning.shape.dims[2];
    struct hep_arena_region regions[] = {{"conditioning", HEP_F32, HEP_SHAPE(VARIANTS, 77, width), 0},
                                         {"pooled", HEP_F32, HEP_SHAPE(VARIANTS, 1), 0},
                                         {"schedule", HEP_I32, HEP_SHAPE(2, STEPS), 0}};
    struct hep_tensor_ref *refs[] = {&asked->request.conditioning, &asked->request.pooled,
                                     &asked->request.text.schedule};
    snprintf(session, sizeof session, "%.20s-text", asked->call.session);
    ck_assert_ok(hep_segment_name_make(model.instance, HEP_SEGMENT_ARENA, session, 1, &name, error));
    ck_assert_ok(hep_arena_plan(regions, HEP_COUNT_OF(regions), &bytes, error));
    ck_assert_ok(hep_arena_create(&name, HEP_COUNT_OF(regions), bytes, error));
    for (size_t i = 0; i < HEP_COUNT_OF(regions); i++)
        *refs[i] = hep_arena_ref(&name, &regions[i]);
    float *values = conditioning_of(asked, &tensor);
    for (int variant = 0; variant < VARIANTS; variant++)
        put_variant(values + variant * 77 * width, (size_t)(77 * width), variant);
    hep_resolver_release(model.self.resolver, &tensor);
    write_bytes(&asked->request.text.schedule, schedule, 2 * STEPS * sizeof(int32_t));
}

/* Writes two variants into the conditioning of a plain request, which may be in hand. */
static void switch_to(const struct asked *asked, int negative, int positive)
{
    struct hep_tensor tensor;
    float *values = conditioning_of(asked, &tensor);
    size_t floats = 77 * (size_t)asked->request.conditioning.shape.dims[2];
    put_variant(values, floats, negative);
    put_variant(values + floats, floats, positive);
    hep_resolver_release(model.self.resolver, &tensor);
}

static const int32_t changing[2][STEPS] = {{0, 0, 1, 1, 1}, {2, 3, 2, 3, 3}};

START_TEST(a_schedule_is_a_run_whose_conditioning_is_switched_by_hand)
{
    /* one evaluation a step; two, but one in the last; the first step evaluated twice */
    static const char *const schedulers[] = {"EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
                                             "PNDMScheduler"};
    for (size_t i = 0; i < HEP_COUNT_OF(schedulers); i++) {
        float by_schedule[ELEMENTS], by_hand[ELEMENTS];
        char session[32];
        snprintf(session, sizeof session, "scheduled%zu", i);
        struct asked *scheduled = ask_with(session, 7, 1, 1, schedulers[i]);
        reschedule(scheduled, changing);
        add_ok(scheduled);
        work(1000);
        expect_done(scheduled);
        copy_latents(scheduled, by_schedule);
        drop(scheduled);

        snprintf(session, sizeof session, "hand%zu", i);
        struct asked *plain = ask_with(session, 7, 1, 1, schedulers[i]);
        switch_to(plain, changing[0][0], changing[1][0]);
        add_ok(plain);
        const struct row *row = &batch.jobs->rows[0];
        while (batch.jobs) {
            int32_t step = row->plan->steps_of[row->evaluation];
            switch_to(plain, changing[0][step], changing[1][step]);
            work(1);
        }
        expect_done(plain);
        copy_latents(plain, by_hand);
        drop(plain);
        ck_assert_msg(memcmp(by_schedule, by_hand, sizeof by_hand) == 0, "%s", schedulers[i]);
    }
}
END_TEST

START_TEST(rows_of_different_schedules_run_together_and_go_on_after_a_death)
{
    static const int32_t other[2][STEPS] = {{1, 0, 1, 0, 1}, {3, 3, 3, 3, 2}};
    float alone_latents[ELEMENTS], other_latents[ELEMENTS], together[2 * ELEMENTS], plain[ELEMENTS];
    struct asked *first = ask_with("first", 9, 1, 1, "EulerAncestralDiscreteScheduler"),
                 *second = ask_with("second", 9, 1, 1, "EulerAncestralDiscreteScheduler");
    alone("plain-alone", 9, 1, plain);
    reschedule(first, changing);
    reschedule(second, other);
    add_ok(first);
    work(1000);
    copy_latents(first, alone_latents);
    add_ok(second);
    work(1000);
    copy_latents(second, other_latents);
    ck_assert_mem_ne(alone_latents, other_latents, sizeof other_latents);
    ck_assert_mem_ne(alone_latents, plain, sizeof plain);

    struct asked *a = ask_with("a", 8, 2, 1, "EulerAncestralDiscreteScheduler"),
                 *b = ask_with("b", 9, 1, 1, "EulerAncestralDiscreteScheduler"), *c = ask("c", 9, 1);
    reschedule(a, changing);
    reschedule(b, other);
    add_ok(a);
    add_ok(b);
    add_ok(c);
    work(2);
    struct asked *again = ask_again(a);
    add_ok(again);
    expect_failed(a, HEP_E_STALE);
    ck_assert_int_eq(work(1000), STEPS - 2);
    expect_done(again);
    ck_assert_int_eq(again->reply.resumed_from, 2);
    copy_latents(again, together);
    ck_assert_mem_eq(together + ELEMENTS, alone_latents, sizeof alone_latents); /* its second image has seed 9 */
    copy_latents(b, together);
    ck_assert_mem_eq(together, other_latents, sizeof other_latents);
    copy_latents(c, together);
    ck_assert_mem_eq(together, plain, sizeof plain);
    drop(first), drop(second), drop(a), drop(b), drop(c), drop(again);
}
END_TEST

/* Between two steps: another schedule makes the saved ones worthless. */
START_TEST(saved_steps_of_another_schedule_are_not_used)
{
    static const int32_t other[2][STEPS] = {{0, 0, 1, 1, 1}, {2, 3, 2, 3, 2}};
    struct asked *first = ask("other", 3, 1);
    reschedule(first, changing);
    add_ok(first);
    work(2);
    struct asked *again = ask_again(first);
    write_bytes(&again->request.text.schedule, other, sizeof other);
    add_ok(again);
    work(1000);
    expect_done(again);
    ck_assert_int_eq(again->reply.redone_rows, 1);
    drop(first), drop(again);
}
END_TEST

static void expect_refused(struct asked *asked, enum hep_status wanted, const char *field)
{
    struct hep_error error = {0};
    enum hep_status status = add(asked, &error);
    ck_assert_msg(status == wanted, "%s, not %s: %s", hep_status_name(status), hep_status_name(wanted), error.message);
    ck_assert_str_eq(error.field, field);
}

START_TEST(what_does_not_go_together_is_refused)
{
    static const int32_t too_high[2][STEPS] = {{0, 0, 0, 0, 0}, {2, 2, 2, 2, VARIANTS}},
                         negative[2][STEPS] = {{0, 0, -1, 0, 0}, {2, 2, 2, 2, 2}};
    struct asked *asked = ask("refused", 3, 1);
    asked->request.text.sizes.original_width = 64;
    expect_refused(asked, HEP_E_UNSUPPORTED, "original_width");
    asked->request.text.sizes.original_width = 0;
    reschedule(asked, too_high);
    expect_refused(asked, HEP_E_OUT_OF_RANGE, "schedule");
    write_bytes(&asked->request.text.schedule, negative, sizeof negative);
    expect_refused(asked, HEP_E_OUT_OF_RANGE, "schedule");
    write_bytes(&asked->request.text.schedule, changing, sizeof changing);
    struct hep_tensor_ref whole = asked->request.text.schedule;
    asked->request.text.schedule.shape.dims[1] = STEPS - 1;
    expect_refused(asked, HEP_E_OUT_OF_RANGE, "schedule");
    asked->request.text.schedule.shape = HEP_SHAPE(1, 2 * STEPS);
    expect_refused(asked, HEP_E_BAD_REFERENCE, "schedule");
    asked->request.text.schedule = (struct hep_tensor_ref){0};
    expect_refused(asked, HEP_E_BAD_REFERENCE, "conditioning"); /* four variants, and nothing says when */
    asked->request.text.schedule = whole;
    asked->request.pooled.shape.dims[0] = 2;
    expect_refused(asked, HEP_E_BAD_REFERENCE, "pooled");
    asked->request.pooled.shape.dims[0] = VARIANTS;
    add_ok(asked);
    work(1000);
    expect_done(asked);
    drop(asked);
}
END_TEST

/* As diffusers' SDXL pipelines: original, crop, target; those of the negative prompt only where they are asked for. Of
   the refiner, original, crop, aesthetic score. */
START_TEST(sizes_become_time_ids)
{
    static const struct {
        struct sizes_request sizes, negative;
        float ids[2][6];
        bool scored;
    } rows[] = {
        {{0}, {0}, {{64, 64, 0, 0, 64, 64}, {64, 64, 0, 0, 64, 64}}, false},
        {{128, 96, 16, 8, 0, 0}, {0}, {{96, 128, 8, 16, 64, 64}, {96, 128, 8, 16, 64, 64}}, false},
        {{128, 96, 16, 8, 96, 64}, {64, 48, 0, 0, 0, 0}, {{48, 64, 0, 0, 64, 96}, {96, 128, 8, 16, 64, 96}}, false},
        {{0}, {0, 0, 4, 2, 32, 40}, {{64, 64, 2, 4, 40, 32}, {64, 64, 0, 0, 64, 64}}, false},
        {{128, 96, 16, 8, 0, 0}, {64, 48, 0, 0, 0, 0}, {{48, 64, 0, 0, 2.5f}, {96, 128, 8, 16, 7}}, true},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        char session[16];
        snprintf(session, sizeof session, "sizes%zu", i);
        struct asked *asked = ask(session, 3, 1);
        struct text text = {0};
        int64_t numbers = rows[i].scored ? HEP_UNET_TIME_IDS_SCORED : HEP_UNET_TIME_IDS;
        struct row_shape shape = {.height = LATENT, .width = LATENT, .time_ids = numbers};
        asked->request.text.sizes = rows[i].sizes;
        asked->request.text.negative_sizes = rows[i].negative;
        asked->request.text.aesthetic_score = 7;
        asked->request.text.negative_aesthetic_score = 2.5;
        fake_call_map(&asked->call, &asked->request.conditioning, HEP_READ);
        fake_call_map(&asked->call, &asked->request.pooled, HEP_READ);
        ck_assert_ok(text_open(&asked->call, &asked->request, &shape, STEPS, &text, error));
        for (int which = 0; which < 2; which++)
            ck_assert_msg(memcmp(text.row.time_ids[which], rows[i].ids[which], (size_t)numbers * sizeof(float)) == 0,
                          "row %zu", i);
        text_clear(&text);
        drop(asked);
    }
}
END_TEST

/* Expected values: slerp of stable-diffusion-webui 1.10, computed with NumPy in f64. */
START_TEST(noises_are_mixed_as_a1111_mixes_them)
{
    static const double mixed[12] = {0.8953842,   0.99058033, -0.46974318, -0.81445126, 0.16966413, 0.24482548,
                                     -0.55920214, 0.55279884, 1.01236847,  0.39307688,  -0.9694123, -1.01934017},
                        line[12] = {0.29758885,  0.91566251,  -0.53354499, -0.77817384, 0.73407182,  0.58901161,
                                    -0.88585363, -0.36073689, 0.97881155,  0.10850793,  -1.00677285, 0.15092635};
    float a[12], b[12], alike[12];
    for (int i = 0; i < 12; i++) {
        a[i] = (float)sin(i * 1.7 + 0.3);
        b[i] = (float)cos(i * 0.9 - 0.4);
        alike[i] = 1.01f * a[i];
    }
    float same[12], far[12];
    memcpy(same, a, sizeof a);
    memcpy(far, a, sizeof a);
    noise_towards(same, alike, 2, 3, 2, 0.3);
    noise_towards(far, b, 2, 3, 2, 1);
    noise_towards(a, b, 2, 3, 2, 0.3);
    for (int i = 0; i < 12; i++) {
        ck_assert_double_eq_tol((double)a[i], mixed[i], 1e-6);
        ck_assert_double_eq_tol((double)same[i], line[i], 1e-6);
        ck_assert_float_eq(far[i], b[i]);
    }
}
END_TEST

/* Image i has the seed and subseed + i; the whole way to a subseed is that seed's image. */
START_TEST(a_variation_goes_from_one_seed_to_another)
{
    float from[ELEMENTS], to[ELEMENTS], varied[3 * ELEMENTS];
    const char *euler = "EulerDiscreteScheduler"; /* draws no noise but the first */
    struct asked *a = ask_with("from", 5, 1, 1, euler), *b = ask_with("to", 42, 1, 1, euler),
                 *none = ask_with("none", 5, 1, 1, euler), *half = ask_with("half", 5, 3, 1, euler),
                 *whole = ask_with("whole", 5, 2, 1, euler), *third = ask_with("third", 5, 1, 1, euler);
    none->request.subseed = 40;
    half->request.subseed = third->request.subseed = 40;
    third->request.subseed += 2;
    whole->request.subseed = 41;
    half->request.subseed_strength = third->request.subseed_strength = 0.5;
    whole->request.subseed_strength = 1;
    struct asked *all[] = {a, b, none, half, whole, third};
    for (size_t i = 0; i < HEP_COUNT_OF(all); i++)
        add_ok(all[i]);
    work(1000);
    copy_latents(a, from);
    copy_latents(b, to);
    copy_latents(none, varied);
    ck_assert_mem_eq(varied, from, sizeof from);
    copy_latents(whole, varied);
    ck_assert_mem_eq(varied + ELEMENTS, to, sizeof to);
    copy_latents(half, varied);
    ck_assert_mem_ne(varied, from, sizeof from);
    ck_assert_mem_ne(varied, varied + ELEMENTS, sizeof from);
    copy_latents(third, from);
    ck_assert_mem_eq(varied + 2 * ELEMENTS, from, sizeof from);
    for (size_t i = 0; i < HEP_COUNT_OF(all); i++)
        drop(all[i]);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("text");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, batch_setup, batch_teardown);
    tcase_add_test(tcase, a_schedule_is_a_run_whose_conditioning_is_switched_by_hand);
    tcase_add_test(tcase, rows_of_different_schedules_run_together_and_go_on_after_a_death);
    tcase_add_test(tcase, saved_steps_of_another_schedule_are_not_used);
    tcase_add_test(tcase, what_does_not_go_together_is_refused);
    tcase_add_test(tcase, sizes_become_time_ids);
    tcase_add_test(tcase, noises_are_mixed_as_a1111_mixes_them);
    tcase_add_test(tcase, a_variation_goes_from_one_seed_to_another);
    return check_status_run("text", tcase);
}
