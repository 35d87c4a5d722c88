/*
 * The fourth pass: one kernel per node. It finds lifetimes and which results may take over an input's memory, gives
 * every weight its layout, describes each node as a problem and asks the backend's constructor. No weight is read and
 * no machine code is made yet. Called by plan.c.
 */
#include "nn/graph/pass.h"

#include <stdlib.h>
#include <string.h>

/* ---- lifetimes ---- */

static bool is_output(const struct hep_ir *ir, uint32_t value)
{
    for (uint32_t i = 0; i < ir->output_count; i++)
        if (ir->outputs[i].value == value)
            return true;
    return false;
}

static size_t value_bytes(const struct hep_ir_value *v)
{
    size_t bytes = 0;
    hep_assert(hep_shape_bytes(&v->shape, v->dtype, &bytes));
    return bytes;
}

/* One buffer per node result that is not an output; in the order of the steps. */
static void find_lifetimes(struct hep_plan_inside *p)
{
    const struct hep_ir *ir = &p->ir;
    for (uint32_t v = 0; v < ir->value_count; v++)
        p->buffer_of[v] = -1;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        const struct hep_ir_node *node = &ir->nodes[ir->order[i]];
        uint32_t uses[HEP_IR_USES_MAX];
        for (int u = hep_ir_uses(node, uses); u-- > 0;) {
            int buffer = p->buffer_of[hep_ir_root(ir, uses[u])];
            if (buffer >= 0)
                p->buffers[buffer].last = (int)i;
        }
        if (is_output(ir, node->output))
            continue;
        p->buffer_of[node->output] = p->buffer_count;
        p->buffers[p->buffer_count++] = (struct hep_buffer){.first = (int)i,
                                                            .last = (int)i,
                                                            .align = HEP_ALIGN,
                                                            .bytes = value_bytes(&ir->values[node->output]),
                                                            .in_place_of = HEP_NOT_IN_PLACE};
    }
}

static uint32_t slot_value(const struct hep_ir_node *node, enum hep_slot slot)
{
    switch (slot) {
    case HEP_SLOT_OUT:
        return node->output;
    case HEP_SLOT_RESIDUAL:
        return node->residual;
    case HEP_SLOT_A:
    case HEP_SLOT_B:
    case HEP_SLOT_C:
        return (int)slot - HEP_SLOT_A < hep_op_inputs(node->op) ? node->inputs[slot - HEP_SLOT_A] : 0;
    default:
        return 0;
    }
}

/* Lets step i write over input `slot` if that dies here, is dense storage of the result's size, and is read once. */
static bool try_in_place(struct hep_plan_inside *p, uint32_t i, enum hep_slot slot)
{
    const struct hep_ir *ir = &p->ir;
    const struct hep_ir_node *node = &ir->nodes[ir->order[i]];
    uint32_t value = slot_value(node, slot), uses[HEP_IR_USES_MAX], root = value ? hep_ir_root(ir, value) : 0;
    int readers = 0, from = root ? p->buffer_of[root] : -1, to = p->buffer_of[node->output];
    for (int u = hep_ir_uses(node, uses); u-- > 0;)
        readers += hep_ir_root(ir, uses[u]) == root;
    if (from < 0 || to < 0 || readers != 1 || p->buffers[from].last != (int)i ||
        p->buffers[from].bytes != p->buffers[to].bytes ||
        ir->values[value].row_stride != hep_row(&ir->values[value].shape) ||
        ir->values[value].dtype != ir->values[node->output].dtype)
        return false;
    p->buffers[to].in_place_of = from;
    return true;
}

static bool in_place(struct hep_plan_inside *p, uint32_t i)
{
    const struct hep_ir_node *node = &p->ir.nodes[p->ir.order[i]];
    unsigned slots = p->backend->ops[node->op].in_place;
    if (node->residual)
        return (slots & 1u << HEP_SLOT_RESIDUAL) && try_in_place(p, i, HEP_SLOT_RESIDUAL);
    return (slots & 1u << HEP_SLOT_A) && try_in_place(p, i, HEP_SLOT_A);
}

/* ---- weights ---- */

