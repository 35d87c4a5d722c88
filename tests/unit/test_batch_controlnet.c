/*
 * ControlNets in the batch manager, in this process, on tiny models: an image's bytes depend on its own ControlNets and
 * on nothing beside it, the planned memory includes them, and what does not fit is refused before anything runs. Their
 * numbers are compared with diffusers' in tests/golden/test_pipelines.c.
 */
#include "tests/support/batch_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MODELS HEP_SOURCE_DIR "/tests/golden/data/models/"

static struct hep_tensor_ref network, hints[2];

/* A hint in a segment of its own: waves, or others. */
static void make_hint(const char *id, float wave, struct hep_tensor_ref *ref)
{
    struct hep_arena_region region = {"hint", HEP_F32, HEP_SHAPE(3, SIDE, SIDE), 0};
    struct hep_segment_name name;
    struct hep_tensor tensor;
    uint64_t bytes;
    ck_assert_ok(hep_segment_name_make(model.instance, HEP_SEGMENT_ARENA, id, 1, &name, error));
    ck_assert_ok(hep_arena_plan(&region, 1, &bytes, error));
    ck_assert_ok(hep_arena_create(&name, 1, bytes, error));
    *ref = hep_arena_ref(&name, &region);
    ck_assert_ok(hep_resolve(model.self.resolver, ref, HEP_WRITE, &tensor, error));
    for (int i = 0; i < 3 * SIDE * SIDE; i++)
        ((float *)tensor.data)[i] = 0.5f + 0.5f * sinf(wave * (float)i);
    hep_resolver_release(model.self.resolver, &tensor);
}

static void setup(void)
{
    batch_setup();
    published_model_add_controlnet(&model, MODELS "controlnet/tiny-controlnet", HEP_F32, &network);
    make_hint("hint-0", 0.01f, &hints[0]);
    make_hint("hint-1", 0.7f, &hints[1]);
}

static void steer(struct asked *asked, int number, int hint, double scale)
{
    asked->request.controls[number] =
        (struct controlnet_request){.network = network, .hint = hints[hint], .scale = scale, .end = 1};
}

/* An image alone, with the given ControlNets. */
static void steered(const char *session, uint64_t seed, const struct controlnet_request controls[CONTROLS_MAX],
                    float *latents)
{
    struct asked *asked = ask(session, seed, 1);
    memcpy(asked->request.controls, controls, sizeof asked->request.controls);
    add_ok(asked);
    work(1000);
    expect_done(asked);
    copy_latents(asked, latents);
    drop(asked);
}

START_TEST(a_steered_image_has_the_same_bytes_alone_and_beside_others)
{
    float single[ELEMENTS], free_alone[ELEMENTS], theirs_alone[ELEMENTS], together[4 * ELEMENTS], beside[ELEMENTS];
    struct asked *four = ask("four", 41, 4), *mine = ask("mine", 42, 1), *theirs = ask("theirs", 42, 1),
                 *unsteered = ask("free", 42, 1);
    steer(four, 0, 0, 1);
    steered("alone", 42, four->request.controls, single);
    alone("free-alone", 42, 1, free_alone);
    ck_assert_mem_ne(single, free_alone, sizeof single);
    add_ok(four);
    ck_assert_int_eq(work(1000), STEPS); /* all four in one call of both networks */
    expect_done(four);
    copy_latents(four, together);
    ck_assert_mem_eq(single, together + ELEMENTS, sizeof single);

    steer(mine, 0, 0, 1);
    steer(theirs, 0, 1, 0.4); /* another hint at another strength runs together with it; an image without does not */
    steered("theirs-alone", 42, theirs->request.controls, theirs_alone);
    add_ok(mine);
    add_ok(theirs);
    add_ok(unsteered);
    ck_assert_int_eq(work(1000), 2 * STEPS);
    copy_latents(mine, beside);
    ck_assert_mem_eq(single, beside, sizeof single);
    copy_latents(unsteered, beside);
    ck_assert_mem_eq(free_alone, beside, sizeof single);
    copy_latents(theirs, beside);
    ck_assert_mem_eq(theirs_alone, beside, sizeof single);
    ck_assert_mem_ne(single, beside, sizeof single);
    drop(four);
    drop(mine);
    drop(theirs);
    drop(unsteered);
}
END_TEST

