/*
 * What conditioning asks of the text encoders: the context at a clip_skip, with and without the final norm, from no
 * more layers than it needs. Goldens: tests/golden/data/goldens/text (transformers, f64). Run as `test_networks_clip
 * f32|bf16`; HEP_ISA chooses the level.
 */
#include "nn/eval/compare.h"
#include "nn/models/networks.h"
#include "nn/weights/folder.h"
#include "nn/weights/model_folder.h"
#include "nn/weights/safetensors.h"
#include "tests/support/golden_level.h"
#include "tests/support/parity.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data"

static enum hep_dtype dtype = HEP_F32;
static struct hep_error error;

/* Of the README of the goldens. */
static double tolerance(void)
{
    return dtype == HEP_BF16 ? 2e-2 : 5e-6;
}

/* clip_skip counts as web UIs do: 1 is the last layer. */
static const struct context_golden {
    const char *model, *component, *file, *name;
    unsigned outputs;
    int clip_skip;
} goldens[] = {
    {"tiny-sd15", "text_encoder", "tiny-sd15.text_encoder", "last_hidden_state", HEP_CLIP_CONTEXT, 1},
    {"tiny-sd15", "text_encoder", "tiny-sd15.text_encoder", "penultimate_normed", HEP_CLIP_CONTEXT, 2},
    {"tiny-sd2", "text_encoder", "tiny-sd2.text_encoder", "penultimate_normed", HEP_CLIP_CONTEXT, 2},
    {"tiny-sdxl", "text_encoder", "tiny-sdxl.text_encoder", "penultimate", HEP_CLIP_CONTEXT_RAW, 2},
    {"tiny-sdxl", "text_encoder_2", "tiny-sdxl.text_encoder_2", "penultimate", HEP_CLIP_CONTEXT_RAW, 2},
    {"tiny-sdxl", "text_encoder_2", "tiny-sdxl.text_encoder_2", "text_embeds", HEP_CLIP_TEXT_EMBEDS, 0},
    {"tiny-sd15", "text_encoder", "tiny-sd15.text_encoder", "pooler_output", HEP_CLIP_POOLER_OUTPUT, 0},
};

static struct hep_safetensors *open_golden(const char *name)
{
    int folder;
    char path[128];
    struct hep_safetensors *file = NULL;
    snprintf(path, sizeof path, "%s.safetensors", name);
    ck_assert_int_eq(hep_folder_open(DATA "/goldens/text", &folder, &error), HEP_OK);
    ck_assert_msg(hep_safetensors_open(folder, path, &file, &error) == HEP_OK, "%s", error.message);
    close(folder);
    return file;
}

static struct hep_component *open_component(const char *model_name, const char *component_name)
{
    char path[256];
    struct hep_model *model = NULL;
    struct hep_component *component = NULL;
    snprintf(path, sizeof path, DATA "/models/%s", model_name);
    ck_assert_msg(hep_model_open(path, &model, &error) == HEP_OK, "%s", error.message);
    ck_assert_msg(hep_model_component(model, component_name, NULL, &component, &error) == HEP_OK, "%s", error.message);
    hep_model_close(model);
    return component;
}

static struct hep_graph *build(const struct hep_component *component, struct hep_clip_build options)
{
    struct hep_clip_config config;
    struct hep_graph *graph = NULL;
    ck_assert_int_eq(hep_clip_config_read(hep_component_config(component), "config.json", &config, &error), HEP_OK);
    ck_assert_int_eq(hep_graph_create("text_encoder", hep_component_weights(component), &graph, &error), HEP_OK);
    hep_clip_build(graph, &config, &options);
    ck_assert_msg(hep_graph_finish(graph, &error) == HEP_OK, "%s", error.message);
    return graph;
}

/* Copies n floats or ids out of a mapping that need not be aligned. */
static void *copy_of(const struct hep_safetensors *file, const char *name, struct hep_tensor *tensor)
{
    const struct hep_safetensors_entry *entry = hep_safetensors_find(file, name);
    ck_assert_ptr_nonnull(entry);
    void *data = malloc(entry->bytes);
    memcpy(data, entry->data, entry->bytes);
    *tensor = (struct hep_tensor){data, entry->dtype, entry->shape};
    return data;
}

