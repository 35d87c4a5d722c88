/*
 * device.optimize: threads, huge pages and ISA level of a daemon that runs. Changes the configuration, sees that it is
 * in force (the device domain counts its cores anew, networks are mapped anew, domains are started again for another
 * ISA level), and says what is different. Called by the front; one at a time.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESTART_MS = 60000 };

struct hep_optimizing {
    struct hep_engine *engine;
    hep_engine_answer *answer;
    void *context;
    int threads; /* what is wished, as in struct hep_optimize_wish                         */
    char device_id[HEP_NAME_MAX], huge_pages[HEP_NAME_MAX], isa[HEP_NAME_MAX];
    json_t *before;                      /* settings of the device as they were; NULL = not asked yet     */
    json_t *keys;                        /* configuration key → value as text                             */
    bool restarts;                       /* for another ISA level                                         */
    bool remaps;                         /* networks are opened anew, with or without huge pages          */
    uint64_t generation[HEP_ROLE_COUNT]; /* of the process that is to be replaced; 0 = is not */
    int cleaning;                        /* domains that have not said yet that they have closed them     */
    struct hep_loop_timer *timer;
};

static void end(struct hep_optimizing *o, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    if (o->engine->optimizing == o)
        o->engine->optimizing = NULL;
    hep_loop_cancel(o->timer);
    o->answer(o->context, status, reply, error);
    json_decref(o->before);
    json_decref(o->keys);
    free(o);
}

void hep_engine_optimize_stop(struct hep_engine *engine)
{
    struct hep_error error;
    hep_fail(&error, HEP_E_NOT_NOW, "the daemon is ending");
    if (engine->optimizing)
        end(engine->optimizing, error.code, NULL, &error);
}

static void ask_device(struct hep_optimizing *o, hep_engine_answer *then)
{
    json_t *data = json_pack("{s:s}", "device_id", o->device_id);
    hep_engine_pass(o->engine, "device.get", data, HEP_OPERATOR, "", then, o);
    json_decref(data);
}

/* ---- what is different now ----------------------------------------------------------------------------------------
 */
static json_t *differences(const json_t *before, const json_t *after)
{
    static const char *const settings[] = {"threads", "huge_pages", "isa"};
    json_t *changes = json_array();
    for (size_t i = 0; i < HEP_COUNT_OF(settings); i++) {
        json_t *from = json_object_get(before, settings[i]), *to = json_object_get(after, settings[i]);
        if (from && to && !json_equal(from, to))
            json_array_append_new(changes,
                                  json_pack("{s:s, s:O, s:O}", "setting", settings[i], "old", from, "new", to));
    }
    return changes;
}

static void on_after(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_optimizing *o = context;
    if (status != HEP_OK) {
        end(o, status, NULL, error);
        return;
    }
    json_t *settings = json_object_get(reply, "settings"), *changes = differences(o->before, settings);
    char *text = json_dumps(changes, JSON_COMPACT), quoted[HEP_ERROR_MESSAGE_MAX];
    hep_log(HEP_NOTICE, "device.optimized", "changes=%s", hep_log_quote(text ? text : "", quoted, sizeof quoted));
    free(text);
    hep_engine_event(o->engine, NULL, "device.optimized", true, json_pack("{s:O}", "changes", changes));
    json_t *answer =
        json_pack("{s:s, s:o, s:O}", "device_id", hep_json_str(json_object_get(reply, "device"), "id", o->device_id),
                  "changes", changes, "settings", settings);
    json_decref(reply);
    struct hep_engine *engine = o->engine;
    end(o, HEP_OK, answer, NULL);
    hep_engine_settle(engine, NULL);
}

/* ---- seeing to it -------------------------------------------------------------------------------------------------
 */
static void on_cleaned(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_optimizing *o = context;
    (void)error, (void)status; /* a domain that is down maps anew anyhow */
    json_decref(reply);
    if (--o->cleaning > 0)
        return;
    if (o->engine->draining)
        hep_engine_optimize_stop(o->engine);
    else
        ask_device(o, on_after);
}

/* Networks that are open have their memory as it was. */
static void remap(struct hep_optimizing *o)
{
    static const char *const cleanups[] = {"conditioning.cleanup", "inference.cleanup", "postprocessing.cleanup"};
    o->cleaning = HEP_COUNT_OF(cleanups);
    for (size_t i = 0; i < HEP_COUNT_OF(cleanups); i++)
        hep_engine_pass(o->engine, cleanups[i], NULL, HEP_OPERATOR, "", on_cleaned, o);
}

static void on_configured(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_optimizing *o = context;
    if (status != HEP_OK) {
        end(o, status, NULL, error);
        return;
    }
    json_decref(reply);
    if (json_object_get(o->keys, "compute.cores"))
        hep_engine_device_changed(o->engine);
    if (o->remaps)
        remap(o);
    else
        ask_device(o, on_after);
}

static void on_restarts_late(void *context)
{
    struct hep_optimizing *o = context;
    struct hep_error error;
    o->timer = NULL;
    hep_fail(&error, HEP_E_TIMEOUT, "the domains are not ready again %d s after their restart", RESTART_MS / 1000);
    end(o, error.code, NULL, &error);
}

void hep_engine_optimize_ready(struct hep_engine *engine)
{
    struct hep_optimizing *o = engine->optimizing;
    if (!o || !o->restarts || !o->timer)
        return;
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        if (o->generation[role] != 0 && (engine->domains[role].generation == o->generation[role] ||
                                         !hep_proc_is_ready(engine->proc, (enum hep_role)role)))
            return;
    hep_loop_cancel(hep_take(&o->timer));
    ask_device(o, on_after);
}

