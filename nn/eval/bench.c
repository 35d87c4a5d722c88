/*
 * Builds a network, packs random or real weights, runs it a few times and adds its steps up by class; called by
 * hep-bench. It prints only the plan, and only if asked.
 */
#include "nn/eval/bench.h"

#include "nn/eval/arch.h"
#include "nn/weights/model_folder.h"
#include "nn/weights/packed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Where config and weights come from. */
struct origin {
    struct hep_component *component; /* of a model folder, or NULL */
    json_t *arch_config;             /* of an arch, or NULL        */
    const struct hep_weight_source *source;
};

static void origin_clear(struct origin *origin)
{
    hep_component_close(origin->component);
    json_decref(origin->arch_config);
}

static enum hep_status origin_open(const struct hep_bench_options *options, const struct hep_network_kind *network,
                                   struct origin *origin, union hep_any_config *config, struct hep_error *error)
{
    const json_t *json;
    if (options->model_dir) {
        HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
        HEP_TRY(hep_model_open(options->model_dir, &model, error));
        HEP_TRY(hep_model_component(model, network->component, NULL, &origin->component, error));
        origin->source = hep_component_weights(origin->component);
        json = hep_component_config(origin->component);
    } else {
        const struct hep_arch *arch = hep_arch_find(options->arch);
        if (!arch)
            return hep_fail(error, HEP_E_UNSUPPORTED, "there is no architecture '%.60s'", options->arch);
        const struct hep_arch_component *component = hep_arch_component(arch, network->component);
        if (!component)
            return hep_fail(error, HEP_E_UNSUPPORTED, "%s has no %s", arch->help, network->component);
        origin->arch_config = json_loads(component->config, 0, NULL);
        origin->source = options->plan_only ? hep_no_weights() : hep_random_weights();
        json = origin->arch_config;
    }
    return network->read_config(json, network->component, config, error);
}

/* ---- inputs and outputs ---- */

struct arguments {
    struct hep_argument items[16]; /* data owned */
    size_t count;
};

static void arguments_clear(struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++)
        free(arguments->items[i].tensor.data);
}

/* Numbers that every network takes: ids 0 … 255, all else in ±1 (a timestep near 0 costs what any other costs). */
static void fill(struct hep_tensor *tensor, int64_t count)
{
    uint32_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        if (tensor->dtype == HEP_I32)
            ((int32_t *)tensor->data)[i] = (int32_t)(state >> 24);
        else
            ((float *)tensor->data)[i] = (float)(state >> 8) / (float)(1 << 23) - 1.0f;
    }
}

static enum hep_status make_arguments(const struct hep_plan *plan,
                                      bool (*describe)(const struct hep_plan *, size_t, const char **, enum hep_dtype *,
                                                       struct hep_shape *),
                                      struct arguments *arguments, struct hep_error *error)
{
    const char *name;
    enum hep_dtype dtype;
    struct hep_shape shape;
    for (size_t i = 0; describe(plan, i, &name, &dtype, &shape); i++) {
        size_t bytes = 0;
        int64_t elements = 0;
        hep_assert(i < HEP_COUNT_OF(arguments->items) && hep_shape_bytes(&shape, dtype, &bytes) &&
                   hep_shape_elements(&shape, &elements));
        void *data = aligned_alloc(HEP_ALIGN, (bytes + HEP_ALIGN) / HEP_ALIGN * HEP_ALIGN);
        if (!data)
            return hep_fail(error, HEP_E_NO_MEMORY, "no %zu bytes for '%s'", bytes, name);
        arguments->items[i] = (struct hep_argument){name, {data, dtype, shape}};
        arguments->count = i + 1;
        fill(&arguments->items[i].tensor, elements);
    }
    return HEP_OK;
}

static bool all_finite(const struct arguments *outputs)
{
    for (size_t i = 0; i < outputs->count; i++) {
        const struct hep_tensor *tensor = &outputs->items[i].tensor;
        int64_t elements = 0;
        hep_shape_elements(&tensor->shape, &elements);
        for (int64_t e = 0; e < elements; e++)
            if (!isfinite(((const float *)tensor->data)[e]))
                return false;
    }
    return true;
}

