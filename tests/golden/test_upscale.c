/*
 * postprocessing.upscale on the tiny upscalers, through heptad-model's and heptad-postprocessing's own code in this
 * process: the same pixels as the network alone gives, the same in tiles as whole, every size. Run as
 * `test_upscale f32|bf16`; HEP_ISA chooses the level. Against torch's numbers: test_networks.
 */
#include "instructors/postprocessing/resize.h"
#include "instructors/postprocessing/state.h"
#include "instructors/postprocessing/upscaler.h"
#include "nn/models/networks.h"
#include "tests/support/check_status.h"
#include "tests/support/golden_level.h"
#include "tests/support/published_model.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#define FILES HEP_SOURCE_DIR "/tests/golden/data/models/tiny-esrgan/"

static enum hep_dtype dtype = HEP_F32;
static struct postprocessing_state state;
static struct published_model model;
static struct hep_call call;

struct postprocessing_state *postprocessing_state(struct hep_call *of)
{
    (void)of;
    return &state;
}

static void begin(const char *file)
{
    published_model_init(&model, file, dtype);
    call = (struct hep_call){.self = &model.self, .session = "s"};
}

static void finish(void)
{
    networks_clear(&state.networks, &model.self);
    published_model_clear(&model);
}

static struct upscaler open_upscaler(int64_t window)
{
    struct upscaler upscaler;
    ck_assert_ok(upscaler_open(&state.networks, &model.self, &model.upscaler, window, NULL, &upscaler, error));
    return upscaler;
}

/* A picture with edges, a ramp and some noise: [height, width, 3]; the caller frees. */
static uint8_t *paint(int64_t height, int64_t width)
{
    uint32_t random = 1;
    uint8_t *pixels = malloc((size_t)(height * width * 3));
    for (int64_t i = 0; i < height * width; i++) {
        int64_t y = i / width, x = i % width;
        random = random * 1664525u + 1013904223u;
        pixels[3 * i] = (uint8_t)((x / 9 + y / 7) % 2 ? 210 : 40);
        pixels[3 * i + 1] = (uint8_t)(2 * x + y);
        pixels[3 * i + 2] = (uint8_t)(90 + (random >> 26));
    }
    return pixels;
}

static uint8_t *run(const struct upscaler *upscaler, const uint8_t *from, int64_t height, int64_t width)
{
    uint8_t *to = malloc((size_t)(height * width * upscaler->scale * upscaler->scale * 3));
    ck_assert_ok(upscaler_run(upscaler, HEP_U8, from, height, width, to, error));
    return to;
}

static const struct {
    const char *file;
    int64_t scale;
} files[] = {{FILES "tiny-esrgan-x4.safetensors", 4}, {FILES "tiny-esrgan-x2.safetensors", 2}};

