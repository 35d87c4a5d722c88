/*
 * Files below a model folder. Every path comes from a stranger's JSON or from a request, so it is opened relative to
 * the folder's descriptor and may not leave it: not by "..", not by an absolute path, not by a symbolic link.
 */
#ifndef HEP_NN_WEIGHTS_FOLDER_H
#define HEP_NN_WEIGHTS_FOLDER_H

#include "common/limits.h"
#include "common/status.h"

#include <jansson.h>

/* Opens the folder at path (any path that the operator names) as a descriptor for the functions below; the caller
   closes it. HEP_E_NOT_FOUND if it is not there or is not a folder. */
enum hep_status hep_folder_open(const char *path, int *folder, struct hep_error *error);

/* Opens the folder that holds the file at path, and says the file's name in it, name[HEP_PATH_MAX]. The folder need not
   be readable itself. Errors as above. */
enum hep_status hep_folder_open_parent(const char *path, int *folder, char *name, struct hep_error *error);

/* Opens the folder called name in folder, a link to one elsewhere included; false if there is none. */
bool hep_folder_open_beside(int folder, const char *name, int *opened);

/* Opens path below folder, read-only; the caller closes it. A regular file is required. HEP_E_NOT_FOUND if it is
   missing; HEP_E_BAD_MODEL if the path leaves the folder or is not a regular file. */
enum hep_status hep_folder_open_file(int folder, const char *path, int *file, struct hep_error *error);

/* True if path below folder opens as a regular file. */
bool hep_folder_has_file(int folder, const char *path);

/* Reads a whole file of at most limit bytes; *text is malloc'ed, NUL-terminated (the NUL is not counted in *size), and
   the caller frees it. HEP_E_BAD_FILE past the limit. */
enum hep_status hep_folder_read_file(int folder, const char *path, size_t limit, char **text, size_t *size,
                                     struct hep_error *error);

/* Reads a JSON object of at most HEP_CONFIG_JSON_MAX bytes; the caller decrefs it. HEP_E_BAD_FILE names file, line and
   what is wrong. Duplicate keys are refused. The tokens NaN, Infinity and -Infinity, which Python writes, read as null.
 */
enum hep_status hep_folder_read_json(int folder, const char *path, json_t **object, struct hep_error *error);

#endif
