/* What has happened and the daemon itself: events.*, config.*, log.*, daemon.*. */
#include "common/crash_point.h"
#include "common/wire.h"
#include "supervisor/front/operations.h"
#include "supervisor/front/says.h"

#include <stdio.h>
#include <string.h>

struct poll_request {
    struct hep_str session_id, types;
    int64_t after_seq;
    int32_t limit, wait_ms;
};
struct tail_request {
    struct hep_str session;
    int32_t lines;
};
struct stop_request {
    int32_t drain_ms;
};
static const struct hep_field poll_fields[] = {
    HEP_FIELD(I64, poll_request, after_seq, DEFAULTED, .fallback = -1,
              .help = "newest seq that is known; -1 = only what comes from now on"),
    HEP_FIELD(STR, poll_request, session_id, OPTIONAL, .max = HEP_SESSION_ID_MAX - 1,
              .help = "only events of this session"),
    HEP_FIELD(STR, poll_request, types, OPTIONAL, .format = HEP_TEXT_NAMES, .max = HEP_EVENT_TYPES_MAX,
              .help = "only events with these names: session.state,domain.*"),
    HEP_FIELD(I32, poll_request, limit, DEFAULTED, .fallback = 100, .min = 1, .max = 500,
              .help = "events of one answer"),
    HEP_FIELD(I32, poll_request, wait_ms, DEFAULTED, .max = HEP_WAIT_MAX_MS, .help = "wait so long for the first, ms"),
};
static const struct hep_field tail_fields[] = {
    HEP_FIELD(I32, tail_request, lines, DEFAULTED, .fallback = 50, .min = 1, .max = 1000,
              .help = "how many of the last lines"),
    HEP_FIELD(STR, tail_request, session, OPTIONAL, .max = HEP_SESSION_ID_MAX - 1,
              .help = "only lines about this session, of every domain; at most 16 MiB of the log are searched"),
};
static const struct hep_field stop_fields[] = {HEP_FIELD(I32, stop_request, drain_ms, DEFAULTED, .fallback = -1,
                                                         .min = -1, .max = 600000,
                                                         .help = "time for what is in hand, ms; -1 = as configured")};
static const struct hep_field event_says[] = {
    SAYS(I64, "seq", "its number"), SAYS(I64, "time_ms", "since 1970"), SAYS(STR, "time", "RFC 3339"),
    SAYS(STR, "name", "what happened; docs/store.md lists them"), HEP_END_OF_FIELDS};
static const struct hep_field poll_says[] = {
    SAYS(JSON, "events", "with the fields of their own", HEP_INSIDE(LIST, event_says), .open = true),
    SAYS(I64, "last_seq", "for the next events.poll: everything up to it has been looked at"),
    SAYS(I64, "kept_since", "from this seq on every event that is stored is still there"),
    SAYS(I64, "all_since", "from this seq on those that are not stored (of progress) are there too")};
static const struct hep_field config_says[] = {
    SAYS(JSON, "config", "the configuration in force, key by key"),
    SAYS(STR, "file", "that it was read from; \"\" = none: the defaults"),
    SAYS(JSON, "waiting", "per key that was read again and waits: in_force, file (what that says), restart (of whom)")};
static const struct hep_field reload_says[] = {SAYS(STR, "file", "that was read; \"\" = there is none"),
                                               SAYS(JSON, "changes",
                                                    "key, from, to of each, and waits_for: \"\" (in force now), "
                                                    "\"heptad\", or whose next start it waits for: \"*\" "
                                                    "any domain, else their names")};
static const struct hep_field tail_says[] = {
    SAYS(JSON, "lines", "the last lines of the log, oldest first", HEP_INSIDE(LIST, hep_text_says))};
static const struct hep_field drain_says[] = {
    SAYS(BOOL, "drained", "true: nothing new begins until daemon.undrain"),
    SAYS(I32, "running", "sessions that are on their way to a step boundary")};
static const struct hep_field upgrade_says[] = {
    SAYS(BOOL, "upgrading", "true: it ends at a step boundary and goes on as the program that lies there now")};
static const struct hep_field stop_says[] = {SAYS(BOOL, "stopping", "true: it ends when what is in hand is done")};

static bool check_events(struct hep_call *call)
{
    struct hep_events *events = call->front->engine->events;
    const struct hep_event_filter filter = {call->session, call->types, call->follows};
    if (call->check && hep_events_last(events) <= call->after_seq)
        return false;
    uint64_t reached = call->after_seq;
    json_t *list = hep_event_page(events, &reached, &filter, call->limit, NULL, NULL);
    if (call->check && json_array_size(list) == 0 && reached >= hep_events_last(events)) {
        json_decref(list);
        call->after_seq = reached; /* nothing of what is wanted: not looked at again */
        return false;
    }
    hep_call_end(call, HEP_OK,
                 json_pack("{s:o, s:I, s:I, s:I}", "events", list, "last_seq", (json_int_t)reached, "kept_since",
                           (json_int_t)hep_events_kept_since(events), "all_since",
                           (json_int_t)hep_events_all_since(events)),
                 NULL);
    return true;
}

static enum hep_status events_poll(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct poll_request *request = request_;
    (void)reply, (void)error;
    call->after_seq =
        request->after_seq < 0 ? hep_events_last(call->front->engine->events) : (uint64_t)request->after_seq;
    call->limit = request->limit;
    call->follows = request->wait_ms > 0;
    snprintf(call->session, sizeof call->session, "%s", request->session_id.data);
    snprintf(call->types, sizeof call->types, "%s", request->types.data);
    hep_call_wait(call, check_events, request->wait_ms);
    return HEP_OK;
}

