/* How far a result is from what it should be; the measures of the reference data (docs/networks.md). */
#ifndef HEP_NN_EVAL_COMPARE_H
#define HEP_NN_EVAL_COMPARE_H

#include "common/tensor.h"

struct hep_difference {
    int64_t elements; /* compared                                                                    */
    double max_abs;   /* largest absolute difference                                                 */
    double max_rel;   /* max_abs / largest absolute expected value                                   */
    double rel_rms;   /* RMS of the difference / RMS of the expected tensor: the one that limits use */
    bool finite;      /* every element of the result is; if not, the three above are infinite        */
};

/* Both dense f32. For images [n, c, h, w] expected may be smaller in h and w: it is the top left corner then.
   BAD_FILE, with both shapes, if they do not fit. Name is for the message. */
enum hep_status hep_compare(const char *name, const float *actual, const struct hep_shape *actual_shape,
                            const float *expected, const struct hep_shape *expected_shape,
                            struct hep_difference *difference, struct hep_error *error);

#endif
