/*
 * LoRA files: names of every trainer, files that hold the same update under different names (tests/golden/data/lora,
 * see the README there), what is refused and with which words, and the sum that merging makes, against plain f64.
 */
#include "nn/weights/folder.h"
#include "nn/weights/lora_merge.h"
#include "tests/support/check_status.h"

#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data"
enum { ROWS = 5, COLUMNS = 18, RANK = 2, TENSORS_MAX = 8 };

static char folder_path[64];
static int folder;

static void setup(void)
{
    snprintf(folder_path, sizeof folder_path, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder_path));
    ck_assert_ok(hep_folder_open(folder_path, &folder, error));
}

static void teardown(void)
{
    char command[128];
    close(folder);
    snprintf(command, sizeof command, "rm -rf '%s'", folder_path);
    ck_assert_int_eq(system(command), 0);
}

/* ---- names
 * ------------------------------------------------------------------------------------------------------------------ */
#define BLOCK "attentions_0_transformer_blocks_0_attn1_to_q"
static const struct name_row {
    const char *name, *component;
    enum hep_lora_part part;
    const char *module;
} name_rows[] = {
    /* kohya, SD 1.x and 2.x */
    {"lora_unet_down_blocks_1_" BLOCK ".lora_down.weight", "unet", HEP_LORA_DOWN, "down_blocks_1_" BLOCK},
    {"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", "unet", HEP_LORA_UP, "mid_block_attentions_0_proj_in"},
    {"lora_unet_down_blocks_0_resnets_0_conv1.lora_mid.weight", "unet", HEP_LORA_MID, "down_blocks_0_resnets_0_conv1"},
    {"lora_unet_down_blocks_0_resnets_0_conv1.alpha", "unet", HEP_LORA_ALPHA, "down_blocks_0_resnets_0_conv1"},
    {"lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", "text_encoder", HEP_LORA_ALPHA,
     "text_model_encoder_layers_0_mlp_fc1"},
    {"lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha", "text_encoder", HEP_LORA_ALPHA,
     "text_model_encoder_layers_0_mlp_fc1"},
    {"lora_te2_text_projection.lora_up.weight", "text_encoder_2", HEP_LORA_UP, "text_projection"},
    /* kohya, SDXL: the names of the SGM code */
    {"lora_unet_input_blocks_0_0.alpha", "unet", HEP_LORA_ALPHA, "conv_in"},
    {"lora_unet_input_blocks_1_0_in_layers_2.alpha", "unet", HEP_LORA_ALPHA, "down_blocks_0_resnets_0_conv1"},
    {"lora_unet_input_blocks_2_0_emb_layers_1.alpha", "unet", HEP_LORA_ALPHA, "down_blocks_0_resnets_1_time_emb_proj"},
    {"lora_unet_input_blocks_3_0_op.alpha", "unet", HEP_LORA_ALPHA, "down_blocks_0_downsamplers_0_conv"},
    {"lora_unet_input_blocks_4_0_skip_connection.alpha", "unet", HEP_LORA_ALPHA,
     "down_blocks_1_resnets_0_conv_shortcut"},
    {"lora_unet_input_blocks_5_1_transformer_blocks_1_attn2_to_k.lora_down.weight", "unet", HEP_LORA_DOWN,
     "down_blocks_1_attentions_1_transformer_blocks_1_attn2_to_k"},
    {"lora_unet_input_blocks_8_1_proj_out.lora_up.weight", "unet", HEP_LORA_UP, "down_blocks_2_attentions_1_proj_out"},
    {"lora_unet_middle_block_0_out_layers_3.alpha", "unet", HEP_LORA_ALPHA, "mid_block_resnets_0_conv2"},
    {"lora_unet_middle_block_1_proj_in.alpha", "unet", HEP_LORA_ALPHA, "mid_block_attentions_0_proj_in"},
    {"lora_unet_middle_block_2_in_layers_2.alpha", "unet", HEP_LORA_ALPHA, "mid_block_resnets_1_conv1"},
    {"lora_unet_output_blocks_2_1_transformer_blocks_9_ff_net_0_proj.alpha", "unet", HEP_LORA_ALPHA,
     "up_blocks_0_attentions_2_transformer_blocks_9_ff_net_0_proj"},
    {"lora_unet_output_blocks_2_2_conv.alpha", "unet", HEP_LORA_ALPHA, "up_blocks_0_upsamplers_0_conv"},
    {"lora_unet_output_blocks_2_1_conv.alpha", "unet", HEP_LORA_ALPHA, "up_blocks_0_upsamplers_0_conv"},
    {"lora_unet_output_blocks_6_0_in_layers_2.alpha", "unet", HEP_LORA_ALPHA, "up_blocks_2_resnets_0_conv1"},
    {"lora_unet_time_embed_0.alpha", "unet", HEP_LORA_ALPHA, "time_embedding_linear_1"},
    {"lora_unet_time_embedding_linear_1.alpha", "unet", HEP_LORA_ALPHA, "time_embedding_linear_1"},
    {"lora_unet_label_emb_0_2.alpha", "unet", HEP_LORA_ALPHA, "add_embedding_linear_2"},
    {"lora_unet_out_2.alpha", "unet", HEP_LORA_ALPHA, "conv_out"},
    /* diffusers, old and very old */
    {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight", "unet", HEP_LORA_DOWN,
     "mid_block_" BLOCK},
    {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight", "unet", HEP_LORA_UP,
     "mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0"},
    {"mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight", "unet", HEP_LORA_DOWN,
     "mid_block_" BLOCK},
    {"text_encoder.text_model.encoder.layers.3.self_attn.q_proj.lora_linear_layer.up.weight", "text_encoder",
     HEP_LORA_UP, "text_model_encoder_layers_3_self_attn_q_proj"},
    {"text_encoder.text_model.encoder.layers.3.self_attn.to_out_lora.up.weight", "text_encoder", HEP_LORA_UP,
     "text_model_encoder_layers_3_self_attn_out_proj"},
    {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight", "unet", HEP_LORA_DOWN,
     "mid_block_" BLOCK},
    /* peft */
    {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_B.weight", "unet", HEP_LORA_UP,
     "mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0"},
    {"text_encoder_2.text_model.encoder.layers.3.self_attn.q_proj.lora_A.weight", "text_encoder_2", HEP_LORA_DOWN,
     "text_model_encoder_layers_3_self_attn_q_proj"},
    {"text_encoder.encoder.layers.3.self_attn.q_proj.lora_A.weight", "text_encoder", HEP_LORA_DOWN,
     "text_model_encoder_layers_3_self_attn_q_proj"},
    {"base_model.model.mid_block.attentions.0.proj_in.lora_A.weight", "unet", HEP_LORA_DOWN,
     "mid_block_attentions_0_proj_in"},
    {"base_model.model.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", "text_encoder", HEP_LORA_DOWN,
     "text_model_encoder_layers_0_mlp_fc1"},
    {"diffusion_model.input_blocks.4.1.proj_in.lora_A.weight", "unet", HEP_LORA_DOWN,
     "down_blocks_1_attentions_0_proj_in"},
};

