/* Builders without weights: elementwise functions, shapes, attention, timesteps, pooling. They check and append. */
#include "nn/graph/ir.h"

#include <math.h>

/* Records a wrong argument of op: rule, and x's shape. */
static hep_value wrong(struct hep_graph *graph, enum hep_op op, const char *rule, const struct hep_shape *shape)
{
    char text[96];
    return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "%s: %s, is %s", hep_op_name(op), rule,
                          hep_shape_text(shape, text, sizeof text));
}

/* A node of one float input and the same or another shape; ids are refused. */
static hep_value unary(struct hep_graph *graph, enum hep_op op, hep_value x, struct hep_attr attr,
                       const struct hep_shape *shape)
{
    const struct hep_ir_value *v = hep_build_value(graph, x, hep_op_name(op));
    if (!v)
        return (hep_value){0};
    if (v->dtype == HEP_I32)
        return wrong(graph, op, "x must be numbers, not ids", &v->shape);
    struct hep_ir_node node = {.op = op, .inputs = {x.id}, .attr = attr, .name = hep_op_name(op)};
    return hep_build_node(graph, node, shape ? *shape : v->shape);
}

hep_value hep_from_nchw(struct hep_graph *graph, hep_value x)
{
    struct hep_shape s = hep_shape_of(graph, x);
    if (graph->status == HEP_OK && s.rank != 4)
        return wrong(graph, HEP_OP_FROM_NCHW, "x must be [n, c, h, w]", &s);
    struct hep_shape to = HEP_SHAPE(s.dims[0], s.dims[2], s.dims[3], s.dims[1]);
    return unary(graph, HEP_OP_FROM_NCHW, x, (struct hep_attr){0}, &to);
}

hep_value hep_to_nchw(struct hep_graph *graph, hep_value x)
{
    struct hep_shape s = hep_shape_of(graph, x);
    if (graph->status == HEP_OK && s.rank != 4)
        return wrong(graph, HEP_OP_TO_NCHW, "x must be [n, h, w, c]", &s);
    struct hep_shape to = HEP_SHAPE(s.dims[0], s.dims[3], s.dims[1], s.dims[2]);
    return unary(graph, HEP_OP_TO_NCHW, x, (struct hep_attr){0}, &to);
}

hep_value hep_activate(struct hep_graph *graph, hep_value x, enum hep_activation activation)
{
    if (graph->status != HEP_OK || activation == HEP_ACT_NONE)
        return graph->status == HEP_OK ? x : (hep_value){0};
    if (activation >= HEP_ACT_COUNT)
        return HEP_BUILD_FAIL(graph, HEP_E_UNSUPPORTED, "activate: unknown activation number %d", (int)activation);
    hep_value out = unary(graph, HEP_OP_ACTIVATE, x, (struct hep_attr){0}, NULL);
    if (out.id)
        graph->ir.nodes[graph->ir.values[out.id].node].activation = activation;
    return out;
}

hep_value hep_silu(struct hep_graph *graph, hep_value x)
{
    return hep_activate(graph, x, HEP_ACT_SILU);
}

hep_value hep_gelu(struct hep_graph *graph, hep_value x)
{
    return hep_activate(graph, x, HEP_ACT_GELU);
}

hep_value hep_quick_gelu(struct hep_graph *graph, hep_value x)
{
    return hep_activate(graph, x, HEP_ACT_QUICK_GELU);
}

hep_value hep_leaky_relu(struct hep_graph *graph, hep_value x)
{
    return hep_activate(graph, x, HEP_ACT_LEAKY_RELU);
}

hep_value hep_geglu(struct hep_graph *graph, hep_value x)
{
    struct hep_shape s = hep_shape_of(graph, x);
    if (graph->status != HEP_OK)
        return (hep_value){0};
    if (hep_row(&s) % 2 != 0)
        return wrong(graph, HEP_OP_GEGLU, "the last dimension must be even", &s);
    s.dims[s.rank - 1] /= 2;
    return unary(graph, HEP_OP_GEGLU, x, (struct hep_attr){0}, &s);
}

