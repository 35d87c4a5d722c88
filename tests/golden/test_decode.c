/*
 * Decoding in tiles against decoding whole: a sheet of eight pictures of the shipped model (goldens/emoji: final
 * latents by torch 2.15 and diffusers 0.42.1). Run as `test_decode f32|bf16`; HEP_ISA chooses the level.
 */
#include "instructors/postprocessing/decode.h"
#include "tests/support/check_status.h"
#include "tests/support/golden_level.h"
#include "tests/support/golden_tensors.h"
#include "tests/support/published_model.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDENS HEP_SOURCE_DIR "/tests/golden/data/goldens/emoji/"

enum { CHANNELS = 4, SIDE = 16, ACROSS = 4, DOWN = 2, HEIGHT = DOWN * SIDE, WIDTH = ACROSS * SIDE, FACTOR = 4 };
enum { PIXELS = HEIGHT * WIDTH * FACTOR * FACTOR };

static enum hep_dtype dtype = HEP_F32;
static struct published_model model;
static struct networks networks;
static struct decoder decoder;
static float sheet[CHANNELS * HEIGHT * WIDTH];

static void open_sheet(void)
{
    struct golden_tensors *file = golden_tensors_open(GOLDENS "images.safetensors");
    published_model_init(&model, HEP_SOURCE_DIR "/share/models/emoji", dtype);
    ck_assert_ok(decoder_open(&networks, &model.self, &model.vae, &decoder, error));
    for (size_t picture = 0; picture < ACROSS * DOWN; picture++) {
        char name[32];
        size_t count = 0;
        snprintf(name, sizeof name, "%zu.final_latents", picture);
        const float *from = golden_tensors_find(file, name, &count);
        ck_assert_uint_eq(count, CHANNELS * SIDE * SIDE);
        for (size_t c = 0; c < CHANNELS; c++)
            for (size_t y = 0; y < SIDE; y++)
                memcpy(&sheet[(c * HEIGHT + picture / ACROSS * SIDE + y) * WIDTH + picture % ACROSS * SIDE],
                       from + (c * SIDE + y) * SIDE, SIDE * sizeof *from);
    }
    golden_tensors_close(file);
}

static void close_sheet(void)
{
    networks_clear(&networks, &model.self);
    published_model_clear(&model);
}

static struct decoder_tiling decode(int32_t tile, uint64_t limit, uint8_t *image)
{
    struct decoder_tiling tiling;
    ck_assert_ok(decoder_tile(&decoder, HEIGHT, WIDTH, tile, limit, &tiling, error));
    ck_assert_ok(decoder_run(&decoder, &tiling, sheet, HEP_U8, image, error));
    return tiling;
}

/* How far apart two images are, in 8-bit levels. */
struct apart {
    double mean, rms;
    int most;
};
static struct apart apart(const uint8_t *a, const uint8_t *b)
{
    struct apart apart = {0};
    for (size_t i = 0; i < (size_t)3 * PIXELS; i++) {
        int off = abs((int)a[i] - (int)b[i]);
        apart.mean += off;
        apart.rms += (double)off * off;
        apart.most = off > apart.most ? off : apart.most;
    }
    apart.mean /= 3.0 * PIXELS;
    apart.rms = sqrt(apart.rms / (3.0 * PIXELS));
    return apart;
}

/* What docs/networks.md says. */
START_TEST(tiles_give_nearly_the_whole_image)
{
    static const struct {
        int32_t tile;
        double mean; /* levels, at most */
    } cases[] = {{128, 1}, {96, 1}, {64, 1.25}};
    static uint8_t whole[3 * PIXELS], tiled[3 * PIXELS];
    open_sheet();
    ck_assert_int_eq(decode(DECODE_WHOLE, 0, whole).side, 0);
    for (size_t i = 0; i < HEP_COUNT_OF(cases); i++) {
        struct decoder_tiling tiling = decode(cases[i].tile, 0, tiled);
        struct apart is = apart(tiled, whole);
        ck_assert_int_eq(tiling.side, cases[i].tile);
        printf("%s: tiles of %3d: %2d x %2d, mean off by %.3f levels, rms %.3f, most %d\n", hep_dtype_name(dtype),
               cases[i].tile, (int)tiling.rows.count, (int)tiling.columns.count, is.mean, is.rms, is.most);
        ck_assert_msg(is.mean <= cases[i].mean, "tiles of %d: mean off by %g levels", cases[i].tile, is.mean);
    }
    close_sheet();
}
END_TEST

