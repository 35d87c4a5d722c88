/* The matmul rate of this machine: what hep-bench measures shares against. */
#ifndef HEP_NN_EVAL_ONEDNN_PEAK_H
#define HEP_NN_EVAL_ONEDNN_PEAK_H

#include "common/tensor.h"

/* The best rate of oneDNN's matmul over a few large shapes with packed weights, in GFLOP/s, on omp_get_max_threads()
   threads; takes about `seconds`. dtype: HEP_F32, or HEP_BF16 (UNSUPPORTED_HARDWARE below ISA level avx512bf16). */
enum hep_status hep_matmul_peak(enum hep_dtype dtype, double seconds, double *gflops, struct hep_error *error);

#endif
