/*
 * The third pass: dtypes and layout. Every value gets its dtype: what computes gives the plan's dtype, timesteps and
 * what a model marked f32 stay f32, elementwise operators keep their input's. Conversions are put in where an operator
 * needs another one, at most one per value and dtype; copies where a kernel wants dense rows, or where an output would
 * not have memory of its own. Called by plan.c.
 */
#include "nn/graph/pass.h"

#include <stdlib.h>

struct work {
    struct hep_ir *ir;
    const struct hep_backend *backend;
    enum hep_dtype dtype; /* of the plan */
    uint32_t *order;      /* the new order, [capacity] */
    uint32_t count, capacity;
    uint32_t *converted[HEP_DTYPE_COUNT]; /* [known]: value id of this value in that dtype, or 0 */
    uint32_t known;                       /* values there were at the start: only these are looked up */
    struct hep_error *error;
};

static enum hep_status no_memory(const struct work *w)
{
    return hep_fail(w->error, HEP_E_NO_MEMORY, "no memory to plan %s", w->ir->network);
}

static enum hep_status append(struct work *w, uint32_t node)
{
    if (w->count == w->capacity) {
        uint32_t capacity = w->capacity * 2 + 64;
        uint32_t *larger = realloc(w->order, capacity * sizeof *larger);
        if (!larger)
            return no_memory(w);
        w->order = larger;
        w->capacity = capacity;
    }
    w->order[w->count++] = node;
    return HEP_OK;
}

/* Appends a node of op over value; its dense result of dtype in *made. */
static enum hep_status insert(struct work *w, enum hep_op op, uint32_t value, enum hep_dtype dtype, uint32_t *made)
{
    struct hep_ir *ir = w->ir;
    uint32_t id = hep_ir_new_node(ir), out = hep_ir_new_value(ir);
    if (!id || !out)
        return no_memory(w);
    const struct hep_shape shape = ir->values[value].shape;
    ir->values[out] = (struct hep_ir_value){
        .kind = HEP_VALUE_NODE, .dtype = dtype, .shape = shape, .node = id, .row_stride = hep_row(&shape)};
    ir->nodes[id] = (struct hep_ir_node){.op = op, .inputs = {value}, .output = out, .name = hep_op_name(op)};
    *made = out;
    return append(w, id);
}

/* value in dtype: itself, or a conversion made before, or one made now. Views convert their storage once for all views.
 */
static enum hep_status in_dtype(struct work *w, uint32_t value, enum hep_dtype dtype, uint32_t *made)
{
    struct hep_ir *ir = w->ir;
    *made = value;
    if (ir->values[value].dtype == dtype)
        return HEP_OK;
    if (value < w->known && w->converted[dtype][value]) {
        *made = w->converted[dtype][value];
        return HEP_OK;
    }
    uint32_t root = hep_ir_root(ir, value), base, view;
    if (root == value) {
        HEP_TRY(insert(w, HEP_OP_CONVERT, value, dtype, made));
    } else {
        HEP_TRY(in_dtype(w, root, dtype, &base));
        view = hep_ir_new_value(ir);
        if (!view)
            return no_memory(w);
        ir->values[view] = ir->values[value];
        ir->values[view].view_of = base;
        ir->values[view].dtype = dtype;
        *made = view;
    }
    if (value < w->known)
        w->converted[dtype][value] = *made;
    return HEP_OK;
}

/* The dtype that an operator computes in; UNDEF: that of its first input. */
static enum hep_dtype compute_dtype(const struct work *w, const struct hep_ir_node *node)
{
    switch (node->op) {
    case HEP_OP_FROM_NCHW:
    case HEP_OP_TO_NCHW:
    case HEP_OP_TIMESTEP:
        return HEP_F32;
    case HEP_OP_CONV2D:
    case HEP_OP_LINEAR:
        return node->f32 ? HEP_F32 : w->dtype;
    case HEP_OP_GROUP_NORM:
    case HEP_OP_LAYER_NORM:
    case HEP_OP_ATTENTION:
    case HEP_OP_EMBEDDING:
        return w->dtype;
    case HEP_OP_ADD:
    case HEP_OP_CONCAT: {
        bool f32 = w->ir->values[node->inputs[0]].dtype == HEP_F32 && w->ir->values[node->inputs[1]].dtype == HEP_F32;
        return f32 ? HEP_F32 : w->dtype;
    }
    default:
        return HEP_DTYPE_UNDEF;
    }
}

