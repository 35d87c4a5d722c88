/* The operations of simd/portable.h, eight lanes wide, for the level avx2. */
#ifndef HEP_NN_CPU_SIMD_AVX2_H
#define HEP_NN_CPU_SIMD_AVX2_H

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "files named _avx2.c are compiled with -mavx2 -mfma -mf16c: see kernels.cmake"
#endif

#include "common/tensor.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define HEP_INLINE static inline __attribute__((always_inline, unused))

enum { LANES = 8, HEP_VECTOR_REGISTERS = 16 };
typedef __m256 vf;
typedef __m256i vi;

HEP_INLINE vf v_set(float x)
{
    return _mm256_set1_ps(x);
}
HEP_INLINE vf v_zero(void)
{
    return _mm256_setzero_ps();
}
HEP_INLINE vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
HEP_INLINE void v_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v);
}
HEP_INLINE vi v_first_n(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HEP_INLINE vf v_load_n(const float *p, int64_t n)
{
    return _mm256_maskload_ps(p, v_first_n(n));
}
HEP_INLINE void v_store_n(float *p, vf v, int64_t n)
{
    _mm256_maskstore_ps(p, v_first_n(n), v);
}
HEP_INLINE vf v_from_bf16(__m128i bits)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
/* Round to nearest even; NaN stays NaN. */
HEP_INLINE __m128i v_to_bf16(vf v)
{
    vi bits = _mm256_castps_si256(v), one = _mm256_set1_epi32(1);
    vi odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
    vi rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    vi quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    vi is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    vi high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}
HEP_INLINE vf v_load_bf16(const uint16_t *p)
{
    return v_from_bf16(_mm_loadu_si128((const __m128i *)p));
}
HEP_INLINE void v_store_bf16(uint16_t *p, vf v)
{
    _mm_storeu_si128((__m128i *)p, v_to_bf16(v));
}
HEP_INLINE vf v_load_bf16_n(const uint16_t *p, int64_t n)
{
    uint16_t lanes[LANES] = {0};
    for (int64_t i = 0; i < n; i++)
        lanes[i] = p[i];
    return v_load_bf16(lanes);
}
HEP_INLINE void v_store_bf16_n(uint16_t *p, vf v, int64_t n)
{
    uint16_t lanes[LANES];
    v_store_bf16(lanes, v);
    for (int64_t i = 0; i < n; i++)
        p[i] = lanes[i];
}
HEP_INLINE vf v_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
HEP_INLINE void v_store_f16(uint16_t *p, vf v)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
HEP_INLINE vf v_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
HEP_INLINE vf v_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
HEP_INLINE vf v_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
HEP_INLINE vf v_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
HEP_INLINE vf v_fma(vf a, vf b, vf c) /* a · b + c */
{
    return _mm256_fmadd_ps(a, b, c);
}
HEP_INLINE vf v_if_less(vf a, vf b, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
HEP_INLINE vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
HEP_INLINE vf v_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
HEP_INLINE vf v_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
HEP_INLINE vf v_scale_by_exponent(vf p, vf t)
{
    vi shifted = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), shifted));
}
HEP_INLINE float v_sum(vf v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
HEP_INLINE float v_top(vf v)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#endif
