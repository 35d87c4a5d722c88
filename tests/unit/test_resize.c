/* Resampling against plain loops in double: every filter, larger and smaller, both dtypes. */
#include "instructors/postprocessing/resize.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct hep_error error;

/* ---- the filters as their papers have them ---- */
static double sinc(double x)
{
    return x == 0 ? 1 : sin(M_PI * x) / (M_PI * x);
}

/* Keys 1981, a = -0.5. */
static double cubic(double x)
{
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

static double weight(enum resize_filter filter, double x)
{
    x = fabs(x);
    switch (filter) {
    case RESIZE_LANCZOS:
        return x < 3 ? sinc(x) * sinc(x / 3) : 0;
    case RESIZE_BICUBIC:
        return cubic(x);
    case RESIZE_BILINEAR:
        return x < 1 ? 1 - x : 0;
    default:
        return 1;
    }
}

static const double supports[] = {3, 2, 1, 0};

/* to[out · lines] = from[in · lines] resampled; an element of a line is `step` from the next. */
static void reference_line(enum resize_filter filter, const double *from, int64_t in, double *to, int64_t out,
                           int64_t step)
{
    double scale = (double)out / (double)in, stretch = scale < 1 ? scale : 1;
    int64_t taps = 2 * (int64_t)ceil(supports[filter] / stretch);
    taps = taps < 1 ? 1 : taps;
    for (int64_t i = 0; i < out; i++) {
        double at = ((double)i + 0.5) / scale, first = floor(at - (double)taps / 2 + 0.5) + 0.5, total = 0, sum = 0;
        for (int64_t k = 0; k < taps; k++) {
            double x = first + (double)k, w = weight(filter, (x - at) * stretch);
            double mirrored = x < 0             ? fmin(-x, (double)in - 0.5)
                              : x >= (double)in ? fmax(fmin(2 * (double)in - x, (double)in - 0.5), 0)
                                                : x;
            total += w;
            sum += w * from[(int64_t)mirrored * step];
        }
        to[i * step] = sum / total;
    }
}

static double *reference(const struct resize *r, const double *from)
{
    int64_t c = r->channels;
    double *tall = calloc((size_t)(r->out_height * r->width * c), sizeof *tall);
    double *to = calloc((size_t)(r->out_height * r->out_width * c), sizeof *to);
    for (int64_t i = 0; i < r->width * c; i++)
        reference_line(r->filter, from + i, r->height, tall + i, r->out_height, r->width * c);
    for (int64_t y = 0; y < r->out_height; y++)
        for (int64_t k = 0; k < c; k++)
            reference_line(r->filter, tall + y * r->width * c + k, r->width, to + y * r->out_width * c + k,
                           r->out_width, c);
    free(tall);
    return to;
}

/* ---- tests ---- */
static const struct size {
    int64_t height, width, out_height, out_width;
} sizes[] = {
    {8, 8, 16, 16}, {17, 23, 40, 31}, {40, 31, 17, 23}, {64, 48, 9, 7},
    {5, 70, 70, 5}, {1, 9, 4, 20},    {33, 1, 12, 3},   {3, 3, 200, 1},
};

static uint32_t random_number(void)
{
    static uint32_t state = 12345;
    return state = state * 1664525u + 1013904223u;
}

START_TEST(an_image_is_what_the_loops_say)
{
    const struct size *s = &sizes[_i];
    for (int filter = 0; filter < RESIZE_FILTER_COUNT; filter++) {
        struct resize r = {(enum resize_filter)filter, HEP_U8, 3, s->height, s->width, s->out_height, s->out_width};
        size_t in = (size_t)(s->height * s->width * 3), out = (size_t)(s->out_height * s->out_width * 3);
        uint8_t *from = malloc(in), *to = malloc(out);
        float *from_f32 = malloc(in * sizeof(float)), *to_f32 = malloc(out * sizeof(float));
        double *plain = malloc(in * sizeof(double)), worst = 0;
        for (size_t i = 0; i < in; i++) {
            from[i] = (uint8_t)(random_number() >> 24);
            from_f32[i] = (float)from[i] / 255.0f;
            plain[i] = from[i];
        }
        double *want = reference(&r, plain);
        ck_assert_msg(resize_image(&r, from, to, &error) == HEP_OK, "%s", error.message);
        r.dtype = HEP_F32;
        ck_assert_msg(resize_image(&r, from_f32, to_f32, &error) == HEP_OK, "%s", error.message);
        for (size_t i = 0; i < out; i++) {
            double level = fmin(fmax(want[i], 0), 255);
            worst = fmax(worst, fabs(to_f32[i] - want[i] / 255));
            ck_assert_msg(fabs(to[i] - level) <= 0.5 + 1e-3, "%s: value %zu is %d, not %g",
                          resize_filter_name(r.filter), i, to[i], level);
        }
        ck_assert_msg(worst < 2e-6, "%s: %g", resize_filter_name(r.filter), worst);
        free(from), free(to), free(from_f32), free(to_f32), free(plain), free(want);
    }
}
END_TEST

START_TEST(an_image_of_the_same_size_is_copied)
{
    struct resize r = {RESIZE_LANCZOS, HEP_U8, 3, 7, 5, 7, 5};
    uint8_t from[105], to[105] = {0};
    uint64_t bytes = 1;
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i * 37);
    ck_assert_int_eq(resize_image(&r, from, to, &error), HEP_OK);
    ck_assert_mem_eq(from, to, sizeof from);
    ck_assert_int_eq(resize_memory(&r, &bytes, &error), HEP_OK);
    ck_assert_uint_eq(bytes, 0);
}
END_TEST

