/*
 * The metrics as text (exposition.h), for metrics.get and GET /metrics. Called by the front; asks nobody: gauges come
 * from the same document as status.get, counts from metrics.c. To add a family: a row in the table at the end, and its
 * function; docs/metrics.md has a row for each, a test compares.
 */
#include "supervisor/engine/metrics.h"

#include "common/build.h"
#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* One answer. */
struct scrape {
    FILE *out;
    struct hep_engine *engine;
    const struct hep_metrics *metrics;
    json_t *status;   /* as status.get  */
    const char *name; /* of the family in hand */
};
#define ONE_LABEL(label, text) HEP_LABELS({label, text})

static const char *domain_name(int domain)
{
    return domain < HEP_ROLE_COUNT ? hep_role_name((enum hep_role)domain)
                                   : (domain == HEP_METRICS_SUPERVISOR ? "supervisor" : "unknown");
}

static const char *result_name(enum hep_status result)
{
    return result == HEP_OK ? "ok" : hep_status_name(result);
}

/* ---- the daemon -------------------------------------------------------------------------------------------------- */
static void build_info(const struct scrape *s)
{
    hep_expose_count(s->out, s->name, HEP_LABELS({"version", HEP_VERSION}, {"build", hep_build_id()}), 1);
}

static void start_time(const struct scrape *s)
{
    hep_expose_value(s->out, s->name, NULL, (double)s->metrics->created_wall_ms * 1e-3);
}

static void ready(const struct scrape *s)
{
    hep_expose_count(s->out, s->name, NULL, hep_json_bool(s->status, "ready", false));
}

static void store_works(const struct scrape *s)
{
    hep_expose_count(s->out, s->name, NULL, hep_json_bool(json_object_get(s->status, "store"), "works", false));
}

static void store_bytes(const struct scrape *s)
{
    const json_t *store = json_object_get(s->status, "store");
    hep_expose_value(s->out, s->name, NULL,
                     (double)(hep_json_int(store, "bytes", 0) + hep_json_int(store, "wal_bytes", 0)));
}

/* ---- the domains ------------------------------------------------------------------------------------------------- */
/* What a row of status.get's domains says, for each of them. scale: of one of its units. */
static void each_domain(const struct scrape *s, const char *key, double scale)
{
    size_t index;
    json_t *domain;
    json_array_foreach(json_object_get(s->status, "domains"), index, domain)
    {
        const json_t *value = json_object_get(domain, key);
        double number = json_is_boolean(value) ? (double)json_is_true(value) : json_number_value(value) * scale;
        if (value)
            hep_expose_value(s->out, s->name, ONE_LABEL("domain", hep_json_str(domain, "domain", "")), number);
    }
}

static void domain_up(const struct scrape *s)
{
    each_domain(s, "healthy", 1);
}

static void report_age(const struct scrape *s)
{
    each_domain(s, "reported_ms_ago", 1e-3);
}

static void restarts(const struct scrape *s)
{
    each_domain(s, "restarts", 1);
}

static void deaths(const struct scrape *s)
{
    each_domain(s, "deaths", 1);
}

static void recycled(const struct scrape *s)
{
    each_domain(s, "recycled", 1);
}

static void busy(const struct scrape *s)
{
    each_domain(s, "busy_ms", 1e-3);
}

/* Of this process: resident, and of that, shared with others, bytes. */
static void own_memory(double *resident, double *shared)
{
    long pages = 0, resident_pages = 0, shared_pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%ld %ld %ld", &pages, &resident_pages, &shared_pages) != 3)
        resident_pages = shared_pages = 0;
    if (file)
        fclose(file);
    *resident = (double)resident_pages * (double)sysconf(_SC_PAGESIZE);
    *shared = (double)shared_pages * (double)sysconf(_SC_PAGESIZE);
}

