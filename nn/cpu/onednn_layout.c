/*
 * Layouts of convolution and linear weights, and packing into them. A layout must serve every size and batch, so it is
 * found by asking oneDNN what it would like at a fixed set of probe sizes and taking the answer that the most of them
 * accept with a fast kernel. The probes are asked with one thread: the answer depends on the weight, the dtype, the ISA
 * level and the library only.
 */
#include "nn/cpu/isa.h"
#include "nn/cpu/onednn.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES_MAX 6

struct probe {
    int64_t n, side; /* images and their height and width; linear: n · side rows */
    int stride;
};
static const struct probe conv_probes[] = {{2, 64, 1}, {1, 64, 1},  {2, 32, 1}, {2, 16, 1},
                                           {2, 8, 1},  {1, 128, 1}, {2, 64, 2}};
static const struct probe linear_probes[] = {{1, 4096, 1}, {2, 4096, 1}, {1, 1024, 1}, {1, 256, 1},
                                             {1, 77, 1},   {2, 1, 1},    {1, 1, 1}};

static struct hep_onednn_shape probe_shape(enum hep_onednn_method method, const struct hep_weight_key *key,
                                           const struct probe *probe)
{
    struct hep_onednn_shape s = {.method = method,
                                 .src = key->dtype,
                                 .weight = key->dtype,
                                 .dst = key->dtype,
                                 .bias = true,
                                 .kernel = 1,
                                 .stride = 1,
                                 .n = 1,
                                 .h = 1,
                                 .w = probe->n * probe->side,
                                 .c = key->shape.dims[1],
                                 .out = key->shape.dims[0]};
    if (method == HEP_ONEDNN_CONV) {
        s.kernel = (int)key->shape.dims[2];
        s.stride = probe->stride;
        s.n = probe->n;
        s.h = s.w = probe->side > s.kernel ? probe->side : s.kernel;
        for (int i = 0; i < 4; i++)
            s.pads[i] = s.kernel / 2;
    }
    return s;
}

/* How many probes run fast with weights in this layout. */
static size_t accepted(enum hep_onednn_method method, const struct hep_weight_key *key, const struct probe *probes,
                       size_t count, const dnnl_memory_desc_t *weights, dnnl_engine_t engine)
{
    size_t fast = 0;
    for (size_t i = 0; i < count; i++) {
        struct hep_onednn_shape s = probe_shape(method, key, &probes[i]);
        dnnl_primitive_desc_t desc = hep_onednn_describe(&s, weights, engine);
        fast += desc != NULL;
        dnnl_primitive_desc_destroy(desc);
    }
    return fast;
}

/* Asks each probe what it wants; keeps the layout that most accept, the first of equals. False if no probe runs fast.
 */
static bool choose(enum hep_onednn_method method, const struct hep_weight_key *key, const struct probe *probes,
                   size_t count, dnnl_memory_desc_t *chosen, dnnl_engine_t engine)
{
    dnnl_memory_desc_t candidates[CANDIDATES_MAX];
    size_t candidate_count = 0, best = 0;
    for (size_t i = 0; i < count && candidate_count < CANDIDATES_MAX; i++) {
        struct hep_onednn_shape s = probe_shape(method, key, &probes[i]);
        dnnl_primitive_desc_t desc = hep_onednn_describe(&s, NULL, engine);
        bool known = !desc;
        const dnnl_memory_desc_t *wants = known ? NULL : dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
        for (size_t c = 0; !known && c < candidate_count; c++)
            known = dnnl_memory_desc_equal(&candidates[c], wants);
        if (!known)
            candidates[candidate_count++] = *wants;
        dnnl_primitive_desc_destroy(desc);
    }
    for (size_t c = 0; c < candidate_count; c++) {
        size_t fast = accepted(method, key, probes, count, &candidates[c], engine);
        if (fast <= best)
            continue;
        best = fast;
        *chosen = candidates[c];
    }
    return best > 0;
}

/* "abcd8b8a": the outer dims from the largest stride to the smallest, then the inner blocks. */
static void format_text(const dnnl_memory_desc_t *md, char *text, size_t size)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    bool done[DNNL_MAX_NDIMS] = {false};
    size_t used = 0;
    for (int i = 0; i < md->ndims && used + 1 < size; i++) {
        int largest = 0;
        for (int d = 0; d < md->ndims; d++)
            if (!done[d] && (done[largest] || b->strides[d] > b->strides[largest]))
                largest = d;
        done[largest] = true;
        text[used++] = (char)('a' + largest);
    }
    text[used] = '\0';
    for (int i = 0; i < b->inner_nblks; i++) {
        int length = snprintf(text + used, size - used, "%d%c", (int)b->inner_blks[i], (char)('a' + b->inner_idxs[i]));
        used += length > 0 && (size_t)length < size - used ? (size_t)length : 0;
    }
}

