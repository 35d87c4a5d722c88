/*
 * The UNet's config table; called before a graph is built. Fields that would change the result and that Heptad does not
 * run are listed as ONLY with the one value that it runs.
 */
#include "nn/models/unet.h"

static const char *const down_blocks[] = {"DownBlock2D", "CrossAttnDownBlock2D", NULL};
static const char *const up_blocks[] = {"UpBlock2D", "CrossAttnUpBlock2D", NULL};
static const char *const additions[] = {"", "text_time", NULL};

#define KEY(type, key, ...)                                                                                            \
    {                                                                                                                  \
#key, HEP_CONFIG_##type, offsetof(struct hep_unet_config, key), __VA_ARGS__                                    \
    }
#define ONLY(key, value)                                                                                               \
    {                                                                                                                  \
#key, HEP_CONFIG_ONLY, 0, value, 0, 0, NULL                                                                    \
    }
#define LEVELS KEY(LIST, block_out_channels, "[320, 640, 1280, 1280]", 1, 1 << 14, NULL)
/* To add a field: a member of struct hep_unet_config, a row (LEVELS stays first), its use in unet_blocks.c or unet.c.
   Defaults are diffusers'. encoder_keys: of UNet2DConditionModel and ControlNetModel. */
static const struct hep_config_key encoder_keys[] = {
    LEVELS,
    KEY(NAMES, down_block_types,
        "[\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"DownBlock2D\"]", 0, 0,
        down_blocks),
    KEY(INTS, layers_per_block, "2", 1, 16, NULL),
    KEY(INTS, transformer_layers_per_block, "1", 1, 64, NULL),
    KEY(INTS, attention_head_dim, "8", 1, 1024, NULL),
    KEY(INTS, cross_attention_dim, "1280", 1, 1 << 14, NULL),
    KEY(INT, in_channels, "4", 1, 4096, NULL),
    KEY(INT, norm_num_groups, "32", 1, 1 << 14, NULL),
    KEY(REAL, norm_eps, "1e-5", 0, 1, NULL),
    KEY(BOOL, use_linear_projection, "false", 0, 0, NULL),
    KEY(BOOL, flip_sin_to_cos, "true", 0, 0, NULL),
    KEY(REAL, freq_shift, "0", 0, 16, NULL),
    KEY(NAME, addition_embed_type, "\"\"", 0, 0, additions),
    KEY(INT, addition_time_embed_dim, "0", 0, 1 << 14, NULL),
    KEY(INT, projection_class_embeddings_input_dim, "0", 0, 1 << 16, NULL),
    KEY(BOOL, requires_aesthetics_score, "false", 0, 0, NULL), /* of the pipeline's index: model_files.c */
    ONLY(act_fn, "\"silu\""),
    ONLY(attention_type, "\"default\""),
    ONLY(center_input_sample, "false"),
    ONLY(class_embed_type, "null"),
    ONLY(class_embeddings_concat, "false"),
    ONLY(conv_in_kernel, "3"),
    ONLY(cross_attention_norm, "null"),
    ONLY(downsample_padding, "1"),
    ONLY(dual_cross_attention, "false"),
    ONLY(encoder_hid_dim, "null"),
    ONLY(encoder_hid_dim_type, "null"),
    ONLY(mid_block_only_cross_attention, "null"),
    ONLY(mid_block_scale_factor, "1"),
    ONLY(mid_block_type, "\"UNetMidBlock2DCrossAttn\""),
    ONLY(num_attention_heads, "null"),
    ONLY(num_class_embeds, "null"),
    ONLY(only_cross_attention, "false"),
    ONLY(resnet_out_scale_factor, "1.0"),
    ONLY(resnet_skip_time_act, "false"),
    ONLY(resnet_time_scale_shift, "\"default\""),
    ONLY(reverse_transformer_layers_per_block, "null"),
    ONLY(time_cond_proj_dim, "null"),
    ONLY(time_embedding_act_fn, "null"),
    ONLY(time_embedding_dim, "null"),
    ONLY(time_embedding_type, "\"positional\""),
    ONLY(timestep_post_act, "null"),
};
/* Of UNet2DConditionModel alone. */
static const struct hep_config_key decoder_keys[] = {
    LEVELS,
    KEY(NAMES, up_block_types,
        "[\"UpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\"]", 0, 0, up_blocks),
    KEY(INT, out_channels, "4", 1, 4096, NULL),
    ONLY(conv_out_kernel, "3"),
};
#undef LEVELS
#undef KEY
#undef ONLY