static hep_value binary(struct hep_graph *graph, enum hep_op op, hep_value a, hep_value b, struct hep_shape shape)
{
    const struct hep_ir_value *va = hep_build_value(graph, a, hep_op_name(op));
    const struct hep_ir_value *vb = hep_build_value(graph, b, hep_op_name(op));
    if (!va || !vb)
        return (hep_value){0};
    if (va->dtype == HEP_I32 || vb->dtype == HEP_I32)
        return wrong(graph, op, "arguments must be numbers, not ids", &va->shape);
    struct hep_ir_node node = {.op = op, .inputs = {a.id, b.id}, .name = hep_op_name(op)};
    return hep_build_node(graph, node, shape);
}

hep_value hep_add(struct hep_graph *graph, hep_value a, hep_value b)
{
    struct hep_shape sa = hep_shape_of(graph, a), sb = hep_shape_of(graph, b);
    bool fits = sb.rank <= sa.rank;
    for (int i = 1; fits && i <= sb.rank; i++)
        fits = sa.dims[sa.rank - i] == sb.dims[sb.rank - i];
    if (graph->status == HEP_OK && !fits) {
        char ta[96], tb[96];
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "add: b %s must be a trailing part of a %s",
                              hep_shape_text(&sb, tb, sizeof tb), hep_shape_text(&sa, ta, sizeof ta));
    }
    return binary(graph, HEP_OP_ADD, a, b, sa);
}

hep_value hep_add_channels(struct hep_graph *graph, hep_value x, hep_value e)
{
    struct hep_shape sx = hep_shape_of(graph, x), se = hep_shape_of(graph, e);
    if (graph->status == HEP_OK &&
        (sx.rank < 3 || se.rank != 2 || se.dims[0] != sx.dims[0] || hep_row(&se) != hep_row(&sx))) {
        char tx[96], te[96];
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "add_channels: e %s must be [n, c] of x %s",
                              hep_shape_text(&se, te, sizeof te), hep_shape_text(&sx, tx, sizeof tx));
    }
    return binary(graph, HEP_OP_ADD_CHANNELS, x, e, sx);
}

hep_value hep_scale(struct hep_graph *graph, hep_value x, double factor)
{
    if (graph->status == HEP_OK && !isfinite(factor))
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "scale: factor %g is not finite", factor);
    return unary(graph, HEP_OP_SCALE, x, (struct hep_attr){.scale = factor}, NULL);
}

hep_value hep_concat(struct hep_graph *graph, hep_value a, hep_value b)
{
    struct hep_shape sa = hep_shape_of(graph, a), sb = hep_shape_of(graph, b);
    bool fits = sa.rank == sb.rank && sa.rank > 0;
    for (int i = 0; fits && i + 1 < sa.rank; i++)
        fits = sa.dims[i] == sb.dims[i];
    if (graph->status == HEP_OK && !fits) {
        char ta[96], tb[96];
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "concat: %s and %s must differ in the last dimension only",
                              hep_shape_text(&sa, ta, sizeof ta), hep_shape_text(&sb, tb, sizeof tb));
    }
    if (fits)
        sa.dims[sa.rank - 1] += hep_row(&sb);
    return binary(graph, HEP_OP_CONCAT, a, b, sa);
}

hep_value hep_slice(struct hep_graph *graph, hep_value x, int64_t first, int64_t count)
{
    struct hep_shape s = hep_shape_of(graph, x);
    if (graph->status == HEP_OK && (s.rank < 1 || first < 0 || count < 1 || first > hep_row(&s) - count))
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL,
                              "slice: %" PRId64 " + %" PRId64 " is outside the last dimension %" PRId64, first, count,
                              s.rank ? hep_row(&s) : 0);
    if (s.rank)
        s.dims[s.rank - 1] = count;
    return unary(graph, HEP_OP_SLICE, x, (struct hep_attr){.first = first}, &s);
}

