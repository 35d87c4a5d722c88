/*
 * A stand-in for an instructor that speaks the contract of common/contract.h and misbehaves on request, for the tests
 * of supervisor/proc. Its domain is the end of the name that it was started by (heptad-<domain>); what it does is in
 * the environment: HEPTAD_FAKE="device=never_ready model=exit_125 …". To add a behaviour: a row in the table below.
 *
 * Operations: ping and echo answer; crash dies by SIGSEGV and hang stops making progress, both with the operation in
 * hand; slow reports progress for as many times as data.times says, every 100 ms, then answers; grow reports data.times
 * bytes more of memory while it is in hand.
 */
#include "common/build.h"
#include "common/clock.h"
#include "common/contract.h"
#include "common/rpc.h"
#include "common/wire.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *domain, *socket_path, *state_dir, *build;
static uint64_t generation;
static int64_t counter;
static int64_t hang_deadline_ms = 1000;
static bool deaf;                       /* does not end on SIGTERM */
static _Atomic int64_t resident = 4096; /* grows on the server's thread, is reported by the main one */

static void report(json_t *packet)
{
    void *frame;
    size_t bytes;
    if (hep_wire_encode(packet, &frame, &bytes, NULL) == HEP_OK) {
        send(HEP_REPORT_FD, frame, bytes, MSG_NOSIGNAL);
        free(frame);
    }
    json_decref(packet);
}

/* ---- operations ----------------------------------------------------------------------------------------------------
 */
static void answer(struct hep_rpc_request *request, const json_t *message)
{
    json_t *reply = json_pack("{s:s, s:b, s:O}", "request_id", hep_json_str(message, "request_id", ""), "success", 1,
                              "data", json_object_get(message, "data"));
    void *frame;
    size_t bytes;
    if (hep_wire_encode(reply, &frame, &bytes, NULL) == HEP_OK) {
        hep_rpc_reply(request, frame, bytes);
        free(frame);
    }
    json_decref(reply);
}

static void begin(const json_t *message, const char *operation)
{
    report(json_pack("{s:s, s:s, s:s, s:s, s:i, s:I}", "kind", "begin", "request_id",
                     hep_json_str(message, "request_id", ""), "session", hep_json_str(message, "session", ""),
                     "operation", operation, "attempt", (int)hep_json_int(message, "attempt", 1), "deadline_ms",
                     (json_int_t)hang_deadline_ms));
}

static void end(const json_t *message, const char *operation)
{
    report(json_pack("{s:s, s:s, s:s, s:b, s:i, s:i}", "kind", "end", "request_id",
                     hep_json_str(message, "request_id", ""), "operation", operation, "success", 1, "duration_us", 5,
                     "cpu_us", 3));
}

static void progress(const char *operation)
{
    report(json_pack("{s:s, s:I, s:s}", "kind", "progress", "counter", (json_int_t)++counter, "operation", operation));
}

static void report_status(void)
{
    report(json_pack("{s:s, s:i, s:I, s:i, s:{s:{s:i}}, s:s}", "kind", "status", "queue", 3, "rss_bytes",
                     (json_int_t)resident, "cpu_ms", 7, "operations", "echo", "count", 1, "color", "green"));
}

static void serve(void *context, struct hep_rpc_request *request, const void *frame, size_t bytes)
{
    json_t *message = NULL;
    (void)context;
    if (hep_wire_decode(frame, bytes, &message, NULL) != HEP_OK)
        _exit(99);
    const char *type = hep_json_str(message, "type", "."), *operation = strchr(type, '.') + 1;
    begin(message, operation);
    if (strcmp(operation, "crash") == 0) {
        fprintf(stderr, "about to crash in %s\n", hep_json_str(message, "session", "no session"));
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would make it an exit */
        raise(SIGSEGV);
    }
    if (strcmp(operation, "hang") == 0)
        pause();
    for (int64_t i = hep_json_int(json_object_get(message, "data"), "times", 0);
         strcmp(operation, "slow") == 0 && i > 0; i--) {
        usleep(100 * 1000);
        progress(operation);
    }
    if (strcmp(operation, "grow") == 0) {
        resident += hep_json_int(json_object_get(message, "data"), "times", 0);
        report_status();
    }
    end(message, operation);
    answer(request, message);
    json_decref(message);
}

static void report_ready(void)
{
    report(json_pack("{s:s, s:I, s:i, s:s, s:s, s:s, s:[{s:s}]}", "kind", "ready", "generation", (json_int_t)generation,
                     "pid", (int)getpid(), "version", HEP_VERSION, "build", build, "isa", "none", "operations", "name",
                     "echo"));
}

