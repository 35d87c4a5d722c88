/*
 * UNet and text encoders with LoRAs merged into their weights, against the reference data
 * (tests/golden/data/goldens/lora: f64 networks with merged weights; diffusers' own loader agrees for every file, see
 * the README there). Run as `test_lora f32|bf16`; HEP_ISA chooses the level. Exit 77 (skipped) where this level cannot
 * compute the dtype.
 */
#include "nn/cpu/isa.h"
#include "nn/eval/compare.h"
#include "nn/eval/evaluation.h"
#include "nn/weights/folder.h"
#include "tests/support/golden_level.h"
#include "tests/support/parity.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA      HEP_SOURCE_DIR "/tests/golden/data"
#define TOLERANCE (dtype == HEP_BF16 ? 5e-2 : 2e-5) /* on rel_rms; the README's */

static enum hep_dtype dtype = HEP_F32;
static struct hep_error error;

/* One network with one file at one weight. To add one: copy the files, add a row. */
static const struct golden {
    const char *network, *model, *format, *golden; /* of lora/MODEL-FORMAT and goldens/lora/MODEL-GOLDEN */
    int compared;                                  /* results of each weight */
} goldens[] = {
    {"unet", "tiny-sd15", "kohya", "attention", 1},
    {"unet", "tiny-sd15", "diffusers-old", "attention", 1},
    {"unet", "tiny-sd15", "peft", "attention", 1},
    {"unet", "tiny-sd15", "kohya-locon", "locon", 1},
    {"unet", "tiny-sdxl", "kohya", "attention", 1},
    {"unet", "tiny-sdxl", "diffusers-old", "attention", 1},
    {"unet", "tiny-sdxl", "peft", "attention", 1},
    {"text_encoder", "tiny-sd15", "kohya", "attention", 1},
    {"text_encoder", "tiny-sd15", "diffusers-old", "attention", 1},
    {"text_encoder", "tiny-sd15", "peft", "attention", 1},
    {"text_encoder", "tiny-sd15", "kohya-locon", "locon", 1},
    {"text_encoder", "tiny-sdxl", "kohya", "attention", 1},
    {"text_encoder", "tiny-sdxl", "diffusers-old", "attention", 1},
    {"text_encoder", "tiny-sdxl", "peft", "attention", 1},
    {"text_encoder_2", "tiny-sdxl", "kohya", "attention", 3},
    {"text_encoder_2", "tiny-sdxl", "diffusers-old", "attention", 3},
    {"text_encoder_2", "tiny-sdxl", "peft", "attention", 3},
};
static const struct {
    const char *text;
    double weight;
} weights[] = {{"scale1.0", 1.0}, {"scale0.6", 0.6}};

static struct hep_safetensors *open_golden(const struct golden *g)
{
    int folder;
    char path[256];
    struct hep_safetensors *file = NULL;
    ck_assert_int_eq(hep_folder_open(DATA "/goldens/lora", &folder, &error), HEP_OK);
    snprintf(path, sizeof path, "%s-%s.safetensors", g->model, g->golden);
    ck_assert_msg(hep_safetensors_open(folder, path, &file, &error) == HEP_OK, "%s", error.message);
    close(folder);
    return file;
}

static struct hep_evaluation *open_network(const struct golden *g, double weight)
{
    char path[256], lora[256];
    struct hep_evaluation *evaluation = NULL;
    struct hep_evaluation_options options = {.dtype = dtype, .loras = {{lora, weight}}, .lora_count = 1};
    snprintf(path, sizeof path, DATA "/models/%s", g->model);
    snprintf(lora, sizeof lora, DATA "/lora/%s-%s.safetensors", g->model, g->format);
    ck_assert_msg(hep_evaluation_create(g->network, path, &options, &evaluation, &error) == HEP_OK, "%s",
                  error.message);
    return evaluation;
}

static double rel_rms(const struct hep_safetensors_entry *expected, const struct hep_result *result, const char *name)
{
    struct hep_difference d;
    float *values = malloc(expected->bytes + 1);
    ck_assert_int_eq(expected->dtype, HEP_F32);
    memcpy(values, expected->data, expected->bytes);
    ck_assert_msg(hep_compare(name, result->data, &result->shape, values, &expected->shape, HEP_COMPARE_WHOLE, &d,
                              &error) == HEP_OK,
                  "%s", error.message);
    free(values);
    ck_assert(d.finite);
    return d.rel_rms;
}

START_TEST(every_golden_is_met)
{
    const struct golden *g = &goldens[_i];
    struct hep_safetensors *file = open_golden(g);
    double worst = 0;
    for (size_t w = 0; w < HEP_COUNT_OF(weights); w++) {
        struct hep_evaluation *evaluation = open_network(g, weights[w].weight);
        struct hep_results results;
        int compared = 0;
        ck_assert_msg(hep_evaluation_run(evaluation, file, "", (struct hep_stages){0}, &results, &error) == HEP_OK,
                      "%s", error.message);
        for (size_t r = 0; r < results.count; r++) {
            char name[320];
            snprintf(name, sizeof name, "%s.%s.%s", g->network, weights[w].text, results.items[r].name);
            const struct hep_safetensors_entry *expected = hep_safetensors_find(file, name);
            if (!expected)
                continue;
            double off = rel_rms(expected, &results.items[r], name);
            ck_assert_msg(off <= TOLERANCE, "%s: rel_rms %.3g, allowed %.3g", name, off, TOLERANCE);
            worst = off > worst ? off : worst;
            compared++;
        }
        ck_assert_int_eq(compared, g->compared);
        hep_results_clear(&results);
        hep_evaluation_destroy(evaluation);
    }
    hep_safetensors_close(file);
    printf("%-14s %s-%-14s %s %s  worst rel_rms %.2e of %.0e\n", g->network, g->model, g->format, hep_dtype_name(dtype),
           hep_isa_name(hep_isa_level()), worst, TOLERANCE);
    char row[128];
    snprintf(row, sizeof row, "%s: %s-%s", g->network, g->model, g->format);
    parity_note("LoRA", row, dtype, hep_isa_name(hep_isa_level()), worst, TOLERANCE);
}
END_TEST

/* A LoRA at weight 0.4 and again at 0.6 is the LoRA at 1. */
START_TEST(loras_add_up)
{
    const struct golden *g = &goldens[0];
    struct hep_safetensors *file = open_golden(g);
    struct hep_evaluation *evaluation = NULL;
    const char *lora = DATA "/lora/tiny-sd15-kohya.safetensors", *peft = DATA "/lora/tiny-sd15-peft.safetensors";
    struct hep_evaluation_options options = {.dtype = dtype, .loras = {{lora, 0.4}, {peft, 0.6}}, .lora_count = 2};
    struct hep_results results;
    ck_assert_msg(hep_evaluation_create("unet", DATA "/models/tiny-sd15", &options, &evaluation, &error) == HEP_OK,
                  "%s", error.message);
    ck_assert_int_eq(hep_evaluation_run(evaluation, file, "", (struct hep_stages){0}, &results, &error), HEP_OK);
    double off = rel_rms(hep_safetensors_find(file, "unet.scale1.0.out"), &results.items[0], "out");
    ck_assert_msg(off <= TOLERANCE, "rel_rms %.3g", off);
    hep_results_clear(&results);
    hep_evaluation_destroy(evaluation);
    hep_safetensors_close(file);
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    Suite *suite = suite_create("lora");
    TCase *tcase = tcase_create("goldens");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, every_golden_is_met, 0, (int)HEP_COUNT_OF(goldens));
    tcase_add_test(tcase, loras_add_up);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
