/*
 * Measures what this machine's matmul can do, with the library that most of the networks' work runs on; called by
 * hep-bench before it measures a network. It uses oneDNN directly, so that a weakness of our own graph cannot hide in
 * it.
 */
#include "nn/eval/onednn_peak.h"

#include "nn/cpu/isa.h"
#include "nn/cpu/onednn.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Rows, inner and outer sizes as SD's linear layers have them: the best of these is the peak. */
static const struct {
    dnnl_dim_t m, k, n;
} shapes[] = {{4096, 1280, 1280}, {2048, 2048, 2048}, {4096, 640, 5120}};

struct matmul {
    dnnl_engine_t engine; /* of the process, borrowed */
    dnnl_stream_t stream; /* of the process, borrowed */
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_memory_t memories[3]; /* source, weights, destination */
};

static void matmul_clear(struct matmul *m)
{
    for (int i = 0; i < 3; i++)
        if (m->memories[i])
            dnnl_memory_destroy(m->memories[i]);
    if (m->primitive)
        dnnl_primitive_destroy(m->primitive);
    if (m->desc)
        dnnl_primitive_desc_destroy(m->desc);
}

/* Memory that oneDNN owns, filled with small finite numbers of the dtype. */
static dnnl_status_t make_memory(struct matmul *m, int index, dnnl_query_t query, dnnl_data_type_t type)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(m->desc, query, 0);
    dnnl_status_t status = dnnl_memory_create(&m->memories[index], md, m->engine, DNNL_MEMORY_ALLOCATE);
    void *data = NULL;
    if (status != dnnl_success || (status = dnnl_memory_get_data_handle(m->memories[index], &data)) != dnnl_success)
        return status;
    size_t bytes = dnnl_memory_desc_get_size(md);
    for (size_t i = 0; type == dnnl_bf16 && i < bytes / 2; i++)
        ((uint16_t *)data)[i] = (uint16_t)(0x3c00u + (i * 37u & 0x3ffu));
    for (size_t i = 0; type == dnnl_f32 && i < bytes / 4; i++)
        ((float *)data)[i] = 0.01f + 1e-5f * (float)(i * 37u & 0x3ffu);
    return dnnl_success;
}

static dnnl_status_t matmul_init(struct matmul *m, size_t shape, dnnl_data_type_t type)
{
    dnnl_dim_t rows = shapes[shape].m, inner = shapes[shape].k, columns = shapes[shape].n;
    dnnl_memory_desc_t source, weights, destination;
    dnnl_matmul_desc_t matmul;
    dnnl_memory_desc_init_by_tag(&source, 2, (dnnl_dims_t){rows, inner}, type, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&weights, 2, (dnnl_dims_t){inner, columns}, type, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&destination, 2, (dnnl_dims_t){rows, columns}, type, dnnl_ab);
    dnnl_status_t s = dnnl_matmul_desc_init(&matmul, &source, &weights, NULL, &destination);
    if (s != dnnl_success ||
        (s = dnnl_primitive_desc_create(&m->desc, &matmul, NULL, m->engine, NULL)) != dnnl_success ||
        (s = dnnl_primitive_create(&m->primitive, m->desc)) != dnnl_success ||
        (s = make_memory(m, 0, dnnl_query_src_md, type)) != dnnl_success ||
        (s = make_memory(m, 1, dnnl_query_weights_md, type)) != dnnl_success)
        return s;
    return make_memory(m, 2, dnnl_query_dst_md, type);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Repeats for `seconds`; the fastest run counts. */
static dnnl_status_t best_rate(struct matmul *m, size_t shape, double seconds, double *gflops)
{
    const dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, m->memories[0]}, {DNNL_ARG_WEIGHTS, m->memories[1]}, {DNNL_ARG_DST, m->memories[2]}};
    double work = 2e-9 * (double)shapes[shape].m * (double)shapes[shape].k * (double)shapes[shape].n;
    double until = now() + seconds;
    do {
        double start = now();
        dnnl_status_t s = dnnl_primitive_execute(m->primitive, m->stream, 3, arguments);
        if (s != dnnl_success || (s = dnnl_stream_wait(m->stream)) != dnnl_success)
            return s;
        double rate = work / (now() - start);
        *gflops = rate > *gflops ? rate : *gflops;
    } while (now() < until);
    return dnnl_success;
}

enum hep_status hep_matmul_peak(enum hep_dtype dtype, double seconds, double *gflops, struct hep_error *error)
{
    if (dtype == HEP_BF16 && hep_isa_level() < HEP_ISA_AVX512BF16)
        return hep_fail(error, HEP_E_UNSUPPORTED_HARDWARE, "bf16 needs ISA level avx512bf16; this process runs at %s",
                        hep_isa_name(hep_isa_level()));
    double best = 0;
    for (size_t i = 0; i < HEP_COUNT_OF(shapes); i++) {
        struct matmul m = {0};
        HEP_TRY(hep_onednn_start(&m.engine, &m.stream, error));
        dnnl_status_t status = matmul_init(&m, i, dtype == HEP_BF16 ? dnnl_bf16 : dnnl_f32);
        if (status == dnnl_success)
            status = best_rate(&m, i, seconds / (double)HEP_COUNT_OF(shapes), &best);
        matmul_clear(&m);
        HEP_TRY(hep_onednn_check(status, "matmul", error));
    }
    *gflops = best;
    return HEP_OK;
}
