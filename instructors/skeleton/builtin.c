/*
 * The operations that every domain has: get_status, ping, describe, configure, cancel on the loop thread, cleanup on
 * the worker thread.
 */
#include "instructors/skeleton/internal.h"

#include "common/clock.h"
#include "common/huge_pages.h"
#include "common/log.h"
#include "common/wire.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct json_reply {
    json_t *value;
};
struct ping_request {
    json_t *echo;
};
struct ping_reply {
    json_t *echo;
    uint64_t generation;
};

struct configure_request {
    json_t *settings;
};
struct cancel_request {
    struct hep_str session, request;
};
struct cancel_reply {
    int32_t calls;
};

static const struct hep_field configure_fields[] = {
    HEP_FIELD(JSON, configure_request, settings, REQUIRED, .help = "an object: configuration key → value as text"),
};
static const struct hep_field configure_reply_fields[] = {
    {.name = "applied",
     .type = HEP_FIELD_JSON,
     .presence = HEP_REQUIRED,
     .offset = offsetof(struct json_reply, value),
     .help = "names of the keys that are in force now"},
};
static const struct hep_field cancel_request_fields[] = {
    HEP_FIELD(STR, cancel_request, session, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1, .help = "whose calls"),
    HEP_FIELD(STR, cancel_request, request, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "request_id of one of them; all if empty"),
};
static const struct hep_field cancel_reply_fields[] = {
    HEP_FIELD(I32, cancel_reply, calls, REQUIRED, .help = "calls in hand or waiting that were marked"),
};
static const struct hep_field ping_request_fields[] = {
    HEP_FIELD(JSON, ping_request, echo, OPTIONAL, .help = "any value; comes back"),
};
static const struct hep_field ping_reply_fields[] = {
    HEP_FIELD(JSON, ping_reply, echo, OPTIONAL, .help = "the value sent"),
    HEP_FIELD(U64, ping_reply, generation, REQUIRED, .help = "generation of the process that answered"),
};
const struct hep_field hep_status_reply_fields[HEP_STATUS_REPLY_FIELDS] = {
    HEP_FIELD(JSON, hep_status_reply, status, REQUIRED,
              .help = "state, progress, operation in hand, queue, memory, CPU time, counts and latencies"),
};
static const struct hep_field describe_reply_fields[] = {
    {.name = "operations",
     .type = HEP_FIELD_JSON,
     .presence = HEP_REQUIRED,
     .offset = offsetof(struct json_reply, value),
     .help = "the operation table"},
};
static const struct hep_field cleanup_reply_fields[] = {
    {.name = "freed",
     .type = HEP_FIELD_JSON,
     .presence = HEP_REQUIRED,
     .offset = offsetof(struct json_reply, value),
     .help = "what was dropped"},
};

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static json_t *stats_to_json(const struct operation_stats *stats)
{
    int64_t sorted[LATENCIES_KEPT];
    size_t kept = stats->count < LATENCIES_KEPT ? (size_t)stats->count : LATENCIES_KEPT;
    memcpy(sorted, stats->latency_us, kept * sizeof sorted[0]);
    qsort(sorted, kept, sizeof sorted[0], compare_i64);
    json_t *object = json_pack("{s:I, s:I, s:f, s:f, s:f}", "count", (json_int_t)stats->count, "errors",
                               (json_int_t)stats->errors, "p50_ms", (double)sorted[kept / 2] / 1000, "p99_ms",
                               (double)sorted[kept - 1 - kept / 100] / 1000, "cpu_ms", (double)stats->cpu_us / 1000);
    if (stats->last_error[0])
        json_object_set_new(object, "last_error", hep_json_text(stats->last_error));
    return object;
}

static json_t *all_stats(const struct hep_instructor *self)
{
    json_t *object = json_object();
    size_t at = 0;
    for (const struct hep_operation *row = self->spec->operations; row->name; row++, at++)
        if (self->stats[at].count)
            json_object_set_new(object, row->name, stats_to_json(&self->stats[at]));
    for (const struct hep_operation *row = builtin_operations; row->name; row++, at++)
        if (self->stats[at].count)
            json_object_set_new(object, row->name, stats_to_json(&self->stats[at]));
    return object;
}

