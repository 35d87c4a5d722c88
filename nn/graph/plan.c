/*
 * A plan's life: runs the passes in order over a copy of the graph, printing and checking after each, fills in the
 * public tables, and frees it all. bind.c and run.c do the rest. Called by whoever runs a network.
 */
#include "nn/graph/pass.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct hep_plan_inside *hep_plan_inside(struct hep_plan *plan)
{
    return (struct hep_plan_inside *)plan; /* its first member */
}

const struct hep_plan_inside *hep_plan_inside_const(const struct hep_plan *plan)
{
    return (const struct hep_plan_inside *)plan;
}

static void free_steps(struct hep_plan_inside *p)
{
    for (uint32_t i = 0; p->kernels && i < p->ir.order_count; i++)
        if (p->kernels[i].clear)
            p->kernels[i].clear(&p->kernels[i]);
    for (uint32_t i = 0; p->steps && i < p->ir.order_count; i++) {
        free((char *)p->steps[i].op);
        free((char *)p->steps[i].problem);
    }
    free(p->steps);
    free(p->kernels);
}

void hep_plan_destroy(struct hep_plan *plan)
{
    if (!plan)
        return;
    struct hep_plan_inside *p = hep_plan_inside(plan);
    free_steps(p);
    for (size_t i = 0; i < p->layout_count; i++) {
        if (p->backend->layout_clear)
            p->backend->layout_clear(p->layouts[i]);
        free(p->layouts[i]);
    }
    free(p->layouts);
    free(p->where);
    free(p->at);
    free(p->buffers);
    free(p->buffer_of);
    free(p->callers);
    free(p->packed);
    hep_ir_clear(&p->ir);
    free(p);
}

enum hep_dtype hep_backend_auto_dtype(void)
{
    return hep_cpu_backend()->auto_dtype();
}

/* A pass is done: look at it, show it. */
static void after(const struct hep_plan_inside *p, enum hep_pass pass, FILE *print)
{
    hep_check(&p->ir, pass);
    if (!print)
        return;
    fprintf(print, "after %s\n", hep_pass_name(pass));
    hep_ir_print(&p->ir, print);
}

static enum hep_status run_graph_passes(struct hep_plan_inside *p, FILE *print, struct hep_error *error)
{
    after(p, HEP_PASS_BUILD, print);
    HEP_TRY(hep_pass_fold(&p->ir, error));
    after(p, HEP_PASS_FOLD, print);
    HEP_TRY(hep_pass_fuse(&p->ir, p->backend, error));
    after(p, HEP_PASS_FUSE, print);
    HEP_TRY(hep_pass_dtype(&p->ir, p->backend, p->plan.dtype, error));
    after(p, HEP_PASS_DTYPE, print);
    return HEP_OK;
}

/* The caller's tensors: inputs in the order of the graph, then outputs. */
static void list_callers(struct hep_plan_inside *p)
{
    for (uint32_t i = 1; i < p->ir.value_count; i++)
        if (p->ir.values[i].kind == HEP_VALUE_INPUT)
            p->callers[p->input_count++] = i;
    p->caller_count = p->input_count;
    for (uint32_t i = 0; i < p->ir.output_count; i++)
        p->callers[p->caller_count++] = p->ir.outputs[i].value;
}

static enum hep_status allocate(struct hep_plan_inside *p, struct hep_error *error)
{
    size_t steps = p->ir.order_count, values = p->ir.value_count;
    p->steps = calloc(steps + 1, sizeof *p->steps);
    p->kernels = calloc(steps + 1, sizeof *p->kernels);
    p->where = calloc(steps + 1, sizeof *p->where);
    p->at = calloc(steps + 1, sizeof *p->at);
    p->buffers = calloc(2 * steps + 1, sizeof *p->buffers);
    p->buffer_of = calloc(values, sizeof *p->buffer_of);
    p->callers = calloc(values + p->ir.output_count, sizeof *p->callers);
    p->packed = calloc(p->ir.weight_count, sizeof *p->packed);
    if (!p->packed || !p->steps || !p->kernels || !p->where || !p->at || !p->buffers || !p->buffer_of || !p->callers)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", p->ir.network);
    return HEP_OK;
}

/* "conv2d+bias+silu+add" for people; the tails in the order in which they apply. */
static char *step_op(const struct hep_ir_node *node)
{
    char text[96];
    bool tail = node->activation && node->op != HEP_OP_ACTIVATE,
         norm = node->op == HEP_OP_GROUP_NORM || node->op == HEP_OP_LAYER_NORM;
    snprintf(text, sizeof text, "%s%s%s%s%s",
             node->op == HEP_OP_ACTIVATE ? hep_activation_name(node->activation) : hep_op_name(node->op),
             node->bias && !norm ? "+bias" : "", tail ? "+" : "", tail ? hep_activation_name(node->activation) : "",
             node->residual ? "+add" : "");
    return strdup(text);
}

