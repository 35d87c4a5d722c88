/* Models that hep-bench writes: a small one of the same make loads, and its networks can be planned and run. */
#include "nn/eval/bench.h"
#include "nn/eval/write_model.h"
#include "nn/eval/write_tokenizer.h"
#include "nn/eval/write_weights.h"
#include "nn/weights/checkpoint.h"
#include "nn/weights/family.h"
#include "nn/weights/folder.h"
#include "nn/weights/ldm_inverse.h"
#include "nn/weights/model_folder.h"
#include "nn/weights/safetensors.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SDXL's make with two levels and few channels. */
static const struct hep_arch tiny = {
    "tiny",
    "tiny",
    32,
    "StableDiffusionXLPipeline",
    "EulerDiscreteScheduler",
    "{\"_class_name\": \"EulerDiscreteScheduler\"}",
    {"<|endoftext|>", "!"},
    {{"text_encoder", "CLIPTextModel",
      "{\"architectures\": [\"CLIPTextModel\"], \"hidden_size\": 16,"
      " \"intermediate_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 2}"},
     {"text_encoder_2", "CLIPTextModelWithProjection",
      "{\"architectures\": [\"CLIPTextModelWithProjection\"],"
      " \"hidden_size\": 16, \"intermediate_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 2,"
      " \"hidden_act\": \"gelu\", \"projection_dim\": 8}"},
     {"unet", "UNet2DConditionModel",
      "{\"block_out_channels\": [16, 32], \"norm_num_groups\": 8, \"sample_size\": 16,"
      " \"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\"],"
      " \"up_block_types\": [\"CrossAttnUpBlock2D\", \"UpBlock2D\"], \"attention_head_dim\": [2, 4],"
      " \"cross_attention_dim\": 32, \"addition_embed_type\": \"text_time\", \"addition_time_embed_dim\": 4,"
      " \"projection_class_embeddings_input_dim\": 32}"},
     {"vae", "AutoencoderKL",
      "{\"block_out_channels\": [8, 16], \"norm_num_groups\": 4,"
      " \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"],"
      " \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"]}"}},
    {NULL, NULL, NULL}};

static char path[64];
static struct hep_error error;

