/* What the graph's tests share: one-line plans and runs on random weights, and the process's ISA level from HEP_ISA. */
#ifndef HEP_TESTS_UNIT_GRAPH_TEST_H
#define HEP_TESTS_UNIT_GRAPH_TEST_H

#include "nn/graph/pass.h"
#include "nn/graph/plan.h"
#include "nn/weights/packed.h"

#include <check.h>

/* A plan, its weights and its arena, from a finished graph. Destroys the graph. */
struct bench {
    struct hep_plan *plan;
    struct hep_packed *packed;
    void *arena;
};
struct bench bench_create(struct hep_graph *graph, const struct hep_plan_options *options);
void bench_destroy(struct bench *bench);
/* Runs with inputs and outputs in the order of the plan; fails the test on an error. */
void bench_run(struct bench *bench, void *const *inputs, void *const *outputs);

/* count floats in [-1, 1], a function of seed; HEP_ALIGN-aligned, free with free(). */
float *random_floats(size_t count, uint32_t seed);
float *empty_floats(size_t count);
/* Root mean square of the difference over that of want. */
double relative_rms(const float *have, const float *want, size_t count);
struct hep_graph *graph_create(const struct hep_weight_source *source);
/* 77 (skipped) if HEP_ISA names a level that this machine has not; else runs the suite. For main. */
int run_suite(Suite *suite);
/* f32, and bf16 where the level computes it. Returns how many. */
int dtypes_here(enum hep_dtype dtypes[2]);

#endif
