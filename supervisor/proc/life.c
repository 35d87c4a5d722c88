/*
 * The life table and the backoff. Called by domain.c for every event of a domain; decides, and does nothing itself.
 */
#include "supervisor/proc/life.h"

#include "common/status.h"

#include <string.h>

#define NAME_OF(id, name, ...) name,
static const char *const state_names[] = {HEP_LIFE_STATES(NAME_OF)};
static const char *const event_names[] = {HEP_LIFE_EVENTS(NAME_OF)};
static const char *const action_names[] = {HEP_LIFE_ACTIONS(NAME_OF)};

/* One cell: on EVENT, go to STATE and do ACTION. A cell that is not here means: this cannot be, or says nothing. */
struct cell {
    bool known;
    struct hep_life_step step;
};
#define ON(event, state, action) [HEP_LIFE_ON_##event] = {true, {HEP_LIFE_##state, HEP_LIFE_DO_##action}}

/* clang-format off */
static const struct cell table[HEP_LIFE_STATE_COUNT][HEP_LIFE_EVENT_COUNT] = {
    [HEP_LIFE_ABSENT] = {
        ON(SPAWN,    STARTING, AWAIT),
        ON(REFUSED,  DEAD,     BURY),
        ON(DRAIN,    ABSENT,   NONE),
        ON(PROBE,    ABSENT,   START),
        ON(KILL,     ABSENT,   START),
    },
    [HEP_LIFE_STARTING] = {
        ON(READY,    READY,    ANNOUNCE),
        ON(PROGRESS, STARTING, EXTEND),
        ON(DEADLINE, HUNG,     ABORT),
        ON(EXIT,     DEAD,     BURY),
        ON(DRAIN,    DRAINING, TERMINATE),
        ON(KILL,     DYING,    MURDER),
    },
    [HEP_LIFE_READY] = {
        ON(WORK,     BUSY,     NONE),
        ON(IDLE,     READY,    NONE),
        ON(PROGRESS, READY,    NONE),
        ON(DEADLINE, HUNG,     ABORT),
        ON(EXIT,     DEAD,     BURY),
        ON(DRAIN,    DRAINING, TERMINATE),
        ON(KILL,     DYING,    MURDER),
    },
    [HEP_LIFE_BUSY] = {
        ON(WORK,     BUSY,     NONE),
        ON(IDLE,     READY,    NONE),
        ON(PROGRESS, BUSY,     NONE),
        ON(DEADLINE, HUNG,     ABORT),
        ON(EXIT,     DEAD,     BURY),
        ON(DRAIN,    DRAINING, TERMINATE),
        ON(KILL,     DYING,    MURDER),
    },
    [HEP_LIFE_DRAINING] = {
        ON(READY,    DRAINING, NONE),
        ON(WORK,     DRAINING, NONE),
        ON(IDLE,     DRAINING, NONE),
        ON(PROGRESS, DRAINING, NONE),
        ON(DEADLINE, DYING,    MURDER),
        ON(EXIT,     DEAD,     BURY),
        ON(DRAIN,    DRAINING, EXTEND),
        ON(KILL,     DYING,    MURDER),
    },
    [HEP_LIFE_HUNG] = {
        ON(READY,    HUNG,     NONE),
        ON(WORK,     HUNG,     NONE),
        ON(IDLE,     HUNG,     NONE),
        ON(PROGRESS, HUNG,     NONE),
        ON(DEADLINE, DYING,    MURDER),
        ON(EXIT,     DEAD,     BURY),
        ON(DRAIN,    HUNG,     NONE),
        ON(KILL,     DYING,    MURDER),
    },
    [HEP_LIFE_DYING] = {
        ON(READY,    DYING,    NONE),
        ON(WORK,     DYING,    NONE),
        ON(IDLE,     DYING,    NONE),
        ON(PROGRESS, DYING,    NONE),
        ON(EXIT,     DEAD,     BURY),
        ON(DRAIN,    DYING,    NONE),
        ON(KILL,     DYING,    NONE),
    },
    [HEP_LIFE_DEAD] = {
        ON(RETRY,    BACKOFF,  WAIT),
        ON(GIVE_UP,  FAILED,   WAIT),
        ON(DRAINED,  ABSENT,   NONE),
    },
    [HEP_LIFE_BACKOFF] = {
        ON(PROBE,    ABSENT,   START),
        ON(KILL,     ABSENT,   START),
        ON(DRAIN,    ABSENT,   NONE),
    },
    [HEP_LIFE_FAILED] = {
        ON(PROBE,    ABSENT,   START),
        ON(KILL,     ABSENT,   START),
        ON(DRAIN,    ABSENT,   NONE),
    },
};
/* clang-format on */

bool hep_life_next(enum hep_life_state state, enum hep_life_event event, struct hep_life_step *step)
{
    hep_assert((unsigned)state < HEP_LIFE_STATE_COUNT && (unsigned)event < HEP_LIFE_EVENT_COUNT);
    const struct cell *cell = &table[state][event];
    if (cell->known)
        *step = cell->step;
    return cell->known;
}

const char *hep_life_state_name(enum hep_life_state state)
{
    hep_assert((unsigned)state < HEP_LIFE_STATE_COUNT);
    return state_names[state];
}

const char *hep_life_event_name(enum hep_life_event event)
{
    hep_assert((unsigned)event < HEP_LIFE_EVENT_COUNT);
    return event_names[event];
}

const char *hep_life_action_name(enum hep_life_action action)
{
    hep_assert((unsigned)action < HEP_LIFE_ACTION_COUNT);
    return action_names[action];
}

/* ---- backoff
 * ---------------------------------------------------------------------------------------------------------- */
static bool is_crash_loop(const struct hep_backoff *backoff, int64_t now_ms)
{
    if (backoff->restart_count < HEP_LOOP_RESTARTS)
        return false;
    int64_t oldest = backoff->restarts_ms[backoff->restart_count % HEP_LOOP_RESTARTS];
    return now_ms - oldest <= HEP_LOOP_WINDOW_MS;
}

struct hep_verdict hep_backoff_died(struct hep_backoff *backoff, int64_t now_ms, int64_t ready_ms, bool cannot_start)
{
    if (cannot_start) {
        backoff->tripped = true;
        return (struct hep_verdict){HEP_LIFE_ON_GIVE_UP, -1};
    }
    if (ready_ms >= HEP_HEALTHY_MS)
        memset(backoff, 0, sizeof *backoff);
    if (backoff->tripped || is_crash_loop(backoff, now_ms)) {
        backoff->tripped = true;
        return (struct hep_verdict){HEP_LIFE_ON_GIVE_UP, HEP_PROBE_MS};
    }
    backoff->young_deaths = ready_ms >= HEP_SETTLED_MS ? 0 : backoff->young_deaths + 1;
    int64_t delay = backoff->young_deaths <= 1 ? 0 : backoff->delay_ms ? backoff->delay_ms * 2 : HEP_BACKOFF_FIRST_MS;
    backoff->delay_ms = delay > HEP_BACKOFF_MAX_MS ? HEP_BACKOFF_MAX_MS : delay;
    backoff->restarts_ms[backoff->restart_count++ % HEP_LOOP_RESTARTS] = now_ms;
    return (struct hep_verdict){HEP_LIFE_ON_RETRY, backoff->delay_ms};
}
