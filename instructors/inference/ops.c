/*
 * heptad-inference's operations: generate, estimate, control. To add one: fields, row, handler, a line in the golden
 * description, a test. Everything runs on the worker thread, between two steps of the batch.
 */
#include "instructors/inference/batch.h"

#include "nn/cpu/isa.h"

#include <stdlib.h>
#include <string.h>

struct estimate_request {
    struct hep_tensor_ref unet;
    int32_t width, height, vae_scale_factor, count, tokens;
    double guidance_scale;
};
struct estimate_reply {
    uint64_t peak_bytes;
    double flops_per_evaluation, ms_per_evaluation;
    int32_t rows_together;
};
struct control_request {
    struct hep_str session, action;
    int32_t row, priority;
};
struct control_reply {
    int32_t rows;
};

#define SIZE_LIMITS .min = HEP_IMAGE_SIDE_MIN, .max = HEP_IMAGE_SIDE_MAX
static const char *const rng_choices[] = {"philox", "torch-cpu", NULL};
static const char *const action_choices[] = {"pause", "resume", "cancel", "priority", NULL};
static const struct hep_field generate_fields[] = {
    HEP_FIELD(REF, generate_request, unet, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1, .help = "weights from model.load"),
    HEP_FIELD(REF, generate_request, conditioning, REQUIRED, .access = HEP_READ, .dtype = HEP_F32, .rank = 3, .help = "from encode_prompt"),
    HEP_FIELD(REF, generate_request, pooled, REQUIRED, .access = HEP_READ, .dtype = HEP_F32, .rank = 2, .help = "from encode_prompt"),
    HEP_FIELD(REF, generate_request, plan, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1, .help = "from scheduler.plan"),
    HEP_FIELD(F64, generate_request, guidance_scale, DEFAULTED, .fallback = 7.5, .min = 0, .max = 100, .help = "classifier-free guidance; 1 and below: none"),
    HEP_FIELD(U64, generate_request, seed, REQUIRED, .help = "of the first image; image i uses seed + i"),
    HEP_FIELD(STR, generate_request, rng, DEFAULTED, .fallback_text = "philox", .choices = rng_choices,
              .help = "noise as torch makes it on CUDA (philox) or on the CPU"),
    HEP_FIELD(STR, generate_request, fingerprint, OPTIONAL, .max = 80, .help = "of the weights; saved steps of another one are not used"),
    HEP_FIELD(I32, generate_request, width, REQUIRED, SIZE_LIMITS, .help = "pixels"),
    HEP_FIELD(I32, generate_request, height, REQUIRED, SIZE_LIMITS, .help = "pixels"),
    HEP_FIELD(I32, generate_request, vae_scale_factor, DEFAULTED, .fallback = 8, .min = 1, .max = 64, .help = "pixels per latent"),
    HEP_FIELD(I32, generate_request, count, DEFAULTED, .fallback = 1, .min = 1, .max = HEP_IMAGES_MAX, .help = "images"),
    HEP_FIELD(I32, generate_request, priority, DEFAULTED, .fallback = 0, .min = -1000, .max = 1000, .help = "higher goes first"),
    HEP_FIELD(REF, generate_request, state, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 1, .help = "out: step slots of every row"),
    HEP_FIELD(REF, generate_request, latents, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 4, .help = "out: [count, channels, h, w]"),
};
static const struct hep_field generate_reply_fields[] = {
    HEP_FIELD(I32, generate_reply, rows, REQUIRED, .help = "images denoised"),
    HEP_FIELD(I32, generate_reply, evaluations, REQUIRED, .help = "evaluations done in this call, all rows together"),
    HEP_FIELD(I32, generate_reply, resumed_from, REQUIRED, .help = "evaluation that a row went on from; 0 = from the start"),
    HEP_FIELD(I32, generate_reply, redone_rows, REQUIRED, .help = "rows whose saved steps could not be used"),
    HEP_FIELD(STR, generate_reply, restarted_because, OPTIONAL, .help = "why: other_fingerprint, torn"),
    HEP_FIELD(F64, generate_reply, step_ms, REQUIRED, .help = "mean time of an evaluation of one row, milliseconds"),
};
static const struct hep_field estimate_fields[] = {
    HEP_FIELD(REF, estimate_request, unet, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1, .help = "weights from model.load"),
    HEP_FIELD(I32, estimate_request, width, REQUIRED, SIZE_LIMITS, .help = "pixels"),
    HEP_FIELD(I32, estimate_request, height, REQUIRED, SIZE_LIMITS, .help = "pixels"),
    HEP_FIELD(I32, estimate_request, vae_scale_factor, DEFAULTED, .fallback = 8, .min = 1, .max = 64, .help = "pixels per latent"),
    HEP_FIELD(I32, estimate_request, count, DEFAULTED, .fallback = 1, .min = 1, .max = HEP_IMAGES_MAX, .help = "images"),
    HEP_FIELD(I32, estimate_request, tokens, DEFAULTED, .fallback = 77, .min = 1, .max = 77 * 256, .help = "of the conditioning"),
    HEP_FIELD(F64, estimate_request, guidance_scale, DEFAULTED, .fallback = 7.5, .min = 0, .max = 100, .help = "as in generate"),
};
static const struct hep_field estimate_reply_fields[] = {
    HEP_FIELD(U64, estimate_reply, peak_bytes, REQUIRED, .help = "activations of one call of the network, beside the mapped weights"),
    HEP_FIELD(F64, estimate_reply, flops_per_evaluation, REQUIRED, .help = "of all rows that run together"),
    HEP_FIELD(F64, estimate_reply, ms_per_evaluation, REQUIRED, .help = "from the rate measured so far; 0 = nothing measured yet"),
    HEP_FIELD(I32, estimate_reply, rows_together, REQUIRED, .help = "rows that run together"),
};
static const struct hep_field control_fields[] = {
    HEP_FIELD(STR, control_request, session, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1, .help = "whose rows"),
    HEP_FIELD(STR, control_request, action, REQUIRED, .choices = action_choices, .help = "what to do at the next step boundary"),
    HEP_FIELD(I32, control_request, row, DEFAULTED, .fallback = -1, .min = -1, .max = HEP_IMAGES_MAX, .help = "one image; -1 = all"),
    HEP_FIELD(I32, control_request, priority, OPTIONAL, .min = -1000, .max = 1000, .help = "for action priority"),
};
static const struct hep_field control_reply_fields[] = {
    HEP_FIELD(I32, control_reply, rows, REQUIRED, .help = "rows that it concerned"),
};

