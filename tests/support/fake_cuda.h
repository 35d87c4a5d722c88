/*
 * A stand-in for the CUDA driver, behind the same table of functions, that enforces the rules which a GPU leaves to
 * crashes and garbage. Device memory is a memfd, so that it is really shared between forked processes:
 *   - nothing works before cuInit, in a child forked after it, or without a current context
 *   - a handle is made of the start of a whole classic allocation of 2 MiB blocks, and opened in another process only
 *   - an exporter that dies invalidates what others imported from it; using it loses the context
 *   - freeing what others have open fills it with 0xdb, and loses the context of those who use it then
 *   - virtual memory outlives its maker; its sizes are whole granules, it is unmapped before its addresses are freed,
 * and it is not touched before access to it is set A lost context answers every later call with the error that lost it.
 * Single-threaded.
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
