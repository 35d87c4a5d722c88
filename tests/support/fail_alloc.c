/*
 * An allocator that fails once: the n-th allocation of the process after fail_alloc_at(n), or, preloaded into a
 * program, after its start if HEP_FAIL_ALLOC=n is set (taken out of the environment, so that children are spared).
 * Allocations by all threads count. Linked into tests/unit/test_allocation.c; preloaded by
 * tests/e2e/faults_of_memory.py.
 */
#include "tests/support/fail_alloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define EXPORTED __attribute__((visibility("default")))

/* glibc's own, under their other names */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

static atomic_llong countdown = -1;

EXPORTED void fail_alloc_at(long long n)
{
    atomic_store(&countdown, n);
}

EXPORTED bool fail_alloc_has_failed(void)
{
    return atomic_load(&countdown) < 0;
}

__attribute__((constructor)) static void take_order(void)
{
    const char *order = getenv("HEP_FAIL_ALLOC");
    if (!order)
        return;
    long long n = atoll(order);
    unsetenv("HEP_FAIL_ALLOC");
    unsetenv("LD_PRELOAD");
    fail_alloc_at(n);
}

static bool fails(void)
{
    if (atomic_load(&countdown) < 0 || atomic_fetch_sub(&countdown, 1) != 0)
        return false;
    errno = ENOMEM;
    return true;
}

EXPORTED void *malloc(size_t bytes)
{
    return fails() ? NULL : __libc_malloc(bytes);
}

EXPORTED void *calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __libc_calloc(count, bytes);
}

EXPORTED void *realloc(void *old, size_t bytes)
{
    return fails() ? NULL : __libc_realloc(old, bytes);
}
