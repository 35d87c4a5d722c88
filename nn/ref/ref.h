/*
 * What every operator means: plain loops in double over dense arrays, written to be read, not to be fast. Kernels are
 * checked against these by hep-kernels, layers by the tests; no product program calls them. Arrays are row-major;
 * results are separate from inputs.
 */
#ifndef HEP_NN_REF_REF_H
#define HEP_NN_REF_REF_H

#include <stdbool.h>
#include <stdint.h>

/* q, out [images, queries, heads, head_dim]; k, v [images, keys, heads, head_dim]. Causal: query i sees keys 0 … i. */
struct hep_ref_attention {
    int64_t images, heads, queries, keys, head_dim;
    double scale;
    bool causal;
};
void hep_ref_attention(const struct hep_ref_attention *shape, const double *q, const double *k, const double *v,
                       double *out);

/* x, y [images, places, channels]; gamma, beta [channels]. */
void hep_ref_group_norm(int64_t images, int64_t places, int64_t channels, int64_t groups, double eps, const double *x,
                        const double *gamma, const double *beta, double *y);
/* x, y [rows, channels]. */
void hep_ref_layer_norm(int64_t rows, int64_t channels, double eps, const double *x, const double *gamma,
                        const double *beta, double *y);

double hep_ref_silu(double x);       /* x · sigmoid(x)               */
double hep_ref_quick_gelu(double x); /* x · sigmoid(1.702 x)         */
double hep_ref_gelu(double x);       /* 0.5 x (1 + erf(x / √2))      */
double hep_ref_relu(double x);       /* max(x, 0)                    */
double hep_ref_leaky_relu(double x); /* max(x, 0.2 x)                */
/* x [rows, 2 columns], y [rows, columns] */
void hep_ref_geglu(int64_t rows, int64_t columns, const double *x, double *y);
/* y[r, i] = a[r, i] + b[(r / repeat) mod b_rows, i] */
void hep_ref_add(int64_t rows, int64_t columns, int64_t b_rows, int64_t b_repeat, const double *a, const double *b,
                 double *y);

/* Nearest neighbour; x [images, height, width, channels], y [images, out_height, out_width, channels]. */
struct hep_ref_resize {
    int64_t images, height, width, out_height, out_width, channels;
};
void hep_ref_resize(const struct hep_ref_resize *shape, const double *x, double *y);
/* Zeros around x [images, height, width, channels]. */
struct hep_ref_pad {
    int64_t images, height, width, channels, top, left, bottom, right;
};
void hep_ref_pad(const struct hep_ref_pad *shape, const double *x, double *y);
/* [images, rows, columns] → [images, columns, rows] */
void hep_ref_transpose(int64_t images, int64_t rows, int64_t columns, const double *x, double *y);
/* y[i] = table[ids[i]], zeros for a negative id, row 0 for one past the table */
void hep_ref_embedding(int64_t count, int64_t width, int64_t rows, const int32_t *ids, const double *table, double *y);
/* The position of CLIP's pooled token among ids [tokens]: first eos_id, or first largest id when eos_id < 0; else 0. */
int64_t hep_ref_eos_position(int64_t tokens, const int32_t *ids, int32_t eos_id);

/* y [count, width] */
void hep_ref_timestep(int64_t count, int64_t width, bool flip, double shift, double max_period, const double *t,
                      double *y);
/* In float, because the kernels promise these very roundings: state, out [vectors][count]; matrix [vectors, vectors +
 * 2]. */
void hep_ref_update(int64_t count, int32_t vectors, const float *matrix, const float *const *state, const float *model,
                    const float *noise, float *const *out);
void hep_ref_guidance(int64_t count, float guidance, const float *uncond, const float *cond, float *out);

/* x [rows, in], weight [out, in], bias [out] or NULL, y [rows, out] */
void hep_ref_linear(int64_t rows, int64_t in, int64_t out, const double *x, const double *weight, const double *bias,
                    double *y);
/* x [images, height, width, in], weight [out, in, kernel, kernel], bias [out] or NULL, y [images, height', width',
 * out]. */
struct hep_ref_conv2d {
    int64_t images, height, width, in, out, kernel, stride;
    int64_t top, left, bottom, right; /* zeros around x */
};
int64_t hep_ref_conv2d_height(const struct hep_ref_conv2d *shape);
int64_t hep_ref_conv2d_width(const struct hep_ref_conv2d *shape);
void hep_ref_conv2d(const struct hep_ref_conv2d *shape, const double *x, const double *weight, const double *bias,
                    double *y);

#endif
