/*
 * A stand-in for the CUDA driver, behind the same table of functions. Device memory is a memfd, so that it is really
 * shared between forked processes. It answers as the driver does (docs/shared-memory.md has what was measured):
 *   - nothing works before cuInit, in a child forked after it, or without a current context
 *   - a handle is made of the classic allocation around a pointer, and opened in another process only
 *   - a handle whose maker is dead, or has freed the memory, is not opened
 *   - virtual memory outlives its maker; its sizes are whole granules, it is unmapped before its addresses are freed,
 *     and it is not touched before access to it is set
 * Where the driver lets pass what its manual calls undefined, the stand-in does the worst that it may:
 *   - an exporter that dies invalidates what others imported from it; using it loses the context
 *   - freeing what others have open fills it with 0xdb, and loses the context of those who use it then
 *   - a handle of less than a whole block, which would open its neighbours too, is not made
 * A lost context answers every later call with the error that lost it. Single-threaded.
 */
#ifndef HEP_TESTS_FAKE_CUDA_H
#define HEP_TESTS_FAKE_CUDA_H

#include "shm/cuda_driver.h"

enum { FAKE_CUDA_GRANULARITY = 64 << 10, FAKE_CUDA_MEMORY = 16 << 20, FAKE_CUDA_POISON = 0xdb };

/* What the device is like; the zeroed struct is one good device. */
struct fake_cuda_device {
    bool absent;                /* cuInit works, there is no device          */
    bool no_virtual_memory;     /* cuMemCreate and its like do not work      */
    const char *missing_symbol; /* the library has no such function          */
};

/* A hep_cuda_lookup; its context is a struct fake_cuda_device that outlives it. */
void *fake_cuda_lookup(void *device, const char *symbol);
/* Device memory that this process has allocated and not freed, bytes. */
size_t fake_cuda_allocated(void);

#endif
