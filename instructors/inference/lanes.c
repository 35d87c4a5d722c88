/*
 * The threads of lanes. Each has an OpenMP team of its own, because libgomp keeps one for each thread that begins
 * regions; the worker thread's own team shrinks to its lane meanwhile, so that there are never more threads than cores.
 */
#include "instructors/inference/lanes.h"

#include "common/crash.h"
#include "common/log.h"

#include <errno.h>
#include <omp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

/* The worker thread writes what is to be done before `go`, and reads what was done after `done`. */
struct lane_thread {
    pthread_t thread;
    sem_t go, done;
    lane_body *body; /* NULL: end */
    void *context;
    int lane;
    struct lane_cores cores;
};

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        hep_assert(errno == EINTR);
}

static void *lane_main(void *context)
{
    struct lane_thread *self = context;
    hep_crash_handler_worker();
    for (wait_for(&self->go); self->body; wait_for(&self->go)) {
        hep_cores_use(self->cores.ids, self->cores.count);
        self->body(self->context, self->lane);
        sem_post(&self->done);
    }
    return NULL;
}

static void forget(struct lane_thread *thread)
{
    sem_destroy(&thread->go);
    sem_destroy(&thread->done);
    free(thread);
}

static bool start(struct lane *lane)
{
    struct lane_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return false;
    sem_init(&thread->go, 0, 0);
    sem_init(&thread->done, 0, 0);
    int failed = pthread_create(&thread->thread, NULL, lane_main, thread);
    if (failed) {
        hep_log(HEP_WARNING, "inference.no_lane", "reason=\"%s\"", strerror(failed));
        forget(thread);
        return false;
    }
    lane->thread = thread;
    return true;
}

static void stop(struct lane *lane)
{
    struct lane_thread *thread = hep_take(&lane->thread);
    if (!thread)
        return;
    thread->body = NULL;
    sem_post(&thread->go);
    pthread_join(thread->thread, NULL);
    forget(thread);
}

struct lane_cores lane_cores(const int *cores, int count, int lanes, int lane)
{
    int each = count / lanes, more = count % lanes;
    return (struct lane_cores){cores + lane * each + (lane < more ? lane : more), each + (lane < more)};
}

void lanes_run(struct batch *batch, int lanes, const int *cores, int count, lane_body *body, void *context)
{
    bool begun[LANES_MAX] = {false};
    int threads = omp_get_max_threads();
    for (int i = 1; i < lanes; i++) {
        struct lane *lane = &batch->lanes[i];
        if (!lane->thread && !start(lane))
            continue;
        lane->thread->body = body;
        lane->thread->context = context;
        lane->thread->lane = i;
        lane->thread->cores = lane_cores(cores, count, lanes, i);
        begun[i] = sem_post(&lane->thread->go) == 0;
    }
    struct lane_cores first = lane_cores(cores, count, lanes, 0);
    if (first.count > 0)
        hep_cores_use(first.ids, first.count);
    body(context, 0);
    for (int i = 1; i < lanes; i++)
        if (begun[i])
            wait_for(&batch->lanes[i].thread->done);
        else
            body(context, i);
    if (lanes > 1)
        omp_set_num_threads(threads);
}

size_t lanes_close(struct batch *batch, int first, struct hep_instructor *self)
{
    size_t bytes = 0;
    for (int i = first; i < LANES_MAX; i++) {
        struct lane *lane = &batch->lanes[i];
        stop(lane);
        bytes += lane->workspace_floats * sizeof(float) + networks_clear(&lane->networks, self);
        free(lane->workspace);
        *lane = (struct lane){0};
    }
    return bytes;
}
