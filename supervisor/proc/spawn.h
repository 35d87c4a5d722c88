/*
 * Starts one process by exec (never a bare fork: nng's threads would not survive it) with the descriptors of
 * common/contract.h, and gives back what the supervisor watches it by.
 */
#ifndef HEP_SUPERVISOR_PROC_SPAWN_H
#define HEP_SUPERVISOR_PROC_SPAWN_H

#include "common/status.h"

#include <sys/types.h>

enum { HEP_SPAWN_ARGUMENTS_MAX = 160, HEP_LOCK_FD = 4 /* in the child: holds the instance lock as long as it lives */ };

struct hep_spawn_order {
    const char *program;    /* absolute path                                                         */
    char *const *arguments; /* argv, NULL-terminated                                                 */
    int lock_fd;            /* handed on as descriptor HEP_LOCK_FD; −1 = none                        */
    int64_t core_limit;     /* RLIMIT_CORE, bytes                                                    */
    int64_t open_files;     /* RLIMIT_NOFILE                                                         */
};

/* All descriptors are close-on-exec and non-blocking; the caller closes them. */
struct hep_spawned {
    pid_t pid;     /* leads a process group of its own                                      */
    int pid_fd;    /* readable when it has ended; reap it with waitid(P_PIDFD)              */
    int report_fd; /* our end of the report channel                                         */
    int stderr_fd; /* reads its standard output and error                                   */
};

/* NOT_FOUND: the program is not there or not executable; SYSTEM, NO_MEMORY: the system has no room. */
enum hep_status hep_spawn(const struct hep_spawn_order *order, struct hep_spawned *spawned, struct hep_error *error);

#endif
