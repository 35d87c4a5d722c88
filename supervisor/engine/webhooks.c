/*
 * The webhooks that wait: when each goes, what an answer means, what is stored of it. Called by the ends of sessions
 * and batches and by hep_engine_settle. Sends through heptad-communication; what is sent is made in webhook_message.c.
 */
#include "supervisor/engine/webhooks.h"

#include "common/clock.h"
#include "common/listen.h"
#include "common/log.h"
#include "common/url.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/webhook_parts.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TIMEOUT_MS = 10000,    /* of one attempt                                                     */
    FIRST_WAIT_MS = 1000,  /* after the first one that fails; each further wait is …              */
    WAIT_FACTOR = 5,       /* … so many times as long, …                                          */
    WAIT_MAX_MS = 3600000, /* … and at most this                                                  */
    AGAIN_MS = 1000,       /* when it was not tried at all                                        */
    SOON_MS = 10,          /* for all that are due meanwhile: looking for them goes through the list */
    IN_HAND_MAX = 8,
    IN_HAND_OF_HOST = 4, /* 1 if its last attempt found nobody there: the others are not to wait for it */
};

enum hook_state { WAITING, SENT, DELIVERED, GIVEN_UP };

struct hook {
    struct hep_webhooks *webhooks;
    struct hook *next; /* newer */
    char id[HEP_SESSION_ID_MAX], subject[HEP_SESSION_ID_MAX], event[32];
    char *url;
    char host[HEP_HOST_MAX + 8]; /* "host:port" of the url */
    enum hook_state state;
    char *body;                   /* until it is stored                         */
    bool stored;                  /* its row is there                           */
    bool dirty;                   /* differs from its row                       */
    int attempts;                 /* that failed                                */
    int64_t created, next_try;    /* wall ms, for the row                       */
    struct hep_loop_timer *timer; /* until the next attempt; NULL = it is due   */
    int64_t sent_ms;              /* monotonic                                  */
    json_t *error;                /* of the last attempt; NULL = none           */
};

struct hep_webhooks {
    struct hep_engine *engine;
    char *hosts, *secret_file;
    char secret[HEP_TOKEN_SIZE]; /* "" = none                                          */
    struct hook *hooks;          /* oldest first                                       */
    struct hook *in_hand[IN_HAND_MAX];
    int dirty;                   /* so many of them are                                 */
    json_t *silent;              /* set of "host:port" where nobody answered last       */
    struct hep_loop_timer *soon; /* looks for what is due                               */
};

int64_t hep_webhook_wait_ms(int attempts)
{
    int64_t wait = FIRST_WAIT_MS;
    while (--attempts > 0 && wait < WAIT_MAX_MS)
        wait *= WAIT_FACTOR;
    return wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS;
}

/* ---- whether a URL may be called --------------------------------------------------------------------------------- */
static enum hep_status may_call(const struct hep_webhooks *webhooks, const char *url, struct hep_url *target,
                                struct hep_error *error)
{
    if (!webhooks->hosts[0]) {
        hep_fail(error, HEP_E_NOT_ALLOWED, "webhooks are not switched on: webhooks.hosts is empty");
        return hep_hint(error, "set webhooks.hosts in heptad.conf to the hosts that may be called"), HEP_E_NOT_ALLOWED;
    }
    if (!webhooks->secret[0]) {
        hep_fail(error, HEP_E_NOT_ALLOWED, "webhooks are sent signed only, and there is no secret");
        return hep_hint(error, "set webhooks.secret_file in heptad.conf to a file with one, mode 0600"),
               HEP_E_NOT_ALLOWED;
    }
    HEP_TRY(hep_url_parse(url, target, error));
    if (hep_hosts_allow(webhooks->hosts, target))
        return HEP_OK;
    hep_fail(error, HEP_E_NOT_ALLOWED, "%.100s, port %d, is not among the hosts that may be called", target->host,
             target->port);
    return hep_hint(error, "add it to webhooks.hosts in heptad.conf, with :%d unless that is the scheme's own",
                    target->port),
           HEP_E_NOT_ALLOWED;
}

