/* layer_norm for the level portable: see layer_norm_tmpl.h. */
#include "nn/cpu/simd/portable.h"
#include "nn/cpu/layer_norm/layer_norm_tmpl.h"

void hep_layer_norm_f32__portable(const struct hep_layer_norm_args *a)
{
    layer_norm_run(a, rows_f32);
}

void hep_layer_norm_bf16__portable(const struct hep_layer_norm_args *a)
{
    layer_norm_run(a, rows_bf16);
}