START_TEST(the_context_is_that_of_its_layer)
{
    const struct context_golden *g = &goldens[_i];
    char row[128];
    struct hep_safetensors *file = open_golden(g->file);
    struct hep_component *component = open_component(g->model, g->component);
    struct hep_tensor ids, expected;
    void *ids_data = copy_of(file, "input_ids", &ids), *expected_data = copy_of(file, g->name, &expected);
    struct hep_graph *graph = build(component, (struct hep_clip_build){.batch = ids.shape.dims[0],
                                                                       .tokens = ids.shape.dims[1],
                                                                       .outputs = g->outputs,
                                                                       .clip_skip = g->clip_skip});
    struct hep_network_instance instance;
    ck_assert_msg(hep_network_instance_init(&instance, graph, &(struct hep_plan_options){.dtype = dtype},
                                            hep_component_weights(component), NULL, &error) == HEP_OK,
                  "%s", error.message);
    const char *output;
    enum hep_dtype result_dtype;
    struct hep_shape shape;
    struct hep_difference d;
    ck_assert(hep_plan_output(instance.plan, 0, &output, &result_dtype, &shape));
    ck_assert(!hep_plan_output(instance.plan, 1, &output, &result_dtype, &shape));
    float *result = calloc((size_t)(expected.shape.dims[0] * 77 * 64), sizeof *result);
    struct hep_argument in = {"input_ids", ids}, out = {output, {result, HEP_F32, shape}};
    ck_assert_msg(hep_plan_run(instance.plan, &in, 1, &out, 1, &error) == HEP_OK, "%s", error.message);
    ck_assert_msg(hep_compare(g->name, result, &shape, expected_data, &expected.shape, HEP_COMPARE_WHOLE, &d, &error) ==
                      HEP_OK,
                  "%s", error.message);
    ck_assert_msg(d.finite && d.rel_rms <= tolerance(), "%s: rel_rms %.3g", g->name, d.rel_rms);
    snprintf(row, sizeof row, "%s: %s", g->file, g->name);
    parity_note("Networks", row, dtype, hep_isa_name(hep_isa_level()), d.rel_rms, tolerance());
    free(result);
    free(ids_data);
    free(expected_data);
    hep_network_instance_clear(&instance);
    hep_graph_destroy(graph);
    hep_component_close(component);
    hep_safetensors_close(file);
}
END_TEST

START_TEST(layers_that_are_skipped_are_not_built)
{
    struct hep_component *component = open_component("tiny-sd15", "text_encoder");
    size_t weights[2] = {0, 0};
    for (int skip = 1; skip <= 2; skip++) {
        struct hep_graph *graph = build(component, (struct hep_clip_build){1, 77, HEP_CLIP_CONTEXT, skip, false, {0}});
        while (hep_graph_weight(graph, weights[skip - 1], NULL))
            weights[skip - 1]++;
        hep_graph_destroy(graph);
    }
    ck_assert_uint_eq(weights[0], weights[1] + 16); /* one layer has 16 weights */
    hep_component_close(component);
}
END_TEST

/* The first 20 tokens of a causal encoder do not depend on what follows. */
START_TEST(fewer_tokens_give_the_same_states)
{
    struct hep_component *component = open_component("tiny-sd15", "text_encoder");
    struct hep_safetensors *file = open_golden("tiny-sd15.text_encoder");
    struct hep_tensor ids, expected;
    int32_t *ids_data = copy_of(file, "input_ids", &ids);
    float *expected_data = copy_of(file, "last_hidden_state", &expected), result[20 * 32];
    struct hep_graph *graph =
        build(component, (struct hep_clip_build){1, 20, HEP_CLIP_LAST_HIDDEN_STATE, 0, false, {0}});
    struct hep_network_instance instance;
    ck_assert_msg(hep_network_instance_init(&instance, graph, &(struct hep_plan_options){.dtype = dtype},
                                            hep_component_weights(component), NULL, &error) == HEP_OK,
                  "%s", error.message);
    struct hep_argument in = {"input_ids", {ids_data + 77, HEP_I32, HEP_SHAPE(1, 20)}};
    struct hep_argument out = {"last_hidden_state", {result, HEP_F32, HEP_SHAPE(1, 20, 32)}};
    ck_assert_msg(hep_plan_run(instance.plan, &in, 1, &out, 1, &error) == HEP_OK, "%s", error.message);
    struct hep_shape shape = HEP_SHAPE(1, 20, 32);
    struct hep_difference d;
    ck_assert_int_eq(
        hep_compare("first", result, &shape, expected_data + 77 * 32, &shape, HEP_COMPARE_WHOLE, &d, &error), HEP_OK);
    ck_assert_msg(d.finite && d.rel_rms <= tolerance(), "rel_rms %.3g", d.rel_rms);
    free(ids_data);
    free(expected_data);
    hep_network_instance_clear(&instance);
    hep_graph_destroy(graph);
    hep_component_close(component);
    hep_safetensors_close(file);
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    Suite *suite = suite_create("text encoder");
    TCase *tcase = tcase_create("context");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, the_context_is_that_of_its_layer, 0, (int)HEP_COUNT_OF(goldens));
    tcase_add_test(tcase, layers_that_are_skipped_are_not_built);
    tcase_add_test(tcase, fewer_tokens_give_the_same_states);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
