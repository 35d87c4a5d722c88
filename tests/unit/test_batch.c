/*
 * The batch manager in this process, on a tiny model: an image's bytes do not depend on what it ran with, how often it
 * was interrupted, or how many threads there were; what is asked at a boundary happens there.
 */
#include "tests/support/batch_fixture.h"
#include "tests/support/scheduler_blob.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(an_image_has_the_same_bytes_alone_in_a_batch_and_when_others_join)
{
    float single[ELEMENTS], together[4 * ELEMENTS], joined[ELEMENTS], other[2 * ELEMENTS];
    alone("alone", 42, 1, single);
    struct asked *four = ask("four", 41, 4); /* its second image has seed 42 */
    add_ok(four);
    ck_assert_int_eq(work(1000), STEPS); /* one call of the network for all four at each step */
    expect_done(four);
    ck_assert_int_eq(four->reply.rows, 4);
    ck_assert_int_eq(four->reply.evaluations, 4 * STEPS);
    copy_latents(four, together);
    ck_assert_mem_eq(single, together + ELEMENTS, sizeof single);
    ck_assert_mem_ne(single, together, sizeof single);

    struct asked *first = ask("first", 42, 1), *late = ask_with("late", 7, 2, 9, "EulerAncestralDiscreteScheduler");
    add_ok(first);
    work(2);
    add_ok(late);
    ck_assert_int_eq(work(1000), STEPS); /* three beside the first, two more */
    expect_done(first);
    expect_done(late);
    copy_latents(first, joined);
    ck_assert_mem_eq(single, joined, sizeof single);
    copy_latents(late, other);
    alone("late-alone", 8, 9, joined);
    ck_assert_mem_eq(joined, other + ELEMENTS, sizeof joined);
    drop(four);
    drop(first);
    drop(late);
}
END_TEST

START_TEST(an_image_has_the_same_bytes_with_any_number_of_threads)
{
    float one[ELEMENTS], two[ELEMENTS], changed[ELEMENTS];
    omp_set_num_threads(1);
    alone("one", 5, 1, one);
    omp_set_num_threads(2);
    alone("two", 5, 1, two);
    ck_assert_mem_eq(one, two, sizeof one);
    struct asked *asked = ask("changed", 5, 1);
    add_ok(asked);
    for (int threads = 1; batch.jobs; threads++) { /* another lease at every step */
        omp_set_num_threads(1 + threads % 2);
        batch_work(&batch);
    }
    expect_done(asked);
    copy_latents(asked, changed);
    ck_assert_mem_eq(one, changed, sizeof one);
    drop(asked);
}
END_TEST

START_TEST(a_call_that_is_asked_again_goes_on_and_ends_the_first)
{
    float single[ELEMENTS], resumed[ELEMENTS];
    alone("alone", 3, 1, single);
    struct asked *first = ask("again", 3, 1);
    add_ok(first);
    work(3);
    struct asked *again = ask_again(first);
    add_ok(again);
    expect_failed(first, HEP_E_STALE);
    work(1000);
    expect_done(again);
    ck_assert_int_eq(again->reply.resumed_from, 3);
    ck_assert_int_eq(again->reply.evaluations, STEPS - 3);
    copy_latents(again, resumed);
    ck_assert_mem_eq(single, resumed, sizeof single);

    struct asked *after = ask_again(again); /* everything is committed: nothing is computed */
    add_ok(after);
    ck_assert_int_eq(work(1000), 1);
    expect_done(after);
    ck_assert_int_eq(after->reply.evaluations, 0);
    drop(first);
    drop(again);
    drop(after);
}
END_TEST

