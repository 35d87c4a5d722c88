/*
 * What a backend is to the graph: a table of kernel constructors, one per operator, and the packing of weights. The
 * plan describes each step as a problem; the constructor answers with a kernel or refuses with a reason. The plan
 * stores the kernel's function; run calls it and decides nothing.
 */
#ifndef HEP_NN_GRAPH_BACKEND_H
#define HEP_NN_GRAPH_BACKEND_H

#include "common/tensor.h"
#include "nn/graph/graph.h"

#include <stdio.h>

#define HEP_OP_INPUTS_MAX 3

enum hep_op {
    HEP_OP_NONE,
#define HEP_OP(id, name, class_name, inputs, help) HEP_OP_##id,
#include "nn/graph/ops.def"
#undef HEP_OP
    HEP_OP_COUNT
};
const char *hep_op_name(enum hep_op op);
const char *hep_op_class(enum hep_op op);
int hep_op_inputs(enum hep_op op);

/* The numbers of an operator; those that it does not have are 0. */
struct hep_attr {
    int kernel;        /* conv2d: side                              */
    int stride;        /* conv2d                                    */
    int pads[4];       /* conv2d: top, left, bottom, right          */
    int groups;        /* group_norm                                */
    double eps;        /* norms                                     */
    int heads;         /* attention                                 */
    bool causal;       /* attention                                 */
    double scale;      /* attention, scale                          */
    bool flip;         /* timestep                                  */
    double shift;      /* timestep                                  */
    double max_period; /* timestep                                  */
    int64_t first;     /* slice                                     */
    int64_t eos_id;    /* pool_eos; negative: the largest id        */
};

/* What a step's pointers are, in the order of at[]. */
enum hep_slot {
    HEP_SLOT_OUT,
    HEP_SLOT_A, /* inputs in the order of the operator: x; q, k, v */
    HEP_SLOT_B,
    HEP_SLOT_C,
    HEP_SLOT_RESIDUAL,
    HEP_SLOT_WEIGHT, /* packed */
    HEP_SLOT_BIAS,   /* f32, or NULL */
    HEP_SLOT_SCRATCH,
    HEP_SLOT_COUNT
};

/* One tensor of a problem. dtype UNDEF: not there. */
struct hep_operand {
    enum hep_dtype dtype;
    struct hep_shape shape;
    int64_t row_stride; /* elements from one row (last dim) to the next; the last dim when dense */
};

/* How the backend lays a weight out. */
enum hep_weight_use {
    HEP_WEIGHT_PLAIN,  /* row-major f32: biases, norms, constants                         */
    HEP_WEIGHT_TABLE,  /* row-major in the compute dtype: embeddings, weights used as values */
    HEP_WEIGHT_CONV,   /* [out, in, kh, kw], blocked for conv2d                           */
    HEP_WEIGHT_LINEAR, /* [out, in], blocked for linear                                   */
    HEP_WEIGHT_USE_COUNT
};
const char *hep_weight_use_name(enum hep_weight_use use);

struct hep_weight_key {
    enum hep_weight_use use;
    enum hep_dtype dtype; /* of the packed elements: f32 or bf16 */
    struct hep_shape shape;
};

#define HEP_LAYOUT_ID_MAX 96
/* A layout: a pure function of the key, the ISA level and the backend's build. */
struct hep_weight_layout {
    struct hep_weight_key key;
    char id[HEP_LAYOUT_ID_MAX]; /* names the layout fully: "conv:bf16:o320i320k3:dnnl[8b8a…]"; equal id, equal bytes */
    size_t bytes;               /* packed */
    void *state;                /* of the backend; freed by layout_clear */
};

/* One step for a constructor: shapes, dtypes, tails. */
struct hep_problem {
    enum hep_op op;
    enum hep_activation activation;
    struct hep_attr attr;
    struct hep_operand operand[HEP_SLOT_COUNT]; /* scratch unused */
    bool in_place;                              /* at[OUT] will equal at[RESIDUAL] if there is one, else at[A] */
    const struct hep_weight_layout *layout;     /* of the weight, or NULL */
};
/* "conv2d:f32:n2h64w64c320k320r3s1p1" into text; returns text. */
const char *hep_problem_text(const struct hep_problem *problem, char *text, size_t size);
/* Floating-point operations of one run; multiply and add are two. */
double hep_problem_flops(const struct hep_problem *problem);
/* Bytes of all operands, each read or written once. */
double hep_problem_moved(const struct hep_problem *problem);

struct hep_kernel;
struct hep_moments; /* nn/graph/plan.h */
struct hep_kernel {
    /* Computes. at[HEP_SLOT_COUNT]: all set and aligned to HEP_ALIGN, except tensors of the caller (aligned to their
       element). Allocates nothing, cannot fail. */
    void (*run)(const struct hep_kernel *kernel, void *const *at);
    /* Called at bind with the same at[], the caller's tensors still NULL; may be NULL. Makes what run needs. */
    enum hep_status (*bind)(struct hep_kernel *kernel, void *const *at, struct hep_error *error);
    void (*clear)(struct hep_kernel *kernel); /* frees state; may be NULL */
    /* One line for each better candidate that was passed over, best first, with the condition that it failed:
       "  not NAME: REASON". NULL, or no line: there was none. */
    void (*why)(const struct hep_kernel *kernel, FILE *to);
    const char *symbol; /* static or in state: what runs, for plans and logs */
    size_t scratch_bytes;
    struct hep_problem problem;            /* filled by the plan before create */
    const struct hep_moments *use_moments; /* group_norm: [groups] instead of its input's own, or NULL */
    struct hep_moments *collect_moments;   /* group_norm: [groups] that its input's own are added to, or NULL */
    void *state;
};

/* What the fusion may give to an operator of this backend. To add an operator: ops.def says how. */
struct hep_backend_op {
    /* Fills kernel->run, symbol, scratch_bytes, state from kernel->problem. UNSUPPORTED with the reason. NULL: the
       backend has no such operator. */
    enum hep_status (*create)(struct hep_kernel *kernel, struct hep_error *error);
    unsigned strided;     /* bit per slot: rows may be further apart than their length  */
    unsigned in_place;    /* bit per slot (A or RESIDUAL): out may be the same memory    */
    unsigned activations; /* bit per enum hep_activation that can be fused as a tail     */
    bool residual;        /* takes a fused residual                                      */
};

struct hep_backend {
    const char *name;
    /* Whether this machine and ISA level compute in dtype: UNSUPPORTED_HARDWARE with a hint. */
    enum hep_status (*check_dtype)(enum hep_dtype dtype, struct hep_error *error);
    enum hep_dtype (*auto_dtype)(void);
    struct hep_backend_op ops[HEP_OP_COUNT];
    /* Fills layout->id, bytes, state for layout->key. */
    enum hep_status (*layout_create)(struct hep_weight_layout *layout, struct hep_error *error);
    void (*layout_clear)(struct hep_weight_layout *layout);
    /* from: the whole tensor, row-major f32; to: layout->bytes, HEP_ALIGN-aligned, all of it is written. */
    enum hep_status (*pack)(const struct hep_weight_layout *layout, const float *from, void *to,
                            struct hep_error *error);
    /* Everything that packed bytes depend on besides the key: library versions, effective ISA. Into text. */
    const char *(*build_text)(char *text, size_t size);
};

/* nn/cpu */
const struct hep_backend *hep_cpu_backend(void);

#endif
