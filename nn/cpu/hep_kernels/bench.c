/* The peak that hep-kernels' benches are compared with: measured once per process, level and dtype, on all threads
 * together. */
#include "nn/cpu/hep_kernels/check.h"
#include "nn/cpu/peak/peak.h"

#include <omp.h>
#include <time.h>

typedef double peak_function(int64_t rounds, float *sink);

static peak_function *function_of(enum hep_isa isa, enum hep_dtype dtype)
{
#if defined(__x86_64__)
    if (isa == HEP_ISA_AVX512BF16)
        return dtype == HEP_BF16 ? hep_peak_bf16__avx512bf16 : hep_peak_f32__avx512bf16;
    if (isa == HEP_ISA_AVX2)
        return hep_peak_f32__avx2;
#endif
    (void)isa;
    (void)dtype;
    return hep_peak_f32__portable;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* All threads at once, as kernels run. */
static double measure(peak_function *function, int threads)
{
    double best = 0.0;
    for (int turn = 0; turn < 6; turn++) {
        double flops = 0.0, start = seconds();
#pragma omp parallel num_threads(threads) reduction(+ : flops)
        {
            float sink;
            volatile float kept;
            flops += function(2000000, &sink);
            kept = sink;
            (void)kept;
        }
        double rate = flops / (seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

double bench_peak_flops(enum hep_isa isa, enum hep_dtype dtype, int threads)
{
    static double known[HEP_ISA_COUNT][HEP_DTYPE_COUNT];
    if (known[isa][dtype] == 0.0)
        known[isa][dtype] = measure(function_of(isa, dtype), threads);
    return known[isa][dtype];
}
