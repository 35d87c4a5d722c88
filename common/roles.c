/* The table of domains. Pure lookups. */
#include "common/roles.h"

#include <string.h>

static const struct hep_role_row rows[HEP_ROLE_COUNT] = {
#define HEP_ROLE(id, prefix, weights, heavy, binary, help) {prefix, weights, heavy, binary, help},
#include "common/roles.def"
#undef HEP_ROLE
};

const struct hep_role_row *hep_role(enum hep_role role)
{
    return &rows[role];
}

const char *hep_role_name(enum hep_role role)
{
    return (unsigned)role < HEP_ROLE_COUNT ? rows[role].prefix : "none";
}

enum hep_role hep_role_from_prefix(const char *text, size_t length)
{
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        if (strlen(rows[role].prefix) == length && memcmp(rows[role].prefix, text, length) == 0)
            return (enum hep_role)role;
    return HEP_ROLE_NONE;
}
