/*
 * What a generate call needs before it can run: its UNet, its shape, its plan, its saved steps. Everything that came
 * with the call is checked here and nowhere later. Called by batch.c and by the handlers, on the worker thread.
 */
#include "instructors/inference/group.h"

#include "common/build.h"
#include "nn/cpu/isa.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 96, CONTROLS_TEXT_MAX = 1024, FINGERPRINT_TEXT_MAX = 1024 + CONTROLS_TEXT_MAX };

/* Rows run together only up to so many operations a call: past it company gains nothing, and every row would wait for
   all of them before it can be paused, overtaken or resumed. (Four rows of Stable Diffusion 1.5 at 512² are 6.4e12.) */
static const double TOGETHER_FLOPS_MAX = 1e13;

/* ---- networks
 * --------------------------------------------------------------------------------------------------------- */
enum hep_status batch_unet(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *unet,
                           struct hep_network **network, const struct hep_unet_config **config, struct hep_error *error)
{
    static const struct network_want want = {"packed.unet", "unet/config.json", hep_any_config_read_unet};
    const union hep_any_config *read;
    HEP_TRY(networks_get(networks, self, unet, &want, network, &read, error));
    *config = &read->unet;
    return HEP_OK;
}

struct build_context {
    const struct hep_unet_config *config;
    struct hep_unet_build build;
};

static void build(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_unet_build(graph, shape->config, &shape->build);
}

static struct build_context context_of(const struct hep_unet_config *config, const struct row_shape *shape,
                                       int64_t samples, bool residuals, char key[KEY_MAX])
{
    snprintf(key, KEY_MAX, "n%" PRId64 "h%" PRId64 "w%" PRId64 "t%" PRId64 "%s", samples, shape->height, shape->width,
             shape->tokens, residuals ? "r" : "");
    return (struct build_context){config,
                                  {.batch = samples,
                                   .height = shape->height,
                                   .width = shape->width,
                                   .tokens = shape->tokens,
                                   .residuals = residuals}};
}

enum hep_status batch_cost(struct hep_network *network, const struct hep_unet_config *config,
                           const struct row_shape *shape, const struct control_networks *controls, int64_t rows,
                           int64_t samples, struct hep_network_cost *cost, struct hep_error *error)
{
    char key[KEY_MAX];
    struct build_context context = context_of(config, shape, samples, controls->count > 0, key);
    HEP_TRY(hep_network_cost(network, key, build, &context, cost, error));
    return controls_cost(controls, shape, rows, samples, cost, error);
}

enum hep_status batch_plan(struct hep_network *network, const struct hep_unet_config *config,
                           const struct row_shape *shape, int64_t samples, bool residuals, struct hep_plan **plan,
                           struct hep_error *error)
{
    char key[KEY_MAX];
    struct build_context context = context_of(config, shape, samples, residuals, key);
    return hep_network_ready(network, key, build, &context, plan, error);
}

/* For so many lanes: what is free, and what they themselves have taken for the calls before, which they take again. */
static uint64_t allowed_bytes(const struct batch *batch, int lanes, double memory_threshold)
{
    uint64_t own = 0;
    for (int i = 0; i < lanes; i++)
        own += lane_bytes(&batch->lanes[i]);
    double share = memory_threshold * (double)(batch->free_bytes + own);
    if (batch->free_bytes == 0 || memory_threshold <= 0 || share >= (double)batch->memory_bytes)
        return batch->memory_bytes;
    return (uint64_t)share;
}

enum hep_status batch_rows_together(const struct batch *batch, struct hep_network *network,
                                    const struct hep_unet_config *config, const struct row_shape *shape,
                                    const struct control_networks *controls, const struct group_wish *wish,
                                    struct group_size *size, struct hep_error *error)
{
    int most = wish->rows < wish->rows_max ? wish->rows : wish->rows_max;
    bool alone = wish->lanes == 1;
    *size = (struct group_size){.limited_by = wish->rows <= wish->rows_max ? GROUP_LIMIT_ROWS : GROUP_LIMIT_ROWS_MAX,
                                .allowed =
                                    allowed_bytes(batch, wish->lanes, wish->memory_threshold) / (uint64_t)wish->lanes};
    uint64_t needed = 0;
    for (int tried = most; tried > 0; tried--) {
        struct hep_network_cost cost;
        HEP_TRY(
            batch_cost(network, config, shape, controls, tried, (int64_t)tried * wish->samples_per_row, &cost, error));
        needed = cost.peak_bytes + group_workspace_bytes(shape, controls, tried, tried * wish->samples_per_row);
        bool has_memory = needed <= (tried == 1 && alone ? batch->memory_bytes : size->allowed);
        if (has_memory && (tried == 1 || cost.flops <= TOGETHER_FLOPS_MAX)) {
            size->rows = tried;
            size->bytes = needed;
            return HEP_OK;
        }
        size->limited_by = has_memory ? GROUP_LIMIT_OPERATIONS : GROUP_LIMIT_MEMORY;
    }
    hep_fail(error, HEP_E_NO_MEMORY,
             "one image of this size needs %" PRIu64 " bytes of activations, %" PRIu64 " are allowed", needed,
             batch->memory_bytes);
    return hep_hint(error, "ask for a smaller image, or raise inference.memory"), HEP_E_NO_MEMORY;
}

