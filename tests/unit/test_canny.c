/* Canny's edges against OpenCV's (tests/golden/data/goldens/canny), bit for bit, and what an edge is by its definition.
 */
#include "instructors/conditioning/canny.h"
#include "tests/support/check_status.h"
#include "tests/support/golden_tensors.h"

#include <string.h>

#define GOLDENS HEP_SOURCE_DIR "/tests/golden/data/goldens/canny/canny.safetensors"

static const struct {
    const char *name;
    int64_t height, width, channels;
} images[] = {{"scene", 48, 64, 3}, {"noise", 24, 33, 3}, {"row", 1, 40, 3}, {"column", 31, 1, 3}, {"grey", 20, 21, 1}};
static const struct {
    const char *name;
    struct canny_options options;
} options[] = {{"100-200", {100, 200, false}},  {"200-100", {200, 100, false}}, {"40.5-300", {40.5, 300, false}},
               {"30-90.l2", {30, 90, true}},    {"0-0", {0, 0, false}},         {"0-1000", {0, 1000, false}},
               {"120-120.l2", {120, 120, true}}};

START_TEST(edges_are_opencvs)
{
    size_t count, expected_count;
    unsigned char edges[48 * 64];
    struct golden_tensors *file = golden_tensors_open(GOLDENS);
    const unsigned char *image = golden_tensors_find_u8(file, images[_i].name, &count);
    int64_t pixels = images[_i].height * images[_i].width;
    ck_assert_uint_eq(count, (size_t)(pixels * images[_i].channels));
    for (size_t o = 0; o < HEP_COUNT_OF(options); o++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%s", images[_i].name, options[o].name);
        const unsigned char *expected = golden_tensors_find_u8(file, name, &expected_count);
        ck_assert_msg(expected && expected_count == (size_t)pixels, "%s", name);
        ck_assert_ok(
            canny(image, images[_i].height, images[_i].width, images[_i].channels, &options[o].options, edges, error));
        ck_assert_msg(memcmp(edges, expected, expected_count) == 0, "%s", name);
    }
    golden_tensors_close(file);
}
END_TEST

/* A step down the middle that is strong above and weak below is one edge; the weak part alone is none. */
START_TEST(a_weak_edge_counts_only_where_it_leads_to_a_strong_one)
{
    enum { SIZE = 16 };
    unsigned char image[SIZE][SIZE] = {{0}}, edges[SIZE][SIZE];
    struct canny_options wanted = {100, 400, false};
    for (int y = 0; y < SIZE; y++)
        for (int x = SIZE / 2; x < SIZE; x++)
            image[y][x] = y < 4 ? 200 : 60; /* gradients of 800 and 240 */
    ck_assert_ok(canny(image[0], SIZE, SIZE, 1, &wanted, edges[0], error));
    int on = 0;
    for (int y = 6; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            on += edges[y][x] == 255;
    ck_assert_int_eq(on, SIZE - 6); /* one pixel in each row */
    ck_assert_ok(canny(image[8], SIZE - 8, SIZE, 1, &wanted, edges[8], error));
    for (int y = 8; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            ck_assert_int_eq(edges[y][x], 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("canny");
    tcase_add_loop_test(tcase, edges_are_opencvs, 0, (int)HEP_COUNT_OF(images));
    tcase_add_test(tcase, a_weak_edge_counts_only_where_it_leads_to_a_strong_one);
    return check_status_run("canny", tcase);
}
