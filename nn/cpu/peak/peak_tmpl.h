/* The f32 part of peak.h. Included by the level's file after its simd header. */
#include "nn/cpu/peak/peak.h"

enum { CHAINS = 12 }; /* more than latency × pipes on any machine so far */

static double peak_f32(int64_t rounds, float *sink)
{
    vf sum[CHAINS], factor = v_set(0.999999f), more = v_set(1e-7f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = v_set((float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = v_fma(sum[i], factor, more);
    for (int i = 1; i < CHAINS; i++)
        sum[0] = v_add(sum[0], sum[i]);
    *sink = v_sum(sum[0]);
    return 2.0 * (double)rounds * CHAINS * LANES;
}
