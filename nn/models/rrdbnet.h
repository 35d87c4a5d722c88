/*
 * RRDBNet (Wang et al. 2018, ESRGAN; Wang et al. 2021, Real-ESRGAN; basicsr's rrdbnet_arch.py): images in [0, 1] to
 * larger ones, by residual-in-residual dense blocks at the input's resolution and nearest-neighbour doublings. A factor
 * below that of the doublings comes from a pixel_unshuffle in front. Upscaler files have no configuration: it follows
 * from their names and shapes (nn/weights/upscaler_config.h).
 */
#ifndef HEP_NN_MODELS_RRDBNET_H
#define HEP_NN_MODELS_RRDBNET_H

#include "nn/graph/graph.h"
#include "nn/models/config.h"
#include "nn/models/stages.h"

/* Names are basicsr's, but for the last two. Plain data. */
struct hep_rrdbnet_config {
    int num_in_ch, num_out_ch; /* of images: 3                                              */
    int num_feat;              /* channels between the blocks: 64                           */
    int num_grow_ch;           /* that each convolution of a dense block adds: 32           */
    int num_block;             /* residual-in-residual dense blocks: 23, or 6               */
    int doublings;             /* conv_up1 … conv_up3: 2                                    */
    int unshuffle;             /* places each way that become channels first: 1, 2 or 4     */
};

/* file: how messages call the config. BAD_MODEL. */
enum hep_status hep_rrdbnet_config_read(const json_t *json, const char *file, struct hep_rrdbnet_config *config,
                                        struct hep_error *error);
/* Pixels out per pixel in, each way: 2^doublings / unshuffle. */
int64_t hep_rrdbnet_scale(const struct hep_rrdbnet_config *config);
/* Pixels each way that a value of the result sees to each side of its own place, counted in the input. */
int64_t hep_rrdbnet_reach(const struct hep_rrdbnet_config *config);

struct hep_rrdbnet_build {
    int64_t batch;            /* n                                                                       */
    int64_t height, width;    /* of the image, multiples of unshuffle                                    */
    struct hep_stages stages; /* inner values to give as well; {0} for none                              */
};

/* Input "image" [n, num_in_ch, height, width] in [0, 1]; output "out" [n, num_out_ch, height · scale, width · scale],
   not clamped; f32. */
void hep_rrdbnet_build(struct hep_graph *graph, const struct hep_rrdbnet_config *config,
                       const struct hep_rrdbnet_build *build);

#endif
