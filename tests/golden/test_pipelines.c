/*
 * Whole runs from text, or from text and images, against diffusers' pipelines (goldens/pipelines, goldens/refiner, made
 * by torch 2.15 and diffusers 0.42.1 in f64): prompt → tokenizer, text encoders → plan → denoising loop → VAE, in the
 * product's own code, in this process. The noise is the golden's. Run as `test_pipelines f32|bf16`; HEP_ISA chooses the
 * level.
 */
#include "instructors/conditioning/encode.h"
#include "instructors/conditioning/image.h"
#include "instructors/inference/group.h"
#include "instructors/postprocessing/decode.h"
#include "nn/scheduler/plan.h"
#include "tests/support/check_status.h"
#include "tests/support/golden_image.h"
#include "tests/support/golden_level.h"
#include "tests/support/golden_tensors.h"
#include "tests/support/published_model.h"
#include "tests/support/scheduler_blob.h"

#include "common/wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data/"
enum {
    HEIGHT = 64,
    WIDTH = 96,
    FACTOR = 8,
    ROWS = 2,
    ELEMENTS = 4 * (HEIGHT / FACTOR) * (WIDTH / FACTOR),
    EVALUATIONS = 16
};

static const char *const cases[] = {"sd15.ddim",
                                    "sd15.euler",
                                    "sd15.dpmpp_2m_karras",
                                    "sd15.pndm",
                                    "sd15.euler_ancestral",
                                    "sd15.clip_skip2",
                                    "sd15.no_cfg",
                                    "sd15.batch2",
                                    "sd2.ddim",
                                    "sd2.euler",
                                    "sd2.dpmpp_2m_karras",
                                    "sdxl.ddim",
                                    "sdxl.euler",
                                    "sdxl.dpmpp_2m_karras",
                                    "sdxl.no_negative",
                                    "sdxl.clip_skip1",
                                    "sd2.rescale0.7",
                                    "sdxl.sizes",
                                    "sd15.img2img.ddim",
                                    "sd15.img2img.euler",
                                    "sd15.img2img.dpmpp_2m_karras",
                                    "sdxl.img2img.euler",
                                    "sd15.inpaint9.ddim",
                                    "sd15.inpaint9.strength0.7",
                                    "sd15.inpaint4.strength0.7",
                                    "sd15.controlnet",
                                    "sd15.controlnet.end0.6",
                                    "sd15.controlnet.guess",
                                    "sdxl.controlnet",
                                    "refiner.img2img.euler",
                                    "refiner.img2img.ddim",
                                    "refiner.img2img.no_negative",
                                    "refiner.ensemble.euler",
                                    "refiner.ensemble.ddim"};

static enum hep_dtype dtype = HEP_F32;

/* One case while it runs. */
struct run {
    const char *label;
    json_t *golden; /* of index.json, borrowed */
    struct golden_tensors *tensors;
    struct published_model model;
    struct networks networks; /* of conditioning and postprocessing */
    struct batch batch;
    struct job *jobs[ROWS];
    float *conditioning[ROWS], *pooled[ROWS]; /* [2, …] each */
    int64_t tokens, context_dim, pooled_dim;
    void *plan;
    void *slots[2];           /* memory of the base's, and of a refiner's */
    struct row_source source; /* of a case with an image; its values: */
    float init_latents[ELEMENTS], masked_latents[ELEMENTS], latent_mask[ELEMENTS / 4];
    struct controlnet_request control; /* zero for a case without */
    struct controls controls;
    float hint[3 * HEIGHT * WIDTH];
    int rows;
};

/* The golden's draws: 0 is the initial noise of image `row`, k the k-th draw of its scheduler. Where it begins from an
   image they are numbered as diffusers draws them. */
struct golden_noise {
    const struct run *run;
    size_t row;
};

static void golden_draw(const void *context, uint64_t seed, uint32_t number, size_t count, float *noise)
{
    const struct golden_noise *golden = context;
    char name[16] = "latents";
    size_t all = 0;
    (void)seed;
    if (!golden_tensors_find(golden->run->tensors, name, &all))
        snprintf(name, sizeof name, "rand.%u", number);
    else if (number > 0)
        snprintf(name, sizeof name, "rand.%u", number - 1);
    const float *values = golden_tensors_find(golden->run->tensors, name, &all);
    ck_assert_msg(values && (golden->row + 1) * count <= all, "%s: %s", golden->run->label, name);
    memcpy(noise, values + golden->row * count, count * sizeof *noise);
}

