/* Parses heptad's command line; everything it may say is turned into overrides of the configuration. Called by main. */
#include "supervisor/main/options.h"

#include "common/build.h"
#include "common/contract.h"
#include "common/crash_point.h"
#include "common/limits.h"

#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "heptad: image generation that does not lose work\n"
    "\n"
    "usage: heptad [options]\n"
    "  --config FILE      configuration (default: etc/heptad/heptad.conf of the installation, if it is there)\n"
    "  --state DIR        state folder (instance.state_dir)\n"
    "  --instance NAME    name of this daemon (instance.name)\n"
    "  --set KEY=VALUE    any configuration key, e.g. --set http.port=8080; wins over the file\n"
    "  --foreground       do not detach; log to standard error unless log.file is set\n"
    "  --check            check the configuration and exit\n"
    "  --status           say whether a daemon runs in the state folder, and exit as an init script does:\n"
    "                     0 it runs; 1 it is dead and its pid file is there; 3 it does not run; 4 not known\n"
    "  --reload           send it SIGHUP; 7 if none runs\n"
    "  --stop             end the daemon that runs in the state folder and wait for its drain; kill it only if that\n"
    "                     takes 15 s longer than instance.drain_ms\n"
    "  --print-config     print a commented configuration file with every key (=markdown: as a page)\n"
    "  --version, --help\n"
    "\n"
    "Without --foreground (or systemd) it detaches and returns when it accepts control connections.\n"
    "SIGTERM drains and stops, a second one stops now; SIGHUP reads the configuration and opens the log again.\n"
    "Exit status: 0; 1 it cannot start; 125 the configuration is wrong.\n"
    "Talk to it with heptctl; stop it with `heptctl stop`.\n";

enum {
    OPTION_CONFIG = 1,
    OPTION_STATE,
    OPTION_INSTANCE,
    OPTION_SET,
    OPTION_FOREGROUND,
    OPTION_SUCCESSOR,
    OPTION_CHECK,
    OPTION_STATUS,
    OPTION_RELOAD,
    OPTION_STOP,
    OPTION_PRINT,
    OPTION_CRASH_POINTS,
    OPTION_VERSION,
    OPTION_HELP
};
static const struct option table[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"state", required_argument, NULL, OPTION_STATE},
    {"instance", required_argument, NULL, OPTION_INSTANCE},
    {"set", required_argument, NULL, OPTION_SET},
    {"foreground", no_argument, NULL, OPTION_FOREGROUND},
    {"successor", no_argument, NULL, OPTION_SUCCESSOR}, /* of successor.c, for nobody else */
    {"check", no_argument, NULL, OPTION_CHECK},
    {"status", no_argument, NULL, OPTION_STATUS},
    {"reload", no_argument, NULL, OPTION_RELOAD},
    {"stop", no_argument, NULL, OPTION_STOP},
    {"print-config", optional_argument, NULL, OPTION_PRINT},
#ifdef HEP_CRASH_POINTS
    {"crash-points", no_argument, NULL, OPTION_CRASH_POINTS},
#endif
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static bool add(struct hep_options *options, const char *key, const char *value)
{
    char *text = NULL;
    if (options->override_count == HEP_OVERRIDES_MAX || asprintf(&text, "%s%s%s", key, key[0] ? "=" : "", value) < 0) {
        fprintf(stderr, "heptad: too many --set, %d at most\n", HEP_OVERRIDES_MAX);
        return false;
    }
    options->overrides[options->override_count++] = text;
    return true;
}

/* The daemon leaves the folder it was started in: a relative path is made absolute here. */
static bool add_path(struct hep_options *options, const char *key, const char *value)
{
    char folder[HEP_PATH_MAX], path[2 * HEP_PATH_MAX];
    if (value[0] == '/' || value[0] == '\0')
        return add(options, key, value);
    if (!getcwd(folder, sizeof folder)) {
        perror("heptad: current folder");
        return false;
    }
    snprintf(path, sizeof path, "%s/%s", folder, value);
    return add(options, key, path);
}

static int take_print(struct hep_options *options, const char *form)
{
    if (form && strcmp(form, "markdown") != 0) {
        fprintf(stderr, "heptad: --print-config or --print-config=markdown\n");
        return HEP_EXIT_CONFIG;
    }
    options->print_markdown = form != NULL;
    options->print_sample = form == NULL;
    return -1;
}

/* Returns −1 to go on. */
static int take_option(struct hep_options *options, int option)
{
    bool taken = true;
    switch (option) {
    case OPTION_CONFIG:
        options->config = optarg;
        break;
    case OPTION_STATE:
        taken = add_path(options, "instance.state_dir", optarg);
        break;
    case OPTION_INSTANCE:
        taken = add(options, "instance.name", optarg);
        break;
    case OPTION_SET:
        taken = add(options, "", optarg);
        break;
    case OPTION_FOREGROUND:
        options->foreground = true;
        break;
    case OPTION_SUCCESSOR:
        options->successor = true;
        break;
    case OPTION_CHECK:
        options->check = true;
        break;
    case OPTION_STATUS:
        options->errand = HEP_ERRAND_STATUS;
        break;
    case OPTION_RELOAD:
        options->errand = HEP_ERRAND_RELOAD;
        break;
    case OPTION_STOP:
        options->errand = HEP_ERRAND_STOP;
        break;
    case OPTION_PRINT:
        return take_print(options, optarg);
#ifdef HEP_CRASH_POINTS
    case OPTION_CRASH_POINTS:
        hep_crash_print("heptad");
        return 0;
#endif
    case OPTION_VERSION:
        printf("heptad %s (build %s)\n", HEP_VERSION, hep_build_id());
        return 0;
    case OPTION_HELP:
        fputs(help, stdout);
        return 0;
    default:
        fputs("`heptad --help` lists the options\n", stderr);
        return HEP_EXIT_CONFIG;
    }
    return taken ? -1 : HEP_EXIT_CONFIG;
}

int hep_options_parse(int argc, char **argv, struct hep_options *options)
{
    int option, status;
    *options = (struct hep_options){.foreground = getenv("NOTIFY_SOCKET") != NULL};
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1)
        if ((status = take_option(options, option)) >= 0)
            return status;
    if (optind < argc) {
        fprintf(stderr, "heptad: %s: no such argument; `heptad --help` lists the options\n", argv[optind]);
        return HEP_EXIT_CONFIG;
    }
    return -1;
}

void hep_options_clear(struct hep_options *options)
{
    for (size_t i = 0; i < options->override_count; i++)
        free((void *)(uintptr_t)options->overrides[i]);
    options->override_count = 0;
}