START_TEST(every_trainers_names_are_read)
{
    const struct name_row *row = &name_rows[_i];
    struct hep_lora_key key;
    ck_assert_ok(hep_lora_key_read(row->name, &key, error));
    ck_assert_str_eq(key.component, row->component);
    ck_assert_int_eq(key.part, row->part);
    ck_assert_str_eq(key.module, row->module);
}
END_TEST

START_TEST(other_names_are_refused)
{
    static const struct {
        const char *name;
        enum hep_status code;
        const char *word;
    } rows[] = {
        {"lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", HEP_E_UNSUPPORTED, "LoHa"},
        {"lora_unet_mid_block_attentions_0_proj_in.lokr_w2_b", HEP_E_UNSUPPORTED, "LoKr"},
        {"lora_unet_mid_block_attentions_0_proj_in.dora_scale", HEP_E_UNSUPPORTED, "DoRA"},
        {"lora_unet_conv_in.diff", HEP_E_UNSUPPORTED, "whole difference"},
        {"unet.conv_in.lora_B.bias", HEP_E_UNSUPPORTED, "bias"},
        {"transformer.single_blocks.0.attn.to_q.lora_A.weight", HEP_E_BAD_FILE, "single_blocks"},
        {"lora_transformer_blocks_0_x.lora_down.weight", HEP_E_BAD_FILE, "lora_transformer"},
        {"conv_in.weight", HEP_E_BAD_FILE, "conv_in.weight"},
        {"lora_unet_.lora_down.weight", HEP_E_BAD_FILE, "lora_unet_"},
        {"lora_unet_x", HEP_E_BAD_FILE, "lora_unet_x"},
        {"", HEP_E_BAD_FILE, "''"},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct hep_lora_key key;
        struct hep_error error = {0};
        ck_assert_msg(hep_lora_key_read(rows[i].name, &key, &error) == rows[i].code, "%s", rows[i].name);
        ck_assert_msg(strstr(error.message, rows[i].word) != NULL, "%s", error.message);
        ck_assert_str_ne(error.hint, "");
    }
}
END_TEST

