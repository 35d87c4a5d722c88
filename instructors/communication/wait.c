/*
 * Waiting for a session that a request has begun (?wait=, Prefer: wait=). Called by exchange.c once the work is
 * accepted: whatever goes wrong from then on, the answer is that it was. Who waits is a silent subscriber of the
 * session's events: no thread, and no request in hand at the supervisor.
 */
#include "common/clock.h"
#include "common/wire.h"
#include "instructors/communication/exchange.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What an answer may name and what can be waited for. To add one: a row. */
static const struct waitable {
    const char *member; /* of the answer                         */
    const char *kind;   /* of its events, see struct event_wish  */
    const char *get;    /* the operation that shows it           */
} waitables[] = {{"session_id", "session", "session.get"}, {"batch_id", "batch", "batch.get"}};

int prefer_wait(const char *prefer)
{
    for (const char *at = prefer ? prefer : ""; *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " \t");
        if (strncasecmp(at, "wait=", 5) != 0 || at[5] < '0' || at[5] > '9')
            continue;
        char *end;
        long seconds = strtol(at + 5, &end, 10);
        if (*end && !strchr(" \t,;", *end))
            continue;
        return seconds > HEP_HTTP_WAIT_MAX_S ? HEP_HTTP_WAIT_MAX_S : (int)seconds;
    }
    return 0;
}

bool session_has_ended(const json_t *session)
{
    return json_is_string(json_object_get(session, "ended"));
}

static enum exchange_state say_ended(struct exchange *exchange)
{
    route_location(exchange->match.route, exchange->reply, exchange->location, sizeof exchange->location);
    exchange->is_elsewhere = true;
    return exchange_say(exchange, MHD_HTTP_OK, hep_take(&exchange->reply));
}

static enum exchange_state say_accepted(struct exchange *exchange)
{
    return exchange_say(exchange, exchange->accepted_status, hep_take(&exchange->accepted));
}

/* It has waited long enough, or what it waits for has ended. */
static enum exchange_state see_again(struct exchange *exchange)
{
    return exchange->said == HEP_OK && session_has_ended(exchange->reply) ? say_ended(exchange)
                                                                          : say_accepted(exchange);
}

void exchange_wait_no_more(struct exchange *exchange)
{
    subscriber_destroy(hep_take(&exchange->waiter));
    if (exchange->waits)
        atomic_fetch_sub(&exchange->server->waiting, 1);
    exchange->waits = false;
}

static enum exchange_state look(struct exchange *exchange, exchange_step *then)
{
    return exchange_ask(exchange, exchange->waitable->get,
                        json_pack("{s:s}", exchange->waitable->member, exchange->session), then);
}

static enum exchange_state woken(struct exchange *exchange)
{
    exchange_wait_no_more(exchange);
    return look(exchange, see_again);
}

static void wake(void *context)
{
    struct exchange *exchange = context;
    MHD_resume_connection(exchange->connection);
}

/* A client that has closed its end does not wait any more. */
static bool has_left(void *context)
{
    const struct exchange *exchange = context;
    struct pollfd end = {.fd = exchange->fd, .events = POLLRDHUP};
    return poll(&end, 1, 0) > 0;
}

/* From a number on that is older than what was seen of it: its end cannot have been missed. */
static enum exchange_state sleep_until_it_ends(struct exchange *exchange)
{
    struct event_wish wish = {.after = exchange->wait_after,
                              .kind = exchange->waitable->kind,
                              .name = exchange->session,
                              .until_ms = exchange->wait_until_ms,
                              .silent = true,
                              .gone = has_left};
    exchange->next = woken;
    exchange->waits = true;
    atomic_fetch_add(&exchange->server->waiting, 1);
    MHD_suspend_connection(exchange->connection);
    if (event_hub_subscribe(exchange->server->events, &wish, wake, exchange, &exchange->waiter, NULL) != HEP_OK)
        wake(exchange); /* looks again, and says what there is */
    return EXCHANGE_ASLEEP;
}

static enum exchange_state see_first(struct exchange *exchange)
{
    if (exchange->said != HEP_OK)
        return say_accepted(exchange);
    return session_has_ended(exchange->reply) ? say_ended(exchange) : sleep_until_it_ends(exchange);
}

/* Where "now" is, and only then whether it has ended already. */
static enum exchange_state see_now(struct exchange *exchange)
{
    if (exchange->said != HEP_OK)
        return say_accepted(exchange);
    exchange->wait_after = hep_json_int(exchange->reply, "last_seq", 0);
    return look(exchange, see_first);
}

static const struct waitable *named_in(const json_t *answer)
{
    for (size_t i = 0; i < HEP_COUNT_OF(waitables); i++)
        if (json_is_string(json_object_get(answer, waitables[i].member)))
            return &waitables[i];
    return NULL;
}

enum exchange_state exchange_wait(struct exchange *exchange)
{
    exchange->waitable = exchange->options.wait > 0 && !exchange->failed ? named_in(exchange->answer) : NULL;
    if (!exchange->waitable)
        return EXCHANGE_ANSWERED;
    const char *name = hep_json_str(exchange->answer, exchange->waitable->member, "");
    if (!name[0] || strlen(name) >= sizeof exchange->session)
        return EXCHANGE_ANSWERED;
    snprintf(exchange->session, sizeof exchange->session, "%s", name);
    exchange->wait_until_ms = hep_now_ms() + INT64_C(1000) * exchange->options.wait;
    exchange->accepted = hep_take(&exchange->answer);
    exchange->accepted_status = exchange->status;
    return exchange_ask(exchange, "events.poll", json_pack("{s:i}", "after_seq", -1), see_now);
}
