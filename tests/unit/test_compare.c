/* What hep-eval --check and the golden tests rest on: a difference that cannot be missed. */
#include "tests/support/check_status.h"

#include "nn/eval/compare.h"
#include "nn/eval/evaluation.h"

#include <math.h>
#include <string.h>

enum { COUNT = 6 };

static const struct hep_shape shape = {2, {2, 3}};
static const float good[COUNT] = {1, -2, 3, -4, 5, -6};

static struct hep_difference difference_of(const float *actual, const float *expected)
{
    struct hep_difference d = {0};
    ck_assert_ok(hep_compare("t", actual, &shape, expected, &shape, HEP_COMPARE_WHOLE, &d, error));
    ck_assert_int_eq(d.elements, COUNT);
    return d;
}

START_TEST(equal_tensors_do_not_differ_and_others_do)
{
    float other[COUNT] = {1, -2, 3, -4, 5, -6.5f};
    struct hep_difference d = difference_of(good, good);
    ck_assert(d.finite && d.max_abs == 0 && d.max_rel == 0 && d.rel_rms == 0);
    d = difference_of(other, good);
    ck_assert(d.finite);
    ck_assert_double_eq(d.max_abs, 0.5);
    ck_assert_double_eq(d.max_rel, 0.5 / 6);
    ck_assert_double_eq_tol(d.rel_rms, 0.5 / sqrt(91), 1e-12);
}
END_TEST

START_TEST(what_is_not_finite_on_either_side_is_never_near)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t b = 0; b < HEP_COUNT_OF(bad); b++)
        for (int where = 0; where < COUNT; where++) {
            float one[COUNT];
            memcpy(one, good, sizeof one);
            one[where] = bad[b];
            const float *pairs[][2] = {{one, good}, {good, one}, {one, one}};
            for (size_t i = 0; i < HEP_COUNT_OF(pairs); i++) {
                struct hep_difference d = difference_of(pairs[i][0], pairs[i][1]);
                ck_assert(!d.finite && isinf(d.max_abs) && isinf(d.max_rel) && isinf(d.rel_rms));
            }
        }
}
END_TEST

START_TEST(anything_is_infinitely_far_from_zeros_but_zeros)
{
    static const float zeros[COUNT] = {0};
    struct hep_difference d = difference_of(good, zeros);
    ck_assert(d.finite && isinf(d.rel_rms) && isinf(d.max_rel));
    d = difference_of(zeros, zeros);
    ck_assert(d.finite && d.rel_rms == 0 && d.max_rel == 0);
}
END_TEST

/* An image [1, 2, 10, 12] whose element (c, y, x) is 100 c + 10 y + x, and its corner. */
static float image[2 * 10 * 12], corner[2 * 8 * 8];

static void draw(void)
{
    for (int i = 0; i < 2 * 10 * 12; i++)
        image[i] = (float)(i / 120 * 100 + i / 12 % 10 * 10 + i % 12);
    for (int i = 0; i < 2 * 8 * 8; i++)
        corner[i] = (float)(i / 64 * 100 + i / 8 % 8 * 10 + i % 8);
}

static enum hep_status compare_image(struct hep_shape expected, enum hep_compare_part part, struct hep_difference *d,
                                     struct hep_error *error)
{
    struct hep_shape actual = HEP_SHAPE(1, 2, 10, 12);
    return hep_compare("image", image, &actual, corner, &expected, part, d, error);
}

START_TEST(a_corner_is_compared_only_where_corners_are_kept)
{
    struct hep_difference d = {0};
    draw();
    ck_assert_ok(compare_image(HEP_SHAPE(1, 2, 8, 8), HEP_COMPARE_CORNERS, &d, error));
    ck_assert_int_eq(d.elements, 128);
    ck_assert_double_eq(d.max_abs, 0);
    corner[127] += 1;
    ck_assert_ok(compare_image(HEP_SHAPE(1, 2, 8, 8), HEP_COMPARE_CORNERS, &d, error));
    ck_assert_double_eq(d.max_abs, 1);
    struct hep_error refusal = {0};
    ck_assert_int_eq(compare_image(HEP_SHAPE(1, 2, 8, 8), HEP_COMPARE_WHOLE, &d, &refusal), HEP_E_BAD_FILE);
    ck_assert_ptr_nonnull(strstr(refusal.message, "[1, 2, 10, 12]"));
    ck_assert_ptr_nonnull(strstr(refusal.message, "[1, 2, 8, 8]"));
}
END_TEST

START_TEST(another_shape_is_refused)
{
    static const struct hep_shape shapes[] = {{4, {1, 2, 7, 8}},  {4, {1, 2, 8, 10}}, {4, {1, 1, 8, 8}},
                                              {4, {2, 2, 8, 8}},  {3, {2, 8, 8}},     {4, {1, 2, 1, 1}},
                                              {4, {1, 2, 12, 10}}};
    struct hep_difference d;
    for (size_t i = 0; i < HEP_COUNT_OF(shapes); i++)
        for (int part = HEP_COMPARE_WHOLE; part <= HEP_COMPARE_CORNERS; part++)
            ck_assert_fails(compare_image(shapes[i], (enum hep_compare_part)part, &d, error), HEP_E_BAD_FILE);
}
END_TEST

START_TEST(an_image_smaller_than_a_corner_is_its_own_corner)
{
    struct hep_shape small = HEP_SHAPE(1, 1, 5, 10), part = HEP_SHAPE(1, 1, 5, 8), wrong = HEP_SHAPE(1, 1, 4, 8);
    struct hep_difference d;
    draw();
    ck_assert_ok(hep_compare("small", image, &small, corner, &part, HEP_COMPARE_CORNERS, &d, error));
    ck_assert_int_eq(d.elements, 40);
    ck_assert_fails(hep_compare("small", image, &small, corner, &wrong, HEP_COMPARE_CORNERS, &d, error),
                    HEP_E_BAD_FILE);
}
END_TEST

START_TEST(the_limits_span_those_of_the_networks)
{
    double least, largest;
    hep_evaluation_tolerances(HEP_F32, &least, &largest);
    ck_assert(least == 5e-6 && largest == 2e-5); /* text encoders, UNets: README of the reference data */
    hep_evaluation_tolerances(HEP_BF16, &least, &largest);
    ck_assert(least == 1e-2 && largest == 5e-2); /* upscalers, UNets */
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("compare");
    tcase_add_test(cases, equal_tensors_do_not_differ_and_others_do);
    tcase_add_test(cases, what_is_not_finite_on_either_side_is_never_near);
    tcase_add_test(cases, anything_is_infinitely_far_from_zeros_but_zeros);
    tcase_add_test(cases, a_corner_is_compared_only_where_corners_are_kept);
    tcase_add_test(cases, another_shape_is_refused);
    tcase_add_test(cases, an_image_smaller_than_a_corner_is_its_own_corner);
    tcase_add_test(cases, the_limits_span_those_of_the_networks);
    return check_status_run("compare", cases);
}
