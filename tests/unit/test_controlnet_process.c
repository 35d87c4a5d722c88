/*
 * ControlNets through the real domain processes: found, published, held and taken over by heptad-model, hints made by
 * heptad-conditioning, and a steered denoising that is killed and goes on.
 */
#include "common/operation.h"
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/support/txt2img.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MODELS HEP_SOURCE_DIR "/tests/golden/data/models"
enum { STEPS = 60, SIDE = 64, ROUNDS = 3 };

static struct txt2img run;
static json_t *picture, *hint; /* references: u8 [1, SIDE, SIDE, 3], f32 [3, SIDE, SIDE] */
static struct hep_mapping given;
static size_t hint_at;
static const struct txt2img_request cat = {.prompt = "a red cat",
                                           .negative_prompt = "",
                                           .scheduler = "euler_ancestral",
                                           .rng = "philox",
                                           .steps = STEPS,
                                           .width = SIDE,
                                           .height = SIDE,
                                           .count = 2,
                                           .guidance_scale = 5,
                                           .seed = 42};

/* As the engine would: an arena for what is given, with a picture of a bright square in it. */
static void make_picture(void)
{
    struct hep_arena_region regions[] = {{"image", HEP_U8, HEP_SHAPE(1, SIDE, SIDE, 3), 0},
                                         {"hint", HEP_F32, HEP_SHAPE(3, SIDE, SIDE), 0}};
    struct hep_segment_name name;
    char text[HEP_SEGMENT_NAME_MAX];
    uint64_t bytes;
    int fd;
    ck_assert_ok(hep_segment_name_make(run.instance, HEP_SEGMENT_ARENA, "given", 1, &name, error));
    ck_assert_ok(hep_arena_plan(regions, 2, &bytes, error));
    ck_assert_ok(hep_arena_create(&name, 2, bytes, error));
    ck_assert_ok(hep_segment_open(&name, true, &fd, &bytes, error));
    ck_assert_ok(hep_mapping_of_fd(fd, hep_segment_name_text(&name, text), bytes, true, &given, error));
    close(fd);
    struct hep_tensor_ref image = hep_arena_ref(&name, &regions[0]), made = hep_arena_ref(&name, &regions[1]);
    unsigned char *pixels = (unsigned char *)given.data + image.offset;
    for (int y = 16; y < 48; y++)
        memset(pixels + (y * SIDE + 16) * 3, 220, (size_t)32 * 3);
    picture = hep_ref_to_json(&image);
    hint = hep_ref_to_json(&made);
    hint_at = made.offset;
}

static void setup(void)
{
    txt2img_start(&run, "ctl", MODELS, "tiny-sd15", HEP_F32);
    make_picture();
}

static void teardown(void)
{
    json_decref(picture);
    json_decref(hint);
    hep_mapping_clear(&given);
    txt2img_end(&run);
}

static json_t *load(const char *name, const char *session)
{
    return domain_call(run.model, "load_controlnet", "", false,
                       json_pack("{s:s, s:s}", "controlnet", name, "session", session));
}

static json_t *make_hint(const char *preprocessor)
{
    return domain_call(run.conditioning, "control_hint", "s", false,
                       json_pack("{s:O, s:O, s:s}", "image", picture, "hint", hint, "preprocessor", preprocessor));
}

static int64_t of_models(const char *field)
{
    json_t *status = domain_status(run.model);
    int64_t value = hep_json_int(json_object_get(status, "models"), field, -1);
    json_decref(status);
    return value;
}

START_TEST(controlnets_are_listed_by_kind_and_are_no_models)
{
    size_t i;
    json_t *row, *reply = domain_call(run.model, "list", "", false, json_pack("{s:s}", "kind", "controlnet"));
    json_t *list = json_object_get(reply, "models");
    ck_assert_uint_eq(json_array_size(list), 2);
    json_array_foreach(list, i, row)
    {
        bool pair = strcmp(hep_json_str(row, "name", ""), "tiny-controlnet-sdxl") == 0;
        ck_assert(hep_json_bool(row, "usable", false));
        ck_assert_str_eq(hep_json_str(row, "kind", ""), "controlnet");
        ck_assert_str_eq(hep_json_str(row, "family", ""), pair ? "sdxl" : "sd1");
        ck_assert_int_gt(hep_json_int(row, "bytes", 0), 0);
    }
    json_decref(reply);
    struct hep_error error = {0};
    ck_assert_int_eq(
        domain_ask(run.model, "load", "", false, json_pack("{s:s}", "model", "tiny-controlnet"), NULL, &error),
        HEP_E_NOT_FOUND);
    ck_assert_int_eq(domain_ask(run.model, "load_controlnet", "", false, json_pack("{s:s}", "controlnet", "tiny-sd15"),
                                NULL, &error),
                     HEP_E_NOT_FOUND);
    ck_assert_str_eq(error.field, "controlnet");
    ck_assert_msg(strstr(error.hint, "tiny-controlnet"), "%s", error.hint);
}
END_TEST

