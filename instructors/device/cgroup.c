/*
 * Reads limits from the control groups' files. Called by memory.c and topology.c. It writes nothing, and it does not
 * watch: limits may change while we run, so whoever needs them asks again.
 *
 * Where a group's files are: /proc/self/cgroup has the group's path, /proc/self/mountinfo where the hierarchy is
 * mounted and which part of it (in a container, its own part only).
 */
#include "instructors/device/cgroup.h"
#include "instructors/device/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LENGTH_MAX = 1024 };
#define NO_LIMIT_V1 (UINT64_C(1) << 62) /* version 1 says "none" with a number near 2^63 */

/* One directory's say. */
typedef void read_directory(const char *root, const char *directory, struct device_cgroup *into);

static bool read_number_in(const char *root, const char *directory, const char *file, uint64_t *value)
{
    char path[PATH_LENGTH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    return device_read_number(root, path, value);
}

static uint64_t stat_in(const char *root, const char *directory, const char *key)
{
    char path[PATH_LENGTH_MAX + 64];
    uint64_t value = 0;
    snprintf(path, sizeof path, "%s/memory.stat", directory);
    char *text = device_read_file(root, path);
    if (text)
        device_find_number(text, key, &value);
    free(text);
    return value;
}

static void apply_memory(struct device_cgroup *into, uint64_t limit, uint64_t used, uint64_t reclaimable)
{
    used = used > reclaimable ? used - reclaimable : 0;
    uint64_t left = limit > used ? limit - used : 0;
    if (!into->has_memory_limit || limit < into->memory_limit)
        into->memory_limit = limit;
    if (!into->has_memory_limit || left < into->memory_available)
        into->memory_available = left;
    into->has_memory_limit = true;
}

static void apply_cpus(struct device_cgroup *into, uint64_t quota, uint64_t period)
{
    double cpus = (double)quota / (double)period;
    if (into->cpus <= 0 || cpus < into->cpus)
        into->cpus = cpus;
}

static void read_memory_v1(const char *root, const char *directory, struct device_cgroup *into)
{
    uint64_t limit, used;
    if (read_number_in(root, directory, "memory.limit_in_bytes", &limit) && limit < NO_LIMIT_V1 &&
        read_number_in(root, directory, "memory.usage_in_bytes", &used))
        apply_memory(into, limit, used, stat_in(root, directory, "total_inactive_file "));
}

static void read_cpu_v1(const char *root, const char *directory, struct device_cgroup *into)
{
    uint64_t quota, period; /* a quota of −1 is no number here: no limit */
    if (read_number_in(root, directory, "cpu.cfs_quota_us", &quota) && quota > 0 &&
        read_number_in(root, directory, "cpu.cfs_period_us", &period) && period > 0)
        apply_cpus(into, quota, period);
}

static void read_v2(const char *root, const char *directory, struct device_cgroup *into)
{
    static const char *const limits[] = {"memory.max", "memory.high"}; /* above high we would only be slowed down */
    uint64_t limit, used, quota, period;
    for (size_t i = 0; i < HEP_COUNT_OF(limits); i++)
        if (read_number_in(root, directory, limits[i], &limit) &&
            read_number_in(root, directory, "memory.current", &used))
            apply_memory(into, limit, used, stat_in(root, directory, "inactive_file "));
    char path[PATH_LENGTH_MAX + 64];
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    char *text = device_read_file(root, path);
    if (text && sscanf(text, "%" SCNu64 " %" SCNu64, &quota, &period) == 2 && quota > 0 && period > 0)
        apply_cpus(into, quota, period);
    free(text);
}

/* The hierarchies that we ask. To add one: a row. */
static const struct hierarchy {
    const char *controller; /* as in /proc/self/cgroup; "" is version 2 */
    read_directory *read;
} hierarchies[] = {
    {"", read_v2},
    {"memory", read_memory_v1},
    {"cpu", read_cpu_v1},
};

static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);
    while (*list) {
        size_t part = strcspn(list, ",");
        if (part == length && strncmp(list, word, length) == 0)
            return true;
        list += part + (list[part] == ',');
    }
    return false;
}

/* The group's path in the controller's hierarchy, from the lines "7:memory,x:/path" of /proc/self/cgroup. */
static bool group_path(const char *cgroups, const char *controller, char path[PATH_LENGTH_MAX])
{
    for (const char *line = cgroups; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char controllers[256] = "";
        const char *colon = strchr(line, ':'), *end;
        const char *second = colon ? strchr(colon + 1, ':') : NULL;
        if (!second || (size_t)(second - colon) > sizeof controllers)
            continue;
        memcpy(controllers, colon + 1, (size_t)(second - colon - 1));
        end = second + strcspn(second, "\n");
        if (*controller ? !list_has(controllers, controller) : strncmp(line, "0::", 3) != 0)
            continue;
        if ((size_t)(end - second) > PATH_LENGTH_MAX - 1)
            return false;
        memcpy(path, second + 1, (size_t)(end - second - 1));
        path[end - second - 1] = '\0';
        return true;
    }
    return false;
}

/* Where the controller's hierarchy is mounted, and which part of it, from /proc/self/mountinfo. */
static bool mount_of(const char *mountinfo, const char *controller, char part[PATH_LENGTH_MAX],
                     char point[PATH_LENGTH_MAX])
{
    for (const char *line = mountinfo; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char type[32], options[256];
        size_t length = strcspn(line, "\n");
        const char *dash = memmem(line, length, " - ", 3);
        if (!dash || sscanf(line, "%*s %*s %*s %1023s %1023s", part, point) != 2 ||
            sscanf(dash + 3, "%31s %*s %255s", type, options) != 2)
            continue;
        if (*controller ? strcmp(type, "cgroup") == 0 && list_has(options, controller) : strcmp(type, "cgroup2") == 0)
            return true;
    }
    return false;
}

static void read_hierarchy(const char *root, const struct hierarchy *hierarchy, const char *cgroups,
                           const char *mountinfo, struct device_cgroup *into)
{
    char path[PATH_LENGTH_MAX], part[PATH_LENGTH_MAX], point[PATH_LENGTH_MAX], directory[2 * PATH_LENGTH_MAX];
    if (!group_path(cgroups, hierarchy->controller, path) || !mount_of(mountinfo, hierarchy->controller, part, point))
        return;
    size_t skipped = strcmp(part, "/") == 0 ? 0 : strlen(part);
    bool hidden = strncmp(path, part, skipped) != 0 || strstr(path, "/.."); /* by a namespace */
    const char *below = hidden || strcmp(path, "/") == 0 ? "" : path + skipped;
    snprintf(directory, sizeof directory, "%s%s", point, below);
    for (;;) {
        hierarchy->read(root, directory, into);
        char *slash = strrchr(directory, '/');
        if (!slash || strlen(directory) <= strlen(point))
            return;
        *slash = '\0';
    }
}

struct device_cgroup device_cgroup_read(const char *root)
{
    struct device_cgroup limits = {0};
    char *cgroups = device_read_file(root, "/proc/self/cgroup"),
         *mountinfo = device_read_file(root, "/proc/self/mountinfo");
    if (cgroups && mountinfo)
        for (size_t i = 0; i < HEP_COUNT_OF(hierarchies); i++)
            read_hierarchy(root, &hierarchies[i], cgroups, mountinfo, &limits);
    free(cgroups);
    free(mountinfo);
    return limits;
}
