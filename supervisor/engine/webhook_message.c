/* What a webhook says, and how it is signed. Called by webhooks.c; keeps nothing. */
#include "common/clock.h"
#include "common/limits.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/webhook_parts.h"

#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A batch of more items is told without them: whoever wants to know asks batch.get. */
enum { ITEMS_TOLD = 256, SHA256_BYTES = 32 };

/* The session or batch as the API shows it, but for the webhooks themselves. */
static json_t *view_of(struct hep_engine *engine, const char *subject)
{
    struct hep_session *session = hep_engine_find(engine, subject);
    struct hep_batch *batch = session ? NULL : hep_batch_find(engine, subject);
    const struct hep_batch_page items = {.after = -1, .limit = ITEMS_TOLD};
    json_t *view = session ? hep_session_to_json(session, true)
                   : batch ? hep_batch_to_json(batch, hep_batch_size(batch) <= ITEMS_TOLD ? &items : NULL)
                           : NULL;
    json_object_del(view, "webhooks");
    return view;
}

/* What is too long to be sent whole goes without what there may be much of. */
static char *dump_short(json_t *body, json_t *view)
{
    static const char *const lists[] = {"errors", "steps", "items"};
    for (size_t i = 0; i < HEP_COUNT_OF(lists); i++)
        json_object_del(view, lists[i]);
    json_object_set_new(view, "shortened", json_true());
    return json_dumps(body, JSON_COMPACT);
}

char *webhook_body(struct hep_engine *engine, const char *id, const char *subject, const char *event, int64_t time_ms)
{
    char time[32];
    json_t *view = view_of(engine, subject),
           *body = json_pack("{s:s, s:s, s:s, s:O?}", "event", event, "delivery_id", id, "time",
                             hep_wall_text(time_ms, time, sizeof time),
                             strncmp(event, "batch.", 6) == 0 ? "batch" : "session", view);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (text && strlen(text) > HEP_WEBHOOK_BODY_MAX) {
        free(text);
        text = dump_short(body, view);
    }
    json_decref(body);
    json_decref(view);
    return text;
}

enum hep_status hep_webhook_sign(const char *secret, int64_t seconds, const char *body,
                                 char text[HEP_WEBHOOK_SIGNATURE_MAX], struct hep_error *error)
{
    unsigned char digest[SHA256_BYTES];
    unsigned bytes = 0;
    char *message = NULL;
    int used = asprintf(&message, "%" PRId64 ".%s", seconds, body);
    const unsigned char *made = used < 0 ? NULL
                                         : HMAC(EVP_sha256(), secret, (int)strlen(secret),
                                                (const unsigned char *)message, (size_t)used, digest, &bytes);
    if (used >= 0)
        free(message);
    if (!made || bytes != sizeof digest)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to sign a webhook");
    used = snprintf(text, HEP_WEBHOOK_SIGNATURE_MAX, "t=%" PRId64 ",v1=", seconds);
    for (size_t i = 0; i < sizeof digest; i++)
        used += snprintf(text + used, (size_t)(HEP_WEBHOOK_SIGNATURE_MAX - used), "%02x", digest[i]);
    return HEP_OK;
}

enum hep_status webhook_request(const char *secret, const struct hep_store_webhook *row, int timeout_ms,
                                json_t **message, struct hep_error *error)
{
    char signature[HEP_WEBHOOK_SIGNATURE_MAX];
    HEP_TRY(hep_webhook_sign(secret, hep_wall_ms() / 1000, row->body, signature, error));
    *message = json_pack("{s:s, s:{s:s, s:s, s:i, s:{s:s, s:s, s:s}}}", "type", "communication.deliver", "data", "url",
                         row->url, "body", row->body, "timeout_ms", timeout_ms, "headers", "Heptad-Signature",
                         signature, "Heptad-Delivery", row->id, "Heptad-Event", row->event);
    return *message ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a webhook");
}