/* What changes the bytes of an image makes its saved steps worthless. */
static void change_fingerprint(struct asked *asked)
{
    asked->request.fingerprint = hep_str_of("other weights");
}
static void change_guidance(struct asked *asked)
{
    asked->request.guidance_scale = 6;
}
static void change_seed(struct asked *asked)
{
    asked->request.seed++;
}
static void change_rng(struct asked *asked)
{
    asked->request.rng = hep_str_of("torch-cpu");
}
static void change_prompt(struct asked *asked)
{
    fill(&asked->request.conditioning, 77);
}
static void change_plan(struct asked *asked)
{
    size_t bytes;
    void *plan = scheduler_blob("EulerDiscreteScheduler", scheduler_config, STEPS, &bytes);
    ck_assert_int_eq((int64_t)bytes, asked->request.plan.shape.dims[0]);
    write_bytes(&asked->request.plan, plan, bytes);
    free(plan);
}

START_TEST(another_fingerprint_starts_at_the_beginning_and_says_so)
{
    static void (*const changes[])(struct asked * asked) = {change_fingerprint, change_guidance, change_seed,
                                                            change_rng,         change_prompt,   change_plan};
    for (size_t i = 0; i < HEP_COUNT_OF(changes); i++) {
        char session[32];
        snprintf(session, sizeof session, "changed%zu", i);
        struct asked *first = ask(session, 3, 1);
        add_ok(first);
        work(2);
        struct asked *again = ask_again(first);
        changes[i](again);
        add_ok(again);
        ck_assert_int_eq(again->reply.resumed_from, 0);
        ck_assert_int_eq(again->reply.redone_rows, 1);
        ck_assert_str_eq(again->reply.restarted_because.data, "other_fingerprint");
        work(1000);
        expect_done(again);
        ck_assert_int_eq(again->reply.evaluations, STEPS);
        drop(first);
        drop(again);
    }
}
END_TEST

START_TEST(a_damaged_state_fails_one_call_and_the_next_starts_over)
{
    float single[ELEMENTS], redone[ELEMENTS];
    alone("alone", 4, 1, single);
    struct asked *damaged = ask("damaged", 4, 1), *other = ask("other", 4, 1);
    add_ok(damaged);
    add_ok(other);
    work(2);
    size_t bytes = (size_t)damaged->request.state.shape.dims[0];
    struct hep_tensor state = hep_call_map(&damaged->call, &damaged->request.state);
    memset((char *)state.data + 256, 0x5a, bytes - 256); /* both slots, behind the commit word */
    work(1000);
    expect_failed(damaged, HEP_E_STALE);
    expect_done(other);
    struct asked *again = ask_again(damaged);
    add_ok(again);
    ck_assert_str_eq(again->reply.restarted_because.data, "torn");
    work(1000);
    expect_done(again);
    copy_latents(again, redone);
    ck_assert_mem_eq(single, redone, sizeof single);
    drop(damaged);
    drop(other);
    drop(again);
}
END_TEST

START_TEST(cancel_pause_and_drain_end_a_call_at_the_boundary)
{
    struct asked *cancelled = ask("cancelled", 1, 2), *paused = ask("paused", 2, 2), *drained = ask("drained", 3, 1);
    add_ok(cancelled);
    add_ok(paused);
    work(2);
    ck_assert_int_eq(batch_control(&batch, "cancelled", -1, ROW_CANCELLED), 2);
    ck_assert_int_eq(batch_control(&batch, "nobody", -1, ROW_CANCELLED), 0);
    ck_assert_int_eq(batch_control(&batch, "paused", 0, ROW_PAUSED), 1);
    work(1);
    expect_failed(cancelled, HEP_E_CANCELLED);
    ck_assert_int_eq(paused->call.finished, 0); /* its other image goes on */
    ck_assert_int_eq(atomic_load(&batch.view.rows_paused), 1);
    ck_assert_int_eq(batch_control(&batch, "paused", 0, ROW_RUNNING), 1);
    work(1);
    ck_assert_int_eq(batch_control(&batch, "paused", -1, ROW_PAUSED), 2);
    work(1);
    expect_failed(paused, HEP_E_NOT_NOW);
    struct asked *resumed = ask_again(paused);
    add_ok(resumed);
    ck_assert_int_eq(resumed->reply.resumed_from, 4);
    work(1000);
    expect_done(resumed);

    add_ok(drained);
    work(2);
    model.self.draining = true;
    work(1);
    expect_failed(drained, HEP_E_DOMAIN_DOWN);
    model.self.draining = false;
    struct asked *after = ask_again(drained);
    add_ok(after);
    ck_assert_int_eq(after->reply.resumed_from, 2);
    work(1000);
    expect_done(after);
    drop(cancelled);
    drop(paused);
    drop(resumed);
    drop(drained);
    drop(after);
}
END_TEST

