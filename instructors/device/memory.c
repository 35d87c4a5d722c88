/*
 * Adds up what limits our memory. Called for device.get_memory and by the admission of reservations. It reads anew each
 * time and keeps nothing.
 */
#include "instructors/device/memory.h"
#include "instructors/device/cgroup.h"
#include "instructors/device/files.h"
#include "shm/names.h"

#include <stdlib.h>
#include <sys/statvfs.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

enum hep_status device_memory_read(const char *root, struct device_memory *memory, struct hep_error *error)
{
    uint64_t total_kib, available_kib;
    char *text = device_read_file(root, "/proc/meminfo");
    bool found = text && device_find_number(text, "MemTotal:", &total_kib) &&
                 device_find_number(text, "MemAvailable:", &available_kib);
    free(text);
    if (!found)
        return hep_fail(error, HEP_E_SYSTEM, "/proc/meminfo does not say how much memory there is");
    struct device_memory read = {
        .machine = total_kib << 10, .total = total_kib << 10, .available = available_kib << 10};
    struct device_cgroup cgroup = device_cgroup_read(root);
    if (cgroup.has_memory_limit && cgroup.memory_limit < read.machine) {
        read.limit = cgroup.memory_limit;
        read.total = cgroup.memory_limit;
    }
    if (cgroup.has_memory_limit)
        read.available = smaller(read.available, cgroup.memory_available);
    struct statvfs fs;
    if (statvfs(HEP_SHM_DIRECTORY, &fs) == 0) {
        read.shm_total = (uint64_t)fs.f_blocks * fs.f_frsize;
        read.shm_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    }
    *memory = read;
    return HEP_OK;
}
