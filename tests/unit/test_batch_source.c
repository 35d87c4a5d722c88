/* Rows that begin from an image: the same alone, together and after a death; what a mask keeps; what is refused. */
#include "tests/support/batch_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 2, MASKED_ROWS = LATENT / 2 };

static struct hep_error said;

/* A request that begins from image number `image`, with a mask of its lower half or without. */
static struct asked *ask_from(const char *session, uint64_t seed, unsigned image, bool masked)
{
    struct asked *asked = ask(session, seed, COUNT);
    struct hep_arena_region regions[] = {{"init_latents", HEP_F32, HEP_SHAPE(COUNT, 4, LATENT, LATENT), 0},
                                         {"mask", HEP_F32, HEP_SHAPE(1, 1, LATENT, LATENT), 0}};
    struct hep_segment_name name;
    float mask[LATENT * LATENT] = {0};
    uint64_t bytes;
    ck_assert_ok(hep_segment_name_make(model.instance, HEP_SEGMENT_ARENA, session, 2, &name, error));
    ck_assert_ok(hep_arena_plan(regions, HEP_COUNT_OF(regions), &bytes, error));
    ck_assert_ok(hep_arena_create(&name, HEP_COUNT_OF(regions), bytes, error));
    asked->request.source.init_latents = hep_arena_ref(&name, &regions[0]);
    asked->request.source.noise_draw = asked->request.source.step_draw = 1;
    fill(&asked->request.source.init_latents, image);
    if (masked) {
        asked->request.source.mask = hep_arena_ref(&name, &regions[1]);
        for (int i = MASKED_ROWS * LATENT; i < LATENT * LATENT; i++)
            mask[i] = 1;
        write_bytes(&asked->request.source.mask, mask, sizeof mask);
    }
    return asked;
}

static void run(const char *session, uint64_t seed, unsigned image, bool masked, float *latents)
{
    struct asked *asked = ask_from(session, seed, image, masked);
    add_ok(asked);
    work(100);
    expect_done(asked);
    copy_latents(asked, latents);
    drop(asked);
}

START_TEST(each_image_is_its_own_and_the_seeds)
{
    static float one[COUNT * ELEMENTS], other[COUNT * ELEMENTS], again[COUNT * ELEMENTS];
    run("one", 5, 2, false, one);
    run("again", 5, 2, false, again);
    ck_assert_int_eq(memcmp(one, again, sizeof one), 0);
    run("image", 5, 3, false, other);
    ck_assert_int_ne(memcmp(one, other, sizeof one), 0);
    run("masked", 5, 2, true, other);
    ck_assert_int_ne(memcmp(one, other, sizeof one), 0);
}
END_TEST

START_TEST(rows_from_images_and_from_noise_run_together_as_alone)
{
    static float alone_a[COUNT * ELEMENTS], alone_b[COUNT * ELEMENTS], alone_c[COUNT * ELEMENTS],
        together[COUNT * ELEMENTS];
    run("a", 5, 2, false, alone_a);
    run("b", 9, 3, true, alone_b);
    struct asked *c = ask("c", 11, COUNT);
    add_ok(c);
    work(100);
    copy_latents(c, alone_c);
    drop(c);
    struct asked *asked[] = {ask_from("a2", 5, 2, false), ask_from("b2", 9, 3, true), ask("c2", 11, COUNT)};
    const float *expected[] = {alone_a, alone_b, alone_c};
    batch.rows_max = 6;
    for (int i = 0; i < 3; i++)
        add_ok(asked[i]);
    work(100);
    for (int i = 0; i < 3; i++) {
        expect_done(asked[i]);
        copy_latents(asked[i], together);
        ck_assert_int_eq(memcmp(together, expected[i], sizeof together), 0);
    }
    ck_assert_int_gt((int)atomic_load(&batch.view.groups[6]), 0);
    drop(asked[0]);
    drop(asked[1]);
    drop(asked[2]);
}
END_TEST

START_TEST(a_request_that_is_asked_again_goes_on_and_gives_the_same)
{
    static float expected[COUNT * ELEMENTS], latents[COUNT * ELEMENTS];
    run("whole", 5, 2, true, expected);
    for (int steps = 1; steps < STEPS; steps++) {
        char session[16];
        snprintf(session, sizeof session, "cut%d", steps);
        struct asked *first = ask_from(session, 5, 2, true);
        add_ok(first);
        work(steps);
        struct asked *again = ask_again(first);
        add_ok(again); /* the first one ends as STALE */
        work(100);
        expect_failed(first, HEP_E_STALE);
        expect_done(again);
        ck_assert_int_gt(again->reply.resumed_from, 0);
        ck_assert_int_eq(again->reply.redone_rows, 0);
        copy_latents(again, latents);
        ck_assert_int_eq(memcmp(latents, expected, sizeof expected), 0);
        drop(first);
        drop(again);
    }
}
END_TEST

