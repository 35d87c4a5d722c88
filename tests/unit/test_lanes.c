/*
 * Groups side by side, in this process, on a tiny model: the bytes of images do not know of lanes; cores, jobs and
 * memory bound them; each lane ends by itself. Argument: the dtype, f32 without one.
 */
#include "tests/support/batch_fixture.h"
#include "tests/support/golden_level.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 5 };
static enum hep_dtype dtype = HEP_F32;
static const int cores[] = {0, 1, 0, 1}; /* more threads than cores: the same bytes, slower */

static void setup(void)
{
    omp_set_num_threads(1); /* no team, and none in fake_instructor.c: ThreadSanitizer does not see libgomp's locks */
    batch_setup_dtype(dtype);
    omp_set_num_threads(1);
    model.self.cores = cores;
    model.self.core_count = 2;
}

static struct asked *ask_lanes(int number, int lanes)
{
    char name[24];
    snprintf(name, sizeof name, "lanes%d-%d", lanes, number);
    struct asked *asked = ask_with(name, (uint64_t)(40 + number), 1, 1, "EulerAncestralDiscreteScheduler");
    asked->request.lanes_max = lanes;
    return asked;
}

static void ask_many(struct asked *asked[CALLS], int lanes)
{
    for (int i = 0; i < CALLS; i++)
        add_ok(asked[i] = ask_lanes(i, lanes));
}

static void expect_bytes_of_single_ones(struct asked *asked[CALLS])
{
    for (int i = 0; i < CALLS; i++) {
        float single[ELEMENTS], together[ELEMENTS];
        char name[24];
        snprintf(name, sizeof name, "single%d", i);
        alone(name, (uint64_t)(40 + i), 1, single);
        expect_done(asked[i]);
        copy_latents(asked[i], together);
        ck_assert_mem_eq(single, together, sizeof single);
        drop(asked[i]);
    }
}

static int lanes_of_last(void)
{
    return atomic_load(&batch.view.lanes);
}

START_TEST(images_have_the_same_bytes_in_lanes)
{
    struct asked *asked[CALLS];
    ask_many(asked, 2);
    ck_assert_int_eq(work(1), 1);
    ck_assert_int_eq(lanes_of_last(), 2);
    ck_assert_int_eq(atomic_load(&batch.view.lane_cores[0]), 1);
    ck_assert_int_eq(atomic_load(&batch.view.lane_cores[1]), 1);
    ck_assert_int_eq(atomic_load(&batch.view.groups[3]), 1); /* three and two of the five */
    ck_assert_int_eq(atomic_load(&batch.view.groups[2]), 1);
    ck_assert_int_eq(work(1000), STEPS - 1);
    expect_bytes_of_single_ones(asked);
}
END_TEST

START_TEST(a_lane_whose_calls_end_stops_and_the_others_go_on)
{
    struct asked *asked[CALLS];
    int left = 12; /* looks of its lane between kernels */
    for (int i = 0; i < CALLS; i++) {
        asked[i] = ask_lanes(i, 2);
        asked[i]->request.rows_max = 1;
    }
    add_ok(asked[0]);
    add_ok(asked[1]);
    work(1);
    int before = (int)atomic_load(&batch.view.evaluations);
    asked[1]->call.checks_left = &left;
    work(1);
    ck_assert_int_eq((int)atomic_load(&batch.view.evaluations), before + 1);
    expect_failed(asked[1], HEP_E_CANCELLED);
    ck_assert_int_eq(asked[0]->call.finished, 0);
    struct asked *again = ask_again(asked[1]);
    again->request.lanes_max = 2;
    drop(asked[1]);
    asked[1] = again;
    for (int i = 1; i < CALLS; i++)
        add_ok(asked[i]);
    work(1000);
    ck_assert_int_eq(again->reply.resumed_from, 1);
    expect_bytes_of_single_ones(asked);
}
END_TEST

#ifndef __SANITIZE_THREAD__ /* the rest meets no more threads than these */
static enum lane_limit limit_of_last(void)
{
    return (enum lane_limit)atomic_load(&batch.view.lanes_limited_by);
}