START_TEST(tiles_give_the_same_bytes_with_any_number_of_threads)
{
    static uint8_t one[3 * PIXELS], two[3 * PIXELS];
    open_sheet();
    omp_set_num_threads(1);
    decode(128, 0, one);
    omp_set_num_threads(2);
    decode(128, 0, two);
    ck_assert_mem_eq(one, two, sizeof one);
    close_sheet();
}
END_TEST

/* The image of a 16-bit file against torch's, in f32 (goldens/vae): within what the decoder itself is off, and a
   rounding. Its bytes are those that are written with 8 bits. */
START_TEST(sixteen_bits_are_those_of_the_f32_image)
{
    static float latents[CHANNELS * 64], levels[3 * 64 * 64];
    static uint16_t deep[3 * 64 * 64];
    static uint8_t bytes[3 * 64 * 64];
    const uint8_t *rounded;
    uint8_t *made;
    struct golden_tensors *file =
        golden_tensors_open(HEP_SOURCE_DIR "/tests/golden/data/goldens/vae/tiny-sd15.safetensors");
    size_t values = 0, count = 0, real = 0;
    const float *z = golden_tensors_find(file, "square.z", &values);
    const float *image = golden_tensors_find(file, "square.decoded", &count);
    int64_t side = (int64_t)sqrt((double)count / 3), latent = (int64_t)sqrt((double)values / CHANNELS);
    struct decoder_tiling tiling;
    int most = 0;
    ck_assert(values <= HEP_COUNT_OF(latents) && count <= HEP_COUNT_OF(levels));
    published_model_init(&model, HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd15", dtype);
    ck_assert_ok(decoder_open(&networks, &model.self, &model.vae, &decoder, error));
    for (size_t i = 0; i < values; i++)
        latents[i] = z[i] * (float)decoder.config->scaling_factor;
    ck_assert_ok(decoder_tile(&decoder, latent, latent, DECODE_WHOLE, 0, &tiling, error));
    ck_assert_ok(decoder_run(&decoder, &tiling, latents, HEP_F32, levels, error));
    ck_assert_ok(decoder_run(&decoder, &tiling, latents, HEP_U8, bytes, error));
    levels_to_u16(levels, (int64_t)count, deep);
    const struct hep_tensor images = {.data = levels, .dtype = HEP_F32, .shape = HEP_SHAPE(1, side, side, 3)};
    ck_assert_ok(levels_bytes(&images, 0, &made, &rounded, error));
    ck_assert_mem_eq(rounded, bytes, count);
    free(made);
    for (int64_t place = 0; place < side * side; place++)
        for (int64_t c = 0; c < 3; c++) {
            float exact = (fminf(fmaxf(image[c * side * side + place], -1), 1) + 1) * 32767.5f;
            int off = abs((int)deep[3 * place + c] - (int)lrintf(exact));
            most = off > most ? off : most;
            real += deep[3 * place + c] % 257 != 0;
        }
    printf("%s: 16 bits: off by at most %d of 65535, %zu of %zu values are none of 8 bits\n", hep_dtype_name(dtype),
           most, real, count);
    ck_assert_msg(most <= (dtype == HEP_F32 ? 2 : 4000), "off by %d", most);
    ck_assert_uint_gt(real, count * 3 / 4); /* the others are at 0 and 65535 */
    golden_tensors_close(file);
    close_sheet();
}
END_TEST

static uint64_t planned(int32_t tile, uint64_t limit, int32_t *side)
{
    struct decoder_tiling tiling;
    double flops, unit_flops;
    uint64_t bytes;
    ck_assert_ok(decoder_tile(&decoder, 128, 192, tile, limit, &tiling, error));
    ck_assert_ok(decoder_cost(&decoder, &tiling, &flops, &unit_flops, &bytes, error));
    ck_assert(unit_flops > 0 && unit_flops <= flops);
    *side = tiling.side;
    return bytes;
}

START_TEST(a_smaller_limit_plans_less_memory_whatever_the_threads)
{
    uint64_t before = UINT64_MAX, limit = UINT64_C(1) << 40;
    int32_t side, same, side_before = INT32_MAX, sizes = 0;
    open_sheet();
    for (; limit > 0; limit /= 2) {
        omp_set_num_threads(1);
        planned(DECODE_TILE_AUTO, limit, &same);
        omp_set_num_threads(2);
        uint64_t bytes = planned(DECODE_TILE_AUTO, limit, &side);
        ck_assert_int_eq(side, same);
        if (side == side_before)
            continue;
        printf("%s: limit %" PRIu64 ": tiles of %d, %" PRIu64 " bytes\n", hep_dtype_name(dtype), limit, side, bytes);
        ck_assert_uint_lt(bytes, before);
        ck_assert(side_before == INT32_MAX ? side == 0 : side_before == 0 || side < side_before);
        before = bytes;
        side_before = side;
        sizes++;
    }
    ck_assert_int_ge(sizes, 4);
    ck_assert_int_eq(side, 32 * FACTOR); /* the least, however small the limit */
    close_sheet();
}
END_TEST

START_TEST(a_side_that_cannot_be_is_refused)
{
    static const int32_t sides[] = {FACTOR, DECODE_TILE_LEAST * FACTOR - FACTOR, DECODE_TILE_LEAST * FACTOR + 1, -8};
    open_sheet();
    for (size_t i = 0; i < HEP_COUNT_OF(sides); i++) {
        struct decoder_tiling tiling;
        struct hep_error failure = {0};
        ck_assert_int_eq(decoder_tile(&decoder, HEIGHT, WIDTH, sides[i], 0, &tiling, &failure), HEP_E_OUT_OF_RANGE);
        ck_assert_str_eq(failure.field, "tile");
    }
    close_sheet();
}
END_TEST

START_TEST(the_shares_of_all_tiles_sum_up_to_one)
{
    for (int64_t length = 8; length < 300; length += length < 64 ? 1 : 13)
        for (int64_t tile = 8; tile <= length; tile += 3)
            for (int64_t factor = 1; factor <= 8; factor *= 2) {
                float sum[300 * 8] = {0}, weights[300 * 8];
                int shares[300 * 8] = {0};
                struct tile_axis axis = tile_axis_make(length, tile);
                for (int64_t i = 0; i < axis.count; i++) {
                    tile_weights(&axis, i, factor, weights);
                    for (int64_t p = 0; p < axis.tile * factor; p++) {
                        sum[tile_start(&axis, i) * factor + p] += weights[p];
                        shares[tile_start(&axis, i) * factor + p] += weights[p] > 0;
                        bool settled = tile_start(&axis, i) * factor + p < tile_settled(&axis, i, factor);
                        ck_assert_msg(!settled || weights[p] <= 0, "tile %d has a share in what is settled", (int)i);
                    }
                }
                ck_assert_int_eq(tile_settled(&axis, axis.count, factor), length * factor);
                for (int64_t p = 0; p < length * factor; p++)
                    ck_assert_msg(fabsf(sum[p] - 1) < 1e-6f && shares[p] <= 2, "%d of %d, %d: %g at %d, %d tiles",
                                  (int)tile, (int)length, (int)factor, (double)sum[p], (int)p, shares[p]);
            }
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    TCase *tcase = tcase_create("decode");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, sixteen_bits_are_those_of_the_f32_image);
    tcase_add_test(tcase, tiles_give_nearly_the_whole_image);
    tcase_add_test(tcase, tiles_give_the_same_bytes_with_any_number_of_threads);
    tcase_add_test(tcase, a_smaller_limit_plans_less_memory_whatever_the_threads);
    tcase_add_test(tcase, a_side_that_cannot_be_is_refused);
    tcase_add_test(tcase, the_shares_of_all_tiles_sum_up_to_one);
    return check_status_run("decode", tcase);
}
