/*
 * What an init script asks about the daemon of a state folder, and how it ends it. The instance lock is the witness;
 * the pid file is only what is left to tell a death from an orderly end.
 */
#ifndef HEP_SUPERVISOR_MAIN_HOLDER_H
#define HEP_SUPERVISOR_MAIN_HOLDER_H

struct hep_config;

/* To add one: a row here, an option in options.c, a case in hep_holder_do(). */
enum hep_errand { HEP_ERRAND_NONE, HEP_ERRAND_STATUS, HEP_ERRAND_RELOAD, HEP_ERRAND_STOP };

/* Exit statuses of an init script (LSB core 20.2): of `status`, and of the others. */
enum hep_lsb_status { HEP_LSB_RUNNING = 0, HEP_LSB_DEAD = 1, HEP_LSB_STOPPED = 3, HEP_LSB_UNKNOWN = 4 };
enum hep_lsb_exit { HEP_LSB_DONE = 0, HEP_LSB_FAILED = 1, HEP_LSB_NOT_RUNNING = 7 };

/* Does one of these and returns the exit status; what it has to say is printed. As root it first becomes the owner of
   the state folder: what is in there can make it signal and remove only what that user could.
   STATUS  prints one line ("running pid=…"); an enum hep_lsb_status.
   RELOAD  SIGHUP; DONE, or NOT_RUNNING.
   STOP    SIGTERM, and SIGKILL 15 s after the drain should have ended; waits until no process of the daemon is left
           and removes its pid file. DONE also if nothing ran. */
int hep_holder_do(enum hep_errand errand, const struct hep_config *config);

#endif