/* The network by itself, in private memory, on the image as numbers. */
START_TEST(an_image_gets_the_pixels_that_the_network_gives)
{
    const int64_t height = 24, width = 30, scale = files[_i].scale;
    const struct hep_network_kind *kind = hep_network_kind_find("upscaler");
    struct hep_model *opened;
    struct hep_component *component;
    union hep_any_config config;
    struct hep_graph *graph;
    struct hep_network_instance instance = {0};
    struct hep_plan_options options = {.dtype = dtype};
    struct hep_network_size size = {.batch = 1, .height = height, .width = width};
    begin(files[_i].file);
    struct upscaler upscaler = open_upscaler(0);
    ck_assert_int_eq(upscaler.scale, scale);
    uint8_t *image = paint(height, width), *got = run(&upscaler, image, height, width);
    float *planes = malloc((size_t)(height * width * 3) * sizeof *planes);
    float *out = malloc((size_t)(height * width * scale * scale * 3) * sizeof *out);
    for (int64_t i = 0; i < height * width * 3; i++)
        planes[i % 3 * height * width + i / 3] = (float)image[i] / 255.0f;
    ck_assert_ok(hep_model_open_file(files[_i].file, "upscaler", &opened, error));
    ck_assert_ok(hep_model_component(opened, "upscaler", NULL, &component, error));
    ck_assert_ok(kind->read_config(hep_component_config(component), "it", &config, error));
    ck_assert_ok(hep_network_kind_graph(kind, &config, &size, (struct hep_stages){0}, hep_component_weights(component),
                                        &graph, error));
    ck_assert_ok(hep_network_instance_init(&instance, graph, &options, hep_component_weights(component), NULL, error));
    struct hep_argument input = {"image", {planes, HEP_F32, HEP_SHAPE(1, 3, height, width)}};
    struct hep_argument output = {"out", {out, HEP_F32, HEP_SHAPE(1, 3, height * scale, width * scale)}};
    ck_assert_ok(hep_plan_run(instance.plan, &input, 1, &output, 1, error));
    int64_t places = height * width * scale * scale;
    for (int64_t i = 0; i < places * 3; i++) {
        double level = fmin(fmax(255.0 * (double)out[i % 3 * places + i / 3], 0), 255);
        ck_assert_msg(fabs(got[i] - level) <= 0.5 + 1e-4, "value %d is %d, not %g", (int)i, got[i], level);
    }
    hep_network_instance_clear(&instance);
    hep_graph_destroy(graph);
    hep_component_close(component);
    hep_model_close(opened);
    free(image), free(got), free(planes), free(out);
    finish();
}
END_TEST

/* The tiny networks see 34 places to each side; a tile has 32 of context, 16 where it fades out. Stated in
   docs/postprocessing.md: no value differs by more than one level; one in a hundred by that in bf16, whose last bit is
   worth more, and hardly any in f32. */
START_TEST(tiles_give_what_the_whole_gives)
{
    const int64_t factor = files[_i].scale == 2 ? 2 : 1, height = 140 * factor, width = 230 * factor;
    begin(files[_i].file);
    uint8_t *image = paint(height, width);
    struct upscaler whole = open_upscaler(512), tiled = open_upscaler(files[_i].scale == 2 ? 256 : 128);
    struct upscaler_cost all, one;
    ck_assert_ok(upscaler_cost(&whole, height, width, &all, error));
    ck_assert_ok(upscaler_cost(&tiled, height, width, &one, error));
    ck_assert_int_eq(all.windows, 1);
    ck_assert_int_eq(one.windows, 6);
    ck_assert_uint_lt(one.bytes, all.bytes);
    uint8_t *want = run(&whole, image, height, width), *got = run(&tiled, image, height, width);
    int64_t values = height * width * whole.scale * whole.scale * 3, differ = 0, worst = 0;
    for (int64_t i = 0; i < values; i++) {
        int64_t difference = labs((long)got[i] - want[i]);
        differ += difference != 0;
        worst = difference > worst ? difference : worst;
    }
    printf("x%d %s: %d windows, %d of %d values differ, worst %d of 255 levels\n", (int)whole.scale,
           hep_dtype_name(dtype), (int)one.windows, (int)differ, (int)values, (int)worst);
    ck_assert_int_le(worst, 1);
    ck_assert_int_le(differ, values / (dtype == HEP_F32 ? 10000 : 100));
    free(image), free(want), free(got);
    finish();
}
END_TEST

START_TEST(memory_is_that_of_one_window_whatever_the_size)
{
    struct upscaler_cost small, large;
    begin(files[_i].file);
    struct upscaler upscaler = open_upscaler(320);
    ck_assert_ok(upscaler_cost(&upscaler, 320, 320, &small, error));
    ck_assert_ok(upscaler_cost(&upscaler, 3000, 4000, &large, error));
    ck_assert_uint_le(large.bytes, small.bytes + 4096);
    ck_assert_int_gt(large.windows, 50);
    ck_assert_double_gt(large.flops, 50 * small.flops);
    finish();
}
END_TEST

