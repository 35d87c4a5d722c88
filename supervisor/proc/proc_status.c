/*
 * The state of every domain as one JSON array, from what the supervisor knows and what each process reported last.
 * Called by the engine for status.get and by tests. A report is a peer's word: only known fields of the right type
 * pass.
 */
#include "supervisor/proc/domain.h"

#include "common/clock.h"
#include "common/wire.h"

#include <string.h>

/* Fields of a status report that stand beside ours; everything else it says is under "detail". */
static const struct passed_field {
    const char *name;
    json_type type;
} passed[] = {
    {"queue", JSON_INTEGER},     {"rss_bytes", JSON_INTEGER}, {"shared_bytes", JSON_INTEGER},
    {"shm_bytes", JSON_INTEGER}, {"cpu_ms", JSON_INTEGER},    {"operations", JSON_OBJECT},
};
static const char *const known[] = {"kind", "domain", "state", "pid", "generation", "uptime_ms", "progress", "in_hand"};

static bool is_known(const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(known); i++)
        if (strcmp(known[i], name) == 0)
            return true;
    for (size_t i = 0; i < HEP_COUNT_OF(passed); i++)
        if (strcmp(passed[i].name, name) == 0)
            return true;
    return false;
}

static void add_reported(json_t *object, json_t *report)
{
    for (size_t i = 0; i < HEP_COUNT_OF(passed); i++) {
        json_t *value = json_object_get(report, passed[i].name);
        if (value && json_typeof(value) == passed[i].type)
            json_object_set(object, passed[i].name, value);
        else if (passed[i].type == JSON_INTEGER)
            json_object_set_new(object, passed[i].name, json_integer(0));
        else
            json_object_set_new(object, passed[i].name, json_object());
    }
    json_t *detail = json_object(), *value;
    const char *name;
    json_object_foreach(report, name, value) if (!is_known(name)) json_object_set(detail, name, value);
    if (json_object_size(detail) > 0)
        json_object_set(object, "detail", detail);
    json_decref(detail);
}

static void add_process(json_t *object, const struct hep_child *child, int64_t now)
{
    json_object_set_new(object, "pid", json_integer(child->process.pid));
    json_object_set_new(object, "generation", json_integer((json_int_t)child->generation));
    json_object_set_new(object, "uptime_ms", json_integer((json_int_t)(now - child->started_ms)));
    if (child->ready_ms)
        json_object_set_new(object, "ready_ms", json_integer((json_int_t)(now - child->ready_ms)));
    if (child->isa[0])
        json_object_set_new(object, "isa", json_string(child->isa));
    /* the larger of the two: a status report may be newer than the last progress report, or dropped */
    int64_t reported = hep_json_int(child->status, "progress", 0);
    int64_t progress = reported > child->watch.counter ? reported : child->watch.counter;
    json_object_set_new(object, "progress", json_integer((json_int_t)progress));
    if (child->watch.progress_ms)
        json_object_set_new(object, "progress_age_ms", json_integer((json_int_t)(now - child->watch.progress_ms)));
    if (child->channel) {
        json_object_set_new(object, "answered_age_ms", json_integer((json_int_t)(now - child->answered_ms)));
        json_object_set_new(object, "outstanding", json_integer((json_int_t)hep_channel_outstanding(child->channel)));
    }
    /* not as it last reported, which may be a second old: as begun and ended since */
    json_object_set_new(object, "in_hand", hep_watch_to_json(&child->watch, now));
    if (child->watch.count > 0) {
        json_object_set_new(object, "operation", json_string(child->watch.items[0].operation));
        if (child->watch.items[0].session[0])
            json_object_set_new(object, "session", json_string(child->watch.items[0].session));
    }
    add_reported(object, child->status);
}

static json_t *status_of(const struct hep_domain *domain, int64_t now)
{
    json_t *object = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "domain", hep_role_name(domain->role), "state",
                               hep_life_state_name(domain->life), "progress", (json_int_t)0, "restarts",
                               (json_int_t)(domain->spawned > 0 ? domain->spawned - 1 : 0), "deaths",
                               (json_int_t)domain->deaths, "recycled", (json_int_t)domain->recycled);
    if (!object)
        return json_null();
    bool serving = domain->life == HEP_LIFE_READY || domain->life == HEP_LIFE_BUSY;
    if (domain->cause[0] && !serving)
        json_object_set_new(object, "cause", json_string(domain->cause));
    if (domain->next_try_ms > 0)
        json_object_set_new(object, "next_try_ms",
                            json_integer((json_int_t)(domain->next_try_ms > now ? domain->next_try_ms - now : 0)));
    if (domain->child)
        add_process(object, domain->child, now);
    else {
        json_object_set_new(object, "in_hand", json_array());
        add_reported(object, NULL);
    }
    if (domain->last_obituary)
        json_object_set(object, "last_obituary", domain->last_obituary);
    return object;
}

json_t *hep_proc_status(const struct hep_proc *proc)
{
    json_t *array = json_array();
    int64_t now = hep_now_ms();
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        json_array_append_new(array, status_of(&proc->domains[role], now));
    return array;
}
