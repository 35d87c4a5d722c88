/* silu, quick_gelu, gelu, relu, leaky_relu, scale and geglu for the level portable: see activation_tmpl.h. */
#include "nn/cpu/simd/portable.h"
#include "nn/cpu/activation/activation_tmpl.h"

void hep_silu_f32__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, silu_f32);
}

void hep_silu_bf16__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, silu_bf16);
}

void hep_quick_gelu_f32__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, quick_gelu_f32);
}

void hep_quick_gelu_bf16__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, quick_gelu_bf16);
}

void hep_gelu_f32__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, gelu_f32);
}

void hep_gelu_bf16__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, gelu_bf16);
}

void hep_relu_f32__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, relu_f32);
}

void hep_relu_bf16__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, relu_bf16);
}

void hep_leaky_relu_f32__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, leaky_relu_f32);
}

void hep_leaky_relu_bf16__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, leaky_relu_bf16);
}

void hep_scale_f32__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, scale_f32);
}

void hep_scale_bf16__portable(const struct hep_rows_args *a)
{
    hep_rows_run(a, scale_bf16);
}

void hep_geglu_f32__portable(const struct hep_rows_args *a)
{
    hep_rows_run_strided(a, geglu_f32);
}

void hep_geglu_bf16__portable(const struct hep_rows_args *a)
{
    hep_rows_run_strided(a, geglu_bf16);
}
