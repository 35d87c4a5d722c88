/*
 * Edges of an image (Canny 1986, A Computational Approach to Edge Detection), with the numbers of OpenCV's cv::Canny at
 * an aperture of 3, without smoothing: the hints that ControlNets for edges were trained on. A pure function.
 */
#ifndef HEP_INSTRUCTORS_CONDITIONING_CANNY_H
#define HEP_INSTRUCTORS_CONDITIONING_CANNY_H

#include "common/status.h"

struct canny_options {
    double low_threshold, high_threshold; /* of the gradient; the larger of the two is the high one, whichever it is */
    bool l2_gradient; /* √(dx² + dy²); else |dx| + |dy|, as cv::Canny does unless told otherwise     */
};

/* Memory that canny takes beside its arguments. */
uint64_t canny_bytes(int64_t height, int64_t width);
/* image: [height, width, channels] u8; at each pixel the channel with the steepest gradient counts. edges: [height,
   width] u8, 255 on an edge, else 0. A pixel is on an edge if its gradient is the steepest across the edge and above
   the low threshold, and a chain of such pixels leads to one above the high threshold. NO_MEMORY. */
enum hep_status canny(const uint8_t *image, int64_t height, int64_t width, int64_t channels,
                      const struct canny_options *options, uint8_t *edges, struct hep_error *error);

#endif
