/*
 * Every network against the reference data (tests/golden/data/goldens: diffusers and transformers in f64; see the
 * README there for where each file comes from and for the limits). Run as `test_networks f32|bf16`; HEP_ISA chooses the
 * level. Exit 77 (skipped) where this level cannot compute the dtype.
 */
#include "nn/cpu/isa.h"
#include "nn/eval/compare.h"
#include "nn/eval/evaluation.h"
#include "nn/weights/folder.h"
#include "tests/support/golden_level.h"
#include "tests/support/parity.h"

#include <check.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data"

static enum hep_dtype dtype = HEP_F32;
static struct hep_error error;

/* One file of goldens: which network of which model makes its results. To add one: copy it, add a row. */
static const struct golden {
    const char *network, *model, *file;
    int compared; /* results that must have been compared: none may be missed by a misspelt name */
} goldens[] = {
    {"unet", "tiny-sd15", "unet/tiny-sd15", 5},
    {"unet", "tiny-sd2", "unet/tiny-sd2", 5},
    {"unet", "tiny-sdxl", "unet/tiny-sdxl", 5},
    {"unet", "tiny-sd15-inpaint", "unet/tiny-sd15-inpaint", 5},
    {"controlnet", "controlnet/tiny-controlnet", "controlnet/tiny-controlnet", 13},
    {"controlnet", "controlnet/tiny-controlnet-sdxl", "controlnet/tiny-controlnet-sdxl", 10},
    {"vae_encoder", "tiny-sd15", "vae/tiny-sd15", 8},
    {"vae_encoder", "tiny-sd15-inpaint", "vae/tiny-sd15", 8}, /* the same weights under their old names */
    {"vae_encoder", "tiny-sd2", "vae/tiny-sd2", 4},
    {"vae_encoder", "tiny-sdxl", "vae/tiny-sdxl", 4},
    {"vae_decoder", "tiny-sd15", "vae/tiny-sd15", 4},
    {"vae_decoder", "tiny-sd15-inpaint", "vae/tiny-sd15", 4},
    {"vae_decoder", "tiny-sd2", "vae/tiny-sd2", 2},
    {"vae_decoder", "tiny-sdxl", "vae/tiny-sdxl", 2},
    {"text_encoder", "tiny-sd15", "text/tiny-sd15.text_encoder", 3},
    {"text_encoder", "tiny-sd2", "text/tiny-sd2.text_encoder", 3},
    {"text_encoder", "tiny-sdxl", "text/tiny-sdxl.text_encoder", 3},
    {"text_encoder_2", "tiny-sdxl", "text/tiny-sdxl.text_encoder_2", 3},
    {"safety_checker", "tiny-safety-checker", "safety/tiny-safety-checker", 2},
    {"upscaler", "tiny-esrgan/tiny-esrgan-x4.safetensors", "upscaler/tiny-esrgan-x4", 2},
    {"upscaler", "tiny-esrgan/tiny-esrgan-x4-old-layout.safetensors", "upscaler/tiny-esrgan-x4", 2},
    {"upscaler", "tiny-esrgan/tiny-esrgan-x2.safetensors", "upscaler/tiny-esrgan-x2", 1},
};

static struct hep_safetensors *open_golden(const char *name)
{
    int folder;
    char path[256];
    struct hep_safetensors *file = NULL;
    snprintf(path, sizeof path, "%s.safetensors", name);
    ck_assert_int_eq(hep_folder_open(DATA "/goldens", &folder, &error), HEP_OK);
    ck_assert_msg(hep_safetensors_open(folder, path, &file, &error) == HEP_OK, "%s", error.message);
    close(folder);
    return file;
}

static struct hep_evaluation *open_network(const char *network, const char *model)
{
    char path[256];
    struct hep_evaluation *evaluation = NULL;
    struct hep_evaluation_options options = {.dtype = dtype};
    snprintf(path, sizeof path, DATA "/models/%s", model);
    ck_assert_msg(hep_evaluation_create(network, path, &options, &evaluation, &error) == HEP_OK, "%s", error.message);
    return evaluation;
}

