/* Plans compute what the graph says: each operator and each fused tail against plain loops in double. */
#include "tests/unit/graph_test.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* ---- references ---- */

struct conv_case {
    int64_t n, h, w, c, out;
    int kernel, stride, padding, pads[4];
};

static float *weights_of(const char *name, int64_t count)
{
    float *w = empty_floats((size_t)count);
    ck_assert_int_eq(hep_random_weights()->ops->read_f32(hep_random_weights(), name, w, count, NULL), HEP_OK);
    return w;
}

static double act(double x, enum hep_activation a)
{
    switch (a) {
    case HEP_ACT_SILU:
        return x / (1 + exp(-x));
    case HEP_ACT_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case HEP_ACT_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case HEP_ACT_RELU:
        return x > 0 ? x : 0;
    case HEP_ACT_LEAKY_RELU:
        return x > 0 ? x : 0.2 * x;
    default:
        return x;
    }
}

/* [n, h, w, c] convolved; w and b by the random source's names. */
static float *reference_conv(const struct conv_case *k, const float *x, const char *key, bool bias,
                             enum hep_activation a, const float *residual, int64_t *height, int64_t *width)
{
    char name[64];
    snprintf(name, sizeof name, "%s.weight", key);
    float *w = weights_of(name, k->out * k->c * k->kernel * k->kernel);
    snprintf(name, sizeof name, "%s.bias", key);
    float *b = weights_of(name, k->out);
    int top = k->padding + k->pads[0], left = k->padding + k->pads[1];
    *height = (k->h + top + k->padding + k->pads[2] - k->kernel) / k->stride + 1;
    *width = (k->w + left + k->padding + k->pads[3] - k->kernel) / k->stride + 1;
    float *y = empty_floats((size_t)(k->n * *height * *width * k->out));
    for (int64_t i = 0; i < k->n * *height * *width * k->out; i++) {
        int64_t o = i % k->out, ox = i / k->out % *width, oy = i / k->out / *width % *height,
                n = i / k->out / *width / *height;
        double sum = bias ? b[o] : 0;
        for (int ky = 0; ky < k->kernel; ky++)
            for (int kx = 0; kx < k->kernel; kx++) {
                int64_t iy = oy * k->stride + ky - top, ix = ox * k->stride + kx - left;
                if (iy < 0 || ix < 0 || iy >= k->h || ix >= k->w)
                    continue;
                for (int64_t c = 0; c < k->c; c++)
                    sum += (double)x[((n * k->h + iy) * k->w + ix) * k->c + c] *
                           w[((o * k->c + c) * k->kernel + ky) * k->kernel + kx];
            }
        y[i] = (float)(act(sum, a) + (residual ? residual[i] : 0));
    }
    free(w);
    free(b);
    return y;
}

static double limit(enum hep_dtype dtype)
{
    return dtype == HEP_BF16 ? 1e-2 : 2e-6; /* rounding of inputs, weights and result; f32 sums of up to 3000 terms */
}

/* ---- tests ---- */

static const struct conv_case convs[] = {
    {1, 8, 8, 16, 32, 3, 1, 1, {0}},          {2, 7, 9, 24, 40, 3, 1, 1, {0}},    {2, 8, 8, 16, 16, 3, 2, 1, {0}},
    {1, 9, 7, 16, 16, 3, 2, 0, {0, 0, 1, 1}}, {3, 6, 5, 4, 32, 3, 1, 1, {0}},     {1, 6, 5, 32, 4, 3, 1, 1, {0}},
    {2, 5, 5, 9, 20, 3, 1, 1, {0}},           {1, 5, 6, 20, 3, 3, 1, 1, {0}},     {2, 6, 6, 16, 24, 1, 1, 0, {0}},
    {1, 6, 6, 16, 24, 1, 2, 0, {0}},          {1, 28, 28, 3, 32, 14, 14, 0, {0}}, {1, 1, 1, 8, 8, 3, 1, 1, {0}},
};

