/*
 * Whether there is room for a session: how long its networks take, its memory, its arena in /dev/shm. Called when a
 * request comes, when a session would begin, and once it has been planned. What can never be is an error with the
 * numbers; what only has no place now goes back to the queue and keeps no place that others could use.
 */
#include "common/log.h"
#include "common/wire.h"
#include "shm/segment.h"
#include "supervisor/engine/core.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { CORE_GFLOPS_MOST = 500 /* dense bf16 on two 512-bit units at 4 GHz */ };

enum { SHM_LEAST = 1 << 20 /* no session's arena is smaller than about a third of this */, LOOK_AGAIN_MS = 1000 };

/* ---- how long it takes ------------------------------------------------------------------------------------------- */
/* Operations per second of the device in the type that the session's model was loaded for. What was measured while the
   machine was busy is too little, so the best that is known counts. Before anything has been measured, what no
   processor of so many cores exceeds. */
double hep_session_rate(const struct hep_session *session)
{
    const struct hep_engine *engine = session->engine;
    const char *dtype = "f32";
    for (size_t i = 0; i < session->workflow->step_count; i++)
        if (session->workflow->steps[i].role == HEP_ROLE_MODEL)
            dtype = hep_json_str(session->steps[i].result, "dtype", dtype);
    double rate = hep_json_num(engine->rates, dtype, 0), plain = hep_json_num(engine->rates, "f32", 0);
    if (rate <= 0)
        rate = (double)sysconf(_SC_NPROCESSORS_ONLN) * CORE_GFLOPS_MOST;
    rate = rate > plain ? rate : plain;
    return (rate > engine->gflops_seen ? rate : engine->gflops_seen) * 1e9;
}

void hep_session_learn_rate(struct hep_session *session, int index)
{
    json_t *plan = json_object_get(json_object_get(session->plan, "steps"), session->workflow->steps[index].id);
    double ms = hep_json_num(session->steps[index].result, "step_ms", 0);
    double gflops = ms > 0 ? hep_json_num(plan, "unit_flops", 0) / ms * 1e-6 : 0;
    if (gflops > session->engine->gflops_seen)
        session->engine->gflops_seen = gflops;
}

/* One run of a network is what a person waits for to see the bar move, and others to get their turn. */
static enum hep_status check_pace(const struct hep_session *session, struct hep_error *error)
{
    double rate = hep_session_rate(session), limit = (double)session->engine->evaluation_max_ms / 1000;
    int64_t width = hep_json_int(session->configuration, "width", 0),
            height = hep_json_int(session->configuration, "height", 0);
    const char *id;
    json_t *step;
    json_object_foreach(json_object_get(session->plan, "steps"), id, step)
    {
        double flops = hep_json_num(step, "unit_flops", 0);
        if (flops <= rate * limit)
            continue;
        hep_fail_field(error, HEP_E_OUT_OF_RANGE, width >= height ? "width" : "height",
                       "an image of %" PRId64 " × %" PRId64
                       " needs %.0f GFLOP for one run of the network in step %s: at least %.0f s at the %.0f GFLOP/s "
                       "that this machine has, %.0f s are allowed",
                       width, height, flops * 1e-9, id, flops / rate, rate * 1e-9, limit);
        hep_hint(error, "ask for a smaller image; sessions.evaluation_max_ms is the limit");
        return HEP_E_OUT_OF_RANGE;
    }
    return HEP_OK;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */
static uint64_t memory_of_others(const struct hep_session *session)
{
    uint64_t used = 0;
    for (const struct hep_session *s = session->engine->sessions; s; s = s->next)
        used += s != session && s->room ? hep_session_memory(s) : 0;
    return used;
}

/* ---- /dev/shm ---------------------------------------------------------------------------------------------------- */
static uint64_t arena_bytes(const struct hep_session *session)
{
    return (uint64_t)hep_json_int(session->plan, "arena_bytes", 0);
}

/* What comes back without anybody's doing: the arenas of sessions that run. */
static uint64_t arenas_in_use(const struct hep_engine *engine)
{
    uint64_t bytes = 0;
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        bytes +=
            s->arena_there && s->state != HEP_SESSION_QUEUED && s->state != HEP_SESSION_PAUSED ? arena_bytes(s) : 0;
    return bytes;
}

/* Bytes of the weights that it has had loaded: they stay beside its arena. */
static uint64_t weights_of(const struct hep_session *session)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < session->workflow->step_count; i++)
        if (session->workflow->steps[i].role == HEP_ROLE_MODEL)
            bytes += (uint64_t)hep_json_int(session->steps[i].result, "bytes", 0);
    return bytes;
}

