/*
 * The second pass: fewer, larger steps. Linears of one input whose results meet in one attention (q, k, v), or are all
 * added to channels (the time embedding's projections), become one; a single-use activation or addition behind a
 * convolution, linear or norm becomes its tail, where the backend's table takes it. What is fused depends on the graph
 * alone, never on sizes, so that weights stay packed alike at every size. Called by plan.c.
 */
#include "nn/graph/pass.h"

#include <stdlib.h>
#include <string.h>

/* Who reads a value, with views counted as readers of their storage. */
struct readers {
    uint32_t *count; /* [value_count]: live nodes, outputs and views */
};

static enum hep_status count_readers(const struct hep_ir *ir, struct readers *readers, struct hep_error *error)
{
    free(readers->count);
    readers->count = hep_ir_use_counts(ir);
    if (!readers->count)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", ir->network);
    for (uint32_t i = 1; i < ir->value_count; i++)
        if (ir->values[i].view_of && readers->count[i])
            readers->count[ir->values[i].view_of]++;
    return HEP_OK;
}

/* Dead nodes leave the order. */
static void compact(struct hep_ir *ir)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < ir->order_count; i++)
        if (!ir->nodes[ir->order[i]].dead)
            ir->order[kept++] = ir->order[i];
    ir->order_count = kept;
}

/* ---- linears of one input ---- */

/* What the single reader of a linear's result is: 0 if it cannot be merged, the node id of the attention, or UINT32_MAX
   for "added to channels". A view of the whole result counts as the result. */
static uint32_t meeting(const struct hep_ir *ir, const struct readers *readers, uint32_t value)
{
    uint32_t read = value, found = 0;
    if (readers->count[value] != 1)
        return 0;
    for (uint32_t i = 1; i < ir->value_count; i++)
        if (ir->values[i].view_of == value && readers->count[i] == 1 &&
            ir->values[i].row_stride == hep_row(&ir->values[i].shape) &&
            hep_row(&ir->values[i].shape) == hep_row(&ir->values[value].shape))
            read = i;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        const struct hep_ir_node *node = &ir->nodes[ir->order[i]];
        if (node->op == HEP_OP_ATTENTION &&
            (node->inputs[0] == read || node->inputs[1] == read || node->inputs[2] == read))
            found = ir->order[i];
        else if (node->op == HEP_OP_ADD_CHANNELS && node->inputs[1] == read)
            found = UINT32_MAX;
    }
    return found;
}

/* A weight that two nodes share stays as it is. */
static bool used_once(const struct hep_ir *ir, uint32_t weight)
{
    int users = 0;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        const struct hep_ir_node *node = &ir->nodes[ir->order[i]];
        users += !node->dead && (node->weight == weight || node->bias == weight);
    }
    return users == 1;
}

static bool mergeable(const struct hep_ir *ir, const struct hep_ir_node *a, const struct hep_ir_node *b)
{
    const struct hep_ir_weight *wa = &ir->weights[a->weight], *wb = &ir->weights[b->weight];
    return b->op == HEP_OP_LINEAR && !b->dead && a->inputs[0] == b->inputs[0] && a->f32 == b->f32 &&
           !a->bias == !b->bias && !wb->next_part && wa->shape.dims[1] == wb->shape.dims[1] &&
           used_once(ir, a->weight) && used_once(ir, b->weight) &&
           (!a->bias || (used_once(ir, a->bias) && used_once(ir, b->bias))) &&
           hep_rows(&ir->values[a->output].shape) == hep_rows(&ir->values[b->output].shape);
}

static void chain(struct hep_ir *ir, uint32_t head, uint32_t last, uint32_t part)
{
    ir->weights[last].next_part = part;
    ir->weights[part].dead = true;
    ir->weights[head].merged.dims[0] += ir->weights[part].shape.dims[0];
}

/* Merges the linears ids[count] (in order) into the first: its result becomes the wide one, the old results views of
 * it. */
static enum hep_status merge(struct hep_ir *ir, const uint32_t *ids, uint32_t count, struct hep_error *error)
{
    uint32_t wide = hep_ir_new_value(ir);
    if (!wide)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", ir->network);
    struct hep_ir_node *first = &ir->nodes[ids[0]];
    struct hep_shape shape = ir->values[first->output].shape;
    uint32_t last_weight = first->weight, last_bias = first->bias;
    for (uint32_t i = 1; i < count; i++) {
        struct hep_ir_node *node = &ir->nodes[ids[i]];
        chain(ir, first->weight, last_weight, node->weight);
        last_weight = node->weight;
        if (node->bias) {
            chain(ir, first->bias, last_bias, node->bias);
            last_bias = node->bias;
        }
    }
    shape.dims[shape.rank - 1] = ir->weights[first->weight].merged.dims[0];
    ir->values[wide] =
        (struct hep_ir_value){.kind = HEP_VALUE_NODE, .shape = shape, .node = ids[0], .row_stride = hep_row(&shape)};
    int64_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t old = ir->nodes[ids[i]].output;
        int64_t width = hep_row(&ir->values[old].shape);
        for (uint32_t v = 1; v < ir->value_count; v++) {
            if (v != old && ir->values[v].view_of != old)
                continue;
            ir->values[v].view_of = wide;
            ir->values[v].view_first += at;
            ir->values[v].row_stride = hep_row(&shape);
        }
        at += width;
        ir->nodes[ids[i]].dead = i > 0;
    }
    first->output = wide;
    return HEP_OK;
}

