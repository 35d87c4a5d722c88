/* Where the supervisor's log goes: standard error, or a file that is opened again when it was rotated. */
#ifndef HEP_SUPERVISOR_PROC_LOG_SINK_H
#define HEP_SUPERVISOR_PROC_LOG_SINK_H

#include "common/status.h"

/* path: the log file, appended to; "" = standard error. On failure the log stays where it is. */
enum hep_status hep_log_sink_open(const char *path, struct hep_error *error);
/* Writes a line that a child wrote; loses it rather than block. */
void hep_log_sink_line(const char *line);
/* Back to standard error; closes the file. */
void hep_log_sink_close(void);

#endif
