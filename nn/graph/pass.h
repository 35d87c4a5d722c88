/*
 * The passes of a plan, in their order, and the plan's inside. Each pass takes the graph's copy a step nearer to
 * kernels; check.c looks at the result of each. Only nn/graph includes this.
 */
#ifndef HEP_NN_GRAPH_PASS_H
#define HEP_NN_GRAPH_PASS_H

#include "nn/graph/ir.h"
#include "nn/graph/plan.h"
#include "nn/graph/planner.h"

/* Where a step's pointer points. */
enum hep_place { HEP_PLACE_NONE, HEP_PLACE_ARENA, HEP_PLACE_WEIGHT, HEP_PLACE_CONSTANT, HEP_PLACE_CALLER };

struct hep_location {
    enum hep_place place;
    uint32_t index; /* ARENA: buffer; WEIGHT: weight id; CONSTANT: value id; CALLER: input, or input count + output */
    size_t offset;  /* bytes from there */
};

/* The inside of a plan; the public part is its first member. */
struct hep_plan_inside {
    struct hep_plan plan;
    const struct hep_backend *backend;
    struct hep_ir ir;
    int threads;       /* planned for: more are never used                                       */
    int bound_threads; /* that the kernels are made for; 0 before bind                           */
    bool poison;
    bool timing;
    struct hep_step *steps;                       /* [order_count]                          */
    struct hep_kernel *kernels;                   /* [order_count]                          */
    struct hep_location (*where)[HEP_SLOT_COUNT]; /* [order_count]                          */
    void *(*at)[HEP_SLOT_COUNT];                  /* [order_count], filled at bind          */
    struct hep_buffer *buffers;                   /* [buffer_count]: results, then scratch  */
    int buffer_count;
    int *buffer_of;    /* [value_count]: buffer or -1            */
    uint32_t *callers; /* [caller_count]: value ids, inputs first */
    uint32_t input_count, caller_count;
    struct hep_weight_layout **layouts; /* [layout_count], one per distinct key   */
    size_t layout_count;
    uint32_t *packed; /* [packed_count]: weight ids that have a layout */
    size_t packed_count;
    unsigned char *arena; /* bound; NULL before                     */
};
struct hep_plan_inside *hep_plan_inside(struct hep_plan *plan);
const struct hep_plan_inside *hep_plan_inside_const(const struct hep_plan *plan);

/* 1. pass_fold.c: equal nodes become one, 1x1 convolutions become linears, reshapes and slices become views, what no
   output needs is dropped, ir->order is made. Removes SLICE and RESHAPE. */
enum hep_status hep_pass_fold(struct hep_ir *ir, struct hep_error *error);
/* 2. pass_fuse.c: linears of one input merge; activations and residuals become tails, where the backend takes them. */
enum hep_status hep_pass_fuse(struct hep_ir *ir, const struct hep_backend *backend, struct hep_error *error);
/* 3. pass_dtype.c: gives every value its dtype, puts in CONVERT, and COPY where a kernel needs dense rows or an output
   its own memory. */
enum hep_status hep_pass_dtype(struct hep_ir *ir, const struct hep_backend *backend, enum hep_dtype dtype,
                               struct hep_error *error);
/* 4. pass_kernels.c: lifetimes and in-place results, layouts of the weights, one kernel per node. */
enum hep_status hep_pass_kernels(struct hep_plan_inside *plan, struct hep_error *error);
/* 5. pass_memory.c: scratch becomes buffers, the planner places all, every pointer gets its location. */
enum hep_status hep_pass_memory(struct hep_plan_inside *plan, struct hep_error *error);

/* What a pass promises, for the checker. */
enum hep_pass { HEP_PASS_BUILD, HEP_PASS_FOLD, HEP_PASS_FUSE, HEP_PASS_DTYPE, HEP_PASS_COUNT };
const char *hep_pass_name(enum hep_pass pass);
/* hep_asserts, naming pass and node: values defined before use, shapes by each operator's rule, views inside their
   storage, nothing left that the pass promised to remove, dtypes set after HEP_PASS_DTYPE. */
void hep_check(const struct hep_ir *ir, enum hep_pass pass);

#endif
