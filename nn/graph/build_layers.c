/* Builders of the layers that have weights: convolution, linear, norms, embedding. They check and append; no pass here.
 */
#include "nn/graph/ir.h"

/* Finds key.bias as the options ask; false with the error recorded. */
static bool bias_of(struct hep_graph *graph, struct hep_scope scope, const char *key, int64_t out, bool none,
                    bool if_there, bool f32, uint32_t *bias)
{
    *bias = 0;
    if (none)
        return true;
    const char *name = hep_build_name(graph, scope, key, ".bias");
    *bias = hep_build_weight(graph, name, HEP_SHAPE(out), HEP_WEIGHT_PLAIN, f32, if_there);
    return graph->status == HEP_OK;
}

static bool conv_options_hold(struct hep_graph *graph, const char *name, const struct hep_conv2d_options *o)
{
    if (o->groups > 1) {
        HEP_BUILD_FAIL(graph, HEP_E_UNSUPPORTED, "conv2d %s: groups is %d, only 1 is supported", name, o->groups);
        return false;
    }
    if (o->kernel < 0 || o->kernel > 16 || o->stride < 0 || o->stride > 16 || o->padding < 0 || o->out < 0) {
        HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "conv2d %s: kernel %d and stride %d must be in 1 … 16, padding %d >= 0",
                       name, o->kernel, o->stride, o->padding);
        return false;
    }
    for (int i = 0; i < 4; i++)
        if (o->pads[i] < 0 || o->pads[i] + o->padding >= (o->kernel > 1 ? o->kernel : 2)) {
            HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "conv2d %s: padding %d must be in 0 … kernel - 1", name,
                           o->pads[i] + o->padding);
            return false;
        }
    return true;
}

hep_value hep_conv2d_with(struct hep_graph *graph, hep_value x, struct hep_scope scope, const char *key,
                          struct hep_conv2d_options o)
{
    char text[96];
    const struct hep_ir_value *v = hep_build_value(graph, x, "conv2d");
    const char *name = v ? hep_build_name(graph, scope, key, "") : NULL;
    if (!name || !conv_options_hold(graph, name, &o))
        return (hep_value){0};
    if (v->shape.rank != 4)
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "conv2d %s: x must be [n, h, w, c], is %s", name,
                              hep_shape_text(&v->shape, text, sizeof text));
    int k = o.kernel ? o.kernel : 1, stride = o.stride ? o.stride : 1;
    struct hep_attr attr = {.kernel = k, .stride = stride};
    for (int i = 0; i < 4; i++)
        attr.pads[i] = o.padding + o.pads[i];
    struct hep_shape in = v->shape, shape = HEP_SHAPE(o.out ? o.out : -1, in.dims[3], k, k);
    int64_t height = in.dims[1] + attr.pads[0] + attr.pads[2], width = in.dims[2] + attr.pads[1] + attr.pads[3];
    if (height < k || width < k)
        return HEP_BUILD_FAIL(graph, HEP_E_OUT_OF_RANGE, "conv2d %s: %s is smaller than the kernel of %d", name,
                              hep_shape_text(&in, text, sizeof text), k);
    uint32_t weight =
        hep_build_weight(graph, hep_build_name(graph, scope, key, ".weight"), shape, HEP_WEIGHT_CONV, o.f32, false);
    if (!weight)
        return (hep_value){0};
    int64_t out = graph->ir.weights[weight].shape.dims[0];
    uint32_t bias;
    if (!bias_of(graph, scope, key, out, o.no_bias, o.bias_if_there, o.f32, &bias))
        return (hep_value){0};
    struct hep_ir_node node = {.op = HEP_OP_CONV2D,
                               .f32 = o.f32,
                               .inputs = {x.id},
                               .weight = weight,
                               .bias = bias,
                               .attr = attr,
                               .name = name};
    return hep_build_node(graph, node, HEP_SHAPE(in.dims[0], (height - k) / stride + 1, (width - k) / stride + 1, out));
}

