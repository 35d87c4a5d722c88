/*
 * What running a network takes: nothing from the heap, and of its arena exactly what was planned. On the real networks
 * of the reference models, made by heptad-model's own code and run as the domains do it. Run as `test_run_memory
 * f32|bf16`; HEP_ISA chooses the level. Exit 77 (skipped) where this level cannot compute the dtype.
 */
#include "nn/models/networks.h"
#include "nn/run/network.h"
#include "tests/support/check_status.h"
#include "tests/support/golden_level.h"
#include "tests/support/heap_count.h"
#include "tests/support/published_model.h"

#include <omp.h>
#include <string.h>
#include <sys/mman.h>

#define MODELS HEP_SOURCE_DIR "/tests/golden/data/models/"
enum { ARGUMENTS_MAX = 4 + HEP_UNET_RESIDUALS_MAX };

static enum hep_dtype dtype = HEP_F32;

/* To add a network: a row. */
static const struct subject {
    const char *model, *network, *blob;
    struct hep_network_size size;
} subjects[] = {
    {"tiny-sd15", "unet", "packed.unet", {2, 8, 12, 77}},
    {"tiny-sd2", "unet", "packed.unet", {1, 11, 9, 154}},
    {"tiny-sdxl", "unet", "packed.unet", {2, 16, 8, 77}},
    {"tiny-sd15", "vae_decoder", "packed.decoder", {1, 8, 12, 0}},
    {"tiny-sdxl", "vae_decoder", "packed.decoder", {1, 5, 7, 0}},
    {"tiny-sd15", "vae_encoder", "packed.encoder", {1, 8, 12, 0}},
    {"tiny-sd15", "text_encoder", "packed.text_encoder", {2, 0, 0, 77}},
    {"tiny-sdxl", "text_encoder_2", "packed.text_encoder", {2, 0, 0, 77}},
    {"controlnet/tiny-controlnet", "controlnet", "packed.controlnet", {2, 8, 12, 77}},
    {"controlnet/tiny-controlnet-sdxl", "controlnet", "packed.controlnet", {1, 16, 8, 77}},
    {"tiny-esrgan/tiny-esrgan-x2.safetensors", "upscaler", "packed.upscaler", {1, 22, 34, 0}},
    {"tiny-esrgan/tiny-esrgan-x4.safetensors", "upscaler", "packed.upscaler", {1, 24, 31, 0}},
};

/* A published network as an instructor has it, and arguments for its plan. */
struct running {
    const struct subject *subject;
    const struct hep_network_kind *kind;
    union hep_any_config config;
    struct published_model model;
    struct hep_tensor segment;
    struct hep_network *network;
    struct hep_plan *plan;
    size_t input_count, output_count;
    struct hep_argument inputs[ARGUMENTS_MAX], outputs[ARGUMENTS_MAX];
};