/* ---- files
 * ------------------------------------------------------------------------------------------------------------------ */
static struct hep_lora *open_file(const char *name)
{
    int data;
    struct hep_lora *lora = NULL;
    ck_assert_ok(hep_folder_open(DATA "/lora", &data, error));
    ck_assert_ok(hep_lora_open(data, name, &lora, error));
    close(data);
    return lora;
}

/* up · down in f64, [rows × columns]; the caller frees it. */
static double *product(const struct hep_lora *lora, const struct hep_lora_module *module, double weight)
{
    float *up = malloc((size_t)(module->rows * module->rank) * sizeof *up);
    float *down = malloc((size_t)(module->rank * module->columns) * sizeof *down);
    double *result = calloc((size_t)(module->rows * module->columns), sizeof *result);
    ck_assert_ok(hep_lora_read(lora, module, weight, up, down, error));
    for (int64_t o = 0; o < module->rows; o++)
        for (int64_t r = 0; r < module->rank; r++)
            for (int64_t c = 0; c < module->columns; c++)
                result[o * module->columns + c] +=
                    (double)up[o * module->rank + r] * (double)down[r * module->columns + c];
    free(up);
    free(down);
    return result;
}

START_TEST(every_naming_gives_the_same_updates)
{
    static const char *const models[] = {"tiny-sd15", "tiny-sdxl"}, *const formats[] = {"diffusers-old", "peft"};
    char name[64];
    for (size_t m = 0; m < HEP_COUNT_OF(models); m++)
        for (size_t f = 0; f < HEP_COUNT_OF(formats); f++) {
            snprintf(name, sizeof name, "%s-kohya.safetensors", models[m]);
            struct hep_lora *kohya = open_file(name);
            snprintf(name, sizeof name, "%s-%s.safetensors", models[m], formats[f]);
            struct hep_lora *other = open_file(name);
            ck_assert_uint_eq(hep_lora_count(kohya), hep_lora_count(other));
            for (size_t i = 0; i < hep_lora_count(kohya); i++) {
                const struct hep_lora_module *a = hep_lora_at(kohya, i), *b = hep_lora_at(other, i);
                ck_assert_str_eq(a->component, b->component);
                ck_assert_str_eq(a->name, b->name);
                ck_assert_double_eq(a->alpha, 2);
                ck_assert_double_eq(b->alpha, 4);
                double *x = product(kohya, a, 1), *y = product(other, b, 1);
                ck_assert_mem_eq(x, y, (size_t)(a->rows * a->columns) * sizeof *x); /* halved twos: exact */
                free(x);
                free(y);
            }
            hep_lora_close(kohya);
            hep_lora_close(other);
        }
}
END_TEST

/* A file of f32 tensors: value[k] of tensor i is (k % 7 + i) / 8. */
struct made {
    const char *name;
    struct hep_shape shape;
    float value; /* of every element, if not 0 */
};
static float values[TENSORS_MAX][4096];

