/*
 * Runs networks on files; called by hep-eval and the golden tests. Weights are packed at the first case and serve all
 * others. It prints plans only where it is told to, and compares nothing.
 */
#include "nn/eval/evaluation.h"

#include "nn/eval/inputs.h"
#include "nn/weights/folder.h"
#include "nn/weights/lora_merge.h"
#include "nn/weights/model_folder.h"
#include "nn/weights/packed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct hep_evaluation {
    const struct hep_network_kind *network;
    struct hep_evaluation_options options;
    struct hep_component *component;
    union hep_any_config config;
    struct hep_lora *loras[HEP_LORAS_MAX]; /* options.lora_count of them          */
    struct hep_lora_merge *merge;          /* of them into the component          */
    struct hep_packed *packed;             /* NULL until the first case */
};

/* Suggested by the reference data's README. To add a network: a row. */
static const struct {
    const char *network;
    double f32, bf16;
} tolerances[] = {
    {"text_encoder", 5e-6, 2e-2}, {"text_encoder_2", 5e-6, 2e-2}, {"unet", 2e-5, 5e-2},
    {"controlnet", 2e-5, 5e-2},   {"safety_checker", 1e-5, 5e-2}, {"vae_encoder", 1e-5, 4e-2},
    {"vae_decoder", 1e-5, 4e-2},  {"upscaler", 5e-6, 1e-2},
};

static double tolerance_of(size_t row, enum hep_dtype dtype)
{
    return dtype == HEP_BF16 ? tolerances[row].bf16 : tolerances[row].f32;
}

double hep_evaluation_tolerance(const struct hep_evaluation *evaluation)
{
    for (size_t i = 0; i < HEP_COUNT_OF(tolerances); i++)
        if (strcmp(tolerances[i].network, evaluation->network->name) == 0)
            return tolerance_of(i, evaluation->options.dtype);
    return 0;
}

void hep_evaluation_tolerances(enum hep_dtype dtype, double *least, double *largest)
{
    *least = *largest = tolerance_of(0, dtype);
    for (size_t i = 1; i < HEP_COUNT_OF(tolerances); i++) {
        *least = fmin(*least, tolerance_of(i, dtype));
        *largest = fmax(*largest, tolerance_of(i, dtype));
    }
}

/* Whether path is the folder of one component; what it is instead, hep_model_open says. */
static bool is_component_folder(const char *path)
{
    int folder;
    if (hep_folder_open(path, &folder, NULL) != HEP_OK)
        return false;
    bool is = !hep_folder_has_file(folder, "model_index.json") && hep_folder_has_file(folder, "config.json");
    close(folder);
    return is;
}

static enum hep_status open_component(struct hep_evaluation *evaluation, const char *path, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    const char *name = evaluation->network->component, *variant = evaluation->options.variant;
    char file[HEP_PATH_MAX];
    int folder;
    enum hep_status status;
    if (is_component_folder(path)) {
        HEP_TRY(hep_folder_open(path, &folder, error));
        status = hep_component_open(folder, "", name, variant, &evaluation->component, error);
    } else if (hep_component_kind_find(name)->derive) { /* it is one file */
        HEP_TRY(hep_folder_open_parent(path, &folder, file, error));
        status = hep_component_open_file(folder, file, name, &evaluation->component, error);
    } else { /* a ControlNet's file, or a whole model */
        HEP_TRY(strcmp(name, "controlnet") == 0 ? hep_model_open_component(path, name, &model, error)
                                                : hep_model_open(path, &model, error));
        return hep_model_component(model, name, variant, &evaluation->component, error);
    }
    close(folder);
    return status;
}

static enum hep_status open_lora(const char *path, struct hep_lora **lora, struct hep_error *error)
{
    char name[HEP_PATH_MAX];
    int folder;
    HEP_TRY(hep_folder_open_parent(path, &folder, name, error));
    enum hep_status status = hep_lora_open(folder, name, lora, error);
    close(folder);
    return status;
}

static enum hep_status merge_loras(struct hep_evaluation *evaluation, struct hep_error *error)
{
    struct hep_lora_use uses[HEP_LORAS_MAX];
    for (size_t i = 0; i < evaluation->options.lora_count; i++) {
        const struct hep_evaluation_lora *said = &evaluation->options.loras[i];
        HEP_TRY(open_lora(said->path, &evaluation->loras[i], error));
        uses[i] = (struct hep_lora_use){evaluation->loras[i], said->path, said->weight};
    }
    return hep_lora_merge_create(evaluation->component, uses, evaluation->options.lora_count, &evaluation->merge,
                                 error);
}

