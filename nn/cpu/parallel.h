/*
 * How kernels use threads: a range of items is cut into contiguous parts, one per thread. A kernel's items must be
 * independent and each computed the same way wherever the cuts fall; then its bytes do not depend on the thread count.
 */
#ifndef HEP_NN_CPU_PARALLEL_H
#define HEP_NN_CPU_PARALLEL_H

#include <stdint.h>

/* Computes items first … last - 1. */
typedef void hep_parallel_body(const void *context, int64_t first, int64_t last);

/* Runs body over 0 … items - 1 on omp_get_max_threads() threads, or in the calling thread alone when items ≤ grain
   (waking the others would cost more than the work) or when already inside a parallel region. Returns when all are
   done. */
void hep_parallel_for(int64_t items, int64_t grain, hep_parallel_body *body, const void *context);

#endif