/* Compares a result with the tensor of its name, if the file has it; returns how many were compared. */
static int check_result(const struct hep_safetensors *expected, enum hep_compare_part part,
                        const struct hep_result *result, const char *name, double tolerance, double *worst)
{
    const struct hep_safetensors_entry *entry = hep_safetensors_find(expected, name);
    struct hep_difference d;
    if (!entry)
        return 0;
    ck_assert_int_eq(entry->dtype, HEP_F32);
    float *values = malloc(entry->bytes + 1);
    memcpy(values, entry->data, entry->bytes);
    ck_assert_msg(hep_compare(name, result->data, &result->shape, values, &entry->shape, part, &d, &error) == HEP_OK,
                  "%s", error.message);
    free(values);
    ck_assert_msg(d.finite && d.rel_rms <= tolerance, "%s: rel_rms %.3g, allowed %.3g; max_abs %.3g", name, d.rel_rms,
                  tolerance, d.max_abs);
    *worst = d.rel_rms > *worst ? d.rel_rms : *worst;
    return 1;
}

START_TEST(every_golden_is_met)
{
    const struct golden *g = &goldens[_i];
    struct hep_safetensors *file = open_golden(g->file);
    struct hep_evaluation *evaluation = open_network(g->network, g->model);
    const char **names;
    char row[128];
    size_t count;
    int compared = 0;
    double worst = 0;
    ck_assert_int_eq(hep_evaluation_cases(evaluation, file, &names, &count, &error), HEP_OK);
    for (size_t i = 0; i < count; i++) {
        struct hep_results results;
        ck_assert_msg(hep_evaluation_run(evaluation, file, names[i], (struct hep_stages){0}, &results, &error) ==
                          HEP_OK,
                      "%s: %s", names[i], error.message);
        for (size_t r = 0; r < results.count; r++)
            compared += check_result(file, HEP_COMPARE_WHOLE, &results.items[r], results.items[r].name,
                                     hep_evaluation_tolerance(evaluation), &worst);
        hep_results_clear(&results);
    }
    ck_assert_int_eq(compared, g->compared);
    printf("%-16s %-32s %s %s  worst rel_rms %.2e of %.0e\n", g->network, g->file, hep_dtype_name(dtype),
           hep_isa_name(hep_isa_level()), worst, hep_evaluation_tolerance(evaluation));
    snprintf(row, sizeof row, "%s: %s", g->network, g->file);
    parity_note("Networks", row, dtype, hep_isa_name(hep_isa_level()), worst, hep_evaluation_tolerance(evaluation));
    free((void *)names);
    hep_evaluation_destroy(evaluation);
    hep_safetensors_close(file);
}
END_TEST

/* Files of inner values. Some names are modules that the golden file has and a graph of ours has not as a value of its
   own: `expected` says how many are compared. */
static const struct stage_golden {
    const char *network, *model, *inputs, *name, *file;
    int compared;
} stage_goldens[] = {
    {"unet", "tiny-sd15", "unet/tiny-sd15.steps-inputs", "base", "unet/tiny-sd15.steps", 42},
    {"vae_encoder", "tiny-sd15", "vae/tiny-sd15", "square", "vae/tiny-sd15.steps", 13},
    {"vae_decoder", "tiny-sd15", "vae/tiny-sd15", "square", "vae/tiny-sd15.steps", 12},
};

static const char *without_case(const char *result)
{
    const char *dot = strrchr(result, '.');
    return dot ? dot + 1 : result;
}

START_TEST(every_stage_is_met)
{
    const struct stage_golden *g = &stage_goldens[_i];
    struct hep_safetensors *inputs = open_golden(g->inputs), *file = open_golden(g->file);
    struct hep_evaluation *evaluation = open_network(g->network, g->model);
    size_t count = hep_safetensors_count(file);
    const char **names = calloc(count, sizeof *names);
    for (size_t i = 0; i < count; i++)
        names[i] = hep_safetensors_at(file, i)->name;
    struct hep_results results;
    ck_assert_msg(
        hep_evaluation_run(evaluation, inputs, g->name, (struct hep_stages){names, count}, &results, &error) == HEP_OK,
        "%s", error.message);
    int compared = 0;
    double worst = 0;
    for (size_t r = 0; r < results.count; r++) {
        const char *name = results.items[r].name;
        bool whole = strncmp(name, g->name, strlen(g->name)) == 0 && name[strlen(g->name)] == '.';
        compared += check_result(file, HEP_COMPARE_CORNERS, &results.items[r], whole ? without_case(name) : name,
                                 hep_evaluation_tolerance(evaluation), &worst);
    }
    printf("%-16s stages of %s: %d of %zu, worst rel_rms %.2e\n", g->network, g->file, compared, count, worst);
    ck_assert_int_eq(compared, g->compared);
    hep_results_clear(&results);
    free((void *)names);
    hep_evaluation_destroy(evaluation);
    hep_safetensors_close(inputs);
    hep_safetensors_close(file);
}
END_TEST