/* pixel_unshuffle wants even sides: what is added repeats the last row and column. */
START_TEST(an_odd_image_is_the_even_one_cut_off)
{
    const int64_t height = 13, width = 17;
    begin(FILES "tiny-esrgan-x2.safetensors");
    struct upscaler upscaler = open_upscaler(0);
    uint8_t *image = paint(height, width), even[14 * 18 * 3];
    for (int64_t y = 0; y < 14; y++)
        for (int64_t x = 0; x < 18; x++)
            memcpy(even + (y * 18 + x) * 3,
                   image + ((y < height ? y : height - 1) * width + (x < width ? x : width - 1)) * 3, 3);
    uint8_t *got = run(&upscaler, image, height, width), *want = run(&upscaler, even, 14, 18);
    for (int64_t y = 0; y < 2 * height; y++)
        ck_assert_mem_eq(got + y * 2 * width * 3, want + y * 36 * 3, (size_t)(2 * width * 3));
    free(image), free(got), free(want);
    finish();
}
END_TEST

START_TEST(any_number_of_threads_gives_the_same_bytes)
{
    const int64_t height = 40, width = 50;
    begin(files[_i].file);
    struct upscaler upscaler = open_upscaler(0);
    uint8_t *image = paint(height, width);
    omp_set_num_threads(1);
    uint8_t *one = run(&upscaler, image, height, width);
    omp_set_num_threads(2);
    uint8_t *two = run(&upscaler, image, height, width);
    ck_assert_mem_eq(one, two, (size_t)(height * width * upscaler.scale * upscaler.scale * 3));
    free(image), free(one), free(two);
    finish();
}
END_TEST

/* ---- the operation ---- */
/* Asks for it with these fields on these images; what it gives, with NULL for data and the error if it does not. */
static struct hep_tensor upscale_tensor(struct upscale_request request, const struct hep_tensor *from, bool deep,
                                        struct size_reply *size, struct hep_error *error)
{
    struct hep_tensor to = {0};
    struct hep_output_plan plan = {0};
    request.filter = hep_str_of(request.filter.data ? request.filter.data : "lanczos");
    if (upscale_measure(&call, &request, &from->shape, from->dtype, deep, &plan, error) != HEP_OK)
        return to;
    ck_assert_int_eq(plan.count, 1);
    to = (struct hep_tensor){NULL, plan.outputs[0].dtype, plan.outputs[0].shape};
    to.data = malloc((size_t)(to.shape.dims[1] * to.shape.dims[2] * 3) * hep_dtype_bytes(to.dtype));
    if (upscale_images(&call, &request, from, deep, &to, size, error) == HEP_OK) {
        ck_assert_int_eq(size->height, to.shape.dims[1]);
        ck_assert_int_eq(size->width, to.shape.dims[2]);
        return to;
    }
    free(to.data);
    to.data = NULL;
    return to;
}

/* The same on an image of height × width in bytes. */
static uint8_t *upscale(struct upscale_request request, const uint8_t *image, int64_t height, int64_t width,
                        struct size_reply *size, struct hep_error *error)
{
    const struct hep_tensor from = {(void *)(uintptr_t)image, HEP_U8, HEP_SHAPE(1, height, width, 3)};
    return upscale_tensor(request, &from, false, size, error).data;
}

static const struct size_case {
    double scale;
    int32_t width, height;
    bool network;
    int32_t wide, tall; /* of the result, from 20 wide, 16 tall */
} sizes[] = {
    {0, 0, 0, true, 80, 64},   {2, 0, 0, true, 40, 32},   {1.5, 0, 0, false, 30, 24},
    {0, 50, 0, true, 50, 40},  {0, 0, 33, false, 41, 33}, {0, 70, 30, true, 70, 30},
    {7, 0, 0, true, 140, 112}, {0.5, 0, 0, false, 10, 8}, {1, 0, 0, false, 20, 16},
};