static int evaluations(void)
{
    return (int)atomic_load(&batch.view.evaluations);
}

START_TEST(a_cancelled_call_ends_between_two_kernels_and_goes_on_with_the_same_bytes)
{
    float single[ELEMENTS], resumed[ELEMENTS];
    int left = 20; /* checks: one before the evaluation, then one before each of its kernels */
    alone("alone", 3, 1, single);
    struct asked *first = ask("cut", 3, 1);
    add_ok(first);
    work(2);
    int before = evaluations();
    first->call.checks_left = &left;
    ck_assert_int_eq(work(1), 1);
    expect_failed(first, HEP_E_CANCELLED);
    ck_assert_int_eq(evaluations(), before); /* the third is not finished */
    struct asked *again = ask_again(first);
    add_ok(again);
    ck_assert_int_eq(again->reply.resumed_from, 2);
    work(1000);
    expect_done(again);
    copy_latents(again, resumed);
    ck_assert_mem_eq(single, resumed, sizeof single);
    drop(first);
    drop(again);
}
END_TEST

START_TEST(an_evaluation_that_another_call_needs_goes_on)
{
    float single[ELEMENTS], beside[ELEMENTS];
    int left = 20;
    alone("alone", 3, 1, single);
    struct asked *stays = ask("stays", 3, 1), *goes = ask("goes", 4, 1);
    add_ok(goes); /* the older one: it is asked before each kernel */
    add_ok(stays);
    int before = evaluations();
    goes->call.checks_left = &left;
    ck_assert_int_eq(work(1), 1);
    expect_failed(goes, HEP_E_CANCELLED);
    ck_assert_int_eq(evaluations(), before + 2);
    work(1000);
    expect_done(stays);
    copy_latents(stays, beside);
    ck_assert_mem_eq(single, beside, sizeof single);
    drop(stays);
    drop(goes);
}
END_TEST

START_TEST(a_cancelled_image_leaves_the_others_of_its_call)
{
    float single[ELEMENTS], both[2 * ELEMENTS], zeros[ELEMENTS] = {0};
    alone("alone", 11, 1, single);
    struct asked *asked = ask("two", 10, 2);
    add_ok(asked);
    work(2);
    ck_assert_int_eq(batch_control(&batch, "two", 0, ROW_CANCELLED), 1);
    work(1000);
    expect_done(asked);
    ck_assert_int_eq(asked->reply.rows, 1);
    copy_latents(asked, both);
    ck_assert_mem_eq(both, zeros, sizeof zeros);
    ck_assert_mem_eq(both + ELEMENTS, single, sizeof single);
    drop(asked);
}
END_TEST

START_TEST(a_higher_priority_goes_first_then_the_older)
{
    batch.rows_max = 1;
    struct asked *old = ask("old", 1, 1), *young = ask("young", 2, 1), *urgent = ask("urgent", 3, 1);
    urgent->request.priority = 5;
    add_ok(old);
    work(1);
    add_ok(young);
    add_ok(urgent);
    work(STEPS);
    expect_done(urgent);
    ck_assert_int_eq(old->call.finished + young->call.finished, 0);
    ck_assert_int_eq(batch_set_priority(&batch, "young", 1), 1);
    work(STEPS);
    expect_done(young);
    ck_assert_int_eq(old->call.finished, 0);
    work(1000);
    expect_done(old);
    drop(old);
    drop(young);
    drop(urgent);
}
END_TEST

