/* Multiply-adds and bf16 dot products of the level avx512bf16: see peak.h. */
#include "nn/cpu/simd/avx512bf16.h"
#include "nn/cpu/peak/peak_tmpl.h"

double hep_peak_f32__avx512bf16(int64_t rounds, float *sink)
{
    return peak_f32(rounds, sink);
}

double hep_peak_bf16__avx512bf16(int64_t rounds, float *sink)
{
    uint16_t small[2] = {0x3400, 0x3400};
    vf sum[CHAINS];
    vpairs a = v_set_pair(small), b = v_set_pair(small);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = v_set((float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = v_dot(sum[i], a, b);
    for (int i = 1; i < CHAINS; i++)
        sum[0] = v_add(sum[0], sum[i]);
    *sink = v_sum(sum[0]);
    return 4.0 * (double)rounds * CHAINS * LANES;
}
