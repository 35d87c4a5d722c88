/* What a step costs and its problem as a string: the same text in plans, logs and on the command line of the benches.
 */
#include "nn/graph/backend.h"
#include "nn/graph/ir.h"

#include <stdarg.h>

struct text {
    char *at;
    size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    if (t->used >= t->size)
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(t->at + t->used, t->size - t->used, format, arguments);
    va_end(arguments);
    t->used += length > 0 ? (size_t)length : 0;
}

static void put_shape(struct text *t, const struct hep_shape *s)
{
    static const char *const letters[] = {"", "c", "nc", "ntc", "nhwc"};
    for (int i = 0; i < s->rank; i++) {
        if (s->rank <= 4)
            put(t, "%c", letters[s->rank][i]);
        else if (i > 0)
            put(t, "x");
        put(t, "%" PRId64, s->dims[i]);
    }
}

const char *hep_problem_text(const struct hep_problem *p, char *text, size_t size)
{
    struct text t = {text, size, 0};
    const struct hep_operand *a = &p->operand[HEP_SLOT_A], *out = &p->operand[HEP_SLOT_OUT];
    const struct hep_attr *attr = &p->attr;
    bool two = a->dtype != out->dtype;
    text[0] = '\0';
    put(&t, "%s:%s%s%s:", hep_op_name(p->op), hep_dtype_name(a->dtype), two ? "-" : "",
        two ? hep_dtype_name(out->dtype) : "");
    switch (p->op) {
    case HEP_OP_CONV2D:
        put_shape(&t, &a->shape);
        put(&t, "k%" PRId64 "r%ds%dp%d", hep_row(&out->shape), attr->kernel, attr->stride, attr->pads[0]);
        if (attr->pads[1] != attr->pads[0] || attr->pads[2] != attr->pads[0] || attr->pads[3] != attr->pads[0])
            put(&t, "_%d_%d_%d", attr->pads[1], attr->pads[2], attr->pads[3]);
        break;
    case HEP_OP_LINEAR:
        put(&t, "m%" PRId64 "k%" PRId64 "n%" PRId64, hep_rows(&a->shape), hep_row(&a->shape), hep_row(&out->shape));
        break;
    case HEP_OP_ATTENTION: {
        const struct hep_shape *q = &a->shape, *k = &p->operand[HEP_SLOT_B].shape;
        put(&t, "b%" PRId64 "h%dq%" PRId64 "k%" PRId64 "d%" PRId64 "%s", q->dims[0], attr->heads, q->dims[1],
            k->dims[1], q->dims[2] / attr->heads, attr->causal ? "causal" : "");
        break;
    }
    case HEP_OP_GROUP_NORM:
        put_shape(&t, &a->shape);
        put(&t, "g%d", attr->groups);
        break;
    case HEP_OP_RESIZE:
        put_shape(&t, &a->shape);
        put(&t, "to%" PRId64 "x%" PRId64, out->shape.dims[1], out->shape.dims[2]);
        break;
    case HEP_OP_CONCAT:
        put_shape(&t, &a->shape);
        put(&t, "c%" PRId64, hep_row(&p->operand[HEP_SLOT_B].shape));
        break;
    default:
        put_shape(&t, &a->shape);
    }
    return text;
}

double hep_problem_flops(const struct hep_problem *p)
{
    const struct hep_operand *a = &p->operand[HEP_SLOT_A], *out = &p->operand[HEP_SLOT_OUT];
    double results = (double)hep_rows(&out->shape) * (double)hep_row(&out->shape);
    switch (p->op) {
    case HEP_OP_CONV2D:
        return 2 * results * (double)hep_row(&a->shape) * p->attr.kernel * p->attr.kernel;
    case HEP_OP_LINEAR:
        return 2 * results * (double)hep_row(&a->shape);
    case HEP_OP_ATTENTION: /* two products; a causal one does all but the upper triangle */
        return 4 * results * (double)p->operand[HEP_SLOT_B].shape.dims[1] *
               (p->attr.causal ? 0.5 * (1 + 1 / (double)a->shape.dims[1]) : 1);
    default:
        return 0;
    }
}

double hep_problem_moved(const struct hep_problem *p)
{
    double sum = p->layout ? (double)p->layout->bytes : 0;
    for (int slot = 0; slot < HEP_SLOT_COUNT; slot++) {
        const struct hep_operand *o = &p->operand[slot];
        if (slot == HEP_SLOT_WEIGHT || o->dtype == HEP_DTYPE_UNDEF)
            continue;
        sum += (double)hep_rows(&o->shape) * (double)hep_row(&o->shape) * (double)hep_dtype_bytes(o->dtype);
    }
    return sum;
}