static enum hep_status fill_step(struct hep_plan_inside *p, uint32_t i, struct hep_error *error)
{
    const struct hep_ir_node *node = &p->ir.nodes[p->ir.order[i]];
    const struct hep_kernel *kernel = &p->kernels[i];
    const struct hep_location *out = &p->where[i][HEP_SLOT_OUT];
    struct hep_step *step = &p->steps[i];
    char problem[160];
    size_t bytes = 0;
    hep_assert(hep_shape_bytes(&kernel->problem.operand[HEP_SLOT_OUT].shape,
                               kernel->problem.operand[HEP_SLOT_OUT].dtype, &bytes));
    bool arena = out->place == HEP_PLACE_ARENA;
    *step = (struct hep_step){.op = step_op(node),
                              .name = node->name ? node->name : "",
                              .class_name = hep_op_class(node->op),
                              .problem = strdup(hep_problem_text(&kernel->problem, problem, sizeof problem)),
                              .kernel = kernel->symbol,
                              .offset = arena ? p->buffers[out->index].offset : SIZE_MAX,
                              .bytes = bytes,
                              .first = (int)i,
                              .last = arena ? p->buffers[out->index].last : (int)p->ir.order_count - 1,
                              .scratch_bytes = kernel->scratch_bytes,
                              .flops = hep_problem_flops(&kernel->problem),
                              .moved_bytes = hep_problem_moved(&kernel->problem)};
    if (!step->op || !step->problem)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", p->ir.network);
    p->plan.flops += step->flops;
    return HEP_OK;
}

static enum hep_status make(struct hep_plan_inside *p, const struct hep_graph *graph,
                            const struct hep_plan_options *options, struct hep_error *error)
{
    HEP_TRY(p->backend->check_dtype(p->plan.dtype, error));
    HEP_TRY(hep_ir_copy(&graph->ir, &p->ir, error));
    p->plan.network = p->ir.network;
    HEP_TRY(run_graph_passes(p, options->print, error));
    HEP_TRY(allocate(p, error));
    list_callers(p);
    int threads = omp_get_max_threads();
    omp_set_num_threads(p->threads); /* kernels size their scratch by it */
    enum hep_status status = hep_pass_kernels(p, error);
    omp_set_num_threads(threads);
    HEP_TRY(status);
    HEP_TRY(hep_pass_memory(p, error));
    for (uint32_t i = 0; i < p->ir.order_count; i++)
        HEP_TRY(fill_step(p, i, error));
    p->plan.steps = p->steps;
    p->plan.step_count = (int)p->ir.order_count;
    return HEP_OK;
}

enum hep_status hep_plan_create(const struct hep_graph *graph, const struct hep_plan_options *options,
                                struct hep_plan **plan, struct hep_error *error)
{
    static const struct hep_plan_options defaults = {0};
    options = options ? options : &defaults;
    hep_assert(graph->finished);
    struct hep_plan_inside *p = calloc(1, sizeof *p);
    if (!p)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to plan %s", graph->ir.network);
    p->backend = options->backend ? options->backend : hep_cpu_backend();
    p->plan.dtype = options->dtype ? options->dtype : p->backend->auto_dtype();
    p->threads = options->threads > 0 ? options->threads : omp_get_max_threads();
    p->poison = options->poison;
    enum hep_status status = make(p, graph, options, error);
    if (status != HEP_OK) {
        hep_plan_destroy(&p->plan);
        return status;
    }
    *plan = &p->plan;
    return HEP_OK;
}

/* ---- questions ---- */

bool hep_plan_input(const struct hep_plan *plan, size_t index, const char **name, enum hep_dtype *dtype,
                    struct hep_shape *shape)
{
    const struct hep_plan_inside *p = hep_plan_inside_const(plan);
    if (index >= p->input_count)
        return false;
    const struct hep_ir_value *v = &p->ir.values[p->callers[index]];
    *name = v->name;
    *dtype = v->dtype;
    *shape = v->shape;
    return true;
}

bool hep_plan_output(const struct hep_plan *plan, size_t index, const char **name, enum hep_dtype *dtype,
                     struct hep_shape *shape)
{
    const struct hep_plan_inside *p = hep_plan_inside_const(plan);
    if (index >= p->ir.output_count)
        return false;
    const struct hep_ir_value *v = &p->ir.values[p->ir.outputs[index].value];
    *name = p->ir.outputs[index].name;
    *dtype = v->dtype;
    *shape = v->shape;
    return true;
}

void hep_plan_set_timing(struct hep_plan *plan, bool on)
{
    hep_plan_inside(plan)->timing = on;
}

const struct hep_backend *hep_plan_backend(const struct hep_plan *plan)
{
    return hep_plan_inside_const(plan)->backend;
}

bool hep_plan_weight(const struct hep_plan *plan, size_t index, struct hep_plan_weight *weight)
{
    const struct hep_plan_inside *p = hep_plan_inside_const(plan);
    if (index >= p->packed_count)
        return false;
    const struct hep_ir_weight *w = &p->ir.weights[p->packed[index]];
    *weight = (struct hep_plan_weight){.name = w->name, .layout = w->layout, .offset = w->offset};
    for (uint32_t id = p->packed[index]; id; id = p->ir.weights[id].next_part) {
        const char *name = p->ir.weights[id].name;
        weight->parts_crc = hep_crc32c(weight->parts_crc, name, strlen(name) + 1);
        weight->parts++;
    }
    return true;
}

bool hep_plan_weight_part(const struct hep_plan *plan, size_t index, uint32_t part, const char **name,
                          struct hep_shape *shape)
{
    const struct hep_plan_inside *p = hep_plan_inside_const(plan);
    uint32_t id = index < p->packed_count ? p->packed[index] : 0;
    while (id && part-- > 0)
        id = p->ir.weights[id].next_part;
    if (!id)
        return false;
    *name = p->ir.weights[id].name;
    *shape = p->ir.weights[id].shape;
    return true;
}