START_TEST(a_channel_does_not_depend_on_the_others)
{
    struct resize three = {RESIZE_LANCZOS, HEP_F32, 3, 9, 11, 20, 30}, one = three;
    float from[9 * 11 * 3], plane[9 * 11], to[20 * 30 * 3], alone[20 * 30];
    one.channels = 1;
    for (size_t i = 0; i < HEP_COUNT_OF(from); i++)
        from[i] = (float)(random_number() >> 8) * 0x1p-24f;
    for (size_t i = 0; i < HEP_COUNT_OF(plane); i++)
        plane[i] = from[3 * i + 1];
    ck_assert_int_eq(resize_image(&three, from, to, &error), HEP_OK);
    ck_assert_int_eq(resize_image(&one, plane, alone, &error), HEP_OK);
    for (size_t i = 0; i < HEP_COUNT_OF(alone); i++)
        ck_assert(alone[i] == to[3 * i + 1]);
}
END_TEST

START_TEST(a_side_out_of_range_is_refused)
{
    struct resize r = {RESIZE_BICUBIC, HEP_U8, 3, 8, 8, 8, 0};
    uint64_t bytes;
    ck_assert_int_eq(resize_memory(&r, &bytes, &error), HEP_E_OUT_OF_RANGE);
    r.out_width = HEP_IMAGE_FILE_SIDE_MAX + 1;
    ck_assert_int_eq(resize_memory(&r, &bytes, &error), HEP_E_OUT_OF_RANGE);
    r.out_width = 1000;
    ck_assert_int_eq(resize_memory(&r, &bytes, &error), HEP_OK);
    ck_assert_uint_ge(bytes, (8 * 16 + 8 * 1008) * sizeof(float));
}
END_TEST

START_TEST(filters_are_found_by_their_names)
{
    enum resize_filter filter;
    for (int i = 0; i < RESIZE_FILTER_COUNT; i++) {
        ck_assert(resize_filter_from_name(resize_filter_name((enum resize_filter)i), &filter));
        ck_assert_int_eq((int)filter, i);
    }
    ck_assert(!resize_filter_from_name("box", &filter));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resize");
    TCase *tcase = tcase_create("resize");
    tcase_add_loop_test(tcase, an_image_is_what_the_loops_say, 0, (int)HEP_COUNT_OF(sizes));
    tcase_add_test(tcase, an_image_of_the_same_size_is_copied);
    tcase_add_test(tcase, a_channel_does_not_depend_on_the_others);
    tcase_add_test(tcase, a_side_out_of_range_is_refused);
    tcase_add_test(tcase, filters_are_found_by_their_names);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
