/*
 * The answering side: listens on one path, hands each request to a callback, sends the answer when it comes, from any
 * thread. Called by the skeleton and by the supervisor's front. Refuses peers of other users; starts to receive again
 * only when the answer before it has been sent.
 */
#include "common/rpc.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/rpc_close.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/transport/ipc/ipc.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum phase { PHASE_RECEIVING, PHASE_SERVING, PHASE_SENDING };

struct hep_rpc_request {
    struct hep_rpc_server *server;
    nng_ctx context;
    nng_aio *aio;
    nng_msg *message; /* the request, held until it is answered */
    enum phase phase;
};

struct hep_rpc_server {
    nng_socket socket;
    nng_listener listener;
    char url[NNG_MAXADDRLEN];
    hep_rpc_serve *serve;
    void *serve_context;
    int parallel;
    pid_t peer;           /* the only process that is served; 0 = any of this user   */
    pthread_mutex_t lock; /* guards the next two                              */
    pthread_cond_t returned;
    int serving;                       /* threads of nng inside of serve                   */
    bool ending;                       /* destroy was called: nothing more is served       */
    atomic_int sending;                /* answers that nng has and the peer's socket has not */
    struct hep_rpc_request requests[]; /* parallel of them */
};

static void receive(struct hep_rpc_request *request)
{
    request->phase = PHASE_RECEIVING;
    nng_ctx_recv(request->context, request->aio);
}

static void hand_out(struct hep_rpc_request *request)
{
    struct hep_rpc_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    bool ending = server->ending;
    server->serving += !ending;
    pthread_mutex_unlock(&server->lock);
    if (ending)
        return;
    server->serve(server->serve_context, request, nng_msg_body(request->message), nng_msg_len(request->message));
    pthread_mutex_lock(&server->lock);
    server->serving--;
    pthread_cond_broadcast(&server->returned);
    pthread_mutex_unlock(&server->lock);
}

static void advance(void *context)
{
    struct hep_rpc_request *request = context;
    int code = nng_aio_result(request->aio);
    bool sent = request->phase == PHASE_SENDING;
    if (sent && code != 0) { /* the asker is gone; nobody waits for this answer */
        nng_msg_free(nng_aio_get_msg(request->aio));
        nng_aio_set_msg(request->aio, NULL);
    }
    if (sent)
        atomic_fetch_sub(&request->server->sending, 1);
    if (code == NNG_ECLOSED || code == NNG_ECANCELED)
        return; /* the server is being destroyed */
    if (sent || code != 0) {
        receive(request);
        return;
    }
    request->message = nng_aio_get_msg(request->aio);
    nng_aio_set_msg(request->aio, NULL);
    request->phase = PHASE_SERVING;
    hand_out(request);
}

void hep_rpc_reply(struct hep_rpc_request *request, const void *frame, size_t bytes)
{
    nng_msg *answer = NULL;
    hep_assert(request->phase == PHASE_SERVING && bytes <= HEP_FRAME_MAX);
    bool made = nng_msg_alloc(&answer, bytes) == 0;
    if (made && bytes > 0)
        memcpy(nng_msg_body(answer), frame, bytes); /* frame may lie in the request */
    nng_msg_free(hep_take(&request->message));
    if (!made) { /* without memory for an answer: the asker's timeout ends it */
        receive(request);
        return;
    }
    atomic_fetch_add(&request->server->sending, 1);
    request->phase = PHASE_SENDING;
    nng_aio_set_msg(request->aio, answer);
    nng_ctx_send(request->context, request->aio);
}

/* nng holds the socket's lock here: look and decide, nothing else. */
static void refuse_strangers(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    const struct hep_rpc_server *server = context;
    uint64_t uid = UINT64_MAX, pid = 0;
    (void)event;
    bool user = nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid) == 0 && (uid == geteuid() || uid == 0);
    bool process = server->peer == 0 ||
                   (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_PID, &pid) == 0 && pid == (uint64_t)server->peer);
    if (!user || !process)
        nng_pipe_close(pipe);
}

