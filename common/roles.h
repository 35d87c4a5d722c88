/* The seven domains and the supervisor. To add a domain: see common/roles.def. */
#ifndef HEP_COMMON_ROLES_H
#define HEP_COMMON_ROLES_H

#include <stdbool.h>
#include <stddef.h>

enum hep_role {
#define HEP_ROLE(id, prefix, weights, heavy, binary, help) HEP_ROLE_##id,
#include "common/roles.def"
#undef HEP_ROLE
    HEP_ROLE_COUNT,
    HEP_ROLE_NONE = HEP_ROLE_COUNT
};

struct hep_role_row {
    const char *prefix;  /* "device": the part of an operation's type before the dot */
    const char *weights; /* "no", "maps", "owns"                                    */
    bool heavy;          /* its long operations need a lease of cores                */
    const char *binary;  /* "heptad-device"                                          */
    const char *help;    /* one line                                                 */
};

const struct hep_role_row *hep_role(enum hep_role role); /* role < HEP_ROLE_COUNT */
const char *hep_role_name(enum hep_role role);           /* the prefix; "none"    */
/* The role whose prefix is the first length bytes of text; HEP_ROLE_NONE if there is none. */
enum hep_role hep_role_from_prefix(const char *text, size_t length);

#endif
