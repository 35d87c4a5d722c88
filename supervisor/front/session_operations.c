/* What has been accepted: session.*. */
#include "supervisor/front/operations.h"
#include "supervisor/front/says.h"

#include <stdio.h>

struct session_request {
    struct hep_str session_id;
};
struct list_request {
    struct hep_str status, workflow_id, created_after, created_before, cursor;
    int32_t limit;
};
struct control_request {
    struct hep_str session_id, action;
    int32_t priority;
};
struct wait_request {
    struct hep_str session_id;
    int64_t after_seq;
    int32_t timeout_ms;
};
static const char *const status_choices[] = {"",
#define STATE_NAME(id, name) name,
                                             HEP_SESSION_STATES(STATE_NAME)
#undef STATE_NAME
                                                 NULL};
static const char *const action_choices[] = {"pause", "resume", "cancel", "retry", "priority", NULL};
#define SESSION_ID(type)                                                                                               \
    HEP_FIELD(STR, type, session_id, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1, .help = "name of the session")
static const struct hep_field session_fields[] = {SESSION_ID(session_request)};
static const struct hep_field list_fields[] = {
    HEP_FIELD(STR, list_request, status, OPTIONAL, .choices = status_choices, .help = "only those; \"\" = all"),
    HEP_FIELD(STR, list_request, workflow_id, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "only of this workflow; \"\" = all"),
    HEP_FIELD(STR, list_request, created_after, OPTIONAL, .format = HEP_TEXT_TIME, .max = 40,
              .help = "only those accepted then or later: RFC 3339, or ms since 1970 as digits"),
    HEP_FIELD(STR, list_request, created_before, OPTIONAL, .format = HEP_TEXT_TIME, .max = 40,
              .help = "only those accepted before then"),
    HEP_FIELD(STR, list_request, cursor, OPTIONAL, .format = HEP_TEXT_NUMBER, .max = 18,
              .help = "next_cursor of the page before; \"\" = from the newest"),
    HEP_FIELD(I32, list_request, limit, DEFAULTED, .fallback = 50, .min = 1, .max = 500, .help = "sessions of a page"),
};
static const struct hep_field control_fields[] = {
    SESSION_ID(control_request),
    HEP_FIELD(STR, control_request, action, REQUIRED, .choices = action_choices,
              .help = "what to do at the next step boundary"),
    HEP_FIELD(I32, control_request, priority, DEFAULTED, .min = -1000, .max = 1000, .help = "for action priority"),
};
static const struct hep_field wait_fields[] = {
    SESSION_ID(wait_request),
    HEP_FIELD(I64, wait_request, after_seq, DEFAULTED, .help = "seq that is known: answer when it is larger"),
    HEP_FIELD(I32, wait_request, timeout_ms, DEFAULTED, .fallback = 30000, .min = 1, .max = HEP_WAIT_MAX_MS,
              .help = "answer after so long in any case, ms"),
};

static const char *const step_choices[] = {"pending", "running",   "waiting", "done",
                                           "failed",  "cancelled", "skipped", NULL};
static const struct hep_field step_state_says[] = {SAYS(STR, "", "state of a step", .choices = step_choices),
                                                   HEP_END_OF_FIELDS};
static const struct hep_field step_says[] = {
    SAYS(STR, "id", "of the step"),
    SAYS(STR, "domain", "its domain", .choices = hep_domain_choices),
    SAYS(STR, "operation", "its operation"),
    SAYS(STR, "status", "waiting: for its domain or for cores", .choices = step_choices),
    SAYS(I32, "attempt", "how often it was asked"),
    SAYS(I32, "crashes", "deaths of its domain with it in hand, without progress between them"),
    SAYS(I64, "queued_ms", "since the session was created"),
    SAYS(I64, "started_ms", "since the session was created; 0 = not yet"),
    SAYS(I64, "duration_ms", "of the attempt that counted, or so far"),
    MAYBE(I64, "ended_ms", "since the session was created"),
    MAYBE(I64, "memory_bytes", "as planned"),
    MAYBE(JSON, "error", "its last", HEP_INSIDE(OBJECT, hep_session_error_says)),
    MAYBE(STR, "skipped", "why"),
    HEP_END_OF_FIELDS};
static const struct hep_field results_says[] = {
    MAYBE(JSON, "files", "the finished images", HEP_INSIDE(LIST, hep_file_says)), HEP_END_OF_FIELDS};

#define SESSION_ROWS                                                                                                   \
    SAYS(STR, "session_id", "name of the session"), SAYS(STR, "workflow_id", "its workflow"),                          \
        SAYS(STR, "status", "of the session", .choices = hep_session_choices),                                         \
        SAYS(I32, "current_step", "step in hand, from 1"), SAYS(I32, "total_steps", "steps of its workflow"),          \
        SAYS(STR, "step_name", "id of the step in hand; \"\" = all are done"),                                         \
        MAYBE(I32, "denoising_step", "denoising steps done"), MAYBE(I32, "denoising_steps", "denoising steps in all"), \
        SAYS(F64, "progress", "by floating point operations", .min = 0, .max = 1),                                     \
        MAYBE(I64, "eta_ms", "estimated time to the end, ms"),                                                         \
        MAYBE(I64, "estimated_duration_ms",                                                                            \
              "from its first step to its end, as it was estimated when it was planned"),                              \
        MAYBE(I32, "queue_position", "of a queued one, from 1"), SAYS(I32, "priority", "higher goes first"),           \
        MAYBE(STR, "note", "what a person should know about it now"),                                                  \
        MAYBE(JSON, "results", "as its workflow says", HEP_INSIDE(OBJECT, results_says), .open = true),                \
        MAYBE(JSON, "error", "why it failed", HEP_INSIDE(OBJECT, hep_session_error_says)),                             \
        SAYS(STR, "created", "time of acceptance, RFC 3339"),                                                          \
        SAYS(STR, "started", "time of its first step; null = not yet", .nullable = true),                              \
        SAYS(STR, "ended", "time of its end; null = not yet", .nullable = true),                                       \
        SAYS(I64, "elapsed_ms", "from its first step to now or to its end"),                                           \
        SAYS(I64, "cursor", "its place in lists"),                                                                     \
        SAYS(I64, "seq", "number of its last change, for session.wait; 0 = it was long ago")