static void make_model(void)
{
    strcpy(path, "/tmp/hep-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    ck_assert_msg(hep_write_model(&tiny, path, &error) == HEP_OK, "%s", error.message);
}

static void remove_model(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(a_written_model_loads_and_runs)
{
    struct hep_model *model;
    const struct hep_network_kind *network;
    int ran = 0;
    ck_assert_msg(hep_model_open(path, &model, &error) == HEP_OK, "%s", error.message);
    ck_assert_int_eq(hep_model_vae_scale_factor(model), 2);
    ck_assert_int_eq(hep_model_defaults(model)->width, 32);
    for (size_t i = 0; (network = hep_network_kind_at(i)); i++) {
        if (!hep_model_has(model, network->component))
            continue; /* a ControlNet has a folder, an upscaler a file of its own */
        struct hep_bench_result result;
        struct hep_bench_options options = {
            .network = network->name, .model_dir = path, .size = {2, 8, 8, 77}, .dtype = HEP_F32, .runs = 1};
        ck_assert_msg(hep_bench_run(&options, &result, &error) == HEP_OK, "%s: %s", network->name, error.message);
        ck_assert_msg(result.finite, "%s", network->name);
        ck_assert(result.ms > 0 && result.flops > 0 && result.parameters > 0 && result.class_count > 0);
        ran++;
    }
    hep_model_close(model);
    ck_assert_int_eq(ran, 5);
}
END_TEST

/* Writes the unet's file again, with one tensor left out or of another shape. */
static void damage_unet(const char *name, bool drop)
{
    int folder;
    char unet[96];
    struct hep_safetensors *file;
    snprintf(unet, sizeof unet, "%s/unet", path);
    ck_assert_int_eq(hep_folder_open(unet, &folder, &error), HEP_OK);
    ck_assert_int_eq(hep_safetensors_open(folder, "diffusion_pytorch_model.safetensors", &file, &error), HEP_OK);
    size_t total = hep_safetensors_count(file), count = 0;
    struct hep_safetensors_source *sources = calloc(total, sizeof *sources);
    for (size_t i = 0; i < total; i++) {
        const struct hep_safetensors_entry *e = hep_safetensors_at(file, i);
        bool it = strcmp(e->name, name) == 0;
        if (it && drop)
            continue;
        sources[count] = (struct hep_safetensors_source){e->name, e->dtype, e->shape, e->data};
        if (it)
            sources[count].shape.dims[0]--;
        count++;
    }
    ck_assert_int_eq(
        hep_safetensors_write(folder, "diffusion_pytorch_model.safetensors", sources, count, NULL, NULL, &error),
        HEP_OK);
    free(sources);
    hep_safetensors_close(file);
    close(folder);
}

static void expect_bad_unet(const char *word, const char *other)
{
    struct hep_bench_result result;
    struct hep_bench_options options = {
        .network = "unet", .model_dir = path, .size = {1, 8, 8, 77}, .dtype = HEP_F32, .plan_only = true};
    ck_assert_int_eq(hep_bench_run(&options, &result, &error), HEP_E_BAD_MODEL);
    ck_assert_msg(strstr(error.message, word) && strstr(error.message, other), "%s", error.message);
}

START_TEST(a_missing_weight_is_named_before_anything_runs)
{
    damage_unet("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", true);
    expect_bad_unet("unet", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight");
}
END_TEST

START_TEST(a_weight_of_a_wrong_shape_is_named_with_both_shapes)
{
    damage_unet("conv_in.weight", false);
    expect_bad_unet("conv_in.weight", "[15, 4, 3, 3]");
    expect_bad_unet("unet", "[16, 4, 3, 3]");
}
END_TEST

START_TEST(a_folder_that_holds_a_model_is_left_alone)
{
    ck_assert_int_eq(hep_write_model(&tiny, path, &error), HEP_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.message, path));
}
END_TEST

static void expect_equal_weights(const struct hep_component *folder, const struct hep_component *file)
{
    const struct hep_weight_table *whole = hep_component_table(folder), *part = hep_component_table(file);
    ck_assert_uint_eq(whole->count, part->count);
    for (size_t i = 0; i < whole->count; i++) {
        int64_t count = 0;
        const char *name = whole->weights[i].name;
        ck_assert(hep_shape_elements(&whole->weights[i].shape, &count));
        float *a = calloc((size_t)count, sizeof *a), *b = calloc((size_t)count, sizeof *b);
        ck_assert_int_eq(whole->source.ops->read_f32(&whole->source, name, a, count, &error), HEP_OK);
        ck_assert_msg(part->source.ops->read_f32(&part->source, name, b, count, &error) == HEP_OK, "%s", error.message);
        ck_assert_msg(memcmp(a, b, (size_t)count * sizeof *a) == 0, "%s", name);
        free(a);
        free(b);
    }
}

/* KiB of the mapped file that are in this process. */
static long mapped_kib(const char *file)
{
    char line[512], access[8];
    unsigned long from, to;
    long kib = 0, total = 0;
    bool inside = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) == 3)
            inside = strstr(line, file) != NULL;
        if (inside && sscanf(line, "Rss: %ld kB", &kib) == 1)
            total += kib;
    }
    fclose(maps);
    return total;
}

/* A file of 7 GiB must not be in memory a second time while its weights are packed. */
START_TEST(weights_that_were_read_are_mapped_no_more)
{
    struct hep_model *model;
    struct hep_component *component;
    static float value[49408 * 16];
    const char *name = "text_model.embeddings.token_embedding.weight";
    ck_assert_int_eq(hep_model_open(path, &model, &error), HEP_OK);
    ck_assert_int_eq(hep_model_component(model, "text_encoder", NULL, &component, &error), HEP_OK);
    const struct hep_weight_source *source = hep_component_weights(component);
    const struct hep_weight *weight = hep_weight_table_find(hep_component_table(component), name);
    ck_assert_ptr_nonnull(weight);
    for (size_t at = 0; at < weight->bytes; at += 4096)
        ck_assert_int_ge(((const volatile unsigned char *)weight->data)[at], 0);
    ck_assert_int_gt(mapped_kib("text_encoder/model.safetensors"), 1024);
    ck_assert_int_eq(source->ops->read_f32(source, name, value, HEP_COUNT_OF(value), &error), HEP_OK);
    ck_assert_int_lt(mapped_kib("text_encoder/model.safetensors"), 512);
    hep_component_close(component);
    hep_model_close(model);
}
END_TEST

