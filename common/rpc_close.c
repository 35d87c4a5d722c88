/* Closing a socket of nng without ever hanging with it. Called by rpc_client.c and rpc_server.c. */
#include "common/rpc_close.h"

#include "common/clock.h"
#include "common/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { QUIET_MS = 50, SETTLE_MS = 10, CLOSE_MS = 1000 };

/* Once nng hangs in one close, it hangs in all that follow: they are not waited for. What is open goes on to work. */
static atomic_bool stuck;

struct closing {
    nng_socket socket;
    bool (*quiet)(void *owner);
    void (*release)(void *owner);
    void *owner;
};

static void *close_socket(void *context)
{
    struct closing *closing = context;
    for (int64_t until = hep_now_ms() + QUIET_MS; !closing->quiet(closing->owner) && hep_now_ms() < until;)
        usleep(500);
    usleep(SETTLE_MS * 1000); /* nng's threads go back to where a close is safe: waiting for the next message */
    nng_close(closing->socket);
    closing->release(closing->owner);
    free(closing);
    return NULL;
}

void rpc_close(nng_socket socket, bool (*quiet)(void *owner), void (*release)(void *owner), void *owner)
{
    struct closing *closing = malloc(sizeof *closing);
    struct timespec until;
    pthread_t thread;
    if (closing)
        *closing = (struct closing){socket, quiet, release, owner};
    if (!closing || pthread_create(&thread, NULL, close_socket, closing) != 0) {
        hep_log(HEP_WARNING, "rpc.not_closed", "reason=\"no memory or thread\"");
        free(closing);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (!atomic_load(&stuck))
        until.tv_sec += CLOSE_MS / 1000;
    if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) == 0)
        return;
    if (!atomic_exchange(&stuck, true))
        hep_log(HEP_WARNING, "rpc.close_hangs", "after_ms=%d effect=\"memory of closed channels stays\"", CLOSE_MS);
    pthread_detach(thread);
}
