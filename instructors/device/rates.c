/*
 * Measures matrix multiplication with oneDNN. Called by device.measure on the worker thread, under a lease.
 * It measures what the engine will use: the same library, packed weights, all usable cores.
 */
#include "instructors/device/rates.h"
#include "common/clock.h"
#include "nn/cpu/onednn.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 768, /* m = n = k: 0.9 GFLOP, packed operands in the second-level cache of one core or a few */
    WINDOWS = 3 /* in turn for each dtype, so that a disturbance hits one of each                     */
};

/* The dtypes that are measured. To add one: a row. */
static const struct kind {
    enum hep_dtype dtype;                     /* as Heptad names it         */
    dnnl_data_type_t source, weights, result; /* as oneDNN multiplies it    */
} kinds[] = {
    {HEP_F32, dnnl_f32, dnnl_f32, dnnl_f32},
    {HEP_BF16, dnnl_bf16, dnnl_bf16, dnnl_bf16},
    {HEP_I8, dnnl_u8, dnnl_s8, dnnl_s32},
};

/* One multiplication, ready to run. */
struct multiplication {
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[3];
    dnnl_memory_t memories[3];
    void *buffers[3];
};

static void clear(struct multiplication *m)
{
    for (int i = 0; i < 3; i++) {
        dnnl_memory_destroy(m->memories[i]);
        free(m->buffers[i]); /* NOLINT(clang-analyzer-unix.Malloc): cleared once more, all is NULL */
    }
    dnnl_primitive_destroy(m->primitive);
    dnnl_primitive_desc_destroy(m->description);
    *m = (struct multiplication){0};
}

static bool describe(dnnl_engine_t engine, const struct kind *kind, dnnl_primitive_desc_t *description)
{
    const dnnl_dims_t dims = {SIDE, SIDE};
    dnnl_memory_desc_t source, weights, result;
    dnnl_matmul_desc_t operation;
    return dnnl_memory_desc_init_by_tag(&source, 2, dims, kind->source, dnnl_ab) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(&weights, 2, dims, kind->weights, dnnl_format_tag_any) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(&result, 2, dims, kind->result, dnnl_ab) == dnnl_success &&
           dnnl_matmul_desc_init(&operation, &source, &weights, NULL, &result) == dnnl_success &&
           dnnl_primitive_desc_create(description, &operation, NULL, engine, NULL) == dnnl_success;
}

/* oneDNN falls back to plain loops for what the processor lacks: that is not a path to choose. */
static bool is_fast(dnnl_primitive_desc_t description)
{
    const char *name = NULL;
    return dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name &&
           !strstr(name, "ref");
}

/* Small numbers that are valid in every dtype and never denormal: a pattern of bytes that reads as about 0.5 to 1. */
static void fill(void *buffer, size_t bytes, enum hep_dtype dtype)
{
    unsigned char *b = buffer;
    for (size_t i = 0; i < bytes; i++)
        b[i] = (unsigned char)(i * 37 % 101);
    for (size_t i = 3; dtype == HEP_F32 && i < bytes; i += 4)
        b[i] = 0x3f;
    for (size_t i = 1; dtype == HEP_BF16 && i < bytes; i += 2)
        b[i] = 0x3f;
}

