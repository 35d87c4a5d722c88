/*
 * The door's side of the front socket: communication is a client of the supervisor. Requests are messages {type,
 * request_id, data}; answers come on another thread.
 */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_FRONT_H
#define HEP_INSTRUCTORS_COMMUNICATION_FRONT_H

#include "common/status.h"

#include <jansson.h>

struct front_client;

/* Called once per request on a thread of the rpc layer. data is the reply's data when status is OK, NULL if it has
   none; it is the callee's, and nobody else has it. Else error says why, the supervisor's own words included. */
typedef void front_done(void *context, enum hep_status status, json_t *data, const struct hep_error *error);

enum hep_status front_client_create(const char *path, struct front_client **client, struct hep_error *error);
/* Ends every outstanding request (their done is called before this returns); requests afterwards fail with DOMAIN_DOWN.
 */
void front_client_close(struct front_client *client);
void front_client_destroy(struct front_client *client); /* closes first; nobody may ask meanwhile; NULL is accepted */
/* type: "session.get"; takes data (an object, or NULL for none). operator_token: what the asker says to be an operator
   by, for the supervisor to judge; NULL for a client. timeout_ms: to the answer. On failure done is not called. */
enum hep_status front_request(struct front_client *client, const char *type, json_t *data, const char *operator_token,
                              int64_t timeout_ms, front_done *done, void *context, struct hep_error *error);

#endif
