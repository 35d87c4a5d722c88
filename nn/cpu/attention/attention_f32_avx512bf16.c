/* Attention of dtype f32 for the level avx512bf16: see attention_f32_tmpl.h. bf16 has a file of its own. */
#include "nn/cpu/simd/avx512bf16.h"
#include "nn/cpu/attention/attention_f32_tmpl.h"

size_t hep_attention_scratch_f32__avx512bf16_6x64(const struct hep_attention_args *a)
{
    return attention_scratch(a);
}

void hep_attention_f32__avx512bf16_6x64(const struct hep_attention_args *a)
{
    attention_run(a, pack_f32, attend_f32);
}
