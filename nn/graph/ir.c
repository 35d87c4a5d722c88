/*
 * The arrays behind a graph: growth, copy, the pool of strings, and the questions that every pass asks (roots of views,
 * uses, replacement). Called by the builders and the passes; it knows no operator's meaning.
 */
#include "nn/graph/ir.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define POOL_BLOCK (64u << 10)

struct pool_block {
    struct pool_block *next;
    size_t used, size;
    _Alignas(HEP_ALIGN) char data[];
};
struct hep_pool {
    atomic_int owners;
    struct pool_block *blocks;
};

static void *pool_take(struct hep_pool *pool, size_t bytes)
{
    bytes = (bytes + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
    if (!pool->blocks || pool->blocks->size - pool->blocks->used < bytes) {
        size_t size = bytes > POOL_BLOCK ? bytes : POOL_BLOCK;
        struct pool_block *block = NULL;
        if (posix_memalign((void **)&block, HEP_ALIGN, sizeof *block + size) != 0)
            return NULL;
        *block = (struct pool_block){.next = pool->blocks, .used = 0, .size = size};
        pool->blocks = block;
    }
    void *result = pool->blocks->data + pool->blocks->used;
    pool->blocks->used += bytes;
    return result;
}

const void *hep_pool_data(struct hep_pool *pool, const void *data, size_t bytes)
{
    void *copy = pool_take(pool, bytes ? bytes : 1);
    if (copy)
        memcpy(copy, data, bytes);
    return copy;
}

const char *hep_pool_text(struct hep_pool *pool, const char *text)
{
    return hep_pool_data(pool, text, strlen(text) + 1);
}

static void pool_release(struct hep_pool *pool)
{
    if (!pool || atomic_fetch_sub(&pool->owners, 1) != 1)
        return;
    while (pool->blocks) {
        struct pool_block *next = pool->blocks->next;
        free(pool->blocks);
        pool->blocks = next;
    }
    free(pool);
}

/* One zeroed element more at the end of *array; its index, or 0. */
static uint32_t grow(void **array, uint32_t *count, uint32_t *capacity, size_t element)
{
    if (*count == *capacity) {
        uint32_t more = *capacity ? *capacity * 2 : 64;
        void *larger = realloc(*array, more * element);
        if (!larger)
            return 0;
        *array = larger;
        *capacity = more;
    }
    memset((char *)*array + *count * element, 0, element);
    return (*count)++;
}

uint32_t hep_ir_new_value(struct hep_ir *ir)
{
    return grow((void **)&ir->values, &ir->value_count, &ir->value_capacity, sizeof *ir->values);
}

uint32_t hep_ir_new_node(struct hep_ir *ir)
{
    return grow((void **)&ir->nodes, &ir->node_count, &ir->node_capacity, sizeof *ir->nodes);
}

uint32_t hep_ir_new_weight(struct hep_ir *ir)
{
    return grow((void **)&ir->weights, &ir->weight_count, &ir->weight_capacity, sizeof *ir->weights);
}

bool hep_ir_new_output(struct hep_ir *ir, const char *name, uint32_t value)
{
    uint32_t before = ir->output_count;
    (void)grow((void **)&ir->outputs, &ir->output_count, &ir->output_capacity, sizeof *ir->outputs);
    if (ir->output_count == before)
        return false;
    ir->outputs[before] = (struct hep_ir_output){name, value};
    return true;
}

enum hep_status hep_ir_init(struct hep_ir *ir, const char *network, struct hep_error *error)
{
    *ir = (struct hep_ir){0};
    ir->pool = calloc(1, sizeof *ir->pool);
    if (!ir->pool)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the graph of %s", network);
    atomic_init(&ir->pool->owners, 1);
    ir->network = hep_pool_text(ir->pool, network);
    (void)hep_ir_new_value(ir); /* id 0 is none */
    (void)hep_ir_new_node(ir);
    (void)hep_ir_new_weight(ir);
    if (!ir->network || !ir->value_count || !ir->node_count || !ir->weight_count) {
        hep_ir_clear(ir);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the graph of %s", network);
    }
    return HEP_OK;
}

void hep_ir_clear(struct hep_ir *ir)
{
    pool_release(ir->pool);
    free(ir->values);
    free(ir->nodes);
    free(ir->weights);
    free(ir->order);
    free(ir->outputs);
    *ir = (struct hep_ir){0};
}

static void *copy_of(const void *from, size_t count, size_t element)
{
    void *copy = malloc(count * element + 1);
    if (copy && count)
        memcpy(copy, from, count * element);
    return copy;
}

enum hep_status hep_ir_copy(const struct hep_ir *from, struct hep_ir *to, struct hep_error *error)
{
    struct hep_ir copy = *from;
    copy.values = copy_of(from->values, from->value_count, sizeof *from->values);
    copy.nodes = copy_of(from->nodes, from->node_count, sizeof *from->nodes);
    copy.weights = copy_of(from->weights, from->weight_count, sizeof *from->weights);
    copy.outputs = copy_of(from->outputs, from->output_count, sizeof *from->outputs);
    copy.value_capacity = from->value_count;
    copy.node_capacity = from->node_count;
    copy.weight_capacity = from->weight_count;
    copy.output_capacity = from->output_count;
    copy.order = NULL;
    copy.order_count = 0;
    atomic_fetch_add(&copy.pool->owners, 1);
    if (!copy.values || !copy.nodes || !copy.weights || !copy.outputs) {
        hep_ir_clear(&copy);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", from->network);
    }
    *to = copy;
    return HEP_OK;
}

int64_t hep_row(const struct hep_shape *shape)
{
    return shape->rank ? shape->dims[shape->rank - 1] : 1;
}

int64_t hep_rows(const struct hep_shape *shape)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < shape->rank; i++)
        rows *= shape->dims[i];
    return rows;
}