static struct batch *batch_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

static enum hep_status check_size(int32_t width, int32_t height, int32_t factor, struct hep_error *error)
{
    if (width % factor != 0)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "width", "width is %d, it must be a multiple of %d", width, factor);
    if (height % factor != 0)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "height", "height is %d, it must be a multiple of %d", height, factor);
    return HEP_OK;
}

/* Shape of the rows; tokens and widths of the conditioning come from the caller. */
static struct row_shape shape_of(const struct hep_unet_config *config, int32_t width, int32_t height, int32_t factor, int64_t tokens)
{
    return (struct row_shape){.channels = config->out_channels, .height = height / factor, .width = width / factor, .tokens = tokens,
                              .context_dim = config->cross_attention_dim[0], .pooled_dim = 1};
}

static enum hep_status measure_generate(struct hep_call *call, const void *request_, struct hep_output_plan *outputs, struct hep_error *error)
{
    const struct generate_request *request = request_;
    struct batch *batch = batch_of(call);
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct hep_plan *plan;
    size_t state_bytes;
    HEP_TRY(check_size(request->width, request->height, request->vae_scale_factor, error));
    HEP_TRY(batch_unet(batch, hep_call_instructor(call), &request->unet, &network, &config, error));
    struct row_shape shape = shape_of(config, request->width, request->height, request->vae_scale_factor, request->conditioning.shape.dims[1]);
    int samples = request->guidance_scale > 1 ? 2 : 1;
    int rows = batch_rows_together(batch, network, config, &shape, request->count, samples);
    HEP_TRY(batch_plan(network, config, &shape, (int64_t)rows * samples, false, &plan, error));
    if (!hep_slots_bytes((uint32_t)request->count, (uint32_t)(HEP_PLAN_VECTORS_MAX * shape.channels * shape.height * shape.width), &state_bytes))
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the state of %d images is too large", request->count);
    hep_output_add(outputs, "state", HEP_U8, HEP_SHAPE((int64_t)state_bytes));
    hep_output_add(outputs, "latents", HEP_F32, HEP_SHAPE(request->count, shape.channels, shape.height, shape.width));
    outputs->memory_bytes = plan->peak_bytes;
    outputs->flops = plan->flops / rows * request->count; /* of one evaluation of every row */
    return HEP_OK;
}