START_TEST(a_convolution_is_what_the_loops_say)
{
    const struct conv_case *k = &convs[_i];
    enum hep_dtype dtypes[2];
    int dtype_count = dtypes_here(dtypes);
    for (int d = 0; d < dtype_count; d++)
        for (int bias = 0; bias < 2; bias++)
            for (int a = HEP_ACT_NONE; a < HEP_ACT_COUNT; a++) {
                int64_t height, width;
                struct hep_graph *g = graph_create(hep_random_weights());
                hep_value x = hep_input(g, "x", HEP_F32, HEP_SHAPE(k->n, k->h, k->w, k->c));
                hep_value y = hep_conv2d(g, x, hep_root(g), "conv", .kernel = k->kernel, .stride = k->stride,
                                         .padding = k->padding, .out = k->out, .no_bias = !bias,
                                         .pads = {k->pads[0], k->pads[1], k->pads[2], k->pads[3]});
                hep_output(g, "y", hep_activate(g, y, (enum hep_activation)a));
                struct bench b = bench_create(g, &(struct hep_plan_options){.dtype = dtypes[d], .poison = true});
                float *in = random_floats((size_t)(k->n * k->h * k->w * k->c), 7);
                float *want = reference_conv(k, in, "conv", bias, (enum hep_activation)a, NULL, &height, &width);
                size_t count = (size_t)(k->n * height * width * k->out);
                float *out = empty_floats(count);
                bench_run(&b, (void *[]){in}, (void *[]){out});
                double off = relative_rms(out, want, count);
                ck_assert_msg(off < limit(dtypes[d]), "case %d %s bias %d act %d: %g by %s", _i,
                              hep_dtype_name(dtypes[d]), bias, a, off, b.plan->steps[0].kernel);
                free(in);
                free(out);
                free(want);
                bench_destroy(&b);
            }
}
END_TEST

/* conv(silu(norm(x))) + x with the sum in place (x dies) and not (x is also an output). */
START_TEST(a_residual_is_added_in_place_and_not)
{
    bool keep = _i & 1, image = _i & 2;
    const struct conv_case k = {2, 6, 6, 16, 16, image ? 3 : 1, 1, image ? 1 : 0, {0}};
    size_t count = 2 * 6 * 6 * 16;
    int64_t height, width;
    struct hep_graph *g = graph_create(hep_random_weights());
    hep_value x = hep_input(g, "x", HEP_F32, HEP_SHAPE(2, 6, 6, 16));
    hep_value t = hep_scale(g, x, 2);
    hep_value y = hep_conv2d(g, t, hep_root(g), "conv", .kernel = k.kernel, .padding = k.padding, .out = 16);
    hep_output(g, "y", hep_scale(g, hep_add(g, hep_scale(g, t, 0.5), y), 3));
    if (keep)
        hep_output(g, "half", hep_scale(g, t, 0.5));
    struct bench b = bench_create(g, &(struct hep_plan_options){.dtype = HEP_F32, .poison = true});
    float *in = random_floats(count, 3), *out = empty_floats(count), *half = empty_floats(count),
          *twice = empty_floats(count);
    for (size_t i = 0; i < count; i++)
        twice[i] = 2 * in[i];
    float *want = reference_conv(&k, twice, "conv", true, HEP_ACT_NONE, in, &height, &width);
    for (size_t i = 0; i < count; i++)
        want[i] *= 3;
    bench_run(&b, (void *[]){in}, (void *[]){out, half});
    ck_assert_double_lt(relative_rms(out, want, count), 2e-6);
    if (keep)
        ck_assert_mem_eq(half, in, count * sizeof *in);
    free(in), free(out), free(half), free(twice), free(want);
    bench_destroy(&b);
}
END_TEST

static float *reference_linear(const float *x, int64_t rows, int64_t in, int64_t out, const char *key)
{
    int64_t height, width;
    const struct conv_case k = {1, 1, rows, in, out, 1, 1, 0, {0}};
    return reference_conv(&k, x, key, true, HEP_ACT_NONE, NULL, &height, &width);
}