/* ---- measuring ---- */

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void add_classes(const struct hep_plan *plan, struct hep_bench_result *result)
{
    result->class_count = 0;
    for (int s = 0; s < plan->step_count; s++) {
        const struct hep_step *step = &plan->steps[s];
        int c = 0;
        while (c < result->class_count && strcmp(result->classes[c].name, step->class_name) != 0)
            c++;
        if (c == HEP_BENCH_CLASSES_MAX)
            c--; /* the rest together */
        struct hep_bench_class *class = &result->classes[c];
        if (c == result->class_count) {
            *class = (struct hep_bench_class){0};
            snprintf(class->name, sizeof class->name, "%s", step->class_name);
            result->class_count++;
        }
        class->steps++;
        class->ms += (double)step->time_ns / 1e6;
        class->flops += step->flops;
        class->moved_bytes += step->moved_bytes;
    }
}

/* One run to warm up, then the measured ones; classes are those of the fastest. */
static enum hep_status measure(struct hep_plan *plan, const struct hep_bench_options *options,
                               struct hep_bench_result *result, struct hep_error *error)
{
    struct arguments inputs = {0}, outputs = {0};
    enum hep_status status;
    double *times = calloc((size_t)options->runs, sizeof *times);
    if (!times)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %d runs", options->runs);
    HEP_TRY_DONE(status, make_arguments(plan, hep_plan_input, &inputs, error));
    HEP_TRY_DONE(status, make_arguments(plan, hep_plan_output, &outputs, error));
    hep_plan_set_timing(plan, true);
    for (int run = -1; run < options->runs; run++) {
        double start = now_ms();
        HEP_TRY_DONE(status, hep_plan_run(plan, inputs.items, inputs.count, outputs.items, outputs.count, error));
        double ms = now_ms() - start;
        if (run >= 0)
            times[run] = ms;
        if (run == 0 || (run > 0 && ms < result->ms)) {
            result->ms = ms;
            add_classes(plan, result);
        }
    }
    qsort(times, (size_t)options->runs, sizeof *times, by_value);
    result->median_ms = times[options->runs / 2];
    result->finite = all_finite(&outputs);
done:
    arguments_clear(&inputs);
    arguments_clear(&outputs);
    free(times);
    return status;
}

static size_t peak_rss(void)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %zu kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib * 1024;
}

static uint64_t count_parameters(const struct hep_graph *graph)
{
    uint64_t total = 0;
    struct hep_shape shape;
    for (size_t i = 0; hep_graph_weight(graph, i, &shape); i++) {
        int64_t elements = 0;
        hep_shape_elements(&shape, &elements);
        total += (uint64_t)elements;
    }
    return total;
}

enum hep_status hep_bench_run(const struct hep_bench_options *options, struct hep_bench_result *result,
                              struct hep_error *error)
{
    const struct hep_network_kind *network = hep_network_kind_find(options->network);
    if (!network)
        return hep_fail(error, HEP_E_UNSUPPORTED, "there is no network '%.60s'", options->network);
    struct origin origin = {0};
    union hep_any_config config;
    struct hep_graph *graph = NULL;
    struct hep_plan *plan = NULL;
    struct hep_network_instance instance = {0};
    struct hep_bench_result made = {0};
    struct hep_plan_options plan_options = {.dtype = options->dtype};
    enum hep_status status;
    HEP_TRY_DONE(status, origin_open(options, network, &origin, &config, error));
    HEP_TRY_DONE(status, hep_network_kind_graph(network, &config, &options->size, (struct hep_stages){0}, origin.source,
                                                &graph, error));
    made.parameters = count_parameters(graph);
    if (options->plan_only)
        HEP_TRY_DONE(status, hep_plan_create(graph, &plan_options, &plan, error));
    else
        HEP_TRY_DONE(status, hep_network_instance_init(&instance, graph, &plan_options, origin.source, NULL, error));
    struct hep_plan *used = options->plan_only ? plan : instance.plan;
    made.flops = used->flops;
    made.activation_bytes = used->peak_bytes;
    made.weight_bytes = used->weight_bytes;
    made.steps = used->step_count;
    add_classes(used, &made);
    if (!options->plan_only)
        HEP_TRY_DONE(status, measure(used, options, &made, error));
    made.peak_rss_bytes = peak_rss();
    if (options->print_plan)
        hep_plan_print(used, options->print_plan,
                       options->print_flags | (options->plan_only ? 0 : HEP_PLAN_PRINT_TIME));
    *result = made;
done:
    hep_network_instance_clear(&instance);
    hep_plan_destroy(plan);
    hep_graph_destroy(graph);
    origin_clear(&origin);
    return status;
}

enum hep_status hep_bench_factor(const char *model_dir, int *factor, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    HEP_TRY(hep_model_open(model_dir, &model, error));
    *factor = hep_model_vae_scale_factor(model);
    return HEP_OK;
}