START_TEST(a_single_file_has_the_weights_of_the_folder_bit_for_bit)
{
    char file[96];
    struct hep_checkpoint *checkpoint;
    struct hep_model *model;
    snprintf(file, sizeof file, "%s/one.safetensors", path);
    ck_assert_msg(hep_write_single_file(&tiny, file, &error) == HEP_OK, "%s", error.message);
    ck_assert_msg(hep_checkpoint_open(file, NULL, NULL, &checkpoint, &error) == HEP_OK, "%s", error.message);
    ck_assert_str_eq(hep_checkpoint_family(checkpoint), "sdxl");
    ck_assert_int_eq(hep_model_open(path, &model, &error), HEP_OK);
    for (size_t i = 0; i < HEP_ARCH_COMPONENTS_MAX; i++) {
        struct hep_component *a, *b;
        ck_assert_int_eq(hep_model_component(model, tiny.components[i].name, NULL, &a, &error), HEP_OK);
        ck_assert_int_eq(hep_checkpoint_component(checkpoint, tiny.components[i].name, &b, &error), HEP_OK);
        expect_equal_weights(a, b);
        hep_component_close(a);
        hep_component_close(b);
    }
    hep_model_close(model);
    hep_checkpoint_close(checkpoint);
    ck_assert_int_eq(hep_write_single_file(&tiny, file, &error), HEP_E_CONFLICT);
}
END_TEST