/* q, k, v of one input, k and v of another: the plan merges them and the result is the same as by loops. */
START_TEST(attention_on_merged_linears_is_what_the_loops_say)
{
    enum { N = 2, T = 13, S = 7, C = 24, H = 3, D = C / H };
    bool cross = _i & 1, causal = !cross && (_i & 2);
    int64_t keys = cross ? S : T;
    struct hep_graph *g = graph_create(hep_random_weights());
    hep_value x = hep_input(g, "x", HEP_F32, HEP_SHAPE(N, T, C));
    hep_value c = cross ? hep_input(g, "c", HEP_F32, HEP_SHAPE(N, S, C)) : x;
    hep_value q = hep_linear(g, x, hep_root(g), "q", .out = C), k = hep_linear(g, c, hep_root(g), "k", .out = C);
    hep_value v = hep_linear(g, c, hep_root(g), "v", .out = C);
    hep_output(g, "y", hep_attention(g, q, k, v, .heads = H, .causal = causal));
    struct bench b = bench_create(g, &(struct hep_plan_options){.dtype = HEP_F32, .poison = true});
    ck_assert_int_eq(b.plan->step_count, cross ? 3 : 2);
    float *in = random_floats(N * T * C, 1), *context = random_floats(N * S * C, 2), *out = empty_floats(N * T * C);
    const float *from = cross ? context : in;
    float *wq = reference_linear(in, N * T, C, C, "q"), *wk = reference_linear(from, N * keys, C, C, "k");
    float *wv = reference_linear(from, N * keys, C, C, "v"), *want = empty_floats(N * T * C);
    for (int64_t i = 0; i < N * T * H; i++) {
        int64_t h = i % H, t = i / H % T, n = i / H / T, seen = causal ? t + 1 : keys;
        double p[T], sum = 0;
        for (int64_t s = 0; s < seen; s++) {
            double dot = 0;
            for (int64_t e = 0; e < D; e++)
                dot += (double)wq[(n * T + t) * C + h * D + e] * wk[(n * keys + s) * C + h * D + e];
            sum += p[s] = exp(dot / sqrt(D));
        }
        for (int64_t e = 0; e < D; e++) {
            double y = 0;
            for (int64_t s = 0; s < seen; s++)
                y += p[s] / sum * wv[(n * keys + s) * C + h * D + e];
            want[(n * T + t) * C + h * D + e] = (float)y;
        }
    }
    bench_run(&b, (void *[]){in, context}, (void *[]){out});
    ck_assert_double_lt(relative_rms(out, want, N * T * C), 5e-6);
    free(in), free(context), free(out), free(wq), free(wk), free(wv), free(want);
    bench_destroy(&b);
}
END_TEST

/* Shapes that only move data, and elementwise operators, on numbers that are exact in every dtype. */
START_TEST(views_slices_and_concats_move_the_right_numbers)
{
    enum { H = 4, W = 6, C = 8 };
    struct hep_graph *g = graph_create(hep_random_weights());
    hep_value x = hep_input(g, "x", HEP_F32, HEP_SHAPE(1, C, H, W));
    hep_value image = hep_from_nchw(g, x), tokens = hep_to_tokens(g, image);
    hep_value a = hep_slice(g, tokens, 2, 4), c = hep_slice(g, tokens, 0, 2);
    hep_value both = hep_concat(g, a, c); /* channels 2 3 4 5 0 1 */
    hep_value up = hep_upsample2x(g, hep_to_image(g, both, H, W));
    hep_output(g, "up", hep_to_nchw(g, up));
    hep_output(g, "flat", hep_reshape(g, a, HEP_SHAPE(H * W * 4)));
    struct bench b = bench_create(g, &(struct hep_plan_options){.dtype = HEP_F32, .poison = true});
    float in[C * H * W], wide[6 * 4 * H * W], flat[4 * H * W];
    for (int i = 0; i < C * H * W; i++)
        in[i] = (float)i;
    bench_run(&b, (void *[]){in}, (void *[]){wide, flat});
    static const int channels[] = {2, 3, 4, 5, 0, 1};
    for (int k = 0; k < 6; k++)
        for (int y = 0; y < 2 * H; y++)
            for (int z = 0; z < 2 * W; z++)
                ck_assert_float_eq(wide[(k * 2 * H + y) * 2 * W + z], in[(channels[k] * H + y / 2) * W + z / 2]);
    for (int i = 0; i < 4 * H * W; i++)
        ck_assert_float_eq(flat[i], in[(2 + i % 4) * H * W + i / 4]);
    bench_destroy(&b);
}
END_TEST

