/*
 * main() of heptad, the supervisor: command line, configuration, detaching, log; then supervisor/main/server.c. Nothing
 * before the detaching starts a thread or touches the state folder's content.
 */
#include "common/build.h"
#include "common/contract.h"
#include "common/crash_point.h"
#include "common/json_memory.h"
#include "common/log.h"
#include "supervisor/main/daemon.h"
#include "supervisor/main/holder.h"
#include "supervisor/main/isa.h"
#include "supervisor/main/notify.h"
#include "supervisor/main/options.h"
#include "supervisor/main/server.h"
#include "supervisor/main/successor.h"
#include "common/limits.h"
#include "supervisor/proc/config.h"
#include "supervisor/proc/log_sink.h"
#include "supervisor/proc/places.h"
#include "supervisor/proc/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int exit_status_of(enum hep_status status)
{
    return status == HEP_E_BAD_CONFIG ? HEP_EXIT_CONFIG : 1;
}

static int print_page(bool markdown)
{
    char *text = markdown ? hep_config_markdown() : hep_config_sample();
    if (!text)
        return 1;
    fputs(text, stdout);
    free(text);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* The file that is used: --config made absolute, or the installation's if it is there. */
static enum hep_status find_config(const struct hep_options *options, char path[HEP_PATH_MAX], struct hep_error *error)
{
    if (options->config) {
        char *resolved = realpath(options->config, NULL);
        snprintf(path, HEP_PATH_MAX, "%s", resolved ? resolved : options->config);
        free(resolved);
        return HEP_OK;
    }
    struct hep_places places;
    HEP_TRY(hep_places_find(&places, error));
    snprintf(path, HEP_PATH_MAX, "%s", places.config);
    return HEP_OK;
}

static int say(const struct hep_error *error)
{
    fprintf(stderr, "heptad: %s\n", error->message);
    if (error->hint[0])
        fprintf(stderr, "  %s\n", error->hint);
    return exit_status_of(error->code);
}

static int refused(int ready_fd, const struct hep_error *error)
{
    char message[HEP_ERROR_MESSAGE_MAX + HEP_ERROR_HINT_MAX + 8];
    int status = exit_status_of(error->code);
    snprintf(message, sizeof message, "%s%s%s", error->message, error->hint[0] ? "\n  " : "", error->hint);
    hep_daemon_refused(ready_fd, status, message);
    return status;
}

/* Where the log goes: log.file, which the system's daemon has; else the state folder, or standard error in the
   foreground. */
static enum hep_status open_log(const struct hep_config *config, bool foreground, char path[HEP_PATH_MAX + 32],
                                struct hep_error *error)
{
    enum hep_log_level level = HEP_INFO;
    hep_log_level_from_name(hep_config_text(config, HEP_CONFIG_LOG_LEVEL), &level);
    hep_log_init("heptad", level);
    snprintf(path, HEP_PATH_MAX + 32, "%s", hep_config_text(config, HEP_CONFIG_LOG_FILE));
    if (!path[0] && !foreground)
        snprintf(path, HEP_PATH_MAX + 32, "%s/heptad.log", hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR));
    if (strncmp(path, HEP_SYSTEM_LOGS "/", sizeof HEP_SYSTEM_LOGS) == 0)
        HEP_TRY(hep_folder_make_for_group(HEP_SYSTEM_LOGS, error));
    return hep_log_sink_open(path, error);
}

/* What the domains' OpenMP reads when they start; how many threads it has, the leases say. */
static void prepare_openmp(void)
{
    /* A thread that waits for its sisters between two kernels spins a few microseconds, then sleeps: libgomp's default
       of milliseconds takes the core from whoever is to come when the machine is shared. */
    setenv("GOMP_SPINCOUNT", "1000", 0);
    unsetenv("OMP_THREAD_LIMIT"); /* a lease is to be had whole */
    unsetenv("OMP_DYNAMIC");
}

