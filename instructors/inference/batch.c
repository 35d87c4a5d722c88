/*
 * Jobs in hand: taken in by `generate`, stepped by `work`, answered when their rows are done. Everything but
 * the groups of other lanes runs on the worker thread, so that pause, cancel, priority and joining take effect at a
 * step boundary and nowhere else.
 */
#include "instructors/inference/batch.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "instructors/inference/group.h"
#include "instructors/inference/lanes.h"

#include <omp.h>
#include <string.h>

/* ---- ending a job
 * --------------------------------------------------------------------------------------------------------- */
static void remove_job(struct batch *batch, struct job *job)
{
    struct job **link = &batch->jobs;
    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    job_destroy(job);
}

static void answer_failure(struct batch *batch, struct job *job, enum hep_status status, const struct hep_error *error)
{
    struct hep_call *call = job->call;
    struct hep_error kept = *error; /* it may be the job's own */
    remove_job(batch, job);
    hep_call_finish(call, status, &kept);
}

static bool copy_latents(struct job *job)
{
    struct hep_tensor latents = hep_call_map(job->call, &job->request->latents);
    for (int i = 0; i < job->row_count; i++) {
        const struct row *row = &job->rows[i];
        if (row->state != ROW_DONE)
            continue; /* a cancelled row's latents stay zeros */
        if (!row_latents(row, (float *)latents.data + (size_t)i * (size_t)row_elements(row)))
            return false;
        job->reply->rows++;
    }
    return true;
}

static void answer_success(struct batch *batch, struct job *job)
{
    struct hep_call *call = job->call;
    if (!copy_latents(job)) {
        answer_failure(batch, job, group_state_lost(job), &job->failure);
        return;
    }
    HEP_CRASH_POINT("inference.latents_written");
    job->reply->evaluations = job->evaluated;
    if (job->evaluated > 0)
        job->reply->step_ms = (double)(hep_now_us() - job->first_us) / 1000 / job->evaluated;
    remove_job(batch, job);
    hep_call_finish(call, HEP_OK, NULL);
}

static int rows_in(const struct job *job, enum row_state state)
{
    int count = 0;
    for (int i = 0; i < job->row_count; i++)
        count += job->rows[i].state == state;
    return count;
}

/* Answers what is over: failed, cancelled, done, interrupted by a drain, or paused, which is asked again when it goes
 * on. */
static void end_jobs(struct batch *batch)
{
    for (struct job *job = batch->jobs, *next; job; job = next) {
        struct hep_error error = {0};
        int cancelled = rows_in(job, ROW_CANCELLED), running = rows_in(job, ROW_RUNNING),
            paused = rows_in(job, ROW_PAUSED);
        next = job->next;
        if (job->failure.code != HEP_OK)
            answer_failure(batch, job, job->failure.code, &job->failure);
        else if (cancelled == job->row_count)
            answer_failure(batch, job, hep_fail(&error, HEP_E_CANCELLED, "the session was cancelled"), &error);
        else if (running == 0 && paused == 0)
            answer_success(batch, job);
        else if (hep_call_check(job->call, &error) != HEP_OK)
            answer_failure(batch, job, error.code, &error);
        else if (running == 0)
            answer_failure(batch, job,
                           hep_fail(&error, HEP_E_NOT_NOW, "the session is paused; committed steps are kept"), &error);
    }
}

/* ---- taking a call in
 * --------------------------------------------------------------------------------------------------- */
static bool same_state(const struct job *a, const struct job *b)
{
    return a->request->state.offset == b->request->state.offset &&
           strcmp(a->request->state.segment, b->request->state.segment) == 0;
}

/* A call that is asked again goes on from what the first one committed; two writers of one state would mix their steps.
 */
static void end_earlier(struct batch *batch, const struct job *again)
{
    for (struct job *job = batch->jobs, *next; job; job = next) {
        struct hep_error error = {0};
        next = job->next;
        if (same_state(job, again))
            answer_failure(batch, job, hep_fail(&error, HEP_E_STALE, "the same images were asked for again"), &error);
    }
}