START_TEST(a_broadcast_addition_repeats_its_second_argument)
{
    enum { N = 2, T = 3, C = 4 };
    struct hep_graph *g = graph_create(hep_random_weights());
    hep_value x = hep_input(g, "x", HEP_F32, HEP_SHAPE(N, T, C)), e = hep_input(g, "e", HEP_F32, HEP_SHAPE(N, C));
    hep_value p = hep_input(g, "p", HEP_F32, HEP_SHAPE(T, C));
    hep_output(g, "y", hep_add_channels(g, hep_add(g, x, p), e));
    struct bench b = bench_create(g, &(struct hep_plan_options){.dtype = HEP_F32, .poison = true});
    float x_data[N * T * C], e_data[N * C], p_data[T * C], y[N * T * C];
    for (int i = 0; i < N * T * C; i++) {
        x_data[i] = (float)i;
        e_data[i % (N * C)] = (float)(1000 * (i % (N * C)));
        p_data[i % (T * C)] = (float)(100000 * (i % (T * C)));
    }
    bench_run(&b, (void *[]){x_data, e_data, p_data}, (void *[]){y});
    for (int i = 0; i < N * T * C; i++)
        ck_assert_float_eq(y[i], x_data[i] + p_data[i % (T * C)] + e_data[i / (T * C) * C + i % C]);
    bench_destroy(&b);
}
END_TEST

/* A text encoder's ends: embedding + position, pooling at the end-of-text token. */
/* torch.nn.functional.pixel_unshuffle: channel c · f² + (row in its square) · f + column in its square. */
START_TEST(pixel_unshuffle_is_what_the_loops_say)
{
    const int64_t n = 2, c = 3, h = 4, w = 6, f = 2 + 2 * _i, height = h * f, width = w * f;
    size_t count = (size_t)(n * c * height * width);
    struct hep_graph *g = graph_create(hep_no_weights());
    hep_value x = hep_input(g, "x", HEP_F32, HEP_SHAPE(n, c, height, width));
    hep_output(g, "y", hep_pixel_unshuffle(g, x, (int)f));
    struct bench b = bench_create(g, &(struct hep_plan_options){.dtype = HEP_F32, .poison = true});
    float *in = random_floats(count, 5), *out = empty_floats(count);
    bench_run(&b, (void *[]){in}, (void *[]){out});
    for (size_t i = 0; i < count; i++) {
        int64_t k = (int64_t)i % (c * f * f), place = (int64_t)i / (c * f * f), ox = place % w, oy = place / w % h;
        int64_t image = place / w / h, channel = k / (f * f), row = k / f % f, column = k % f;
        ck_assert(out[i] == in[((image * c + channel) * height + oy * f + row) * width + ox * f + column]);
    }
    free(in);
    free(out);
    bench_destroy(&b);
}
END_TEST

START_TEST(embeddings_positions_and_pooling_take_the_right_rows)
{
    enum { N = 2, T = 5, C = 8, ROWS = 11 };
    struct hep_graph *g = graph_create(hep_random_weights());
    hep_value ids = hep_input(g, "ids", HEP_I32, HEP_SHAPE(N, T));
    hep_value x = hep_embedding(g, ids, hep_root(g), "token", ROWS, C);
    x = hep_add(g, x, hep_weight(g, hep_root(g), "position.weight", HEP_SHAPE(T, C)));
    hep_output(g, "last", hep_pool_eos(g, x, ids, 7));
    hep_output(g, "largest", hep_pool_eos(g, x, ids, -1));
    struct bench b = bench_create(g, &(struct hep_plan_options){.dtype = HEP_F32, .poison = true});
    int32_t id[N * T] = {1, 2, 7, 7, 10, 10, 3, 4, 5, 9};
    float last[N * C], largest[N * C];
    float *token = weights_of("token.weight", ROWS * C), *position = weights_of("position.weight", T * C);
    bench_run(&b, (void *[]){id}, (void *[]){last, largest});
    static const int at_eos[N] = {2, 0}, at_largest[N] = {4, 0};
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++) {
            ck_assert_float_eq(last[n * C + c], token[id[n * T + at_eos[n]] * C + c] + position[at_eos[n] * C + c]);
            ck_assert_float_eq(largest[n * C + c],
                               token[id[n * T + at_largest[n]] * C + c] + position[at_largest[n] * C + c]);
        }
    free(token), free(position);
    bench_destroy(&b);
}
END_TEST

/* ---- a small network that has everything ---- */

