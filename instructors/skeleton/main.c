/*
 * main() of every instructor: arguments, start, READY, the loop thread, the orderly end. Also --describe and --stdio,
 * which need no supervisor. The loop ends at once when the supervisor is gone, and drains on SIGTERM.
 */
#include "instructors/skeleton/internal.h"

#include "common/clock.h"
#include "common/contract.h"
#include "common/crash.h"
#include "common/crash_point.h"
#include "common/json_memory.h"
#include "common/log.h"
#include "common/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/build.h"

/* ---- arguments ------------------------------------------------------------------------------------------------------
 */
static int usage(const struct hep_instructor_spec *spec, FILE *to, int status)
{
    const struct hep_role_row *role = hep_role(spec->role);
    fprintf(to,
            "%s: %s\n\nStarted by heptad. Alone:\n"
            "  %s --describe   print the operations as JSON\n"
            "  %s --stdio      answer JSON requests, one a line, on standard input\n"
            "  options: --instance NAME --generation N --state-dir DIR --set key=value --version --help\n",
            role->binary, role->help, role->binary, role->binary);
    return status;
}

static bool take_setting(struct options *options, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals || options->setting_count == SETTINGS_MAX)
        return false;
    *equals = '\0';
    options->settings[options->setting_count++] = (struct setting){text, equals + 1};
    return true;
}

/* Returns −1 to go on, else the exit status. */
static int parse_arguments(int argc, char **argv, const struct hep_instructor_spec *spec, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--describe") == 0) {
            options->describe = true;
        } else if (strcmp(name, "--stdio") == 0) {
            options->stdio = true;
#ifdef HEP_CRASH_POINTS
        } else if (strcmp(name, "--crash-points") == 0) {
            hep_crash_print(hep_role_name(spec->role));
            return 0;
#endif
        } else if (strcmp(name, "--help") == 0) {
            return usage(spec, stdout, 0);
        } else if (strcmp(name, "--version") == 0) {
            printf("%s %s (build %s)\n", hep_role(spec->role)->binary, HEP_VERSION, hep_build_id());
            return 0;
        } else if (!value) {
            fprintf(stderr, "%s: %s is unknown or needs a value\n", argv[0], name);
            return usage(spec, stderr, HEP_EXIT_CONFIG);
        } else if (i++, strcmp(name, "--instance") == 0) {
            options->instance = value;
        } else if (strcmp(name, "--generation") == 0) {
            options->generation = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--socket") == 0) {
            options->socket = value;
        } else if (strcmp(name, "--report-fd") == 0) {
            options->report_fd = atoi(value);
        } else if (strcmp(name, "--state-dir") == 0) {
            options->state_dir = value;
        } else if (strcmp(name, "--front") == 0) {
            options->front = value;
        } else if (strcmp(name, "--set") != 0 || !take_setting(options, value)) {
            fprintf(stderr, "%s: %s %s is not understood\n", argv[0], name, value);
            return usage(spec, stderr, HEP_EXIT_CONFIG);
        }
    }
    return -1;
}

/* ---- requests over rpc ----------------------------------------------------------------------------------------------
 */
static void reply_over_rpc(struct hep_rpc_request *request, const json_t *reply)
{
    struct hep_error error = {0};
    void *frame = NULL;
    size_t bytes = 0;
    if (hep_wire_encode(reply, &frame, &bytes, &error) != HEP_OK) {
        json_t *failure = json_pack("{s:s, s:b, s:o}", "request_id", hep_json_str(reply, "request_id", ""), "success",
                                    0, "error", hep_error_to_json(&error));
        if (hep_wire_encode(failure, &frame, &bytes, NULL) != HEP_OK)
            bytes = 0;
        json_decref(failure);
    }
    hep_rpc_reply(request, frame ? frame : "", bytes);
    free(frame);
}

static void answer_rpc(struct hep_call *call, json_t *reply)
{
    reply_over_rpc(call->rpc, reply);
}

