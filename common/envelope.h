/*
 * What stands around the data of a request: its members and their types, the same for the front's two sockets and for
 * an instructor. The members' meaning is docs/operations-format.md's; what data holds is the operation's table's.
 */
#ifndef HEP_COMMON_ENVELOPE_H
#define HEP_COMMON_ENVELOPE_H

#include "common/status.h"

#include <jansson.h>

/* Who sends it: only the supervisor tells a domain of an attempt, a lease, … */
enum hep_sender { HEP_FROM_CALLER, HEP_FROM_SUPERVISOR };

/* BAD_FIELD: it is no object, or a member is of a wrong type; UNKNOWN_FIELD: a member that this sender has not;
   MISSING_FIELD: no type. The error's field is the member. */
enum hep_status hep_envelope_check(json_t *message, enum hep_sender sender, struct hep_error *error);

#endif
