/* What the running kernel has to confine with. Called by the confinement itself and by `heptctl doctor`. */
#include "common/confine.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LANDLOCK_ASK_VERSION = 1 };

void hep_confine_look(struct hep_confine_kernel *kernel)
{
    uint32_t trap = SECCOMP_RET_TRAP;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_ASK_VERSION);
    kernel->landlock_abi = abi > 0 ? (int)abi : 0;
    kernel->seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &trap) == 0;
}
