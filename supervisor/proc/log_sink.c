/* The descriptor that log lines end in. Called by main, at a reload, and by lines.c for what children say. */
#include "supervisor/proc/log_sink.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int sink = STDERR_FILENO;

void hep_log_sink_close(void)
{
    hep_log_set_fd(STDERR_FILENO);
    if (sink != STDERR_FILENO)
        close(sink);
    sink = STDERR_FILENO;
}

enum hep_status hep_log_sink_open(const char *path, struct hep_error *error)
{
    int fd = STDERR_FILENO;
    if (path[0]) {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
        if (fd < 0)
            return hep_fail_errno(error, errno, "opening the log file %s", path);
    }
    hep_log_sink_close();
    sink = fd;
    hep_log_set_fd(fd);
    return HEP_OK;
}

void hep_log_sink_line(const char *line)
{
    struct pollfd state = {.fd = sink, .events = POLLOUT};
    struct iovec parts[] = {{(void *)(uintptr_t)line, strlen(line)}, {(void *)(uintptr_t) "\n", 1}};
    if (poll(&state, 1, 0) == 1 && (state.revents & POLLOUT) && writev(sink, parts, 2) < 0)
        return; /* lost, as the contract says */
}
