/*
 * An allocator that fails once: the n-th allocation of the process after fail_alloc_at(n), or, preloaded into a
 * program, after its start: if HEP_FAIL_ALLOC=n is set (taken out of the environment, so that children are spared), or
 * if the folder HEP_FAIL_ALLOC_ORDERS has a file of the program's name with n in it (removed, so that the next process
 * of that name is spared). Preloaded, it says on standard error that it failed. Allocations by all threads count.
 * Linked into tests/unit/test_allocation.c; preloaded by tests/e2e/faults_of_memory.py.
 */
#include "tests/support/fail_alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

/* glibc's own, under their other names */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static atomic_llong countdown = -1;
static bool tells; /* it was preloaded */

EXPORTED void fail_alloc_at(long long n)
{
    atomic_store(&countdown, n);
}

EXPORTED bool fail_alloc_has_failed(void)
{
    return atomic_load(&countdown) < 0;
}

static void take_order_of_environment(const char *order)
{
    long long n = atoll(order);
    unsetenv("HEP_FAIL_ALLOC");
    unsetenv("LD_PRELOAD");
    tells = true;
    fail_alloc_at(n);
}

static void take_order_of_file(const char *folder)
{
    char path[4096], order[32];
    snprintf(path, sizeof path, "%s/%s", folder, program_invocation_short_name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t bytes = read(fd, order, sizeof order - 1);
    close(fd);
    if (bytes <= 0 || unlink(path) != 0)
        return;
    order[bytes] = '\0';
    tells = true;
    fail_alloc_at(atoll(order));
}

__attribute__((constructor)) static void take_order(void)
{
    const char *order = getenv("HEP_FAIL_ALLOC"), *folder = getenv("HEP_FAIL_ALLOC_ORDERS");
    if (order)
        take_order_of_environment(order);
    else if (folder)
        take_order_of_file(folder);
}

static bool fails(void)
{
    static const char told[] = "fail_alloc: an allocation fails\n";
    if (atomic_load(&countdown) < 0 || atomic_fetch_sub(&countdown, 1) != 0)
        return false;
    if (tells && write(STDERR_FILENO, told, sizeof told - 1) < 0)
        tells = false;
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

EXPORTED int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    if (fails())
        return ENOMEM;
    void *new = __libc_memalign(alignment, bytes);
    if (!new)
        return ENOMEM;
    *memory = new;
    return 0;
}

EXPORTED void *aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __libc_memalign(alignment, bytes);
}
