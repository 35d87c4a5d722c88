/* Files that are given to the daemon. */
#ifndef HEP_SUPERVISOR_CTL_UPLOAD_H
#define HEP_SUPERVISOR_CTL_UPLOAD_H

#include "supervisor/ctl/ctl.h"

/* Gives a file; *name: what the daemon calls it, a new reference to a text. Errors: those of reading (NOT_FOUND, …),
   BAD_FILE for what is no file or empty, TOO_LARGE, and what input.put says. */
enum hep_status ctl_upload(struct ctl *ctl, const char *path, json_t **name, struct hep_error *error);

#endif