/* scripts/chaos reads this line: committed is the sum over all rows. */
static void log_resumed(struct hep_call *call, const struct job *job)
{
    int32_t committed = 0;
    for (int i = 0; i < job->row_count; i++)
        committed += row_done(&job->rows[i]);
    hep_log(HEP_INFO, "inference.resumed", "session=%s attempt=%d evaluation=%d committed=%d redone_rows=%d because=%s",
            hep_call_session(call), hep_call_attempt(call), job->reply->resumed_from, committed,
            job->reply->redone_rows, job->reply->restarted_because.length ? job->reply->restarted_because.data : "-");
}

enum hep_status batch_add(struct batch *batch, struct hep_call *call, struct hep_error *error)
{
    struct job *job = NULL;
    HEP_TRY(job_create(batch, call, &job, error));
    job->age = ++batch->age;
    if (job->reply->resumed_from > 0 || job->reply->redone_rows > 0 || hep_call_attempt(call) > 1)
        log_resumed(call, job);
    end_earlier(batch, job);
    struct job **link = &batch->jobs;
    while (*link)
        link = &(*link)->next;
    *link = job;
    batch_show(batch);
    return hep_call_defer(call);
}

/* ---- one boundary to the next
 * --------------------------------------------------------------------------------------------- */
/* Memory that is not there for all of a group may be there for half of it. */
static enum hep_status run_what_fits(struct batch *batch, struct group *group, struct hep_error *error)
{
    enum hep_status status = group_run(batch, group, error);
    while (status == HEP_E_NO_MEMORY && group->count > 1) {
        hep_log(HEP_WARNING, "inference.smaller_group", "rows=%d now=%d", group->count, group->count / 2);
        group->count /= 2;
        *error = (struct hep_error){0};
        status = group_run(batch, group, error);
    }
    return status;
}

/* One boundary's run. */
struct run {
    struct batch *batch;
    struct boundary boundary;
    struct lane_end {
        struct job *first; /* of the lane: whom an error concerns */
        enum hep_status status;
        struct hep_error error;
    } ends[LANES_MAX];
};

/* On the lane's thread. What is logged meanwhile is about the job that the group's others were chosen to go with. */
static void run_lane(void *context, int lane)
{
    struct run *run = context;
    struct group *group = &run->boundary.groups[lane];
    struct lane_end *end = &run->ends[lane];
    struct hep_log_context before = hep_call_log(end->first->call);
    end->status = run_what_fits(run->batch, group, &end->error);
    if (end->status == HEP_OK)
        group_report(group);
    hep_log_leave(&before);
}

/* What one run took of the clock and of the processor, into the means of the last ones. */
static void note_speed(struct batch *batch, double flops, int threads, int64_t clock_us, int64_t cpu_us)
{
    double took = (double)(clock_us > 0 ? clock_us : 1), rate = flops / 1e3 / took,
           share = (double)cpu_us / (took * threads), before = batch->view.core_utilisation;
    batch->gflops = batch->gflops > 0 ? 0.8 * batch->gflops + 0.2 * rate : rate;
    share = share < 1 ? share : 1;
    atomic_store(&batch->view.core_utilisation, before > 0 ? 0.8 * before + 0.2 * share : share);
}

static void show_run(struct batch *batch, const struct boundary *boundary)
{
    const struct group *first = &boundary->groups[0];
    atomic_store(&batch->view.rows, first->count);
    atomic_store(&batch->view.limited_by, (int)first->size.limited_by);
    atomic_store(&batch->view.step_bytes, (uint64_t)boundary->lanes * first->size.bytes);
    atomic_store(&batch->view.step_bytes_allowed, (uint64_t)boundary->lanes * first->size.allowed);
    atomic_store(&batch->view.lanes, boundary->lanes);
    atomic_store(&batch->view.lanes_limited_by, (int)boundary->limited_by);
    for (int i = 0; i < LANES_MAX; i++)
        atomic_store(&batch->view.lane_cores[i],
                     i < boundary->lanes ? lane_cores(boundary->cores, boundary->core_count, boundary->lanes, i).count
                                         : 0);
}

