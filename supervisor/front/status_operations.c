/* How it stands: status.* and domain.*. */
#include "common/wire.h"
#include "supervisor/front/operations.h"
#include "supervisor/front/says.h"
#include "supervisor/proc/life.h"

#include <string.h>

struct domain_request {
    struct hep_str domain;
};
struct incidents_request {
    struct hep_str domain;
    int64_t before;
    int32_t limit;
};
static const struct hep_field incidents_fields[] = {
    HEP_FIELD(STR, incidents_request, domain, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "only of this one; supervisor = heptad itself"),
    HEP_FIELD(I64, incidents_request, before, OPTIONAL,
              .help = "only with a smaller number: the page after; 0 = from the newest"),
    HEP_FIELD(I32, incidents_request, limit, DEFAULTED, .fallback = 20, .min = 1, .max = 100,
              .help = "at most so many, newest first"),
};
static const struct hep_field incidents_says[] = {
    SAYS(JSON, "incidents",
         "incident (its number), time, domain, cause, signal or exit_status, operation, session, attempt, uptime_ms, "
         "crash, stack, last_lines of each"),
};
static const struct hep_field domain_fields[] = {
    HEP_FIELD(STR, domain_request, domain, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1, .help = "name of the domain")};
static const struct hep_field describe_fields[] = {HEP_FIELD(
    STR, domain_request, domain, OPTIONAL, .max = HEP_NAME_MAX - 1, .help = "only of this one, or of this prefix")};
/* ---- what they say ----------------------------------------------------------------------------------------------- */
/* clang-format off */
static const char *const daemon_choices[] = {"ready", "starting", "degraded", "drained", "draining", "failed", NULL};
static const char *const life_choices[] = {
#define LIFE_NAME(id, name, what) name,
    HEP_LIFE_STATES(LIFE_NAME)
#undef LIFE_NAME
    NULL};
static const struct hep_field domain_says[] = {
    SAYS(STR, "domain", "name of the domain", .choices = hep_domain_choices),
    SAYS(STR, "state", "of its process", .choices = life_choices),
    SAYS(BOOL, "healthy", "it is up, has reported within 5 s and gets on with what it has in hand"),
    SAYS(I64, "idle_ms", "it has work in hand and has got on with none of it for so long, ms"),
    SAYS(I64, "progress", "grows with all that it does"),
    SAYS(I64, "restarts", "processes after the first"),
    SAYS(I64, "deaths", "of its processes, asked for or not"),
    SAYS(I64, "recycled", "of these, replaced for their memory"),
    SAYS(JSON, "in_hand", "operations", HEP_INSIDE(LIST, hep_hand_says)),
    SAYS(I64, "queue", "requests that wait in the process"),
    SAYS(I64, "rss_bytes", "resident memory"),
    SAYS(I64, "shared_bytes", "of that, shared pages"),
    SAYS(I64, "shm_bytes", "of segments that it maps"),
    SAYS(I64, "cpu_ms", "processor time"),
    SAYS(JSON, "operations", "per name: count, errors, p50_ms, p99_ms, cpu_ms", .form = HEP_FORM_OBJECT, .open = true),
    MAYBE(JSON, "detail", "what else it reports", .form = HEP_FORM_OBJECT, .open = true),
    MAYBE(I32, "pid", "of its process"),
    MAYBE(I64, "generation", "of its process"),
    MAYBE(I64, "uptime_ms", "of its process"),
    MAYBE(I64, "ready_ms", "it has been ready for so long"),
    MAYBE(STR, "isa", "instruction set of its kernels"),
    MAYBE(I64, "progress_age_ms", "since its last progress"),
    MAYBE(I64, "answered_age_ms", "since its last answer"),
    MAYBE(I64, "outstanding", "requests that it has not answered"),
    MAYBE(STR, "operation", "the oldest in hand"),
    MAYBE(STR, "session", "for which"),
    MAYBE(STR, "cause", "why it is not up"),
    MAYBE(I64, "next_try_ms", "started again after so long, ms"),
    MAYBE(I64, "reported_ms_ago", "age of its last report"),
    MAYBE(I64, "busy_ms", "with something in hand, of all its processes since the daemon's start"),
    MAYBE(I64, "incident", "number of its last incident"),
    MAYBE(JSON, "last_obituary", "of its last process", HEP_INSIDE(OBJECT, hep_obituary_says)),
    HEP_END_OF_FIELDS};
static const struct hep_field counts_says[] = {
#define STATE_COUNT(id, name) SAYS(I64, name, "sessions"),
    HEP_SESSION_STATES(STATE_COUNT)
#undef STATE_COUNT
    HEP_END_OF_FIELDS};
