/* Counting. Called by engine.c, dispatch.c and the front; allocates only when an operation is seen for the first time.
 */
#include "supervisor/engine/metrics.h"

#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From a light request to a long denoising. */
const struct hep_buckets HEP_METRICS_SECONDS = {
    16, {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}};

struct hep_metrics *hep_metrics_create(void)
{
    struct hep_metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics)
        metrics->created_wall_ms = hep_wall_ms();
    return metrics;
}

void hep_metrics_destroy(struct hep_metrics *metrics)
{
    for (size_t i = 0; metrics && i < metrics->operation_count; i++)
        free(metrics->operations[i]);
    free(metrics);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */
static struct hep_metrics_operation *add(struct hep_metrics *metrics, int domain, const char *name)
{
    struct hep_metrics_operation *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->domain = domain;
    snprintf(made->name, sizeof made->name, "%s", name);
    metrics->operations[metrics->operation_count++] = made;
    return made;
}

/* NULL: no memory; then it is not counted. */
static struct hep_metrics_operation *find(struct hep_metrics *metrics, int domain, const char *name)
{
    for (size_t i = 0; i < metrics->operation_count; i++)
        if (metrics->operations[i]->domain == domain && strcmp(metrics->operations[i]->name, name) == 0)
            return metrics->operations[i];
    if (metrics->operation_count < HEP_METRICS_OPERATIONS_MAX - 1)
        return add(metrics, domain, name);
    bool is_last = domain == HEP_METRICS_UNKNOWN && strcmp(name, "other") == 0;
    return is_last ? add(metrics, domain, name) : find(metrics, HEP_METRICS_UNKNOWN, "other");
}

/* An operation's own name, whichever it was asked by. */
static const char *own_name(const struct hep_metrics *metrics, enum hep_role role, const char *asked)
{
    bool known = metrics->router && role != HEP_ROLE_NONE;
    return hep_json_str(known ? hep_router_operation(metrics->router, role, asked) : NULL, "name", asked);
}

static enum hep_status result_of(enum hep_status status, const json_t *reply)
{
    if (status != HEP_OK || hep_json_bool(reply, "success", false))
        return status;
    const json_t *error = json_object_get(reply, "error");
    return hep_status_from_name(hep_json_str(error, "code", ""));
}

void hep_metrics_answered(struct hep_metrics *metrics, const json_t *message, enum hep_status status,
                          const json_t *reply, int64_t waited_us, int64_t took_us)
{
    const char *type = hep_json_str(message, "type", ""), *name = strchr(type, '.');
    enum hep_role role = hep_role_from_prefix(type, strcspn(type, "."));
    enum hep_status result = result_of(status, reply);
    struct hep_metrics_operation *operation = name ? find(metrics, (int)role, own_name(metrics, role, name + 1)) : NULL;
    if (!operation)
        return;
    if (hep_json_bool(message, "measure", false)) {
        operation->measured[result]++;
        return;
    }
    operation->answered[result]++;
    hep_histogram_observe(&operation->queue, &HEP_METRICS_SECONDS, (double)waited_us * 1e-6, 1);
    if (took_us >= 0)
        hep_histogram_observe(&operation->step, &HEP_METRICS_SECONDS, (double)took_us * 1e-6, 1);
    if (role == HEP_ROLE_POSTPROCESSING && result == HEP_OK)
        metrics->images += json_array_size(json_object_get(json_object_get(reply, "data"), "files"));
}

void hep_metrics_own(struct hep_metrics *metrics, int domain, const char *name, enum hep_status result)
{
    struct hep_metrics_operation *operation = find(metrics, domain, name);
    if (operation)
        operation->answered[result]++;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */
void hep_metrics_event(struct hep_metrics *metrics, const struct hep_session *session, const char *name)
{
    if (strcmp(name, "session.accepted") == 0)
        metrics->accepted++;
    metrics->webhooks_delivered += strcmp(name, "webhook.delivered") == 0;
    metrics->webhooks_failed += strcmp(name, "webhook.failed") == 0;
    if (!session || strcmp(name, "session.state") != 0 || !hep_session_is_ended(session->state))
        return;
    if (session->started)
        hep_histogram_observe(&metrics->session_queue, &HEP_METRICS_SECONDS,
                              (double)(session->started - session->created) * 1e-3, 1);
    hep_histogram_observe(&metrics->session_ended[session->state], &HEP_METRICS_SECONDS,
                          (double)(session->ended - session->created) * 1e-3, 1);
}

/* ---- what processes report --------------------------------------------------------------------------------------- */
static void carry(struct hep_metrics_carried *counter, int64_t reported)
{
    uint64_t now = reported > 0 ? (uint64_t)reported : 0;
    if (now <= counter->last)
        return;
    counter->total += now - counter->last;
    counter->last = now;
}

void hep_metrics_ready(struct hep_metrics *metrics, enum hep_role role)
{
    metrics->domains[role].cpu_ms.last = metrics->domains[role].reports_dropped.last = 0;
    for (size_t i = 0; role == HEP_ROLE_INFERENCE && i < HEP_METRICS_ROWS_MAX; i++)
        metrics->rows[i].last = 0;
    if (role == HEP_ROLE_COMMUNICATION)
        metrics->http_requests.last = metrics->http_refused.last = 0;
}

void hep_metrics_report(struct hep_metrics *metrics, enum hep_role role, const json_t *report)
{
    const json_t *sizes = json_object_get(json_object_get(report, "inference"), "group_sizes"),
                 *http = json_object_get(report, "http");
    if (strcmp(hep_json_str(report, "kind", ""), "status") != 0)
        return;
    carry(&metrics->domains[role].cpu_ms, hep_json_int(report, "cpu_ms", 0));
    carry(&metrics->domains[role].reports_dropped, hep_json_int(report, "reports_dropped", 0));
    for (int rows = 1; role == HEP_ROLE_INFERENCE && rows <= HEP_METRICS_ROWS_MAX; rows++) {
        char name[16];
        snprintf(name, sizeof name, "%d", rows);
        carry(&metrics->rows[rows - 1], hep_json_int(sizes, name, 0));
    }
    if (role != HEP_ROLE_COMMUNICATION)
        return;
    carry(&metrics->http_requests, hep_json_int(http, "requests", 0));
    carry(&metrics->http_refused, hep_json_int(http, "refused", 0));
}

void hep_metrics_died(struct hep_metrics *metrics, enum hep_role role, const json_t *obituary)
{
    carry(&metrics->domains[role].cpu_ms, hep_json_int(obituary, "cpu_ms", 0)); /* what it used since its last report */
}

void hep_metrics_state(struct hep_metrics *metrics, enum hep_role role, const char *state)
{
    struct hep_metrics_domain *domain = &metrics->domains[role];
    bool busy = strcmp(state, "busy") == 0;
    int64_t now = hep_now_us();
    if (domain->busy_since_us && !busy)
        domain->busy_us += now - domain->busy_since_us;
    if (!busy)
        domain->busy_since_us = 0;
    else if (!domain->busy_since_us)
        domain->busy_since_us = now;
}

int64_t hep_metrics_busy_us(const struct hep_metrics *metrics, enum hep_role role)
{
    const struct hep_metrics_domain *domain = &metrics->domains[role];
    return domain->busy_us + (domain->busy_since_us ? hep_now_us() - domain->busy_since_us : 0);
}
