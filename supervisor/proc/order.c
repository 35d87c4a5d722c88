/*
 * The command line of an instructor: contract.h's arguments and, from the configuration table, the settings that its
 * domain takes. Called by domain.c for each start, and when the configuration has been read again.
 */
#include "supervisor/proc/domain.h"

#include "common/crash_point.h"
#include "common/limits.h"
#include "supervisor/proc/config.h"
#include "supervisor/proc/lock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct arguments {
    char *list[HEP_SPAWN_ARGUMENTS_MAX + 1]; /* each malloc'ed; NULL-terminated */
    int count;
    bool failed;
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *arguments, const char *format, ...)
{
    va_list values;
    char *text = NULL;
    va_start(values, format);
    if (arguments->count == HEP_SPAWN_ARGUMENTS_MAX || vasprintf(&text, format, values) < 0)
        arguments->failed = true;
    else
        arguments->list[arguments->count++] = text;
    va_end(values);
}

static void add_settings(struct arguments *arguments, const struct hep_config *config, enum hep_role role)
{
    for (int i = 0; i < HEP_CONFIG_KEY_COUNT; i++) {
        enum hep_config_key key = (enum hep_config_key)i;
        const char *text = hep_config_text(config, key);
        if (!hep_config_is_for(key, role) || text[0] == '\0')
            continue;
        add(arguments, "--set");
        add(arguments, "%s=%s", hep_config_key_name(key), text);
    }
}

static void fill(struct arguments *arguments, const struct hep_proc *proc, enum hep_role role, uint64_t generation,
                 const char *program, const char *socket)
{
    const struct hep_config *config = proc->config;
    add(arguments, "%s", program);
    add(arguments, "--instance");
    add(arguments, "%s", hep_config_instance(config));
    add(arguments, "--generation");
    add(arguments, "%" PRIu64, generation);
    add(arguments, "--socket");
    add(arguments, "%s", socket);
    add(arguments, "--report-fd");
    add(arguments, "3");
    add(arguments, "--state-dir");
    add(arguments, "%s", hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR));
    if (role == HEP_ROLE_COMMUNICATION) {
        add(arguments, "--front");
        add(arguments, "%s", hep_config_front_socket(config));
    }
    add_settings(arguments, config, role);
}

enum hep_status hep_domain_spawn(struct hep_domain *domain, uint64_t generation, const struct hep_child_events *events,
                                 struct hep_error *error)
{
    struct hep_proc *proc = domain->proc;
    const struct hep_config *config = proc->config;
    char program[HEP_PATH_MAX + 64], socket[HEP_PATH_MAX];
    struct arguments arguments = {.count = 0};
    snprintf(program, sizeof program, "%s/%s", hep_config_text(config, HEP_CONFIG_DOMAINS_BIN_DIR),
             hep_role(domain->role)->binary);
    hep_runtime_socket(hep_config_text(config, HEP_CONFIG_INSTANCE_RUNTIME_DIR), domain->role, generation, socket,
                       sizeof socket);
    fill(&arguments, proc, domain->role, generation, program, socket);
    const struct hep_spawn_order order = {.program = program,
                                          .arguments = arguments.list,
                                          .lock_fd = proc->lock ? hep_lock_fd(proc->lock) : -1,
                                          .core_limit = hep_config_int(config, HEP_CONFIG_DOMAINS_CORE_LIMIT),
                                          .open_files = hep_config_int(config, HEP_CONFIG_DOMAINS_OPEN_FILES)};
#ifdef HEP_CRASH_POINTS
    hep_crash_enter_spawn(hep_role_name(domain->role));
#endif
    enum hep_status status =
        arguments.failed
            ? hep_fail(error, HEP_E_NO_MEMORY, "no memory for the arguments of %s", program)
            : hep_child_create(proc->loop, domain->role, generation, socket, &order, events, &domain->child, error);
    for (int i = 0; i < arguments.count; i++)
        free(arguments.list[i]);
    if (status == HEP_OK)
        domain->configured = proc->reading;
#ifdef HEP_CRASH_POINTS
    hep_crash_leave_spawn(hep_role_name(domain->role));
#endif
    HEP_CRASH_POINT("start.domain_spawned");
    if (status == HEP_OK && proc->lock)
        hep_lock_note_child(proc->lock, domain->child->process.pid);
    return status;
}

void hep_domain_configure(struct hep_domain *domain)
{
    const struct hep_proc *proc = domain->proc;
    json_t *settings = json_object();
    if (domain->configured != proc->reading)
        for (int i = 0; i < HEP_CONFIG_KEY_COUNT; i++) {
            enum hep_config_key key = (enum hep_config_key)i;
            if (hep_config_is_live(key) && hep_config_is_for(key, domain->role))
                json_object_set_new(settings, hep_config_key_name(key),
                                    json_string(hep_config_text(proc->config, key)));
        }
    domain->configured = proc->reading;
    if (json_object_size(settings) > 0)
        hep_child_configure(domain->child, settings);
    else
        json_decref(settings);
}
