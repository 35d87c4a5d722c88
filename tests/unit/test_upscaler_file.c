/*
 * Upscalers of one file: what their names and shapes say, the old names of every scale, and each way in which a file is
 * refused, with the words that name it.
 */
#include "nn/models/networks.h"
#include "nn/weights/component.h"
#include "nn/weights/folder.h"
#include "nn/weights/safetensors.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES HEP_SOURCE_DIR "/tests/golden/data/models/tiny-esrgan"

enum { WEIGHTS_MAX = 128 };

static struct hep_error error;
static char folder_path[64];
static int folder = -1;

/* A file to be: weights of zeros. */
static struct hep_safetensors_source weights[WEIGHTS_MAX];
static char names[WEIGHTS_MAX][64];
static size_t weight_count;

static void setup(void)
{
    strcpy(folder_path, "/tmp/hep-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder_path));
    ck_assert_int_eq(hep_folder_open(folder_path, &folder, &error), HEP_OK);
    memset(&error, 0, sizeof error);
    weight_count = 0;
}

static void teardown(void)
{
    char command[128];
    close(folder);
    snprintf(command, sizeof command, "rm -rf '%s'", folder_path);
    ck_assert_int_eq(system(command), 0);
}

static void add(const char *name, struct hep_shape shape)
{
    static const uint16_t zeros[16 * 48 * 9];
    ck_assert_uint_lt(weight_count, WEIGHTS_MAX);
    snprintf(names[weight_count], sizeof names[0], "%s", name);
    weights[weight_count] = (struct hep_safetensors_source){names[weight_count], HEP_F16, shape, zeros};
    weight_count++;
}

/* A convolution of 3 × 3 from in to out channels. */
static void add_convolution(const char *name, int64_t in, int64_t out)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    add(full, HEP_SHAPE(out, in, 3, 3));
    snprintf(full, sizeof full, "%s.bias", name);
    add(full, HEP_SHAPE(out));
}

/* One block of 8 features and growth 4. format: "model.1.sub.0.RDB%d.conv%d.0". */
static void add_block(const char *format)
{
    for (int dense = 1; dense <= 3; dense++)
        for (int i = 1; i <= 5; i++) {
            char name[64];
            snprintf(name, sizeof name, format, dense, i); /* NOLINT */
            add_convolution(name, 8 + 4 * (i - 1), i == 5 ? 8 : 4);
        }
}

static enum hep_status open_written(struct hep_component **component)
{
    ck_assert_msg(hep_safetensors_write(folder, "it.safetensors", weights, weight_count, NULL, NULL, &error) == HEP_OK,
                  "%s", error.message);
    return hep_component_open_file(folder, "it.safetensors", "upscaler", component, &error);
}

/* The config, after the network's graph was built against the file. */
static struct hep_rrdbnet_config config_of(struct hep_component *component)
{
    const struct hep_network_kind *kind = hep_network_kind_find("upscaler");
    union hep_any_config config;
    struct hep_graph *graph = NULL;
    struct hep_network_size size = {.batch = 1, .height = 8, .width = 8};
    ck_assert_msg(kind->read_config(hep_component_config(component), "it", &config, &error) == HEP_OK, "%s",
                  error.message);
    ck_assert_msg(hep_network_kind_graph(kind, &config, &size, (struct hep_stages){0}, hep_component_weights(component),
                                         &graph, &error) == HEP_OK,
                  "%s", error.message);
    hep_graph_destroy(graph);
    hep_component_close(component);
    return config.rrdbnet;
}

START_TEST(the_tiny_files_say_what_they_are)
{
    static const struct {
        const char *file;
        int unshuffle;
        int64_t scale;
    } rows[] = {{"tiny-esrgan-x4.safetensors", 1, 4},
                {"tiny-esrgan-x4-old-layout.safetensors", 1, 4},
                {"tiny-esrgan-x2.safetensors", 2, 2}};
    struct hep_component *component;
    int files;
    ck_assert_int_eq(hep_folder_open(FILES, &files, &error), HEP_OK);
    ck_assert_msg(hep_component_open_file(files, rows[_i].file, "upscaler", &component, &error) == HEP_OK, "%s",
                  error.message);
    struct hep_rrdbnet_config config = config_of(component);
    ck_assert_int_eq(config.num_in_ch, 3);
    ck_assert_int_eq(config.num_out_ch, 3);
    ck_assert_int_eq(config.num_feat, 16);
    ck_assert_int_eq(config.num_grow_ch, 4);
    ck_assert_int_eq(config.num_block, 2);
    ck_assert_int_eq(config.doublings, 2);
    ck_assert_int_eq(config.unshuffle, rows[_i].unshuffle);
    ck_assert_int_eq(hep_rrdbnet_scale(&config), rows[_i].scale);
    close(files);
}
END_TEST

/* Numbers of the convolutions behind the blocks, as the 2018 code gives them for each scale. */
static const struct old_layout {
    int doublings, ups[3], hr, last;
} old_layouts[] = {{0, {0}, 2, 4}, {1, {3}, 5, 7}, {2, {3, 6}, 8, 10}, {3, {3, 6, 9}, 11, 13}};

