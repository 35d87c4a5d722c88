/* Checks of attention, for hep-kernels. */
#include "nn/cpu/hep_kernels/check.h"
#include "nn/ref/ref.h"

#include <math.h>
#include <string.h>

static void call(const struct check *c, const void *args)
{
    c->table->attention[c->kernel->dtype].run(args);
}

/* q, k, v as a fused QKV would have them, or apart, as the problem says; all with gaps after the tokens. */
struct operands {
    struct hep_attention_args args;
    double *q, *k, *v; /* dense, for the reference */
};

static struct hep_heads operand(struct check *c, const struct hep_attention_args *a, int64_t tokens, int64_t gap,
                                double **dense)
{
    int64_t width = a->heads * a->head_dim, stride = width + gap;
    struct hep_heads x = {.batch = tokens * stride, .token = stride, .head = a->head_dim};
    double amplitude = c->problem.pattern == PATTERN_WIDE ? 1.0 : 2.0;
    x.data = check_input(c, c->kernel->dtype, a->images * tokens * stride - gap, amplitude);
    *dense = check_widened(c, x.data, c->kernel->dtype, a->images * tokens, width, stride);
    return x;
}

static struct operands make(struct check *c)
{
    const struct problem *p = &c->problem;
    struct operands o = {.args = {.images = problem_dim(p, "b", 1),
                                  .heads = problem_dim(p, "h", 1),
                                  .queries = problem_dim(p, "q", 1),
                                  .keys = problem_dim(p, "k", 1),
                                  .head_dim = problem_dim(p, "d", 1),
                                  .causal = problem_dim(p, "causal", 0) != 0}};
    struct hep_attention_args *a = &o.args;
    a->scale = (float)(1.0 / sqrt((double)a->head_dim));
    a->q = operand(c, a, a->queries, 0, &o.q);
    a->k = operand(c, a, a->keys, c->bench ? 0 : 3, &o.k);
    a->v = operand(c, a, a->keys, c->bench ? 0 : 8, &o.v);
    a->scratch = check_scratch(c, c->table->attention[c->kernel->dtype].scratch(a));
    c->flops = 4.0 * (double)a->images * (double)a->heads * (double)a->queries * (double)a->keys * (double)a->head_dim;
    c->moved = 2.0 * (double)(a->images * a->heads * a->head_dim * (a->queries + a->keys)) *
               (double)hep_dtype_bytes(c->kernel->dtype);
    return o;
}

static struct check_output result_of(struct check *c, struct hep_attention_args *a, int64_t gap)
{
    int64_t width = a->heads * a->head_dim;
    struct check_output out = check_output(c, c->kernel->dtype, a->images * a->queries, width, width + gap);
    a->out = (struct hep_heads){out.data, a->queries * out.stride, out.stride, a->head_dim};
    return out;
}

/* Largest |score| of the problem: what the tolerance's factor depends on. */
static double largest_score(const struct operands *o)
{
    const struct hep_attention_args *a = &o->args;
    double largest = 0.0;
    int64_t width = a->heads * a->head_dim;
    for (int64_t n = 0; n < a->images; n++)
        for (int64_t h = 0; h < a->heads; h++)
            for (int64_t i = 0; i < a->queries; i++)
                for (int64_t j = 0; j < a->keys; j++) {
                    double sum = 0.0;
                    for (int64_t d = 0; d < a->head_dim; d++)
                        sum += fabs(o->q[(n * a->queries + i) * width + h * a->head_dim + d] *
                                    o->k[(n * a->keys + j) * width + h * a->head_dim + d]);
                    largest = fmax(largest, sum * (double)a->scale);
                }
    return largest;
}

static double largest_of(const double *x, int64_t count)
{
    double largest = 0.0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(x[i]));
    return largest;
}

/* One query of the last image and the last head, alone: the same bytes as among all. */
static void check_alone(struct check *c, const struct operands *o, const struct check_output *all)
{
    struct hep_attention_args a = o->args;
    int64_t image = a.images - 1, head = a.heads - 1, query = a.queries / 2, d = a.head_dim;
    size_t element = hep_dtype_bytes(c->kernel->dtype);
    a.q.data = (const char *)a.q.data + (size_t)(image * a.q.batch + query * a.q.token + head * d) * element;
    a.k.data = (const char *)a.k.data + (size_t)(image * a.k.batch + head * d) * element;
    a.v.data = (const char *)a.v.data + (size_t)(image * a.v.batch + head * d) * element;
    a.images = a.heads = a.queries = 1;
    struct check_output one = check_output(c, c->kernel->dtype, 1, d, d);
    a.out = (struct hep_heads){one.data, d, d, d};
    a.scratch = check_scratch(c, c->table->attention[c->kernel->dtype].scratch(&a));
    check_execute(c, call, &a, &one, 1);
    if (memcmp(check_element(all, image * o->args.queries + query, head * d), one.data, (size_t)d * element) != 0)
        check_fail(c, "a query alone has other bytes than among %" PRId64, o->args.images * o->args.queries);
}

/* With one key every result is that key's value, exactly. */
static void check_one_key(struct check *c, const struct operands *o, const struct check_output *got)
{
    for (int64_t r = 0; r < got->rows; r++)
        for (int64_t i = 0; i < got->columns; i++)
            if (check_value(check_element(got, r, i), got->dtype, 0) != o->v[r / o->args.queries * got->columns + i]) {
                check_fail(c, "attention over one key is not its value at [%" PRId64 ", %" PRId64 "]", r, i);
                return;
            }
}

void check_attention(struct check *c)
{
    struct operands o = make(c);
    struct hep_attention_args *a = &o.args;
    struct check_output got = result_of(c, a, c->bench ? 0 : 5);
    check_execute(c, call, a, &got, 1);
    if (c->bench)
        return;
    struct hep_ref_attention shape = {a->images,   a->heads,         a->queries, a->keys,
                                      a->head_dim, (double)a->scale, a->causal};
    double *want = check_doubles(c, got.rows * got.columns);
    hep_ref_attention(&shape, o.q, o.k, o.v, want);
    double factor = largest_score(&o) / 4.0;
    if (c->kernel->dtype == HEP_BF16)
        factor /= 0x1p13; /* scores are f32: their error shows in bf16 only where they are huge */
    check_compare(c, &got, want, largest_of(o.v, a->images * a->keys * got.columns), 1.0 + factor);
    if (a->keys == 1)
        check_one_key(c, &o, &got);
    if (!a->causal)
        check_alone(c, &o, &got);
}
