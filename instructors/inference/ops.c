/*
 * heptad-inference's operations: generate, estimate, control, info. To add one: fields, row, handler, a line in the
 * golden description, a test. Everything runs on the worker thread, between two steps of the batch.
 */
#include "instructors/inference/group.h"

#include "nn/cpu/isa.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct estimate_request {
    struct hep_tensor_ref unet;
    int32_t width, height, vae_scale_factor, count, tokens, evaluations;
    double guidance_scale;
    struct controlnet_request controls[CONTROLS_MAX]; /* networks and guess mode only */
};
struct estimate_reply {
    uint64_t peak_bytes;
    double flops_per_evaluation, ms_per_evaluation, flops, ms;
    int32_t rows_together;
};
struct control_request {
    struct hep_str session, action;
    int32_t row, priority;
};
struct control_reply {
    int32_t rows;
};
struct memory_request {
    uint64_t free_bytes;
};

struct info_reply {
    json_t *pipelines, *noise, *batch, *networks;
    struct hep_str isa;
    int32_t images_max, side_min, side_max, steps_max;
};

#define SIZE_LIMITS .min = HEP_IMAGE_SIDE_MIN, .max = HEP_IMAGE_SIDE_MAX
static const char *const action_choices[] = {"pause", "resume", "cancel", "priority", NULL};
/* Fields of generate that stand in its part `source`. */
#define SOURCE(kind, member, ...)                                                                                      \
    {                                                                                                                  \
        .name = #member, .type = HEP_FIELD_##kind, .presence = HEP_OPTIONAL,                                           \
        .offset = offsetof(struct generate_request, source.member), __VA_ARGS__                                        \
    }
/* And in its part `text`: a schedule, and pixels of SDXL's sizes. */
#define TEXT(kind, member, ...)                                                                                        \
    {                                                                                                                  \
        .name = #member, .type = HEP_FIELD_##kind, .presence = HEP_OPTIONAL,                                           \
        .offset = offsetof(struct generate_request, text.member), __VA_ARGS__                                          \
    }
#define PIXELS(title, member, ...)                                                                                     \
    {                                                                                                                  \
        .name = title, .type = HEP_FIELD_I32, .presence = HEP_OPTIONAL,                                                \
        .offset = offsetof(struct generate_request, text.member), .max = SIZE_PIXELS_MAX, __VA_ARGS__                  \
    }
#define SCORE(title, member, ...)                                                                                      \
    {                                                                                                                  \
        .name = title, .type = HEP_FIELD_F64, .presence = HEP_DEFAULTED,                                               \
        .offset = offsetof(struct generate_request, text.member), .max = AESTHETIC_SCORE_MAX, __VA_ARGS__              \
    }
