/*
 * The asking side of the channel to one peer. Called by the supervisor's channel, by communication's front client and by
 * tools. Never re-sends (a request whose peer died has an unknown outcome: the workflow engine decides), never blocks in
 * dial. Each outstanding request has a context and an aio of its own, kept for reuse until the client is destroyed.
 */
#include "common/rpc.h"

#include "common/clock.h"
#include "common/limits.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum phase { PHASE_FREE, PHASE_SENDING, PHASE_RECEIVING };

struct hep_rpc_pending {
    struct hep_rpc_client *client;
    nng_ctx context;
    nng_aio *aio;
    enum phase phase;
    int64_t deadline_ms; /* CLOCK_MONOTONIC; 0 = none */
    hep_rpc_done *done;
    void *done_context;
    struct hep_rpc_pending *next_free;
    struct hep_rpc_pending *next_all;
};

struct hep_rpc_client {
    nng_socket socket;
    pthread_mutex_t lock; /* guards the two lists */
    struct hep_rpc_pending *free_list;
    struct hep_rpc_pending *all;
};

static enum hep_status status_of_nng(int code)
{
    switch (code) {
    case 0:
        return HEP_OK;
    case NNG_ETIMEDOUT:
        return HEP_E_TIMEOUT;
    case NNG_ENOMEM:
        return HEP_E_NO_MEMORY;
    default: /* ECONNRESET, ECLOSED, ECANCELED (destroy), …: the peer may or may not have done it */
        return HEP_E_OUTCOME_UNKNOWN;
    }
}

static void give_back(struct hep_rpc_pending *pending)
{
    pthread_mutex_lock(&pending->client->lock);
    pending->phase = PHASE_FREE;
    pending->next_free = pending->client->free_list;
    pending->client->free_list = pending;
    pthread_mutex_unlock(&pending->client->lock);
}

static void set_timeout(struct hep_rpc_pending *pending)
{
    int64_t left = pending->deadline_ms - hep_now_ms();
    nng_aio_set_timeout(pending->aio, pending->deadline_ms == 0 ? NNG_DURATION_INFINITE
                                      : left < 1                ? 1
                                      : left < INT32_MAX        ? (nng_duration)left
                                                                : NNG_DURATION_INFINITE);
}

static void finish(struct hep_rpc_pending *pending, enum hep_status status, nng_msg *reply)
{
    pending->done(pending->done_context, status, reply ? nng_msg_body(reply) : NULL, reply ? nng_msg_len(reply) : 0);
    if (reply)
        nng_msg_free(reply);
    give_back(pending);
}

static void advance(void *context)
{
    struct hep_rpc_pending *pending = context;
    int code = nng_aio_result(pending->aio);
    if (pending->phase == PHASE_SENDING) {
        if (code != 0) {
            nng_msg_free(nng_aio_get_msg(pending->aio)); /* a failed send leaves the message with us */
            nng_aio_set_msg(pending->aio, NULL);
            finish(pending, status_of_nng(code), NULL);
            return;
        }
        pending->phase = PHASE_RECEIVING;
        set_timeout(pending); /* what is left of it: sending may have waited for the peer */
        nng_ctx_recv(pending->context, pending->aio);
        return;
    }
    finish(pending, status_of_nng(code), code == 0 ? nng_aio_get_msg(pending->aio) : NULL);
}

static enum hep_status take_pending(struct hep_rpc_client *client, struct hep_rpc_pending **result, struct hep_error *error)
{
    pthread_mutex_lock(&client->lock);
    struct hep_rpc_pending *pending = client->free_list;
    if (pending)
        client->free_list = pending->next_free;
    pthread_mutex_unlock(&client->lock);
    if (pending) {
        *result = pending;
        return HEP_OK;
    }
    pending = calloc(1, sizeof *pending);
    if (!pending)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    pending->client = client;
    int code = nng_ctx_open(&pending->context, client->socket);
    if (code == 0)
        code = nng_aio_alloc(&pending->aio, advance, pending);
    if (code != 0) {
        if (nng_ctx_id(pending->context) > 0)
            nng_ctx_close(pending->context);
        free(pending);
        return hep_fail(error, status_of_nng(code), "opening a request: %s", nng_strerror(code));
    }
    pthread_mutex_lock(&client->lock);
    pending->next_all = client->all;
    client->all = pending;
    pthread_mutex_unlock(&client->lock);
    *result = pending;
    return HEP_OK;
}

