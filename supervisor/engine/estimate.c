/* Learns from steps that are done, and estimates sessions that are planned. Called by run.c, trial.c and view.c. */
#include "supervisor/engine/estimate.h"

#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "estimate."
enum { KEY_MAX = 192 };
static const double newest_share = 0.3; /* of an observation in what is known           */
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

void hep_session_learn_time(struct hep_session *session, int index)
{
    const struct hep_session_step *step = &session->steps[index];
    struct hep_estimates *estimates = session->engine->estimates;
    double ms = (double)step->duration_us / 1000, flops = hep_session_flops(session, index);
    char key[KEY_MAX];
    if (step->attempt != 1 || !runs_alone(session))
        return; /* a part of it was done before, or others computed too */
    double observed = flops > 0 ? flops / (ms > 0.5 ? ms : 0.5) : ms;
    make_key(session, index, size_of(session, index), key);
    double before = hep_json_num(estimates->values, key, observed);
    json_object_set_new(estimates->values, key, json_real(before + newest_share * (observed - before)));
    json_object_set_new(estimates->changed, key, json_true());
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
    for (int i = 0; i < (int)session->workflow->step_count; i++)
        sum += step_ms(session, i);
    return (int64_t)(sum + 0.5);
}
