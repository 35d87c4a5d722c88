/*
 * The asking side of the channel to one peer. Called by the supervisor's channel, by communication's front client and
 * by tools. Never re-sends (a request whose peer died has an unknown outcome: the workflow engine decides), never
 * blocks in dial. Each outstanding request has a context and an aio of its own, kept for reuse until the client is
 * destroyed. Whoever of nng's thread and destroy comes first tells how a request ended; the other one finds it told.
 */
#include "common/rpc.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/rpc_close.h"

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
    enum phase phase;    /* guarded by the client's lock, as `told` */
    bool told;           /* done was or is being called             */
    int64_t deadline_ms; /* CLOCK_MONOTONIC; 0 = none               */
    hep_rpc_done *done;
    void *done_context;
    struct hep_rpc_pending *next_free;
    struct hep_rpc_pending *next_all;
};

struct hep_rpc_client {
    nng_socket socket;
    pthread_mutex_t lock; /* guards all below                        */
    pthread_cond_t returned;
    struct hep_rpc_pending *free_list;
    struct hep_rpc_pending *all;
    int outstanding; /* pendings that nng has                    */
    int calling;     /* threads of nng inside of a done          */
    bool ending;     /* destroy was called                       */
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

static void set_timeout(struct hep_rpc_pending *pending)
{
    int64_t left = pending->deadline_ms - hep_now_ms();
    nng_aio_set_timeout(pending->aio, pending->deadline_ms == 0 ? NNG_DURATION_INFINITE
                                      : left < 1                ? 1
                                      : left < INT32_MAX        ? (nng_duration)left
                                                                : NNG_DURATION_INFINITE);
}

/* The lock is held. */
static void give_back(struct hep_rpc_pending *pending)
{
    pending->phase = PHASE_FREE;
    pending->next_free = pending->client->free_list;
    pending->client->free_list = pending;
    pending->client->outstanding--;
}

static void finish(struct hep_rpc_pending *pending, enum hep_status status, nng_msg *reply)
{
    struct hep_rpc_client *client = pending->client;
    pthread_mutex_lock(&client->lock);
    bool tell = !pending->told;
    pending->told = true;
    client->calling += tell;
    pthread_mutex_unlock(&client->lock);
    if (tell)
        pending->done(pending->done_context, status, reply ? nng_msg_body(reply) : NULL,
                      reply ? nng_msg_len(reply) : 0);
    if (reply)
        nng_msg_free(reply);
    pthread_mutex_lock(&client->lock);
    client->calling -= tell;
    pthread_cond_broadcast(&client->returned);
    give_back(pending);
    pthread_mutex_unlock(&client->lock);
}

/* Whether the answer is still wanted; then the request is in its second phase. */
static bool go_on_to_receive(struct hep_rpc_pending *pending)
{
    pthread_mutex_lock(&pending->client->lock);
    bool wanted = !pending->client->ending;
    if (wanted)
        pending->phase = PHASE_RECEIVING;
    pthread_mutex_unlock(&pending->client->lock);
    return wanted;
}

static void advance(void *context)
{
    struct hep_rpc_pending *pending = context;
    int code = nng_aio_result(pending->aio);
    pthread_mutex_lock(&pending->client->lock);
    bool sent = pending->phase == PHASE_SENDING;
    pthread_mutex_unlock(&pending->client->lock);
    if (sent && code != 0) {
        nng_msg_free(nng_aio_get_msg(pending->aio)); /* a failed send leaves the message with us */
        nng_aio_set_msg(pending->aio, NULL);
        finish(pending, status_of_nng(code), NULL);
    } else if (sent && go_on_to_receive(pending)) {
        set_timeout(pending); /* what is left of it: sending may have waited for the peer */
        nng_ctx_recv(pending->context, pending->aio);
    } else if (sent) {
        finish(pending, HEP_E_OUTCOME_UNKNOWN, NULL);
    } else {
        finish(pending, status_of_nng(code), code == 0 ? nng_aio_get_msg(pending->aio) : NULL);
    }
}

static enum hep_status open_pending(struct hep_rpc_client *client, struct hep_rpc_pending **result,
                                    struct hep_error *error)
{
    struct hep_rpc_pending *pending = calloc(1, sizeof *pending);
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
    *result = pending;
    return HEP_OK;
}

static enum hep_status take_pending(struct hep_rpc_client *client, hep_rpc_done *done, void *context,
                                    struct hep_rpc_pending **result, struct hep_error *error)
{
    pthread_mutex_lock(&client->lock);
    struct hep_rpc_pending *pending = client->free_list;
    if (pending)
        client->free_list = pending->next_free;
    pthread_mutex_unlock(&client->lock);
    bool fresh = pending == NULL;
    if (fresh)
        HEP_TRY(open_pending(client, &pending, error));
    pthread_mutex_lock(&client->lock);
    if (fresh) {
        pending->next_all = client->all;
        client->all = pending;
    }
    pending->done = done;
    pending->done_context = context;
    pending->told = false;
    pending->phase = PHASE_SENDING;
    client->outstanding++;
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
    pthread_cond_init(&result->returned, NULL);
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
                                    hep_rpc_done *done, void *context, struct hep_rpc_pending **pending,
                                    struct hep_error *error)
{
    struct hep_rpc_pending *request = NULL;
    nng_msg *message;
    if (bytes > HEP_FRAME_MAX) /* at the peer it would look like a crash */
        return hep_fail(error, HEP_E_TOO_LARGE, "message of %zu bytes, at most %u are allowed", bytes, HEP_FRAME_MAX);
    if (nng_msg_alloc(&message, bytes) != 0)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a message of %zu bytes", bytes);
    enum hep_status status = take_pending(client, done, context, &request, error);
    if (status != HEP_OK) {
        nng_msg_free(message);
        return status;
    }
    request->deadline_ms = timeout_ms > 0 ? hep_now_ms() + timeout_ms : 0;
    set_timeout(request);
    if (bytes > 0)
        memcpy(nng_msg_body(message), frame, bytes);
    nng_aio_set_msg(request->aio, message);
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

/* ---- the end ----------------------------------------------------------------------------------------------------- */
static void tell_everybody(struct hep_rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->ending = true;
    for (struct hep_rpc_pending *pending = client->all; pending; pending = pending->next_all)
        if (pending->phase != PHASE_FREE && !pending->told) {
            pending->told = true; /* nng's thread, if it comes, leaves done alone */
            pthread_mutex_unlock(&client->lock);
            pending->done(pending->done_context, HEP_E_OUTCOME_UNKNOWN, NULL, 0);
            pthread_mutex_lock(&client->lock);
        }
    while (client->calling > 0)
        pthread_cond_wait(&client->returned, &client->lock);
    pthread_mutex_unlock(&client->lock);
}

static bool is_quiet(void *context)
{
    struct hep_rpc_client *client = context;
    pthread_mutex_lock(&client->lock);
    bool quiet = client->outstanding == 0;
    pthread_mutex_unlock(&client->lock);
    return quiet;
}

static void release(void *context)
{
    struct hep_rpc_client *client = context;
    for (struct hep_rpc_pending *pending = client->all, *next; pending; pending = next) {
        next = pending->next_all;
        nng_aio_stop(pending->aio);
        nng_aio_free(pending->aio);
        free(pending);
    }
    pthread_cond_destroy(&client->returned);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

void hep_rpc_client_destroy(struct hep_rpc_client *client)
{
    if (!client)
        return;
    tell_everybody(client);
    rpc_close(client->socket.id, is_quiet, release, client);
}
