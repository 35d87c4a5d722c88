/*
 * The order in which a process is confined, its limits, and the table of domains. Called by the skeleton only; the two
 * mechanisms are in confine_seccomp.c and confine_landlock.c.
 */
#include "common/confine_parts.h"

#include "common/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HAS(group)  (UINT32_C(1) << CONFINE_##group)
#define KEEPS(name) (UINT64_C(1) << CAP_##name)
_Static_assert(CONFINE_GROUP_COUNT <= 32, "one bit for each group");

static const struct domain_row {
    uint32_t serving, starting;
    uint64_t capabilities;
} domain_rows[HEP_ROLE_COUNT] = {
#define HEP_CONFINE_GROUP(id, help)
#define HEP_CONFINE_DOMAIN(role, serving, starting, capabilities) [HEP_ROLE_##role] = {serving, starting, capabilities},
#define HEP_CONFINE_OPTION(role, key, groups)
#define HEP_CONFINE_PATH(role, where, name, rights, why)
#define HEP_CONFINE_OPTION_PATH(role, key, where, name, rights, why)
#include "common/confine.def"
#undef HEP_CONFINE_DOMAIN
#undef HEP_CONFINE_OPTION
};

static const struct option_row {
    enum hep_role role;
    const char *key;
    uint32_t groups;
} option_rows[] = {
#define HEP_CONFINE_DOMAIN(role, serving, starting, capabilities)
#define HEP_CONFINE_OPTION(role, key, groups) {HEP_ROLE_##role, key, groups},
#include "common/confine.def"
#undef HEP_CONFINE_GROUP
#undef HEP_CONFINE_DOMAIN
#undef HEP_CONFINE_OPTION
#undef HEP_CONFINE_PATH
#undef HEP_CONFINE_OPTION_PATH
};

static const char *const mode_names[] = {"off", "log", "on"};

bool hep_confine_mode_from_name(const char *name, enum hep_confine_mode *mode)
{
    for (size_t i = 0; i < HEP_COUNT_OF(mode_names); i++)
        if (strcmp(mode_names[i], name) == 0) {
            *mode = (enum hep_confine_mode)i;
            return true;
        }
    return false;
}

const char *hep_confine_mode_name(enum hep_confine_mode mode)
{
    return (unsigned)mode < HEP_COUNT_OF(mode_names) ? mode_names[mode] : "?";
}

static uint32_t options_of(const struct hep_confine_order *order)
{
    uint32_t groups = 0;
    for (size_t i = 0; i < HEP_COUNT_OF(option_rows); i++)
        if (option_rows[i].role == order->role && confine_is_set(order, option_rows[i].key))
            groups |= option_rows[i].groups;
    return groups;
}

bool confine_is_set(const struct hep_confine_order *order, const char *key)
{
    const char *value = order->setting(order->context, key);
    return value && value[0];
}

uint32_t confine_groups(enum hep_role role, bool starting, uint32_t options)
{
    uint32_t groups =
        HAS(BASE) | HAS(THREADS) | HAS(MEMORY) | HAS(SERVE) | HAS(INTRUDER) | domain_rows[role].serving | options;
    if (starting)
        groups |= HAS(LISTEN) | domain_rows[role].starting;
    if (groups & HAS(JIT)) /* the wider of the two: rules of both would contradict each other */
        groups &= ~HAS(PLAIN);
    return HEP_CONFINE_SANITIZED ? groups | HAS(SANITIZER) : groups;
}

/* Libraries do these the first time that they need them, from files that are closed by then. The unwinder must be there
   when a thread ends; jansson without a seed from /dev/urandom would take the time of day. */
static void warm_up(void)
{
    dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_GLOBAL);
    json_object_seed(0);
    tzset();
}

static enum hep_status lower(__rlimit_resource_t resource, rlim_t wanted, struct hep_error *error)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return hep_fail_errno(error, errno, "reading limit %d", (int)resource);
    if (wanted > limit.rlim_max)
        wanted = limit.rlim_max;
    if (setrlimit(resource, &(struct rlimit){wanted, wanted}) != 0)
        return hep_fail_errno(error, errno, "setting limit %d", (int)resource);
    return HEP_OK;
}

