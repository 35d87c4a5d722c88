/* A hep_proc with fake children in folders of its own, and a record of what it told. */
#ifndef HEP_TESTS_PROC_FIXTURE_H
#define HEP_TESTS_PROC_FIXTURE_H

#include "supervisor/proc/config.h"
#include "supervisor/proc/domain.h"
#include "supervisor/proc/lock.h"
#include "supervisor/proc/proc.h"

struct fixture {
    char folder[64]; /* /tmp/heptad-test-XXXXXX: state in it, run in state/run */
    struct hep_config *config;
    struct hep_lock *lock;
    struct hep_loop *loop;
    struct hep_proc *proc;
    int ready[HEP_ROLE_COUNT]; /* how often each was ready                       */
    int died[HEP_ROLE_COUNT];
    json_t *obituary[HEP_ROLE_COUNT]; /* the last one                                   */
    int reports[HEP_ROLE_COUNT];
    bool all_stopped;
    int answers;                   /* requests that have ended                       */
    int answers_when_died;         /* how many had when a process was last buried    */
    enum hep_status answer_status; /* of the last one                                */
    json_t *answer;                /* its reply, NULL without one                    */
};

/* fake: HEPTAD_FAKE of tests/support/fake_child.c. The default limits leave room for a slow machine; that of memory is
 * 1 MiB. Aborts the test if anything fails. Nothing is started yet. */
struct fixture *fixture_create(const char *fake);
struct fixture *fixture_create_with(const char *fake, const char *ready_ms, const char *hang_ms);
/* Starts all and waits until every domain is ready. */
void fixture_start_ready(struct fixture *fixture);
/* Runs the loop until condition() is true; false after timeout_ms. */
bool fixture_run(struct fixture *fixture, bool (*condition)(struct fixture *fixture), int timeout_ms);
/* Sends {type, request_id, session, attempt:1, data:{times}}. */
enum hep_status fixture_ask(struct fixture *fixture, enum hep_role role, const char *type, int times);
/* Stops everything, checks that no process, socket or segment is left, frees. */
void fixture_end(struct fixture *fixture);

const char *fixture_state(struct fixture *fixture, enum hep_role role); /* its life, as text */
bool fixture_all_ready(struct fixture *fixture);
bool fixture_answered(struct fixture *fixture);

#endif
