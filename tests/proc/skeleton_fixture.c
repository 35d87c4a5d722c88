/* Starting and asking an instructor; called by tests/proc/test_skeleton.c and test_door.c. */
#include "tests/proc/skeleton_fixture.h"

#include "common/clock.h"
#include "common/contract.h"
#include "common/wire.h"
#include "tests/support/check_status.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void path_of(const char *binary, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", HEP_TEST_DIR, binary);
    if (access(path, X_OK) != 0)
        snprintf(path, size, "%s/%s", HEP_BIN_DIR, binary);
}

void child_start(struct child *child, const char *binary, const char *const *settings, bool wait_ready)
{
    posix_spawn_file_actions_t actions;
    char path[512], *arguments[64] = {(char *)(uintptr_t)binary,
                                      "--instance",
                                      "skeltest",
                                      "--generation",
                                      "7",
                                      "--socket",
                                      child->socket,
                                      "--report-fd",
                                      "3",
                                      "--state-dir",
                                      child->folder};
    int ends[2], count = 11;
    memset(child, 0, sizeof *child);
    snprintf(child->folder, sizeof child->folder, "/tmp/heptad-skeleton-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(child->folder));
    snprintf(child->socket, sizeof child->socket, "%s/domain.sock", child->folder);
    for (; settings && *settings; settings++) {
        bool option = strncmp(*settings, "--", 2) == 0; /* "--front=PATH" */
        const char *equals = strchr(*settings, '=');
        arguments[count++] = option ? strndup(*settings, (size_t)(equals - *settings)) : "--set";
        arguments[count++] = (char *)(uintptr_t)(option ? equals + 1 : *settings);
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    posix_spawn_file_actions_init(&actions);
    if (ends[1] == HEP_REPORT_FD)
        fcntl(ends[1], F_SETFD, 0);
    else
        posix_spawn_file_actions_adddup2(&actions, ends[1], HEP_REPORT_FD);
    path_of(binary, path, sizeof path);
    ck_assert_int_eq(posix_spawn(&child->pid, path, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    child->report_fd = ends[0];
    child->reports = json_array();
    if (wait_ready)
        ck_assert_ptr_nonnull(child_report(child, "ready", NULL, 20000));
    ck_assert_ok(hep_rpc_client_create(child->socket, &child->client, error));
}

/* false: nothing more comes. */
static bool read_report(struct child *child, int timeout_ms)
{
    static char packet[256 << 10];
    struct pollfd state = {.fd = child->report_fd, .events = POLLIN};
    json_t *report = NULL;
    if (poll(&state, 1, timeout_ms) != 1)
        return false;
    ssize_t bytes = recv(child->report_fd, packet, sizeof packet, 0);
    if (bytes <= 0)
        return false;
    ck_assert_ok(hep_wire_decode(packet, (size_t)bytes, &report, error));
    json_array_append_new(child->reports, report);
    return true;
}

json_t *child_report(struct child *child, const char *kind, const char *operation, int timeout_ms)
{
    int64_t until = hep_now_ms() + timeout_ms;
    do {
        for (; child->seen < json_array_size(child->reports); child->seen++) {
            json_t *report = json_array_get(child->reports, child->seen);
            if (strcmp(hep_json_str(report, "kind", ""), kind) == 0 &&
                (!operation || strcmp(hep_json_str(report, "operation", ""), operation) == 0)) {
                child->seen++;
                return report;
            }
        }
        int64_t left = until - hep_now_ms();
        if (left <= 0 || !read_report(child, (int)left))
            return NULL;
    } while (true);
}

json_t *child_ask(struct child *child, const char *message, enum hep_status *status)
{
    json_t *request = json_loads(message, 0, NULL), *reply = NULL;
    void *frame, *answer = NULL;
    size_t bytes, answer_bytes;
    ck_assert_msg(request != NULL, "%s", message);
    ck_assert_ok(hep_wire_encode(request, &frame, &bytes, error));
    *status = hep_rpc_client_call(child->client, frame, bytes, 20000, &answer, &answer_bytes, NULL);
    if (*status == HEP_OK)
        ck_assert_ok(hep_wire_decode(answer, answer_bytes, &reply, error));
    free(frame);
    free(answer);
    json_decref(request);
    return reply;
}

const char *child_error(struct child *child, const char *message)
{
    static char code[64];
    enum hep_status status;
    json_t *reply = child_ask(child, message, &status);
    snprintf(code, sizeof code, "%s",
             status == HEP_OK ? hep_json_str(json_object_get(reply, "error"), "code", "") : hep_status_name(status));
    json_decref(reply);
    return code;
}

int child_wait(struct child *child, int timeout_ms)
{
    int status;
    for (int64_t until = hep_now_ms() + timeout_ms; hep_now_ms() < until; usleep(1000))
        if (waitpid(child->pid, &status, WNOHANG) == child->pid) {
            child->pid = 0;
            return status;
        }
    return -1;
}

int child_descriptors(const struct child *child)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)child->pid);
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

void child_end(struct child *child)
{
    hep_rpc_client_destroy(child->client);
    if (child->report_fd >= 0)
        close(child->report_fd);
    if (child->pid > 0 && child_wait(child, 2000 * HEP_TEST_SLOW) == -1) { /* the end of its report channel is enough */
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
        ck_abort_msg("the child did not end");
    }
    json_decref(child->reports);
    unlink(child->socket);
    ck_assert_int_eq(rmdir(child->folder), 0);
}

const char *run_tool(const char *binary, const char *const *arguments, const char *input, int *status)
{
    static char output[1 << 20];
    posix_spawn_file_actions_t actions;
    char path[512], *all[16] = {(char *)(uintptr_t)binary};
    int in[2], out[2], count = 1;
    size_t used = 0;
    ssize_t got;
    pid_t pid;
    while (*arguments)
        all[count++] = (char *)(uintptr_t)*arguments++;
    ck_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    path_of(binary, path, sizeof path);
    ck_assert_int_eq(posix_spawn(&pid, path, &actions, NULL, all, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    ck_assert_int_eq(write(in[1], input, strlen(input)), strlen(input)); /* fits in a pipe */
    close(in[1]);
    while ((got = read(out[0], output + used, sizeof output - 1 - used)) > 0)
        used += (size_t)got;
    output[used] = '\0';
    close(out[0]);
    waitpid(pid, status, 0);
    return output;
}
