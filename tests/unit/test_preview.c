/* Previews while rows are denoised: what they show, when they come, that no image depends on them. */
#include "tests/support/batch_fixture.h"

#include "common/base64.h"
#include "common/wire.h"

#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 3 };

/* red is channel 0, green is 1, blue is 2; half of everything is grey. */
static const struct hep_preview_map plain = {
    4, {{0.25f, 0, 0}, {0, 0.25f, 0}, {0, 0, 0.25f}, {0, 0, 0}, {0.5f, 0.5f, 0.5f}}};

static void decode_png(const char *text, uint8_t *rgb, size_t size)
{
    uint8_t file[HEP_PREVIEW_PNG_MAX];
    size_t bytes;
    ck_assert_uint_le(strlen(text), HEP_BASE64_LENGTH(sizeof file));
    ck_assert(hep_base64_decode(text, strlen(text), file, &bytes));
    spng_ctx *context = spng_ctx_new(0);
    ck_assert_int_eq(spng_set_png_buffer(context, file, bytes), 0);
    ck_assert_int_eq(spng_decode_image(context, rgb, size, SPNG_FMT_RGB8, 0), 0);
    spng_ctx_free(context);
}

static uint8_t level(float value)
{
    float shown = (0.5f + 0.25f * value) * 255 + 0.5f;
    return (uint8_t)(shown < 0 ? 0 : shown > 255 ? 255 : shown);
}

/* The last evaluation of an Euler run sees the finished latents: the preview after it is their picture. */
START_TEST(the_last_preview_is_the_finished_image_in_colours)
{
    static float latents[ELEMENTS];
    static uint8_t rgb[3 * LATENT * LATENT];
    struct asked *asked = ask_with("euler", 5, 1, 1, "euler");
    asked->request.preview_map = hep_preview_map_to_json(&plain);
    add_ok(asked);
    work(100);
    expect_done(asked);
    ck_assert_int_eq(asked->call.previews, STEPS);
    ck_assert_int_eq(hep_json_int(asked->call.preview, "denoising_step", 0), STEPS);
    ck_assert_int_eq(hep_json_int(asked->call.preview, "width", 0), LATENT);
    decode_png(hep_json_str(asked->call.preview, "png", ""), rgb, sizeof rgb);
    copy_latents(asked, latents);
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < LATENT * LATENT; i++)
            ck_assert_int_le(abs((int)rgb[3 * i + k] - (int)level(latents[k * LATENT * LATENT + i])), 1);
    json_decref(asked->request.preview_map);
    drop(asked);
}
END_TEST

static void latents_of(bool previews, float *latents)
{
    struct asked *asked = ask(previews ? "with" : "without", 5, COUNT);
    if (previews)
        asked->request.preview_map = hep_preview_map_to_json(&plain);
    add_ok(asked);
    work(100);
    expect_done(asked);
    ck_assert_int_eq(asked->call.previews > 0, previews);
    copy_latents(asked, latents);
    json_decref(asked->request.preview_map);
    drop(asked);
}

START_TEST(an_image_with_previews_has_the_bytes_of_one_without)
{
    static float with[COUNT * ELEMENTS], without[COUNT * ELEMENTS];
    latents_of(true, with);
    latents_of(false, without);
    ck_assert_mem_eq(with, without, sizeof with);
}
END_TEST

START_TEST(a_preview_comes_when_it_is_due_and_rows_take_turns)
{
    struct previews previews = {.map = plain, .every_us = 1000};
    struct row rows[COUNT];
    int shown[COUNT] = {0};
    for (unsigned i = 0; i < COUNT; i++)
        rows[i] = (struct row){.index = i};
    for (int64_t now = 10000; now < 19000; now += 500) /* all rows are committed at each half of the interval */
        for (int i = 0; i < COUNT; i++)
            shown[i] += preview_is_due(&previews, &rows[i], COUNT, now);
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(shown[i], 3);
    for (int64_t now = 30000; now < 36000; now += 2000) /* the others have ended: nobody's turn is waited for */
        ck_assert(preview_is_due(&previews, &rows[1], COUNT, now));
    previews.map.channels = 0;
    ck_assert(!preview_is_due(&previews, &rows[1], COUNT, 60000));
}
END_TEST

