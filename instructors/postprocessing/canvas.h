/* A larger canvas for an image: where the image stands in it, and what of it is made anew. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_CANVAS_H
#define HEP_INSTRUCTORS_POSTPROCESSING_CANVAS_H

#include "common/status.h"

struct canvas {
    int64_t width, height;            /* of the image, pixels                                          */
    int64_t left, right, top, bottom; /* that the canvas is larger, pixels                             */
    int64_t overlap;                  /* of the image's own edge, on the sides that grow, pixels       */
    double blur;                      /* sigma of the edge of what is made anew, pixels; 0 = hard      */
};

int64_t canvas_width(const struct canvas *canvas);
int64_t canvas_height(const struct canvas *canvas);
/* image: [height, width, 3] u8 → extended: the canvas, [canvas height, canvas width, 3]; round the image lies its
   nearest edge. */
void canvas_image(const struct canvas *canvas, const uint8_t *image, uint8_t *extended);
/* extended: [canvas height, canvas width] u8, 255 is made anew. All that is new is 255. In the image: the larger of
   mask ([height, width], or NULL) and of the overlap, blurred as masks are (blur_run). So a pixel that is further from
   what is new than overlap + int(2.5 · blur + 0.5), and black in the mask, is 0. NO_MEMORY. */
enum hep_status canvas_mask(const struct canvas *canvas, const uint8_t *mask, uint8_t *extended,
                            struct hep_error *error);

#endif
