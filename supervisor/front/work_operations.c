/* What is to be made: workflow.*. */
#include "supervisor/front/operations.h"
#include "supervisor/front/says.h"

/* ---- workflow ---------------------------------------------------------------------------------------------------- */
struct workflow_request {
    struct hep_str workflow_id;
};
struct put_request {
    struct hep_str workflow_id;
    json_t *workflow;
};
struct execute_request {
    struct hep_str workflow_id, idempotency_key, callback_url;
    json_t *workflow, *steps, *configuration;
    int32_t priority;
};
static const struct hep_field workflow_fields[] = {
    HEP_FIELD(STR, workflow_request, workflow_id, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1,
              .help = "name of the workflow"),
};
/* What is to be done: a template, or a workflow that comes with the request. */
#define WORK_FIELDS(type)                                                                                              \
    HEP_FIELD(STR, type, workflow_id, DEFAULTED, .fallback_text = HEP_WORKFLOW_BASE, .max = HEP_NAME_MAX - 1,          \
              .help = "name of the workflow"),                                                                         \
        HEP_FIELD(JSON, type, workflow, OPTIONAL, .form = HEP_FORM_OBJECT, .open = true,                               \
                  .help = "a workflow of the request's own; what a generating step implies is added"),                 \
        HEP_FIELD(JSON, type, steps, OPTIONAL, HEP_INSIDE(LIST, hep_object_says), .min = 1,                            \
                  .max = HEP_WORKFLOW_STEPS_MAX, .help = "as workflow, its steps alone"),                              \
        HEP_FIELD(JSON, type, configuration, OPTIONAL, .form = HEP_FORM_OBJECT, .open = true,                          \
                  .help = "the workflow's parameters, see workflow.get")
static const struct hep_field execute_fields[] = {
    WORK_FIELDS(execute_request),
    HEP_FIELD(I32, execute_request, priority, DEFAULTED, .min = -1000, .max = 1000, .help = "higher goes first"),
    HEP_FIELD(STR, execute_request, idempotency_key, OPTIONAL, .max = HEP_IDEMPOTENCY_KEY_MAX,
              .help = "the same key and request again gives the same session"),
    HEP_FIELD(STR, execute_request, callback_url, OPTIONAL, .max = HEP_URL_MAX,
              .help = "an http or https URL that is called when it has ended (docs/webhooks.md); its host must be in "
                      "webhooks.hosts"),
};
static const struct hep_field validate_fields[] = {WORK_FIELDS(execute_request)};
static const struct hep_field execute_says[] = {SAYS(STR, "session_id", "name of the session"),
                                                SAYS(STR, "status", "of the session", .choices = hep_session_choices),
                                                SAYS(BOOL, "created", "false if the idempotency key was known"),
                                                SAYS(I32, "queue_position", "from 1; 0 = it is not in the queue")};
static const struct hep_field put_fields[] = {
    HEP_FIELD(STR, put_request, workflow_id, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1, .help = "its name"),
    HEP_FIELD(JSON, put_request, workflow, REQUIRED, .form = HEP_FORM_OBJECT, .open = true,
              .help = "the template, as a file of workflows.dir"),
};
static const struct hep_field check_fields[] = {
    HEP_FIELD(JSON, put_request, workflow, REQUIRED, .form = HEP_FORM_OBJECT, .open = true,
              .help = "the template, as a file of workflows.dir; it may extend one that is there"),
};
static const struct hep_field check_says[] = {
    SAYS(BOOL, "valid", "it could be used"),
    SAYS(JSON, "problems", "all that is wrong with it", HEP_INSIDE(LIST, hep_problem_says))};
static const struct hep_field put_says[] = {SAYS(STR, "workflow_id", "name of the workflow")};
static const char *const parameter_types[] = {
#define TYPE_NAME(id, name, help) name,
    HEP_PARAMETER_TYPES(TYPE_NAME)
#undef TYPE_NAME
        NULL};
static const char *const error_choices[] = {"fail", "skip", "continue", NULL};
static const char *const fit_choices[] = {"now", "when_others_end", "when_shm_is_free", "never", NULL};
#define LIMIT "; a number, or a text \"${model.…}\""

