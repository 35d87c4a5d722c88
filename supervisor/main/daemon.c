/*
 * Classic daemonisation and sd_notify. Called by main only. The notification protocol is one datagram to a socket, so
 * there is nothing to link for it.
 */
#include "supervisor/main/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

static char notify_socket[sizeof(((struct sockaddr_un *)0)->sun_path)];

void hep_notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (path && (path[0] == '/' || path[0] == '@') && strlen(path) < sizeof notify_socket)
        memcpy(notify_socket, path, strlen(path) + 1);
    unsetenv("NOTIFY_SOCKET");
}

void hep_notify(const char *format, ...)
{
    const char *path = notify_socket;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[512];
    va_list arguments;
    if (!path[0])
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* an abstract name */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    close(fd);
}
