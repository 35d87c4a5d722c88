/* Becoming a daemon, and telling the shell that waits for the first process how that went. Before any thread. */
#ifndef HEP_SUPERVISOR_MAIN_DAEMON_H
#define HEP_SUPERVISOR_MAIN_DAEMON_H

#include "common/status.h"

/* Forks twice. In the daemon it returns, with *ready_fd for hep_daemon_ready(); the first process does not return: it
   waits for that, prints the reason of a failure and exits with its status. */
enum hep_status hep_daemon_detach(int *ready_fd, struct hep_error *error);
/* The daemon accepts connections: the first process exits with 0. Standard output and error become /dev/null.
   ready_fd −1 (in the foreground) does nothing. */
void hep_daemon_ready(int ready_fd);
/* The daemon cannot start: the first process prints message and exits with exit_status. */
void hep_daemon_refused(int ready_fd, int exit_status, const char *message);

#endif
