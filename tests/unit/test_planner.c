/* The memory planner: hand-worked cases with exact offsets, then properties of random lifetimes. */
#include "nn/graph/planner.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NONE = HEP_NOT_IN_PLACE };

static void plan(struct hep_buffer *buffers, int count, size_t *peak, size_t *live)
{
    ck_assert_int_eq(hep_plan_memory(buffers, count, peak, live, NULL), HEP_OK);
}

START_TEST(no_buffers_need_no_memory)
{
    size_t peak = 1, live = 1;
    plan(NULL, 0, &peak, &live);
    ck_assert_uint_eq(peak, 0);
    ck_assert_uint_eq(live, 0);
}
END_TEST

START_TEST(buffers_that_never_meet_share_one_place)
{
    struct hep_buffer b[] = {{0, 1, 100, 1, NONE, 9}, {2, 3, 100, 1, NONE, 9}, {4, 4, 60, 1, NONE, 9}};
    size_t peak, live;
    plan(b, 3, &peak, &live);
    ck_assert_uint_eq(peak, 100);
    ck_assert_uint_eq(live, 100);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(b[i].offset, 0);
}
END_TEST

START_TEST(a_shared_step_keeps_buffers_apart)
{
    struct hep_buffer b[] = {{0, 1, 100, 1, NONE, 0}, {1, 2, 50, 1, NONE, 0}}; /* both alive in step 1 */
    size_t peak, live;
    plan(b, 2, &peak, &live);
    ck_assert_uint_eq(peak, 150);
    ck_assert_uint_eq(b[0].offset, 0);
    ck_assert_uint_eq(b[1].offset, 100);
}
END_TEST

START_TEST(a_gap_between_two_neighbours_is_used)
{
    /* 0 and 2 stay, 1 ends in between and 3 fits where 1 was */
    struct hep_buffer b[] = {
        {0, 9, 400, 1, NONE, 0}, {0, 3, 300, 1, NONE, 0}, {0, 9, 200, 1, NONE, 0}, {4, 9, 100, 1, NONE, 0}};
    size_t peak, live;
    plan(b, 4, &peak, &live);
    ck_assert_uint_eq(peak, 900);
    ck_assert_uint_eq(b[3].offset, 400);
}
END_TEST

START_TEST(offsets_keep_the_alignment)
{
    struct hep_buffer b[] = {{0, 0, 100, 1, NONE, 0}, {0, 0, 90, 64, NONE, 0}, {0, 0, 80, 16, NONE, 0}};
    size_t peak, live;
    plan(b, 3, &peak, &live);
    ck_assert_uint_eq(b[0].offset, 0);
    ck_assert_uint_eq(b[1].offset, 128);
    ck_assert_uint_eq(b[2].offset, 224);
    ck_assert_uint_eq(peak, 304);
    ck_assert_uint_eq(live, 270);
}
END_TEST

START_TEST(a_buffer_in_place_takes_over_and_prolongs)
{
    /* 1 takes 0's memory over in step 2; 2 meets only 1 and must still stay off it */
    struct hep_buffer b[] = {{0, 2, 100, 1, NONE, 0}, {2, 4, 100, 1, 0, 0}, {3, 5, 10, 1, NONE, 0}};
    size_t peak, live;
    plan(b, 3, &peak, &live);
    ck_assert_uint_eq(b[0].offset, b[1].offset);
    ck_assert_uint_eq(b[2].offset, 100);
    ck_assert_uint_eq(peak, 110);
    ck_assert_uint_eq(live, 110);
}
END_TEST

START_TEST(an_empty_buffer_takes_no_room)
{
    struct hep_buffer b[] = {{0, 3, 0, 64, NONE, 7}, {0, 3, 64, 64, NONE, 7}};
    size_t peak, live;
    plan(b, 2, &peak, &live);
    ck_assert_uint_eq(peak, 64);
    ck_assert_uint_eq(b[0].offset, 0);
    ck_assert_uint_eq(b[1].offset, 0);
}
END_TEST

