/* Checks of the elementwise kernels over rows and of add, for hep-kernels. */
#include "nn/cpu/hep_kernels/check.h"
#include "nn/ref/ref.h"

#include <math.h>
#include <string.h>

/* To add an elementwise kernel: its caller here, its check_… below. */
#define CALLER(op)                                                                                                     \
    static void call_##op(const struct check *c, const void *args)                                                     \
    {                                                                                                                  \
        c->table->op[c->kernel->dtype].run(args);                                                                      \
    }
CALLER(silu)
CALLER(quick_gelu)
CALLER(gelu)
CALLER(relu)
CALLER(leaky_relu)
CALLER(geglu)
CALLER(scale)
CALLER(copy)
CALLER(to_f32)
CALLER(from_f32)
CALLER(add)

static const float scale_factor = 0.18215f;

/* One elementwise check. */
struct rows_check {
    check_call *call;
    enum hep_dtype x, y;         /* dtypes                                                    */
    int64_t x_columns;           /* per column of y: 2 for geglu, else 1                      */
    double (*meaning)(double x); /* NULL: y = x rounded to y's dtype                          */
    double floor;                /* of the tolerance                                          */
    bool in_place;               /* y may be x                                                */
};

/* The kernel on a copy of x that it overwrites: the same bytes. */
static void check_in_place(struct check *c, const struct rows_check *k, const struct hep_rows_args *a,
                           const struct check_output *got)
{
    size_t element = hep_dtype_bytes(k->y);
    struct hep_rows_args in_place = *a;
    double *memory = check_doubles(c, a->rows * a->columns);
    for (int64_t r = 0; r < a->rows; r++)
        memcpy((char *)memory + (size_t)(r * a->columns) * element,
               (const char *)a->x + (size_t)(r * a->x_stride) * element, (size_t)a->columns * element);
    in_place.x = in_place.y = memory;
    in_place.x_stride = in_place.y_stride = a->columns;
    k->call(c, &in_place);
    for (int64_t r = 0; r < a->rows; r++)
        if (memcmp((char *)memory + (size_t)(r * a->columns) * element, check_element(got, r, 0),
                   (size_t)a->columns * element) != 0) {
            check_fail(c, "other bytes in place, row %" PRId64, r);
            return;
        }
}

/* The same elements one by one, each as a row of one column: the same bytes as within vectors. */
static void check_positions(struct check *c, const struct rows_check *k, const struct hep_rows_args *a,
                            const struct check_output *got)
{
    struct hep_rows_args one = *a;
    struct check_output alone = check_output(c, k->y, a->columns, 1, 1);
    one.rows = a->columns;
    one.columns = 1;
    one.x_stride = 1;
    one.y = alone.data;
    one.y_stride = 1;
    check_execute(c, k->call, &one, &alone, 1);
    if (memcmp(got->data, alone.data, (size_t)a->columns * hep_dtype_bytes(k->y)) != 0)
        check_fail(c, "an element's bytes depend on its position");
}

static double rounded(double x, enum hep_dtype dtype)
{
    if (dtype == HEP_U8) {
        float v = (float)x * 0.5f + 0.5f;
        return isnan(v) ? 0.0 : nearbyint((double)(fminf(fmaxf(v, 0.0f), 1.0f) * 255.0f));
    }
    if (dtype == HEP_F16)
        return (double)hep_f16_to_f32(hep_f32_to_f16((float)x));
    return dtype == HEP_BF16 ? (double)hep_bf16_to_f32(hep_f32_to_bf16((float)x)) : x;
}

static double largest_of(const double *x, int64_t count)
{
    double largest = 0.0;
    for (int64_t i = 0; i < count; i++)
        largest = isfinite(x[i]) ? fmax(largest, fabs(x[i])) : largest;
    return largest;
}

