/* What the device domain sees of a machine: this one, hwloc's synthetic ones, and control groups made of plain files.
 */
#include "tests/support/check_status.h"

#include "instructors/device/cgroup.h"
#include "instructors/device/files.h"
#include "instructors/device/memory.h"
#include "instructors/device/topology.h"

#include <ftw.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static void setup(void)
{
    snprintf(root, sizeof root, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void teardown(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes root/path, with the folders on the way. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

#define MOUNT_V2 "30 20 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MEMINFO  "MemTotal:       16000000 kB\nMemFree:  1000 kB\nMemAvailable:    8000000 kB\n"

START_TEST(a_machine_without_control_groups_has_no_limits)
{
    struct device_cgroup limits = device_cgroup_read(root);
    ck_assert(!limits.has_memory_limit);
    ck_assert_double_eq(limits.cpus, 0);
}
END_TEST

START_TEST(version_2_limits_are_the_tightest_on_the_way_up)
{
    put("/proc/self/cgroup", "0::/system.slice/heptad.service\n");
    put("/proc/self/mountinfo", "21 20 0:5 / /proc rw - proc proc rw\n" MOUNT_V2);
    put("/sys/fs/cgroup/system.slice/memory.max", "4000000000\n");
    put("/sys/fs/cgroup/system.slice/memory.current", "3500000000\n");
    put("/sys/fs/cgroup/system.slice/memory.stat", "anon 7\ninactive_file 100000000\nactive_file 3\n");
    put("/sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/system.slice/heptad.service/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/heptad.service/memory.high", "3000000000\n");
    put("/sys/fs/cgroup/system.slice/heptad.service/memory.current", "1000000000\n");
    put("/sys/fs/cgroup/system.slice/heptad.service/cpu.max", "250000 100000\n");
    struct device_cgroup limits = device_cgroup_read(root);
    ck_assert(limits.has_memory_limit);
    ck_assert_uint_eq(limits.memory_limit, 3000000000u);
    ck_assert_uint_eq(limits.memory_available, 600000000u); /* above: 4000 − (3500 − 100) million */
    ck_assert_double_eq(limits.cpus, 2.5);
}
END_TEST

START_TEST(version_1_limits_are_found_where_they_are_mounted)
{
    put("/proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc/inner\n0::/\n");
    put("/proc/self/mountinfo", "40 31 0:30 /docker/abc /cg/memory rw - cgroup cgroup rw,memory\n"
                                "41 31 0:31 /docker/abc /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
    put("/cg/memory/memory.limit_in_bytes", "2000000000\n");
    put("/cg/memory/memory.usage_in_bytes", "500000000\n");
    put("/cg/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 100000000\n");
    put("/cg/memory/inner/memory.limit_in_bytes", "1900000000\n");
    put("/cg/memory/inner/memory.usage_in_bytes", "200000000\n");
    put("/cg/cpu/cpu.cfs_quota_us", "150000\n");
    put("/cg/cpu/cpu.cfs_period_us", "100000\n");
    struct device_cgroup limits = device_cgroup_read(root);
    ck_assert(limits.has_memory_limit);
    ck_assert_uint_eq(limits.memory_limit, 1900000000u);
    ck_assert_uint_eq(limits.memory_available, 1600000000u); /* above: 2000 − (500 − 100) million */
    ck_assert_double_eq(limits.cpus, 1.5);
}
END_TEST

START_TEST(no_limit_of_version_1_is_no_limit)
{
    put("/proc/self/cgroup", "5:cpu:/\n4:memory:/gone\n");
    put("/proc/self/mountinfo", "40 31 0:30 / /cg/memory rw - cgroup cgroup rw,memory\n"
                                "41 31 0:31 / /cg/cpu rw - cgroup cgroup rw,cpu\n");
    put("/cg/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/cg/memory/memory.usage_in_bytes", "500000000\n");
    put("/cg/cpu/cpu.cfs_quota_us", "-1\n");
    put("/cg/cpu/cpu.cfs_period_us", "100000\n");
    struct device_cgroup limits = device_cgroup_read(root);
    ck_assert(!limits.has_memory_limit);
    ck_assert_double_eq(limits.cpus, 0);
}
END_TEST

START_TEST(a_group_that_a_namespace_hides_is_read_at_the_mount_point)
{
    put("/proc/self/cgroup", "0::/../../outside\n");
    put("/proc/self/mountinfo", MOUNT_V2);
    put("/sys/fs/cgroup/memory.max", "1000\n");
    put("/sys/fs/cgroup/memory.current", "2000\n");
    put("/sys/outside/memory.max", "7\n");
    put("/sys/outside/memory.current", "7\n");
    struct device_cgroup limits = device_cgroup_read(root);
    ck_assert_uint_eq(limits.memory_limit, 1000);
    ck_assert_uint_eq(limits.memory_available, 0);
}
END_TEST

START_TEST(garbage_in_the_files_is_no_limit)
{
    put("/proc/self/cgroup", "\n:\n::\n0\n99999999999999999999:x:y\n0::/a");
    put("/proc/self/mountinfo", "x\n - \n1 2 3\n" MOUNT_V2);
    put("/sys/fs/cgroup/a/memory.max", "lots\n");
    put("/sys/fs/cgroup/a/memory.current", "-5\n");
    put("/sys/fs/cgroup/a/cpu.max", "100000 0\n");
    struct device_cgroup limits = device_cgroup_read(root);
    ck_assert(!limits.has_memory_limit);
    ck_assert_double_eq(limits.cpus, 0);
}
END_TEST

START_TEST(memory_is_the_machines_or_the_limit_whichever_is_less)
{
    struct device_memory memory;
    ck_assert_fails(device_memory_read(root, &memory, error), HEP_E_SYSTEM);
    put("/proc/meminfo", MEMINFO);
    ck_assert_ok(device_memory_read(root, &memory, error));
    ck_assert_uint_eq(memory.machine, UINT64_C(16000000) << 10);
    ck_assert_uint_eq(memory.total, memory.machine);
    ck_assert_uint_eq(memory.available, UINT64_C(8000000) << 10);
    ck_assert_uint_eq(memory.limit, 0);
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", MOUNT_V2);
    put("/sys/fs/cgroup/memory.max", "1000000000\n");
    put("/sys/fs/cgroup/memory.current", "400000000\n");
    ck_assert_ok(device_memory_read(root, &memory, error));
    ck_assert_uint_eq(memory.total, 1000000000);
    ck_assert_uint_eq(memory.limit, 1000000000);
    ck_assert_uint_eq(memory.available, 600000000);
    ck_assert_uint_eq(memory.machine, UINT64_C(16000000) << 10);
}
END_TEST

START_TEST(this_machines_memory_is_read)
{
    struct device_memory memory;
    ck_assert_ok(device_memory_read("", &memory, error));
    ck_assert_uint_gt(memory.available, 0);
    ck_assert_uint_ge(memory.total, memory.available);
    ck_assert_uint_ge(memory.machine, memory.total);
    ck_assert_uint_gt(memory.shm_total, 0);
    ck_assert_uint_ge(memory.shm_total, memory.shm_free);
}
END_TEST

START_TEST(a_large_machine_is_seen_core_by_core)
{
    struct device_view view = {root, "package:2 numa:1 l3:2 core:4 pu:2"};
    struct device_topology t;
    ck_assert_ok(device_topology_read(&view, &t, error));
    ck_assert_int_eq(t.sockets, 2);
    ck_assert_int_eq(t.nodes, 2);
    ck_assert_int_eq(t.core_count, 16);
    ck_assert_int_eq(t.threads, 32);
    ck_assert_int_eq(t.l3_count, 4);
    ck_assert_int_eq(t.usable_cores, 16);
    for (int i = 0; i < 16; i++) {
        ck_assert_int_eq(t.cores[i].cpu, 2 * i);
        ck_assert_int_eq(t.cores[i].threads, 2);
        ck_assert_int_eq(t.cores[i].socket, i / 8);
        ck_assert_int_eq(t.cores[i].node, i / 8);
        ck_assert_int_eq(t.cores[i].group, i / 4);
    }
}
END_TEST

START_TEST(a_quota_leaves_whole_cores_and_never_none)
{
    struct device_view view = {root, "core:8 pu:1"};
    struct device_topology t;
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", MOUNT_V2);
    put("/sys/fs/cgroup/cpu.max", "350000 100000\n");
    ck_assert_ok(device_topology_read(&view, &t, error));
    ck_assert_double_eq(t.quota, 3.5);
    ck_assert_int_eq(t.usable_cores, 3);
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    ck_assert_ok(device_topology_read(&view, &t, error));
    ck_assert_int_eq(t.usable_cores, 1);
    put("/sys/fs/cgroup/cpu.max", "9000000 100000\n");
    ck_assert_ok(device_topology_read(&view, &t, error));
    ck_assert_int_eq(t.usable_cores, 8);
}
END_TEST

START_TEST(more_cores_than_there_is_room_for_are_cut)
{
    struct device_view view = {root, "core:600 pu:1"};
    struct device_topology t;
    ck_assert_ok(device_topology_read(&view, &t, error));
    ck_assert_int_eq(t.core_count, DEVICE_CORES_MAX);
}
END_TEST

START_TEST(a_topology_that_cannot_be_is_an_error)
{
    struct device_view view = {root, "this is no topology"};
    struct device_topology t;
    ck_assert_fails(device_topology_read(&view, &t, error), HEP_E_SYSTEM);
}
END_TEST

START_TEST(this_machine_has_no_more_cores_than_our_affinity_allows)
{
    struct device_topology t;
    cpu_set_t one;
    ck_assert_ok(device_topology_read(&(struct device_view){0}, &t, error));
    ck_assert_int_ge(t.core_count, 1);
    ck_assert_int_ge(t.threads, t.core_count);
    ck_assert_str_ne(t.model, "");
    int cpu = t.cores[t.core_count - 1].cpu;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_ok(device_topology_read(&(struct device_view){0}, &t, error));
    ck_assert_int_eq(t.core_count, 1);
    ck_assert_int_eq(t.threads, 1);
    ck_assert_int_eq(t.cores[0].cpu, cpu);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("machine");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, a_machine_without_control_groups_has_no_limits);
    tcase_add_test(cases, version_2_limits_are_the_tightest_on_the_way_up);
    tcase_add_test(cases, version_1_limits_are_found_where_they_are_mounted);
    tcase_add_test(cases, no_limit_of_version_1_is_no_limit);
    tcase_add_test(cases, a_group_that_a_namespace_hides_is_read_at_the_mount_point);
    tcase_add_test(cases, garbage_in_the_files_is_no_limit);
    tcase_add_test(cases, memory_is_the_machines_or_the_limit_whichever_is_less);
    tcase_add_test(cases, this_machines_memory_is_read);
    tcase_add_test(cases, a_large_machine_is_seen_core_by_core);
    tcase_add_test(cases, a_quota_leaves_whole_cores_and_never_none);
    tcase_add_test(cases, more_cores_than_there_is_room_for_are_cut);
    tcase_add_test(cases, a_topology_that_cannot_be_is_an_error);
    tcase_add_test(cases, this_machine_has_no_more_cores_than_our_affinity_allows);
    return check_status_run("device_machine", cases);
}
