/* The one switch for huge pages of a process. Called where weights and activations are mapped. */
#include "common/huge_pages.h"

#include <stdatomic.h>
#include <sys/mman.h>

static atomic_bool off;

void hep_huge_pages_set(bool on)
{
    atomic_store(&off, !on);
}

bool hep_huge_pages_are_on(void)
{
    return !atomic_load(&off);
}

void hep_huge_pages_advise(void *memory, size_t bytes)
{
    madvise(memory, bytes, hep_huge_pages_are_on() ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}
