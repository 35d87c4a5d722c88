/*
 * Webhooks: who asked with a callback_url is told of the end of its session or batch, at least once, whatever dies. A
 * webhook is a row that is written in the transaction of that end; it goes when the row is there and is removed when
 * its receiver has said yes. docs/webhooks.md is what receivers read. Runs on the loop thread.
 */
#ifndef HEP_SUPERVISOR_ENGINE_WEBHOOKS_H
#define HEP_SUPERVISOR_ENGINE_WEBHOOKS_H

#include "common/status.h"

#include <jansson.h>

struct hep_batch;
struct hep_engine;
struct hep_session;
struct hep_webhooks;

enum {
    HEP_WEBHOOK_ATTEMPTS_MAX = 30, /* the waits between them make a day              */
    HEP_WEBHOOK_SIGNATURE_MAX = 96 /* bytes of a signature, with NUL                 */
};

/* hosts: webhooks.hosts, secret_file: webhooks.secret_file; NULL or "" = none. Those that wait come from the store.
   BAD_CONFIG, NO_MEMORY, errors of the store. */
enum hep_status hep_webhooks_create(struct hep_engine *engine, const char *hosts, const char *secret_file,
                                    struct hep_webhooks **webhooks, struct hep_error *error);
/* After the dispatch. NULL is accepted. */
void hep_webhooks_destroy(struct hep_webhooks *webhooks);
/* Reads the secret again; on BAD_CONFIG the one that there was stays. */
enum hep_status hep_webhooks_reload(struct hep_webhooks *webhooks, struct hep_error *error);

/* Whether this may be a request's callback_url; "" = it has none. Errors have the field callback_url: NOT_ALLOWED (its
   host is not in webhooks.hosts, or there is no secret), BAD_FIELD, TOO_LARGE, BUSY (too many wait). */
enum hep_status hep_webhooks_check(const struct hep_webhooks *webhooks, const char *url, struct hep_error *error);

/* It has just ended: whoever is to know is told, once that is stored. Nothing happens if nobody is. */
void hep_webhooks_session_ended(struct hep_session *session);
void hep_webhooks_batch_ended(struct hep_batch *batch);
bool hep_webhooks_dirty(const struct hep_webhooks *webhooks);
/* Inside a transaction, after the sessions and batches: the bodies say what these are then. */
enum hep_status hep_webhooks_save(struct hep_webhooks *webhooks, struct hep_error *error);
void hep_webhooks_saved(struct hep_webhooks *webhooks); /* after its commit */
/* The domain communication is ready: sends what is due. */
void hep_webhooks_wake(struct hep_webhooks *webhooks);

/* Puts callback_url, and webhooks: those of this session or batch that are not delivered, into its view. url: NULL or
   "" = it has none. */
void hep_webhooks_show(struct hep_engine *engine, const char *subject, const char *url, json_t *view);
int hep_webhooks_waiting(const struct hep_webhooks *webhooks); /* not delivered and not given up */

/* How long after so many failed attempts (from 1) the next one comes, ms. */
int64_t hep_webhook_wait_ms(int attempts);
/* "t=SECONDS,v1=HEX": HMAC-SHA256 of "SECONDS.BODY" under the secret. NO_MEMORY. */
enum hep_status hep_webhook_sign(const char *secret, int64_t seconds, const char *body,
                                 char text[HEP_WEBHOOK_SIGNATURE_MAX], struct hep_error *error);

#endif
