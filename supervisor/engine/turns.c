/*
 * Whose turn it is to have the cores while sessions denoise. Called after each pump of the dispatch. A denoising call
 * goes on for as long as its image needs, so one that is to give the cores up is paused at its next step; it keeps what
 * it has committed, and is asked again behind whom it gave way to.
 */
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <string.h>

static bool denoises(const struct hep_session *session)
{
    return session->state == HEP_SESSION_RUNNING && session->errand && !session->measuring &&
           hep_errand_is_sent(session->errand) && session->workflow->steps[session->step].role == HEP_ROLE_INFERENCE;
}

/* ---- company ----------------------------------------------------------------------------------------------------- */
/* Whether it waits with a step that comes before its denoising. */
static bool prepares(const struct hep_session *session)
{
    if (session->state != HEP_SESSION_RUNNING || !session->errand || session->measuring ||
        hep_errand_is_sent(session->errand))
        return false;
    if (session->workflow->steps[session->step].role == HEP_ROLE_INFERENCE)
        return false;
    for (int i = session->step + 1; i < (int)session->workflow->step_count; i++)
        if (session->workflow->steps[i].role == HEP_ROLE_INFERENCE && !hep_step_is_over(&session->steps[i]))
            return true;
    return false;
}

static bool is_guided(const struct hep_session *session)
{
    return hep_json_num(session->configuration, "guidance_scale", 0) > 1;
}

/* Whether the batch manager will take their rows together, as far as the configurations tell: the same weights, the
   same shape, guidance or none. Where they tell too little, the pause was for nothing, and no image is another one. */
static bool run_together(const struct hep_session *a, const struct hep_session *b)
{
    static const char *const same[] = {"model", "loras", "width", "height"};
    for (size_t i = 0; i < HEP_COUNT_OF(same); i++) {
        json_t *mine = json_object_get(a->configuration, same[i]), *its = json_object_get(b->configuration, same[i]);
        if (mine != its && !json_equal(mine, its))
            return false;
    }
    return is_guided(a) == is_guided(b);
}

/* A call that is as large as it may be gains nothing by one row more. */
static bool has_place(const struct hep_engine *engine)
{
    return strcmp(hep_json_str(engine->manager, "limited_by", "rows"), "rows") == 0;
}

/* Items of one batch begin together and end together, so that their calls are large and nobody waits for one of them:
   they give no turns to each other, which would only put them out of step. */
static bool are_of_one_batch(const struct hep_session *a, const struct hep_session *b)
{
    return a->batch[0] && strcmp(a->batch, b->batch) == 0;
}

/* Who can run together with one that denoises is prepared before that one goes on, so that it joins at the next step
   and not when that image is done. At most sessions.running_max are prepared so, and none begins before one has ended,
   so nobody stands still for ever. Whether anybody waits at another place now. */
static bool bring_company(struct hep_engine *engine)
{
    bool moved = false;
    if (!has_place(engine))
        return false;
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        for (const struct hep_session *d = engine->sessions; d && prepares(s); d = d->next)
            if (denoises(d) && d->priority == s->priority && !are_of_one_batch(s, d) && run_together(s, d))
                moved = hep_errand_prepare_for(s->errand, d->errand) || moved;
    return moved;
}

/* ---- giving way -------------------------------------------------------------------------------------------------- */
static void give_way(struct hep_session *session)
{
    session->yielding = true;
    hep_engine_tell(session->engine, HEP_ROLE_INFERENCE, "control", session->id,
                    json_pack("{s:s, s:s}", "session", session->id, "action", "pause"));
}

/* NULL: of none, as what the engine asks for itself. */
static const struct hep_session *session_of(const struct hep_engine *engine, const struct hep_errand *errand)
{
    const struct hep_session *session = engine->sessions;
    while (session && session->errand != errand)
        session = session->next;
    return session;
}

void hep_engine_take_turns(struct hep_engine *engine)
{
    if (bring_company(engine))
        hep_dispatch_pump(engine->dispatch);
    const struct hep_errand *waits = hep_dispatch_short_of_cores(engine->dispatch);
    if (!waits)
        return;
    const struct hep_session *who = session_of(engine, waits);
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        if (denoises(s) && (!hep_errand_goes_before(waits, s->errand) || (who && are_of_one_batch(who, s))))
            return;
    for (struct hep_session *s = engine->sessions; s; s = s->next)
        if (denoises(s) && !s->yielding && !s->stopping)
            give_way(s);
    hep_dispatch_pump(engine->dispatch);
}