static void write_file(const char *path, const struct made *tensors, size_t count)
{
    struct hep_safetensors_source sources[TENSORS_MAX];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < HEP_COUNT_OF(values[i]); k++)
            values[i][k] = tensors[i].value != 0 ? tensors[i].value : (float)(k % 7 + i) / 8;
        sources[i] = (struct hep_safetensors_source){tensors[i].name, HEP_F32, tensors[i].shape, values[i]};
    }
    ck_assert_ok(hep_safetensors_write(folder, path, sources, count, NULL, NULL, error));
}

#define M "lora_unet_conv_in"
START_TEST(files_that_do_not_fit_are_refused)
{
    static const struct {
        struct made tensors[4];
        size_t count;
        const char *word;
    } rows[] = {
        {{{M ".lora_down.weight", HEP_SHAPE(2, 3), 0}}, 1, "no up matrix"},
        {{{M ".lora_up.weight", HEP_SHAPE(2, 3), 0}}, 1, "no down matrix"},
        {{{M ".alpha", HEP_SHAPE(1), 0}}, 1, "no up matrix"},
        {{{M ".lora_up.weight", HEP_SHAPE(4, 3), 0}, {M ".lora_down.weight", HEP_SHAPE(2, 5), 0}}, 2, "do not fit"},
        {{{M ".lora_up.weight", HEP_SHAPE(4, 2, 3, 3), 0}, {M ".lora_down.weight", HEP_SHAPE(2, 5, 1, 1), 0}},
         2,
         "do not fit"},
        {{{M ".lora_up.weight", HEP_SHAPE(4, 2), 0},
          {M ".lora_mid.weight", HEP_SHAPE(2, 3, 3, 3), 0},
          {M ".lora_down.weight", HEP_SHAPE(2, 5), 0}},
         3,
         "mid [2, 3, 3, 3]"},
        {{{M ".lora_up.weight", HEP_SHAPE(4), 0}, {M ".lora_down.weight", HEP_SHAPE(2, 5), 0}}, 2, "shape [4]"},
        {{{M ".lora_up.weight", HEP_SHAPE(4, 2), 0},
          {M ".lora_down.weight", HEP_SHAPE(2, 5), 0},
          {M ".alpha", HEP_SHAPE(2), 0}},
         3,
         "not that of a number"},
        {{{M ".lora_up.weight", HEP_SHAPE(4, 2), 0},
          {M ".lora_down.weight", HEP_SHAPE(2, 5), 0},
          {M ".alpha", HEP_SHAPE(1), INFINITY}},
         3,
         "not finite"},
        {{{M ".lora_up.weight", HEP_SHAPE(4, 2), 0},
          {M ".lora_down.weight", HEP_SHAPE(2, 5), 0},
          {"unet.conv_in.lora_A.weight", HEP_SHAPE(2, 5), 0}},
         3,
         "same part"},
        {{{M ".lora_up.weight", HEP_SHAPE(4, 2), 0},
          {M ".lora_down.weight", HEP_SHAPE(2, 5), 0},
          {"strange", HEP_SHAPE(1), 0},
          {"stranger", HEP_SHAPE(1), 0}},
         4,
         "'strange' is no name of a LoRA's tensor (and 1 more of 4)"},
        {{{M ".lora_up.weight", HEP_SHAPE(0, 2), 0}, {M ".lora_down.weight", HEP_SHAPE(2, 5), 0}}, 2, "shape [0, 2]"},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct hep_lora *lora;
        struct hep_error error = {0};
        write_file("bad.safetensors", rows[i].tensors, rows[i].count);
        ck_assert_msg(hep_lora_open(folder, "bad.safetensors", &lora, &error) == HEP_E_BAD_FILE, "row %zu", i);
        ck_assert_msg(strstr(error.message, rows[i].word) && strstr(error.message, "bad.safetensors"), "row %zu: %s", i,
                      error.message);
    }
}
END_TEST

