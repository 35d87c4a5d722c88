/* Constructors of norms and elementwise operators over Heptad's own kernels. Called through backend.c's table. */
#include "nn/cpu/backend_cpu.h"

static int64_t places_of(const struct hep_shape *s)
{
    return hep_rows(s) / s->dims[0];
}

/* ---- norms ---- */

static void run_group_norm(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_group_norm_args a = own->args.group_norm;
    a.x = at[HEP_SLOT_A];
    a.gamma = at[HEP_SLOT_WEIGHT];
    a.beta = at[HEP_SLOT_BIAS];
    a.y = at[HEP_SLOT_OUT];
    a.scratch = at[HEP_SLOT_SCRATCH];
    a.use = kernel->use_moments;
    a.collect = kernel->collect_moments;
    if (kernel->problem.activation)
        ((const struct hep_group_norm_silu_kernel *)own->kernel)->run(&a);
    else
        ((const struct hep_group_norm_kernel *)own->kernel)->run(&a);
}

enum hep_status hep_cpu_group_norm(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_problem *p = &kernel->problem;
    const struct hep_operand *x = &p->operand[HEP_SLOT_A], *out = &p->operand[HEP_SLOT_OUT];
    struct hep_own own = {.args.group_norm = {.images = x->shape.dims[0],
                                              .places = places_of(&x->shape),
                                              .channels = hep_row(&x->shape),
                                              .groups = p->attr.groups,
                                              .eps = (float)p->attr.eps,
                                              .x_stride = x->row_stride,
                                              .y_stride = out->row_stride}};
    const struct hep_group_norm_kernel *plain = &hep_kernels()->group_norm[x->dtype];
    const struct hep_group_norm_silu_kernel *silu = &hep_kernels()->group_norm_silu[x->dtype];
    bool fused = p->activation == HEP_ACT_SILU, missing = fused ? !silu->run : !plain->run;
    own.kernel = fused ? (const void *)silu : plain;
    HEP_TRY(hep_own_create(kernel, &own, fused ? &silu->info : &plain->info, missing, run_group_norm, error));
    kernel->scratch_bytes = fused ? silu->scratch(&own.args.group_norm) : plain->scratch(&own.args.group_norm);
    return HEP_OK;
}

static void run_layer_norm(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_layer_norm_args a = own->args.layer_norm;
    a.x = at[HEP_SLOT_A];
    a.gamma = at[HEP_SLOT_WEIGHT];
    a.beta = at[HEP_SLOT_BIAS];
    a.y = at[HEP_SLOT_OUT];
    ((const struct hep_layer_norm_kernel *)own->kernel)->run(&a);
}

enum hep_status hep_cpu_layer_norm(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_operand *x = &kernel->problem.operand[HEP_SLOT_A], *out = &kernel->problem.operand[HEP_SLOT_OUT];
    const struct hep_layer_norm_kernel *row = &hep_kernels()->layer_norm[x->dtype];
    struct hep_own own = {.kernel = row,
                          .args.layer_norm = {.rows = hep_rows(&x->shape),
                                              .channels = hep_row(&x->shape),
                                              .eps = (float)kernel->problem.attr.eps,
                                              .x_stride = x->row_stride,
                                              .y_stride = out->row_stride}};
    return hep_own_create(kernel, &own, &row->info, !row->run, run_layer_norm, error);
}

/* ---- operators on rows ---- */

/* The kernels that take struct hep_rows_args differ in type by name only; this is what they share. */
struct rows_kernel {
    struct hep_kernel_info info;
    void (*run)(const struct hep_rows_args *a);
};
#define ROWS_KERNEL(op, dtype) ((struct rows_kernel){hep_kernels()->op[dtype].info, hep_kernels()->op[dtype].run})

static struct rows_kernel choose(const struct hep_problem *p)
{
    enum hep_dtype from = p->operand[HEP_SLOT_A].dtype, to = p->operand[HEP_SLOT_OUT].dtype;
    switch (p->op) {
    case HEP_OP_GEGLU:
        return ROWS_KERNEL(geglu, from);
    case HEP_OP_SCALE:
        return ROWS_KERNEL(scale, from);
    case HEP_OP_COPY:
        return ROWS_KERNEL(copy, from);
    case HEP_OP_CONVERT:
        return from == HEP_F32 ? ROWS_KERNEL(from_f32, to) : ROWS_KERNEL(to_f32, from);
    default:
        break;
    }
    switch (p->activation) {
    case HEP_ACT_SILU:
        return ROWS_KERNEL(silu, from);
    case HEP_ACT_GELU:
        return ROWS_KERNEL(gelu, from);
    case HEP_ACT_QUICK_GELU:
        return ROWS_KERNEL(quick_gelu, from);
    case HEP_ACT_RELU:
        return ROWS_KERNEL(relu, from);
    case HEP_ACT_LEAKY_RELU:
        return ROWS_KERNEL(leaky_relu, from);
    default:
        return (struct rows_kernel){0};
    }
}

static void run_rows(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_rows_args a = own->args.rows;
    a.x = at[HEP_SLOT_A];
    a.y = at[HEP_SLOT_OUT];
    own->run_rows(&a);
}

enum hep_status hep_cpu_rows(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_problem *p = &kernel->problem;
    const struct hep_operand *x = &p->operand[HEP_SLOT_A], *out = &p->operand[HEP_SLOT_OUT];
    struct rows_kernel row = choose(p);
    struct hep_own own = {.run_rows = row.run,
                          .args.rows = {.rows = hep_rows(&out->shape),
                                        .columns = hep_row(&out->shape),
                                        .x_stride = x->row_stride,
                                        .y_stride = out->row_stride,
                                        .factor = (float)p->attr.scale}};
    return hep_own_create(kernel, &own, &row.info, !row.run, run_rows, error);
}

/* ---- additions ---- */

static void run_add(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_add_args a = own->args.add;
    a.a = at[HEP_SLOT_A];
    a.b = at[HEP_SLOT_B];
    a.y = at[HEP_SLOT_OUT];
    ((const struct hep_add_kernel *)own->kernel)->run(&a);
}

enum hep_status hep_cpu_add(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_problem *p = &kernel->problem;
    const struct hep_operand *x = &p->operand[HEP_SLOT_A], *b = &p->operand[HEP_SLOT_B],
                             *out = &p->operand[HEP_SLOT_OUT];
    const struct hep_add_kernel *row = &hep_kernels()->add[x->dtype];
    bool channels = p->op == HEP_OP_ADD_CHANNELS;
    struct hep_own own = {.kernel = row,
                          .args.add = {.rows = hep_rows(&x->shape),
                                       .columns = hep_row(&x->shape),
                                       .a_stride = x->row_stride,
                                       .b_stride = b->row_stride,
                                       .b_rows = hep_rows(&b->shape),
                                       .b_repeat = channels ? places_of(&x->shape) : 1,
                                       .y_stride = out->row_stride}};
    return hep_own_create(kernel, &own, &row->info, !row->run, run_add, error);
}