/* A prompt of the index: a string, a list of one per row, or null. */
static struct hep_str prompt_of(const struct run *run, const char *key, int row)
{
    json_t *value = json_object_get(json_object_get(run->golden, "arguments"), key);
    return hep_str_of(json_is_array(value) ? json_string_value(json_array_get(value, (size_t)row))
                                           : json_string_value(value));
}

static void encode(struct run *run, int row, int clip_skip, float **conditioning, float **pooled)
{
    struct encoding encoding = {0};
    struct hep_str prompt = prompt_of(run, "prompt", row), negative = prompt_of(run, "negative_prompt", row);
    const struct hep_tensor_ref *encoders[] = {&run->model.text_encoder, &run->model.text_encoder_2};
    const struct hep_tensor_ref *tokenizers[] = {&run->model.tokenizer, &run->model.tokenizer_2};
    ck_assert_ok(encoding_read(&encoding, prompt, negative, 0, error));
    for (int i = 0; i < ENCODERS_MAX; i++) {
        struct hep_tensor files;
        if (!hep_ref_is_placed(encoders[i]))
            continue;
        ck_assert_ok(hep_resolve(run->model.self.resolver, tokenizers[i], HEP_READ, &files, error));
        ck_assert_ok(encoding_add(&encoding, &run->networks, &run->model.self, &files, encoders[i], i == 1, error));
        hep_resolver_release(run->model.self.resolver, &files);
    }
    ck_assert_ok(encoding_plan(&encoding, clip_skip, negative.length == 0, error));
    run->tokens = (int64_t)encoding.chunks * CHUNK_LENGTH;
    run->context_dim = encoding.context_dim;
    run->pooled_dim = encoding.pooled_dim;
    *conditioning = malloc((size_t)(2 * run->tokens * run->context_dim) * sizeof **conditioning);
    *pooled = malloc((size_t)(2 * run->pooled_dim) * sizeof **pooled);
    ck_assert_ok(encoding_run(&encoding, *conditioning, *pooled, error));
    encoding_clear(&encoding);
}

/* diffusers' clip_skip k is ours k + 1 and leaves the negative prompt as it is: traps.md of the reference data. */
static void encode_row(struct run *run, int row)
{
    json_t *skip = json_object_get(json_object_get(run->golden, "arguments"), "clip_skip");
    encode(run, row, 1, &run->conditioning[row], &run->pooled[row]);
    if (!skip)
        return;
    float *deeper, *unused;
    size_t half = (size_t)(run->tokens * run->context_dim);
    encode(run, row, (int)json_integer_value(skip) + 1, &deeper, &unused);
    memcpy(run->conditioning[row] + half, deeper + half, half * sizeof *deeper);
    free(deeper);
    free(unused);
}

/* diffusers draws, in this order: latents of the image (unless they begin in noise), noise, masked latents. */
static void encode_image(struct run *run, const unsigned char *planes, const unsigned char *mask)
{
    enum { PLACES = HEIGHT * WIDTH };
    static unsigned char image[PLACES * 3], painted[PLACES];
    static float moments[2 * ELEMENTS], noise[ELEMENTS];
    const struct golden_noise draws = {run, 0};
    struct image_encoder encoder;
    bool inpaints = strstr(run->label, "inpaint9") != NULL, whole = strcmp(run->label, "sd15.inpaint9.ddim") == 0;
    for (int i = 0; i < PLACES; i++)
        for (int c = 0; c < 3; c++)
            image[3 * i + c] = planes[c * PLACES + i];
    ck_assert_ok(image_encoder_open(&run->networks, &run->model.self, &run->model.vae, &encoder, error));
    ck_assert_ok(image_encoder_run(&encoder, image, NULL, HEIGHT / FACTOR, WIDTH / FACTOR, moments, error));
    golden_draw(&draws, 0, 0, ELEMENTS, noise);
    image_latents(encoder.config, moments, noise, ELEMENTS, run->init_latents);
    run->source = (struct row_source){.latents = run->init_latents, .noise_draw = whole ? 0 : 1, .step_draw = 2};
    if (!strstr(run->label, "inpaint"))
        return;
    for (int i = 0; i < PLACES; i++)
        painted[i] = mask[i] ? 255 : 0;
    image_latent_mask(painted, HEIGHT / FACTOR, WIDTH / FACTOR, FACTOR, run->latent_mask);
    run->source.mask = run->latent_mask;
    if (!inpaints)
        return;
    ck_assert_ok(image_encoder_run(&encoder, image, painted, HEIGHT / FACTOR, WIDTH / FACTOR, moments, error));
    golden_draw(&draws, 0, whole ? 1 : 2, ELEMENTS, noise);
    image_latents(encoder.config, moments, noise, ELEMENTS, run->masked_latents);
    run->source.masked = run->masked_latents;
}

