/* Many requests at once: batch.*. */
#include "supervisor/front/operations.h"
#include "supervisor/front/says.h"

#include "common/wire.h"

struct batch_request {
    struct hep_str batch_id;
};
struct batch_get_request {
    struct hep_str batch_id;
    int32_t after_item, limit;
};
struct batch_list_request {
    struct hep_str status, cursor;
    int32_t limit;
};
struct batch_control_request {
    struct hep_str batch_id, action;
};
struct create_request {
    struct hep_str workflow_id, idempotency_key, callback_url;
    json_t *configuration, *items, *ranges, *batch_config;
    int32_t priority;
};

static const char *const status_choices[] = {"",          "created", "running",   "paused",
                                             "completed", "failed",  "cancelled", NULL};
static const char *const action_choices[] = {"pause", "resume", "cancel", NULL};

static const struct hep_field batch_fields[] = {
    HEP_FIELD(STR, batch_request, batch_id, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1,
              .help = "name of the batch"),
};
static const struct hep_field get_fields[] = {
    HEP_FIELD(STR, batch_get_request, batch_id, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1,
              .help = "name of the batch"),
    HEP_FIELD(I32, batch_get_request, after_item, DEFAULTED, .fallback = -1, .min = -1, .max = HEP_BATCH_ITEMS_MAX,
              .help = "next_after of the answer before: items of a higher number"),
    HEP_FIELD(I32, batch_get_request, limit, DEFAULTED, .fallback = 200, .min = 0, .max = 500,
              .help = "items of one answer; 0: only the batch itself"),
};
static const struct hep_field list_fields[] = {
    HEP_FIELD(I32, batch_list_request, limit, DEFAULTED, .fallback = 50, .min = 1, .max = 200,
              .help = "batches of one answer"),
    HEP_FIELD(STR, batch_list_request, status, OPTIONAL, .choices = status_choices, .help = "only these"),
    HEP_FIELD(STR, batch_list_request, cursor, OPTIONAL, .format = HEP_TEXT_NUMBER, .max = 18,
              .help = "next_cursor of the answer before"),
};
static const struct hep_field control_fields[] = {
    HEP_FIELD(STR, batch_control_request, batch_id, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1,
              .help = "name of the batch"),
    HEP_FIELD(STR, batch_control_request, action, REQUIRED, .choices = action_choices,
              .help = "what to do, at the next step boundary of what runs"),
};
static const struct hep_field create_fields[] = {
    BATCH_FIELDS(create_request),
    HEP_FIELD(I32, create_request, priority, DEFAULTED, .min = -1000, .max = 1000, .help = "of its sessions"),
    HEP_FIELD(STR, create_request, idempotency_key, OPTIONAL, .max = HEP_IDEMPOTENCY_KEY_MAX - 16,
              .help = "the same key and request again gives the same batch"),
    HEP_FIELD(STR, create_request, callback_url, OPTIONAL, .max = HEP_URL_MAX,
              .help = "an http or https URL that is called when it has ended (docs/webhooks.md); its host must be in "
                      "webhooks.hosts"),
};

static const char *const item_choices[] = {"waiting", "queued",    "running", "paused", "completed",
                                           "failed",  "cancelled", "refused", NULL};
static const struct hep_field item_says[] = {
    SAYS(I32, "item", "its number, from 0"),
    MAYBE(STR, "session_id", "its session"),
    SAYS(STR, "status", "of its session; refused: it became none", .choices = item_choices),
    MAYBE(F64, "progress", "of its session", .min = 0, .max = 1),
    MAYBE(I32, "denoising_step", "denoising steps done"),
    MAYBE(I32, "denoising_steps", "denoising steps in all"),
    MAYBE(I64, "elapsed_ms", "of its session"),
    MAYBE(I64, "eta_ms", "estimated time to its end, ms"),
    MAYBE(STR, "note", "what a person should know about it now"),
    MAYBE(JSON, "error", "why it failed", HEP_INSIDE(OBJECT, hep_session_error_says)),
    MAYBE(JSON, "files", "the finished images", HEP_INSIDE(LIST, hep_file_says)),
    HEP_END_OF_FIELDS};
#define BATCH_ROWS                                                                                                     \
    SAYS(STR, "batch_id", "name of the batch"), SAYS(STR, "workflow_id", "workflow of its items"),                     \
        SAYS(STR, "status", "of the batch", .choices = status_choices + 1), SAYS(I32, "priority", "of its sessions"),  \
        SAYS(I32, "total_items", "images"), SAYS(I32, "completed_items", "of these"),                                  \
        SAYS(I32, "failed_items", "of these"), SAYS(I32, "cancelled_items", "of these"),                               \
        SAYS(I32, "running_items", "of these, queued ones included"), SAYS(I32, "waiting_items", "not begun yet"),     \
        SAYS(I64, "cursor", "its place in lists"),                                                                     \
        SAYS(JSON, "batch_config", "with its defaults", HEP_INSIDE(OBJECT, hep_batch_config_fields)),                  \
        SAYS(STR, "created", "time, RFC 3339"), SAYS(STR, "started", "time; null = not yet", .nullable = true),        \
        SAYS(STR, "ended", "time; null = not yet", .nullable = true)
