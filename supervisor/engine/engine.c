/*
 * The engine's frame: made and destroyed by heptad's main, and settled at the end of every callback; what the domains
 * do is told in told.c. Knows the order of things (store, announce, send); what a session does is in its own files.
 */
#include "supervisor/engine/engine.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"
#include "shm/segment.h"
#include "supervisor/engine/batch_step.h"
#include "supervisor/engine/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SESSIONS_MAX = 4,
    BEGUN_FOR_AGE = 8,
    SESSIONS_KEPT = 10000,
    TRIM_EVERY = 100,
    STORE_RETRY_MS = 1000,
    SETTLE_ROUNDS = 8,
    EVALUATION_MAX_MS = 120000
};

/* ---- settling ---------------------------------------------------------------------------------------------------- */
uint64_t hep_engine_budget(const struct hep_engine *engine)
{
    return engine->memory_bytes ? engine->memory_bytes : engine->device_limit;
}

/* The queued session that comes after this one in the order of the queue; NULL: the first. */
static struct hep_session *next_in_queue(const struct hep_engine *engine, const struct hep_session *after)
{
    struct hep_session *best = NULL;
    for (struct hep_session *s = engine->sessions; s; s = s->next) { /* by age */
        if (s->state != HEP_SESSION_QUEUED || (best && s->priority <= best->priority))
            continue;
        if (!after || s->priority < after->priority || (s->priority == after->priority && s->seq > after->seq))
            best = s;
    }
    return best;
}

/* However many come with a higher priority, one of BEGUN_FOR_AGE is the oldest that waits. */
static struct hep_session *begins_for_its_age(const struct hep_engine *engine)
{
    struct hep_session *oldest = engine->sessions; /* by age */
    while (oldest && (oldest->state != HEP_SESSION_QUEUED || oldest->batch[0]))
        oldest = oldest->next;
    return engine->begun_by_priority >= BEGUN_FOR_AGE ? oldest : NULL;
}

static bool begin(struct hep_engine *engine, struct hep_session *session)
{
    bool is_oldest = true;
    if (engine->draining || engine->held || hep_session_room(session) != HEP_ROOM_NOW)
        return false;
    for (const struct hep_session *s = engine->sessions; s != session; s = s->next)
        is_oldest = is_oldest && s->state != HEP_SESSION_QUEUED;
    engine->begun_by_priority = is_oldest ? 0 : engine->begun_by_priority + 1;
    hep_session_take(session, HEP_SESSION_EVENT_BEGIN, NULL);
    return true;
}

void hep_engine_admit(struct hep_engine *engine)
{
    int running = 0;
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        running += s->state == HEP_SESSION_RUNNING && !s->batch[0] && !hep_session_is_in_batch(s);
    struct hep_session *session = begins_for_its_age(engine), *next;
    if (session && running < engine->sessions_max && begin(engine, session))
        running++;
    for (session = next_in_queue(engine, NULL); session; session = next) {
        next = next_in_queue(engine, session);
        if (!session->batch[0] && running >= engine->sessions_max)
            continue; /* a batch counts its own */
        if (hep_session_room(session) == HEP_ROOM_SOON)
            return;
        if (begin(engine, session))
            running += !session->batch[0];
    }
}

static bool is_dirty(const struct hep_session *session)
{
    for (size_t i = 0; i < session->workflow->step_count; i++)
        if (session->steps[i].dirty)
            return true;
    return session->dirt != HEP_SESSION_CLEAN;
}

static bool has_changes(const struct hep_engine *engine)
{
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        if (is_dirty(s))
            return true;
    return hep_batches_dirty(engine) || hep_webhooks_dirty(engine->webhooks) ||
           hep_events_pending_durable(engine->events) || hep_incidents_pending(&engine->incidents);
}

/* Steps on the way are work: after a power cut, which empties the arenas too, they are done again. */
static enum hep_store_safety safety_of(const struct hep_engine *engine)
{
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        if (s->dirt == HEP_SESSION_PROMISED)
            return HEP_STORE_POWER_SAFE;
    if (hep_batches_dirty(engine))
        return HEP_STORE_POWER_SAFE;
    return hep_events_must_reserve(engine->events) ? HEP_STORE_POWER_SAFE : HEP_STORE_PROCESS_SAFE;
}

