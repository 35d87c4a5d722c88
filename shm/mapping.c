/*
 * Maps whole segments with the advice that all of them get. Called by the resolver and by whoever publishes weights. It
 * trusts the descriptor that it is given; who may map what is decided in segment.c and resolve.c.
 */
#include "shm/mapping.h"

#include "common/huge_pages.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; glibc 2.36 has it */
#endif

/* Faults every page in. A kernel that does not know how leaves that to the first touch: it is slower, not wrong. */
static int populate(void *data, size_t bytes)
{
    int result;
    do
        result = madvise(data, bytes, MADV_POPULATE_WRITE);
    while (result != 0 && errno == EINTR);
    return result == 0 || errno == EINVAL ? 0 : errno;
}

enum hep_status hep_mapping_of_fd(int fd, const char *text, uint64_t bytes, bool write, struct hep_mapping *mapping,
                                  struct hep_error *error)
{
    if (bytes == 0 || bytes > SIZE_MAX / 2)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "segment %s of %" PRIu64 " bytes cannot be mapped", text, bytes);
    void *data = mmap(NULL, (size_t)bytes, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return hep_fail_errno(error, errno, "mapping %" PRIu64 " bytes of segment %s", bytes, text);
    madvise(data, (size_t)bytes, MADV_DONTDUMP); /* advice: what fails costs time only */
    hep_huge_pages_advise(data, (size_t)bytes);
    int reason = write ? populate(data, (size_t)bytes) : 0;
    if (reason != 0) {
        munmap(data, (size_t)bytes);
        if (reason == EFAULT || reason == ENOMEM) /* truncated behind our back, or no memory for a hole */
            return hep_fail(error, HEP_E_NO_SHM, "segment %s has no memory for all its %" PRIu64 " bytes", text, bytes);
        return hep_fail_errno(error, reason, "faulting segment %s in", text);
    }
    *mapping = (struct hep_mapping){.data = data, .bytes = (size_t)bytes, .writable = write};
    return HEP_OK;
}

enum hep_status hep_mapping_protect(struct hep_mapping *mapping, struct hep_error *error)
{
    if (mprotect(mapping->data, mapping->bytes, PROT_READ) != 0)
        return hep_fail_errno(error, errno, "making a mapping read-only");
    mapping->writable = false;
    return HEP_OK;
}

void hep_mapping_clear(struct hep_mapping *mapping)
{
    if (mapping->data)
        hep_assert(munmap(mapping->data, mapping->bytes) == 0);
    *mapping = (struct hep_mapping){0};
}