static void run(struct check *c, const struct rows_check *k)
{
    const struct problem *p = &c->problem;
    struct hep_rows_args a = {
        .rows = problem_dim(p, "r", 1), .columns = problem_dim(p, "c", 1), .factor = scale_factor};
    int64_t gap = problem_dim(p, "gap", 0), x_columns = a.columns * k->x_columns;
    a.x_stride = x_columns + gap;
    a.x = check_input(c, k->x, a.rows * a.x_stride - gap, 6.0);
    struct check_output got = check_output(c, k->y, a.rows, a.columns, a.columns + gap);
    a.y = got.data;
    a.y_stride = got.stride;
    c->flops = (double)(a.rows * a.columns);
    c->moved = (double)(a.rows * x_columns) * (double)hep_dtype_bytes(k->x) +
               (double)(a.rows * a.columns) * (double)hep_dtype_bytes(k->y);
    check_execute(c, k->call, &a, &got, 1);
    if (c->bench)
        return;
    double *x = check_widened(c, a.x, k->x, a.rows, x_columns, a.x_stride),
           *want = check_doubles(c, a.rows * a.columns);
    if (k->x_columns == 2)
        hep_ref_geglu(a.rows, a.columns, x, want);
    for (int64_t i = 0; k->x_columns == 1 && i < a.rows * a.columns; i++)
        want[i] = k->meaning ? k->meaning(x[i]) : rounded(x[i], k->y);
    check_compare(c, &got, want, k->x_columns == 2 ? k->floor * largest_of(x, a.rows * x_columns) : k->floor, 1.0);
    if (k->in_place)
        check_in_place(c, k, &a, &got);
    if (k->x_columns == 1)
        check_positions(c, k, &a, &got);
}

static double scaled(double x)
{
    return (double)scale_factor * x;
}

static void run_activation(struct check *c, check_call *call, double (*meaning)(double), double floor)
{
    enum hep_dtype dtype = c->kernel->dtype;
    run(c, &(struct rows_check){call, dtype, dtype, 1, meaning, floor, true});
}

void check_silu(struct check *c)
{
    run_activation(c, call_silu, hep_ref_silu, 0x1p-100);
}
void check_quick_gelu(struct check *c)
{
    run_activation(c, call_quick_gelu, hep_ref_quick_gelu, 0x1p-100);
}
void check_gelu(struct check *c)
{
    run_activation(c, call_gelu, hep_ref_gelu, 0.01);
}
void check_relu(struct check *c)
{
    run_activation(c, call_relu, hep_ref_relu, 0.0);
}
void check_leaky_relu(struct check *c)
{
    run_activation(c, call_leaky_relu, hep_ref_leaky_relu, 0x1p-126);
}
void check_scale(struct check *c)
{
    run_activation(c, call_scale, scaled, 0x1p-126);
}
void check_copy(struct check *c)
{
    enum hep_dtype dtype = c->kernel->dtype;
    run(c, &(struct rows_check){call_copy, dtype, dtype, 1, NULL, 0.0, false});
}
void check_geglu(struct check *c)
{
    run(c, &(struct rows_check){call_geglu, c->kernel->dtype, c->kernel->dtype, 2, NULL, 0.01, false});
}
void check_to_f32(struct check *c)
{
    run(c, &(struct rows_check){call_to_f32, c->kernel->dtype, HEP_F32, 1, NULL, 0.0, false});
}
void check_from_f32(struct check *c)
{
    run(c, &(struct rows_check){call_from_f32, HEP_F32, c->kernel->dtype, 1, NULL, 0.0, false});
}

void check_add(struct check *c)
{
    const struct problem *p = &c->problem;
    enum hep_dtype dtype = c->kernel->dtype;
    struct hep_add_args a = {.rows = problem_dim(p, "r", 1), .columns = problem_dim(p, "c", 1)};
    int64_t gap = problem_dim(p, "gap", 0);
    a.b_rows = problem_dim(p, "brows", a.rows);
    a.b_repeat = problem_dim(p, "repeat", 1);
    a.a_stride = a.columns + gap;
    a.b_stride = a.columns + 2 * gap;
    a.a = check_input(c, dtype, a.rows * a.a_stride - gap, 2.0);
    a.b = check_input(c, dtype, a.b_rows * a.b_stride - 2 * gap, 2.0);
    struct check_output got = check_output(c, dtype, a.rows, a.columns, a.columns + gap);
    a.y = got.data;
    a.y_stride = got.stride;
    c->flops = (double)(a.rows * a.columns);
    c->moved = 3.0 * c->flops * (double)hep_dtype_bytes(dtype);
    check_execute(c, call_add, &a, &got, 1);
    if (c->bench)
        return;
    double *want = check_doubles(c, a.rows * a.columns);
    hep_ref_add(a.rows, a.columns, a.b_rows, a.b_repeat, check_widened(c, a.a, dtype, a.rows, a.columns, a.a_stride),
                check_widened(c, a.b, dtype, a.b_rows, a.columns, a.b_stride), want);
    check_compare(c, &got, want, 0x1p-126, 1.0);
}
