/*
 * The CPU backend: the table of constructors, one row per operator, with what each takes as tails, strides and in-place
 * memory. Below it, the two functions that choose dtypes by the ISA level.
 */
#include "nn/cpu/backend_cpu.h"
#include "nn/cpu/onednn.h"

#include <stdlib.h>
#include <string.h>

#define A        (1u << HEP_SLOT_A)
#define B        (1u << HEP_SLOT_B)
#define C        (1u << HEP_SLOT_C)
#define RESIDUAL (1u << HEP_SLOT_RESIDUAL)
#define ALL_ACTIVATIONS                                                                                                \
    (1u << HEP_ACT_SILU | 1u << HEP_ACT_GELU | 1u << HEP_ACT_QUICK_GELU | 1u << HEP_ACT_RELU | 1u << HEP_ACT_LEAKY_RELU)

static enum hep_status product(struct hep_kernel *kernel, struct hep_error *error)
{
    return kernel->problem.layout->state ? hep_onednn_kernel_create(kernel, error) : hep_cpu_direct(kernel, error);
}

static enum hep_status check_dtype(enum hep_dtype dtype, struct hep_error *error)
{
    if (dtype == HEP_F32)
        return HEP_OK;
    if (dtype != HEP_BF16)
        return hep_fail(error, HEP_E_UNSUPPORTED, "the CPU computes in f32 or bf16, not in %s", hep_dtype_name(dtype));
    if (hep_isa_level() >= HEP_ISA_AVX512BF16)
        return HEP_OK;
    (void)hep_fail(error, HEP_E_UNSUPPORTED_HARDWARE, "dtype bf16 needs ISA level %s, this process runs at %s",
                   hep_isa_name(HEP_ISA_AVX512BF16), hep_isa_name(hep_isa_level()));
    (void)hep_hint(error, "use dtype f32, or auto");
    return HEP_E_UNSUPPORTED_HARDWARE;
}

static enum hep_dtype auto_dtype(void)
{
    return hep_isa_level() >= HEP_ISA_AVX512BF16 ? HEP_BF16 : HEP_F32;
}

static const struct hep_backend backend = {
    .name = "cpu",
    .check_dtype = check_dtype,
    .auto_dtype = auto_dtype,
    .ops =
        {
            [HEP_OP_CONV2D] =
                {.create = product, .in_place = RESIDUAL, .activations = ALL_ACTIVATIONS, .residual = true},
            [HEP_OP_LINEAR] =
                {.create = product, .in_place = RESIDUAL, .activations = ALL_ACTIVATIONS, .residual = true},
            [HEP_OP_GROUP_NORM] =
                {.create = hep_cpu_group_norm, .strided = A, .in_place = A, .activations = 1u << HEP_ACT_SILU},
            [HEP_OP_LAYER_NORM] = {.create = hep_cpu_layer_norm, .strided = A, .in_place = A},
            [HEP_OP_ACTIVATE] = {.create = hep_cpu_rows, .strided = A, .in_place = A},
            [HEP_OP_SCALE] = {.create = hep_cpu_rows, .strided = A, .in_place = A},
            [HEP_OP_GEGLU] = {.create = hep_cpu_rows, .strided = A},
            [HEP_OP_CONVERT] = {.create = hep_cpu_rows, .strided = A},
            [HEP_OP_COPY] = {.create = hep_cpu_rows, .strided = A},
            [HEP_OP_ADD] = {.create = hep_cpu_add, .strided = A | B, .in_place = A},
            [HEP_OP_ADD_CHANNELS] = {.create = hep_cpu_add, .strided = A | B, .in_place = A},
            [HEP_OP_FROM_NCHW] = {.create = hep_cpu_transpose},
            [HEP_OP_TO_NCHW] = {.create = hep_cpu_transpose},
            [HEP_OP_CONCAT] = {.create = hep_cpu_concat, .strided = A | B},
            [HEP_OP_RESIZE] = {.create = hep_cpu_resize, .strided = A},
            [HEP_OP_ATTENTION] = {.create = hep_cpu_attention, .strided = A | B | C},
            [HEP_OP_EMBEDDING] = {.create = hep_cpu_embedding},
            [HEP_OP_POOL_EOS] = {.create = hep_cpu_pool_eos, .strided = A},
            [HEP_OP_TIMESTEP] = {.create = hep_cpu_timestep},
        },
    .layout_create = hep_cpu_layout_create,
    .layout_clear = hep_cpu_layout_clear,
    .pack = hep_cpu_pack,
    .build_text = hep_onednn_build_text,
};

const struct hep_backend *hep_cpu_backend(void)
{
    return &backend;
}

/* ---- shared by the constructors ---- */

static void clear(struct hep_kernel *kernel)
{
    free(kernel->state);
    kernel->state = NULL;
}

/* Rows of the same operator above the process's level. */
static void why(const struct hep_kernel *kernel, FILE *to)
{
    const struct hep_kernel_info *row, *mine = NULL;
    for (size_t i = 0; !mine && (row = hep_kernel_row(i)); i++)
        if (strcmp(row->symbol, kernel->symbol) == 0)
            mine = row;
    for (size_t i = 0; mine && (row = hep_kernel_row(i)); i++)
        if (row->isa > hep_isa_level() && row->dtype == mine->dtype && strcmp(row->op, mine->op) == 0)
            fprintf(to, "  not %s: it needs ISA level %s, this process runs at %s\n", row->symbol,
                    hep_isa_name(row->isa), hep_isa_name(hep_isa_level()));
}

enum hep_status hep_own_create(struct hep_kernel *kernel, const struct hep_own *own, const struct hep_kernel_info *info,
                               bool missing, void (*run)(const struct hep_kernel *, void *const *),
                               struct hep_error *error)
{
    char text[160];
    if (missing)
        return hep_fail(error, HEP_E_UNSUPPORTED, "the CPU has no kernel for %s",
                        hep_problem_text(&kernel->problem, text, sizeof text));
    struct hep_own *state = malloc(sizeof *state);
    if (!state)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a kernel");
    *state = *own;
    kernel->state = state;
    kernel->clear = clear;
    kernel->why = why;
    kernel->symbol = info->symbol;
    kernel->run = run;
    return HEP_OK;
}
