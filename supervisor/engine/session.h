/*
 * A session: one accepted request on its way through the steps of its workflow. Its life is the table in session.c;
 * stepping is run.c, what goes wrong is trouble.c, the measure pass and the arena are plan.c, acceptance is accept.c,
 * its JSON is view.c.
 */
#ifndef HEP_SUPERVISOR_ENGINE_SESSION_H
#define HEP_SUPERVISOR_ENGINE_SESSION_H

#include "common/limits.h"
#include "supervisor/engine/dispatch.h"
#include "supervisor/engine/store.h"
#include "supervisor/engine/workflow.h"

struct hep_engine;

/* HEP_SESSION_STATE(id, name): a session's states. The last three are ends. */
#define HEP_SESSION_STATES(X)                                                                                          \
    X(QUEUED, "queued")                                                                                                \
    X(RUNNING, "running")                                                                                              \
    X(PAUSED, "paused")                                                                                                \
    X(COMPLETED, "completed")                                                                                          \
    X(FAILED, "failed")                                                                                                \
    X(CANCELLED, "cancelled")
/* What can happen to it. */
#define HEP_SESSION_EVENTS(X)                                                                                          \
    X(BEGIN, "begin")     /* there is room: its steps may run                  */                                      \
    X(NO_ROOM, "no_room") /* it does not fit beside the others, or in /dev/shm */                                      \
    X(PAUSE, "pause")                                                                                                  \
    X(RESUME, "resume")                                                                                                \
    X(CANCEL, "cancel")                                                                                                \
    X(FINISH, "finish") /* the last step is done                             */                                        \
    X(FAIL, "fail")     /* a step cannot be done                             */                                        \
    X(RETRY, "retry")   /* what was not done is to be tried once more        */

enum hep_session_state {
#define HEP_SESSION_STATE_ID(id, name) HEP_SESSION_##id,
    HEP_SESSION_STATES(HEP_SESSION_STATE_ID)
#undef HEP_SESSION_STATE_ID
        HEP_SESSION_STATE_COUNT
};
enum hep_session_event {
#define HEP_SESSION_EVENT_ID(id, name) HEP_SESSION_EVENT_##id,
    HEP_SESSION_EVENTS(HEP_SESSION_EVENT_ID)
#undef HEP_SESSION_EVENT_ID
        HEP_SESSION_EVENT_COUNT
};
enum hep_step_state {
    HEP_STEP_PENDING,
    HEP_STEP_RUNNING,
    HEP_STEP_DONE,
    HEP_STEP_FAILED,
    HEP_STEP_CANCELLED, /* in hand when its session ended; result: {step, steps} that it had reached */
    HEP_STEP_SKIPPED,   /* its condition does not hold, or what it refers to could not be done       */
    HEP_STEP_STATE_COUNT
};

enum { HEP_STEP_CRASHES_MAX = 3, HEP_STEP_REDOS_MAX = 5, HEP_SESSION_ERRORS_MAX = 100 /* kept of one session */ };

struct hep_session_step {
    enum hep_step_state state;
    int attempt;                    /* how often it was asked                                                     */
    int crashes;                    /* deaths with it in hand, without progress between                           */
    int retries;                    /* errors that may pass, since the last success                               */
    int tries;                      /* errors that its own retry answered                                         */
    int redos;                      /* how often its result was lost                                              */
    int position;                   /* furthest inner step (of denoising) that was reported                       */
    int crash_position;             /* position at the last death                                                 */
    int inner, inner_steps;         /* reported by the attempt in hand                                            */
    uint64_t generation;            /* of the process that gave the result; 0 = before this start                 */
    int64_t queued, started, ended; /* wall ms                                                            */
    int64_t duration_us;
    json_t *result, *error; /* NULL = none                                                                */
    bool dirty;             /* differs from its row                                                       */
};

/* What it costs if the newest change is lost in a power cut. (The death of a process never loses one.) */
enum hep_session_dirt {
    HEP_SESSION_CLEAN,    /* there is none                                                            */
    HEP_SESSION_CHANGED,  /* work: it is decided, and done, again                                     */
    HEP_SESSION_PROMISED, /* a client relies on it: an end, a pause, a priority                       */
};