static enum hep_status save_changes(struct hep_engine *engine, struct hep_error *error)
{
    enum hep_status status = hep_store_begin(engine->store, safety_of(engine), error);
    for (struct hep_session *s = engine->sessions; s && status == HEP_OK; s = s->next)
        status = hep_session_save(s, error);
    if (status == HEP_OK)
        status = hep_batches_save(engine, error);
    if (status == HEP_OK)
        status = hep_webhooks_save(engine->webhooks, error);
    if (status == HEP_OK)
        status = hep_events_store(engine->events, error);
    if (status == HEP_OK)
        status = hep_incidents_save(&engine->incidents, error);
    if (status == HEP_OK)
        status = hep_estimates_save(engine->estimates, engine->store, error);
    if (status == HEP_OK && engine->ended_since_trim >= TRIM_EVERY) {
        status = hep_store_trim(engine->store, engine->sessions_kept, HEP_EVENTS_STORED, error);
        engine->ended_since_trim = 0;
    }
    if (status != HEP_OK) {
        hep_store_rollback(engine->store);
        return status;
    }
    HEP_CRASH_POINT("settle.before_commit");
    HEP_TRY(hep_store_commit(engine->store, error));
    HEP_CRASH_POINT("settle.after_commit");
    hep_incidents_saved(&engine->incidents);
    for (struct hep_session *s = engine->sessions; s; s = s->next)
        hep_session_saved(s);
    hep_webhooks_saved(engine->webhooks);
    hep_batches_saved(engine);
    return HEP_OK;
}

static void on_store_timer(void *context)
{
    struct hep_engine *engine = context;
    engine->store_timer = NULL;
    hep_engine_settle(engine, NULL);
}

/* The event is what is tried again: once it can be stored, the store works. */
void hep_engine_store_broke(struct hep_engine *engine, const struct hep_error *error)
{
    if (engine->store_error.code == HEP_OK) {
        hep_log(HEP_ERROR_LEVEL, "store.broken", "code=%s reason=\"%s\"", hep_status_name(error->code), error->message);
        hep_engine_event(engine, NULL, "store.broken", true, hep_error_to_json(error));
    }
    engine->store_error = *error;
    if (!engine->store_timer)
        engine->store_timer = hep_loop_after(engine->loop, STORE_RETRY_MS, on_store_timer, engine);
}

/* After a commit: what was decided is sent, what has ended is wound up. True if that has changed something again. */
static void carry_out(struct hep_engine *engine)
{
    for (struct hep_session *s = engine->sessions, *next; s; s = next) {
        next = s->next;
        if (s->outgoing && s->state == HEP_SESSION_RUNNING)
            hep_session_submit(s);
        else if (hep_session_is_ended(s->state) && hep_session_wind_up(s) && !is_dirty(s))
            hep_engine_drop_session(engine, s);
    }
}

enum hep_status hep_engine_settle(struct hep_engine *engine, struct hep_error *error)
{
    if (engine->settling || !engine->events)
        return HEP_OK;
    engine->settling = true;
    struct hep_log_context before = hep_log_enter("", ""); /* whoever called: this is about all */
    bool told = false;
    for (int round = 0; round < SETTLE_ROUNDS; round++) {
        struct hep_error reason = {0};
        if (engine->proc) {
            hep_batches_advance(engine);
            hep_engine_admit(engine);
            for (struct hep_session *s = engine->sessions; s; s = s->next)
                hep_session_advance(s);
        }
        bool changes = has_changes(engine);
        if (changes && save_changes(engine, &reason) != HEP_OK) {
            hep_engine_store_broke(engine, &reason);
            break;
        }
        if (changes && engine->store_error.code != HEP_OK) {
            hep_log(HEP_NOTICE, "store.works", "path=%s", hep_store_path(engine->store));
            engine->store_error = (struct hep_error){0};
        }
        told = told || hep_events_pending(engine->events);
        hep_events_announce(engine->events);
        if (changes)
            HEP_CRASH_POINT("settle.announced");
        carry_out(engine);
        if (!changes)
            break;
    }
    hep_dispatch_pump(engine->dispatch); /* a session's step is there only once it is stored */
    hep_engine_take_turns(engine);
    engine->settling = false;
    hep_log_leave(&before);
    if (told && engine->changed)
        engine->changed(engine->changed_context);
    if (error)
        *error = engine->store_error;
    return engine->store_error.code;
}

