/*
 * Configurations from shapes; called by checkpoint.c once a file's weights have their present names. What shapes do not
 * say comes from the family's row, and diffusers' defaults are left out.
 */
#include "nn/weights/family.h"

#include <stdio.h>
#include <string.h>

enum { LEVELS_MAX = 8, LAYERS_MAX = 16, TRANSFORMERS_MAX = 64, CLIP_LAYERS_MAX = 64, CHANNELS_PER_HEAD = 64 };
enum { SINUSOID = 256 }; /* numbers for each of the sizes that SDXL takes; a ControlNet's shapes do not say it */

/* ---- shapes ---- */

struct shapes {
    const struct hep_weight_table *table;
    struct hep_error *error;
    enum hep_status status; /* the first failure; later questions answer 0 */
};

/* Whether the weight is there; the name is made as by printf. */
__attribute__((format(printf, 2, 3))) static bool has(const struct shapes *shapes, const char *format, ...)
{
    char name[HEP_WEIGHT_NAME_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return hep_weight_table_find(shapes->table, name) != NULL;
}

/* Dimension d of the weight, 1 … 2^20. */
__attribute__((format(printf, 3, 4))) static int dim(struct shapes *shapes, int d, const char *format, ...)
{
    char name[HEP_WEIGHT_NAME_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    if (shapes->status != HEP_OK)
        return 0;
    const struct hep_weight *weight = hep_weight_table_find(shapes->table, name);
    if (!weight)
        shapes->status =
            hep_fail(shapes->error, HEP_E_BAD_MODEL, "%s: weight '%.150s' is missing", shapes->table->component, name);
    else if (weight->shape.rank <= d || weight->shape.dims[d] < 1 || weight->shape.dims[d] > 1 << 20)
        shapes->status = hep_fail(shapes->error, HEP_E_BAD_MODEL, "%s: weight '%.150s' has an impossible shape",
                                  shapes->table->component, name);
    return shapes->status == HEP_OK ? (int)weight->shape.dims[d] : 0;
}

static enum hep_status finish(const struct shapes *shapes, json_t *made, json_t **config)
{
    if (shapes->status == HEP_OK && !made)
        return hep_fail(shapes->error, HEP_E_NO_MEMORY, "no memory for a configuration");
    if (shapes->status != HEP_OK)
        json_decref(made);
    else
        *config = made;
    return shapes->status;
}

/* ---- UNet ---- */

static int heads_of(const struct hep_family *family, int channels)
{
    if (family->heads > 0)
        return family->heads;
    return channels > CHANNELS_PER_HEAD ? channels / CHANNELS_PER_HEAD : 1;
}

static int count_transformers(const struct shapes *shapes, const char *attention)
{
    int count = 0;
    while (count < TRANSFORMERS_MAX && has(shapes, "%s.transformer_blocks.%d.attn1.to_q.weight", attention, count))
        count++;
    return count;
}

/* One level's entries; the up blocks' lists run the other way. */
static void add_level(struct shapes *shapes, const struct hep_family *family, json_t *config, int level, bool is_last)
{
    char attention[64];
    int channels = dim(shapes, 0, "down_blocks.%d.resnets.0.conv1.weight", level);
    bool attends = has(shapes, "down_blocks.%d.attentions.0.norm.weight", level);
    snprintf(attention, sizeof attention, "down_blocks.%d.attentions.0", level);
    int transformers = count_transformers(shapes, attends ? attention : "mid_block.attentions.0");
    if (!attends && !is_last) /* the middle block has as many as the last level */
        transformers = 1;
    json_array_append_new(json_object_get(config, "block_out_channels"), json_integer(channels));
    json_array_append_new(json_object_get(config, "attention_head_dim"), json_integer(heads_of(family, channels)));
    json_array_append_new(json_object_get(config, "transformer_layers_per_block"), json_integer(transformers));
    json_array_append_new(json_object_get(config, "down_block_types"),
                          json_string(attends ? "CrossAttnDownBlock2D" : "DownBlock2D"));
    json_array_insert_new(json_object_get(config, "up_block_types"), 0,
                          json_string(attends ? "CrossAttnUpBlock2D" : "UpBlock2D"));
}

static void set_addition(json_t *config, int each, int width)
{
    json_object_set_new(config, "addition_embed_type", json_string("text_time"));
    json_object_set_new(config, "addition_time_embed_dim", json_integer(each));
    json_object_set_new(config, "projection_class_embeddings_input_dim", json_integer(width));
}

static void add_addition(struct shapes *shapes, const struct hep_family *family, json_t *config, int text_embeds)
{
    if (!has(shapes, "add_embedding.linear_1.weight"))
        return;
    int width = dim(shapes, 1, "add_embedding.linear_1.weight");
    int each = family->time_ids > 0 ? (width - text_embeds) / family->time_ids : 0;
    if (shapes->status == HEP_OK && (each < 1 || text_embeds + family->time_ids * each != width))
        shapes->status =
            hep_fail(shapes->error, HEP_E_BAD_MODEL,
                     "unet: 'add_embedding.linear_1.weight' takes %d numbers, not text_embeds of %d and %d "
                     "sinusoids",
                     width, text_embeds, family->time_ids);
    set_addition(config, each, width);
}

/* What UNets and ControlNets both have: all but the way up. */
static json_t *encoder_config(struct shapes *shapes, const struct hep_family *family, const char *class)
{
    static const char projection[] = "mid_block.attentions.0.proj_in.weight";
    int levels = 0, layers = 0;
    while (levels < LEVELS_MAX && has(shapes, "down_blocks.%d.resnets.0.conv1.weight", levels))
        levels++;
    while (layers < LAYERS_MAX && has(shapes, "down_blocks.0.resnets.%d.conv1.weight", layers))
        layers++;
    const struct hep_weight *linear = hep_weight_table_find(shapes->table, projection);
    json_t *made = json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:b, s:i, s:[], s:[], s:[], s:[], s:[]}", "_class_name", class, "in_channels",
        dim(shapes, 1, "conv_in.weight"), "layers_per_block", layers, "norm_num_groups", 32, "cross_attention_dim",
        dim(shapes, 1, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"), "use_linear_projection",
        linear && linear->shape.rank == 2, "sample_size", family->sample_size, "block_out_channels", "down_block_types",
        "up_block_types", "attention_head_dim", "transformer_layers_per_block");
    if (levels == 0)
        dim(shapes, 0, "down_blocks.0.resnets.0.conv1.weight"); /* says that it is missing */
    for (int i = 0; made && i < levels; i++)
        add_level(shapes, family, made, i, i == levels - 1);
    return made;
}

enum hep_status hep_family_unet_config(const struct hep_family *family, const struct hep_weight_table *table,
                                       int text_embeds, json_t **config, struct hep_error *error)
{
    struct shapes shapes = {table, error, HEP_OK};
    json_t *made = encoder_config(&shapes, family, "UNet2DConditionModel");
    if (made)
        json_object_set_new(made, "out_channels", json_integer(dim(&shapes, 0, "conv_out.weight")));
    if (made && has(&shapes, "time_embedding.cond_proj.weight")) /* the config's reader refuses it by name */
        json_object_set_new(made, "time_cond_proj_dim",
                            json_integer(dim(&shapes, 0, "time_embedding.cond_proj.weight")));
    if (made)
        add_addition(&shapes, family, made, text_embeds);
    return finish(&shapes, made, config);
}

/* ---- ControlNet ---- */

/* Each level of the hint's way in, but the first, begins with the convolution that halves it. */
static void add_hint(struct shapes *shapes, json_t *config)
{
    static const char block[] = "controlnet_cond_embedding.blocks.%d.weight";
    json_t *channels = json_array();
    json_array_append_new(channels, json_integer(dim(shapes, 0, "controlnet_cond_embedding.conv_in.weight")));
    for (int level = 1; level < LEVELS_MAX && has(shapes, block, 2 * level - 1); level++)
        json_array_append_new(channels, json_integer(dim(shapes, 0, block, 2 * level - 1)));
    json_object_set_new(config, "conditioning_embedding_out_channels", channels);
    json_object_set_new(config, "conditioning_channels",
                        json_integer(dim(shapes, 1, "controlnet_cond_embedding.conv_in.weight")));
}

enum hep_status hep_family_controlnet_config(const struct hep_family *family, const struct hep_weight_table *table,
                                             json_t **config, struct hep_error *error)
{
    struct shapes shapes = {table, error, HEP_OK};
    json_t *made = encoder_config(&shapes, family, "ControlNetModel");
    if (made)
        add_hint(&shapes, made);
    if (made && has(&shapes, "add_embedding.linear_1.weight")) {
        int width = dim(&shapes, 1, "add_embedding.linear_1.weight");
        set_addition(made, width > family->time_ids * SINUSOID ? SINUSOID : 0, width); /* the reader refuses 0 */
    }
    return finish(&shapes, made, config);
}

/* ---- VAE ---- */

enum hep_status hep_family_vae_config(const struct hep_family *family, const struct hep_weight_table *table,
                                      json_t **config, struct hep_error *error)
{
    struct shapes shapes = {table, error, HEP_OK};
    int levels = 0, layers = 0;
    while (levels < LEVELS_MAX && has(&shapes, "encoder.down_blocks.%d.resnets.0.conv1.weight", levels))
        levels++;
    while (layers < LAYERS_MAX && has(&shapes, "encoder.down_blocks.0.resnets.%d.conv1.weight", layers))
        layers++;
    json_t *made = json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:i, s:f, s:b, s:b, s:b, s:[], s:[], s:[]}", "_class_name", "AutoencoderKL",
        "in_channels", dim(&shapes, 1, "encoder.conv_in.weight"), "out_channels",
        dim(&shapes, 0, "decoder.conv_out.weight"), "latent_channels", dim(&shapes, 1, "decoder.conv_in.weight"),
        "layers_per_block", layers, "norm_num_groups", 32, "scaling_factor", family->scaling_factor, "use_quant_conv",
        has(&shapes, "quant_conv.weight"), "use_post_quant_conv", has(&shapes, "post_quant_conv.weight"),
        "mid_block_add_attention", has(&shapes, "decoder.mid_block.attentions.0.to_q.weight"), "block_out_channels",
        "down_block_types", "up_block_types");
    if (levels == 0)
        dim(&shapes, 0, "encoder.down_blocks.0.resnets.0.conv1.weight");
    for (int i = 0; made && i < levels; i++) {
        json_array_append_new(json_object_get(made, "block_out_channels"),
                              json_integer(dim(&shapes, 0, "encoder.down_blocks.%d.resnets.0.conv1.weight", i)));
        json_array_append_new(json_object_get(made, "down_block_types"), json_string("DownEncoderBlock2D"));
        json_array_append_new(json_object_get(made, "up_block_types"), json_string("UpDecoderBlock2D"));
    }
    return finish(&shapes, made, config);
}