struct hep_session {
    struct hep_engine *engine;
    struct hep_session *next; /* the engine's list, by seq                                          */
    char id[HEP_SESSION_ID_MAX];
    int64_t seq; /* age                                                                */
    enum hep_session_state state;
    int priority;
    char *key;                      /* Idempotency-Key or NULL                                            */
    char batch[HEP_SESSION_ID_MAX]; /* batch that it is of, "" = none; and which item of it          */
    int item;
    char *callback_url; /* told of its end; NULL = nobody is                                  */
    struct hep_workflow *workflow;
    json_t *request, *configuration, *model, *plan, *results, *errors, *error; /* as in struct hep_store_session */
    char note[256];
    int64_t arena_generation;
    bool arena_there; /* a segment of this generation exists                                */
    int64_t created, started, ended;
    struct hep_session_step *steps; /* one per workflow step                                              */
    enum hep_session_dirt dirt;     /* how it differs from its row                                        */
    uint64_t change_seq;            /* event number of the last change                                    */

    struct hep_errand *errand;    /* on its way or in hand; NULL = none                                 */
    json_t *outgoing;             /* message to submit after the commit; NULL = none                    */
    int step;                     /* index that errand or outgoing is for                               */
    bool measuring;               /* errand is of the measure pass                                      */
    bool stopping;                /* inference has been told to stop it                                 */
    bool asks_batch;              /* the batch of its step is on its way to its row                     */
    bool yielding;                /* and to pause it, for one that goes first                            */
    bool room;                    /* its memory is counted among the sessions that run                  */
    bool lacks_shm;               /* it waits for room in /dev/shm                                      */
    enum hep_role lost;           /* waits for the obituary of this domain; HEP_ROLE_NONE               */
    struct hep_loop_timer *timer; /* until the next try                                                 */
    struct hep_loop_timer *limit; /* until the step in hand has had its timeout_ms; NULL = none         */
    bool timed_out;               /* it has                                                             */
    int finals_in_hand;           /* final steps on their way                                           */
    bool finals_sent;
    struct hep_trial *trial;  /* it is only tried; NULL = it is a real one                          */
    int64_t step_began_ms;    /* monotonic: first inner step of the attempt in hand                 */
    int step_began_at;        /* inner step then                                                    */
    int64_t progress_told_ms; /* monotonic: last session.progress event                             */
    json_t *preview;          /* the newest, as clients see it; NULL = none, and when it has ended  */
};

const char *hep_session_state_name(enum hep_session_state state);
const char *hep_step_state_name(enum hep_step_state state);
/* HEP_SESSION_STATE_COUNT if there is none. */
enum hep_session_state hep_session_state_from_name(const char *name);
bool hep_session_is_ended(enum hep_session_state state);

/* A session with empty steps; takes no reference it does not hold itself. NULL when out of memory. */
struct hep_session *hep_session_create(struct hep_engine *engine, struct hep_workflow *workflow);
void hep_session_free(struct hep_session *session); /* NULL is accepted; nothing may be in hand */
/* A session as the store has it, not in the engine's list; not whole: as hep_store_steps. BAD_FILE if its row cannot be
   understood. */
enum hep_status hep_session_load(struct hep_engine *engine, const struct hep_store_session *row, bool whole,
                                 struct hep_session **session, struct hep_error *error);
/* Writes what is dirty inside a transaction; the flags are cleared by hep_session_saved. */
enum hep_status hep_session_save(struct hep_session *session, struct hep_error *error);
void hep_session_saved(struct hep_session *session);
/* Adds the new row and its steps inside a transaction. */
enum hep_status hep_session_insert(struct hep_session *session, struct hep_error *error);
/* Marks a change of what is in its row; a promise stays one until it is saved. */
void hep_session_touch(struct hep_session *session, enum hep_session_dirt dirt);
/* Takes the event by the table. NOT_NOW (nothing has changed) if the state does not have it. */
enum hep_status hep_session_take(struct hep_session *session, enum hep_session_event event, struct hep_error *error);
/* Whether nothing is to be done any more for this step: done, skipped, or failed without ending the session. */
bool hep_step_is_over(const struct hep_session_step *step);
/* Of an ended session that is not in memory: what was not done is pending again, what went wrong stays in errors. */
enum hep_status hep_session_retry(struct hep_session *session, struct hep_error *error);
/* What the workflow says of one of its steps. */
const struct hep_workflow_step *hep_session_what(const struct hep_session *session, int step);
/* Keeps an error among those of the session, oldest first; the newest HEP_SESSION_ERRORS_MAX stay. */
void hep_session_keep_error(struct hep_session *session, int step, const json_t *error);
/* Sets note (printf), which the person sees in the session. */
__attribute__((format(printf, 2, 3))) void hep_session_note(struct hep_session *session, const char *format, ...);

