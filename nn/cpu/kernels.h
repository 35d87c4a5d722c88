/*
 * Heptad's own CPU kernels: their arguments and the table that the plan takes them from.
 *
 *     const struct hep_attention_kernel *kernel = hep_kernels()->attention[HEP_F32];      at planning
 *     struct hep_attention_args args = {shapes…};
 *     size_t scratch_bytes = kernel->scratch(&args);                                      reads shapes only, no pointer
 *     args.q.data = …, args.scratch = …;                                                  at binding
 *     kernel->run(&args);                                                                 at every run
 *
 * What holds for every kernel:
 * - It cannot fail and allocates nothing. Arguments are right by construction: shapes are checked at planning.
 * - Strides are in elements, not bytes. Data is aligned to its element; HEP_ALIGN makes it faster, never different.
 * - Nothing is read or written outside the stated elements, not even what is masked afterwards.
 * - It runs on omp_get_max_threads() threads. The bytes of a result do not depend on their number, nor on the other
 * images, rows or heads of the call; for elementwise kernels, nor on the element's position.
 * - Outputs are only written, never read, and do not overlap inputs except where "in place" is said.
 * - f32 is computed in f32; bf16 is read, computed in f32 and rounded once to nearest even when written.
 * - Sizes are at least 1 unless said otherwise.
 */
#ifndef HEP_NN_CPU_KERNELS_H
#define HEP_NN_CPU_KERNELS_H

#include "common/tensor.h"
#include "nn/cpu/isa.h"

/* Where heads lie: element (image b, token t, head h, i) is data[b · batch + t · token + h · head + i]. */
struct hep_heads {
    const void *data;
    int64_t batch; /* stride of an image; any value when there is one     */
    int64_t token; /* stride of a token: c, or 3c in a fused QKV          */
    int64_t head;  /* stride of a head: head_dim when heads lie in a token */
};

/* out = softmax(scale · q·kᵀ)·v per image and head. The score matrix is never stored. */
struct hep_attention_args {
    int64_t images; /* batch                                                              */
    int64_t heads;
    int64_t queries;  /* tokens of q and out                                                */
    int64_t keys;     /* tokens of k and v                                                  */
    int64_t head_dim; /* 1 … 512                                                            */
    float scale;      /* > 0                                                                */
    bool causal;      /* query i sees keys 0 … i; needs queries == keys                     */
    struct hep_heads q, k, v;
    struct hep_heads out; /* data is written; may not overlap q, k, v                         */
    void *scratch;        /* HEP_ALIGN-aligned, scratch() bytes                                 */
};

/* y = (x - mean) / sqrt(variance + eps) · gamma + beta over (places, channels / groups) of each image [, then silu]. */
struct hep_moments; /* nn/graph/plan.h */
struct hep_group_norm_args {
    int64_t images;
    int64_t places; /* h · w                                                              */
    int64_t channels;
    int64_t groups;     /* divides channels                                                   */
    float eps;          /* > 0                                                                */
    const void *x;      /* [images, places, channels]                                         */
    int64_t x_stride;   /* of a place; images follow each other at places · x_stride          */
    const float *gamma; /* [channels]                                                        */
    const float *beta;  /* [channels]                                                        */
    void *y;            /* as x; may be x itself (in place, then y_stride == x_stride)        */
    int64_t y_stride;
    void *scratch;                 /* HEP_ALIGN-aligned, scratch() bytes                                 */
    const struct hep_moments *use; /* [groups] instead of x's own, or NULL; images == 1          */
    struct hep_moments *collect;   /* [groups] that x's own are added to, or NULL; images == 1   */
};

/* y = (x - mean) / sqrt(variance + eps) · gamma + beta over each row. */
struct hep_layer_norm_args {
    int64_t rows;
    int64_t channels;
    float eps;          /* > 0                                                                */
    const void *x;      /* [rows, channels]                                                   */
    int64_t x_stride;   /* of a row                                                           */
    const float *gamma; /* [channels]                                                        */
    const float *beta;  /* [channels]                                                        */
    void *y;            /* may be x itself (in place)                                         */
    int64_t y_stride;
};

/* y[r, i] = f(x[r, i]). geglu reads 2 · columns of x. */
struct hep_rows_args {
    int64_t rows;
    int64_t columns;  /* of y                                                               */
    const void *x;    /* dtype of the kernel; f32 for from_f32                              */
    int64_t x_stride; /* of a row                                                           */
    void *y;          /* dtype of the kernel; f32 for to_f32. May be x itself (in place) where x and y have one dtype,
                         with equal strides; geglu may not                                  */
    int64_t y_stride;
    float factor; /* scale only                                                         */
};

/* y[r, i] = a[r, i] + b[(r / b_repeat) mod b_rows, i]. Same shape: b_rows = rows, b_repeat = 1. [t, c] added to [n, t,
   c]: b_rows = t, b_repeat = 1. [n, c] added at every place of [n, places, c]: b_rows = n, b_repeat = places. */
struct hep_add_args {
    int64_t rows;
    int64_t columns;
    const void *a;
    int64_t a_stride;
    const void *b;
    int64_t b_stride;
    int64_t b_rows;
    int64_t b_repeat;
    void *y; /* may be a, or b when b is not repeated (in place, equal strides)    */
    int64_t y_stride;
};

/* y[n, i, j] = x[n, floor(i · height / out_height), floor(j · width / out_width)], [.., channels] each. */
struct hep_resize_args {
    int64_t images;
    int64_t height, width;         /* of x                                                   */
    int64_t out_height, out_width; /* of y                                                   */
    int64_t channels;
    const void *x;    /* [images, height, width, channels], dense but for       */
    int64_t x_stride; /* of a place                                             */
    void *y;
    int64_t y_stride;
};