static enum hep_status check_levels(const struct hep_unet_config *c, const char *file, struct hep_error *error)
{
    for (int i = 0; i < c->levels; i++) {
        if (c->block_out_channels[i] % c->norm_num_groups != 0)
            return hep_fail(error, HEP_E_BAD_MODEL,
                            "'%s': 'norm_num_groups' %d does not divide %d channels of level %d", file,
                            c->norm_num_groups, c->block_out_channels[i], i);
        bool attends = c->down_block_types[i] == HEP_UNET_BLOCK_CROSS_ATTENTION ||
                       c->up_block_types[c->levels - 1 - i] == HEP_UNET_BLOCK_CROSS_ATTENTION || i == c->levels - 1;
        if (attends && c->block_out_channels[i] % c->attention_head_dim[i] != 0)
            return hep_fail(error, HEP_E_BAD_MODEL,
                            "'%s': 'attention_head_dim' %d (heads) does not divide %d channels of level %d", file,
                            c->attention_head_dim[i], c->block_out_channels[i], i);
        if (c->cross_attention_dim[i] != c->cross_attention_dim[0])
            return hep_fail(error, HEP_E_UNSUPPORTED, "'%s': 'cross_attention_dim' differs between levels", file);
    }
    if (c->block_out_channels[0] % 2 != 0)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s': 'block_out_channels' starts with %d, which is odd", file,
                        c->block_out_channels[0]);
    return HEP_OK;
}

static enum hep_status check_addition(const struct hep_unet_config *c, const char *file, struct hep_error *error)
{
    if (c->addition_embed_type == 0)
        return HEP_OK;
    if (c->addition_time_embed_dim < 2 || c->addition_time_embed_dim % 2 != 0)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s': 'addition_time_embed_dim' is %d, not an even number", file,
                        c->addition_time_embed_dim);
    if (hep_unet_text_embeds_width(c) < 1)
        return hep_fail(
            error, HEP_E_BAD_MODEL,
            "'%s': 'projection_class_embeddings_input_dim' %d leaves no room for text_embeds beside %" PRId64 " × %d",
            file, c->projection_class_embeddings_input_dim, hep_unet_time_ids(c), c->addition_time_embed_dim);
    return HEP_OK;
}

enum hep_status hep_unet_encoder_config_read(const json_t *json, const char *file, struct hep_unet_config *config,
                                             struct hep_error *error)
{
    struct hep_unet_config read = *config;
    HEP_TRY(hep_config_read(json, file, encoder_keys, HEP_COUNT_OF(encoder_keys), &read, &read.levels, error));
    HEP_TRY(check_levels(&read, file, error));
    HEP_TRY(check_addition(&read, file, error));
    *config = read;
    return HEP_OK;
}

enum hep_status hep_unet_config_read(const json_t *json, const char *file, struct hep_unet_config *config,
                                     struct hep_error *error)
{
    struct hep_unet_config read = {0};
    HEP_TRY(hep_config_read(json, file, decoder_keys, HEP_COUNT_OF(decoder_keys), &read, NULL, error));
    HEP_TRY(hep_unet_encoder_config_read(json, file, &read, error));
    *config = read;
    return HEP_OK;
}

int64_t hep_unet_time_ids(const struct hep_unet_config *config)
{
    return config->requires_aesthetics_score ? HEP_UNET_TIME_IDS_SCORED : HEP_UNET_TIME_IDS;
}

int64_t hep_unet_text_embeds_width(const struct hep_unet_config *config)
{
    if (config->addition_embed_type == 0)
        return 0;
    return config->projection_class_embeddings_input_dim - hep_unet_time_ids(config) * config->addition_time_embed_dim;
}