START_TEST(several_controlnets_add_up_in_the_order_of_the_request)
{
    float two[ELEMENTS], turned[ELEMENTS], first[ELEMENTS], again[ELEMENTS];
    struct controlnet_request a = {.network = network, .hint = hints[0], .scale = 0.5, .end = 1},
                              b = {.network = network, .hint = hints[1], .scale = 0.8, .end = 1}, none = {0};
    steered("two", 1, (struct controlnet_request[]){a, b, none}, two);
    steered("gap", 1, (struct controlnet_request[]){a, none, b}, again); /* a place that is left out changes nothing */
    ck_assert_mem_eq(two, again, sizeof two);
    steered("turned", 1, (struct controlnet_request[]){b, a, none}, turned);
    steered("first", 1, (struct controlnet_request[]){a, none, none}, first);
    ck_assert_mem_ne(two, first, sizeof two);
    for (int i = 0; i < ELEMENTS; i++) /* the sum is the same but for rounding */
        ck_assert_float_eq_tol(two[i], turned[i], 1e-3f * (1 + fabsf(two[i])));
    double half = 0.5;
    a.scale = half / 2;
    steered("halves", 1, (struct controlnet_request[]){a, a, none}, again); /* a quarter twice is a half */
    for (int i = 0; i < ELEMENTS; i++)
        ck_assert_float_eq_tol(first[i], again[i], 1e-3f * (1 + fabsf(first[i])));
}
END_TEST

START_TEST(a_controlnet_acts_between_its_start_and_its_end_only)
{
    float whole[ELEMENTS], part[ELEMENTS], none[ELEMENTS], never[ELEMENTS];
    struct controlnet_request control = {.network = network, .hint = hints[0], .scale = 1, .end = 1}, off = {0};
    alone("none", 5, 1, none);
    steered("whole", 5, (struct controlnet_request[]){control, off, off}, whole);
    control.start = 0.2;
    control.end = 0.6;
    steered("part", 5, (struct controlnet_request[]){control, off, off}, part);
    ck_assert_mem_ne(whole, part, sizeof whole);
    ck_assert_mem_ne(none, part, sizeof whole);
    control.start = control.end = 0.5; /* no evaluation of five lies in it */
    steered("never", 5, (struct controlnet_request[]){control, off, off}, never);
    ck_assert_mem_eq(none, never, sizeof none);
    control = (struct controlnet_request){.network = network, .hint = hints[0], .scale = 0, .end = 1};
    steered("zero", 5, (struct controlnet_request[]){control, off, off}, never);
    ck_assert_mem_eq(none, never, sizeof none);
}
END_TEST

START_TEST(rows_at_other_steps_of_their_schedule_do_not_share_what_acts)
{
    float single[ELEMENTS], late[ELEMENTS];
    struct asked *first = ask("first", 9, 1), *second = ask("second", 9, 1);
    steer(first, 0, 0, 1);
    first->request.controls[0].end = 0.6;
    memcpy(second->request.controls, first->request.controls, sizeof first->request.controls);
    steered("alone", 9, first->request.controls, single);
    add_ok(first);
    work(2);
    add_ok(second);
    work(1000);
    expect_done(first);
    expect_done(second);
    copy_latents(first, late);
    ck_assert_mem_eq(single, late, sizeof single);
    copy_latents(second, late);
    ck_assert_mem_eq(single, late, sizeof single);
    drop(first);
    drop(second);
}
END_TEST

START_TEST(a_row_in_guess_mode_has_the_same_bytes_alone_and_in_a_batch)
{
    float guided[4 * ELEMENTS], normal[ELEMENTS], single[ELEMENTS];
    struct asked *four = ask("four", 41, 4);
    steer(four, 0, 0, 1);
    steered("normal", 42, four->request.controls, normal);
    four->request.controls[0].guess = true;
    steered("alone", 42, four->request.controls, single);
    ck_assert_mem_ne(normal, single, sizeof single);
    add_ok(four);
    ck_assert_int_eq(work(1000), STEPS);
    expect_done(four);
    copy_latents(four, guided);
    ck_assert_mem_eq(single, guided + ELEMENTS, sizeof single);
    drop(four);
}
END_TEST

START_TEST(saved_steps_of_another_hint_or_strength_are_not_used)
{
    float single[ELEMENTS], resumed[ELEMENTS];
    struct asked *first = ask("again", 3, 1);
    steer(first, 0, 0, 1);
    steered("alone", 3, first->request.controls, single);
    add_ok(first);
    work(3);
    struct asked *again = ask_again(first);
    add_ok(again);
    work(1000);
    expect_done(again);
    ck_assert_int_eq(again->reply.resumed_from, 3);
    copy_latents(again, resumed);
    ck_assert_mem_eq(single, resumed, sizeof single);
    for (int change = 0; change < 5; change++) {
        struct asked *changed = ask_again(again), *back = ask_again(again);
        struct controlnet_request *control = &changed->request.controls[0];
        control->hint = change == 0 ? hints[1] : control->hint;
        control->scale = change == 1 ? 0.9 : 1;
        control->end = change == 2 ? 0.8 : 1;
        control->guess = change == 3;
        if (change == 4)
            *control = (struct controlnet_request){0};
        add_ok(changed);
        work(1000);
        expect_done(changed);
        ck_assert_msg(changed->reply.redone_rows == 1, "change %d", change);
        ck_assert_int_eq(changed->reply.evaluations, STEPS);
        add_ok(back); /* what was asked for at first: the steps are those of the change now */
        work(1000);
        expect_done(back);
        ck_assert_msg(back->reply.redone_rows == 1, "back from change %d", change);
        drop(changed);
        drop(back);
    }
    drop(first);
    drop(again);
}
END_TEST

