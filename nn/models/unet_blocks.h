/*
 * What UNet2DConditionModel and ControlNetModel have in common: everything from the timestep to the mid block. Private
 * to nn/models. Functions append to the graph in the order of diffusers' code; images are [n, h, w, c].
 */
#ifndef HEP_NN_MODELS_UNET_BLOCKS_H
#define HEP_NN_MODELS_UNET_BLOCKS_H

#include "nn/models/unet.h"

enum { UNET_SKIPS_MAX = HEP_UNET_RESIDUALS_MAX - 1 };

/* What every block needs. */
struct unet_blocks {
    struct hep_graph *g;
    const struct hep_unet_config *c;
    const struct hep_stages *stages;
    hep_value time;                  /* [n, 4 × first channels] f32, after the SiLU that every resnet begins with */
    hep_value context;               /* [n, tokens, cross_attention_dim]                                          */
    hep_value skips[UNET_SKIPS_MAX]; /* a stack: what the down blocks leave for the up blocks                     */
    int skip_count;
};

/* Makes the inputs "timestep", for text_time "text_embeds" and "time_ids", and "encoder_hidden_states", and u's time
   and context of them. */
void unet_conditions(struct unet_blocks *u, int64_t batch, int64_t tokens);
/* ResnetBlock2D: x [n, h, w, in] → [n, h, w, out]. */
hep_value unet_resnet(struct unet_blocks *u, hep_value x, struct hep_scope s, int64_t out);
/* Transformer2DModel: x [n, h, w, c]; the projections around the blocks are linear or 1 × 1 convolutions. */
hep_value unet_transformer(struct unet_blocks *u, hep_value x, struct hep_scope s, int heads, int layers);
void unet_push(struct unet_blocks *u, hep_value x);
/* All down blocks; each leaves its skips. */
hep_value unet_down_blocks(struct unet_blocks *u, hep_value x);
hep_value unet_mid_block(struct unet_blocks *u, hep_value x);

#endif