enum hep_status hep_evaluation_create(const char *network, const char *model_dir,
                                      const struct hep_evaluation_options *options, struct hep_evaluation **evaluation,
                                      struct hep_error *error)
{
    HEP_CLEANUP(hep_evaluation_destroy) struct hep_evaluation *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an evaluation");
    made->options = *options;
    if (made->options.dtype == HEP_DTYPE_UNDEF)
        made->options.dtype = hep_backend_auto_dtype();
    made->network = hep_network_kind_find(network);
    if (!made->network)
        /* cppcheck-suppress memleak ; HEP_CLEANUP frees it */
        return hep_fail(error, HEP_E_UNSUPPORTED, "there is no network '%.60s'", network); /* NOLINT: as above */
    HEP_TRY(open_component(made, model_dir, error));
    HEP_TRY(merge_loras(made, error));
    char file[HEP_NAME_MAX];
    snprintf(file, sizeof file, "%s/config.json", made->network->component);
    HEP_TRY(made->network->read_config(hep_component_config(made->component), file, &made->config, error));
    *evaluation = hep_take(&made);
    return HEP_OK;
}

void hep_evaluation_destroy(struct hep_evaluation *evaluation)
{
    if (!evaluation)
        return;
    hep_packed_close(evaluation->packed);
    hep_lora_merge_destroy(evaluation->merge);
    for (size_t i = 0; i < HEP_LORAS_MAX; i++)
        hep_lora_close(evaluation->loras[i]);
    hep_component_close(evaluation->component);
    free(evaluation);
}

const struct hep_network_kind *hep_evaluation_network(const struct hep_evaluation *evaluation)
{
    return evaluation->network;
}

enum hep_status hep_evaluation_cases(const struct hep_evaluation *evaluation, const struct hep_safetensors *file,
                                     const char ***names, size_t *count, struct hep_error *error)
{
    return inputs_cases(evaluation->network, file, names, count, error);
}

/* ---- running ---- */

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

void hep_results_clear(struct hep_results *results)
{
    for (size_t i = 0; i < results->count; i++)
        free(results->items[i].data);
    free(results->items);
    *results = (struct hep_results){0};
}

/* Memory for every output of the plan, under the goldens' names. */
static enum hep_status make_results(const struct hep_plan *plan, const char *name, struct hep_stages stages,
                                    struct hep_results *results, struct hep_error *error)
{
    const char *output;
    enum hep_dtype dtype;
    struct hep_shape shape;
    size_t count = 0;
    while (hep_plan_output(plan, count, &output, &dtype, &shape))
        count++;
    results->items = calloc(count, sizeof *results->items);
    if (!results->items)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu results", count);
    for (results->count = 0; results->count < count; results->count++) {
        struct hep_result *item = &results->items[results->count];
        size_t bytes = 0;
        hep_plan_output(plan, results->count, &output, &dtype, &shape);
        bool stage = false;
        for (size_t i = 0; i < stages.count; i++)
            stage = stage || strcmp(stages.names[i], output) == 0;
        snprintf(item->name, sizeof item->name, "%s%s%s", stage ? "" : name, *name && !stage ? "." : "", output);
        item->shape = shape;
        hep_assert(dtype == HEP_F32 && hep_shape_bytes(&shape, dtype, &bytes));
        item->data = malloc(bytes ? bytes : 1);
        if (!item->data)
            return hep_fail(error, HEP_E_NO_MEMORY, "no %zu bytes for '%s'", bytes, item->name);
    }
    return HEP_OK;
}

/* Runs once, then `repeats` times with timing; results->ms is the least. */
static enum hep_status run_plan(struct hep_plan *plan, const struct inputs *inputs, int repeats,
                                struct hep_results *results, struct hep_error *error)
{
    struct hep_argument *outputs = calloc(results->count + 1, sizeof *outputs);
    enum hep_status status = HEP_OK;
    if (!outputs)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu results", results->count);
    for (size_t i = 0; i < results->count; i++) {
        enum hep_dtype dtype;
        struct hep_shape shape;
        hep_plan_output(plan, i, &outputs[i].name, &dtype, &shape);
        outputs[i].tensor = (struct hep_tensor){results->items[i].data, HEP_F32, shape};
    }
    for (int run = 0; run <= repeats && status == HEP_OK; run++) {
        double start = now_ms();
        hep_plan_set_timing(plan, run > 0);
        status = hep_plan_run(plan, inputs->arguments, inputs->count, outputs, results->count, error);
        double ms = now_ms() - start;
        if (run <= 1 || ms < results->ms)
            results->ms = ms;
    }
    free(outputs);
    return status;
}

