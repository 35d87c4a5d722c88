/*
 * oneDNN's engine, its version, and the description of one primitive. The ISA level is set before anything else is
 * asked of oneDNN, because its first answer freezes it.
 */
#include "nn/cpu/onednn.h"

#include "nn/cpu/isa.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static dnnl_engine_t the_engine;
static dnnl_stream_t the_stream;
static dnnl_status_t start_status;

static void start(void)
{
    static const dnnl_cpu_isa_t isas[HEP_ISA_COUNT] = {[HEP_ISA_PORTABLE] = dnnl_cpu_isa_sse41,
                                                       [HEP_ISA_AVX2] = dnnl_cpu_isa_avx2,
                                                       [HEP_ISA_AVX512BF16] = dnnl_cpu_isa_avx512_core_bf16};
    dnnl_status_t status = dnnl_set_max_cpu_isa(isas[hep_isa_level()]);
    start_status = status == dnnl_unimplemented ? dnnl_success : status; /* other than x86: one level */
    if (start_status == dnnl_success)
        start_status = dnnl_engine_create(&the_engine, dnnl_cpu, 0);
    if (start_status == dnnl_success)
        start_status = dnnl_stream_create(&the_stream, the_engine, dnnl_stream_default_flags);
}

enum hep_status hep_onednn_start(dnnl_engine_t *engine, dnnl_stream_t *stream, struct hep_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    HEP_TRY(hep_onednn_check(start_status, "start", error));
    *engine = the_engine;
    *stream = the_stream;
    return HEP_OK;
}

enum hep_status hep_onednn_check(dnnl_status_t status, const char *what, struct hep_error *error)
{
    switch (status) {
    case dnnl_success:
        return HEP_OK;
    case dnnl_out_of_memory:
        return hep_fail(error, HEP_E_NO_MEMORY, "oneDNN: %s: out of memory", what);
    case dnnl_unimplemented:
        return hep_fail(error, HEP_E_UNSUPPORTED, "oneDNN: %s: not implemented", what);
    default:
        return hep_fail(error, HEP_E_INTERNAL, "oneDNN: %s: status %d", what, (int)status);
    }
}

const char *hep_onednn_build_text(char *text, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    (void)hep_onednn_start(&engine, &stream, NULL); /* the ISA must be set before it is asked for */
    snprintf(text, size, "oneDNN %d.%d.%d (%s) isa 0x%x", v->major, v->minor, v->patch, v->hash,
             (unsigned)dnnl_get_effective_cpu_isa());
    return text;
}

dnnl_data_type_t hep_onednn_dtype(enum hep_dtype dtype)
{
    return dtype == HEP_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* Why an implementation may not be used, by a part of its name; hep_onednn_describe() has the long form. The first row
   that fits decides; what fits none has never been looked at. To add one: read its source for the order of its sums,
   prove equal bytes in test_graph_bytes, add the row above the last. */
static const struct {
    const char *part;
    bool conv, matmul;  /* whether the row speaks of this primitive */
    const char *reason; /* NULL: it may be used                      */
} implementations[] = {
    {"ref", true, true, "the reference: correct and slow"},
    {"gemm", true, true, "plain GEMM: it allocates at run, and the order of its sums depends on batch and threads"},
    {"brgconv", true, false, "its weight blocks depend on image size, batch and threads"},
    {"jit", true, false, NULL},
    {"brg", false, true, NULL},
    {"", true, true, "nobody has proved that its bytes do not depend on batch and threads"},
};

static const char *implementation_name(const_dnnl_primitive_desc_t desc)
{
    const char *name = "";
    (void)dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&name);
    return name;
}

static const char *refusal(const_dnnl_primitive_desc_t desc, enum hep_onednn_method method)
{
    const char *name = implementation_name(desc);
    for (size_t i = 0;; i++) {
        hep_assert(i < HEP_COUNT_OF(implementations));
        bool speaks = method == HEP_ONEDNN_MATMUL ? implementations[i].matmul : implementations[i].conv;
        if (speaks && strstr(name, implementations[i].part))
            return implementations[i].reason;
    }
}

/* The first implementation of oneDNN's list that may be used, or NULL. Those before it go to `to` (may be NULL). */
static dnnl_primitive_desc_t first_wanted(const_dnnl_op_desc_t desc, const_dnnl_primitive_attr_t attr,
                                          enum hep_onednn_method method, dnnl_engine_t engine, FILE *to)
{
    dnnl_primitive_desc_iterator_t list = NULL;
    dnnl_primitive_desc_t found = NULL;
    dnnl_status_t status = dnnl_primitive_desc_iterator_create(&list, desc, attr, engine, NULL);
    while (status == dnnl_success) {
        found = dnnl_primitive_desc_iterator_fetch(list);
        const char *reason = found ? refusal(found, method) : NULL;
        if (found && !reason)
            break;
        if (found && to)
            fprintf(to, "  not onednn:%s: %s\n", implementation_name(found), reason);
        dnnl_primitive_desc_destroy(found);
        found = NULL;
        status = dnnl_primitive_desc_iterator_next(list);
    }
    dnnl_primitive_desc_iterator_destroy(list);
    return found;
}

