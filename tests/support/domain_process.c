/* See domain_process.h. */
#include "tests/support/domain_process.h"

#include "common/clock.h"
#include "common/operation.h"
#include "common/rpc.h"
#include "common/wire.h"
#include "tests/support/check_status.h"

#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { ARGUMENTS_MAX = 48, REPLY_MS = 120000 };

struct domain_process {
    char domain[24];
    pid_t pid; /* 0: waited for */
    FILE *input, *output;
    char folder[64];
    int report_fd;
    struct hep_rpc_client *client;
};

struct domain_answer {
    sem_t done;
    enum hep_status status;
    json_t *reply;
};

static struct domain_process *start(const char *domain, const char *instance, const char *const *own,
                                    const char *const *arguments, int input, int output, int report)
{
    struct domain_process *process = calloc(1, sizeof *process);
    char binary[512];
    char *argv[ARGUMENTS_MAX] = {binary, "--instance", (char *)(uintptr_t)instance, "--generation", "1"};
    int used = 5;
    posix_spawn_file_actions_t actions;
    snprintf(process->domain, sizeof process->domain, "%s", domain);
    snprintf(binary, sizeof binary, HEP_BIN_DIR "/heptad-%s", domain);
    for (; *own; own++)
        argv[used++] = (char *)(uintptr_t)*own;
    for (; arguments && *arguments; arguments++)
        argv[used++] = (char *)(uintptr_t)*arguments;
    ck_assert_int_lt(used, ARGUMENTS_MAX);
    posix_spawn_file_actions_init(&actions);
    if (input >= 0)
        posix_spawn_file_actions_adddup2(&actions, input, 0);
    if (output >= 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1);
    if (report >= 0)
        posix_spawn_file_actions_adddup2(&actions, report, 3);
    if (!getenv("HEP_TEST_LOG"))
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    ck_assert_int_eq(posix_spawn(&process->pid, binary, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    process->report_fd = -1;
    return process;
}

struct domain_process *domain_start_stdio(const char *domain, const char *instance, const char *const *arguments)
{
    static const char *const own[] = {"--stdio", NULL};
    int to[2], from[2];
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    signal(SIGPIPE, SIG_IGN);
    struct domain_process *process = start(domain, instance, own, arguments, to[0], from[1], -1);
    close(to[0]);
    close(from[1]);
    process->input = fdopen(to[1], "w");
    process->output = fdopen(from[0], "r");
    return process;
}

static void wait_ready(struct domain_process *process)
{
    static char frame[HEP_REPORT_MAX];
    for (bool ready = false; !ready;) {
        ssize_t bytes = recv(process->report_fd, frame, sizeof frame, 0);
        json_t *report = NULL;
        ck_assert_msg(bytes > 0, "%s ended before it was ready", process->domain);
        ck_assert_ok(hep_wire_decode(frame, (size_t)bytes, &report, error));
        ready = strcmp(hep_json_str(report, "kind", ""), "ready") == 0;
        json_decref(report);
    }
}

struct domain_process *domain_start(const char *domain, const char *instance, const char *const *arguments)
{
    char folder[64] = "/tmp/heptad-test-XXXXXX", socket_path[96];
    int report[2];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(socket_path, sizeof socket_path, "%s/socket", folder);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report), 0);
    const char *const own[] = {"--socket", socket_path, "--report-fd", "3", "--state-dir", folder, NULL};
    struct domain_process *process = start(domain, instance, own, arguments, -1, -1, report[1]);
    close(report[1]);
    snprintf(process->folder, sizeof process->folder, "%s", folder);
    process->report_fd = report[0];
    wait_ready(process);
    fcntl(report[0], F_SETFL, O_NONBLOCK);
    ck_assert_ok(hep_rpc_client_create(socket_path, &process->client, error));
    return process;
}

pid_t domain_pid(const struct domain_process *process)
{
    return process->pid;
}

void domain_signal(struct domain_process *process, int number)
{
    ck_assert_int_eq(kill(process->pid, number), 0);
}

int domain_wait(struct domain_process *process)
{
    int status = 0;
    ck_assert_int_eq(waitpid(process->pid, &status, 0), process->pid);
    process->pid = 0;
    return status;
}

void domain_end(struct domain_process *process)
{
    if (!process)
        return;
    hep_rpc_client_destroy(process->client);
    if (process->input)
        fclose(process->input);
    if (process->pid && process->client)
        kill(process->pid, SIGKILL);
    if (process->pid)
        domain_wait(process);
    if (process->output)
        fclose(process->output);
    if (process->report_fd >= 0)
        close(process->report_fd);
    if (process->folder[0]) {
        char path[96];
        snprintf(path, sizeof path, "%s/socket", process->folder);
        unlink(path);
        rmdir(process->folder);
    }
    free(process);
}