static json_t *calls_in_hand(const struct hep_instructor *self)
{
    json_t *array = json_array();
    int64_t now = hep_now_us();
    for (const struct hep_call *call = self->in_hand; call; call = call->next_in_hand)
        if (!call->common)
            json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:i, s:I, s:i, s:i, s:i}", "request_id",
                                                   call->request_id, "session", call->session, "operation",
                                                   call->row->name, "attempt", call->attempt, "for_ms",
                                                   (json_int_t)((now - call->started_us) / 1000), "deadline_ms",
                                                   call->row->deadline_ms, "step", call->step, "steps", call->steps));
    return array;
}

static int64_t resident_bytes(const struct hep_instructor *self, int64_t *shared)
{
    char text[128];
    long pages = 0, resident = 0, shared_pages = 0;
    ssize_t bytes = pread(self->memory_fd, text, sizeof text - 1, 0);
    text[bytes > 0 ? bytes : 0] = '\0';
    if (sscanf(text, "%ld %ld %ld", &pages, &resident, &shared_pages) != 3)
        resident = shared_pages = 0;
    *shared = (int64_t)shared_pages * sysconf(_SC_PAGESIZE);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

json_t *instructor_status(struct hep_instructor *self)
{
    int64_t shared, resident = resident_bytes(self, &shared);
    pthread_mutex_lock(&self->lock);
    json_t *hand = calls_in_hand(self), *stats = all_stats(self);
    int queued = self->queued;
    pthread_mutex_unlock(&self->lock);
    const char *state = atomic_load(&self->draining) ? "draining" : json_array_size(hand) ? "busy" : "ready";
    json_t *status = json_pack(
        "{s:s, s:s, s:i, s:I, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "domain",
        hep_role_name(self->spec->role), "state", state, "pid", (int)getpid(), "generation",
        (json_int_t)self->options.generation, "uptime_ms", (json_int_t)((hep_now_us() - self->started_us) / 1000),
        "progress", (json_int_t)atomic_load(&self->progress), "queue", queued, "rss_bytes", (json_int_t)resident,
        "shared_bytes", (json_int_t)shared, "shm_bytes", (json_int_t)hep_resolver_stats(self->resolver).bytes, "cpu_ms",
        (json_int_t)(hep_process_cpu_us() / 1000), "reports_dropped", (json_int_t)report_dropped(&self->report),
        "in_hand", hand, "operations", stats, "confinement", confinement_json(self));
    if (self->spec->status)
        self->spec->status(self, status);
    return status;
}

json_t *instructor_description(struct hep_instructor *self)
{
    json_t *all = hep_describe(self->spec->operations), *builtin = hep_describe(builtin_operations), *row;
    size_t index;
    json_array_foreach(builtin, index, row)
    {
        const struct hep_operation *own = hep_operation_find(self->spec->operations, hep_json_str(row, "name", ""));
        if (!own) /* a domain may have its own get_status, with more fields */
            json_array_append(all, row);
    }
    json_decref(builtin);
    return all;
}

enum hep_status hep_status_handler(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request;
    (void)error;
    ((struct hep_status_reply *)reply)->status = instructor_status(call->self);
    return HEP_OK;
}

static enum hep_status describe(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request;
    (void)error;
    ((struct json_reply *)reply)->value = instructor_description(call->self);
    return HEP_OK;
}

static enum hep_status ping(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const struct ping_request *ping_request = request;
    struct ping_reply *ping_reply = reply;
    (void)error;
    ping_reply->echo = json_incref(ping_request->echo);
    ping_reply->generation = call->self->options.generation;
    return HEP_OK;
}

static enum hep_status cancel(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const struct cancel_request *which = request;
    (void)error;
    ((struct cancel_reply *)reply)->calls =
        calls_cancel(call->self, which->session.data, which->request.length ? which->request.data : "");
    return HEP_OK;
}

static enum hep_status cleanup(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request;
    (void)error;
    json_t *freed = json_pack("{s:i}", "mapped_bytes", 0);
    if (call->self->spec->cleanup)
        call->self->spec->cleanup(call->self, freed); /* first: it lets go of mappings */
    json_object_set_new(freed, "mapped_bytes", json_integer((json_int_t)hep_resolver_trim(call->self->resolver, true)));
    ((struct json_reply *)reply)->value = freed;
    return HEP_OK;
}

/* ---- settings that a reload changes in a process that runs ---------------------------------------------------------
 */
static bool apply_log_level(const char *value)
{
    enum hep_log_level level;
    if (!hep_log_level_from_name(value, &level))
        return false;
    hep_log_set_level(level);
    return true;
}

static bool apply_huge_pages(const char *value)
{
    hep_huge_pages_set(strcmp(value, "off") != 0);
    return strcmp(value, "off") == 0 || strcmp(value, "on") == 0;
}

/* The keys of config.def that are RELOAD and that every domain takes. To add one: a row. */
static const struct live_setting {
    const char *key;
    bool (*apply)(const char *value);
} live_settings[] = {{"log.level", apply_log_level}, {"compute.huge_pages", apply_huge_pages}};

void settings_begin(const struct hep_instructor *self)
{
    for (size_t i = 0; i < HEP_COUNT_OF(live_settings); i++) {
        const char *value = hep_instructor_setting(self, live_settings[i].key);
        if (value)
            live_settings[i].apply(value);
    }
}

static enum hep_status apply_setting(struct hep_instructor *self, const char *key, const json_t *value,
                                     struct hep_error *error)
{
    for (size_t i = 0; i < HEP_COUNT_OF(live_settings); i++) {
        if (strcmp(live_settings[i].key, key) != 0)
            continue;
        if (json_is_string(value) && live_settings[i].apply(json_string_value(value)))
            return HEP_OK;
        return hep_fail_field(error, HEP_E_BAD_FIELD, "settings", "%.60s has no such value", key);
    }
    if (self->spec->configure && json_is_string(value))
        return self->spec->configure(self, key, json_string_value(value), error);
    return hep_fail_field(error, HEP_E_UNSUPPORTED, "settings", "%.60s cannot be changed while the process runs", key);
}

static enum hep_status configure(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    json_t *settings = ((const struct configure_request *)request)->settings, *value;
    const char *key;
    if (!json_is_object(settings))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "settings", "settings must be an object");
    json_t *applied = json_array();
    json_object_foreach(settings, key, value)
    {
        if (apply_setting(call->self, key, value, error) != HEP_OK) {
            json_decref(applied);
            return error->code;
        }
        json_array_append_new(applied, json_string(key));
    }
    ((struct json_reply *)reply)->value = applied;
    return HEP_OK;
}