static int listen_on(struct hep_rpc_server *server)
{
    int code;
    if ((code = nng_listener_create(&server->listener, server->socket, server->url)) != 0 ||
        (code = nng_listener_set_int(server->listener, NNG_OPT_IPC_PERMISSIONS, 0600)) != 0 ||
        (code = nng_listener_set_size(server->listener, NNG_OPT_RECVMAXSZ, HEP_RPC_RECEIVE_MAX)) != 0)
        return code;
    return nng_listener_start(server->listener, 0);
}

static int start(struct hep_rpc_server *server)
{
    int code;
    if ((code = nng_rep0_open(&server->socket)) != 0)
        return code;
    if ((code = nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, HEP_RPC_RECEIVE_MAX)) != 0 ||
        (code = nng_pipe_notify(server->socket, NNG_PIPE_EV_ADD_PRE, refuse_strangers, server)) != 0)
        return code;
    for (int i = 0; i < server->parallel; i++) {
        server->requests[i].server = server;
        if ((code = nng_ctx_open(&server->requests[i].context, server->socket)) != 0 ||
            (code = nng_aio_alloc(&server->requests[i].aio, advance, &server->requests[i])) != 0)
            return code;
    }
    for (int i = 0; i < server->parallel; i++)
        receive(&server->requests[i]);
    return listen_on(server);
}

enum hep_status hep_rpc_server_create(const char *path, int parallel, hep_rpc_serve *serve, void *context,
                                      struct hep_rpc_server **server, struct hep_error *error)
{
    return hep_rpc_server_create_for(0, path, parallel, serve, context, server, error);
}

enum hep_status hep_rpc_server_create_for(pid_t peer, const char *path, int parallel, hep_rpc_serve *serve,
                                          void *context, struct hep_rpc_server **server, struct hep_error *error)
{
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return hep_fail(error, HEP_E_BAD_CONFIG, "socket path %s is longer than the system allows", path);
    if (parallel < 1 || parallel > HEP_RPC_PARALLEL_MAX)
        return hep_fail(error, HEP_E_BAD_CONFIG, "a server of %d requests at once, 1 to %d are allowed", parallel,
                        HEP_RPC_PARALLEL_MAX);
    struct hep_rpc_server *result = calloc(1, sizeof *result + (size_t)parallel * sizeof result->requests[0]);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a server on %s", path);
    pthread_mutex_init(&result->lock, NULL);
    pthread_cond_init(&result->returned, NULL);
    result->serve = serve;
    result->serve_context = context;
    result->parallel = parallel;
    result->peer = peer;
    snprintf(result->url, sizeof result->url, "ipc://%s", path);
    int code = start(result);
    if (code != 0) {
        hep_rpc_server_destroy(result);
        return hep_fail(error, HEP_E_SYSTEM, "listening on %s: %s", path, nng_strerror(code));
    }
    *server = result;
    return HEP_OK;
}

enum hep_status hep_rpc_server_listen_again(struct hep_rpc_server *server, struct hep_error *error)
{
    nng_listener_close(server->listener);
    int code = listen_on(server);
    if (code != 0)
        return hep_fail(error, HEP_E_SYSTEM, "listening again on %s: %s", server->url, nng_strerror(code));
    return HEP_OK;
}

bool hep_rpc_server_flush(struct hep_rpc_server *server, int64_t timeout_ms)
{
    int64_t deadline = hep_now_ms() + timeout_ms;
    while (atomic_load(&server->sending) > 0) {
        if (hep_now_ms() >= deadline)
            return false;
        usleep(1000);
    }
    return true;
}

static bool is_quiet(void *context)
{
    return atomic_load(&((struct hep_rpc_server *)context)->sending) == 0;
}

static void release(void *context)
{
    struct hep_rpc_server *server = context;
    for (int i = 0; i < server->parallel; i++) {
        struct hep_rpc_request *request = &server->requests[i];
        if (!request->aio)
            continue;
        nng_aio_stop(request->aio);
        nng_aio_free(request->aio);
        if (request->message)
            nng_msg_free(request->message);
    }
    pthread_cond_destroy(&server->returned);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

void hep_rpc_server_destroy(struct hep_rpc_server *server)
{
    if (!server)
        return;
    pthread_mutex_lock(&server->lock);
    server->ending = true;
    while (server->serving > 0)
        pthread_cond_wait(&server->returned, &server->lock);
    pthread_mutex_unlock(&server->lock);
    rpc_close(server->socket.id, is_quiet, release, server);
}
