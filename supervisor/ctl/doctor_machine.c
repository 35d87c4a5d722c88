/*
 * Checks of the machine, for doctor.c: processor, memory, /dev/shm, limits, clock. Reads /proc and /sys; asks no
 * daemon.
 */
#include "supervisor/ctl/doctor.h"

#include "common/confine.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <time.h>

enum { MIB = 1 << 20 };

/* The first line of a file that begins with key, without key and blanks; "" if there is none. */
static void read_line(const char *path, const char *key, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t room = 0;
    line[0] = '\0';
    while (file && !line[0] && getline(&text, &room, file) >= 0)
        if (strncmp(text, key, strlen(key)) == 0) {
            const char *at = text + strlen(key);
            at += strspn(at, " \t:");
            snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
        }
    free(text);
    if (file)
        fclose(file);
}

static int64_t read_number(const char *path, const char *key)
{
    char line[64];
    read_line(path, key, line, sizeof line);
    return line[0] >= '0' && line[0] <= '9' ? strtoll(line, NULL, 10) : -1;
}

/* ---- processor --------------------------------------------------------------------------------------------------- */
static bool has_word(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += length)
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

static bool has_all(const char *flags, const char *const *words)
{
    for (; *words; words++)
        if (!has_word(flags, *words))
            return false;
    return true;
}

