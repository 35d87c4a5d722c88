/* What an init script asks about the daemon of a state folder, and how it ends it. The instance lock is the witness;
   the pid file is only what is left to tell a death from an orderly end. */
#ifndef HEP_SUPERVISOR_MAIN_HOLDER_H
#define HEP_SUPERVISOR_MAIN_HOLDER_H

struct hep_config;

/* Exit statuses of an init script's `status` (LSB core 20.8). */
enum hep_lsb_status { HEP_LSB_RUNNING = 0, HEP_LSB_DEAD = 1, HEP_LSB_STOPPED = 3, HEP_LSB_UNKNOWN = 4 };

/* Prints one line ("running pid=…") and returns an enum hep_lsb_status. */
int hep_holder_status(const struct hep_config *config);
/* SIGTERM, then SIGKILL 15 s after the drain should have ended; waits until no process of the daemon is left, and
   removes its pid file. Returns 0 if nothing runs any more, also if nothing ran; else 1, and has said why. */
int hep_holder_stop(const struct hep_config *config);

#endif
