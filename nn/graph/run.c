/*
 * Binding a plan to packed weights and an arena, and running it. Bind resolves every pointer but the caller's tensors
 * and lets each kernel make what it needs; run checks the arguments, fills the caller's pointers in and walks the list.
 */
#include "nn/graph/pass.h"

#include "nn/weights/packed.h"

#include <omp.h>
#include <string.h>
#include <time.h>

/* Canary behind each live buffer and NaN in each dead one; both are NaN patterns in f32 and bf16. */
#define POISON_BYTE 0xFF
#define CANARY_BYTE 0xFE

/* ---- bind ---- */

static enum hep_status resolve(struct hep_plan_inside *p, const struct hep_packed *packed, uint32_t step, int slot,
                               struct hep_error *error)
{
    const struct hep_location *where = &p->where[step][slot];
    void **at = &p->at[step][slot];
    *at = NULL;
    switch (where->place) {
    case HEP_PLACE_NONE:
    case HEP_PLACE_CALLER:
        return HEP_OK;
    case HEP_PLACE_ARENA:
        *at = p->arena + p->buffers[where->index].offset + where->offset;
        return HEP_OK;
    case HEP_PLACE_CONSTANT: /* kernels only read inputs */
        *at = (char *)(uintptr_t)p->ir.values[where->index].data + where->offset;
        return HEP_OK;
    case HEP_PLACE_WEIGHT: {
        const void *data;
        HEP_TRY(hep_packed_find(packed, &p->plan, p->ir.weights[where->index].packed, &data, error));
        *at = (char *)(uintptr_t)data + where->offset;
        return HEP_OK;
    }
    }
    hep_assert_failed("a place of the list", __FILE__, __LINE__);
}

/* Every kernel makes what it needs for the present number of threads. */
static enum hep_status bind_kernels(struct hep_plan_inside *p, int threads, struct hep_error *error)
{
    p->bound_threads = 0;
    for (uint32_t i = 0; i < p->ir.order_count; i++)
        if (p->kernels[i].bind)
            HEP_TRY(p->kernels[i].bind(&p->kernels[i], p->at[i], error));
    p->bound_threads = threads;
    return HEP_OK;
}

/*
 * Number of threads of a run: what OpenMP is set to, at most what was planned for, and what it can give. oneDNN divides
 * a kernel among the threads that it is promised and leaves undone the parts of those that do not come, so that
 * OMP_THREAD_LIMIT or OMP_DYNAMIC in the environment would make another image.
 */
static int run_threads(const struct hep_plan_inside *p)
{
    int threads = omp_get_max_threads(), limit = omp_get_thread_limit();
    omp_set_dynamic(0);
    threads = threads < limit ? threads : limit;
    return threads < p->threads ? threads : p->threads;
}

enum hep_status hep_plan_bind(struct hep_plan *plan, const struct hep_packed *packed, void *arena, size_t arena_bytes,
                              struct hep_error *error)
{
    struct hep_plan_inside *p = hep_plan_inside(plan);
    if (arena_bytes < plan->peak_bytes)
        return hep_fail(error, HEP_E_NO_MEMORY, "%s needs an arena of %zu bytes, %zu given", plan->network,
                        plan->peak_bytes, arena_bytes);
    hep_assert(((uintptr_t)arena & (HEP_ALIGN - 1)) == 0);
    p->bound_threads = 0;
    p->arena = arena;
    for (uint32_t i = 0; i < p->ir.order_count; i++)
        for (int slot = 0; slot < HEP_SLOT_COUNT; slot++)
            HEP_TRY(resolve(p, packed, i, slot, error));
    int before = omp_get_max_threads(), threads = run_threads(p);
    omp_set_num_threads(threads);
    enum hep_status status = bind_kernels(p, threads, error);
    omp_set_num_threads(before);
    return status;
}

/* ---- run ---- */

/* Finds the caller's tensor for one name and checks it. */
static enum hep_status match(const struct hep_plan_inside *p, const char *what, const char *name,
                             const struct hep_ir_value *value, const struct hep_argument *given, size_t count,
                             void **data, struct hep_error *error)
{
    char want[96], have[96];
    const struct hep_argument *found = NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(given[i].name, name) == 0)
            found = &given[i];
    if (!found)
        return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s: %s %s is not given", p->ir.network, what, name);
    const struct hep_tensor *t = &found->tensor;
    if (t->dtype != value->dtype || !hep_shape_equal(&t->shape, &value->shape))
        return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s: %s %s must be %s %s, is %s %s", p->ir.network, what,
                              name, hep_dtype_name(value->dtype), hep_shape_text(&value->shape, want, sizeof want),
                              hep_dtype_name(t->dtype), hep_shape_text(&t->shape, have, sizeof have));
    if (!t->data || (uintptr_t)t->data % hep_dtype_bytes(t->dtype) != 0)
        return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s: %s %s has no memory aligned to its elements",
                              p->ir.network, what, name);
    *data = t->data;
    return HEP_OK;
}

/* Writes the caller's pointers into the steps. */
static void point(struct hep_plan_inside *p, uint32_t caller, void *data)
{
    for (uint32_t i = 0; i < p->ir.order_count; i++)
        for (int slot = 0; slot < HEP_SLOT_COUNT; slot++)
            if (p->where[i][slot].place == HEP_PLACE_CALLER && p->where[i][slot].index == caller)
                p->at[i][slot] = (char *)data + p->where[i][slot].offset;
}

