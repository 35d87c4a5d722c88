/*
 * oneDNN behind the CPU backend: the engine, the layouts of weights, and kernels for convolution and linear. The
 * onednn*.c files are the only ones that include dnnl.h. The process's ISA level is told to oneDNN before any other
 * call.
 */
#ifndef HEP_NN_CPU_ONEDNN_H
#define HEP_NN_CPU_ONEDNN_H

#include "nn/graph/backend.h"

#include <dnnl.h>

/* How oneDNN computes a weight's operator; part of the layout. */
enum hep_onednn_method {
    HEP_ONEDNN_CONV,     /* convolution primitive on [n, h, w, c]                              */
    HEP_ONEDNN_CONV_ROW, /* linear as a 1x1 convolution on [1, 1, rows, c]: bytes of a row do not depend on the others,
                            which oneDNN's f32 matmul below AVX-512 does not hold               */
    HEP_ONEDNN_MATMUL,   /* matmul primitive with blocked weights                              */
};

/* layout->state of a oneDNN layout; NULL state: the layout is of our own making (backend_pack.c). */
struct hep_onednn_layout {
    enum hep_onednn_method method;
    dnnl_memory_desc_t plain;  /* as the source has it */
    dnnl_memory_desc_t packed; /* blocked              */
};

/* The engine and stream of the process. INTERNAL if oneDNN refuses. */
enum hep_status hep_onednn_start(dnnl_engine_t *engine, dnnl_stream_t *stream, struct hep_error *error);
/* status is not success → an error that says what failed. */
enum hep_status hep_onednn_check(dnnl_status_t status, const char *what, struct hep_error *error);
/* "oneDNN 2.6.3 (hash) isa 0x…" */
const char *hep_onednn_build_text(char *text, size_t size);

/* dnnl_primitive_execute(), which takes nothing from the heap this way (onednn_heap.c). */
dnnl_status_t hep_onednn_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int count,
                                 const dnnl_exec_arg_t *args);
/* From open to close, C++'s operator new serves the calling thread from a block of static memory while it lasts. Not
   nested. For hep_onednn_execute and its test. */
void hep_onednn_heap_open(void);
void hep_onednn_heap_close(void);

/* A layout in which every probed size of the operator runs on a kernel made for this ISA level. *found is false (and
   status HEP_OK) if oneDNN has only its reference or its plain GEMM for this weight. Fills id, bytes, state. */
enum hep_status hep_onednn_layout_create(struct hep_weight_layout *layout, bool *found, struct hep_error *error);
void hep_onednn_layout_clear(struct hep_weight_layout *layout);
enum hep_status hep_onednn_pack(const struct hep_weight_layout *layout, const float *from, void *to,
                                struct hep_error *error);

/* What a primitive computes, enough to describe it to oneDNN. */
struct hep_onednn_shape {
    enum hep_onednn_method method;
    enum hep_dtype src, weight, dst;
    int64_t n, h, w, c, out; /* of x; CONV_ROW and MATMUL: rows in w, n = h = 1 */
    int kernel, stride, pads[4];
    bool bias;
    enum hep_activation activation;
    bool residual; /* the result's memory holds it before: in place, or copied there first */
};
/* The implementation for this shape; weights: blocked layout, or NULL for "any". NULL if oneDNN has none that may be
   used:
   - convolutions: "jit…". Not the reference; not plain GEMM, which allocates at run and whose sums depend on the batch;
   not "brgconv…" (AVX-512), whose choice of weight blocks depends on image size, batch and threads, so that with
   weights in a fixed layout another implementation would run at another batch.
   - matmul: "brg…", whose blocks over the sum depend on the weights alone. */
dnnl_primitive_desc_t hep_onednn_describe(const struct hep_onednn_shape *shape, const dnnl_memory_desc_t *weights,
                                          dnnl_engine_t engine);
/* Prints the implementations that oneDNN offers before the one described above, one line each: "  not NAME: REASON". */
void hep_onednn_why(const struct hep_onednn_shape *shape, const dnnl_memory_desc_t *weights, dnnl_engine_t engine,
                    FILE *to);
dnnl_data_type_t hep_onednn_dtype(enum hep_dtype dtype);

/* The same for a conv2d or linear whose layout has no oneDNN state: all that oneDNN offers for it. */
void hep_onednn_why_none(const struct hep_problem *problem, FILE *to);

/* Constructor for a conv2d or linear whose layout has oneDNN state. */
enum hep_status hep_onednn_kernel_create(struct hep_kernel *kernel, struct hep_error *error);

#endif