hep_value hep_reshape(struct hep_graph *graph, hep_value x, struct hep_shape shape)
{
    struct hep_shape s = hep_shape_of(graph, x);
    int64_t have = 0, want = -1;
    if (graph->status == HEP_OK &&
        (!hep_shape_elements(&s, &have) || !hep_shape_elements(&shape, &want) || have != want || shape.rank < 1)) {
        char to[96], from[96];
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "reshape: %s and %s differ in their number of elements",
                              hep_shape_text(&s, from, sizeof from), hep_shape_text(&shape, to, sizeof to));
    }
    return unary(graph, HEP_OP_RESHAPE, x, (struct hep_attr){0}, &shape);
}

hep_value hep_to_tokens(struct hep_graph *graph, hep_value x)
{
    struct hep_shape s = hep_shape_of(graph, x);
    if (graph->status == HEP_OK && s.rank != 4)
        return wrong(graph, HEP_OP_RESHAPE, "x must be [n, h, w, c]", &s);
    return hep_reshape(graph, x, HEP_SHAPE(s.dims[0], s.dims[1] * s.dims[2], s.dims[3]));
}

hep_value hep_to_image(struct hep_graph *graph, hep_value x, int64_t height, int64_t width)
{
    struct hep_shape s = hep_shape_of(graph, x);
    if (graph->status == HEP_OK && (s.rank != 3 || height < 1 || width < 1 || s.dims[1] != height * width))
        return wrong(graph, HEP_OP_RESHAPE, "x must be [n, h * w, c]", &s);
    return hep_reshape(graph, x, HEP_SHAPE(s.dims[0], height, width, s.dims[2]));
}

static hep_value resize(struct hep_graph *graph, hep_value x, int64_t height, int64_t width)
{
    struct hep_shape s = hep_shape_of(graph, x);
    if (graph->status == HEP_OK && s.rank != 4)
        return wrong(graph, HEP_OP_RESIZE, "x must be [n, h, w, c]", &s);
    if (s.dims[1] == height && s.dims[2] == width)
        return x;
    struct hep_shape to = HEP_SHAPE(s.dims[0], height, width, s.dims[3]);
    return unary(graph, HEP_OP_RESIZE, x, (struct hep_attr){0}, &to);
}

hep_value hep_upsample2x(struct hep_graph *graph, hep_value x)
{
    struct hep_shape s = hep_shape_of(graph, x);
    return resize(graph, x, 2 * s.dims[1], 2 * s.dims[2]);
}

hep_value hep_resize_like(struct hep_graph *graph, hep_value x, hep_value like)
{
    struct hep_shape s = hep_shape_of(graph, like);
    if (graph->status == HEP_OK && s.rank != 4)
        return wrong(graph, HEP_OP_RESIZE, "like must be [n, h, w, c]", &s);
    return resize(graph, x, s.dims[1], s.dims[2]);
}

/* [n·c·h, w', f] → f apart from w'; then c to the end; then f·f, which is now before w', behind it. */
hep_value hep_pixel_unshuffle(struct hep_graph *graph, hep_value x, int factor)
{
    struct hep_shape s = hep_shape_of(graph, x);
    if (graph->status != HEP_OK)
        return (hep_value){0};
    if (s.rank != 4 || factor < 1 || s.dims[2] % factor != 0 || s.dims[3] % factor != 0)
        return wrong(graph, HEP_OP_FROM_NCHW, "pixel_unshuffle: x must be [n, c, h, w] in multiples of the factor", &s);
    int64_t n = s.dims[0], c = s.dims[1], h = s.dims[2] / factor, w = s.dims[3] / factor, f = factor;
    x = hep_from_nchw(graph, hep_reshape(graph, x, HEP_SHAPE(n * c * h * f, w, f, 1)));
    x = hep_from_nchw(graph, hep_reshape(graph, x, HEP_SHAPE(n, c, h * f, f * w)));
    x = hep_from_nchw(graph, hep_reshape(graph, x, HEP_SHAPE(n * h, f * f, w, c)));
    return hep_reshape(graph, x, HEP_SHAPE(n, h, w, c * f * f));
}

