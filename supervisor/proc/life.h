/*
 * The life of a domain as one [state][event] table, and when a dead one is started again. Pure: no clock, no process.
 * supervisor/proc/domain.c drives it; docs/supervision.md draws it.
 */
#ifndef HEP_SUPERVISOR_PROC_LIFE_H
#define HEP_SUPERVISOR_PROC_LIFE_H

#include <stdbool.h>
#include <stdint.h>

/* clang-format off */
/* To add a state: a row here, a line in the table of life.c (the compiler asks for it). X(ID, name, what it means) */
#define HEP_LIFE_STATES(X)                                                                                             \
    X(ABSENT,   "absent",   "no process, and none is wanted or one is being started")                                 \
    X(STARTING, "starting", "the process exists; READY is due")                                                       \
    X(READY,    "ready",    "answers, nothing in hand")                                                               \
    X(BUSY,     "busy",     "an operation is in hand")                                                                \
    X(DRAINING, "draining", "was asked to end after what it has in hand")                                             \
    X(HUNG,     "hung",     "missed a deadline and got SIGABRT")                                                      \
    X(DYING,    "dying",    "got SIGKILL")                                                                            \
    X(DEAD,     "dead",     "reaped; what follows is being decided")                                                  \
    X(BACKOFF,  "backoff",  "waits to be started again")                                                              \
    X(FAILED,   "failed",   "died too often or cannot start: probed rarely, or only after a reload or restart")

/* X(ID, name, what happened) */
#define HEP_LIFE_EVENTS(X)                                                                                             \
    X(SPAWN,    "spawn",    "a process was started")                                                                  \
    X(REFUSED,  "refused",  "no process could be started")                                                            \
    X(READY,    "ready",    "READY came and is ours")                                                                 \
    X(WORK,     "work",     "an operation is in hand")                                                                \
    X(IDLE,     "idle",     "no operation is in hand any more")                                                       \
    X(PROGRESS, "progress", "something was done")                                                                     \
    X(DEADLINE, "deadline", "the deadline of this state has passed")                                                  \
    X(EXIT,     "exit",     "the process was reaped")                                                                 \
    X(RETRY,    "retry",    "decided: start again soon")                                                              \
    X(GIVE_UP,  "give_up",  "decided: too often, or cannot start")                                                    \
    X(DRAIN,    "drain",    "the daemon ends")                                                                        \
    X(DRAINED,  "drained",  "decided: its end was asked for")                                                         \
    X(KILL,     "kill",     "the operator restarts it, or it broke the contract")                                     \
    X(PROBE,    "probe",    "the wait is over")

/* X(ID, what domain.c does) */
#define HEP_LIFE_ACTIONS(X)                                                                                            \
    X(NONE,      "nothing")                                                                                           \
    X(AWAIT,     "set the READY deadline")                                                                            \
    X(ANNOUNCE,  "open the channel, tell the engine, watch for hangs")                                                \
    X(EXTEND,    "set the deadline anew")                                                                             \
    X(TERMINATE, "SIGTERM; the deadline is the end of the drain")                                                     \
    X(ABORT,     "SIGABRT; SIGKILL is due in HEP_GRACE_MS")                                                           \
    X(MURDER,    "SIGKILL")                                                                                           \
    X(BURY,      "obituary, fail what is in flight, decide: retry, give_up or drained")                               \
    X(WAIT,      "set the timer of the next try")                                                                     \
    X(START,     "start a process")
/* clang-format on */

#define HEP_LIFE_ENUM(id, ...)   HEP_LIFE_##id,
#define HEP_LIFE_EVENT(id, ...)  HEP_LIFE_ON_##id,
#define HEP_LIFE_ACTION(id, ...) HEP_LIFE_DO_##id,
enum hep_life_state { HEP_LIFE_STATES(HEP_LIFE_ENUM) HEP_LIFE_STATE_COUNT };
enum hep_life_event { HEP_LIFE_EVENTS(HEP_LIFE_EVENT) HEP_LIFE_EVENT_COUNT };
enum hep_life_action { HEP_LIFE_ACTIONS(HEP_LIFE_ACTION) HEP_LIFE_ACTION_COUNT };

struct hep_life_step {
    enum hep_life_state next;
    enum hep_life_action action;
};

/* What follows. False if the event has no meaning in the state (nothing is to be done; the caller logs it). */
bool hep_life_next(enum hep_life_state state, enum hep_life_event event, struct hep_life_step *step);
const char *hep_life_state_name(enum hep_life_state state);
const char *hep_life_event_name(enum hep_life_event event);
const char *hep_life_action_name(enum hep_life_action action); /* what it does */

enum {
    HEP_GRACE_MS = 2000,        /* from SIGABRT to SIGKILL                                               */
    HEP_DEATH_MS = 60000,       /* a killed process is gone after so long, its memory freed, a core written */
    HEP_BACKOFF_FIRST_MS = 100, /* second try; the first is at once                                      */
    HEP_BACKOFF_MAX_MS = 5000,
    HEP_SETTLED_MS = 500,       /* ready for so long: it works, the next one is started at once          */
    HEP_HEALTHY_MS = 60000,     /* ready for so long: what was before is forgotten                       */
    HEP_LOOP_RESTARTS = 5,      /* more than so many restarts …                                          */
    HEP_LOOP_WINDOW_MS = 30000, /* … in so long is a crash loop                                          */
    HEP_PROBE_MS = 60000        /* a failed domain is tried again so often                               */
};

/* What is remembered of a domain's deaths. Zero-initialised is a fresh one; so is it after a reset. */
struct hep_backoff {
    int64_t restarts_ms[HEP_LOOP_RESTARTS]; /* when the last ones were decided, a ring                          */
    unsigned restart_count;                 /* since the last reset                                             */
    unsigned young_deaths;                  /* in a row; a settled process begins the count anew                   */
    int64_t delay_ms;                       /* of the last try                                                  */
    bool tripped;                           /* gave up; holds until it has been healthy                         */
};
struct hep_verdict {
    enum hep_life_event event; /* RETRY or GIVE_UP                             */
    int64_t delay_ms;          /* until the next try; −1 = none by itself      */
};

/* A process died at now_ms (any monotonic clock), after being ready for ready_ms (0 = never was). cannot_start: it said
   that its configuration is wrong (HEP_EXIT_CONFIG) or is of another build. */
struct hep_verdict hep_backoff_died(struct hep_backoff *backoff, int64_t now_ms, int64_t ready_ms, bool cannot_start);

#endif
