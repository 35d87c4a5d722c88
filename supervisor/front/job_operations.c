/*
 * Whole jobs under the names of the inference domain: a request becomes a session of the matching workflow, and is
 * answered with its id, or with what it has become under `wait`. The domain itself has no such operations: it denoises.
 */
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/front/operations.h"
#include "supervisor/front/says.h"

#include <stdio.h>
#include <string.h>

struct job_request {
    double wait;
    int32_t priority;
    struct hep_str idempotency_key;
    json_t *configuration;
};
enum { JOB_WAIT_MAX_S = HEP_WAIT_MAX_MS / 1000 };
/* How its session is accepted and answered. */
#define HOW_FIELDS(type)                                                                                               \
    HEP_FIELD(F64, type, wait, DEFAULTED, .max = JOB_WAIT_MAX_S,                                                       \
              .help = "answer when the session has ended, after so many seconds in any case; 0 = at once"),            \
        HEP_FIELD(I32, type, priority, DEFAULTED, .min = -1000, .max = 1000, .help = "higher goes first"),             \
        HEP_FIELD(STR, type, idempotency_key, OPTIONAL, .max = HEP_IDEMPOTENCY_KEY_MAX,                                \
                  .help = "the same key and request again gives the same session")
static const struct hep_field job_fields[] = {
    HOW_FIELDS(job_request),
    HEP_FIELD(JSON, job_request, configuration, OPTIONAL,
              .help = "an object: the workflow's parameters, see workflow.get; they may as well stand beside these "
                      "fields instead"),
};
struct batch_job_request {
    double wait;
    int32_t priority;
    struct hep_str workflow_id, idempotency_key;
    json_t *configuration, *items, *ranges, *batch_config;
};
static const struct hep_field batch_job_fields[] = {
    HOW_FIELDS(batch_job_request),
    BATCH_FIELDS(batch_job_request),
};
static const struct hep_field job_results_says[] = {
    MAYBE(JSON, "files", "the finished images", HEP_INSIDE(LIST, hep_file_says)), HEP_END_OF_FIELDS};
/* Two replies in one: that of workflow.execute, or under `wait` that of session.get. */
static const struct hep_field job_says[] = {
    SAYS(STR, "session_id", "name of the session"),
    SAYS(STR, "status", "of the session; under `wait` completed, or where it stands when the wait is over",
         .choices = hep_session_choices),
    MAYBE(JSON, "created", "false if the idempotency key was known; under `wait` the time of acceptance"),
    MAYBE(I32, "queue_position", "from 1; 0 = it is not in the queue"),
    MAYBE(JSON, "results", "under `wait`, with all else that session.get says", HEP_INSIDE(OBJECT, job_results_says),
          .open = true),
};

/* The workflow of each name. To add one: a row, and a row of the operations below. */
static const struct job {
    const char *name, *workflow;
} jobs[] = {{"text2img", "txt2img"},      {"img2img", "img2img"}, {"inpainting", "inpaint"},
            {"controlnet", "controlnet"}, {"lora", "txt2img"},    {"batch_process", "batch"}};

static const struct job *job_of(const struct hep_call *call)
{
    const char *name = strchr(call->type, '.') + 1;
    for (size_t i = 0; i < HEP_COUNT_OF(jobs); i++)
        if (strcmp(jobs[i].name, name) == 0)
            return &jobs[i];
    hep_assert_failed("every row has its workflow", __FILE__, __LINE__);
}

json_t *hep_job_gather(const struct hep_operation *row, json_t *data)
{
    json_t *value, *result, *configuration;
    const char *key;
    if (!json_is_object(data) || json_object_get(data, "configuration"))
        return json_incref(data);
    result = json_object();
    configuration = json_object();
    json_object_foreach(data, key, value)
    {
        bool ours = false;
        for (size_t i = 0; i < row->request_count; i++)
            ours = ours || strcmp(row->request[i].name, key) == 0;
        json_object_set(ours ? result : configuration, key, value);
    }
    json_object_set_new(result, "configuration", configuration);
    return result;
}

/* A session that failed is a failed request. */
static void answer_job(struct hep_call *call, json_t *view)
{
    struct hep_error error = {0};
    enum hep_status status = HEP_OK;
    const char *state = hep_json_str(view, "status", "");
    if (strcmp(state, "failed") == 0) {
        hep_error_from_json(json_object_get(view, "error"), &error);
        status = hep_prefix(&error, "session %s", call->session);
    } else if (strcmp(state, "cancelled") == 0) {
        status = hep_fail(&error, HEP_E_CANCELLED, "session %s was cancelled", call->session);
    }
    if (status == HEP_OK) {
        hep_call_end(call, HEP_OK, view, NULL);
        return;
    }
    json_decref(view);
    hep_call_end(call, status, NULL, &error);
}

