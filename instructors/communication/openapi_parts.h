/* Inside the OpenAPI document: what its files share. */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_OPENAPI_PARTS_H
#define HEP_INSTRUCTORS_COMMUNICATION_OPENAPI_PARTS_H

#include "instructors/communication/routes.h"

struct document {
    const json_t *operations; /* of domain.describe                        */
    bool token;               /* requests need one                         */
    json_t *paths, *schemas, *responses;
};

/* openapi.c */
json_t *openapi_reference(const char *kind, const char *name); /* {$ref: "#/components/kind/name"} */
json_t *openapi_content(json_t *schema);                       /* {"application/json": {schema}}; taken */
const json_t *openapi_operation(const struct document *document, const char *type); /* NULL: not known */
/* "session_list"; a route that is not just an operation is called by its path: "sessions_events". */
void openapi_name_route(const struct route *route, char *name, size_t size);

/* openapi_answers.c */
json_t *openapi_answers(struct document *document, const struct route *route, const char *name); /* by status */
void openapi_add_errors(struct document *document); /* schemas and responses that all routes refer to */

#endif
