/*
 * What a request's rows are told beside their latents: the conditioning of each step, the pooled embedding, and SDXL's
 * sizes. Checked with the call, on the worker thread.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_TEXT_H
#define HEP_INSTRUCTORS_INFERENCE_TEXT_H

#include "instructors/inference/row.h"
#include "nn/models/unet.h"

struct generate_request; /* batch.h */

enum { AESTHETIC_SCORE_MAX = 10, SIZE_PIXELS_MAX = 1 << 16, VARIANTS_MAX = 2 * HEP_PROMPT_VARIANTS_MAX };

/* SDXL's micro-conditioning, pixels; 0 in original and target: as width and height, or as for the positive prompt. */
struct sizes_request {
    int32_t original_width, original_height, crop_left, crop_top, target_width, target_height;
};
/* The fields of generate that are about it; schedule of undefined dtype: left out. */
struct text_request {
    struct hep_tensor_ref schedule;
    struct sizes_request sizes, negative_sizes;
    double aesthetic_score, negative_aesthetic_score; /* of SDXL's refiner */
};
/* The same, mapped. */
struct text {
    struct row_text row; /* the same for all rows                                                          */
    int32_t *schedule;   /* owned copy: a conditioning that is asked again writes the arena's meanwhile    */
    uint32_t crc;        /* of all of it: saved steps of another one are worth nothing                      */
};

/* Whether it goes together and with this UNet; tokens and width of the conditioning are those of shape. References may
   be unplaced. BAD_REFERENCE, MISSING_FIELD and UNSUPPORTED (sizes for a UNet that knows none) name the field. */
enum hep_status text_check(const struct generate_request *request, const struct hep_unet_config *config,
                           const struct row_shape *shape, struct hep_error *error);
/* Maps what the request has, for rows of this shape and a plan of so many steps. The caller clears text.
   OUT_OF_RANGE: a value that is not finite, a schedule of fewer steps or of variants that are not there. */
enum hep_status text_open(struct hep_call *call, const struct generate_request *request, const struct row_shape *shape,
                          int32_t steps, struct text *text, struct hep_error *error);
void text_clear(struct text *text); /* zeroed is accepted */

#endif
