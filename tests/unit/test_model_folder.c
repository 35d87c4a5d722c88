/*
 * Model folders: what the tiny models hold (tests/golden/data/models, made by diffusers), old key names, variants,
 * shards, defaults, and each way in which a folder is broken, with the words that name it.
 */
#include "nn/weights/folder.h"
#include "nn/weights/model_folder.h"
#include "nn/weights/safetensors.h"

#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODELS HEP_SOURCE_DIR "/tests/golden/data/models"

static char copy[64]; /* a copy of tiny-sd15 that a test may break */
static struct hep_error error;

static void shell(const char *format, ...)
{
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    ck_assert_int_eq(system(command), 0);
}

static void make_copy(void)
{
    strcpy(copy, "/tmp/hep-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(copy));
    shell("cp -r '%s/tiny-sd15/.' '%s' && chmod -R u+w '%s'", MODELS, copy, copy);
    memset(&error, 0, sizeof error);
}

static void remove_copy(void)
{
    shell("rm -rf '%s'", copy);
}

static struct hep_model *open_model(const char *path)
{
    struct hep_model *model = NULL;
    ck_assert_msg(hep_model_open(path, &model, &error) == HEP_OK, "%s", error.message);
    return model;
}

static struct hep_component *open_component(const struct hep_model *model, const char *name, const char *variant)
{
    struct hep_component *component = NULL;
    ck_assert_msg(hep_model_component(model, name, variant, &component, &error) == HEP_OK, "%s", error.message);
    return component;
}

static void write_text(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", copy, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static bool has(const struct hep_component *component, const char *name, struct hep_weight_info *info)
{
    const struct hep_weight_source *source = hep_component_weights(component);
    return source->ops->find(source, name, info);
}

/* Opening the copy or its unet fails with this code and these words. */
static void expect_refusal(enum hep_status code, const char *word, const char *other)
{
    struct hep_model *model = NULL;
    struct hep_component *component = NULL;
    enum hep_status status = hep_model_open(copy, &model, &error);
    if (status == HEP_OK)
        status = hep_model_component(model, "unet", NULL, &component, &error);
    ck_assert_msg(status == code, "%s: %s", hep_status_name(status), error.message);
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.message, word) && strstr(error.message, other), "%s", error.message);
    hep_component_close(component);
    hep_model_close(model);
}

START_TEST(a_model_says_what_it_holds)
{
    struct hep_model *model = open_model(MODELS "/tiny-sdxl");
    ck_assert_str_eq(hep_model_pipeline(model), "StableDiffusionXLPipeline");
    ck_assert(hep_model_has(model, "text_encoder_2"));
    ck_assert(!hep_model_has(model, "safety_checker"));
    ck_assert_int_eq(hep_model_vae_scale_factor(model), 8);
    ck_assert_int_eq(hep_model_defaults(model)->width, 128);
    ck_assert_double_eq(hep_model_defaults(model)->guidance_scale, 5.0);
    struct hep_component *component = open_component(model, "text_encoder_2", NULL);
    struct hep_weight_info info;
    ck_assert(has(component, "text_projection.weight", &info));
    ck_assert_int_eq(info.dtype, HEP_F16);
    ck_assert_int_eq(hep_component_dtype(component), HEP_F16);
    ck_assert_str_eq(hep_component_file(component, 0), "text_encoder_2/model.safetensors");
    ck_assert_ptr_null(hep_component_file(component, 1));
    hep_component_close(component);
    hep_model_close(model);
}
END_TEST

START_TEST(old_names_of_vae_attention_are_found_under_the_new_ones)
{
    static const char *const names[] = {"to_q", "to_k", "to_v", "to_out.0"};
    struct hep_model *old = open_model(MODELS "/tiny-sd15-inpaint"), *new = open_model(MODELS "/tiny-sd15");
    struct hep_component *a = open_component(old, "vae", NULL), *b = open_component(new, "vae", NULL);
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) { /* both hold the same weights */
        char name[96];
        float x[32 * 32], y[32 * 32];
        snprintf(name, sizeof name, "decoder.mid_block.attentions.0.%s.weight", names[i]);
        const struct hep_weight_source *s = hep_component_weights(a), *t = hep_component_weights(b);
        ck_assert_int_eq(s->ops->read_f32(s, name, x, 32 * 32, &error), HEP_OK);
        ck_assert_int_eq(t->ops->read_f32(t, name, y, 32 * 32, &error), HEP_OK);
        ck_assert_mem_eq(x, y, sizeof x);
    }
    ck_assert_uint_eq(hep_component_weight_count(a), hep_component_weight_count(b));
    hep_component_close(a);
    hep_component_close(b);
    hep_model_close(old);
    hep_model_close(new);
}
END_TEST