static void make_source(struct run *run)
{
    size_t count = 0, of_mask = 0;
    if (!strstr(run->label, "img2img") && !strstr(run->label, "inpaint"))
        return;
    struct golden_tensors *inputs = golden_tensors_open(DATA "goldens/pipelines/inputs.safetensors");
    const unsigned char *image = golden_tensors_find_u8(inputs, "image", &count),
                        *mask = golden_tensors_find_u8(inputs, "mask", &of_mask);
    ck_assert(count == 3 * HEIGHT * WIDTH && of_mask == HEIGHT * WIDTH);
    encode_image(run, image, mask);
    golden_tensors_close(inputs);
}

static void make_plan(struct run *run, struct hep_scheduler_plan *plan)
{
    char path[512];
    size_t bytes = 0;
    int32_t steps = (int32_t)hep_json_int(json_object_get(run->golden, "arguments"), "num_inference_steps", 0);
    snprintf(path, sizeof path, DATA "models/%s/scheduler/scheduler_config.json",
             hep_json_str(run->golden, "model", ""));
    json_t *config = golden_json(path);
    json_object_update(config, json_object_get(run->golden, "scheduler_changes"));
    double strength = hep_json_num(json_object_get(run->golden, "arguments"), "strength", 1);
    run->plan = scheduler_blob_of(hep_json_str(run->golden, "scheduler", ""), config, steps, strength, &bytes);
    ck_assert_ok(hep_scheduler_plan_open(run->plan, bytes, plan, error));
    json_decref(config);
}

/* A case with a control image: every one has the same, 8 bits. */
static void make_control(struct run *run)
{
    json_t *arguments = json_object_get(run->golden, "arguments");
    bool pair = hep_ref_is_placed(&run->model.text_encoder_2);
    size_t count = 0;
    if (!strstr(run->label, "controlnet"))
        return;
    struct golden_tensors *inputs = golden_tensors_open(DATA "goldens/pipelines/inputs.safetensors");
    const unsigned char *image = golden_tensors_find_u8(inputs, "control_image", &count);
    ck_assert_uint_eq(count, HEP_COUNT_OF(run->hint));
    for (size_t i = 0; i < count; i++)
        run->hint[i] = (float)image[i] / 255;
    golden_tensors_close(inputs);
    run->control = (struct controlnet_request){
        .scale = hep_json_num(arguments, "controlnet_conditioning_scale", 1),
        .start = hep_json_num(arguments, "control_guidance_start", 0),
        .end = hep_json_num(arguments, "control_guidance_end", 1),
        .guess = hep_json_bool(arguments, "guess_mode", false),
    };
    published_model_add_controlnet(
        &run->model, pair ? DATA "models/controlnet/tiny-controlnet-sdxl" : DATA "models/controlnet/tiny-controlnet",
        dtype, &run->control.network);
    run->controls = (struct controls){1, {{&run->control, run->hint}}};
}

/* Height, width, top, left, height, width. */
static void set_sizes(const struct run *run, const char *prefix, float ids[6])
{
    static const char *const names[] = {"original_size", "crops_coords_top_left", "target_size"};
    const float otherwise[6] = {HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH};
    memcpy(ids, otherwise, sizeof otherwise);
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        json_t *pair = json_object_get(json_object_get(run->golden, "arguments"), name);
        for (size_t k = 0; pair && k < 2; k++)
            ids[2 * i + k] = (float)json_integer_value(json_array_get(pair, k));
    }
}

static bool is_refiner(const struct run *run)
{
    return !hep_ref_is_placed(&run->model.text_encoder);
}

