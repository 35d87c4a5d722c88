/*
 * What the control groups of this process allow: memory and CPU time, version 1 or 2 or both, the tightest limit of the
 * group and of all above it that can be seen.
 */
#ifndef HEP_INSTRUCTORS_DEVICE_CGROUP_H
#define HEP_INSTRUCTORS_DEVICE_CGROUP_H

#include "common/status.h"

struct device_cgroup {
    bool has_memory_limit;
    uint64_t memory_limit;     /* bytes; the lowest                                                             */
    uint64_t memory_available; /* bytes left under the limit that leaves least; page cache that can go is left  */
    double cpus;               /* processors' worth of time per time; 0 = no limit                              */
};

/* root: "" for this machine. A machine without control groups has no limits. */
struct device_cgroup device_cgroup_read(const char *root);

#endif
