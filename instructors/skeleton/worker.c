/*
 * The worker thread: heavy operations one after another under the cores of their lease, and the instructor's own work()
 * between them. It is the only thread that enters OpenMP regions, beside those that an instructor starts for parts of
 * its cores.
 */
#include "instructors/skeleton/internal.h"

#include "common/crash.h"

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

/* A lease that is in force already is left as work() divides it. */
static void use_lease(struct hep_instructor *self, const struct hep_call *call)
{
    size_t bytes = (size_t)call->core_count * sizeof *call->cores;
    if (call->core_count == 0)
        return; /* a light call, a measure pass, --stdio: as the process was started */
    if (self->granted_count == call->core_count && memcmp(self->granted, call->cores, bytes) == 0)
        return;
    memcpy(self->granted, call->cores, bytes);
    self->granted_count = call->core_count;
    hep_cores_use(self->granted, self->granted_count);
}

int hep_instructor_cores(const struct hep_instructor *self, const int **cores)
{
    *cores = self->granted;
    return self->granted_count;
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
            use_lease(self, call);
            call_execute(call);
        }
        more = self->spec->work && self->spec->work(self);
    }
    return NULL;
}
