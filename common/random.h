/*
 * Random numbers whose values are part of the product's contract: a seed gives the same latents here as in other image
 * generators, and the same bytes on every machine and ISA level (no libm, no fused operations, no stream left behind).
 */
#ifndef HEP_COMMON_RANDOM_H
#define HEP_COMMON_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Philox4x32 with 10 rounds. Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". */
void hep_philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4]);

/* Standard normal values as torch's randn gives them on CUDA while every element has a thread of its own: element i of
   draw number `draw` has counter (draw, 0, i, 0) and key (low half of seed, high half). A pure function of (seed, draw,
   element): out[j] is element first_element + j, for j < count. Equal to the goldens within 1e-6. */
void hep_philox_normal(uint64_t seed, uint32_t draw, uint64_t first_element, size_t count, float *out);

/* torch's CPU generator: mt19937 (Matsumoto and Nishimura 1998) and its two ways to normal values. Plain data. */
struct hep_torch_cpu {
    uint32_t words[624]; /* the state of mt19937                                                    */
    uint32_t next;       /* index of the next word; 624: the state must be renewed first            */
    bool has_kept;       /* draws of fewer than 16 values make pairs and keep the second …          */
    double kept;         /* … for the next such draw                                                */
};

/* As torch.manual_seed: only the low 32 bits of the seed count. */
void hep_torch_cpu_seed(struct hep_torch_cpu *generator, uint64_t seed);
/* The next 32 random bits. */
uint32_t hep_torch_cpu_word(struct hep_torch_cpu *generator);
/* The next torch.randn(count): 16 values and more go in blocks of 16 by 24-bit uniforms, and where count is no multiple
   of 16 the last 16 values are drawn again; fewer go by pairs of 53-bit uniforms. Equal to the goldens within 1e-6. */
void hep_torch_cpu_normal(struct hep_torch_cpu *generator, size_t count, float *out);
/* Leaves the generator where hep_torch_cpu_normal(generator, count, …) would. */
void hep_torch_cpu_skip(struct hep_torch_cpu *generator, size_t count);
/* Draw number `draw` (from 0) of a generator seeded with seed, each draw having count values: replays from the seed, so
   it needs no state that a killed process could lose. O(draw · count). */
void hep_torch_cpu_draw(uint64_t seed, uint32_t draw, size_t count, float *out);

#endif
