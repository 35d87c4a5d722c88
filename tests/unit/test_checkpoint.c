/*
 * Single files: how a family is recognised, what is read beside a file, fp8 weights, VAEs from elsewhere, and each way
 * in which a file is no model, with the words that say so. Files are made from those of tests/golden/data/single-file,
 * which tests/golden/test_single_file.c compares with their folders.
 */
#include "nn/weights/checkpoint.h"
#include "nn/weights/folder.h"
#include "nn/weights/model_folder.h"
#include "tests/support/check_status.h"

#include "common/wire.h"

#include <string.h>
#include <unistd.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data/"
enum { TENSORS_MAX = 2000 };

static char folder[64], path[128];
static int descriptor = -1;

static void setup(void)
{
    strcpy(folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    ck_assert_ok(hep_folder_open(folder, &descriptor, error));
}

static void teardown(void)
{
    close(descriptor);
    check_shell("rm -rf '%s'", folder);
}

static void write_text(const char *name, const char *text)
{
    char file[160];
    snprintf(file, sizeof file, "%s/%s", folder, name);
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
}

/* ---- making files ------------------------------------------------------------------------------------------------ */
/* Changes one tensor of the copy; false leaves it out. */
typedef bool edit(struct hep_safetensors_source *tensor);

/* a.safetensors from one of the goldens, without its metadata. more: names of scalars to add. */
static void make_file(const char *golden, edit *change, const char *const *more)
{
    struct hep_safetensors *file;
    static struct hep_safetensors_source tensors[TENSORS_MAX];
    static const float zero[1];
    size_t count = 0;
    int data;
    ck_assert_ok(hep_folder_open(DATA "single-file", &data, error));
    ck_assert_ok(hep_safetensors_open(data, golden, &file, error));
    for (size_t i = 0; i < hep_safetensors_count(file); i++) {
        const struct hep_safetensors_entry *entry = hep_safetensors_at(file, i);
        tensors[count] = (struct hep_safetensors_source){entry->name, entry->dtype, entry->shape, entry->data};
        count += !change || change(&tensors[count]);
    }
    for (; more && *more; more++)
        tensors[count++] = (struct hep_safetensors_source){*more, HEP_F32, HEP_SHAPE(1), zero};
    ck_assert_ok(hep_safetensors_write(descriptor, "a.safetensors", tensors, count, NULL, NULL, error));
    hep_safetensors_close(file);
    close(data);
}

static bool is_of(const struct hep_safetensors_source *tensor, const char *prefix)
{
    return strncmp(tensor->name, prefix, strlen(prefix)) == 0;
}

static json_t *scheduler_of(const char *file)
{
    struct hep_model *model;
    json_t *config;
    ck_assert_ok(hep_model_open(file, &model, error));
    ck_assert_ok(hep_model_scheduler_config(model, &config, error));
    hep_model_close(model);
    return config;
}

static void expect_prediction(const char *type)
{
    json_t *config = scheduler_of(path);
    ck_assert_str_eq(hep_json_str(config, "prediction_type", ""), type);
    json_decref(config);
}

static int width_of(const char *file)
{
    struct hep_model *model;
    ck_assert_ok(hep_model_open(file, &model, error));
    int width = hep_model_defaults(model)->width;
    hep_model_close(model);
    return width;
}

/* ---- what a file says of itself ---------------------------------------------------------------------------------- */
START_TEST(metadata_keys_and_what_lies_beside_a_file_say_what_it_predicts)
{
    static const char *const keys[] = {"v_pred", "ztsnr", NULL};
    json_t *config = scheduler_of(DATA "single-file/tiny-sd2.safetensors"); /* modelspec.architecture */
    ck_assert_str_eq(hep_json_str(config, "prediction_type", ""), "v_prediction");
    json_decref(config);
    make_file("tiny-sdxl.safetensors", NULL, NULL);
    expect_prediction("epsilon");
    make_file("tiny-sdxl.safetensors", NULL, keys);
    config = scheduler_of(path);
    ck_assert_str_eq(hep_json_str(config, "prediction_type", ""), "v_prediction");
    ck_assert(hep_json_bool(config, "rescale_betas_zero_snr", false));
    ck_assert_str_eq(hep_json_str(config, "timestep_spacing", ""), "trailing");
    json_decref(config);
    make_file("tiny-sd15.safetensors", NULL, NULL);
    expect_prediction("epsilon");
    write_text("a.yaml", "model:\n  params:\n    parameterization: \"eps\"\n");
    expect_prediction("epsilon");
    write_text("a.yaml", "model:\n  params:\n    parameterization: \"v\"\n");
    expect_prediction("v_prediction");
    write_text("a.heptad.json",
               "{\"scheduler\": {\"prediction_type\": \"epsilon\", \"_class_name\": \"DDIMScheduler\"}, "
               "\"defaults\": {\"num_inference_steps\": 4}}");
    config = scheduler_of(path);
    ck_assert_str_eq(hep_json_str(config, "prediction_type", ""), "epsilon");
    ck_assert_str_eq(hep_json_str(config, "_class_name", ""), "DDIMScheduler");
    json_decref(config);
    struct hep_model *model;
    ck_assert_ok(hep_model_open(path, &model, error));
    ck_assert_int_eq(hep_model_defaults(model)->num_inference_steps, 4);
    hep_model_close(model);
}
END_TEST

static _Float16 wide[32];
static bool widen_bias(struct hep_safetensors_source *tensor)
{
    if (strcmp(tensor->name, "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias") == 0)
        tensor->data = wide;
    return true;
}

START_TEST(the_spread_of_a_bias_tells_what_sd2_predicts)
{
    for (size_t i = 0; i < HEP_COUNT_OF(wide); i++)
        wide[i] = (_Float16)(i % 2 ? 0.01 : -0.01);
    make_file("tiny-sd2.safetensors", widen_bias, NULL);
    expect_prediction("epsilon");
    ck_assert_int_eq(width_of(path), 512);
    for (size_t i = 0; i < HEP_COUNT_OF(wide); i++)
        wide[i] = (_Float16)(i % 2 ? 0.5 : -0.5);
    make_file("tiny-sd2.safetensors", widen_bias, NULL);
    expect_prediction("v_prediction");
    ck_assert_int_eq(width_of(path), 768);
}
END_TEST

static bool nine_channels(struct hep_safetensors_source *tensor)
{
    static const _Float16 weight[16 * 9 * 9];
    if (strcmp(tensor->name, "model.diffusion_model.input_blocks.0.0.weight") == 0) {
        tensor->shape = HEP_SHAPE(16, 9, 3, 3);
        tensor->data = weight;
    }
    return true;
}

START_TEST(an_inpainting_model_is_one_by_its_channels)
{
    struct hep_model *model;
    json_t *config;
    make_file("tiny-sd2.safetensors", nine_channels, NULL);
    expect_prediction("epsilon"); /* the published one of SD 2 does, whatever the spread */
    ck_assert_ok(hep_model_open(path, &model, error));
    ck_assert_ok(hep_model_read_json(model, "unet/config.json", &config, error));
    ck_assert_int_eq(hep_json_int(config, "in_channels", 0), 9);
    json_decref(config);
    hep_model_close(model);
}
END_TEST

START_TEST(a_guidance_embedding_is_in_the_configuration_and_so_is_refused)
{
    static const char *const key[] = {"model.diffusion_model.time_embed.cond_proj.weight", NULL};
    struct hep_model *model;
    json_t *config;
    make_file("tiny-sd15.safetensors", NULL, key);
    ck_assert_ok(hep_model_open(path, &model, error));
    ck_assert_ok(hep_model_read_json(model, "unet/config.json", &config, error));
    ck_assert_int_eq(hep_json_int(config, "time_cond_proj_dim", 0), 1);
    json_decref(config);
    hep_model_close(model);
}
END_TEST

static bool refiner(struct hep_safetensors_source *tensor)
{
    static const _Float16 label[64 * 80];
    static char names[TENSORS_MAX][96];
    static size_t named;
    if (is_of(tensor, "conditioner.embedders.0."))
        return false;
    if (is_of(tensor, "conditioner.embedders.1.")) {
        char *name = names[named++];
        snprintf(name, sizeof names[0], "conditioner.embedders.0.%s",
                 tensor->name + strlen("conditioner.embedders.1."));
        tensor->name = name;
    }
    if (strcmp(tensor->name, "model.diffusion_model.label_emb.0.0.weight") == 0) {
        tensor->shape = HEP_SHAPE(64, 80); /* 40 and 5 sinusoids of 8 */
        tensor->data = label;
    }
    return true;
}

START_TEST(a_refiner_is_recognised_with_its_only_text_encoder)
{
    HEP_CLEANUP(hep_checkpoint_close) struct hep_checkpoint *checkpoint = NULL;
    HEP_CLEANUP(hep_component_close) struct hep_component *encoder = NULL;
    struct hep_model *model = NULL;
    HEP_CLEANUP(hep_component_close) struct hep_component *network = NULL;
    make_file("tiny-sdxl.safetensors", refiner, NULL);
    ck_assert_ok(hep_checkpoint_open(path, NULL, NULL, &checkpoint, error));
    ck_assert_str_eq(hep_checkpoint_family(checkpoint), "sdxl_refiner");
    ck_assert_ok(hep_checkpoint_component(checkpoint, "text_encoder_2", &encoder, error));
    ck_assert_ptr_nonnull(
        hep_weight_table_find(hep_component_table(encoder), "text_model.encoder.layers.2.self_attn.v_proj.bias"));
    const json_t *unet = hep_checkpoint_json(checkpoint, "unet/config.json");
    ck_assert_int_eq(hep_json_int(unet, "addition_time_embed_dim", 0), 8);
    ck_assert_ok(hep_model_open(path, &model, error));
    ck_assert(hep_model_has(model, "tokenizer_2") && !hep_model_has(model, "tokenizer"));
    ck_assert_ok(hep_model_component(model, "unet", NULL, &network, error)); /* it is told what the index says */
    ck_assert(hep_json_bool(hep_component_config(network), "requires_aesthetics_score", false));
    hep_model_close(model);
}
END_TEST

/* ---- float types ------------------------------------------------------------------------------------------------- */
static uint8_t *narrow[TENSORS_MAX];
static size_t narrowed;

/* The upper byte of f16 is E5M2, cut off. */
static bool to_e5m2(struct hep_safetensors_source *tensor)
{
    int64_t count = 0;
    if (tensor->dtype != HEP_F16)
        return true;
    ck_assert(hep_shape_elements(&tensor->shape, &count));
    uint8_t *bytes = narrow[narrowed++] = malloc((size_t)count);
    for (int64_t i = 0; i < count; i++)
        bytes[i] = ((const uint8_t *)tensor->data)[2 * i + 1];
    tensor->dtype = HEP_F8_E5M2;
    tensor->data = bytes;
    return true;
}

START_TEST(weights_in_fp8_are_widened_exactly)
{
    static const char name[] = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight";
    struct hep_model *model, *whole;
    struct hep_component *unet, *reference;
    float got[32 * 32], f16[32 * 32];
    narrowed = 0;
    make_file("tiny-sd15.safetensors", to_e5m2, NULL);
    while (narrowed > 0)
        free(narrow[--narrowed]);
    ck_assert_ok(hep_model_open(path, &model, error));
    ck_assert_ok(hep_model_open(DATA "models/tiny-sd15", &whole, error));
    ck_assert_ok(hep_model_component(model, "unet", NULL, &unet, error));
    ck_assert_ok(hep_model_component(whole, "unet", NULL, &reference, error));
    ck_assert_int_eq(hep_component_dtype(unet), HEP_F8_E5M2);
    const struct hep_weight_source *a = hep_component_weights(unet), *b = hep_component_weights(reference);
    ck_assert_ok(a->ops->read_f32(a, name, got, 32 * 32, error));
    ck_assert_ok(b->ops->read_f32(b, name, f16, 32 * 32, error));
    for (size_t i = 0; i < HEP_COUNT_OF(got); i++)
        ck_assert(got[i] == hep_f16_to_f32(hep_f32_to_f16(f16[i]) & 0xff00));
    hep_component_close(unet);
    hep_component_close(reference);
    hep_model_close(model);
    hep_model_close(whole);
}
END_TEST

/* ---- another VAE ------------------------------------------------------------------------------------------------- */
static bool vae_only(struct hep_safetensors_source *tensor)
{
    return is_of(tensor, "first_stage_model.");
}

static bool vae_without_prefix(struct hep_safetensors_source *tensor)
{
    if (!is_of(tensor, "first_stage_model."))
        return false;
    tensor->name += strlen("first_stage_model.");
    return true;
}

/* The VAE's weights of the model are those of the tiny SDXL's folder, its scale the model's own. */
static void expect_sdxl_vae(struct hep_model *model, double scale)
{
    static const char name[] = "decoder.mid_block.attentions.0.to_q.weight";
    struct hep_model *other;
    struct hep_component *vae, *reference;
    float a[24 * 24], b[24 * 24];
    ck_assert_ok(hep_model_open(DATA "models/tiny-sdxl", &other, error));
    ck_assert_ok(hep_model_component(model, "vae", NULL, &vae, error));
    ck_assert_ok(hep_model_component(other, "vae", NULL, &reference, error));
    const struct hep_weight_source *x = hep_component_weights(vae), *y = hep_component_weights(reference);
    ck_assert_ok(x->ops->read_f32(x, name, a, 24 * 24, error));
    ck_assert_ok(y->ops->read_f32(y, name, b, 24 * 24, error));
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_double_eq(hep_json_num(hep_component_config(vae), "scaling_factor", 0), scale);
    hep_component_close(vae);
    hep_component_close(reference);
    hep_model_close(other);
}

START_TEST(a_vae_comes_from_a_file_or_a_folder_of_its_own)
{
    edit *const edits[] = {vae_only, vae_without_prefix};
    struct hep_model *model;
    for (size_t i = 0; i < HEP_COUNT_OF(edits); i++) {
        make_file("tiny-sdxl.safetensors", edits[i], NULL);
        ck_assert_ok(hep_model_open(DATA "models/tiny-sd15", &model, error));
        ck_assert_ok(hep_model_use_vae(model, path, error));
        expect_sdxl_vae(model, 0.18215); /* what its UNet was trained with */
        hep_model_close(model);
    }
    check_shell("cp '" DATA "models/tiny-sdxl/vae/diffusion_pytorch_model.safetensors' '%s'", path);
    ck_assert_ok(hep_model_open(DATA "single-file/tiny-sd15.safetensors", &model, error)); /* diffusers' names */
    ck_assert_ok(hep_model_use_vae(model, path, error));
    expect_sdxl_vae(model, 0.18215);
    hep_model_close(model);
    ck_assert_ok(hep_model_open(DATA "single-file/tiny-sd15.safetensors", &model, error));
    ck_assert_ok(hep_model_use_vae(model, DATA "models/tiny-sdxl/vae", error));
    expect_sdxl_vae(model, 0.13025); /* a folder says its own */
    hep_model_close(model);
    ck_assert_ok(hep_model_open(DATA "models/tiny-sd15", &model, error));
    make_file("tiny-sd15.safetensors", NULL, NULL);
    check_shell("rm '%s' && cp '" DATA "models/tiny-sd15/unet/diffusion_pytorch_model.safetensors' '%s'", path, path);
    ck_assert_fails(hep_model_use_vae(model, path, error), HEP_E_BAD_MODEL);
    hep_model_close(model);
}
END_TEST

static bool no_vae(struct hep_safetensors_source *tensor)
{
    return !is_of(tensor, "first_stage_model.");
}

START_TEST(a_file_without_a_vae_is_a_model_that_takes_one)
{
    static const char *const vaes[] = {DATA "models/tiny-sdxl/vae", DATA "single-file/tiny-sdxl.safetensors"};
    static const double scales[] = {0.13025, 0.18215}; /* a folder says its own, else it is the model's family's */
    struct hep_component *vae = NULL;
    struct hep_model *model;
    make_file("tiny-sd15.safetensors", no_vae, NULL);
    for (size_t i = 0; i < HEP_COUNT_OF(vaes); i++) {
        ck_assert_ok(hep_model_open(path, &model, error));
        ck_assert(!hep_model_has(model, "vae"));
        ck_assert_int_eq(hep_model_vae_scale_factor(model), 8);
        ck_assert_int_eq(hep_model_defaults(model)->width, 512);
        ck_assert_fails(hep_model_component(model, "vae", NULL, &vae, error), HEP_E_BAD_MODEL);
        ck_assert_ok(hep_model_use_vae(model, vaes[i], error));
        ck_assert(hep_model_has(model, "vae"));
        expect_sdxl_vae(model, scales[i]);
        hep_model_close(model);
    }
}
END_TEST

/* ---- what is no model -------------------------------------------------------------------------------------------- */
static bool no_text(struct hep_safetensors_source *tensor)
{
    return !is_of(tensor, "cond_stage_model.");
}
static bool nothing(struct hep_safetensors_source *tensor)
{
    (void)tensor;
    return false;
}
static bool no_conv_in(struct hep_safetensors_source *tensor)
{
    return strcmp(tensor->name, "model.diffusion_model.input_blocks.0.0.weight") != 0;
}
static bool flat_conv_in(struct hep_safetensors_source *tensor)
{
    if (strcmp(tensor->name, "model.diffusion_model.input_blocks.0.0.weight") == 0)
        tensor->shape = HEP_SHAPE(16 * 4 * 9);
    return true;
}
static bool uneven_qkv(struct hep_safetensors_source *tensor)
{
    if (strcmp(tensor->name, "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight") == 0)
        tensor->shape = HEP_SHAPE(160, 30);
    return true;
}
static bool flat_projection(struct hep_safetensors_source *tensor)
{
    if (strcmp(tensor->name, "cond_stage_model.model.text_projection") == 0)
        tensor->shape = HEP_SHAPE(1600);
    return true;
}
static bool far_blocks(struct hep_safetensors_source *tensor)
{
    if (strstr(tensor->name, "decoder.up.3.block.0.conv1.bias"))
        tensor->name = "first_stage_model.decoder.up.300.block.0.conv1.bias";
    return true;
}
static bool twice(struct hep_safetensors_source *tensor)
{
    if (strcmp(tensor->name, "model.diffusion_model.input_blocks.1.0.in_layers.0.bias") == 0)
        tensor->name = "model.diffusion_model.input_blocks.02.0.in_layers.0.bias";
    return true;
}

static const struct {
    const char *golden;
    edit *change;
    const char *more[2];
    enum hep_status status;
    const char *words[2];
} refusals[] = {
    {"tiny-sd15.safetensors", no_text, {NULL}, HEP_E_UNSUPPORTED, {"a.safetensors", "without its text encoders"}},
    {"tiny-sd15.safetensors", no_conv_in, {NULL}, HEP_E_BAD_MODEL, {"unet", "'conv_in.weight' is missing"}},
    {"tiny-sd15.safetensors", flat_conv_in, {NULL}, HEP_E_BAD_MODEL, {"unet", "conv_in.weight"}},
    {"tiny-sd2.safetensors", uneven_qkv, {NULL}, HEP_E_BAD_MODEL, {"in_proj_weight", "q, k and v"}},
    {"tiny-sd2.safetensors", flat_projection, {NULL}, HEP_E_BAD_MODEL, {"text_projection", "no matrix"}},
    {"tiny-sd15.safetensors", far_blocks, {NULL}, HEP_E_BAD_MODEL, {"a.safetensors", "numbers its blocks"}},
    {"tiny-sd15.safetensors", twice, {NULL}, HEP_E_BAD_MODEL, {"down_blocks.0.resnets.1.norm1.bias", "is in"}},
    {"tiny-sd15.safetensors", NULL, {"scaled_fp8"}, HEP_E_UNSUPPORTED, {"a.safetensors", "scales of their own"}},
    {"tiny-sd15.safetensors", nothing, {NULL}, HEP_E_UNSUPPORTED, {"a.safetensors", "no keys of a model"}},
    {"tiny-sd15.safetensors",
     nothing,
     {"model.diffusion_model.joint_blocks.0.x"},
     HEP_E_UNSUPPORTED,
     {"a.safetensors", "Stable Diffusion 3"}},
    {"tiny-sd15.safetensors", nothing, {"double_blocks.0.x"}, HEP_E_UNSUPPORTED, {"a.safetensors", "Flux"}},
    {"tiny-sd15.safetensors", nothing, {"lora_unet_x"}, HEP_E_UNSUPPORTED, {"a.safetensors", "LoRA"}},
    {"tiny-sd15.safetensors", nothing, {"control_model.x"}, HEP_E_UNSUPPORTED, {"a.safetensors", "ControlNet"}},
    {"tiny-sd15.safetensors", nothing, {"emb_params"}, HEP_E_UNSUPPORTED, {"a.safetensors", "inversion"}},
    {"tiny-sd15.safetensors", nothing, {"conv_first.weight"}, HEP_E_UNSUPPORTED, {"a.safetensors", "upscaler"}},
    {"tiny-sd15.safetensors", vae_only, {NULL}, HEP_E_UNSUPPORTED, {"a.safetensors", "VAE"}},
};

static void expect_refusal(enum hep_status status, const char *word, const char *other)
{
    struct hep_model *model = NULL;
    struct hep_error error = {0};
    ck_assert_msg(hep_model_open(path, &model, &error) == status, "%s %s: %s", word, other, error.message);
    ck_assert_msg(strstr(error.message, word) && strstr(error.message, other), "%s", error.message);
}

START_TEST(a_file_that_is_no_model_says_what_it_is_or_lacks)
{
    make_file(refusals[_i].golden, refusals[_i].change, refusals[_i].more[0] ? refusals[_i].more : NULL);
    expect_refusal(refusals[_i].status, refusals[_i].words[0], refusals[_i].words[1]);
}
END_TEST

START_TEST(other_files_that_are_called_safetensors_are_told)
{
    static const struct {
        const char *command, *word;
    } files[] = {
        {"python3 -c \"import pickle,sys; sys.stdout.buffer.write(pickle.dumps({'a': print}, 2) + b' ' * 99)\"",
         "pickle"},
        {"printf 'PK\\003\\004................'", "zip"},
        {"printf 'GGUF................'", "GGUF"},
        {"printf 'version https://git-lfs.github.com/spec/v1 oid'", "LFS"},
        {"printf '<!DOCTYPE html><html></html>'", "web page"},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(files); i++) {
        check_shell("%s > '%s'", files[i].command, path);
        expect_refusal(HEP_E_BAD_FILE, "a.safetensors", files[i].word);
    }
}
END_TEST

START_TEST(what_lies_beside_a_file_is_checked)
{
    make_file("tiny-sd15.safetensors", NULL, NULL);
    write_text("a.heptad.json", "{\"unets\": {}}");
    expect_refusal(HEP_E_BAD_MODEL, "a.heptad.json", "unets");
    write_text("a.heptad.json", "{\"unet\": 5}");
    expect_refusal(HEP_E_BAD_MODEL, "a.heptad.json", "unet");
    write_text("a.heptad.json", "{\"unet\":");
    expect_refusal(HEP_E_BAD_FILE, "a.heptad.json", "line");
    write_text("a.heptad.json", "{\"defaults\": {\"width\": 1}}");
    expect_refusal(HEP_E_BAD_MODEL, "heptad.json", "width");
}
END_TEST

START_TEST(a_vocabulary_is_taken_from_beside_the_file_or_asked_for)
{
    struct hep_model *model;
    struct hep_error said = {0};
    char *text;
    size_t size;
    make_file("tiny-sd15.safetensors", NULL, NULL);
    ck_assert_ok(hep_model_open(path, &model, error));
    ck_assert(hep_model_lacks_tokenizer(model));
    ck_assert_int_eq(hep_model_read_file(model, "tokenizer/vocab.json", 1 << 20, &text, &size, &said), HEP_E_NOT_FOUND);
    ck_assert_msg(strstr(said.hint, "merges.txt") && strstr(said.hint, "a.safetensors"), "%s", said.hint);
    ck_assert(!hep_model_use_tokenizer(model, folder));
    ck_assert(hep_model_use_tokenizer(model, DATA "models/tiny-sd15/tokenizer"));
    ck_assert_ok(hep_model_read_file(model, "tokenizer/vocab.json", 1 << 20, &text, &size, error));
    free(text);
    hep_model_close(model);
    check_shell("cp -r '" DATA "models/tiny-sd15/tokenizer' '%s'", folder);
    ck_assert_ok(hep_model_open(path, &model, error));
    ck_assert(!hep_model_lacks_tokenizer(model));
    hep_model_close(model);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("checkpoint");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, metadata_keys_and_what_lies_beside_a_file_say_what_it_predicts);
    tcase_add_test(tcase, the_spread_of_a_bias_tells_what_sd2_predicts);
    tcase_add_test(tcase, an_inpainting_model_is_one_by_its_channels);
    tcase_add_test(tcase, a_guidance_embedding_is_in_the_configuration_and_so_is_refused);
    tcase_add_test(tcase, a_refiner_is_recognised_with_its_only_text_encoder);
    tcase_add_test(tcase, weights_in_fp8_are_widened_exactly);
    tcase_add_test(tcase, a_vae_comes_from_a_file_or_a_folder_of_its_own);
    tcase_add_test(tcase, a_file_without_a_vae_is_a_model_that_takes_one);
    tcase_add_loop_test(tcase, a_file_that_is_no_model_says_what_it_is_or_lacks, 0, HEP_COUNT_OF(refusals));
    tcase_add_test(tcase, other_files_that_are_called_safetensors_are_told);
    tcase_add_test(tcase, what_lies_beside_a_file_is_checked);
    tcase_add_test(tcase, a_vocabulary_is_taken_from_beside_the_file_or_asked_for);
    return check_status_run("checkpoint", tcase);
}