void doctor_processor(const struct doctor *doctor, struct doctor_finding *finding)
{
    static const char *const v2[] = {"sse4_2", "popcnt", "ssse3", NULL};
    static const char *const avx2[] = {"avx2", "fma", "f16c", NULL};
    static const char *const bf16[] = {"avx512f", "avx512bw", "avx512vl", "avx512_bf16", NULL};
    char flags[8192], model[128];
    const char *forced = getenv("HEP_ISA");
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    (void)doctor;
    read_line("/proc/cpuinfo", "flags", flags, sizeof flags);
    read_line("/proc/cpuinfo", "model name", model, sizeof model);
    const char *level = has_all(flags, avx2) && has_all(flags, bf16) ? "avx512bf16"
                        : has_all(flags, avx2)                       ? "avx2"
                                                                     : "portable";
    doctor_say(finding, DOCTOR_OK, "%s%s%d cores, kernels %s", model, model[0] ? ", " : "", cores, level);
    if (flags[0] && !has_all(flags, v2)) {
        doctor_say(finding, DOCTOR_FAIL, "%s is older than x86-64-v2 (SSE4.2)", model);
        doctor_todo(finding, "heptad does not run here");
    } else if (forced && forced[0]) {
        finding->level = DOCTOR_WARN;
        doctor_todo(finding, "HEP_ISA=%.40s is set in this shell: a heptad started from it uses that", forced);
    } else if (flags[0] && strcmp(level, "portable") == 0) {
        finding->level = DOCTOR_WARN;
        doctor_todo(finding, "without AVX2 and FMA images take several times as long");
    }
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */
void doctor_memory(const struct doctor *doctor, struct doctor_finding *finding)
{
    char total_text[24], free_text[24], limit_text[24], limited[64] = "";
    int64_t total = read_number("/proc/meminfo", "MemTotal") * 1024,
            available = read_number("/proc/meminfo", "MemAvailable") * 1024;
    int64_t limit = read_number("/sys/fs/cgroup/memory.max", "");
    (void)doctor;
    if (limit > 0 && limit < total)
        snprintf(limited, sizeof limited, ", this group may use %s", ctl_bytes(limit, limit_text, sizeof limit_text));
    int64_t usable = limit > 0 && limit < available ? limit : available;
    doctor_say(finding, DOCTOR_OK, "%s, %s available%s", ctl_bytes(total, total_text, sizeof total_text),
               ctl_bytes(available, free_text, sizeof free_text), limited);
    if (usable < (int64_t)512 * MIB) {
        finding->level = usable < (int64_t)192 * MIB ? DOCTOR_FAIL : DOCTOR_WARN;
        doctor_todo(finding, "enough for the shipped model at most: end other programs, or give the group more");
    }
}

void doctor_shared_memory(const struct doctor *doctor, struct doctor_finding *finding)
{
    struct statvfs about;
    char total_text[24], free_text[24];
    (void)doctor;
    if (statvfs("/dev/shm", &about) != 0) {
        doctor_say(finding, DOCTOR_FAIL, "/dev/shm is not there");
        doctor_todo(finding, "mount -t tmpfs -o size=50%% tmpfs /dev/shm");
        return;
    }
    int64_t total = (int64_t)about.f_blocks * (int64_t)about.f_frsize,
            unused = (int64_t)about.f_bavail * (int64_t)about.f_frsize;
    doctor_say(finding, DOCTOR_OK, "/dev/shm has %s, %s free", ctl_bytes(total, total_text, sizeof total_text),
               ctl_bytes(unused, free_text, sizeof free_text));
    if (unused >= (int64_t)1024 * MIB)
        return;
    finding->level = unused < (int64_t)128 * MIB ? DOCTOR_FAIL : DOCTOR_WARN;
    doctor_todo(
        finding,
        "weights and images in work live there: mount -o remount,size=4G /dev/shm (in a container: --shm-size=4g)");
}

void doctor_huge_pages(const struct doctor *doctor, struct doctor_finding *finding)
{
    char anonymous[128], shared[128];
    (void)doctor;
    read_line("/sys/kernel/mm/transparent_hugepage/enabled", "", anonymous, sizeof anonymous);
    read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "", shared, sizeof shared);
    if (!anonymous[0]) {
        doctor_say(finding, DOCTOR_OK, "this kernel has no transparent huge pages; nothing depends on them");
        return;
    }
    doctor_say(finding, DOCTOR_OK, "enabled: %s; for shared memory: %s", anonymous, shared[0] ? shared : "unknown");
    if (strstr(anonymous, "[never]")) {
        finding->level = DOCTOR_WARN;
        doctor_todo(
            finding,
            "large models start and run faster with: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    }
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */
void doctor_limits(const struct doctor *doctor, struct doctor_finding *finding)
{
    struct rlimit limit = {0};
    (void)doctor;
    getrlimit(RLIMIT_NOFILE, &limit);
    doctor_say(finding, DOCTOR_OK, "%llu open files, up to %llu on request", (unsigned long long)limit.rlim_cur,
               (unsigned long long)limit.rlim_max);
    if (limit.rlim_max >= 4096)
        return;
    finding->level = limit.rlim_max < 256 ? DOCTOR_FAIL : DOCTOR_WARN;
    doctor_todo(finding, "each domain wants 4096 (domains.open_files): ulimit -n, or LimitNOFILE= of the unit");
}

void doctor_confinement(const struct doctor *doctor, struct doctor_finding *finding)
{
    struct hep_confine_kernel kernel;
    const char *mode = doctor_setting(doctor, HEP_CONFIG_DOMAINS_CONFINE);
    hep_confine_look(&kernel);
    doctor_say(finding, DOCTOR_OK, "domains.confine is %s; this kernel has %sseccomp, Landlock ABI %d", mode,
               kernel.seccomp ? "" : "no ", kernel.landlock_abi);
    if (strcmp(mode, "on") != 0) {
        finding->level = DOCTOR_WARN;
        doctor_todo(finding, "domains may do all that this user may: set domains.confine=on");
    } else if (!kernel.seccomp || kernel.landlock_abi == 0) {
        finding->level = DOCTOR_WARN;
        doctor_todo(finding,
                    "%s: a kernel from 5.13 on with lsm=landlock,… on its command line; a container must permit it",
                    kernel.seccomp ? "paths stay open to domains" : "system calls stay open to domains");
    } else if (kernel.landlock_abi < 4) {
        doctor_todo(finding, "from ABI 4 (Linux 6.7) on TCP ports are closed, too, from 6 (6.12) on signals");
    }
}

void doctor_packets(const struct doctor *doctor, struct doctor_finding *finding)
{
    int64_t most = read_number("/proc/sys/net/core/wmem_max", "");
    char size[24];
    (void)doctor;
    if (most < 0) {
        doctor_say(finding, DOCTOR_OK, "net.core.wmem_max is not visible here");
        return;
    }
    doctor_say(finding, DOCTOR_OK, "up to %s%s", ctl_bytes(most, size, sizeof size),
               most < HEP_FRAME_MAX ? " for a user, 1 MiB for root" : "");
    if (most < 131072) {
        finding->level = DOCTOR_WARN;
        doctor_todo(finding, "long lists may not fit into an answer: sysctl net.core.wmem_max=%u", HEP_FRAME_MAX);
    }
}

void doctor_clock(const struct doctor *doctor, struct doctor_finding *finding)
{
    struct timex state = {0};
    struct tm parts;
    char text[40];
    time_t now = time(NULL);
    int synchronised = adjtimex(&state);
    (void)doctor;
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &parts));
    doctor_say(finding, DOCTOR_OK, "%s%s", text, synchronised == TIME_ERROR ? ", not synchronised" : "");
    if (parts.tm_year + 1900 < 2024) {
        finding->level = DOCTOR_FAIL;
        doctor_todo(finding, "the clock is wrong: times in the store and in images would be, too");
    } else if (synchronised == TIME_ERROR) {
        doctor_todo(finding, "deadlines do not depend on it; times in the log do");
    }
}