static void resident(const struct scrape *s)
{
    double bytes, shared;
    each_domain(s, "rss_bytes", 1);
    own_memory(&bytes, &shared);
    hep_expose_value(s->out, s->name, ONE_LABEL("domain", "supervisor"), bytes);
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static void cpu(const struct scrape *s)
{
    struct rusage usage = {0};
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        hep_expose_value(s->out, s->name, ONE_LABEL("domain", domain_name(role)),
                         (double)s->metrics->domains[role].cpu_ms.total * 1e-3);
    getrusage(RUSAGE_SELF, &usage);
    hep_expose_value(s->out, s->name, ONE_LABEL("domain", "supervisor"),
                     seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
}

static void cores(const struct scrape *s)
{
    double leased[HEP_ROLE_COUNT] = {0};
    size_t index;
    json_t *lease;
    json_array_foreach(json_object_get(s->status, "leases"), index, lease)
    {
        const char *name = hep_json_str(lease, "domain", "");
        enum hep_role role = hep_role_from_prefix(name, strlen(name));
        if (role != HEP_ROLE_NONE)
            leased[role] = (double)json_array_size(json_object_get(lease, "cores"));
    }
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        hep_expose_value(s->out, s->name, ONE_LABEL("domain", domain_name(role)), leased[role]);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */
static void count_results(const struct scrape *s, const struct hep_metrics_operation *operation, const uint64_t *counts)
{
    for (int result = 0; result < HEP_STATUS_COUNT; result++)
        if (counts[result])
            hep_expose_count(s->out, s->name,
                             HEP_LABELS({"domain", domain_name(operation->domain)}, {"operation", operation->name},
                                        {"result", result_name((enum hep_status)result)}),
                             counts[result]);
}

static void requests(const struct scrape *s)
{
    for (size_t i = 0; i < s->metrics->operation_count; i++)
        count_results(s, s->metrics->operations[i], s->metrics->operations[i]->answered);
}

static void measures(const struct scrape *s)
{
    for (size_t i = 0; i < s->metrics->operation_count; i++)
        count_results(s, s->metrics->operations[i], s->metrics->operations[i]->measured);
}

static void times_of(const struct scrape *s, const struct hep_metrics_operation *operation,
                     const struct hep_histogram *times)
{
    if (operation->domain < HEP_ROLE_COUNT && hep_histogram_count(times) > 0)
        hep_expose_histogram(s->out, s->name,
                             HEP_LABELS({"domain", domain_name(operation->domain)}, {"operation", operation->name}),
                             &HEP_METRICS_SECONDS, times);
}

static void queue_seconds(const struct scrape *s)
{
    for (size_t i = 0; i < s->metrics->operation_count; i++)
        times_of(s, s->metrics->operations[i], &s->metrics->operations[i]->queue);
}

static void step_seconds(const struct scrape *s)
{
    for (size_t i = 0; i < s->metrics->operation_count; i++)
        times_of(s, s->metrics->operations[i], &s->metrics->operations[i]->step);
}

static void each_queue(const struct scrape *s, const char *key)
{
    const char *domain;
    json_t *counts;
    json_object_foreach(json_object_get(s->status, "queue"), domain, counts)
        hep_expose_value(s->out, s->name, ONE_LABEL("domain", domain), (double)hep_json_int(counts, key, 0));
}

static void waiting(const struct scrape *s)
{
    each_queue(s, "waiting");
}

static void in_hand(const struct scrape *s)
{
    each_queue(s, "in_hand");
}

/* ---- sessions and images ----------------------------------------------------------------------------------------- */
static void sessions(const struct scrape *s)
{
    const char *state;
    json_t *count;
    json_object_foreach(json_object_get(s->status, "sessions"), state, count)
        hep_expose_value(s->out, s->name, ONE_LABEL("status", state), json_number_value(count));
}

static void accepted(const struct scrape *s)
{
    hep_expose_count(s->out, s->name, NULL, s->metrics->accepted);
}

static void session_queue(const struct scrape *s)
{
    hep_expose_histogram(s->out, s->name, NULL, &HEP_METRICS_SECONDS, &s->metrics->session_queue);
}

static void session_seconds(const struct scrape *s)
{
    for (int state = 0; state < HEP_SESSION_STATE_COUNT; state++)
        if (hep_session_is_ended((enum hep_session_state)state))
            hep_expose_histogram(s->out, s->name,
                                 ONE_LABEL("status", hep_session_state_name((enum hep_session_state)state)),
                                 &HEP_METRICS_SECONDS, &s->metrics->session_ended[state]);
}

static void images(const struct scrape *s)
{
    hep_expose_count(s->out, s->name, NULL, s->metrics->images);
}

static void webhooks(const struct scrape *s)
{
    hep_expose_count(s->out, s->name, ONE_LABEL("result", "delivered"), s->metrics->webhooks_delivered);
    hep_expose_count(s->out, s->name, ONE_LABEL("result", "failed"), s->metrics->webhooks_failed);
}

static void webhooks_waiting(const struct scrape *s)
{
    hep_expose_value(s->out, s->name, NULL, hep_webhooks_waiting(s->engine->webhooks));
}

static void rows_per_step(const struct scrape *s)
{
    static const struct hep_buckets rows = {8, {1, 2, 3, 4, 6, 8, 12, 16}};
    struct hep_histogram runs = {0};
    for (size_t i = 0; i < HEP_METRICS_ROWS_MAX; i++)
        hep_histogram_observe(&runs, &rows, (double)(i + 1), s->metrics->rows[i].total);
    hep_expose_histogram(s->out, s->name, NULL, &rows, &runs);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */
static const json_t *domain_row(const struct scrape *s, enum hep_role role)
{
    return json_array_get(json_object_get(s->status, "domains"), (size_t)role);
}

/* Private memory of all processes, and the segments, which are nobody's alone. */
static double used_bytes(const struct scrape *s)
{
    double resident_bytes, shared;
    own_memory(&resident_bytes, &shared);
    double used =
        resident_bytes - shared + (double)hep_json_int(json_object_get(s->status, "memory"), "shm_instance_bytes", 0);
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        const json_t *row = domain_row(s, (enum hep_role)role);
        used += (double)(hep_json_int(row, "rss_bytes", 0) - hep_json_int(row, "shared_bytes", 0));
    }
    return used;
}

static void put_bytes(const struct scrape *s, const char *kind, double bytes)
{
    hep_expose_value(s->out, s->name, ONE_LABEL("kind", kind), bytes);
}

static void memory(const struct scrape *s)
{
    const json_t *sum = json_object_get(s->status, "memory"),
                 *machine = json_object_get(domain_row(s, HEP_ROLE_DEVICE), "detail");
    put_bytes(s, "budget", (double)hep_json_int(sum, "budget_bytes", 0));
    put_bytes(s, "planned", (double)hep_json_int(sum, "sessions_bytes", 0));
    put_bytes(s, "used", used_bytes(s));
    if (json_object_get(machine, "available_bytes")) /* the device domain has reported */
        put_bytes(s, "free", (double)hep_json_int(machine, "available_bytes", 0));
}

static void shm(const struct scrape *s)
{
    const json_t *sum = json_object_get(s->status, "memory");
    put_bytes(s, "total", (double)hep_json_int(sum, "shm_total_bytes", 0));
    put_bytes(s, "free", (double)hep_json_int(sum, "shm_free_bytes", 0));
    put_bytes(s, "instance", (double)hep_json_int(sum, "shm_instance_bytes", 0));
}

static void segments(const struct scrape *s)
{
    hep_expose_value(s->out, s->name, NULL, (double)hep_json_int(json_object_get(s->status, "memory"), "segments", 0));
}

/* ---- events and the door ----------------------------------------------------------------------------------------- */
static void events_dropped(const struct scrape *s)
{
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        hep_expose_count(s->out, s->name, HEP_LABELS({"where", "report"}, {"domain", domain_name(role)}),
                         s->metrics->domains[role].reports_dropped.total);
    hep_expose_count(s->out, s->name, HEP_LABELS({"where", "ring"}, {"domain", "supervisor"}),
                     hep_events_missed(s->engine->events));
}

static void http_requests(const struct scrape *s)
{
    hep_expose_count(s->out, s->name, NULL, s->metrics->http_requests.total);
}

static void http_refused(const struct scrape *s)
{
    hep_expose_count(s->out, s->name, NULL, s->metrics->http_refused.total);
}

static void http_connections(const struct scrape *s)
{
    static const char *const kinds[] = {"connections", "waiting", "subscribers"};
    const json_t *http = json_object_get(json_object_get(domain_row(s, HEP_ROLE_COMMUNICATION), "detail"), "http");
    for (size_t i = 0; i < HEP_COUNT_OF(kinds); i++)
        hep_expose_value(s->out, s->name, ONE_LABEL("kind", kinds[i]), (double)hep_json_int(http, kinds[i], 0));
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */
static const struct family {
    const char *name, *type;
    void (*put)(const struct scrape *s);
    const char *help;
} families[] = {
    {"heptad_build_info", "gauge", build_info, "Version and build of the daemon; always 1."},
    {"heptad_start_time_seconds", "gauge", start_time, "When the supervisor was started, seconds since 1970."},
    {"heptad_ready", "gauge", ready, "1 when every domain is ready and the store works, else 0."},
    {"heptad_store_works", "gauge", store_works, "0 while the store cannot be written and requests are refused."},
    {"heptad_store_bytes", "gauge", store_bytes, "Size of the store with its log."},
    {"heptad_domain_up", "gauge", domain_up, "1 when the domain is ready, reports, and gets on, else 0."},
    {"heptad_domain_report_age_seconds", "gauge", report_age, "Age of the domain's last report."},
    {"heptad_domain_restarts_total", "counter", restarts, "Processes of the domain that were started after the first."},
    {"heptad_domain_deaths_total", "counter", deaths, "Processes of the domain that have ended, recycled ones apart."},
    {"heptad_domain_recycled_total", "counter", recycled, "Processes that were replaced because of their memory."},
    {"heptad_domain_busy_seconds_total", "counter", busy, "Time that the domain had an operation in hand."},
    {"heptad_domain_cores", "gauge", cores, "Cores that the domain has a lease of."},
    {"heptad_process_resident_memory_bytes", "gauge", resident, "Resident memory, shared pages included."},
    {"heptad_process_cpu_seconds_total", "counter", cpu, "CPU time of all processes of the domain."},
    {"heptad_requests_total", "counter", requests, "Requests that were answered, by who did it, and with what result."},
    {"heptad_measures_total", "counter", measures, "Requests of the measure pass, which are not among the others."},
    {"heptad_queue_seconds", "histogram", queue_seconds, "Time that a request to a domain waited to be sent."},
    {"heptad_step_seconds", "histogram", step_seconds, "Time from a request's being sent to its answer."},
    {"heptad_requests_waiting", "gauge", waiting, "Requests that wait to be sent."},
    {"heptad_requests_in_hand", "gauge", in_hand, "Requests that were sent and are not answered."},
    {"heptad_sessions", "gauge", sessions, "Sessions that the store has, by status."},
    {"heptad_sessions_accepted_total", "counter", accepted, "Sessions that were accepted."},
    {"heptad_session_queue_seconds", "histogram", session_queue,
     "Time from acceptance to the first step, of sessions that have ended."},
    {"heptad_session_seconds", "histogram", session_seconds, "Time from acceptance to the end."},
    {"heptad_images_total", "counter", images, "Image files that were written."},
    {"heptad_webhooks_total", "counter", webhooks, "Webhooks that were delivered, and that were given up."},
    {"heptad_webhooks_waiting", "gauge", webhooks_waiting, "Webhooks that are not delivered yet."},
    {"heptad_inference_rows_per_step", "histogram", rows_per_step, "Images that one run of the network denoised."},
    {"heptad_memory_bytes", "gauge", memory,
     "Memory: budget of all sessions, planned for those that run, used by all processes and segments, free."},
    {"heptad_shm_bytes", "gauge", shm, "Shared memory: size of /dev/shm, what is free there, and what is ours."},
    {"heptad_shm_segments", "gauge", segments, "Segments of this daemon in /dev/shm."},
    {"heptad_events_dropped_total", "counter", events_dropped,
     "Reports that found the channel full, and events that a reader came too late for."},
    {"heptad_http_requests_total", "counter", http_requests, "HTTP requests."},
    {"heptad_http_refused_total", "counter", http_refused, "HTTP requests that were answered with an error."},
    {"heptad_http_connections", "gauge", http_connections,
     "Connections of the door, those that wait for an answer, and readers of the event stream."},
};

const char *hep_metrics_family(size_t index)
{
    return index < HEP_COUNT_OF(families) ? families[index].name : NULL;
}

char *hep_metrics_text(struct hep_engine *engine)
{
    char *text = NULL;
    size_t size = 0;
    struct scrape scrape = {.engine = engine, .metrics = engine->metrics, .status = hep_engine_status(engine)};
    scrape.out = open_memstream(&text, &size);
    for (size_t i = 0; scrape.out && i < HEP_COUNT_OF(families); i++) {
        scrape.name = families[i].name;
        hep_expose_family(scrape.out, families[i].name, families[i].type, families[i].help);
        families[i].put(&scrape);
    }
    if (scrape.out && fclose(scrape.out) != 0) { /* no memory for all of it */
        free(text);
        text = NULL;
    }
    json_decref(scrape.status);
    return text;
}
