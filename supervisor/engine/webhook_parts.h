/* What the files of webhooks share. Included by supervisor/engine/webhook*.c only. */
#ifndef HEP_SUPERVISOR_ENGINE_WEBHOOK_PARTS_H
#define HEP_SUPERVISOR_ENGINE_WEBHOOK_PARTS_H

#include "common/limits.h"
#include "common/listen.h"
#include "common/url.h"
#include "supervisor/engine/store.h"
#include "supervisor/engine/webhooks.h"
#include "supervisor/proc/loop.h"

enum { WEBHOOKS_IN_HAND_MAX = 8, WEBHOOK_WAIT_MAX_MS = 3600000 /* between two attempts */ };

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
    struct hook *in_hand[WEBHOOKS_IN_HAND_MAX];
    int dirty;                   /* so many of them are                                 */
    json_t *silent;              /* set of "host:port" where nobody answered last       */
    struct hep_loop_timer *soon; /* looks for what is due                               */
};

/* webhooks.c: whether the configuration of today permits to call it. Errors without a field, see hep_webhooks_check. */
enum hep_status webhook_may_call(const struct hep_webhooks *webhooks, const char *url, struct hep_url *target,
                                 struct hep_error *error);
/* webhooks.c: its row as it is now; borrows from it. */
struct hep_store_webhook webhook_row(const struct hook *hook);
/* webhooks.c: its row is to be written. */
void webhook_touch(struct hook *hook);
/* webhook_send.c: its next attempt is due so much later. */
void webhook_wait(struct hook *hook, int64_t ms);
/* webhook_send.c: looks for what is due, in a moment. */
void webhooks_pump_soon(struct hep_webhooks *webhooks);

/* webhook_message.c: the text {event, delivery_id, time, session | batch: its view}, to be freed. NULL when out of
 * memory. */
char *webhook_body(struct hep_engine *engine, const char *id, const char *subject, const char *event, int64_t time_ms);
/* webhook_message.c: the message that asks heptad-communication to send a row with its body, signed as of now: new
 * reference. NO_MEMORY.
 */
enum hep_status webhook_request(const char *secret, const struct hep_store_webhook *row, int timeout_ms,
                                json_t **message, struct hep_error *error);

#endif