START_TEST(less_memory_makes_smaller_groups_with_the_same_bytes)
{
    float many[4 * ELEMENTS], few[4 * ELEMENTS];
    struct asked *all = ask("all", 1, 4), *some = ask("some", 1, 4), *none = ask("none", 1, 4);
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct row_shape shape;
    struct group_size size = {0};
    struct group_wish wish = {.rows = 4, .rows_max = 4, .samples_per_row = 2, .lanes = 1};
    add_ok(all);
    ck_assert_int_eq(work(1000), STEPS);
    copy_latents(all, many);
    ck_assert_ok(batch_unet(&batch.lanes[0].networks, &model.self, &model.unet, &network, &config, error));
    ck_assert_ok(generate_shape(&some->request, config, &shape, error));
    for (batch.memory_bytes = 1 << 16;
         batch_rows_together(&batch, network, config, &shape, &(struct control_networks){0}, &wish, &size, NULL) !=
             HEP_OK ||
         size.rows < 2;)
        batch.memory_bytes += batch.memory_bytes / 4;
    ck_assert_int_lt(size.rows, 4);
    ck_assert_int_eq(size.limited_by, GROUP_LIMIT_MEMORY);
    add_ok(some);
    ck_assert_int_eq(work(1000), STEPS * ((4 + size.rows - 1) / size.rows));
    expect_done(some);
    copy_latents(some, few);
    ck_assert_mem_eq(many, few, sizeof many);
    batch.memory_bytes = 1 << 16;
    add_ok(none);
    work(1000);
    expect_failed(none, HEP_E_NO_MEMORY);
    ck_assert_str_ne(none->call.error.hint, "");
    drop(all);
    drop(some);
    drop(none);
}
END_TEST

/* Planned memory of so many rows. */
static uint64_t bytes_of(struct asked *asked, int rows)
{
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct row_shape shape;
    struct group_size size;
    ck_assert_ok(batch_unet(&batch.lanes[0].networks, &model.self, &model.unet, &network, &config, error));
    ck_assert_ok(generate_shape(&asked->request, config, &shape, error));
    struct group_wish wish = {.rows = rows, .rows_max = rows, .samples_per_row = 2, .lanes = 1};
    ck_assert_ok(
        batch_rows_together(&batch, network, config, &shape, &(struct control_networks){0}, &wish, &size, error));
    ck_assert_int_eq(size.rows, rows);
    return size.bytes;
}

START_TEST(a_group_follows_the_free_memory_and_no_step_passes_its_share)
{
    float many[8 * ELEMENTS], varying[8 * ELEMENTS];
    struct asked *whole = ask("whole", 1, 8), *asked = ask("asked", 1, 8);
    whole->request.rows_max = asked->request.rows_max = 8;
    add_ok(whole);
    ck_assert_int_eq(work(1000), STEPS);
    copy_latents(whole, many);
    asked->request.memory_threshold = 0.5;
    uint64_t three = bytes_of(asked, 3), eight = bytes_of(asked, 8);
    add_ok(asked);
    int sizes[3] = {0};
    for (int boundary = 0; batch.jobs; boundary++) {
        int before = evaluations(), phase = boundary < 1 ? 0 : boundary < 4 ? 1 : 2;
        batch_trim(&batch, &model.self);                       /* nothing of what is free is our own */
        batch.free_bytes = phase == 1 ? 2 * three : 2 * eight; /* others take memory, and give it back */
        batch_work(&batch);
        ck_assert_uint_le(atomic_load(&batch.view.step_bytes), phase == 1 ? three : eight);
        if (sizes[phase] == 0)
            sizes[phase] = evaluations() - before;
    }
    ck_assert_int_eq(sizes[0], 8);
    ck_assert_int_eq(sizes[1], 3);
    ck_assert_int_gt(sizes[2], 3);
    expect_done(asked);
    copy_latents(asked, varying);
    ck_assert_mem_eq(many, varying, sizeof many);
    drop(whole);
    drop(asked);
}
END_TEST