START_TEST(text_encoders_without_the_wrappers_name_are_found)
{
    struct hep_model *model = open_model(HEP_SOURCE_DIR "/share/models/emoji");
    struct hep_component *component = open_component(model, "text_encoder", NULL);
    ck_assert(has(component, "text_model.embeddings.token_embedding.weight", NULL));
    ck_assert(has(component, "text_model.final_layer_norm.bias", NULL));
    ck_assert(has(component, "text_model.encoder.layers.3.self_attn.out_proj.weight", NULL));
    ck_assert(!has(component, "embeddings.token_embedding.weight", NULL));
    ck_assert_int_eq(hep_model_vae_scale_factor(model), 4);
    ck_assert_double_eq(hep_model_defaults(model)->guidance_scale, 3.0);
    ck_assert_int_eq(hep_model_defaults(model)->height, 64);
    hep_component_close(component);
    hep_model_close(model);
}
END_TEST

START_TEST(a_variant_is_taken_when_asked_for_or_when_it_is_the_only_one)
{
    shell("cd '%s/unet' && mv diffusion_pytorch_model.safetensors diffusion_pytorch_model.fp16.safetensors", copy);
    struct hep_model *model = open_model(copy);
    struct hep_component *component = open_component(model, "unet", NULL);
    ck_assert_str_eq(hep_component_file(component, 0), "unet/diffusion_pytorch_model.fp16.safetensors");
    hep_component_close(component);
    component = open_component(model, "unet", "fp16");
    hep_component_close(component);
    ck_assert_int_eq(hep_model_component(model, "unet", "bf16", &component, &error), HEP_E_BAD_MODEL);
    ck_assert_ptr_nonnull(strstr(error.message, "diffusion_pytorch_model.bf16.safetensors' is missing"));
    hep_model_close(model);
}
END_TEST

/* Splits the copy's unet into two shards with an index. */
static void make_shards(void)
{
    int folder;
    char path[256];
    struct hep_safetensors *file;
    struct hep_safetensors_source *sources[2];
    size_t counts[2] = {0, 0};
    json_t *index = json_object(), *map = json_object();
    static const char *const names[2] = {"diffusion_pytorch_model-00001-of-00002.safetensors",
                                         "diffusion_pytorch_model-00002-of-00002.safetensors"};
    snprintf(path, sizeof path, "%s/unet", copy);
    ck_assert_int_eq(hep_folder_open(path, &folder, NULL), HEP_OK);
    ck_assert_int_eq(hep_safetensors_open(folder, "diffusion_pytorch_model.safetensors", &file, &error), HEP_OK);
    size_t total = hep_safetensors_count(file);
    for (int s = 0; s < 2; s++)
        sources[s] = calloc(total, sizeof **sources);
    for (size_t i = 0; i < total; i++) {
        const struct hep_safetensors_entry *e = hep_safetensors_at(file, i);
        sources[i % 2][counts[i % 2]++] = (struct hep_safetensors_source){e->name, e->dtype, e->shape, e->data};
        json_object_set_new(map, e->name, json_string(names[i % 2]));
    }
    for (int s = 0; s < 2; s++)
        ck_assert_int_eq(hep_safetensors_write(folder, names[s], sources[s], counts[s], NULL, NULL, &error), HEP_OK);
    json_object_set_new(index, "weight_map", map);
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.safetensors.index.json", copy);
    ck_assert_int_eq(json_dump_file(index, path, 0), 0);
    json_decref(index);
    hep_safetensors_close(file);
    free(sources[0]);
    free(sources[1]);
    close(folder);
    shell("rm '%s/unet/diffusion_pytorch_model.safetensors'", copy);
}

START_TEST(shards_hold_what_the_single_file_held)
{
    struct hep_model *whole = open_model(MODELS "/tiny-sd15");
    make_shards();
    struct hep_model *split = open_model(copy);
    struct hep_component *a = open_component(whole, "unet", NULL), *b = open_component(split, "unet", NULL);
    ck_assert_uint_eq(hep_component_weight_count(a), 684);
    ck_assert_uint_eq(hep_component_weight_count(b), 684);
    ck_assert_uint_eq(hep_component_bytes(a), hep_component_bytes(b));
    for (size_t i = 0; i < 684; i++) {
        struct hep_weight_info x, y;
        ck_assert_str_eq(hep_component_weight_at(a, i, &x), hep_component_weight_at(b, i, &y));
        ck_assert(hep_shape_equal(&x.shape, &y.shape));
    }
    ck_assert_ptr_nonnull(hep_component_file(b, 1));
    hep_component_close(a);
    hep_component_close(b);
    hep_model_close(whole);
    hep_model_close(split);
}
END_TEST

