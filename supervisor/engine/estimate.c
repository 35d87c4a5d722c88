/* Learns from steps that are done, and estimates sessions that are planned. Called by run.c, trial.c and view.c. */
#include "supervisor/engine/estimate.h"

#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "estimate."
enum { KEY_MAX = 192, REST_MAX_MS = 100 };
/* Of an observation in what is known. What is quicker than all before says more than what is slower: the first run
   makes plans and kernels, and others may compute at the same time, but nothing makes a machine faster than it is. */
static const double quicker_share = 0.6, slower_share = 0.2;
static const double rate_reached = 0.6; /* of the device's rate, before anything is known */
static const double light_ms = 2;       /* of an operation that computes nothing, likewise */

struct hep_estimates {
    json_t *values;  /* key → real: FLOP/ms, or ms */
    json_t *changed; /* key → true                 */
};

static void see(void *context, const char *key, int64_t value)
{
    struct hep_estimates *estimates = context;
    json_object_set_new(estimates->values, key, json_real((double)value / 1000));
}

enum hep_status hep_estimates_create(struct hep_store *store, struct hep_estimates **estimates, struct hep_error *error)
{
    struct hep_estimates *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the estimates");
    *result = (struct hep_estimates){.values = json_object(), .changed = json_object()};
    enum hep_status status = hep_store_values(store, PREFIX, see, result, error);
    if (status != HEP_OK) {
        hep_estimates_destroy(result);
        return status;
    }
    *estimates = result;
    return HEP_OK;
}

void hep_estimates_destroy(struct hep_estimates *estimates)
{
    if (!estimates)
        return;
    json_decref(estimates->values);
    json_decref(estimates->changed);
    free(estimates);
}

enum hep_status hep_estimates_save(struct hep_estimates *estimates, struct hep_store *store, struct hep_error *error)
{
    const char *key;
    json_t *mark;
    json_object_foreach(estimates->changed, key, mark)
        HEP_TRY(hep_store_put_value(store, key, (int64_t)(hep_json_num(estimates->values, key, 0) * 1000), error));
    json_object_clear(estimates->changed);
    return HEP_OK;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */
static json_t *planned(const struct hep_session *session, int index)
{
    return json_object_get(json_object_get(session->plan, "steps"), session->workflow->steps[index].id);
}

/* Of one run of its network: the time per operation depends on it. */
static int size_of(const struct hep_session *session, int index)
{
    double flops = hep_json_num(planned(session, index), "unit_flops", 0);
    return flops > 1 ? (int)lround(log2(flops)) : 0;
}

static void make_key(const struct hep_session *session, int index, int size, char key[KEY_MAX])
{
    const struct hep_workflow_step *step = &session->workflow->steps[index];
    snprintf(key, KEY_MAX, PREFIX "%s.%s.%.64s.%d", hep_role_name(step->role), step->operation,
             size ? hep_json_str(session->model, "name", "") : "", size);
}

/* Of the nearest size that is known; 0 = none. */
static double known(const struct hep_session *session, int index)
{
    enum { SIZES_AROUND = 8 };
    int size = size_of(session, index);
    for (int distance = 0; distance <= (size ? SIZES_AROUND : 0); distance++)
        for (int sign = -1; sign <= (distance ? 1 : -1); sign += 2) {
            char key[KEY_MAX];
            make_key(session, index, size + sign * distance, key);
            double value = hep_json_num(session->engine->estimates->values, key, 0);
            if (value > 0)
                return value;
        }
    return 0;
}

/* ---- learning ---------------------------------------------------------------------------------------------------- */
static bool runs_alone(const struct hep_session *session)
{
    for (const struct hep_session *s = session->engine->sessions; s; s = s->next)
        if (s != session && s->state == HEP_SESSION_RUNNING)
            return false;
    return true;
}

/* is_rate: more is quicker. */
static void learn(struct hep_estimates *estimates, const char *key, double observed, bool is_rate)
{
    double before = hep_json_num(estimates->values, key, observed);
    double share = (observed > before) == is_rate ? quicker_share : slower_share;
    json_object_set_new(estimates->values, key, json_real(before + share * (observed - before)));
    json_object_set_new(estimates->changed, key, json_true());
}

/* Of a generation that ran in one go, the time from its first evaluation on: a new shape's kernels are made before,
   once in the life of a process. Of other steps, and of one that goes on: the whole of it. */
static double network_ms(const struct hep_session *session, int index, double whole)
{
    const json_t *said = session->steps[index].result;
    double ms = hep_json_num(said, "step_ms", 0) * hep_json_num(said, "evaluations", 0);
    return session->workflow->steps[index].role == HEP_ROLE_INFERENCE && ms > 0 && ms < whole ? ms : whole;
}

void hep_session_learn_time(struct hep_session *session, int index)
{
    const struct hep_session_step *step = &session->steps[index];
    struct hep_estimates *estimates = session->engine->estimates;
    double ms = (double)step->duration_us / 1000, flops = hep_session_flops(session, index);
    char key[KEY_MAX];
    if (step->attempt != 1 || !runs_alone(session))
        return; /* a part of it was done before, or others computed too */
    ms = network_ms(session, index, ms);
    double observed = flops > 0 ? flops / (ms > 0.5 ? ms : 0.5) : ms;
    make_key(session, index, size_of(session, index), key);
    learn(estimates, key, observed, flops > 0);
}

/* What a session took beside its steps: messages, its arena, the turns of the engine. */
static void make_rest_key(const struct hep_session *session, char key[KEY_MAX])
{
    snprintf(key, KEY_MAX, PREFIX "rest.%.64s", session->workflow->id);
}

void hep_session_learn_rest(struct hep_session *session)
{
    double rest = session->started ? (double)(hep_wall_ms() - session->started) : 0, steps = 0;
    char key[KEY_MAX];
    for (size_t i = 0; i < session->workflow->step_count; i++) {
        if (session->steps[i].attempt > 1)
            return;
        steps += (double)session->steps[i].duration_us / 1000;
    }
    rest -= steps;
    make_rest_key(session, key);
    if (rest >= 0 && rest < steps / 2 + REST_MAX_MS && runs_alone(session)) /* else it waited, for somebody or cores */
        learn(session->engine->estimates, key, rest, false);
}

/* ---- estimating -------------------------------------------------------------------------------------------------- */
static double step_ms(const struct hep_session *session, int index)
{
    const struct hep_session_step *step = &session->steps[index];
    double flops = hep_session_flops(session, index), value = known(session, index);
    if (hep_step_is_over(step))
        return (double)step->duration_us / 1000;
    if (flops <= 0)
        return value > 0 ? value : light_ms;
    return flops / (value > 0 ? value : rate_reached * hep_session_rate(session) / 1000);
}

int64_t hep_session_estimate_ms(const struct hep_session *session)
{
    double sum = 0;
    if (!hep_session_is_planned(session))
        return 0;
    for (int i = 0; i < (int)session->workflow->step_count; i++) {
        bool wanted = true;
        hep_session_wants((struct hep_session *)(uintptr_t)session, &session->workflow->steps[i], true, &wanted, NULL);
        sum += wanted ? step_ms(session, i) : 0;
    }
    char key[KEY_MAX];
    make_rest_key(session, key);
    return (int64_t)(sum + hep_json_num(session->engine->estimates->values, key, 0) + 0.5);
}
