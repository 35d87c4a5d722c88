/* The bytes of one row do not depend on the rows it ran with, nor on the number of threads: memcmp on SD-shaped layers.
 */
#include "tests/unit/graph_test.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, ROW = 1 }; /* row 1 of 3 against the row alone */

/* One layer as a graph over n images or rows. */
struct layer {
    const char *what;
    int64_t h, w, c, out;
    int kernel, stride;
    enum { CONV, LINEAR, NORM, SELF } kind;
    bool residual;
    enum hep_activation activation;
};
static const struct layer layers[] = {
    {"conv 3x3", 16, 16, 320, 320, 3, 1, CONV, false, HEP_ACT_NONE},
    {"conv 3x3 + residual", 8, 8, 640, 640, 3, 1, CONV, true, HEP_ACT_NONE},
    {"conv 3x3 wide", 8, 8, 1280, 1280, 3, 1, CONV, false, HEP_ACT_NONE},
    {"conv 3x3 odd size", 11, 13, 64, 96, 3, 1, CONV, false, HEP_ACT_NONE},
    {"conv 3x3 stride 2", 16, 16, 320, 320, 3, 2, CONV, false, HEP_ACT_NONE},
    {"conv in", 32, 32, 4, 320, 3, 1, CONV, false, HEP_ACT_NONE},
    {"conv out", 32, 32, 320, 4, 3, 1, CONV, false, HEP_ACT_NONE},
    {"conv rgb", 24, 24, 128, 3, 3, 1, CONV, false, HEP_ACT_NONE},
    {"conv inpaint", 16, 16, 9, 64, 3, 1, CONV, false, HEP_ACT_NONE},
    {"conv 1x1", 16, 16, 320, 320, 1, 1, CONV, true, HEP_ACT_NONE},
    {"linear m1", 1, 1, 320, 1280, 0, 0, LINEAR, false, HEP_ACT_SILU},
    {"linear m1 wide", 1, 1, 1280, 1280, 0, 0, LINEAR, false, HEP_ACT_NONE},
    {"linear m2", 1, 2, 768, 320, 0, 0, LINEAR, false, HEP_ACT_NONE},
    {"linear m77", 1, 77, 768, 3072, 0, 0, LINEAR, false, HEP_ACT_QUICK_GELU},
    {"linear m77 back", 1, 77, 3072, 768, 0, 0, LINEAR, true, HEP_ACT_NONE},
    {"linear m154", 1, 154, 1024, 640, 0, 0, LINEAR, false, HEP_ACT_GELU},
    {"linear m1024", 1, 1024, 640, 640, 0, 0, LINEAR, true, HEP_ACT_NONE},
    {"linear m4096", 1, 4096, 320, 320, 0, 0, LINEAR, false, HEP_ACT_NONE},
    {"linear m64 deep", 1, 64, 5120, 1280, 0, 0, LINEAR, false, HEP_ACT_NONE},
    {"linear odd", 1, 19, 154, 77, 0, 0, LINEAR, false, HEP_ACT_NONE},
    {"linear tiny", 1, 7, 4, 4, 0, 0, LINEAR, false, HEP_ACT_NONE},
    {"group norm", 16, 16, 320, 320, 0, 0, NORM, false, HEP_ACT_SILU},
    {"self attention", 1, 256, 320, 320, 0, 0, SELF, false, HEP_ACT_NONE},
};

static struct hep_graph *build(const struct layer *l, int64_t n)
{
    struct hep_graph *g = graph_create(hep_random_weights());
    struct hep_scope s = hep_root(g);
    bool image = l->kind == CONV || l->kind == NORM;
    hep_value x = hep_input(g, "x", HEP_F32, image ? HEP_SHAPE(n, l->h, l->w, l->c) : HEP_SHAPE(n, l->w, l->c)), y = x;
    if (l->kind == CONV)
        y = hep_conv2d(g, x, s, "a", .kernel = l->kernel, .stride = l->stride, .padding = l->kernel / 2, .out = l->out);
    else if (l->kind == LINEAR)
        y = hep_linear(g, x, s, "a", .out = l->out);
    else if (l->kind == NORM)
        y = hep_group_norm(g, x, s, "norm", 32, 1e-5);
    if (l->kind == SELF) {
        hep_value q = hep_linear(g, x, s, "q", .out = l->out), k = hep_linear(g, x, s, "k", .out = l->out);
        y = hep_attention(g, q, k, hep_linear(g, x, s, "v", .out = l->out), .heads = 8);
    }
    y = hep_activate(g, y, l->activation);
    if (l->residual)
        y = hep_add(g, y, hep_input(g, "r", HEP_F32, hep_shape_of(g, y)));
    hep_output(g, "y", y);
    return g;
}

