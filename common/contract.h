/*
 * The whole contract between the supervisor and the processes that it starts: arguments, descriptors, reports.
 *
 * An instructor is started as
 *     heptad-<domain> --instance NAME --generation N --socket PATH --report-fd 3 --state-dir DIR [--front PATH] [--set
 * key=value …] with standard input /dev/null, standard error a pipe that the supervisor reads, and descriptor 3 the
 * report channel (SEQPACKET; its EOF means that the supervisor is gone: exit at once). It listens on PATH, then reports
 * READY.
 *
 * A report is one msgpack map (common/wire.h) per packet, child → parent:
 *   {kind:"ready", generation, pid, version, build, isa, operations:[…hep_describe…]}
 *   {kind:"starting", note}          progress while starting: extends the READY deadline
 *   {kind:"progress", counter, session, operation, attempt, step, steps, note}   something was done; counter only grows
 *   {kind:"begin",  request_id, session, operation, attempt, deadline_ms}        an operation is in hand
 *   {kind:"end",    request_id, operation, success, duration_us, cpu_us}
 *   {kind:"status", …}               every second and on change: see HEP_STATUS_FIELDS in docs/status.md
 *   {kind:"event",  name, …}         e.g. "inference.step" with session, row, step, steps
 * Reports are sent with MSG_DONTWAIT; if the channel is full, progress and status are dropped (the next one carries the
 * newer counter), begin and end are kept until they fit.
 */
#ifndef HEP_COMMON_CONTRACT_H
#define HEP_COMMON_CONTRACT_H

#define HEP_REPORT_FD       3
#define HEP_EXIT_CONFIG     125   /* exit status: the configuration is wrong, do not retry */
#define HEP_READY_MS        10000 /* READY is due so long after the start; each "starting" report extends it */
#define HEP_STATUS_EVERY_MS 1000

#endif
