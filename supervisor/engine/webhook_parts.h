/* What the files of webhooks share. Included by supervisor/engine/webhook*.c only. */
#ifndef HEP_SUPERVISOR_ENGINE_WEBHOOK_PARTS_H
#define HEP_SUPERVISOR_ENGINE_WEBHOOK_PARTS_H

#include "supervisor/engine/store.h"
#include "supervisor/engine/webhooks.h"

/* The text {event, delivery_id, time, session | batch: its view}, to be freed. NULL when out of memory. */
char *webhook_body(struct hep_engine *engine, const char *id, const char *subject, const char *event, int64_t time_ms);
/* The message that asks heptad-communication to send a row with its body, signed as of now: new reference. NO_MEMORY.
 */
enum hep_status webhook_request(const char *secret, const struct hep_store_webhook *row, int timeout_ms,
                                json_t **message, struct hep_error *error);

#endif
