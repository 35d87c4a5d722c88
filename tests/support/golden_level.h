/* What the golden programs run at: the dtype is their argument (f32), the ISA level comes from HEP_ISA. */
#ifndef HEP_TESTS_GOLDEN_LEVEL_H
#define HEP_TESTS_GOLDEN_LEVEL_H

#include "common/tensor.h"
#include "nn/cpu/isa.h"

#include <stdio.h>

enum { GOLDEN_SKIPPED = 77 }; /* exit status: this machine, or this level, cannot compute the dtype */

/* False, after a line that says why, if the program must end as skipped. */
static inline bool golden_level(int argc, char **argv, enum hep_dtype *dtype)
{
    struct hep_error error = {0};
    *dtype = argc > 1 ? hep_dtype_from_name(argv[1]) : HEP_F32;
    hep_assert(*dtype == HEP_F32 || *dtype == HEP_BF16);
    if (hep_isa_check(&error) != HEP_OK) {
        printf("skipped: %s\n", error.message);
        return false;
    }
    if (*dtype == HEP_BF16 && hep_isa_level() < HEP_ISA_AVX512BF16) {
        printf("skipped: bf16 needs ISA level avx512bf16, this process runs at %s\n", hep_isa_name(hep_isa_level()));
        return false;
    }
    return true;
}

#endif
