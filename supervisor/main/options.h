/* The command line of heptad. */
#ifndef HEP_SUPERVISOR_MAIN_OPTIONS_H
#define HEP_SUPERVISOR_MAIN_OPTIONS_H

#include "supervisor/main/holder.h"

#include <stdbool.h>
#include <stddef.h>

enum { HEP_OVERRIDES_MAX = 64 };

struct hep_options {
    const char *config;                       /* --config; NULL = the installation's, if there is one           */
    const char *overrides[HEP_OVERRIDES_MAX]; /* --set, --state, --instance as "section.key=value"; malloc'ed    */
    size_t override_count;
    bool foreground;                   /* --foreground, or started by systemd                             */
    bool successor;                    /* takes over a daemon's process: it has detached already          */
    bool check;                        /* --check                                                         */
    enum hep_errand errand;            /* --status, --reload, --stop: of the daemon in the state folder    */
    bool print_sample, print_markdown; /* --print-config[=markdown]                                       */
};

/* Returns −1 to go on, else the exit status (--help, --version, a mistake; printed already). */
int hep_options_parse(int argc, char **argv, struct hep_options *options);
void hep_options_clear(struct hep_options *options);

#endif