/* Post-operations: the activation, then the residual; the plan fuses at most one of them. */
static dnnl_status_t append_tails(dnnl_post_ops_t tails, const struct hep_onednn_shape *s)
{
    switch (s->activation) {
    case HEP_ACT_SILU:
        return dnnl_post_ops_append_eltwise(tails, 1, dnnl_eltwise_swish, 1, 0);
    case HEP_ACT_QUICK_GELU:
        return dnnl_post_ops_append_eltwise(tails, 1, dnnl_eltwise_swish, 1.702f, 0);
    case HEP_ACT_GELU:
        return dnnl_post_ops_append_eltwise(tails, 1, dnnl_eltwise_gelu_erf, 0, 0);
    case HEP_ACT_RELU:
        return dnnl_post_ops_append_eltwise(tails, 1, dnnl_eltwise_relu, 0, 0);
    case HEP_ACT_LEAKY_RELU:
        return dnnl_post_ops_append_eltwise(tails, 1, dnnl_eltwise_relu, 0.2f, 0);
    default:
        break;
    }
    return s->residual ? dnnl_post_ops_append_sum(tails, 1) : dnnl_success;
}

static dnnl_primitive_desc_t with_tails(const struct hep_onednn_shape *s, const_dnnl_op_desc_t desc,
                                        dnnl_engine_t engine, FILE *to)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t tails = NULL;
    dnnl_primitive_desc_t made = NULL;
    if (dnnl_primitive_attr_create(&attr) != dnnl_success || dnnl_post_ops_create(&tails) != dnnl_success)
        goto done;
    if (dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) != dnnl_success ||
        append_tails(tails, s) != dnnl_success || dnnl_primitive_attr_set_post_ops(attr, tails) != dnnl_success)
        goto done;
    made = first_wanted(desc, attr, s->method, engine, to);
done:
    dnnl_post_ops_destroy(tails);
    dnnl_primitive_attr_destroy(attr);
    return made;
}

static dnnl_primitive_desc_t describe_matmul(const struct hep_onednn_shape *s, const dnnl_memory_desc_t *weights,
                                             dnnl_engine_t engine, FILE *to)
{
    dnnl_memory_desc_t src, wei, bias, dst;
    dnnl_matmul_desc_t desc;
    const dnnl_dims_t src_dims = {s->w, s->c}, wei_dims = {s->c, s->out}, bias_dims = {1, s->out},
                      dst_dims = {s->w, s->out};
    if (dnnl_memory_desc_init_by_tag(&src, 2, src_dims, hep_onednn_dtype(s->src), dnnl_ab) != dnnl_success ||
        dnnl_memory_desc_init_by_tag(&wei, 2, wei_dims, hep_onednn_dtype(s->weight), dnnl_format_tag_any) !=
            dnnl_success ||
        dnnl_memory_desc_init_by_tag(&bias, 2, bias_dims, dnnl_f32, dnnl_ab) != dnnl_success ||
        dnnl_memory_desc_init_by_tag(&dst, 2, dst_dims, hep_onednn_dtype(s->dst), dnnl_ab) != dnnl_success ||
        dnnl_matmul_desc_init(&desc, &src, weights ? weights : &wei, s->bias ? &bias : NULL, &dst) != dnnl_success)
        return NULL;
    return with_tails(s, &desc, engine, to);
}

static dnnl_primitive_desc_t describe(const struct hep_onednn_shape *s, const dnnl_memory_desc_t *weights,
                                      dnnl_engine_t engine, FILE *to)
{
    if (s->method == HEP_ONEDNN_MATMUL)
        return describe_matmul(s, weights, engine, to);
    dnnl_memory_desc_t src, wei, bias, dst;
    dnnl_convolution_desc_t desc;
    int64_t height = (s->h + s->pads[0] + s->pads[2] - s->kernel) / s->stride + 1;
    int64_t width = (s->w + s->pads[1] + s->pads[3] - s->kernel) / s->stride + 1;
    const dnnl_dims_t src_dims = {s->n, s->c, s->h, s->w}, wei_dims = {s->out, s->c, s->kernel, s->kernel};
    const dnnl_dims_t bias_dims = {s->out}, dst_dims = {s->n, s->out, height, width}, strides = {s->stride, s->stride};
    const dnnl_dims_t begin = {s->pads[0], s->pads[1]}, end = {s->pads[2], s->pads[3]};
    if (dnnl_memory_desc_init_by_tag(&src, 4, src_dims, hep_onednn_dtype(s->src), dnnl_nhwc) != dnnl_success ||
        dnnl_memory_desc_init_by_tag(&wei, 4, wei_dims, hep_onednn_dtype(s->weight), dnnl_format_tag_any) !=
            dnnl_success ||
        dnnl_memory_desc_init_by_tag(&bias, 1, bias_dims, dnnl_f32, dnnl_a) != dnnl_success ||
        dnnl_memory_desc_init_by_tag(&dst, 4, dst_dims, hep_onednn_dtype(s->dst), dnnl_nhwc) != dnnl_success ||
        dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_direct, &src,
                                           weights ? weights : &wei, s->bias ? &bias : NULL, &dst, strides, begin,
                                           end) != dnnl_success)
        return NULL;
    return with_tails(s, &desc, engine, to);
}

dnnl_primitive_desc_t hep_onednn_describe(const struct hep_onednn_shape *shape, const dnnl_memory_desc_t *weights,
                                          dnnl_engine_t engine)
{
    return describe(shape, weights, engine, NULL);
}

void hep_onednn_why(const struct hep_onednn_shape *shape, const dnnl_memory_desc_t *weights, dnnl_engine_t engine,
                    FILE *to)
{
    dnnl_primitive_desc_destroy(describe(shape, weights, engine, to));
}
