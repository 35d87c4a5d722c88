/*
 * The filters of enhancement on synthetic pictures: against their formulas written down again in double, and by what
 * people want of them. And the windows of tiled upscaling, for every side that matters.
 */
#include "instructors/postprocessing/filters.h"
#include "instructors/postprocessing/tiles.h"
#include "tests/support/check_status.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { HEIGHT = 37, WIDTH = 53, VALUES = HEIGHT * WIDTH * 3 };

static float values[VALUES], other[VALUES];
static const struct filter_image image = {HEIGHT, WIDTH, values}, scratch = {HEIGHT, WIDTH, other};

static uint32_t state;
static double noise(void) /* -1 … 1 */
{
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 23) - 1;
}

/* A ramp, a step of 120 levels in the middle, and noise of `amount` levels. */
static void paint(double amount)
{
    state = 7;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++)
                values[(y * WIDTH + x) * 3 + c] =
                    (float)(40 + y + 10 * c + (x > WIDTH / 2 ? 120 : 0) + amount * noise());
}

static double at(const float *v, int y, int x, int c)
{
    return v[(y * WIDTH + x) * 3 + c];
}

static double worst_difference(const float *got, const double *want)
{
    double worst = 0;
    for (int i = 0; i < VALUES; i++)
        worst = fmax(worst, fabs(got[i] - want[i]));
    return worst;
}

/* ---- denoise ---- */
START_TEST(denoising_is_what_its_formula_says)
{
    static double want[VALUES];
    paint(12);
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            double sums[3] = {0}, total = 0;
            for (int v = y - 3; v <= y + 3; v++)
                for (int u = x - 3; u <= x + 3; u++) {
                    if (v < 0 || u < 0 || v >= HEIGHT || u >= WIDTH)
                        continue;
                    double d2 = 0, place = (v - y) * (v - y) + (u - x) * (u - x);
                    for (int c = 0; c < 3; c++)
                        d2 += pow(at(values, v, u, c) - at(values, y, x, c), 2);
                    double w = d2 < 900 ? exp(-place / 4.5) * pow(1 - d2 / 900, 2) : 0;
                    total += w;
                    for (int c = 0; c < 3; c++)
                        sums[c] += w * at(values, v, u, c);
                }
            for (int c = 0; c < 3; c++)
                want[(y * WIDTH + x) * 3 + c] = sums[c] / total;
        }
    filter_denoise(&image, &scratch, 0.3); /* h = 30 levels */
    double worst = worst_difference(other, want);
    ck_assert_msg(worst < 1e-3, "%g levels", worst);
}
END_TEST

START_TEST(noise_goes_and_an_edge_stays)
{
    static float clean[VALUES];
    double before = 0, after = 0;
    paint(0);
    memcpy(clean, values, sizeof clean);
    paint(12);
    filter_denoise(&image, &scratch, 0.4);
    for (int i = 0; i < VALUES; i++) {
        before += pow(values[i] - clean[i], 2);
        after += pow(other[i] - clean[i], 2);
    }
    ck_assert_msg(after < before / 6, "error energy %g of %g", after, before);
    for (int y = 0; y < HEIGHT; y++)
        ck_assert_double_gt(at(other, y, WIDTH / 2 + 1, 0) - at(other, y, WIDTH / 2, 0), 100);
}
END_TEST

/* ---- colours ---- */
START_TEST(colours_become_those_of_the_reference)
{
    struct filter_colors wanted = {{110, -12, 20}, {25, 6, 9}}, got;
    paint(12);
    filter_color_match(&image, &wanted, 1);
    filter_measure(&image, &got);
    for (int c = 0; c < 3; c++) {
        ck_assert_double_eq_tol(got.mean[c], wanted.mean[c], 1e-3);
        ck_assert_double_eq_tol(got.deviation[c], wanted.deviation[c], 1e-3);
    }
}
END_TEST

START_TEST(half_a_match_is_half_way_and_its_own_colours_change_nothing)
{
    struct filter_colors wanted = {{110, -12, 20}, {25, 6, 9}}, own;
    static double want[VALUES];
    paint(12);
    filter_measure(&image, &own);
    memcpy(other, values, sizeof other);
    filter_color_match(&image, &wanted, 1);
    for (int i = 0; i < VALUES; i++)
        want[i] = ((double)other[i] + values[i]) / 2;
    memcpy(values, other, sizeof values);
    filter_color_match(&image, &wanted, 0.5);
    ck_assert_double_lt(worst_difference(values, want), 1e-3);
    for (int i = 0; i < VALUES; i++)
        want[i] = other[i];
    memcpy(values, other, sizeof values);
    filter_color_match(&image, &own, 1);
    ck_assert_double_lt(worst_difference(values, want), 1e-3);
}
END_TEST

START_TEST(a_flat_picture_gets_the_mean_alone)
{
    struct filter_colors wanted = {{110, -12, 20}, {25, 6, 9}}, got;
    for (int i = 0; i < VALUES; i++)
        values[i] = 90;
    filter_color_match(&image, &wanted, 1);
    filter_measure(&image, &got);
    for (int c = 0; c < 3; c++)
        ck_assert_double_eq_tol(got.mean[c], wanted.mean[c], 1e-3);
    ck_assert_double_lt(got.deviation[0], 1e-3);
}
END_TEST

START_TEST(contrast_is_what_its_formula_says)
{
    static double want[VALUES];
    double mean = 0;
    paint(12);
    for (int i = 0; i < VALUES; i += 3)
        mean += (0.299 * values[i] + 0.587 * values[i + 1] + 0.114 * values[i + 2]) / (HEIGHT * WIDTH);
    for (int i = 0; i < VALUES; i++)
        want[i] = mean + 1.5 * (values[i] - mean);
    filter_contrast(&image, 0.5);
    ck_assert_double_lt(worst_difference(values, want), 1e-3);
    filter_contrast(&image, -1); /* grey */
    for (int i = 1; i < VALUES; i++)
        ck_assert_float_eq_tol(values[i], values[0], 1e-3f);
}
END_TEST

