/* Tensors: float conversions against an independent formula over every value, CRC32C vectors, shapes that overflow. */
#include "tests/support/check_status.h"

#include "common/tensor.h"

#include <math.h>
#include <string.h>

/* What the bits mean, by the definition of the format: sign, exponent bits, mantissa bits. */
static double value_of(uint16_t bits, int exponent_bits, int mantissa_bits)
{
    int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1), bias = (1 << (exponent_bits - 1)) - 1;
    double mantissa = bits & ((1 << mantissa_bits) - 1), sign = bits >> 15 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return mantissa == 0 ? sign * INFINITY : NAN;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

static const struct format {
    int exponent_bits, mantissa_bits;
    float (*widen)(uint16_t);
    uint16_t (*narrow)(float);
} formats[] = {{5, 10, hep_f16_to_f32, hep_f32_to_f16}, {8, 7, hep_bf16_to_f32, hep_f32_to_bf16}};

START_TEST(every_16_bit_value_widens_exactly_and_comes_back)
{
    for (size_t f = 0; f < HEP_COUNT_OF(formats); f++)
        for (uint32_t bits = 0; bits < 65536; bits++) {
            double wanted = value_of((uint16_t)bits, formats[f].exponent_bits, formats[f].mantissa_bits);
            float got = formats[f].widen((uint16_t)bits);
            if (isnan(wanted)) {
                ck_assert(isnan(got));
                ck_assert(isnan(formats[f].widen(formats[f].narrow(got))));
                continue;
            }
            ck_assert_msg((double)got == wanted && !signbit(got) == (bits < 0x8000), "%zu %04x: %a, not %a", f, bits,
                          (double)got, wanted);
            ck_assert_uint_eq(formats[f].narrow(got), bits);
        }
}
END_TEST

START_TEST(every_8_bit_value_widens_exactly)
{
    for (uint32_t bits = 0; bits < 256; bits++) {
        uint8_t byte = (uint8_t)bits;
        int exponent = (byte >> 3) & 15, mantissa = byte & 7;
        double wanted =
            (byte & 128 ? -1 : 1) * ldexp(exponent ? mantissa + 8 : mantissa, (exponent ? exponent : 1) - 10);
        float got[2];
        ck_assert(hep_to_f32(&got[0], &byte, HEP_F8_E4M3, 1) && hep_to_f32(&got[1], &byte, HEP_F8_E5M2, 1));
        if ((byte & 127) == 127)
            ck_assert(isnan(got[0]));
        else
            ck_assert_msg((double)got[0] == wanted && !signbit(got[0]) == (bits < 128), "%02x: %a", bits,
                          (double)got[0]);
        wanted = value_of((uint16_t)(bits << 8), 5, 10);
        ck_assert(isnan(wanted) ? isnan(got[1]) : (double)got[1] == wanted);
    }
    ck_assert_double_eq((double)hep_f8_e4m3_to_f32(0x7e), 448);
    ck_assert_double_eq((double)hep_f8_e5m2_to_f32(0x7b), 57344);
    ck_assert(hep_dtype_is_float(HEP_F8_E4M3) && !hep_dtype_is_float(HEP_I64) && !hep_dtype_is_float(HEP_DTYPE_UNDEF));
}
END_TEST

/* Between two neighbours everything goes to the nearer one, the middle to the even one. */
START_TEST(every_16_bit_value_rounds_to_nearest_even)
{
    for (size_t f = 0; f < HEP_COUNT_OF(formats); f++) {
        uint16_t infinity = (uint16_t)(((1u << formats[f].exponent_bits) - 1) << formats[f].mantissa_bits);
        for (uint16_t bits = 0; bits < infinity; bits++) {
            double low = value_of(bits, formats[f].exponent_bits, formats[f].mantissa_bits);
            double high =
                bits + 1 == infinity
                    ? 2 * low - value_of((uint16_t)(bits - 1), formats[f].exponent_bits, formats[f].mantissa_bits)
                    : value_of((uint16_t)(bits + 1), formats[f].exponent_bits, formats[f].mantissa_bits);
            float middle = (float)((low + high) / 2);
            if ((double)middle != (low + high) / 2)
                continue; /* bf16 subnormals next to f32's own end */
            uint16_t even = bits & 1 ? (uint16_t)(bits + 1) : bits;
            ck_assert_msg(formats[f].narrow(middle) == even, "%zu %04x: the middle %a gives %04x", f, bits,
                          (double)middle, formats[f].narrow(middle));
            ck_assert_uint_eq(formats[f].narrow(nextafterf(middle, 0)), bits);
            ck_assert_uint_eq(formats[f].narrow(nextafterf(middle, INFINITY)), bits + 1);
            ck_assert_uint_eq(formats[f].narrow(-middle), even | 0x8000u);
        }
    }
}
END_TEST