START_TEST(steps_of_another_image_or_mask_are_not_used)
{
    for (int which = 0; which < 2; which++) {
        struct asked *first = ask_from(which ? "other1" : "other0", 5, 2, true);
        const float half[LATENT * LATENT] = {1};
        add_ok(first);
        work(2);
        if (which == 0)
            fill(&first->request.source.init_latents, 4);
        else
            write_bytes(&first->request.source.mask, half, sizeof half);
        struct asked *again = ask_again(first);
        add_ok(again);
        work(100);
        expect_done(again);
        ck_assert_int_eq(again->reply.redone_rows, COUNT);
        ck_assert_str_eq(again->reply.restarted_because.data, "other_fingerprint");
        drop(first);
        drop(again);
    }
}
END_TEST

START_TEST(what_the_mask_keeps_is_the_image_to_the_last_bit)
{
    static float latents[COUNT * ELEMENTS], image[COUNT * ELEMENTS];
    struct asked *asked = ask_from("kept", 5, 2, true);
    struct hep_tensor tensor;
    add_ok(asked);
    work(100);
    expect_done(asked);
    copy_latents(asked, latents);
    ck_assert_ok(hep_resolve(model.self.resolver, &asked->request.source.init_latents, HEP_READ, &tensor, error));
    memcpy(image, tensor.data, sizeof image);
    hep_resolver_release(model.self.resolver, &tensor);
    for (int i = 0; i < COUNT * ELEMENTS; i++)
        if (i / LATENT % LATENT < MASKED_ROWS)
            ck_assert_int_eq(memcmp(&latents[i], &image[i], sizeof image[0]), 0);
        else
            ck_assert(latents[i] != image[i]);
    drop(asked);
}
END_TEST

START_TEST(the_size_is_that_of_the_latents_if_nothing_is_said)
{
    static float expected[COUNT * ELEMENTS], latents[COUNT * ELEMENTS];
    run("said", 5, 2, false, expected);
    struct asked *asked = ask_from("unsaid", 5, 2, false);
    asked->request.width = asked->request.height = 0;
    add_ok(asked);
    work(100);
    expect_done(asked);
    copy_latents(asked, latents);
    ck_assert_int_eq(memcmp(latents, expected, sizeof expected), 0);
    drop(asked);
    asked = ask("noise", 5, 1);
    asked->request.width = 0;
    ck_assert_int_eq(add(asked, &said), HEP_E_MISSING_FIELD);
    ck_assert_str_eq(said.field, "width");
    drop(asked);
}
END_TEST

START_TEST(what_does_not_go_together_is_refused)
{
    const float wrong[] = {NAN, 2, -1};
    struct asked *asked = ask_from("refused", 5, 2, true);
    struct source_request *source = &asked->request.source;
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        write_bytes(&source->mask, &wrong[i], sizeof wrong[i]);
        ck_assert_int_eq(add(asked, &said), HEP_E_OUT_OF_RANGE);
        ck_assert_str_eq(said.field, "mask");
    }
    struct hep_tensor_ref latents = source->init_latents;
    source->init_latents = (struct hep_tensor_ref){0};
    ck_assert_int_eq(add(asked, &said), HEP_E_MISSING_FIELD);
    ck_assert_str_eq(said.field, "init_latents");
    source->init_latents = latents;
    source->init_latents.shape.dims[0] = 1;
    ck_assert_int_eq(add(asked, &said), HEP_E_BAD_REFERENCE);
    source->init_latents = latents;
    source->mask.shape.dims[3] = LATENT / 2;
    ck_assert_int_eq(add(asked, &said), HEP_E_BAD_REFERENCE);
    ck_assert_str_eq(said.field, "mask");
    drop(asked);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("batch_source");
    tcase_add_checked_fixture(tcase, batch_setup, batch_teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, each_image_is_its_own_and_the_seeds);
    tcase_add_test(tcase, rows_from_images_and_from_noise_run_together_as_alone);
    tcase_add_test(tcase, a_request_that_is_asked_again_goes_on_and_gives_the_same);
    tcase_add_test(tcase, steps_of_another_image_or_mask_are_not_used);
    tcase_add_test(tcase, what_the_mask_keeps_is_the_image_to_the_last_bit);
    tcase_add_test(tcase, the_size_is_that_of_the_latents_if_nothing_is_said);
    tcase_add_test(tcase, what_does_not_go_together_is_refused);
    return check_status_run("batch_source", tcase);
}
