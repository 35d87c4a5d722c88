/*
 * Images made larger by an upscaler network, window by window (tiles.h), so that memory is bounded whatever the image's
 * size. A window sees `context` pixels beyond the part that is kept of it. That is all that can change a pixel where
 * the network is shallow; of a deep one a window leaves out what is too far away to matter (docs/postprocessing.md has
 * the numbers).
 *
 * Where windows lie follows from the image's size, the network and the request alone: the bytes do not depend on the
 * machine's memory.
 */
#ifndef HEP_POSTPROCESSING_UPSCALER_H
#define HEP_POSTPROCESSING_UPSCALER_H

#include "instructors/skeleton/networks.h"
#include "nn/models/rrdbnet.h"

/* One upscaler. Plain data; the network belongs to `networks`. */
struct upscaler {
    struct hep_network *network;
    const struct hep_rrdbnet_config *config;
    int64_t scale;         /* pixels out per pixel in, each way                                  */
    int64_t context;       /* pixels, see above                                                  */
    int64_t longest;       /* pixels of a window's side at most, context included                */
    struct hep_call *call; /* whose progress is reported and who may end it; NULL: nobody's      */
};

/* upscaler: the published bundle. window: the longest side of a window in pixels, 0 = by the network; call may be NULL.
   OUT_OF_RANGE: a window of less than four times its context; UNSUPPORTED: a network for other images than RGB; errors
   of networks_get. */
enum hep_status upscaler_open(struct networks *networks, struct hep_instructor *self,
                              const struct hep_tensor_ref *weights, int64_t window, struct hep_call *call,
                              struct upscaler *upscaler, struct hep_error *error);

struct upscaler_cost {
    int64_t windows;
    double flops, window_flops; /* of one image, of one window                    */
    uint64_t bytes;             /* of private memory                              */
};
/* For one image of height × width. */
enum hep_status upscaler_cost(const struct upscaler *upscaler, int64_t height, int64_t width,
                              struct upscaler_cost *cost, struct hep_error *error);
/* from: [height, width, 3]; to: [height · scale, width · scale, 3]; both of dtype (levels.h). OUT_OF_RANGE: the network
   gives a value that is not finite; errors of networks_run. */
enum hep_status upscaler_run(const struct upscaler *upscaler, enum hep_dtype dtype, const void *from, int64_t height,
                             int64_t width, void *to, struct hep_error *error);

#endif