/* ---- properties ---- */

static uint32_t state;

static uint32_t next(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

/* A random program of `count` steps: each makes one buffer, read for a while; some take over a dying one. */
static void fill(struct hep_buffer *b, int count)
{
    for (int i = 0; i < count; i++) {
        static const size_t aligns[] = {1, 16, 64};
        int life = next(10) == 0 ? (int)next((uint32_t)count) : (int)next(5);
        b[i] = (struct hep_buffer){i, i + life, 1 + next(next(4) ? 1000 : 100000), aligns[next(3)], NONE, 0};
        for (int j = 0; j < i && next(2); j++) {
            bool taken = false;
            for (int k = 0; k < i; k++)
                taken = taken || b[k].in_place_of == j;
            if (b[j].last != i || taken)
                continue;
            b[i].in_place_of = j;
            b[i].bytes = b[j].bytes;
            break;
        }
    }
}

static bool one_block(const struct hep_buffer *b, int i, int j)
{
    while (b[i].in_place_of != NONE)
        i = b[i].in_place_of;
    while (b[j].in_place_of != NONE)
        j = b[j].in_place_of;
    return i == j;
}

START_TEST(random_lifetimes_never_overlap_and_waste_little)
{
    enum { COUNT = 80, ROUNDS = 100 };
    static struct hep_buffer b[COUNT], again[COUNT];
    double worst = 1, sum = 0;
    uint32_t seed =
        getenv("HEP_TEST_SEED") ? (uint32_t)strtoul(getenv("HEP_TEST_SEED"), NULL, 0) : (uint32_t)time(NULL);
    for (int round = 0; round < ROUNDS; round++) {
        size_t peak, live, peak_again, live_again;
        state = (seed + (uint32_t)round) * 2654435761u | 1;
        fill(b, COUNT);
        memcpy(again, b, sizeof b);
        plan(b, COUNT, &peak, &live);
        for (int i = 0; i < COUNT; i++) {
            ck_assert_uint_le(b[i].offset + b[i].bytes, peak);
            if (b[i].in_place_of != NONE)
                ck_assert_uint_eq(b[i].offset, b[b[i].in_place_of].offset);
            else
                ck_assert_uint_eq(b[i].offset & (b[i].align - 1), 0);
            for (int j = 0; j < i; j++) {
                bool meet = b[i].first <= b[j].last && b[j].first <= b[i].last && !one_block(b, i, j);
                bool apart = b[i].offset + b[i].bytes <= b[j].offset || b[j].offset + b[j].bytes <= b[i].offset;
                if (meet && !apart)
                    ck_abort_msg("HEP_TEST_SEED=%u round %d: buffers %d and %d overlap", seed, round, i, j);
            }
        }
        ck_assert_uint_ge(peak, live);
        plan(again, COUNT, &peak_again, &live_again);
        ck_assert_mem_eq(b, again, sizeof b);
        double ratio = (double)peak / (double)live;
        worst = ratio > worst ? ratio : worst;
        sum += ratio;
    }
    printf("seed %u: peak / live %.3f on average, %.3f at worst\n", seed, sum / ROUNDS, worst);
    ck_assert_double_lt(worst, 1.6);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory planner");
    TCase *c = tcase_create("planner");
    tcase_add_test(c, no_buffers_need_no_memory);
    tcase_add_test(c, buffers_that_never_meet_share_one_place);
    tcase_add_test(c, a_shared_step_keeps_buffers_apart);
    tcase_add_test(c, a_gap_between_two_neighbours_is_used);
    tcase_add_test(c, offsets_keep_the_alignment);
    tcase_add_test(c, a_buffer_in_place_takes_over_and_prolongs);
    tcase_add_test(c, an_empty_buffer_takes_no_room);
    tcase_add_test(c, random_lifetimes_never_overlap_and_waste_little);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