static struct hep_graph *small_network(int64_t n, int64_t side)
{
    struct hep_graph *g = graph_create(hep_random_weights());
    struct hep_scope s = hep_root(g);
    hep_value x = hep_from_nchw(g, hep_input(g, "sample", HEP_F32, HEP_SHAPE(n, 4, side, side)));
    hep_value text = hep_input(g, "text", HEP_F32, HEP_SHAPE(n, 7, 24));
    hep_value time = hep_timestep_embedding(g, hep_input(g, "t", HEP_F32, HEP_SHAPE(n)), .width = 32, .flip = true);
    time = hep_linear(g, hep_silu(g, hep_linear(g, time, s, "t1", .out = 64, .f32 = true)), s, "t2", .out = 64,
                      .f32 = true);
    x = hep_conv2d(g, x, s, "in", .kernel = 3, .padding = 1, .out = 32);
    hep_value skip = x;
    for (int i = 0; i < 2; i++) {
        struct hep_scope r = hep_in(s, "resnets.%d", i);
        hep_value h = hep_silu(g, hep_group_norm(g, x, r, "norm1", 8, 1e-5));
        h = hep_conv2d(g, h, r, "conv1", .kernel = 3, .padding = 1, .out = 32);
        h = hep_add_channels(g, h, hep_linear(g, hep_silu(g, time), r, "time", .out = 32, .f32 = true));
        h = hep_silu(g, hep_group_norm(g, h, r, "norm2", 8, 1e-5));
        x = hep_add(g, x, hep_conv2d(g, h, r, "conv2", .kernel = 3, .padding = 1, .out = 32));
        hep_value t =
            hep_to_tokens(g, hep_conv2d(g, hep_group_norm(g, x, r, "norm", 8, 1e-6), r, "proj_in", .out = 32));
        hep_value y = hep_layer_norm(g, t, r, "ln1", 1e-5);
        hep_value q = hep_linear(g, y, r, "q", .out = 32, .no_bias = true),
                  k = hep_linear(g, y, r, "k", .out = 32, .no_bias = true);
        hep_value v = hep_linear(g, y, r, "v", .out = 32, .no_bias = true);
        y = hep_attention(g, q, k, v, .heads = 2);
        t = hep_add(g, t, hep_linear(g, y, r, "o", .out = 32));
        y = hep_layer_norm(g, t, r, "ln2", 1e-5);
        q = hep_linear(g, y, r, "cq", .out = 32, .no_bias = true);
        k = hep_linear(g, text, r, "ck", .out = 32, .no_bias = true);
        v = hep_linear(g, text, r, "cv", .out = 32, .no_bias = true);
        y = hep_attention(g, q, k, v, .heads = 2);
        t = hep_add(g, t, hep_linear(g, y, r, "co", .out = 32));
        y = hep_geglu(g, hep_linear(g, hep_layer_norm(g, t, r, "ln3", 1e-5), r, "ff1", .out = 256));
        t = hep_add(g, t, hep_linear(g, y, r, "ff2", .out = 32));
        x = hep_add(g, hep_conv2d(g, hep_to_image(g, t, side, side), r, "proj_out", .out = 32), x);
    }
    hep_value h = hep_concat(g, x, skip);
    hep_value small = hep_conv2d(g, h, s, "down", .kernel = 3, .stride = 2, .padding = 1, .out = 48);
    h = hep_concat(g, hep_resize_like(g, small, h), x);
    hep_value up = hep_conv2d(g, h, s, "up", .kernel = 3, .padding = 1, .out = 32);
    h = hep_add(g, up, hep_conv2d(g, h, s, "shortcut", .out = 32));
    h = hep_conv2d(g, hep_silu(g, hep_group_norm(g, h, s, "norm_out", 8, 1e-5)), s, "out", .kernel = 3, .padding = 1,
                   .out = 4);
    hep_output(g, "out", hep_to_nchw(g, h));
    return g;
}

struct small {
    float *sample, *text, *t, *out;
    size_t out_count;
};

static struct small small_data(int64_t n, int64_t side)
{
    struct small s = {random_floats((size_t)(n * 4 * side * side), 1), random_floats((size_t)(n * 7 * 24), 2),
                      random_floats((size_t)n, 3), empty_floats((size_t)(n * 4 * side * side)),
                      (size_t)(n * 4 * side * side)};
    return s;
}

static void small_free(struct small *s)
{
    free(s->sample), free(s->text), free(s->t), free(s->out);
}