static enum hep_status layout_of(struct hep_plan_inside *p, struct hep_weight_key key,
                                 struct hep_weight_layout **layout, struct hep_error *error)
{
    for (size_t i = 0; i < p->layout_count; i++) {
        const struct hep_weight_key *known = &p->layouts[i]->key;
        if (known->use == key.use && known->dtype == key.dtype && hep_shape_equal(&known->shape, &key.shape)) {
            *layout = p->layouts[i];
            return HEP_OK;
        }
    }
    struct hep_weight_layout *made = calloc(1, sizeof *made);
    struct hep_weight_layout **larger = realloc(p->layouts, (p->layout_count + 1) * sizeof(struct hep_weight_layout *));
    if (larger)
        p->layouts = larger;
    if (!made || !larger) {
        free(made);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", p->ir.network);
    }
    made->key = key;
    enum hep_status status = p->backend->layout_create(made, error);
    if (status != HEP_OK) {
        free(made);
        return status;
    }
    p->layouts[p->layout_count++] = *layout = made;
    return HEP_OK;
}

static enum hep_status lay_out(struct hep_plan_inside *p, uint32_t weight, struct hep_error *error)
{
    struct hep_ir_weight *w = &p->ir.weights[weight];
    if (!weight || w->layout)
        return HEP_OK;
    bool f32 = w->f32 || w->use == HEP_WEIGHT_PLAIN;
    struct hep_weight_key key = {w->use, f32 ? HEP_F32 : p->plan.dtype, w->merged};
    return layout_of(p, key, &w->layout, error);
}

/* Weights that are used get layouts, and offsets in the order of the graph. */
static enum hep_status lay_out_weights(struct hep_plan_inside *p, struct hep_error *error)
{
    struct hep_ir *ir = &p->ir;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        const struct hep_ir_node *node = &ir->nodes[ir->order[i]];
        uint32_t uses[HEP_IR_USES_MAX];
        HEP_TRY(lay_out(p, node->weight, error));
        HEP_TRY(lay_out(p, node->bias, error));
        for (int u = hep_ir_uses(node, uses); u-- > 0;)
            HEP_TRY(lay_out(p, ir->values[hep_ir_root(ir, uses[u])].weight, error));
    }
    size_t offset = 0;
    for (uint32_t i = 1; i < ir->weight_count; i++) {
        if (!ir->weights[i].layout)
            continue;
        ir->weights[i].offset = offset;
        ir->weights[i].packed = (uint32_t)p->packed_count;
        p->packed[p->packed_count++] = i;
        offset += (ir->weights[i].layout->bytes + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
    }
    p->plan.weight_bytes = offset;
    return HEP_OK;
}

/* ---- problems ---- */

static void describe(struct hep_plan_inside *p, uint32_t i, struct hep_problem *problem)
{
    const struct hep_ir *ir = &p->ir;
    const struct hep_ir_node *node = &ir->nodes[ir->order[i]];
    *problem = (struct hep_problem){
        .op = node->op, .activation = node->activation, .attr = node->attr, .in_place = in_place(p, i)};
    for (int slot = HEP_SLOT_OUT; slot <= HEP_SLOT_RESIDUAL; slot++) {
        uint32_t value = slot_value(node, (enum hep_slot)slot);
        if (value)
            problem->operand[slot] =
                (struct hep_operand){ir->values[value].dtype, ir->values[value].shape, ir->values[value].row_stride};
    }
    if (node->weight) {
        const struct hep_ir_weight *w = &ir->weights[node->weight];
        problem->layout = w->layout;
        problem->operand[HEP_SLOT_WEIGHT] = (struct hep_operand){w->layout->key.dtype, w->merged, hep_row(&w->merged)};
    }
    if (node->bias)
        problem->operand[HEP_SLOT_BIAS] =
            (struct hep_operand){HEP_F32, ir->weights[node->bias].merged, hep_row(&ir->weights[node->bias].merged)};
}

enum hep_status hep_pass_kernels(struct hep_plan_inside *p, struct hep_error *error)
{
    const struct hep_ir *ir = &p->ir;
    find_lifetimes(p);
    HEP_TRY(lay_out_weights(p, error));
    for (uint32_t i = 0; i < ir->order_count; i++) {
        const struct hep_ir_node *node = &ir->nodes[ir->order[i]];
        struct hep_kernel *kernel = &p->kernels[i];
        describe(p, i, &kernel->problem);
        if (!p->backend->ops[node->op].create)
            return hep_fail(error, HEP_E_UNSUPPORTED, "%s: backend %s has no operator %s (at %s)", ir->network,
                            p->backend->name, hep_op_name(node->op), node->name ? node->name : "-");
        enum hep_status status = p->backend->ops[node->op].create(kernel, error);
        if (status != HEP_OK)
            return hep_prefix(error, "%s: %s", ir->network, node->name ? node->name : hep_op_name(node->op));
    }
    return HEP_OK;
}
