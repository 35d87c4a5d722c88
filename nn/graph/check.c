/*
 * The checker between passes. It restates each operator's shape rule and what each pass promised; a graph of ours that
 * does not hold is a defect, so it asserts, naming pass, node and rule. Called by plan.c after every pass.
 */
#include "nn/graph/pass.h"

#include "common/log.h"

#include <stdlib.h>

struct checking {
    const struct hep_ir *ir;
    enum hep_pass pass;
    const struct hep_ir_node *node;
};

static void require(const struct checking *c, bool holds, const char *rule)
{
    if (holds)
        return;
    hep_log(HEP_ERROR_LEVEL, "plan.broken", "network=%s pass=%s op=%s node=%s rule=\"%s\"", c->ir->network,
            hep_pass_name(c->pass), c->node ? hep_op_name(c->node->op) : "-",
            c->node && c->node->name ? c->node->name : "-", rule);
    hep_assert_failed(rule, __FILE__, __LINE__);
}

const char *hep_pass_name(enum hep_pass pass)
{
    static const char *const names[HEP_PASS_COUNT] = {"build", "fold", "fuse", "dtype"};
    return names[pass];
}

static const struct hep_shape *shape_of(const struct checking *c, uint32_t value)
{
    return &c->ir->values[value].shape;
}

static int64_t elements(const struct hep_shape *shape)
{
    return hep_rows(shape) * hep_row(shape);
}