uint32_t hep_ir_root(const struct hep_ir *ir, uint32_t value)
{
    return ir->values[value].view_of ? ir->values[value].view_of : value;
}

int hep_ir_uses(const struct hep_ir_node *node, uint32_t *uses)
{
    int count = 0;
    for (int i = 0; i < hep_op_inputs(node->op); i++)
        uses[count++] = node->inputs[i];
    if (node->residual)
        uses[count++] = node->residual;
    return count;
}

uint32_t *hep_ir_use_counts(const struct hep_ir *ir)
{
    uint32_t *counts = calloc(ir->value_count, sizeof *counts);
    if (!counts)
        return NULL;
    for (uint32_t i = 1; i < ir->node_count; i++) {
        uint32_t uses[HEP_IR_USES_MAX];
        int count = ir->nodes[i].dead ? 0 : hep_ir_uses(&ir->nodes[i], uses);
        for (int u = 0; u < count; u++)
            counts[uses[u]]++;
    }
    for (uint32_t i = 0; i < ir->output_count; i++)
        counts[ir->outputs[i].value]++;
    return counts;
}

void hep_ir_replace(struct hep_ir *ir, uint32_t from, uint32_t to)
{
    for (uint32_t i = 1; i < ir->node_count; i++) {
        struct hep_ir_node *node = &ir->nodes[i];
        for (int u = 0; u < HEP_OP_INPUTS_MAX; u++)
            if (node->inputs[u] == from)
                node->inputs[u] = to;
        if (node->residual == from)
            node->residual = to;
    }
    for (uint32_t i = 0; i < ir->output_count; i++)
        if (ir->outputs[i].value == from)
            ir->outputs[i].value = to;
}

static void print_node(const struct hep_ir *ir, uint32_t id, FILE *to)
{
    const struct hep_ir_node *node = &ir->nodes[id];
    const struct hep_ir_value *out = &ir->values[node->output];
    char shape[96];
    fprintf(to, "  %%%u = %s", node->output, hep_op_name(node->op));
    if (node->activation)
        fprintf(to, "+%s", hep_activation_name(node->activation));
    for (int i = 0; i < hep_op_inputs(node->op); i++)
        fprintf(to, " %%%u", node->inputs[i]);
    if (node->residual)
        fprintf(to, " residual %%%u", node->residual);
    fprintf(to, " -> %s %s", out->dtype ? hep_dtype_name(out->dtype) : "-",
            hep_shape_text(&out->shape, shape, sizeof shape));
    if (out->view_of)
        fprintf(to, " view of %%%u at %" PRId64 " stride %" PRId64, out->view_of, out->view_first, out->row_stride);
    fprintf(to, "  %s\n", node->name ? node->name : "");
}

void hep_ir_print(const struct hep_ir *ir, FILE *to)
{
    for (uint32_t i = 1; i < ir->value_count; i++) {
        char shape[96];
        const struct hep_ir_value *value = &ir->values[i];
        if (value->kind == HEP_VALUE_INPUT)
            fprintf(to, "  %%%u = input %s %s %s\n", i, value->name, hep_dtype_name(value->dtype),
                    hep_shape_text(&value->shape, shape, sizeof shape));
        else if (value->kind == HEP_VALUE_WEIGHT)
            fprintf(to, "  %%%u = weight %s %s\n", i, ir->weights[value->weight].name,
                    hep_shape_text(&value->shape, shape, sizeof shape));
    }
    if (ir->order) {
        for (uint32_t i = 0; i < ir->order_count; i++)
            print_node(ir, ir->order[i], to);
    } else {
        for (uint32_t i = 1; i < ir->node_count; i++)
            if (!ir->nodes[i].dead)
                print_node(ir, i, to);
    }
    for (uint32_t i = 0; i < ir->output_count; i++)
        fprintf(to, "  output %s = %%%u\n", ir->outputs[i].name, ir->outputs[i].value);
}
