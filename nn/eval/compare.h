/* How far a result is from what it should be; the measures of the reference data (docs/networks.md). */
#ifndef HEP_NN_EVAL_COMPARE_H
#define HEP_NN_EVAL_COMPARE_H

#include "common/tensor.h"

struct hep_difference {
    int64_t elements; /* compared                                                                    */
    double max_abs;   /* largest absolute difference                                                 */
    double max_rel;   /* max_abs / largest absolute expected value                                   */
    double rel_rms;   /* RMS of the difference / RMS of the expected tensor: the one that limits use */
    bool finite;      /* every element of both is; if not, the three above are infinite              */
};

#define HEP_COMPARE_CORNER 8 /* side of the corners that the reference data keeps of a stage's images */

enum hep_compare_part {
    HEP_COMPARE_WHOLE,   /* expected has the shape of the result                                       */
    HEP_COMPARE_CORNERS, /* of images [n, c, h, w] it may have the top left corner: h and w of at most
                            HEP_COMPARE_CORNER                                                         */
};

/* Both dense f32. BAD_FILE, with both shapes, if they do not fit. Name is for the message. */
enum hep_status hep_compare(const char *name, const float *actual, const struct hep_shape *actual_shape,
                            const float *expected, const struct hep_shape *expected_shape, enum hep_compare_part part,
                            struct hep_difference *difference, struct hep_error *error);

#endif
