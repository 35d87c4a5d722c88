/*
 * The first pass: folds what costs nothing. Equal nodes become one (every resnet's silu of the same time embedding),
 * 1x1 convolutions become linears, reshapes and slices become views of their input's storage, and nodes that no output
 * needs are dropped. Called by plan.c; the checker follows.
 */
#include "nn/graph/pass.h"

#include <stdlib.h>
#include <string.h>

static bool same_attr(const struct hep_attr *a, const struct hep_attr *b)
{
    return a->kernel == b->kernel && a->stride == b->stride && memcmp(a->pads, b->pads, sizeof a->pads) == 0 &&
           a->groups == b->groups && !(a->eps < b->eps || a->eps > b->eps) && a->heads == b->heads &&
           a->causal == b->causal && !(a->scale < b->scale || a->scale > b->scale) && a->flip == b->flip &&
           !(a->shift < b->shift || a->shift > b->shift) &&
           !(a->max_period < b->max_period || a->max_period > b->max_period) && a->first == b->first &&
           a->eos_id == b->eos_id;
}

static bool same_node(const struct hep_ir *ir, const struct hep_ir_node *a, const struct hep_ir_node *b)
{
    return a->op == b->op && a->activation == b->activation && a->f32 == b->f32 && a->weight == b->weight &&
           a->bias == b->bias && memcmp(a->inputs, b->inputs, sizeof a->inputs) == 0 && same_attr(&a->attr, &b->attr) &&
           hep_shape_equal(&ir->values[a->output].shape, &ir->values[b->output].shape);
}

static void fold_equal(struct hep_ir *ir)
{
    for (uint32_t i = 1; i < ir->node_count; i++) {
        for (uint32_t j = 1; j < i; j++) {
            if (ir->nodes[j].dead || !same_node(ir, &ir->nodes[i], &ir->nodes[j]))
                continue;
            ir->nodes[i].dead = true;
            hep_ir_replace(ir, ir->nodes[i].output, ir->nodes[j].output);
            break;
        }
    }
}

static void fold_conv_1x1(struct hep_ir *ir)
{
    for (uint32_t i = 1; i < ir->node_count; i++) {
        struct hep_ir_node *node = &ir->nodes[i];
        const struct hep_attr *a = &node->attr;
        if (node->dead || node->op != HEP_OP_CONV2D || a->kernel != 1 || a->stride != 1 || a->pads[0] || a->pads[1] ||
            a->pads[2] || a->pads[3])
            continue;
        struct hep_ir_weight *weight = &ir->weights[node->weight];
        node->op = HEP_OP_LINEAR;
        node->attr = (struct hep_attr){0};
        weight->use = HEP_WEIGHT_LINEAR;
        weight->shape = weight->merged = HEP_SHAPE(weight->shape.dims[0], weight->shape.dims[1]);
    }
}

/* A node that copies the strided rows of value to dense ones; the copy's value id, or 0. */
static uint32_t dense_copy(struct hep_ir *ir, uint32_t value)
{
    uint32_t id = hep_ir_new_node(ir), out = hep_ir_new_value(ir);
    if (!id || !out)
        return 0;
    const struct hep_ir_value *v = &ir->values[value];
    ir->values[out] = (struct hep_ir_value){
        .kind = HEP_VALUE_NODE, .dtype = v->dtype, .shape = v->shape, .node = id, .row_stride = hep_row(&v->shape)};
    ir->nodes[id] = (struct hep_ir_node){.op = HEP_OP_COPY, .inputs = {value}, .output = out, .name = "copy"};
    return out;
}

/* Turns a SLICE or RESHAPE node into a view; appends the id of a COPY node to the order if one is needed first. */
static enum hep_status fold_view(struct hep_ir *ir, uint32_t id, struct hep_error *error)
{
    struct hep_ir_node *node = &ir->nodes[id];
    uint32_t from = node->inputs[0];
    struct hep_ir_value *out = &ir->values[node->output];
    bool slice = node->op == HEP_OP_SLICE;
    if (!slice && ir->values[from].row_stride != hep_row(&ir->values[from].shape) &&
        hep_row(&out->shape) != hep_row(&ir->values[from].shape)) {
        uint32_t output = node->output;
        from = dense_copy(ir, from); /* moves ir->nodes and ir->values */
        if (!from)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", ir->network);
        ir->order[ir->order_count++] = ir->values[from].node;
        node = &ir->nodes[id];
        out = &ir->values[output];
    }
    const struct hep_ir_value *v = &ir->values[from];
    out->view_of = hep_ir_root(ir, from);
    out->view_first = v->view_first + (slice ? node->attr.first : 0);
    out->row_stride = slice || hep_row(&out->shape) == hep_row(&v->shape) ? v->row_stride : hep_row(&out->shape);
    out->dtype = v->dtype;
    node->dead = true;
    return HEP_OK;
}

/* Marks, from the outputs backwards, what is needed; the rest is dead. */
static enum hep_status drop_unneeded(struct hep_ir *ir, struct hep_error *error)
{
    bool *needed = calloc(ir->value_count, sizeof *needed);
    if (!needed)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", ir->network);
    for (uint32_t i = 0; i < ir->output_count; i++)
        needed[ir->outputs[i].value] = true;
    for (uint32_t i = ir->node_count; i-- > 1;) {
        struct hep_ir_node *node = &ir->nodes[i];
        uint32_t uses[HEP_IR_USES_MAX];
        if (node->dead)
            continue;
        node->dead = !needed[node->output];
        for (int u = node->dead ? 0 : hep_ir_uses(node, uses); u-- > 0;)
            needed[uses[u]] = true;
    }
    free(needed);
    return HEP_OK;
}

enum hep_status hep_pass_fold(struct hep_ir *ir, struct hep_error *error)
{
    uint32_t built = ir->node_count;
    fold_equal(ir);
    fold_conv_1x1(ir);
    HEP_TRY(drop_unneeded(ir, error));
    ir->order = calloc(2 * (size_t)built, sizeof *ir->order);
    if (!ir->order)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", ir->network);
    for (uint32_t i = 1; i < built; i++) {
        if (ir->nodes[i].dead)
            continue;
        if (ir->nodes[i].op == HEP_OP_SLICE || ir->nodes[i].op == HEP_OP_RESHAPE)
            HEP_TRY(fold_view(ir, i, error));
        else
            ir->order[ir->order_count++] = i;
    }
    return HEP_OK;
}