START_TEST(nobody_has_more_company_than_he_wants)
{
    struct asked *many = ask("many", 1, 6), *pair = ask("pair", 9, 1);
    many->request.rows_max = 8;
    pair->request.rows_max = 2;
    pair->request.priority = 1;
    add_ok(many);
    add_ok(pair);
    int before = evaluations();
    work(1);
    ck_assert_int_eq(evaluations() - before, 2); /* the urgent one and one of the six */
    work(STEPS);
    expect_done(pair);
    before = evaluations();
    batch_work(&batch);
    ck_assert_int_ge(evaluations() - before, 5);
    work(1000);
    expect_done(many);
    drop(many);
    drop(pair);
}
END_TEST

START_TEST(a_stream_of_urgent_ones_starves_nobody)
{
    enum { STREAM = 60 };
    struct asked *poor = ask("poor", 1, 1), *urgent[STREAM];
    int count = 0;
    batch.rows_max = 1;
    poor->request.priority = -5;
    add_ok(poor);
    for (; count < STREAM && poor->call.finished == 0; count++) {
        char name[24];
        snprintf(name, sizeof name, "urgent%d", count);
        urgent[count] = ask(name, (uint64_t)count, 1);
        urgent[count]->request.priority = 5;
        add_ok(urgent[count]);
        if (count > 0)
            work(STEPS); /* one more is always there */
    }
    expect_done(poor);
    ck_assert_int_gt(count, 20); /* and pushes itself forward no more than that */
    work(10000);
    for (int i = 0; i < count; i++)
        drop(urgent[i]);
    drop(poor);
}
END_TEST

START_TEST(networks_are_dropped_between_two_steps_and_opened_again)
{
    float single[ELEMENTS], dropped[ELEMENTS];
    alone("alone", 2, 1, single);
    struct asked *asked = ask("dropped", 2, 1);
    add_ok(asked);
    while (batch.jobs) {
        batch_work(&batch);
        ck_assert_uint_gt(batch_trim(&batch, &model.self), 0);
    }
    expect_done(asked);
    copy_latents(asked, dropped);
    ck_assert_mem_eq(single, dropped, sizeof single);
    drop(asked);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("batch");
    tcase_add_checked_fixture(tcase, batch_setup, batch_teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, an_image_has_the_same_bytes_alone_in_a_batch_and_when_others_join);
    tcase_add_test(tcase, an_image_has_the_same_bytes_with_any_number_of_threads);
    tcase_add_test(tcase, a_call_that_is_asked_again_goes_on_and_ends_the_first);
    tcase_add_test(tcase, another_fingerprint_starts_at_the_beginning_and_says_so);
    tcase_add_test(tcase, a_damaged_state_fails_one_call_and_the_next_starts_over);
    tcase_add_test(tcase, cancel_pause_and_drain_end_a_call_at_the_boundary);
    tcase_add_test(tcase, a_cancelled_call_ends_between_two_kernels_and_goes_on_with_the_same_bytes);
    tcase_add_test(tcase, an_evaluation_that_another_call_needs_goes_on);
    tcase_add_test(tcase, a_cancelled_image_leaves_the_others_of_its_call);
    tcase_add_test(tcase, a_higher_priority_goes_first_then_the_older);
    tcase_add_test(tcase, less_memory_makes_smaller_groups_with_the_same_bytes);
    tcase_add_test(tcase, a_group_follows_the_free_memory_and_no_step_passes_its_share);
    tcase_add_test(tcase, nobody_has_more_company_than_he_wants);
    tcase_add_test(tcase, a_stream_of_urgent_ones_starves_nobody);
    tcase_add_test(tcase, networks_are_dropped_between_two_steps_and_opened_again);
    return check_status_run("batch", tcase);
}