static const struct hep_field memory_says[] = {
    SAYS(I64, "budget_bytes", "for all sessions; 0 = no limit is known"),
    SAYS(I64, "sessions_bytes", "that running ones take"),
    SAYS(I64, "shm_total_bytes", "of /dev/shm"),
    SAYS(I64, "shm_free_bytes", "of /dev/shm"),
    SAYS(I64, "shm_instance_bytes", "in it, of this daemon"),
    SAYS(I32, "segments", "of this daemon"),
    SAYS(I32, "waiting_for_shm", "sessions"),
    HEP_END_OF_FIELDS};
static const struct hep_field queue_says[] = {
    SAYS(I32, "waiting", "requests"),
    SAYS(I32, "in_hand", "requests"),
    HEP_END_OF_FIELDS};
static const struct hep_field core_says[] = {SAYS(I32, "", "number of a core"), HEP_END_OF_FIELDS};
static const struct hep_field lease_says[] = {
    SAYS(STR, "domain", "who has them", .choices = hep_domain_choices),
    SAYS(JSON, "cores", "which", HEP_INSIDE(LIST, core_says)),
    SAYS(I32, "operations", "that share them"),
    HEP_END_OF_FIELDS};
static const struct hep_field store_says[] = {
    SAYS(STR, "path", "of the file"),
    SAYS(I32, "version", "of its schema"),
    SAYS(I64, "bytes", "of the file"),
    SAYS(I64, "wal_bytes", "of its log"),
    SAYS(BOOL, "works", "the last commit did"),
    HEP_END_OF_FIELDS};
static const struct hep_field status_says[] = {
    SAYS(STR, "state", "of the whole", .choices = daemon_choices),
    SAYS(STR, "line", "one sentence"),
    SAYS(BOOL, "ready", "every domain is ready and has reported within 5 s, and the store works"),
    SAYS(I32, "domains_ready", "how many are"),
    SAYS(I32, "domains_total", "how many there are"),
    SAYS(JSON, "domains", "each of them", HEP_INSIDE(LIST, domain_says)),
    SAYS(JSON, "sessions", "how many are in each status", HEP_INSIDE(OBJECT, counts_says)),
    SAYS(JSON, "memory", "of sessions and /dev/shm", HEP_INSIDE(OBJECT, memory_says)),
    SAYS(JSON, "queue", "per domain", HEP_INSIDE(MAP, queue_says)),
    SAYS(JSON, "leases", "which domain has which cores", HEP_INSIDE(LIST, lease_says)),
    SAYS(JSON, "store", "the durable state", HEP_INSIDE(OBJECT, store_says)),
    SAYS(STR, "version", "of Heptad"),
    SAYS(STR, "build", "of its programs: all processes of one daemon have the same"),
    SAYS(STR, "instance", "name of this daemon"),
    SAYS(I64, "uptime_ms", "since its start"),
    SAYS(I64, "last_event", "seq of the newest event"),
};
static const struct hep_field domains_says[] = {
    SAYS(JSON, "domains", "each of them", HEP_INSIDE(LIST, domain_says))};
static const char *const permission_choices[] = {"client", "operator", "internal", NULL};
static const struct hep_field described_says[] = {
    SAYS(STR, "type", "domain.operation"),
    SAYS(STR, "domain", "whose it is"),
    SAYS(STR, "name", "without the domain"),
    SAYS(STR, "help", "one line"),
    SAYS(STR, "permission", "who may ask", .choices = permission_choices),
    SAYS(I32, "deadline_ms", "without progress for so long = hung"),
    SAYS(BOOL, "pure", "asking again gives the same bytes"),
    SAYS(BOOL, "heavy", "runs on the worker thread"),
    SAYS(BOOL, "lease", "under a lease of cores"),
    SAYS(BOOL, "measures", "can be measured"),
    SAYS(JSON, "aliases", "other names", HEP_INSIDE(LIST, hep_text_says)),
    MAYBE(JSON, "presets", "per alias that stands for fields, these", .form = HEP_FORM_OBJECT, .open = true),
    MAYBE(STR, "unbuilt", "what is missing: the name is known, and answers UNSUPPORTED"),
    SAYS(JSON, "request", "its fields, docs/operations-format.md", .form = HEP_FORM_LIST),
    SAYS(JSON, "reply", "fields of its reply", .form = HEP_FORM_LIST),
    MAYBE(BOOL, "reply_open", "a reply may hold more than these"),
    HEP_END_OF_FIELDS};
/* clang-format on */
static const struct hep_field restart_says[] = {SAYS(STR, "domain", "name of the domain")};
static const struct hep_field describe_says[] = {
    SAYS(JSON, "operations", "all of them", HEP_INSIDE(LIST, described_says)),
    SAYS(JSON, "unknown", "domains that have not been ready yet", HEP_INSIDE(LIST, hep_text_says))};

