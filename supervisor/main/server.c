/*
 * Puts the supervisor together and takes it apart: lock, loop, engine, domains, front, signals. Called by main. The
 * order of creation is the order of dependence; the end is its reverse, after every domain is reaped.
 */
#include "supervisor/main/server.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/log.h"
#include "supervisor/engine/engine.h"
#include "supervisor/front/front.h"
#include "supervisor/main/isa.h"
#include "supervisor/main/notify.h"
#include "supervisor/main/successor.h"
#include "supervisor/main/waiting.h"
#include "supervisor/proc/config.h"
#include "supervisor/proc/lock.h"
#include "supervisor/proc/log_sink.h"
#include "supervisor/proc/proc.h"
#include "supervisor/proc/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What a start may take at most, for whoever waits for it. */
enum { LOCK_MS = 30000, STORE_MS = 300000 /* quick_check reads the whole file */ };

struct hep_server {
    struct hep_config *config; /* not owned */
    struct hep_lock *lock;
    struct hep_loop *loop;
    struct hep_engine *engine;
    struct hep_proc *proc;
    struct hep_front *front;
    struct hep_notifier *notifier; /* NULL = not started by systemd */
    int signal_fd;
    struct hep_loop_source *signals;
    bool log_to_file;
    json_t *waiting; /* settings that are not in force yet, see waiting.h; NULL = none */
    int stops;       /* how often we were asked to end */
    bool pid_file_written;
    bool successor; /* the end is the beginning of another build */
};

/* ---- the end
 * ------------------------------------------------------------------------------------------------------------ */
static void on_all_stopped(void *context)
{
    struct hep_server *server = context;
    hep_loop_quit(server->loop);
}

static void stop(struct hep_server *server, int64_t drain_ms)
{
    if (server->stops++ > 0)
        drain_ms = 0;
    hep_log(HEP_NOTICE, "daemon.stopping", "drain_ms=%" PRId64 " asked=%d", drain_ms, server->stops);
    hep_notifier_stopping(server->notifier, drain_ms);
    hep_engine_drain(server->engine);
    hep_proc_stop(server->proc, drain_ms);
}

static void on_stop_asked(void *context, int64_t drain_ms)
{
    struct hep_server *server = context;
    stop(server, drain_ms >= 0 ? drain_ms : hep_config_int(server->config, HEP_CONFIG_INSTANCE_DRAIN_MS));
}

static void on_successor_checked(void *context, enum hep_status status, const struct hep_error *error)
{
    struct hep_server *server = context;
    char quoted[HEP_ERROR_MESSAGE_MAX];
    if (status != HEP_OK)
        hep_log(HEP_ERROR_LEVEL, "daemon.no_successor", "reason=%s",
                hep_log_quote(error->message, quoted, sizeof quoted));
    hep_front_upgrade_checked(server->front, status, error);
    if (status != HEP_OK)
        return;
    server->successor = true;
    stop(server, hep_config_int(server->config, HEP_CONFIG_INSTANCE_DRAIN_MS));
}

static enum hep_status on_upgrade_asked(void *context, struct hep_error *error)
{
    struct hep_server *server = context;
    if (server->stops > 0)
        return hep_fail(error, HEP_E_NOT_NOW, "the daemon is ending");
    return hep_successor_check(server->loop, on_successor_checked, server, error);
}

bool hep_server_has_successor(const struct hep_server *server)
{
    return server->successor;
}

/* ---- signals
 * -------------------------------------------------------------------------------------------------------------- */
static void apply_level(const struct hep_config *config)
{
    enum hep_log_level level;
    if (hep_log_level_from_name(hep_config_text(config, HEP_CONFIG_LOG_LEVEL), &level))
        hep_log_set_level(level);
}

static void log_changes(const json_t *changed)
{
    size_t index;
    json_t *change;
    char from[256], to[256];
    json_array_foreach(changed, index, change)
        hep_log(HEP_NOTICE, "config.changed", "key=%s from=%s to=%s waits_for=\"%s\"",
                json_string_value(json_object_get(change, "key")),
                hep_log_quote(json_string_value(json_object_get(change, "from")), from, sizeof from),
                hep_log_quote(json_string_value(json_object_get(change, "to")), to, sizeof to),
                json_string_value(json_object_get(change, "waits_for")));
}

