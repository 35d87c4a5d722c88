/*
 * Jobs in hand: taken in by `generate`, stepped by `work`, answered when their rows are done. Everything runs on the worker
 * thread, so that pause, cancel, priority and joining take effect at a step boundary and nowhere else.
 */
#include "instructors/inference/batch.h"

#include "common/build.h"
#include "common/clock.h"
#include "common/log.h"
#include "instructors/inference/group.h"
#include "nn/cpu/isa.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- networks --------------------------------------------------------------------------------------------------------- */
enum hep_status batch_unet(struct batch *batch, struct hep_instructor *self, const struct hep_tensor_ref *unet, struct hep_network **network,
                           const struct hep_unet_config **config, struct hep_error *error)
{
    void **extra;
    HEP_TRY(networks_get(&batch->networks, self, unet, "packed.unet", network, &extra, error));
    if (!*extra) {
        struct hep_unet_config *read = malloc(sizeof *read);
        if (!read)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a configuration");
        enum hep_status status = hep_unet_config_read(hep_network_config(*network), "unet/config.json", read, error);
        if (status != HEP_OK) {
            free(read);
            return status;
        }
        *extra = read;
    }
    *config = *extra;
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

enum hep_status batch_plan(struct hep_network *network, const struct hep_unet_config *config, const struct row_shape *shape, int64_t samples,
                           bool ready, struct hep_plan **plan, struct hep_error *error)
{
    char key[96];
    struct build_context context = {config, {.batch = samples, .height = shape->height, .width = shape->width, .tokens = shape->tokens}};
    snprintf(key, sizeof key, "n%" PRId64 "h%" PRId64 "w%" PRId64 "t%" PRId64, samples, shape->height, shape->width, shape->tokens);
    return ready ? hep_network_ready(network, key, build, &context, plan, error)
                 : hep_network_plan(network, key, build, &context, plan, error);
}

int batch_rows_together(struct batch *batch, struct hep_network *network, const struct hep_unet_config *config, const struct row_shape *shape,
                        int wanted, int samples_per_row)
{
    int rows = wanted < batch->rows_max ? wanted : batch->rows_max;
    struct hep_plan *plan;
    while (rows > 1 && batch->memory_bytes &&
           (batch_plan(network, config, shape, (int64_t)rows * samples_per_row, false, &plan, NULL) != HEP_OK ||
            plan->peak_bytes > batch->memory_bytes))
        rows--;
    return rows > 0 ? rows : 1;
}

/* ---- taking a call in --------------------------------------------------------------------------------------------------- */
/* What a committed step depends on beside the session: another value of any of it makes saved steps worthless. */
static void fingerprint_of(const struct job *job, const struct hep_tensor *plan, uint8_t digest[HEP_FINGERPRINT_BYTES])
{
    const struct generate_request *request = job->request;
    char text[512];
    int length = snprintf(text, sizeof text, "build=%s isa=%s weights=%.80s plan=%08x guidance=%.17g seed=%" PRIu64 " rng=%.16s size=%dx%d rows=%d",
                          hep_build_id(), hep_isa_name(hep_isa_level()), request->fingerprint.data,
                          hep_crc32c(0, plan->data, (size_t)plan->shape.dims[0]), request->guidance_scale, request->seed, request->rng.data,
                          request->width, request->height, request->count);
    hep_assert(length < (int)sizeof text && EVP_Digest(text, (size_t)length, digest, NULL, EVP_sha256(), NULL) == 1);
}

static enum hep_status shape_of_job(const struct job *job, const struct hep_unet_config *config, const struct hep_tensor *conditioning,
                                    const struct hep_tensor *pooled, struct row_shape *shape, struct hep_error *error)
{
    const struct generate_request *request = job->request;
    int64_t wanted = hep_unet_text_embeds_width(config);
    *shape = (struct row_shape){.channels = config->out_channels, .height = request->height / request->vae_scale_factor,
                                .width = request->width / request->vae_scale_factor, .tokens = conditioning->shape.dims[1],
                                .context_dim = conditioning->shape.dims[2], .pooled_dim = pooled->shape.dims[1]};
    if (config->in_channels != config->out_channels)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this UNet takes %d channels and gives %d: an inpainting model, which cannot make an image from text",
                        config->in_channels, config->out_channels);
    if (conditioning->shape.dims[0] != 2 || shape->context_dim != config->cross_attention_dim[0])
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "conditioning", "conditioning is %" PRId64 " wide, the UNet takes %d",
                              shape->context_dim, config->cross_attention_dim[0]);
    if (pooled->shape.dims[0] != 2 || (wanted > 0 && shape->pooled_dim != wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "pooled", "the pooled embedding is %" PRId64 " wide, the UNet takes %" PRId64,
                              shape->pooled_dim, wanted);
    return HEP_OK;
}

