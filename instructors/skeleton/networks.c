/* Open networks of an instructor, by segment. Holds each mapping itself, beyond the call that brought the reference. */
#include "instructors/skeleton/networks.h"

#include "common/clock.h"
#include "common/log.h"
#include "shm/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPORT_EVERY_US = 1000000 };

static size_t close_one(struct open_network *open, struct hep_instructor *self)
{
    size_t bytes = open->network ? hep_network_arena_bytes(open->network) : 0;
    hep_network_close(open->network);
    if (open->tensor.data)
        hep_instructor_unhold(self, &open->tensor);
    free(open->config);
    memset(open, 0, sizeof *open);
    return bytes;
}

/* Weights only: nobody can write to them, so what was checked at opening still holds at the thousandth step. */
enum hep_status networks_check_ref(const struct hep_tensor_ref *ref, struct hep_error *error)
{
    struct hep_segment_name name;
    if (!hep_ref_is_placed(ref))
        return hep_fail(error, HEP_E_BAD_REFERENCE,
                        "weights must be published before anything can be planned with them");
    HEP_TRY(hep_segment_name_parse(ref->segment, &name, error));
    if (name.kind != HEP_SEGMENT_WEIGHTS || ref->offset != 0)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "%s is no published weights, or not the whole of them",
                        ref->segment);
    return HEP_OK;
}

static enum hep_status open_one(struct open_network *open, struct hep_instructor *self,
                                const struct hep_tensor_ref *ref, const struct network_want *want,
                                struct hep_error *error)
{
    HEP_TRY(hep_instructor_hold(self, ref, &open->tensor, error));
    enum hep_status status = hep_network_open(&open->tensor, want->blob, &open->network, error);
    if (status != HEP_OK) {
        close_one(open, self);
        return hep_prefix(error, "%s", ref->segment), status;
    }
    snprintf(open->segment, sizeof open->segment, "%s", ref->segment);
    snprintf(open->blob, sizeof open->blob, "%s", want->blob);
    hep_log(HEP_INFO, "network.mapped", "segment=%s blob=%s bytes=%" PRId64, ref->segment, want->blob,
            ref->shape.dims[0]);
    return HEP_OK;
}

static enum hep_status read_config(struct open_network *open, const struct network_want *want, struct hep_error *error)
{
    union hep_any_config *config = malloc(sizeof *config);
    if (!config)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a configuration");
    enum hep_status status = want->read(hep_network_config(open->network), want->file, config, error);
    if (status == HEP_OK)
        open->config = config;
    else
        free(config);
    return status;
}

/* Unloaded or evicted: its memory goes when the last mapping does. */
static bool is_gone(const struct open_network *open)
{
    struct hep_segment_name name;
    uint64_t bytes;
    int fd;
    if (!open->segment[0] || hep_segment_name_parse(open->segment, &name, NULL) != HEP_OK)
        return false;
    enum hep_status status = hep_segment_open(&name, false, &fd, &bytes, NULL);
    if (status == HEP_OK)
        close(fd);
    return status == HEP_E_NOT_FOUND;
}

static void close_gone(struct networks *networks, struct hep_instructor *self)
{
    for (int i = 0; i < NETWORKS_KEPT; i++) {
        struct open_network *open = &networks->open[i];
        if (networks->clock - open->last_used >= NETWORKS_KEPT && is_gone(open))
            close_one(open, self);
    }
}

static struct open_network *find(struct networks *networks, const struct hep_tensor_ref *ref, const char *blob)
{
    for (int i = 0; i < NETWORKS_KEPT; i++)
        if (strcmp(networks->open[i].segment, ref->segment) == 0 && strcmp(networks->open[i].blob, blob) == 0)
            return &networks->open[i];
    return NULL;
}

static struct open_network *longest_unused(struct networks *networks)
{
    struct open_network *oldest = &networks->open[0];
    for (int i = 1; i < NETWORKS_KEPT; i++)
        if (networks->open[i].last_used < oldest->last_used)
            oldest = &networks->open[i];
    return oldest;
}

enum hep_status networks_get(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *ref,
                             const struct network_want *want, struct hep_network **network,
                             const union hep_any_config **config, struct hep_error *error)
{
    HEP_TRY(networks_check_ref(ref, error));
    struct open_network *found = find(networks, ref, want->blob);
    if (!found) {
        struct open_network fresh = {0};
        close_gone(networks, self);
        HEP_TRY(open_one(&fresh, self, ref, want, error));
        found = longest_unused(networks);
        close_one(found, self);
        *found = fresh;
    }
    found->last_used = ++networks->clock;
    if (!found->config)
        HEP_TRY(read_config(found, want, error));
    *network = found->network;
    *config = found->config;
    return HEP_OK;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */
static bool goes_on(void *context, int step, int step_count)
{
    struct network_watch *watch = context;
    int64_t now = hep_now_us();
    (void)step;
    (void)step_count;
    if (now - watch->told_us >= REPORT_EVERY_US) {
        watch->told_us = now;
        watch->report(watch->context);
    }
    for (int i = 0; i < watch->count; i++)
        if (!hep_call_cancelled(watch->calls[i]))
            return true;
    return false;
}

struct hep_plan_watch network_watch_begin(struct network_watch *watch)
{
    watch->told_us = hep_now_us();
    return (struct hep_plan_watch){goes_on, watch};
}

static void report_step(void *context)
{
    const struct network_step *step = context;
    hep_call_progress(step->call, step->step, step->steps, step->note);
}

enum hep_status networks_run(const struct network_step *step, struct hep_plan *plan, const struct hep_argument *inputs,
                             size_t input_count, const struct hep_argument *outputs, size_t output_count,
                             struct hep_error *error)
{
    if (!step)
        return hep_plan_run(plan, inputs, input_count, outputs, output_count, error);
    struct network_step reported = *step;
    struct network_watch watch = {.calls = &reported.call, .count = 1, .report = report_step, .context = &reported};
    struct hep_plan_watch plan_watch = network_watch_begin(&watch);
    enum hep_status status = hep_plan_run_watched(plan, inputs, input_count, outputs, output_count, &plan_watch, error);
    return status == HEP_E_CANCELLED ? hep_call_check(step->call, error) : status;
}

int networks_count(const struct networks *networks)
{
    int count = 0;
    for (int i = 0; i < NETWORKS_KEPT; i++)
        count += networks->open[i].network != NULL;
    return count;
}

size_t networks_clear(struct networks *networks, struct hep_instructor *self)
{
    size_t bytes = 0;
    for (int i = 0; i < NETWORKS_KEPT; i++)
        bytes += close_one(&networks->open[i], self);
    return bytes;
}

size_t networks_bytes(const struct networks *networks)
{
    size_t bytes = 0;
    for (int i = 0; i < NETWORKS_KEPT; i++)
        bytes += networks->open[i].network ? hep_network_arena_bytes(networks->open[i].network) : 0;
    return bytes;
}

void networks_show(const struct networks *networks, struct networks_view *view)
{
    atomic_store(&view->networks, networks_count(networks));
    atomic_store(&view->activation_bytes, networks_bytes(networks));
}

json_t *networks_view_json(struct networks_view *view)
{
    return json_pack("{s:i, s:I}", "networks", atomic_load(&view->networks), "activation_bytes",
                     (json_int_t)atomic_load(&view->activation_bytes));
}
