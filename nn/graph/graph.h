/*
 * A network as a graph of symbolic tensors. The functions of nn/models call these builders in the order of the paper;
 * nn/graph/plan.h then fuses, plans and runs. Nothing here reads a weight's data or computes.
 *
 * Shapes are concrete (the batch is a dimension) and channels-last everywhere: images [n, h, w, c], tokens [n, t, c],
 * vectors [n, c]. hep_from_nchw and hep_to_nchw stand at a network's borders. dtype is chosen by the plan, except where
 * a builder says f32.
 *
 * The order of the calls is the order of the plan's steps and of merged weights: C does not say in which order a call's
 * arguments are evaluated, so two builders never stand in the arguments of one call.
 *
 * Errors are found here, not at run. The first wrong call is kept in the graph with node, argument, value and rule; it
 * and every later call return the value 0, which every builder accepts and passes on, so a model reads without checks
 * and asks once: hep_graph_finish(). Codes: BAD_MODEL (a weight is missing or has a wrong shape), UNSUPPORTED (a valid
 * network that Heptad does not run), INTERNAL (a wrong argument: a defect of the model's code), NO_MEMORY.
 */
#ifndef HEP_NN_GRAPH_GRAPH_H
#define HEP_NN_GRAPH_GRAPH_H

#include "common/tensor.h"
#include "nn/graph/weight_source.h"

#include <stdio.h>

struct hep_graph; /* owns everything that its values and scopes point to */

/* A tensor of one graph. {0} is "none": what a failed builder returns. */
typedef struct {
    uint32_t id;
} hep_value;

/* A place in the tree of weight names; passed by value, lives as long as the graph. */
struct hep_scope {
    struct hep_graph *graph;
    const char *path; /* "down_blocks.0.resnets.1", without a final dot; "" is the root */
};

/* ---- life ---------------------------------------------------------------------------------------------------- */

/* network: a name for plans and messages ("unet"), copied. source: borrowed, must outlive the graph. */
enum hep_status hep_graph_create(const char *network, const struct hep_weight_source *source, struct hep_graph **graph,
                                 struct hep_error *error);
void hep_graph_destroy(struct hep_graph *graph);
/* The first error of any builder call, if any; checks that there is an output, that every output's value is defined and
   that every input is used. Call once, after the last builder. */
enum hep_status hep_graph_finish(struct hep_graph *graph, struct hep_error *error);
/* For a model's own checks (a config value it cannot build): records the error as a builder would; returns {0}. */
__attribute__((format(printf, 3, 4))) hep_value hep_graph_refuse(struct hep_graph *graph, enum hep_status code,
                                                                 const char *format, ...);
/* Shape of a value; rank 0 with no dims for {0}. */
struct hep_shape hep_shape_of(const struct hep_graph *graph, hep_value value);
/* Size of the last dimension; 0 for {0}. */
int64_t hep_channels(const struct hep_graph *graph, hep_value value);
/* The names of the weights that the graph uses, in order of first use: index 0 … count - 1; NULL past the end. */
const char *hep_graph_weight(const struct hep_graph *graph, size_t index, struct hep_shape *shape);
/* One line per node, as built. */
void hep_graph_print(const struct hep_graph *graph, FILE *to);

/* ---- names of weights ---------------------------------------------------------------------------------------- */

struct hep_scope hep_root(struct hep_graph *graph);
/* scope.path + "." + the formatted name: hep_in(s, "resnets.%d", i). */
__attribute__((format(printf, 2, 3))) struct hep_scope hep_in(struct hep_scope scope, const char *format, ...);
/* Whether the source has scope.key.weight, scope.key.bias or scope.key itself. An open source (random, none) answers
   false: decide by the config where the config says it. */
bool hep_has(struct hep_scope scope, const char *key);
/* Whether the graph's source is open (see weight_source.h). */
bool hep_is_open(const struct hep_graph *graph);

/* ---- borders ------------------------------------------------------------------------------------------------- */

/* A tensor that the caller gives at every run. dtype: HEP_F32, or HEP_I32 for ids. */
hep_value hep_input(struct hep_graph *graph, const char *name, enum hep_dtype dtype, struct hep_shape shape);
/* A tensor that the caller receives at every run, dense and row-major, f32. */
void hep_output(struct hep_graph *graph, const char *name, hep_value value);
/* [n, c, h, w] → [n, h, w, c], and back. */
hep_value hep_from_nchw(struct hep_graph *graph, hep_value x);
hep_value hep_to_nchw(struct hep_graph *graph, hep_value x);
/* f32 numbers that are part of the network, copied. */
hep_value hep_constant(struct hep_graph *graph, const float *data, struct hep_shape shape);
/* A weight as a value: scope.key itself ("position_embedding.weight" is hep_weight(g, s, "position_embedding.weight",
 * …)). */
