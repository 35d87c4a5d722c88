/* What the files of the skeleton share. Included by instructors/skeleton/ only. */
#ifndef HEP_INSTRUCTORS_SKELETON_INTERNAL_H
#define HEP_INSTRUCTORS_SKELETON_INTERNAL_H

#include "instructors/skeleton/instructor.h"
#include "common/confine.h"
#include "common/envelope.h"
#include "common/rpc.h"
#include "shm/resolve.h"

#include <pthread.h>
#include <stdatomic.h>

enum { FLUSH_MS = 1000 }; /* at the end: how long the last answers and reports may take to leave */
enum { SETTINGS_MAX = 128, MAPPED_MAX = 16, LATENCIES_KEPT = 128, CORES_MAX = 256, HELD_REPORTS_MAX = 256 };
#define IDLE_MAPPINGS_BYTES (64u << 20) /* networks hold their weights themselves */

/* The arguments of common/contract.h. */
struct options {
    const char *instance; /* "default" without a supervisor              */
    uint64_t generation;
    const char *socket; /* NULL in --stdio                             */
    int report_fd;      /* −1 = none                                   */
    const char *state_dir;
    const char *front; /* "" = none                                   */
    struct setting {
        const char *key, *value; /* point into argv                        */
    } settings[SETTINGS_MAX];
    int setting_count;
    bool stdio, describe;
};

/* The report channel: any thread sends; packets that must arrive wait in `held` while the channel is full. */
struct report {
    int fd; /* −1 = none */
    pthread_mutex_t lock;
    struct held_report {
        void *frame;
        size_t bytes;
    } held[HELD_REPORTS_MAX];
    int held_count;
    bool losing;      /* said so already; until all is sent again */
    uint64_t dropped; /* reports that nobody will get             */
};

/* Counts of one operation, guarded by hep_instructor.lock. */
struct operation_stats {
    uint64_t count, errors;
    int64_t cpu_us;                     /* sum                                                */
    int64_t latency_us[LATENCIES_KEPT]; /* ring of the last ones                              */
    char last_error[128];               /* "CODE: message", "" = none so far                  */
};

typedef void answer_function(struct hep_call *call, json_t *reply); /* reply is borrowed */

struct hep_call {
    struct hep_instructor *self;
    json_t *message; /* the whole request; owned                            */
    const struct hep_operation *row;
    bool builtin; /* row is one of builtin_operations                   */
    bool common;  /* an operation that every domain has, maybe its own form of it */
    bool measure;
    enum hep_error_format error_format; /* as the caller wants errors             */
    atomic_bool cancelled;
    const char *request_id, *session; /* into message, "" = none                             */
    int32_t attempt;
    int cores[CORES_MAX]; /* of the lease                                        */
    int core_count;
    void *request, *reply; /* the structs                                         */
    struct mapped {
        const struct hep_tensor_ref *ref;
        struct hep_tensor tensor; /* released when the call is answered                  */
    } mapped[MAPPED_MAX];
    int mapped_count;
    struct text_node {
        struct text_node *next;
        char text[];
    } * texts;
    int64_t arrived_us, started_us, cpu_started_us;
    int32_t step, steps; /* last progress                                       */
    answer_function *answer;
    struct hep_rpc_request *rpc;   /* answer over rpc                                     */
    struct hep_call *next;         /* in a queue                                          */
    struct hep_call *next_in_hand; /* in the list of calls in hand                        */
};

struct hep_instructor {
    const struct hep_instructor_spec *spec;
    struct options options;
    void *state;
    struct hep_resolver *resolver;
    struct report report;
    struct hep_rpc_server *server;
    int64_t started_us;
    atomic_uint_fast64_t progress; /* grows with everything done                          */
    atomic_bool draining, stopping;
    struct hep_confinement confinement; /* what is in force                                    */
    int memory_fd;                      /* /proc/self/statm, −1 = cannot be read               */
    int wake_fd;                        /* eventfd: the loop thread has something to do        */
    pthread_t worker;
    int granted[CORES_MAX]; /* cores of the last lease; worker thread only */
    int granted_count;

    pthread_mutex_t lock; /* guards all below                                    */
    pthread_cond_t work_ready, answered;
    struct hep_call *arrived_head, **arrived_tail; /* nng thread → loop thread                  */
    struct hep_call *heavy_head, **heavy_tail;     /* loop thread → worker thread               */
    int queued;
    bool wake;
    struct hep_call *in_hand;
    int open_calls; /* arrived and not answered yet, wherever they are             */
    uint64_t answered_count;
    struct operation_stats *stats; /* one per row of spec->operations, then the built-in ones */
};

/* calls.c */
struct hep_call *call_create(struct hep_instructor *self, json_t *message, answer_function *answer); /* takes message */
void call_run(struct hep_call *call);          /* finds the operation; runs light ones, queues heavy ones   */
void call_execute(struct hep_call *call);      /* worker thread                                           */
bool call_refuse_ended(struct hep_call *call); /* a heavy one that has not begun and shall not: answered, true */
bool call_is_heavy(const struct hep_call *call);
/* in_hand.c */
void in_hand_enter(struct hep_call *call); /* it begins; reported */
/* It has ended: counted, logged, reported. error: NULL = well. */
void in_hand_leave(struct hep_call *call, const struct hep_error *error);
/* Marks the session's calls in hand and in the queue (request_id "": all), which then end by themselves; returns how
   many. */
int calls_cancel(struct hep_instructor *self, const char *session, const char *request_id);
/* builtin.c */
extern const struct hep_operation builtin_operations[];
void settings_begin(const struct hep_instructor *self); /* what a reload may change, as it is at the start */
json_t *instructor_status(struct hep_instructor *self);
json_t *instructor_description(struct hep_instructor *self);
/* report.c */
void report_init(struct report *report, int fd);
void report_send(struct report *report, json_t *packet, bool must_arrive); /* takes packet */
void report_flush(struct report *report);
uint64_t report_dropped(struct report *report);
/* confinement.c */
enum hep_status confinement_begin(struct hep_instructor *self, struct hep_error *error); /* while there is one thread */
enum hep_status confinement_serve(struct hep_instructor *self, struct hep_error *error); /* before the first request  */
json_t *confinement_json(const struct hep_instructor *self);
/* worker.c */
void *worker_main(void *self);
void worker_push(struct hep_instructor *self, struct hep_call *call);

#endif
