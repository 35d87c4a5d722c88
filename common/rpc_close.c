/* Closing a socket of nng without ever hanging with it. Called by rpc_client.c and rpc_server.c. */
#include "common/rpc_close.h"

#include "common/clock.h"
#include "common/log.h"

#include <nng/nng.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { QUIET_MS = 50, SETTLE_MS = 10, CLOSE_MS = 1000 };

/* Once nng hangs in one close, it hangs in all that follow: they are not waited for. What is open goes on to work. */
static atomic_bool stuck;

/* Whoever of the two threads leaves last frees it. */
struct closing {
    uint32_t socket;
    bool (*quiet)(void *owner);
    void (*release)(void *owner);
    void *owner;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool closed, abandoned; /* guarded by the lock */
};

static void free_closing(struct closing *closing)
{
    pthread_cond_destroy(&closing->ended);
    pthread_mutex_destroy(&closing->lock);
    free(closing);
}

static void *close_socket(void *context)
{
    struct closing *closing = context;
    for (int64_t until = hep_now_ms() + QUIET_MS; !closing->quiet(closing->owner) && hep_now_ms() < until;)
        usleep(500);
    usleep(SETTLE_MS * 1000); /* nng's threads go back to where a close is safe: waiting for the next message */
    nng_close((nng_socket){.id = closing->socket});
    closing->release(closing->owner);
    pthread_mutex_lock(&closing->lock);
    closing->closed = true;
    bool last = closing->abandoned;
    pthread_cond_signal(&closing->ended);
    pthread_mutex_unlock(&closing->lock);
    if (last)
        free_closing(closing);
    return NULL;
}

static struct closing *new_closing(uint32_t socket, bool (*quiet)(void *owner), void (*release)(void *owner),
                                   void *owner)
{
    struct closing *closing = malloc(sizeof *closing);
    pthread_condattr_t monotonic;
    if (!closing)
        return NULL;
    *closing = (struct closing){.socket = socket, .quiet = quiet, .release = release, .owner = owner};
    pthread_mutex_init(&closing->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&closing->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return closing;
}

/* Whether it has ended in time; otherwise it is the other thread's from here on. */
static bool wait_for(struct closing *closing)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += atomic_load(&stuck) ? 0 : CLOSE_MS / 1000;
    pthread_mutex_lock(&closing->lock);
    while (!closing->closed && late == 0)
        late = pthread_cond_timedwait(&closing->ended, &closing->lock, &until);
    bool closed = closing->closed;
    closing->abandoned = !closed;
    pthread_mutex_unlock(&closing->lock);
    return closed;
}

void rpc_close(uint32_t socket, bool (*quiet)(void *owner), void (*release)(void *owner), void *owner)
{
    struct closing *closing = new_closing(socket, quiet, release, owner);
    pthread_t thread;
    if (!closing || pthread_create(&thread, NULL, close_socket, closing) != 0) {
        hep_log(HEP_WARNING, "rpc.not_closed", "reason=\"no memory or thread\"");
        if (closing)
            free_closing(closing);
        return;
    }
    if (wait_for(closing)) {
        pthread_join(thread, NULL);
        free_closing(closing);
        return;
    }
    if (!atomic_exchange(&stuck, true))
        hep_log(HEP_WARNING, "rpc.close_hangs", "after_ms=%d effect=\"memory of closed channels stays\"", CLOSE_MS);
    pthread_detach(thread);
}