hep_value hep_linear_with(struct hep_graph *graph, hep_value x, struct hep_scope scope, const char *key,
                          struct hep_linear_options o)
{
    const struct hep_ir_value *v = hep_build_value(graph, x, "linear");
    const char *name = v ? hep_build_name(graph, scope, key, "") : NULL;
    if (!name)
        return (hep_value){0};
    if (o.out < 0 || v->dtype == HEP_I32)
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "linear %s: out is %" PRId64 ", x is %s", name, o.out,
                              v->dtype == HEP_I32 ? "ids" : "numbers");
    struct hep_shape shape = v->shape;
    uint32_t weight = hep_build_weight(graph, hep_build_name(graph, scope, key, ".weight"),
                                       HEP_SHAPE(o.out ? o.out : -1, hep_row(&shape)), HEP_WEIGHT_LINEAR, o.f32, false);
    if (!weight)
        return (hep_value){0};
    int64_t out = graph->ir.weights[weight].shape.dims[0];
    uint32_t bias;
    if (!bias_of(graph, scope, key, out, o.no_bias, o.bias_if_there, o.f32, &bias))
        return (hep_value){0};
    struct hep_ir_node node = {
        .op = HEP_OP_LINEAR, .f32 = o.f32, .inputs = {x.id}, .weight = weight, .bias = bias, .name = name};
    shape.dims[shape.rank - 1] = out;
    return hep_build_node(graph, node, shape);
}

/* weight and bias of a norm, both [c]. */
static bool norm_weights(struct hep_graph *graph, struct hep_scope scope, const char *key, int64_t channels,
                         struct hep_ir_node *node)
{
    node->name = hep_build_name(graph, scope, key, "");
    node->weight = hep_build_weight(graph, hep_build_name(graph, scope, key, ".weight"), HEP_SHAPE(channels),
                                    HEP_WEIGHT_PLAIN, true, false);
    node->bias = hep_build_weight(graph, hep_build_name(graph, scope, key, ".bias"), HEP_SHAPE(channels),
                                  HEP_WEIGHT_PLAIN, true, false);
    return graph->status == HEP_OK;
}

hep_value hep_group_norm(struct hep_graph *graph, hep_value x, struct hep_scope scope, const char *key, int groups,
                         double eps)
{
    char text[96];
    const struct hep_ir_value *v = hep_build_value(graph, x, "group_norm");
    if (!v)
        return (hep_value){0};
    struct hep_shape shape = v->shape;
    int64_t channels = hep_row(&shape);
    if (shape.rank < 3 || groups < 1 || channels % groups != 0 || !(eps > 0))
        return HEP_BUILD_FAIL(
            graph, HEP_E_BAD_MODEL,
            "group_norm %s.%s: %d groups, eps %g over %s: groups must divide the channels, eps be positive", scope.path,
            key, groups, eps, hep_shape_text(&shape, text, sizeof text));
    struct hep_ir_node node = {.op = HEP_OP_GROUP_NORM, .inputs = {x.id}, .attr = {.groups = groups, .eps = eps}};
    if (!norm_weights(graph, scope, key, channels, &node))
        return (hep_value){0};
    return hep_build_node(graph, node, shape);
}

hep_value hep_layer_norm(struct hep_graph *graph, hep_value x, struct hep_scope scope, const char *key, double eps)
{
    const struct hep_ir_value *v = hep_build_value(graph, x, "layer_norm");
    if (!v)
        return (hep_value){0};
    struct hep_shape shape = v->shape;
    if (!(eps > 0))
        return HEP_BUILD_FAIL(graph, HEP_E_BAD_MODEL, "layer_norm %s.%s: eps %g must be positive", scope.path, key,
                              eps);
    struct hep_ir_node node = {.op = HEP_OP_LAYER_NORM, .inputs = {x.id}, .attr = {.eps = eps}};
    if (!norm_weights(graph, scope, key, hep_row(&shape), &node))
        return (hep_value){0};
    return hep_build_node(graph, node, shape);
}

hep_value hep_embedding(struct hep_graph *graph, hep_value ids, struct hep_scope scope, const char *key, int64_t rows,
                        int64_t width)
{
    const struct hep_ir_value *v = hep_build_value(graph, ids, "embedding");
    if (!v)
        return (hep_value){0};
    if (v->dtype != HEP_I32 || v->shape.rank != 2)
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "embedding %s.%s: ids must be [n, t] i32", scope.path, key);
    struct hep_shape shape = v->shape;
    uint32_t weight = hep_build_weight(graph, hep_build_name(graph, scope, key, ".weight"), HEP_SHAPE(rows, width),
                                       HEP_WEIGHT_TABLE, false, false);
    const char *name = hep_build_name(graph, scope, key, "");
    if (!weight || !name)
        return (hep_value){0};
    struct hep_ir_node node = {.op = HEP_OP_EMBEDDING, .inputs = {ids.id}, .weight = weight, .name = name};
    return hep_build_node(graph, node, HEP_SHAPE(shape.dims[0], shape.dims[1], width));
}