/* nng thread: decode (the frame is walked first), queue, wake the loop. */
static void serve(void *context, struct hep_rpc_request *request, const void *frame, size_t bytes)
{
    struct hep_instructor *self = context;
    struct hep_error error = {0};
    json_t *message = NULL;
    struct hep_call *call = NULL;
    if (hep_wire_decode(frame, bytes, &message, &error) == HEP_OK)
        call = call_create(self, message, answer_rpc);
    if (!call) {
        if (error.code == HEP_OK)
            hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a request");
        json_t *failure =
            json_pack("{s:s, s:b, s:o}", "request_id", "", "success", 0, "error", hep_error_to_json(&error));
        reply_over_rpc(request, failure);
        json_decref(failure);
        return;
    }
    HEP_CRASH_POINT("call.received");
    call->rpc = request;
    pthread_mutex_lock(&self->lock);
    *self->arrived_tail = call;
    self->arrived_tail = &call->next;
    pthread_mutex_unlock(&self->lock);
    eventfd_write(self->wake_fd, 1);
}

static void run_arrived(struct hep_instructor *self)
{
    pthread_mutex_lock(&self->lock);
    struct hep_call *call = self->arrived_head;
    self->arrived_head = NULL;
    self->arrived_tail = &self->arrived_head;
    pthread_mutex_unlock(&self->lock);
    for (struct hep_call *next; call; call = next) {
        next = call->next;
        call_run(call);
    }
}

/* ---- the loop thread
 * ------------------------------------------------------------------------------------------------- */
static void report_status(struct hep_instructor *self)
{
    json_t *status = instructor_status(self);
    json_object_set_new(status, "kind", json_string("status"));
    report_send(&self->report, status, false);
    report_flush(&self->report);
}

static bool is_idle(struct hep_instructor *self)
{
    pthread_mutex_lock(&self->lock);
    bool idle = self->open_calls == 0;
    pthread_mutex_unlock(&self->lock);
    return idle;
}

static void begin_drain(struct hep_instructor *self)
{
    atomic_store(&self->draining, true);
    hep_log(HEP_INFO, "domain.draining", "domain=%s", hep_role_name(self->spec->role));
    hep_instructor_wake(self);
}

static void loop(struct hep_instructor *self, int signal_fd)
{
    struct pollfd fds[] = {{.fd = self->options.report_fd, .events = POLLIN},
                           {.fd = self->wake_fd, .events = POLLIN},
                           {.fd = signal_fd, .events = POLLIN}};
    int64_t next_status = hep_now_ms();
    while (!(atomic_load(&self->draining) && is_idle(self))) {
        int64_t wait = next_status - hep_now_ms();
        if (atomic_load(&self->draining) && wait > 20)
            wait = 20;
        int count = poll(fds, HEP_COUNT_OF(fds), wait < 0 ? 0 : (int)wait);
        if (count > 0 && fds[0].revents)
            _exit(0); /* nothing is ever sent to us here: the supervisor is gone */
        if (count > 0 && fds[1].revents) {
            eventfd_t ignored;
            eventfd_read(self->wake_fd, &ignored);
            run_arrived(self);
        }
        struct signalfd_siginfo info;
        if (count > 0 && fds[2].revents && read(signal_fd, &info, sizeof info) == sizeof info)
            begin_drain(self);
        if (hep_now_ms() >= next_status) {
            report_status(self);
            next_status = hep_now_ms() + HEP_STATUS_EVERY_MS;
        }
    }
}

static void report_ready(struct hep_instructor *self)
{
    report_send(&self->report,
                json_pack("{s:s, s:I, s:i, s:s, s:s, s:s, s:o}", "kind", "ready", "generation",
                          (json_int_t)self->options.generation, "pid", (int)getpid(), "version", HEP_VERSION, "build",
                          hep_build_id(), "isa", self->spec->isa ? self->spec->isa() : "", "operations",
                          instructor_description(self)),
                true);
}

