/* What is done with an image that the safety checker flags: the one list, for requests, configuration and files. */
#ifndef HEP_COMMON_SAFETY_POLICY_H
#define HEP_COMMON_SAFETY_POLICY_H

#include "common/status.h"

/* From nothing to most: a policy includes the ones before. */
enum hep_safety_policy {
    HEP_SAFETY_OFF,    /* images are not looked at                                                 */
    HEP_SAFETY_FLAG,   /* results and files say what was found                                     */
    HEP_SAFETY_BLUR,   /* what is flagged is blurred past recognition before it is written         */
    HEP_SAFETY_REFUSE, /* what is flagged is not written: the request fails with UNSAFE            */
    HEP_SAFETY_POLICY_COUNT
};
/* "off", "flag", "blur", "refuse", NULL. */
extern const char *const hep_safety_policy_names[HEP_SAFETY_POLICY_COUNT + 1];
/* False if there is none of this name (NULL is none). */
bool hep_safety_policy_from_name(const char *name, enum hep_safety_policy *policy);
/* Whether an image may be seen before it has been judged. */
bool hep_safety_policy_allows_previews(enum hep_safety_policy policy);

#endif
