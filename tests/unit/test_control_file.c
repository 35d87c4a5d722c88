/*
 * ControlNets in single files, in each layout and type that people have them in, against the folders that they were
 * made from (tests/support/control_file.py): every weight has the same bits, the network the same configuration. And
 * each file that is none, with the words that say so.
 */
#include "nn/models/controlnet.h"
#include "nn/weights/family.h"
#include "nn/weights/folder.h"
#include "nn/weights/model_folder.h"
#include "tests/support/check_status.h"

#include <string.h>
#include <unistd.h>

#define CONTROLNETS HEP_SOURCE_DIR "/tests/golden/data/models/controlnet/"

#define TOOL HEP_SOURCE_DIR "/tests/support/control_file.py"

static char folder[64], path[128];

static void setup(void)
{
    strcpy(folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
}

static void teardown(void)
{
    check_shell("rm -rf '%s'", folder);
}

static void make(const char *name, const char *options)
{
    check_shell("python3 " TOOL " " CONTROLNETS "%s '%s' %s", name, path, options);
}

static struct hep_component *open_component(const char *from)
{
    struct hep_model *model = NULL;
    struct hep_component *component = NULL;
    ck_assert_ok(hep_model_open_component(from, "controlnet", &model, error));
    ck_assert_ok(hep_model_component(model, "controlnet", NULL, &component, error));
    hep_model_close(model);
    return component;
}

/* ---- what is read ------------------------------------------------------------------------------------------------ */
static const struct {
    const char *name, *options;
    enum hep_dtype dtype;
} forms[] = {
    {"tiny-controlnet", "--layout diffusers", HEP_F16},
    {"tiny-controlnet", "--layout original", HEP_F16},
    {"tiny-controlnet", "--layout original --dtype BF16", HEP_BF16},
    {"tiny-controlnet", "--layout bare --dtype F32", HEP_F32},
    {"tiny-controlnet-sdxl", "--layout original", HEP_F16},
    {"tiny-controlnet", "--layout original --add model.diffusion_model.x --add first_stage_model.encoder.x", HEP_F16},
};

/* bf16 was cut off f16's value widened. */
static void expect_values(const struct hep_weight_source *a, const struct hep_weight_source *b, const char *weight,
                          int64_t count, enum hep_dtype dtype)
{
    float *x = malloc(2 * (size_t)count * sizeof *x), *y = x + count;
    ck_assert_ok(a->ops->read_f32(a, weight, x, count, error));
    ck_assert_ok(b->ops->read_f32(b, weight, y, count, error));
    for (int64_t i = 0; i < count && dtype == HEP_BF16; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0xffff0000;
        memcpy(&x[i], &bits, sizeof bits);
    }
    ck_assert_msg(memcmp(x, y, (size_t)count * sizeof *x) == 0, "%s", weight);
    free(x);
}

START_TEST(every_weight_has_the_bits_that_it_has_in_the_folder)
{
    char from[256];
    struct hep_controlnet_config x, y;
    snprintf(from, sizeof from, CONTROLNETS "%s", forms[_i].name);
    make(forms[_i].name, forms[_i].options);
    struct hep_component *a = open_component(from), *b = open_component(path);
    const struct hep_weight_source *source = hep_component_weights(b);
    ck_assert_uint_eq(hep_component_weight_count(a), hep_component_weight_count(b));
    for (size_t i = 0; i < hep_component_weight_count(a); i++) {
        struct hep_weight_info info, other;
        int64_t count;
        const char *weight = hep_component_weight_at(a, i, &info);
        ck_assert_msg(source->ops->find(source, weight, &other), "%s is missing", weight);
        ck_assert_msg(other.dtype == forms[_i].dtype && hep_shape_equal(&info.shape, &other.shape), "%s", weight);
        ck_assert(hep_shape_elements(&info.shape, &count));
        expect_values(hep_component_weights(a), source, weight, count, forms[_i].dtype);
    }
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    ck_assert_ok(hep_controlnet_config_read(hep_component_config(a), "config.json", &x, error));
    ck_assert_ok(hep_controlnet_config_read(hep_component_config(b), "config.json", &y, error));
    ck_assert_mem_eq(&x, &y, sizeof x);
    hep_component_close(a);
    hep_component_close(b);
}
END_TEST

/* ---- what is not ------------------------------------------------------------------------------------------------- */
static const struct {
    const char *layout, *drop, *add; /* add: the name of a scalar */
    enum hep_status status;
    const char *word;
} refusals[] = {
    {"diffusers", NULL, "lora_controlnet", HEP_E_UNSUPPORTED, "Control-LoRA"},
    {"diffusers", NULL, "task_embedding", HEP_E_UNSUPPORTED, "ControlNet-Union"},
    {"diffusers", NULL, "control_add_embedding.linear_1.bias", HEP_E_UNSUPPORTED, "ControlNet-Union"},
    {"diffusers", NULL, "up_blocks.0.x", HEP_E_UNSUPPORTED, "up_blocks.0.x"},
    {"diffusers", "conv_in.weight", NULL, HEP_E_BAD_MODEL, "'conv_in.weight' is missing"},
    {"diffusers", "controlnet_cond_embedding.conv_in.weight", NULL, HEP_E_BAD_MODEL, "conv_in.weight"},
    {"original", NULL, "difference", HEP_E_UNSUPPORTED, "difference"},
    {"original", NULL, "control_model.input_blocks.4.2.x", HEP_E_UNSUPPORTED, "input_blocks.4.2.x"},
    {"original", NULL, "control_model.input_blocks.02.0.in_layers.0.bias", HEP_E_BAD_MODEL, "is in"},
    {"original", "control_model.input_hint_block.0.weight", NULL, HEP_E_BAD_MODEL, "conv_in.weight"},
};

/* Files that hold one key only. */
static const struct {
    const char *key, *word;
} strangers[] = {
    {"lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k.up.0.bias", "ControlNet-LLLite"},
    {"ip_adapter.1.to_k_ip.weight", "IP-Adapter"},
    {"image_proj.proj.weight", "IP-Adapter"},
    {"body.0.in_conv.weight", "T2I-Adapter"},
    {"adapter.body.0.resnets.0.block1.weight", "T2I-Adapter"},
    {"controlnet_blocks.0.weight", "Flux"},
    {"lora_unet_x.lora_up.weight", "LoRA"},
    {"emb_params", "inversion"},
    {"nothing.at.all", "no keys"},
};

static void expect_refusal(enum hep_status status, const char *word)
{
    struct hep_model *model = NULL;
    struct hep_error error = {0};
    enum hep_status got = hep_model_open_component(path, "controlnet", &model, &error);
    ck_assert_msg(got == status && strstr(error.message, word) && strstr(error.message, "a.safetensors"), "%s: %s %s",
                  word, hep_status_name(got), error.message);
    ck_assert_msg(status != HEP_E_UNSUPPORTED || error.hint[0], "%s has no hint", word);
}

/* a.safetensors from LAYOUT.safetensors, without one tensor, with another. */
static void change(const char *layout, const char *drop, const char *add)
{
    enum { TENSORS_MAX = 500 };
    static struct hep_safetensors_source tensors[TENSORS_MAX];
    static const float zero[1];
    struct hep_safetensors *file;
    char name[64];
    size_t count = 0;
    int at;
    ck_assert_ok(hep_folder_open(folder, &at, error));
    snprintf(name, sizeof name, "%s.safetensors", layout);
    ck_assert_ok(hep_safetensors_open(at, name, &file, error));
    for (size_t i = 0; i < hep_safetensors_count(file); i++) {
        const struct hep_safetensors_entry *entry = hep_safetensors_at(file, i);
        if (!drop || strcmp(entry->name, drop) != 0)
            tensors[count++] = (struct hep_safetensors_source){entry->name, entry->dtype, entry->shape, entry->data};
    }
    if (add)
        tensors[count++] = (struct hep_safetensors_source){add, HEP_F32, HEP_SHAPE(1), zero};
    ck_assert_ok(hep_safetensors_write(at, "a.safetensors", tensors, count, NULL, NULL, error));
    hep_safetensors_close(file);
    close(at);
}

START_TEST(a_file_that_is_no_controlnet_says_what_it_is_or_lacks)
{
    static const char *const layouts[] = {"diffusers", "original"};
    for (size_t i = 0; i < HEP_COUNT_OF(layouts); i++)
        check_shell("python3 " TOOL " " CONTROLNETS "tiny-controlnet '%s/%s.safetensors' --layout %s", folder,
                    layouts[i], layouts[i]);
    for (size_t i = 0; i < HEP_COUNT_OF(refusals); i++) {
        change(refusals[i].layout, refusals[i].drop, refusals[i].add);
        expect_refusal(refusals[i].status, refusals[i].word);
    }
}
END_TEST

START_TEST(other_files_of_such_folders_are_refused_by_name)
{
    static const float zero[1];
    int at;
    const struct hep_safetensors_source tensor = {strangers[_i].key, HEP_F32, HEP_SHAPE(1), zero};
    struct hep_safetensors *file = NULL;
    const struct hep_family *family;
    enum hep_model_kind kind;
    ck_assert_ok(hep_folder_open(folder, &at, error));
    ck_assert_ok(hep_safetensors_write(at, "a.safetensors", &tensor, 1, NULL, NULL, error));
    expect_refusal(HEP_E_UNSUPPORTED, strangers[_i].word);
    ck_assert_ok(hep_safetensors_open(at, "a.safetensors", &file, error));
    struct hep_error error = {0}; /* the same words where it lies among other files */
    ck_assert_int_eq(hep_family_recognise(file, &family, &kind, &error), HEP_E_UNSUPPORTED);
    ck_assert_msg(strstr(error.message, strangers[_i].word), "%s", error.message);
    hep_safetensors_close(file);
    close(at);
}
END_TEST

START_TEST(a_whole_model_is_told)
{
    check_shell("cp " HEP_SOURCE_DIR "/tests/golden/data/single-file/tiny-sd15.safetensors '%s'", path);
    expect_refusal(HEP_E_UNSUPPORTED, "whole model");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("control_file");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, every_weight_has_the_bits_that_it_has_in_the_folder, 0, HEP_COUNT_OF(forms));
    tcase_add_test(tcase, a_file_that_is_no_controlnet_says_what_it_is_or_lacks);
    tcase_add_loop_test(tcase, other_files_of_such_folders_are_refused_by_name, 0, HEP_COUNT_OF(strangers));
    tcase_add_test(tcase, a_whole_model_is_told);
    return check_status_run("control_file", tcase);
}