static void init_rows(struct job *job, const struct row_shape *shape, const float *conditioning, const float *pooled)
{
    const struct generate_request *request = job->request;
    size_t context = (size_t)(shape->tokens * shape->context_dim);
    float width = (float)request->width, height = (float)request->height;
    job->row_count = request->count;
    for (int i = 0; i < request->count; i++) {
        enum hep_slot_result found;
        struct row *row = &job->rows[i];
        *row = (struct row){.index = (uint32_t)i, .shape = *shape, .plan = &job->plan, .slots = &job->slots, .negative = conditioning,
                            .positive = conditioning + context, .pooled_negative = pooled, .pooled_positive = pooled + shape->pooled_dim,
                            .time_ids = {height, width, 0, 0, height, width}, .guidance_scale = request->guidance_scale,
                            .seed = request->seed + (uint64_t)i, .rng = strcmp(request->rng.data, "torch-cpu") == 0 ? RNG_TORCH_CPU : RNG_PHILOX};
        row_resume(row, &found);
        if (row->evaluation > job->reply->resumed_from)
            job->reply->resumed_from = row->evaluation;
        if (found == HEP_SLOT_OTHER_FINGERPRINT || found == HEP_SLOT_TORN) {
            job->reply->redone_rows++;
            job->reply->restarted_because = hep_str_of(hep_slot_result_name(found));
        }
    }
}

static enum hep_status open_job(struct batch *batch, struct job *job, struct hep_error *error)
{
    const struct generate_request *request = job->request;
    struct hep_tensor conditioning = hep_call_map(job->call, &request->conditioning), pooled = hep_call_map(job->call, &request->pooled),
                      plan = hep_call_map(job->call, &request->plan), state = hep_call_map(job->call, &request->state),
                      latents = hep_call_map(job->call, &request->latents);
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct row_shape shape;
    uint8_t digest[HEP_FINGERPRINT_BYTES];
    HEP_TRY(batch_unet(batch, hep_call_instructor(job->call), &request->unet, &network, &config, error));
    HEP_TRY(shape_of_job(job, config, &conditioning, &pooled, &shape, error));
    HEP_TRY(hep_scheduler_plan_open(plan.data, (size_t)plan.shape.dims[0], &job->plan, error));
    struct hep_shape wanted = HEP_SHAPE(request->count, shape.channels, shape.height, shape.width);
    if (!hep_shape_equal(&latents.shape, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "latents", "latents do not have the shape of this request");
    fingerprint_of(job, &plan, digest);
    HEP_TRY(hep_slots_attach(&state, (uint32_t)request->count,
                             (uint32_t)(HEP_PLAN_VECTORS_MAX * shape.channels * shape.height * shape.width), hep_call_session(job->call),
                             request->state.generation, digest, &job->slots, error));
    init_rows(job, &shape, conditioning.data, pooled.data);
    return HEP_OK;
}

enum hep_status batch_add(struct batch *batch, struct hep_call *call, struct hep_error *error)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    job->call = call;
    job->request = hep_call_request(call);
    job->reply = hep_call_reply(call);
    job->priority = job->request->priority;
    job->age = ++batch->age;
    enum hep_status status = open_job(batch, job, error);
    if (status != HEP_OK) {
        free(job);
        return status;
    }
    if (job->reply->resumed_from > 0 || job->reply->redone_rows > 0)
        hep_log(HEP_INFO, "inference.resumed", "session=%s evaluation=%d redone_rows=%d because=%s", hep_call_session(call),
                job->reply->resumed_from, job->reply->redone_rows, job->reply->restarted_because.length ? job->reply->restarted_because.data : "-");
    struct job **link = &batch->jobs;
    while (*link)
        link = &(*link)->next;
    *link = job;
    return hep_call_defer(call);
}

/* ---- ending a job --------------------------------------------------------------------------------------------------------- */
static void remove_job(struct batch *batch, struct job *job)
{
    struct job **link = &batch->jobs;
    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    free(job);
}