START_TEST(the_bytes_are_the_same_with_poison_twice_and_in_the_wrong_arena)
{
    enum hep_dtype dtypes[2];
    for (int d = dtypes_here(dtypes); d-- > 0;) {
        struct small s = small_data(2, 9);
        struct bench plain = bench_create(small_network(2, 9), &(struct hep_plan_options){.dtype = dtypes[d]});
        struct bench poisoned =
            bench_create(small_network(2, 9), &(struct hep_plan_options){.dtype = dtypes[d], .poison = true});
        float *first = empty_floats(s.out_count);
        bench_run(&plain, (void *[]){s.sample, s.text, s.t}, (void *[]){first});
        for (size_t i = 0; i < s.out_count; i++)
            ck_assert(isfinite(first[i]));
        memset(plain.arena, 0xFF, plain.plan->peak_bytes);
        bench_run(&plain, (void *[]){s.sample, s.text, s.t}, (void *[]){s.out});
        ck_assert_mem_eq(first, s.out, s.out_count * sizeof *first);
        bench_run(&poisoned, (void *[]){s.sample, s.text, s.t}, (void *[]){s.out});
        ck_assert_mem_eq(first, s.out, s.out_count * sizeof *first);
        free(first);
        small_free(&s);
        bench_destroy(&plain);
        bench_destroy(&poisoned);
    }
}
END_TEST

struct counter {
    int seen, allowed;
};

static bool count_step(void *context, int step, int step_count)
{
    struct counter *counter = context;
    ck_assert_int_eq(step, counter->seen);
    ck_assert_int_lt(step, step_count);
    return counter->seen++ < counter->allowed;
}

START_TEST(a_watch_ends_a_run_before_any_kernel_and_changes_no_byte)
{
    struct small s = small_data(1, 8);
    struct bench b = bench_create(small_network(1, 8), &(struct hep_plan_options){.dtype = HEP_F32});
    struct hep_argument in[3] = {{"sample", {s.sample, HEP_F32, HEP_SHAPE(1, 4, 8, 8)}},
                                 {"text", {s.text, HEP_F32, HEP_SHAPE(1, 7, 24)}},
                                 {"t", {s.t, HEP_F32, HEP_SHAPE(1)}}};
    struct hep_argument out = {"out", {s.out, HEP_F32, HEP_SHAPE(1, 4, 8, 8)}};
    struct hep_error error = {0};
    float *first = empty_floats(s.out_count);
    bench_run(&b, (void *[]){s.sample, s.text, s.t}, (void *[]){first});
    for (int allowed = 0; allowed <= b.plan->step_count; allowed++) {
        struct counter counter = {0, allowed};
        enum hep_status status =
            hep_plan_run_watched(b.plan, in, 3, &out, 1, &(struct hep_plan_watch){count_step, &counter}, &error);
        ck_assert_int_eq(status, allowed < b.plan->step_count ? HEP_E_CANCELLED : HEP_OK);
        ck_assert_int_eq(counter.seen, allowed < b.plan->step_count ? allowed + 1 : allowed);
    }
    ck_assert_mem_eq(first, s.out, s.out_count * sizeof *first);
    free(first);
    small_free(&s);
    bench_destroy(&b);
}
END_TEST

START_TEST(bf16_is_near_f32)
{
    enum hep_dtype dtypes[2];
    if (dtypes_here(dtypes) < 2)
        return;
    struct small s = small_data(1, 12);
    struct bench f32 = bench_create(small_network(1, 12), &(struct hep_plan_options){.dtype = HEP_F32});
    struct bench bf16 = bench_create(small_network(1, 12), &(struct hep_plan_options){.dtype = HEP_BF16});
    float *want = empty_floats(s.out_count);
    bench_run(&f32, (void *[]){s.sample, s.text, s.t}, (void *[]){want});
    bench_run(&bf16, (void *[]){s.sample, s.text, s.t}, (void *[]){s.out});
    ck_assert_double_lt(relative_rms(s.out, want, s.out_count), 5e-2);
    free(want);
    small_free(&s);
    bench_destroy(&f32);
    bench_destroy(&bf16);
}
END_TEST

