/* How it stands: status.* and domain.*. */
#include "common/wire.h"
#include "supervisor/front/operations.h"

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
static const struct hep_field status_says[] = {
    SAYS(STR, "state", "ready, starting, degraded, drained, draining, failed"),
    SAYS(STR, "line", "one sentence"),
    SAYS(BOOL, "ready", "every domain is ready and has reported within 5 s, and the store works"),
    SAYS(I32, "domains_ready", "how many are"),
    SAYS(I32, "domains_total", "how many there are"),
    SAYS(JSON, "domains", "as domain.list"),
    SAYS(JSON, "sessions", "how many are in each status"),
    SAYS(JSON, "memory", "budget, taken by sessions, shared memory, bytes"),
    SAYS(JSON, "queue", "per domain, requests waiting and in hand"),
    SAYS(JSON, "leases", "which domain has which cores"),
    SAYS(JSON, "store", "path, version, bytes, wal_bytes, works"),
    SAYS(STR, "version", "of Heptad"),
    SAYS(STR, "build", "of its programs: all processes of one daemon have the same"),
    SAYS(STR, "instance", "name of this daemon"),
    SAYS(I64, "uptime_ms", "since its start"),
    SAYS(I64, "last_event", "seq of the newest event"),
};
static const struct hep_field domains_says[] = {
    SAYS(JSON, "domains", "domain, state, pid, generation, uptime_ms, restarts, memory, operations of each")};
static const struct hep_field restart_says[] = {SAYS(STR, "domain", "name of the domain")};
static const struct hep_field describe_says[] = {
    SAYS(JSON, "operations",
         "type, domain, help, permission, deadline_ms, heavy, lease, aliases, request, reply of each"),
    SAYS(JSON, "unknown", "domains that have not been ready yet")};

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
     NO_FIELDS,
     REPLY(status_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the whole daemon in one answer"},
    {0},
};
const struct hep_operation hep_domain_operations[] = {
    {.name = "list",
     .handler = domain_list,
     NO_FIELDS,
     REPLY(domains_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the domains and how they are"},
    {.name = "incidents",
     .handler = domain_incidents,
     REQUEST(incidents_request, incidents_fields),
     REPLY(incidents_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "processes that died unasked, with their last words"},
    {.name = "describe",
     .handler = domain_describe,
     REQUEST(domain_request, describe_fields),
     REPLY(describe_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "every operation with its fields"},
    {.name = "restart",
     .handler = domain_restart,
     REQUEST(domain_request, domain_fields),
     REPLY(restart_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 1000,
     .help = "end a domain's process and start it again"},
    {0},
};
