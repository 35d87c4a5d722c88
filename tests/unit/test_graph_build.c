/* Builders find errors where they are made, name them, and let the model's code go on; plans refuse what cannot run. */
#include "tests/unit/graph_test.h"

#include "nn/cpu/isa.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A listed source with a few tensors. */
static bool find(const struct hep_weight_source *source, const char *name, struct hep_weight_info *info)
{
    static const struct {
        const char *name;
        struct hep_shape shape;
    } tensors[] = {{"conv.weight", {4, {8, 4, 3, 3}}},
                   {"conv.bias", {1, {8}}},
                   {"proj.weight", {4, {6, 8, 1, 1}}},
                   {"flat.weight", {2, {6, 8}}},
                   {"wrong.weight", {2, {6, 9}}},
                   {"norm.weight", {1, {8}}},
                   {"norm.bias", {1, {8}}},
                   {"a.b.alpha", {1, {1}}}};
    (void)source;
    for (size_t i = 0; i < HEP_COUNT_OF(tensors); i++) {
        if (strcmp(tensors[i].name, name) != 0)
            continue;
        if (info)
            *info = (struct hep_weight_info){HEP_F16, tensors[i].shape};
        return true;
    }
    return false;
}

static enum hep_status read_none(const struct hep_weight_source *source, const char *name, float *to, int64_t elements,
                                 struct hep_error *error)
{
    (void)source, (void)to, (void)elements;
    return hep_fail(error, HEP_E_NOT_NOW, "%s is not read here", name);
}

static const struct hep_weight_source_ops listed_ops = {"listed", false, find, read_none};
static const struct hep_weight_source listed = {&listed_ops};

/* Finishes the graph and expects this error, with text in its message. */
static void expect(struct hep_graph *g, enum hep_status code, const char *text)
{
    struct hep_error error = {0};
    enum hep_status status = hep_graph_finish(g, &error);
    ck_assert_msg(status == code, "%s: %s", hep_status_name(status), error.message);
    ck_assert_msg(strstr(error.message, text) != NULL, "\"%s\" does not say \"%s\"", error.message, text);
    hep_graph_destroy(g);
}

static hep_value image(struct hep_graph *g, int64_t c)
{
    return hep_input(g, "x", HEP_F32, HEP_SHAPE(1, 8, 8, c));
}

START_TEST(sizes_come_from_a_listed_source)
{
    struct hep_graph *g = graph_create(&listed);
    hep_value y = hep_conv2d(g, image(g, 4), hep_root(g), "conv", .kernel = 3, .padding = 1);
    ck_assert_int_eq(hep_channels(g, y), 8);
    y = hep_linear(g, y, hep_root(g), "proj", .bias_if_there = true); /* stored as a 1x1 convolution */
    ck_assert_int_eq(hep_channels(g, y), 6);
    hep_output(g, "y", y);
    ck_assert_str_eq(hep_graph_weight(g, 0, NULL), "conv.weight");
    ck_assert_str_eq(hep_graph_weight(g, 2, NULL), "proj.weight");
    ck_assert_ptr_null(hep_graph_weight(g, 3, NULL));
    ck_assert_int_eq(hep_graph_finish(g, NULL), HEP_OK);
    hep_graph_destroy(g);
}
END_TEST

START_TEST(a_source_is_asked_whether_it_has_a_key)
{
    struct hep_graph *g = graph_create(&listed);
    ck_assert(hep_has(hep_root(g), "conv"));
    ck_assert(hep_has(hep_in(hep_in(hep_root(g), "a"), "%c", 'b'), "alpha"));
    ck_assert(!hep_has(hep_root(g), "con"));
    ck_assert(!hep_has(hep_root(g), "conv_shortcut"));
    hep_graph_destroy(g);
    g = graph_create(hep_no_weights());
    ck_assert(!hep_has(hep_root(g), "conv"));
    ck_assert(hep_is_open(g));
    hep_graph_destroy(g);
}
END_TEST

START_TEST(a_missing_weight_and_a_wrong_shape_are_a_bad_model)
{
    struct hep_graph *g = graph_create(&listed);
    hep_linear(g, image(g, 8), hep_in(hep_root(g), "deep"), "gone", .out = 3);
    expect(g, HEP_E_BAD_MODEL, "deep.gone.weight [3, 8] is missing");
    g = graph_create(&listed);
    hep_linear(g, image(g, 8), hep_root(g), "wrong");
    expect(g, HEP_E_BAD_MODEL, "wrong.weight has shape [6, 9]");
    g = graph_create(&listed);
    hep_linear(g, image(g, 8), hep_root(g), "flat"); /* no flat.bias */
    expect(g, HEP_E_BAD_MODEL, "flat.bias");
}
END_TEST