/* 100 × 90 latents are too many for a preview: each pixel is the mean of 2 × 2 of them. */
START_TEST(large_latents_are_shown_smaller_and_kept_ones_as_they_are)
{
    enum { HEIGHT = 90, WIDTH = 101, PLACES = HEIGHT * WIDTH };
    static float state[4 * PLACES], model_output[4 * PLACES], kept[4 * PLACES], mask[PLACES];
    static uint8_t rgb[3 * HEP_PREVIEW_PIXELS_MAX];
    static const float two = 2, minus = -1;
    const struct hep_scheduler_plan plan = {.x0_sample = &two, .x0_model = &minus};
    struct previews previews = {.map = plain};
    struct row row = {.shape = {.channels = 4, .height = HEIGHT, .width = WIDTH}, .plan = &plan};
    int32_t height, width;
    for (int i = 0; i < PLACES; i++) {
        state[i] = i % 2 ? 1 : 0; /* red: 2 · state − model */
        model_output[i] = 1;
        kept[i] = -2; /* black */
        mask[i] = i < PLACES / 2 ? 1 : 0;
    }
    preview_pixels(&previews, &row, 0, state, model_output, rgb, &height, &width);
    ck_assert_int_eq(height, HEIGHT / 2);
    ck_assert_int_eq(width, (WIDTH + 1) / 2);
    ck_assert_int_eq(rgb[0], level(0)); /* mean of −1, 1, 1, −1 */
    row.source = (struct row_source){.latents = kept, .mask = mask};
    preview_pixels(&previews, &row, 0, state, model_output, rgb, &height, &width);
    ck_assert_int_eq(rgb[0], level(0));
    ck_assert_int_eq(rgb[3 * (height * width - 2)], level(-2));
}
END_TEST

START_TEST(what_is_no_map_of_the_latents_is_refused)
{
    static const char *const bad[] = {"[]",
                                      "{}",
                                      "7",
                                      "[[0,0,0],[0,0,0],[0,0,0],[0,0,0]]",
                                      "[[0,0,0],[0,0,0],[0,0,0],[0,0,0],[0,0]]",
                                      "[[0,0,0],[0,0,0],[0,0,0],[0,0,0],[0,0,0,0]]",
                                      "[[0,0,0],[0,0,0],[0,0,0],[0,0,0],[0,0,\"1\"]]",
                                      "[[0,0,0],[0,0,0],[0,0,0],[0,0,0],[0,0,1e300]]"};
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++) {
        struct hep_error said = {0};
        char session[8];
        snprintf(session, sizeof session, "bad%zu", i);
        struct asked *asked = ask(session, 5, 1);
        asked->request.preview_map = json_loads(bad[i], JSON_DECODE_ANY, NULL);
        ck_assert_int_eq(add(asked, &said), HEP_E_BAD_FIELD);
        ck_assert_str_eq(said.field, "preview_map");
        json_decref(asked->request.preview_map);
        drop(asked);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("previews");
    TCase *cases = tcase_create("previews");
    tcase_add_checked_fixture(cases, batch_setup, batch_teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, the_last_preview_is_the_finished_image_in_colours);
    tcase_add_test(cases, an_image_with_previews_has_the_bytes_of_one_without);
    tcase_add_test(cases, what_is_no_map_of_the_latents_is_refused);
    suite_add_tcase(suite, cases);
    TCase *pure = tcase_create("pure");
    tcase_add_test(pure, a_preview_comes_when_it_is_due_and_rows_take_turns);
    tcase_add_test(pure, large_latents_are_shown_smaller_and_kept_ones_as_they_are);
    suite_add_tcase(suite, pure);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
