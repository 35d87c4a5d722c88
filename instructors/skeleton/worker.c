/*
 * The worker thread: heavy operations one after another under the cores of their lease, and the instructor's own work()
 * between them. It is the only thread that enters OpenMP regions.
 */
#include "instructors/skeleton/internal.h"

#include "common/crash.h"

#include <omp.h>
#include <sched.h>
#include <string.h>
#include <time.h>

void worker_push(struct hep_instructor *self, struct hep_call *call)
{
    pthread_mutex_lock(&self->lock);
    call->next = NULL;
    *self->heavy_tail = call;
    self->heavy_tail = &call->next;
    self->queued++;
    pthread_cond_signal(&self->work_ready);
    pthread_mutex_unlock(&self->lock);
}

void hep_instructor_wake(struct hep_instructor *self)
{
    pthread_mutex_lock(&self->lock);
    self->wake = true;
    pthread_cond_signal(&self->work_ready);
    pthread_mutex_unlock(&self->lock);
}

/* Gives the lease's cores to OpenMP's threads, as a set: the kernel balances inside it. */
static void use_lease(const struct hep_call *call)
{
    static cpu_set_t in_use; /* worker thread only */
    cpu_set_t wanted;
    if (call->core_count == 0)
        return; /* a light call, a measure pass, --stdio: as the process was started */
    CPU_ZERO(&wanted);
    for (int i = 0; i < call->core_count; i++)
        if (call->cores[i] >= 0 && call->cores[i] < CPU_SETSIZE)
            CPU_SET((size_t)call->cores[i], &wanted);
    omp_set_num_threads(call->core_count);
    if (CPU_EQUAL(&wanted, &in_use))
        return;
    in_use = wanted;
#pragma omp parallel
    sched_setaffinity(0, sizeof wanted,
                      &wanted); /* a core that is gone: the kernel's choice stays, results do not depend on it */
}

/* Waits for a call, a wake or the end; false at the end. more: work() wants to go on at once. */
static bool next_call(struct hep_instructor *self, bool more, struct hep_call **call)
{
    pthread_mutex_lock(&self->lock);
    while (!self->heavy_head && !more && !self->wake && !atomic_load(&self->stopping))
        pthread_cond_wait(&self->work_ready, &self->lock);
    self->wake = false;
    *call = self->heavy_head;
    if (*call) {
        self->heavy_head = (*call)->next;
        if (!self->heavy_head)
            self->heavy_tail = &self->heavy_head;
        self->queued--;
    }
    bool stopping = atomic_load(&self->stopping);
    pthread_mutex_unlock(&self->lock);
    return !stopping || *call;
}

void *worker_main(void *context)
{
    struct hep_instructor *self = context;
    struct hep_call *call;
    bool more = false;
    hep_crash_handler_worker();
    while (next_call(self, more, &call)) {
        if (call && !call_refuse_ended(call)) {
            use_lease(call);
            call_execute(call);
        }
        more = self->spec->work && self->spec->work(self);
    }
    return NULL;
}