static enum hep_status take_arguments(struct hep_plan_inside *p, const struct hep_argument *inputs, size_t input_count,
                                      const struct hep_argument *outputs, size_t output_count, struct hep_error *error)
{
    if (input_count != p->input_count || output_count != p->ir.output_count)
        return hep_fail(error, HEP_E_BAD_FIELD, "%s has %u inputs and %u outputs, %zu and %zu given", p->ir.network,
                        p->input_count, p->ir.output_count, input_count, output_count);
    for (uint32_t c = 0; c < p->caller_count; c++) {
        bool input = c < p->input_count;
        const struct hep_ir_value *value = &p->ir.values[p->callers[c]];
        const char *name = input ? value->name : p->ir.outputs[c - p->input_count].name;
        void *data = NULL;
        HEP_TRY(match(p, input ? "input" : "output", name, value, input ? inputs : outputs,
                      input ? input_count : output_count, &data, error));
        point(p, c, data);
    }
    return HEP_OK;
}

/* ---- group norms of a part of something larger ---- */

size_t hep_plan_norm_groups(const struct hep_plan *plan)
{
    const struct hep_plan_inside *p = hep_plan_inside_const(plan);
    size_t groups = 0;
    for (int i = 0; i < plan->step_count; i++)
        groups += (size_t)p->kernels[i].problem.attr.groups;
    return groups;
}

void hep_plan_set_moments(struct hep_plan *plan, const struct hep_norm_moments *moments)
{
    struct hep_plan_inside *p = hep_plan_inside(plan);
    size_t groups = 0;
    for (int i = 0; i < plan->step_count; i++) {
        struct hep_kernel *kernel = &p->kernels[i];
        if (kernel->problem.op != HEP_OP_GROUP_NORM)
            continue;
        hep_assert(kernel->problem.operand[HEP_SLOT_A].shape.dims[0] == 1);
        kernel->use_moments = moments->use ? moments->use + groups : NULL;
        kernel->collect_moments = moments->collect ? moments->collect + groups : NULL;
        groups += (size_t)kernel->problem.attr.groups;
    }
}

/* ---- debugging: poison ---- */

static unsigned char *buffer_end(const struct hep_plan_inside *p, int b)
{
    return p->arena + p->buffers[b].offset + p->buffers[b].bytes - HEP_ALIGN;
}

/* Before step i: what starts to live is NaN with a canary behind it. */
static void poison_before(struct hep_plan_inside *p, int i)
{
    for (int b = 0; b < p->buffer_count; b++) {
        if (p->buffers[b].first != i || p->buffers[b].in_place_of != HEP_NOT_IN_PLACE)
            continue;
        memset(p->arena + p->buffers[b].offset, POISON_BYTE, p->buffers[b].bytes - HEP_ALIGN);
        memset(buffer_end(p, b), CANARY_BYTE, HEP_ALIGN);
    }
}

/* After step i: canaries of what lives are whole; what ends is NaN, unless something took its memory over. */
static void poison_after(struct hep_plan_inside *p, int i)
{
    for (int b = 0; b < p->buffer_count; b++) {
        const struct hep_buffer *buffer = &p->buffers[b];
        bool taken = false;
        if (i < buffer->first || i > buffer->last)
            continue;
        for (int k = 0; k < HEP_ALIGN; k++)
            hep_assert(buffer_end(p, b)[k] == CANARY_BYTE);
        for (int other = 0; other < p->buffer_count; other++)
            taken = taken || p->buffers[other].in_place_of == b;
        if (buffer->last == i && !taken)
            memset(p->arena + buffer->offset, POISON_BYTE, buffer->bytes - HEP_ALIGN);
    }
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void run_step(struct hep_plan_inside *p, int i)
{
    if (p->poison)
        poison_before(p, i);
    int64_t start = p->timing ? now_ns() : 0;
    p->kernels[i].run(&p->kernels[i], p->at[i]);
    if (p->timing)
        p->steps[i].time_ns = now_ns() - start;
    if (p->poison)
        poison_after(p, i);
}

static enum hep_status run_steps(struct hep_plan_inside *p, const struct hep_plan_watch *watch, struct hep_error *error)
{
    int count = p->plan.step_count;
    for (int i = 0; i < count; i++) {
        if (watch && !watch->go_on(watch->context, i, count))
            return hep_fail(error, HEP_E_CANCELLED, "%s: ended before step %d of %d", p->ir.network, i + 1, count);
        run_step(p, i);
    }
    return HEP_OK;
}

enum hep_status hep_plan_run_watched(struct hep_plan *plan, const struct hep_argument *inputs, size_t input_count,
                                     const struct hep_argument *outputs, size_t output_count,
                                     const struct hep_plan_watch *watch, struct hep_error *error)
{
    struct hep_plan_inside *p = hep_plan_inside(plan);
    int before = omp_get_max_threads(), threads = run_threads(p);
    enum hep_status status = HEP_OK;
    if (!p->arena || !p->bound_threads)
        return hep_fail(error, HEP_E_NOT_NOW, "%s: the plan is not bound", plan->network);
    HEP_TRY(take_arguments(p, inputs, input_count, outputs, output_count, error));
    omp_set_num_threads(threads);
    if (threads != p->bound_threads)
        HEP_TRY_DONE(status, bind_kernels(p, threads, error));
    status = run_steps(p, watch, error);
done:
    omp_set_num_threads(before);
    return status;
}

enum hep_status hep_plan_run(struct hep_plan *plan, const struct hep_argument *inputs, size_t input_count,
                             const struct hep_argument *outputs, size_t output_count, struct hep_error *error)
{
    return hep_plan_run_watched(plan, inputs, input_count, outputs, output_count, NULL, error);
}