static enum hep_status restart_domains(struct hep_optimizing *o, struct hep_error *error)
{
    for (int i = 0; i < HEP_ROLE_COUNT; i++) {
        enum hep_role role = (enum hep_role)i;
        if (role != HEP_ROLE_DEVICE && strcmp(hep_role(role)->weights, "no") == 0)
            continue;
        o->generation[i] = o->engine->domains[i].generation;
        HEP_TRY(hep_proc_restart(o->engine->proc, role, error));
    }
    o->timer = hep_loop_after(o->engine->loop, RESTART_MS, on_restarts_late, o);
    return o->timer ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory to wait for the domains");
}

/* ---- what is to be done -------------------------------------------------------------------------------------------
 */
static bool has_level(json_t *levels, const char *name)
{
    size_t index;
    json_t *level;
    json_array_foreach(levels, index,
                       level) if (json_is_string(level) && strcmp(json_string_value(level), name) == 0) return true;
    return false;
}

static bool is_working(const struct hep_engine *engine)
{
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        if (!hep_session_is_ended(s->state))
            return true;
    return false;
}

/* Another ISA level means other weights and other bytes: not while a session is under way. */
static enum hep_status decide_isa(struct hep_optimizing *o, json_t *levels, struct hep_error *error)
{
    const char *best = json_string_value(json_array_get(levels, json_array_size(levels) - 1));
    const char *wanted = strcmp(o->isa, "auto") == 0 && best ? best : o->isa;
    if (!has_level(levels, wanted)) {
        hep_fail_field(error, HEP_E_UNSUPPORTED_HARDWARE, "isa", "this machine has no %s: its best is %s", wanted,
                       best ? best : "unknown");
        return hep_hint(error, "leave isa out, or say auto"), HEP_E_UNSUPPORTED_HARDWARE;
    }
    json_object_set_new(o->keys, "compute.isa", json_string(o->isa));
    o->restarts = strcmp(wanted, hep_json_str(o->before, "isa", "")) != 0;
    if (!o->restarts || !is_working(o->engine))
        return HEP_OK;
    hep_fail_field(error, HEP_E_NOT_NOW, "isa", "sessions are under way, and another ISA level gives other bytes");
    return hep_hint(error, "wait until they have ended, or change only threads and huge_pages"), HEP_E_NOT_NOW;
}

static enum hep_status decide(struct hep_optimizing *o, const json_t *device, struct hep_error *error)
{
    bool best = o->threads < 0 && !o->huge_pages[0] && !o->isa[0];
    int threads = best ? 0 : o->threads;
    if (best) {
        snprintf(o->huge_pages, sizeof o->huge_pages, "on");
        snprintf(o->isa, sizeof o->isa, "auto");
    }
    if (threads >= 0)
        json_object_set_new(o->keys, "compute.cores", json_sprintf("%d", threads));
    if (o->huge_pages[0])
        json_object_set_new(o->keys, "compute.huge_pages", json_string(o->huge_pages));
    o->remaps = o->huge_pages[0] && strcmp(o->huge_pages, hep_json_str(o->before, "huge_pages", "")) != 0;
    return o->isa[0] ? decide_isa(o, json_object_get(device, "isa_levels"), error) : HEP_OK;
}

/* The domains are told by the supervisor's processes; the device is asked, so that we know when it has them. */
static enum hep_status apply(struct hep_optimizing *o, struct hep_error *error)
{
    struct hep_engine *engine = o->engine;
    HEP_TRY(engine->configure(engine->context, o->keys, error));
    if (o->restarts)
        return restart_domains(o, error);
    json_t *settings = json_deep_copy(o->keys), *data;
    json_object_del(settings, "compute.isa"); /* the level that is in force anyhow */
    data = json_pack("{s:o}", "settings", settings);
    hep_engine_pass(engine, "device.configure", data, HEP_INTERNAL, "", on_configured, o);
    json_decref(data);
    return HEP_OK;
}

static void on_before(void *context, enum hep_status status, json_t *reply, const struct hep_error *said)
{
    struct hep_optimizing *o = context;
    struct hep_error error = {0};
    if (status == HEP_OK) {
        o->before = json_incref(json_object_get(reply, "settings"));
        status = decide(o, reply, &error);
    } else {
        error = *said;
    }
    json_decref(reply);
    if (status == HEP_OK)
        status = apply(o, &error);
    if (status != HEP_OK)
        end(o, status, NULL, &error);
}

void hep_engine_optimize(struct hep_engine *engine, const struct hep_optimize_wish *wish, hep_engine_answer *answer,
                         void *context)
{
    struct hep_error error = {0};
    enum hep_status status = HEP_OK;
    struct hep_optimizing *o = NULL;
    if (!engine->configure)
        status = hep_fail(&error, HEP_E_UNSUPPORTED, "this daemon cannot change its configuration");
    else if (engine->optimizing)
        status = hep_fail(&error, HEP_E_BUSY, "device.optimize is under way");
    else if (!(o = calloc(1, sizeof *o)) || !(o->keys = json_object()))
        status = hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a request");
    if (status != HEP_OK) {
        free(o);
        answer(context, status, NULL, &error);
        return;
    }
    o->engine = engine;
    o->answer = answer;
    o->context = context;
    o->threads = wish->threads;
    snprintf(o->device_id, sizeof o->device_id, "%s", wish->device_id);
    snprintf(o->huge_pages, sizeof o->huge_pages, "%s", wish->huge_pages);
    snprintf(o->isa, sizeof o->isa, "%s", wish->isa);
    engine->optimizing = o;
    ask_device(o, on_before);
}
