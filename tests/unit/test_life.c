/* The life table and the backoff, with a clock of the test's own. */
#include "supervisor/proc/life.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static enum hep_life_state after(enum hep_life_state state, enum hep_life_event event)
{
    struct hep_life_step step = {HEP_LIFE_STATE_COUNT, HEP_LIFE_DO_NONE};
    ck_assert_msg(hep_life_next(state, event, &step), "%s has no %s", hep_life_state_name(state),
                  hep_life_event_name(event));
    return step.next;
}

static bool has_process(enum hep_life_state state)
{
    return state == HEP_LIFE_STARTING || state == HEP_LIFE_READY || state == HEP_LIFE_BUSY ||
           state == HEP_LIFE_DRAINING || state == HEP_LIFE_HUNG || state == HEP_LIFE_DYING;
}

START_TEST(a_good_life)
{
    enum hep_life_state state = after(HEP_LIFE_ABSENT, HEP_LIFE_ON_SPAWN);
    state = after(state, HEP_LIFE_ON_PROGRESS);
    state = after(state, HEP_LIFE_ON_READY);
    state = after(state, HEP_LIFE_ON_WORK);
    state = after(state, HEP_LIFE_ON_PROGRESS);
    ck_assert_int_eq(state, HEP_LIFE_BUSY);
    state = after(state, HEP_LIFE_ON_IDLE);
    state = after(state, HEP_LIFE_ON_DRAIN);
    state = after(state, HEP_LIFE_ON_EXIT);
    ck_assert_int_eq(after(state, HEP_LIFE_ON_DRAINED), HEP_LIFE_ABSENT);
}
END_TEST

START_TEST(a_missed_deadline_is_abort_then_kill)
{
    struct hep_life_step step;
    ck_assert(hep_life_next(HEP_LIFE_BUSY, HEP_LIFE_ON_DEADLINE, &step));
    ck_assert_int_eq(step.next, HEP_LIFE_HUNG);
    ck_assert_int_eq(step.action, HEP_LIFE_DO_ABORT);
    ck_assert(hep_life_next(HEP_LIFE_HUNG, HEP_LIFE_ON_DEADLINE, &step));
    ck_assert_int_eq(step.next, HEP_LIFE_DYING);
    ck_assert_int_eq(step.action, HEP_LIFE_DO_MURDER);
}
END_TEST

START_TEST(every_state_with_a_process_sees_its_end_and_a_kill)
{
    for (int i = 0; i < HEP_LIFE_STATE_COUNT; i++) {
        enum hep_life_state state = (enum hep_life_state)i;
        struct hep_life_step step;
        ck_assert_int_eq(hep_life_next(state, HEP_LIFE_ON_EXIT, &step), has_process(state));
        if (!has_process(state))
            continue;
        ck_assert_int_eq(step.next, HEP_LIFE_DEAD);
        ck_assert_int_eq(step.action, HEP_LIFE_DO_BURY);
        ck_assert_int_eq(after(state, HEP_LIFE_ON_KILL), HEP_LIFE_DYING);
    }
}
END_TEST

START_TEST(a_process_exists_exactly_where_the_table_says)
{
    for (int i = 0; i < HEP_LIFE_STATE_COUNT; i++)
        for (int j = 0; j < HEP_LIFE_EVENT_COUNT; j++) {
            struct hep_life_step step;
            if (!hep_life_next((enum hep_life_state)i, (enum hep_life_event)j, &step))
                continue;
            bool born = j == HEP_LIFE_ON_SPAWN, gone = j == HEP_LIFE_ON_EXIT;
            ck_assert_msg(has_process(step.next) == ((has_process((enum hep_life_state)i) || born) && !gone),
                          "%s on %s", hep_life_state_name((enum hep_life_state)i),
                          hep_life_event_name((enum hep_life_event)j));
        }
}
END_TEST

START_TEST(a_drain_is_understood_everywhere_but_at_the_burial)
{
    for (int i = 0; i < HEP_LIFE_STATE_COUNT; i++) {
        struct hep_life_step step;
        ck_assert_int_eq(hep_life_next((enum hep_life_state)i, HEP_LIFE_ON_DRAIN, &step), i != HEP_LIFE_DEAD);
    }
}
END_TEST

START_TEST(names_are_those_of_the_lists)
{
    ck_assert_str_eq(hep_life_state_name(HEP_LIFE_BACKOFF), "backoff");
    ck_assert_str_eq(hep_life_event_name(HEP_LIFE_ON_GIVE_UP), "give_up");
    ck_assert_str_eq(hep_life_action_name(HEP_LIFE_DO_MURDER), "SIGKILL");
}
END_TEST

START_TEST(restarts_begin_at_once_and_double_to_five_seconds)
{
    static const int64_t delays[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct hep_backoff backoff = {0};
    int64_t now = 1000000;
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        struct hep_verdict verdict = hep_backoff_died(&backoff, now, HEP_SETTLED_MS - 1, false);
        ck_assert_int_eq(verdict.event, HEP_LIFE_ON_RETRY);
        ck_assert_int_eq(verdict.delay_ms, delays[i]);
        now += 10000; /* four in 30 s: no loop */
    }
}
END_TEST