START_TEST(a_tucker_core_is_folded_into_down)
{
    const struct made tensors[] = {{M ".lora_up.weight", HEP_SHAPE(4, 2, 1, 1), 0},
                                   {M ".lora_mid.weight", HEP_SHAPE(2, 3, 3, 3), 0},
                                   {M ".lora_down.weight", HEP_SHAPE(3, 5, 1, 1), 0},
                                   {M ".alpha", HEP_SHAPE(1), 1}};
    struct hep_lora *lora = NULL;
    write_file("tucker.safetensors", tensors, 4);
    ck_assert_ok(hep_lora_open(folder, "tucker.safetensors", &lora, error));
    const struct hep_lora_module *module = hep_lora_at(lora, 0);
    ck_assert_int_eq(module->rows, 4);
    ck_assert_int_eq(module->columns, 5 * 9);
    double *made = product(lora, module, 3);
    for (int o = 0; o < 4; o++)
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 9; k++) {
                double sum = 0; /* Σ up[o, a] · mid[a, b, k] · down[b, i] */
                for (int a = 0; a < 2; a++)
                    for (int b = 0; b < 3; b++)
                        sum += (double)values[0][o * 2 + a] * (double)values[1][(a * 3 + b) * 9 + k] *
                               (double)values[2][b * 5 + i];
                ck_assert_double_eq_tol(made[o * 45 + i * 9 + k], 3 * 0.5 * sum, 1e-5);
            }
    free(made);
    hep_lora_close(lora);
}
END_TEST

/* ---- merging
 * ---------------------------------------------------------------------------------------------------------------- */
