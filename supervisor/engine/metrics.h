/*
 * What is counted: requests and their results, times, sessions, images, what the domains report. The counts are the
 * supervisor's own, so a domain that is restarted does not set them back; they begin anew with the supervisor. Nothing
 * here has a session's name. Called by the engine's files on the loop thread, each at one place; metrics_text.c writes
 * it all down.
 */
#ifndef HEP_SUPERVISOR_ENGINE_METRICS_H
#define HEP_SUPERVISOR_ENGINE_METRICS_H

#include "common/limits.h"
#include "common/roles.h"
#include "common/status.h"
#include "supervisor/engine/exposition.h"
#include "supervisor/engine/session.h"

#include <jansson.h>

enum {
    HEP_METRICS_OPERATIONS_MAX =
        256,                   /* names that are told apart; the rest is counted as "other" of domain "unknown" */
    HEP_METRICS_ROWS_MAX = 16, /* rows of one run of the network                                      */
};
/* Who answered: enum hep_role, or one of these. */
enum { HEP_METRICS_SUPERVISOR = HEP_ROLE_COUNT, HEP_METRICS_UNKNOWN, HEP_METRICS_DOMAINS };

/* One operation. Its name comes from a table of operations, never from a caller. */
struct hep_metrics_operation {
    int domain;              /* see above                                                      */
    char name[HEP_NAME_MAX]; /* "generate"; of the supervisor's own: "session.get"             */
    uint64_t answered[HEP_STATUS_COUNT], measured[HEP_STATUS_COUNT]; /* by result                                  */
    struct hep_histogram queue, step;                                /* seconds, HEP_METRICS_SECONDS               */
};

/* A counter that a process keeps: ours goes on where the one of the process before it ended. */
struct hep_metrics_carried {
    uint64_t total, last; /* last: as the present process reported it */
};

/* What each domain's processes have reported together. */
struct hep_metrics_domain {
    struct hep_metrics_carried cpu_ms, reports_dropped;
    int64_t busy_us;       /* with something in hand, up to busy_since_us                */
    int64_t busy_since_us; /* CLOCK_MONOTONIC; 0 = it has nothing in hand                */
};

struct hep_metrics {
    const struct hep_router *router; /* knows the operations' own names; not owned, NULL = none */
    int64_t created_wall_ms;
    struct hep_metrics_operation *operations[HEP_METRICS_OPERATIONS_MAX];
    size_t operation_count;
    struct hep_metrics_domain domains[HEP_ROLE_COUNT];
    struct hep_metrics_carried rows[HEP_METRICS_ROWS_MAX]; /* runs of the network with i + 1 rows            */
    struct hep_metrics_carried http_requests, http_refused;
    struct hep_histogram session_queue; /* of those that have ended: seconds from acceptance to the first step      */
    struct hep_histogram session_ended[HEP_SESSION_STATE_COUNT]; /* seconds from acceptance to this end             */
    uint64_t accepted, images;
    uint64_t webhooks_delivered, webhooks_failed;
};

extern const struct hep_buckets HEP_METRICS_SECONDS;

struct hep_metrics *hep_metrics_create(void); /* NULL: no memory */
void hep_metrics_destroy(struct hep_metrics *metrics);

/* dispatch.c: a request to a domain is over. message: as it was sent, reply: NULL if none came. waited_us: from when it
   was submitted to when it was sent, or to now; took_us: from then to its end, −1 = it was never sent. */
void hep_metrics_answered(struct hep_metrics *metrics, const json_t *message, enum hep_status status,
                          const json_t *reply, int64_t waited_us, int64_t took_us);
/* A request that was answered by the supervisor itself: one of its own operations, or one that it refused. */
void hep_metrics_own(struct hep_metrics *metrics, int domain, const char *operation, enum hep_status result);
/* engine.c: something has happened (hep_engine_event). */
void hep_metrics_event(struct hep_metrics *metrics, const struct hep_session *session, const char *name);
void hep_metrics_ready(struct hep_metrics *metrics, enum hep_role role);
void hep_metrics_report(struct hep_metrics *metrics, enum hep_role role, const json_t *report);
void hep_metrics_died(struct hep_metrics *metrics, enum hep_role role, const json_t *obituary);
/* A domain has gone over into this state of life ("busy": it has something in hand). */
void hep_metrics_state(struct hep_metrics *metrics, enum hep_role role, const char *state);

/* Time with something in hand so far, of all processes of the domain, µs. */
int64_t hep_metrics_busy_us(const struct hep_metrics *metrics, enum hep_role role);

/* metrics_text.c: everything, malloc'ed. NULL: no memory. */
char *hep_metrics_text(struct hep_engine *engine);
/* metrics_text.c: names of all families, NULL-terminated, for the tests that hold dashboard and manual to them. */
const char *hep_metrics_family(size_t index);

#endif