/* ---- behaviours at the start: return to go on as a good child ------------------------------------------------------
 */
static void never_ready(void)
{
    for (;;)
        pause();
}
static void slow_start(void)
{
    for (int i = 0; i < 12; i++) {
        usleep(250 * 1000);
        report(json_pack("{s:s, s:s}", "kind", "starting", "note", "reading"));
    }
}
static void exit_125(void)
{
    fprintf(stderr, "no such device\n");
    _exit(HEP_EXIT_CONFIG);
}
/* As the skeleton says why it ends. */
static void says_why(void)
{
    fprintf(stderr,
            "2026-01-01T00:00:00.000Z error domain.failed domain=%s code=SYSTEM reason=\"the \\\"port\\\" is "
            "taken\" hint=\"set http.port\" process=%s\n",
            domain, domain);
    fprintf(stderr, "and another line\n");
    _exit(1);
}
static void abort_at_start(void)
{
    fprintf(stderr, "first words\nlast words\n");
    abort();
}
static void wrong_build(void)
{
    build = "0123456789abcdef";
}
static void stubborn(void)
{
    deaf = true;
}
static void garbage(void)
{
    send(HEP_REPORT_FD, "\xc1garbage", 8, 0);
    send(HEP_REPORT_FD, "\xdf\xff\xff\xff\xff", 5, 0);
    report(json_pack("{s:s}", "kind", "nonsense"));
    report(json_pack("{s:s, s:s}", "kind", "end", "request_id", "never begun"));
    report(json_pack("[s]", "no object"));
}
static void flood(void)
{
    for (int i = 0; i < 20000; i++)
        fprintf(stderr, "line %d of a flood that nobody wants to read to its end\n", i);
}
/* Dies 100 ms after it was ready, the first time that this state folder sees it. */
static void *die_soon(void *unused)
{
    (void)unused;
    usleep(100 * 1000);
    raise(SIGKILL);
    return NULL;
}
static void killed_once(void)
{
    char path[512];
    pthread_t thread;
    snprintf(path, sizeof path, "%s/fake.%s", state_dir, domain);
    if (open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600) >= 0)
        pthread_create(&thread, NULL, die_soon, NULL);
}
static void print_descriptors(void)
{
    for (int fd = 0; fd < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            fprintf(stderr, "descriptor %d\n", fd);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    fprintf(stderr, "open files %lu\n", (unsigned long)files.rlim_cur);
}

static const struct behaviour {
    const char *name;
    void (*run)(void);
} behaviours[] = {
    {"never_ready", never_ready}, {"slow_start", slow_start},
    {"exit_125", exit_125},       {"abort_at_start", abort_at_start},
    {"wrong_build", wrong_build}, {"stubborn", stubborn},
    {"garbage", garbage},         {"flood", flood},
    {"killed_once", killed_once}, {"print_descriptors", print_descriptors},
    {"says_why", says_why},
};

static void behave(void)
{
    const char *wanted = getenv("HEPTAD_FAKE");
    char item[128];
    for (const char *at = wanted; at && *at; at += strcspn(at, " "), at += *at == ' ') {
        snprintf(item, sizeof item, "%.*s", (int)strcspn(at, " "), at);
        char *equals = strchr(item, '=');
        if (!equals || strncmp(item, domain, (size_t)(equals - item)) != 0 || domain[equals - item] != '\0')
            continue;
        for (size_t i = 0; i < HEP_COUNT_OF(behaviours); i++)
            if (strcmp(behaviours[i].name, equals + 1) == 0)
                behaviours[i].run();
    }
}

static int run(void)
{
    struct hep_error error;
    struct hep_rpc_server *server;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    behave();
    if (hep_rpc_server_create(socket_path, 8, serve, NULL, &server, &error) != HEP_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    report_ready();
    report_status();
    struct pollfd fds[] = {{.fd = HEP_REPORT_FD, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    for (;;) {
        poll(fds, 2, -1);
        if (fds[0].revents)
            _exit(0); /* the supervisor is gone */
        struct signalfd_siginfo info;
        if (fds[1].revents && read(signal_fd, &info, sizeof info) > 0 && !deaf)
            _exit(0);
    }
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    domain = strchr(name, '-') ? strchr(name, '-') + 1 : name;
    build = hep_build_id();
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--socket") == 0)
            socket_path = argv[i + 1];
        else if (strcmp(argv[i], "--generation") == 0)
            generation = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--state-dir") == 0)
            state_dir = argv[i + 1];
    }
    return socket_path && state_dir ? run() : HEP_EXIT_CONFIG;
}