static enum hep_status status_get(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply, (void)error;
    hep_call_answer(call, hep_engine_status(call->front->engine));
    return HEP_OK;
}

static enum hep_status domain_list(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    json_t *status = hep_engine_status(call->front->engine);
    (void)request, (void)reply, (void)error;
    hep_call_answer(call, json_pack("{s:O}", "domains", json_object_get(status, "domains")));
    json_decref(status);
    return HEP_OK;
}

static enum hep_status unknown_domain(const char *name, struct hep_error *error)
{
    hep_fail_field(error, HEP_E_UNKNOWN_DOMAIN, "domain", "there is no domain \"%.60s\"", name);
    return hep_hint(error, "see `heptctl domains`"), HEP_E_UNKNOWN_DOMAIN;
}

static enum hep_status domain_restart(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct domain_request *request = request_;
    enum hep_role role = hep_role_from_prefix(request->domain.data, request->domain.length);
    (void)reply;
    if (role == HEP_ROLE_NONE)
        return unknown_domain(request->domain.data, error);
    HEP_TRY(hep_proc_restart(call->front->engine->proc, role, error));
    hep_call_answer(call, json_pack("{s:s}", "domain", request->domain.data));
    return HEP_OK;
}

static enum hep_status domain_incidents(struct hep_call *call, const void *request_, void *reply,
                                        struct hep_error *error)
{
    const struct incidents_request *request = request_;
    const char *domain = request->domain.data;
    json_t *list = NULL;
    (void)reply;
    if (domain[0] && strcmp(domain, "supervisor") != 0 &&
        hep_role_from_prefix(domain, request->domain.length) == HEP_ROLE_NONE)
        return unknown_domain(domain, error);
    HEP_TRY(hep_store_incidents(call->front->engine->store, domain[0] ? domain : NULL,
                                request->before > 0 ? request->before : INT64_MAX, request->limit, &list, error));
    hep_call_answer(call, json_pack("{s:o}", "incidents", list));
    return HEP_OK;
}

static void describe_rows(json_t *list, const char *prefix, json_t *rows)
{
    size_t index;
    json_t *row;
    json_array_foreach(rows, index, row)
    {
        json_t *copy = json_copy(row);
        json_object_set_new(copy, "type", json_sprintf("%s.%s", prefix, hep_json_str(row, "name", "")));
        json_object_set_new(copy, "domain", json_string(prefix));
        json_array_append_new(list, copy);
    }
}

static enum hep_status domain_describe(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct domain_request *request = request_;
    const char *only = request->domain.data;
    json_t *list = json_array(), *unknown = json_array();
    bool found = !only[0];
    (void)reply;
    for (const struct hep_front_table *table = hep_front_tables; table->prefix; table++)
        if (!only[0] || strcmp(only, table->prefix) == 0) {
            json_t *rows = hep_describe(table->operations);
            describe_rows(list, table->prefix, rows);
            json_decref(rows);
            found = true;
        }
    for (int i = 0; i < HEP_ROLE_COUNT; i++) {
        const char *name = hep_role_name((enum hep_role)i);
        if (only[0] && strcmp(only, name) != 0)
            continue;
        describe_rows(list, name, hep_router_operations(call->front->engine->router, (enum hep_role)i));
        if (!hep_router_knows(call->front->engine->router, (enum hep_role)i))
            json_array_append_new(unknown, json_string(name));
        found = true;
    }
    json_t *answer = json_pack("{s:o, s:o}", "operations", list, "unknown", unknown);
    if (!found) {
        json_decref(answer);
        return unknown_domain(only, error);
    }
    hep_call_answer(call, answer);
    return HEP_OK;
}

const struct hep_operation hep_status_operations[] = {
    {.name = "get",
     .handler = status_get,
     HEP_NO_REQUEST,
     REPLY(status_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the whole daemon in one answer"},
    {0},
};
const struct hep_operation hep_domain_operations[] = {
    {.name = "list",
     .handler = domain_list,
     HEP_NO_REQUEST,
     REPLY(domains_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the domains and how they are"},
    {.name = "incidents",
     .handler = domain_incidents,
     HEP_REQUEST(incidents_request, incidents_fields),
     REPLY(incidents_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "processes that died unasked, with their last words"},
    {.name = "describe",
     .handler = domain_describe,
     HEP_REQUEST(domain_request, describe_fields),
     REPLY(describe_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "every operation with its fields"},
    {.name = "restart",
     .handler = domain_restart,
     HEP_REQUEST(domain_request, domain_fields),
     REPLY(restart_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "end a domain's process and start it again"},
    {0},
};
