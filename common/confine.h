/*
 * Confinement: a domain's process gives up everything that it does not need, so that a mistake in a parser is worth
 * little to whoever finds it. The tables are confine.def and confine_calls.def; docs/confinement.md is the page about
 * it. Called by the skeleton, in two steps:
 *
 *   hep_confine()        before the process has a second thread and before it reads a byte of a stranger's: no new
 *                        privileges, no core files unless they are wanted, limits, Landlock, a first seccomp filter.
 *                        Later threads inherit all of it, whoever starts them.
 *   hep_confine_serve()  before the first request: a second filter on all threads, without what only starting needs.
 *
 * A system call that is not in a domain's row is refused in one of three ways, by what it says about who asks:
 *   EPERM   the table knows it for another domain, or with other arguments: code of ours went the wrong way, and an
 *           error reply is the right end
 *   ENOSYS  the table does not know it: as on an older kernel, which libraries have a way around
 *   SIGSYS  nobody here asks for it (execve, ptrace, mount, …): the process has been taken over and ends; its last log
 *           line, `confine.refused`, names the call, and the obituary carries that line
 * A path without a row is refused with EACCES, by Landlock.
 *
 * A kernel without seccomp or Landlock confines less; a log line says so, the status does, and `heptctl doctor`.
 */
#ifndef HEP_COMMON_CONFINE_H
#define HEP_COMMON_CONFINE_H

#include "common/roles.h"
#include "common/status.h"

#include <stdint.h>

/* HEP_CONFINE_LOG: nothing is refused; system calls that would be are in the kernel's log. Landlock cannot do that and
   stays out. */
enum hep_confine_mode { HEP_CONFINE_OFF, HEP_CONFINE_LOG, HEP_CONFINE_ON };

/* Who is to be confined, and the places that the table names without saying where they are. Borrowed during the call.
 */
struct hep_confine_order {
    enum hep_role role;
    enum hep_confine_mode mode;
    const char *socket;    /* path that it will listen on; NULL = none               */
    const char *state_dir; /* the daemon's state folder                              */
    const char *(*setting)(const void *context, const char *key); /* value of a key; NULL = not given              */
    const void *context;
};

/* What is in force. */
struct hep_confinement {
    enum hep_confine_mode mode;
    bool seccomp; /* a filter is there                                  */
    bool no_new_privs;
    int landlock_abi; /* of the rules that hold; 0 = there are none         */
    uint32_t options; /* groups of system calls that settings add           */
};

/* The mode with this name ("off", "log", "on"); false if there is none. */
bool hep_confine_mode_from_name(const char *name, enum hep_confine_mode *mode);
const char *hep_confine_mode_name(enum hep_confine_mode mode);

/* Confines this process, which must have one thread. *result says what holds. Mode OFF does nothing. It cannot be
   undone, and what is in force after a failure is not known: the process must end. Errors: BAD_CONFIG (a limit that
   cannot be), SYSTEM, NO_MEMORY; a kernel that has no seccomp or no Landlock is none. */
enum hep_status hep_confine(const struct hep_confine_order *order, struct hep_confinement *result,
                            struct hep_error *error);
/* The second step, for every thread of the process; confinement is hep_confine's result. */
enum hep_status hep_confine_serve(enum hep_role role, const struct hep_confinement *confinement,
                                  struct hep_error *error);

/* ---- what the kernel has; asks, changes nothing ------------------------------------------------------------------ */
struct hep_confine_kernel {
    bool seccomp;
    int landlock_abi; /* 0: not there, or not permitted here */
};
void hep_confine_look(struct hep_confine_kernel *kernel);

#endif
