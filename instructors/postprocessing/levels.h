/*
 * The values of images between operations: u8, or f32 in the same levels, 0 … 255, that nothing has rounded yet. Images
 * are f32 where they are for a 16-bit file. Every operation writes the dtype that it reads, unless it makes new values
 * for such a file out of bytes (levels_made). sRGB as stored.
 */
#ifndef HEP_POSTPROCESSING_LEVELS_H
#define HEP_POSTPROCESSING_LEVELS_H

#include "common/tensor.h"

#include <math.h>

/* BAD_REFERENCE for the field if it is neither u8 nor f32. */
enum hep_status levels_check(const char *field, enum hep_dtype dtype, struct hep_error *error);
/* BAD_REFERENCE if what is written to (field) does not have the dtype of what is made. */
enum hep_status levels_check_same(const char *field, enum hep_dtype made, enum hep_dtype written,
                                  struct hep_error *error);
/* The dtype of what is made of images: that which was read; f32 also of u8 where it is for a file of 16 bits (deep) and
   what is made has values of its own, which 8 bits would round away. */
enum hep_dtype levels_made(enum hep_dtype read, bool deep, bool has_own_values);
/* count levels in f32, whatever they were. */
void levels_widen(const void *from, enum hep_dtype dtype, int64_t count, float *to);
/* Image number index of images [count, height, width, channels]. */
void *levels_of(const struct hep_tensor *images, int64_t index);
/* The same image in bytes, rounded to nearest: in place if it is u8, else in *made, which the caller frees (NULL in
   place). NO_MEMORY. */
enum hep_status levels_bytes(const struct hep_tensor *images, int64_t index, uint8_t **made, const uint8_t **bytes,
                             struct hep_error *error);
/* count f32 levels to the 65536 of a 16-bit file: 257 · level, rounded to nearest. */
void levels_to_u16(const float *from, int64_t count, uint16_t *to);

static inline float level_get(const void *image, enum hep_dtype dtype, int64_t at)
{
    return dtype == HEP_U8 ? (float)((const uint8_t *)image)[at] : ((const float *)image)[at];
}

/* Kept in 0 … 255; rounded to nearest if it is u8. */
static inline void level_put(void *image, enum hep_dtype dtype, int64_t at, float level)
{
    float kept = level <= 0.0f ? 0.0f : level >= 255.0f ? 255.0f : level;
    if (dtype == HEP_U8)
        ((uint8_t *)image)[at] = (uint8_t)lrintf(kept);
    else
        ((float *)image)[at] = kept;
}

#endif
