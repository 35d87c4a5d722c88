/*
 * The table of published architectures, as their config files have them; called by hep-bench. Only fields that differ
 * from the defaults of nn/models' config tables, or that tell a reader what the model is, are spelled out.
 */
#include "nn/eval/arch.h"

#include <string.h>

#define CLIP_L                                                                                                         \
    "{\"architectures\": [\"CLIPTextModel\"], \"model_type\": \"clip_text_model\", \"vocab_size\": 49408,"             \
    " \"hidden_size\": 768, \"intermediate_size\": 3072, \"num_hidden_layers\": 12, \"num_attention_heads\": 12,"      \
    " \"max_position_embeddings\": 77, \"hidden_act\": \"quick_gelu\", \"layer_norm_eps\": 1e-05,"                     \
    " \"projection_dim\": 768, \"bos_token_id\": 0, \"eos_token_id\": 2, \"pad_token_id\": 1}"

/* OpenCLIP's ViT-H/14 text tower without its last layer */
#define CLIP_H                                                                                                         \
    "{\"architectures\": [\"CLIPTextModel\"], \"model_type\": \"clip_text_model\", \"vocab_size\": 49408,"             \
    " \"hidden_size\": 1024, \"intermediate_size\": 4096, \"num_hidden_layers\": 23, \"num_attention_heads\": 16,"     \
    " \"max_position_embeddings\": 77, \"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-05,"                           \
    " \"projection_dim\": 512, \"bos_token_id\": 0, \"eos_token_id\": 2, \"pad_token_id\": 1}"

/* OpenCLIP's ViT-bigG/14 text tower */
#define CLIP_BIG_G                                                                                                     \
    "{\"architectures\": [\"CLIPTextModelWithProjection\"], \"model_type\": \"clip_text_model\","                      \
    " \"vocab_size\": 49408, \"hidden_size\": 1280, \"intermediate_size\": 5120, \"num_hidden_layers\": 32,"           \
    " \"num_attention_heads\": 20, \"max_position_embeddings\": 77, \"hidden_act\": \"gelu\","                         \
    " \"layer_norm_eps\": 1e-05, \"projection_dim\": 1280, \"bos_token_id\": 0, \"eos_token_id\": 2,"                  \
    " \"pad_token_id\": 1}"

#define VAE(sample_size, scaling_factor)                                                                               \
    "{\"_class_name\": \"AutoencoderKL\", \"block_out_channels\": [128, 256, 512, 512],"                               \
    " \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\","                  \
    " \"DownEncoderBlock2D\"], \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\","                       \
    " \"UpDecoderBlock2D\", \"UpDecoderBlock2D\"], \"layers_per_block\": 2, \"in_channels\": 3, \"out_channels\": 3,"  \
    " \"latent_channels\": 4, \"norm_num_groups\": 32, \"act_fn\": \"silu\", \"sample_size\": " sample_size ","        \
    " \"scaling_factor\": " scaling_factor "}"

#define BLOCKS_SD                                                                                                      \
    "\"block_out_channels\": [320, 640, 1280, 1280], \"layers_per_block\": 2,"                                         \
    " \"down_block_types\": [\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\","            \
    " \"DownBlock2D\"], \"up_block_types\": [\"UpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\","           \
    " \"CrossAttnUpBlock2D\"]"

#define UNET_COMMON                                                                                                    \
    "{\"_class_name\": \"UNet2DConditionModel\", \"in_channels\": 4, \"out_channels\": 4, \"act_fn\": \"silu\","       \
    " \"center_input_sample\": false, \"downsample_padding\": 1, \"flip_sin_to_cos\": true, \"freq_shift\": 0,"        \
    " \"mid_block_scale_factor\": 1, \"norm_eps\": 1e-05, \"norm_num_groups\": 32, "

#define CONTROLNET_COMMON                                                                                              \
    "{\"_class_name\": \"ControlNetModel\", \"in_channels\": 4, \"act_fn\": \"silu\", \"layers_per_block\": 2,"        \
    " \"conditioning_channels\": 3, \"conditioning_embedding_out_channels\": [16, 32, 96, 256],"                       \
    " \"controlnet_conditioning_channel_order\": \"rgb\", \"global_pool_conditions\": false, "

#define CONTROLNET_BLOCKS_SD                                                                                           \
    "\"block_out_channels\": [320, 640, 1280, 1280],"                                                                  \
    " \"down_block_types\": [\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\","            \
    " \"DownBlock2D\"]"

#define BETAS                                                                                                          \
    "\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\","                              \
    " \"num_train_timesteps\": 1000, \"clip_sample\": false, \"set_alpha_to_one\": false, \"steps_offset\": 1,"        \
    " \"skip_prk_steps\": true"