/* What the arena of a planned session needs beyond what is there already. */
static uint64_t wanted_of(const struct hep_session *session)
{
    return hep_session_is_planned(session) && !session->arena_there ? arena_bytes(session) : 0;
}

static enum hep_status never_fits(const struct hep_session *session, uint64_t total, struct hep_error *error)
{
    uint64_t weights = weights_of(session), needed = arena_bytes(session) + weights;
    hep_fail(error, HEP_E_NO_SHM,
             "it needs %" PRIu64 " MiB of shared memory beside %" PRIu64 " MiB of weights, /dev/shm has %" PRIu64
             " MiB in all",
             arena_bytes(session) >> 20, weights >> 20, total >> 20);
    hep_hint(error, "ask for fewer or smaller images, or make it larger: `mount -o remount,size=%" PRIu64 "M /dev/shm`",
             2 * (needed >> 20) + 64);
    return hep_final(error);
}

enum hep_status hep_engine_check_shm(const struct hep_engine *engine, struct hep_error *error)
{
    uint64_t total, available;
    engine->shm_room(&total, &available);
    if (total == 0 || available + arenas_in_use(engine) >= SHM_LEAST)
        return HEP_OK;
    hep_fail(error, HEP_E_NO_SHM,
             "/dev/shm has %" PRIu64 " KiB free of %" PRIu64 " KiB: not even the smallest image fits", available >> 10,
             total >> 10);
    return hep_hint(error, "remove what other programs have left in /dev/shm, or make it larger");
}

/* ---- deciding ---------------------------------------------------------------------------------------------------- */
enum hep_room hep_session_room(struct hep_session *session)
{
    const struct hep_engine *engine = session->engine;
    uint64_t budget = hep_engine_budget(engine), need = hep_session_memory(session), others = memory_of_others(session);
    uint64_t wanted = wanted_of(session), total, available;
    if (session->timer)
        return HEP_ROOM_LATER;
    if (budget > 0 && others > 0 && others + need > budget)
        return HEP_ROOM_SOON;
    if (wanted == 0)
        return HEP_ROOM_NOW;
    engine->shm_room(&total, &available);
    if (total == 0 || wanted <= available || wanted + weights_of(session) > total)
        return HEP_ROOM_NOW; /* the last: to be told so */
    if (wanted <= available + arenas_in_use(engine))
        return HEP_ROOM_SOON;
    hep_session_wait_for(session, LOOK_AGAIN_MS); /* others have it: nothing of ours tells when it goes */
    return HEP_ROOM_LATER;
}

/* Back to the queue. */
static bool give_way(struct hep_session *session)
{
    session->room = session->arena_there;
    hep_log(HEP_NOTICE, "session.no_room", "session=%s note=\"%s\"", session->id, session->note);
    hep_session_take(session, HEP_SESSION_EVENT_NO_ROOM, NULL);
    return false;
}

static bool refuse(struct hep_session *session, const struct hep_error *error)
{
    hep_session_fail(session, error, error->final ? json_pack("{s:b}", "retryable", 0) : NULL);
    return false;
}

