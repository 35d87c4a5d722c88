/* The parts of the CPU backend: constructors by file, collected in the table of backend.c. Only nn/cpu/backend*.c
 * include this. */
#ifndef HEP_NN_CPU_BACKEND_CPU_H
#define HEP_NN_CPU_BACKEND_CPU_H

#include "nn/cpu/kernels.h"
#include "nn/graph/backend.h"
#include "nn/graph/ir.h"

/* state of a kernel of our own: its arguments, but for the pointers, which run fills into a copy. */
struct hep_own {
    union {
        struct hep_attention_args attention;
        struct hep_group_norm_args group_norm;
        struct hep_layer_norm_args layer_norm;
        struct hep_rows_args rows;
        struct hep_add_args add;
        struct hep_resize_args resize;
        struct hep_transpose_args transpose;
        struct hep_embedding_args embedding;
        struct hep_pool_eos_args pool_eos;
        struct hep_timestep_args timestep;
    } args;
    struct hep_rows_args second;                     /* concat: of its second input     */
    const void *kernel;                              /* row of hep_kernels() for run to call */
    void (*run_rows)(const struct hep_rows_args *a); /* the same for kernels on rows */
};

/* Gives kernel its state, function, symbol and clear. UNSUPPORTED if the row has no kernel (missing is its run). */
enum hep_status hep_own_create(struct hep_kernel *kernel, const struct hep_own *own, const struct hep_kernel_info *info,
                               bool missing, void (*run)(const struct hep_kernel *, void *const *),
                               struct hep_error *error);

/* backend_elementwise.c */
enum hep_status hep_cpu_group_norm(struct hep_kernel *kernel, struct hep_error *error);
enum hep_status hep_cpu_layer_norm(struct hep_kernel *kernel, struct hep_error *error);
enum hep_status hep_cpu_rows(struct hep_kernel *kernel,
                             struct hep_error *error); /* activate, geglu, scale, convert, copy */
enum hep_status hep_cpu_add(struct hep_kernel *kernel, struct hep_error *error); /* add, add_channels */
/* backend_shape.c */
enum hep_status hep_cpu_transpose(struct hep_kernel *kernel, struct hep_error *error); /* from_nchw, to_nchw */
enum hep_status hep_cpu_concat(struct hep_kernel *kernel, struct hep_error *error);
enum hep_status hep_cpu_resize(struct hep_kernel *kernel, struct hep_error *error);
enum hep_status hep_cpu_attention(struct hep_kernel *kernel, struct hep_error *error);
enum hep_status hep_cpu_embedding(struct hep_kernel *kernel, struct hep_error *error);
enum hep_status hep_cpu_pool_eos(struct hep_kernel *kernel, struct hep_error *error);
enum hep_status hep_cpu_timestep(struct hep_kernel *kernel, struct hep_error *error);
/* backend_direct.c: convolution and linear where oneDNN has no fast kernel (portable level, odd channels). */
enum hep_status hep_cpu_direct(struct hep_kernel *kernel, struct hep_error *error);
/* Row length of direct weights: out rounded up to this many. */
#define HEP_DIRECT_LANES 16
/* backend_pack.c */
enum hep_status hep_cpu_layout_create(struct hep_weight_layout *layout, struct hep_error *error);
void hep_cpu_layout_clear(struct hep_weight_layout *layout);
enum hep_status hep_cpu_pack(const struct hep_weight_layout *layout, const float *from, void *to,
                             struct hep_error *error);

#endif
