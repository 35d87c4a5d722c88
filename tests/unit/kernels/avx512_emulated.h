/*
 * AVX-512 intrinsics on a machine with AVX2, for tests only: SIMDe's, and the few that SIMDe 0.7.4 lacks. Included
 * before everything else (-include) when the kernels of the level avx512bf16 are built for the emulated variant of
 * hep-kernels.
 */
#ifndef HEP_TESTS_AVX512_EMULATED_H
#define HEP_TESTS_AVX512_EMULATED_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/avx512/dpbf16.h>
#include <simde/x86/f16c.h>
#pragma GCC diagnostic pop

#include <stdint.h>
#include <string.h>

static inline simde__m512 emulated_maskz_loadu_ps(uint16_t mask, const float *p)
{
    float lanes[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            lanes[i] = p[i];
    return simde_mm512_loadu_ps(lanes);
}

static inline void emulated_mask_storeu_ps(float *p, uint16_t mask, simde__m512 v)
{
    float lanes[16];
    simde_mm512_storeu_ps(lanes, v);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            p[i] = lanes[i];
}

static inline simde__m512i emulated_cvtepu16_epi32(simde__m256i v)
{
    uint16_t from[16];
    uint32_t to[16];
    memcpy(from, &v, sizeof from);
    for (int i = 0; i < 16; i++)
        to[i] = from[i];
    return simde_mm512_loadu_si512(to);
}

static inline simde__m256i emulated_cvtepi32_epi16(simde__m512i v)
{
    uint32_t from[16];
    uint16_t to[16];
    simde__m256i result;
    memcpy(from, &v, sizeof from);
    for (int i = 0; i < 16; i++)
        to[i] = (uint16_t)from[i];
    memcpy(&result, to, sizeof result);
    return result;
}

/* Round to nearest even; subnormal numbers become zeros, as the instruction has it. */
static inline uint16_t emulated_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7f800000u) == 0)
        return (uint16_t)(bits >> 16 & 0x8000u);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline simde__m512bh emulated_cvtne2ps_pbh(simde__m512 high, simde__m512 low)
{
    float from[32];
    uint16_t to[32];
    simde__m512bh result;
    simde_mm512_storeu_ps(from, low);
    simde_mm512_storeu_ps(from + 16, high);
    for (int i = 0; i < 32; i++)
        to[i] = emulated_bf16(from[i]);
    memcpy(&result, to, sizeof result);
    return result;
}

#define _mm512_maskz_loadu_ps(mask, p)    emulated_maskz_loadu_ps(mask, p)
#define _mm512_mask_storeu_ps(p, mask, v) emulated_mask_storeu_ps(p, mask, v)
#define _mm512_cvtepu16_epi32(v)          emulated_cvtepu16_epi32(v)
#define _mm512_cvtepi32_epi16(v)          emulated_cvtepi32_epi16(v)
#define _mm512_cvtne2ps_pbh(high, low)    emulated_cvtne2ps_pbh(high, low)

#endif
