/*
 * The safety checker against the reference data (tests/golden/data/goldens/safety: transformers and diffusers in f64;
 * the README there has the rule and the limits): image processing, cosines, scores, verdicts. HEP_ISA chooses the
 * level.
 */
#include "common/wire.h"
#include "nn/models/clip_image.h"
#include "nn/models/networks.h"
#include "nn/weights/component.h"
#include "nn/weights/folder.h"
#include "tests/support/check_status.h"
#include "tests/support/golden_level.h"
#include "tests/support/golden_tensors.h"
#include "tests/support/parity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL   HEP_SOURCE_DIR "/tests/golden/data/models/tiny-safety-checker"
#define GOLDENS HEP_SOURCE_DIR "/tests/golden/data/goldens/safety/"

enum { IMAGES = 4, SIDE = 56, WIDTH = 24 };
static const double LIMIT = 1e-5;

static struct hep_clip_image_config image_config(void)
{
    struct hep_clip_image_config config;
    json_t *json = golden_json(MODEL "/preprocessor_config.json");
    ck_assert_ok(hep_clip_image_config_read(json, "preprocessor_config.json", &config, error));
    json_decref(json);
    return config;
}

static double most_apart(const float *a, const float *b, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

START_TEST(an_image_is_processed_as_transformers_does)
{
    static const char *const names[] = {"clip_input", "clip_input_pil"};
    struct golden_tensors *file = golden_tensors_open(GOLDENS "preprocess.safetensors");
    struct hep_clip_image_config config = image_config();
    static float is[3 * SIDE * SIDE];
    size_t count = 0;
    const unsigned char *pixels = golden_tensors_find_u8(file, "image_u8_hwc", &count);
    ck_assert_uint_eq(count, 80 * 96 * 3);
    ck_assert_ok(hep_clip_image(&config, pixels, 80, 96, is, error));
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) {
        const float *should = golden_tensors_find(file, names[i], &count);
        ck_assert_uint_eq(count, HEP_COUNT_OF(is));
        size_t off = 0;
        for (size_t k = 0; k < count; k++)
            off += fabsf(is[k] - should[k]) > 1e-4f;
        printf("%s: most %.4f, %zu of %zu values differ\n", names[i], most_apart(is, should, count), off, count);
        ck_assert_double_le(most_apart(is, should, count), 0.02);
    }
    golden_tensors_close(file);
}
END_TEST

/* A side below the square is enlarged; one far above it is reduced; no weight lies outside. */
START_TEST(a_flat_image_stays_flat_at_any_size)
{
    static const int64_t sizes[][2] = {{8, 8}, {8, 300}, {300, 8}, {56, 56}, {57, 900}, {1000, 999}};
    struct hep_clip_image_config config = image_config();
    static float is[3 * SIDE * SIDE];
    for (size_t i = 0; i < HEP_COUNT_OF(sizes); i++) {
        size_t bytes = (size_t)(sizes[i][0] * sizes[i][1] * 3);
        uint8_t *pixels = malloc(bytes);
        memset(pixels, 200, bytes);
        ck_assert_ok(hep_clip_image(&config, pixels, sizes[i][0], sizes[i][1], is, error));
        for (size_t k = 0; k < HEP_COUNT_OF(is); k++) {
            size_t c = k / (SIDE * SIDE);
            double should = (200.0 / 255 - config.image_mean[c]) / config.image_std[c];
            ck_assert_msg(fabs((double)is[k] - should) < 1e-6, "%d x %d: %g at %zu, not %g", (int)sizes[i][0],
                          (int)sizes[i][1], (double)is[k], k, should);
        }
        free(pixels);
    }
}
END_TEST