enum hep_status hep_rpc_client_create(const char *path, struct hep_rpc_client **client, struct hep_error *error)
{
    char url[NNG_MAXADDRLEN];
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return hep_fail(error, HEP_E_BAD_CONFIG, "socket path %s is longer than the system allows", path);
    snprintf(url, sizeof url, "ipc://%s", path);
    struct hep_rpc_client *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a client of %s", path);
    pthread_mutex_init(&result->lock, NULL);
    int code = nng_req0_open(&result->socket);
    if (code != 0) {
        free(result);
        return hep_fail(error, HEP_E_SYSTEM, "opening a request socket: %s", nng_strerror(code));
    }
    if ((code = nng_socket_set_ms(result->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE)) != 0 ||
        (code = nng_socket_set_ms(result->socket, NNG_OPT_RECONNMINT, 2)) != 0 ||
        (code = nng_socket_set_ms(result->socket, NNG_OPT_RECONNMAXT, 50)) != 0 ||
        (code = nng_socket_set_size(result->socket, NNG_OPT_RECVMAXSZ, HEP_RPC_RECEIVE_MAX)) != 0 ||
        (code = nng_dial(result->socket, url, NULL, NNG_FLAG_NONBLOCK)) != 0) {
        hep_rpc_client_destroy(result);
        return hep_fail(error, HEP_E_SYSTEM, "dialling %s: %s", path, nng_strerror(code));
    }
    *client = result;
    return HEP_OK;
}

enum hep_status hep_rpc_client_send(struct hep_rpc_client *client, const void *frame, size_t bytes, int64_t timeout_ms,
                                    hep_rpc_done *done, void *context, struct hep_rpc_pending **pending, struct hep_error *error)
{
    struct hep_rpc_pending *request = NULL;
    nng_msg *message;
    if (bytes > HEP_FRAME_MAX) /* at the peer it would look like a crash */
        return hep_fail(error, HEP_E_TOO_LARGE, "message of %zu bytes, at most %u are allowed", bytes, HEP_FRAME_MAX);
    HEP_TRY(take_pending(client, &request, error));
    request->done = done;
    request->done_context = context;
    if (nng_msg_alloc(&message, bytes) != 0) {
        give_back(request);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a message of %zu bytes", bytes);
    }
    request->deadline_ms = timeout_ms > 0 ? hep_now_ms() + timeout_ms : 0;
    set_timeout(request);
    if (bytes > 0)
        memcpy(nng_msg_body(message), frame, bytes);
    nng_aio_set_msg(request->aio, message);
    request->phase = PHASE_SENDING;
    if (pending)
        *pending = request;
    nng_ctx_send(request->context, request->aio);
    return HEP_OK;
}

/* ---- the blocking form ------------------------------------------------------------------------------------------- */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    enum hep_status status;
    void *reply;
    size_t bytes;
};

static void wake(void *context, enum hep_status status, const void *frame, size_t bytes)
{
    struct waiter *waiter = context;
    void *copy = frame ? malloc(bytes ? bytes : 1) : NULL;
    if (copy)
        memcpy(copy, frame, bytes);
    pthread_mutex_lock(&waiter->lock);
    waiter->status = status == HEP_OK && !copy ? HEP_E_NO_MEMORY : status;
    waiter->reply = copy;
    waiter->bytes = bytes;
    waiter->done = true;
    pthread_cond_signal(&waiter->ended);
    pthread_mutex_unlock(&waiter->lock);
}

enum hep_status hep_rpc_client_call(struct hep_rpc_client *client, const void *frame, size_t bytes, int64_t timeout_ms,
                                    void **reply, size_t *reply_bytes, struct hep_error *error)
{
    struct waiter waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    HEP_TRY(hep_rpc_client_send(client, frame, bytes, timeout_ms, wake, &waiter, NULL, error));
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.done)
        pthread_cond_wait(&waiter.ended, &waiter.lock);
    pthread_mutex_unlock(&waiter.lock);
    if (waiter.status != HEP_OK)
        return hep_fail(error, waiter.status, "request to a peer: %s", hep_status_meaning(waiter.status));
    *reply = waiter.reply;
    *reply_bytes = waiter.bytes;
    return HEP_OK;
}

void hep_rpc_client_destroy(struct hep_rpc_client *client)
{
    if (!client)
        return;
    nng_close(client->socket); /* ends every outstanding aio with ECLOSED */
    for (struct hep_rpc_pending *pending = client->all, *next; pending; pending = next) {
        next = pending->next_all;
        nng_aio_stop(pending->aio); /* its callback has returned; a stopped aio starts no receive and tells nobody */
        if (pending->phase != PHASE_FREE)
            pending->done(pending->done_context, HEP_E_OUTCOME_UNKNOWN, NULL, 0);
        nng_aio_free(pending->aio);
        free(pending);
    }
    pthread_mutex_destroy(&client->lock);
    free(client);
}
