/* A plan in two calls, the second going on from the state of the first: the bytes of one call, also after deaths; what
 * is refused. */
#include "tests/support/batch_fixture.h"

#include <stdlib.h>
#include <string.h>

enum { COUNT = 2 };

/* Methods with noise, with memory, and with two evaluations a step. */
static const char *const schedulers[] = {"EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
                                         "HeunDiscreteScheduler"};
static struct hep_error said;

static int32_t evaluations_of(const char *scheduler)
{
    return strstr(scheduler, "Heun") ? 2 * STEPS - 1 : STEPS;
}

/* The first `end` evaluations. */
static struct asked *ask_head(const char *session, const char *scheduler, uint64_t seed, int32_t end)
{
    struct asked *asked = ask_with(session, seed, COUNT, 1, scheduler);
    asked->request.range.end_evaluation = end;
    return asked;
}

/* What is left behind `head`, which is done: in an arena of its own, and of the same session. */
static struct asked *ask_rest(const char *arena, const char *scheduler, const struct asked *head)
{
    struct asked *asked = ask_with(arena, head->request.seed, COUNT, 1, scheduler);
    asked->call.session = head->name.id;
    asked->request.range.begin_state = head->request.state;
    asked->request.range.first_evaluation = head->request.range.end_evaluation;
    return asked;
}

static struct asked *ask_rest_again(const struct asked *rest)
{
    struct asked *again = ask_again(rest);
    again->call.session = rest->call.session;
    return again;
}

static void finish(struct asked *asked, float *latents)
{
    add_ok(asked);
    work(100);
    expect_done(asked);
    if (latents)
        copy_latents(asked, latents);
}

START_TEST(a_plan_in_two_calls_gives_the_bytes_of_one)
{
    static float whole[COUNT * ELEMENTS], latents[COUNT * ELEMENTS], half[COUNT * ELEMENTS];
    const char *scheduler = schedulers[_i];
    struct asked *one = ask_head("whole", scheduler, 5, -1);
    finish(one, whole);
    for (int32_t k = 1; k < evaluations_of(scheduler); k++) {
        char session[16], arena[16];
        snprintf(session, sizeof session, "head%d", k);
        snprintf(arena, sizeof arena, "rest%d", k);
        struct asked *head = ask_head(session, scheduler, 5, k);
        finish(head, half);
        ck_assert_int_eq(head->reply.evaluations, COUNT * k);
        ck_assert_mem_ne(half, whole, sizeof half);
        struct asked *rest = ask_rest(arena, scheduler, head);
        finish(rest, latents);
        ck_assert_int_eq(rest->reply.evaluations, COUNT * (evaluations_of(scheduler) - k));
        ck_assert_int_eq(rest->reply.resumed_from, 0);
        ck_assert_mem_eq(latents, whole, sizeof whole);
        drop(head);
        drop(rest);
    }
    drop(one);
}
END_TEST

START_TEST(a_rest_that_is_asked_again_goes_on_and_gives_the_same)
{
    static float whole[COUNT * ELEMENTS], latents[COUNT * ELEMENTS];
    const char *scheduler = schedulers[1];
    struct asked *one = ask_head("whole", scheduler, 5, -1), *head = ask_head("head", scheduler, 5, 2);
    finish(one, whole);
    finish(head, NULL);
    struct asked *rest = ask_rest("rest", scheduler, head);
    add_ok(rest);
    work(1);
    struct asked *again = ask_rest_again(rest);
    finish(again, latents);
    ck_assert_int_eq(again->reply.resumed_from, 3);
    ck_assert_int_eq(again->reply.redone_rows, 0);
    ck_assert_mem_eq(latents, whole, sizeof whole);
    drop(one);
    drop(head);
    drop(rest);
    drop(again);
}
END_TEST

