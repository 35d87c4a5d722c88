/* See heap_count.h. */
#include "tests/support/heap_count.h"

#if HEAP_COUNT_WORKS
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PLACES = 1 << 20 }; /* calls remembered: the first */

/* glibc's own, under the names that stay when malloc is replaced. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

#define SEEN_BY_ALL __attribute__((visibility("default"))) /* else only the program's own calls would come here */

static atomic_bool counting;
static atomic_size_t calls, mapped, noted, largest;
static size_t sizes[PLACES];

static void *note(void *address, size_t bytes, atomic_size_t *counter)
{
    if (!atomic_load(&counting))
        return address;
    size_t place = atomic_fetch_add(&noted, 1), before = atomic_load(&largest);
    atomic_fetch_add(counter, 1);
    while (before < bytes && !atomic_compare_exchange_weak(&largest, &before, bytes))
        ;
    if (place < PLACES)
        sizes[place] = bytes;
    return address;
}

SEEN_BY_ALL void *malloc(size_t bytes)
{
    return note(__libc_malloc(bytes), bytes, &calls);
}

SEEN_BY_ALL void *calloc(size_t count, size_t bytes)
{
    return note(__libc_calloc(count, bytes), count * bytes, &calls);
}

SEEN_BY_ALL void *realloc(void *old, size_t bytes)
{
    return note(__libc_realloc(old, bytes), bytes, &calls);
}

SEEN_BY_ALL void *memalign(size_t alignment, size_t bytes)
{
    return note(__libc_memalign(alignment, bytes), bytes, &calls);
}

SEEN_BY_ALL void *aligned_alloc(size_t alignment, size_t bytes)
{
    return note(__libc_memalign(alignment, bytes), bytes, &calls);
}

SEEN_BY_ALL int posix_memalign(void **to, size_t alignment, size_t bytes)
{
    void *made = note(__libc_memalign(alignment, bytes), bytes, &calls);
    if (!made)
        return ENOMEM;
    *to = made;
    return 0;
}

SEEN_BY_ALL void *valloc(size_t bytes)
{
    return note(__libc_memalign((size_t)sysconf(_SC_PAGESIZE), bytes), bytes, &calls);
}

SEEN_BY_ALL void *pvalloc(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return note(__libc_memalign(page, (bytes + page - 1) / page * page), bytes, &calls);
}

SEEN_BY_ALL void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    long result = syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
    return note(result == -1 ? MAP_FAILED : (void *)(intptr_t)result, bytes, &mapped);
}

void heap_count_begin(void)
{
    atomic_store(&calls, 0);
    atomic_store(&mapped, 0);
    atomic_store(&noted, 0);
    atomic_store(&largest, 0);
    atomic_store(&counting, true);
}

struct heap_count heap_count_end(void)
{
    atomic_store(&counting, false);
    return (struct heap_count){atomic_load(&calls), atomic_load(&mapped), atomic_load(&largest)};
}

size_t heap_count_of(size_t bytes)
{
    size_t found = 0, count = atomic_load(&noted);
    for (size_t i = 0; i < count && i < PLACES; i++)
        found += sizes[i] == bytes;
    return found;
}
#endif
