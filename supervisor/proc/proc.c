/*
 * The seven domains together: start, stop, restart, requests, the tick that looks for hangs. Called by main and by the
 * engine; what happens to one domain is domain.c.
 */
#include "supervisor/proc/domain.h"

#include "common/log.h"
#include "supervisor/proc/config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

enum { TICK_MS = 250 };

enum hep_status hep_proc_create(struct hep_loop *loop, const struct hep_config *config,
                                const struct hep_proc_events *events, struct hep_proc **proc, struct hep_error *error)
{
    struct hep_proc *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the domains");
    made->loop = loop;
    made->config = config;
    if (events)
        made->events = *events;
    hep_generations_init(&made->generations, hep_config_text(config, HEP_CONFIG_INSTANCE_STATE_DIR));
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        hep_domain_init(&made->domains[role], made, (enum hep_role)role);
    *proc = made;
    return HEP_OK;
}

void hep_proc_destroy(struct hep_proc *proc)
{
    if (!proc)
        return;
    proc->stopping = true;
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        hep_domain_clear(&proc->domains[role]);
    hep_loop_cancel(proc->tick);
    hep_loop_cancel(proc->stopped);
    free(proc);
}

void hep_proc_set_lock(struct hep_proc *proc, struct hep_lock *lock)
{
    proc->lock = lock;
}

static bool is_serving(const struct hep_domain *domain)
{
    return (domain->life == HEP_LIFE_READY || domain->life == HEP_LIFE_BUSY) && domain->child->channel;
}

static void on_tick(void *context)
{
    struct hep_proc *proc = context;
    proc->tick = hep_loop_after(proc->loop, TICK_MS, on_tick, proc);
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        if (is_serving(&proc->domains[role])) {
            hep_domain_recycle_if_idle(&proc->domains[role]);
            hep_child_tick(proc->domains[role].child, hep_config_int(proc->config, HEP_CONFIG_DOMAINS_HANG_MS));
        }
}

enum hep_status hep_proc_start(struct hep_proc *proc, struct hep_error *error)
{
    proc->tick = hep_loop_after(proc->loop, TICK_MS, on_tick, proc);
    if (!proc->tick)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a timer");
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        hep_domain_event(&proc->domains[role], HEP_LIFE_ON_PROBE, "");
    return HEP_OK;
}

/* ---- the end
 * ----------------------------------------------------------------------------------------------------------- */
static void on_stopped(void *context)
{
    struct hep_proc *proc = context;
    proc->stopped = NULL;
    hep_log(HEP_INFO, "domains.stopped", "count=%d", HEP_ROLE_COUNT);
    if (proc->events.all_stopped)
        proc->events.all_stopped(proc->events.context);
}

void hep_proc_domain_is_absent(struct hep_proc *proc)
{
    if (!proc->stopping || proc->stopped)
        return;
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        if (proc->domains[role].life != HEP_LIFE_ABSENT)
            return;
    hep_loop_cancel(hep_take(&proc->tick));
    proc->stopped = hep_loop_after(proc->loop, 0, on_stopped, proc);
}

void hep_proc_stop(struct hep_proc *proc, int64_t drain_ms)
{
    hep_log(HEP_INFO, "domains.stopping", "drain_ms=%" PRId64, drain_ms);
    proc->stopping = true;
    proc->drain_ms = drain_ms;
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        hep_domain_event(&proc->domains[role], HEP_LIFE_ON_DRAIN, "the daemon ends");
}

enum hep_status hep_proc_restart(struct hep_proc *proc, enum hep_role role, struct hep_error *error)
{
    struct hep_domain *domain = &proc->domains[role];
    if (proc->stopping)
        return hep_fail(error, HEP_E_NOT_NOW, "the daemon is ending");
    if (domain->child)
        domain->restart_asked = true;
    else
        domain->backoff = (struct hep_backoff){0};
    hep_domain_event(domain, HEP_LIFE_ON_KILL, "restarted by the operator");
    return HEP_OK;
}

void hep_proc_reload(struct hep_proc *proc)
{
    proc->reading++;
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        struct hep_domain *domain = &proc->domains[role];
        if (domain->life == HEP_LIFE_FAILED)
            hep_proc_restart(proc, (enum hep_role)role, NULL);
        else if (is_serving(domain))
            hep_domain_configure(domain);
    }
}

void hep_proc_reap_strays(struct hep_proc *proc)
{
    for (;;) {
        siginfo_t about = {0};
        if (waitid(P_ALL, 0, &about, WEXITED | WNOHANG | WNOWAIT) != 0 || about.si_pid == 0)
            return;
        for (int role = 0; role < HEP_ROLE_COUNT; role++)
            if (proc->domains[role].child && proc->domains[role].child->process.pid == about.si_pid)
                return; /* its pidfd tells; a stray behind it is found at the next SIGCHLD */
        waitpid(about.si_pid, NULL, 0);
        hep_log(HEP_INFO, "stray.reaped", "pid=%d", (int)about.si_pid);
    }
}

/* ---- requests
 * ------------------------------------------------------------------------------------------------------------ */
bool hep_proc_is_ready(const struct hep_proc *proc, enum hep_role role)
{
    return is_serving(&proc->domains[role]);
}

bool hep_proc_is_recycling(const struct hep_proc *proc, enum hep_role role)
{
    return proc->domains[role].swollen_bytes > 0 || proc->domains[role].recycling;
}

enum hep_status hep_proc_request(struct hep_proc *proc, enum hep_role role, json_t *message, hep_proc_done *done,
                                 void *context, struct hep_error *error)
{
    struct hep_domain *domain = &proc->domains[role];
    if (!is_serving(domain)) {
        hep_fail(error, HEP_E_DOMAIN_DOWN, "%s is %s%s%s", hep_role_name(role), hep_life_state_name(domain->life),
                 domain->cause[0] ? ": " : "", domain->cause);
        if (domain->life == HEP_LIFE_FAILED && domain->next_try_ms == 0)
            return hep_hint(error, "put right what it says, then `heptctl restart %s`", hep_role_name(role));
        return HEP_E_DOMAIN_DOWN;
    }
    return hep_channel_send(domain->child->channel, message, done, context, error);
}