static void print_plan(const struct hep_evaluation *evaluation, const struct hep_plan *plan)
{
    unsigned time = evaluation->options.repeats > 0 ? HEP_PLAN_PRINT_TIME : 0;
    if (evaluation->options.print_plan)
        hep_plan_print(plan, evaluation->options.print_plan, evaluation->options.print_flags | time);
}

static struct hep_plan_options plan_options(const struct hep_evaluation *evaluation)
{
    return (struct hep_plan_options){.dtype = evaluation->options.dtype,
                                     .print = evaluation->options.print_passes ? evaluation->options.print_plan : NULL};
}

/* What outlives one graph is handed over to the evaluation: the packed weights. */
static void keep_packed(struct hep_evaluation *evaluation, struct hep_network_instance *instance)
{
    if (!evaluation->packed)
        evaluation->packed = hep_take(&instance->packed);
}

enum hep_status hep_evaluation_run(struct hep_evaluation *evaluation, const struct hep_safetensors *file,
                                   const char *name, struct hep_stages stages, struct hep_results *results,
                                   struct hep_error *error)
{
    struct hep_network_size size;
    struct hep_graph *graph = NULL;
    struct hep_network_instance instance = {0};
    struct inputs inputs = {0};
    struct hep_results made = {0};
    const struct hep_weight_source *source = hep_lora_merge_source(evaluation->merge);
    struct hep_plan_options options = plan_options(evaluation);
    enum hep_status status;
    /* Stages are taken between what would be fused, so their weights are laid out for another plan. */
    const struct hep_packed *packed = stages.count == 0 ? evaluation->packed : NULL;
    HEP_TRY(inputs_size(evaluation->network, &evaluation->config, file, name, &size, error));
    HEP_TRY(hep_network_kind_graph(evaluation->network, &evaluation->config, &size, stages, source, &graph, error));
    HEP_TRY_DONE(status, hep_network_instance_init(&instance, graph, &options, source, packed, error));
    HEP_TRY_DONE(status,
                 inputs_load(evaluation->network, &evaluation->config, instance.plan, file, name, &inputs, error));
    HEP_TRY_DONE(status, make_results(instance.plan, name, stages, &made, error));
    HEP_TRY_DONE(status, run_plan(instance.plan, &inputs, evaluation->options.repeats, &made, error));
    for (size_t i = 0; i < made.count; i++)
        inputs_finish_output(evaluation->network, &made.items[i]);
    made.flops = instance.plan->flops;
    made.peak_bytes = instance.plan->peak_bytes;
    made.weight_bytes = instance.plan->weight_bytes;
    print_plan(evaluation, instance.plan);
    if (stages.count == 0)
        keep_packed(evaluation, &instance);
    *results = made;
    made = (struct hep_results){0};
done:
    hep_results_clear(&made);
    inputs_clear(&inputs);
    hep_network_instance_clear(&instance);
    hep_graph_destroy(graph);
    return status;
}

enum hep_status hep_evaluation_plan(struct hep_evaluation *evaluation, struct hep_network_size size,
                                    struct hep_error *error)
{
    struct hep_graph *graph = NULL;
    struct hep_plan *plan = NULL;
    const json_t *sample = json_object_get(hep_component_config(evaluation->component), "sample_size");
    int64_t side = json_is_integer(sample) ? json_integer_value(sample) : 64;
    if (strcmp(evaluation->network->component, "vae") == 0)
        side /= hep_vae_scale_factor(&evaluation->config.vae);
    size.batch = size.batch ? size.batch : 1;
    size.height = size.height ? size.height : side;
    size.width = size.width ? size.width : side;
    size.tokens = size.tokens ? size.tokens : 77;
    struct hep_plan_options options = plan_options(evaluation);
    enum hep_status status;
    HEP_TRY_DONE(status, hep_network_kind_graph(evaluation->network, &evaluation->config, &size, (struct hep_stages){0},
                                                hep_lora_merge_source(evaluation->merge), &graph, error));
    HEP_TRY_DONE(status, hep_plan_create(graph, &options, &plan, error));
    print_plan(evaluation, plan);
done:
    hep_plan_destroy(plan);
    hep_graph_destroy(graph);
    return status;
}