START_TEST(every_way_to_say_a_size_gives_it)
{
    const struct size_case *s = &sizes[_i];
    struct size_reply size;
    struct hep_error why = {0};
    begin(files[0].file);
    uint8_t *image = paint(16, 20);
    struct upscale_request request = {.scale = s->scale, .width = s->width, .height = s->height};
    if (s->network)
        request.upscaler = model.upscaler;
    uint8_t *got = upscale(request, image, 16, 20, &size, &why);
    ck_assert_msg(got != NULL, "%s", why.message);
    ck_assert_int_eq(size.width, s->wide);
    ck_assert_int_eq(size.height, s->tall);
    free(got);
    free(image);
    finish();
}
END_TEST

/* ×2 of a ×4 network: the network, then Lanczos; ×7: the network twice. */
START_TEST(the_network_comes_before_the_filter)
{
    struct size_reply size;
    struct hep_error why = {0};
    begin(files[0].file);
    struct upscaler upscaler = open_upscaler(0);
    uint8_t *image = paint(16, 20), *four = run(&upscaler, image, 16, 20), *sixteen = run(&upscaler, four, 64, 80);
    static const struct {
        double scale;
        int64_t height, width, reached_height, reached_width;
    } rows[] = {{2, 32, 40, 64, 80}, {7, 112, 140, 256, 320}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct resize resize = {.dtype = HEP_U8,
                                .channels = 3,
                                .height = rows[i].reached_height,
                                .width = rows[i].reached_width,
                                .out_height = rows[i].height,
                                .out_width = rows[i].width};
        uint8_t *want = malloc((size_t)(rows[i].height * rows[i].width * 3));
        ck_assert_ok(resize_image(&resize, i == 0 ? four : sixteen, want, error));
        struct upscale_request request = {.scale = rows[i].scale, .upscaler = model.upscaler};
        uint8_t *got = upscale(request, image, 16, 20, &size, &why);
        ck_assert_msg(got != NULL, "%s", why.message);
        ck_assert_mem_eq(got, want, (size_t)(rows[i].height * rows[i].width * 3));
        free(want), free(got);
    }
    free(image), free(four), free(sixteen);
    finish();
}
END_TEST

static const struct deep_case {
    double scale;
    const char *filter;
    bool network, is_deep;
} deeps[] = {{0, "lanczos", true, true},    {2, "lanczos", true, true},     {2, "nearest", true, true},
             {1.5, "lanczos", false, true}, {1.5, "bilinear", false, true}, {2, "nearest", false, false},
             {1, "lanczos", false, false}};

/* Of bytes, too: what the network or a filter makes is as of the same image in f32. What makes no value of its own
   stays what it was. */
START_TEST(for_a_file_of_16_bits_new_values_are_not_rounded)
{
    enum { COUNT = 16 * 20 * 3 };
    const struct deep_case *c = &deeps[_i];
    struct size_reply size;
    struct hep_error why = {0};
    static float wide[COUNT];
    begin(files[0].file);
    uint8_t *image = paint(16, 20);
    for (int i = 0; i < COUNT; i++)
        wide[i] = image[i];
    const struct hep_tensor bytes = {image, HEP_U8, HEP_SHAPE(1, 16, 20, 3)},
                            floats = {wide, HEP_F32, HEP_SHAPE(1, 16, 20, 3)};
    struct upscale_request request = {.scale = c->scale, .filter = hep_str_of(c->filter)};
    if (c->network)
        request.upscaler = model.upscaler;
    struct hep_tensor plain = upscale_tensor(request, &bytes, false, &size, &why),
                      want = upscale_tensor(request, &floats, false, &size, &why);
    struct hep_tensor got = upscale_tensor(request, &bytes, true, &size, &why);
    ck_assert_msg(plain.data && want.data && got.data, "%s", why.message);
    ck_assert_int_eq(plain.dtype, HEP_U8);
    ck_assert_int_eq(got.dtype, c->is_deep ? HEP_F32 : HEP_U8);
    size_t count = (size_t)(got.shape.dims[1] * got.shape.dims[2] * 3), between = 0;
    for (size_t i = 0; c->is_deep && i < count; i++)
        between += ((float *)got.data)[i] != rintf(((float *)got.data)[i]);
    ck_assert_msg(!c->is_deep || between > count / 4, "%zu of %zu values are none of 8 bits", between, count);
    ck_assert_mem_eq(got.data, c->is_deep ? want.data : plain.data, count * hep_dtype_bytes(got.dtype));
    free(plain.data), free(want.data), free(got.data), free(image);
    finish();
}
END_TEST

