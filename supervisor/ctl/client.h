/*
 * The control socket from the other end: one connection, one request in hand, every failure in words that say what is
 * the matter with the daemon.
 */
#ifndef HEP_SUPERVISOR_CTL_CLIENT_H
#define HEP_SUPERVISOR_CTL_CLIENT_H

#include "supervisor/ctl/where.h"

#include <jansson.h>
#include <signal.h>

struct ctl_client;

enum { CTL_TIMEOUT_MS = 10000 /* for an answer, unless the request itself may take longer */ };

/* Connects. DOMAIN_DOWN: nobody is there (the hint says how to start it); NOT_ALLOWED: the socket is not for this user;
   BUSY: the daemon does not accept connections. */
enum hep_status ctl_client_open(const struct ctl_where *where, struct ctl_client **client, struct hep_error *error);
void ctl_client_close(struct ctl_client *client); /* NULL is accepted */

/* Whether the daemon has closed the connection: a DOMAIN_DOWN was about itself, not about a domain of its. */
bool ctl_client_has_ended(const struct ctl_client *client);

/* Waiting ends with CANCELLED as soon as *flag is not 0; the signals of the mask are blocked but while waiting.
   NULL, NULL: waiting is not to be interrupted (the default). Both are borrowed. */
void ctl_client_interruptible(struct ctl_client *client, const volatile sig_atomic_t *flag, const sigset_t *mask);

/* From now on what is asked may be internal: see `heptctl call --internal`. */
void ctl_client_ask_as_engineer(struct ctl_client *client);

/* Sends {type, request_id, data} and waits for the answer with this request_id; older answers are dropped. data is an
   object or NULL for {}; its reference is taken. *reply is the answer's data, a new reference.
   Before anything is sent: TOO_LARGE (more than HEP_FRAME_MAX, or than the kernel takes in one packet), BAD_FRAME.
   While waiting: TIMEOUT, DOMAIN_DOWN (it closed the connection), CANCELLED, BAD_FRAME (a malformed answer).
   The daemon's own error comes back as it was said. */
enum hep_status ctl_client_ask(struct ctl_client *client, const char *type, json_t *data, int64_t timeout_ms,
                               json_t **reply, struct hep_error *error);
/* Waits until the daemon closes the connection. TIMEOUT, CANCELLED. */
enum hep_status ctl_client_await_end(struct ctl_client *client, int64_t timeout_ms, struct hep_error *error);

#endif
