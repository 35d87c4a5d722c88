/*
 * A graph's life, its scopes of weight names, its borders (inputs, outputs, constants) and the helpers that every
 * builder uses: the kept first error, nodes, and weights checked against the source. Called by nn/models and by
 * build_*.c.
 */
#include "nn/graph/ir.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

enum hep_status hep_graph_create(const char *network, const struct hep_weight_source *source, struct hep_graph **graph,
                                 struct hep_error *error)
{
    hep_assert(network && source && source->ops);
    struct hep_graph *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the graph of %s", network);
    enum hep_status status = hep_ir_init(&made->ir, network, error);
    if (status != HEP_OK) {
        free(made);
        return status;
    }
    made->source = source;
    *graph = made;
    return HEP_OK;
}

void hep_graph_destroy(struct hep_graph *graph)
{
    if (!graph)
        return;
    hep_ir_clear(&graph->ir);
    free(graph);
}

hep_value hep_graph_refuse(struct hep_graph *graph, enum hep_status code, const char *format, ...)
{
    if (graph->status != HEP_OK)
        return (hep_value){0};
    char text[HEP_ERROR_MESSAGE_MAX - 64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    graph->status = hep_fail(&graph->error, code, "%.60s: %s", graph->ir.network, text);
    return (hep_value){0};
}

enum hep_status hep_graph_finish(struct hep_graph *graph, struct hep_error *error)
{
    if (graph->status == HEP_OK && graph->ir.output_count == 0)
        HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "the graph has no output");
    uint32_t *counts = graph->status == HEP_OK ? hep_ir_use_counts(&graph->ir) : NULL;
    if (graph->status == HEP_OK && !counts)
        HEP_BUILD_FAIL(graph, HEP_E_NO_MEMORY, "no memory to check the graph");
    for (uint32_t i = 1; graph->status == HEP_OK && i < graph->ir.value_count; i++)
        if (graph->ir.values[i].kind == HEP_VALUE_INPUT &&
            counts[i] == 0) /* NOLINT(clang-analyzer-core.NullDereference): HEP_BUILD_FAIL has set status */
            HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "input %s is not used", graph->ir.values[i].name);
    free(counts);
    if (graph->status != HEP_OK) {
        if (error)
            *error = graph->error;
        return graph->status;
    }
    graph->finished = true;
    return HEP_OK;
}

struct hep_shape hep_shape_of(const struct hep_graph *graph, hep_value value)
{
    return value.id < graph->ir.value_count ? graph->ir.values[value.id].shape : (struct hep_shape){0};
}

int64_t hep_channels(const struct hep_graph *graph, hep_value value)
{
    struct hep_shape shape = hep_shape_of(graph, value);
    return shape.rank ? hep_row(&shape) : 0;
}

const char *hep_graph_weight(const struct hep_graph *graph, size_t index, struct hep_shape *shape)
{
    if (index + 1 >= graph->ir.weight_count)
        return NULL;
    if (shape)
        *shape = graph->ir.weights[index + 1].shape;
    return graph->ir.weights[index + 1].name;
}

void hep_graph_print(const struct hep_graph *graph, FILE *to)
{
    fprintf(to, "graph %s\n", graph->ir.network);
    hep_ir_print(&graph->ir, to);
}

/* ---- names of weights ---- */

struct hep_scope hep_root(struct hep_graph *graph)
{
    return (struct hep_scope){graph, ""};
}

struct hep_scope hep_in(struct hep_scope scope, const char *format, ...)
{
    char name[HEP_WEIGHT_NAME_MAX], path[HEP_WEIGHT_NAME_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof name)
        length = snprintf(path, sizeof path, "%s%s%s", scope.path, *scope.path ? "." : "", name);
    if (length < 0 || (size_t)length >= sizeof path) {
        HEP_BUILD_FAIL(scope.graph, HEP_E_INTERNAL, "scope %s.%.40s… is longer than %d bytes", scope.path, name,
                       HEP_WEIGHT_NAME_MAX - 1);
        return scope;
    }
    const char *kept = hep_pool_text(scope.graph->ir.pool, path);
    if (!kept) {
        HEP_BUILD_FAIL(scope.graph, HEP_E_NO_MEMORY, "no memory for scope %s", path);
        return scope;
    }
    return (struct hep_scope){scope.graph, kept};
}

bool hep_is_open(const struct hep_graph *graph)
{
    return graph->source->ops->open;
}

bool hep_has(struct hep_scope scope, const char *key)
{
    static const char *const suffixes[] = {"", ".weight", ".bias"};
    const struct hep_weight_source *source = scope.graph->source;
    for (size_t i = 0; !source->ops->open && i < HEP_COUNT_OF(suffixes); i++) {
        char name[2 * HEP_WEIGHT_NAME_MAX];
        snprintf(name, sizeof name, "%s%s%s%s", scope.path, *scope.path && *key ? "." : "", key, suffixes[i]);
        if (source->ops->find(source, name, NULL))
            return true;
    }
    return false;
}

