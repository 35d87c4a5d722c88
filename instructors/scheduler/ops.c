/*
 * heptad-scheduler's operations: plan, switch, list, info. To add one: fields, row, handler, a line in the golden
 * description, a test. The diffusion schedulers themselves are rows of methods.c.
 */
#include "common/crash_point.h"
#include "nn/scheduler/methods.h"
#include "nn/scheduler/plan.h"
#include "nn/scheduler/sigmas.h"
#include "instructors/skeleton/instructor.h"
#include "nn/bundle/bundle.h"

#include <stdlib.h>
#include <string.h>

struct plan_request {
    struct hep_str scheduler, sigmas, family;
    struct hep_tensor_ref config, plan;
    int32_t num_inference_steps;
    double strength, eta;
    bool describe;
};
struct plan_reply {
    struct hep_str scheduler, title;
    int32_t evaluations, steps, state_vectors;
    double init_noise_sigma;
    json_t *table;
};
struct switch_request {
    struct hep_tensor_ref plan, config;
    double at;
};
struct switch_reply {
    int32_t evaluation;
};
struct list_reply {
    json_t *schedulers, *sigmas;
};
struct info_request {
    struct hep_str scheduler;
};
struct info_reply {
    json_t *scheduler;
};

static const struct hep_field plan_fields[] = {
    HEP_FIELD(STR, plan_request, scheduler, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "scheduler name or alias; the model's own if empty"),
    HEP_FIELD(STR, plan_request, sigmas, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help =
                  "sigma schedule: normal, karras, exponential, beta, sgm_uniform, simple, ays; the scheduler's own if "
                  "empty"),
    HEP_FIELD(STR, plan_request, family, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "of the model: sd1, sd2, sdxl; for sigmas ays"),
    HEP_FIELD(REF, plan_request, config, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "scheduler configuration from model.load; without it the scheduler's own defaults"),
    HEP_FIELD(I32, plan_request, num_inference_steps, DEFAULTED, .fallback = 20, .min = 1, .max = HEP_STEPS_MAX,
              .help = "denoising steps"),
    HEP_FIELD(F64, plan_request, strength, DEFAULTED, .fallback = 1, .has_above = true, .above = 0, .max = 1,
              .help = "how much of the schedule to run"),
    HEP_FIELD(F64, plan_request, eta, DEFAULTED, .fallback = -1, .min = -1, .max = 1,
              .help = "DDIM, TCD: how much noise; -1 is the method's own default"),
    HEP_FIELD(BOOL, plan_request, describe, OPTIONAL, .help = "give the whole table in the reply"),
    HEP_FIELD(REF, plan_request, plan, OPTIONAL, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 1,
              .help = "out: the plan; without it the reply only"),
};
static const struct hep_field plan_reply_fields[] = {
    HEP_FIELD(STR, plan_reply, scheduler, REQUIRED, .help = "canonical name"),
    HEP_FIELD(STR, plan_reply, title, REQUIRED, .help = "as web interfaces show it"),
    HEP_FIELD(I32, plan_reply, evaluations, REQUIRED, .help = "calls of the network"),
    HEP_FIELD(I32, plan_reply, steps, REQUIRED, .help = "steps that people count"),
    HEP_FIELD(I32, plan_reply, state_vectors, REQUIRED,
              .help = "tensors that the method remembers, the sample included"),
    HEP_FIELD(F64, plan_reply, init_noise_sigma, REQUIRED, .help = "factor of the initial noise"),
    HEP_FIELD(JSON, plan_reply, table, OPTIONAL, .help = "timesteps, sigmas and matrices, when describe is set"),
};
static const struct hep_field switch_fields[] = {
    HEP_FIELD(REF, switch_request, plan, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1, .help = "from plan"),
    HEP_FIELD(REF, switch_request, config, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "as plan was given it: how many timesteps the model was trained with; without it 1000"),
    HEP_FIELD(F64, switch_request, at, DEFAULTED, .fallback = 0.8, .min = 0, .max = 1,
              .help = "part of the timesteps that the base model runs through"),
};
static const struct hep_field switch_reply_fields[] = {
    HEP_FIELD(I32, switch_reply, evaluation, REQUIRED,
              .help = "of the plan: where the base ends and the refiner goes on; at least 1"),
};
static const struct hep_field alias_fields[] = {HEP_SAYS(STR, "", REQUIRED, "another name"), HEP_END_OF_FIELDS};
static const struct hep_field scheduler_fields[] = {
    HEP_SAYS(STR, "name", REQUIRED, "canonical name"),
    HEP_SAYS(STR, "title", REQUIRED, "as web interfaces show it"),
    HEP_SAYS(JSON, "aliases", REQUIRED, "other names", HEP_INSIDE(LIST, alias_fields)),
    HEP_SAYS(STR, "class", REQUIRED, "as diffusers calls it; null = it has none", .nullable = true),
    HEP_SAYS(STR, "help", REQUIRED, "one line"),
    HEP_END_OF_FIELDS};