hep_value hep_attention_with(struct hep_graph *graph, hep_value q, hep_value k, hep_value v,
                             struct hep_attention_options o)
{
    struct hep_shape sq = hep_shape_of(graph, q), sk = hep_shape_of(graph, k), sv = hep_shape_of(graph, v);
    if (!hep_build_value(graph, q, "attention q") || !hep_build_value(graph, k, "attention k") ||
        !hep_build_value(graph, v, "attention v"))
        return (hep_value){0};
    if (sq.rank != 3)
        return wrong(graph, HEP_OP_ATTENTION, "q must be [n, t, c]", &sq);
    if (!hep_shape_equal(&sk, &sv) || sk.rank != 3 || sk.dims[0] != sq.dims[0] || sk.dims[2] != sq.dims[2])
        return wrong(graph, HEP_OP_ATTENTION, "k and v must be [n, t', c] with q's n and c; k", &sk);
    if (o.heads < 1 || sq.dims[2] % o.heads != 0)
        return HEP_BUILD_FAIL(graph, HEP_E_BAD_MODEL, "attention: %d heads do not divide %" PRId64 " channels", o.heads,
                              sq.dims[2]);
    if (o.causal && sq.dims[1] != sk.dims[1])
        return wrong(graph, HEP_OP_ATTENTION, "a causal one needs as many keys as queries; k", &sk);
    double scale = o.scale != 0 ? o.scale : 1 / sqrt((double)(sq.dims[2] / o.heads));
    if (!isfinite(scale))
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "attention: scale %g is not finite", scale);
    struct hep_ir_node node = {.op = HEP_OP_ATTENTION,
                               .inputs = {q.id, k.id, v.id},
                               .name = "attention",
                               .attr = {.heads = o.heads, .causal = o.causal, .scale = scale}};
    return hep_build_node(graph, node, sq);
}

hep_value hep_timestep_embedding_with(struct hep_graph *graph, hep_value t, struct hep_timestep_options o)
{
    struct hep_shape s = hep_shape_of(graph, t);
    const struct hep_ir_value *v = hep_build_value(graph, t, "timestep");
    if (!v)
        return (hep_value){0};
    double period = o.max_period != 0 ? o.max_period : 10000;
    if (v->dtype == HEP_I32 || s.rank >= HEP_TENSOR_RANK_MAX)
        return wrong(graph, HEP_OP_TIMESTEP, "t must be f32", &s);
    if (o.width < 2 || o.width % 2 != 0 || !((double)(o.width / 2) > o.shift) || !(period > 0))
        return HEP_BUILD_FAIL(graph, HEP_E_BAD_MODEL,
                              "timestep: width %" PRId64 " must be even and above 2 * shift %g, max_period %g positive",
                              o.width, o.shift, period);
    struct hep_attr attr = {.flip = o.flip, .shift = o.shift, .max_period = period};
    s.dims[s.rank++] = o.width;
    return unary(graph, HEP_OP_TIMESTEP, t, attr, &s);
}

hep_value hep_pool_eos(struct hep_graph *graph, hep_value x, hep_value ids, int64_t eos_id)
{
    struct hep_shape sx = hep_shape_of(graph, x), si = hep_shape_of(graph, ids);
    const struct hep_ir_value *vx = hep_build_value(graph, x, "pool_eos x"),
                              *vi = hep_build_value(graph, ids, "pool_eos ids");
    if (!vx || !vi)
        return (hep_value){0};
    if (sx.rank != 3 || si.rank != 2 || vi->dtype != HEP_I32 || si.dims[0] != sx.dims[0] || si.dims[1] != sx.dims[1])
        return wrong(graph, HEP_OP_POOL_EOS, "x must be [n, t, c] with ids [n, t] i32; ids", &si);
    struct hep_ir_node node = {
        .op = HEP_OP_POOL_EOS, .inputs = {x.id, ids.id}, .name = "pool_eos", .attr = {.eos_id = eos_id}};
    return hep_build_node(graph, node, HEP_SHAPE(sx.dims[0], sx.dims[2]));
}
