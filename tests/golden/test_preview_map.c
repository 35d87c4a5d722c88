/*
 * The map of previews against real decodings: eight pictures of the shipped model (goldens/emoji: final latents by
 * torch 2.15 and diffusers 0.42.1), each latent's colour beside the mean of the pixels that it stands for.
 */
#include "instructors/postprocessing/previews.h"
#include "tests/support/check_status.h"
#include "tests/support/golden_tensors.h"
#include "tests/support/published_model.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDENS HEP_SOURCE_DIR "/tests/golden/data/goldens/emoji/"

enum { CHANNELS = 4, SIDE = 16, PLACES = SIDE * SIDE, FACTOR = 4, PICTURES = 8 };

static struct published_model model;
static struct networks networks;
static struct decoder decoder;

static void open_model(const char *folder)
{
    published_model_init(&model, folder, HEP_F32);
    ck_assert_ok(decoder_open(&networks, &model.self, &model.vae, &decoder, error));
}

static void close_model(void)
{
    networks_clear(&networks, &model.self);
    published_model_clear(&model);
}

static void means(const float *latents, double colours[PLACES][3])
{
    static uint8_t image[3 * PLACES * FACTOR * FACTOR];
    struct decoder_tiling tiling;
    ck_assert_ok(decoder_tile(&decoder, SIDE, SIDE, DECODE_WHOLE, 0, &tiling, error));
    ck_assert_ok(decoder_run(&decoder, &tiling, latents, HEP_U8, image, error));
    memset(colours, 0, PLACES * sizeof *colours);
    for (int y = 0; y < SIDE * FACTOR; y++)
        for (int x = 0; x < SIDE * FACTOR; x++)
            for (int k = 0; k < 3; k++)
                colours[y / FACTOR * SIDE + x / FACTOR][k] +=
                    image[(y * SIDE * FACTOR + x) * 3 + k] / (255.0 * FACTOR * FACTOR);
}

/* Sums of pairs (mapped, decoded), for a correlation. */
struct sums {
    double n, a, b, aa, bb, ab, off;
};

static void compare(const struct hep_preview_map *map, const float *latents, struct sums *sums)
{
    static double decoded[PLACES][3];
    means(latents, decoded);
    for (int i = 0; i < PLACES; i++)
        for (int k = 0; k < 3; k++) {
            double value = (double)map->colours[CHANNELS][k], real = decoded[i][k];
            for (int c = 0; c < CHANNELS; c++)
                value += (double)(map->colours[c][k] * latents[c * PLACES + i]);
            value = value < 0 ? 0 : value > 1 ? 1 : value;
            sums->n++;
            sums->a += value;
            sums->b += real;
            sums->aa += value * value;
            sums->bb += real * real;
            sums->ab += value * real;
            sums->off += (value - real) * (value - real);
        }
}

/* What docs/decoding.md says. */
START_TEST(mapped_latents_look_like_the_decoded_image)
{
    struct golden_tensors *file = golden_tensors_open(GOLDENS "images.safetensors");
    struct hep_preview_map map;
    struct sums s = {0};
    open_model(HEP_SOURCE_DIR "/share/models/emoji");
    ck_assert_ok(preview_map_make(&decoder, &map, error));
    ck_assert_int_eq(map.channels, CHANNELS);
    for (size_t picture = 0; picture < PICTURES; picture++) {
        char name[32];
        size_t count = 0;
        snprintf(name, sizeof name, "%zu.final_latents", picture);
        const float *latents = golden_tensors_find(file, name, &count);
        ck_assert_uint_eq(count, CHANNELS * PLACES);
        compare(&map, latents, &s);
    }
    double correlation = (s.ab - s.a * s.b / s.n) / sqrt((s.aa - s.a * s.a / s.n) * (s.bb - s.b * s.b / s.n));
    double psnr = -10 * log10(s.off / s.n);
    printf("preview map: correlation %.3f, PSNR %.1f dB\n", correlation, psnr);
    ck_assert_double_gt(correlation, 0.9);
    ck_assert_double_gt(psnr, 15);
    close_model();
    golden_tensors_close(file);
}
END_TEST

START_TEST(the_same_decoder_gives_the_same_map)
{
    struct hep_preview_map one, two;
    open_model(HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd15");
    ck_assert_ok(preview_map_make(&decoder, &one, error));
    ck_assert_ok(preview_map_make(&decoder, &two, error));
    ck_assert_mem_eq(&one, &two, sizeof one);
    close_model();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("preview maps");
    TCase *cases = tcase_create("maps");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, mapped_latents_look_like_the_decoded_image);
    tcase_add_test(cases, the_same_decoder_gives_the_same_map);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
