/* Checks of the kernels that move numbers, for hep-kernels. */
#include "nn/cpu/hep_kernels/check.h"
#include "nn/ref/ref.h"

static void call_resize(const struct check *c, const void *args)
{
    c->table->resize[c->kernel->dtype].run(args);
}
static void call_pad(const struct check *c, const void *args)
{
    c->table->pad[c->kernel->dtype].run(args);
}
static void call_transpose(const struct check *c, const void *args)
{
    c->table->transpose[c->kernel->dtype].run(args);
}
static void call_embedding(const struct check *c, const void *args)
{
    c->table->embedding[c->kernel->dtype].run(args);
}
static void call_pool_eos(const struct check *c, const void *args)
{
    c->table->pool_eos[c->kernel->dtype].run(args);
}

static double bytes_of(const struct check *c, int64_t elements)
{
    return (double)elements * (double)hep_dtype_bytes(c->kernel->dtype);
}

void check_resize(struct check *c)
{
    const struct problem *p = &c->problem;
    enum hep_dtype dtype = c->kernel->dtype;
    struct hep_resize_args a = {.images = problem_dim(p, "n", 1),
                                .height = problem_dim(p, "h", 1),
                                .width = problem_dim(p, "w", 1),
                                .out_height = problem_dim(p, "oh", 1),
                                .out_width = problem_dim(p, "ow", 1),
                                .channels = problem_dim(p, "c", 1)};
    int64_t places = a.images * a.height * a.width, gap = problem_dim(p, "gap", 0);
    a.x_stride = a.channels + gap;
    a.x = check_input(c, dtype, places * a.x_stride - gap, 1.0);
    struct check_output got =
        check_output(c, dtype, a.images * a.out_height * a.out_width, a.channels, a.channels + 2 * gap);
    a.y = got.data;
    a.y_stride = got.stride;
    c->moved = bytes_of(c, got.rows * got.columns + places * a.channels);
    check_execute(c, call_resize, &a, &got, 1);
    if (c->bench)
        return;
    struct hep_ref_resize shape = {a.images, a.height, a.width, a.out_height, a.out_width, a.channels};
    double *want = check_doubles(c, got.rows * got.columns);
    hep_ref_resize(&shape, check_widened(c, a.x, dtype, places, a.channels, a.x_stride), want);
    check_compare(c, &got, want, 0.0, 1.0);
}

void check_pad(struct check *c)
{
    const struct problem *p = &c->problem;
    enum hep_dtype dtype = c->kernel->dtype;
    struct hep_pad_args a = {.images = problem_dim(p, "n", 1),
                             .height = problem_dim(p, "h", 1),
                             .width = problem_dim(p, "w", 1),
                             .channels = problem_dim(p, "c", 1),
                             .top = problem_dim(p, "top", 0),
                             .left = problem_dim(p, "left", 0),
                             .bottom = problem_dim(p, "bottom", 0),
                             .right = problem_dim(p, "right", 0)};
    int64_t places = a.images * a.height * a.width;
    a.x = check_input(c, dtype, places * a.channels, 1.0);
    int64_t out_places = a.images * (a.top + a.height + a.bottom) * (a.left + a.width + a.right);
    struct check_output got = check_output(c, dtype, out_places, a.channels, a.channels);
    a.y = got.data;
    c->moved = bytes_of(c, (out_places + places) * a.channels);
    check_execute(c, call_pad, &a, &got, 1);
    if (c->bench)
        return;
    struct hep_ref_pad shape = {a.images, a.height, a.width, a.channels, a.top, a.left, a.bottom, a.right};
    double *want = check_doubles(c, out_places * a.channels);
    hep_ref_pad(&shape, check_widened(c, a.x, dtype, places, a.channels, a.channels), want);
    check_compare(c, &got, want, 0.0, 1.0);
}

void check_transpose(struct check *c)
{
    const struct problem *p = &c->problem;
    enum hep_dtype dtype = c->kernel->dtype;
    struct hep_transpose_args a = {
        .images = problem_dim(p, "n", 1), .rows = problem_dim(p, "r", 1), .columns = problem_dim(p, "c", 1)};
    a.x = check_input(c, dtype, a.images * a.rows * a.columns, 1.0);
    struct check_output got = check_output(c, dtype, a.images * a.columns, a.rows, a.rows);
    a.y = got.data;
    c->moved = 2.0 * bytes_of(c, got.rows * got.columns);
    check_execute(c, call_transpose, &a, &got, 1);
    if (c->bench)
        return;
    double *want = check_doubles(c, got.rows * got.columns);
    hep_ref_transpose(a.images, a.rows, a.columns,
                      check_widened(c, a.x, dtype, a.images * a.rows, a.columns, a.columns), want);
    check_compare(c, &got, want, 0.0, 1.0);
}

void check_embedding(struct check *c)
{
    const struct problem *p = &c->problem;
    enum hep_dtype dtype = c->kernel->dtype;
    struct hep_embedding_args a = {
        .count = problem_dim(p, "n", 1), .width = problem_dim(p, "c", 1), .table_rows = problem_dim(p, "rows", 1)};
    a.table = check_input(c, dtype, a.table_rows * a.width, 1.0);
    a.ids = check_ids(c, a.count, -2, (int32_t)a.table_rows + 2); /* some outside the table */
    struct check_output got = check_output(c, dtype, a.count, a.width, a.width + 1);
    a.y = got.data;
    a.y_stride = got.stride;
    c->moved = 2.0 * bytes_of(c, a.count * a.width);
    check_execute(c, call_embedding, &a, &got, 1);
    if (c->bench)
        return;
    double *want = check_doubles(c, a.count * a.width);
    hep_ref_embedding(a.count, a.width, a.table_rows, a.ids,
                      check_widened(c, a.table, dtype, a.table_rows, a.width, a.width), want);
    check_compare(c, &got, want, 0.0, 1.0);
}

/* eos: 0 … the id that is looked for (it may occur twice or not at all); none: the largest id is. */
void check_pool_eos(struct check *c)
{
    const struct problem *p = &c->problem;
    enum hep_dtype dtype = c->kernel->dtype;
    struct hep_pool_eos_args a = {.images = problem_dim(p, "n", 1),
                                  .tokens = problem_dim(p, "t", 1),
                                  .width = problem_dim(p, "c", 1),
                                  .eos_id = (int32_t)problem_dim(p, "eos", -1)};
    a.x_stride = a.width + 1;
    a.x = check_input(c, dtype, a.images * a.tokens * a.x_stride - 1, 1.0);
    a.ids = check_ids(c, a.images * a.tokens, 0, 9);
    struct check_output got = check_output(c, dtype, a.images, a.width, a.width);
    a.y = got.data;
    c->moved = 2.0 * bytes_of(c, a.images * a.width);
    check_execute(c, call_pool_eos, &a, &got, 1);
    if (c->bench)
        return;
    double *want = check_doubles(c, a.images * a.width);
    double *x = check_widened(c, a.x, dtype, a.images * a.tokens, a.width, a.x_stride);
    for (int64_t n = 0; n < a.images; n++) {
        int64_t at = n * a.tokens + hep_ref_eos_position(a.tokens, a.ids + n * a.tokens, a.eos_id);
        for (int64_t i = 0; i < a.width; i++)
            want[n * a.width + i] = x[at * a.width + i];
    }
    check_compare(c, &got, want, 0.0, 1.0);
}