/* ---- helpers of the builders ---- */

const struct hep_ir_value *hep_build_value(struct hep_graph *graph, hep_value value, const char *what)
{
    if (graph->status != HEP_OK)
        return NULL;
    if (value.id == 0 || value.id >= graph->ir.value_count) {
        HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "%s: argument is not a value of this graph", what);
        return NULL;
    }
    return &graph->ir.values[value.id];
}

hep_value hep_build_node(struct hep_graph *graph, struct hep_ir_node node, struct hep_shape shape)
{
    int64_t elements;
    char text[96];
    if (graph->status != HEP_OK)
        return (hep_value){0};
    for (int i = 0; i < shape.rank; i++)
        if (shape.dims[i] <= 0)
            return HEP_BUILD_FAIL(graph, HEP_E_OUT_OF_RANGE, "%s: the result would be empty: %s", hep_op_name(node.op),
                                  hep_shape_text(&shape, text, sizeof text));
    if (!hep_shape_elements(&shape, &elements) || elements > INT64_MAX / 64)
        return HEP_BUILD_FAIL(graph, HEP_E_TOO_LARGE, "%s: the result would be too large: %s", hep_op_name(node.op),
                              hep_shape_text(&shape, text, sizeof text));
    uint32_t id = hep_ir_new_node(&graph->ir), out = hep_ir_new_value(&graph->ir);
    if (!id || !out)
        return HEP_BUILD_FAIL(graph, HEP_E_NO_MEMORY, "no memory for %s", hep_op_name(node.op));
    node.output = out;
    graph->ir.nodes[id] = node;
    graph->ir.values[out] =
        (struct hep_ir_value){.kind = HEP_VALUE_NODE, .shape = shape, .node = id, .row_stride = hep_row(&shape)};
    return (hep_value){out};
}

const char *hep_build_name(struct hep_graph *graph, struct hep_scope scope, const char *key, const char *suffix)
{
    char name[HEP_WEIGHT_NAME_MAX];
    int length = snprintf(name, sizeof name, "%s%s%s%s", scope.path, *scope.path && *key ? "." : "", key, suffix);
    if (length < 0 || (size_t)length >= sizeof name) {
        HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "the name %s.%s%s is longer than %zu bytes", scope.path, key, suffix,
                       sizeof name - 1);
        return NULL;
    }
    const char *kept = hep_pool_text(graph->ir.pool, name);
    if (!kept)
        HEP_BUILD_FAIL(graph, HEP_E_NO_MEMORY, "no memory for the name %s", name);
    return kept;
}

/* Whether a tensor stored as have can serve as want, whose dims of -1 are filled in: same rank, or one of the two has
   extra dims of 1 at its end (a 1x1 convolution as a matrix, or the reverse). */
static bool shape_serves(const struct hep_shape *have, struct hep_shape *want)
{
    int rank = have->rank > want->rank ? have->rank : want->rank;
    for (int i = 0; i < rank; i++) {
        int64_t h = i < have->rank ? have->dims[i] : 1;
        if (i >= want->rank) {
            if (h != 1)
                return false;
        } else if (want->dims[i] == -1) {
            want->dims[i] = h;
        } else if (want->dims[i] != h) {
            return false;
        }
    }
    return true;
}

uint32_t hep_build_weight(struct hep_graph *graph, const char *name, struct hep_shape shape, enum hep_weight_use use,
                          bool f32, bool missing_ok)
{
    char have[96], want[96];
    const struct hep_weight_source *source = graph->source;
    if (graph->status != HEP_OK || !name)
        return 0;
    hep_shape_text(&shape, want, sizeof want);
    if (source->ops->open) {
        for (int i = 0; i < shape.rank; i++)
            if (shape.dims[i] <= 0)
                return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL,
                                      "weight %s: shape %s must be given, source \"%s\" lists none", name, want,
                                      source->ops->kind)
                    .id;
    } else {
        struct hep_weight_info info;
        if (!source->ops->find(source, name, &info)) {
            if (!missing_ok)
                HEP_BUILD_FAIL(graph, HEP_E_BAD_MODEL, "weight %s %s is missing", name, want);
            return 0;
        }
        if (!shape_serves(&info.shape, &shape))
            return HEP_BUILD_FAIL(graph, HEP_E_BAD_MODEL, "weight %s has shape %s, the network needs %s", name,
                                  hep_shape_text(&info.shape, have, sizeof have), want)
                .id;
    }
    for (uint32_t i = 1; i < graph->ir.weight_count; i++) {
        struct hep_ir_weight *known = &graph->ir.weights[i];
        if (known->use == use && known->f32 == f32 && strcmp(known->name, name) == 0)
            return i;
    }
    uint32_t id = hep_ir_new_weight(&graph->ir);
    if (!id)
        return HEP_BUILD_FAIL(graph, HEP_E_NO_MEMORY, "no memory for weight %s", name).id;
    graph->ir.weights[id] =
        (struct hep_ir_weight){.name = name, .shape = shape, .use = use, .f32 = f32, .merged = shape};
    return id;
}