void hep_engine_event(struct hep_engine *engine, struct hep_session *session, const char *name, bool durable,
                      json_t *fields)
{
    if (!fields)
        fields = json_object();
    if (session)
        json_object_set_new(fields, "session", json_string(session->id));
    hep_metrics_event(engine->metrics, session, name);
    uint64_t seq = hep_events_add(engine->events, name, durable, fields);
    if (session)
        session->change_seq = seq;
}

/* ---- sessions in memory ------------------------------------------------------------------------------------------ */
void hep_engine_add_session(struct hep_engine *engine, struct hep_session *session)
{
    struct hep_session **place = &engine->sessions;
    while (*place && (*place)->seq < session->seq)
        place = &(*place)->next;
    session->next = *place;
    *place = session;
    if (session->seq > engine->last_seq)
        engine->last_seq = session->seq;
}

void hep_engine_drop_session(struct hep_engine *engine, struct hep_session *session)
{
    struct hep_session **place = &engine->sessions;
    while (*place != session)
        place = &(*place)->next;
    *place = session->next;
    hep_session_free(session);
}

struct hep_session *hep_engine_find(const struct hep_engine *engine, const char *id)
{
    struct hep_session *session = engine->sessions;
    while (session && strcmp(session->id, id) != 0)
        session = session->next;
    return session;
}

static void on_told(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    (void)context;
    (void)reply;
    if (status != HEP_OK)
        hep_log(HEP_DEBUG, "engine.not_told", "reason=\"%s\"", error->message);
}

void hep_engine_tell(struct hep_engine *engine, enum hep_role role, const char *operation, const char *session,
                     json_t *data)
{
    struct hep_errand *errand;
    struct hep_error error;
    struct hep_errand_spec spec = {.role = role, .priority = 1 << 20, .done = on_told};
    spec.message = json_pack("{s:o, s:s, s:o}", "type", json_sprintf("%s.%s", hep_role_name(role), operation),
                             "session", session, "data", data);
    if (!spec.message || hep_dispatch_submit(engine->dispatch, &spec, &errand, &error) != HEP_OK)
        hep_log(HEP_WARNING, "engine.not_told", "domain=%s operation=%s", hep_role_name(role), operation);
}

/* ---- begin and end ----------------------------------------------------------------------------------------------- */
static void load_live(void *context, const struct hep_store_session *row)
{
    struct hep_engine *engine = context;
    struct hep_session *session = NULL;
    struct hep_error error = {0};
    if (hep_session_load(engine, row, true, &session, &error) != HEP_OK) {
        hep_log(HEP_ERROR_LEVEL, "session.unreadable", "session=%.60s reason=\"%s\"", row->id, error.message);
        return;
    }
    hep_engine_add_session(engine, session);
}

/* Sessions of the last life: what was in hand is asked again, what is done stays done if the arena is still there. */
static void resume_session(struct hep_session *session)
{
    for (size_t i = 0; i < session->workflow->step_count; i++)
        if (session->steps[i].state == HEP_STEP_RUNNING) {
            session->steps[i].state = HEP_STEP_PENDING;
            session->steps[i].dirty = true;
        }
    hep_session_check_arena(session);
    session->room = session->arena_there;
    hep_log(HEP_NOTICE, "session.resumed", "session=%s state=%s arena=%s", session->id,
            hep_session_state_name(session->state), session->arena_there ? "there" : "none");
}

static bool keeps_segment(const struct hep_segment_entry *entry, void *context)
{
    const struct hep_engine *engine = context;
    if (entry->name.kind != HEP_SEGMENT_ARENA)
        return true; /* the weights are the model domain's */
    const struct hep_session *session = hep_engine_find(engine, entry->name.id);
    return session && session->arena_there && (uint64_t)session->arena_generation == entry->name.generation;
}