#define END_TOKEN "<|endoftext|>"

/* To add an architecture: a row. */
static const struct hep_arch archs[] = {
    {"sd15",
     "Stable Diffusion 1.5",
     512,
     "StableDiffusionPipeline",
     "PNDMScheduler",
     "{\"_class_name\": \"PNDMScheduler\", " BETAS "}",
     {END_TOKEN, NULL},
     {{"text_encoder", "CLIPTextModel", CLIP_L},
      {"unet", "UNet2DConditionModel",
       UNET_COMMON BLOCKS_SD ", \"sample_size\": 64, \"attention_head_dim\": 8, \"cross_attention_dim\": 768}"},
      {"vae", "AutoencoderKL", VAE("512", "0.18215")}},
     {"controlnet", "ControlNetModel",
      CONTROLNET_COMMON CONTROLNET_BLOCKS_SD ", \"attention_head_dim\": 8, \"cross_attention_dim\": 768}"}},
    {"sd21",
     "Stable Diffusion 2.1 (v-prediction, 768)",
     768,
     "StableDiffusionPipeline",
     "DDIMScheduler",
     "{\"_class_name\": \"DDIMScheduler\", \"prediction_type\": \"v_prediction\", " BETAS "}",
     {"!", NULL},
     {{"text_encoder", "CLIPTextModel", CLIP_H},
      {"unet", "UNet2DConditionModel",
       UNET_COMMON BLOCKS_SD
       ", \"sample_size\": 96, \"attention_head_dim\": [5, 10, 20, 20],"
       " \"cross_attention_dim\": 1024, \"use_linear_projection\": true, \"upcast_attention\": true}"},
      {"vae", "AutoencoderKL", VAE("768", "0.18215")}},
     {"controlnet", "ControlNetModel",
      CONTROLNET_COMMON CONTROLNET_BLOCKS_SD ", \"attention_head_dim\": [5, 10, 20, 20], \"cross_attention_dim\": 1024,"
                                             " \"use_linear_projection\": true}"}},
    {"sdxl",
     "Stable Diffusion XL base 1.0",
     1024,
     "StableDiffusionXLPipeline",
     "EulerDiscreteScheduler",
     "{\"_class_name\": \"EulerDiscreteScheduler\", \"prediction_type\": \"epsilon\","
     " \"interpolation_type\": \"linear\", \"timestep_spacing\": \"leading\", \"use_karras_sigmas\": false, " BETAS "}",
     {END_TOKEN, "!"},
     {{"text_encoder", "CLIPTextModel", CLIP_L},
      {"text_encoder_2", "CLIPTextModelWithProjection", CLIP_BIG_G},
      {"unet", "UNet2DConditionModel",
       UNET_COMMON "\"block_out_channels\": [320, 640, 1280], \"layers_per_block\": 2,"
                   " \"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\"],"
                   " \"up_block_types\": [\"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", \"UpBlock2D\"],"
                   " \"sample_size\": 128, \"attention_head_dim\": [5, 10, 20], \"cross_attention_dim\": 2048,"
                   " \"transformer_layers_per_block\": [1, 2, 10], \"use_linear_projection\": true,"
                   " \"addition_embed_type\": \"text_time\", \"addition_time_embed_dim\": 256,"
                   " \"projection_class_embeddings_input_dim\": 2816}"},
      {"vae", "AutoencoderKL", VAE("1024", "0.13025")}},
     {"controlnet", "ControlNetModel",
      CONTROLNET_COMMON "\"block_out_channels\": [320, 640, 1280],"
                        " \"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\"],"
                        " \"attention_head_dim\": [5, 10, 20], \"cross_attention_dim\": 2048,"
                        " \"transformer_layers_per_block\": [1, 2, 10], \"use_linear_projection\": true,"
                        " \"addition_embed_type\": \"text_time\", \"addition_time_embed_dim\": 256,"
                        " \"projection_class_embeddings_input_dim\": 2816}"}},
};

const struct hep_arch *hep_arch_at(size_t index)
{
    return index < HEP_COUNT_OF(archs) ? &archs[index] : NULL;
}

const struct hep_arch *hep_arch_find(const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(archs); i++)
        if (strcmp(archs[i].name, name) == 0)
            return &archs[i];
    return NULL;
}

const struct hep_arch_component *hep_arch_component(const struct hep_arch *arch, const char *name)
{
    for (size_t i = 0; i < HEP_ARCH_COMPONENTS_MAX && arch->components[i].name; i++)
        if (strcmp(arch->components[i].name, name) == 0)
            return &arch->components[i];
    return arch->controlnet.name && strcmp(arch->controlnet.name, name) == 0 ? &arch->controlnet : NULL;
}