/* run.c: decides what is next: a measure, the plan's room, the next step (outgoing), or the end. */
void hep_session_advance(struct hep_session *session);
/* run.c: after the commit: submits outgoing. */
void hep_session_submit(struct hep_session *session);
/* run.c: the step is over without having been asked: why, for people. */
void hep_session_skip_step(struct hep_session *session, int step, const char *why);
/* run.c: it is to be asked again; its progress is told from 0 on. */
void hep_session_step_back(struct hep_session *session, int step);
/* run.c: takes back what waits; tells inference to stop at the next boundary what it has in hand. */
void hep_session_stop(struct hep_session *session);
/* run.c: of an ended session after the commit: when nothing is in hand any more, frees the arena and sends the final
   steps. True when all of that is over. */
bool hep_session_wind_up(struct hep_session *session);
/* trouble.c: ends in failed with this error; details (may be NULL) are added to it and taken. */
void hep_session_fail(struct hep_session *session, const struct hep_error *error, json_t *details);
/* trouble.c: what is wrong when the step has been in hand for its timeout_ms. */
void hep_session_say_timeout(const struct hep_session *session, int step, struct hep_error *error);
/* trouble.c: an error of the step: tries again later, does earlier steps again, or fails the session. */
void hep_session_trouble(struct hep_session *session, int step, const struct hep_error *error);
/* trouble.c: a request ended with OUTCOME_UNKNOWN: what happened is known when the obituary comes. */
void hep_session_lose(struct hep_session *session, int step, const struct hep_error *error);
/* trouble.c: a domain's process has died. */
void hep_session_on_death(struct hep_session *session, enum hep_role role, json_t *obituary);
/* run.c: progress of the step in hand. */
void hep_session_on_progress(struct hep_session *session, enum hep_role role, int inner, int inner_steps);
/* previews.c: a warning if it asks for previews where its safety policy gives none. */
void hep_session_warn_of_previews(const struct hep_session *session, json_t *problems);
/* previews.c: how one of its images looks now, reported by this domain: kept if the session is at a step of it. */
void hep_session_on_preview(struct hep_session *session, enum hep_role role, const json_t *report);
/* resolve.c: data of a step with its references and its outputs put in. measuring: outputs are left out, references may
   be unplaced, what is not known yet is left out. */
enum hep_status hep_session_resolve(struct hep_session *session, const struct hep_workflow_step *step, bool measuring,
                                    json_t **data, struct hep_error *error);
/* resolve.c: whether the step is to be done. planning: what depends on the results of steps is taken to be. */
enum hep_status hep_session_wants(struct hep_session *session, const struct hep_workflow_step *step, bool planning,
                                  bool *wanted, struct hep_error *error);
/* resolve.c: any value with references. */
enum hep_status hep_session_fill(struct hep_session *session, const json_t *value, json_t **filled,
                                 struct hep_error *error);
/* resolve.c: {type, session, attempt, deadline_ms, data}. NULL when out of memory. data is taken. */
json_t *hep_session_message(const struct hep_session *session, const struct hep_workflow_step *step, int attempt,
                            json_t *data);
/* resolve.c: whether step refers to a field of the earlier step with this id. */
bool hep_step_refers_to(const struct hep_workflow_step *step, const char *id);

/* plan.c: whether the step must wait for the plan, and whether there is one. */
bool hep_step_needs_plan(const struct hep_session *session, const struct hep_workflow_step *step);
bool hep_session_is_planned(const struct hep_session *session);
/* plan.c: asks the next measure, or waits for a domain to be known: *waits. Not when all are in: then the plan is
   complete. On an error session->step is the step that could not be measured. */