/* ---- shapes
 * ----------------------------------------------------------------------------------------------------------- */
static enum hep_status check_side(const char *name, int32_t side, int32_t factor, struct hep_error *error)
{
    if (side % factor != 0)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, name, "%s is %d, it must be a multiple of %d", name, side,
                              factor);
    return HEP_OK;
}

enum hep_status row_shape_make(const struct hep_unet_config *config, int32_t width, int32_t height, int32_t factor,
                               int64_t tokens, struct row_shape *shape, struct hep_error *error)
{
    uint32_t floats;
    int64_t pooled = hep_unet_text_embeds_width(config);
    HEP_TRY(check_side("width", width, factor, error));
    HEP_TRY(check_side("height", height, factor, error));
    struct row_shape made = {.channels = config->out_channels,
                             .height = height / factor,
                             .width = width / factor,
                             .tokens = tokens,
                             .context_dim = config->cross_attention_dim[0],
                             .pooled_dim = pooled > 0 ? pooled : 1,
                             .time_ids = hep_unet_time_ids(config)};
    made.extra_channels = config->in_channels - config->out_channels;
    if (made.extra_channels != 0 && made.extra_channels != config->out_channels + 1)
        return hep_fail(error, HEP_E_UNSUPPORTED,
                        "this UNet takes %d channels and gives %d: it wants more than an image", config->in_channels,
                        config->out_channels);
    if (!row_state_floats(&made, &floats))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "width",
                              "latents of %" PRId64 " × %" PRId64 " × %" PRId64 " are too large", made.channels,
                              made.height, made.width);
    *shape = made;
    return HEP_OK;
}

enum hep_status generate_shape(const struct generate_request *request, const struct hep_unet_config *config,
                               struct row_shape *shape, struct hep_error *error)
{
    struct row_shape made;
    int32_t width, height;
    HEP_TRY(source_size(request, &width, &height, error));
    HEP_TRY(row_shape_make(config, width, height, request->vae_scale_factor, request->conditioning.shape.dims[1], &made,
                           error));
    HEP_TRY(text_check(request, config, &made, error));
    HEP_TRY(source_check(&request->source, request->count, &made, error));
    *shape = made;
    return HEP_OK;
}

/* ---- opening a job
 * ---------------------------------------------------------------------------------------------------- */
enum hep_status job_check_finite(const char *field, const struct hep_tensor *tensor, struct hep_error *error)
{
    int64_t elements;
    const float *values = tensor->data;
    hep_assert(hep_shape_elements(&tensor->shape, &elements));
    for (int64_t i = 0; i < elements; i++)
        if (!isfinite(values[i]))
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field,
                                  "%s: element %" PRId64 " of %" PRId64 " is not finite", field, i, elements);
    return HEP_OK;
}

uint32_t job_crc(const struct hep_tensor *tensor)
{
    size_t bytes;
    uint32_t crc = hep_crc32c(0, tensor->shape.dims, (size_t)tensor->shape.rank * sizeof tensor->shape.dims[0]);
    hep_assert(hep_shape_bytes(&tensor->shape, tensor->dtype, &bytes));
    return hep_crc32c(crc, tensor->data, bytes);
}

/* What a committed step depends on beside the session: another value of any of it makes saved steps worthless. */
static void fingerprint_of(const struct job *job, const struct hep_network *network, const struct hep_tensor *plan,
                           const struct control_networks *controls, uint8_t digest[HEP_FINGERPRINT_BYTES])
{
    const struct generate_request *request = job->request;
    char text[FINGERPRINT_TEXT_MAX], steered[CONTROLS_TEXT_MAX];
    int length =
        snprintf(text, sizeof text,
                 "build=%s isa=%s dtype=%s unet=%.80s weights=%.80s plan=%08x text=%08x guidance=%.17g,%.17g "
                 "seed=%" PRIu64 " subseed=%" PRIu64 ",%.17g rng=%.16s size=%dx%d rows=%d source=%08x range=%08x%s",
                 hep_build_id(), hep_isa_name(hep_isa_level()), hep_dtype_name(hep_network_dtype(network)),
                 hep_network_digest(network), request->fingerprint.data, job_crc(plan), job->text.crc,
                 request->guidance_scale, request->guidance_rescale, request->seed, request->subseed,
                 request->subseed_strength, request->rng.data, request->width, request->height, request->count,
                 job->source.crc, job->range.crc, controls_text(&job->controls, controls, steered, sizeof steered));
    hep_assert(length > 0 && length < (int)sizeof text &&
               EVP_Digest(text, (size_t)length, digest, NULL, EVP_sha256(), NULL) == 1);
}