/* Opens the log again, maybe another one. */
static void open_log_again(struct hep_server *server)
{
    struct hep_error error = {0};
    char path[HEP_PATH_MAX + 32], quoted[HEP_ERROR_MESSAGE_MAX];
    snprintf(path, sizeof path, "%s", hep_config_text(server->config, HEP_CONFIG_LOG_FILE));
    if (!path[0] && server->log_to_file)
        snprintf(path, sizeof path, "%s/heptad.log", hep_config_text(server->config, HEP_CONFIG_INSTANCE_STATE_DIR));
    if (hep_log_sink_open(path, &error) != HEP_OK)
        hep_log(HEP_ERROR_LEVEL, "log.not_opened", "reason=%s", hep_log_quote(error.message, quoted, sizeof quoted));
    else
        hep_front_set_log_path(server->front, path);
}

/* reply: {file, changes}. */
static enum hep_status read_again(struct hep_server *server, json_t **reply, struct hep_error *error)
{
    json_t *changed = NULL;
    char reason[HEP_ERROR_MESSAGE_MAX], hint[HEP_ERROR_HINT_MAX];
    if (hep_config_reload(server->config, &changed, error) != HEP_OK) {
        open_log_again(server); /* it may have been moved away */
        hep_log(HEP_ERROR_LEVEL, "config.refused", "reason=%s hint=%s effect=\"the old one stays\"",
                hep_log_quote(error->message, reason, sizeof reason), hep_log_quote(error->hint, hint, sizeof hint));
        return error->code;
    }
    open_log_again(server);
    apply_level(server->config);
    hep_log(HEP_NOTICE, "config.reloaded", "changes=%zu", json_array_size(changed));
    log_changes(changed);
    json_t *domains = hep_proc_status(server->proc);
    hep_waiting_note(&server->waiting, changed, domains, hep_now_ms());
    json_decref(domains);
    hep_proc_reload(server->proc);
    if (hep_front_set_operator_token(
            server->front, hep_config_text(server->config, HEP_CONFIG_HTTP_OPERATOR_TOKEN_FILE), error) != HEP_OK) {
        hep_log(HEP_ERROR_LEVEL, "token.refused", "reason=%s effect=\"the old one stays\"",
                hep_log_quote(error->message, reason, sizeof reason));
        json_decref(changed);
        return error->code;
    }
    if (hep_engine_reload(server->engine, error) != HEP_OK) {
        hep_log(HEP_ERROR_LEVEL, "workflows.refused", "reason=%s effect=\"the old ones stay\"",
                hep_log_quote(error->message, reason, sizeof reason));
        json_decref(changed);
        return error->code;
    }
    *reply = json_pack("{s:s, s:o}", "file", hep_config_file(server->config), "changes", changed);
    return HEP_OK;
}

static enum hep_status reload(void *context, json_t **reply, struct hep_error *error)
{
    hep_notify_reloading();
    enum hep_status status = read_again(context, reply, error);
    hep_notify_reloaded();
    return status;
}

/* device.optimize: settings that hold until heptad ends. Every key is checked before the first is set. */
static enum hep_status configure(void *context, const json_t *settings, struct hep_error *error)
{
    struct hep_server *server = context;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)settings, key, value)
    {
        HEP_TRY(hep_config_set(server->config, key, json_string_value(value), error));
        hep_log(HEP_NOTICE, "config.set", "key=%s value=%s", key, json_string_value(value));
    }
    HEP_TRY(hep_isa_choose(hep_config_text(server->config, HEP_CONFIG_COMPUTE_ISA), error));
    hep_proc_reload(server->proc);
    return HEP_OK;
}

static void reload_at_signal(struct hep_server *server)
{
    struct hep_error error = {0};
    json_t *reply = NULL;
    reload(server, &reply, &error);
    json_decref(reply);
}

