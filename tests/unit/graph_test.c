/* See graph_test.h. */
#include "tests/unit/graph_test.h"

#include "nn/cpu/isa.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct hep_graph *graph_create(const struct hep_weight_source *source)
{
    struct hep_graph *graph = NULL;
    ck_assert_int_eq(hep_graph_create("test", source, &graph, NULL), HEP_OK);
    return graph;
}

struct bench bench_create(struct hep_graph *graph, const struct hep_plan_options *options)
{
    struct bench b = {0};
    struct hep_error error = {0};
    ck_assert_msg(hep_graph_finish(graph, &error) == HEP_OK, "%s", error.message);
    ck_assert_msg(hep_plan_create(graph, options, &b.plan, &error) == HEP_OK, "%s", error.message);
    hep_graph_destroy(graph);
    ck_assert_msg(hep_packed_create(b.plan, hep_random_weights(), NULL, &b.packed, &error) == HEP_OK, "%s",
                  error.message);
    b.arena = aligned_alloc(HEP_ALIGN, b.plan->peak_bytes + HEP_ALIGN);
    ck_assert_msg(hep_plan_bind(b.plan, b.packed, b.arena, b.plan->peak_bytes, &error) == HEP_OK, "%s", error.message);
    return b;
}

void bench_destroy(struct bench *b)
{
    hep_plan_destroy(b->plan);
    hep_packed_close(b->packed);
    free(b->arena);
    *b = (struct bench){0};
}

void bench_run(struct bench *b, void *const *inputs, void *const *outputs)
{
    struct hep_argument in[8], out[8];
    struct hep_error error = {0};
    size_t n = 0, m = 0;
    while (n < 8 && hep_plan_input(b->plan, n, &in[n].name, &in[n].tensor.dtype, &in[n].tensor.shape)) {
        in[n].tensor.data = inputs[n];
        n++;
    }
    while (m < 8 && hep_plan_output(b->plan, m, &out[m].name, &out[m].tensor.dtype, &out[m].tensor.shape)) {
        out[m].tensor.data = outputs[m];
        m++;
    }
    ck_assert_msg(hep_plan_run(b->plan, in, n, out, m, &error) == HEP_OK, "%s", error.message);
}

float *empty_floats(size_t count)
{
    float *floats = aligned_alloc(HEP_ALIGN, (count * sizeof(float) + HEP_ALIGN) / HEP_ALIGN * HEP_ALIGN);
    memset(floats, 0xFF, count * sizeof(float));
    return floats;
}

float *random_floats(size_t count, uint32_t seed)
{
    float *floats = empty_floats(count);
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < count; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        floats[i] = (float)(int32_t)x * 0x1p-31f;
    }
    return floats;
}

double relative_rms(const float *have, const float *want, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)have[i] - want[i]) * ((double)have[i] - want[i]);
        size += (double)want[i] * want[i];
    }
    return sqrt(difference / size);
}

int dtypes_here(enum hep_dtype dtypes[2])
{
    dtypes[0] = HEP_F32;
    dtypes[1] = HEP_BF16;
    return hep_cpu_backend()->check_dtype(HEP_BF16, NULL) == HEP_OK ? 2 : 1;
}

int run_suite(Suite *suite)
{
    struct hep_error error = {0};
    if (hep_isa_check(&error) != HEP_OK) {
        fprintf(stderr, "skipped: %s\n", error.message);
        return 77;
    }
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP's threads do not survive a fork */
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