/* ---- text encoders ---- */

/* Files that were made from a diffusers folder may lack the block that SD 2.x does not use: OpenCLIP's ViT-H/14 has 24.
 */
static int used_blocks(const struct hep_family *family, int blocks)
{
    enum { VIT_H_USED = 23 };
    return family->last_block_unused && blocks > 1 && blocks != VIT_H_USED ? blocks - 1 : blocks;
}

enum hep_status hep_family_clip_config(const struct hep_family *family, const struct hep_weight_table *table,
                                       json_t **config, struct hep_error *error)
{
    struct shapes shapes = {table, error, HEP_OK};
    bool is_projected = has(&shapes, "text_projection.weight") && strcmp(table->component, "text_encoder_2") == 0;
    bool is_openclip = family->last_block_unused || strcmp(table->component, "text_encoder_2") == 0;
    int blocks = 0, width = dim(&shapes, 1, "text_model.embeddings.token_embedding.weight");
    while (blocks < CLIP_LAYERS_MAX && has(&shapes, "text_model.encoder.layers.%d.layer_norm1.weight", blocks))
        blocks++;
    json_t *made = json_pack(
        "{s:s, s:[s], s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:i, s:i}", "model_type", "clip_text_model", "architectures",
        is_projected ? "CLIPTextModelWithProjection" : "CLIPTextModel", "vocab_size",
        dim(&shapes, 0, "text_model.embeddings.token_embedding.weight"), "hidden_size", width, "intermediate_size",
        dim(&shapes, 0, "text_model.encoder.layers.0.mlp.fc1.weight"), "num_hidden_layers", used_blocks(family, blocks),
        "num_attention_heads", width > CHANNELS_PER_HEAD ? width / CHANNELS_PER_HEAD : 1, "max_position_embeddings",
        dim(&shapes, 0, "text_model.embeddings.position_embedding.weight"), "hidden_act",
        is_openclip ? "gelu" : "quick_gelu", "projection_dim",
        is_projected ? dim(&shapes, 0, "text_projection.weight") : width, "eos_token_id", 2);
    return finish(&shapes, made, config);
}
