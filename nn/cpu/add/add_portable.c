/* add for the level portable: see add_tmpl.h. */
#include "nn/cpu/simd/portable.h"
#include "nn/cpu/add/add_tmpl.h"

void hep_add_f32__portable(const struct hep_add_args *a)
{
    add_run(a, add_rows_f32, add_segments_f32);
}

void hep_add_bf16__portable(const struct hep_add_args *a)
{
    add_run(a, add_rows_bf16, add_segments_bf16);
}
