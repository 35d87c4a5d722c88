/*
 * Convolution and linear as oneDNN primitives. The constructor asks for the implementation and its scratch; bind makes
 * the primitive and its memory handles for the present number of threads; run executes.
 */
#include "nn/cpu/onednn.h"

#include "nn/cpu/parallel.h"
#include "nn/graph/ir.h"

#include <stdlib.h>
#include <string.h>

#define ARGS_MAX   5
#define COPY_BLOCK 65536 /* bytes, one item of a parallel copy */

struct state {
    struct hep_onednn_shape shape;
    size_t copy_bytes; /* of the residual that is copied into the result first; 0: none */
    char symbol[64];
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    int count;
    dnnl_exec_arg_t args[ARGS_MAX];
    enum hep_slot slots[ARGS_MAX]; /* of each argument          */
    const void *data[ARGS_MAX];    /* that each handle is set to */
};

static struct hep_onednn_shape shape_of(const struct hep_problem *p, enum hep_onednn_method method)
{
    const struct hep_operand *x = &p->operand[HEP_SLOT_A], *out = &p->operand[HEP_SLOT_OUT];
    struct hep_onednn_shape s = {.method = method,
                                 .src = x->dtype,
                                 .weight = p->layout->key.dtype,
                                 .dst = out->dtype,
                                 .n = 1,
                                 .h = 1,
                                 .w = hep_rows(&x->shape),
                                 .c = hep_row(&x->shape),
                                 .out = hep_row(&out->shape),
                                 .kernel = 1,
                                 .stride = 1,
                                 .bias = p->operand[HEP_SLOT_BIAS].dtype != HEP_DTYPE_UNDEF,
                                 .activation = p->activation,
                                 .residual = p->operand[HEP_SLOT_RESIDUAL].dtype != HEP_DTYPE_UNDEF};
    if (method == HEP_ONEDNN_CONV) {
        s.n = x->shape.dims[0];
        s.h = x->shape.dims[1];
        s.w = x->shape.dims[2];
        s.kernel = p->attr.kernel;
        s.stride = p->attr.stride;
        memcpy(s.pads, p->attr.pads, sizeof s.pads);
    }
    return s;
}

static void release(struct state *state)
{
    for (int i = 0; i < state->count; i++)
        dnnl_memory_destroy(state->args[i].memory);
    dnnl_primitive_destroy(state->primitive);
    state->count = 0;
    state->primitive = NULL;
}

static void clear(struct hep_kernel *kernel)
{
    if (kernel->state)
        release(kernel->state);
    free(kernel->state);
    kernel->state = NULL;
}

/* Adds one argument. Making a memory on a given handle writes nothing, so weights may lie in read-only pages. */
static enum hep_status add(struct state *state, enum hep_slot slot, int id, const dnnl_memory_desc_t *md, void *data,
                           dnnl_engine_t engine, struct hep_error *error)
{
    hep_assert(state->count < ARGS_MAX);
    dnnl_memory_t memory;
    HEP_TRY(hep_onednn_check(dnnl_memory_create(&memory, md, engine, data ? data : DNNL_MEMORY_NONE), "bind", error));
    state->args[state->count] = (dnnl_exec_arg_t){id, memory};
    state->slots[state->count] = slot;
    state->data[state->count++] = data;
    return HEP_OK;
}

static enum hep_status add_all(struct hep_kernel *kernel, const_dnnl_primitive_desc_t desc, void *const *at,
                               dnnl_engine_t engine, struct hep_error *error)
{
    struct state *s = kernel->state;
    const dnnl_memory_desc_t *src = dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *weights = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *bias = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 1);
    const dnnl_memory_desc_t *dst = dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    HEP_TRY(add(s, HEP_SLOT_A, DNNL_ARG_SRC, src, at[HEP_SLOT_A], engine, error));
    HEP_TRY(add(s, HEP_SLOT_WEIGHT, DNNL_ARG_WEIGHTS, weights, at[HEP_SLOT_WEIGHT], engine, error));
    HEP_TRY(add(s, HEP_SLOT_OUT, DNNL_ARG_DST, dst, at[HEP_SLOT_OUT], engine, error));
    if (s->shape.bias)
        HEP_TRY(add(s, HEP_SLOT_BIAS, DNNL_ARG_BIAS, bias, at[HEP_SLOT_BIAS], engine, error));
    size_t bytes = dnnl_memory_desc_get_size(scratch);
    if (bytes > kernel->scratch_bytes)
        return hep_fail(error, HEP_E_INTERNAL, "oneDNN: %s wants %zu bytes of scratch, %zu were planned", s->symbol,
                        bytes, kernel->scratch_bytes);
    if (bytes)
        HEP_TRY(add(s, HEP_SLOT_SCRATCH, DNNL_ARG_SCRATCHPAD, scratch, at[HEP_SLOT_SCRATCH], engine, error));
    return HEP_OK;
}

