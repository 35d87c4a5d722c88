/* Whether a reply is what its operation's table says: every field that is always there, none that it does not name,
   types, choices, ranges, and the same inside of JSON fields. */
#ifndef HEP_TESTS_REPLY_CHECK_H
#define HEP_TESTS_REPLY_CHECK_H

#include "common/operation.h"

/* What is wrong, with its place ("domains[2].pid"); "" = nothing. Valid until the next call. */
const char *reply_check(const struct hep_operation *row, const json_t *reply);

#endif