START_TEST(tails_and_equal_linears_are_fused)
{
    struct bench b = bench_create(small_network(1, 8), &(struct hep_plan_options){.dtype = HEP_F32});
    int adds = 0, silus = 0, linears = 0, times = 0;
    for (int i = 0; i < b.plan->step_count; i++) {
        const struct hep_step *step = &b.plan->steps[i];
        adds += strcmp(step->op, "add") == 0;
        silus += strcmp(step->op, "silu") == 0;
        linears += strcmp(step->class_name, "linear") == 0;
        times += strcmp(step->name, "resnets.0.time") == 0 && strstr(step->problem, "n64") != NULL;
    }
    ck_assert_int_eq(adds, 0);  /* every residual is a tail */
    ck_assert_int_eq(silus, 0); /* both resnets' silu of the time is one, and a tail */
    ck_assert_int_eq(times, 1); /* both time projections in one */
    ck_assert_int_eq(linears,
                     3 + 2 * 9 + 1); /* t1 t2 time; per block proj_in qkv o cq ckv co ff1 ff2 proj_out; shortcut */
    bench_destroy(&b);
}
END_TEST

START_TEST(a_wrong_argument_is_refused_by_name)
{
    struct small s = small_data(1, 8);
    struct bench b = bench_create(small_network(1, 8), &(struct hep_plan_options){.dtype = HEP_F32});
    struct hep_error error = {0};
    struct hep_argument in[3] = {{"sample", {s.sample, HEP_F32, HEP_SHAPE(1, 4, 8, 8)}},
                                 {"text", {s.text, HEP_F32, HEP_SHAPE(1, 7, 24)}},
                                 {"t", {s.t, HEP_F32, HEP_SHAPE(1)}}};
    struct hep_argument out = {"out", {s.out, HEP_F32, HEP_SHAPE(1, 4, 8, 8)}};
    ck_assert_int_eq(hep_plan_run(b.plan, in, 3, &out, 1, &error), HEP_OK);
    in[1].tensor.shape = HEP_SHAPE(1, 8, 24);
    ck_assert_int_eq(hep_plan_run(b.plan, in, 3, &out, 1, &error), HEP_E_BAD_FIELD);
    ck_assert_str_eq(error.field, "text");
    in[1].name = "other";
    ck_assert_int_eq(hep_plan_run(b.plan, in, 3, &out, 1, &error), HEP_E_BAD_FIELD);
    ck_assert_int_eq(hep_plan_run(b.plan, in, 2, &out, 1, &error), HEP_E_BAD_FIELD);
    small_free(&s);
    bench_destroy(&b);
}
END_TEST

START_TEST(an_unbound_plan_does_not_run_and_a_small_arena_is_refused)
{
    struct hep_graph *g = small_network(1, 8);
    struct hep_plan *plan;
    struct hep_packed *packed;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_graph_finish(g, &error), HEP_OK);
    ck_assert_int_eq(hep_plan_create(g, &(struct hep_plan_options){.dtype = HEP_F32}, &plan, &error), HEP_OK);
    hep_graph_destroy(g);
    ck_assert_int_eq(hep_plan_run(plan, NULL, 0, NULL, 0, &error), HEP_E_NOT_NOW);
    ck_assert_int_eq(hep_packed_create(plan, hep_random_weights(), NULL, &packed, &error), HEP_OK);
    void *arena = aligned_alloc(HEP_ALIGN, plan->peak_bytes);
    ck_assert_int_eq(hep_plan_bind(plan, packed, arena, plan->peak_bytes - 1, &error), HEP_E_NO_MEMORY);
    ck_assert_int_eq(hep_plan_bind(plan, packed, arena, plan->peak_bytes, &error), HEP_OK);
    hep_plan_destroy(plan);
    hep_packed_close(packed);
    free(arena);
}
END_TEST

/* Nothing behind the arena's peak is touched, and its last byte is. */
START_TEST(the_planned_peak_is_the_memory_that_is_used)
{
    struct small s = small_data(1, 8);
    struct bench b = bench_create(small_network(1, 8), &(struct hep_plan_options){.dtype = HEP_F32, .poison = true});
    size_t peak = b.plan->peak_bytes;
    unsigned char *arena = aligned_alloc(HEP_ALIGN, peak + 4096);
    memset(arena, 0xA5, peak + 4096);
    ck_assert_int_eq(hep_plan_bind(b.plan, b.packed, arena, peak, NULL), HEP_OK);
    bench_run(&b, (void *[]){s.sample, s.text, s.t}, (void *[]){s.out});
    for (size_t i = peak; i < peak + 4096; i++)
        ck_assert_uint_eq(arena[i], 0xA5);
    ck_assert_uint_ne(arena[peak - 1], 0xA5);
    ck_assert_uint_ge(peak, b.plan->live_bytes);
    ck_assert_double_lt((double)peak / (double)b.plan->live_bytes, 1.2);
    bench_destroy(&b);
    free(arena);
    small_free(&s);
}
END_TEST