static const struct hep_field sigmas_fields[] = {
    HEP_SAYS(STR, "name", REQUIRED, "canonical name"), HEP_SAYS(STR, "title", REQUIRED, "as web interfaces show it"),
    HEP_SAYS(JSON, "aliases", REQUIRED, "other names", HEP_INSIDE(LIST, alias_fields)),
    HEP_SAYS(STR, "help", REQUIRED, "one line"), HEP_END_OF_FIELDS};
static const struct hep_field list_reply_fields[] = {
    HEP_FIELD(JSON, list_reply, schedulers, REQUIRED, HEP_INSIDE(LIST, scheduler_fields), .help = "all of them"),
    HEP_FIELD(JSON, list_reply, sigmas, REQUIRED, HEP_INSIDE(LIST, sigmas_fields),
              .help = "schedules of sigmas that most of them can be asked for with"),
};

static const struct hep_field info_fields[] = {
    HEP_FIELD(STR, info_request, scheduler, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1,
              .help = "a scheduler's name, title, alias or class"),
};
static const struct hep_field info_reply_fields[] = {
    HEP_FIELD(JSON, info_reply, scheduler, REQUIRED,
              .help = "name, title, aliases, class, help; config: what it takes a configuration without a key to say, "
                      "preset: what its name decides; prediction_types; order; of 20 steps: evaluations, "
                      "state_vectors, noise (whether they draw it)"),
};

/* The model's scheduler_config.json, as it is published: a new reference. */
static enum hep_status published_config(struct hep_call *call, const struct hep_tensor_ref *ref, json_t **config,
                                        struct hep_error *error)
{
    struct hep_tensor tensor = hep_call_map(call, ref);
    const struct hep_bundle_header *bundle;
    HEP_TRY(hep_bundle_open(tensor.data, (uint64_t)tensor.shape.dims[0], &bundle, error));
    return hep_bundle_json(bundle, "scheduler_config.json", config, error);
}

static enum hep_status read_config(struct hep_call *call, const struct plan_request *request, json_t **config,
                                   struct hep_error *error)
{
    if (hep_ref_is_given(&request->config) && !hep_ref_is_placed(&request->config))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "config",
                              "config must be published before it is planned with");
    if (!hep_ref_is_placed(&request->config)) {
        *config = json_object();
        if (request->scheduler.length > 0)
            return HEP_OK;
        json_decref(*config);
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "scheduler", "without config, scheduler is required");
    }
    return published_config(call, &request->config, config, error);
}

static enum hep_status make(struct hep_call *call, const struct plan_request *request, void *blob, size_t capacity,
                            size_t *bytes, struct hep_error *error)
{
    json_t *config;
    struct scheduler_options options = SCHEDULER_OPTIONS_DEFAULT;
    options.num_inference_steps = request->num_inference_steps;
    options.strength = request->strength;
    options.eta = request->eta;
    options.sigmas = request->sigmas.data;
    options.family = request->family.data;
    HEP_TRY(read_config(call, request, &config, error));
    enum hep_status status =
        scheduler_plan_make(request->scheduler.data, config, &options, blob, capacity, bytes, error);
    json_decref(config);
    return status;
}

static enum hep_status measure_plan(struct hep_call *call, const void *request, struct hep_output_plan *outputs,
                                    struct hep_error *error)
{
    struct hep_scheduler_plan plan;
    size_t bytes;
    HEP_TRY(make(call, request, NULL, 0, &bytes, error));
    void *blob = malloc(bytes); /* how often the network runs is known when the plan is made: a few kilobytes */
    if (!blob)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a plan of %zu bytes", bytes);
    enum hep_status status = make(call, request, blob, bytes, &bytes, error);
    if (status == HEP_OK)
        status = hep_scheduler_plan_open(blob, bytes, &plan, error);
    free(blob);
    if (status != HEP_OK)
        return status;
    hep_output_add(outputs, "plan", HEP_U8, HEP_SHAPE((int64_t)bytes));
    outputs->evaluations = plan.info.evaluations;
    return HEP_OK;
}

/* "DPM++ 2M" with the sigma schedule that was asked for behind it, as web interfaces have it: "DPM++ 2M Karras". */
static enum hep_status title_of(struct hep_call *call, const struct plan_request *request, const char *name,
                                struct hep_str *title, struct hep_error *error)
{
    const char *own = scheduler_method_find(name)->title;
    const struct sigma_schedule *schedule = NULL;
    if (request->sigmas.length > 0)
        HEP_TRY(sigma_schedule_get(request->sigmas.data, &schedule, error));
    *title = schedule ? hep_call_text(call, "%s %s", own, schedule->title) : hep_str_of(own);
    return HEP_OK;
}

