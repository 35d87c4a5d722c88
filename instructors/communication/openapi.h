/* The API as an OpenAPI 3.1 document, made of the table of routes and of the operations behind them. Pure. */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_OPENAPI_H
#define HEP_INSTRUCTORS_COMMUNICATION_OPENAPI_H

#include "common/status.h"

#include <jansson.h>

/* operations: of domain.describe. token: whether requests need one. New reference. DOMAIN_DOWN: an operation that a
   route is for is not known, because its domain has not been ready yet. */
enum hep_status openapi_document(const json_t *operations, bool token, json_t **document, struct hep_error *error);

#endif
