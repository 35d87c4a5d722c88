/*
 * Instruction set levels. A level is a bundle: it names every feature that its kernels may use, and the operating
 * system's support for their registers. Levels are cumulative. The process has one level, fixed at the first question
 * and lowered (never raised) by the environment variable HEP_ISA or by hep_isa_limit(). What a processor has but does
 * badly is not a level; it would be a separate flag here.
 */
#ifndef HEP_NN_CPU_ISA_H
#define HEP_NN_CPU_ISA_H

#include "common/status.h"

/* HEP_ISA_LEVEL(name, text, what it includes): to add one, a row here, its test in detect() of isa.c, its flags in
   kernels.cmake, and kernels. */
#define HEP_ISA_LEVELS(HEP_ISA_LEVEL)                                                                                  \
    HEP_ISA_LEVEL(PORTABLE, "portable", "x86-64-v2, or any arm64")                                                     \
    HEP_ISA_LEVEL(AVX2, "avx2", "AVX2, FMA, F16C, BMI2; ymm registers saved")                                          \
    HEP_ISA_LEVEL(AVX512BF16, "avx512bf16", "AVX-512 F, BW, DQ, VL, VNNI, BF16; zmm registers saved")

enum hep_isa {
#define HEP_ISA_ENUM(name, text, help) HEP_ISA_##name,
    HEP_ISA_LEVELS(HEP_ISA_ENUM)
#undef HEP_ISA_ENUM
        HEP_ISA_COUNT
};

/* The level of this process: the machine's, lowered by HEP_ISA (read once; a value that is no level's name is ignored
   here and refused by hep_isa_check()) and by hep_isa_limit(). Any thread; the same answer for the life of the process.
 */
enum hep_isa hep_isa_level(void);
/* The highest level that this machine and this build can run, whatever the limits. */
enum hep_isa hep_isa_machine(void);
/* Lowers the process's level to at most this one. Must be called before the first hep_isa_level() or hep_kernels();
   NOT_NOW after it when it would change the answer. */
enum hep_status hep_isa_limit(enum hep_isa limit, struct hep_error *error);
/* BAD_CONFIG if HEP_ISA is set to something that is no level, UNSUPPORTED_HARDWARE if it names a level that the machine
   does not have. For main functions, before anything else. */
enum hep_status hep_isa_check(struct hep_error *error);

const char *hep_isa_name(enum hep_isa isa);       /* "avx2"                          */
const char *hep_isa_help(enum hep_isa isa);       /* what the level includes         */
enum hep_isa hep_isa_from_name(const char *name); /* HEP_ISA_COUNT if there is none  */

#endif
