/* An instructor's real binary, started by a test: with --stdio (one request at a time), or as the supervisor starts it
   (socket and report channel, many requests at once). Every failure of the test's own making ends the test. */
#ifndef HEP_TESTS_DOMAIN_PROCESS_H
#define HEP_TESTS_DOMAIN_PROCESS_H

#include "common/status.h"

#include <jansson.h>
#include <sys/types.h>

struct domain_process;
struct domain_answer; /* to a request sent without waiting */

/* HEP_BIN_DIR/heptad-<domain> --instance instance --generation 1 --stdio, then the arguments, which end with NULL
 * (NULL: none). */
struct domain_process *domain_start_stdio(const char *domain, const char *instance, const char *const *arguments);
/* The same with --socket and --report-fd, in a folder of its own below /tmp; returns when READY has come. */
struct domain_process *domain_start(const char *domain, const char *instance, const char *const *arguments);
pid_t domain_pid(const struct domain_process *process);
/* Sends a signal. */
void domain_signal(struct domain_process *process, int number);
/* Waits for its end; the status of waitpid. */
int domain_wait(struct domain_process *process);
/* Closes its input (stdio) or ends it with SIGKILL (socket), waits, removes its folder, frees. NULL is accepted. */
void domain_end(struct domain_process *process);

/* One request and its answer. operation: without the domain; session: "" for none; data is taken. OK: *reply, a new
   reference (may be NULL to throw it away). Else the error that the domain answered. DOMAIN_DOWN: it died. */
enum hep_status domain_ask(struct domain_process *process, const char *operation, const char *session, bool measure,
                           json_t *data, json_t **reply, struct hep_error *error);
/* The same, which must succeed: the reply, a new reference. */
json_t *domain_call(struct domain_process *process, const char *operation, const char *session, bool measure,
                    json_t *data);
/* get_status. */
json_t *domain_status(struct domain_process *process);

/* Sends and does not wait. */
struct domain_answer *domain_send(struct domain_process *process, const char *operation, const char *session,
                                  json_t *data);
/* Waits for it; as domain_ask. Frees the answer. */
enum hep_status domain_receive(struct domain_process *process, struct domain_answer *answer, json_t **reply,
                               struct hep_error *error);

/* Bytes of RAM that the process holds. */
long domain_resident_bytes(const struct domain_process *process);

#endif