START_TEST(planned_memory_includes_the_controlnets_and_bounds_the_group)
{
    float many[4 * ELEMENTS], few[4 * ELEMENTS];
    struct asked *all = ask("all", 1, 4), *some = ask("some", 1, 4), *plain = ask("plain", 1, 1);
    steer(all, 0, 0, 1);
    steer(some, 0, 0, 1);
    add_ok(plain);
    work(1000);
    uint64_t without = atomic_load(&batch.view.step_bytes);
    batch_trim(&batch, &model.self);
    add_ok(all);
    ck_assert_int_eq(work(1000), STEPS);
    uint64_t four = atomic_load(&batch.view.step_bytes); /* what it took is what was planned */
    ck_assert_uint_eq(four, lane_bytes(&batch.lanes[0]));
    copy_latents(all, many);
    batch_trim(&batch, &model.self);
    batch.memory_bytes = four - 1;
    add_ok(some);
    ck_assert_int_gt(work(1000), STEPS);
    expect_done(some);
    ck_assert_uint_lt(atomic_load(&batch.view.step_bytes), four);
    copy_latents(some, few);
    ck_assert_mem_eq(many, few, sizeof many);
    /* what one image takes without a ControlNet is not enough for one with it */
    batch.memory_bytes = without;
    struct asked *none = ask("none", 1, 1);
    steer(none, 0, 0, 1);
    add_ok(none);
    work(1000);
    expect_failed(none, HEP_E_NO_MEMORY);
    drop(all);
    drop(some);
    drop(plain);
    drop(none);
}
END_TEST

/* What is wrong with a ControlNet, and the field that the error names. */
static void no_hint(struct controlnet_request *c)
{
    c->hint = (struct hep_tensor_ref){0};
}
static void small_hint(struct controlnet_request *c)
{
    c->hint.shape = HEP_SHAPE(3, SIDE, SIDE / 2);
}
static void grey_hint(struct controlnet_request *c)
{
    c->hint.shape = HEP_SHAPE(1, SIDE, SIDE);
}
static void other_family(struct controlnet_request *c)
{
    published_model_add_controlnet(&model, MODELS "controlnet/tiny-controlnet-sdxl", HEP_F32, &c->network);
}
static void no_controlnet(struct controlnet_request *c)
{
    c->network = model.unet;
}
static void no_network(struct controlnet_request *c)
{
    c->network = (struct hep_tensor_ref){0};
}
static void ends_early(struct controlnet_request *c)
{
    c->start = 0.7;
    c->end = 0.3;
}
static void not_finite(struct controlnet_request *c)
{
    float nan = NAN;
    write_bytes(&c->hint, &nan, sizeof nan);
}
static const struct {
    void (*change)(struct controlnet_request *control);
    enum hep_status code;
    const char *field;
} refusals[] = {
    {no_network, HEP_E_MISSING_FIELD, "controlnet_2"},   {no_hint, HEP_E_MISSING_FIELD, "control_hint_2"},
    {small_hint, HEP_E_BAD_REFERENCE, "control_hint_2"}, {grey_hint, HEP_E_BAD_REFERENCE, "control_hint_2"},
    {other_family, HEP_E_BAD_REFERENCE, "controlnet_2"}, {no_controlnet, HEP_E_NOT_FOUND, "controlnet_2"},
    {ends_early, HEP_E_OUT_OF_RANGE, "control_start_2"}, {not_finite, HEP_E_OUT_OF_RANGE, "control_hint_2"}};

START_TEST(what_does_not_fit_is_refused_with_its_field)
{
    struct hep_error error = {0};
    struct asked *asked = ask("wrong", 1, 1);
    steer(asked, 1, 0, 1);
    refusals[_i].change(&asked->request.controls[1]);
    ck_assert_msg(add(asked, &error) == refusals[_i].code, "%s: %s", hep_status_name(error.code), error.message);
    ck_assert_str_eq(error.field, refusals[_i].field);
    ck_assert_ptr_null(batch.jobs);
    drop(asked);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("controlnet");
    tcase_add_checked_fixture(tcase, setup, batch_teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_steered_image_has_the_same_bytes_alone_and_beside_others);
    tcase_add_test(tcase, several_controlnets_add_up_in_the_order_of_the_request);
    tcase_add_test(tcase, a_controlnet_acts_between_its_start_and_its_end_only);
    tcase_add_test(tcase, rows_at_other_steps_of_their_schedule_do_not_share_what_acts);
    tcase_add_test(tcase, a_row_in_guess_mode_has_the_same_bytes_alone_and_in_a_batch);
    tcase_add_test(tcase, saved_steps_of_another_hint_or_strength_are_not_used);
    tcase_add_test(tcase, planned_memory_includes_the_controlnets_and_bounds_the_group);
    tcase_add_loop_test(tcase, what_does_not_fit_is_refused_with_its_field, 0, (int)HEP_COUNT_OF(refusals));
    return check_status_run("batch_controlnet", tcase);
}
