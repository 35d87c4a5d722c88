/* Images of both dtypes. Called by every operation that reads or writes one; knows no operation. */
#include "instructors/postprocessing/levels.h"

#include <inttypes.h>
#include <stdlib.h>

enum hep_status levels_check(const char *field, enum hep_dtype dtype, struct hep_error *error)
{
    if (dtype == HEP_U8 || dtype == HEP_F32)
        return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s has dtype %s, images are u8 or f32", field,
                          hep_dtype_name(dtype));
}

enum hep_status levels_check_same(const char *field, enum hep_dtype made, enum hep_dtype written,
                                  struct hep_error *error)
{
    if (made == written)
        return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s has dtype %s, what is made here has %s", field,
                          hep_dtype_name(written), hep_dtype_name(made));
}

enum hep_dtype levels_made(enum hep_dtype read, bool deep, bool has_own_values)
{
    return deep && has_own_values ? HEP_F32 : read;
}

void levels_widen(const void *from, enum hep_dtype dtype, int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = level_get(from, dtype, i);
}

/* Levels of one image. */
static int64_t count_of(const struct hep_tensor *images)
{
    return images->shape.dims[1] * images->shape.dims[2] * images->shape.dims[3];
}

void *levels_of(const struct hep_tensor *images, int64_t index)
{
    return (uint8_t *)images->data + (size_t)(index * count_of(images)) * hep_dtype_bytes(images->dtype);
}

enum hep_status levels_bytes(const struct hep_tensor *images, int64_t index, uint8_t **made, const uint8_t **bytes,
                             struct hep_error *error)
{
    const void *levels = levels_of(images, index);
    int64_t count = count_of(images);
    *made = NULL;
    if (images->dtype == HEP_U8) {
        *bytes = levels;
        return HEP_OK;
    }
    *made = malloc((size_t)count);
    if (!*made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the %" PRId64 " bytes of an image", count);
    for (int64_t i = 0; i < count; i++)
        level_put(*made, HEP_U8, i, level_get(levels, images->dtype, i));
    *bytes = *made;
    return HEP_OK;
}

void levels_to_u16(const float *from, int64_t count, uint16_t *to)
{
    for (int64_t i = 0; i < count; i++) {
        float kept = from[i] <= 0.0f ? 0.0f : from[i] >= 255.0f ? 255.0f : from[i];
        to[i] = (uint16_t)lrintf(kept * 257.0f);
    }
}