static const struct hep_field batch_says[] = {
    BATCH_ROWS,
    SAYS(F64, "progress", "of the whole", .min = 0, .max = 1),
    MAYBE(F64, "images_per_s", "since it began to run"),
    MAYBE(F64, "steps_per_s", "denoising steps of one image, at the end"),
    MAYBE(I64, "eta_ms", "estimated time to the end, ms"),
    SAYS(JSON, "items", "that have begun or were refused, by number", HEP_INSIDE(LIST, item_says)),
    MAYBE(I32, "next_after", "there are more: the after_item of the next page", .min = 0),
    MAYBE(
        JSON, "manager",
        "what the batch manager says: rows of the last call, group_sizes (calls with so many rows), limited_by (rows, "
        "rows_max, memory, operations), lanes (groups side by side) and lane_cores (that each has), lanes_limited_by "
        "(asked, cores, jobs, memory), step_bytes and step_bytes_allowed of the last call, core_utilisation (0 to 1) "
        "of the last calls",
        .form = HEP_FORM_OBJECT, .open = true),
    MAYBE(I64, "peak_bytes", "largest step_bytes so far, as reported each second"),
    MAYBE(STR, "callback_url", "who is told of its end"),
    MAYBE(JSON, "webhooks", "of these, what is not delivered", HEP_INSIDE(LIST, hep_webhook_says))};
static const struct hep_field batch_line_says[] = {BATCH_ROWS, HEP_END_OF_FIELDS};
static const struct hep_field list_says[] = {SAYS(JSON, "batches", "newest first", HEP_INSIDE(LIST, batch_line_says)),
                                             MAYBE(STR, "next_cursor", "of the page after; absent at the end")};
static const struct hep_field created_says[] = {
    SAYS(STR, "batch_id", "name of the batch"), SAYS(STR, "status", "of the batch", .choices = status_choices + 1),
    SAYS(BOOL, "created", "false if the idempotency key was known"), SAYS(I32, "total_items", "images")};
static const struct hep_field control_says[] = {SAYS(STR, "batch_id", "name of the batch"),
                                                SAYS(STR, "status", "after it", .choices = status_choices + 1),
                                                SAYS(I32, "total_items", "images")};
static const struct hep_field deleted_says[] = {SAYS(STR, "batch_id", "name of the batch")};

static enum hep_status batch_list(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct batch_list_request *request = request_;
    json_t *list = NULL;
    (void)reply;
    HEP_TRY(hep_engine_list_batches(call->front->engine, request->status.data, request->cursor.data, request->limit,
                                    &list, error));
    hep_call_answer(call, list);
    return HEP_OK;
}

static enum hep_status batch_get(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct batch_get_request *request = request_;
    const struct hep_batch_page page = {.after = request->after_item, .limit = request->limit};
    json_t *view = NULL;
    (void)reply;
    HEP_TRY(hep_engine_get_batch(call->front->engine, request->batch_id.data, &page, &view, error));
    hep_call_answer(call, view);
    return HEP_OK;
}

static void on_created(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    hep_call_end(context, status, reply, error);
}

static enum hep_status batch_create(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct create_request *request = request_;
    (void)reply, (void)error;
    json_t *asked = json_pack("{s:s, s:O*, s:O*, s:O*, s:O*}", "workflow_id", request->workflow_id.data,
                              "configuration", request->configuration, "items", request->items, "ranges",
                              request->ranges, "batch_config", request->batch_config);
    if (request->callback_url.length > 0)
        json_object_set_new(asked, "callback_url", json_string(request->callback_url.data));
    call->deferred = true;
    hep_engine_create_batch(call->front->engine, asked, request->priority, request->idempotency_key.data, on_created,
                            call);
    json_decref(asked);
    return HEP_OK;
}

static enum hep_status act(struct hep_call *call, const char *id, const char *action, struct hep_error *error)
{
    json_t *said = NULL;
    HEP_TRY(hep_engine_control_batch(call->front->engine, id, action, &said, error));
    hep_call_answer(call, said);
    return HEP_OK;
}

static enum hep_status batch_execute(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    (void)reply;
    return act(call, ((const struct batch_request *)request_)->batch_id.data, "execute", error);
}

static enum hep_status batch_control(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct batch_control_request *request = request_;
    (void)reply;
    return act(call, request->batch_id.data, request->action.data, error);
}

static enum hep_status batch_delete(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct batch_request *request = request_;
    (void)reply;
    HEP_TRY(hep_engine_delete_batch(call->front->engine, request->batch_id.data, error));
    hep_call_answer(call, json_pack("{s:s}", "batch_id", request->batch_id.data));
    return HEP_OK;
}

const struct hep_operation hep_batch_operations[] = {
    {.name = "list",
     .handler = batch_list,
     HEP_REQUEST(batch_list_request, list_fields),
     REPLY(list_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "batches, newest first"},
    {.name = "get",
     .handler = batch_get,
     HEP_REQUEST(batch_get_request, get_fields),
     REPLY(batch_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "one batch, with a page of its items"},
    {.name = "create",
     .handler = batch_create,
     HEP_REQUEST(create_request, create_fields),
     REPLY(created_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 60000,
     .help = "keep a batch whose every item has been checked; nothing runs yet"},
    {.name = "execute",
     .handler = batch_execute,
     HEP_REQUEST(batch_request, batch_fields),
     REPLY(control_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "begin a batch: its items become sessions, as many at a time as run together"},
    {.name = "control",
     .handler = batch_control,
     HEP_REQUEST(batch_control_request, control_fields),
     REPLY(control_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "pause, resume or cancel a batch with its sessions"},
    {.name = "delete",
     .handler = batch_delete,
     HEP_REQUEST(batch_request, batch_fields),
     REPLY(deleted_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "forget a batch that does not run; its sessions stay"},
    {0},
};
