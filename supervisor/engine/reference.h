/*
 * References in a workflow: "${name}" and "${name.part.part}" in the strings of a JSON value. A string that is one
 * reference as a whole takes the type of what it names; inside a longer string it is put in as text. "${a.b|c.d}" is
 * the first of several that is not absent: what a step that was skipped would have given, or else what it would have
 * read.
 */
#ifndef HEP_SUPERVISOR_ENGINE_REFERENCE_H
#define HEP_SUPERVISOR_ENGINE_REFERENCE_H

#include "common/status.h"

#include <jansson.h>

enum { HEP_REFERENCE_PATH_MAX = 128 }; /* bytes of "name.part.part", or of several with "|" between, with NUL */

/* Gives the value of a path: a new reference, JSON null for something that is absent here (an optional field of a
   reply), or NULL with error filled for something that does not exist. */
typedef json_t *hep_reference_lookup(void *context, const char *path, struct hep_error *error);
/* Calls for a path found; returning an error ends the walk. */
typedef enum hep_status hep_reference_visit(void *context, const char *path, struct hep_error *error);

/* Puts every reference of value in. *resolved: a new value. Members of objects that are one absent reference are left
   out. Errors: BAD_FIELD for a malformed "${", what lookup says, BAD_FIELD for an object or array inside a string. */
enum hep_status hep_reference_resolve(const json_t *value, hep_reference_lookup *lookup, void *context,
                                      json_t **resolved, struct hep_error *error);
/* Visits every path in value, in order. */
enum hep_status hep_reference_walk(const json_t *value, hep_reference_visit *visit, void *context,
                                   struct hep_error *error);
/* Follows "part.part" through objects. Borrowed; NULL if a part is not there. An empty path gives value itself. */
json_t *hep_reference_follow(json_t *value, const char *path);
/* Whether the path begins with root and, if it has more parts, a dot; *rest then points behind it ("" at the end). */
bool hep_reference_is(const char *path, const char *root, const char **rest);

#endif
