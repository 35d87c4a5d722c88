/* Attention in f32 arithmetic for the level avx2: see attention_f32_tmpl.h. */
#include "nn/cpu/simd/avx2.h"
#include "nn/cpu/attention/attention_f32_tmpl.h"

size_t hep_attention_scratch__avx2_6x16(const struct hep_attention_args *a)
{
    return attention_scratch(a);
}

void hep_attention_f32__avx2_6x16(const struct hep_attention_args *a)
{
    attention_run(a, pack_f32, attend_f32);
}

void hep_attention_bf16__avx2_6x16(const struct hep_attention_args *a)
{
    attention_run(a, pack_bf16, attend_bf16);
}
