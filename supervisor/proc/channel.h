/*
 * The request channel to one generation of one domain: an nng client whose replies are brought to the loop thread. Each
 * request is answered exactly once; when the channel is closed, what is outstanding is answered with OUTCOME_UNKNOWN
 * before the close returns.
 */
#ifndef HEP_SUPERVISOR_PROC_CHANNEL_H
#define HEP_SUPERVISOR_PROC_CHANNEL_H

#include "supervisor/proc/loop.h"
#include "supervisor/proc/proc.h"

struct hep_channel;

/* path: the domain's socket. domain: its name, for errors; borrowed for the channel's life. */
enum hep_status hep_channel_create(struct hep_loop *loop, const char *path, const char *domain,
                                   struct hep_channel **channel, struct hep_error *error);
/* As hep_proc_request. BUSY past HEP_OPERATIONS_IN_FLIGHT_MAX; TOO_LARGE. */
enum hep_status hep_channel_send(struct hep_channel *channel, json_t *message, hep_proc_done *done, void *context,
                                 struct hep_error *error);
/* Requests without an answer so far. */
size_t hep_channel_outstanding(const struct hep_channel *channel);
/* Answers what is outstanding (on this thread, now), then frees. why: into their errors. NULL is accepted. */
void hep_channel_close(struct hep_channel *channel, const char *why);

#endif
