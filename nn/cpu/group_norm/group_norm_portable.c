/* group_norm and group_norm_silu for the level portable: see group_norm_tmpl.h. */
#include "nn/cpu/simd/portable.h"
#include "nn/cpu/group_norm/group_norm_tmpl.h"

void hep_group_norm_f32__portable(const struct hep_group_norm_args *a)
{
    group_norm_run(a, moments_f32, apply_f32);
}

void hep_group_norm_bf16__portable(const struct hep_group_norm_args *a)
{
    group_norm_run(a, moments_bf16, apply_bf16);
}

void hep_group_norm_silu_f32__portable(const struct hep_group_norm_args *a)
{
    group_norm_run(a, moments_f32, apply_silu_f32);
}

void hep_group_norm_silu_bf16__portable(const struct hep_group_norm_args *a)
{
    group_norm_run(a, moments_bf16, apply_silu_bf16);
}
