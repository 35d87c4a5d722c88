/* Images brought to a size of another shape, as A1111 does it. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_FIT_H
#define HEP_INSTRUCTORS_POSTPROCESSING_FIT_H

#include "instructors/postprocessing/resize.h"

enum fit_mode {
    FIT_STRETCH, /* each side by itself                                                   */
    FIT_CROP,    /* until it covers the size; what stands out on two sides is cut off     */
    FIT_FILL,    /* until it fits in; what is missing on two sides is its edge, drawn out */
    FIT_MODE_COUNT
};
extern const char *const fit_mode_names[]; /* by mode, ending with NULL */

/* As resize_image, in this mode. Source: resize_image() of stable-diffusion-webui 1.10 (modules/images.py). */
enum hep_status fit_image(const struct resize *resize, enum fit_mode mode, const void *from, void *to,
                          struct hep_error *error);
/* Bytes of private memory that fit_image takes; errors as resize_memory. */
enum hep_status fit_memory(const struct resize *resize, enum fit_mode mode, uint64_t *bytes, struct hep_error *error);

#endif
