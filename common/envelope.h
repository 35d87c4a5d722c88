/*
 * What stands around the data of a request: its members and their types, the same for the front's two sockets and for
 * an instructor. The members' meaning is docs/operations-format.md's; what data holds is the operation's table's.
 */
#ifndef HEP_COMMON_ENVELOPE_H
#define HEP_COMMON_ENVELOPE_H

#include "common/status.h"

#include <jansson.h>

/* How a caller wants `error`: error_format of its request. */
enum hep_error_format {
    HEP_ERROR_OBJECT, /* "object", and when nothing is said: {code, message, hint, …}            */
    HEP_ERROR_TEXT,   /* "string": "CODE: message"                                               */
    HEP_ERROR_ALIAS   /* "alias": an object whose code is the alias, where error_aliases.def has one */
};

/* Who sends it: only the supervisor tells a domain of an attempt, a lease, … */
enum hep_sender { HEP_FROM_CALLER, HEP_FROM_SUPERVISOR };

/* What the request says, HEP_ERROR_OBJECT if that is nothing known. */
enum hep_error_format hep_envelope_error_format(const json_t *message);
/* The value of `error` in a reply; a new reference. */
json_t *hep_envelope_error(const struct hep_error *error, enum hep_error_format format);
/* BAD_FIELD: it is no object, or a member is of a wrong type; UNKNOWN_FIELD: a member that this sender has not;
   MISSING_FIELD: no type; OUT_OF_RANGE: an error_format that there is not. The error's field is the member. */
enum hep_status hep_envelope_check(json_t *message, enum hep_sender sender, struct hep_error *error);

#endif
