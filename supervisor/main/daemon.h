/*
 * Becoming a daemon, and telling whoever started us how that went: the shell that waits for the first process, and
 * systemd. Everything here happens before any thread is started, except the notifications.
 */
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

/* Takes NOTIFY_SOCKET out of the environment, so that no child speaks for us; before the first hep_notify. */
void hep_notify_init(void);
/* Tells systemd (sd_notify's protocol): "READY=1", "STATUS=…", "STOPPING=1", one or more lines. Nothing without
   NOTIFY_SOCKET; never blocks. */
__attribute__((format(printf, 1, 2))) void hep_notify(const char *format, ...);

#endif