static const struct {
    struct upscale_request request;
    int64_t height, width;
    enum hep_status code;
    const char *field;
} wrongs[] = {
    {{.scale = 0}, 16, 20, HEP_E_MISSING_FIELD, "scale"},
    {{.scale = 2, .width = 30}, 16, 20, HEP_E_CONFLICT, "scale"},
    {{.scale = 60}, 400, 400, HEP_E_OUT_OF_RANGE, "scale"},
    {{.scale = 2}, 0, 20, HEP_E_BAD_REFERENCE, "image"},
    {{.scale = 2, .tile = 100, .upscaler = {.dtype = HEP_U8}}, 16, 20, HEP_E_OUT_OF_RANGE, "tile"},
    {{.width = 17000, .upscaler = {.dtype = HEP_U8}}, 16, 20, HEP_E_OUT_OF_RANGE, "scale"},
};

START_TEST(what_cannot_be_is_refused_by_its_field)
{
    struct upscale_request request = wrongs[_i].request;
    struct hep_error why = {0};
    struct size_reply size;
    uint8_t pixels[3] = {0};
    begin(files[0].file);
    if (request.upscaler.dtype)
        request.upscaler = model.upscaler;
    ck_assert_ptr_null(upscale(request, pixels, wrongs[_i].height, wrongs[_i].width, &size, &why));
    ck_assert_msg(why.code == wrongs[_i].code && strcmp(why.field, wrongs[_i].field) == 0, "%s", why.message);
    finish();
}
END_TEST

START_TEST(a_cancelled_call_ends_between_two_windows)
{
    struct hep_error why = {0};
    struct size_reply size;
    int checks = 200;
    begin(files[0].file);
    uint8_t *image = paint(150, 200);
    call.checks_left = &checks;
    struct upscale_request request = {.upscaler = model.upscaler, .tile = 128};
    ck_assert_ptr_null(upscale(request, image, 150, 200, &size, &why));
    ck_assert_int_eq(why.code, HEP_E_CANCELLED);
    free(image);
    finish();
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    TCase *tcase = tcase_create("upscale");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, an_image_gets_the_pixels_that_the_network_gives, 0, 2);
    tcase_add_loop_test(tcase, tiles_give_what_the_whole_gives, 0, 2);
    tcase_add_loop_test(tcase, memory_is_that_of_one_window_whatever_the_size, 0, 2);
    tcase_add_test(tcase, an_odd_image_is_the_even_one_cut_off);
    tcase_add_loop_test(tcase, any_number_of_threads_gives_the_same_bytes, 0, 2);
    tcase_add_loop_test(tcase, every_way_to_say_a_size_gives_it, 0, (int)HEP_COUNT_OF(sizes));
    tcase_add_test(tcase, the_network_comes_before_the_filter);
    tcase_add_loop_test(tcase, for_a_file_of_16_bits_new_values_are_not_rounded, 0, (int)HEP_COUNT_OF(deeps));
    tcase_add_loop_test(tcase, what_cannot_be_is_refused_by_its_field, 0, (int)HEP_COUNT_OF(wrongs));
    tcase_add_test(tcase, a_cancelled_call_ends_between_two_windows);
    return check_status_run("upscale", tcase);
}
