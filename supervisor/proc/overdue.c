/*
 * Whether supervision itself gets on. Every state of a domain that is not rest has a time by which something must have
 * followed: READY or its deadline, an answer or a kill, a death, the next try. Called by main before it tells systemd's
 * watchdog that all is well: a domain that dies, hangs or has failed is being dealt with, one that nobody deals with
 * any more is a supervisor to be restarted.
 */
#include "supervisor/proc/domain.h"

#include "common/clock.h"
#include "supervisor/proc/config.h"

#include <stdio.h>

enum { LATE_MS = 5000 /* a busy machine, a tick that came late */ };

int64_t hep_domain_due(const struct hep_domain *domain)
{
    bool serving = domain->life == HEP_LIFE_READY || domain->life == HEP_LIFE_BUSY;
    if (serving && domain->child)
        return hep_child_due(domain->child, hep_config_int(domain->proc->config, HEP_CONFIG_DOMAINS_HANG_MS));
    return domain->due_ms;
}

bool hep_proc_is_on_time(const struct hep_proc *proc, char *why, size_t size)
{
    int64_t now = hep_now_ms();
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        const struct hep_domain *domain = &proc->domains[role];
        int64_t due = hep_domain_due(domain);
        if (due == 0 || now - due <= LATE_MS)
            continue;
        snprintf(why, size, "%s is %s and nothing has followed for %" PRId64 " ms", hep_role_name(domain->role),
                 hep_life_state_name(domain->life), now - due);
        return false;
    }
    return true;
}
