/* Constructors of attention and of what moves data: transposition, concatenation, resizing, gathers, timesteps. */
#include "nn/cpu/backend_cpu.h"

static void run_transpose(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_transpose_args a = own->args.transpose;
    a.x = at[HEP_SLOT_A];
    a.y = at[HEP_SLOT_OUT];
    ((const struct hep_transpose_kernel *)own->kernel)->run(&a);
}

enum hep_status hep_cpu_transpose(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_operand *x = &kernel->problem.operand[HEP_SLOT_A];
    const struct hep_transpose_kernel *row = &hep_kernels()->transpose[x->dtype];
    const int64_t *d = x->shape.dims;
    bool from = kernel->problem.op == HEP_OP_FROM_NCHW;
    struct hep_own own = {
        .kernel = row,
        .args.transpose = {.images = d[0], .rows = from ? d[1] : d[1] * d[2], .columns = from ? d[2] * d[3] : d[3]}};
    return hep_own_create(kernel, &own, &row->info, !row->run, run_transpose, error);
}

static void run_concat(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_rows_args a = own->args.rows, b = own->second;
    a.x = at[HEP_SLOT_A];
    a.y = at[HEP_SLOT_OUT];
    b.x = at[HEP_SLOT_B];
    b.y = (char *)at[HEP_SLOT_OUT] + (size_t)a.columns * hep_dtype_bytes(kernel->problem.operand[HEP_SLOT_OUT].dtype);
    own->run_rows(&a);
    own->run_rows(&b);
}

enum hep_status hep_cpu_concat(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_problem *p = &kernel->problem;
    const struct hep_operand *x = &p->operand[HEP_SLOT_A], *y = &p->operand[HEP_SLOT_B],
                             *out = &p->operand[HEP_SLOT_OUT];
    const struct hep_copy_kernel *row = &hep_kernels()->copy[x->dtype];
    struct hep_own own = {.run_rows = row->run,
                          .args.rows = {.rows = hep_rows(&x->shape),
                                        .columns = hep_row(&x->shape),
                                        .x_stride = x->row_stride,
                                        .y_stride = out->row_stride},
                          .second = {.rows = hep_rows(&y->shape),
                                     .columns = hep_row(&y->shape),
                                     .x_stride = y->row_stride,
                                     .y_stride = out->row_stride}};
    return hep_own_create(kernel, &own, &row->info, !row->run, run_concat, error);
}

static void run_resize(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_resize_args a = own->args.resize;
    a.x = at[HEP_SLOT_A];
    a.y = at[HEP_SLOT_OUT];
    ((const struct hep_resize_kernel *)own->kernel)->run(&a);
}

enum hep_status hep_cpu_resize(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_operand *x = &kernel->problem.operand[HEP_SLOT_A], *out = &kernel->problem.operand[HEP_SLOT_OUT];
    const struct hep_resize_kernel *row = &hep_kernels()->resize[x->dtype];
    const int64_t *d = x->shape.dims, *o = out->shape.dims;
    struct hep_own own = {.kernel = row,
                          .args.resize = {.images = d[0],
                                          .height = d[1],
                                          .width = d[2],
                                          .out_height = o[1],
                                          .out_width = o[2],
                                          .channels = d[3],
                                          .x_stride = x->row_stride,
                                          .y_stride = out->row_stride}};
    return hep_own_create(kernel, &own, &row->info, !row->run, run_resize, error);
}

static void run_attention(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_attention_args a = own->args.attention;
    a.q.data = at[HEP_SLOT_A];
    a.k.data = at[HEP_SLOT_B];
    a.v.data = at[HEP_SLOT_C];
    a.out.data = at[HEP_SLOT_OUT];
    a.scratch = at[HEP_SLOT_SCRATCH];
    ((const struct hep_attention_kernel *)own->kernel)->run(&a);
}

static struct hep_heads heads_of(const struct hep_operand *o, int64_t head_dim)
{
    return (struct hep_heads){NULL, o->shape.dims[1] * o->row_stride, o->row_stride, head_dim};
}