START_TEST(a_processor_that_does_something_else_is_refused)
{
    static const struct {
        const char *key, *value;
        enum hep_status code;
    } cases[] = {{"do_resize", "false", HEP_E_UNSUPPORTED},
                 {"resample", "2", HEP_E_UNSUPPORTED},
                 {"do_center_crop", "false", HEP_E_UNSUPPORTED},
                 {"size", "\"x\"", HEP_E_BAD_MODEL},
                 {"size", "40", HEP_E_UNSUPPORTED},
                 {"size", "{\"height\": 56, \"width\": 57}", HEP_E_UNSUPPORTED},
                 {"crop_size", "0", HEP_E_BAD_MODEL},
                 {"image_mean", "[0.5, 0.5]", HEP_E_BAD_MODEL},
                 {"image_std", "[0.5, 0.5, 0]", HEP_E_BAD_MODEL},
                 {"size", "{\"shortest_edge\": 56}", HEP_OK}};
    for (size_t i = 0; i < HEP_COUNT_OF(cases); i++) {
        struct hep_clip_image_config config;
        struct hep_error failure = {0};
        json_t *json = golden_json(MODEL "/preprocessor_config.json");
        json_object_set_new(json, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        ck_assert_msg(hep_clip_image_config_read(json, "p.json", &config, &failure) == cases[i].code, "%s %s: %s",
                      cases[i].key, cases[i].value, failure.message);
        if (cases[i].code != HEP_OK)
            ck_assert_msg(strstr(failure.message, cases[i].key) && strstr(failure.message, "p.json"), "%s",
                          failure.message);
        json_decref(json);
    }
}
END_TEST

/* What the network gives for the goldens' images. */
struct results {
    float embeds[IMAGES * WIDTH], concepts[HEP_SAFETY_CONCEPTS * WIDTH], thresholds[HEP_SAFETY_CONCEPTS];
    float special[HEP_SAFETY_SPECIAL_CONCEPTS * WIDTH], special_thresholds[HEP_SAFETY_SPECIAL_CONCEPTS];
    float pooled[IMAGES * 32];
};

static void run(const struct golden_tensors *file, struct results *r)
{
    const struct hep_network_kind *kind = hep_network_kind_find("safety_checker");
    struct hep_component *component = NULL;
    struct hep_graph *graph = NULL;
    struct hep_network_instance instance;
    union hep_any_config config;
    size_t count = 0;
    int folder;
    ck_assert_ok(hep_folder_open(MODEL, &folder, error));
    ck_assert_ok(hep_component_open(folder, "", "safety_checker", NULL, &component, error));
    close(folder);
    ck_assert_ok(kind->read_config(hep_component_config(component), "config.json", &config, error));
    ck_assert_ok(hep_network_kind_graph(kind, &config, &(struct hep_network_size){.batch = IMAGES},
                                        (struct hep_stages){0}, hep_component_weights(component), &graph, error));
    ck_assert_ok(hep_network_instance_init(&instance, graph, &(struct hep_plan_options){.dtype = HEP_F32},
                                           hep_component_weights(component), NULL, error));
    float *images = malloc(sizeof(float) * IMAGES * 3 * SIDE * SIDE);
    memcpy(images, golden_tensors_find(file, "clip_input", &count), sizeof(float) * IMAGES * 3 * SIDE * SIDE);
    struct hep_argument in = {"clip_input", {images, HEP_F32, HEP_SHAPE(IMAGES, 3, SIDE, SIDE)}};
    struct hep_argument out[] = {
        {"pooled", {r->pooled, HEP_F32, HEP_SHAPE(IMAGES, 32)}},
        {"image_embeds", {r->embeds, HEP_F32, HEP_SHAPE(IMAGES, WIDTH)}},
        {"concept_embeds", {r->concepts, HEP_F32, HEP_SHAPE(HEP_SAFETY_CONCEPTS, WIDTH)}},
        {"concept_embeds_weights", {r->thresholds, HEP_F32, HEP_SHAPE(HEP_SAFETY_CONCEPTS)}},
        {"special_care_embeds", {r->special, HEP_F32, HEP_SHAPE(HEP_SAFETY_SPECIAL_CONCEPTS, WIDTH)}},
        {"special_care_embeds_weights", {r->special_thresholds, HEP_F32, HEP_SHAPE(HEP_SAFETY_SPECIAL_CONCEPTS)}}};
    ck_assert_ok(hep_plan_run(instance.plan, &in, 1, out, HEP_COUNT_OF(out), error));
    free(images);
    hep_network_instance_clear(&instance);
    hep_graph_destroy(graph);
    hep_component_close(component);
}

/* RMS of the difference over the RMS of what it should be. */
static double rel_rms(const double *is, const float *should, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += (is[i] - (double)should[i]) * (is[i] - (double)should[i]);
        size += (double)should[i] * (double)should[i];
    }
    return sqrt(difference / size);
}

