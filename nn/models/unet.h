/*
 * UNet2DConditionModel of Stable Diffusion 1.x, 2.x and XL (Rombach et al. 2022, §3.2 and appendix; Podell et al. 2023,
 * §2; diffusers' unet_2d_condition.py): noise prediction from noisy latents, a timestep and the text encoder's states.
 */
#ifndef HEP_NN_MODELS_UNET_H
#define HEP_NN_MODELS_UNET_H

#include "nn/graph/graph.h"
#include "nn/models/config.h"
#include "nn/models/stages.h"

enum hep_unet_block { HEP_UNET_BLOCK_PLAIN, HEP_UNET_BLOCK_CROSS_ATTENTION };

/* unet/config.json, the fields that matter. Plain data. Lists have one entry per level, in the file's order. */
struct hep_unet_config {
    int levels; /* resolutions                                                */
    int block_out_channels[HEP_LEVELS_MAX];
    int down_block_types[HEP_LEVELS_MAX]; /* enum hep_unet_block                                        */
    int up_block_types[HEP_LEVELS_MAX];   /* enum hep_unet_block; from the lowest resolution upwards    */
    int layers_per_block[HEP_LEVELS_MAX]; /* resnets; one more in up blocks                             */
    int transformer_layers_per_block[HEP_LEVELS_MAX];
    int attention_head_dim[HEP_LEVELS_MAX];  /* the number of heads, whatever its name says                */
    int cross_attention_dim[HEP_LEVELS_MAX]; /* width of encoder_hidden_states; all levels alike           */
    int in_channels;                         /* 4; 9 for inpainting                                        */
    int out_channels;
    int norm_num_groups;
    double norm_eps;
    bool use_linear_projection; /* transformers' proj_in and proj_out: linear, not 1×1        */
    bool flip_sin_to_cos;       /* the timestep's sinusoid has the cosines first              */
    double freq_shift;
    int addition_embed_type;                   /* 0: none; 1: "text_time" (SDXL)                             */
    int addition_time_embed_dim;               /* width of each of the time_ids' sinusoids                   */
    int projection_class_embeddings_input_dim; /* text_embeds + the sinusoids of all time_ids                */
    bool requires_aesthetics_score;            /* SDXL's refiner: a score stands in time_ids for the target  */
};

/* file: how messages call the config ("unet/config.json"). BAD_MODEL, UNSUPPORTED. */
enum hep_status hep_unet_config_read(const json_t *json, const char *file, struct hep_unet_config *config,
                                     struct hep_error *error);
/* The part of it that a ControlNet's config has as well: all but the up blocks and the output, which are left as they
 * are.
 */
enum hep_status hep_unet_encoder_config_read(const json_t *json, const char *file, struct hep_unet_config *config,
                                             struct hep_error *error);
/* Numbers of a sample's time_ids: 6 (original height, width, crop top, left, target height, width; pixels), or 5, the
   last of them an aesthetic score in place of the target. Source: _get_add_time_ids of diffusers'
   StableDiffusionXLImg2ImgPipeline. */
enum { HEP_UNET_TIME_IDS = 6, HEP_UNET_TIME_IDS_SCORED = 5 };
int64_t hep_unet_time_ids(const struct hep_unet_config *config);
/* Width of text_embeds that the config asks for; 0 if it takes none. */
int64_t hep_unet_text_embeds_width(const struct hep_unet_config *config);

/* What ControlNets add to the skips, in the order of diffusers' down_block_res_samples, and at last to the mid block.
 */
enum { HEP_UNET_RESIDUALS_MAX = HEP_LEVELS_MAX * 17 + 2 };
struct hep_unet_residuals {
    int count;
    struct hep_unet_residual {
        char input[48];                  /* of the UNet: "down_block_additional_residuals.0" … and
                                            "mid_block_additional_residual"                            */
        char output[16];                 /* of a ControlNet: "down.0" … and "mid"                      */
        int64_t channels, height, width; /* of the tensor, [n, channels, height, width] f32            */
    } items[HEP_UNET_RESIDUALS_MAX];
};
/* height, width: of the latents. */
void hep_unet_residuals(const struct hep_unet_config *config, int64_t height, int64_t width,
                        struct hep_unet_residuals *list);

struct hep_unet_build {
    int64_t batch;            /* n: rows × 2 under guidance                                                       */
    int64_t height, width;    /* of the latents; need not be divisible by the down blocks                         */
    int64_t tokens;           /* of encoder_hidden_states: 77 × chunks                                            */
    struct hep_stages stages; /* inner values to give as well; {0} for none                                       */
    bool residuals;           /* takes what ControlNets add to its skips and its mid block                        */
};

/* Builds the network into graph, all f32 at the border. Inputs: "sample" [n, in_channels, height, width], "timestep"
   [n], "encoder_hidden_states" [n, tokens, cross_attention_dim], and for text_time "text_embeds" [n, w] and "time_ids"
   [n, hep_unet_time_ids]. Output: "out" [n, out_channels, height, width]. With residuals also those of
   hep_unet_residuals. Errors are hep_graph_finish's. */
void hep_unet_build(struct hep_graph *graph, const struct hep_unet_config *config, const struct hep_unet_build *build);

#endif
