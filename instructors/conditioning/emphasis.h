/* The weights of a prompt, applied to what the text encoder gave. */
#ifndef HEP_CONDITIONING_EMPHASIS_H
#define HEP_CONDITIONING_EMPHASIS_H

#include "common/status.h"

/* Multiplies each token's vector by its weight, then scales each chunk so that the mean over all of its elements is
   what it was before: A1111's emphasis "Original". hidden: [chunks, 77, width] f32, changed in place; weights: [chunks,
   77] f32. A chunk whose weights are all 1 keeps its bytes. Sums run in double, in memory order: the result depends on
   the values only, not on threads or on the other chunks. Errors, with hidden unchanged: OUT_OF_RANGE where the weights
   make the new mean zero or the result not finite. Source: EmphasisOriginal of stable-diffusion-webui 1.10
   (sd_emphasis.py), which is called once per chunk. */
enum hep_status conditioning_apply_weights(float *hidden, const float *weights, size_t chunks, size_t width,
                                           struct hep_error *error);

#endif
