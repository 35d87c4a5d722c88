/*
 * A step of a workflow that is a batch, `{"type": "batch", "operation": "run"}`: the engine's own, no domain's. Its
 * session waits while the items are made as sessions of their own, and goes on with their images. Its batch has the
 * Idempotency-Key "<session>/<step>/<attempt>", so it is one batch however often the supervisor dies.
 */
#ifndef HEP_SUPERVISOR_ENGINE_BATCH_STEP_H
#define HEP_SUPERVISOR_ENGINE_BATCH_STEP_H

#include "supervisor/engine/session.h"

enum { HEP_BATCH_STEP_FILES_MAX = 256 /* items whose files stand in the step's result */ };

/* Whether the session has such a step in hand. */
bool hep_session_is_in_batch(const struct hep_session *session);
/* Inside a settle: asks for the batch, looks how far it is, ends the step with it. */
void hep_session_run_batch(struct hep_session *session, int index);
/* Of the batch that it has in hand, if it has one: pause, resume or cancel, and another priority. Nothing is committed:
   the caller does it, together with what becomes of the session. */
void hep_session_control_batch(struct hep_session *session, const char *action);
void hep_session_prioritise_batch(struct hep_session *session, int priority);
/* Of a session that is to be accepted: what its first batch step would be asked for, that depends on no other step; a
   new reference, and *step (may be NULL) its index. NULL: there is none. */
json_t *hep_session_batch_request(struct hep_session *session, int *step);

#endif