void hep_session_lacks_shm(struct hep_session *session, const struct hep_error *error, int64_t again_ms)
{
    session->lacks_shm = true;
    hep_session_note(session, "waits for shared memory: %.180s", error->message);
    if (session->state == HEP_SESSION_RUNNING)
        give_way(session);
    hep_session_wait_for(session, again_ms);
}

enum hep_fit hep_session_fit(struct hep_session *session, struct hep_error *error)
{
    const struct hep_engine *engine = session->engine;
    uint64_t budget = hep_engine_budget(engine), need = hep_session_memory(session), others = memory_of_others(session);
    uint64_t wanted = wanted_of(session), total = 0, available = 0;
    if (budget > 0 && need > budget) {
        hep_fail(error, HEP_E_NO_MEMORY, "it needs %" PRIu64 " MiB, all sessions together may take %" PRIu64 " MiB",
                 need >> 20, budget >> 20);
        return HEP_FIT_NEVER;
    }
    if (check_pace(session, error) != HEP_OK)
        return HEP_FIT_NEVER;
    engine->shm_room(&total, &available);
    if (total > 0 && wanted > 0 && wanted + weights_of(session) > total) {
        never_fits(session, total, error);
        return HEP_FIT_NEVER;
    }
    if (budget > 0 && others + need > budget) {
        hep_fail(error, HEP_E_NO_MEMORY, "it needs %" PRIu64 " MiB, %" PRIu64 " MiB of %" PRIu64 " are taken",
                 need >> 20, others >> 20, budget >> 20);
        return HEP_FIT_WHEN_OTHERS_END;
    }
    if (total > 0 && wanted > available) {
        hep_fail(error, HEP_E_NO_SHM, "it needs %" PRIu64 " KiB, /dev/shm has %" PRIu64 " KiB free of %" PRIu64,
                 wanted >> 10, available >> 10, total >> 10);
        return HEP_FIT_WHEN_SHM_IS_FREE;
    }
    return HEP_FIT_NOW;
}

bool hep_session_claim_room(struct hep_session *session)
{
    struct hep_error error = {0};
    if (session->room && session->arena_there)
        return true;
    switch (hep_session_fit(session, &error)) {
    case HEP_FIT_NOW:
        session->room = true;
        json_object_set_new(session->plan, "estimated_duration_ms", json_integer(hep_session_estimate_ms(session)));
        hep_session_touch(session, HEP_SESSION_CHANGED);
        return true;
    case HEP_FIT_NEVER:
        return refuse(session, &error);
    case HEP_FIT_WHEN_OTHERS_END:
        hep_session_note(session, "waits for memory: %.200s", error.message);
        return give_way(session);
    case HEP_FIT_WHEN_SHM_IS_FREE:
        session->lacks_shm = true;
        hep_session_note(session, "waits for shared memory: %.200s", error.message);
        return give_way(session);
    }
    return false;
}

json_t *hep_session_resources(struct hep_session *session, enum hep_fit fit)
{
    static const char *const names[] = {[HEP_FIT_NOW] = "now",
                                        [HEP_FIT_WHEN_OTHERS_END] = "when_others_end",
                                        [HEP_FIT_WHEN_SHM_IS_FREE] = "when_shm_is_free",
                                        [HEP_FIT_NEVER] = "never"};
    const struct hep_engine *engine = session->engine;
    uint64_t total = 0, available = 0;
    engine->shm_room(&total, &available);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "fits", names[fit], "memory_bytes",
                     (json_int_t)hep_session_memory(session), "arena_bytes", (json_int_t)arena_bytes(session),
                     "weights_bytes", (json_int_t)weights_of(session), "budget_bytes",
                     (json_int_t)hep_engine_budget(engine), "taken_bytes", (json_int_t)memory_of_others(session),
                     "shm_total_bytes", (json_int_t)total, "shm_free_bytes", (json_int_t)available, "flops",
                     hep_session_total_flops(session));
}
