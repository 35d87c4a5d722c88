/*
 * Mappings of segments. For the instructors; the supervisor does not link this.
 *
 * Mapped pages are left out of core dumps (a dump of 2 GiB delays the news of a death by 1.7 s) and are advised to be
 * huge, which the kernel follows if /sys/kernel/mm/transparent_hugepage/shmem_enabled says so.
 */
#ifndef HEP_SHM_MAPPING_H
#define HEP_SHM_MAPPING_H

#include "common/operation.h"
#include "shm/segment.h"

/* A mapped segment. Owns the address range. */
struct hep_mapping {
    unsigned char *data; /* page aligned; NULL if nothing is mapped       */
    size_t bytes;        /* the segment's size                            */
    bool writable;
};

/* Maps an open segment of so many bytes, whole and shared. write: for writing too, and every page is faulted in now, in
   one go; else for reading, and pages come as they are touched. text: its name, for messages. fd stays the caller's.
   NO_SHM if a page cannot be had, NO_MEMORY, SYSTEM. */
enum hep_status hep_mapping_of_fd(int fd, const char *text, uint64_t bytes, bool write, struct hep_mapping *mapping,
                                  struct hep_error *error);
/* From now on nobody here can write to it. */
enum hep_status hep_mapping_protect(struct hep_mapping *mapping, struct hep_error *error);
/* Unmaps; a cleared mapping is accepted. */
void hep_mapping_clear(struct hep_mapping *mapping);

#endif
