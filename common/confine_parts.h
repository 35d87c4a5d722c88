/* What the files of the confinement share. Included by common/confine*.c only. */
#ifndef HEP_COMMON_CONFINE_PARTS_H
#define HEP_COMMON_CONFINE_PARTS_H

#include "common/confine.h"

#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEP_CONFINE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HEP_CONFINE_SANITIZED 1
#endif
#endif
#ifndef HEP_CONFINE_SANITIZED
#define HEP_CONFINE_SANITIZED 0
#endif

enum confine_group {
#define HEP_CONFINE_GROUP(id, help) CONFINE_##id,
#define HEP_CONFINE_DOMAIN(role, serving, starting, capabilities)
#define HEP_CONFINE_OPTION(role, key, groups)
#define HEP_CONFINE_PATH(role, where, name, rights, why)
#define HEP_CONFINE_OPTION_PATH(role, key, where, name, rights, why)
#include "common/confine.def"
#undef HEP_CONFINE_GROUP
#undef HEP_CONFINE_DOMAIN
#undef HEP_CONFINE_OPTION
#undef HEP_CONFINE_PATH
#undef HEP_CONFINE_OPTION_PATH
    CONFINE_GROUP_COUNT
};

/* The groups of a domain, one bit each: until READY, or from then on; options are what its settings add. */
uint32_t confine_groups(enum hep_role role, bool starting, uint32_t options);
/* Whether the configuration says something there. */
bool confine_is_set(const struct hep_confine_order *order, const char *key);
/* confine_seccomp.c: installs the filter of these groups for every thread; the first, which has LISTEN, also takes
   SIGSYS and refuses the calls that nobody is to hear of. */
enum hep_status confine_filter(uint32_t groups, enum hep_confine_mode mode, struct hep_error *error);
/* confine_landlock.c: applies the rules of the domain's paths and ports to this thread and those that it will start, as
   far as an ABI (from 1 on) knows them. */
enum hep_status confine_paths(const struct hep_confine_order *order, int abi, struct hep_error *error);

#endif