/* ---- borders ---- */

static hep_value leaf(struct hep_graph *graph, struct hep_ir_value value)
{
    uint32_t id = hep_ir_new_value(&graph->ir);
    if (!id)
        return HEP_BUILD_FAIL(graph, HEP_E_NO_MEMORY, "no memory for a value");
    value.row_stride = hep_row(&value.shape);
    graph->ir.values[id] = value;
    return (hep_value){id};
}

hep_value hep_input(struct hep_graph *graph, const char *name, enum hep_dtype dtype, struct hep_shape shape)
{
    char text[96];
    size_t bytes;
    if (graph->status != HEP_OK)
        return (hep_value){0};
    if (dtype != HEP_F32 && dtype != HEP_I32)
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "input %s: dtype %s is neither f32 nor i32", name,
                              hep_dtype_name(dtype));
    for (int i = 0; i < shape.rank; i++)
        if (shape.dims[i] <= 0)
            return HEP_BUILD_FAIL(graph, HEP_E_OUT_OF_RANGE, "input %s: every dimension of %s must be positive", name,
                                  hep_shape_text(&shape, text, sizeof text));
    if (shape.rank < 1 || !hep_shape_bytes(&shape, dtype, &bytes))
        return HEP_BUILD_FAIL(graph, HEP_E_TOO_LARGE, "input %s: bad shape %s", name,
                              hep_shape_text(&shape, text, sizeof text));
    for (uint32_t i = 1; i < graph->ir.value_count; i++)
        if (graph->ir.values[i].kind == HEP_VALUE_INPUT && strcmp(graph->ir.values[i].name, name) == 0)
            return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "two inputs are named %s", name);
    const char *kept = hep_pool_text(graph->ir.pool, name);
    if (!kept)
        return HEP_BUILD_FAIL(graph, HEP_E_NO_MEMORY, "no memory for input %s", name);
    return leaf(graph, (struct hep_ir_value){.kind = HEP_VALUE_INPUT, .dtype = dtype, .shape = shape, .name = kept});
}

void hep_output(struct hep_graph *graph, const char *name, hep_value value)
{
    const struct hep_ir_value *v = hep_build_value(graph, value, "output");
    if (!v)
        return;
    for (uint32_t i = 0; i < graph->ir.output_count; i++)
        if (strcmp(graph->ir.outputs[i].name, name) == 0) {
            HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "two outputs are named %s", name);
            return;
        }
    if (v->dtype == HEP_I32) {
        HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "output %s: ids cannot be an output", name);
        return;
    }
    const char *kept = hep_pool_text(graph->ir.pool, name);
    if (!kept || !hep_ir_new_output(&graph->ir, kept, value.id))
        HEP_BUILD_FAIL(graph, HEP_E_NO_MEMORY, "no memory for output %s", name);
}

hep_value hep_constant(struct hep_graph *graph, const float *data, struct hep_shape shape)
{
    size_t bytes;
    if (graph->status != HEP_OK)
        return (hep_value){0};
    if (shape.rank < 1 || !hep_shape_bytes(&shape, HEP_F32, &bytes) || bytes == 0)
        return HEP_BUILD_FAIL(graph, HEP_E_INTERNAL, "constant: bad shape");
    const float *kept = hep_pool_data(graph->ir.pool, data, bytes);
    if (!kept)
        return HEP_BUILD_FAIL(graph, HEP_E_NO_MEMORY, "no memory for a constant of %zu bytes", bytes);
    return leaf(graph,
                (struct hep_ir_value){.kind = HEP_VALUE_CONSTANT, .dtype = HEP_F32, .shape = shape, .data = kept});
}

hep_value hep_weight(struct hep_graph *graph, struct hep_scope scope, const char *key, struct hep_shape shape)
{
    const char *name = hep_build_name(graph, scope, key, "");
    uint32_t id = hep_build_weight(graph, name, shape, HEP_WEIGHT_TABLE, false, false);
    if (!id)
        return (hep_value){0};
    return leaf(graph,
                (struct hep_ir_value){.kind = HEP_VALUE_WEIGHT, .shape = graph->ir.weights[id].shape, .weight = id});
}