START_TEST(steps_that_went_on_from_another_state_are_not_used)
{
    const char *scheduler = schedulers[1];
    static float latents[COUNT * ELEMENTS], expected[COUNT * ELEMENTS];
    struct asked *head = ask_head("head", scheduler, 5, 2);
    finish(head, NULL);
    struct asked *rest = ask_rest("rest", scheduler, head);
    finish(rest, NULL);
    head->request.guidance_scale = 3; /* the base is done again, by another guidance */
    struct asked *other = ask_again(head);
    finish(other, NULL);
    ck_assert_int_eq(other->reply.redone_rows, COUNT);
    struct asked *again = ask_rest_again(rest), *fresh = ask_rest("fresh", scheduler, head);
    finish(again, latents);
    finish(fresh, expected);
    ck_assert_int_eq(again->reply.redone_rows, COUNT);
    ck_assert_str_eq(again->reply.restarted_because.data, "other_fingerprint");
    ck_assert_mem_eq(latents, expected, sizeof latents);
    drop(head);
    drop(rest);
    drop(other);
    drop(again);
    drop(fresh);
}
END_TEST

START_TEST(with_nothing_left_the_latents_are_those_it_begins_with)
{
    static float latents[COUNT * ELEMENTS], expected[COUNT * ELEMENTS];
    struct asked *head = ask_head("head", schedulers[1], 5, STEPS);
    finish(head, expected);
    struct asked *rest = ask_rest("rest", schedulers[1], head);
    finish(rest, latents);
    ck_assert_int_eq(rest->reply.evaluations, 0);
    ck_assert_mem_eq(latents, expected, sizeof latents);
    drop(head);
    drop(rest);
}
END_TEST

static void refused(struct asked *asked, enum hep_status status, const char *field)
{
    ck_assert_int_eq(add(asked, &said), status);
    ck_assert_str_eq(said.field, field);
    ck_assert_str_ne(said.message, "");
    drop(asked);
}

START_TEST(what_is_no_part_of_the_plan_is_refused)
{
    const char *scheduler = schedulers[1];
    struct asked *head = ask_head("head", scheduler, 5, 2), *asked;
    finish(head, NULL);
    refused(ask_head("late", scheduler, 5, STEPS + 1), HEP_E_OUT_OF_RANGE, "end_evaluation");
    refused(ask_head("none", scheduler, 5, 0), HEP_E_OUT_OF_RANGE, "end_evaluation");
    asked = ask_rest("after", scheduler, head);
    asked->request.range.end_evaluation = 1;
    refused(asked, HEP_E_OUT_OF_RANGE, "first_evaluation");
    asked = ask_rest("no-state", scheduler, head);
    asked->request.range.begin_state = (struct hep_tensor_ref){0};
    refused(asked, HEP_E_MISSING_FIELD, "begin_state");
    asked = ask_rest("no-first", scheduler, head);
    asked->request.range.first_evaluation = 0;
    refused(asked, HEP_E_MISSING_FIELD, "first_evaluation");
    asked = ask_rest("other-evaluation", scheduler, head);
    asked->request.range.first_evaluation = 3;
    refused(asked, HEP_E_STALE, "begin_state");
    asked = ask_rest("other-session", scheduler, head);
    asked->call.session = asked->name.id;
    refused(asked, HEP_E_STALE, "begin_state");
    asked = ask_rest("other-size", scheduler, head);
    asked->request.range.begin_state = asked->request.plan;
    refused(asked, HEP_E_BAD_REFERENCE, "begin_state");
    drop(head);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("batch_range");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, batch_setup, batch_teardown);
    tcase_add_loop_test(tcase, a_plan_in_two_calls_gives_the_bytes_of_one, 0, (int)HEP_COUNT_OF(schedulers));
    tcase_add_test(tcase, a_rest_that_is_asked_again_goes_on_and_gives_the_same);
    tcase_add_test(tcase, steps_that_went_on_from_another_state_are_not_used);
    tcase_add_test(tcase, with_nothing_left_the_latents_are_those_it_begins_with);
    tcase_add_test(tcase, what_is_no_part_of_the_plan_is_refused);
    return check_status_run("batch_range", tcase);
}