static dnnl_status_t describe_plain(enum hep_onednn_method method, const struct hep_weight_key *key,
                                    dnnl_memory_desc_t *plain)
{
    const int64_t *d = key->shape.dims;
    if (method == HEP_ONEDNN_MATMUL) { /* the source is [out, in], the primitive wants [in, out] */
        const dnnl_dims_t dims = {d[1], d[0]}, strides = {1, d[1]};
        return dnnl_memory_desc_init_by_strides(plain, 2, dims, dnnl_f32, strides);
    }
    const dnnl_dims_t dims = {d[0], d[1], key->shape.rank == 4 ? d[2] : 1, key->shape.rank == 4 ? d[3] : 1};
    return dnnl_memory_desc_init_by_tag(plain, 4, dims, dnnl_f32, dnnl_abcd);
}

static bool choose_method(const struct hep_weight_key *key, struct hep_onednn_layout *l, dnnl_engine_t engine)
{
    if (key->use == HEP_WEIGHT_CONV) {
        l->method = HEP_ONEDNN_CONV;
        return choose(l->method, key, conv_probes, HEP_COUNT_OF(conv_probes), &l->packed, engine);
    }
    l->method = HEP_ONEDNN_MATMUL;
    if (hep_isa_level() >= HEP_ISA_AVX512BF16 &&
        choose(l->method, key, linear_probes, HEP_COUNT_OF(linear_probes), &l->packed, engine))
        return true;
    l->method = HEP_ONEDNN_CONV_ROW;
    return choose(l->method, key, linear_probes, HEP_COUNT_OF(linear_probes), &l->packed, engine);
}

enum hep_status hep_onednn_layout_create(struct hep_weight_layout *layout, bool *found, struct hep_error *error)
{
    static const char *const methods[] = {"conv", "row", "matmul"};
    char shape[96], format[48];
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct hep_onednn_layout l;
    memset(&l, 0, sizeof l);
    HEP_TRY(hep_onednn_start(&engine, &stream, error));
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    *found = choose_method(&layout->key, &l, engine);
    omp_set_num_threads(threads);
    if (!*found)
        return HEP_OK;
    HEP_TRY(hep_onednn_check(describe_plain(l.method, &layout->key, &l.plain), "describe weights", error));
    struct hep_onednn_layout *kept = malloc(sizeof *kept);
    if (!kept)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a layout");
    *kept = l;
    format_text(&l.packed, format, sizeof format);
    snprintf(layout->id, sizeof layout->id, "onednn:%s:%s:%s:%s", methods[l.method], hep_dtype_name(layout->key.dtype),
             hep_shape_text(&layout->key.shape, shape, sizeof shape), format);
    layout->bytes = dnnl_memory_desc_get_size(&l.packed);
    layout->state = kept;
    return HEP_OK;
}

void hep_onednn_layout_clear(struct hep_weight_layout *layout)
{
    free(layout->state);
    layout->state = NULL;
}

enum hep_status hep_onednn_pack(const struct hep_weight_layout *layout, const float *from, void *to,
                                struct hep_error *error)
{
    const struct hep_onednn_layout *l = layout->state;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_memory_t source = NULL, target = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    enum hep_status status;
    HEP_TRY(hep_onednn_start(&engine, &stream, error));
    HEP_TRY_DONE(status, hep_onednn_check(dnnl_memory_create(&source, &l->plain, engine, (void *)(uintptr_t)from),
                                          "pack", error));
    HEP_TRY_DONE(status, hep_onednn_check(dnnl_memory_create(&target, &l->packed, engine, to), "pack", error));
    HEP_TRY_DONE(
        status, hep_onednn_check(dnnl_reorder_primitive_desc_create(&desc, &l->plain, engine, &l->packed, engine, NULL),
                                 "pack", error));
    HEP_TRY_DONE(status, hep_onednn_check(dnnl_primitive_create(&reorder, desc), "pack", error));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
    HEP_TRY_DONE(status, hep_onednn_check(dnnl_primitive_execute(reorder, stream, 2, args), "pack", error));
    HEP_TRY_DONE(status, hep_onednn_check(dnnl_stream_wait(stream), "pack", error));
done:
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(desc);
    dnnl_memory_destroy(source);
    dnnl_memory_destroy(target);
    return status;
}