/* Answers of inference.estimate for one image at SIDE × SIDE; network may be NULL. Returns a field. */
static double estimated(json_t *network, int evaluations, const char *field)
{
    json_t *reply =
        domain_call(run.inference, "estimate", "", false,
                    json_pack("{s:O, s:i, s:i, s:i, s:O?}", "unet", json_object_get(run.weights, "unet"), "width", SIDE,
                              "height", SIDE, "evaluations", evaluations, "controlnet_1", network));
    double value = hep_json_num(reply, field, -1);
    json_decref(reply);
    return value;
}

START_TEST(estimates_count_evaluations_and_controlnets)
{
    json_t *loaded = load("tiny-controlnet", ""), *network = json_object_get(loaded, "controlnet");
    double plain = estimated(NULL, 1, "flops"), steered = estimated(network, 1, "flops");
    ck_assert(plain > 0 && steered > 1.2 * plain && steered < 2.5 * plain);
    ck_assert(estimated(network, 1, "peak_bytes") > estimated(NULL, 1, "peak_bytes"));
    ck_assert_double_eq_tol(estimated(network, 30, "flops"), 30 * steered, 1);
    ck_assert_double_eq_tol(estimated(network, 30, "flops_per_evaluation"), steered, 1);
    json_decref(loaded);

    json_t *plan = domain_call(run.scheduler, "plan", "", true,
                               json_pack("{s:s, s:i}", "scheduler", "heun", "num_inference_steps", 10));
    ck_assert_int_eq(hep_json_int(plan, "evaluations", 0), 19);
    json_decref(plan);
}
END_TEST

START_TEST(a_controlnet_is_published_once_held_by_its_session_and_taken_over)
{
    int64_t components = of_models("components"), packed = of_models("packed");
    json_t *first = load("tiny-controlnet", "holder"), *second = load("tiny-controlnet", "holder");
    ck_assert(json_equal(first, second));
    ck_assert_int_eq(of_models("components"), components + 1);
    ck_assert_int_eq(of_models("packed"), packed + 1);
    ck_assert_int_eq(of_models("pins"), 1);
    struct hep_error error = {0};
    ck_assert_int_eq(domain_ask(run.model, "unload", "", false,
                                json_pack("{s:s}", "model", "controlnet:tiny-controlnet"), NULL, &error),
                     HEP_E_NOT_NOW);
    domain_signal(run.model, SIGKILL);
    domain_end(run.model);
    const char *const arguments[] = {"--set", "models.paths=" MODELS, "--set", "models.dtype=f32", NULL};
    run.model = domain_start_stdio("model", run.instance, arguments);
    json_t *adopted = load("tiny-controlnet", "");
    ck_assert(json_equal(first, adopted));
    ck_assert_int_eq(of_models("packed"), 0);
    json_decref(domain_call(run.model, "unload", "", false, json_pack("{s:s}", "model", "controlnet:tiny-controlnet")));
    ck_assert_int_eq(of_models("components"), components);
    json_decref(first);
    json_decref(second);
    json_decref(adopted);
}
END_TEST

START_TEST(a_hint_is_the_image_or_its_edges)
{
    const float *values = (const float *)(const void *)((const char *)given.data + hint_at);
    json_t *reply = make_hint("none");
    ck_assert_float_eq_tol(values[32 * SIDE + 32], 220.0f / 255, 1e-7f);
    ck_assert_float_eq(values[0], 0);
    ck_assert_int_eq(hep_json_int(reply, "edges", -1), 0);
    json_decref(reply);
    reply = make_hint("canny");
    int on = 0;
    for (int i = 0; i < 3 * SIDE * SIDE; i++) {
        ck_assert(values[i] <= 0 || values[i] >= 1);
        on += values[i] >= 1;
    }
    ck_assert_int_gt(on, 3 * 100); /* around a square of 32 */
    ck_assert_int_lt(on, 3 * 200);
    ck_assert_int_eq(hep_json_int(reply, "edges", -1), on / 3);
    json_decref(reply);
    struct hep_error error = {0};
    json_t *wrong = json_deep_copy(picture);
    json_object_set_new(wrong, "shape", json_pack("[i, i, i, i]", 2, SIDE, SIDE / 2, 3));
    ck_assert_int_eq(
        domain_ask(run.conditioning, "control_hint", "s", true, json_pack("{s:O}", "image", wrong), NULL, &error),
        HEP_E_BAD_REFERENCE);
    ck_assert_str_eq(error.field, "image");
    json_decref(wrong);
}
END_TEST