/* Descriptors and core files are limited from the first instruction on (supervisor/proc/spawn.c). RLIMIT_NPROC is not
   set: it counts all threads of a user, not of a process, and the filter permits no process. RLIMIT_AS would count the
   segments, which everybody maps. */
static enum hep_status set_limits(const struct hep_confine_order *order, struct hep_error *error)
{
    const char *data = order->setting(order->context, "domains.data_limit");
    rlim_t bytes = data ? (rlim_t)strtoull(data, NULL, 10) : 0;
    HEP_TRY(lower(RLIMIT_MEMLOCK, 0, error));
    if (bytes > 0 && !HEP_CONFINE_SANITIZED) /* their shadow memory is larger than any limit */
        HEP_TRY(lower(RLIMIT_DATA, bytes, error));
    return HEP_OK;
}

/* Without core files nothing reads this process's memory: no debugger of the same user, and no core handler either,
   which the kernel starts whatever the limit says. */
static enum hep_status set_dumpable(struct hep_error *error)
{
    struct rlimit core;
    bool wanted = getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur > 0;
    if (!wanted && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return hep_fail_errno(error, errno, "PR_SET_DUMPABLE");
    return HEP_OK;
}

/* A daemon of root's: what its domains may as root, beyond the table, is taken from them for good. */
static enum hep_status drop_capabilities(enum hep_role role, struct hep_error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, held) != 0)
        return hep_fail_errno(error, errno, "reading the capabilities");
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        held[i].permitted &= (uint32_t)(domain_rows[role].capabilities >> (32 * i));
        held[i].effective = held[i].permitted;
        held[i].inheritable = 0;
    }
    if (syscall(SYS_capset, &header, held) != 0)
        return hep_fail_errno(error, errno, "dropping capabilities");
    return HEP_OK;
}

/* Its own tools cannot work inside of a filter. */
static bool is_under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload_");
}

static void say(const struct hep_confine_order *order, const struct hep_confinement *made)
{
    bool whole = made->seccomp && made->landlock_abi > 0;
    bool asked = order->mode == HEP_CONFINE_ON;
    hep_log(asked && !whole ? HEP_WARNING : HEP_INFO, "confine.done", "domain=%s mode=%s seccomp=%s landlock_abi=%d%s",
            hep_role_name(order->role), hep_confine_mode_name(made->mode), made->seccomp ? "yes" : "no",
            made->landlock_abi,
            asked && !whole ? " reason=\"the kernel lacks one, or this container forbids it\"" : "");
}

enum hep_status hep_confine(const struct hep_confine_order *order, struct hep_confinement *result,
                            struct hep_error *error)
{
    struct hep_confinement made = {.mode = order->mode, .options = options_of(order)};
    struct hep_confine_kernel kernel;
    hep_assert((unsigned)order->role < HEP_ROLE_COUNT);
    *result = (struct hep_confinement){.mode = HEP_CONFINE_OFF};
    if (order->mode == HEP_CONFINE_OFF)
        return HEP_OK;
    if (is_under_valgrind()) {
        hep_log(HEP_WARNING, "confine.off", "domain=%s reason=valgrind", hep_role_name(order->role));
        return HEP_OK;
    }
    hep_confine_look(&kernel);
    warm_up();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return hep_fail_errno(error, errno, "PR_SET_NO_NEW_PRIVS");
    made.no_new_privs = true;
    HEP_TRY(set_limits(order, error));
    if (order->mode == HEP_CONFINE_ON) {
        HEP_TRY(set_dumpable(error));
        HEP_TRY(drop_capabilities(order->role, error));
        if (kernel.landlock_abi > 0)
            HEP_TRY(confine_paths(order, kernel.landlock_abi, error));
        made.landlock_abi = kernel.landlock_abi;
    }
    if (kernel.seccomp)
        HEP_TRY(confine_filter(confine_groups(order->role, true, made.options), order->mode, error));
    made.seccomp = kernel.seccomp;
    say(order, &made);
    *result = made;
    return HEP_OK;
}

enum hep_status hep_confine_serve(enum hep_role role, const struct hep_confinement *confinement,
                                  struct hep_error *error)
{
    if (!confinement->seccomp)
        return HEP_OK;
    return confine_filter(confine_groups(role, false, confinement->options), confinement->mode, error);
}