static const struct hep_tensor_ref *segment_of(const struct running *r)
{
    const struct {
        const char *component;
        const struct hep_tensor_ref *ref;
    } rows[] = {{"unet", &r->model.unet},
                {"vae", &r->model.vae},
                {"text_encoder", &r->model.text_encoder},
                {"text_encoder_2", &r->model.text_encoder_2},
                {"controlnet", &r->model.controlnet},
                {"upscaler", &r->model.upscaler}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        if (strcmp(rows[i].component, r->kind->component) == 0)
            return rows[i].ref;
    ck_abort_msg("no component %s", r->kind->component);
    return NULL;
}

static void build(struct hep_graph *graph, const void *context)
{
    const struct running *r = context;
    r->kind->build(graph, &r->config, &r->subject->size, (struct hep_stages){0});
}

static struct hep_argument argument(const char *name, enum hep_dtype type, struct hep_shape shape)
{
    size_t bytes = 0;
    ck_assert(hep_shape_bytes(&shape, type, &bytes));
    float *data = aligned_alloc(HEP_ALIGN, (bytes + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN);
    for (size_t i = 0; i < bytes / sizeof *data; i++)
        if (type == HEP_F32)
            data[i] = (float)(i * 37 % 101) / 101 - 0.5f;
        else
            ((int32_t *)(void *)data)[i] = (int32_t)(i % 500);
    return (struct hep_argument){name, {data, type, shape}};
}

static void make_arguments(struct running *r)
{
    const char *name;
    enum hep_dtype type;
    struct hep_shape shape;
    for (; hep_plan_input(r->plan, r->input_count, &name, &type, &shape); r->input_count++)
        r->inputs[r->input_count] = argument(name, type, shape);
    for (; hep_plan_output(r->plan, r->output_count, &name, &type, &shape); r->output_count++)
        r->outputs[r->output_count] = argument(name, type, shape);
    ck_assert(r->input_count > 0 && r->output_count > 0);
}

static void open_subject(struct running *r, const struct subject *subject)
{
    char path[512];
    *r = (struct running){.subject = subject, .kind = hep_network_kind_find(subject->network)};
    snprintf(path, sizeof path, MODELS "%s", subject->model);
    published_model_init(&r->model, path, dtype);
    ck_assert_ok(hep_resolve(r->model.self.resolver, segment_of(r), HEP_READ, &r->segment, error));
    ck_assert_ok(hep_network_open(&r->segment, subject->blob, &r->network, error));
    ck_assert_ok(r->kind->read_config(hep_network_config(r->network), "config.json", &r->config, error));
    ck_assert_int_eq(hep_network_dtype(r->network), dtype);
}

static void ready(struct running *r)
{
    ck_assert_ok(hep_network_ready(r->network, "subject", build, r, &r->plan, error));
    if (r->input_count == 0)
        make_arguments(r);
}

static enum hep_status run(struct running *r, struct hep_error *error)
{
    return hep_plan_run(r->plan, r->inputs, r->input_count, r->outputs, r->output_count, error);
}

/* The same network as tools have it: in private memory, from the files. */
static void make_instance(const struct running *r, struct hep_network_instance *instance)
{
    char path[512];
    struct hep_component *component = NULL;
    struct hep_graph *graph = NULL;
    snprintf(path, sizeof path, MODELS "%s", r->subject->model);
    struct hep_model *files = published_model_open(path);
    ck_assert_ok(hep_model_component(files, r->kind->component, NULL, &component, error));
    const struct hep_weight_source *source = hep_component_weights(component);
    ck_assert_ok(
        hep_network_kind_graph(r->kind, &r->config, &r->subject->size, (struct hep_stages){0}, source, &graph, error));
    struct hep_plan_options options = {.dtype = dtype};
    ck_assert_ok(hep_network_instance_init(instance, graph, &options, source, NULL, error));
    hep_graph_destroy(graph);
    hep_component_close(component);
    hep_model_close(files);
}

static void close_subject(struct running *r)
{
    for (size_t i = 0; i < r->input_count; i++)
        free(r->inputs[i].tensor.data);
    for (size_t i = 0; i < r->output_count; i++)
        free(r->outputs[i].tensor.data);
    hep_network_close(r->network);
    hep_resolver_release(r->model.self.resolver, &r->segment);
    published_model_clear(&r->model);
}

#if HEAP_COUNT_WORKS
START_TEST(a_run_takes_nothing_from_the_heap)
{
    struct running r;
    open_subject(&r, &subjects[_i]);
    for (int threads = 1; threads <= 2; threads++) {
        omp_set_num_threads(threads);
        ready(&r);
        for (int time = 0; time < 2; time++) { /* the first one too */
            heap_count_begin();
            enum hep_status status = run(&r, NULL);
            struct heap_count count = heap_count_end();
            ck_assert_int_eq(status, HEP_OK);
            ck_assert_msg(count.calls == 0 && count.mapped == 0,
                          "%s of %s, %d threads, run %d: %zu allocations and %zu mappings, the largest of %zu bytes",
                          subjects[_i].network, subjects[_i].model, threads, time, count.calls, count.mapped,
                          count.largest);
        }
    }
    close_subject(&r);
}
END_TEST

START_TEST(the_counter_sees_what_oneDNN_takes)
{
    struct running r;
    open_subject(&r, &subjects[0]);
    heap_count_begin();
    ready(&r); /* plans, and makes primitives */
    struct heap_count count = heap_count_end();
    ck_assert_uint_gt(count.calls, 1000);
    close_subject(&r);
}
END_TEST

START_TEST(the_arena_that_is_taken_is_the_planned_peak)
{
    struct running r;
    struct hep_network_instance instance;
    open_subject(&r, &subjects[_i]);
    heap_count_begin();
    ready(&r);
    heap_count_end();
    ck_assert_uint_eq(hep_network_arena_bytes(r.network), r.plan->peak_bytes);
    ck_assert_uint_eq(heap_count_of(r.plan->peak_bytes), 1); /* nn/run maps it */
    heap_count_begin();
    make_instance(&r, &instance);
    heap_count_end();
    ck_assert_uint_eq(heap_count_of(instance.plan->peak_bytes), 1);
    hep_network_instance_clear(&instance);
    close_subject(&r);
}
END_TEST
#endif

/* The arena ends where no page is, and has a pattern before it: an overrun dies, an underrun is seen. */
START_TEST(a_run_uses_its_arena_to_the_end_and_nothing_beside_it)
{
    enum { GUARD = 4096, PATTERN = 0xA5 };
    struct running r;
    struct hep_network_instance instance;
    open_subject(&r, &subjects[_i]);
    ready(&r);
    make_instance(&r, &instance);
    size_t peak = instance.plan->peak_bytes, pages = (peak + 2 * GUARD - 1) / GUARD * GUARD;
    unsigned char *memory = mmap(NULL, pages + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(memory != MAP_FAILED && mprotect(memory + pages, GUARD, PROT_NONE) == 0);
    unsigned char *arena = memory + pages - peak;
    memset(memory, PATTERN, pages);
    ck_assert_ok(hep_plan_bind(instance.plan, instance.packed, arena, peak, error));
    r.plan = instance.plan;
    ck_assert_ok(run(&r, error));
    for (const unsigned char *at = memory; at < arena; at++)
        ck_assert_uint_eq(*at, PATTERN);
    size_t untouched = 0;
    while (untouched < peak && arena[peak - 1 - untouched] == PATTERN)
        untouched++;
    ck_assert_msg(untouched < HEP_ALIGN, "%s of %s: the last %zu bytes of %zu are never used", subjects[_i].network,
                  subjects[_i].model, untouched, peak);
    hep_network_instance_clear(&instance);
    munmap(memory, pages + GUARD);
    close_subject(&r);
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    TCase *cases = tcase_create("run memory");
    tcase_set_timeout(cases, 60);
#if HEAP_COUNT_WORKS
    tcase_add_loop_test(cases, a_run_takes_nothing_from_the_heap, 0, (int)HEP_COUNT_OF(subjects));
    tcase_add_test(cases, the_counter_sees_what_oneDNN_takes);
    tcase_add_loop_test(cases, the_arena_that_is_taken_is_the_planned_peak, 0, (int)HEP_COUNT_OF(subjects));
#endif
    tcase_add_loop_test(cases, a_run_uses_its_arena_to_the_end_and_nothing_beside_it, 0, (int)HEP_COUNT_OF(subjects));
    return check_status_run("run memory", cases);
}