enum hep_status hep_webhooks_check(const struct hep_webhooks *webhooks, const char *url, struct hep_error *error)
{
    struct hep_error reason = {0};
    struct hep_url target;
    if (!url || !url[0])
        return HEP_OK;
    if (may_call(webhooks, url, &target, &reason) == HEP_OK && hep_webhooks_waiting(webhooks) >= HEP_WEBHOOKS_MAX)
        hep_fail(&reason, HEP_E_BUSY, "%d webhooks wait for their receivers, no more are taken", HEP_WEBHOOKS_MAX);
    if (reason.code == HEP_OK)
        return HEP_OK;
    snprintf(reason.field, sizeof reason.field, "callback_url");
    if (error)
        *error = reason;
    return reason.code;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */
static void hook_free(struct hook *hook)
{
    if (!hook)
        return;
    hep_loop_cancel(hook->timer);
    json_decref(hook->error);
    free(hook->url);
    free(hook->body);
    free(hook);
}

static void touch(struct hook *hook)
{
    hook->webhooks->dirty += !hook->dirty;
    hook->dirty = true;
}

static struct hook *hook_create(struct hep_webhooks *webhooks, const char *id, const char *subject, const char *event,
                                const char *url)
{
    struct hook *hook = calloc(1, sizeof *hook), **place = &webhooks->hooks;
    char *copy = strdup(url);
    if (!hook || !copy) {
        free(hook);
        free(copy);
        return NULL;
    }
    *hook = (struct hook){.webhooks = webhooks, .url = copy};
    snprintf(hook->id, sizeof hook->id, "%s", id);
    snprintf(hook->subject, sizeof hook->subject, "%s", subject);
    snprintf(hook->event, sizeof hook->event, "%s", event);
    struct hep_url target = {0}; /* one that cannot be read is refused before it is sent */
    hep_url_parse(url, &target, NULL);
    snprintf(hook->host, sizeof hook->host, "%s:%d", target.host, target.port);
    while (*place)
        place = &(*place)->next;
    *place = hook;
    return hook;
}

int hep_webhooks_waiting(const struct hep_webhooks *webhooks)
{
    int count = 0;
    for (const struct hook *hook = webhooks->hooks; hook; hook = hook->next)
        count += hook->state == WAITING || hook->state == SENT;
    return count;
}

/* An end that somebody is to know of. */
static void add(struct hep_engine *engine, const char *subject, const char *what, const char *state, const char *url)
{
    char id[HEP_SESSION_ID_MAX], event[32];
    if (!url || !url[0])
        return;
    hep_make_id('w', id);
    snprintf(event, sizeof event, "%s.%s", what, state);
    struct hook *hook = hook_create(engine->webhooks, id, subject, event, url);
    if (!hook) {
        hep_log(HEP_ERROR_LEVEL, "webhook.no_memory", "%s=%s", what, subject);
        return;
    }
    hook->created = hook->next_try = hep_wall_ms();
    touch(hook);
}

void hep_webhooks_session_ended(struct hep_session *session)
{
    add(session->engine, session->id, "session", hep_session_state_name(session->state), session->callback_url);
}

void hep_webhooks_batch_ended(struct hep_batch *batch)
{
    add(batch->engine, batch->id, "batch", hep_batch_state_name(batch->state),
        hep_json_str(batch->request, "callback_url", NULL));
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */
static struct hep_store_webhook row_of(const struct hook *hook)
{
    return (struct hep_store_webhook){.id = hook->id,
                                      .subject = hook->subject,
                                      .event = hook->event,
                                      .url = hook->url,
                                      .body = hook->body,
                                      .given_up = hook->state == GIVEN_UP,
                                      .attempts = hook->attempts,
                                      .created = hook->created,
                                      .next = hook->next_try,
                                      .error = hook->error};
}

bool hep_webhooks_dirty(const struct hep_webhooks *webhooks)
{
    return webhooks->dirty > 0;
}

static enum hep_status save(struct hook *hook, struct hep_error *error)
{
    struct hep_engine *engine = hook->webhooks->engine;
    if (hook->state == DELIVERED)
        return hep_store_delete_webhook(engine->store, hook->id, error);
    if (!hook->stored && !hook->body)
        hook->body = webhook_body(engine, hook->id, hook->subject, hook->event, hook->created);
    if (!hook->stored && !hook->body)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a webhook");
    struct hep_store_webhook row = row_of(hook);
    return hep_store_put_webhook(engine->store, &row, error);
}

enum hep_status hep_webhooks_save(struct hep_webhooks *webhooks, struct hep_error *error)
{
    for (struct hook *hook = webhooks->hooks; hook && webhooks->dirty > 0; hook = hook->next)
        if (hook->dirty)
            HEP_TRY(save(hook, error));
    return HEP_OK;
}

static void pump_soon(struct hep_webhooks *webhooks);

void hep_webhooks_saved(struct hep_webhooks *webhooks)
{
    if (webhooks->dirty == 0)
        return;
    webhooks->dirty = 0;
    for (struct hook **place = &webhooks->hooks; *place;) {
        struct hook *hook = *place;
        hook->stored = true;
        hook->dirty = false;
        free(hep_take(&hook->body));
        if (hook->state != DELIVERED && hook->state != GIVEN_UP) {
            place = &hook->next;
            continue;
        }
        *place = hook->next;
        hook_free(hook);
    }
    pump_soon(webhooks);
}

static void wait_for(struct hook *hook, int64_t ms);

static void load(void *context, const struct hep_store_webhook *row)
{
    struct hep_webhooks *webhooks = context;
    struct hook *hook = hook_create(webhooks, row->id, row->subject, row->event, row->url);
    if (!hook)
        return; /* it is there at the next start */
    int64_t left = row->next - hep_wall_ms();
    hook->stored = true;
    hook->attempts = row->attempts;
    hook->created = row->created;
    hook->error = json_incref(row->error);
    wait_for(hook, left < 0 ? 0 : left < WAIT_MAX_MS ? left : WAIT_MAX_MS); /* clocks are set */
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
    touch(hook);
    hep_log(HEP_INFO, "webhook.delivered",
            "delivery=%s subject=%s event=%s host=%s attempts=%d status=%d took_ms=%" PRId64, hook->id, hook->subject,
            hook->event, hook->host, hook->attempts, http_status, hep_now_ms() - hook->sent_ms);
    hep_engine_event(hook->webhooks->engine, NULL, "webhook.delivered", true,
                     told(hook, "http_status", json_integer(http_status)));
}

static void on_due(void *context);

static void wait_for(struct hook *hook, int64_t ms)
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
    touch(hook);
    json_decref(hook->error);
    hook->error = hep_error_to_json(error);
    hep_log_quote(error->message, quoted, sizeof quoted);
    if (hook->attempts < HEP_WEBHOOK_ATTEMPTS_MAX) {
        wait_for(hook, hep_webhook_wait_ms(hook->attempts));
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
    for (int i = 0; i < IN_HAND_MAX; i++)
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
        wait_for(hook, AGAIN_MS);
        pump_soon(hook->webhooks); /* for the others: there is a place */
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
    for (int i = 0; i < IN_HAND_MAX; i++) {
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
    struct hep_store_webhook row = row_of(hook);
    struct hep_errand_spec spec = {.role = HEP_ROLE_COMMUNICATION, .done = on_answer, .context = hook};
    struct hep_errand *errand;
    struct hep_url target;
    char *body = NULL;
    HEP_TRY(may_call(hook->webhooks, hook->url, &target, error)); /* as the configuration is today */
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
        wait_for(hook, AGAIN_MS);
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
    pump_soon(hook->webhooks);
}

static void on_soon(void *context)
{
    struct hep_webhooks *webhooks = context;
    webhooks->soon = NULL;
    pump(webhooks);
}

static void pump_soon(struct hep_webhooks *webhooks)
{
    if (!webhooks->soon)
        webhooks->soon = hep_loop_after(webhooks->engine->loop, SOON_MS, on_soon, webhooks);
}

void hep_webhooks_wake(struct hep_webhooks *webhooks)
{
    if (webhooks->hooks)
        pump_soon(webhooks);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */
static void see_webhook(void *context, const struct hep_store_webhook *row)
{
    int64_t left = row->next - hep_wall_ms();
    json_t *one = json_pack("{s:s, s:s, s:s, s:i}", "delivery_id", row->id, "event", row->event, "status",
                            row->given_up ? "failed" : "waiting", "attempts", row->attempts);
    if (!row->given_up)
        json_object_set_new(one, "next_try_ms", json_integer(left > 0 ? left : 0));
    if (row->error)
        json_object_set(one, "error", row->error);
    json_array_append_new(context, one);
}

void hep_webhooks_show(struct hep_engine *engine, const char *subject, const char *url, json_t *view)
{
    if (!url || !url[0])
        return;
    json_t *list = json_array();
    hep_store_webhooks(engine->store, subject, see_webhook, list, NULL);
    json_object_set_new(view, "callback_url", json_string(url));
    json_object_set_new(view, "webhooks", list);
}

/* ---- begin and end ----------------------------------------------------------------------------------------------- */
enum hep_status hep_webhooks_reload(struct hep_webhooks *webhooks, struct hep_error *error)
{
    if (!webhooks->secret_file[0])
        return HEP_OK;
    enum hep_status status = hep_token_read(webhooks->secret_file, webhooks->secret, error);
    return status == HEP_OK ? HEP_OK : (hep_prefix(error, "webhooks.secret_file"), status);
}

enum hep_status hep_webhooks_create(struct hep_engine *engine, const char *hosts, const char *secret_file,
                                    struct hep_webhooks **webhooks, struct hep_error *error)
{
    enum hep_status status = HEP_OK;
    struct hep_webhooks *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the webhooks");
    result->engine = engine;
    result->hosts = strdup(hosts ? hosts : "");
    result->secret_file = strdup(secret_file ? secret_file : "");
    result->silent = json_object();
    if (!result->hosts || !result->secret_file || !result->silent)
        HEP_TRY_DONE(status, hep_fail(error, HEP_E_NO_MEMORY, "no memory for the webhooks"));
    HEP_TRY_DONE(status, hep_hosts_check(result->hosts, error));
    HEP_TRY_DONE(status, hep_webhooks_reload(result, error));
    HEP_TRY_DONE(status, hep_store_webhooks(engine->store, NULL, load, result, error));
    *webhooks = hep_take(&result);
done:
    hep_webhooks_destroy(result);
    return status;
}

void hep_webhooks_destroy(struct hep_webhooks *webhooks)
{
    if (!webhooks)
        return;
    hep_loop_cancel(webhooks->soon);
    while (webhooks->hooks) {
        struct hook *hook = webhooks->hooks;
        webhooks->hooks = hook->next;
        hook_free(hook);
    }
    OPENSSL_cleanse(webhooks->secret, sizeof webhooks->secret);
    json_decref(webhooks->silent);
    free(webhooks->hosts);
    free(webhooks->secret_file);
    free(webhooks);
}
