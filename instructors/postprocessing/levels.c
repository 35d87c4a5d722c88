/* Images of both dtypes. Called by every operation that reads or writes one; knows no operation. */
#include "instructors/postprocessing/levels.h"

#include <string.h>

enum hep_status levels_check(const char *field, enum hep_dtype dtype, struct hep_error *error)
{
    if (dtype == HEP_U8 || dtype == HEP_F32)
        return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s has dtype %s, images are u8 or f32", field,
                          hep_dtype_name(dtype));
}

enum hep_status levels_check_same(const char *field, enum hep_dtype read, enum hep_dtype written,
                                  struct hep_error *error)
{
    if (read == written)
        return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s has dtype %s, what it is made of has %s", field,
                          hep_dtype_name(written), hep_dtype_name(read));
}

void *levels_of(const struct hep_tensor *images, int64_t index)
{
    const int64_t *dims = images->shape.dims;
    size_t bytes = (size_t)(dims[1] * dims[2] * dims[3]) * hep_dtype_bytes(images->dtype);
    return (uint8_t *)images->data + (size_t)index * bytes;
}

void levels_to_u8(const void *from, enum hep_dtype dtype, int64_t count, uint8_t *to)
{
    if (dtype == HEP_U8)
        memcpy(to, from, (size_t)count);
    for (int64_t i = 0; dtype != HEP_U8 && i < count; i++)
        level_put(to, HEP_U8, i, ((const float *)from)[i]);
}

void levels_to_u16(const float *from, int64_t count, uint16_t *to)
{
    for (int64_t i = 0; i < count; i++) {
        float kept = from[i] <= 0.0f ? 0.0f : from[i] >= 255.0f ? 255.0f : from[i];
        to[i] = (uint16_t)lrintf(kept * 257.0f);
    }
}