static const struct hep_field parameter_says[] = {
    SAYS(STR, "type", "of its values", .choices = parameter_types),
    MAYBE(BOOL, "required", "missing is an error"),
    MAYBE(JSON, "default", "value if it is missing; a text may be \"${model.…}\""),
    MAYBE(JSON, "min", "inclusive; of a string: bytes" LIMIT),
    MAYBE(JSON, "max", "inclusive; of a string: bytes" LIMIT),
    MAYBE(JSON, "above", "it must be greater" LIMIT),
    MAYBE(JSON, "multiple_of", "it must be a multiple" LIMIT),
    MAYBE(JSON, "choices", "the allowed values", HEP_INSIDE(LIST, hep_text_says)),
    MAYBE(JSON, "aliases", "other names for it", HEP_INSIDE(LIST, hep_text_says)),
    MAYBE(JSON, "prompts", "of loras and embeddings: the parameters whose texts may name some",
          HEP_INSIDE(LIST, hep_text_says)),
    MAYBE(STR, "help", "one line"),
    HEP_END_OF_FIELDS};
static const struct hep_field retry_says[] = {MAYBE(I64, "attempts", "how often it is asked at most"),
                                              MAYBE(I64, "delay_ms", "before the second attempt; doubles"),
                                              HEP_END_OF_FIELDS};
static const char *const step_type_choices[] = {
#define HEP_ROLE(id, prefix, weights, heavy, binary, help) prefix,
#include "common/roles.def"
#undef HEP_ROLE
    HEP_STEP_BATCH, NULL};
static const struct hep_field step_says[] = {
    SAYS(STR, "id", "of the step"),
    SAYS(STR, "type", "the domain, or batch: a batch as a step", .choices = step_type_choices),
    SAYS(STR, "domain", "that does it; of a batch, the one that runs its rows", .choices = hep_domain_choices),
    SAYS(STR, "operation", "its operation"),
    MAYBE(JSON, "parameters", "fields of the request, with references", .form = HEP_FORM_OBJECT, .open = true),
    MAYBE(JSON, "required_models", "names, with references", .form = HEP_FORM_LIST),
    MAYBE(JSON, "when", "a condition; docs/engine.md"),
    MAYBE(STR, "on_error", "what an error does", .choices = error_choices),
    MAYBE(I64, "timeout_ms", "of one attempt"),
    MAYBE(JSON, "retry", "of errors that are final otherwise", HEP_INSIDE(OBJECT, retry_says)),
    MAYBE(BOOL, "renew", "asked again when its domain has a new process"),
    MAYBE(STR, "help", "one line"),
    HEP_END_OF_FIELDS};
static const struct hep_field name_says[] = {SAYS(STR, "", "name, or a reference"), HEP_END_OF_FIELDS};
static const struct hep_field requirements_says[] = {
    MAYBE(I64, "memory_bytes", "at least so much is reserved"),
    MAYBE(JSON, "models", "that must be there", HEP_INSIDE(LIST, name_says)), HEP_END_OF_FIELDS};
#define TEMPLATE_ROWS                                                                                                  \
    SAYS(STR, "workflow_id", "name"), SAYS(STR, "name", "for people"), SAYS(STR, "help", "what it does"),              \
        SAYS(I32, "version", "of the template"), MAYBE(STR, "extends", "the template that it builds on"),              \
        SAYS(JSON, "parameters", "per name, what a configuration may hold", HEP_INSIDE(MAP, parameter_says)),          \
        SAYS(JSON, "steps", "in their order", HEP_INSIDE(LIST, step_says)),                                            \
        MAYBE(JSON, "resource_requirements", "as written", HEP_INSIDE(OBJECT, requirements_says)),                     \
        MAYBE(JSON, "estimated_duration", "as written")
static const struct hep_field template_says[] = {TEMPLATE_ROWS, HEP_END_OF_FIELDS};
static const struct hep_field workflow_says[] = {
    TEMPLATE_ROWS,
    SAYS(JSON, "problems", "what the domains that are there do not have", HEP_INSIDE(LIST, hep_problem_says))};
static const struct hep_field workflow_line_says[] = {
    SAYS(STR, "workflow_id", "name"),
    SAYS(STR, "name", "for people"),
    SAYS(STR, "help", "what it does"),
    SAYS(I32, "version", "of the template"),
    MAYBE(STR, "extends", "the template that it builds on"),
    SAYS(STR, "file", "in workflows.dir; \"\" = it was put"),
    SAYS(BOOL, "own", "put by an operator, not a file"),
    SAYS(BOOL, "usable", "it can be executed"),
    MAYBE(JSON, "problems", "why it cannot", HEP_INSIDE(LIST, hep_problem_says)),
    HEP_END_OF_FIELDS};
