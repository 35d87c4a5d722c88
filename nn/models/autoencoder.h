/*
 * AutoencoderKL (Rombach et al. 2022, §3.1; diffusers' autoencoder_kl.py): images in [-1, 1] to the mean and
 * log-variance of latents, and latents back to images. Latents here are unscaled: the pipeline multiplies by
 * scaling_factor.
 */
#ifndef HEP_NN_MODELS_AUTOENCODER_H
#define HEP_NN_MODELS_AUTOENCODER_H

#include "nn/graph/graph.h"
#include "nn/models/config.h"
#include "nn/models/stages.h"

/* vae/config.json, the fields that matter. Plain data. */
struct hep_vae_config {
    int levels;
    int block_out_channels[HEP_LEVELS_MAX]; /* from the image's resolution downwards                              */
    int down_block_types[HEP_LEVELS_MAX];   /* all "DownEncoderBlock2D"                                           */
    int up_block_types[HEP_LEVELS_MAX];     /* all "UpDecoderBlock2D"                                             */
    int layers_per_block;                   /* resnets; one more in the decoder                                   */
    int in_channels, out_channels;          /* 3                                                                  */
    int latent_channels;                    /* 4                                                                  */
    int norm_num_groups;
    double scaling_factor; /* pipeline latents = (latents - shift_factor) · scaling_factor        */
    double shift_factor;   /* 0 for every SD model                                               */
    bool use_quant_conv, use_post_quant_conv;
    bool mid_block_add_attention;
};

/* file: how messages call the config ("vae/config.json"). BAD_MODEL, UNSUPPORTED. */
enum hep_status hep_vae_config_read(const json_t *json, const char *file, struct hep_vae_config *config,
                                    struct hep_error *error);
/* Pixels per latent, each way: 2^(levels - 1). */
int64_t hep_vae_scale_factor(const struct hep_vae_config *config);

struct hep_vae_build {
    int64_t batch;            /* n                                                                                   */
    int64_t height, width;    /* of the latents: images are hep_vae_scale_factor times as large                       */
    struct hep_stages stages; /* inner values to give as well; {0} for none                                       */
};

/* Input "image" [n, in_channels, H, W] in [-1, 1]; outputs "mean" and "logvar" [n, latent_channels, h, w], f32. logvar
   is what the network gives: clamp it with hep_vae_clamp_logvar. */
void hep_vae_encoder_build(struct hep_graph *graph, const struct hep_vae_config *config,
                           const struct hep_vae_build *build);
/* Input "z" [n, latent_channels, h, w], unscaled; output "decoded" [n, out_channels, H, W], not clamped; f32. */
void hep_vae_decoder_build(struct hep_graph *graph, const struct hep_vae_config *config,
                           const struct hep_vae_build *build);
/* The decoder in two parts, on the same weights: "z" as above to "features" [n, h, w, channels of the deepest level]
   f32, and these to "decoded". */
void hep_vae_decoder_mid_build(struct hep_graph *graph, const struct hep_vae_config *config,
                               const struct hep_vae_build *build);
void hep_vae_decoder_up_build(struct hep_graph *graph, const struct hep_vae_config *config,
                              const struct hep_vae_build *build);
/* To [-30, 20], in place, as diffusers' DiagonalGaussianDistribution does. */
void hep_vae_clamp_logvar(float *logvar, size_t count);

#endif