enum hep_status hep_cpu_attention(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_problem *p = &kernel->problem;
    const struct hep_operand *q = &p->operand[HEP_SLOT_A], *k = &p->operand[HEP_SLOT_B], *v = &p->operand[HEP_SLOT_C];
    const struct hep_attention_kernel *row = &hep_kernels()->attention[q->dtype];
    int64_t d = hep_row(&q->shape) / p->attr.heads;
    if (d > 512)
        return hep_fail(error, HEP_E_UNSUPPORTED, "attention: head size %" PRId64 " is above 512", d);
    struct hep_own own = {.kernel = row,
                          .args.attention = {.images = q->shape.dims[0],
                                             .heads = p->attr.heads,
                                             .queries = q->shape.dims[1],
                                             .keys = k->shape.dims[1],
                                             .head_dim = d,
                                             .scale = (float)p->attr.scale,
                                             .causal = p->attr.causal,
                                             .q = heads_of(q, d),
                                             .k = heads_of(k, d),
                                             .v = heads_of(v, d),
                                             .out = heads_of(&p->operand[HEP_SLOT_OUT], d)}};
    HEP_TRY(hep_own_create(kernel, &own, &row->info, !row->run, run_attention, error));
    kernel->scratch_bytes = row->scratch(&own.args.attention);
    return HEP_OK;
}

static void run_embedding(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_embedding_args a = own->args.embedding;
    a.ids = at[HEP_SLOT_A];
    a.table = at[HEP_SLOT_WEIGHT];
    a.y = at[HEP_SLOT_OUT];
    ((const struct hep_embedding_kernel *)own->kernel)->run(&a);
}

enum hep_status hep_cpu_embedding(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_operand *out = &kernel->problem.operand[HEP_SLOT_OUT];
    const struct hep_embedding_kernel *row = &hep_kernels()->embedding[out->dtype];
    struct hep_own own = {.kernel = row,
                          .args.embedding = {.count = hep_rows(&out->shape),
                                             .width = hep_row(&out->shape),
                                             .table_rows = kernel->problem.layout->key.shape.dims[0],
                                             .y_stride = out->row_stride}};
    return hep_own_create(kernel, &own, &row->info, !row->run, run_embedding, error);
}

static void run_pool_eos(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_pool_eos_args a = own->args.pool_eos;
    a.x = at[HEP_SLOT_A];
    a.ids = at[HEP_SLOT_B];
    a.y = at[HEP_SLOT_OUT];
    ((const struct hep_pool_eos_kernel *)own->kernel)->run(&a);
}

enum hep_status hep_cpu_pool_eos(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_operand *x = &kernel->problem.operand[HEP_SLOT_A];
    const struct hep_pool_eos_kernel *row = &hep_kernels()->pool_eos[x->dtype];
    int64_t eos = kernel->problem.attr.eos_id;
    if (eos > INT32_MAX)
        return hep_fail(error, HEP_E_BAD_MODEL, "pool_eos: id %" PRId64 " does not fit 32 bits", eos);
    struct hep_own own = {.kernel = row,
                          .args.pool_eos = {.images = x->shape.dims[0],
                                            .tokens = x->shape.dims[1],
                                            .width = hep_row(&x->shape),
                                            .eos_id = eos < 0 ? -1 : (int32_t)eos,
                                            .x_stride = x->row_stride}};
    return hep_own_create(kernel, &own, &row->info, !row->run, run_pool_eos, error);
}

static void run_timestep(const struct hep_kernel *kernel, void *const *at)
{
    const struct hep_own *own = kernel->state;
    struct hep_timestep_args a = own->args.timestep;
    a.t = at[HEP_SLOT_A];
    a.y = at[HEP_SLOT_OUT];
    ((const struct hep_timestep_kernel *)own->kernel)->run(&a);
}

enum hep_status hep_cpu_timestep(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_operand *out = &kernel->problem.operand[HEP_SLOT_OUT];
    const struct hep_attr *attr = &kernel->problem.attr;
    const struct hep_timestep_kernel *row = &hep_kernels()->timestep[HEP_F32];
    struct hep_own own = {.kernel = row,
                          .args.timestep = {.count = hep_rows(&out->shape),
                                            .width = hep_row(&out->shape),
                                            .flip = attr->flip,
                                            .shift = attr->shift,
                                            .max_period = attr->max_period}};
    return hep_own_create(kernel, &own, &row->info, !row->run, run_timestep, error);
}