static enum hep_status config_get(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const struct hep_front *front = call->front;
    (void)request, (void)reply;
    if (!front->config)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this daemon does not say its configuration");
    hep_call_answer(call, front->config(front->context));
    return HEP_OK;
}

static enum hep_status config_reload(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const struct hep_front *front = call->front;
    json_t *says = NULL;
    (void)request, (void)reply;
    if (!front->reload)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this daemon cannot read its configuration again");
    HEP_TRY(front->reload(front->context, &says, error));
    hep_call_answer(call, says);
    return HEP_OK;
}

static enum hep_status log_tail(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct tail_request *request = request_;
    json_t *lines;
    (void)reply;
    HEP_TRY(hep_log_tail(call->front->log_path, request->lines, request->session.data, &lines, error));
    hep_call_answer(call, json_pack("{s:o}", "lines", lines));
    return HEP_OK;
}

static enum hep_status daemon_stop(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct stop_request *request = request_;
    struct hep_front *front = call->front;
    (void)reply;
    if (!front->stop)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this daemon cannot be stopped so");
    call->deferred = true;
    hep_call_end(call, HEP_OK, json_pack("{s:b}", "stopping", 1), NULL); /* before it begins */
    front->stop(front->context, request->drain_ms);
    return HEP_OK;
}

#ifdef HEP_CRASH_POINTS
struct crash_request {
    struct hep_str at;
};
static const struct hep_field crash_fields[] = {
    HEP_FIELD(STR, crash_request, at, REQUIRED, .max = 127, .help = "as HEPTAD_CRASH_AT; \"\" = nowhere")};
static const struct hep_field crash_says[] = {SAYS(STR, "program", "who will die; a domain has been restarted for it")};

/* A domain gets it with its next process, which is started here. */
static enum hep_status daemon_crash_at(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct crash_request *request = request_;
    const char *program;
    (void)reply;
    HEP_TRY(hep_crash_set(request->at.data, &program, error));
    enum hep_role role = hep_role_from_prefix(program, strlen(program));
    if (role != HEP_ROLE_NONE)
        HEP_TRY(hep_proc_restart(call->front->engine->proc, role, error));
    hep_call_answer(call, json_pack("{s:s}", "program", program));
    return HEP_OK;
}
#endif

static enum hep_status answer_held(struct hep_call *call, bool held)
{
    int running = hep_engine_hold(call->front->engine, held);
    hep_call_answer(call, json_pack("{s:b, s:i}", "drained", held, "running", running));
    return HEP_OK;
}

static enum hep_status daemon_drain(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply, (void)error;
    return answer_held(call, true);
}

static enum hep_status daemon_undrain(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply, (void)error;
    return answer_held(call, false);
}

static enum hep_status daemon_upgrade(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct hep_front *front = call->front;
    (void)request, (void)reply;
    if (!front->upgrade)
        return hep_fail(error, HEP_E_UNSUPPORTED, "this daemon cannot be upgraded so");
    HEP_TRY(front->upgrade(front->context, error));
    call->deferred = true;
    front->upgrading = call;
    return HEP_OK;
}

const struct hep_operation hep_events_operations[] = {
    {.name = "poll",
     .handler = events_poll,
     HEP_REQUEST(poll_request, poll_fields),
     REPLY(poll_says),
     .permission = HEP_CLIENT,
     .deadline_ms = HEP_WAIT_MAX_MS,
     .help = "what has happened since"},
    {0},
};
const struct hep_operation hep_config_operations[] = {
    {.name = "get",
     .handler = config_get,
     HEP_NO_REQUEST,
     REPLY(config_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "the configuration in force, and what waits for a restart"},
    {.name = "reload",
     .handler = config_reload,
     HEP_NO_REQUEST,
     REPLY(reload_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "read the configuration again; with a mistake in it nothing changes"},
    {0},
};
const struct hep_operation hep_log_operations[] = {
    {.name = "tail",
     .handler = log_tail,
     HEP_REQUEST(tail_request, tail_fields),
     REPLY(tail_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "the last lines of the log"},
    {0},
};
const struct hep_operation hep_daemon_operations[] = {
    {.name = "stop",
     .handler = daemon_stop,
     HEP_REQUEST(stop_request, stop_fields),
     REPLY(stop_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "end the daemon; what is in hand goes on at the next start"},
    {.name = "drain",
     .handler = daemon_drain,
     HEP_NO_REQUEST,
     REPLY(drain_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "bring all sessions to a step boundary and hold them there; refuse requests"},
    {.name = "undrain",
     .handler = daemon_undrain,
     HEP_NO_REQUEST,
     REPLY(drain_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "let them go on, accept requests again"},
    {.name = "upgrade",
     .handler = daemon_upgrade,
     HEP_NO_REQUEST,
     REPLY(upgrade_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 30000,
     .help = "become the program that lies where this one was started from"},
#ifdef HEP_CRASH_POINTS
    {.name = "crash_at",
     .handler = daemon_crash_at,
     HEP_REQUEST(crash_request, crash_fields),
     REPLY(crash_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "fault tests: where a process dies"},
#endif
    {0},
};
