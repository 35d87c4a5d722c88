/*
 * The only place where kernels meet OpenMP. Called by every kernel's run function. The team always has its full size:
 * libgomp ends the surplus threads of a smaller team and must create them again for the next one.
 */
#include "nn/cpu/parallel.h"

#include <omp.h>

void hep_parallel_for(int64_t items, int64_t grain, hep_parallel_body *body, const void *context)
{
    if (items <= 1 || items <= grain || omp_get_max_threads() == 1 || omp_in_parallel()) {
        if (items > 0)
            body(context, 0, items);
        return;
    }
#pragma omp parallel default(none) shared(items, body, context)
    {
        int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
        int64_t first = items / threads * me + (me < items % threads ? me : items % threads);
        int64_t count = items / threads + (me < items % threads);
        if (count > 0)
            body(context, first, first + count);
    }
}