static const struct hep_field generate_fields[] = {
    HEP_FIELD(REF, generate_request, unet, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load"),
    HEP_FIELD(REF, generate_request, conditioning, REQUIRED, .access = HEP_READ, .dtype = HEP_F32, .rank = 3,
              .help = "from encode_prompt"),
    HEP_FIELD(REF, generate_request, pooled, REQUIRED, .access = HEP_READ, .dtype = HEP_F32, .rank = 2,
              .help = "from encode_prompt"),
    HEP_FIELD(REF, generate_request, plan, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "from scheduler.plan"),
    HEP_FIELD(F64, generate_request, guidance_scale, DEFAULTED, .fallback = 7.5, .min = 0, .max = 100,
              .help = "classifier-free guidance; 1 and below: none"),
    HEP_FIELD(F64, generate_request, guidance_rescale, OPTIONAL, .max = 1,
              .help = "how far the guided output gets the deviation of the positive one; for models of zero "
                      "terminal SNR"),
    TEXT(REF, schedule, .access = HEP_READ, .dtype = HEP_I32, .rank = 2,
         .help = "from encode_prompt: which conditioning each step takes"),
    PIXELS("original_width", sizes.original_width, .help = "SDXL: what the image was scaled from; 0 = its width"),
    PIXELS("original_height", sizes.original_height, .help = "0 = its height"),
    PIXELS("crop_left", sizes.crop_left, .help = "SDXL: what was cut off at the left"),
    PIXELS("crop_top", sizes.crop_top, .help = "and at the top"),
    PIXELS("target_width", sizes.target_width,
           .help = "SDXL: what it is made for; 0 = its width; its refiner is not told"),
    PIXELS("target_height", sizes.target_height, .help = "0 = its height"),
    PIXELS("negative_original_width", negative_sizes.original_width,
           .help = "the same for the negative prompt; without any of these as for the positive one"),
    PIXELS("negative_original_height", negative_sizes.original_height, .help = "0 = original_height"),
    PIXELS("negative_crop_left", negative_sizes.crop_left, .help = "0 if another of them is there"),
    PIXELS("negative_crop_top", negative_sizes.crop_top, .help = "0 if another of them is there"),
    PIXELS("negative_target_width", negative_sizes.target_width, .help = "0 = target_width"),
    PIXELS("negative_target_height", negative_sizes.target_height, .help = "0 = target_height"),
    SCORE("aesthetic_score", aesthetic_score, .fallback = 6,
          .help = "of SDXL's refiner, in place of the target: how good it is to look; other UNets are not told"),
    SCORE("negative_aesthetic_score", negative_aesthetic_score, .fallback = 2.5,
          .help = "the same for the negative prompt"),
    HEP_FIELD(U64, generate_request, seed, REQUIRED,
              .help = "of the first image; image i uses seed + i, or seed where subseed_strength is above 0"),
    HEP_FIELD(U64, generate_request, subseed, OPTIONAL, .help = "of a variation; image i uses subseed + i"),
    HEP_FIELD(F64, generate_request, subseed_strength, OPTIONAL, .max = 1,
              .help = "how far the initial noise goes from that of seed to that of subseed; 0 = no variation"),
    HEP_FIELD(STR, generate_request, rng, DEFAULTED, .fallback_text = "philox", .choices = row_noise_names,
              .help = "noise as torch makes it on CUDA (philox) or on the CPU"),
    HEP_FIELD(STR, generate_request, fingerprint, OPTIONAL, .max = 80,
              .help = "of the weights; saved steps of another one are not used"),
    HEP_FIELD(I32, generate_request, width, OPTIONAL, SIZE_LIMITS, .help = "pixels; without it that of init_latents"),
    HEP_FIELD(I32, generate_request, height, OPTIONAL, SIZE_LIMITS, .help = "pixels; without it that of init_latents"),
    HEP_FIELD(I32, generate_request, vae_scale_factor, DEFAULTED, .fallback = 8, .min = 1, .max = 64,
              .help = "pixels per latent"),
    HEP_FIELD(I32, generate_request, count, DEFAULTED, .fallback = 1, .min = 1, .max = HEP_IMAGES_MAX,
              .help = "images"),
    HEP_FIELD(I32, generate_request, priority, DEFAULTED, .fallback = 0, .min = -1000, .max = 1000,
              .help = "higher goes first"),
    HEP_FIELD(I32, generate_request, rows_max, DEFAULTED, .fallback = 0, .max = ROWS_TOGETHER_MAX,
              .help = "rows that its rows run together with, themselves included; 0 = inference.rows_max"),
    HEP_FIELD(I32, generate_request, lanes_max, DEFAULTED, .fallback = 1, .min = 1, .max = LANES_MAX,
              .help = "groups of its kind that may run side by side, each on a part of the cores"),
    HEP_FIELD(F64, generate_request, memory_threshold, DEFAULTED, .fallback = 0, .max = 1,
              .help = "share of the free memory that a step of more than one row or lane may plan to take; 0 = all"),
    SOURCE(REF, init_latents, .access = HEP_READ, .dtype = HEP_F32, .rank = 4,
           .help = "[count, channels, h, w], scaled: the images begin from these, as far as the plan's strength says"),
    SOURCE(REF, mask, .access = HEP_READ, .dtype = HEP_F32, .rank = 4,
           .help = "[1, 1, h, w], 0 to 1: 1 is made anew, 0 stays as init_latents"),
    SOURCE(REF, masked_latents, .access = HEP_READ, .dtype = HEP_F32, .rank = 4,
           .help = "[count, channels, h, w], of the image without what is made anew: for inpainting models"),
    SOURCE(I32, noise_draw, .max = SOURCE_DRAW_MAX, .help = "which draw of each seed is its noise"),
    SOURCE(I32, step_draw, .max = SOURCE_DRAW_MAX, .help = "the scheduler's draws come behind this one"),
    RANGE_FIELDS,
    CONTROL_FIELDS(1),
    CONTROL_FIELDS(2),
    CONTROL_FIELDS(3),
    HEP_FIELD(JSON, generate_request, preview_map, OPTIONAL,
              .help =
                  "from postprocessing.preview_map: previews are reported while it runs; without it there are none"),
    HEP_FIELD(REF, generate_request, state, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 1,
              .help = "out: step slots of every row"),
    HEP_FIELD(REF, generate_request, latents, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 4,
              .help = "out: [count, channels, h, w]"),
};
static const struct hep_field generate_reply_fields[] = {
    HEP_FIELD(I32, generate_reply, rows, REQUIRED, .help = "images denoised"),
    HEP_FIELD(I32, generate_reply, evaluations, REQUIRED, .help = "evaluations done in this call, all rows together"),
    HEP_FIELD(I32, generate_reply, resumed_from, REQUIRED,
              .help = "evaluation that a row went on from; 0 = from the start"),
    HEP_FIELD(I32, generate_reply, redone_rows, REQUIRED, .help = "rows whose saved steps could not be used"),
    HEP_FIELD(STR, generate_reply, restarted_because, OPTIONAL, .help = "why: other_fingerprint, torn"),
    HEP_FIELD(F64, generate_reply, step_ms, REQUIRED, .help = "mean time of an evaluation of one row, milliseconds"),
};
#define ESTIMATE_CONTROL(n)                                                                                            \
    {.name = "controlnet_" #n,                                                                                         \
     .type = HEP_FIELD_REF,                                                                                            \
     .presence = HEP_OPTIONAL,                                                                                         \
     .offset = offsetof(struct estimate_request, controls[(n)-1].network),                                             \
     .access = HEP_READ,                                                                                               \
     .dtype = HEP_U8,                                                                                                  \
     .rank = 1,                                                                                                        \
     .help = "weights from model.load_controlnet; counted as if it acted in every evaluation"},                        \
    {                                                                                                                  \
        .name = "control_guess_" #n, .type = HEP_FIELD_BOOL, .presence = HEP_DEFAULTED,                                \
        .offset = offsetof(struct estimate_request, controls[(n)-1].guess), .help = "as in generate"                   \
    }
static const struct hep_field estimate_fields[] = {
    HEP_FIELD(REF, estimate_request, unet, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load"),
    HEP_FIELD(I32, estimate_request, width, REQUIRED, SIZE_LIMITS, .help = "pixels"),
    HEP_FIELD(I32, estimate_request, height, REQUIRED, SIZE_LIMITS, .help = "pixels"),
    HEP_FIELD(I32, estimate_request, vae_scale_factor, DEFAULTED, .fallback = 8, .min = 1, .max = 64,
              .help = "pixels per latent"),
    HEP_FIELD(I32, estimate_request, count, DEFAULTED, .fallback = 1, .min = 1, .max = HEP_IMAGES_MAX,
              .help = "images"),
    HEP_FIELD(I32, estimate_request, tokens, DEFAULTED, .fallback = 77, .min = 1, .max = TOKENS_MAX,
              .help = "of the conditioning"),
    HEP_FIELD(F64, estimate_request, guidance_scale, DEFAULTED, .fallback = 7.5, .min = 0, .max = 100,
              .help = "as in generate"),
    HEP_FIELD(I32, estimate_request, evaluations, DEFAULTED, .fallback = 1, .min = 1, .max = HEP_PLAN_EVALUATIONS_MAX,
              .help = "of each image, as scheduler.plan says"),
    ESTIMATE_CONTROL(1),
    ESTIMATE_CONTROL(2),
    ESTIMATE_CONTROL(3),
};
static const struct hep_field estimate_reply_fields[] = {
    HEP_FIELD(U64, estimate_reply, peak_bytes, REQUIRED,
              .help = "activations, inputs and outputs of one call of the network, beside the mapped weights"),
    HEP_FIELD(F64, estimate_reply, flops_per_evaluation, REQUIRED, .help = "of all rows that run together"),
    HEP_FIELD(F64, estimate_reply, ms_per_evaluation, REQUIRED,
              .help = "from the rate measured so far; 0 = nothing measured yet"),
    HEP_FIELD(F64, estimate_reply, flops, REQUIRED, .help = "of all evaluations of all images"),
    HEP_FIELD(F64, estimate_reply, ms, REQUIRED, .help = "the same in time; 0 = nothing measured yet"),
    HEP_FIELD(I32, estimate_reply, rows_together, REQUIRED, .help = "rows that run together"),
};
static const struct hep_field control_fields[] = {
    HEP_FIELD(STR, control_request, session, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1, .help = "whose rows"),
    HEP_FIELD(STR, control_request, action, REQUIRED, .choices = action_choices,
              .help = "what to do at the next step boundary"),
    HEP_FIELD(I32, control_request, row, DEFAULTED, .fallback = -1, .min = -1, .max = HEP_IMAGES_MAX,
              .help = "one image; -1 = all"),
    HEP_FIELD(I32, control_request, priority, OPTIONAL, .min = -1000, .max = 1000, .help = "for action priority"),
};
static const struct hep_field memory_fields[] = {
    HEP_FIELD(U64, memory_request, free_bytes, REQUIRED, .help = "what the device domain says is free now"),
};
static const struct hep_field control_reply_fields[] = {
    HEP_FIELD(I32, control_reply, rows, REQUIRED, .help = "rows that it concerned"),
};

static const struct hep_field info_reply_fields[] = {
    HEP_FIELD(JSON, info_reply, pipelines, REQUIRED, .help = "name of each, and of which UNets (unet)"),
    HEP_FIELD(JSON, info_reply, noise, REQUIRED, .help = "names that rng may have"),
    HEP_FIELD(STR, info_reply, isa, REQUIRED, .help = "instruction set level of the kernels"),
    HEP_FIELD(I32, info_reply, images_max, REQUIRED, .help = "of one request"),
    HEP_FIELD(I32, info_reply, side_min, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, info_reply, side_max, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, info_reply, steps_max, REQUIRED, .help = "denoising steps"),
    HEP_FIELD(JSON, info_reply, batch, REQUIRED,
              .help = "rows_max, memory_limit in bytes; now: jobs, rows_running, rows_paused, gflops"),
    HEP_FIELD(JSON, info_reply, networks, REQUIRED, .help = "open UNets now, activation_bytes"),
};

static struct batch *batch_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

/* Rows of one call that run together when it is alone. */
static enum hep_status rows_of_call(const struct batch *batch, struct hep_network *network,
                                    const struct hep_unet_config *config, const struct row_shape *shape,
                                    const struct control_networks *controls, int count, int samples,
                                    struct group_size *size, struct hep_error *error)
{
    struct group_wish wish = {.rows = count, .rows_max = batch->rows_max, .samples_per_row = samples, .lanes = 1};
    return batch_rows_together(batch, network, config, shape, controls, &wish, size, error);
}

static enum hep_status measure_generate(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                                        struct hep_error *error)
{
    const struct generate_request *request = request_;
    struct batch *batch = batch_of(call);
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct row_shape shape;
    struct control_networks controls;
    struct hep_network_cost cost;
    size_t state_bytes;
    uint32_t floats = 0;
    int samples = request->guidance_scale > 1 ? 2 : 1, rows;
    struct group_size size;
    HEP_TRY(batch_unet(&batch->lanes[0].networks, hep_call_instructor(call), &request->unet, &network, &config, error));
    HEP_TRY(generate_shape(request, config, &shape, error));
    HEP_TRY(controls_open(&batch->lanes[0].networks, hep_call_instructor(call), request->controls, config, &shape,
                          samples == 2, &controls, error));
    if (!row_state_floats(&shape, &floats) || !hep_slots_bytes((uint32_t)request->count, floats, &state_bytes))
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the state of %d images is too large", request->count);
    HEP_TRY(rows_of_call(batch, network, config, &shape, &controls, request->count, samples, &size, error));
    rows = size.rows;
    HEP_TRY(batch_cost(network, config, &shape, &controls, rows, (int64_t)rows * samples, &cost, error));
    hep_output_add(outputs, "state", HEP_U8, HEP_SHAPE((int64_t)state_bytes));
    hep_output_add(outputs, "latents", HEP_F32, HEP_SHAPE(request->count, shape.channels, shape.height, shape.width));
    outputs->memory_bytes = cost.peak_bytes + group_workspace_bytes(&shape, &controls, rows, rows * samples);
    outputs->flops = cost.flops / rows * request->count; /* of one evaluation of every row */
    outputs->unit_flops = cost.flops / rows;
    return HEP_OK;
}

static enum hep_status generate(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request;
    (void)reply;
    return batch_add(batch_of(call), call, error);
}

static enum hep_status estimate(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct estimate_request *request = request_;
    struct estimate_reply *reply = reply_;
    struct batch *batch = batch_of(call);
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct row_shape shape;
    struct control_networks controls;
    struct hep_network_cost cost;
    int samples = request->guidance_scale > 1 ? 2 : 1, rows;
    struct group_size size;
    HEP_TRY(batch_unet(&batch->lanes[0].networks, hep_call_instructor(call), &request->unet, &network, &config, error));
    HEP_TRY(row_shape_make(config, request->width, request->height, request->vae_scale_factor, request->tokens, &shape,
                           error));
    HEP_TRY(controls_open(&batch->lanes[0].networks, hep_call_instructor(call), request->controls, config, NULL,
                          samples == 2, &controls, error));
    HEP_TRY(rows_of_call(batch, network, config, &shape, &controls, request->count, samples, &size, error));
    rows = size.rows;
    HEP_TRY(batch_cost(network, config, &shape, &controls, rows, (int64_t)rows * samples, &cost, error));
    reply->rows_together = rows;
    reply->peak_bytes = cost.peak_bytes + group_workspace_bytes(&shape, &controls, rows, rows * samples);
    reply->flops_per_evaluation = cost.flops;
    reply->flops = cost.flops / rows * request->count * request->evaluations;
    reply->ms_per_evaluation = batch->gflops > 0 ? cost.flops / 1e6 / batch->gflops : 0;
    reply->ms = batch->gflops > 0 ? reply->flops / 1e6 / batch->gflops : 0;
    return HEP_OK;
}

/* Loop thread: reads the view only. */
static json_t *batch_json(struct batch *batch)
{
    struct batch_view *view = &batch->view;
    return json_pack("{s:i, s:I, s:i, s:i, s:i, s:f}", "rows_max", batch->rows_max, "memory_limit",
                     (json_int_t)batch->memory_bytes, "jobs", atomic_load(&view->jobs), "rows_running",
                     atomic_load(&view->rows_running), "rows_paused", atomic_load(&view->rows_paused), "gflops",
                     atomic_load(&view->gflops));
}

static enum hep_status info(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct batch *batch = batch_of(call);
    json_t *noise = json_array();
    (void)request, (void)error;
    for (const char *const *name = row_noise_names; *name; name++)
        json_array_append_new(noise, json_string(*name));
    *(struct info_reply *)reply = (struct info_reply){
        .pipelines = json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "name", "text2img", "unet",
                               "as many channels in as out", "name", "img2img", "unet", "as many channels in as out",
                               "name", "inpainting", "unet", "as many channels in as out, or a mask and latents more",
                               "name", "controlnet", "unet", "of the family of its ControlNets"),
        .noise = noise,
        .batch = batch_json(batch),
        .networks = json_pack("{s:i, s:I}", "networks", atomic_load(&batch->view.networks), "activation_bytes",
                              (json_int_t)atomic_load(&batch->view.activation_bytes)),
        .isa = hep_str_of(hep_isa_name(hep_isa_level())),
        .images_max = HEP_IMAGES_MAX,
        .side_min = HEP_IMAGE_SIDE_MIN,
        .side_max = HEP_IMAGE_SIDE_MAX,
        .steps_max = HEP_STEPS_MAX};
    return HEP_OK;
}

static enum hep_status control(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct control_request *request = request_;
    struct batch *batch = batch_of(call);
    const char *action = request->action.data, *session = request->session.data;
    int rows;
    (void)error;
    if (strcmp(action, "priority") == 0)
        rows = batch_set_priority(batch, session, request->priority);
    else
        rows = batch_control(batch, session, request->row,
                             strcmp(action, "cancel") == 0  ? ROW_CANCELLED
                             : strcmp(action, "pause") == 0 ? ROW_PAUSED
                                                            : ROW_RUNNING);
    ((struct control_reply *)reply)->rows = rows;
    return HEP_OK;
}

static enum hep_status memory(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)reply, (void)error;
    batch_of(call)->free_bytes = ((const struct memory_request *)request)->free_bytes;
    return HEP_OK;
}