/* ---- sharpen ---- */
static int mirror(int i, int count)
{
    return i < 0 ? -i - 1 : i >= count ? 2 * count - 1 - i : i;
}

START_TEST(sharpening_is_what_its_formula_says)
{
    static double want[VALUES];
    const double radius = 0.8 + 1.1 * _i;
    const int side = (int)ceil(3 * radius);
    double total = 0;
    paint(12);
    for (int v = -side; v <= side; v++)
        for (int u = -side; u <= side; u++)
            total += exp(-(u * u + v * v) / (2 * radius * radius));
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++) {
                double sum = 0;
                for (int v = -side; v <= side; v++)
                    for (int u = -side; u <= side; u++)
                        sum += exp(-(u * u + v * v) / (2 * radius * radius)) *
                               at(values, mirror(y + v, HEIGHT), mirror(x + u, WIDTH), c);
                want[(y * WIDTH + x) * 3 + c] = at(values, y, x, c) + 0.7 * (at(values, y, x, c) - sum / total);
            }
    filter_sharpen(&image, &scratch, 0.7, radius);
    double worst = worst_difference(values, want);
    ck_assert_msg(worst < 2e-3, "%g levels", worst);
}
END_TEST

START_TEST(a_radius_larger_than_the_picture_is_mirrored_again_and_again)
{
    float few[2 * 3 * 3] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 5, 4, 3, 2, 1, 0, 9, 9, 9}, room[2 * 3 * 3];
    struct filter_image small = {2, 3, few}, space = {2, 3, room};
    filter_sharpen(&small, &space, 1, 16);
    for (int i = 0; i < 18; i++)
        ck_assert(isfinite(few[i]));
}
END_TEST

/* ---- bytes ---- */
static void run_all(uint8_t *to)
{
    struct filter_colors wanted = {{110, -12, 20}, {25, 6, 9}};
    static float more[VALUES];
    const struct filter_image smooth = {HEIGHT, WIDTH, more};
    paint(12);
    filter_denoise(&image, &smooth, 0.3);
    filter_color_match(&smooth, &wanted, 0.8);
    filter_contrast(&smooth, 0.2);
    filter_sharpen(&smooth, &scratch, 0.6, 1.3);
    filters_to_levels(&smooth, HEP_U8, to);
}

START_TEST(any_number_of_threads_gives_the_same_bytes)
{
    static uint8_t one[VALUES], many[VALUES];
    omp_set_num_threads(1);
    run_all(one);
    for (int threads = 2; threads <= 5; threads++) {
        omp_set_num_threads(threads);
        run_all(many);
        ck_assert_mem_eq(one, many, sizeof one);
    }
}
END_TEST

START_TEST(levels_are_rounded_and_kept_in_range)
{
    float some[6] = {-3, 0.49f, 0.51f, 254.6f, 300, 127.5f};
    uint8_t bytes[6];
    struct filter_image two = {1, 2, some};
    filters_to_levels(&two, HEP_U8, bytes);
    const uint8_t want[6] = {0, 0, 1, 255, 255, 128};
    ck_assert_mem_eq(bytes, want, 6);
    filters_from_levels(bytes, HEP_U8, &two);
    ck_assert(some[3] == 255 && some[2] == 1);
}
END_TEST

/* ---- windows ---- */
START_TEST(cores_cover_a_side_once_and_see_their_context)
{
    static const struct {
        int64_t longest, context, multiple;
    } rows[] = {{64, 8, 1}, {48, 16, 2}, {17, 8, 1}, {128, 32, 4}, {20, 0, 1}};
    int64_t longest = rows[_i].longest, context = rows[_i].context, multiple = rows[_i].multiple;
    for (int64_t side = multiple; side < 700; side += multiple) {
        struct tiles tiles = tiles_cut(side, longest, context, multiple);
        int64_t covered = 0;
        bool right = tiles.length <= longest && tiles.length % multiple == 0 && (side > longest || tiles.count == 1);
        for (int64_t i = 0; i < tiles.count; i++) {
            struct tile tile = tiles_at(&tiles, i);
            int64_t end = tile.start + tiles.length;
            right = right && tile.core == covered && tile.last > tile.core && tile.start % multiple == 0 &&
                    tile.start >= 0 && end <= side && (tile.start == 0 || tile.core - tile.start >= context) &&
                    (end == side || end - tile.last >= context);
            covered = tile.last;
        }
        ck_assert_msg(right && covered == side, "side %d in %d windows", (int)side, (int)tiles.count);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("filters");
    tcase_add_test(tcase, denoising_is_what_its_formula_says);
    tcase_add_test(tcase, noise_goes_and_an_edge_stays);
    tcase_add_test(tcase, colours_become_those_of_the_reference);
    tcase_add_test(tcase, half_a_match_is_half_way_and_its_own_colours_change_nothing);
    tcase_add_test(tcase, a_flat_picture_gets_the_mean_alone);
    tcase_add_test(tcase, contrast_is_what_its_formula_says);
    tcase_add_loop_test(tcase, sharpening_is_what_its_formula_says, 0, 3);
    tcase_add_test(tcase, a_radius_larger_than_the_picture_is_mirrored_again_and_again);
    tcase_add_test(tcase, any_number_of_threads_gives_the_same_bytes);
    tcase_add_test(tcase, levels_are_rounded_and_kept_in_range);
    tcase_add_loop_test(tcase, cores_cover_a_side_once_and_see_their_context, 0, 5);
    return check_status_run("filters", tcase);
}
