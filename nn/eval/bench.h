/* One measurement of one network at one shape; the engine of hep-bench. */
#ifndef HEP_NN_EVAL_BENCH_H
#define HEP_NN_EVAL_BENCH_H

#include "nn/models/networks.h"

enum { HEP_BENCH_CLASSES_MAX = 16 };

struct hep_bench_options {
    const char *network;          /* "unet"                                                                  */
    const char *arch;             /* "sd15": published shapes, random weights; ignored if model_dir is given */
    const char *model_dir;        /* a model folder, or NULL                                                 */
    struct hep_network_size size; /* latents                                                                 */
    enum hep_dtype dtype;
    int runs;             /* measured; one more comes before them                                    */
    bool plan_only;       /* FLOPs and memory, no weights, no run                                    */
    FILE *print_plan;     /* the plan, with times if it runs, or NULL                               */
    unsigned print_flags; /* enum hep_plan_print_flags                                          */
};

/* Steps of one kind together. */
struct hep_bench_class {
    char name[HEP_NAME_MAX]; /* "conv" */
    int steps;
    double ms; /* of the fastest run, sum of the steps */
    double flops;
    double moved_bytes;
};

struct hep_bench_result {
    double ms; /* of the fastest run                                             */
    double median_ms;
    double flops;
    uint64_t parameters;     /* elements of all weights that the network uses                  */
    size_t activation_bytes; /* planned: the arena                                             */
    size_t weight_bytes;     /* planned: packed weights                                        */
    size_t peak_rss_bytes;   /* of the whole process, staging of the weights included          */
    bool finite;             /* every output of the last run                                   */
    int steps;
    struct hep_bench_class classes[HEP_BENCH_CLASSES_MAX];
    int class_count;
};

/* Errors: UNSUPPORTED for an unknown network or arch, those of model folders and plans, NO_MEMORY. */
enum hep_status hep_bench_run(const struct hep_bench_options *options, struct hep_bench_result *result,
                              struct hep_error *error);

/* Pixels per latent of the model in this folder. */
enum hep_status hep_bench_factor(const char *model_dir, int *factor, struct hep_error *error);

#endif
