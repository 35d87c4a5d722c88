/*
 * Previews of a job that asks for them: after an evaluation has been committed, the clean latent that it saw as a small
 * picture, sent on the report channel. Never part of an image: nothing reads a preview back, and a job without them
 * pays one comparison for each row. Called by group.c.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_PREVIEW_H
#define HEP_INSTRUCTORS_INFERENCE_PREVIEW_H

#include "common/preview.h"
#include "instructors/inference/row.h"

#include <stdatomic.h>

enum { PREVIEW_MS_DEFAULT = 250 };

/* Of one job. Zero-initialised: none is asked for. Rows of one job may be committed by several threads. */
struct previews {
    struct hep_preview_map map;
    int64_t every_us;               /* one preview of the job in so long; 0: after every evaluation  */
    atomic_int_fast64_t shown_us;   /* monotonic: the last one                                       */
    atomic_int_fast32_t last_shown; /* the row that it was of, + 1: the rows take turns              */
};

/* Whether a preview of this row is due now; if so, the next one is not before every_us have passed. */
bool preview_is_due(struct previews *previews, const struct row *row, int32_t rows, int64_t now_us);
/* The clean latent that evaluation e of the row saw, as pixels: rgb [height, width, 3] u8, at most
   HEP_PREVIEW_PIXELS_MAX of them, each the mean of a square of latents. Where a mask keeps the image, its own latents
   show. state, model: as row_step had them. */
void preview_pixels(const struct previews *previews, const struct row *row, int32_t e, const float *state,
                    const float *model, uint8_t *rgb, int32_t *height, int32_t *width);
/* After row_step: sends a preview of evaluation e if one is due. What cannot be sent now is dropped. */
void preview_show(struct previews *previews, struct hep_call *call, const struct row *row, int32_t rows, int32_t e,
                  const float *state, const float *model);

#endif
