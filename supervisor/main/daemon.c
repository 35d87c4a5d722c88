/* Classic daemonisation. Called by main only. */
#include "supervisor/main/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_FD = STDERR_FILENO + 1 };

/* What the daemon writes to the first process: an exit status byte, then the reason as text. */
static _Noreturn void wait_for_daemon(int fd)
{
    char text[2048];
    size_t used = 0;
    ssize_t got;
    while (used < sizeof text - 1 &&
           ((got = read(fd, text + used, sizeof text - 1 - used)) > 0 || (got < 0 && errno == EINTR)))
        used += got > 0 ? (size_t)got : 0;
    text[used] = '\0';
    if (used == 0) {
        fprintf(stderr, "heptad: the daemon died while it was starting; see its log\n");
        _exit(1);
    }
    if (used > 1)
        fprintf(stderr, "heptad: %s\n", text + 1);
    _exit((unsigned char)text[0]);
}

enum hep_status hep_daemon_detach(int *ready_fd, struct hep_error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return hep_fail_errno(error, errno, "making a pipe");
    fflush(NULL);
    pid_t first = fork();
    if (first < 0)
        return hep_fail_errno(error, errno, "fork");
    if (first > 0) {
        close(ends[1]);
        waitpid(first, NULL, 0);
        wait_for_daemon(ends[0]);
    }
    close(ends[0]);
    setsid();
    pid_t second = fork(); /* not a session leader: no terminal can become ours */
    if (second != 0)
        _exit(second < 0 ? 1 : 0);
    umask(027);
    if (ends[1] != FIRST_FD && dup3(ends[1], FIRST_FD, O_CLOEXEC) != FIRST_FD)
        return hep_fail_errno(error, errno, "moving a descriptor");
    close_range(FIRST_FD + 1, ~0u, 0); /* what the shell that started us had open is not ours */
    if (chdir("/") != 0)
        return hep_fail_errno(error, errno, "chdir to /");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        return hep_fail_errno(error, errno, "opening /dev/null");
    close(null);
    *ready_fd = FIRST_FD;
    return HEP_OK;
}

void hep_daemon_ready(int ready_fd)
{
    if (ready_fd < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(null);
    }
    if (write(ready_fd, "\0", 1) != 1)
        errno = 0; /* whoever waited is gone; the daemon goes on */
    close(ready_fd);
}

void hep_daemon_refused(int ready_fd, int exit_status, const char *message)
{
    char text[2048];
    if (ready_fd < 0) {
        fprintf(stderr, "heptad: %s\n", message);
        return;
    }
    int length = snprintf(text, sizeof text, "%c%s", exit_status, message);
    if (length >= (int)sizeof text)
        length = sizeof text - 1;
    if (write(ready_fd, text, (size_t)length) != length)
        errno = 0;
    close(ready_fd);
}
