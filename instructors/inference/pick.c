/*
 * Which rows run at a boundary: those of the job that goes first, and of others of its kind, in one group or in several
 * side by side. Called by batch.c. Runs nothing.
 */
#include "instructors/inference/group.h"

#include "common/log.h"
#include "instructors/inference/lanes.h"

#include <omp.h>
#include <string.h>

/* ---- the order of jobs ---------------------------------------------------------------------------------------------
 */
static bool can_run(const struct job *job)
{
    for (int i = 0; i < job->row_count; i++)
        if (job->rows[i].state == ROW_RUNNING)
            return true;
    return false;
}

/* Whoever has been passed over at so many boundaries goes first once: no stream of others starves it. */
enum { PASSED_OVER_MAX = 32 };

static bool goes_before(const struct job *a, const struct job *b)
{
    bool a_waited = a->passed_over >= PASSED_OVER_MAX, b_waited = b->passed_over >= PASSED_OVER_MAX;
    if (a_waited != b_waited)
        return a_waited;
    return a->priority != b->priority ? a->priority > b->priority : a->age < b->age;
}

/* The job after `after` in the order of dispatch; NULL gives the first. */
static struct job *next_job(const struct batch *batch, const struct job *after)
{
    struct job *best = NULL;
    for (struct job *job = batch->jobs; job; job = job->next)
        if (can_run(job) && (!after || goes_before(after, job)) && (!best || goes_before(job, best)))
            best = job;
    return best;
}

/* ---- rows of one kind -------------------------------------------------------------------------------------------- */
static bool same_shape(const struct row_shape *a, const struct row_shape *b)
{
    return a->channels == b->channels && a->height == b->height && a->width == b->width && a->tokens == b->tokens &&
           a->context_dim == b->context_dim && a->pooled_dim == b->pooled_dim && a->time_ids == b->time_ids &&
           a->extra_channels == b->extra_channels;
}

/* Whether the job's i-th row runs, and may do so with like, a row of first. */
static bool may_join(const struct job *job, int i, const struct job *first, const struct row *like)
{
    return job->rows[i].state == ROW_RUNNING && strcmp(job->request->unet.segment, first->request->unet.segment) == 0 &&
           row_is_guided(&job->rows[i]) == row_is_guided(like) && same_shape(&job->rows[i].shape, &like->shape) &&
           controls_match(&job->rows[i], like);
}

/* A row of the job that can run; there is one. */
static const struct row *running_row(const struct job *job)
{
    int i = 0;
    while (job->rows[i].state != ROW_RUNNING)
        i++;
    return &job->rows[i];
}

/* What there is of the first job's kind. */
static void count_kind(const struct batch *batch, const struct job *first, const struct row *like, int *jobs, int *rows)
{
    *jobs = *rows = 0;
    for (const struct job *job = batch->jobs; job; job = job->next) {
        int before = *rows;
        for (int i = 0; i < job->row_count; i++)
            *rows += may_join(job, i, first, like);
        *jobs += *rows > before;
    }
}

/* Company for the rows of the first job; where a job is in the group, nobody's limit is passed. */
static int limit_of(const struct group *group)
{
    int limit = group->size.rows;
    for (int i = 0; i < group->count; i++)
        limit = group->jobs[i]->rows_max < limit ? group->jobs[i]->rows_max : limit;
    return limit;
}

/* A job that wants less company than it would have is left out. */
static void take_rows(struct group *group, struct job *job, const struct job *first, const struct row *like)
{
    int limit = limit_of(group);
    for (int i = 0; i < job->row_count && group->count < limit && group->count < job->rows_max; i++)
        if (may_join(job, i, first, like)) {
            group->rows[group->count] = &job->rows[i];
            group->jobs[group->count++] = job;
        }
}

/* ---- lanes ------------------------------------------------------------------------------------------------------- */
/* As many as the first job asks for, where each has a core and a job. */
static int lanes_wanted(struct boundary *boundary, int jobs)
{
    int cores = boundary->core_count > 1 ? boundary->core_count : 1, wanted = boundary->first->lanes_max;
    boundary->limited_by = LANE_LIMIT_ASKED;
    wanted = wanted < LANES_MAX ? wanted : LANES_MAX;
    if (cores < wanted) {
        wanted = cores;
        boundary->limited_by = LANE_LIMIT_CORES;
    }
    if (jobs < wanted) {
        wanted = jobs;
        boundary->limited_by = LANE_LIMIT_JOBS;
    }
    return wanted;
}

