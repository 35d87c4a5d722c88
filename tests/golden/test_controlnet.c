/*
 * A UNet with the residuals of a ControlNet against the reference data (goldens/controlnet: diffusers in f64), at the
 * scales of the goldens and in guess mode. The UNet runs on weights that were packed for the plan without residuals, as
 * heptad-inference does. Run as `test_controlnet f32|bf16`; HEP_ISA chooses the level.
 */
#include "nn/eval/compare.h"
#include "nn/eval/evaluation.h"
#include "nn/weights/folder.h"
#include "nn/weights/model_folder.h"
#include "tests/support/check_status.h"
#include "tests/support/golden_level.h"
#include "tests/support/golden_tensors.h"
#include "tests/support/parity.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA      HEP_SOURCE_DIR "/tests/golden/data/"
#define TOLERANCE (dtype == HEP_BF16 ? 5e-2 : 2e-5) /* on rel_rms; the README's */

static enum hep_dtype dtype = HEP_F32;

/* The ControlNet, the UNet that it is for, and one case of the golden file. */
static const struct golden {
    const char *controlnet, *unet, *name;
    int64_t width;
} goldens[] = {{"tiny-controlnet", "tiny-sd15", "square", 8},
               {"tiny-controlnet", "tiny-sd15", "wide", 12},
               {"tiny-controlnet-sdxl", "tiny-sdxl", "square", 8},
               {"tiny-controlnet-sdxl", "tiny-sdxl", "wide", 12}};
static const struct variant {
    const char *output;
    double scale;
    bool guess;
} variants[] = {{"out", 1, false}, {"scale0.7.out", 0.7, false}, {"guess.out", 1, true}};

enum { HEIGHT = 8, ARGUMENTS_MAX = 5 + HEP_UNET_RESIDUALS_MAX };

/* from: the ControlNet's folder or file. */
static void run_controlnet(const struct golden *g, const char *from, struct hep_results *residuals)
{
    int folder;
    char path[256];
    struct hep_safetensors *file = NULL;
    struct hep_evaluation *evaluation = NULL;
    struct hep_evaluation_options options = {.dtype = dtype};
    ck_assert_ok(hep_folder_open(DATA "goldens/controlnet", &folder, error));
    snprintf(path, sizeof path, "%s.safetensors", g->controlnet);
    ck_assert_ok(hep_safetensors_open(folder, path, &file, error));
    close(folder);
    ck_assert_ok(hep_evaluation_create("controlnet", from, &options, &evaluation, error));
    ck_assert_ok(hep_evaluation_run(evaluation, file, g->name, (struct hep_stages){0}, residuals, error));
    hep_evaluation_destroy(evaluation);
    hep_safetensors_close(file);
}

/* The UNet, with residuals and without; the first is bound to the weights of the second. */
struct unet {
    struct hep_network_instance plain, controlled;
    struct hep_unet_config config;
};

static void open_unet(const struct golden *g, struct unet *unet)
{
    char path[256];
    struct hep_model *model = NULL;
    struct hep_component *component = NULL;
    snprintf(path, sizeof path, DATA "models/%s", g->unet);
    ck_assert_ok(hep_model_open(path, &model, error));
    ck_assert_ok(hep_model_component(model, "unet", NULL, &component, error));
    const struct hep_weight_source *source = hep_component_weights(component);
    ck_assert_ok(hep_unet_config_read(hep_component_config(component), "unet/config.json", &unet->config, error));
    for (int residuals = 0; residuals < 2; residuals++) {
        struct hep_graph *graph = NULL;
        struct hep_unet_build build = {
            .batch = 1, .height = HEIGHT, .width = g->width, .tokens = 77, .residuals = residuals == 1};
        ck_assert_ok(hep_graph_create("unet", source, &graph, error));
        hep_unet_build(graph, &unet->config, &build);
        ck_assert_ok(hep_graph_finish(graph, error));
        ck_assert_ok(hep_network_instance_init(residuals ? &unet->controlled : &unet->plain, graph,
                                               &(struct hep_plan_options){.dtype = dtype}, source,
                                               residuals ? unet->plain.packed : NULL, error));
        hep_graph_destroy(graph);
    }
    hep_component_close(component);
    hep_model_close(model);
}

static float *scaled(const struct hep_result *residual, size_t count, double factor)
{
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)factor * residual->data[i];
    return values;
}

static const float *golden_of(const struct golden_tensors *tensors, const char *name, const char *what, size_t *count)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, what);
    const float *values = golden_tensors_find(tensors, full, count);
    ck_assert_msg(values != NULL, "%s", full);
    return values;
}