/* ---- asking ---------------------------------------------------------------------------------------------------------
 */
static json_t *message(const struct domain_process *process, const char *operation, const char *session, bool measure,
                       json_t *data)
{
    json_t *object =
        json_pack("{s:s, s:s, s:b, s:o}", "request_id", "test", "session", session, "measure", measure, "data", data);
    json_object_set_new(object, "type", json_sprintf("%s.%s", process->domain, operation));
    return object;
}

/* Takes whole. */
static enum hep_status take_reply(json_t *whole, json_t **reply, struct hep_error *error)
{
    struct hep_error said = {0};
    if (hep_json_bool(whole, "success", false)) {
        if (reply)
            *reply = json_incref(json_object_get(whole, "data"));
    } else {
        hep_error_from_json(json_object_get(whole, "error"), &said);
        if (error)
            *error = said;
    }
    json_decref(whole);
    return said.code;
}

static void on_done(void *context, enum hep_status status, const void *frame, size_t bytes)
{
    struct domain_answer *answer = context;
    answer->status = status;
    if (status == HEP_OK)
        answer->status = hep_wire_decode(frame, bytes, &answer->reply, NULL);
    sem_post(&answer->done);
}

static void drop_reports(struct domain_process *process)
{
    static char frame[HEP_REPORT_MAX];
    while (process->report_fd >= 0 && recv(process->report_fd, frame, sizeof frame, 0) > 0)
        continue;
}

struct domain_answer *domain_send(struct domain_process *process, const char *operation, const char *session,
                                  json_t *data)
{
    struct domain_answer *answer = calloc(1, sizeof *answer);
    json_t *object = message(process, operation, session, false, data);
    sem_init(&answer->done, 0, 0);
    if (process->client) {
        void *frame;
        size_t bytes;
        ck_assert_ok(hep_wire_encode(object, &frame, &bytes, error));
        ck_assert_ok(hep_rpc_client_send(process->client, frame, bytes, REPLY_MS, on_done, answer, NULL, error));
        free(frame);
    } else {
        json_dumpf(object, process->input, JSON_COMPACT);
        fputc('\n', process->input);
        fflush(process->input);
    }
    json_decref(object);
    return answer;
}

enum hep_status domain_receive(struct domain_process *process, struct domain_answer *answer, json_t **reply,
                               struct hep_error *error)
{
    if (process->client) {
        sem_wait(&answer->done);
        drop_reports(process);
    } else {
        char *line = NULL;
        size_t room = 0;
        if (getline(&line, &room, process->output) > 0)
            answer->reply = json_loads(line, 0, NULL);
        else
            answer->status = HEP_E_DOMAIN_DOWN;
        free(line);
    }
    enum hep_status status = answer->status;
    if (status != HEP_OK)
        hep_fail(error, status, "%s did not answer", process->domain);
    else
        status = take_reply(answer->reply, reply, error);
    sem_destroy(&answer->done);
    free(answer);
    return status;
}

enum hep_status domain_ask(struct domain_process *process, const char *operation, const char *session, bool measure,
                           json_t *data, json_t **reply, struct hep_error *error)
{
    if (!measure)
        return domain_receive(process, domain_send(process, operation, session, data), reply, error);
    ck_assert_msg(process->client == NULL, "measuring is asked over --stdio");
    json_t *object = message(process, operation, session, true, data);
    json_dumpf(object, process->input, JSON_COMPACT);
    fputc('\n', process->input);
    fflush(process->input);
    json_decref(object);
    struct domain_answer *answer = calloc(1, sizeof *answer);
    sem_init(&answer->done, 0, 0);
    return domain_receive(process, answer, reply, error);
}

json_t *domain_call(struct domain_process *process, const char *operation, const char *session, bool measure,
                    json_t *data)
{
    json_t *reply = NULL;
    struct hep_error error = {0};
    enum hep_status status = domain_ask(process, operation, session, measure, data, &reply, &error);
    ck_assert_msg(status == HEP_OK, "%s.%s: %s: %s", process->domain, operation, hep_status_name(status),
                  error.message);
    return reply;
}

json_t *domain_status(struct domain_process *process)
{
    json_t *reply = domain_call(process, "get_status", "", false, json_object());
    json_t *status = json_incref(json_object_get(reply, "status"));
    json_decref(reply);
    return status;
}

long domain_resident_bytes(const struct domain_process *process)
{
    char path[64];
    long pages = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)process->pid);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%ld %ld", &pages, &resident), 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}