/* A refiner's stand where others have the target's height. */
static void set_scores(const struct run *run, float ids[2][6])
{
    json_t *arguments = json_object_get(run->golden, "arguments");
    if (!is_refiner(run))
        return;
    ids[0][4] = (float)hep_json_num(arguments, "negative_aesthetic_score", 2.5);
    ids[1][4] = (float)hep_json_num(arguments, "aesthetic_score", 6);
}

/* Which evaluations of the plan, and the state that they go on from; NULL: the start. */
struct part {
    int32_t first, end;
    const float *begin_state;
};

static void init_row(struct run *run, int i, const struct hep_scheduler_plan *plan, const struct part *part,
                     const struct hep_slots *slots, const struct golden_noise *noise)
{
    struct job *job = run->jobs[i] = calloc(1, sizeof *job);
    job->plan = *plan;
    job->slots = *slots;
    job->row_count = 1;
    job->rows[0] = (struct row){
        .index = (uint32_t)i,
        .shape = {4, HEIGHT / FACTOR, WIDTH / FACTOR, run->tokens, run->context_dim, run->pooled_dim,
                  is_refiner(run) ? HEP_UNET_TIME_IDS_SCORED : HEP_UNET_TIME_IDS, run->source.masked ? 5 : 0},
        .source = run->source,
        .plan = &job->plan,
        .slots = &job->slots,
        .text = {.conditioning = run->conditioning[i], .pooled = run->pooled[i]},
        .guidance_rescale = hep_json_num(json_object_get(run->golden, "arguments"), "guidance_rescale", 0),
        .controls = &run->controls,
        .guidance_scale = hep_json_num(json_object_get(run->golden, "arguments"), "guidance_scale", 7.5),
        .noise = golden_draw,
        .noise_context = noise,
        .first = part->first,
        .end = part->end,
        .begin_state = part->begin_state,
        .evaluation = part->first};
    set_sizes(run, "", job->rows[0].text.time_ids[1]);
    set_sizes(run, "negative_", job->rows[0].text.time_ids[0]);
    set_scores(run, job->rows[0].text.time_ids);
}

static void compare_image(struct run *run, int row, const float *latents)
{
    size_t count = 0, plane = HEIGHT * WIDTH;
    const unsigned char *expected = golden_tensors_find_u8(run->tensors, "image_u8", &count);
    static unsigned char image[3 * HEIGHT * WIDTH];
    struct decoder decoder;
    if (!expected)
        return;
    ck_assert_ok(decoder_open(&run->networks, &run->model.self, &run->model.vae, &decoder, error));
    struct decoder_tiling whole;
    ck_assert_ok(decoder_tile(&decoder, HEIGHT / FACTOR, WIDTH / FACTOR, DECODE_WHOLE, 0, &whole, error));
    ck_assert_ok(decoder_run(&decoder, &whole, latents, HEP_U8, image, error));
    golden_image_check(run->label, dtype, image, expected + (size_t)row * 3 * plane, plane);
}

/* The rows' evaluations of a part; the slots stay. */
static void denoise_part(struct run *run, const struct hep_scheduler_plan *plan, const struct part *part, void **memory)
{
    struct hep_slots slots;
    struct golden_noise noise[ROWS];
    struct group group = {0};
    struct hep_call call = {.self = &run->model.self, .session = run->label};
    uint32_t floats = HEP_PLAN_VECTORS_MAX * ELEMENTS;
    uint8_t fingerprint[HEP_FINGERPRINT_BYTES] = {0};
    size_t bytes;
    ck_assert(hep_slots_bytes((uint32_t)run->rows, floats, &bytes));
    *memory = aligned_alloc(HEP_ALIGN, bytes);
    memset(*memory, 0, bytes);
    struct hep_tensor region = {*memory, HEP_U8, HEP_SHAPE((int64_t)bytes)};
    ck_assert_ok(hep_slots_attach(&region, (uint32_t)run->rows, floats, run->label, 1, fingerprint, &slots, error));
    for (int i = 0; i < run->rows; i++) {
        noise[i] = (struct golden_noise){run, (size_t)i};
        init_row(run, i, plan, part, &slots, &noise[i]);
    }
    for (int e = part->first; e < part->end; e++) {
        ck_assert_ok(group_begin(&run->batch.lanes[0], &run->model.self, &run->model.unet, &run->jobs[0]->rows[0],
                                 &group, error));
        group.count = run->rows;
        for (int i = 0; i < run->rows; i++) {
            group.rows[i] = &run->jobs[i]->rows[0];
            group.jobs[i] = run->jobs[i];
            group.jobs[i]->call = &call;
        }
        ck_assert_ok(group_run(&run->batch, &group, error));
        ck_assert_int_eq(group.count, run->rows);
    }
}

