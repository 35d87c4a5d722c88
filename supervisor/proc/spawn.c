/*
 * posix_spawn with the descriptors, signals and limits that an instructor expects. Called by child.c only. The child
 * gets 0 = /dev/null, 1 and 2 = the pipe, 3 = the report channel, 4 = the instance lock, and nothing else.
 */
#include "supervisor/proc/spawn.h"

#include "common/contract.h"
#include "common/limits.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FIRST_SAFE_FD = 10 /* ends that are given to the child are above all its descriptors, so that dup2 cannot hit one */
};

struct ends {
    int report[2], output[2]; /* [0] ours, [1] the child's */
    int lock;
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool move_up(int *fd)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
    if (moved < 0)
        return false;
    close(*fd);
    *fd = moved;
    return true;
}

static enum hep_status open_ends(struct ends *ends, int lock_fd, struct hep_error *error)
{
    int room = 2 * (int)HEP_REPORT_MAX;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends->report) != 0)
        return hep_fail_errno(error, errno, "making a report channel");
    if (pipe2(ends->output, O_CLOEXEC) != 0)
        return hep_fail_errno(error, errno, "making a pipe");
    setsockopt(ends->report[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    if (!move_up(&ends->report[1]) || !move_up(&ends->output[1]) ||
        (lock_fd >= 0 && (ends->lock = fcntl(lock_fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD)) < 0))
        return hep_fail_errno(error, errno, "moving a descriptor");
    if (fcntl(ends->report[0], F_SETFL, O_NONBLOCK) != 0 || fcntl(ends->output[0], F_SETFL, O_NONBLOCK) != 0)
        return hep_fail_errno(error, errno, "preparing a descriptor");
    return HEP_OK;
}

static int add_descriptors(posix_spawn_file_actions_t *actions, const struct ends *ends)
{
    int code = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (code == 0)
        code = posix_spawn_file_actions_adddup2(actions, ends->output[1], STDOUT_FILENO);
    if (code == 0)
        code = posix_spawn_file_actions_adddup2(actions, ends->output[1], STDERR_FILENO);
    if (code == 0)
        code = posix_spawn_file_actions_adddup2(actions, ends->report[1], HEP_REPORT_FD);
    if (code == 0 && ends->lock >= 0)
        code = posix_spawn_file_actions_adddup2(actions, ends->lock, HEP_LOCK_FD);
    if (code == 0)
        code = posix_spawn_file_actions_addclosefrom_np(actions, ends->lock >= 0 ? HEP_LOCK_FD + 1 : HEP_REPORT_FD + 1);
    return code;
}

/* Every signal as at exec of a fresh program, none blocked; a process group, so that Ctrl-C reaches the supervisor
 * only. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int code =
        posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (code == 0)
        code = posix_spawnattr_setsigmask(attributes, &none);
    if (code == 0)
        code = posix_spawnattr_setsigdefault(attributes, &all);
    if (code == 0)
        code = posix_spawnattr_setpgroup(attributes, 0);
    return code;
}

static int start(const struct hep_spawn_order *order, const struct ends *ends, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int code = posix_spawn_file_actions_init(&actions);
    if (code != 0)
        return code;
    code = posix_spawnattr_init(&attributes);
    if (code == 0) {
        code = add_descriptors(&actions, ends);
        if (code == 0)
            code = set_attributes(&attributes);
        if (code == 0)
            code = posix_spawn(pid, order->program, &actions, &attributes, order->arguments, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

/* Limits that a child has from its first instruction: it inherits our soft ones, which are changed around the start;
   the hard ones follow by prlimit(). The system's own hard limit may be lower than what is asked for. */
struct limit {
    __rlimit_resource_t resource;
    rlim_t wanted;
    struct rlimit ours;
};

static void enter_limit(struct limit *limit)
{
    if (getrlimit(limit->resource, &limit->ours) != 0)
        limit->ours = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    if (limit->wanted > limit->ours.rlim_max)
        limit->wanted = limit->ours.rlim_max;
    setrlimit(limit->resource, &(struct rlimit){limit->wanted, limit->ours.rlim_max});
}

static void leave_limit(const struct limit *limit, pid_t pid)
{
    setrlimit(limit->resource, &limit->ours);
    if (pid > 0 && prlimit(pid, limit->resource, &(struct rlimit){limit->wanted, limit->wanted}, NULL) != 0 &&
        errno != ESRCH)
        hep_log(HEP_WARNING, "domain.limit_refused", "pid=%d resource=%d error=%s", (int)pid, (int)limit->resource,
                strerror(errno));
}

enum hep_status hep_spawn(const struct hep_spawn_order *order, struct hep_spawned *spawned, struct hep_error *error)
{
    struct ends ends = {{-1, -1}, {-1, -1}, -1};
    pid_t pid = -1;
    int pid_fd = -1;
    enum hep_status status = HEP_OK;
    if (access(order->program, X_OK) != 0) {
        hep_fail(error, HEP_E_NOT_FOUND, "%s: %s", order->program, strerror(errno));
        hep_hint(error, "see domains.bin_dir in the configuration");
        return HEP_E_NOT_FOUND;
    }
    HEP_TRY_DONE(status, open_ends(&ends, order->lock_fd, error));
    struct limit core = {.resource = RLIMIT_CORE, .wanted = (rlim_t)order->core_limit};
    struct limit files = {.resource = RLIMIT_NOFILE, .wanted = (rlim_t)order->open_files};
    enter_limit(&core);
    enter_limit(&files);
    int code = start(order, &ends, &pid);
    leave_limit(&core, code == 0 ? pid : 0);
    leave_limit(&files, code == 0 ? pid : 0);
    if (code != 0) {
        status = hep_fail_errno(error, code, "starting %s", order->program);
        goto done;
    }
    pid_fd = pidfd_open(pid, 0);
    if (pid_fd < 0) {
        status = hep_fail_errno(error, errno, "watching process %d", (int)pid);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        goto done;
    }
    *spawned = (struct hep_spawned){pid, pid_fd, ends.report[0], ends.output[0]};
    ends.report[0] = ends.output[0] = -1;
done:
    close_end(&ends.report[0]);
    close_end(&ends.report[1]);
    close_end(&ends.output[0]);
    close_end(&ends.output[1]);
    close_end(&ends.lock);
    return status;
}
