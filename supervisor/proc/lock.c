/*
 * The instance lock. Called by main before anything else is touched in the state folder, and by child.c for each
 * process that it starts and buries. Pid files decide nothing here: a pid counts only together with its start time.
 */
#include "supervisor/proc/lock.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHILDREN_MAX = 64, FILE_MAX = 8192, POLL_MS = 20, AFTER_KILL_MS = 3000 };

struct holder {
    pid_t pid;
    uint64_t start_time;
};

struct hep_lock {
    int fd;
    struct holder self;
    struct holder children[CHILDREN_MAX]; /* pid 0 = free */
};

uint64_t hep_process_start_time(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    char *at = strrchr(text, ')'); /* the name may hold anything; the state is field 3, the start time field 22 */
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
        return 0;
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

static bool is_alive(const struct holder *holder)
{
    return holder->pid > 0 && holder->start_time != 0 && hep_process_start_time(holder->pid) == holder->start_time;
}

/* ---- the file: "heptad <pid> <start time>", then "child <pid> <start time>" lines
 * -------------------------------------- */
static void write_file(const struct hep_lock *lock)
{
    char text[FILE_MAX];
    size_t used =
        (size_t)snprintf(text, sizeof text, "heptad %d %" PRIu64 "\n", (int)lock->self.pid, lock->self.start_time);
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (lock->children[i].pid > 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "child %d %" PRIu64 "\n",
                                     (int)lock->children[i].pid, lock->children[i].start_time);
    if (pwrite(lock->fd, text, used, 0) != (ssize_t)used || ftruncate(lock->fd, (off_t)used) != 0)
        hep_log(HEP_WARNING, "lock.not_written", "error=%s", strerror(errno));
}

/* What the file says; holders[0] is the daemon. Returns how many. */
static int read_file(int fd, struct holder holders[CHILDREN_MAX + 1])
{
    char text[FILE_MAX];
    ssize_t length = pread(fd, text, sizeof text - 1, 0);
    int count = 0;
    text[length > 0 ? length : 0] = '\0';
    for (char *line = text, *end; *line && (end = strchr(line, '\n')) && count <= CHILDREN_MAX; line = end + 1) {
        int pid;
        uint64_t start_time;
        if (sscanf(line, count == 0 ? "heptad %d %" SCNu64 : "child %d %" SCNu64, &pid, &start_time) == 2)
            holders[count++] = (struct holder){pid, start_time};
        else
            break;
    }
    return count;
}

/* ---- taking it
 * --------------------------------------------------------------------------------------------------------- */
static bool try_lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole) == 0;
}

static enum hep_status refuse(const char *state_dir, const struct holder *holder, struct hep_error *error)
{
    hep_fail(error, HEP_E_NOT_NOW, "heptad already runs in %s as process %d", state_dir, (int)holder->pid);
    return hep_hint(error,
                    "talk to it with `heptctl`, stop it with `heptctl stop`, or give another folder with --state");
}

static void kill_recorded(int fd)
{
    struct holder holders[CHILDREN_MAX + 1];
    int count = read_file(fd, holders);
    for (int i = 1; i < count; i++)
        if (is_alive(&holders[i])) {
            hep_log(HEP_WARNING, "lock.killed_left_over", "pid=%d", (int)holders[i].pid);
            kill(holders[i].pid, SIGKILL);
        }
}

/* The lock is held, but not by whom the file names, or by nobody that is named yet: wait for it. */
static enum hep_status wait_for(int fd, const char *state_dir, struct hep_error *error)
{
    int64_t started = hep_now_ms();
    bool told = false, killed = false;
    while (!try_lock(fd)) {
        struct holder holders[CHILDREN_MAX + 1];
        int64_t waited = hep_now_ms() - started;
        if (read_file(fd, holders) > 0 && is_alive(&holders[0]))
            return refuse(state_dir, &holders[0], error);
        if (!told && waited > 200) {
            hep_log(HEP_NOTICE, "lock.waiting", "state_dir=%s reason=\"processes of a daemon that died still run\"",
                    state_dir);
            told = true;
        }
        if (!killed && waited > HEP_LOCK_WAIT_MS) {
            kill_recorded(fd);
            killed = true;
        }
        if (waited > HEP_LOCK_WAIT_MS + AFTER_KILL_MS) {
            hep_fail(error, HEP_E_NOT_NOW, "%s/heptad.lock is held by processes of a daemon that is gone", state_dir);
            return hep_hint(error, "find them with `fuser %s/heptad.lock` and end them", state_dir);
        }
        usleep(POLL_MS * 1000);
    }
    return HEP_OK;
}

enum hep_status hep_lock_take(const char *state_dir, struct hep_lock **lock, struct hep_error *error)
{
    char path[4200];
    struct hep_lock *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the lock");
    snprintf(path, sizeof path, "%s/heptad.lock", state_dir);
    made->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (made->fd < 0) {
        int saved_errno = errno;
        free(made);
        return hep_fail_errno(error, saved_errno, "opening %s", path);
    }
    enum hep_status status = wait_for(made->fd, state_dir, error);
    if (status != HEP_OK) {
        hep_lock_destroy(made);
        return status;
    }
    made->self = (struct holder){getpid(), hep_process_start_time(getpid())};
    write_file(made);
    *lock = made;
    return HEP_OK;
}

enum hep_status hep_lock_look(const char *state_dir, struct hep_lock_view *view, struct hep_error *error)
{
    char path[4200];
    struct holder holders[CHILDREN_MAX + 1];
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(path, sizeof path, "%s/heptad.lock", state_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        *view = (struct hep_lock_view){false, 0};
        return HEP_OK;
    }
    if (fd < 0)
        return hep_fail_errno(error, errno, "opening %s", path);
    int asked = fcntl(fd, F_OFD_GETLK, &whole), saved_errno = errno;
    bool alive = read_file(fd, holders) > 0 && is_alive(&holders[0]);
    close(fd);
    if (asked != 0)
        return hep_fail_errno(error, saved_errno, "asking who holds %s", path);
    bool held = whole.l_type != F_UNLCK;
    *view = (struct hep_lock_view){held, held && alive ? holders[0].pid : 0};
    return HEP_OK;
}

enum hep_status hep_lock_await_free(const char *state_dir, struct hep_error *error)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/heptad.lock", state_dir);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? HEP_OK : hep_fail_errno(error, errno, "opening %s", path);
    enum hep_status status = wait_for(fd, state_dir, error);
    close(fd);
    return status;
}

int hep_lock_fd(const struct hep_lock *lock)
{
    return lock->fd;
}

void hep_lock_note_child(struct hep_lock *lock, pid_t pid)
{
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (lock->children[i].pid == 0) {
            lock->children[i] = (struct holder){pid, hep_process_start_time(pid)};
            write_file(lock);
            return;
        }
}

void hep_lock_forget_child(struct hep_lock *lock, pid_t pid)
{
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (lock->children[i].pid == pid) {
            lock->children[i] = (struct holder){0, 0};
            write_file(lock);
            return;
        }
}

void hep_lock_destroy(struct hep_lock *lock)
{
    if (!lock)
        return;
    close(lock->fd);
    free(lock);
}