static enum hep_status load_sessions(struct hep_engine *engine, struct hep_error *error)
{
    struct hep_segment_sweep swept = {0};
    HEP_TRY(hep_store_live_sessions(engine->store, load_live, engine, error));
    for (struct hep_session *s = engine->sessions; s; s = s->next)
        resume_session(s);
    HEP_TRY(hep_batches_load(engine, error));
    HEP_CRASH_POINT("start.before_sweep");
    HEP_TRY(hep_segment_sweep(engine->instance, keeps_segment, engine, &swept, error));
    HEP_CRASH_POINT("start.after_sweep");
    if (swept.removed)
        hep_log(HEP_NOTICE, "engine.swept", "segments=%" PRIu32 " bytes=%" PRIu64, swept.removed, swept.removed_bytes);
    engine->last_seq = hep_store_value(engine->store, "sessions.seq", engine->last_seq);
    return HEP_OK;
}

static enum hep_status make_output_folder(const char *path, struct hep_error *error)
{
    struct stat about;
    int reason = mkdir(path, 0750) == 0 || errno == EEXIST ? 0 : errno;
    if (reason == 0 && stat(path, &about) != 0)
        reason = errno;
    if (reason == 0 && !S_ISDIR(about.st_mode))
        reason = ENOTDIR;
    if (reason == 0 && access(path, W_OK | X_OK) != 0)
        reason = errno;
    if (reason == 0)
        return HEP_OK;
    hep_fail(error, HEP_E_BAD_CONFIG, "images cannot be written to %s: %s", path, strerror(reason));
    return hep_hint(error, "set images.dir to a folder that can be written");
}

static enum hep_status take_options(struct hep_engine *engine, const struct hep_engine_options *options,
                                    struct hep_error *error)
{
    engine->instance = strdup(options->instance);
    engine->state_dir = strdup(options->state_dir);
    engine->output_dir = strdup(options->output_dir);
    engine->safety = options->safety;
    engine->default_model = strdup(options->default_model ? options->default_model : "");
    engine->workflows_dir = strdup(options->workflows_dir);
    if (!engine->instance || !engine->state_dir || !engine->output_dir || !engine->default_model ||
        !engine->workflows_dir)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the engine");
    engine->memory_bytes = options->memory_bytes;
    engine->shm_room = hep_shm_room;
    engine->evaluation_max_ms = options->evaluation_max_ms > 0 ? options->evaluation_max_ms : EVALUATION_MAX_MS;
    engine->sessions_max = options->sessions_max > 0 ? options->sessions_max : SESSIONS_MAX;
    engine->queue_max = options->queue_max > 0 ? options->queue_max : HEP_QUEUE_MAX;
    engine->sessions_kept = options->sessions_kept > 0 ? options->sessions_kept : SESSIONS_KEPT;
    engine->all_stopped = options->all_stopped;
    engine->configure = options->configure;
    engine->context = options->context;
    hep_engine_listen(engine);
    return make_output_folder(engine->output_dir, error);
}