static bool same_but_last(const struct hep_shape *a, const struct hep_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i + 1 < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

static bool conv_holds(const struct hep_ir_node *n, const struct hep_shape *x, const struct hep_shape *w,
                       const struct hep_shape *out)
{
    const struct hep_attr *a = &n->attr;
    if (x->rank != 4 || out->rank != 4 || w->rank != 4)
        return false;
    return w->dims[1] == x->dims[3] && w->dims[0] == out->dims[3] && out->dims[0] == x->dims[0] &&
           out->dims[1] == (x->dims[1] + a->pads[0] + a->pads[2] - a->kernel) / a->stride + 1 &&
           out->dims[2] == (x->dims[2] + a->pads[1] + a->pads[3] - a->kernel) / a->stride + 1;
}

/* Shapes of the operators that have no weights. */
static bool plain_holds(const struct hep_ir_node *n, const struct hep_shape *x, const struct hep_shape *y,
                        const struct hep_shape *z, const struct hep_shape *out)
{
    switch (n->op) {
    case HEP_OP_FROM_NCHW:
        return x->rank == 4 && out->rank == 4 && x->dims[1] == out->dims[3] && elements(x) == elements(out);
    case HEP_OP_TO_NCHW:
        return x->rank == 4 && out->rank == 4 && x->dims[3] == out->dims[1] && elements(x) == elements(out);
    case HEP_OP_GEGLU:
        return same_but_last(x, out) && hep_row(x) == 2 * hep_row(out);
    case HEP_OP_ADD:
        return hep_shape_equal(x, out) && y->rank <= x->rank && hep_row(x) == hep_row(y);
    case HEP_OP_ADD_CHANNELS:
        return hep_shape_equal(x, out) && y->rank == 2 && y->dims[0] == x->dims[0] && hep_row(x) == hep_row(y);
    case HEP_OP_CONCAT:
        return same_but_last(x, out) && same_but_last(y, out) && hep_row(x) + hep_row(y) == hep_row(out);
    case HEP_OP_SLICE:
        return same_but_last(x, out) && n->attr.first >= 0 && n->attr.first + hep_row(out) <= hep_row(x);
    case HEP_OP_RESHAPE:
        return elements(x) == elements(out);
    case HEP_OP_RESIZE:
        return x->rank == 4 && out->rank == 4 && x->dims[0] == out->dims[0] && x->dims[3] == out->dims[3];
    case HEP_OP_ATTENTION:
        return hep_shape_equal(x, out) && hep_shape_equal(y, z) && hep_row(x) == hep_row(y) && n->attr.heads > 0 &&
               hep_row(x) % n->attr.heads == 0;
    case HEP_OP_TIMESTEP:
        return out->rank == x->rank + 1 && hep_rows(out) == elements(x);
    case HEP_OP_POOL_EOS:
        return x->rank == 3 && out->rank == 2 && x->dims[0] == out->dims[0] && hep_row(x) == hep_row(out);
    default:
        return hep_shape_equal(x, out);
    }
}

static void check_shapes(const struct checking *c)
{
    const struct hep_ir_node *n = c->node;
    const struct hep_shape *out = shape_of(c, n->output), *x = shape_of(c, n->inputs[0]);
    const struct hep_shape *w = n->weight ? &c->ir->weights[n->weight].merged : NULL;
    if (n->bias)
        require(c, elements(&c->ir->weights[n->bias].merged) == hep_row(out), "the bias has one number per channel");
    if (n->residual)
        require(c, elements(shape_of(c, n->residual)) == elements(out), "the residual has the result's size");
    switch (n->op) {
    case HEP_OP_CONV2D:
        require(c, w && conv_holds(n, x, w, out), "conv2d's shapes");
        return;
    case HEP_OP_LINEAR:
        require(c, w && w->dims[1] == hep_row(x) && w->dims[0] == hep_row(out) && hep_rows(x) == hep_rows(out),
                "linear's shapes");
        return;
    case HEP_OP_GROUP_NORM:
    case HEP_OP_LAYER_NORM:
        require(c, w && hep_shape_equal(x, out) && elements(w) == hep_row(x), "a norm's shapes");
        return;
    case HEP_OP_EMBEDDING:
        require(c, w && hep_row(w) == hep_row(out) && elements(x) == hep_rows(out), "embedding's shapes");
        return;
    default:
        require(c, plain_holds(n, x, shape_of(c, n->inputs[1]), shape_of(c, n->inputs[2]), out),
                "the operator's shapes");
    }
}

static void check_view(const struct checking *c, uint32_t value)
{
    const struct hep_ir_value *v = &c->ir->values[value];
    const struct hep_ir_value *root = &c->ir->values[v->view_of];
    if (!v->view_of)
        return;
    require(c, root->view_of == 0, "a view is of storage, not of a view");
    require(c, v->row_stride >= hep_row(&v->shape), "a view's rows do not overlap");
    require(c, v->view_first + (hep_rows(&v->shape) - 1) * v->row_stride + hep_row(&v->shape) <= elements(&root->shape),
            "a view lies inside its storage");
}

static void check_node(const struct checking *c, const bool *defined)
{
    uint32_t uses[HEP_IR_USES_MAX];
    int count = hep_ir_uses(c->node, uses);
    require(c, !c->node->dead, "a dead node is not in the order");
    for (int i = 0; i < count; i++) {
        require(c, uses[i] > 0 && uses[i] < c->ir->value_count, "inputs are values");
        require(c, defined[hep_ir_root(c->ir, uses[i])], "a value is defined before it is used");
        check_view(c, uses[i]);
        if (c->pass >= HEP_PASS_DTYPE)
            require(c, c->ir->values[uses[i]].dtype != HEP_DTYPE_UNDEF, "every value has a dtype");
    }
    if (c->pass >= HEP_PASS_FOLD)
        require(c, c->node->op != HEP_OP_SLICE && c->node->op != HEP_OP_RESHAPE, "no SLICE or RESHAPE is left");
    if (c->pass >= HEP_PASS_DTYPE && c->node->residual)
        require(c, c->ir->values[c->node->residual].dtype == c->ir->values[c->node->output].dtype,
                "the residual has the result's dtype");
    require(c, c->ir->values[c->node->output].view_of == 0, "a node's result is storage, not a view");
    check_shapes(c);
}

void hep_check(const struct hep_ir *ir, enum hep_pass pass)
{
    struct checking c = {ir, pass, NULL};
    bool *defined = calloc(ir->value_count, sizeof *defined);
    if (!defined)
        return; /* checked again at the next plan; the passes themselves report missing memory */
    for (uint32_t i = 1; i < ir->value_count; i++)
        defined[i] = ir->values[i].kind != HEP_VALUE_NODE;
    uint32_t count = pass == HEP_PASS_BUILD ? ir->node_count - 1 : ir->order_count;
    for (uint32_t i = 0; i < count; i++) {
        c.node = &ir->nodes[pass == HEP_PASS_BUILD ? i + 1 : ir->order[i]];
        check_node(&c, defined);
        require(&c, !defined[c.node->output], "a value is defined once");
        defined[c.node->output] = true;
    }
    c.node = NULL;
    for (uint32_t i = 0; i < ir->output_count; i++)
        require(&c, defined[hep_ir_root(ir, ir->outputs[i].value)], "every output is defined");
    free(defined);
}