static enum hep_status merge_linears(struct hep_ir *ir, struct readers *readers, struct hep_error *error)
{
    uint32_t *group = calloc((size_t)ir->order_count + 1, sizeof *group);
    uint32_t *meets = calloc((size_t)ir->order_count + 1, sizeof *meets);
    enum hep_status status = HEP_OK;
    if (!group || !meets) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", ir->network);
        goto done;
    }
    for (uint32_t i = 0; i < ir->order_count; i++)
        if (ir->nodes[ir->order[i]].op == HEP_OP_LINEAR)
            meets[i] = meeting(ir, readers, ir->nodes[ir->order[i]].output);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t count = 1;
        if (!meets[i] || ir->nodes[ir->order[i]].dead)
            continue;
        group[0] = ir->order[i];
        for (uint32_t j = i + 1; j < ir->order_count; j++)
            if (meets[j] == meets[i] && mergeable(ir, &ir->nodes[group[0]], &ir->nodes[ir->order[j]]))
                group[count++] = ir->order[j];
        if (count > 1)
            HEP_TRY_DONE(status, merge(ir, group, count, error));
    }
    compact(ir);
done:
    free(group);
    free(meets);
    return status;
}

/* ---- tails ---- */

/* The live node whose result `value` is, when nobody else reads it; through a whole dense view if it works on rows. */
static struct hep_ir_node *only_producer(struct hep_ir *ir, const struct readers *readers, uint32_t value)
{
    const struct hep_ir_value *v = &ir->values[value];
    if (readers->count[value] != 1)
        return NULL;
    uint32_t root = hep_ir_root(ir, value);
    const struct hep_ir_value *r = &ir->values[root];
    if (r->kind != HEP_VALUE_NODE || ir->nodes[r->node].dead)
        return NULL;
    struct hep_ir_node *node = &ir->nodes[r->node];
    if (root == value)
        return node;
    bool whole = v->view_first == 0 && v->row_stride == hep_row(&r->shape) &&
                 hep_row(&v->shape) == hep_row(&r->shape) && hep_rows(&v->shape) == hep_rows(&r->shape);
    return whole && readers->count[root] == 1 && node->op == HEP_OP_LINEAR ? node : NULL;
}

/* node now gives value, which its tail gave before. */
static void take_over(struct hep_ir *ir, struct hep_ir_node *node, struct hep_ir_node *tail)
{
    node->output = tail->output;
    ir->values[tail->output].node = (uint32_t)(node - ir->nodes);
    tail->dead = true;
}

static void fuse_activation(struct hep_ir *ir, const struct hep_backend *backend, const struct readers *readers,
                            struct hep_ir_node *tail)
{
    struct hep_ir_node *node = only_producer(ir, readers, tail->inputs[0]);
    if (!node || node->activation || node->residual || node->op == HEP_OP_ACTIVATE ||
        !(backend->ops[node->op].activations & 1u << tail->activation))
        return;
    node->activation = tail->activation;
    take_over(ir, node, tail);
}

/* Position of a node in the order. */
static uint32_t position(const struct hep_ir *ir, const struct hep_ir_node *node)
{
    uint32_t id = (uint32_t)(node - ir->nodes);
    for (uint32_t i = 0; i < ir->order_count; i++)
        if (ir->order[i] == id)
            return i;
    return UINT32_MAX;
}

/* a + b at order[at]: the later of the two producers takes the other as its residual and moves to the addition's place.
 */
static void fuse_residual(struct hep_ir *ir, const struct hep_backend *backend, const struct readers *readers,
                          uint32_t at)
{
    struct hep_ir_node *tail = &ir->nodes[ir->order[at]], *best = NULL;
    uint32_t other = 0, best_position = 0;
    const struct hep_shape *out = &ir->values[tail->output].shape;
    if (tail->inputs[0] == tail->inputs[1])
        return;
    for (int i = 0; i < 2; i++) {
        struct hep_ir_node *node = only_producer(ir, readers, tail->inputs[i]);
        const struct hep_ir_value *v = &ir->values[tail->inputs[1 - i]];
        if (!node || !backend->ops[node->op].residual || node->activation || node->residual || node->f32 ||
            !hep_shape_equal(&v->shape, out) || !hep_shape_equal(&ir->values[tail->inputs[i]].shape, out) ||
            v->row_stride != hep_row(&v->shape))
            continue;
        uint32_t where = position(ir, node);
        if (best && where < best_position)
            continue;
        best = node;
        best_position = where;
        other = tail->inputs[1 - i];
    }
    if (!best)
        return;
    uint32_t id = ir->order[best_position];
    best->residual = other;
    take_over(ir, best, tail);
    memmove(ir->order + best_position, ir->order + best_position + 1, (at - best_position) * sizeof *ir->order);
    ir->order[at] = id;
}

enum hep_status hep_pass_fuse(struct hep_ir *ir, const struct hep_backend *backend, struct hep_error *error)
{
    struct readers readers = {0};
    enum hep_status status;
    HEP_TRY_DONE(status, count_readers(ir, &readers, error));
    HEP_TRY_DONE(status, merge_linears(ir, &readers, error));
    HEP_TRY_DONE(status, count_readers(ir, &readers, error));
    for (uint32_t i = 0; i < ir->order_count; i++) {
        struct hep_ir_node *node = &ir->nodes[ir->order[i]];
        if (node->op == HEP_OP_ACTIVATE)
            fuse_activation(ir, backend, &readers, node);
    }
    compact(ir);
    for (uint32_t i = 0; i < ir->order_count; i++)
        if (ir->nodes[ir->order[i]].op == HEP_OP_ADD)
            fuse_residual(ir, backend, &readers, i);
    compact(ir);
done:
    free(readers.count);
    return status;
}
