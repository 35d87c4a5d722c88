/*
 * The fifth pass: memory. Each kernel's scratch becomes a buffer that lives for its step, the planner places all
 * buffers in one arena, and every pointer of every step gets its location. Called by plan.c.
 */
#include "nn/graph/pass.h"

#include <stdlib.h>

#define CANARY_BYTES HEP_ALIGN /* behind each buffer of a poisoned plan */

static struct hep_location value_location(const struct hep_plan_inside *p, uint32_t value)
{
    const struct hep_ir *ir = &p->ir;
    const struct hep_ir_value *v = &ir->values[value];
    uint32_t root = hep_ir_root(ir, value);
    struct hep_location where = {.offset = (size_t)v->view_first * hep_dtype_bytes(v->dtype)};
    switch (ir->values[root].kind) {
    case HEP_VALUE_WEIGHT:
        where.place = HEP_PLACE_WEIGHT;
        where.index = ir->values[root].weight;
        return where;
    case HEP_VALUE_CONSTANT:
        where.place = HEP_PLACE_CONSTANT;
        where.index = root;
        return where;
    default:
        break;
    }
    if (p->buffer_of[root] >= 0) {
        where.place = HEP_PLACE_ARENA;
        where.index = (uint32_t)p->buffer_of[root];
        return where;
    }
    where.place = HEP_PLACE_CALLER;
    while (where.index < p->caller_count && p->callers[where.index] != root)
        where.index++;
    hep_assert(where.index < p->caller_count);
    return where;
}

static void locate(struct hep_plan_inside *p, uint32_t i, int scratch)
{
    const struct hep_ir_node *node = &p->ir.nodes[p->ir.order[i]];
    struct hep_location *where = p->where[i];
    where[HEP_SLOT_OUT] = value_location(p, node->output);
    for (int input = 0; input < hep_op_inputs(node->op); input++)
        where[HEP_SLOT_A + input] = value_location(p, node->inputs[input]);
    if (node->residual)
        where[HEP_SLOT_RESIDUAL] = value_location(p, node->residual);
    if (node->weight)
        where[HEP_SLOT_WEIGHT] = (struct hep_location){HEP_PLACE_WEIGHT, node->weight, 0};
    if (node->bias)
        where[HEP_SLOT_BIAS] = (struct hep_location){HEP_PLACE_WEIGHT, node->bias, 0};
    if (scratch >= 0)
        where[HEP_SLOT_SCRATCH] = (struct hep_location){HEP_PLACE_ARENA, (uint32_t)scratch, 0};
}

enum hep_status hep_pass_memory(struct hep_plan_inside *p, struct hep_error *error)
{
    for (uint32_t i = 0; i < p->ir.order_count; i++) {
        int scratch = -1;
        if (p->kernels[i].scratch_bytes) {
            scratch = p->buffer_count++;
            p->buffers[scratch] = (struct hep_buffer){.first = (int)i,
                                                      .last = (int)i,
                                                      .align = HEP_ALIGN,
                                                      .bytes = p->kernels[i].scratch_bytes,
                                                      .in_place_of = HEP_NOT_IN_PLACE};
        }
        locate(p, i, scratch);
    }
    for (int b = 0; b < p->buffer_count; b++) {
        struct hep_buffer *buffer = &p->buffers[b];
        buffer->bytes = (buffer->bytes + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
        if (p->poison)
            buffer->bytes += CANARY_BYTES;
    }
    return hep_plan_memory(p->buffers, p->buffer_count, &p->plan.peak_bytes, &p->plan.live_bytes, error);
}
