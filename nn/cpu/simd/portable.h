/*
 * The vector operations that the templates are written in, four lanes wide, in GNU C vectors: SSE on x86, NEON on
 * arm64. The other headers of this folder have the same functions for their level. v_fma is two roundings here and one
 * there.
 */
#ifndef HEP_NN_CPU_SIMD_PORTABLE_H
#define HEP_NN_CPU_SIMD_PORTABLE_H

#include "common/tensor.h"

#include <math.h>
#include <string.h>

#define HEP_INLINE static inline __attribute__((always_inline, unused))

enum { LANES = 4, HEP_VECTOR_REGISTERS = 16 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));

HEP_INLINE vf v_set(float x)
{
    return (vf){x, x, x, x};
}
HEP_INLINE vf v_zero(void)
{
    return (vf){0, 0, 0, 0};
}
HEP_INLINE vf v_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
HEP_INLINE void v_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}
/* n lanes, 0 < n < LANES; the others read as zero and are not written. */
HEP_INLINE vf v_load_n(const float *p, int64_t n)
{
    vf v = {0, 0, 0, 0};
    memcpy(&v, p, (size_t)n * sizeof(float));
    return v;
}
HEP_INLINE void v_store_n(float *p, vf v, int64_t n)
{
    memcpy(p, &v, (size_t)n * sizeof(float));
}
HEP_INLINE vf v_load_bf16(const uint16_t *p)
{
    vi bits = {(int32_t)((uint32_t)p[0] << 16), (int32_t)((uint32_t)p[1] << 16), (int32_t)((uint32_t)p[2] << 16),
               (int32_t)((uint32_t)p[3] << 16)};
    return (vf)bits;
}
HEP_INLINE void v_store_bf16(uint16_t *p, vf v)
{
    for (int i = 0; i < LANES; i++)
        p[i] = hep_f32_to_bf16(v[i]);
}
HEP_INLINE vf v_load_bf16_n(const uint16_t *p, int64_t n)
{
    vf v = {0, 0, 0, 0};
    for (int64_t i = 0; i < n; i++)
        v[i] = hep_bf16_to_f32(p[i]);
    return v;
}
HEP_INLINE void v_store_bf16_n(uint16_t *p, vf v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = hep_f32_to_bf16(v[i]);
}
HEP_INLINE vf v_load_f16(const uint16_t *p)
{
    return (vf){hep_f16_to_f32(p[0]), hep_f16_to_f32(p[1]), hep_f16_to_f32(p[2]), hep_f16_to_f32(p[3])};
}
HEP_INLINE void v_store_f16(uint16_t *p, vf v)
{
    for (int i = 0; i < LANES; i++)
        p[i] = hep_f32_to_f16(v[i]);
}
HEP_INLINE vf v_add(vf a, vf b)
{
    return a + b;
}
HEP_INLINE vf v_sub(vf a, vf b)
{
    return a - b;
}
HEP_INLINE vf v_mul(vf a, vf b)
{
    return a * b;
}
HEP_INLINE vf v_div(vf a, vf b)
{
    return a / b;
}
HEP_INLINE vf v_fma(vf a, vf b, vf c) /* a · b + c */
{
    return a * b + c;
}
HEP_INLINE vf v_select(vi where, vf yes, vf no)
{
    return (vf)((where & (vi)yes) | (~where & (vi)no));
}
/* a < b ? yes : no, lane by lane */
HEP_INLINE vf v_if_less(vf a, vf b, vf yes, vf no)
{
    return v_select(a < b, yes, no);
}
/* NaN in b is kept */
HEP_INLINE vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
}
HEP_INLINE vf v_min(vf a, vf b)
{
    return v_select(a < b, a, b);
}
HEP_INLINE vf v_abs(vf a)
{
    return (vf)((vi)a & (vi){0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff});
}
/* p · 2^n, where t = 1.5 · 2^23 + n holds the integer n in its low bits: adds n to the exponent. */
HEP_INLINE vf v_scale_by_exponent(vf p, vf t)
{
    return (vf)((vu)p + ((vu)t << 23));
}
/* Sum and maximum over the lanes, in the order ((0+2) + (1+3)). */
HEP_INLINE float v_sum(vf v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}
HEP_INLINE float v_top(vf v)
{
    float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
    return a > b ? a : b;
}

#endif