static int run_supervised(struct hep_instructor *self, struct hep_error *error)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0) {
        hep_fail_errno(error, errno, "signalfd");
        return 1;
    }
    /* a confined domain talks with the supervisor only: another domain that was taken over has no way in */
    pid_t peer = self->confinement.mode == HEP_CONFINE_ON ? getppid() : 0;
    if (hep_rpc_server_create_for(peer, self->options.socket, HEP_OPERATIONS_IN_FLIGHT_MAX, serve, self, &self->server,
                                  error) != HEP_OK)
        return 1;
    if (self->spec->listen && self->spec->listen(self, error) != HEP_OK)
        return error->code == HEP_E_BAD_CONFIG ? HEP_EXIT_CONFIG : 1;
    if (confinement_serve(self, error) != HEP_OK)
        return 1;
    HEP_CRASH_POINT("start.before_ready");
    report_ready(self);
    HEP_CRASH_POINT("start.after_ready");
    loop(self, signal_fd);
    if (!hep_rpc_server_flush(self->server, FLUSH_MS))
        hep_log(HEP_WARNING, "domain.drained", "reason=\"the supervisor did not take the last answers\"");
    report_flush(&self->report);
    return 0;
}

/* ---- --stdio
 * ----------------------------------------------------------------------------------------------------------- */
static void answer_stdio(struct hep_call *call, json_t *reply)
{
    (void)call;
    json_dumpf(reply, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    putchar('\n');
    fflush(stdout);
}

static void answer_line(struct hep_instructor *self, const char *line, size_t bytes)
{
    struct hep_error error = {0};
    json_t *message = NULL;
    if (hep_json_parse(line, bytes, &message, &error) != HEP_OK) {
        json_t *failure =
            json_pack("{s:s, s:b, s:o}", "request_id", "", "success", 0, "error", hep_error_to_json(&error));
        answer_stdio(NULL, failure);
        json_decref(failure);
        return;
    }
    pthread_mutex_lock(&self->lock);
    uint64_t before = self->answered_count;
    pthread_mutex_unlock(&self->lock);
    struct hep_call *call = call_create(self, message, answer_stdio);
    hep_assert(call != NULL);
    call_run(call);
    pthread_mutex_lock(&self->lock);
    while (self->answered_count == before)
        pthread_cond_wait(&self->answered, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

static int run_stdio(struct hep_instructor *self, struct hep_error *error)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    if (confinement_serve(self, error) != HEP_OK)
        return 1;
    while ((bytes = getline(&line, &capacity, stdin)) > 0)
        if (bytes > 1)
            answer_line(self, line, (size_t)bytes);
    free(line);
    return 0;
}

/* ---- start and end
 * ------------------------------------------------------------------------------------------------------ */
static size_t row_count(const struct hep_operation *table)
{
    size_t count = 0;
    while (table[count].name)
        count++;
    return count;
}

static enum hep_status init(struct hep_instructor *self, struct hep_error *error)
{
    self->started_us = hep_now_us();
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->work_ready, NULL);
    pthread_cond_init(&self->answered, NULL);
    self->arrived_tail = &self->arrived_head;
    self->heavy_tail = &self->heavy_head;
    report_init(&self->report, self->options.report_fd);
    self->stats = calloc(row_count(self->spec->operations) + row_count(builtin_operations), sizeof *self->stats);
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!self->stats || self->wake_fd < 0)
        return hep_fail(error, HEP_E_SYSTEM, "no memory or descriptor to start with");
    HEP_TRY(hep_resolver_create(self->options.instance, IDLE_MAPPINGS_BYTES, &self->resolver, error));
    if (self->spec->start)
        HEP_TRY(self->spec->start(self, &self->state, error));
    if (pthread_create(&self->worker, NULL, worker_main, self) != 0)
        return hep_fail(error, HEP_E_SYSTEM, "cannot start the worker thread");
    return HEP_OK;
}

static void prepare_process(const struct options *options)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    if (options->report_fd >= 0) {
        sigaddset(&blocked, SIGTERM);
        sigaddset(&blocked, SIGINT);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* second line; the report channel's EOF is the first */
        struct pollfd channel = {.fd = options->report_fd, .events = POLLIN};
        if (poll(&channel, 1, 0) > 0)
            _exit(0); /* the supervisor died before we could ask to be told */
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);                   /* a file that may not grow is an error of the write */
    pthread_sigmask(SIG_BLOCK, &blocked, NULL); /* threads started later inherit it */
}