/* y = x with zeros around it: [images, top + height + bottom, left + width + right, channels]. */
struct hep_pad_args {
    int64_t images;
    int64_t height, width; /* of x            */
    int64_t channels;
    int64_t top, left, bottom, right; /* ≥ 0  */
    const void *x;                    /* dense           */
    void *y;                          /* dense           */
};

/* y[n, c, r] = x[n, r, c]; both dense. nchw → nhwc is rows = c, columns = h · w. */
struct hep_transpose_args {
    int64_t images;
    int64_t rows, columns; /* of x */
    const void *x;
    void *y;
};

/* y[i] = table[ids[i]]; a negative id gives zeros, one past the table takes row 0. */
struct hep_embedding_args {
    int64_t count;
    int64_t width;
    int64_t table_rows;
    const int32_t *ids; /* [count]                                                          */
    const void *table;  /* [table_rows, width], dense                                       */
    void *y;            /* [count, width]                                                   */
    int64_t y_stride;
};

/* y[n] = x[n, p]: p is the first position of eos_id, or of the largest id when eos_id < 0; 0 if eos_id does not occur.
 */
struct hep_pool_eos_args {
    int64_t images;
    int64_t tokens;
    int64_t width;
    int32_t eos_id;
    const int32_t *ids; /* [images, tokens]                                                 */
    const void *x;      /* [images, tokens, width], dense but for                           */
    int64_t x_stride;   /* of a token                                                       */
    void *y;            /* [images, width], dense                                           */
};

/* y[i] = [sin(t f_0) …, cos(t f_0) …] or, flipped, cosines first; f_j = exp(-ln(max_period) · j / (width / 2 - shift)),
   f32 as diffusers' get_timestep_embedding computes it. */
struct hep_timestep_args {
    int64_t count;
    int64_t width;     /* even                                                             */
    bool flip;         /* flip_sin_to_cos                                                  */
    double shift;      /* freq_shift, < width / 2                                          */
    double max_period; /* 10000                                                            */
    const float *t;    /* [count]                                                          */
    float *y;          /* [count, width], dense                                            */
};

/* out[r] = Σ matrix[r][c] · column c over columns state[0] … state[S-1], model, noise, from left to right in f32, every
   product and every sum rounded. The noise column is left out where noise is NULL. Same bytes at every level, and as
   hep_scheduler_plan_apply() gives. */
struct hep_update_args {
    int64_t count;             /* elements of a vector                                       */
    int32_t vectors;           /* S, 1 … 8                                                   */
    const float *matrix;       /* [S, S + 2]                                                 */
    const float *const *state; /* [S] vectors                                                */
    const float *model;
    const float *noise; /* or NULL                                                    */
    float *const *out;  /* [S] vectors; out[i] may be state[i] (in place), no other overlap */
};

/* m = u + g · (c - u), every operation rounded: the same bytes at every level. */
struct hep_guidance_args {
    int64_t count;
    const float *uncond;
    const float *cond;
    float guidance; /* g                                                                */
    float *out;     /* may be uncond or cond (in place)                                 */
};

/* What a row of kernels.def says, for plans and tools. */
struct hep_kernel_info {
    const char *op;
    const char *symbol; /* "hep_attention_f32__avx2_6x16" */
    enum hep_dtype dtype;
    enum hep_isa isa;
};

/* struct hep_<op>_kernel of each operator: info, run, and the scratch bytes that run needs (0 for most; never NULL
   where run is not). */
#define HEP_KERNEL_OP(op, args, help)                                                                                  \
    typedef void hep_##op##_run_fn(const struct hep_##args##_args *a);                                                 \
    typedef size_t hep_##op##_scratch_fn(const struct hep_##args##_args *a);                                           \
    struct hep_##op##_kernel {                                                                                         \
        struct hep_kernel_info info;                                                                                   \
        hep_##op##_run_fn *run;                                                                                        \
        hep_##op##_scratch_fn *scratch;                                                                                \
    };
#include "nn/cpu/kernels.def"

/* The kernels of the process's level, by dtype; run is NULL where (operator, dtype) has no kernel. f32 and bf16 have
   every operator but: to_f32 {bf16, f16}, from_f32 {bf16, f16, u8}; timestep, update, guidance {f32}; copy, resize,
   pad, transpose move bits and also serve f16 and i32 where listed in kernels.def. */
struct hep_kernels {
#define HEP_KERNEL_OP(op, args, help) struct hep_##op##_kernel op[HEP_DTYPE_COUNT];
#include "nn/cpu/kernels.def"
};
const struct hep_kernels *hep_kernels(void);

/* The same table for a level at most the machine's, for tools and tests: filled anew at each call. */
void hep_kernels_fill(struct hep_kernels *table, enum hep_isa isa);
/* What an operator does, in a line; NULL if there is no such operator. */
const char *hep_kernel_help(const char *op);
/* Row index of kernels.def, 0 … count - 1 in its order; NULL past the end. */
const struct hep_kernel_info *hep_kernel_row(size_t index);

/* The kernels themselves, for the files that define them. */
#define HEP_KERNEL(op, dtype, level, symbol) hep_##op##_run_fn symbol;
#define HEP_KERNEL_SCRATCH(op, dtype, level, symbol, scratch)                                                          \
    hep_##op##_run_fn symbol;                                                                                          \
    hep_##op##_scratch_fn scratch;
#include "nn/cpu/kernels.def"

#endif
