/*
 * heptad-inference as a process: killed at a random step, drained, asked by several sessions at once, fed with
 * references that do not hold; and the memory of the computing domains over many calls.
 */
#include "common/operation.h"
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/support/txt2img.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TINY_MODELS HEP_SOURCE_DIR "/tests/golden/data/models"
enum { STEPS = 80, ROUNDS = 4 }; /* many: a step is short, and the test may be kept waiting */

static struct txt2img run;
static const struct txt2img_request cat = {.prompt = "a [red|green] cat [on a table:0.5]",
                                           .negative_prompt = "",
                                           .scheduler = "euler_ancestral",
                                           .rng = "philox",
                                           .steps = STEPS,
                                           .width = 64,
                                           .height = 64,
                                           .count = 2,
                                           .guidance_scale = 5,
                                           .seed = 42};

static void setup(void)
{
    txt2img_start(&run, "inf", TINY_MODELS, "tiny-sd15", HEP_F32);
}

static void teardown(void)
{
    txt2img_end(&run);
}

static void admit(const char *session, const struct txt2img_request *request, struct txt2img_arena *arena)
{
    txt2img_admit(&run, session, request, arena);
    txt2img_prepare(&run, arena);
}

static void generate(const struct txt2img_arena *arena)
{
    json_decref(domain_call(run.inference, "generate", arena->session, false, txt2img_generate(&run, arena)));
}

