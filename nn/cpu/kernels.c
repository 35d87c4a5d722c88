/*
 * The dispatch table: portable kernels first, then those of each higher level over them. Called once at planning; runs
 * hold the chosen pointers. Nothing else chooses kernels.
 */
#include "nn/cpu/kernels.h"

#include <pthread.h>
#include <string.h>

static const struct hep_kernel_info rows[] = {
#define HEP_KERNEL(op, dtype, level, symbol) {#op, #symbol, HEP_##dtype, HEP_ISA_##level},
#include "nn/cpu/kernels.def"
};

static const struct {
    const char *op, *help;
} operators[] = {
#define HEP_KERNEL_OP(op, args, help) {#op, help},
#include "nn/cpu/kernels.def"
};

/* Scratch functions of the kernels that need none. */
#define HEP_KERNEL_OP(op, args, help)                                                                                  \
    __attribute__((unused)) static size_t no_##op##_scratch(const struct hep_##args##_args *a)                         \
    {                                                                                                                  \
        (void)a;                                                                                                       \
        return 0;                                                                                                      \
    }
#include "nn/cpu/kernels.def"

void hep_kernels_fill(struct hep_kernels *table, enum hep_isa isa)
{
    memset(table, 0, sizeof *table);
#define HEP_KERNEL_SCRATCH(op, dtype, level, symbol, scratch)                                                          \
    if (HEP_ISA_##level <= isa)                                                                                        \
        table->op[HEP_##dtype] =                                                                                       \
            (struct hep_##op##_kernel){{#op, #symbol, HEP_##dtype, HEP_ISA_##level}, symbol, scratch};
#define HEP_KERNEL(op, dtype, level, symbol) HEP_KERNEL_SCRATCH(op, dtype, level, symbol, no_##op##_scratch)
#include "nn/cpu/kernels.def"
}

static struct hep_kernels chosen;

static void fill_chosen(void)
{
    hep_kernels_fill(&chosen, hep_isa_level());
}

const struct hep_kernels *hep_kernels(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_chosen);
    return &chosen;
}

const char *hep_kernel_help(const char *op)
{
    for (size_t i = 0; i < HEP_COUNT_OF(operators); i++)
        if (strcmp(operators[i].op, op) == 0)
            return operators[i].help;
    return NULL;
}

const struct hep_kernel_info *hep_kernel_row(size_t index)
{
    return index < HEP_COUNT_OF(rows) ? &rows[index] : NULL;
}