/* The golden file is this plan as it was reviewed; after an intended change, write it anew with
 * HEP_TEST_WRITE_GOLDEN=1. */
START_TEST(the_plan_is_the_reviewed_one)
{
    static const char path[] = HEP_SOURCE_DIR "/tests/golden/data/plans/graph_small_f32.txt";
    struct bench b = bench_create(small_network(2, 8), &(struct hep_plan_options){.dtype = HEP_F32});
    char *text = NULL, want[16384] = "";
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    hep_plan_print(b.plan, to, HEP_PLAN_NO_PLACES | HEP_PLAN_NO_KERNELS);
    fclose(to);
    FILE *golden = fopen(path, getenv("HEP_TEST_WRITE_GOLDEN") ? "w+" : "r");
    ck_assert_ptr_nonnull(golden);
    if (getenv("HEP_TEST_WRITE_GOLDEN")) {
        fputs(text, golden);
        rewind(golden);
    }
    want[fread(want, 1, sizeof want - 1, golden)] = '\0';
    fclose(golden);
    ck_assert_str_eq(text, want);
    free(text);
    bench_destroy(&b);
}
END_TEST

START_TEST(a_timed_run_fills_the_times_and_prints_them)
{
    struct small s = small_data(1, 8);
    struct bench b = bench_create(small_network(1, 8), &(struct hep_plan_options){.dtype = HEP_F32});
    char *text = NULL;
    size_t size = 0;
    ck_assert_int_eq(b.plan->steps[0].time_ns, 0);
    hep_plan_set_timing(b.plan, true);
    bench_run(&b, (void *[]){s.sample, s.text, s.t}, (void *[]){s.out});
    for (int i = 0; i < b.plan->step_count; i++)
        ck_assert_int_gt(b.plan->steps[i].time_ns, 0);
    FILE *to = open_memstream(&text, &size);
    hep_plan_print(b.plan, to, HEP_PLAN_PRINT_TIME);
    fclose(to);
    ck_assert_ptr_nonnull(strstr(text, "conv2d:f32:n1h8w8c4k32r3s1p1"));
    ck_assert_ptr_nonnull(strstr(text, "GFLOP/s"));
    free(text);
    small_free(&s);
    bench_destroy(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graph run");
    TCase *c = tcase_create("run");
    tcase_set_timeout(c, 100);
    tcase_add_loop_test(c, a_convolution_is_what_the_loops_say, 0, (int)HEP_COUNT_OF(convs));
    tcase_add_loop_test(c, a_residual_is_added_in_place_and_not, 0, 4);
    tcase_add_loop_test(c, attention_on_merged_linears_is_what_the_loops_say, 0, 3);
    tcase_add_test(c, views_slices_and_concats_move_the_right_numbers);
    tcase_add_test(c, a_broadcast_addition_repeats_its_second_argument);
    tcase_add_loop_test(c, pixel_unshuffle_is_what_the_loops_say, 0, 2);
    tcase_add_test(c, embeddings_positions_and_pooling_take_the_right_rows);
    tcase_add_test(c, the_bytes_are_the_same_with_poison_twice_and_in_the_wrong_arena);
    tcase_add_test(c, a_watch_ends_a_run_before_any_kernel_and_changes_no_byte);
    tcase_add_test(c, bf16_is_near_f32);
    tcase_add_test(c, tails_and_equal_linears_are_fused);
    tcase_add_test(c, a_wrong_argument_is_refused_by_name);
    tcase_add_test(c, an_unbound_plan_does_not_run_and_a_small_arena_is_refused);
    tcase_add_test(c, the_planned_peak_is_the_memory_that_is_used);
    tcase_add_test(c, the_plan_is_the_reviewed_one);
    tcase_add_test(c, a_timed_run_fills_the_times_and_prints_them);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
