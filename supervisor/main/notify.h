/*
 * What systemd is told (sd_notify's protocol: a datagram to a socket, so there is nothing to link for it): ready,
 * reloading, stopping, the first line of the status whenever it changes, more time where it is needed, and the
 * watchdog's food. Without NOTIFY_SOCKET everything here does nothing.
 */
#ifndef HEP_SUPERVISOR_MAIN_NOTIFY_H
#define HEP_SUPERVISOR_MAIN_NOTIFY_H

#include "supervisor/engine/engine.h"

struct hep_notifier;

/* Takes systemd's variables out of the environment, so that no child speaks for us; before anything else here. */
void hep_notify_init(void);
/* "READY=1", "STATUS=…", one or more lines. Never blocks. */
__attribute__((format(printf, 1, 2))) void hep_notify(const char *format, ...);
/* What is being done, and that it may take so long from now, whatever the unit's limits are. */
void hep_notify_busy(const char *what, int64_t ms);
/* Round a reload. */
void hep_notify_reloading(void);
void hep_notify_reloaded(void);

/* READY, then from the loop: the status line when it changes; WATCHDOG=1 three times in the unit's WatchdogSec or more
   often, as long as hep_proc_is_on_time(). *notifier is NULL if nobody listens. */
enum hep_status hep_notifier_create(struct hep_loop *loop, const struct hep_engine *engine, const struct hep_proc *proc,
                                    struct hep_notifier **notifier, struct hep_error *error);
/* The daemon ends, in drain_ms and a while at most: whoever would kill it waits for that. NULL is accepted. */
void hep_notifier_stopping(struct hep_notifier *notifier, int64_t drain_ms);
void hep_notifier_destroy(struct hep_notifier *notifier); /* NULL is accepted */

#endif