const struct hep_operation builtin_operations[] = {
    HEP_STATUS_OPERATION(),
    HEP_QUERY("describe", describe, json_reply, describe_reply_fields, .permission = HEP_CLIENT, .deadline_ms = 2000,
              .pure = true, .help = "the table of this domain's operations"),
    HEP_QUERY("cleanup", cleanup, json_reply, cleanup_reply_fields, .permission = HEP_OPERATOR, .deadline_ms = 10000,
              .heavy = true, .leaseless = true, .help = "drop caches and unused mappings"),
    HEP_OPERATION("configure", configure, configure_request, configure_fields, json_reply, configure_reply_fields,
                  .permission = HEP_INTERNAL, .deadline_ms = 2000, .pure = true,
                  .help = "settings of a configuration that was read again"),
    HEP_OPERATION("cancel", cancel, cancel_request, cancel_request_fields, cancel_reply, cancel_reply_fields,
                  .permission = HEP_INTERNAL, .deadline_ms = 2000,
                  .help = "end a session's calls: those that wait at once, a network that runs before its next kernel"),
    HEP_OPERATION("ping", ping, ping_request, ping_request_fields, ping_reply, ping_reply_fields,
                  .permission = HEP_CLIENT, .deadline_ms = 2000, .pure = true,
                  .help = "answers; a full round trip through the domain"),
    {0},
};
