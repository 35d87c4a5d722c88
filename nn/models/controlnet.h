/*
 * ControlNetModel for Stable Diffusion 1.x, 2.x and XL (Zhang et al. 2023, Adding Conditional Control to Text-to-Image
 * Diffusion Models, §3; diffusers' controlnet.py): the UNet's down and mid blocks on noisy latents and a hint, whose
 * results a UNet adds to its own (hep_unet_build.residuals).
 */
#ifndef HEP_NN_MODELS_CONTROLNET_H
#define HEP_NN_MODELS_CONTROLNET_H

#include "nn/models/unet.h"

/* config.json, the fields that matter. Plain data. */
struct hep_controlnet_config {
    struct hep_unet_config unet; /* up_block_types and out_channels are zero                            */
    int conditioning_channels;   /* of the hint                                                         */
    int conditioning_embedding_levels;
    int conditioning_embedding_out_channels[HEP_LEVELS_MAX]; /* one per level; each but the first halves the hint */
};

/* file: how messages call the config ("config.json"). BAD_MODEL, UNSUPPORTED. */
enum hep_status hep_controlnet_config_read(const json_t *json, const char *file, struct hep_controlnet_config *config,
                                           struct hep_error *error);
/* Pixels of the hint per latent. */
int64_t hep_controlnet_scale_factor(const struct hep_controlnet_config *config);

struct hep_controlnet_build {
    int64_t batch;            /* n                                           */
    int64_t height, width;    /* of the latents                              */
    int64_t tokens;           /* of encoder_hidden_states                    */
    struct hep_stages stages; /* inner values to give as well; {0} for none  */
};

/* Builds the network into graph, all f32 at the border. Inputs: "controlnet_cond" [n, conditioning_channels, height ×
   factor, width × factor] in 0 … 1, and the UNet's, but for its residuals. Outputs: those of hep_unet_residuals, not
   yet scaled. Errors are hep_graph_finish's. */
void hep_controlnet_build(struct hep_graph *graph, const struct hep_controlnet_config *config,
                          const struct hep_controlnet_build *build);

/* What residual `index` of `count` is multiplied with in guess mode: 0.1 for the first … 1 for the mid block's
   (diffusers' torch.logspace(-1, 0, count)). */
double hep_controlnet_guess_factor(int index, int count);

#endif
