/* layer_norm for the level avx512bf16: see layer_norm_tmpl.h. */
#include "nn/cpu/simd/avx512bf16.h"
#include "nn/cpu/layer_norm/layer_norm_tmpl.h"

void hep_layer_norm_f32__avx512bf16(const struct hep_layer_norm_args *a)
{
    layer_norm_run(a, rows_f32);
}

void hep_layer_norm_bf16__avx512bf16(const struct hep_layer_norm_args *a)
{
    layer_norm_run(a, rows_bf16);
}