static void on_signal(void *context, uint32_t events)
{
    struct hep_server *server = context;
    struct signalfd_siginfo info;
    (void)events;
    while (read(server->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            hep_proc_reap_strays(server->proc);
        else if (info.ssi_signo == SIGHUP)
            reload_at_signal(server);
        else
            stop(server, hep_config_int(server->config, HEP_CONFIG_INSTANCE_DRAIN_MS));
    }
}

static enum hep_status take_signals(struct hep_server *server, struct hep_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before any thread: they inherit it */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->signal_fd < 0)
        return hep_fail_errno(error, errno, "signalfd");
    return hep_loop_watch(server->loop, server->signal_fd, EPOLLIN, on_signal, server, &server->signals, error);
}

/* ---- the start
 * ------------------------------------------------------------------------------------------------------------ */
/* Members of instance.group reach the control socket; the sockets beside it are ours alone (0600). */
static enum hep_status open_to_group(const struct hep_config *config, struct hep_error *error)
{
    const char *group = hep_config_text(config, HEP_CONFIG_INSTANCE_GROUP);
    const char *state = hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR);
    const char *runtime = hep_config_text(config, HEP_CONFIG_INSTANCE_RUNTIME_DIR);
    size_t length = strlen(state);
    if (!group[0])
        return HEP_OK;
    if (strncmp(runtime, state, length) == 0 && runtime[length] == '/') /* to pass through, not to list */
        HEP_TRY(hep_folder_open_to(state, group, 0710, error));
    return hep_folder_open_to(runtime, group, 0750, error);
}

static enum hep_status prepare_folders(struct hep_server *server, struct hep_error *error)
{
    const char *state = hep_config_text(server->config, HEP_CONFIG_INSTANCE_STATE_DIR);
    const char *runtime = hep_config_text(server->config, HEP_CONFIG_INSTANCE_RUNTIME_DIR);
    char models[HEP_PATH_MAX + 16];
    size_t removed = 0;
    snprintf(models, sizeof models, "%s/models", state); /* where models.paths looks by default */
    hep_notify_busy("waiting for what is left of the last daemon", LOCK_MS);
    HEP_TRY(hep_lock_take(state, &server->lock, error));
    HEP_CRASH_POINT("start.locked");
    HEP_TRY(hep_folder_make_for_group(runtime, error));
    HEP_TRY(open_to_group(server->config, error));
    HEP_TRY(hep_folder_make(models, error));
    HEP_TRY(hep_folder_make_above(hep_config_text(server->config, HEP_CONFIG_IMAGES_DIR), error));
    HEP_TRY(hep_runtime_sweep(runtime, &removed, error));
    if (removed > 0)
        hep_log(HEP_NOTICE, "runtime.swept", "sockets=%zu", removed);
    return HEP_OK;
}

static enum hep_status write_pid_file(struct hep_server *server, struct hep_error *error)
{
    const char *path = hep_config_text(server->config, HEP_CONFIG_INSTANCE_PID_FILE);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return hep_fail_errno(error, errno, "writing the pid file %s", path);
    dprintf(fd, "%d\n", (int)getpid());
    close(fd);
    server->pid_file_written = true;
    return HEP_OK;
}

static json_t *config_for_front(void *context)
{
    const struct hep_server *server = context;
    json_t *domains = hep_proc_status(server->proc),
           *said = hep_waiting_describe(server->config, server->waiting, domains, hep_now_ms());
    json_decref(domains);
    return said;
}

