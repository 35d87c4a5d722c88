/* Dtype table, shapes, float conversions, CRC32C. Pure functions, called by everything that touches tensors. */
#include "common/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct dtype_row {
    const char *name;
    size_t bytes;
    const char *safetensors;
} dtypes[HEP_DTYPE_COUNT] = {
    {"undef", 0, ""},
#define HEP_DTYPE(id, name, bytes, safetensors) {name, bytes, safetensors},
#include "common/dtypes.def"
#undef HEP_DTYPE
};

static const struct dtype_row *dtype_row(enum hep_dtype dtype)
{
    return &dtypes[(unsigned)dtype < HEP_DTYPE_COUNT ? dtype : HEP_DTYPE_UNDEF];
}

const char *hep_dtype_name(enum hep_dtype dtype)
{
    return dtype_row(dtype)->name;
}

size_t hep_dtype_bytes(enum hep_dtype dtype)
{
    return dtype_row(dtype)->bytes;
}

const char *hep_dtype_safetensors(enum hep_dtype dtype)
{
    return dtype_row(dtype)->safetensors;
}

enum hep_dtype hep_dtype_from_name(const char *name)
{
    for (int i = 1; i < HEP_DTYPE_COUNT; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return (enum hep_dtype)i;
    return HEP_DTYPE_UNDEF;
}

enum hep_dtype hep_dtype_from_safetensors(const char *name)
{
    for (int i = 1; i < HEP_DTYPE_COUNT; i++)
        if (strcmp(dtypes[i].safetensors, name) == 0)
            return (enum hep_dtype)i;
    return HEP_DTYPE_UNDEF;
}

bool hep_shape_equal(const struct hep_shape *a, const struct hep_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

bool hep_shape_elements(const struct hep_shape *shape, int64_t *elements)
{
    int64_t product = 1;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] < 0 || __builtin_mul_overflow(product, shape->dims[i], &product))
            return false;
    *elements = product;
    return true;
}

bool hep_shape_bytes(const struct hep_shape *shape, enum hep_dtype dtype, size_t *bytes)
{
    int64_t elements;
    return hep_shape_elements(shape, &elements) &&
           !__builtin_mul_overflow((size_t)elements, hep_dtype_bytes(dtype), bytes);
}

const char *hep_shape_text(const struct hep_shape *shape, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "[");
    for (int i = 0; i < shape->rank && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%" PRId64, i ? ", " : "", shape->dims[i]);
    if (used < size)
        snprintf(buffer + used, size - used, "]");
    return buffer;
}

bool hep_ref_is_placed(const struct hep_tensor_ref *ref)
{
    return ref->segment[0] != '\0';
}

bool hep_ref_is_given(const struct hep_tensor_ref *ref)
{
    return ref->dtype != HEP_DTYPE_UNDEF;
}

enum hep_status hep_ref_check(const struct hep_tensor_ref *ref, struct hep_error *error)
{
    size_t bytes, end;
    if (ref->dtype <= HEP_DTYPE_UNDEF || ref->dtype >= HEP_DTYPE_COUNT)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference has no dtype");
    if (ref->shape.rank < 0 || ref->shape.rank > HEP_TENSOR_RANK_MAX ||
        !hep_shape_bytes(&ref->shape, ref->dtype, &bytes) || __builtin_add_overflow(bytes, ref->offset, &end))
        return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference has an impossible shape");
    if (!hep_ref_is_placed(ref))
        return HEP_OK;
    if (strncmp(ref->segment, "/hep.", 5) != 0 || strchr(ref->segment + 1, '/'))
        return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference names '%s', which is no segment of Heptad",
                        ref->segment);
    if (ref->offset % HEP_ALIGN != 0)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference has offset %" PRIu64 ", not a multiple of %d",
                        ref->offset, HEP_ALIGN);
    return HEP_OK;
}

float hep_bf16_to_f32(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

uint16_t hep_f32_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) /* NaN stays NaN */
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float hep_f16_to_f32(uint16_t value)
{
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16, exponent = (value >> 10) & 0x1fu, mantissa = value & 0x3ffu,
             bits;
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000u | (mantissa << 13);
    } else if (exponent != 0) {
        bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
    } else if (mantissa == 0) {
        bits = sign;
    } else {
        int shift = __builtin_clz(mantissa) - 21; /* brings the leading one to bit 10 */
        bits = sign | ((uint32_t)(113 - shift) << 23) | (((mantissa << shift) & 0x3ffu) << 13);
    }
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

uint16_t hep_f32_to_f16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x33000001u) /* rounds to zero */
        return sign;
    uint32_t mantissa, shift;
    if (magnitude < 0x38800000u) { /* subnormal in f16 */
        shift = 126 - (magnitude >> 23);
        mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    } else {
        shift = 13;
        mantissa = magnitude - 0x38000000u;
    }
    uint32_t result = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
    result += rest > half || (rest == half && (result & 1u));
    return (uint16_t)(sign | result);
}

float hep_f8_e4m3_to_f32(uint8_t value)
{
    uint32_t sign = (uint32_t)(value & 0x80u) << 24, exponent = (value >> 3) & 0xfu, mantissa = value & 7u, bits;
    if ((value & 0x7fu) == 0x7f) {
        bits = sign | 0x7fc00000u;
    } else if (exponent != 0) {
        bits = sign | ((exponent + 120) << 23) | (mantissa << 20);
    } else if (mantissa == 0) {
        bits = sign;
    } else {
        int shift = __builtin_clz(mantissa) - 28; /* brings the leading one to bit 3 */
        bits = sign | ((uint32_t)(121 - shift) << 23) | (((mantissa << shift) & 7u) << 20);
    }
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* f16's upper byte */
float hep_f8_e5m2_to_f32(uint8_t value)
{
    return hep_f16_to_f32((uint16_t)(value << 8));
}

bool hep_dtype_is_float(enum hep_dtype dtype)
{
    return hep_to_f32(NULL, NULL, dtype, 0);
}

bool hep_to_f32(float *to, const void *from, enum hep_dtype dtype, size_t count)
{
    const char *source = from;
    switch (dtype) {
    case HEP_F32:
        if (count > 0)
            memcpy(to, from, count * sizeof *to);
        return true;
    case HEP_F64:
        for (size_t i = 0; i < count; i++) {
            double value;
            memcpy(&value, source + i * sizeof value, sizeof value);
            to[i] = (float)value;
        }
        return true;
    case HEP_F16:
    case HEP_BF16:
        for (size_t i = 0; i < count; i++) {
            uint16_t value;
            memcpy(&value, source + i * sizeof value, sizeof value);
            to[i] = dtype == HEP_F16 ? hep_f16_to_f32(value) : hep_bf16_to_f32(value);
        }
        return true;
    case HEP_F8_E4M3:
    case HEP_F8_E5M2:
        for (size_t i = 0; i < count; i++) {
            uint8_t value = (uint8_t)source[i];
            to[i] = dtype == HEP_F8_E4M3 ? hep_f8_e4m3_to_f32(value) : hep_f8_e5m2_to_f32(value);
        }
        return true;
    default:
        return false;
    }
}

uint32_t hep_crc32c(uint32_t crc, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    crc = ~crc;
#if defined(__SSE4_2__)
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        crc = (uint32_t)__builtin_ia32_crc32di(crc, word);
    }
    for (; bytes > 0; bytes--, p++)
        crc = __builtin_ia32_crc32qi(crc, *p);
#else
    for (; bytes > 0; bytes--, p++) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
    }
#endif
    return ~crc;
}