START_TEST(the_first_error_is_kept_and_later_calls_do_nothing)
{
    struct hep_graph *g = graph_create(hep_no_weights());
    hep_value x = image(g, 10);
    hep_value y = hep_group_norm(g, x, hep_root(g), "norm", 3, 1e-5); /* 3 does not divide 10 */
    ck_assert_uint_eq(y.id, 0);
    y = hep_silu(g, hep_conv2d(g, y, hep_root(g), "c", .kernel = 3, .out = 4));
    y = hep_add(g, hep_concat(g, y, x), hep_upsample2x(g, hep_attention(g, y, y, y, .heads = 0)));
    hep_output(g, "y", hep_to_nchw(g, hep_slice(g, hep_to_tokens(g, y), 5, 1)));
    ck_assert_uint_eq(y.id, 0);
    expect(g, HEP_E_BAD_MODEL, "norm: 3 groups");
}
END_TEST

/* One wrong call each. */
static void wrong_call(struct hep_graph *g, int which)
{
    struct hep_scope s = hep_root(g);
    hep_value x = image(g, 8), t = hep_to_tokens(g, x), ids = hep_input(g, "ids", HEP_I32, HEP_SHAPE(1, 64));
    switch (which) {
    case 0:
        hep_conv2d(g, t, s, "c", .out = 8);
        return;
    case 1:
        hep_conv2d(g, x, s, "c", .kernel = 3, .out = 8, .groups = 2);
        return;
    case 2:
        hep_conv2d(g, x, s, "c", .kernel = 9, .out = 8);
        return;
    case 3:
        hep_conv2d(g, x, s, "c", .kernel = 3);
        return;
    case 4:
        hep_add(g, x, t);
        return;
    case 5:
        hep_add_channels(g, x, t);
        return;
    case 6:
        hep_concat(g, x, hep_upsample2x(g, x));
        return;
    case 7:
        hep_slice(g, x, 5, 4);
        return;
    case 8:
        hep_reshape(g, x, HEP_SHAPE(1, 7));
        return;
    case 9:
        hep_attention(g, t, t, t, .heads = 3);
        return;
    case 10:
        hep_attention(g, t, hep_slice(g, t, 0, 4), t, .heads = 2);
        return;
    case 11:
        hep_silu(g, ids);
        return;
    case 12:
        hep_embedding(g, x, s, "e", 10, 10);
        return;
    case 13:
        hep_pool_eos(g, t, x, 1);
        return;
    case 14:
        hep_timestep_embedding(g, x, .width = 5);
        return;
    case 15:
        hep_input(g, "x", HEP_F32, HEP_SHAPE(1));
        return;
    case 16:
        hep_input(g, "zero", HEP_F32, HEP_SHAPE(0, 4));
        return;
    case 17:
        hep_geglu(g, hep_slice(g, x, 0, 3));
        return;
    case 18:
        hep_silu(g, (hep_value){4711});
        return;
    case 19:
        hep_scale(g, x, 1.0 / 0.0);
        return;
    case 20:
        hep_to_image(g, t, 7, 9);
        return;
    case 21:
        hep_pixel_unshuffle(g, x, 3);
        return;
    default:
        hep_conv2d(g, x, s, "c", .kernel = 3, .padding = 3, .out = 8);
    }
}
static const struct {
    enum hep_status code;
    const char *text;
} wrongs[] = {{HEP_E_INTERNAL, "x must be [n, h, w, c]"},
              {HEP_E_UNSUPPORTED, "groups"},
              {HEP_E_OUT_OF_RANGE, "smaller than the kernel"},
              {HEP_E_INTERNAL, "must be given"},
              {HEP_E_INTERNAL, "trailing part"},
              {HEP_E_INTERNAL, "must be [n, c]"},
              {HEP_E_INTERNAL, "differ in the last dimension only"},
              {HEP_E_INTERNAL, "outside the last dimension"},
              {HEP_E_INTERNAL, "number of elements"},
              {HEP_E_BAD_MODEL, "3 heads do not divide"},
              {HEP_E_INTERNAL, "k and v must be"},
              {HEP_E_INTERNAL, "not ids"},
              {HEP_E_INTERNAL, "ids must be"},
              {HEP_E_INTERNAL, "pool_eos"},
              {HEP_E_BAD_MODEL, "width 5"},
              {HEP_E_INTERNAL, "two inputs are named x"},
              {HEP_E_OUT_OF_RANGE, "zero"},
              {HEP_E_INTERNAL, "must be even"},
              {HEP_E_INTERNAL, "not a value of this graph"},
              {HEP_E_INTERNAL, "not finite"},
              {HEP_E_INTERNAL, "[n, h * w, c]"},
              {HEP_E_INTERNAL, "pixel_unshuffle"},
              {HEP_E_INTERNAL, "padding"}};

START_TEST(each_wrong_argument_is_named)
{
    struct hep_graph *g = graph_create(hep_no_weights());
    wrong_call(g, _i);
    expect(g, wrongs[_i].code, wrongs[_i].text);
}
END_TEST