static const struct hep_field session_says[] = {
    SESSION_ROWS,
    SAYS(JSON, "configuration", "complete: with every default filled in", .form = HEP_FORM_OBJECT, .open = true),
    SAYS(JSON, "domains", "per domain, the state of the session's latest step there", HEP_INSIDE(MAP, step_state_says)),
    SAYS(JSON, "steps", "in their order", HEP_INSIDE(LIST, step_says)),
    SAYS(JSON, "errors", "all that went wrong on the way, oldest first", HEP_INSIDE(LIST, hep_session_error_says)),
    MAYBE(I64, "memory_bytes", "arena and largest operation of each domain, as planned"),
    MAYBE(STR, "callback_url", "who is told of its end"),
    MAYBE(JSON, "webhooks", "of these, what is not delivered", HEP_INSIDE(LIST, hep_webhook_says))};
static const struct hep_field session_line_says[] = {
    SESSION_ROWS, SAYS(STR, "prompt", "its beginning; \"\" = there is none"), HEP_END_OF_FIELDS};

static const struct hep_field list_says[] = {
    SAYS(JSON, "sessions", "newest first", HEP_INSIDE(LIST, session_line_says)),
    MAYBE(STR, "next_cursor", "of the next page, if there is one")};
static const struct hep_field control_says[] = {SAYS(STR, "session_id", "name of the session"),
                                                SAYS(STR, "status", "after it", .choices = hep_session_choices)};
static const struct hep_field deleted_says[] = {SAYS(STR, "session_id", "name of the session")};

static enum hep_status session_list(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct list_request *request = request_;
    json_t *list;
    (void)reply;
    const struct hep_engine_filter wanted = {.status = request->status.data,
                                             .workflow_id = request->workflow_id.data,
                                             .created_after = request->created_after.data,
                                             .created_before = request->created_before.data,
                                             .cursor = request->cursor.data,
                                             .limit = request->limit};
    HEP_TRY(hep_engine_list(call->front->engine, &wanted, &list, error));
    hep_call_answer(call, list);
    return HEP_OK;
}

static enum hep_status session_get(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct session_request *request = request_;
    json_t *view;
    (void)reply;
    HEP_TRY(hep_engine_get(call->front->engine, request->session_id.data, &view, error));
    hep_call_answer(call, view);
    return HEP_OK;
}

static enum hep_status session_control(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct control_request *request = request_;
    json_t *answer;
    (void)reply;
    HEP_TRY(hep_engine_control(call->front->engine, request->session_id.data, request->action.data, request->priority,
                               &answer, error));
    hep_call_answer(call, answer);
    return HEP_OK;
}

static enum hep_status session_delete(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct session_request *request = request_;
    (void)reply;
    HEP_TRY(hep_engine_delete(call->front->engine, request->session_id.data, error));
    hep_call_answer(call, json_pack("{s:s}", "session_id", request->session_id.data));
    return HEP_OK;
}

/* Sessions in memory change; one that is only in the store has ended. */
static bool check_session(struct hep_call *call)
{
    const struct hep_session *session = hep_engine_find(call->front->engine, call->session);
    struct hep_error error = {0};
    json_t *view = NULL;
    if (call->check && session && session->change_seq <= call->after_seq && !hep_session_is_ended(session->state))
        return false;
    enum hep_status status = hep_engine_get(call->front->engine, call->session, &view, &error);
    hep_call_end(call, status, view, &error);
    return true;
}

static enum hep_status session_wait(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct wait_request *request = request_;
    (void)reply, (void)error;
    snprintf(call->session, sizeof call->session, "%s", request->session_id.data);
    call->after_seq = request->after_seq > 0 ? (uint64_t)request->after_seq : 0;
    hep_call_wait(call, check_session, request->timeout_ms);
    return HEP_OK;
}

const struct hep_operation hep_session_operations[] = {
    {.name = "list",
     .handler = session_list,
     HEP_REQUEST(list_request, list_fields),
     REPLY(list_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "sessions, newest first"},
    {.name = "get",
     .handler = session_get,
     HEP_REQUEST(session_request, session_fields),
     REPLY(session_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "one session with its steps, results and errors"},
    {.name = "control",
     .handler = session_control,
     HEP_REQUEST(control_request, control_fields),
     REPLY(control_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "pause, resume, cancel, or change the priority"},
    {.name = "delete",
     .handler = session_delete,
     HEP_REQUEST(session_request, session_fields),
     REPLY(deleted_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "forget an ended session; its image files stay"},
    {.name = "wait",
     .handler = session_wait,
     HEP_REQUEST(wait_request, wait_fields),
     REPLY(session_says),
     .permission = HEP_CLIENT,
     .deadline_ms = HEP_WAIT_MAX_MS,
     .help = "one session, when it has changed"},
    {0},
};