/* Runs the layer over the inputs from image `first`, n images. */
static float *result(const struct layer *l, enum hep_dtype dtype, int64_t n, const float *x, const float *r,
                     int threads, size_t *image_elements, char *kernel)
{
    struct hep_shape shape;
    const char *name;
    enum hep_dtype out_dtype;
    int64_t elements;
    omp_set_num_threads(threads);
    struct bench b = bench_create(build(l, n), &(struct hep_plan_options){.dtype = dtype});
    ck_assert(hep_plan_output(b.plan, 0, &name, &out_dtype, &shape) && hep_shape_elements(&shape, &elements));
    float *y = empty_floats((size_t)elements);
    bench_run(&b, (void *[]){(void *)(uintptr_t)x, (void *)(uintptr_t)r}, (void *[]){y});
    *image_elements = (size_t)(elements / n);
    for (int i = 0; i < b.plan->step_count; i++)
        if (strcmp(b.plan->steps[i].class_name, "other") != 0)
            snprintf(kernel, 64, "%s", b.plan->steps[i].kernel);
    bench_destroy(&b);
    return y;
}

START_TEST(a_row_is_the_same_alone_and_in_a_batch_with_any_threads)
{
    const struct layer *l = &layers[_i];
    enum hep_dtype dtypes[2];
    char kernel[64] = "";
    for (int d = dtypes_here(dtypes); d-- > 0;) {
        size_t in = (size_t)(l->h * l->w * l->c), out;
        float *x = random_floats(BATCH * in, 11), *r = random_floats((size_t)(BATCH * l->h * l->w * l->out), 12);
        float *alone = result(l, dtypes[d], 1, x + ROW * in, r + ROW * (size_t)(l->h * l->w * l->out), 1, &out, kernel);
        for (int threads = 1; threads <= 4; threads++) {
            float *one =
                result(l, dtypes[d], 1, x + ROW * in, r + ROW * (size_t)(l->h * l->w * l->out), threads, &out, kernel);
            float *batch = result(l, dtypes[d], BATCH, x, r, threads, &out, kernel);
            ck_assert_msg(memcmp(alone, one, out * sizeof *alone) == 0, "%s %s by %s: %d threads differ", l->what,
                          hep_dtype_name(dtypes[d]), kernel, threads);
            ck_assert_msg(memcmp(alone, batch + ROW * out, out * sizeof *alone) == 0,
                          "%s %s by %s: in a batch with %d threads differs", l->what, hep_dtype_name(dtypes[d]), kernel,
                          threads);
            free(one);
            free(batch);
        }
        free(alone), free(x), free(r);
    }
}
END_TEST

/* One plan, made for four threads, run with each number: kernels are made again, bytes stay. */
START_TEST(a_plan_follows_the_number_of_threads_from_run_to_run)
{
    const struct layer *l = &layers[0];
    size_t in = (size_t)(l->h * l->w * l->c), out = (size_t)(l->h * l->w * l->out);
    float *x = random_floats(in, 5), *first = empty_floats(out), *y = empty_floats(out);
    omp_set_num_threads(2);
    struct bench b = bench_create(build(l, 1), &(struct hep_plan_options){.dtype = HEP_F32, .threads = 4});
    bench_run(&b, (void *[]){x}, (void *[]){first});
    for (int threads = 1; threads <= 6; threads++) {
        omp_set_num_threads(threads);
        memset(y, 0xFF, out * sizeof *y);
        bench_run(&b, (void *[]){x}, (void *[]){y});
        ck_assert_int_eq(omp_get_max_threads(), threads);
        ck_assert_int_eq(hep_plan_inside(b.plan)->bound_threads, threads < 4 ? threads : 4);
        ck_assert_mem_eq(first, y, out * sizeof *y);
    }
    free(x), free(first), free(y);
    bench_destroy(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graph bytes");
    TCase *c = tcase_create("bytes");
    tcase_set_timeout(c, 200);
    tcase_add_loop_test(c, a_row_is_the_same_alone_and_in_a_batch_with_any_threads, 0, (int)HEP_COUNT_OF(layers));
    tcase_add_test(c, a_plan_follows_the_number_of_threads_from_run_to_run);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