static void compare_latents(struct run *run, const char *name)
{
    size_t count = 0;
    const float *expected = golden_tensors_find(run->tensors, name, &count);
    ck_assert_uint_eq(count, (size_t)run->rows * ELEMENTS);
    for (int i = 0; i < run->rows; i++) {
        float latents[ELEMENTS];
        ck_assert(row_is_finished(&run->jobs[i]->rows[0]) && row_latents(&run->jobs[i]->rows[0], latents));
        golden_latents_check(run->label, dtype, latents, expected + (size_t)i * ELEMENTS, ELEMENTS);
        compare_image(run, i, latents);
    }
}

static void open_run_model(struct run *run, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, DATA "models/%s", name);
    published_model_init(&run->model, path, dtype);
    for (int i = 0; i < run->rows; i++)
        encode_row(run, i);
}

static void close_run_model(struct run *run)
{
    batch_trim(&run->batch, &run->model.self);
    networks_clear(&run->networks, &run->model.self);
    for (int i = 0; i < run->rows; i++) {
        job_destroy(run->jobs[i]);
        free(run->conditioning[i]);
        free(run->pooled[i]);
    }
    published_model_clear(&run->model);
}

/* The rest of the plan, by the refiner, from where the base has come. */
static void refine(struct run *run, const struct hep_scheduler_plan *plan, int32_t first)
{
    struct part rest = {.first = first, .end = plan->info.evaluations};
    uint32_t step;
    struct hep_slots slots = *run->jobs[0]->rows[0].slots;
    slots.any_fingerprint = true;
    compare_latents(run, "base_latents");
    ck_assert_int_eq(run->rows, 1);
    ck_assert_int_eq(hep_slot_committed(&slots, 0, &step, &rest.begin_state), HEP_SLOT_OK);
    ck_assert_int_eq(step, first);
    close_run_model(run);
    open_run_model(run, hep_json_str(run->golden, "refiner", ""));
    denoise_part(run, plan, &rest, &run->slots[1]);
}

static void denoise(struct run *run)
{
    struct hep_scheduler_plan plan;
    make_plan(run, &plan);
    double at = hep_json_num(json_object_get(run->golden, "arguments"), "denoising_start", 1);
    struct part part = {.end = scheduler_switch_at(&plan, 1000, at)};
    denoise_part(run, &plan, &part, &run->slots[0]);
    if (part.end < plan.info.evaluations)
        refine(run, &plan, part.end);
    compare_latents(run, "final_latents");
    free(run->slots[0]);
    free(run->slots[1]);
}

START_TEST(a_whole_run_is_diffusers)
{
    struct run run = {.label = cases[_i], .batch = {.rows_max = ROWS, .memory_bytes = UINT64_MAX}};
    const char *folder = strncmp(run.label, "refiner.", 8) == 0 ? "refiner" : "pipelines";
    char path[512];
    snprintf(path, sizeof path, DATA "goldens/%s/index.json", folder);
    json_t *index = golden_json(path);
    run.golden = json_object_get(index, run.label);
    ck_assert_ptr_nonnull(run.golden);
    run.rows = json_is_array(json_object_get(json_object_get(run.golden, "arguments"), "prompt")) ? 2 : 1;
    snprintf(path, sizeof path, DATA "goldens/%s/%s.safetensors", folder, run.label);
    run.tensors = golden_tensors_open(path);
    open_run_model(&run, hep_json_str(run.golden, "model", ""));
    make_source(&run);
    make_control(&run);
    denoise(&run);
    close_run_model(&run);
    free(run.plan);
    golden_tensors_close(run.tensors);
    json_decref(index);
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    TCase *tcase = tcase_create("pipelines");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_whole_run_is_diffusers, 0, (int)HEP_COUNT_OF(cases));
    return check_status_run("pipelines", tcase);
}
