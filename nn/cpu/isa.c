/*
 * Finds the instruction set level of this process. Called by the kernel table, by the oneDNN glue, and by whoever
 * prints or stores the level. Detection asks the processor and the operating system, never a table of model names.
 */
#include "nn/cpu/isa.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *help;
} levels[] = {
#define HEP_ISA_ROW(id, text, help) [HEP_ISA_##id] = {text, help},
    HEP_ISA_LEVELS(HEP_ISA_ROW)
#undef HEP_ISA_ROW
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum hep_isa ceiling = HEP_ISA_COUNT; /* by hep_isa_limit(); HEP_ISA_COUNT is none */
static enum hep_isa chosen;                  /* valid once answered                        */
static bool answered;

#if defined(HEP_ISA_EMULATED)
/* A test build whose avx512bf16 kernels are emulated with AVX2: the level needs no more than that. */
static enum hep_isa detect(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? HEP_ISA_AVX512BF16 : HEP_ISA_PORTABLE;
}
#elif defined(__x86_64__)
#include <cpuid.h>

/* Bits of XCR0: which registers the operating system saves on a context switch. */
enum { XCR0_YMM = 0x06, XCR0_ZMM = 0xe6 };

struct leaf {
    unsigned a, b, c, d;
};

static struct leaf cpuid(unsigned leaf, unsigned subleaf)
{
    struct leaf out = {0, 0, 0, 0};
    if (__get_cpuid_count(leaf, subleaf, &out.a, &out.b, &out.c, &out.d) == 0)
        return (struct leaf){0, 0, 0, 0};
    return out;
}

static unsigned saved_registers(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool all(unsigned have, unsigned want)
{
    return (have & want) == want;
}

static enum hep_isa detect(void)
{
    struct leaf one = cpuid(1, 0), seven = cpuid(7, 0), seven_one = cpuid(7, 1);
    if (!all(one.c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C) || !all(seven.b, bit_AVX2 | bit_BMI2))
        return HEP_ISA_PORTABLE;
    unsigned saved = saved_registers();
    if (!all(saved, XCR0_YMM))
        return HEP_ISA_PORTABLE;
    if (!all(seven.b, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL) || !all(seven.c, bit_AVX512VNNI) ||
        !all(seven_one.a, bit_AVX512BF16) || !all(saved, XCR0_ZMM))
        return HEP_ISA_AVX2;
    return HEP_ISA_AVX512BF16;
}
#else
static enum hep_isa detect(void)
{
    return HEP_ISA_PORTABLE;
}
#endif

static enum hep_isa machine_level;

static void find_machine_level(void)
{
    machine_level = detect();
}

enum hep_isa hep_isa_machine(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_machine_level);
    return machine_level;
}

static enum hep_isa lower(enum hep_isa a, enum hep_isa b)
{
    return a < b ? a : b;
}

/* The level that would be answered now. */
static enum hep_isa limited(enum hep_isa limit)
{
    const char *wish = getenv("HEP_ISA");
    enum hep_isa asked = wish ? hep_isa_from_name(wish) : HEP_ISA_COUNT;
    return lower(hep_isa_machine(), lower(limit, asked));
}

enum hep_isa hep_isa_level(void)
{
    pthread_mutex_lock(&lock);
    if (!answered) {
        chosen = limited(ceiling);
        answered = true;
    }
    enum hep_isa level = chosen;
    pthread_mutex_unlock(&lock);
    return level;
}

enum hep_status hep_isa_limit(enum hep_isa limit, struct hep_error *error)
{
    enum hep_status status = HEP_OK;
    pthread_mutex_lock(&lock);
    if (!answered)
        ceiling = lower(ceiling, limit);
    else if (limit < chosen)
        status = hep_fail(error, HEP_E_NOT_NOW, "the ISA level is already %s; it cannot become %s",
                          hep_isa_name(chosen), hep_isa_name(limit));
    pthread_mutex_unlock(&lock);
    return status;
}

enum hep_status hep_isa_check(struct hep_error *error)
{
    const char *wish = getenv("HEP_ISA");
    if (!wish)
        return HEP_OK;
    enum hep_isa asked = hep_isa_from_name(wish);
    if (asked == HEP_ISA_COUNT) {
        hep_fail(error, HEP_E_BAD_CONFIG, "HEP_ISA=%s names no ISA level", wish);
        return hep_hint(error, "use one of portable, avx2, avx512bf16, or unset it");
    }
    if (asked > hep_isa_machine())
        return hep_fail(error, HEP_E_UNSUPPORTED_HARDWARE, "HEP_ISA=%s, and this machine has %s", wish,
                        hep_isa_name(hep_isa_machine()));
    return HEP_OK;
}

const char *hep_isa_name(enum hep_isa isa)
{
    return isa >= 0 && isa < HEP_ISA_COUNT ? levels[isa].name : "unknown";
}

const char *hep_isa_help(enum hep_isa isa)
{
    return isa >= 0 && isa < HEP_ISA_COUNT ? levels[isa].help : "";
}

enum hep_isa hep_isa_from_name(const char *name)
{
    for (enum hep_isa isa = HEP_ISA_PORTABLE; isa < HEP_ISA_COUNT; isa++)
        if (strcmp(levels[isa].name, name) == 0)
            return isa;
    return HEP_ISA_COUNT;
}
