/*
 * The webhooks that wait: who may be told, which there are, what is stored of them. Called by the ends of sessions and
 * batches and by hep_engine_settle. When each goes is decided in webhook_send.c.
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

/* ---- whether a URL may be called --------------------------------------------------------------------------------- */
enum hep_status webhook_may_call(const struct hep_webhooks *webhooks, const char *url, struct hep_url *target,
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
    if (webhook_may_call(webhooks, url, &target, &reason) == HEP_OK &&
        hep_webhooks_waiting(webhooks) >= HEP_WEBHOOKS_MAX)
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

void webhook_touch(struct hook *hook)
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
    webhook_touch(hook);
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
struct hep_store_webhook webhook_row(const struct hook *hook)
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
    struct hep_store_webhook row = webhook_row(hook);
    return hep_store_put_webhook(engine->store, &row, error);
}

enum hep_status hep_webhooks_save(struct hep_webhooks *webhooks, struct hep_error *error)
{
    for (struct hook *hook = webhooks->hooks; hook && webhooks->dirty > 0; hook = hook->next)
        if (hook->dirty)
            HEP_TRY(save(hook, error));
    return HEP_OK;
}

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
    webhooks_pump_soon(webhooks);
}

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
    webhook_wait(hook, left < 0 ? 0 : left < WEBHOOK_WAIT_MAX_MS ? left : WEBHOOK_WAIT_MAX_MS); /* clocks are set */
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