START_TEST(arrays_of_every_float_type_become_f32)
{
    const double f64[] = {0.5, -2, 1e300};
    const uint16_t f16[] = {0x3800, 0xc000}, bf16[] = {0x3f00, 0xc000};
    const float f32[] = {0.5f, -2};
    float to[3];
    ck_assert(hep_to_f32(to, f64, HEP_F64, 3) && to[0] == 0.5f && to[1] == -2 && isinf(to[2]));
    ck_assert(hep_to_f32(to, f16, HEP_F16, 2) && to[0] == 0.5f && to[1] == -2);
    ck_assert(hep_to_f32(to, bf16, HEP_BF16, 2) && to[0] == 0.5f && to[1] == -2);
    ck_assert(hep_to_f32(to, f32, HEP_F32, 2) && to[0] == 0.5f && to[1] == -2);
    ck_assert(!hep_to_f32(to, f32, HEP_I32, 2));
}
END_TEST

/* RFC 3720, appendix B.4, and the check value of the CRC catalogue. */
START_TEST(crc32c_gives_the_published_values)
{
    unsigned char bytes[32];
    ck_assert_uint_eq(hep_crc32c(0, "123456789", 9), 0xe3069283u);
    memset(bytes, 0, sizeof bytes);
    ck_assert_uint_eq(hep_crc32c(0, bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    ck_assert_uint_eq(hep_crc32c(0, bytes, 32), 0x62a8ab43u);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    ck_assert_uint_eq(hep_crc32c(0, bytes, 32), 0x46dd794eu);
    for (size_t cut = 0; cut <= 32; cut++)
        ck_assert_uint_eq(hep_crc32c(hep_crc32c(0, bytes, cut), bytes + cut, 32 - cut), 0x46dd794eu);
    ck_assert_uint_eq(hep_crc32c(0, NULL, 0), 0);
}
END_TEST

START_TEST(shapes_that_overflow_are_refused)
{
    size_t bytes;
    int64_t elements;
    struct hep_shape scalar = {.rank = 0}, huge = HEP_SHAPE(INT64_MAX, 2), negative = HEP_SHAPE(4, -1),
                     wide = HEP_SHAPE(INT64_MAX / 2, 2);
    ck_assert(hep_shape_elements(&scalar, &elements) && elements == 1);
    ck_assert(!hep_shape_elements(&huge, &elements));
    ck_assert(!hep_shape_elements(&negative, &elements));
    ck_assert(hep_shape_elements(&wide, &elements));
    ck_assert(!hep_shape_bytes(&wide, HEP_F64, &bytes));
    ck_assert(hep_shape_bytes(&(struct hep_shape){2, {3, 5}}, HEP_BF16, &bytes) && bytes == 30);
    struct hep_tensor_ref ref = {
        .segment = "/hep.a.1", .offset = UINT64_MAX - 63, .dtype = HEP_U8, .shape = HEP_SHAPE(128)};
    ck_assert_fails(hep_ref_check(&ref, error), HEP_E_BAD_REFERENCE);
    ref.offset = 64;
    ck_assert_ok(hep_ref_check(&ref, error));
    ref.shape.rank = HEP_TENSOR_RANK_MAX + 1;
    ck_assert_fails(hep_ref_check(&ref, error), HEP_E_BAD_REFERENCE);
}
END_TEST

START_TEST(names_and_texts_of_dtypes_and_shapes)
{
    char text[64], small[6];
    struct hep_shape shape = HEP_SHAPE(2, 77, 768), same = shape, other = HEP_SHAPE(2, 77);
    ck_assert_str_eq(hep_shape_text(&shape, text, sizeof text), "[2, 77, 768]");
    ck_assert_uint_lt(strlen(hep_shape_text(&shape, small, sizeof small)), sizeof small);
    ck_assert(hep_shape_equal(&shape, &same) && !hep_shape_equal(&shape, &other));
    for (int dtype = 1; dtype < HEP_DTYPE_COUNT; dtype++) {
        ck_assert_int_eq(hep_dtype_from_name(hep_dtype_name((enum hep_dtype)dtype)), dtype);
        ck_assert_int_eq(hep_dtype_from_safetensors(hep_dtype_safetensors((enum hep_dtype)dtype)), dtype);
        ck_assert_uint_gt(hep_dtype_bytes((enum hep_dtype)dtype), 0);
    }
    ck_assert_int_eq(hep_dtype_from_name("F32"), HEP_DTYPE_UNDEF);
    ck_assert_uint_eq(hep_dtype_bytes((enum hep_dtype)99), 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("tensor");
    tcase_add_test(cases, every_16_bit_value_widens_exactly_and_comes_back);
    tcase_add_test(cases, every_8_bit_value_widens_exactly);
    tcase_add_test(cases, every_16_bit_value_rounds_to_nearest_even);
    tcase_add_test(cases, arrays_of_every_float_type_become_f32);
    tcase_add_test(cases, crc32c_gives_the_published_values);
    tcase_add_test(cases, shapes_that_overflow_are_refused);
    tcase_add_test(cases, names_and_texts_of_dtypes_and_shapes);
    return check_status_run("tensor", cases);
}