START_TEST(lanes_of_several_cores_give_the_same_bytes)
{
    struct asked *asked[CALLS];
    model.self.core_count = 4;
    ask_many(asked, 2);
    work(2);
    ck_assert_int_eq(atomic_load(&batch.view.lane_cores[1]), 2);
    model.self.core_count = 3; /* another lease */
    work(1000);
    expect_bytes_of_single_ones(asked);
}
END_TEST

START_TEST(cores_and_calls_bound_the_lanes)
{
    struct asked *asked[CALLS], *single = ask("four", 1, 4);
    ask_many(asked, 16);
    work(1);
    ck_assert_int_eq(lanes_of_last(), 2);
    ck_assert_int_eq(limit_of_last(), LANE_LIMIT_CORES);
    model.self.core_count = 1;
    work(1);
    ck_assert_int_eq(lanes_of_last(), 1);
    ck_assert_ptr_null(batch.lanes[2].networks.open[0].network);
    model.self.core_count = 2;
    work(1000);
    expect_bytes_of_single_ones(asked);
    single->request.lanes_max = 2;
    add_ok(single);
    work(1000);
    ck_assert_int_eq(lanes_of_last(), 1); /* the rows of a call stay together */
    ck_assert_int_eq(limit_of_last(), LANE_LIMIT_JOBS);
    expect_done(single);
    drop(single);
}
END_TEST

START_TEST(planned_memory_bounds_the_rows_of_lanes_and_then_the_lanes)
{
    struct asked *asked[CALLS];
    ask_many(asked, 2);
    work(1);
    uint64_t planned = atomic_load(&batch.view.step_bytes);
    ck_assert_uint_le(lane_bytes(&batch.lanes[0]) + lane_bytes(&batch.lanes[1]), planned);
    batch.memory_bytes = planned - 1; /* of two groups of three */
    work(1);
    ck_assert_int_eq(lanes_of_last(), 2);
    ck_assert_int_lt(atomic_load(&batch.view.rows), 3);
    ck_assert_uint_le(atomic_load(&batch.view.step_bytes), batch.memory_bytes);
    batch.memory_bytes = planned / 3 - planned / 30; /* of less than two groups of one */
    work(1);
    ck_assert_int_eq(lanes_of_last(), 1);
    ck_assert_int_eq(limit_of_last(), LANE_LIMIT_MEMORY);
    ck_assert_uint_eq(lane_bytes(&batch.lanes[1]), 0);
    batch.memory_bytes = UINT64_MAX;
    work(1000);
    expect_bytes_of_single_ones(asked);
}
END_TEST

START_TEST(who_asks_for_no_lanes_gets_all_cores_and_their_memory)
{
    struct asked *asked[CALLS], *urgent = ask("urgent", 9, 1);
    ask_many(asked, 2);
    work(1);
    ck_assert_uint_gt(lane_bytes(&batch.lanes[1]), 0);
    urgent->request.priority = 5;
    add_ok(urgent);
    work(1);
    ck_assert_int_eq(lanes_of_last(), 1);
    ck_assert_int_eq(atomic_load(&batch.view.lane_cores[0]), 2);
    ck_assert_uint_eq(lane_bytes(&batch.lanes[1]), 0);
    work(1000);
    expect_done(urgent);
    drop(urgent);
    expect_bytes_of_single_ones(asked);
}
END_TEST
#endif

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    Suite *suite = suite_create("lanes");
    TCase *tests = tcase_create("lanes");
    tcase_add_checked_fixture(tests, setup, batch_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, images_have_the_same_bytes_in_lanes);
    tcase_add_test(tests, a_lane_whose_calls_end_stops_and_the_others_go_on);
#ifndef __SANITIZE_THREAD__
    tcase_add_test(tests, lanes_of_several_cores_give_the_same_bytes);
    tcase_add_test(tests, cores_and_calls_bound_the_lanes);
    tcase_add_test(tests, planned_memory_bounds_the_rows_of_lanes_and_then_the_lanes);
    tcase_add_test(tests, who_asks_for_no_lanes_gets_all_cores_and_their_memory);
#endif
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
