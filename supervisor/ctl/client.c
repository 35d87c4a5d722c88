/*
 * Talks to heptad over its control socket: AF_UNIX SEQPACKET, one msgpack message per packet (common/wire.h). Called by
 * verbs through ctl_ask. Never starts a daemon, never waits without a limit.
 */
#include "supervisor/ctl/client.h"

#include "common/clock.h"
#include "common/operation.h"
#include "common/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct ctl_client {
    int fd;
    bool ended;    /* the daemon has closed it      */
    bool engineer; /* asks also for what is internal */
    uint64_t next_request;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    const volatile sig_atomic_t *interrupted;
    const sigset_t *mask;
    unsigned char frame[HEP_FRAME_MAX];
};

/* ---- connecting -------------------------------------------------------------------------------------------------- */
static enum hep_status not_running(const struct ctl_where *where, int reason, struct hep_error *error)
{
    if (reason == ENOENT)
        hep_fail(error, HEP_E_DOMAIN_DOWN, "heptad is not running: there is no %.300s", where->socket);
    else
        hep_fail(error, HEP_E_DOMAIN_DOWN, "heptad is not running: nobody listens on %.300s", where->socket);
    if (where->state[0] && strlen(where->state) < 150)
        return hep_hint(error,
                        "start it with `heptad --state %s`; `heptctl doctor` looks for what may keep it from starting",
                        where->state);
    return hep_hint(
        error, "start it with `heptad`, or name it with --state or --socket; `heptctl doctor` looks for what is wrong");
}

static enum hep_status cannot_connect(const struct ctl_where *where, int reason, struct hep_error *error)
{
    switch (reason) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
        return not_running(where, reason == ECONNREFUSED ? reason : ENOENT, error);
    case EACCES:
    case EPERM:
        hep_fail(error, HEP_E_NOT_ALLOWED, "this user may not open %.300s", where->socket);
        return hep_hint(error, "ask as the user that heptad runs as, or as root");
    case EAGAIN:
        hep_fail(error, HEP_E_BUSY, "heptad does not accept connections on %.300s", where->socket);
        return hep_hint(error, "it is overloaded or stopped (SIGSTOP?): look at it with `ps`, then try again");
    case EPROTOTYPE:
        hep_fail(error, HEP_E_MISMATCH, "%.300s is a socket, but not heptad's control socket", where->socket);
        return hep_hint(error, "it ends in control.sock, in the run folder of the state folder");
    default:
        return hep_fail_errno(error, reason, "connecting to %.300s", where->socket);
    }
}

/* A packet of HEP_FRAME_MAX if we may, else as large as the system lets us. */
static void widen(int fd)
{
    int size = HEP_FRAME_MAX + 4096;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

enum hep_status ctl_client_open(const struct ctl_where *where, struct ctl_client **client, struct hep_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ctl_client *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a connection");
    hep_assert(strlen(where->socket) < sizeof address.sun_path);
    memcpy(address.sun_path, where->socket, strlen(where->socket) + 1);
    memcpy(result->path, where->socket, strlen(where->socket) + 1);
    result->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (result->fd < 0 || connect(result->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int reason = errno;
        ctl_client_close(result);
        return cannot_connect(where, reason, error);
    }
    widen(result->fd);
    *client = result;
    return HEP_OK;
}

void ctl_client_close(struct ctl_client *client)
{
    if (client && client->fd >= 0)
        close(client->fd);
    free(client);
}

bool ctl_client_has_ended(const struct ctl_client *client)
{
    return client->ended;
}

void ctl_client_interruptible(struct ctl_client *client, const volatile sig_atomic_t *flag, const sigset_t *mask)
{
    client->interrupted = flag;
    client->mask = mask;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */
static enum hep_status await(struct ctl_client *client, short events, int64_t until, struct hep_error *error)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = client->fd, .events = events};
        int64_t left = until - hep_now_ms();
        struct timespec limit = {.tv_sec = left > 0 ? left / 1000 : 0, .tv_nsec = left > 0 ? left % 1000 * 1000000 : 0};
        if (client->interrupted && *client->interrupted)
            return hep_fail(error, HEP_E_CANCELLED, "interrupted");
        int ready = ppoll(&poll_fd, 1, &limit, client->mask);
        if (ready > 0)
            return HEP_OK;
        if (ready == 0) {
            hep_fail(error, HEP_E_TIMEOUT, "heptad did not answer in time on %s", client->path);
            return hep_hint(error,
                            "it is overloaded or stopped: see `heptctl doctor`, or give it longer with --timeout");
        }
        if (errno != EINTR)
            return hep_fail_errno(error, errno, "waiting for heptad");
    }
}