static const struct hep_field workflows_says[] = {
    SAYS(JSON, "workflows", "all of them", HEP_INSIDE(LIST, workflow_line_says))};
static const struct hep_field evicted_says[] = {
    SAYS(STR, "model", "whose weights go"), SAYS(STR, "component", "unet, vae, …"),
    SAYS(STR, "dtype", "that it computes in"), SAYS(I64, "bytes", "of its segment"), HEP_END_OF_FIELDS};
static const struct hep_field weights_says[] = {
    SAYS(I64, "weights_bytes", "of all that the load gives"),
    SAYS(I64, "new_bytes", "of it that was not published yet"),
    SAYS(I64, "published_bytes", "of all models before"),
    SAYS(I64, "budget_bytes", "that all models may have"),
    SAYS(I64, "evicted_bytes", "that go for it"),
    SAYS(JSON, "evicts", "what goes, the longest unused first", HEP_INSIDE(LIST, evicted_says)),
    HEP_END_OF_FIELDS};
static const struct hep_field resources_says[] = {
    MAYBE(STR, "fits", "when there is room for it", .choices = fit_choices),
    MAYBE(STR, "waits_for", "what it would wait for"),
    MAYBE(I64, "memory_bytes", "arena and largest operation of each domain"),
    MAYBE(I64, "arena_bytes", "shared memory of its tensors"),
    MAYBE(I64, "weights_bytes", "that it uses"),
    MAYBE(I64, "budget_bytes", "for all sessions"),
    MAYBE(I64, "taken_bytes", "by others now"),
    MAYBE(I64, "shm_total_bytes", "of /dev/shm"),
    MAYBE(I64, "shm_free_bytes", "of /dev/shm"),
    MAYBE(F64, "flops", "floating point operations"),
    MAYBE(I32, "items", "of its batch; memory is that of a group, time and flops are of all of them"),
    MAYBE(I32, "kinds", "of items: that differ in more than seeds and prompts"),
    MAYBE(I32, "kinds_tried", "that all this is known from"),
    MAYBE(I32, "group_size", "items that run together"),
    MAYBE(I32, "largest_item", "number of the item whose memory counts, from 0"),
    MAYBE(JSON, "weights", "what loading its model takes, as foreseen before it", HEP_INSIDE(OBJECT, weights_says)),
    HEP_END_OF_FIELDS};
static const struct hep_field validate_says[] = {
    SAYS(BOOL, "valid", "workflow.execute would accept it"),
    SAYS(JSON, "problems", "all that is wrong, and warnings", HEP_INSIDE(LIST, hep_problem_says)),
    MAYBE(JSON, "workflow", "as it would run, with the steps that were added", HEP_INSIDE(OBJECT, template_says)),
    MAYBE(JSON, "configuration", "complete: with every default filled in", .form = HEP_FORM_OBJECT, .open = true),
    MAYBE(JSON, "resources", "what it would take", HEP_INSIDE(OBJECT, resources_says)),
    MAYBE(I64, "estimated_duration_ms", "alone, from its first step to its end")};

static enum hep_status workflow_list(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply, (void)error;
    hep_call_answer(call, json_pack("{s:o}", "workflows", hep_workflows_list(call->front->engine->workflows)));
    return HEP_OK;
}

static enum hep_status workflow_get(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct workflow_request *request = request_;
    struct hep_engine *engine = call->front->engine;
    struct hep_workflow *workflow;
    (void)reply;
    HEP_TRY(hep_workflows_find(engine->workflows, request->workflow_id.data, &workflow, error));
    json_t *view = hep_workflow_describe(workflow), *problems = json_array();
    hep_workflow_check_operations(workflow, engine->router, problems);
    json_object_set_new(view, "problems", problems);
    hep_call_answer(call, view);
    return HEP_OK;
}

/* As it was said to be wrong: the answer to a workflow that is not kept. */
static enum hep_status workflow_put(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct put_request *request = request_;
    json_t *problems = json_array();
    (void)reply;
    if (hep_engine_put_workflow(call->front->engine, request->workflow_id.data, request->workflow, problems, error) ==
        HEP_OK) {
        hep_call_answer(call, json_pack("{s:s}", "workflow_id", request->workflow_id.data));
        json_decref(problems);
        return HEP_OK;
    }
    call->deferred = true;
    hep_call_end(call, error->code, json_pack("{s:o}", "problems", problems), error);
    return HEP_OK;
}