static bool check_job(struct hep_call *call)
{
    const struct hep_session *session = hep_engine_find(call->front->engine, call->session);
    struct hep_error error = {0};
    json_t *view = NULL;
    if (call->check && session && !hep_session_is_ended(session->state))
        return false;
    enum hep_status status = hep_engine_get(call->front->engine, call->session, &view, &error);
    if (status == HEP_OK)
        answer_job(call, view);
    else
        hep_call_end(call, status, NULL, &error);
    return true;
}

static void on_accepted(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_call *call = context;
    if (status != HEP_OK || call->wait_ms == 0 || !call->front) {
        hep_call_end(call, status, reply, error);
        return;
    }
    snprintf(call->session, sizeof call->session, "%s", hep_json_str(reply, "session_id", ""));
    json_decref(reply);
    hep_call_wait(call, check_job, call->wait_ms);
}

static enum hep_status no_workflow(const struct job *job, struct hep_error *error)
{
    hep_fail(error, HEP_E_UNSUPPORTED, "inference.%s is not built yet: there is no workflow %s", job->name,
             job->workflow);
    return hep_hint(error, "`heptctl workflows` lists what can be made"), HEP_E_UNSUPPORTED;
}

/* Its session, answered now or under wait. work->workflow_id is the job's. */
static enum hep_status begin(struct hep_call *call, struct hep_engine_request *work, double wait,
                             struct hep_error *error)
{
    const struct job *job = job_of(call);
    struct hep_engine *engine = call->front->engine;
    struct hep_workflow *workflow;
    enum hep_status status = hep_workflows_find(engine->workflows, job->workflow, &workflow, error);
    if (status != HEP_OK)
        return status == HEP_E_NOT_FOUND ? no_workflow(job, error) : status;
    call->deferred = true;
    call->wait_ms = (int64_t)(wait * 1000);
    work->workflow_id = job->workflow;
    work->caller = call->caller.permission;
    hep_engine_execute(engine, work, on_accepted, call);
    return HEP_OK;
}

static enum hep_status run_job(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct job_request *request = request_;
    struct hep_engine_request work = {
        .configuration = request->configuration, .priority = request->priority, .key = request->idempotency_key.data};
    (void)reply;
    return begin(call, &work, request->wait, error);
}

/* What it asks for is the configuration of its workflow. */
static enum hep_status run_batch(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct batch_job_request *request = request_;
    (void)reply;
    json_t *configuration = json_pack("{s:s, s:O*, s:O*, s:O*, s:O*}", "workflow_id", request->workflow_id.data,
                                      "configuration", request->configuration, "items", request->items, "ranges",
                                      request->ranges, "batch_config", request->batch_config);
    struct hep_engine_request work = {
        .configuration = configuration, .priority = request->priority, .key = request->idempotency_key.data};
    enum hep_status status = begin(call, &work, request->wait, error);
    json_decref(configuration);
    return status;
}

#define JOB(text, what)                                                                                                \
    {                                                                                                                  \
        .name = text, .handler = run_job, HEP_REQUEST(job_request, job_fields), REPLY(job_says), .reply_open = true,   \
        .permission = HEP_CLIENT, .deadline_ms = HEP_WAIT_MAX_MS, .help = what                                         \
    }
const struct hep_operation hep_job_operations[] = {
    JOB("text2img", "images from a prompt: a session of the workflow txt2img"),
    JOB("img2img", "images from an image: a session of the workflow img2img, where there is one"),
    JOB("inpainting", "a part of an image anew: a session of the workflow inpaint, where there is one"),
    JOB("controlnet", "images that follow a hint: a session of the workflow controlnet, where there is one"),
    JOB("lora", "images from a prompt with LoRAs, `loras`: a session of the workflow txt2img"),
    {.name = "batch_process",
     .handler = run_batch,
     HEP_REQUEST(batch_job_request, batch_job_fields),
     REPLY(job_says),
     .reply_open = true,
     .permission = HEP_CLIENT,
     .deadline_ms = HEP_WAIT_MAX_MS,
     .help = "many images: what batch.create takes, as a session of the workflow batch"},
    {0},
};
