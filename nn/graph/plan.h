/*
 * A plan: the list of kernels that runs a graph at its shapes, in one dtype, on one backend, with every activation and
 * every scratch buffer already placed in one arena. Made before a single weight is read; it knows its peak memory and
 * FLOPs. Life: create → (pack or map weights, nn/weights/packed.h) → bind → run, run, … → destroy.
 *
 *     hep_graph_create(…, source, &graph, error); build…; hep_graph_finish(graph, error);
 *     hep_plan_create(graph, &(struct hep_plan_options){.dtype = HEP_F32}, &plan, error);   graph may be destroyed now
 *     hep_packed_create(plan, source, NULL, &packed, error);
 *     hep_plan_bind(plan, packed, arena, plan->peak_bytes, error);    arena: HEP_ALIGN-aligned memory of the caller
 *     hep_plan_run(plan, inputs, n, outputs, m, error);
 *
 * A plan is a pure function of graph, options, ISA level and build: the same ones give the same plan and the same bytes
 * of output, for each row of the batch by itself, at any number of threads. A run uses omp_get_max_threads() threads,
 * at most options.threads. One plan is used by one thread at a time.
 */
#ifndef HEP_NN_GRAPH_PLAN_H
#define HEP_NN_GRAPH_PLAN_H

#include "common/tensor.h"
#include "nn/graph/graph.h"

struct hep_backend; /* nn/graph/backend.h */
struct hep_packed;  /* nn/weights/packed.h */

#define HEP_PLAN_FORMAT 1 /* version of the plan line grammar, docs/graph.md */

struct hep_plan_options {
    enum hep_dtype dtype;              /* HEP_F32 or HEP_BF16; HEP_DTYPE_UNDEF takes hep_backend_auto_dtype()  */
    const struct hep_backend *backend; /* NULL: the CPU                                                        */
    FILE *print;                       /* not NULL: the list after each pass is printed here                   */
    int threads;                       /* most threads a run will use; 0: omp_get_max_threads() now. Scratch and thus
                                          peak_bytes grow with it; results do not depend on it                 */
    bool poison;                       /* debug: fill what is dead with NaN, canaries behind live buffers      */
};

/* One step, for people: what it does, with which kernel, where, and what it costs. Strings belong to the plan. */
struct hep_step {
    const char *op;         /* operator with its fused tails: "conv2d+bias+add"                         */
    const char *name;       /* the weight or value it is about: "down_blocks.0.resnets.0.conv1"         */
    const char *class_name; /* for tables: "conv", "linear", "attention", "norm", "other"             */
    const char *problem;    /* "conv2d:f32:n2h64w64c320k320r3s1p1"                                      */
    const char *kernel;     /* symbol, or oneDNN's implementation string                                */
    size_t offset;          /* of the result in the arena, bytes; SIZE_MAX when it is an output         */
    size_t bytes;           /* of the result                                                            */
    int first;              /* steps in which the result is alive: from this one …                      */
    int last;               /* … through this one                                                       */
    size_t scratch_bytes;   /* alive in this step only                                                  */
    double flops;           /* multiply and add are two                                                 */
    double moved_bytes;     /* activations and weights, read and written once each                      */
    int64_t time_ns;        /* of the last timed run; 0 before                                          */
};

/* Read-only for callers. */
struct hep_plan {
    const char *network;  /* as given to hep_graph_create                                    */
    enum hep_dtype dtype; /* f32 or bf16                                                      */
    size_t peak_bytes;    /* of the arena that bind needs, scratch included: exact            */
    size_t live_bytes;    /* largest sum of bytes alive in one step: the arena's lower bound  */
    size_t weight_bytes;  /* of packed weights, without the packed header                     */
    double flops;         /* of one run                                                       */
    int step_count;
    const struct hep_step *steps; /* [step_count], in the order they run                              */
};

/* A named tensor given to or received from a run. */
struct hep_argument {
    const char *name;
    struct hep_tensor tensor; /* dense, aligned to its element; inputs are only read */
};

/* Needs a finished graph. UNSUPPORTED_HARDWARE: dtype bf16 below ISA level avx512bf16. UNSUPPORTED: the backend has no
   constructor for an operator (named). NO_MEMORY. The graph is copied: it may be destroyed afterwards. */
enum hep_status hep_plan_create(const struct hep_graph *graph, const struct hep_plan_options *options,
                                struct hep_plan **plan, struct hep_error *error);
void hep_plan_destroy(struct hep_plan *plan);

/* Name, dtype and shape of input or output number index; false past the end. name lives as long as the plan. */
bool hep_plan_input(const struct hep_plan *plan, size_t index, const char **name, enum hep_dtype *dtype,
                    struct hep_shape *shape);
bool hep_plan_output(const struct hep_plan *plan, size_t index, const char **name, enum hep_dtype *dtype,
                     struct hep_shape *shape);

