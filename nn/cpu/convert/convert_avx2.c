/* Conversions for the level avx2: see convert_tmpl.h. */
#include "nn/cpu/simd/avx2.h"
#include "nn/cpu/convert/convert_tmpl.h"

void hep_to_f32_bf16__avx2(const struct hep_rows_args *a)
{
    hep_rows_run(a, bf16_to_f32);
}

void hep_to_f32_f16__avx2(const struct hep_rows_args *a)
{
    hep_rows_run(a, f16_to_f32);
}

void hep_from_f32_bf16__avx2(const struct hep_rows_args *a)
{
    hep_rows_run(a, f32_to_bf16);
}

void hep_from_f32_f16__avx2(const struct hep_rows_args *a)
{
    hep_rows_run(a, f32_to_f16);
}
