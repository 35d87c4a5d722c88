/* The body of POST /api/processing/request. */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_REQUEST_H
#define HEP_INSTRUCTORS_COMMUNICATION_REQUEST_H

#include "common/operation.h"

enum { ROUTED_FIELDS = 4 };
extern const struct hep_field routed_fields[ROUTED_FIELDS];

#endif
