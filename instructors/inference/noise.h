/* Where the noise of images comes from. Pure functions: a killed process asks for the same draw again. */
#ifndef HEP_INSTRUCTORS_INFERENCE_NOISE_H
#define HEP_INSTRUCTORS_INFERENCE_NOISE_H

#include <stddef.h>
#include <stdint.h>

/* Draw `number` of an image, 0 being the initial noise; count standard normal values. */
typedef void row_noise(const void *context, uint64_t seed, uint32_t number, size_t count, float *noise);
row_noise row_noise_philox, row_noise_torch_cpu; /* as torch on CUDA, as torch on the CPU; context unused */
/* The names that requests use, ending with NULL, and the source of one of them; NULL if there is none. */
extern const char *const row_noise_names[];
row_noise *row_noise_find(const char *name);

/* Goes from noise to other on the sphere that they lie on, in noise: strength 0 stays, 1 arrives. As A1111's variation
   seeds do it, each column of each channel is such a sphere. noise, other: [channels, height, width].
   Source: slerp of stable-diffusion-webui 1.10 (modules/rng.py). */
void noise_towards(float *noise, const float *other, int64_t channels, int64_t height, int64_t width, double strength);

#endif