static enum hep_status generate(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct generate_request *request = request_;
    (void)reply;
    HEP_TRY(check_size(request->width, request->height, request->vae_scale_factor, error));
    return batch_add(batch_of(call), call, error);
}

static enum hep_status estimate(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct estimate_request *request = request_;
    struct estimate_reply *reply = reply_;
    struct batch *batch = batch_of(call);
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct hep_plan *plan;
    HEP_TRY(check_size(request->width, request->height, request->vae_scale_factor, error));
    HEP_TRY(batch_unet(batch, hep_call_instructor(call), &request->unet, &network, &config, error));
    struct row_shape shape = shape_of(config, request->width, request->height, request->vae_scale_factor, request->tokens);
    int samples = request->guidance_scale > 1 ? 2 : 1;
    reply->rows_together = batch_rows_together(batch, network, config, &shape, request->count, samples);
    HEP_TRY(batch_plan(network, config, &shape, (int64_t)reply->rows_together * samples, false, &plan, error));
    reply->peak_bytes = plan->peak_bytes;
    reply->flops_per_evaluation = plan->flops;
    reply->ms_per_evaluation = batch->gflops > 0 ? plan->flops / 1e6 / batch->gflops : 0;
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
    batch->rows_max = batch->rows_max < 1 ? 1 : batch->rows_max > ROWS_TOGETHER_MAX ? ROWS_TOGETHER_MAX : batch->rows_max;
    batch->memory_bytes = (uint64_t)hep_instructor_setting_int(self, "inference.memory", 0);
    *state = batch;
    return HEP_OK;
}

static void stop(struct hep_instructor *self)
{
    struct batch *batch = hep_instructor_state(self);
    batch_clear(batch, self);
    free(batch);
}

static const struct hep_operation operations[] = {
    HEP_OPERATION("generate", generate, generate_request, generate_fields, generate_reply, generate_reply_fields, .measure = measure_generate,
                  .permission = HEP_INTERNAL, .deadline_ms = 300000, .pure = true, .heavy = true,
                  .aliases = (const char *const[]){"batch_process", NULL}, .help = "denoise images, step by step, each step committed"),
    HEP_OPERATION("estimate", estimate, estimate_request, estimate_fields, estimate_reply, estimate_reply_fields, .permission = HEP_OPERATOR,
                  .deadline_ms = 10000, .pure = true, .heavy = true, .help = "memory, FLOPs and time of one evaluation"),
    HEP_OPERATION("control", control, control_request, control_fields, control_reply, control_reply_fields, .permission = HEP_INTERNAL,
                  .deadline_ms = 300000, .heavy = true, .help = "pause, resume or cancel rows, or change their priority, at the next step"),
    {0},
};

/* Between two steps: the networks of jobs in hand are opened again at the next one. */
static void drop_networks(struct hep_instructor *self, json_t *freed)
{
    struct batch *batch = hep_instructor_state(self);
    size_t bytes = batch->workspace_floats * sizeof(float) + networks_bytes(&batch->networks);
    batch_clear(batch, self);
    json_object_set_new(freed, "activation_bytes", json_integer((json_int_t)bytes));
}

static const char *isa(void)
{
    return hep_isa_name(hep_isa_level());
}

static const struct hep_instructor_spec spec = {.role = HEP_ROLE_INFERENCE, .operations = operations, .start = start, .stop = stop,
                                                .work = work, .cleanup = drop_networks, .isa = isa};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
