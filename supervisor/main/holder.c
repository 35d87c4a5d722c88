/*
 * Finds the daemon that holds the lock of a state folder and says so, or ends it. Called by main for --status and
 * --stop. A pid is used only together with its start time and through a descriptor of the process, so nobody else can
 * be hit.
 */
#include "supervisor/main/holder.h"

#include "common/limits.h"
#include "supervisor/proc/config.h"
#include "supervisor/proc/lock.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BEYOND_DRAIN_MS = 15000, AFTER_KILL_MS = 60000 /* memory is given back */ };

static const char *state_of(const struct hep_config *config)
{
    return hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR);
}

static int complain(const struct hep_error *error, int status)
{
    fprintf(stderr, "heptad: %s\n", error->message);
    return status;
}

static enum hep_status become_owner(const char *state, struct hep_error *error)
{
    struct stat about;
    if (geteuid() != 0 || stat(state, &about) != 0 || about.st_uid == 0)
        return HEP_OK;
    if (setgroups(0, NULL) != 0 || setresgid(about.st_gid, about.st_gid, about.st_gid) != 0 ||
        setresuid(about.st_uid, about.st_uid, about.st_uid) != 0)
        return hep_fail_errno(error, errno, "becoming user %u, the owner of %s", (unsigned)about.st_uid, state);
    return HEP_OK;
}

static int look(const struct hep_config *config)
{
    struct hep_lock_view view;
    struct hep_error error = {0};
    const char *pid_file = hep_config_text(config, HEP_CONFIG_INSTANCE_PID_FILE);
    if (hep_lock_look(state_of(config), &view, &error) != HEP_OK)
        return complain(&error, HEP_LSB_UNKNOWN);
    if (view.pid > 0)
        return printf("running pid=%d\n", (int)view.pid), HEP_LSB_RUNNING;
    if (access(pid_file, F_OK) != 0)
        return puts(view.held ? "ended; its processes are ending" : "not running"), HEP_LSB_STOPPED;
    printf("dead, %s is left%s\n", pid_file, view.held ? "; its processes are ending" : "");
    return HEP_LSB_DEAD;
}

/* A descriptor of the daemon that is alive; −1: it has just ended. */
static int open_daemon(const char *state, pid_t pid)
{
    struct hep_lock_view view;
    int fd = pidfd_open(pid, 0);
    if (fd >= 0 && (hep_lock_look(state, &view, NULL) != HEP_OK || view.pid != pid)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool await_end(int pid_fd, int64_t ms)
{
    struct pollfd process = {.fd = pid_fd, .events = POLLIN};
    return poll(&process, 1, (int)ms) == 1;
}

static enum hep_status end_daemon(const struct hep_config *config, pid_t pid, struct hep_error *error)
{
    int64_t allowed = hep_config_int(config, HEP_CONFIG_INSTANCE_DRAIN_MS) + BEYOND_DRAIN_MS;
    enum hep_status status = HEP_OK;
    int fd = open_daemon(state_of(config), pid);
    if (fd < 0)
        return HEP_OK;
    if (pidfd_send_signal(fd, SIGTERM, NULL, 0) != 0 && errno != ESRCH) {
        status = hep_fail_errno(error, errno, "asking process %d to end", (int)pid);
    } else if (!await_end(fd, allowed)) {
        fprintf(stderr,
                "heptad: process %d has not ended in %" PRId64
                " s; it is killed, and its sessions go on at the next start\n",
                (int)pid, allowed / 1000);
        pidfd_send_signal(fd, SIGKILL, NULL, 0);
        if (!await_end(fd, AFTER_KILL_MS))
            status = hep_fail(error, HEP_E_TIMEOUT, "process %d was killed and has not ended", (int)pid);
    }
    close(fd);
    return status;
}

static int stop(const struct hep_config *config)
{
    struct hep_lock_view view;
    struct hep_error error = {0};
    const char *state = state_of(config);
    if (hep_lock_look(state, &view, &error) != HEP_OK)
        return complain(&error, HEP_LSB_FAILED);
    if (view.pid > 0 && end_daemon(config, view.pid, &error) != HEP_OK)
        return complain(&error, HEP_LSB_FAILED);
    if (hep_lock_await_free(state, &error) != HEP_OK)
        return complain(&error, HEP_LSB_FAILED);
    unlink(hep_config_text(config, HEP_CONFIG_INSTANCE_PID_FILE)); /* there only if it was killed */
    return HEP_LSB_DONE;
}

static int reload(const struct hep_config *config)
{
    struct hep_lock_view view;
    struct hep_error error = {0};
    if (hep_lock_look(state_of(config), &view, &error) != HEP_OK)
        return complain(&error, HEP_LSB_FAILED);
    int fd = view.pid > 0 ? open_daemon(state_of(config), view.pid) : -1;
    if (fd < 0)
        return puts("not running"), HEP_LSB_NOT_RUNNING;
    int sent = pidfd_send_signal(fd, SIGHUP, NULL, 0);
    close(fd);
    return sent == 0 ? HEP_LSB_DONE : HEP_LSB_FAILED;
}

int hep_holder_do(enum hep_errand errand, const struct hep_config *config)
{
    struct hep_error error = {0};
    if (become_owner(state_of(config), &error) != HEP_OK)
        return complain(&error, errand == HEP_ERRAND_STATUS ? (int)HEP_LSB_UNKNOWN : (int)HEP_LSB_FAILED);
    switch (errand) {
    case HEP_ERRAND_STATUS:
        return look(config);
    case HEP_ERRAND_RELOAD:
        return reload(config);
    case HEP_ERRAND_STOP:
        return stop(config);
    case HEP_ERRAND_NONE:
        break;
    }
    return HEP_LSB_FAILED;
}