static bool work(struct hep_instructor *self)
{
    return batch_work(hep_instructor_state(self));
}

static enum hep_status start(struct hep_instructor *self, void **state, struct hep_error *error)
{
    HEP_TRY(hep_isa_check(error));
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to start");
    batch->rows_max = (int)hep_instructor_setting_int(self, "inference.rows_max", 4);
    batch->rows_max = batch->rows_max < 1                   ? 1
                      : batch->rows_max > ROWS_TOGETHER_MAX ? ROWS_TOGETHER_MAX
                                                            : batch->rows_max;
    batch->preview_us = 1000 * hep_instructor_setting_int(self, "inference.preview_ms", PREVIEW_MS_DEFAULT);
    int64_t memory = hep_instructor_setting_int(self, "inference.memory", 0);
    batch->memory_bytes =
        memory > 0 ? (uint64_t)memory : (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    *state = batch;
    return HEP_OK;
}

static void stop(struct hep_instructor *self)
{
    struct batch *batch = hep_instructor_state(self);
    batch_trim(batch, self);
    free(batch);
}

static const struct hep_operation operations[] = {
    HEP_OPERATION("generate", generate, generate_request, generate_fields, generate_reply, generate_reply_fields,
                  .measure = measure_generate, .permission = HEP_INTERNAL, .deadline_ms = 300000, .pure = true,
                  .heavy = true, .aliases = HEP_ALIASES(HEP_ALIAS("batch_process")),
                  .help = "denoise images, step by step, each step committed"),
    HEP_OPERATION("estimate", estimate, estimate_request, estimate_fields, estimate_reply, estimate_reply_fields,
                  .permission = HEP_OPERATOR, .deadline_ms = 10000, .pure = true, .heavy = true, .leaseless = true,
                  .help = "memory, FLOPs and time of one evaluation, and of all"),
    HEP_OPERATION("control", control, control_request, control_fields, control_reply, control_reply_fields,
                  .permission = HEP_INTERNAL, .deadline_ms = 300000, .heavy = true, .leaseless = true,
                  .help = "pause, resume or cancel rows, or change their priority, at the next step"),
    HEP_QUERY("info", info, info_reply, info_reply_fields, .permission = HEP_CLIENT, .deadline_ms = 2000,
              .aliases = HEP_ALIASES(HEP_ALIAS("get_pipeline_info")),
              .help = "what can be denoised, its limits, and the networks that are open"),
    {.name = "memory",
     .handler = memory,
     HEP_REQUEST(memory_request, memory_fields),
     HEP_NO_REPLY,
     .permission = HEP_INTERNAL,
     .deadline_ms = 300000,
     .heavy = true,
     .leaseless = true,
     .help = "how much memory is free: how many rows run together follows it at the next step"},
    {0},
};

/* Between two steps: the networks of jobs in hand are opened again at the next one. */
static void drop_networks(struct hep_instructor *self, json_t *freed)
{
    json_object_set_new(freed, "activation_bytes",
                        json_integer((json_int_t)batch_trim(hep_instructor_state(self), self)));
}

static void show_groups(struct batch_view *view, json_t *into)
{
    static const char *const limits[GROUP_LIMIT_COUNT] = {[GROUP_LIMIT_ROWS] = "rows",
                                                          [GROUP_LIMIT_ROWS_MAX] = "rows_max",
                                                          [GROUP_LIMIT_MEMORY] = "memory",
                                                          [GROUP_LIMIT_OPERATIONS] = "operations"};
    json_t *sizes = json_object();
    for (int rows = 1; rows <= ROWS_TOGETHER_MAX; rows++) {
        char name[16];
        uint64_t calls = atomic_load(&view->groups[rows]);
        snprintf(name, sizeof name, "%d", rows);
        if (calls > 0)
            json_object_set_new(sizes, name, json_integer((json_int_t)calls));
    }
    static const char *const lane_limits[LANE_LIMIT_COUNT] = {[LANE_LIMIT_ASKED] = "asked",
                                                              [LANE_LIMIT_CORES] = "cores",
                                                              [LANE_LIMIT_JOBS] = "jobs",
                                                              [LANE_LIMIT_MEMORY] = "memory"};
    json_t *cores = json_array();
    for (int i = 0; i < atomic_load(&view->lanes) && i < LANES_MAX; i++)
        json_array_append_new(cores, json_integer(atomic_load(&view->lane_cores[i])));
    json_object_set_new(into, "lanes", json_integer(atomic_load(&view->lanes)));
    json_object_set_new(into, "lane_cores", cores);
    json_object_set_new(into, "lanes_limited_by", json_string(lane_limits[atomic_load(&view->lanes_limited_by)]));
    json_object_set_new(into, "group_sizes", sizes);
    json_object_set_new(into, "rows", json_integer(atomic_load(&view->rows)));
    json_object_set_new(into, "core_utilisation", json_real(atomic_load(&view->core_utilisation)));
    json_object_set_new(into, "limited_by", json_string(limits[atomic_load(&view->limited_by)]));
    json_object_set_new(into, "step_bytes", json_integer((json_int_t)atomic_load(&view->step_bytes)));
    json_object_set_new(into, "step_bytes_allowed", json_integer((json_int_t)atomic_load(&view->step_bytes_allowed)));
}

/* Loop thread: reads the view only. */
static void show(struct hep_instructor *self, json_t *into)
{
    struct batch *batch = hep_instructor_state(self);
    struct batch_view *view = &batch->view;
    json_object_set_new(
        into, "inference",
        json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:f, s:i}", "jobs", atomic_load(&view->jobs), "rows_running",
                  atomic_load(&view->rows_running), "rows_paused", atomic_load(&view->rows_paused), "rows_max",
                  batch->rows_max, "evaluations", (json_int_t)atomic_load(&view->evaluations), "activation_bytes",
                  (json_int_t)atomic_load(&view->activation_bytes), "memory_limit", (json_int_t)batch->memory_bytes,
                  "gflops", atomic_load(&view->gflops), "networks", atomic_load(&view->networks)));
    show_groups(view, json_object_get(into, "inference"));
}

static const char *isa(void)
{
    return hep_isa_name(hep_isa_level());
}

static const struct hep_instructor_spec spec = {.role = HEP_ROLE_INFERENCE,
                                                .operations = operations,
                                                .start = start,
                                                .stop = stop,
                                                .work = work,
                                                .cleanup = drop_networks,
                                                .status = show,
                                                .isa = isa};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
