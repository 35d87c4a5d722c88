/*
 * What an image that is painted over begins from. The expected pixels of the fills are those of A1111's masking.fill()
 * with Pillow 13 of the same pictures, as pictures() makes them.
 */
#include "common/tensor.h"
#include "instructors/conditioning/image.h"
#include "instructors/postprocessing/canvas.h"
#include "instructors/postprocessing/fill.h"
#include "tests/support/check_status.h"

#include <string.h>

enum { PLACES_MAX = 700 * 9 };
static uint8_t image[3 * PLACES_MAX], mask[PLACES_MAX], filled[3 * PLACES_MAX];

/* Its right half is masked below the first row, with a soft edge of one column. */
static void pictures(int width, int height)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *pixel = image + 3 * (y * width + x);
            pixel[0] = (uint8_t)(37 * x + 11 * y);
            pixel[1] = (uint8_t)(200 - 9 * y + 3 * x);
            pixel[2] = (uint8_t)(x * y * 5 + 40);
            mask[y * width + x] = 2 * x >= width && y > 0 ? 255 : 2 * x >= width - 2 ? 90 : 0;
        }
}

START_TEST(what_is_masked_gets_the_colours_round_it_as_in_a1111)
{
    static const uint8_t expected[4 * 6 * 3] = {
        0,  200, 40, 37, 203, 40, 69, 202, 41, 100, 205, 41, 130, 207, 41, 159, 210, 41, /* nearly all stays */
        11, 191, 40, 48, 194, 45, 75, 195, 47, 75,  196, 43, 90,  197, 44, 103, 201, 44,
        22, 182, 40, 59, 185, 50, 82, 188, 55, 71,  193, 45, 86,  196, 45, 95,  199, 43,
        33, 173, 40, 70, 176, 55, 89, 182, 61, 70,  191, 46, 79,  193, 48, 89,  196, 45};
    pictures(6, 4);
    ck_assert_ok(fill_run(image, mask, 6, 4, filled, error));
    for (int i = 0; i < 4 * 6 * 3; i++)
        ck_assert_msg(filled[i] == expected[i], "value %d is %d, not %d", i, filled[i], expected[i]);
}
END_TEST

START_TEST(every_blur_has_a1111s_bytes_whatever_the_size)
{
    static const struct {
        int width, height;
        uint32_t crc;
    } rows[] = {{40, 24, 0x14d24c92}, {700, 9, 0x455c153b}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        pictures(rows[i].width, rows[i].height);
        ck_assert_ok(fill_run(image, mask, rows[i].width, rows[i].height, filled, error));
        uint32_t crc = hep_crc32c(0, filled, (size_t)(3 * rows[i].width * rows[i].height));
        ck_assert_msg(crc == rows[i].crc, "%d x %d: %#x", rows[i].width, rows[i].height, crc);
    }
}
END_TEST

START_TEST(without_a_mask_all_stays_and_with_nothing_round_it_it_is_black)
{
    pictures(8, 8);
    memset(mask, 0, 64);
    ck_assert_ok(fill_run(image, mask, 8, 8, filled, error));
    ck_assert_mem_eq(filled, image, 3 * 64);
    memset(mask, 255, 64);
    ck_assert_ok(fill_run(image, mask, 8, 8, filled, error));
    for (int i = 0; i < 3 * 64; i++)
        ck_assert_uint_eq(filled[i], 0);
}
END_TEST

START_TEST(masked_latents_become_noise_or_nothing_and_the_others_stay)
{
    const float latent_mask[3] = {0, 1, 1}, noise[6] = {9, 8, 7, 6, 5, 4}, latents[6] = {1, 2, 3, 4, 5, 6};
    const float of_noise[6] = {1, 8, 7, 4, 5, 4}, of_nothing[6] = {1, 0, 0, 4, 0, 0};
    float made[6];
    memcpy(made, latents, sizeof made);
    image_latents_fill(latent_mask, noise, 2, 3, made);
    ck_assert_mem_eq(made, of_noise, sizeof made);
    memcpy(made, latents, sizeof made);
    image_latents_fill(latent_mask, NULL, 2, 3, made);
    ck_assert_mem_eq(made, of_nothing, sizeof made);
}
END_TEST

