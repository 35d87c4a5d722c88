/*
 * What supervisor/proc tells the engine of the domains: that one is ready, has died, reports, changes its state. Each
 * of these changes memory, and settles.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <string.h>

enum { MEASURE_FIRST_MS = 2000, MEASURE_LAST_MS = 600000 };

static json_t *data_of(enum hep_status status, json_t *reply)
{
    return status == HEP_OK && hep_json_bool(reply, "success", false) ? json_object_get(reply, "data") : NULL;
}

/* dtype → GFLOP/s as the device knows them now; empty while nothing has been measured yet. */
static void take_rates(struct hep_engine *engine, json_t *rates)
{
    if (json_object_size(rates) == 0)
        return;
    json_decref(engine->rates);
    engine->rates = json_incref(rates);
}

static void on_devices(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_engine *engine = context;
    json_t *data = data_of(status, reply), *cores = json_object_get(data, "cores");
    json_t *rates = json_object_get(json_array_get(json_object_get(data, "devices"), 0), "gflops");
    (void)error;
    take_rates(engine, rates);
    if (json_array_size(cores) > 0)
        hep_lease_set_cores(hep_dispatch_ledger(engine->dispatch), cores);
    else
        hep_log(HEP_ERROR_LEVEL, "engine.no_cores", "device.list names no cores: heavy operations wait");
    hep_engine_settle(engine, NULL);
}

static void on_memory(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_engine *engine = context;
    json_t *data = data_of(status, reply);
    (void)error;
    if (data) /* a limit of 0 is none: then it is what the machine, or the container, has */
        engine->device_limit = (uint64_t)(hep_json_int(data, "limit", 0) ? hep_json_int(data, "limit", 0)
                                                                         : hep_json_int(data, "total", 0));
    hep_engine_settle(engine, NULL);
}

static void ask_device(struct hep_engine *engine, const char *operation, hep_errand_done *done)
{
    struct hep_errand *errand;
    struct hep_errand_spec spec = {.role = HEP_ROLE_DEVICE, .priority = 1 << 20, .done = done, .context = engine};
    spec.message = json_pack("{s:o, s:{}}", "type", json_sprintf("device.%s", operation), "data");
    if (!spec.message || hep_dispatch_submit(engine->dispatch, &spec, &errand, NULL) != HEP_OK)
        hep_log(HEP_WARNING, "engine.not_asked", "operation=device.%s", operation);
}

static void on_ready(void *context, enum hep_role role, uint64_t generation, json_t *operations)
{
    struct hep_engine *engine = context;
    engine->domains[role] = (struct hep_engine_domain){generation, hep_now_ms()};
    hep_metrics_ready(engine->metrics, role);
    hep_router_learn(engine->router, role, operations);
    hep_catalog_on_ready(engine->catalog, role);
    if (role == HEP_ROLE_DEVICE) {
        ask_device(engine, "list", on_devices);
        ask_device(engine, "get_memory", on_memory);
    }
    if (role == HEP_ROLE_COMMUNICATION)
        hep_webhooks_wake(engine->webhooks);
    hep_engine_optimize_ready(engine);
    hep_engine_event(engine, NULL, "domain.ready", true,
                     json_pack("{s:s, s:I}", "domain", hep_role_name(role), "generation", (json_int_t)generation));
    hep_engine_settle(engine, NULL);
}

static void on_died(void *context, enum hep_role role, uint64_t generation, json_t *obituary)
{
    struct hep_engine *engine = context;
    (void)generation;
    engine->domains[role].report_ms = 0;
    hep_metrics_died(engine->metrics, role, obituary);
    for (struct hep_session *s = engine->sessions; s; s = s->next)
        hep_session_on_death(s, role, obituary);
    hep_engine_event(engine, NULL, "domain.died", true,
                     json_pack("{s:s, s:O}", "domain", hep_role_name(role), "obituary", obituary));
    if (!hep_json_bool(obituary, "asked", false))
        hep_incidents_add(&engine->incidents, obituary);
    if (engine->died)
        engine->died(engine->changed_context, role);
    hep_engine_settle(engine, NULL);
}

/* {kind:"progress", session, step, steps, …} and {kind:"event", name, …}; the rest only shows that it is alive. */
/* What the device has promised to sessions that are not (any more) is taken back. A session that asks for memory is in
   memory before its request is sent, so none of the living is hit. */
static void reconcile(struct hep_engine *engine, json_t *reservations)
{
    const char *session;
    json_t *bytes;
    json_object_foreach(reservations, session, bytes)
    {
        if (hep_engine_find(engine, session))
            continue;
        hep_log(HEP_WARNING, "device.reservation_stray", "session=%.40s bytes=%" PRId64, session,
                json_is_integer(bytes) ? (int64_t)json_integer_value(bytes) : 0);
        hep_engine_tell(engine, HEP_ROLE_DEVICE, "release", session, json_pack("{s:s}", "session", session));
    }
    hep_dispatch_pump(engine->dispatch);
}

/* The batch manager follows what others take and give back. A change of a hundredth is none. */
static void tell_memory(struct hep_engine *engine, int64_t available)
{
    int64_t change = available - engine->available_told;
    bool is_new = engine->domains[HEP_ROLE_INFERENCE].generation != engine->memory_told_to;
    if (available <= 0 || !engine->batches || !hep_proc_is_ready(engine->proc, HEP_ROLE_INFERENCE) ||
        (!is_new && (change < 0 ? -change : change) < engine->available_told / 100))
        return;
    engine->available_told = available;
    engine->memory_told_to = engine->domains[HEP_ROLE_INFERENCE].generation;
    hep_engine_tell(engine, HEP_ROLE_INFERENCE, "memory", "", json_pack("{s:I}", "free_bytes", (json_int_t)available));
    hep_dispatch_pump(engine->dispatch);
}