static int64_t planned_bytes(const struct txt2img_arena *arena)
{
    json_t *reply = domain_call(run.inference, "generate", "m", true, txt2img_generate(&run, arena));
    int64_t bytes = hep_json_int(reply, "memory_bytes", -1);
    json_decref(reply);
    return bytes;
}

/* Two ControlNets under guidance, one of them in guess mode and until half of the steps. */
static void steer(void)
{
    json_t *loaded = load("tiny-controlnet", "");
    json_t *network = json_object_get(loaded, "controlnet");
    json_decref(make_hint("canny"));
    run.control = json_pack("{s:O, s:O, s:f, s:O, s:O, s:b, s:f}", "controlnet_1", network, "control_hint_1", hint,
                            "control_scale_1", 0.8, "controlnet_2", network, "control_hint_2", hint, "control_guess_2",
                            true, "control_end_2", 0.5);
    json_decref(loaded);
}

static uint64_t commits(const struct txt2img_arena *arena)
{
    size_t bytes;
    return __atomic_load_n((const uint64_t *)txt2img_field(arena, "state", &bytes), __ATOMIC_ACQUIRE);
}

static void admit(const char *session, struct txt2img_arena *arena)
{
    txt2img_admit(&run, session, &cat, arena);
    txt2img_prepare(&run, arena);
}

static void expect_latents(const struct txt2img_arena *a, const struct txt2img_arena *b, bool equal)
{
    size_t size_a, size_b;
    const void *bytes_a = txt2img_field(a, "latents", &size_a), *bytes_b = txt2img_field(b, "latents", &size_b);
    ck_assert_uint_eq(size_a, size_b);
    ck_assert_msg((memcmp(bytes_a, bytes_b, size_a) == 0) == equal, "%s, %s", a->session, b->session);
}

START_TEST(steered_and_killed_at_any_step_it_goes_on_there_and_the_bytes_are_the_same)
{
    struct txt2img_arena plain, whole;
    unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    admit("plain", &plain);
    json_decref(domain_call(run.inference, "generate", "plain", false, txt2img_generate(&run, &plain)));
    int64_t unsteered = planned_bytes(&plain);
    steer();
    ck_assert_int_gt(planned_bytes(&plain), unsteered);
    admit("whole", &whole);
    json_decref(domain_call(run.inference, "generate", "whole", false, txt2img_generate(&run, &whole)));
    expect_latents(&plain, &whole, false);
    for (int i = 0; i < ROUNDS; i++) {
        char session[32];
        struct txt2img_arena killed;
        uint64_t after = 1 + (uint64_t)rand_r(&seed) % (STEPS - 10);
        snprintf(session, sizeof session, "killed%d", i);
        admit(session, &killed);
        struct domain_answer *answer = domain_send(run.inference, "generate", session, txt2img_generate(&run, &killed));
        while (commits(&killed) < after)
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        domain_signal(run.inference, SIGKILL);
        ck_assert_int_eq(domain_receive(run.inference, answer, NULL, NULL), HEP_E_DOMAIN_DOWN);
        domain_end(run.inference);
        run.inference = domain_start_stdio("inference", run.instance, NULL);
        json_t *reply = domain_call(run.inference, "generate", session, false, txt2img_generate(&run, &killed));
        ck_assert_int_ge(hep_json_int(reply, "resumed_from", 0), (int64_t)after);
        ck_assert_int_eq(hep_json_int(reply, "redone_rows", -1), 0);
        json_decref(reply);
        expect_latents(&whole, &killed, true);
        txt2img_arena_clear(&killed);
    }
    txt2img_arena_clear(&plain);
    txt2img_arena_clear(&whole);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("processes");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, estimates_count_evaluations_and_controlnets);
    tcase_add_test(tcase, controlnets_are_listed_by_kind_and_are_no_models);
    tcase_add_test(tcase, a_controlnet_is_published_once_held_by_its_session_and_taken_over);
    tcase_add_test(tcase, a_hint_is_the_image_or_its_edges);
    tcase_add_test(tcase, steered_and_killed_at_any_step_it_goes_on_there_and_the_bytes_are_the_same);
    return check_status_run("controlnet_process", tcase);
}
