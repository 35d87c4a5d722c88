/*
 * Images of another size, by a filter: zimg's resampling on the values as they are (sRGB as stored, no linear light).
 * Where an image becomes smaller, the filter is stretched, so that nothing aliases; beyond the border the image is
 * mirrored. The same input gives the same bytes at one ISA level.
 */
#ifndef HEP_POSTPROCESSING_RESIZE_H
#define HEP_POSTPROCESSING_RESIZE_H

#include "common/tensor.h"

enum resize_filter {
    RESIZE_LANCZOS,  /* three lobes                                  */
    RESIZE_BICUBIC,  /* Keys' cubic with a = -0.5 (Catmull and Rom)  */
    RESIZE_BILINEAR, /* the triangle                                 */
    RESIZE_NEAREST,  /* the pixel whose centre is nearest            */
    RESIZE_FILTER_COUNT
};
const char *resize_filter_name(enum resize_filter filter); /* "lanczos" */
bool resize_filter_from_name(const char *name, enum resize_filter *filter);

/* From [height, width, channels] to [out_height, out_width, channels], dense, both of dtype. */
struct resize {
    enum resize_filter filter;
    enum hep_dtype dtype;                         /* u8: rounded to nearest and kept in 0 … 255; f32: neither */
    int64_t channels;                             /* at least 1                                               */
    int64_t height, width, out_height, out_width; /* pixels, in [1, HEP_IMAGE_FILE_SIDE_MAX] */
};

/* Bytes of private memory that resize_image takes. OUT_OF_RANGE: a side; NO_MEMORY. */
enum hep_status resize_memory(const struct resize *resize, uint64_t *bytes, struct hep_error *error);
/* An image of the same size is copied. Errors as resize_memory, and INTERNAL with zimg's words. */
enum hep_status resize_image(const struct resize *resize, const void *from, void *to, struct hep_error *error);

#endif