enum hep_status hep_engine_create(struct hep_loop *loop, const struct hep_engine_options *options,
                                  struct hep_engine **engine, struct hep_error *error)
{
    char path[HEP_PATH_MAX];
    enum hep_status status = HEP_OK;
    struct hep_engine *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the engine");
    result->loop = loop;
    result->created_ms = hep_now_ms();
    result->metrics = hep_metrics_create();
    if (!result->metrics)
        HEP_TRY_DONE(status, hep_fail(error, HEP_E_NO_MEMORY, "no memory for the metrics"));
    HEP_TRY_DONE(status, take_options(result, options, error));
    if (snprintf(path, sizeof path, "%s/heptad.db", result->state_dir) >= (int)sizeof path)
        HEP_TRY_DONE(status, hep_fail(error, HEP_E_BAD_CONFIG, "the path of the state folder is too long"));
    HEP_TRY_DONE(status, hep_store_open(path, &result->store, error));
    HEP_TRY_DONE(status, hep_inputs_open(result->state_dir, &result->inputs, error));
    HEP_TRY_DONE(status, hep_incidents_init(&result->incidents, result->store, error));
    HEP_TRY_DONE(status, hep_estimates_create(result->store, &result->estimates, error));
    HEP_TRY_DONE(status, hep_engine_load_workflows(result, error));
    HEP_TRY_DONE(status, hep_events_create(result->store, &result->events, error));
    HEP_TRY_DONE(status, hep_router_create(&result->router, error));
    result->metrics->router = result->router;
    HEP_TRY_DONE(status, hep_dispatch_create(loop, result->metrics, &result->dispatch, error));
    HEP_TRY_DONE(status, hep_catalog_create(result->dispatch, &result->catalog, error));
    HEP_TRY_DONE(status, hep_webhooks_create(result, options->webhook_hosts, options->webhook_secret_file,
                                             &result->webhooks, error));
    HEP_TRY_DONE(status, load_sessions(result, error));
    hep_engine_watch_inputs(result);
    *engine = hep_take(&result);
done:
    hep_engine_destroy(result);
    return status;
}

void hep_engine_attach(struct hep_engine *engine, struct hep_proc *proc)
{
    engine->proc = proc;
    hep_dispatch_attach(engine->dispatch, proc);
    hep_engine_settle(engine, NULL);
}

enum hep_status hep_engine_reload(struct hep_engine *engine, struct hep_error *error)
{
    HEP_TRY(hep_webhooks_reload(engine->webhooks, error));
    HEP_TRY(hep_engine_load_workflows(engine, error));
    hep_engine_event(engine, NULL, "workflows.reloaded", false, NULL);
    hep_engine_settle(engine, NULL);
    return HEP_OK;
}

void hep_engine_drain(struct hep_engine *engine)
{
    engine->draining = true;
    hep_dispatch_stop(engine->dispatch);
    hep_engine_event(engine, NULL, "daemon.draining", true, NULL);
    hep_engine_settle(engine, NULL);
}

static bool keeps_arena(const struct hep_segment_entry *entry, void *context)
{
    return entry->name.kind == HEP_SEGMENT_ARENA && keeps_segment(entry, context);
}

/* An orderly end gives the memory of published weights back; only sessions that go on at the next start keep their
 * arenas. */
static void sweep_at_end(struct hep_engine *engine)
{
    struct hep_segment_sweep swept = {0};
    struct hep_error error = {0};
    if (hep_segment_sweep(engine->instance, keeps_arena, engine, &swept, &error) != HEP_OK)
        hep_log(HEP_WARNING, "engine.not_swept", "reason=\"%s\"", error.message);
}

void hep_engine_destroy(struct hep_engine *engine)
{
    if (!engine)
        return;
    if (engine->instance && engine->sessions_max) /* made whole */
        sweep_at_end(engine);
    engine->draining = true;
    engine->settling = true; /* nothing is stored or sent any more */
    engine->changed = NULL;
    hep_dispatch_destroy(engine->dispatch);
    hep_webhooks_destroy(engine->webhooks);
    hep_engine_optimize_stop(engine);
    hep_catalog_destroy(engine->catalog);
    while (engine->sessions)
        hep_engine_drop_session(engine, engine->sessions);
    hep_workflow_release(engine->loaded_workflow);
    json_decref(engine->loaded_source);
    hep_batches_free(engine);
    hep_loop_cancel(engine->store_timer);
    hep_loop_cancel(engine->inputs_timer);
    hep_events_destroy(engine->events);
    hep_router_destroy(engine->router);
    hep_workflows_destroy(engine->workflows);
    hep_incidents_clear(&engine->incidents);
    hep_estimates_destroy(engine->estimates);
    hep_store_close(engine->store);
    hep_inputs_close(engine->inputs);
    json_decref(engine->rates);
    hep_metrics_destroy(engine->metrics);
    json_decref(engine->manager);
    free(engine->instance);
    free(engine->state_dir);
    free(engine->output_dir);
    free(engine->default_model);
    free(engine->workflows_dir);
    free(engine);
}