static void answer_failure(struct batch *batch, struct job *job, enum hep_status status, const struct hep_error *error)
{
    struct hep_call *call = job->call;
    remove_job(batch, job);
    hep_call_finish(call, status, error);
}

static void answer_success(struct batch *batch, struct job *job)
{
    struct hep_call *call = job->call;
    struct hep_tensor latents = hep_call_map(call, &job->request->latents);
    for (int i = 0; i < job->row_count; i++)
        if (job->rows[i].state == ROW_DONE) { /* a cancelled row's latents stay zeros */
            row_latents(&job->rows[i], (float *)latents.data + (size_t)i * (size_t)row_elements(&job->rows[i]));
            job->reply->rows++;
        }
    job->reply->evaluations = job->evaluated;
    if (job->evaluated > 0)
        job->reply->step_ms = (double)(hep_now_us() - job->first_us) / 1000 / job->evaluated;
    remove_job(batch, job);
    hep_call_finish(call, HEP_OK, NULL);
}

static int rows_in(const struct job *job, enum row_state state)
{
    int count = 0;
    for (int i = 0; i < job->row_count; i++)
        count += job->rows[i].state == state;
    return count;
}

/* Answers what is over: done, cancelled, paused (asked again when it goes on), or interrupted by a drain. */
static void end_jobs(struct batch *batch)
{
    for (struct job *job = batch->jobs, *next; job; job = next) {
        struct hep_error error = {0};
        next = job->next;
        if (rows_in(job, ROW_CANCELLED) == job->row_count) {
            answer_failure(batch, job, hep_fail(&error, HEP_E_CANCELLED, "the session was cancelled"), &error);
        } else if (rows_in(job, ROW_DONE) + rows_in(job, ROW_CANCELLED) == job->row_count) {
            answer_success(batch, job);
        } else if (rows_in(job, ROW_PAUSED) > 0) {
            hep_fail(&error, HEP_E_NOT_NOW, "the session is paused");
            answer_failure(batch, job, HEP_E_NOT_NOW, &error);
        } else if (hep_call_cancelled(job->call)) {
            hep_fail(&error, HEP_E_DOMAIN_DOWN, "inference is draining; committed steps are kept");
            answer_failure(batch, job, HEP_E_DOMAIN_DOWN, &error);
        }
    }
}

static void report(const struct group *group)
{
    for (int i = 0; i < group->count; i++) {
        const struct job *job = group->jobs[i];
        int32_t done = 0;
        if (i > 0 && group->jobs[i - 1] == job)
            continue;
        for (int r = 0; r < job->row_count; r++)
            done += job->rows[r].evaluation;
        hep_call_progress(job->call, done, job->row_count * job->plan.info.evaluations, "denoise");
    }
}

bool batch_work(struct batch *batch)
{
    struct hep_error error = {0};
    struct group group;
    struct job *first;
    end_jobs(batch);
    if (!batch->jobs)
        return false;
    enum hep_status status = group_pick(batch, &group, &first, &error);
    if (status == HEP_OK && group.count == 0)
        return false;
    if (status == HEP_OK)
        status = group_run(batch, &group, &error);
    if (status != HEP_OK)
        answer_failure(batch, first, status, &error);
    else
        report(&group);
    end_jobs(batch);
    return batch->jobs != NULL;
}

/* ---- control ---------------------------------------------------------------------------------------------------------------- */
int batch_control(struct batch *batch, const char *session, int32_t row, enum row_state state)
{
    int count = 0;
    for (struct job *job = batch->jobs; job; job = job->next)
        for (int i = 0; i < job->row_count && strcmp(hep_call_session(job->call), session) == 0; i++)
            if ((row < 0 || row == i) && (job->rows[i].state == ROW_RUNNING || job->rows[i].state == ROW_PAUSED)) {
                job->rows[i].state = state;
                count++;
            }
    return count;
}

int batch_set_priority(struct batch *batch, const char *session, int32_t priority)
{
    int count = 0;
    for (struct job *job = batch->jobs; job; job = job->next)
        if (strcmp(hep_call_session(job->call), session) == 0) {
            job->priority = priority;
            count += job->row_count;
        }
    return count;
}

void batch_clear(struct batch *batch, struct hep_instructor *self)
{
    networks_clear(&batch->networks, self);
    free(batch->workspace);
    batch->workspace = NULL;
    batch->workspace_floats = 0;
}