/* Image i has seed + i; or, as A1111's variations do, the one seed and subseed + i. */
static void init_rows(struct job *job, const struct row_shape *shape)
{
    const struct generate_request *request = job->request;
    bool varies = request->subseed_strength > 0;
    job->row_count = request->count;
    for (int i = 0; i < request->count; i++) {
        enum hep_slot_result found;
        struct row *row = &job->rows[i];
        *row = (struct row){.index = (uint32_t)i,
                            .shape = *shape,
                            .plan = &job->plan,
                            .slots = &job->slots,
                            .text = job->text.row,
                            .source = source_of_row(&job->source, i, shape),
                            .guidance_scale = request->guidance_scale,
                            .controls = &job->controls,
                            .guidance_rescale = request->guidance_rescale,
                            .seed = request->seed + (varies ? 0 : (uint64_t)i),
                            .subseed = request->subseed + (uint64_t)i,
                            .subseed_strength = request->subseed_strength,
                            .noise = row_noise_find(request->rng.data),
                            .first = job->range.first,
                            .end = job->range.end,
                            .begin_state = job->range.states[i]};
        row_resume(row, &found);
        if (row_done(row) > 0 && row->evaluation > job->reply->resumed_from)
            job->reply->resumed_from = row->evaluation;
        if (found == HEP_SLOT_OTHER_FINGERPRINT || found == HEP_SLOT_TORN) {
            job->reply->redone_rows++;
            job->reply->restarted_because = hep_str_of(hep_slot_result_name(found));
        }
    }
}

static enum hep_status copy_plan(struct job *job, const struct hep_tensor *plan, struct hep_error *error)
{
    size_t bytes = (size_t)plan->shape.dims[0];
    if (bytes > hep_scheduler_plan_bytes(HEP_PLAN_EVALUATIONS_MAX, HEP_PLAN_VECTORS_MAX))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "plan", "no plan has %zu bytes", bytes);
    job->plan_bytes = malloc(bytes);
    if (!job->plan_bytes)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a plan of %zu bytes", bytes);
    memcpy(job->plan_bytes, plan->data, bytes);
    enum hep_status status = hep_scheduler_plan_open(job->plan_bytes, bytes, &job->plan, error);
    if (status != HEP_OK && error)
        snprintf(error->field, sizeof error->field, "plan");
    return status;
}

static enum hep_status open_job(struct batch *batch, struct job *job, struct hep_error *error)
{
    const struct generate_request *request = job->request;
    struct hep_tensor plan = hep_call_map(job->call, &request->plan), state = hep_call_map(job->call, &request->state),
                      latents = hep_call_map(job->call, &request->latents);
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct row_shape shape;
    struct control_networks controls;
    uint8_t digest[HEP_FINGERPRINT_BYTES];
    uint32_t floats = 0;
    char has[96], wants[96];
    struct hep_instructor *self = hep_call_instructor(job->call);
    HEP_TRY(batch_unet(&batch->lanes[0].networks, self, &request->unet, &network, &config, error));
    HEP_TRY(generate_shape(request, config, &shape, error));
    HEP_TRY(controls_open(&batch->lanes[0].networks, self, request->controls, config, &shape,
                          request->guidance_scale > 1, &controls, error));
    HEP_TRY(controls_take(job->call, request->controls, &job->controls, error));
    struct hep_shape wanted = HEP_SHAPE(request->count, shape.channels, shape.height, shape.width);
    if (!hep_shape_equal(&latents.shape, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "latents", "latents are %s, this request needs %s",
                              hep_shape_text(&latents.shape, has, sizeof has),
                              hep_shape_text(&wanted, wants, sizeof wants));
    HEP_TRY(copy_plan(job, &plan, error));
    HEP_TRY(text_open(job->call, request, &shape, job->plan.info.steps, &job->text, error));
    HEP_TRY(source_open(job->call, &request->source, &job->source, error));
    HEP_TRY(range_open(job->call, request, &job->plan, &shape, &job->range, error));
    if (request->preview_map)
        HEP_TRY(hep_preview_map_read(request->preview_map, (int)shape.channels, &job->previews.map, error));
    job->previews.every_us = batch->preview_us;
    fingerprint_of(job, network, &plan, &controls, digest);
    hep_assert(row_state_floats(&shape, &floats));
    enum hep_status status = hep_slots_attach(&state, (uint32_t)request->count, floats, hep_call_session(job->call),
                                              request->state.generation, digest, &job->slots, error);
    if (status != HEP_OK) {
        if (error)
            snprintf(error->field, sizeof error->field, "state");
        return status;
    }
    init_rows(job, &shape);
    return HEP_OK;
}

enum hep_status job_create(struct batch *batch, struct hep_call *call, struct job **job, struct hep_error *error)
{
    struct job *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    made->call = call;
    made->request = hep_call_request(call);
    made->reply = hep_call_reply(call);
    made->priority = made->request->priority;
    made->rows_max = made->request->rows_max > 0 ? made->request->rows_max : batch->rows_max;
    made->lanes_max = made->request->lanes_max > 1 ? made->request->lanes_max : 1;
    made->memory_threshold = made->request->memory_threshold;
    enum hep_status status = open_job(batch, made, error);
    if (status != HEP_OK) {
        job_destroy(made);
        return status;
    }
    *job = made;
    return HEP_OK;
}

void job_destroy(struct job *job)
{
    if (!job)
        return;
    text_clear(&job->text);
    free(job->plan_bytes);
    free(job);
}
