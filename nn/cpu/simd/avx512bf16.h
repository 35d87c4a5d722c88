/* The operations of simd/portable.h, sixteen lanes wide, for the level avx512bf16; and pairs of bf16 for dot products.
 */
#ifndef HEP_NN_CPU_SIMD_AVX512BF16_H
#define HEP_NN_CPU_SIMD_AVX512BF16_H

#if !defined(HEP_ISA_EMULATED) /* a test build on other machines brings its own definitions of the intrinsics */
#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512VL__) || !defined(__AVX512BF16__)
#error "files named _avx512bf16.c are compiled with -mavx512f … -mavx512bf16: see kernels.cmake"
#endif
#include <immintrin.h>
#endif

#include "common/tensor.h"

#include <math.h>
#include <string.h>

#define HEP_INLINE static inline __attribute__((always_inline, unused))

enum { LANES = 16, HEP_VECTOR_REGISTERS = 32 };
typedef __m512 vf;
typedef __m512i vi;

HEP_INLINE vf v_set(float x)
{
    return _mm512_set1_ps(x);
}
HEP_INLINE vf v_zero(void)
{
    return _mm512_setzero_ps();
}
HEP_INLINE vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
HEP_INLINE void v_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
HEP_INLINE __mmask16 v_first_n(int64_t n)
{
    return (__mmask16)((1u << n) - 1u);
}
HEP_INLINE vf v_load_n(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(v_first_n(n), p);
}
HEP_INLINE void v_store_n(float *p, vf v, int64_t n)
{
    _mm512_mask_storeu_ps(p, v_first_n(n), v);
}
HEP_INLINE vf v_from_bf16(__m256i bits)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
/* Round to nearest even; NaN stays NaN. In integers, because the conversion instruction takes subnormal numbers as
 * zeros. */
HEP_INLINE __m256i v_to_bf16(vf v)
{
    vi bits = _mm512_castps_si512(v);
    vi odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    vi rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    vi quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    __mmask16 is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, is_nan, quiet), 16));
}
HEP_INLINE vf v_load_bf16(const uint16_t *p)
{
    return v_from_bf16(_mm256_loadu_si256((const __m256i *)p));
}
HEP_INLINE void v_store_bf16(uint16_t *p, vf v)
{
    _mm256_storeu_si256((__m256i *)p, v_to_bf16(v));
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
HEP_INLINE vf v_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
HEP_INLINE vf v_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
HEP_INLINE vf v_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
HEP_INLINE vf v_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
HEP_INLINE vf v_fma(vf a, vf b, vf c) /* a · b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
HEP_INLINE vf v_if_less(vf a, vf b, vf yes, vf no)
{
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), yes);
}
HEP_INLINE vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
HEP_INLINE vf v_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
HEP_INLINE vf v_abs(vf a)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)));
}
HEP_INLINE vf v_scale_by_exponent(vf p, vf t)
{
    vi shifted = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), shifted));
}
HEP_INLINE __m256 v_high_half(vf v)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
}
HEP_INLINE float v_sum(vf v)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), v_high_half(v));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
HEP_INLINE float v_top(vf v)
{
    __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), v_high_half(v));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* Thirty-two bf16 numbers, in pairs. */
typedef __m512bh vpairs;
typedef union {
    __m512i bits;
    __m512bh pairs;
} vpairs_bits;

HEP_INLINE vpairs v_pairs(vi bits)
{
    return ((vpairs_bits){.bits = bits}).pairs;
}
HEP_INLINE vpairs v_load_pairs(const uint16_t *p)
{
    return v_pairs(_mm512_loadu_si512(p));
}
/* The pair at p in every lane. */
HEP_INLINE vpairs v_set_pair(const uint16_t *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return v_pairs(_mm512_set1_epi32(pair));
}
/* sum + a[2i] · b[2i] + a[2i + 1] · b[2i + 1] in each lane, f32 */
HEP_INLINE vf v_dot(vf sum, vpairs a, vpairs b)
{
    return _mm512_dpbf16_ps(sum, a, b);
}

#endif