static enum hep_status bind(struct hep_kernel *kernel, void *const *at, struct hep_error *error)
{
    struct state *state = kernel->state;
    const struct hep_onednn_layout *l = kernel->problem.layout->state;
    dnnl_engine_t engine;
    enum hep_status status;
    release(state);
    HEP_TRY(hep_onednn_start(&engine, &state->stream, error));
    dnnl_primitive_desc_t desc = hep_onednn_describe(&state->shape, &l->packed, engine);
    if (!desc)
        return hep_fail(error, HEP_E_INTERNAL, "oneDNN: %s was there at planning and is not at binding", state->symbol);
    HEP_TRY_DONE(status, hep_onednn_check(dnnl_primitive_create(&state->primitive, desc), "create", error));
    HEP_TRY_DONE(status, add_all(kernel, desc, at, engine, error));
done:
    dnnl_primitive_desc_destroy(desc);
    if (status != HEP_OK)
        release(state);
    return status;
}

struct copy {
    char *to;
    const char *from;
    size_t bytes;
};

static void copy_blocks(const void *context, int64_t first, int64_t last)
{
    const struct copy *c = context;
    size_t begin = (size_t)first * COPY_BLOCK, end = (size_t)last * COPY_BLOCK;
    memcpy(c->to + begin, c->from + begin, (end < c->bytes ? end : c->bytes) - begin);
}

static void run(const struct hep_kernel *kernel, void *const *at)
{
    struct state *state = kernel->state;
    if (state->copy_bytes) {
        struct copy copy = {at[HEP_SLOT_OUT], at[HEP_SLOT_RESIDUAL], state->copy_bytes};
        hep_parallel_for((int64_t)((copy.bytes + COPY_BLOCK - 1) / COPY_BLOCK), 4, copy_blocks, &copy);
    }
    for (int i = 0; i < state->count; i++) {
        if (state->data[i] == at[state->slots[i]])
            continue;
        state->data[i] = at[state->slots[i]]; /* a tensor of the caller */
        hep_assert(dnnl_memory_set_data_handle(state->args[i].memory, at[state->slots[i]]) == dnnl_success);
    }
    hep_assert(hep_onednn_execute(state->primitive, state->stream, state->count, state->args) == dnnl_success);
}

/* Asked with the weights as they lie, and, if the layout hides a better one, with weights as it would like them. */
static void why(const struct hep_kernel *kernel, FILE *to)
{
    const struct state *state = kernel->state;
    const struct hep_onednn_layout *l = kernel->problem.layout->state;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    if (hep_onednn_start(&engine, &stream, NULL) != HEP_OK)
        return;
    hep_onednn_why(&state->shape, &l->packed, engine, to);
    dnnl_primitive_desc_t free_choice = hep_onednn_describe(&state->shape, NULL, engine);
    const char *name = "";
    if (free_choice && dnnl_primitive_desc_query(free_choice, dnnl_query_impl_info_str, 0, (void *)&name) == 0 &&
        strcmp(name, state->symbol + strlen("onednn:")) != 0)
        fprintf(to, "  not onednn:%s: it does not take the weights as %s\n", name, kernel->problem.layout->id);
    dnnl_primitive_desc_destroy(free_choice);
}

void hep_onednn_why_none(const struct hep_problem *problem, FILE *to)
{
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    if (hep_onednn_start(&engine, &stream, NULL) != HEP_OK)
        return;
    struct hep_onednn_shape shape =
        shape_of(problem, problem->op == HEP_OP_CONV2D ? HEP_ONEDNN_CONV : HEP_ONEDNN_CONV_ROW);
    hep_onednn_why(&shape, NULL, engine, to);
}

enum hep_status hep_onednn_kernel_create(struct hep_kernel *kernel, struct hep_error *error)
{
    const struct hep_onednn_layout *l = kernel->problem.layout->state;
    char text[160];
    const char *name = "";
    dnnl_engine_t engine;
    struct state *state = calloc(1, sizeof *state);
    if (!state)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a kernel");
    kernel->state = state;
    kernel->clear = clear;
    kernel->why = why;
    HEP_TRY(hep_onednn_start(&engine, &state->stream, error));
    state->shape = shape_of(&kernel->problem, l->method);
    const struct hep_operand *out = &kernel->problem.operand[HEP_SLOT_OUT];
    if (state->shape.residual && !kernel->problem.in_place)
        hep_assert(hep_shape_bytes(&out->shape, out->dtype, &state->copy_bytes));
    dnnl_primitive_desc_t desc = hep_onednn_describe(&state->shape, &l->packed, engine);
    if (!desc)
        return hep_fail(error, HEP_E_UNSUPPORTED, "oneDNN has no implementation of %s with weights as %s",
                        hep_problem_text(&kernel->problem, text, sizeof text), kernel->problem.layout->id);
    (void)dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&name);
    snprintf(state->symbol, sizeof state->symbol, "onednn:%s", name);
    kernel->symbol = state->symbol;
    kernel->scratch_bytes = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0));
    kernel->run = run;
    kernel->bind = bind;
    dnnl_primitive_desc_destroy(desc);
    return HEP_OK;
}
