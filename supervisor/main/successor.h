/*
 * An upgrade in place: the programs that lie where this one was started from take over. The new heptad is asked first
 * whether it accepts the configuration; then the daemon drains, and becomes it, as the same process, so that whoever
 * started it (init, systemd) notices nothing. Sessions go on as after any restart.
 */
#ifndef HEP_SUPERVISOR_MAIN_SUCCESSOR_H
#define HEP_SUPERVISOR_MAIN_SUCCESSOR_H

#include "common/status.h"
#include "supervisor/proc/loop.h"

#include <stdbool.h>

/* Once, first of all: where the program lies, and how it was called. argv must stay. */
void hep_successor_remember(char **argv);

/* Told once, on the loop thread. BAD_CONFIG with the new program's own words, MISSING program: NOT_FOUND. */
typedef void hep_successor_checked(void *context, enum hep_status status, const struct hep_error *error);
/* Runs "heptad … --check" of the program that lies there now. BUSY: one is running. */
enum hep_status hep_successor_check(struct hep_loop *loop, hep_successor_checked *done, void *context,
                                    struct hep_error *error);

/* Becomes it; detached: as a daemon that has left its terminal already. Returns only if that fails. */
enum hep_status hep_successor_become(bool detached, struct hep_error *error);

#endif
