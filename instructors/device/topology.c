/*
 * Reads the topology through hwloc. Called once at the start of the device domain; what it finds does not change while
 * it runs. It binds nothing.
 */
#include "instructors/device/topology.h"
#include "instructors/device/cgroup.h"

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum hep_status load(const struct device_view *view, hwloc_topology_t *topology, struct hep_error *error)
{
    hwloc_topology_t loaded;
    if (hwloc_topology_init(&loaded) != 0)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the topology");
    if ((view->synthetic && hwloc_topology_set_synthetic(loaded, view->synthetic) != 0) ||
        hwloc_topology_load(loaded) != 0) {
        hwloc_topology_destroy(loaded);
        return hep_fail(error, HEP_E_SYSTEM, "the processors' topology cannot be read");
    }
    *topology = loaded;
    return HEP_OK;
}

/* The threads that we may use: hwloc leaves out what the control groups forbid; this thread's affinity may forbid more.
 */
static hwloc_bitmap_t usable_threads(hwloc_topology_t topology)
{
    hwloc_bitmap_t usable = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology));
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    if (usable && bound && hwloc_topology_is_thissystem(topology) &&
        hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_THREAD) == 0)
        hwloc_bitmap_and(usable, usable, bound);
    hwloc_bitmap_free(bound);
    return usable;
}

/* The index among its like of the ancestor of a core, 0 if it has none. */
static int ancestor_index(hwloc_topology_t topology, hwloc_obj_t core, hwloc_obj_type_t type)
{
    hwloc_obj_t ancestor = hwloc_get_ancestor_obj_by_type(topology, type, core);
    return ancestor ? (int)ancestor->logical_index : 0;
}

static int node_of(hwloc_topology_t topology, hwloc_obj_t core)
{
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)))
        if (hwloc_bitmap_isincluded(core->cpuset, node->cpuset))
            return (int)node->logical_index;
    return 0;
}

/* Cores without a common last-level cache are grouped by socket. */
static int group_of(hwloc_topology_t topology, hwloc_obj_t core)
{
    bool has_l3 = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_L3CACHE) > 0;
    return ancestor_index(topology, core, has_l3 ? HWLOC_OBJ_L3CACHE : HWLOC_OBJ_PACKAGE);
}

static int by_place(const void *a, const void *b)
{
    const struct device_core *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->cpu < y->cpu ? -1 : x->cpu > y->cpu;
}

static int count_distinct(const struct device_topology *topology, size_t member)
{
    int count = 0;
    for (int i = 0; i < topology->core_count; i++) {
        bool seen = false;
        for (int j = 0; j < i && !seen; j++)
            seen = *(const int *)((const char *)&topology->cores[i] + member) ==
                   *(const int *)((const char *)&topology->cores[j] + member);
        count += !seen;
    }
    return count;
}

/* Machines whose hwloc sees no cores have one thread per core. */
static hwloc_obj_type_t core_type(hwloc_topology_t topology)
{
    return hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
}

static void read_cores(hwloc_topology_t source, hwloc_const_bitmap_t usable, struct device_topology *topology)
{
    hwloc_obj_t core = NULL;
    hwloc_bitmap_t threads = hwloc_bitmap_alloc();
    hwloc_obj_type_t type = core_type(source);
    while (threads && topology->core_count < DEVICE_CORES_MAX &&
           (core = hwloc_get_next_obj_by_type(source, type, core))) {
        hwloc_bitmap_and(threads, core->cpuset, usable);
        if (hwloc_bitmap_iszero(threads))
            continue;
        struct device_core found = {
            .cpu = hwloc_bitmap_first(threads),
            .threads = hwloc_bitmap_weight(threads),
            .socket = ancestor_index(source, core, HWLOC_OBJ_PACKAGE),
            .node = node_of(source, core),
            .group = group_of(source, core),
        };
        topology->cores[topology->core_count++] = found;
        topology->threads += found.threads;
    }
    hwloc_bitmap_free(threads);
    qsort(topology->cores, (size_t)topology->core_count, sizeof topology->cores[0], by_place);
    topology->sockets = count_distinct(topology, offsetof(struct device_core, socket));
    topology->nodes = count_distinct(topology, offsetof(struct device_core, node));
}

static uint64_t cache_bytes(hwloc_topology_t source, hwloc_obj_type_t type)
{
    hwloc_obj_t cache = hwloc_get_next_obj_by_type(source, type, NULL);
    return cache && cache->attr ? cache->attr->cache.size : 0;
}

static void read_model(hwloc_topology_t source, char model[DEVICE_MODEL_MAX])
{
    static const char *const keys[] = {"CPUModel", "Architecture"};
    hwloc_obj_t package = hwloc_get_next_obj_by_type(source, HWLOC_OBJ_PACKAGE, NULL);
    snprintf(model, DEVICE_MODEL_MAX, "unknown");
    for (size_t i = 0; i < HEP_COUNT_OF(keys); i++) {
        const char *text = package ? hwloc_obj_get_info_by_name(package, keys[i]) : NULL;
        if (!text)
            text = hwloc_obj_get_info_by_name(hwloc_get_root_obj(source), keys[i]);
        if (text) {
            snprintf(model, DEVICE_MODEL_MAX, "%s", text);
            return;
        }
    }
}

static int usable_under(double quota, int cores)
{
    int allowed = quota > 0 && quota < cores ? (int)quota : cores;
    return allowed < 1 ? 1 : allowed;
}

enum hep_status device_topology_read(const struct device_view *view, struct device_topology *topology,
                                     struct hep_error *error)
{
    struct device_topology read = {.isa = hep_isa_level()};
    hwloc_topology_t source = NULL;
    HEP_TRY(load(view, &source, error));
    hwloc_bitmap_t usable = usable_threads(source);
    if (usable)
        read_cores(source, usable, &read);
    hwloc_bitmap_free(usable);
    read_model(source, read.model);
    read.l1d_bytes = cache_bytes(source, HWLOC_OBJ_L1CACHE);
    read.l2_bytes = cache_bytes(source, HWLOC_OBJ_L2CACHE);
    read.l3_bytes = cache_bytes(source, HWLOC_OBJ_L3CACHE);
    read.l3_count = read.l3_bytes ? count_distinct(&read, offsetof(struct device_core, group)) : 0;
    hwloc_topology_destroy(source);
    if (read.core_count == 0)
        return hep_fail(error, HEP_E_SYSTEM, "there is no processor core that this process may use");
    read.quota = device_cgroup_read(view->root ? view->root : "").cpus;
    read.usable_cores = usable_under(read.quota, read.core_count);
    *topology = read;
    return HEP_OK;
}