START_TEST(a_missing_shard_is_named)
{
    make_shards();
    shell("rm '%s/unet/diffusion_pytorch_model-00002-of-00002.safetensors'", copy);
    expect_refusal(HEP_E_BAD_MODEL, "unet/diffusion_pytorch_model-00002-of-00002.safetensors", "missing");
}
END_TEST

/* Each: an index, with the words that must name what is wrong. */
static const struct {
    const char *index, *word, *other;
} indexes[] = {
    {"{\"weight_map\":{\"conv_in.bias\":\"../../../etc/passwd\"}}", "etc/passwd", "beside the index"},
    {"{\"weight_map\":{\"conv_in.bias\":\"/etc/passwd.safetensors\"}}", "etc/passwd", "beside the index"},
    {"{\"weight_map\":{\"conv_in.bias\":\"../vae/diffusion_pytorch_model.safetensors\"}}", "../vae",
     "beside the index"},
    {"{\"weight_map\":{\"conv_in.bias\":\"diffusion_pytorch_model.safetensors.index.json\"}}", "index.json",
     "beside the index"}, /* itself */
    {"{\"weight_map\":{\"conv_in.bias\":\"diffusion_pytorch_model.bin\"}}", ".bin", "beside the index"},
    {"{\"weight_map\":{\"nothing.weight\":\"w.safetensors\"}}", "'nothing.weight'", "'unet/w.safetensors'"},
    {"{\"weight_map\":{\"conv_in.bias\":\"w.safetensors\"}}", "'unet/w.safetensors' holds", "does not say"},
    {"{\"weight_map\":{\"conv_in.bias\":5}}", "'conv_in.bias'", "not a string"},
    {"{\"weight_map\":{}}", "index.json", "weight_map"},
    {"{\"weight_map\":[\"w.safetensors\"]}", "index.json", "weight_map"},
    {"{\"metadata\":{}}", "index.json", "weight_map"},
};

START_TEST(an_index_that_lies_or_leads_away_is_refused)
{
    shell("mv '%s/unet/diffusion_pytorch_model.safetensors' '%s/unet/w.safetensors'", copy, copy);
    write_text("unet/diffusion_pytorch_model.safetensors.index.json", indexes[_i].index);
    expect_refusal(HEP_E_BAD_MODEL, indexes[_i].word, indexes[_i].other);
}
END_TEST

START_TEST(a_missing_file_is_named)
{
    shell("rm '%s/unet/diffusion_pytorch_model.safetensors'", copy);
    expect_refusal(HEP_E_BAD_MODEL, "unet/diffusion_pytorch_model.safetensors", "missing");
    shell("rm '%s/unet/config.json'", copy);
    expect_refusal(HEP_E_BAD_MODEL, "unet/config.json", "missing");
    shell("rm '%s/model_index.json'", copy);
    expect_refusal(HEP_E_BAD_MODEL, copy, "model_index.json");
}
END_TEST

START_TEST(a_pickle_is_refused_as_one)
{
    shell("cd '%s/unet' && mv diffusion_pytorch_model.safetensors diffusion_pytorch_model.bin", copy);
    expect_refusal(HEP_E_UNSUPPORTED, "unet/diffusion_pytorch_model.bin", "pickle");
}
END_TEST

START_TEST(a_damaged_file_is_named)
{
    shell("truncate -s 1000000 '%s/unet/diffusion_pytorch_model.safetensors'", copy);
    expect_refusal(HEP_E_BAD_FILE, "unet/diffusion_pytorch_model.safetensors", "bytes of data");
}
END_TEST

START_TEST(an_unknown_class_is_named)
{
    shell("sed -i s/UNet2DConditionModel/Transformer2DModel/ '%s/model_index.json'", copy);
    expect_refusal(HEP_E_UNSUPPORTED, "'unet'", "'Transformer2DModel'");
}
END_TEST