START_TEST(more_than_five_restarts_in_thirty_seconds_fail)
{
    struct hep_backoff backoff = {0};
    int64_t now = 5;
    for (int i = 0; i < HEP_LOOP_RESTARTS; i++, now += 6000)
        ck_assert_int_eq(hep_backoff_died(&backoff, now, 100, false).event, HEP_LIFE_ON_RETRY);
    struct hep_verdict verdict = hep_backoff_died(&backoff, now, 100, false); /* 30 s after the first */
    ck_assert_int_eq(verdict.event, HEP_LIFE_ON_GIVE_UP);
    ck_assert_int_eq(verdict.delay_ms, HEP_PROBE_MS);
}
END_TEST

START_TEST(a_probe_that_dies_waits_a_minute_again_until_one_was_healthy)
{
    struct hep_backoff backoff = {0};
    int64_t now = 5;
    for (int i = 0; i <= HEP_LOOP_RESTARTS; i++)
        hep_backoff_died(&backoff, now, 0, false);
    now += HEP_PROBE_MS;
    ck_assert_int_eq(hep_backoff_died(&backoff, now, 30000, false).event, HEP_LIFE_ON_GIVE_UP);
    now += 2 * HEP_PROBE_MS;
    struct hep_verdict verdict = hep_backoff_died(&backoff, now, HEP_HEALTHY_MS, false);
    ck_assert_int_eq(verdict.event, HEP_LIFE_ON_RETRY);
    ck_assert_int_eq(verdict.delay_ms, 0);
}
END_TEST

START_TEST(sixty_healthy_seconds_forget_earlier_deaths)
{
    struct hep_backoff backoff = {0};
    hep_backoff_died(&backoff, 1000, 0, false);
    hep_backoff_died(&backoff, 2000, 0, false);
    ck_assert_int_eq(hep_backoff_died(&backoff, 3000, 0, false).delay_ms, 200);
    ck_assert_int_eq(hep_backoff_died(&backoff, 4000, HEP_SETTLED_MS - 1, false).delay_ms, 400);
    ck_assert_int_eq(hep_backoff_died(&backoff, 123001, HEP_HEALTHY_MS, false).delay_ms, 0);
    ck_assert_int_eq(backoff.restart_count, 1);
}
END_TEST

START_TEST(a_process_that_worked_is_started_again_at_once_but_counts)
{
    struct hep_backoff backoff = {0};
    int64_t now = 1000;
    ck_assert_int_eq(hep_backoff_died(&backoff, now, 0, false).delay_ms, 0);
    ck_assert_int_eq(hep_backoff_died(&backoff, ++now, 0, false).delay_ms, HEP_BACKOFF_FIRST_MS);
    for (int i = 2; i < HEP_LOOP_RESTARTS - 1; i++)
        ck_assert_int_eq(hep_backoff_died(&backoff, now += 2000, HEP_SETTLED_MS, false).delay_ms, 0);
    ck_assert_int_eq(hep_backoff_died(&backoff, ++now, 0, false).delay_ms, 0); /* the first young one after it */
    ck_assert_int_eq(hep_backoff_died(&backoff, now += 2000, HEP_SETTLED_MS, false).event, HEP_LIFE_ON_GIVE_UP);
}
END_TEST

START_TEST(what_cannot_start_is_not_tried_again)
{
    struct hep_backoff backoff = {0};
    struct hep_verdict verdict = hep_backoff_died(&backoff, 1000, 0, true);
    ck_assert_int_eq(verdict.event, HEP_LIFE_ON_GIVE_UP);
    ck_assert_int_eq(verdict.delay_ms, -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("life");
    TCase *table = tcase_create("table"), *backoff = tcase_create("backoff");
    tcase_add_test(table, a_good_life);
    tcase_add_test(table, a_missed_deadline_is_abort_then_kill);
    tcase_add_test(table, every_state_with_a_process_sees_its_end_and_a_kill);
    tcase_add_test(table, a_process_exists_exactly_where_the_table_says);
    tcase_add_test(table, a_drain_is_understood_everywhere_but_at_the_burial);
    tcase_add_test(table, names_are_those_of_the_lists);
    tcase_add_test(backoff, restarts_begin_at_once_and_double_to_five_seconds);
    tcase_add_test(backoff, more_than_five_restarts_in_thirty_seconds_fail);
    tcase_add_test(backoff, a_probe_that_dies_waits_a_minute_again_until_one_was_healthy);
    tcase_add_test(backoff, sixty_healthy_seconds_forget_earlier_deaths);
    tcase_add_test(backoff, a_process_that_worked_is_started_again_at_once_but_counts);
    tcase_add_test(backoff, what_cannot_start_is_not_tried_again);
    suite_add_tcase(suite, table);
    suite_add_tcase(suite, backoff);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
