/*
 * A domain that has grown beyond domains.memory_limit is replaced between two operations: from the report that shows it
 * on nothing new is sent to it, and once nothing is in hand it is drained and started again. The operation that made it
 * grow ends as it would have. Called by domain.c.
 */
#include "supervisor/proc/domain.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/proc/config.h"

#include <stdio.h>

enum { RECYCLE_EVERY_MS = 60000 }; /* a limit that a fresh process exceeds too does not keep it from working */

void hep_domain_weigh(struct hep_domain *domain, const json_t *report)
{
    int64_t limit = hep_config_int(domain->proc->config, HEP_CONFIG_DOMAINS_MEMORY_LIMIT), now = hep_now_ms();
    int64_t private_bytes = hep_json_int(report, "rss_bytes", 0) - hep_json_int(report, "shared_bytes", 0);
    bool lately = domain->recycled_ms && now - domain->recycled_ms < RECYCLE_EVERY_MS;
    /* what the door's clients wait for is in no operation */
    bool waited_for = hep_json_int(json_object_get(report, "http"), "waiting", 0) > 0;
    bool swollen = limit > 0 && private_bytes > limit && !lately && !waited_for;
    domain->swollen_bytes = swollen ? private_bytes : 0;
    hep_domain_recycle_if_idle(domain);
}

void hep_domain_recycle_if_idle(struct hep_domain *domain)
{
    char why[HEP_ERROR_MESSAGE_MAX], quoted[HEP_ERROR_MESSAGE_MAX];
    const struct hep_proc *proc = domain->proc;
    if (domain->swollen_bytes == 0 || proc->stopping || !hep_proc_is_ready(proc, domain->role) ||
        domain->child->watch.count > 0 ||
        hep_channel_outstanding(domain->child->channel) > (size_t)domain->child->ping_out)
        return;
    snprintf(why, sizeof why, "recycled: has %" PRId64 " MiB of its own, domains.memory_limit is %" PRId64 " MiB",
             domain->swollen_bytes >> 20, hep_config_int(proc->config, HEP_CONFIG_DOMAINS_MEMORY_LIMIT) >> 20);
    hep_log(HEP_NOTICE, "domain.recycled", "domain=%s pid=%d why=%s", hep_role_name(domain->role),
            (int)domain->child->process.pid, hep_log_quote(why, quoted, sizeof quoted));
    snprintf(domain->cause, sizeof domain->cause, "%s", why);
    domain->swollen_bytes = 0;
    domain->recycling = true;
    domain->recycled_ms = hep_now_ms();
    hep_domain_event(domain, HEP_LIFE_ON_DRAIN, why);
}
