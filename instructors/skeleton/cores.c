/*
 * Which cores a thread and its OpenMP team run on: those of a lease, or a part of them. Each thread that starts regions
 * has a team of its own in libgomp, so that several may compute side by side. Called by the worker thread, and by
 * lanes.
 */
#include "instructors/skeleton/instructor.h"

#include <omp.h>
#include <sched.h>

void hep_cores_use(const int *cores, int count)
{
    static _Thread_local cpu_set_t in_use;
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    for (int i = 0; i < count; i++)
        if (cores[i] >= 0 && cores[i] < CPU_SETSIZE)
            CPU_SET((size_t)cores[i], &wanted);
    omp_set_num_threads(count);
    if (CPU_EQUAL(&wanted, &in_use))
        return;
    in_use = wanted;
#pragma omp parallel
    sched_setaffinity(0, sizeof wanted,
                      &wanted); /* a core that is gone: the kernel's choice stays, results do not depend on it */
}
