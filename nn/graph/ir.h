/*
 * A graph's inside: values, nodes and weights in flat arrays, indexed by id (0 is none). The builders append; the
 * passes of a plan work on a copy. Only nn/graph includes this.
 */
#ifndef HEP_NN_GRAPH_IR_H
#define HEP_NN_GRAPH_IR_H

#include "nn/graph/backend.h"
#include "nn/graph/graph.h"

#define HEP_IR_USES_MAX (HEP_OP_INPUTS_MAX + 1) /* inputs, residual */

enum hep_value_kind { HEP_VALUE_NONE, HEP_VALUE_NODE, HEP_VALUE_INPUT, HEP_VALUE_WEIGHT, HEP_VALUE_CONSTANT };

/* A tensor: rows (all dims but the last) of row elements (the last), row_stride elements apart in its storage. */
struct hep_ir_value {
    enum hep_value_kind kind;
    enum hep_dtype dtype;   /* UNDEF for node results until pass_dtype                          */
    struct hep_shape shape; /* rank >= 1                                                        */
    uint32_t node;          /* NODE: index of its producer in nodes                             */
    uint32_t weight;        /* WEIGHT: id                                                       */
    const char *name;       /* INPUT: its name; else NULL                                       */
    const float *data;      /* CONSTANT: its numbers                                            */
    uint32_t view_of;       /* 0, or the value whose storage it reads (itself not a view)       */
    int64_t view_first;     /* elements from that storage's start                               */
    int64_t row_stride;     /* elements; the last dim unless it is a slice of wider rows        */
};

/* One operator application. Dead nodes stay in the array so that ids hold; passes skip them. */
struct hep_ir_node {
    enum hep_op op;
    bool dead;
    bool f32;                           /* computes in and gives f32 in every plan            */
    uint32_t inputs[HEP_OP_INPUTS_MAX]; /* value ids                                          */
    uint32_t residual;                  /* value id: added to the result at the end           */
    uint32_t weight, bias;              /* weight ids                                         */
    uint32_t output;                    /* value id                                           */
    enum hep_activation activation;     /* applied before residual                            */
    struct hep_attr attr;
    const char *name; /* for people: weight scope or operator               */
};

/* A tensor that comes from the source. Several of the same width may be stacked to one by merging. */
struct hep_ir_weight {
    const char *name;                 /* in the source                                                             */
    struct hep_shape shape;           /* as the operator wants it: conv [out, in, kh, kw], linear [out, in], …     */
    enum hep_weight_use use;          /* which layout the backend gives it                                         */
    bool f32;                         /* its operator computes in f32 in every plan                                */
    bool dead;                        /* merged into another                                                       */
    uint32_t next_part;               /* weight id of the next part below this one in a merged tensor, 0 at the end */
    struct hep_shape merged;          /* shape of the whole stack; equal to shape without parts                    */
    struct hep_weight_layout *layout; /* plan only: how it is packed; owned by the plan                    */
    size_t offset;                    /* plan only: bytes from the start of packed data                            */
    uint32_t packed;                  /* plan only: its number among the packed tensors                            */
};

struct hep_ir_output {
    const char *name;
    uint32_t value;
};

struct hep_pool; /* strings and constants, shared by a graph and the plans made of it */

struct hep_ir {
    const char *network;
    struct hep_pool *pool;
    struct hep_ir_value *values;   /* [value_count]; [0] is none  */
    struct hep_ir_node *nodes;     /* [node_count], in run order; ids are indices, [0] is none */
    struct hep_ir_weight *weights; /* [weight_count]; [0] is none */
    uint32_t *order;               /* plan only: node ids in run order, [order_count] */
    struct hep_ir_output *outputs; /* [output_count] */
    uint32_t value_count, node_count, weight_count, order_count, output_count;
    uint32_t value_capacity, node_capacity, weight_capacity, output_capacity;
};

struct hep_graph {
    struct hep_ir ir;
    const struct hep_weight_source *source;
    enum hep_status status; /* of the first failed builder */
    struct hep_error error; /* of the same                 */
    bool finished;
};

/* ---- ir.c ---- */
enum hep_status hep_ir_init(struct hep_ir *ir, const char *network, struct hep_error *error);
void hep_ir_clear(struct hep_ir *ir);
/* A deep copy that shares the pool. */
enum hep_status hep_ir_copy(const struct hep_ir *from, struct hep_ir *to, struct hep_error *error);
/* Append a zeroed element; its id, or 0 when memory is out. */
uint32_t hep_ir_new_value(struct hep_ir *ir);
uint32_t hep_ir_new_node(struct hep_ir *ir);
uint32_t hep_ir_new_weight(struct hep_ir *ir);
bool hep_ir_new_output(struct hep_ir *ir, const char *name, uint32_t value);
/* Copies into the pool; NULL when memory is out. */
const char *hep_pool_text(struct hep_pool *pool, const char *text);
const void *hep_pool_data(struct hep_pool *pool, const void *data, size_t bytes);

/* Product of all dims but the last; the last dim. */
int64_t hep_rows(const struct hep_shape *shape);
int64_t hep_row(const struct hep_shape *shape);
/* The value whose storage v reads: v itself or view_of. */
uint32_t hep_ir_root(const struct hep_ir *ir, uint32_t value);
/* Every value that the node reads, into uses[HEP_IR_USES_MAX]; returns how many. */
int hep_ir_uses(const struct hep_ir_node *node, uint32_t *uses);
/* How many live nodes and outputs read each value (views count for themselves): calloc'ed [value_count], or NULL. */
uint32_t *hep_ir_use_counts(const struct hep_ir *ir);
/* Makes every reader of value `from` read `to` instead, outputs included. */
void hep_ir_replace(struct hep_ir *ir, uint32_t from, uint32_t to);
void hep_ir_print(const struct hep_ir *ir, FILE *to);

/* ---- builders' shared helpers, build.c ---- */
#define HEP_BUILD_FAIL(graph, code, ...) hep_graph_refuse(graph, code, __VA_ARGS__)
/* The value's record, or NULL if it is none or not of this graph (then the error is recorded). */
const struct hep_ir_value *hep_build_value(struct hep_graph *graph, hep_value value, const char *what);
/* Appends a node and its result; fills node->name; {0} when memory is out. */
hep_value hep_build_node(struct hep_graph *graph, struct hep_ir_node node, struct hep_shape shape);
/* scope.key + suffix as one full name in the pool; NULL records the error. */
const char *hep_build_name(struct hep_graph *graph, struct hep_scope scope, const char *key, const char *suffix);
/* A weight of shape (dims of -1 are taken from the source) used as use; its id, or 0 with the error recorded.
   missing_ok: 0 without an error if a listed source has no such name. */
uint32_t hep_build_weight(struct hep_graph *graph, const char *name, struct hep_shape shape, enum hep_weight_use use,
                          bool f32, bool missing_ok);

#endif
