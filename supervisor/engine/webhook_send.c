/*
 * When a webhook goes, and what its receiver's answer means. Called by webhooks.c and by the ends of errands. Sends
 * through heptad-communication; what is sent is made in webhook_message.c.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/webhook_parts.h"

#include <stdlib.h>
#include <string.h>

enum {
    TIMEOUT_MS = 10000,   /* of one attempt                                                     */
    FIRST_WAIT_MS = 1000, /* after the first one that fails; each further one is …               */
    WAIT_FACTOR = 5,      /* … so many times as long             */
    AGAIN_MS = 1000,      /* when it was not tried at all                                        */
    SOON_MS = 10,         /* for all that are due meanwhile: looking for them goes through the list */
    IN_HAND_OF_HOST = 4,  /* 1 if its last attempt found nobody there: the others are not to wait for it */
};

int64_t hep_webhook_wait_ms(int attempts)
{
    int64_t wait = FIRST_WAIT_MS;
    while (--attempts > 0 && wait < WEBHOOK_WAIT_MAX_MS)
        wait *= WAIT_FACTOR;
    return wait < WEBHOOK_WAIT_MAX_MS ? wait : WEBHOOK_WAIT_MAX_MS;
}

/* ---- what an attempt has come to --------------------------------------------------------------------------------- */
static json_t *told(const struct hook *hook, const char *and_field, json_t *and_value)
{
    json_t *fields =
        json_pack("{s:s, s:s, s:s, s:i}", strncmp(hook->event, "batch.", 6) == 0 ? "batch" : "session", hook->subject,
                  "event", hook->event, "delivery_id", hook->id, "attempts", hook->attempts);
    json_object_set_new(fields, and_field, and_value);
    return fields;
}

static void delivered(struct hook *hook, int http_status)
{
    hook->state = DELIVERED;
    hook->attempts++;
    webhook_touch(hook);
    hep_log(HEP_INFO, "webhook.delivered",
            "delivery=%s subject=%s event=%s host=%s attempts=%d status=%d took_ms=%" PRId64, hook->id, hook->subject,
            hook->event, hook->host, hook->attempts, http_status, hep_now_ms() - hook->sent_ms);
    hep_engine_event(hook->webhooks->engine, NULL, "webhook.delivered", true,
                     told(hook, "http_status", json_integer(http_status)));
}

static void on_due(void *context);

void webhook_wait(struct hook *hook, int64_t ms)
{
    hep_loop_cancel(hook->timer);
    hook->state = WAITING;
    hook->next_try = hep_wall_ms() + ms;
    hook->timer = hep_loop_after(hook->webhooks->engine->loop, ms, on_due, hook);
}

static void attempt_failed(struct hook *hook, const struct hep_error *error)
{
    char quoted[HEP_ERROR_MESSAGE_MAX];
    hook->attempts++;
    webhook_touch(hook);
    json_decref(hook->error);
    hook->error = hep_error_to_json(error);
    hep_log_quote(error->message, quoted, sizeof quoted);
    if (hook->attempts < HEP_WEBHOOK_ATTEMPTS_MAX) {
        webhook_wait(hook, hep_webhook_wait_ms(hook->attempts));
        hep_log(HEP_INFO, "webhook.retry", "delivery=%s subject=%s host=%s attempts=%d next_ms=%" PRId64 " reason=%s",
                hook->id, hook->subject, hook->host, hook->attempts, hep_webhook_wait_ms(hook->attempts), quoted);
        return;
    }
    hook->state = GIVEN_UP;
    hep_log(HEP_WARNING, "webhook.failed", "delivery=%s subject=%s event=%s host=%s attempts=%d reason=%s", hook->id,
            hook->subject, hook->event, hook->host, hook->attempts, quoted);
    hep_engine_event(hook->webhooks->engine, NULL, "webhook.failed", true,
                     told(hook, "error", json_incref(hook->error)));
}

static void leave_hand(struct hook *hook)
{
    for (int i = 0; i < WEBHOOKS_IN_HAND_MAX; i++)
        if (hook->webhooks->in_hand[i] == hook)
            hook->webhooks->in_hand[i] = NULL;
}

static void note_silence(struct hook *hook, bool silent)
{
    if (silent)
        json_object_set_new(hook->webhooks->silent, hook->host, json_true());
    else
        json_object_del(hook->webhooks->silent, hook->host);
}

/* Errors that say nothing of the receiver: it was not called. */
static bool was_not_tried(enum hep_status status)
{
    return status == HEP_E_DOMAIN_DOWN || status == HEP_E_CANCELLED || status == HEP_E_BUSY ||
           status == HEP_E_NO_MEMORY;
}