static enum hep_status workflow_check(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct put_request *request = request_;
    json_t *problems = json_array();
    (void)reply, (void)error;
    hep_engine_check_workflow(call->front->engine, request->workflow, problems);
    hep_call_answer(call, json_pack("{s:b, s:o}", "valid", json_array_size(problems) == 0, "problems", problems));
    return HEP_OK;
}

static enum hep_status workflow_delete(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct workflow_request *request = request_;
    (void)reply;
    HEP_TRY(hep_engine_delete_workflow(call->front->engine, request->workflow_id.data, error));
    hep_call_answer(call, json_pack("{s:s}", "workflow_id", request->workflow_id.data));
    return HEP_OK;
}

static void on_executed(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    hep_call_end(context, status, reply, error);
}

/* *definition: the request's own workflow, a new reference, NULL if it names a template. */
static enum hep_status read_work(const struct hep_call *call, const struct execute_request *request,
                                 json_t **definition, struct hep_engine_request *work, struct hep_error *error)
{
    if (request->workflow && request->steps)
        return hep_fail_field(error, HEP_E_CONFLICT, "steps",
                              "steps stand in workflow, or in the request, not in both");
    if (request->workflow && !json_is_object(request->workflow))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "workflow", "workflow must be an object");
    if (request->workflow)
        *definition = json_incref(request->workflow);
    else if (request->steps)
        *definition = json_pack("{s:O}", "steps", request->steps);
    *work = (struct hep_engine_request){.workflow_id = request->workflow_id.data,
                                        .definition = *definition,
                                        .configuration = request->configuration,
                                        .priority = request->priority,
                                        .key = request->idempotency_key.data,
                                        .callback_url = request->callback_url.data,
                                        .caller = call->caller.permission};
    return HEP_OK;
}

typedef void take_work(struct hep_engine *engine, const struct hep_engine_request *request, hep_engine_answer *answer,
                       void *context);

static enum hep_status hand_over(struct hep_call *call, const struct execute_request *request, take_work *take,
                                 struct hep_error *error)
{
    struct hep_engine_request work;
    json_t *definition = NULL;
    HEP_TRY(read_work(call, request, &definition, &work, error));
    call->deferred = true;
    take(call->front->engine, &work, on_executed, call);
    json_decref(definition);
    return HEP_OK;
}

static enum hep_status workflow_execute(struct hep_call *call, const void *request, void *reply,
                                        struct hep_error *error)
{
    (void)reply;
    return hand_over(call, request, hep_engine_execute, error);
}

static enum hep_status workflow_validate(struct hep_call *call, const void *request, void *reply,
                                         struct hep_error *error)
{
    (void)reply;
    return hand_over(call, request, hep_engine_validate, error);
}

const struct hep_operation hep_workflow_operations[] = {
    {.name = "list",
     .handler = workflow_list,
     HEP_NO_REQUEST,
     REPLY(workflows_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the workflows that there are"},
    {.name = "get",
     .handler = workflow_get,
     HEP_REQUEST(workflow_request, workflow_fields),
     REPLY(workflow_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "one workflow: its parameters and steps"},
    {.name = "put",
     .handler = workflow_put,
     HEP_REQUEST(put_request, put_fields),
     REPLY(put_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "keep a workflow of the operator's own, or replace it"},
    {.name = "check",
     .handler = workflow_check,
     HEP_REQUEST(put_request, check_fields),
     REPLY(check_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "all that is wrong with a template, which is not kept"},
    {.name = "delete",
     .handler = workflow_delete,
     HEP_REQUEST(workflow_request, workflow_fields),
     REPLY(put_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "forget one that was put; sessions that run it go on"},
    {.name = "validate",
     .handler = workflow_validate,
     HEP_REQUEST(execute_request, validate_fields),
     REPLY(validate_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 60000,
     .help = "whether a request would be accepted, all that is wrong with it, and what it would take"},
    {.name = "execute",
     .handler = workflow_execute,
     HEP_REQUEST(execute_request, execute_fields),
     REPLY(execute_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 10000,
     .help = "accept a request: durable when it is answered"},
    {0},
};