/* Makes input `slot` of the node dense if its backend wants it so. */
static enum hep_status dense(struct work *w, const struct hep_ir_node *node, enum hep_slot slot, uint32_t *value)
{
    const struct hep_ir_value *v = &w->ir->values[*value];
    if (v->row_stride == hep_row(&v->shape) || (w->backend->ops[node->op].strided & 1u << slot))
        return HEP_OK;
    return insert(w, HEP_OP_COPY, *value, v->dtype, value);
}

static enum hep_status visit(struct work *w, uint32_t id)
{
    struct hep_ir *ir = w->ir;
    struct hep_ir_node node = ir->nodes[id]; /* insertions move the array */
    enum hep_dtype dtype = compute_dtype(w, &node);
    if (dtype == HEP_DTYPE_UNDEF)
        dtype = ir->values[node.inputs[0]].dtype;
    for (int i = 0; i < hep_op_inputs(node.op); i++) {
        if (ir->values[node.inputs[i]].dtype == HEP_I32)
            continue;
        HEP_TRY(in_dtype(w, node.inputs[i], dtype, &node.inputs[i]));
        HEP_TRY(dense(w, &node, (enum hep_slot)(HEP_SLOT_A + i), &node.inputs[i]));
    }
    if (node.residual) {
        HEP_TRY(in_dtype(w, node.residual, dtype, &node.residual));
        HEP_TRY(dense(w, &node, HEP_SLOT_RESIDUAL, &node.residual));
    }
    ir->nodes[id] = node;
    ir->values[node.output].dtype = dtype;
    for (uint32_t v = 1; v < ir->value_count; v++)
        if (ir->values[v].view_of == node.output)
            ir->values[v].dtype = dtype;
    return append(w, id);
}

/* Every output: f32, dense, a node's own result, and nobody else's output. */
static enum hep_status settle_outputs(struct work *w)
{
    struct hep_ir *ir = w->ir;
    for (uint32_t i = 0; i < ir->output_count; i++) {
        uint32_t value = ir->outputs[i].value;
        HEP_TRY(in_dtype(w, value, HEP_F32, &value));
        const struct hep_ir_value *v = &ir->values[value];
        bool own = v->kind == HEP_VALUE_NODE && !v->view_of;
        for (uint32_t j = 0; own && j < i; j++)
            own = ir->outputs[j].value != value;
        if (!own)
            HEP_TRY(insert(w, HEP_OP_COPY, value, HEP_F32, &value));
        ir->outputs[i].value = value;
    }
    return HEP_OK;
}

enum hep_status hep_pass_dtype(struct hep_ir *ir, const struct hep_backend *backend, enum hep_dtype dtype,
                               struct hep_error *error)
{
    struct work w = {.ir = ir, .backend = backend, .dtype = dtype, .known = ir->value_count, .error = error};
    enum hep_status status = HEP_OK;
    w.converted[HEP_F32] = calloc(w.known, sizeof(uint32_t));
    w.converted[HEP_BF16] = calloc(w.known, sizeof(uint32_t));
    if (!w.converted[HEP_F32] || !w.converted[HEP_BF16]) {
        status = no_memory(&w);
        goto done;
    }
    for (uint32_t i = 1; i < w.known; i++) {
        struct hep_ir_value *v = &ir->values[i];
        if (v->kind == HEP_VALUE_WEIGHT)
            v->dtype = dtype;
        if (v->view_of && ir->values[v->view_of].kind != HEP_VALUE_NODE)
            v->dtype = ir->values[v->view_of].kind == HEP_VALUE_WEIGHT ? dtype : ir->values[v->view_of].dtype;
    }
    for (uint32_t i = 0; i < ir->order_count; i++)
        HEP_TRY_DONE(status, visit(&w, ir->order[i]));
    HEP_TRY_DONE(status, settle_outputs(&w));
    free(ir->order);
    ir->order = hep_take(&w.order);
    ir->order_count = w.count;
done:
    free(w.order);
    free(w.converted[HEP_F32]);
    free(w.converted[HEP_BF16]);
    return status;
}