static void run_lanes(struct run *run)
{
    struct batch *batch = run->batch;
    struct boundary *boundary = &run->boundary;
    int64_t began = hep_now_us(), cpu_began = hep_process_cpu_us();
    double flops = 0;
    for (int i = 0; i < boundary->lanes; i++)
        run->ends[i].first = boundary->groups[i].jobs[0];
    lanes_run(batch, boundary->lanes, boundary->cores, boundary->core_count, run_lane, run);
    for (int i = 0; i < boundary->lanes; i++)
        flops += boundary->groups[i].flops;
    if (flops > 0) {
        note_speed(batch, flops, omp_get_max_threads(), hep_now_us() - began, hep_process_cpu_us() - cpu_began);
        show_run(batch, boundary);
    }
}

/* One run of the network in each lane. */
static void run_once(struct batch *batch)
{
    struct run run = {.batch = batch};
    struct hep_error error = {0};
    enum hep_status status = boundary_pick(batch, &run.boundary, &error);
    if (!run.boundary.first)
        return;
    if (status != HEP_OK) {
        answer_failure(batch, run.boundary.first, status, &error);
        return;
    }
    run_lanes(&run);
    for (int i = 0; i < run.boundary.lanes; i++) /* else its jobs end at this boundary, with what they have committed */
        if (run.ends[i].status != HEP_OK && run.ends[i].status != HEP_E_CANCELLED)
            answer_failure(batch, run.ends[i].first, run.ends[i].status, &run.ends[i].error);
}

bool batch_work(struct batch *batch)
{
    end_jobs(batch);
    run_once(batch);
    end_jobs(batch);
    batch_show(batch);
    return batch->jobs != NULL;
}

/* ---- control
 * ---------------------------------------------------------------------------------------------------------------- */
int batch_control(struct batch *batch, const char *session, int32_t row, enum row_state state)
{
    int count = 0;
    for (struct job *job = batch->jobs; job; job = job->next)
        for (int i = 0; i < job->row_count && strcmp(hep_call_session(job->call), session) == 0; i++)
            if ((row < 0 || row == i) && (job->rows[i].state == ROW_RUNNING || job->rows[i].state == ROW_PAUSED)) {
                job->rows[i].state = state;
                count++;
            }
    return count;
}

int batch_set_priority(struct batch *batch, const char *session, int32_t priority)
{
    int count = 0;
    for (struct job *job = batch->jobs; job; job = job->next)
        if (strcmp(hep_call_session(job->call), session) == 0) {
            job->priority = priority;
            count += job->row_count;
        }
    return count;
}

size_t batch_trim(struct batch *batch, struct hep_instructor *self)
{
    size_t bytes = lanes_close(batch, 0, self);
    batch_show(batch);
    return bytes;
}

size_t lane_bytes(const struct lane *lane)
{
    return lane->workspace_floats * sizeof(float) + networks_bytes(&lane->networks);
}

void batch_show(struct batch *batch)
{
    struct batch_view *view = &batch->view;
    int jobs = 0, running = 0, paused = 0, networks = 0;
    size_t bytes = 0;
    for (int i = 0; i < LANES_MAX; i++) {
        networks += networks_count(&batch->lanes[i].networks);
        bytes += lane_bytes(&batch->lanes[i]);
    }
    for (const struct job *job = batch->jobs; job; job = job->next) {
        jobs++;
        running += rows_in(job, ROW_RUNNING);
        paused += rows_in(job, ROW_PAUSED);
    }
    atomic_store(&view->jobs, jobs);
    atomic_store(&view->rows_running, running);
    atomic_store(&view->rows_paused, paused);
    atomic_store(&view->networks, networks);
    atomic_store(&view->activation_bytes, bytes);
    atomic_store(&view->gflops, batch->gflops);
}
