/* Fields of operations, as domain.describe has them, to JSON Schema (2020-12, as OpenAPI 3.1 takes it). Pure. */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_SCHEMA_H
#define HEP_INSTRUCTORS_COMMUNICATION_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

enum schema_side {
    SCHEMA_QUERY,   /* text of a URL or a header: never null                                */
    SCHEMA_REQUEST, /* a JSON body: null is as good as missing where a field is not required */
    SCHEMA_REPLY    /* what we say: null only where the field says so                        */
};

/* Of one value. New reference; NULL when out of memory. */
json_t *schema_of_field(const json_t *field, enum schema_side side);
/* Of an object with these fields (an array); open: it may hold others. */
json_t *schema_of_fields(const json_t *fields, bool open, enum schema_side side);

#endif