static void on_answer(void *context, enum hep_status status, json_t *reply, const struct hep_error *said)
{
    struct hook *hook = context;
    struct hep_engine *engine = hook->webhooks->engine;
    struct hep_error error = {0};
    json_t *data = json_object_get(reply, "data");
    int http_status = 0;
    if (status != HEP_OK)
        error = *said; /* OUTCOME_UNKNOWN, too, counts: what kills the domain is not to be asked each second */
    else if (hep_json_bool(reply, "success", false))
        http_status = (int)hep_json_int(data, "http_status", 0);
    else
        hep_error_from_json(json_object_get(reply, "error"), &error);
    leave_hand(hook);
    if (was_not_tried(error.code)) {
        webhook_wait(hook, AGAIN_MS);
        webhooks_pump_soon(hook->webhooks); /* for the others: there is a place */
    } else {
        note_silence(hook, http_status == 0);
        if (http_status > 0)
            hep_fail(&error, HEP_E_IO, "%s answered %d", hook->host, http_status);
        if (http_status >= 200 && http_status < 300)
            delivered(hook, http_status);
        else
            attempt_failed(hook, &error);
    }
    hep_engine_settle(engine, NULL);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */
/* Where there is a place for one more to its host; -1 = nowhere. */
static int free_place(const struct hep_webhooks *webhooks, const struct hook *hook)
{
    int place = -1, of_host = 0;
    for (int i = 0; i < WEBHOOKS_IN_HAND_MAX; i++) {
        const struct hook *other = webhooks->in_hand[i];
        if (!other)
            place = i;
        else
            of_host += strcmp(other->host, hook->host) == 0;
    }
    if (of_host >= IN_HAND_OF_HOST || (of_host > 0 && json_object_get(webhooks->silent, hook->host)))
        return -1;
    return place;
}

/* One after the other to the same receiver about the same thing: it was failed, then completed. */
static bool is_first_of_subject(const struct hook *hook)
{
    for (const struct hook *older = hook->webhooks->hooks; older != hook; older = older->next)
        if ((older->state == WAITING || older->state == SENT) && strcmp(older->subject, hook->subject) == 0)
            return false;
    return true;
}

static enum hep_status submit(struct hook *hook, struct hep_error *error)
{
    struct hep_engine *engine = hook->webhooks->engine;
    struct hep_store_webhook row = webhook_row(hook);
    struct hep_errand_spec spec = {.role = HEP_ROLE_COMMUNICATION, .done = on_answer, .context = hook};
    struct hep_errand *errand;
    struct hep_url target;
    char *body = NULL;
    HEP_TRY(webhook_may_call(hook->webhooks, hook->url, &target, error)); /* as the configuration is today */
    HEP_TRY(hep_store_webhook_body(engine->store, hook->id, &body, error));
    row.body = body;
    enum hep_status status = webhook_request(hook->webhooks->secret, &row, TIMEOUT_MS, &spec.message, error);
    free(body);
    return status == HEP_OK ? hep_dispatch_submit(engine->dispatch, &spec, &errand, error) : status;
}

/* Sends it if it may go now. */
static void consider(struct hook *hook)
{
    struct hep_error error = {0};
    int place = free_place(hook->webhooks, hook);
    if (place < 0 || !is_first_of_subject(hook))
        return;
    if (submit(hook, &error) == HEP_OK) {
        hook->state = SENT;
        hook->sent_ms = hep_now_ms();
        hook->webhooks->in_hand[place] = hook;
    } else if (was_not_tried(error.code)) {
        webhook_wait(hook, AGAIN_MS);
    } else {
        attempt_failed(hook, &error);
    }
}

/* One that finds no place, or an older one before it, is looked at again when that has its answer. */
static void pump(struct hep_webhooks *webhooks)
{
    struct hep_engine *engine = webhooks->engine;
    if (!engine->proc || engine->draining || !hep_proc_is_ready(engine->proc, HEP_ROLE_COMMUNICATION))
        return; /* hep_webhooks_wake comes */
    for (struct hook *hook = webhooks->hooks; hook; hook = hook->next)
        if (hook->state == WAITING && !hook->dirty && !hook->timer)
            consider(hook);
    hep_engine_settle(engine, NULL); /* sends, and stores what cannot be sent */
}

static void on_due(void *context)
{
    struct hook *hook = context;
    hook->timer = NULL;
    webhooks_pump_soon(hook->webhooks);
}

static void on_soon(void *context)
{
    struct hep_webhooks *webhooks = context;
    webhooks->soon = NULL;
    pump(webhooks);
}

void webhooks_pump_soon(struct hep_webhooks *webhooks)
{
    if (!webhooks->soon)
        webhooks->soon = hep_loop_after(webhooks->engine->loop, SOON_MS, on_soon, webhooks);
}

void hep_webhooks_wake(struct hep_webhooks *webhooks)
{
    if (webhooks->hooks)
        webhooks_pump_soon(webhooks);
}