static bool begins(const void *list_, const char *prefix)
{
    const struct hep_random_weights *list = list_;
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->items[i].name, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

/* Every weight of a published architecture has a key, and the reader finds the weight there. */
START_TEST(the_key_of_a_weight_leads_back_to_it)
{
    static const char *const families[] = {"sd1", "sd2", "sdxl"};
    const struct hep_arch *arch = hep_arch_at((size_t)_i);
    struct hep_ldm_layout layout = {NULL, 3, 4};
    for (size_t c = 0; c < HEP_ARCH_COMPONENTS_MAX && arch->components[c].name; c++) {
        const char *component = arch->components[c].name;
        struct hep_random_weights list = {0};
        json_t *config = json_loads(arch->components[c].config, 0, NULL);
        ck_assert_int_eq(hep_random_weights_list(component, config, &list, &error), HEP_OK);
        for (size_t i = 0; i < list.count; i++) {
            struct hep_ldm_part parts[HEP_LDM_PARTS_MAX];
            struct hep_ldm_place place;
            size_t count;
            const char *mark = hep_family_find(families[_i])->mark;
            ck_assert_msg(hep_ldm_place(&layout, mark, component, list.items[i].name, begins, &list, &place), "%s",
                          list.items[i].name);
            struct hep_safetensors_entry entry = {.name = place.key, .dtype = HEP_F16, .shape = list.items[i].shape};
            entry.shape.dims[0] *= place.parts;
            ck_assert_int_eq(hep_ldm_parts(&layout, component, &entry, parts, &count, &error), HEP_OK);
            ck_assert_int_eq((int)count, place.parts);
            ck_assert_str_eq(parts[place.part].name, list.items[i].name);
        }
        hep_random_weights_clear(&list);
        json_decref(config);
    }
}
END_TEST

/* Keys as the published files have them. */
START_TEST(keys_are_those_of_the_original_code)
{
    static const struct {
        const char *mark, *component, *name, *key;
    } known[] = {
        {"cond_stage_model.transformer.", "unet", "up_blocks.0.upsamplers.0.conv.weight",
         "model.diffusion_model.output_blocks.2.1.conv.weight"},
        {"cond_stage_model.transformer.", "unet", "up_blocks.1.upsamplers.0.conv.weight",
         "model.diffusion_model.output_blocks.5.2.conv.weight"},
        {"cond_stage_model.transformer.", "unet", "down_blocks.1.downsamplers.0.conv.bias",
         "model.diffusion_model.input_blocks.6.0.op.bias"},
        {"cond_stage_model.transformer.", "unet", "mid_block.resnets.1.time_emb_proj.weight",
         "model.diffusion_model.middle_block.2.emb_layers.1.weight"},
        {"cond_stage_model.transformer.", "vae", "decoder.up_blocks.0.resnets.2.conv1.weight",
         "first_stage_model.decoder.up.3.block.2.conv1.weight"},
        {"cond_stage_model.transformer.", "vae", "encoder.mid_block.attentions.0.to_out.0.bias",
         "first_stage_model.encoder.mid.attn_1.proj_out.bias"},
        {"cond_stage_model.transformer.", "text_encoder", "text_model.encoder.layers.3.self_attn.k_proj.weight",
         "cond_stage_model.transformer.text_model.encoder.layers.3.self_attn.k_proj.weight"},
        {"cond_stage_model.model.", "text_encoder", "text_model.encoder.layers.3.self_attn.k_proj.weight",
         "cond_stage_model.model.transformer.resblocks.3.attn.in_proj_weight"},
        {"conditioner.embedders.1.model.", "text_encoder", "text_model.final_layer_norm.bias",
         "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias"},
        {"conditioner.embedders.1.model.", "text_encoder_2", "text_model.encoder.layers.31.mlp.fc1.bias",
         "conditioner.embedders.1.model.transformer.resblocks.31.mlp.c_fc.bias"},
        {"conditioner.embedders.1.model.", "text_encoder_2", "text_projection.weight",
         "conditioner.embedders.1.model.text_projection"},
    };
    struct hep_safetensors_source attention = {.name = "up_blocks.1.attentions.2.norm.weight"};
    struct hep_random_weights list = {&attention, 1, 1};
    struct hep_ldm_layout layout = {NULL, 3, 4};
    struct hep_ldm_place place;
    for (size_t i = 0; i < HEP_COUNT_OF(known); i++) {
        ck_assert(hep_ldm_place(&layout, known[i].mark, known[i].component, known[i].name, begins, &list, &place));
        ck_assert_str_eq(place.key, known[i].key);
    }
    ck_assert(!hep_ldm_place(&layout, known[0].mark, "unet", "encoder_hid_proj.weight", begins, &list, &place));
}
END_TEST

START_TEST(the_vocabulary_has_the_published_size_and_every_merge_makes_a_token)
{
    int folder;
    char *merges, *line, *rest;
    size_t size, count = 0;
    ck_assert_int_eq(hep_folder_open(path, &folder, &error), HEP_OK);
    json_t *vocabulary;
    ck_assert_msg(hep_folder_read_json(folder, "tokenizer_2/vocab.json", &vocabulary, &error) == HEP_OK, "%s",
                  error.message);
    ck_assert_uint_eq(json_object_size(vocabulary), 49408);
    ck_assert_int_eq(json_integer_value(json_object_get(vocabulary, "!")), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(vocabulary, "<|startoftext|>")), 49406);
    ck_assert_int_eq(json_integer_value(json_object_get(vocabulary, "<|endoftext|>")), 49407);
    ck_assert_int_eq(hep_folder_read_file(folder, "tokenizer_2/merges.txt", 1 << 20, &merges, &size, &error), HEP_OK);
    for (line = strtok_r(merges, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char left[32], right[32], both[64];
        if (line[0] == '#' && count == 0 && strncmp(line, "#version", 8) == 0)
            continue;
        ck_assert_int_eq(sscanf(line, "%31s %31s", left, right), 2);
        snprintf(both, sizeof both, "%s%s", left, right);
        ck_assert_ptr_nonnull(json_object_get(vocabulary, left));
        ck_assert_ptr_nonnull(json_object_get(vocabulary, right));
        ck_assert_ptr_nonnull(json_object_get(vocabulary, both));
        count++;
    }
    ck_assert_uint_eq(count, 48894);
    free(merges);
    json_decref(vocabulary);
    close(folder);
}
END_TEST

START_TEST(every_architecture_plans_at_its_published_work)
{
    static const struct {
        const char *arch, *network;
        int64_t side;
        double gflop;
    } known[] = {{"sd15", "unet", 64, 803.3},
                 {"sd15", "vae_decoder", 64, 2514.5},
                 {"sdxl", "unet", 128, 6761.2},
                 {"sd15", "unet", 96, 2148.1}};
    for (size_t i = 0; i < HEP_COUNT_OF(known); i++) {
        struct hep_bench_result result;
        struct hep_bench_options options = {.network = known[i].network,
                                            .arch = known[i].arch,
                                            .size = {1, known[i].side, known[i].side, 77},
                                            .dtype = HEP_F32,
                                            .plan_only = true};
        ck_assert_msg(hep_bench_run(&options, &result, &error) == HEP_OK, "%s", error.message);
        ck_assert_double_eq_tol(result.flops / 1e9, known[i].gflop, 0.1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("write model");
    TCase *tcase = tcase_create("tiny"), *plans = tcase_create("plans");
    tcase_add_checked_fixture(tcase, make_model, remove_model);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_written_model_loads_and_runs);
    tcase_add_test(tcase, a_missing_weight_is_named_before_anything_runs);
    tcase_add_test(tcase, a_weight_of_a_wrong_shape_is_named_with_both_shapes);
    tcase_add_test(tcase, a_folder_that_holds_a_model_is_left_alone);
    tcase_add_test(tcase, the_vocabulary_has_the_published_size_and_every_merge_makes_a_token);
    tcase_add_test(tcase, a_single_file_has_the_weights_of_the_folder_bit_for_bit);
    tcase_add_test(tcase, weights_that_were_read_are_mapped_no_more);
    tcase_add_loop_test(plans, the_key_of_a_weight_leads_back_to_it, 0, 3);
    tcase_add_test(plans, keys_are_those_of_the_original_code);
    tcase_add_test(plans, every_architecture_plans_at_its_published_work);
    suite_add_tcase(suite, tcase);
    suite_add_tcase(suite, plans);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