static void on_measured(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_engine *engine = context;
    (void)error;
    take_rates(engine, json_object_get(data_of(status, reply), "gflops"));
    engine->measuring = false;
    engine->measure_wait_ms = engine->measure_wait_ms ? 2 * engine->measure_wait_ms : MEASURE_FIRST_MS;
    if (engine->measure_wait_ms > MEASURE_LAST_MS)
        engine->measure_wait_ms = MEASURE_LAST_MS;
    engine->measure_next_ms = hep_now_ms() + engine->measure_wait_ms;
}

static bool has_time(const struct hep_engine *engine)
{
    if (engine->draining || engine->measuring || engine->sessions || hep_now_ms() < engine->measure_next_ms)
        return false;
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        if (!hep_proc_is_ready(engine->proc, (enum hep_role)role) ||
            hep_dispatch_in_hand(engine->dispatch, (enum hep_role)role) > 0)
            return false;
    return true;
}

/* While the device's rates are not certain and nobody has anything to do, they are measured once more, on all cores. A
   request that comes meanwhile waits a quarter of a second at most. */
static void measure(struct hep_engine *engine)
{
    struct hep_errand *errand;
    struct hep_errand_spec spec = {
        .role = HEP_ROLE_DEVICE, .heavy = true, .priority = -(1 << 20), .done = on_measured, .context = engine};
    spec.message = json_pack("{s:s, s:{}}", "type", "device.measure", "data");
    engine->measuring = spec.message && hep_dispatch_submit(engine->dispatch, &spec, &errand, NULL) == HEP_OK;
    hep_dispatch_pump(engine->dispatch);
}

void hep_engine_device_changed(struct hep_engine *engine)
{
    json_decref(hep_take(&engine->rates));
    engine->gflops_seen = 0;
    engine->measure_next_ms = engine->measure_wait_ms = 0;
    ask_device(engine, "list", on_devices);
    hep_dispatch_pump(engine->dispatch);
}

static void on_report(void *context, enum hep_role role, uint64_t generation, json_t *report)
{
    struct hep_engine *engine = context;
    const char *kind = hep_json_str(report, "kind", ""), *name = hep_json_str(report, "name", "");
    if (generation != engine->domains[role].generation)
        return;
    engine->domains[role].report_ms = hep_now_ms();
    hep_metrics_report(engine->metrics, role, report);
    if (role == HEP_ROLE_INFERENCE && strcmp(kind, "status") == 0)
        hep_batches_see_manager(engine, json_object_get(report, "inference"));
    if (role == HEP_ROLE_DEVICE && strcmp(kind, "status") == 0) {
        reconcile(engine, json_object_get(report, "reservations"));
        tell_memory(engine, hep_json_int(report, "available_bytes", 0));
    }
    if (role == HEP_ROLE_DEVICE && json_is_false(json_object_get(report, "rates_settled")) && has_time(engine))
        measure(engine);
    int64_t cores = role == HEP_ROLE_DEVICE && strcmp(kind, "status") == 0 ? hep_json_int(report, "cores", 0) : 0;
    if (cores > 0 && cores != hep_lease_cores(hep_dispatch_ledger(engine->dispatch)))
        hep_engine_device_changed(engine);
    struct hep_session *session = hep_engine_find(engine, hep_json_str(report, "session", ""));
    if (session && strcmp(kind, "preview") == 0)
        hep_session_on_preview(session, role, report);
    if (session && (strcmp(kind, "progress") == 0 || strcmp(name, "inference.step") == 0))
        hep_session_on_progress(session, role, (int)hep_json_int(report, "step", -1),
                                (int)hep_json_int(report, "steps", 0));
    if (strcmp(kind, "event") == 0 && name[0]) {
        json_t *fields = json_copy(report);
        json_object_del(fields, "kind");
        json_object_del(fields, "name");
        json_object_del(fields, "seq");
        json_object_set_new(fields, "domain", json_string(hep_role_name(role)));
        hep_engine_event(engine, NULL, name, false, fields);
    }
    if (hep_events_pending(engine->events))
        hep_engine_settle(engine, NULL);
}

static void on_state(void *context, enum hep_role role, const char *from, const char *to, const char *why)
{
    struct hep_engine *engine = context;
    bool routine = (strcmp(from, "ready") == 0 && strcmp(to, "busy") == 0) ||
                   (strcmp(from, "busy") == 0 && strcmp(to, "ready") == 0);
    hep_metrics_state(engine->metrics, role, to);
    if (routine)
        return;
    hep_engine_event(engine, NULL, "domain.state", false,
                     json_pack("{s:s, s:s, s:s, s:s}", "domain", hep_role_name(role), "from", from, "to", to, "why",
                               why ? why : ""));
    hep_engine_settle(engine, NULL);
}

static void on_all_stopped(void *context)
{
    struct hep_engine *engine = context;
    if (engine->all_stopped)
        engine->all_stopped(engine->context);
}

void hep_engine_listen(struct hep_engine *engine)
{
    engine->proc_events = (struct hep_proc_events){.context = engine,
                                                   .ready = on_ready,
                                                   .died = on_died,
                                                   .report = on_report,
                                                   .state = on_state,
                                                   .all_stopped = on_all_stopped};
}

const struct hep_proc_events *hep_engine_events(struct hep_engine *engine)
{
    return &engine->proc_events;
}