hep_value hep_weight(struct hep_graph *graph, struct hep_scope scope, const char *key, struct hep_shape shape);

/* ---- layers with weights ------------------------------------------------------------------------------------- */

/* hep_conv2d(g, x, s, "conv1", .kernel = 3, .padding = 1, .out = 320): x [n, h, w, c] → [n, h', w', out].
   Weights key.weight [out, c, k, k] (or [out, c] when k = 1), key.bias [out]. */
struct hep_conv2d_options {
    bool given;         /* set by the macro, so that there is always an initialiser               */
    int kernel;         /* 1 … 16, both sides; 0 means 1                                          */
    int stride;         /* 1 … 16; 0 means 1                                                      */
    int padding;        /* zeros on all four sides                                                */
    int pads[4];        /* more zeros, added to padding: top, left, bottom, right                 */
    int64_t out;        /* channels; 0 takes the weight's (a listed source only)                  */
    int groups;         /* 0 or 1; others are UNSUPPORTED                                         */
    bool no_bias;       /* key.bias is not looked for                                             */
    bool bias_if_there; /* key.bias is used if the source lists it (open source: it is there) */
    bool f32;           /* compute in f32 and give f32 whatever the plan's dtype                  */
};
#define hep_conv2d(graph, x, scope, key, ...)                                                                          \
    hep_conv2d_with(graph, x, scope, key, (struct hep_conv2d_options){.given = true, __VA_ARGS__})
hep_value hep_conv2d_with(struct hep_graph *graph, hep_value x, struct hep_scope scope, const char *key,
                          struct hep_conv2d_options options);

/* hep_linear(g, x, s, "to_q", .out = 320): x [..., c] → [..., out]. Weights key.weight [out, c] (or [out, c, 1, 1]),
   key.bias [out]. Linears of one x whose weights are next to be used together (to_q, to_k, to_v) are merged by the
   plan. */
struct hep_linear_options {
    bool given;         /* set by the macro                                                       */
    int64_t out;        /* 0 takes the weight's (a listed source only)                            */
    bool no_bias;       /* as conv2d's                                                            */
    bool bias_if_there; /* as conv2d's                                                            */
    bool f32;           /* compute in f32 and give f32: time embeddings are never rounded to bf16 */
};
#define hep_linear(graph, x, scope, key, ...)                                                                          \
    hep_linear_with(graph, x, scope, key, (struct hep_linear_options){__VA_ARGS__})
hep_value hep_linear_with(struct hep_graph *graph, hep_value x, struct hep_scope scope, const char *key,
                          struct hep_linear_options options);

/* Over (h, w, c / groups) of each image; x [n, h, w, c] or [n, t, c]; groups divides c. key.weight, key.bias [c]. */
hep_value hep_group_norm(struct hep_graph *graph, hep_value x, struct hep_scope scope, const char *key, int groups,
                         double eps);
/* Over the last dimension. key.weight, key.bias [c]. */
hep_value hep_layer_norm(struct hep_graph *graph, hep_value x, struct hep_scope scope, const char *key, double eps);
/* ids [n, t] i32 → [n, t, width]; key.weight [rows, width]. A negative id gives zeros; one past the
   table takes row 0: validate before. */
hep_value hep_embedding(struct hep_graph *graph, hep_value ids, struct hep_scope scope, const char *key, int64_t rows,
                        int64_t width);

/* ---- elementwise --------------------------------------------------------------------------------------------- */

enum hep_activation {
    HEP_ACT_NONE,
    HEP_ACT_SILU,       /* x · sigmoid(x)               */
    HEP_ACT_GELU,       /* exact: 0.5 x (1 + erf(x/√2)) */
    HEP_ACT_QUICK_GELU, /* x · sigmoid(1.702 x)         */
    HEP_ACT_RELU,
    HEP_ACT_LEAKY_RELU, /* x, or 0.2 x where x < 0     */
    HEP_ACT_COUNT
};
const char *hep_activation_name(enum hep_activation activation); /* "silu" */
/* Config strings: "silu", "swish", "gelu", "quick_gelu", "relu", "leaky_relu"; HEP_ACT_COUNT if unknown. */
enum hep_activation hep_activation_from_name(const char *name);