/* Commits of image 0: the first word of the state. */
static uint64_t commits(const struct txt2img_arena *arena)
{
    size_t bytes;
    const uint64_t *word = txt2img_field(arena, "state", &bytes);
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void wait_commits(const struct txt2img_arena *arena, uint64_t count)
{
    while (commits(arena) < count)
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

static void expect_equal(const struct txt2img_arena *a, const struct txt2img_arena *b, const char *field)
{
    size_t size_a, size_b;
    const void *bytes_a = txt2img_field(a, field, &size_a), *bytes_b = txt2img_field(b, field, &size_b);
    ck_assert_uint_eq(size_a, size_b);
    ck_assert_msg(memcmp(bytes_a, bytes_b, size_a) == 0, "%s and %s have other %s", a->session, b->session, field);
}

START_TEST(killed_at_any_step_it_goes_on_there_and_the_bytes_are_the_same)
{
    struct txt2img_arena whole;
    unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    admit("whole", &cat, &whole);
    generate(&whole);
    for (int i = 0; i < ROUNDS; i++) {
        char session[32];
        struct txt2img_arena killed;
        uint64_t after = 1 + (uint64_t)rand_r(&seed) % (STEPS / 2);
        snprintf(session, sizeof session, "killed%d", i);
        admit(session, &cat, &killed);
        struct domain_answer *answer = domain_send(run.inference, "generate", session, txt2img_generate(&run, &killed));
        wait_commits(&killed, after);
        domain_signal(run.inference, SIGKILL);
        ck_assert_int_eq(domain_receive(run.inference, answer, NULL, NULL), HEP_E_DOMAIN_DOWN);
        domain_end(run.inference);
        run.inference = domain_start_stdio("inference", run.instance, NULL);
        json_t *reply = domain_call(run.inference, "generate", session, false, txt2img_generate(&run, &killed));
        ck_assert_int_ge(hep_json_int(reply, "resumed_from", 0), (int64_t)after);
        ck_assert_int_eq(hep_json_int(reply, "redone_rows", -1), 0);
        json_decref(reply);
        expect_equal(&whole, &killed, "latents");
        txt2img_arena_clear(&killed);
    }
    txt2img_arena_clear(&whole);
}
END_TEST

START_TEST(saved_steps_of_other_weights_are_not_used)
{
    struct txt2img_arena arena;
    admit("other", &cat, &arena);
    generate(&arena);
    json_t *request = txt2img_generate(&run, &arena);
    json_object_set_new(request, "fingerprint", json_string("0123"));
    json_t *reply = domain_call(run.inference, "generate", "other", false, request);
    ck_assert_int_eq(hep_json_int(reply, "resumed_from", -1), 0);
    ck_assert_int_eq(hep_json_int(reply, "redone_rows", -1), 2);
    ck_assert_str_eq(hep_json_str(reply, "restarted_because", ""), "other_fingerprint");
    json_decref(reply);
    txt2img_arena_clear(&arena);
}
END_TEST

START_TEST(a_drain_answers_at_the_boundary_and_the_next_process_goes_on)
{
    struct txt2img_arena whole, drained;
    struct hep_error error = {0};
    admit("whole", &cat, &whole);
    generate(&whole);
    admit("drained", &cat, &drained);
    struct domain_process *process = domain_start("inference", run.instance, NULL);
    struct domain_answer *answer = domain_send(process, "generate", "drained", txt2img_generate(&run, &drained));
    wait_commits(&drained, 2);
    domain_signal(process, SIGTERM);
    ck_assert_int_eq(domain_receive(process, answer, NULL, &error), HEP_E_DOMAIN_DOWN);
    ck_assert_msg(strstr(error.message, "drain"), "%s", error.message);
    int status = domain_wait(process);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    domain_end(process);
    json_t *reply = domain_call(run.inference, "generate", "drained", false, txt2img_generate(&run, &drained));
    ck_assert_int_ge(hep_json_int(reply, "resumed_from", 0), 2);
    json_decref(reply);
    expect_equal(&whole, &drained, "latents");
    txt2img_arena_clear(&whole);
    txt2img_arena_clear(&drained);
}
END_TEST

START_TEST(sessions_share_steps_and_a_cancel_ends_one)
{
    struct txt2img_arena whole, first, second, third;
    struct txt2img_request other = cat;
    struct hep_error error = {0};
    other.seed = 7;
    other.count = 1;
    admit("whole", &cat, &whole);
    generate(&whole);
    admit("first", &cat, &first);
    admit("second", &other, &second);
    admit("third", &cat, &third);
    struct domain_process *process = domain_start("inference", run.instance, NULL);
    struct domain_answer *one = domain_send(process, "generate", "first", txt2img_generate(&run, &first));
    wait_commits(&first, 3);
    struct domain_answer *two = domain_send(process, "generate", "second", txt2img_generate(&run, &second));
    wait_commits(&second, 2);
    ck_assert_uint_lt(commits(&first), STEPS);
    json_t *status = domain_status(process); /* answers while it computes */
    ck_assert_int_eq(hep_json_int(json_object_get(status, "inference"), "jobs", -1), 2);
    ck_assert_int_eq(hep_json_int(json_object_get(status, "inference"), "rows_running", -1), 3);
    ck_assert_int_eq(hep_json_int(json_object_get(status, "inference"), "networks", -1), 1);
    ck_assert_int_gt(hep_json_int(json_object_get(status, "inference"), "activation_bytes", -1), 0);
    json_decref(status);
    json_t *reply =
        domain_call(process, "control", "", false, json_pack("{s:s, s:s}", "session", "second", "action", "cancel"));
    ck_assert_int_eq(hep_json_int(reply, "rows", -1), 1);
    json_decref(reply);
    ck_assert_int_eq(domain_receive(process, two, NULL, &error), HEP_E_CANCELLED);
    struct domain_answer *three = domain_send(process, "generate", "third", txt2img_generate(&run, &third));
    ck_assert_int_eq(domain_receive(process, one, NULL, &error), HEP_OK);
    ck_assert_int_eq(domain_receive(process, three, NULL, &error), HEP_OK);
    expect_equal(&whole, &first, "latents");
    expect_equal(&whole, &third, "latents");
    domain_end(process);
    txt2img_arena_clear(&whole);
    txt2img_arena_clear(&first);
    txt2img_arena_clear(&second);
    txt2img_arena_clear(&third);
}
END_TEST

/* ---- references that do not hold
 * --------------------------------------------------------------------------------------- */
static void wrong_segment(json_t *ref)
{
    json_object_set_new(ref, "segment", json_string("/hep.other.arena.x.1"));
}
static void no_segment(json_t *ref)
{
    json_object_set_new(ref, "segment", json_string("/etc/passwd"));
}
static void wrong_generation(json_t *ref)
{
    json_object_set_new(ref, "generation", json_integer(99));
}
static void far_offset(json_t *ref)
{
    json_object_set_new(ref, "offset", json_integer(INT64_C(1) << 62));
}
static void odd_offset(json_t *ref)
{
    json_object_set_new(ref, "offset", json_integer(4097));
}
static void wrong_dtype(json_t *ref)
{
    json_object_set_new(ref, "dtype", json_string("bf16"));
}
static void huge_shape(json_t *ref)
{
    size_t rank = json_array_size(json_object_get(ref, "shape"));
    for (size_t i = 0; i < rank; i++)
        json_array_set_new(json_object_get(ref, "shape"), i, json_integer(INT64_C(1) << 40));
}
static void zero_shape(json_t *ref)
{
    json_array_set_new(json_object_get(ref, "shape"), 0, json_integer(0));
}
static void negative_shape(json_t *ref)
{
    json_array_set_new(json_object_get(ref, "shape"), 0, json_integer(-1));
}
static void wrong_rank(json_t *ref)
{
    json_array_append_new(json_object_get(ref, "shape"), json_integer(1));
}
static void larger(json_t *ref)
{
    json_t *shape = json_object_get(ref, "shape");
    json_array_set_new(shape, 0, json_integer(json_integer_value(json_array_get(shape, 0)) + 1));
}
static void smaller(json_t *ref)
{
    json_t *shape = json_object_get(ref, "shape");
    json_array_set_new(shape, json_array_size(shape) - 1,
                       json_integer(json_integer_value(json_array_get(shape, json_array_size(shape) - 1)) - 1));
}
static void header_of_arena(json_t *ref)
{
    json_object_set_new(ref, "offset", json_integer(0));
}

static const struct {
    const char *name;
    void (*spoil)(json_t *ref);
    bool fits_weights; /* leaves a weights reference that may hold: it names the whole segment or less */
} ways[] = {{"wrong_segment", wrong_segment, false},
            {"no_segment", no_segment, false},
            {"wrong_generation", wrong_generation, false},
            {"far_offset", far_offset, false},
            {"odd_offset", odd_offset, false},
            {"wrong_dtype", wrong_dtype, false},
            {"huge_shape", huge_shape, false},
            {"zero_shape", zero_shape, false},
            {"negative_shape", negative_shape, false},
            {"wrong_rank", wrong_rank, false},
            {"larger", larger, false},
            {"smaller", smaller, true},
            {"header_of_arena", header_of_arena, true}};

/* Every reference of the request, spoilt in every way, is refused; afterwards the request as it was succeeds. */
static void spoil_all(struct domain_process *process, const char *operation, json_t *request)
{
    const char *field;
    json_t *value;
    json_object_foreach(request, field, value)
    {
        bool weights = strstr(hep_json_str(value, "segment", ""), ".weights.") != NULL;
        for (size_t i = 0; json_is_object(value) && i < HEP_COUNT_OF(ways); i++) {
            struct hep_error error = {0};
            json_t *spoilt = json_deep_copy(request);
            bool longer_plan =
                strcmp(field, "plan") == 0 && ways[i].spoil == larger; /* a plan says itself how long it is */
            if (longer_plan || (weights && ways[i].fits_weights)) {
                json_decref(spoilt);
                continue;
            }
            ways[i].spoil(json_object_get(spoilt, field));
            enum hep_status status = domain_ask(process, operation, "s", false, spoilt, NULL, &error);
            ck_assert_msg(status != HEP_OK && status != HEP_E_DOMAIN_DOWN && status != HEP_E_INTERNAL,
                          "%s, %s %s: %s: %s", operation, field, ways[i].name, hep_status_name(status), error.message);
        }
    }
    json_decref(domain_call(process, operation, "s", false, request));
}

START_TEST(references_that_do_not_hold_are_errors)
{
    struct txt2img_arena arena;
    struct txt2img_request small = cat;
    small.width = small.height = 64;
    small.steps = 2;
    small.count = 1;
    admit("s", &small, &arena);
    spoil_all(run.inference, "generate", txt2img_generate(&run, &arena));
    spoil_all(run.postprocessing, "decode", txt2img_decode(&run, &arena));
    json_t *encode = json_pack(
        "{s:s, s:O, s:O, s:O, s:O}", "prompt", "x", "text_encoder", json_object_get(run.weights, "text_encoder"),
        "tokenizer", json_object_get(run.weights, "tokenizer"), "conditioning",
        json_object_get(arena.refs, "conditioning"), "pooled", json_object_get(arena.refs, "pooled"));
    spoil_all(run.conditioning, "encode_prompt", encode);
    txt2img_arena_clear(&arena);
}
END_TEST

START_TEST(sizes_that_cannot_be_are_errors_in_measure_and_estimate)
{
    static const struct {
        const char *field;
        json_int_t value;
        enum hep_status status;
    } cases[] = {{"width", 0, HEP_E_OUT_OF_RANGE},       {"height", 100000, HEP_E_OUT_OF_RANGE},
                 {"width", 65, HEP_E_OUT_OF_RANGE},      {"count", 0, HEP_E_OUT_OF_RANGE},
                 {"count", 1000, HEP_E_OUT_OF_RANGE},    {"vae_scale_factor", 0, HEP_E_OUT_OF_RANGE},
                 {"tokens", 1 << 30, HEP_E_OUT_OF_RANGE}};
    json_t *unet = json_object_get(run.weights, "unet");
    for (size_t i = 0; i < HEP_COUNT_OF(cases); i++) {
        struct hep_error error = {0};
        json_t *request = json_pack("{s:O, s:i, s:i}", "unet", unet, "width", 64, "height", 64);
        json_object_set_new(request, cases[i].field, json_integer(cases[i].value));
        ck_assert_int_eq(domain_ask(run.inference, "estimate", "", false, request, NULL, &error), cases[i].status);
        ck_assert_str_eq(error.field, cases[i].field);
    }
    struct hep_error error = {0}; /* 4096 × 4096 latents: more than any machine of ours has */
    json_t *request =
        json_pack("{s:O, s:i, s:i, s:i}", "unet", unet, "width", 4096, "height", 4096, "vae_scale_factor", 1);
    ck_assert_int_eq(domain_ask(run.inference, "estimate", "", false, request, NULL, &error), HEP_E_NO_MEMORY);
    request = json_pack("{s:O, s:i, s:i, s:i, s:{s:s, s:s, s:[I,I,I]}, s:{s:s, s:s, s:[i,i]}, s:{s:s, s:s, s:[i]}}",
                        "unet", unet, "width", 64, "height", 64, "seed", 1, "conditioning", "segment", "", "dtype",
                        "f32", "shape", (json_int_t)2, (json_int_t)1 << 50, (json_int_t)32, "pooled", "segment", "",
                        "dtype", "f32", "shape", 2, 1, "plan", "segment", "", "dtype", "u8", "shape", 512);
    ck_assert_int_eq(domain_ask(run.inference, "generate", "", true, request, NULL, &error), HEP_E_BAD_REFERENCE);
    request = json_pack("{s:O, s:{s:s, s:s, s:[i,i,I,i]}}", "vae", json_object_get(run.weights, "vae"), "latents",
                        "segment", "", "dtype", "f32", "shape", 1, 4, (json_int_t)1 << 50, 8);
    ck_assert_int_eq(domain_ask(run.postprocessing, "decode", "", true, request, NULL, &error), HEP_E_BAD_REFERENCE);
    json_decref(domain_status(run.inference));
}
END_TEST

#ifdef __SANITIZE_ADDRESS__ /* it keeps what was freed: only leaks are found */
enum { FIRST_CALLS = 4, CALLS = 44 };
#else
enum { FIRST_CALLS = 40, CALLS = 240 };
#endif

START_TEST(two_hundred_calls_leave_the_memory_as_it_was)
{
    struct txt2img_arena arena;
    struct txt2img_request small = cat;
    struct domain_process *processes[] = {run.inference, run.conditioning, run.postprocessing};
    long before[HEP_COUNT_OF(processes)] = {0};
    small.width = small.height = 64;
    small.steps = 2;
    small.count = 1;
    admit("flat", &small, &arena);
    for (int i = 0; i < CALLS; i++) {
        json_t *request = txt2img_generate(&run, &arena);
        json_object_set_new(request, "seed", json_integer(i));
        if (i % 4 == 0)
            json_decref(domain_call(run.inference, "cleanup", "", false, json_object()));
        json_decref(domain_call(run.inference, "generate", "flat", false, request));
        txt2img_prepare(&run, &arena);
        json_decref(domain_call(run.postprocessing, "decode", "flat", false, txt2img_decode(&run, &arena)));
        for (size_t p = 0; p < HEP_COUNT_OF(processes) && i == FIRST_CALLS; p++)
            before[p] = domain_resident_bytes(processes[p]);
    }
    for (size_t p = 0; p < HEP_COUNT_OF(processes); p++) {
        long grown = domain_resident_bytes(processes[p]) - before[p];
        printf("process %zu: %ld KiB more after %d calls\n", p, grown / 1024, CALLS - FIRST_CALLS);
#ifndef __SANITIZE_ADDRESS__
        ck_assert_msg(grown < 1 << 19, "process %zu has %ld bytes more after 200 calls", p, grown);
#endif
    }
    txt2img_arena_clear(&arena);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("inference_process");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, killed_at_any_step_it_goes_on_there_and_the_bytes_are_the_same);
    tcase_add_test(tcase, saved_steps_of_other_weights_are_not_used);
    tcase_add_test(tcase, a_drain_answers_at_the_boundary_and_the_next_process_goes_on);
    tcase_add_test(tcase, sessions_share_steps_and_a_cancel_ends_one);
    tcase_add_test(tcase, references_that_do_not_hold_are_errors);
    tcase_add_test(tcase, sizes_that_cannot_be_are_errors_in_measure_and_estimate);
    tcase_add_test(tcase, two_hundred_calls_leave_the_memory_as_it_was);
    return check_status_run("inference_process", tcase);
}
