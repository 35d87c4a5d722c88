/* How much memory there is for us: of the machine, under the control groups' limits, and in /dev/shm. */
#ifndef HEP_INSTRUCTORS_DEVICE_MEMORY_H
#define HEP_INSTRUCTORS_DEVICE_MEMORY_H

#include "common/status.h"

/* Bytes. */
struct device_memory {
    uint64_t total;     /* what we could have at most: the machine's, or the limit if it is lower */
    uint64_t available; /* what could be had now without swapping or being killed                */
    uint64_t limit;     /* of the control groups; 0 = none                                       */
    uint64_t machine;   /* physical memory                                                       */
    uint64_t shm_total; /* size of /dev/shm                                                      */
    uint64_t shm_free;  /* of that, free                                                         */
};

/* root: "" for this machine (its /dev/shm is always the real one). SYSTEM if /proc/meminfo cannot be read. */
enum hep_status device_memory_read(const char *root, struct device_memory *memory, struct hep_error *error);

#endif
