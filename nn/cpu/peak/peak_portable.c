/* Multiply-adds of the level portable: see peak.h. */
#include "nn/cpu/simd/portable.h"
#include "nn/cpu/peak/peak_tmpl.h"

double hep_peak_f32__portable(int64_t rounds, float *sink)
{
    return peak_f32(rounds, sink);
}