START_TEST(a_graph_needs_outputs_and_uses_for_its_inputs)
{
    struct hep_graph *g = graph_create(hep_no_weights());
    image(g, 4);
    expect(g, HEP_E_INTERNAL, "no output");
    g = graph_create(hep_no_weights());
    hep_value x = image(g, 4);
    hep_input(g, "unused", HEP_F32, HEP_SHAPE(1));
    hep_output(g, "y", hep_silu(g, x));
    expect(g, HEP_E_INTERNAL, "unused");
    g = graph_create(hep_no_weights());
    hep_graph_refuse(g, HEP_E_UNSUPPORTED, "act_fn \"%s\" is not supported", "mish");
    expect(g, HEP_E_UNSUPPORTED, "mish");
}
END_TEST

START_TEST(a_plan_without_weights_knows_flops_and_peak_but_does_not_pack)
{
    struct hep_graph *g = graph_create(hep_no_weights());
    hep_value x = image(g, 16);
    hep_output(g, "y", hep_scale(g, hep_conv2d(g, x, hep_root(g), "c", .kernel = 3, .padding = 1, .out = 32), 2));
    struct hep_plan *plan = NULL;
    struct hep_packed *packed = NULL;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_graph_finish(g, &error), HEP_OK);
    ck_assert_int_eq(hep_plan_create(g, &(struct hep_plan_options){.dtype = HEP_F32}, &plan, &error), HEP_OK);
    ck_assert_double_eq(plan->flops, 2.0 * 64 * 32 * 16 * 9);
    ck_assert_uint_ge(plan->peak_bytes, 64 * 32 * 4);
    ck_assert_uint_ge(plan->weight_bytes, 4 * (32 * 16 * 9 + 32));
    ck_assert_int_eq(hep_packed_create(plan, hep_no_weights(), NULL, &packed, &error), HEP_E_NOT_NOW);
    ck_assert_ptr_null(packed);
    hep_plan_destroy(plan);
    hep_graph_destroy(g);
}
END_TEST

START_TEST(bf16_below_its_level_is_unsupported_hardware_with_a_hint)
{
    struct hep_graph *g = graph_create(hep_no_weights());
    hep_output(g, "y", hep_silu(g, image(g, 4)));
    struct hep_plan *plan = NULL;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_graph_finish(g, &error), HEP_OK);
    enum hep_status status = hep_plan_create(g, &(struct hep_plan_options){.dtype = HEP_BF16}, &plan, &error);
    if (hep_isa_level() >= HEP_ISA_AVX512BF16) {
        ck_assert_int_eq(status, HEP_OK);
        ck_assert_int_eq(hep_backend_auto_dtype(), HEP_BF16);
    } else {
        ck_assert_int_eq(status, HEP_E_UNSUPPORTED_HARDWARE);
        ck_assert_str_ne(error.hint, "");
        ck_assert_int_eq(hep_backend_auto_dtype(), HEP_F32);
    }
    hep_plan_destroy(plan);
    hep_graph_destroy(g);
}
END_TEST

START_TEST(an_operator_that_the_backend_lacks_is_named)
{
    struct hep_backend lacking = *hep_cpu_backend();
    lacking.ops[HEP_OP_RESIZE].create = NULL;
    struct hep_graph *g = graph_create(hep_no_weights());
    hep_output(g, "y", hep_upsample2x(g, image(g, 4)));
    struct hep_plan *plan = NULL;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_graph_finish(g, &error), HEP_OK);
    ck_assert_int_eq(
        hep_plan_create(g, &(struct hep_plan_options){.dtype = HEP_F32, .backend = &lacking}, &plan, &error),
        HEP_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "no operator resize"));
    hep_graph_destroy(g);
}
END_TEST

START_TEST(a_constructors_refusal_carries_the_nodes_name)
{
    struct hep_graph *g = graph_create(hep_no_weights());
    hep_value t = hep_input(g, "t", HEP_F32, HEP_SHAPE(1, 4, 1026)); /* head size 513 */
    hep_output(g, "y", hep_attention(g, t, t, t, .heads = 2));
    struct hep_plan *plan = NULL;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_graph_finish(g, &error), HEP_OK);
    ck_assert_int_eq(hep_plan_create(g, &(struct hep_plan_options){.dtype = HEP_F32}, &plan, &error),
                     HEP_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "head size 513"));
    hep_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graph build");
    TCase *c = tcase_create("build");
    tcase_add_test(c, sizes_come_from_a_listed_source);
    tcase_add_test(c, a_source_is_asked_whether_it_has_a_key);
    tcase_add_test(c, a_missing_weight_and_a_wrong_shape_are_a_bad_model);
    tcase_add_test(c, the_first_error_is_kept_and_later_calls_do_nothing);
    tcase_add_loop_test(c, each_wrong_argument_is_named, 0, (int)HEP_COUNT_OF(wrongs));
    tcase_add_test(c, a_graph_needs_outputs_and_uses_for_its_inputs);
    tcase_add_test(c, a_plan_without_weights_knows_flops_and_peak_but_does_not_pack);
    tcase_add_test(c, bf16_below_its_level_is_unsupported_hardware_with_a_hint);
    tcase_add_test(c, an_operator_that_the_backend_lacks_is_named);
    tcase_add_test(c, a_constructors_refusal_carries_the_nodes_name);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