static struct hep_component *make_component(const struct made *tensors, size_t count)
{
    struct hep_component *component = NULL;
    int config = openat(folder, "config.json", O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(write(config, "{}", 2), 2);
    close(config);
    write_file("diffusion_pytorch_model.safetensors", tensors, count);
    ck_assert_ok(hep_component_open(folder, "", "unet", NULL, &component, error));
    return component;
}

static void read_weight(const struct hep_weight_source *source, const char *name, float *to, int64_t elements)
{
    ck_assert_ok(source->ops->read_f32(source, name, to, elements, error));
}

static const struct made base[] = {{"conv_in.weight", HEP_SHAPE(ROWS, 2, 3, 3), 0},
                                   {"conv_in.bias", HEP_SHAPE(ROWS), 0},
                                   {"mid_block.proj_in.weight", HEP_SHAPE(ROWS, COLUMNS, 1, 1), 0}};

START_TEST(a_merged_weight_is_the_sum_in_f32)
{
    const struct made tensors[] = {{M ".lora_up.weight", HEP_SHAPE(ROWS, RANK, 1, 1), 0},
                                   {M ".lora_down.weight", HEP_SHAPE(RANK, 2, 3, 3), 0},
                                   {"lora_unet_mid_block_proj_in.lora_up.weight", HEP_SHAPE(ROWS, RANK), 0},
                                   {"lora_unet_mid_block_proj_in.lora_down.weight", HEP_SHAPE(RANK, COLUMNS), 0},
                                   {"lora_te_text_projection.lora_up.weight", HEP_SHAPE(3, 1), 0},
                                   {"lora_te_text_projection.lora_down.weight", HEP_SHAPE(1, 3), 0}};
    struct hep_component *component = make_component(base, HEP_COUNT_OF(base));
    struct hep_lora *lora = NULL;
    struct hep_lora_merge *merge = NULL;
    write_file("lora.safetensors", tensors, HEP_COUNT_OF(tensors));
    ck_assert_ok(hep_lora_open(folder, "lora.safetensors", &lora, error));
    ck_assert(hep_lora_touches(lora, "unet") && hep_lora_touches(lora, "text_encoder"));
    ck_assert(!hep_lora_touches(lora, "text_encoder_2"));
    const struct hep_lora_use uses[] = {{lora, "a", 0.7}, {lora, "nothing", 0}, {lora, "b", -0.2}};
    ck_assert_ok(hep_lora_merge_create(component, uses, HEP_COUNT_OF(uses), &merge, error));
    const char *const names[] = {"conv_in.weight", "mid_block.proj_in.weight"};
    for (size_t n = 0; n < HEP_COUNT_OF(names); n++) {
        float plain[ROWS * COLUMNS], merged[ROWS * COLUMNS], again[ROWS * COLUMNS];
        read_weight(hep_component_weights(component), names[n], plain, ROWS * COLUMNS);
        omp_set_num_threads(1);
        read_weight(hep_lora_merge_source(merge), names[n], merged, ROWS * COLUMNS);
        omp_set_num_threads(3);
        read_weight(hep_lora_merge_source(merge), names[n], again, ROWS * COLUMNS);
        ck_assert_mem_eq(merged, again, sizeof merged);
        double *update = product(lora, hep_lora_at(lora, n + 1), 0.5);
        for (int k = 0; k < ROWS * COLUMNS; k++)
            ck_assert_double_eq_tol((double)merged[k], (double)plain[k] + update[k], 1e-6);
        free(update);
    }
    float bias[ROWS], same[ROWS];
    read_weight(hep_component_weights(component), "conv_in.bias", bias, ROWS);
    read_weight(hep_lora_merge_source(merge), "conv_in.bias", same, ROWS);
    ck_assert_mem_eq(bias, same, sizeof bias);
    hep_lora_merge_destroy(merge);
    hep_lora_close(lora);
    hep_component_close(component);
}
END_TEST

/* One use added as the sum is defined: over the rank in f32, then to the weight. */
static void add_by_hand(const struct hep_lora *lora, double weight, float to[ROWS * COLUMNS])
{
    float up[ROWS * RANK], down[RANK * COLUMNS];
    ck_assert_ok(hep_lora_read(lora, hep_lora_at(lora, 0), weight, up, down, error));
    for (int o = 0; o < ROWS; o++)
        for (int c = 0; c < COLUMNS; c++) {
            float sum = 0;
            for (int r = 0; r < RANK; r++)
                sum += up[o * RANK + r] * down[r * COLUMNS + c];
            to[o * COLUMNS + c] += sum;
        }
}

/* What a large update swallows depends on when it comes: each order has its own bytes. */
START_TEST(updates_are_added_in_the_order_of_the_uses)
{
    static const double weights[] = {1e7, -1e7, 0.3};
    static const int orders[][3] = {{0, 1, 2}, {2, 0, 1}};
    const struct made tensors[] = {{M ".lora_up.weight", HEP_SHAPE(ROWS, RANK, 1, 1), 0},
                                   {M ".lora_down.weight", HEP_SHAPE(RANK, 2, 3, 3), 0}};
    struct hep_component *component = make_component(base, HEP_COUNT_OF(base));
    struct hep_lora *lora = NULL;
    float sums[HEP_COUNT_OF(orders)][ROWS * COLUMNS];
    write_file("lora.safetensors", tensors, HEP_COUNT_OF(tensors));
    ck_assert_ok(hep_lora_open(folder, "lora.safetensors", &lora, error));
    for (size_t n = 0; n < HEP_COUNT_OF(orders); n++) {
        struct hep_lora_merge *merge = NULL;
        struct hep_lora_use uses[3];
        float by_hand[ROWS * COLUMNS];
        read_weight(hep_component_weights(component), "conv_in.weight", by_hand, ROWS * COLUMNS);
        for (int i = 0; i < 3; i++) {
            uses[i] = (struct hep_lora_use){lora, "a", weights[orders[n][i]]};
            add_by_hand(lora, uses[i].weight, by_hand);
        }
        ck_assert_ok(hep_lora_merge_create(component, uses, 3, &merge, error));
        read_weight(hep_lora_merge_source(merge), "conv_in.weight", sums[n], ROWS * COLUMNS);
        ck_assert_msg(memcmp(sums[n], by_hand, sizeof by_hand) == 0, "order %zu", n);
        for (size_t other = 0; other < n; other++)
            ck_assert(memcmp(sums[n], sums[other], sizeof by_hand) != 0);
        hep_lora_merge_destroy(merge);
    }
    hep_lora_close(lora);
    hep_component_close(component);
}
END_TEST

START_TEST(a_lora_that_does_not_fit_names_what_does_not)
{
    static const struct {
        struct made up, down;
        const char *word;
    } rows[] = {
        {{"lora_unet_mid_block_proj_out.lora_up.weight", HEP_SHAPE(ROWS, 1), 0},
         {"lora_unet_mid_block_proj_out.lora_down.weight", HEP_SHAPE(1, COLUMNS), 0},
         "unet has no mid_block_proj_out"},
        {{M ".lora_up.weight", HEP_SHAPE(ROWS, 1), 0},
         {M ".lora_down.weight", HEP_SHAPE(1, COLUMNS), 0},
         "conv_in is 5 × 18, the weight is [5, 2, 3, 3]"},
        {{M ".lora_up.weight", HEP_SHAPE(ROWS + 1, 1), 0},
         {M ".lora_down.weight", HEP_SHAPE(1, 2, 3, 3), 0},
         "conv_in is 6 × 18, the weight is [5, 2, 3, 3]"},
    };
    struct hep_component *component = make_component(base, HEP_COUNT_OF(base));
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        const struct made tensors[] = {rows[i].up, rows[i].down};
        struct hep_lora *lora = NULL;
        struct hep_lora_merge *merge = NULL;
        struct hep_error failure = {0};
        write_file("lora.safetensors", tensors, 2);
        ck_assert_ok(hep_lora_open(folder, "lora.safetensors", &lora, error));
        const struct hep_lora_use use = {lora, "other", 1};
        ck_assert_int_eq(hep_lora_merge_create(component, &use, 1, &merge, &failure), HEP_E_BAD_MODEL);
        ck_assert_msg(strstr(failure.message, rows[i].word) && strstr(failure.message, "LoRA other does not fit"), "%s",
                      failure.message);
        hep_lora_close(lora);
    }
    hep_component_close(component);
}
END_TEST

