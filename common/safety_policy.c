/* Names of the safety policies. */
#include "common/safety_policy.h"

#include <string.h>

const char *const hep_safety_policy_names[] = {"off", "flag", "blur", "refuse", NULL};

bool hep_safety_policy_from_name(const char *name, enum hep_safety_policy *policy)
{
    for (int i = 0; name && i < HEP_SAFETY_POLICY_COUNT; i++)
        if (strcmp(hep_safety_policy_names[i], name) == 0) {
            *policy = (enum hep_safety_policy)i;
            return true;
        }
    return false;
}

bool hep_safety_policy_allows_previews(enum hep_safety_policy policy)
{
    return policy < HEP_SAFETY_BLUR;
}