static int print_description(const struct hep_instructor_spec *spec)
{
    struct hep_instructor self = {.spec = spec};
    json_t *all = instructor_description(&self);
    json_t *object = json_pack("{s:s, s:s, s:o}", "domain", hep_role_name(spec->role), "help",
                               hep_role(spec->role)->help, "operations", all);
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(object);
    return 0;
}

static void end_worker(struct hep_instructor *self)
{
    atomic_store(&self->stopping, true);
    hep_instructor_wake(self);
    pthread_join(self->worker, NULL);
}

int hep_instructor_main(int argc, char **argv, const struct hep_instructor_spec *spec)
{
    static struct hep_instructor self; /* one per process; threads outlive main's frame at the end */
    struct hep_error error = {0};
    self.spec = spec;
    self.options =
        (struct options){.instance = "default", .generation = 1, .report_fd = -1, .state_dir = "", .front = ""};
    hep_json_memory_begin();
    int status = parse_arguments(argc, argv, spec, &self.options);
    if (status >= 0)
        return status;
    if (self.options.describe)
        return print_description(spec);
    if (!self.options.stdio && !self.options.socket)
        return usage(spec, stderr, HEP_EXIT_CONFIG);
    hep_log_init(hep_role_name(spec->role), HEP_INFO);
#ifdef HEP_CRASH_POINTS
    if (hep_crash_begin(hep_role_name(spec->role), &error) != HEP_OK)
        hep_log(HEP_ERROR_LEVEL, "crash_points.refused", "reason=\"%s\"", error.message);
#endif
    settings_begin(&self);
    prepare_process(&self.options);
    hep_crash_handler_install(STDERR_FILENO); /* before it is confined: it looks at files */
    HEP_CRASH_POINT("start.begin");
    if (confinement_begin(&self, &error) != HEP_OK || init(&self, &error) != HEP_OK)
        status = error.code == HEP_E_BAD_CONFIG ? HEP_EXIT_CONFIG : 1;
    else
        status = self.options.stdio ? run_stdio(&self, &error) : run_supervised(&self, &error);
    if (error.code != HEP_OK) {
        char reason[HEP_ERROR_MESSAGE_MAX], hint[HEP_ERROR_HINT_MAX];
        hep_log(HEP_ERROR_LEVEL, "domain.failed", "domain=%s code=%s reason=%s hint=%s", hep_role_name(spec->role),
                hep_status_name(error.code), hep_log_quote(error.message, reason, sizeof reason),
                hep_log_quote(error.hint, hint, sizeof hint)); /* the supervisor reads it: see hep_lines_reason */
    } else if (end_worker(&self), spec->stop) {
        spec->stop(&self);
    }
    fflush(NULL);
    _exit(status); /* nng's own threads are not waited for */
}

/* ---- what instructors ask
 * ------------------------------------------------------------------------------------------------ */
void *hep_instructor_state(struct hep_instructor *self)
{
    return self->state;
}

const char *hep_instructor_instance(const struct hep_instructor *self)
{
    return self->options.instance;
}

uint64_t hep_instructor_generation(const struct hep_instructor *self)
{
    return self->options.generation;
}

const char *hep_instructor_state_dir(const struct hep_instructor *self)
{
    return self->options.state_dir;
}

const char *hep_instructor_front(const struct hep_instructor *self)
{
    return self->options.front;
}

const char *hep_instructor_setting(const struct hep_instructor *self, const char *key)
{
    for (int i = 0; i < self->options.setting_count; i++)
        if (strcmp(self->options.settings[i].key, key) == 0)
            return self->options.settings[i].value;
    return NULL;
}

int64_t hep_instructor_setting_int(const struct hep_instructor *self, const char *key, int64_t fallback)
{
    const char *value = hep_instructor_setting(self, key);
    return value && value[0] ? strtoll(value, NULL, 10) : fallback;
}

void hep_instructor_starting(struct hep_instructor *self, const char *note)
{
    report_send(&self->report, json_pack("{s:s, s:s}", "kind", "starting", "note", note), true);
}

void hep_instructor_event(struct hep_instructor *self, const char *name, json_t *fields)
{
    json_object_set_new(fields, "kind", json_string("event"));
    json_object_set_new(fields, "name", json_string(name));
    atomic_fetch_add(&self->progress, 1);
    report_send(&self->report, fields, false);
}