static void check_scores(const json_t *expected, const double *scores, int count, int image)
{
    ck_assert_uint_eq(json_array_size(expected), (size_t)count);
    for (int i = 0; i < count; i++) {
        double should = json_number_value(json_array_get(expected, (size_t)i));
        ck_assert_msg(fabs(scores[i] - should) < 1e-9, "image %d: score %d is %g, not %g", image, i, scores[i], should);
    }
}

START_TEST(scores_and_verdicts_are_those_of_diffusers)
{
    static struct results r;
    static double cosines[IMAGES][HEP_SAFETY_CONCEPTS], special[IMAGES][HEP_SAFETY_SPECIAL_CONCEPTS];
    struct golden_tensors *file = golden_tensors_open(GOLDENS "tiny-safety-checker.safetensors");
    json_t *flags = golden_json(GOLDENS "flags.json");
    size_t count = 0;
    run(file, &r);
    for (int i = 0; i < IMAGES; i++) {
        struct hep_safety_verdict verdict;
        json_t *scores = json_array_get(json_object_get(flags, "scores"), (size_t)i);
        hep_safety_cosines(r.embeds + i * WIDTH, r.concepts, HEP_SAFETY_CONCEPTS, WIDTH, cosines[i]);
        hep_safety_cosines(r.embeds + i * WIDTH, r.special, HEP_SAFETY_SPECIAL_CONCEPTS, WIDTH, special[i]);
        hep_safety_judge(special[i], r.special_thresholds, cosines[i], r.thresholds, &verdict);
        check_scores(json_object_get(scores, "special"), verdict.special, HEP_SAFETY_SPECIAL_CONCEPTS, i);
        check_scores(json_object_get(scores, "concepts"), verdict.concepts, HEP_SAFETY_CONCEPTS, i);
        ck_assert_int_eq(verdict.flagged,
                         json_is_true(json_array_get(json_object_get(flags, "has_nsfw_concepts"), (size_t)i)));
    }
    const float *should = golden_tensors_find(file, "cos", &count);
    double of_concepts = rel_rms(&cosines[0][0], should, count);
    should = golden_tensors_find(file, "special_cos", &count);
    double of_special = rel_rms(&special[0][0], should, count);
    printf("cosines: rel_rms %.2e, special ones %.2e\n", of_concepts, of_special);
    parity_note("Safety", "cosines of concepts", HEP_F32, hep_isa_name(hep_isa_level()), of_concepts, LIMIT);
    parity_note("Safety", "cosines of special-care concepts", HEP_F32, hep_isa_name(hep_isa_level()), of_special,
                LIMIT);
    ck_assert_double_le(of_concepts, LIMIT);
    ck_assert_double_le(of_special, LIMIT);
    json_decref(flags);
    golden_tensors_close(file);
}
END_TEST

int main(int argc, char **argv)
{
    enum hep_dtype dtype;
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    TCase *tcase = tcase_create("safety");
    tcase_add_test(tcase, an_image_is_processed_as_transformers_does);
    tcase_add_test(tcase, a_flat_image_stays_flat_at_any_size);
    tcase_add_test(tcase, a_processor_that_does_something_else_is_refused);
    tcase_add_test(tcase, scores_and_verdicts_are_those_of_diffusers);
    return check_status_run("safety", tcase);
}