static void run_unet(struct unet *unet, const struct golden *g, const struct golden_tensors *tensors,
                     const struct hep_results *residuals, const struct variant *variant, float *out)
{
    struct hep_argument inputs[ARGUMENTS_MAX], output = {"out", {out, HEP_F32, HEP_SHAPE(1, 4, HEIGHT, g->width)}};
    struct hep_unet_residuals list;
    enum hep_dtype type;
    float *owned[HEP_UNET_RESIDUALS_MAX];
    size_t count = 0, used = 0;
    hep_unet_residuals(&unet->config, HEIGHT, g->width, &list);
    ck_assert_uint_eq((size_t)list.count, residuals->count);
    for (int i = 0; i < list.count; i++) {
        const struct hep_unet_residual *r = &list.items[i];
        count = (size_t)(r->channels * r->height * r->width);
        const char *dot = strchr(residuals->items[i].name, '.');
        ck_assert_str_eq(dot + 1, r->output);
        double factor = variant->scale * (variant->guess ? hep_controlnet_guess_factor(i, list.count) : 1);
        owned[i] = scaled(&residuals->items[i], count, factor);
        inputs[used++] =
            (struct hep_argument){r->input, {owned[i], HEP_F32, HEP_SHAPE(1, r->channels, r->height, r->width)}};
    }
    for (size_t i = 0, residual = used;
         hep_plan_input(unet->plain.plan, i, &inputs[residual + i].name, &type, &inputs[residual + i].tensor.shape);
         i++) {
        struct hep_argument *input = &inputs[used++];
        input->tensor.dtype = HEP_F32;
        input->tensor.data = (void *)(uintptr_t)golden_of(tensors, g->name, input->name, &count);
    }
    ck_assert_ok(hep_plan_run(unet->controlled.plan, inputs, used, &output, 1, error));
    for (int i = 0; i < list.count; i++)
        free(owned[i]);
}

START_TEST(a_unet_with_residuals_is_diffusers)
{
    const struct golden *g = &goldens[_i];
    char path[256], name[64];
    struct hep_results residuals = {0};
    struct unet unet = {0};
    snprintf(path, sizeof path, DATA "goldens/controlnet/%s.safetensors", g->controlnet);
    struct golden_tensors *tensors = golden_tensors_open(path);
    snprintf(path, sizeof path, DATA "models/controlnet/%s", g->controlnet);
    run_controlnet(g, path, &residuals);
    open_unet(g, &unet);
    struct hep_shape shape = HEP_SHAPE(1, 4, HEIGHT, g->width);
    for (size_t v = 0; v < HEP_COUNT_OF(variants); v++) {
        float out[4 * HEIGHT * 12];
        struct hep_difference d;
        size_t count;
        const float *expected = golden_of(tensors, g->name, variants[v].output, &count);
        ck_assert_uint_eq(count, (size_t)(4 * HEIGHT * g->width));
        run_unet(&unet, g, tensors, &residuals, &variants[v], out);
        snprintf(name, sizeof name, "%s %s.%s", g->controlnet, g->name, variants[v].output);
        ck_assert_ok(hep_compare(name, out, &shape, expected, &shape, HEP_COMPARE_WHOLE, &d, error));
        printf("%-44s %s rel_rms %.2e\n", name, hep_dtype_name(dtype), d.rel_rms);
        parity_note("ControlNets", name, dtype, hep_isa_name(hep_isa_level()), d.rel_rms, TOLERANCE);
        ck_assert_msg(d.finite && d.rel_rms <= TOLERANCE, "%s: rel_rms %.3g", name, d.rel_rms);
    }
    hep_network_instance_clear(&unet.controlled);
    hep_network_instance_clear(&unet.plain);
    hep_results_clear(&residuals);
    golden_tensors_close(tensors);
}
END_TEST

/* As one file, in each layout (tests/support/control_file.py). */
START_TEST(a_single_file_gives_the_bytes_of_its_folder)
{
    static const char *const layouts[] = {"diffusers", "original"};
    const struct golden *g = &goldens[_i];
    char from[256], file[64], command[1024];
    struct hep_results expected, got;
    snprintf(from, sizeof from, DATA "models/controlnet/%s", g->controlnet);
    snprintf(file, sizeof file, "/tmp/heptad-test-%d.safetensors", (int)getpid());
    run_controlnet(g, from, &expected);
    for (size_t i = 0; i < HEP_COUNT_OF(layouts); i++) {
        snprintf(command, sizeof command,
                 "python3 " HEP_SOURCE_DIR "/tests/support/control_file.py '%s' '%s' --layout %s", from, file,
                 layouts[i]);
        ck_assert_int_eq(system(command), 0);
        run_controlnet(g, file, &got);
        ck_assert_uint_eq(expected.count, got.count);
        for (size_t r = 0; r < got.count; r++) {
            int64_t count = 0;
            ck_assert(hep_shape_elements(&got.items[r].shape, &count));
            ck_assert_mem_eq(expected.items[r].data, got.items[r].data, (size_t)count * sizeof(float));
        }
        hep_results_clear(&got);
    }
    hep_results_clear(&expected);
    snprintf(command, sizeof command, "rm /tmp/heptad-test-%d.*", (int)getpid());
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    TCase *tcase = tcase_create("controlnet");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_unet_with_residuals_is_diffusers, 0, (int)HEP_COUNT_OF(goldens));
    tcase_add_loop_test(tcase, a_single_file_gives_the_bytes_of_its_folder, 0, (int)HEP_COUNT_OF(goldens));
    return check_status_run("controlnet", tcase);
}
