/* The ledger of cores. Called by the operations of the device domain on the loop thread; it binds no thread. */
#include "instructors/device/cores.h"

#include <string.h>

void device_cores_init(struct device_cores *cores, const struct device_topology *topology)
{
    *cores = (struct device_cores){.count = topology->usable_cores};
    memcpy(cores->cores, topology->cores, (size_t)cores->count * sizeof cores->cores[0]);
}

static bool is_held_by(const struct device_cores *cores, int i, const char *holder)
{
    return strcmp(cores->holder[i], holder) == 0;
}

static int count_held_by(const struct device_cores *cores, const char *holder)
{
    int count = 0;
    for (int i = 0; i < cores->count; i++)
        count += is_held_by(cores, i, holder);
    return count;
}

int device_cores_free(const struct device_cores *cores)
{
    return count_held_by(cores, "");
}

static int free_in_group(const struct device_cores *cores, int group)
{
    int count = 0;
    for (int i = 0; i < cores->count; i++)
        count += cores->cores[i].group == group && is_held_by(cores, i, "");
    return count;
}

/* The group to take so many cores from: the fullest that has enough, else the emptiest. −1: no core is free. */
static int best_group(const struct device_cores *cores, int wanted)
{
    int best = -1, best_free = 0;
    for (int i = 0; i < cores->count; i++) {
        int group = cores->cores[i].group, free_cores = free_in_group(cores, group);
        bool enough = free_cores >= wanted, best_enough = best_free >= wanted;
        if (enough == best_enough ? (enough ? free_cores < best_free : free_cores > best_free) : enough) {
            best = group;
            best_free = free_cores;
        }
    }
    return best;
}

static int take_from_group(struct device_cores *cores, int group, const char *holder, int wanted)
{
    int taken = 0;
    for (int i = 0; i < cores->count && taken < wanted; i++)
        if (cores->cores[i].group == group && is_held_by(cores, i, "")) {
            memcpy(cores->holder[i], holder, strlen(holder) + 1);
            taken++;
        }
    return taken;
}

static void list_lease(const struct device_cores *cores, const char *holder, struct device_lease *lease)
{
    lease->count = 0;
    for (int i = 0; i < cores->count; i++)
        if (is_held_by(cores, i, holder))
            lease->cpus[lease->count++] = cores->cores[i].cpu;
}

enum hep_status device_cores_lease(struct device_cores *cores, const char *holder, int wanted,
                                   struct device_lease *lease, struct hep_error *error)
{
    size_t length = strlen(holder);
    if (length == 0 || length >= HEP_SESSION_ID_MAX)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "session", "a lease needs a holder's id of 1 to %d bytes",
                              HEP_SESSION_ID_MAX - 1);
    if (wanted < 1)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "cores", "a lease of %d cores", wanted);
    if (count_held_by(cores, holder) == 0) {
        if (device_cores_free(cores) == 0)
            return hep_fail(error, HEP_E_BUSY, "all %d cores are leased", cores->count);
        for (int group; wanted > 0 && (group = best_group(cores, wanted)) >= 0;)
            wanted -= take_from_group(cores, group, holder, wanted);
    }
    list_lease(cores, holder, lease);
    return HEP_OK;
}

int device_cores_return(struct device_cores *cores, const char *holder)
{
    int count = 0;
    for (int i = 0; i < cores->count && holder[0]; i++)
        if (is_held_by(cores, i, holder)) {
            cores->holder[i][0] = '\0';
            count++;
        }
    return count;
}
