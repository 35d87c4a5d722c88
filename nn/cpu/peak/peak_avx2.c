/* Multiply-adds of the level avx2: see peak.h. */
#include "nn/cpu/simd/avx2.h"
#include "nn/cpu/peak/peak_tmpl.h"

double hep_peak_f32__avx2(int64_t rounds, float *sink)
{
    return peak_f32(rounds, sink);
}
