/*
 * What JSON values are made of. jansson 2.14 reads through NULL in several places when an allocation fails, and
 * hundreds of lines build small values without a way to fail; so here an allocation that fails is tried again for a
 * while, and if there is still none, the process ends in order: the supervisor starts a domain again, the init system
 * the supervisor.
 */
#include "common/json_memory.h"

#include "common/log.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

enum { TRY_EVERY_US = 5000, TRIES = 400 }; /* 2 s */

static void *patient_malloc(size_t bytes)
{
    for (int i = 0; i < TRIES; i++) {
        void *memory = malloc(bytes);
        if (memory)
            return memory;
        usleep(TRY_EVERY_US);
    }
    hep_log(HEP_ERROR_LEVEL, "memory.none", "bytes=%zu waited_ms=%d effect=\"this process ends\"", bytes,
            TRIES * TRY_EVERY_US / 1000);
    _exit(1);
}

void hep_json_memory_begin(void)
{
    json_set_alloc_funcs(patient_malloc, free);
}