static enum hep_status gone(struct ctl_client *client, struct hep_error *error)
{
    client->ended = true;
    hep_fail(error, HEP_E_DOMAIN_DOWN, "heptad closed the connection before it answered");
    return hep_hint(error,
                    "it has ended, or dropped a request that it could not read: see `heptctl status` and its log");
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */
static enum hep_status too_large(size_t bytes, struct hep_error *error)
{
    hep_fail(error, HEP_E_TOO_LARGE, "the request has %zu bytes, more than the kernel takes in one packet", bytes);
    return hep_hint(error, "send less, or raise net.core.wmem_max to %u", HEP_FRAME_MAX);
}

static enum hep_status send_frame(struct ctl_client *client, const void *frame, size_t bytes, int64_t until,
                                  struct hep_error *error)
{
    for (;;) {
        if (send(client->fd, frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return HEP_OK;
        switch (errno) {
        case EINTR:
            continue;
        case EAGAIN:
            HEP_TRY(await(client, POLLOUT, until, error));
            continue;
        case EMSGSIZE:
            return too_large(bytes, error);
        case EPIPE:
        case ECONNRESET:
            return gone(client, error);
        default:
            return hep_fail_errno(error, errno, "sending to heptad");
        }
    }
}

/* One packet, decoded. */
static enum hep_status receive(struct ctl_client *client, int64_t until, json_t **message, struct hep_error *error)
{
    for (;;) {
        ssize_t bytes = recv(client->fd, client->frame, sizeof client->frame, MSG_DONTWAIT | MSG_TRUNC);
        if (bytes > 0 && (size_t)bytes <= sizeof client->frame) {
            if (hep_wire_decode(client->frame, (size_t)bytes, message, error) == HEP_OK)
                return HEP_OK;
            hep_prefix(error, "the answer of heptad cannot be read");
            return hep_hint(error, "heptctl and heptad must be of the same version: see `heptctl version`");
        }
        if (bytes > 0)
            return hep_fail(error, HEP_E_TOO_LARGE, "the answer of heptad has %zd bytes, at most %u are read", bytes,
                            HEP_FRAME_MAX);
        if (bytes == 0 || errno == ECONNRESET)
            return gone(client, error);
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return hep_fail_errno(error, errno, "reading from heptad");
        HEP_TRY(await(client, POLLIN, until, error));
    }
}

/* The data of an answer, or the error that it carries. Takes the message. */
static enum hep_status open_reply(json_t *message, json_t **reply, struct hep_error *error)
{
    enum hep_status status = HEP_OK;
    json_t *said = json_object_get(message, "error"), *data = json_object_get(message, "data");
    if (json_is_true(json_object_get(message, "success"))) {
        *reply = data ? json_incref(data) : json_object();
    } else if (json_is_object(said)) {
        struct hep_error parsed = {0};
        hep_error_from_json(said, &parsed);
        if (parsed.code == HEP_OK)
            parsed.code = HEP_E_INTERNAL;
        if (error)
            *error = parsed;
        status = parsed.code;
    } else {
        status = hep_fail(error, HEP_E_BAD_FRAME, "the answer of heptad has neither data nor an error");
    }
    json_decref(message);
    return status;
}

void ctl_client_ask_as_engineer(struct ctl_client *client)
{
    client->engineer = true;
}

enum hep_status ctl_client_ask(struct ctl_client *client, const char *type, json_t *data, int64_t timeout_ms,
                               json_t **reply, struct hep_error *error)
{
    char id[32];
    void *frame = NULL;
    size_t bytes = 0;
    int64_t until = hep_now_ms() + timeout_ms;
    snprintf(id, sizeof id, "c%" PRIu64, ++client->next_request);
    json_t *request = json_pack("{s:s, s:s, s:o}", "type", type, "request_id", id, "data", data ? data : json_object());
    if (!request)
        return hep_fail(error, HEP_E_BAD_FIELD, "the request is not valid UTF-8");
    if (client->engineer)
        json_object_set_new(request, "internal", json_true());
    enum hep_status status = hep_wire_encode(request, &frame, &bytes, error);
    json_decref(request);
    if (status != HEP_OK)
        return hep_prefix(error, "the request cannot be sent");
    status = send_frame(client, frame, bytes, until, error);
    free(frame);
    while (status == HEP_OK) {
        json_t *message = NULL;
        status = receive(client, until, &message, error);
        if (status == HEP_OK && strcmp(hep_json_str(message, "request_id", ""), id) == 0)
            return open_reply(message, reply, error);
        json_decref(message); /* of a request that we gave up */
    }
    return status;
}

enum hep_status ctl_client_await_end(struct ctl_client *client, int64_t timeout_ms, struct hep_error *error)
{
    int64_t until = hep_now_ms() + timeout_ms;
    for (;;) {
        json_t *message = NULL;
        struct hep_error reason = {0};
        enum hep_status status = receive(client, until, &message, &reason);
        json_decref(message);
        if (status == HEP_E_DOMAIN_DOWN)
            return HEP_OK;
        if (status == HEP_E_TIMEOUT || status == HEP_E_CANCELLED || status == HEP_E_SYSTEM) {
            if (error)
                *error = reason;
            return status;
        }
    }
}