/* Makes the plan in blob and says what it is. */
static enum hep_status make_and_tell(struct hep_call *call, const struct plan_request *request, void *blob,
                                     size_t capacity, struct plan_reply *reply, struct hep_error *error)
{
    struct hep_scheduler_plan made;
    size_t bytes;
    HEP_CRASH_POINT("scheduler.before_write");
    HEP_TRY(make(call, request, blob, capacity, &bytes, error));
    HEP_TRY(hep_scheduler_plan_open(blob, capacity, &made, error));
    HEP_CRASH_POINT("scheduler.after_write");
    reply->scheduler = hep_call_text(call, "%s", made.info.scheduler);
    HEP_TRY(title_of(call, request, made.info.scheduler, &reply->title, error));
    reply->evaluations = made.info.evaluations;
    reply->steps = made.info.steps;
    reply->state_vectors = made.info.state_vectors;
    reply->init_noise_sigma = (double)made.info.init_noise_sigma;
    if (request->describe)
        reply->table = scheduler_plan_json(&made);
    return HEP_OK;
}

static enum hep_status plan(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct plan_request *request = request_;
    size_t bytes;
    if (hep_ref_is_placed(&request->plan)) {
        struct hep_tensor out = hep_call_map(call, &request->plan);
        return make_and_tell(call, request, out.data, (size_t)out.shape.dims[0], reply, error);
    }
    HEP_TRY(make(call, request, NULL, 0, &bytes, error));
    void *own = malloc(bytes);
    if (!own)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a plan of %zu bytes", bytes);
    enum hep_status status = make_and_tell(call, request, own, bytes, reply, error);
    free(own);
    return status;
}

static enum hep_status switch_plan(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct switch_request *request = request_;
    struct hep_tensor blob = hep_call_map(call, &request->plan);
    struct hep_scheduler_plan plan;
    struct scheduler_config config;
    scheduler_config_init(&config);
    HEP_TRY(hep_scheduler_plan_open(blob.data, (size_t)blob.shape.dims[0], &plan, error));
    if (hep_ref_is_placed(&request->config)) {
        json_t *json;
        HEP_TRY(published_config(call, &request->config, &json, error));
        enum hep_status status = scheduler_config_read(json, &config, error);
        json_decref(json);
        HEP_TRY(status);
    }
    ((struct switch_reply *)reply)->evaluation = scheduler_switch_at(&plan, config.num_train_timesteps, request->at);
    return HEP_OK;
}

static enum hep_status info(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const struct hep_str *name = &((const struct info_request *)request)->scheduler;
    (void)call;
    return scheduler_info_json(name->data, &((struct info_reply *)reply)->scheduler, error);
}

static enum hep_status list(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)call;
    (void)request;
    json_t *schedulers = scheduler_list_json(), *sigmas = sigma_list_json();
    if (!schedulers || !sigmas) {
        json_decref(schedulers);
        json_decref(sigmas);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the list of schedulers");
    }
    *(struct list_reply *)reply = (struct list_reply){.schedulers = schedulers, .sigmas = sigmas};
    return HEP_OK;
}

#define SCHEDULER(alias, name) HEP_ALIAS_FOR(alias, "{\"scheduler\": \"" name "\"}")
static const struct hep_operation operations[] = {
    HEP_OPERATION("plan", plan, plan_request, plan_fields, plan_reply, plan_reply_fields, .measure = measure_plan,
                  .permission = HEP_CLIENT, .deadline_ms = 2000, .pure = true,
                  .aliases = HEP_ALIASES(HEP_ALIAS("create"), HEP_ALIAS("set_timesteps"), HEP_ALIAS("create_scheduler"),
                                         HEP_ALIAS("configure_scheduler"), SCHEDULER("ddim", "ddim"),
                                         SCHEDULER("dpm_plus_plus", "dpmpp_2m"), SCHEDULER("euler", "euler")),
                  .help = "compute the table that drives a denoising loop"),
    HEP_OPERATION("switch", switch_plan, switch_request, switch_fields, switch_reply, switch_reply_fields,
                  .permission = HEP_CLIENT, .deadline_ms = 2000, .pure = true,
                  .help = "where a refiner goes on in place of the base model"),
    HEP_QUERY("list", list, list_reply, list_reply_fields, .permission = HEP_CLIENT, .deadline_ms = 2000, .pure = true,
              .aliases = HEP_ALIASES(HEP_ALIAS("list_schedulers")), .help = "the diffusion schedulers that Heptad has"),
    HEP_OPERATION("info", info, info_request, info_fields, info_reply, info_reply_fields, .permission = HEP_CLIENT,
                  .deadline_ms = 2000, .pure = true, .aliases = HEP_ALIASES(HEP_ALIAS("get_scheduler_info")),
                  .help = "one diffusion scheduler"),
    {0},
};

static const struct hep_instructor_spec spec = {.role = HEP_ROLE_SCHEDULER, .operations = operations};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
