/* One instructor as a supervised child of a test: its socket, its report channel, what it reported. */
#ifndef HEP_TESTS_SKELETON_FIXTURE_H
#define HEP_TESTS_SKELETON_FIXTURE_H

#include "common/rpc.h"

#include <jansson.h>
#include <sys/types.h>

struct child {
    char folder[64], socket[96];
    pid_t pid;
    int report_fd;   /* our end; −1 = closed                     */
    json_t *reports; /* all so far                               */
    size_t seen;     /* of them, looked at by child_report       */
    struct hep_rpc_client *client;
};

/* Starts binary (in HEP_BIN_DIR or HEP_TEST_DIR) with --socket and a report channel; settings: NULL-terminated
   "key=value". Waits for READY unless told not to. Aborts the test when anything fails. */
void child_start(struct child *child, const char *binary, const char *const *settings, bool wait_ready);
/* The next report of this kind (and operation, if not NULL) that was not looked at yet; NULL after timeout_ms.
 * Borrowed. */
json_t *child_report(struct child *child, const char *kind, const char *operation, int timeout_ms);
/* Sends {type, request_id, session, data…} (JSON text) and waits for the reply; new reference, NULL if there was none.
 */
json_t *child_ask(struct child *child, const char *message, enum hep_status *status);
/* As child_ask, from the text of the answer's data or of its error's code: "" if none. */
const char *child_error(struct child *child, const char *message);
/* Waits for its end; the status of waitpid, −1 after timeout_ms. */
int child_wait(struct child *child, int timeout_ms);
int child_descriptors(const struct child *child);
/* Ends it if it still runs, and checks that it left nothing. */
void child_end(struct child *child);

/* Runs binary with arguments (NULL-terminated, after the name) and this standard input; its standard output in a static
   buffer, its exit status in *status. */
const char *run_tool(const char *binary, const char *const *arguments, const char *input, int *status);

#endif