static enum hep_status create_engine(struct hep_server *server, struct hep_error *error)
{
    const struct hep_config *config = server->config;
    enum hep_safety_policy safety = HEP_SAFETY_OFF;
    hep_assert(hep_safety_policy_from_name(hep_config_text(config, HEP_CONFIG_SAFETY_POLICY), &safety)); /* a choice */
    const struct hep_engine_options options = {
        .instance = hep_config_instance(config),
        .state_dir = hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR),
        .workflows_dir = hep_config_text(config, HEP_CONFIG_WORKFLOWS_DIR),
        .output_dir = hep_config_text(config, HEP_CONFIG_IMAGES_DIR),
        .default_model = hep_config_text(config, HEP_CONFIG_MODELS_DEFAULT),
        .safety = safety,
        .memory_bytes = (uint64_t)hep_config_int(config, HEP_CONFIG_SESSIONS_MEMORY),
        .evaluation_max_ms = hep_config_int(config, HEP_CONFIG_SESSIONS_EVALUATION_MAX_MS),
        .sessions_max = (int)hep_config_int(config, HEP_CONFIG_SESSIONS_RUNNING_MAX),
        .queue_max = (int)hep_config_int(config, HEP_CONFIG_SESSIONS_QUEUE_MAX),
        .sessions_kept = (int)hep_config_int(config, HEP_CONFIG_SESSIONS_KEPT),
        .webhook_hosts = hep_config_text(config, HEP_CONFIG_WEBHOOKS_HOSTS),
        .webhook_secret_file = hep_config_text(config, HEP_CONFIG_WEBHOOKS_SECRET_FILE),
        .configure = configure,
        .all_stopped = on_all_stopped,
        .context = server,
    };
    return hep_engine_create(server->loop, &options, &server->engine, error);
}

static enum hep_status create_parts(struct hep_server *server, const char *log_path, struct hep_error *error)
{
    HEP_TRY(prepare_folders(server, error));
    HEP_TRY(hep_loop_create(&server->loop, error));
    HEP_TRY(take_signals(server, error));
    hep_notify_busy("opening and checking the store", STORE_MS);
    HEP_TRY(create_engine(server, error));
    HEP_TRY(hep_proc_create(server->loop, server->config, hep_engine_events(server->engine), &server->proc, error));
    hep_proc_set_lock(server->proc, server->lock);
    hep_engine_attach(server->engine, server->proc);
    const struct hep_front_options front = {.front_path = hep_config_front_socket(server->config),
                                            .control_path = hep_config_control_socket(server->config),
                                            .operator_token_file =
                                                hep_config_text(server->config, HEP_CONFIG_HTTP_OPERATOR_TOKEN_FILE),
                                            .group = hep_config_text(server->config, HEP_CONFIG_INSTANCE_GROUP),
                                            .log_path = log_path,
                                            .config = config_for_front,
                                            .reload = reload,
                                            .stop = on_stop_asked,
                                            .upgrade = on_upgrade_asked,
                                            .context = server};
    HEP_TRY(hep_front_create(server->loop, server->engine, &front, &server->front, error));
    HEP_TRY(write_pid_file(server, error));
    HEP_TRY(hep_proc_start(server->proc, error));
    return hep_notifier_create(server->loop, server->engine, server->proc, &server->notifier, error);
}

enum hep_status hep_server_create(struct hep_config *config, const char *log_path, struct hep_server **server,
                                  struct hep_error *error)
{
    struct hep_server *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the supervisor");
    made->config = config;
    made->signal_fd = -1;
    made->log_to_file = log_path[0] != '\0';
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* what a domain leaves behind comes to us to be reaped */
    enum hep_status status = create_parts(made, log_path, error);
    if (status != HEP_OK) {
        hep_server_destroy(made);
        return status;
    }
    *server = made;
    return HEP_OK;
}

int hep_server_run(struct hep_server *server)
{
    hep_loop_run(server->loop);
    hep_log(HEP_NOTICE, "daemon.stopped", "pid=%d", (int)getpid());
    return 0;
}

void hep_server_destroy(struct hep_server *server)
{
    if (!server)
        return;
    hep_notifier_destroy(server->notifier);
    hep_front_destroy(server->front);
    hep_proc_destroy(server->proc);
    hep_engine_destroy(server->engine);
    hep_loop_unwatch(server->signals);
    if (server->signal_fd >= 0)
        close(server->signal_fd);
    hep_loop_destroy(server->loop);
    if (server->pid_file_written)
        unlink(hep_config_text(server->config, HEP_CONFIG_INSTANCE_PID_FILE));
    hep_lock_destroy(server->lock);
    json_decref(server->waiting);
    free(server);
}
