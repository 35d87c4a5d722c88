/*
 * Where things are. What belongs to this build is found relative to the running binary, installed or in a build folder.
 * The daemon whose state folder is HEP_SYSTEM_STATE is the system's, and its other folders are the system's too.
 */
#ifndef HEP_SUPERVISOR_PROC_PLACES_H
#define HEP_SUPERVISOR_PROC_PLACES_H

#include "common/limits.h"
#include "common/status.h"

#define HEP_SYSTEM_STATE   "/var/lib/heptad"
#define HEP_SYSTEM_RUNTIME "/run/heptad"
#define HEP_SYSTEM_LOGS    "/var/log/heptad"

/* Absolute paths without symbolic links in the folder of the binary. */
struct hep_places {
    char binaries[HEP_PATH_MAX];  /* folder that holds the heptad-<domain> programs                     */
    char models[HEP_PATH_MAX];    /* folder of the shipped models                                       */
    char workflows[HEP_PATH_MAX]; /* folder of the shipped workflow templates                           */
    char config[HEP_PATH_MAX];    /* configuration file of an installation; "" when run from a build folder */
};

/* SYSTEM if /proc/self/exe cannot be read. A folder that is not there is named where it would be installed. */
enum hep_status hep_places_find(struct hep_places *places, struct hep_error *error);
/* path with its existing part resolved (symbolic links, "..") and the rest appended. path is absolute. */
void hep_canonical_path(const char *path, char result[HEP_PATH_MAX]);

#endif
