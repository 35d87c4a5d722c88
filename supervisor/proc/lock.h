/*
 * Who may run in a state folder: an OFD lock on <state>/heptad.lock. Its descriptor goes to every child, so the lock is
 * free only when the daemon and all its children are gone. The file also names the holder and its children (pid and
 * start time), for a refusal that says who, and to end children that outlive a killed supervisor.
 */
#ifndef HEP_SUPERVISOR_PROC_LOCK_H
#define HEP_SUPERVISOR_PROC_LOCK_H

#include "common/status.h"

#include <sys/types.h>

struct hep_lock;

enum { HEP_LOCK_WAIT_MS = 3000 /* children of a dead supervisor have so long to go by themselves; then SIGKILL */ };

/* Takes the lock of state_dir (which exists). While a living daemon holds it: NOT_NOW at once, naming its pid. While
   only children of a dead one do: waits, then kills the recorded ones, then NOT_NOW. IO, SYSTEM. */
enum hep_status hep_lock_take(const char *state_dir, struct hep_lock **lock, struct hep_error *error);
/* The descriptor for children. */
int hep_lock_fd(const struct hep_lock *lock);
/* Notes a child (or forgets it) in the lock file; a failure is logged only, the lock itself decides. */
void hep_lock_note_child(struct hep_lock *lock, pid_t pid);
void hep_lock_forget_child(struct hep_lock *lock, pid_t pid);
/* Who holds the lock of a state folder. */
struct hep_lock_view {
    bool held; /* by a daemon, or by children of one that is gone */
    pid_t pid; /* of the daemon, alive; 0 = there is none         */
};
/* Looks, and takes nothing. A folder or file that is not there is held by nobody. Any user who may read the file. */
enum hep_status hep_lock_look(const char *state_dir, struct hep_lock_view *view, struct hep_error *error);
/* Waits until nobody holds it, as hep_lock_take() does, and lets go at once. NOT_NOW: a living daemon has it. */
enum hep_status hep_lock_await_free(const char *state_dir, struct hep_error *error);
/* Gives the lock up. NULL is accepted. */
void hep_lock_destroy(struct hep_lock *lock);

/* Start time of a process in clock ticks since boot; 0 if there is no such process (a zombie is none). */
uint64_t hep_process_start_time(pid_t pid);

#endif