enum hep_status hep_session_measure(struct hep_session *session, bool *waits, struct hep_error *error);
/* plan.c: lays the arena out and creates it if it is not there. NO_SHM and others. */
enum hep_status hep_session_place(struct hep_session *session, struct hep_error *error);
void hep_session_unplace(struct hep_session *session); /* unlinks the arena */
/* plan.c: whether the arena of the plan is there; if not, what was written in it is to be done again. */
void hep_session_check_arena(struct hep_session *session);
/* plan.c: memory that the session takes: arena and the largest operation of each domain. 0 before the plan. */
uint64_t hep_session_memory(const struct hep_session *session);
/* plan.c: floating point operations of a step, of all its evaluations. 0 = light, or not known yet. */
double hep_session_flops(const struct hep_session *session, int step);
/* plan.c: of all its steps. */
double hep_session_total_flops(const struct hep_session *session);
/* plan.c: reference to what a step writes; borrowed, NULL = it writes no such field. */
json_t *hep_session_output(const struct hep_session *session, const char *step_id, const char *field);

/* trial.c: plans a session that is in no list and in no store, as if it were to run: loads its model, measures its
   steps. done is called once, maybe at once, with what it would take (hep_session_resources; NULL if it could not be
   planned) and its problems (problem.h, borrowed): warnings, and an error unless it would be accepted; the session is
   the caller's again. */
typedef void hep_session_tried(void *context, json_t *resources, json_t *problems, struct hep_session *session);
void hep_session_try(struct hep_session *session, hep_session_tried *done, void *context);
/* trial.c: of a session that is being tried: its measure has ended, or failed. */
void hep_trial_go_on(struct hep_session *session);
void hep_trial_fail(struct hep_session *session, const struct hep_error *error);

/* Whether a queued session may begin. */
enum hep_room {
    HEP_ROOM_NOW,
    HEP_ROOM_SOON,  /* when sessions that run have ended: nobody overtakes it, or it might wait for ever       */
    HEP_ROOM_LATER, /* nothing of ours is in its way, so others may go first; its timer looks again            */
};
enum hep_room hep_session_room(struct hep_session *session); /* room.c */
/* room.c: floating point operations per second of the device in the type that its model is loaded for. */
double hep_session_rate(const struct hep_session *session);
/* Whether a planned session fits, beside those that run. */
enum hep_fit {
    HEP_FIT_NOW,
    HEP_FIT_WHEN_OTHERS_END,
    HEP_FIT_WHEN_SHM_IS_FREE,
    HEP_FIT_NEVER, /* or it would take too long */
};
/* room.c: error says what is in its way, unless it fits now. */
enum hep_fit hep_session_fit(struct hep_session *session, struct hep_error *error);
/* room.c: {fits, memory_bytes, arena_bytes, weights_bytes, budget_bytes, taken_bytes, shm_total_bytes, shm_free_bytes,
   flops} of a planned session. New reference. */
json_t *hep_session_resources(struct hep_session *session, enum hep_fit fit);
/* room.c: takes its place once it has been planned. False: it has failed, or is back in the queue. */
bool hep_session_claim_room(struct hep_session *session);
/* room.c: how fast a denoising step that is done was. */
void hep_session_learn_rate(struct hep_session *session, int index);
/* room.c: a step found too little shared memory: back to the queue until again_ms have passed. */
void hep_session_lacks_shm(struct hep_session *session, const struct hep_error *error, int64_t again_ms);
/* trouble.c: nothing is asked and it does not begin until ms have passed. */
void hep_session_wait_for(struct hep_session *session, int64_t ms);

/* estimate.c: how long a planned session takes from its first step to its end, ms, alone on this machine: by what its
   operations took before, else by the device's rate. 0 if it is not planned. */
int64_t hep_session_estimate_ms(const struct hep_session *session);
/* estimate.c: how long a step that is done took. */
void hep_session_learn_time(struct hep_session *session, int index);
/* The same of what it took beside its steps, when it ends well. */
void hep_session_learn_rest(struct hep_session *session);
/* view.c: 0 … 1, and ms to the end (-1 = not known). */
double hep_session_progress(const struct hep_session *session);
int64_t hep_session_eta_ms(const struct hep_session *session);
/* view.c: the whole session (session.get) or one line of a list. New reference. */
json_t *hep_time_to_json(int64_t wall_ms); /* view.c: RFC 3339; 0 = null */
json_t *hep_session_to_json(const struct hep_session *session, bool whole);

#endif
