/* Checks of group_norm, group_norm_silu and layer_norm, for hep-kernels. */
#include "nn/cpu/hep_kernels/check.h"
#include "nn/ref/ref.h"

#include <math.h>

static void call_group_norm(const struct check *c, const void *args)
{
    c->table->group_norm[c->kernel->dtype].run(args);
}
static void call_group_norm_silu(const struct check *c, const void *args)
{
    c->table->group_norm_silu[c->kernel->dtype].run(args);
}
static void call_layer_norm(const struct check *c, const void *args)
{
    c->table->layer_norm[c->kernel->dtype].run(args);
}

/* 1 + |mean| / deviation of numbers that a norm reduces together: how much of them cancels. */
static double cancellation(const double *x, int64_t count)
{
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i];
    double mean = sum / (double)count;
    for (int64_t i = 0; i < count; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    double deviation = sqrt(squares / (double)count);
    return deviation > 0.0 ? 1.0 + fabs(mean) / deviation : 1.0;
}

/* A constant group has y = beta exactly, without any tolerance. */
static void check_constant(struct check *c, const struct check_output *got, const float *beta, bool silu)
{
    if (c->problem.pattern != PATTERN_CONSTANT || silu || got->dtype != HEP_F32)
        return;
    for (int64_t r = 0; r < got->rows; r++)
        for (int64_t i = 0; i < got->columns; i++)
            if (check_value(got->data, got->dtype, r * got->stride + i) != (double)beta[i]) {
                check_fail(c, "constant input does not give beta at [%" PRId64 ", %" PRId64 "]", r, i);
                return;
            }
}

static void group_norm_reference(struct check *c, const struct hep_group_norm_args *a, const struct check_output *got,
                                 bool silu)
{
    int64_t elements = got->rows * got->columns;
    double *x = check_widened(c, a->x, c->kernel->dtype, got->rows, a->channels, a->x_stride);
    double *gamma = check_widened(c, a->gamma, HEP_F32, 1, a->channels, a->channels);
    double *beta = check_widened(c, a->beta, HEP_F32, 1, a->channels, a->channels);
    double *want = check_doubles(c, elements);
    hep_ref_group_norm(a->images, a->places, a->channels, a->groups, (double)a->eps, x, gamma, beta, want);
    for (int64_t i = 0; silu && i < elements; i++)
        want[i] = hep_ref_silu(want[i]);
    check_compare(c, got, want, 1.0, c->kernel->dtype == HEP_F32 ? cancellation(x, elements) : 1.0);
    check_constant(c, got, a->beta, silu);
}

static void check_group(struct check *c, check_call *call, hep_group_norm_scratch_fn *scratch, bool silu)
{
    const struct problem *p = &c->problem;
    struct hep_group_norm_args a = {.images = problem_dim(p, "n", 1),
                                    .places = problem_dim(p, "p", 1),
                                    .channels = problem_dim(p, "c", 1),
                                    .groups = problem_dim(p, "g", 1),
                                    .eps = 1e-5f};
    a.x_stride = a.channels + (c->bench ? 0 : 5);
    a.x = check_input(c, c->kernel->dtype, a.images * a.places * a.x_stride - (a.x_stride - a.channels), 3.0);
    a.gamma = check_input_as(c, HEP_F32, a.channels, 2.0, PATTERN_RANDOM);
    a.beta = check_input_as(c, HEP_F32, a.channels, 1.0, PATTERN_RANDOM);
    a.scratch = check_scratch(c, scratch(&a));
    struct check_output got =
        check_output(c, c->kernel->dtype, a.images * a.places, a.channels, a.channels + (c->bench ? 0 : 3));
    a.y = got.data;
    a.y_stride = got.stride;
    c->flops = 8.0 * (double)(got.rows * got.columns);
    c->moved = 3.0 * (double)(got.rows * got.columns) * (double)hep_dtype_bytes(c->kernel->dtype);
    check_execute(c, call, &a, &got, 1);
    if (c->bench)
        return;
    group_norm_reference(c, &a, &got, silu);
    int64_t last = (a.images - 1) * a.places; /* the last image alone */
    struct check_output one = check_output(c, c->kernel->dtype, a.places, a.channels, a.channels);
    a.x = (const char *)a.x + (size_t)(last * a.x_stride) * hep_dtype_bytes(c->kernel->dtype);
    a.images = 1;
    a.y = one.data;
    a.y_stride = one.stride;
    check_execute(c, call, &a, &one, 1);
    check_same_rows(c, &got, last, &one, "an image alone");
}

void check_group_norm(struct check *c)
{
    check_group(c, call_group_norm, c->table->group_norm[c->kernel->dtype].scratch, false);
}

void check_group_norm_silu(struct check *c)
{
    check_group(c, call_group_norm_silu, c->table->group_norm_silu[c->kernel->dtype].scratch, true);
}

void check_layer_norm(struct check *c)
{
    const struct problem *p = &c->problem;
    struct hep_layer_norm_args a = {.rows = problem_dim(p, "r", 1), .channels = problem_dim(p, "c", 1), .eps = 1e-5f};
    a.x_stride = a.channels + (c->bench ? 0 : 7);
    a.x = check_input(c, c->kernel->dtype, a.rows * a.x_stride - (a.x_stride - a.channels), 3.0);
    a.gamma = check_input_as(c, HEP_F32, a.channels, 2.0, PATTERN_RANDOM);
    a.beta = check_input_as(c, HEP_F32, a.channels, 1.0, PATTERN_RANDOM);
    struct check_output got = check_output(c, c->kernel->dtype, a.rows, a.channels, a.channels + (c->bench ? 0 : 1));
    a.y = got.data;
    a.y_stride = got.stride;
    c->flops = 8.0 * (double)(a.rows * a.channels);
    c->moved = 2.0 * (double)(a.rows * a.channels) * (double)hep_dtype_bytes(c->kernel->dtype);
    check_execute(c, call_layer_norm, &a, &got, 1);
    if (c->bench)
        return;
    double *x = check_widened(c, a.x, c->kernel->dtype, a.rows, a.channels, a.x_stride);
    double *gamma = check_widened(c, a.gamma, HEP_F32, 1, a.channels, a.channels);
    double *beta = check_widened(c, a.beta, HEP_F32, 1, a.channels, a.channels);
    double *want = check_doubles(c, a.rows * a.channels), factor = 1.0;
    hep_ref_layer_norm(a.rows, a.channels, (double)a.eps, x, gamma, beta, want);
    for (int64_t r = 0; r < a.rows; r++)
        factor = fmax(factor, cancellation(x + r * a.channels, a.channels));
    check_compare(c, &got, want, 1.0, c->kernel->dtype == HEP_F32 ? factor : 1.0);
    check_constant(c, &got, a.beta, false);
    struct check_output one = check_output(c, c->kernel->dtype, 1, a.channels, a.channels);
    int64_t last = a.rows - 1;
    a.x = (const char *)a.x + (size_t)(last * a.x_stride) * hep_dtype_bytes(c->kernel->dtype);
    a.rows = 1;
    a.y = one.data;
    check_execute(c, call_layer_norm, &a, &one, 1);
    check_same_rows(c, &got, last, &one, "a row alone");
}
