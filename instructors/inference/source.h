/*
 * What a request's rows begin from, if not from noise alone: latents of an image, and a mask of what is made anew.
 * Checked with the call, on the worker thread.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_SOURCE_H
#define HEP_INSTRUCTORS_INFERENCE_SOURCE_H

#include "instructors/inference/row.h"

enum { SOURCE_DRAW_MAX = 4096 };

/* The fields of generate that are about it; dtype undefined: left out. */
struct source_request {
    struct hep_tensor_ref init_latents, mask, masked_latents;
    int32_t noise_draw, step_draw;
};
/* The same, mapped. */
struct source {
    const float *latents, *mask, *masked; /* of all images; NULL = none            */
    int32_t noise_draw, step_draw;
    uint32_t crc; /* of all of it: saved steps of another one are worth nothing    */
};

/* The size of the image in pixels: what the request says, else what its init_latents have. MISSING_FIELD. */
struct generate_request;
enum hep_status source_size(const struct generate_request *request, int32_t *width, int32_t *height,
                            struct hep_error *error);
/* Whether they go together and with rows of this shape; references may be unplaced. BAD_REFERENCE, MISSING_FIELD,
   UNSUPPORTED (an inpainting UNet without an image) name the field. */
enum hep_status source_check(const struct source_request *request, int32_t count, const struct row_shape *shape,
                             struct hep_error *error);
/* Maps what the request has. OUT_OF_RANGE: a value that is not finite, or of a mask outside 0 … 1. */
enum hep_status source_open(struct hep_call *call, const struct source_request *request, struct source *source,
                            struct hep_error *error);
/* Of image number index. */
struct row_source source_of_row(const struct source *source, int index, const struct row_shape *shape);

#endif