/* One packed tensor that the plan needs. */
struct hep_plan_weight {
    const char *name;                       /* of its first part, in the source                          */
    uint32_t parts;                         /* source tensors stacked in it, 1 or more                   */
    uint32_t parts_crc;                     /* CRC32C of their names, each with its NUL                  */
    const struct hep_weight_layout *layout; /* nn/graph/backend.h; belongs to the plan                   */
    size_t offset;                          /* bytes from the start of the packed data                   */
};
/* Packed tensor number index, and source tensor number part of it; false past the end. For nn/weights/packed.c. */
bool hep_plan_weight(const struct hep_plan *plan, size_t index, struct hep_plan_weight *weight);
bool hep_plan_weight_part(const struct hep_plan *plan, size_t index, uint32_t part, const char **name,
                          struct hep_shape *shape);
const struct hep_backend *hep_plan_backend(const struct hep_plan *plan);

/* Makes the kernels and points them at weights and arena. packed must hold this graph's weights in this plan's layouts
   (else MISMATCH: pack again) and, like arena, outlive the plan or its next bind. Nothing is copied. */
enum hep_status hep_plan_bind(struct hep_plan *plan, const struct hep_packed *packed, void *arena, size_t arena_bytes,
                              struct hep_error *error);
/* Runs all steps. Every input and output of the plan must be given once, with its dtype and shape; others are refused
   (BAD_FIELD). Outputs must not overlap inputs. It takes nothing from the heap (what oneDNN needs for a call is static:
   nn/cpu/onednn_heap.c) and cannot fail after these checks, save for one case: when omp_get_max_threads() differs from
   the last run's, the kernels are made again for that many threads (NO_MEMORY). */
enum hep_status hep_plan_run(struct hep_plan *plan, const struct hep_argument *inputs, size_t input_count,
                             const struct hep_argument *outputs, size_t output_count, struct hep_error *error);
/* Asked before each step on the thread that runs the plan: step of step_count is next. False ends the run. It must cost
   no more than a clock and an atomic read. */
struct hep_plan_watch {
    bool (*go_on)(void *context, int step, int step_count);
    void *context;
};
/* The same under a watch (NULL: none). CANCELLED: the watch ended it; the outputs hold anything, the plan can run
   again. What a run that gets to its end computes does not depend on a watch. */
enum hep_status hep_plan_run_watched(struct hep_plan *plan, const struct hep_argument *inputs, size_t input_count,
                                     const struct hep_argument *outputs, size_t output_count,
                                     const struct hep_plan_watch *watch, struct hep_error *error);

/* Mean and sum of squared distances from it of `count` numbers: what a group norm knows of one group. */
struct hep_moments {
    double count, mean, m2;
};
/* Group norms whose inputs are parts of a larger whole: tiles of an image. The moments of all group norms of a plan
   follow each other in the order of its steps, one for each group. Both NULL: each norm takes its own input's. */
struct hep_norm_moments {
    const struct hep_moments *use; /* [hep_plan_norm_groups] instead of the input's own; NULL: those         */
    struct hep_moments *collect;   /* [hep_plan_norm_groups] that the input's own are added to; NULL: nowhere */
};
/* Groups of all group norms of the plan; it must be for a batch of 1. */
size_t hep_plan_norm_groups(const struct hep_plan *plan);
/* For later runs, until the next call. The arrays outlive them. */
void hep_plan_set_moments(struct hep_plan *plan, const struct hep_norm_moments *moments);
/* Later runs fill steps[].time_ns (on), or leave them (off, the default). */
void hep_plan_set_timing(struct hep_plan *plan, bool on);

enum hep_plan_print_flags {
    HEP_PLAN_PRINT_TIME = 1, /* adds ms, GFLOP/s, GB/s of the last timed run                     */
    HEP_PLAN_PRINT_WHY = 2,  /* below each step, the kernels passed over and what they failed    */
    HEP_PLAN_NO_PLACES = 4,  /* leaves out what depends on caches and threads: offsets, scratch  */
    HEP_PLAN_NO_KERNELS = 8, /* leaves kernel symbols out: the same text at every ISA level      */
};
/* One line per step (with WHY more, indented), columns named in the first line, totals in the last; docs/graph.md has
 * the grammar. */
void hep_plan_print(const struct hep_plan *plan, FILE *to, unsigned flags);
/* Flags of a tool's --print-plan=WORD: "why", or "review" (NO_PLACES: what golden files hold). BAD_FIELD: another. */
enum hep_status hep_plan_print_parse(const char *word, unsigned *flags, struct hep_error *error);

/* What dtype "auto" means on this machine at this ISA level: HEP_BF16 from avx512bf16, else HEP_F32. */
enum hep_dtype hep_backend_auto_dtype(void);

#endif