hep_value hep_activate(struct hep_graph *graph, hep_value x, enum hep_activation activation);
hep_value hep_silu(struct hep_graph *graph, hep_value x);
hep_value hep_gelu(struct hep_graph *graph, hep_value x);
hep_value hep_quick_gelu(struct hep_graph *graph, hep_value x);
hep_value hep_leaky_relu(struct hep_graph *graph, hep_value x);
/* x [..., 2c] → [..., c]: first half · gelu(second half), diffusers' GEGLU. */
hep_value hep_geglu(struct hep_graph *graph, hep_value x);
/* a + b; b has a's shape or is a trailing part of it ([t, c] to [n, t, c]), then it is repeated. */
hep_value hep_add(struct hep_graph *graph, hep_value a, hep_value b);
/* x [n, h, w, c] or [n, t, c] plus e [n, c] at every place. */
hep_value hep_add_channels(struct hep_graph *graph, hep_value x, hep_value e);
hep_value hep_scale(struct hep_graph *graph, hep_value x, double factor);

/* ---- shape --------------------------------------------------------------------------------------------------- */

/* Along the last dimension. */
hep_value hep_concat(struct hep_graph *graph, hep_value a, hep_value b);
/* Elements first … first + count - 1 of the last dimension. */
hep_value hep_slice(struct hep_graph *graph, hep_value x, int64_t first, int64_t count);
/* The same elements in row-major order under another shape; free. */
hep_value hep_reshape(struct hep_graph *graph, hep_value x, struct hep_shape shape);
/* [n, h, w, c] → [n, h·w, c], and back; free. */
hep_value hep_to_tokens(struct hep_graph *graph, hep_value x);
hep_value hep_to_image(struct hep_graph *graph, hep_value x, int64_t height, int64_t width);
/* Nearest neighbour: twice the height and width, or those of like: source row = floor(row · h / h'). */
hep_value hep_upsample2x(struct hep_graph *graph, hep_value x);
hep_value hep_resize_like(struct hep_graph *graph, hep_value x, hep_value like);
/* x [n, c, h, w], as an input gives it → [n, h / factor, w / factor, c · factor²]: each square of factor × factor
   places becomes channels, in the order of torch's pixel_unshuffle (channel, row, column). factor divides h and w. It
   is made of three transpositions. */
hep_value hep_pixel_unshuffle(struct hep_graph *graph, hep_value x, int factor);

/* ---- attention and the rest ---------------------------------------------------------------------------------- */

/* q [n, tq, c], k [n, tk, c], v [n, tk, c] → [n, tq, c]; heads divides c; head i owns channels [i·d, (i+1)·d), d = c /
   heads. softmax(scale · q·kᵀ)·v; the score matrix is never stored. */
struct hep_attention_options {
    int heads;
    bool causal;  /* query i sees keys 0 … i; needs tq = tk */
    double scale; /* 0 means 1/√d                           */
};
#define hep_attention(graph, q, k, v, ...)                                                                             \
    hep_attention_with(graph, q, k, v, (struct hep_attention_options){__VA_ARGS__})
hep_value hep_attention_with(struct hep_graph *graph, hep_value q, hep_value k, hep_value v,
                             struct hep_attention_options options);

/* t: any shape [...] f32 → [..., width] f32: diffusers' get_timestep_embedding. frequency i of width/2:
   exp(-ln(max_period) · i / (width/2 - shift)); sin first, or cos first when flip. Never rounded to bf16. */
struct hep_timestep_options {
    int64_t width;     /* even                                        */
    bool flip;         /* flip_sin_to_cos                             */
    double shift;      /* freq_shift                                  */
    double max_period; /* 0 means 10000                               */
};
#define hep_timestep_embedding(graph, t, ...)                                                                          \
    hep_timestep_embedding_with(graph, t, (struct hep_timestep_options){__VA_ARGS__})
hep_value hep_timestep_embedding_with(struct hep_graph *graph, hep_value t, struct hep_timestep_options options);

/* CLIP's pooling: row i of the result [n, c] is x[i, p] with x [n, t, c], ids [n, t] i32, and p the first position of
   eos_id, or of the largest id when eos_id is negative; position 0 if eos_id does not occur (as argmax gives). */
hep_value hep_pool_eos(struct hep_graph *graph, hep_value x, hep_value ids, int64_t eos_id);

#endif
