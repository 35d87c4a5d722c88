/*
 * Stand-ins for the engine's tests: an event loop with a clock of its own (a timer of five seconds takes no time), and
 * domains without processes behind the functions of supervisor/proc/proc.h. Domains answer after a delay, can be
 * killed, can be told to fail, and check what the engine must never do: two domains with the same core, a tensor in an
 * arena that does not exist, an operation with a session's name that is not its own.
 */
#ifndef HEP_TESTS_ENGINE_FAKE_H
#define HEP_TESTS_ENGINE_FAKE_H

#include "supervisor/engine/core.h"

#define FAKE_TWICE "0.5" /* eta: its plan calls the network twice a step */

enum { FAKE_SWITCH = 5 }; /* where scheduler.switch hands a plan on */

struct fake_rule { /* how a "domain.operation" behaves; the first that fits */
    const char *type;
    int count;            /* how many requests it is for; -1 = all                 */
    enum hep_status code; /* error to answer with; OK = the usual answer           */
    bool dies;            /* the domain dies with it in hand                       */
    int after_steps;      /* of generate: dies after so many denoising steps       */
    const char *only;     /* only for this session; NULL = any                     */
};

struct fake {
    struct hep_loop *loop;
    struct hep_engine *engine;
    char folder[64]; /* state, output                                             */
    char instance[16];
    uint64_t seed;               /* of the delays                                             */
    int cores, cores_all;        /* of device.list; those that there are                      */
    char huge_pages[8];          /* of the device                                             */
    char isa[16], isa_next[16];  /* of the device; of the next process of it                  */
    int configured, cleanups;    /* how often keys were set, and domains cleaned up           */
    int embeddings_found;        /* of model.info                                             */
    int64_t memory_limit;        /* of device.get_memory                                      */
    uint64_t shm_total;          /* of a /dev/shm of its own; 0 = the machine's                */
    double step_ms;              /* that generate says; 0 = nothing                            */
    int64_t weights_bytes;       /* that model.load says                                       */
    uint64_t shm_foreign;        /* of that, taken by others                                   */
    int cancels[HEP_ROLE_COUNT]; /* calls that were ended by `cancel`                        */
    bool down[HEP_ROLE_COUNT];   /* stays away when it dies                                   */
    bool needs_vae;              /* what model.info says of the model                         */
    bool has_checker;            /* the same                                                  */
    bool given_up;               /* those are failed and not tried again                      */
    bool long_cause;             /* why they are down takes 249 bytes                         */
    struct fake_rule rules[8];
    int64_t idle_ms[HEP_ROLE_COUNT];   /* what the process says of the work that it has in hand    */
    int requests[HEP_ROLE_COUNT];      /* real ones (not measured) that were begun                  */
    int overlaps;                      /* heavy requests of two domains at the same time            */
    char order[8192];                  /* "domain.operation:session " of each heavy one, as begun   */
    char released[HEP_SESSION_ID_MAX]; /* that device.release was asked for last                   */
    json_t *steps;                     /* {session: denoising steps that scheduler.plan was asked for} */
    uint64_t weights_generation;       /* of what model.load gives                                  */
    int published_generation;          /* references with an older one are STALE; 0 = any           */
    json_t *deliveries;                /* data of each communication.deliver that was done, and at_ms */
    json_t *generated;                 /* data of each inference.generate that was done                   */
    int http_status;                   /* that receivers of webhooks answer; 0 = 204                */
    int64_t images[3];                 /* offsets of image, upscaled, enhanced in the arena                */
    const char *encoded;               /* which of them was encoded last                                  */
    const char *silent_host;           /* URLs with this in them get no answer; NULL = all do       */
};

/* A folder, an instance name, a log that is silent unless HEP_TEST_LOG is set. */
void fake_setup(struct fake *fake, uint64_t seed);
void fake_teardown(struct fake *fake);
/* Makes the engine and its domains; they get ready within the first turns. */
void fake_start(struct fake *fake, const struct hep_engine_options *changes);
/* As a SIGKILL of the supervisor: everything in memory is gone. */
void fake_crash(struct fake *fake);
/* What other threads have posted, and what descriptors are ready for; waits at most ms of real time. */
void fake_poll(struct fake *fake, int ms);
/* One timer; false if there is none. */
bool fake_turn(struct fake *fake);
/* Turns until the session is in the state (or has ended); its state. */
enum hep_session_state fake_run_until(struct fake *fake, const char *session, enum hep_session_state state);
/* Turns until the domain has been asked once more. */
void fake_run_to(struct fake *fake, enum hep_role role);
/* Turns until nothing is left to do, at most so many. */
void fake_run(struct fake *fake, int turns);
void fake_kill(struct fake *fake, enum hep_role role);
struct fake_rule *fake_rule(struct fake *fake, struct fake_rule rule);
/* workflow.execute of txt2img; the id, or "" with error. */
const char *fake_execute(struct fake *fake, const char *configuration, int priority, const char *key,
                         char id[HEP_SESSION_ID_MAX], struct hep_error *error);
/* workflow.execute, or workflow.validate, of {workflow_id, workflow, configuration, key, callback_url}, by a client.
 *reply: a new reference, the answer; NULL = there is none. */
enum hep_status fake_request(struct fake *fake, const char *request, bool validate, json_t **reply,
                             struct hep_error *error);
/* Requests of a session that the domains have in hand, without measures and what only tells them something. */
int fake_in_hand(const char *session);
/* Sessions that such requests belong to, and that are none of the engine's. */
int fake_strays(const struct fake *fake);
int fake_in_hand_of(enum hep_role role, const char *in_data); /* requests with this text in their data */
bool fake_is_busy(enum hep_role role);                        /* a request is in hand there */
json_t *fake_get(struct fake *fake, const char *session);     /* session.get */
int64_t fake_now(const struct fake *fake);                    /* ms of its clock */
uint64_t fake_random(uint64_t *seed);

#endif