/* again: an upgrade was asked for, and everything has ended for it. */
static int serve(struct hep_config *config, bool foreground, int ready_fd, bool *again)
{
    struct hep_error error = {0};
    struct hep_server *server = NULL;
    char log_path[HEP_PATH_MAX + 32];
    hep_notify_init();
#ifdef HEP_CRASH_POINTS
    if (hep_crash_begin("heptad", &error) != HEP_OK)
        return refused(ready_fd, &error);
#endif
    if (hep_isa_choose(hep_config_text(config, HEP_CONFIG_COMPUTE_ISA), &error) != HEP_OK)
        return refused(ready_fd, &error);
    prepare_openmp();
    if (open_log(config, foreground, log_path, &error) != HEP_OK)
        return refused(ready_fd, &error);
    hep_log(HEP_NOTICE, "daemon.starting", "version=%s build=%s pid=%d instance=%s state_dir=%s config=%s", HEP_VERSION,
            hep_build_id(), (int)getpid(), hep_config_instance(config),
            hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR),
            hep_config_file(config)[0] ? hep_config_file(config) : "none");
    if (hep_server_create(config, log_path, &server, &error) != HEP_OK) {
        char quoted[HEP_ERROR_MESSAGE_MAX];
        hep_log(HEP_ERROR_LEVEL, "daemon.refused", "code=%s reason=%s", hep_status_name(error.code),
                hep_log_quote(error.message, quoted, sizeof quoted));
        return refused(ready_fd, &error);
    }
    hep_daemon_ready(ready_fd);
    int status = hep_server_run(server);
    *again = hep_server_has_successor(server);
    hep_server_destroy(server);
    hep_log_sink_close();
    return status;
}

/* --status, --reload, --stop: of a daemon whose file has got a mistake since it was started, too. */
static int do_errand(const struct hep_options *options)
{
    struct hep_error error = {0};
    struct hep_config *config = NULL;
    char file[HEP_PATH_MAX];
    if (find_config(options, file, &error) != HEP_OK ||
        hep_config_create(file, options->overrides, options->override_count, &config, &error) != HEP_OK) {
        say(&error);
        if (hep_config_create(NULL, options->overrides, options->override_count, &config, &error) != HEP_OK)
            return say(&error), HEP_LSB_UNKNOWN;
    }
    int status = hep_holder_do(options->errand, config);
    hep_config_destroy(config);
    return status;
}

static int start(const struct hep_options *options)
{
    struct hep_error error = {0};
    struct hep_config *config = NULL;
    char file[HEP_PATH_MAX];
    int ready_fd = -1;
    bool again = false;
    if (find_config(options, file, &error) != HEP_OK ||
        hep_config_create(file, options->overrides, options->override_count, &config, &error) != HEP_OK)
        return say(&error);
    if (hep_config_validate(config, &error) != HEP_OK) {
        hep_config_destroy(config);
        return say(&error);
    }
    int status = 0;
    if (options->check)
        printf("%s: good\n", file[0] ? file : "the defaults");
    else if (hep_folder_make_for_state(hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR), &error) != HEP_OK ||
             (!options->foreground && !options->successor && hep_daemon_detach(&ready_fd, &error) != HEP_OK))
        status = say(&error);
    else
        status = serve(config, options->foreground, ready_fd, &again);
    hep_config_destroy(config);
    if (again && hep_successor_become(!options->foreground, &error) != HEP_OK)
        status = say(&error);
    return status;
}

int main(int argc, char **argv)
{
    struct hep_options options;
    hep_json_memory_begin();
    hep_successor_remember(argv);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* nothing that it starts gains by being started */
    int status = hep_options_parse(argc, argv, &options);
    if (status < 0 && (options.print_sample || options.print_markdown))
        status = print_page(options.print_markdown);
    else if (status < 0)
        status = options.errand ? do_errand(&options) : start(&options);
    hep_options_clear(&options);
    return status;
}
