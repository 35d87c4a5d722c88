/*
 * The list of connections and the thread that looks at their ages. Called by http.c from libmicrohttpd's thread. A
 * connection whose time is over is shut down, so that libmicrohttpd sees its end and closes it; nothing is freed here.
 */
#include "instructors/communication/visitors.h"

#include "common/clock.h"
#include "common/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { TICKS_PER_LIMIT = 4, TICK_MAX_MS = 250 };

struct visitor {
    struct visitor *next, **back;
    enum visitor_state state;
    int64_t since_ms; /* of the time that it has to ask */
    int fd;
    bool let_go; /* shut down; libmicrohttpd has not closed it yet */
};

struct visitors {
    struct visitor_limits limits;
    pthread_t sweeper;
    pthread_mutex_t lock; /* guards all below and every visitor */
    pthread_cond_t ended;
    bool ending;
    struct visitor *first;
    int count; /* without those that were let go */
};

/* ---- sweeping: the lock is held ---------------------------------------------------------------------------------- */
static bool has_asked(const struct visitor *visitor)
{
    return visitor->state == VISITOR_SERVED || visitor->let_go;
}

static void let_go(struct visitors *visitors, struct visitor *visitor, const char *why)
{
    hep_log(HEP_DEBUG, "http.let_go", "fd=%d reason=\"%s\" age_ms=%" PRId64, visitor->fd, why,
            hep_now_ms() - visitor->since_ms);
    visitor->let_go = true;
    visitors->count--;
    shutdown(visitor->fd, SHUT_RDWR);
}

static struct visitor *oldest(const struct visitors *visitors)
{
    struct visitor *found = NULL;
    for (struct visitor *v = visitors->first; v; v = v->next)
        if (!has_asked(v) && (!found || v->since_ms < found->since_ms))
            found = v;
    return found;
}

static void sweep(struct visitors *visitors, int64_t now)
{
    const struct visitor_limits *limits = &visitors->limits;
    for (struct visitor *v = visitors->first; v; v = v->next)
        if (!has_asked(v) && now - v->since_ms > (v->state == VISITOR_NEW ? limits->header_ms : limits->request_ms))
            let_go(visitors, v, "its request is not complete in time");
    while (visitors->count >= limits->crowd) {
        struct visitor *v = oldest(visitors);
        if (!v || now - v->since_ms < limits->crowd_ms)
            return;
        let_go(visitors, v, "others want to ask");
    }
}

static int64_t tick_of(const struct visitor_limits *limits)
{
    int64_t shortest = limits->header_ms < limits->request_ms ? limits->header_ms : limits->request_ms;
    if (limits->crowd_ms < shortest)
        shortest = limits->crowd_ms;
    return shortest / TICKS_PER_LIMIT < TICK_MAX_MS ? shortest / TICKS_PER_LIMIT + 1 : TICK_MAX_MS;
}

static void *sweeper_main(void *context)
{
    struct visitors *visitors = context;
    int64_t tick_ms = tick_of(&visitors->limits);
    pthread_mutex_lock(&visitors->lock);
    while (!visitors->ending) {
        int64_t now = hep_now_ms(), next = now + tick_ms;
        struct timespec until = {.tv_sec = next / 1000, .tv_nsec = next % 1000 * 1000000};
        sweep(visitors, now);
        if (visitors->first)
            pthread_cond_timedwait(&visitors->ended, &visitors->lock, &until);
        else
            pthread_cond_wait(&visitors->ended, &visitors->lock); /* nobody is here: nothing to look at */
    }
    pthread_mutex_unlock(&visitors->lock);
    return NULL;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */
enum hep_status visitors_create(const struct visitor_limits *limits, struct visitors **visitors,
                                struct hep_error *error)
{
    pthread_condattr_t monotonic;
    struct visitors *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the list of connections");
    result->limits = *limits;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&result->lock, NULL);
    pthread_cond_init(&result->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int refused = pthread_create(&result->sweeper, NULL, sweeper_main, result);
    if (refused) {
        pthread_cond_destroy(&result->ended);
        pthread_mutex_destroy(&result->lock);
        free(result);
        return hep_fail_errno(error, refused, "a thread for the HTTP server");
    }
    *visitors = result;
    return HEP_OK;
}

void visitors_destroy(struct visitors *visitors)
{
    if (!visitors)
        return;
    pthread_mutex_lock(&visitors->lock);
    hep_assert(!visitors->first);
    visitors->ending = true;
    pthread_cond_signal(&visitors->ended);
    pthread_mutex_unlock(&visitors->lock);
    pthread_join(visitors->sweeper, NULL);
    pthread_cond_destroy(&visitors->ended);
    pthread_mutex_destroy(&visitors->lock);
    free(visitors);
}

struct visitor *visitors_enter(struct visitors *visitors, int fd)
{
    struct visitor *visitor = calloc(1, sizeof *visitor);
    if (!visitor)
        return NULL;
    *visitor = (struct visitor){.state = VISITOR_NEW, .since_ms = hep_now_ms(), .fd = fd, .back = &visitors->first};
    pthread_mutex_lock(&visitors->lock);
    visitor->next = visitors->first;
    if (visitor->next)
        visitor->next->back = &visitor->next;
    else
        pthread_cond_signal(&visitors->ended); /* the sweeper slept */
    visitors->first = visitor;
    visitors->count++;
    pthread_mutex_unlock(&visitors->lock);
    return visitor;
}

void visitors_leave(struct visitors *visitors, struct visitor *visitor)
{
    if (!visitor)
        return;
    pthread_mutex_lock(&visitors->lock);
    *visitor->back = visitor->next;
    if (visitor->next)
        visitor->next->back = visitor->back;
    visitors->count -= !visitor->let_go;
    pthread_mutex_unlock(&visitors->lock);
    free(visitor);
}

void visitor_is(struct visitors *visitors, struct visitor *visitor, enum visitor_state state)
{
    if (!visitor)
        return;
    pthread_mutex_lock(&visitors->lock);
    visitor->state = state;
    if (state == VISITOR_KEPT)
        visitor->since_ms = hep_now_ms();
    pthread_mutex_unlock(&visitors->lock);
}