/* hidden_states.N are of the second prompt only. */
START_TEST(every_layer_of_the_text_encoder_is_met)
{
    static const char *const names[] = {"hidden_states.0", "hidden_states.1", "hidden_states.2", "hidden_states.3",
                                        "hidden_states.4"};
    struct hep_safetensors *file = open_golden("text/tiny-sd15.text_encoder");
    struct hep_evaluation *evaluation = open_network("text_encoder", "tiny-sd15");
    struct hep_results results;
    int compared = 0;
    double worst = 0;
    ck_assert_msg(hep_evaluation_run(evaluation, file, "", (struct hep_stages){names, 5}, &results, &error) == HEP_OK,
                  "%s", error.message);
    for (size_t r = 0; r < results.count; r++) {
        struct hep_result second = results.items[r];
        if (strncmp(second.name, "hidden_states", 13) != 0)
            continue;
        second.data += second.shape.dims[1] * second.shape.dims[2];
        second.shape.dims[0] = 1;
        compared +=
            check_result(file, HEP_COMPARE_WHOLE, &second, second.name, hep_evaluation_tolerance(evaluation), &worst);
    }
    ck_assert_int_eq(compared, 5);
    hep_results_clear(&results);
    hep_evaluation_destroy(evaluation);
    hep_safetensors_close(file);
}
END_TEST

/* Runs one case; the caller clears. */
static struct hep_results run_case(struct hep_evaluation *evaluation, const struct hep_safetensors *file,
                                   const char *name)
{
    struct hep_results results;
    ck_assert_msg(hep_evaluation_run(evaluation, file, name, (struct hep_stages){0}, &results, &error) == HEP_OK, "%s",
                  error.message);
    return results;
}

START_TEST(one_thread_and_two_give_the_same_bytes)
{
    struct hep_safetensors *file = open_golden("unet/tiny-sdxl");
    struct hep_evaluation *evaluation = open_network("unet", "tiny-sdxl");
    omp_set_num_threads(1);
    struct hep_results one = run_case(evaluation, file, "batch2");
    omp_set_num_threads(2);
    struct hep_results two = run_case(evaluation, file, "batch2");
    size_t bytes;
    ck_assert(hep_shape_bytes(&one.items[0].shape, HEP_F32, &bytes));
    ck_assert_mem_eq(one.items[0].data, two.items[0].data, bytes);
    hep_results_clear(&one);
    hep_results_clear(&two);
    hep_evaluation_destroy(evaluation);
    hep_safetensors_close(file);
}
END_TEST

START_TEST(the_default_models_networks_can_be_planned)
{
    const struct hep_network_kind *network;
    struct hep_evaluation_options options = {.dtype = dtype};
    for (size_t i = 0; (network = hep_network_kind_at(i)); i++) {
        struct hep_evaluation *evaluation;
        if (strcmp(network->name, "text_encoder_2") == 0 || strcmp(network->name, "controlnet") == 0 ||
            strcmp(network->name, "upscaler") == 0 || strcmp(network->name, "safety_checker") == 0)
            continue; /* it has none */
        ck_assert_msg(hep_evaluation_create(network->name, HEP_SOURCE_DIR "/share/models/emoji", &options, &evaluation,
                                            &error) == HEP_OK,
                      "%s", error.message);
        ck_assert_msg(hep_evaluation_plan(evaluation, (struct hep_network_size){0}, &error) == HEP_OK, "%s: %s",
                      network->name, error.message);
        hep_evaluation_destroy(evaluation);
    }
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    Suite *suite = suite_create("networks");
    TCase *tcase = tcase_create("goldens");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, every_golden_is_met, 0, (int)HEP_COUNT_OF(goldens));
    tcase_add_loop_test(tcase, every_stage_is_met, 0, (int)HEP_COUNT_OF(stage_goldens));
    tcase_add_test(tcase, every_layer_of_the_text_encoder_is_met);
    tcase_add_test(tcase, one_thread_and_two_give_the_same_bytes);
    tcase_add_test(tcase, the_default_models_networks_can_be_planned);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