START_TEST(old_names_of_every_scale_are_understood)
{
    const struct old_layout *layout = &old_layouts[_i];
    struct hep_component *component;
    char name[32];
    add_convolution("model.0", 3, 8);
    add_block("model.1.sub.0.RDB%d.conv%d.0");
    add_convolution("model.1.sub.1", 8, 8);
    for (int i = 0; i < layout->doublings; i++) {
        snprintf(name, sizeof name, "model.%d", layout->ups[i]);
        add_convolution(name, 8, 8);
    }
    snprintf(name, sizeof name, "model.%d", layout->hr);
    add_convolution(name, 8, 8);
    snprintf(name, sizeof name, "model.%d", layout->last);
    add_convolution(name, 8, 3);
    ck_assert_msg(open_written(&component) == HEP_OK, "%s", error.message);
    struct hep_rrdbnet_config config = config_of(component);
    ck_assert_int_eq(config.doublings, layout->doublings);
    ck_assert_int_eq(hep_rrdbnet_scale(&config), 1 << layout->doublings);
    ck_assert_int_eq(config.num_block, 1);
}
END_TEST

/* A file in the new layout, as training saves it, with conv_first of so many channels. */
static void add_network(const char *prefix, int64_t in)
{
    static const char *const plain[] = {"conv_body", "conv_up1", "conv_up2", "conv_hr"};
    char name[64];
    snprintf(name, sizeof name, "%sconv_first", prefix);
    add_convolution(name, in, 8);
    snprintf(name, sizeof name, "%sbody.0.rdb%%d.conv%%d", prefix);
    add_block(name);
    for (size_t i = 0; i < HEP_COUNT_OF(plain); i++) {
        snprintf(name, sizeof name, "%s%s", prefix, plain[i]);
        add_convolution(name, 8, 8);
    }
    snprintf(name, sizeof name, "%sconv_last", prefix);
    add_convolution(name, 8, 3);
}

START_TEST(prefixes_of_training_are_dropped_and_the_input_says_the_scale)
{
    static const struct {
        const char *prefix;
        int64_t in, scale;
    } rows[] = {{"params_ema.", 3, 4}, {"params.", 12, 2}, {"module.", 48, 1}};
    struct hep_component *component;
    add_network(rows[_i].prefix, rows[_i].in);
    ck_assert_msg(open_written(&component) == HEP_OK, "%s", error.message);
    struct hep_rrdbnet_config config = config_of(component);
    ck_assert_int_eq(hep_rrdbnet_scale(&config), rows[_i].scale);
}
END_TEST

static void expect(enum hep_status status, enum hep_status code, const char *words)
{
    ck_assert_int_eq(status, code);
    ck_assert_msg(strstr(error.message, words) != NULL, "%s", error.message);
}

START_TEST(other_networks_are_refused_by_a_name_of_theirs)
{
    struct hep_component *component;
    add_convolution("body.0", 3, 8); /* SRVGGNetCompact */
    expect(open_written(&component), HEP_E_UNSUPPORTED, "conv_first.weight");
    ck_assert_ptr_nonnull(strstr(error.hint, "Real-ESRGAN"));
    weight_count = 0;
    add_network("", 3);
    add("body.0.rdb1.conv1x1.weight", HEP_SHAPE(4, 8, 1, 1)); /* ESRGAN+ */
    expect(open_written(&component), HEP_E_UNSUPPORTED, "body.0.rdb1.conv1x1.weight");
}
END_TEST

START_TEST(a_file_that_does_not_fit_itself_is_refused)
{
    struct hep_component *component;
    add_network("", 5);
    expect(open_written(&component), HEP_E_BAD_MODEL, "conv_first takes 5 channels");
    weight_count = 0;
    add_network("", 3);
    add_convolution("body.2.rdb1.conv1", 8, 4);
    expect(open_written(&component), HEP_E_BAD_MODEL, "32 weights in 3 blocks");
}
END_TEST

START_TEST(a_pickle_is_refused_with_the_way_to_convert_it)
{
    struct hep_component *component;
    expect(hep_component_open_file(folder, "RealESRGAN_x4plus.pth", "upscaler", &component, &error), HEP_E_UNSUPPORTED,
           "can run code");
    ck_assert_ptr_nonnull(strstr(error.hint, "pickle-to-safetensors"));
    expect(hep_component_open_file(folder, "none.safetensors", "upscaler", &component, &error), HEP_E_NOT_FOUND,
           "none.safetensors");
    expect(hep_component_open_file(folder, "none.safetensors", "unet", &component, &error), HEP_E_UNSUPPORTED, "unet");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upscaler files");
    TCase *tcase = tcase_create("files");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, the_tiny_files_say_what_they_are, 0, 3);
    tcase_add_loop_test(tcase, old_names_of_every_scale_are_understood, 0, (int)HEP_COUNT_OF(old_layouts));
    tcase_add_loop_test(tcase, prefixes_of_training_are_dropped_and_the_input_says_the_scale, 0, 3);
    tcase_add_test(tcase, other_networks_are_refused_by_a_name_of_theirs);
    tcase_add_test(tcase, a_file_that_does_not_fit_itself_is_refused);
    tcase_add_test(tcase, a_pickle_is_refused_with_the_way_to_convert_it);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