static bool prepare(dnnl_engine_t engine, const struct kind *kind, struct multiplication *m)
{
    static const dnnl_query_t queries[3] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md};
    static const int names[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    if (!describe(engine, kind, &m->description) || !is_fast(m->description) ||
        dnnl_primitive_create(&m->primitive, m->description) != dnnl_success)
        return false;
    for (int i = 0; i < 3; i++) {
        const dnnl_memory_desc_t *layout = dnnl_primitive_desc_query_md(m->description, queries[i], 0);
        size_t bytes = (dnnl_memory_desc_get_size(layout) + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
        m->buffers[i] = aligned_alloc(HEP_ALIGN, bytes);
        if (!m->buffers[i] || dnnl_memory_create(&m->memories[i], layout, engine, m->buffers[i]) != dnnl_success)
            return false;
        fill(m->buffers[i], bytes, kind->dtype);
        m->arguments[i] = (dnnl_exec_arg_t){names[i], m->memories[i]};
    }
    return true;
}

/* The best rate of the runs that fit in a window, at least one; 0 if it does not run. */
static double time_window(dnnl_stream_t stream, const struct multiplication *m, int64_t window_us)
{
    int64_t start = hep_now_us(), best = INT64_MAX;
    do {
        int64_t before = hep_now_us();
        if (dnnl_primitive_execute(m->primitive, stream, 3, m->arguments) != dnnl_success ||
            dnnl_stream_wait(stream) != dnnl_success)
            return 0;
        int64_t took = hep_now_us() - before;
        best = took < best ? took : best;
    } while (hep_now_us() - start < window_us);
    return 2.0 * SIDE * SIDE * SIDE / ((double)(best > 0 ? best : 1) * 1e3);
}

static void time_all(dnnl_stream_t stream, struct multiplication *ready, int64_t window_us,
                     struct device_rates *measured)
{
    double worst[HEP_COUNT_OF(kinds)] = {0};
    for (size_t i = 0; i < HEP_COUNT_OF(kinds); i++)
        if (ready[i].primitive)
            time_window(stream, &ready[i], 0); /* the first run makes the code */
    for (int window = 0; window < WINDOWS; window++)
        for (size_t i = 0; i < HEP_COUNT_OF(kinds); i++) {
            double rate = ready[i].primitive ? time_window(stream, &ready[i], window_us) : 0;
            double *best = &measured->gflops[kinds[i].dtype];
            worst[i] = window == 0 || rate < worst[i] ? rate : worst[i];
            *best = rate > *best ? rate : *best;
            measured->spread[kinds[i].dtype] = *best > 0 ? 1 - worst[i] / *best : 0;
        }
}

enum hep_status device_rates_measure(int threads, double budget_ms, struct device_rates *rates, struct hep_error *error)
{
    struct device_rates measured = {.measurements = 1};
    struct multiplication ready[HEP_COUNT_OF(kinds)] = {0};
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int64_t start = hep_now_us();
    HEP_TRY(hep_onednn_start(&engine, &stream, error));
    int threads_before = omp_get_max_threads();
    omp_set_num_threads(threads);
    for (size_t i = 0; i < HEP_COUNT_OF(kinds); i++)
        if (!prepare(engine, &kinds[i], &ready[i]))
            clear(&ready[i]);
    time_all(stream, ready, (int64_t)(budget_ms * 1e3 / (WINDOWS * HEP_COUNT_OF(kinds))), &measured);
    for (size_t i = 0; i < HEP_COUNT_OF(kinds); i++)
        clear(&ready[i]);
    omp_set_num_threads(threads_before);
    if (measured.gflops[HEP_F32] <= 0)
        return hep_fail(error, HEP_E_SYSTEM, "oneDNN cannot multiply f32 matrices on this machine");
    measured.measured_ms = (double)(hep_now_us() - start) / 1e3;
    *rates = measured;
    return HEP_OK;
}

void device_rates_add(struct device_rates *known, const struct device_rates *fresh)
{
    bool agree = known->measurements > 0;
    for (int i = 0; i < HEP_DTYPE_COUNT; i++) {
        double lower = known->gflops[i] < fresh->gflops[i] ? known->gflops[i] : fresh->gflops[i];
        bool better = fresh->gflops[i] > known->gflops[i];
        if (better)
            known->spread[i] = fresh->spread[i];
        if (better)
            known->gflops[i] = fresh->gflops[i];
        agree = agree && lower >= (1 - DEVICE_RATES_AGREE) * known->gflops[i];
    }
    known->measurements++;
    known->measured_ms = fresh->measured_ms;
    known->settled = agree;
}