START_TEST(a_weight_that_is_not_finite_is_named)
{
    const struct hep_safetensors_source bad = {"conv_in.bias", HEP_F16, HEP_SHAPE(3), (const uint16_t[]){0, 0x7e00, 0}};
    char path[256];
    int folder;
    snprintf(path, sizeof path, "%s/unet", copy);
    ck_assert_int_eq(hep_folder_open(path, &folder, NULL), HEP_OK);
    ck_assert_int_eq(hep_safetensors_write(folder, "diffusion_pytorch_model.safetensors", &bad, 1, NULL, NULL, &error),
                     HEP_OK);
    close(folder);
    struct hep_model *model = open_model(copy);
    struct hep_component *component = open_component(model, "unet", NULL);
    const struct hep_weight_source *source = hep_component_weights(component);
    float to[3];
    ck_assert_int_eq(source->ops->read_f32(source, "conv_in.bias", to, 3, &error), HEP_E_BAD_MODEL);
    ck_assert_msg(strstr(error.message, "'conv_in.bias' is") && strstr(error.message, "element 1 of 3"), "%s",
                  error.message);
    ck_assert_int_eq(source->ops->read_f32(source, "conv_in.bias", to, 2, &error), HEP_E_BAD_MODEL);
    ck_assert_int_eq(source->ops->read_f32(source, "conv_in.weight", to, 2, &error), HEP_E_NOT_FOUND);
    hep_component_close(component);
    hep_model_close(model);
}
END_TEST

/* heptad.json: text, code, the words that must name it (NULL: it opens). */
static const struct {
    const char *text, *word, *other;
} defaults[] = {
    {"{\"defaults\":{\"num_inference_steps\":7,\"guidance_scale\":1,\"width\":64,\"height\":32,\"scheduler\":\"euler\"}"
     "}",
     NULL, NULL},
    {"{\"defaults\":{\"steps\":7}}", "heptad.json", "'steps'"},
    {"{\"defaults\":{\"num_inference_steps\":0}}", "'num_inference_steps'", "is 0"},
    {"{\"defaults\":{\"num_inference_steps\":2.5}}", "'num_inference_steps'", "integer"},
    {"{\"defaults\":{\"guidance_scale\":\"7\"}}", "'guidance_scale'", "number"},
    {"{\"defaults\":{\"width\":65}}", "65", "multiple of 8"},
    {"{\"defaults\":{\"scheduler\":3}}", "'scheduler'", "string"},
    {"{\"default\":{}}", "'default'", "heptad.json"},
};

START_TEST(defaults_are_read_and_checked)
{
    write_text("heptad.json", defaults[_i].text);
    if (defaults[_i].word) {
        expect_refusal(HEP_E_BAD_MODEL, defaults[_i].word, defaults[_i].other);
        return;
    }
    struct hep_model *model = open_model(copy);
    const struct hep_model_defaults *d = hep_model_defaults(model);
    ck_assert_int_eq(d->num_inference_steps, 7);
    ck_assert_double_eq(d->guidance_scale, 1);
    ck_assert_int_eq(d->width, 64);
    ck_assert_int_eq(d->height, 32);
    ck_assert_str_eq(d->scheduler, "euler");
    hep_model_close(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model folder");
    TCase *good = tcase_create("good"), *broken = tcase_create("a copy");
    tcase_add_test(good, a_model_says_what_it_holds);
    tcase_add_test(good, old_names_of_vae_attention_are_found_under_the_new_ones);
    tcase_add_test(good, text_encoders_without_the_wrappers_name_are_found);
    tcase_add_checked_fixture(broken, make_copy, remove_copy);
    tcase_add_test(broken, a_variant_is_taken_when_asked_for_or_when_it_is_the_only_one);
    tcase_add_test(broken, shards_hold_what_the_single_file_held);
    tcase_add_test(broken, a_missing_shard_is_named);
    tcase_add_loop_test(broken, an_index_that_lies_or_leads_away_is_refused, 0, HEP_COUNT_OF(indexes));
    tcase_add_test(broken, a_missing_file_is_named);
    tcase_add_test(broken, a_pickle_is_refused_as_one);
    tcase_add_test(broken, a_damaged_file_is_named);
    tcase_add_test(broken, an_unknown_class_is_named);
    tcase_add_test(broken, a_weight_that_is_not_finite_is_named);
    tcase_add_loop_test(broken, defaults_are_read_and_checked, 0, (int)HEP_COUNT_OF(defaults));
    suite_add_tcase(suite, good);
    suite_add_tcase(suite, broken);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
