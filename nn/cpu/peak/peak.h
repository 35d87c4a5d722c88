/* How many multiply-adds a core can do in registers: the measure for benches. Called by hep-kernels. */
#ifndef HEP_NN_CPU_PEAK_PEAK_H
#define HEP_NN_CPU_PEAK_PEAK_H

#include <stdint.h>

/* Does rounds of independent multiply-adds; returns how many floating-point operations that was (two each). The sum of
   the results goes to *sink, so that they are not left out. f32 vectors of the level; bf16 pairs with bf16 dot
   products. */
double hep_peak_f32__portable(int64_t rounds, float *sink);
double hep_peak_f32__avx2(int64_t rounds, float *sink);
double hep_peak_f32__avx512bf16(int64_t rounds, float *sink);
double hep_peak_bf16__avx512bf16(int64_t rounds, float *sink);

#endif