START_TEST(values_that_are_not_finite_are_refused)
{
    const struct made tensors[] = {{M ".lora_up.weight", HEP_SHAPE(ROWS, 1), NAN},
                                   {M ".lora_down.weight", HEP_SHAPE(1, 2, 3, 3), 0}};
    struct hep_component *component = make_component(base, HEP_COUNT_OF(base));
    struct hep_lora *lora = NULL;
    struct hep_lora_merge *merge = NULL;
    struct hep_error failure = {0};
    float weight[ROWS * COLUMNS];
    write_file("lora.safetensors", tensors, 2);
    ck_assert_ok(hep_lora_open(folder, "lora.safetensors", &lora, error));
    const struct hep_lora_use use = {lora, "a", 1};
    ck_assert_ok(hep_lora_merge_create(component, &use, 1, &merge, error));
    const struct hep_weight_source *source = hep_lora_merge_source(merge);
    ck_assert_int_eq(source->ops->read_f32(source, "conv_in.weight", weight, ROWS * COLUMNS, &failure), HEP_E_BAD_FILE);
    ck_assert_msg(strstr(failure.message, "lora_up") != NULL, "%s", failure.message);
    hep_lora_merge_destroy(merge);
    hep_lora_close(lora);
    hep_component_close(component);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("lora");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, every_trainers_names_are_read, 0, (int)HEP_COUNT_OF(name_rows));
    tcase_add_test(cases, other_names_are_refused);
    tcase_add_test(cases, every_naming_gives_the_same_updates);
    tcase_add_test(cases, files_that_do_not_fit_are_refused);
    tcase_add_test(cases, a_tucker_core_is_folded_into_down);
    tcase_add_test(cases, a_merged_weight_is_the_sum_in_f32);
    tcase_add_test(cases, updates_are_added_in_the_order_of_the_uses);
    tcase_add_test(cases, a_lora_that_does_not_fit_names_what_does_not);
    tcase_add_test(cases, values_that_are_not_finite_are_refused);
    return check_status_run("lora", cases);
}