/* The pixel in each latent's upper left corner says it, from 128 on; no grey is left, whatever the others are. */
START_TEST(a_mask_is_black_or_white_in_latents)
{
    const uint8_t soft[2 * 8] = {0, 255, 127, 255, 128, 0, 255, 0, 255, 200, 129, 255, 0, 90, 1, 127};
    const float expected[4] = {0, 0, 1, 1};
    float latent_mask[4];
    image_latent_mask(soft, 1, 4, 2, latent_mask);
    ck_assert_mem_eq(latent_mask, expected, sizeof expected);
}
END_TEST

START_TEST(an_image_stands_in_its_canvas_between_its_own_edges)
{
    static const uint8_t two[2 * 2 * 3] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const uint8_t expected[3 * 5] = {1, 1, 1, 4, 4, 1, 1, 1, 4, 4, 7, 7, 7, 10, 10}; /* red */
    const struct canvas canvas = {.width = 2, .height = 2, .left = 2, .right = 1, .top = 1};
    uint8_t extended[3 * 5 * 3];
    ck_assert_int_eq(canvas_width(&canvas), 5);
    ck_assert_int_eq(canvas_height(&canvas), 3);
    canvas_image(&canvas, two, extended);
    for (int i = 0; i < 15; i++)
        for (int c = 0; c < 3; c++)
            ck_assert_uint_eq(extended[3 * i + c], expected[i] + c);
}
END_TEST

START_TEST(what_is_new_is_masked_with_an_edge_of_the_image_and_its_mask)
{
    /* 4 × 2 pixels, 2 more on the left and 1 at the bottom; one pixel of each edge overlaps */
    const struct canvas canvas = {.width = 4, .height = 2, .left = 2, .bottom = 1, .overlap = 1};
    static const uint8_t given[4 * 2] = {9, 0, 0, 100, 0, 0, 0, 200};
    static const uint8_t expected[3 * 6] = {255, 255, 255, 0,   0,   0,   255, 255, 255,
                                            255, 255, 255, 255, 255, 255, 255, 255, 255};
    uint8_t extended[3 * 6];
    ck_assert_ok(canvas_mask(&canvas, NULL, extended, error));
    ck_assert_mem_eq(extended, expected, sizeof extended);
    ck_assert_ok(canvas_mask(&canvas, given, extended, error));
    ck_assert_uint_eq(extended[2], 255); /* the larger of both */
    ck_assert_uint_eq(extended[3], 0);
    ck_assert_uint_eq(extended[5], 100);
}
END_TEST

START_TEST(a_soft_edge_ends_in_the_image_and_leaves_what_is_new_alone)
{
    const struct canvas canvas = {.width = 64, .height = 8, .left = 16, .right = 8, .overlap = 8, .blur = 4};
    static uint8_t extended[88 * 8];
    ck_assert_ok(canvas_mask(&canvas, NULL, extended, error));
    for (int x = 0; x < 88; x++) { /* 10 = int(2.5 · 4 + 0.5) */
        bool is_new = x < 16 || x >= 80, is_kept = x >= 16 + 8 + 10 && x < 80 - 8 - 10;
        ck_assert(!is_new || extended[88 * 3 + x] == 255);
        ck_assert(!is_kept || extended[88 * 3 + x] == 0);
    }
    ck_assert_uint_ge(extended[23], 128); /* as the hard edge has it */
    ck_assert_uint_lt(extended[24], 128);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("paint");
    tcase_add_test(tcase, what_is_masked_gets_the_colours_round_it_as_in_a1111);
    tcase_add_test(tcase, every_blur_has_a1111s_bytes_whatever_the_size);
    tcase_add_test(tcase, without_a_mask_all_stays_and_with_nothing_round_it_it_is_black);
    tcase_add_test(tcase, masked_latents_become_noise_or_nothing_and_the_others_stay);
    tcase_add_test(tcase, a_mask_is_black_or_white_in_latents);
    tcase_add_test(tcase, an_image_stands_in_its_canvas_between_its_own_edges);
    tcase_add_test(tcase, what_is_new_is_masked_with_an_edge_of_the_image_and_its_mask);
    tcase_add_test(tcase, a_soft_edge_ends_in_the_image_and_leaves_what_is_new_alone);
    return check_status_run("paint", tcase);
}