/* The size of the groups of so many lanes, planned for as many threads as the largest of them has. */
static enum hep_status size_groups(const struct batch *batch, struct boundary *boundary, const struct row *like,
                                   int lanes, int rows, struct hep_error *error)
{
    const struct job *first = boundary->first;
    struct group *group = &boundary->groups[0];
    struct group_wish wish = {.rows = (rows + lanes - 1) / lanes,
                              .rows_max = first->rows_max,
                              .samples_per_row = row_is_guided(like) ? 2 : 1,
                              .lanes = lanes,
                              .memory_threshold = first->memory_threshold};
    int before = omp_get_max_threads();
    if (lanes > 1)
        omp_set_num_threads(lane_cores(boundary->cores, boundary->core_count, lanes, 0).count);
    enum hep_status status = batch_rows_together(batch, group->network, group->config, &group->shape, &group->controls,
                                                 &wish, &group->size, error);
    omp_set_num_threads(before);
    return status;
}

/* Opens the networks of the lanes behind the first one. */
static enum hep_status begin_others(struct batch *batch, struct boundary *boundary, const struct row *like, int lanes,
                                    struct hep_error *error)
{
    struct job *first = boundary->first;
    for (int i = 1; i < lanes; i++) {
        struct group *group = &boundary->groups[i];
        HEP_TRY(
            group_begin(&batch->lanes[i], hep_call_instructor(first->call), &first->request->unet, like, group, error));
        group->size = boundary->groups[0].size;
    }
    return HEP_OK;
}

/* As many lanes as there is memory for, and how many rows run in each. */
static enum hep_status choose_lanes(struct batch *batch, struct boundary *boundary, const struct row *like,
                                    struct hep_error *error)
{
    int jobs, rows;
    count_kind(batch, boundary->first, like, &jobs, &rows);
    for (int lanes = lanes_wanted(boundary, jobs); lanes > 1; lanes--) {
        struct hep_error why = {0};
        enum hep_status status = size_groups(batch, boundary, like, lanes, rows, &why);
        boundary->lanes = lanes;
        if (status == HEP_OK && begin_others(batch, boundary, like, lanes, &why) == HEP_OK)
            return HEP_OK;
        if (status == HEP_OK)
            hep_log(HEP_WARNING, "inference.no_lane", "lanes=%d reason=\"%s\"", lanes, why.message);
        boundary->limited_by = LANE_LIMIT_MEMORY;
    }
    boundary->lanes = 1;
    return size_groups(batch, boundary, like, 1, rows, error);
}

static struct group *emptiest(struct boundary *boundary)
{
    struct group *found = &boundary->groups[0];
    for (int i = 1; i < boundary->lanes; i++)
        if (boundary->groups[i].count < found->count)
            found = &boundary->groups[i];
    return found;
}

/* ---- the boundary ------------------------------------------------------------------------------------------------ */
static bool has_job(const struct boundary *boundary, const struct job *job)
{
    for (int lane = 0; lane < boundary->lanes; lane++)
        for (int i = 0; i < boundary->groups[lane].count; i++)
            if (boundary->groups[lane].jobs[i] == job)
                return true;
    return false;
}

static void count_passed_over(struct batch *batch, const struct boundary *boundary)
{
    for (struct job *job = batch->jobs; job; job = job->next)
        job->passed_over = has_job(boundary, job) || !can_run(job) ? 0 : job->passed_over + 1;
}

enum hep_status boundary_pick(struct batch *batch, struct boundary *boundary, struct hep_error *error)
{
    struct job *first = next_job(batch, NULL);
    memset(boundary, 0, sizeof *boundary);
    boundary->first = first;
    if (!first)
        return HEP_OK;
    const struct row *like = running_row(first);
    struct hep_instructor *self = hep_call_instructor(first->call);
    boundary->core_count = hep_instructor_cores(self, &boundary->cores);
    if (first->lanes_max == 1)
        lanes_close(batch, 1, self); /* what they hold is not free for this one */
    HEP_TRY(group_begin(&batch->lanes[0], self, &first->request->unet, like, &boundary->groups[0], error));
    HEP_TRY(choose_lanes(batch, boundary, like, error));
    if (boundary->limited_by == LANE_LIMIT_MEMORY)
        lanes_close(batch, boundary->lanes, self);
    for (struct job *job = first; job; job = next_job(batch, job))
        take_rows(emptiest(boundary), job, first, like);
    count_passed_over(batch, boundary);
    return HEP_OK;
}
