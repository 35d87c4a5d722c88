/* The operation `blend`: images over their original, where a mask says so. Its row is in ops.c. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_BLEND_H
#define HEP_INSTRUCTORS_POSTPROCESSING_BLEND_H

#include "common/operation.h"

struct blend_request {
    struct hep_tensor_ref images, original, mask, blended;
    bool keep;
};
struct blend_reply {
    int32_t width, height, count;
};
enum { BLEND_FIELDS = 5, BLEND_REPLY_FIELDS = 3 };
extern const struct hep_field blend_fields[BLEND_FIELDS], blend_reply_fields[BLEND_REPLY_FIELDS];
hep_measure blend_measure;
hep_handler blend;

/* places pixels of image over original, weighed by the mask, 255 = image alone. image and blended: of dtype (levels.h).
 */
void blend_pixels(enum hep_dtype dtype, const void *image, const uint8_t *original, const uint8_t *mask, int64_t places,
                  void *blended);

#endif
