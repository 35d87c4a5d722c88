/*
 * The control socket: AF_UNIX SEQPACKET, one msgpack message per packet, many connections, several requests in hand on
 * each. Who asks is told by the kernel (SO_PEERCRED). A connection that sends a malformed frame, or does not read its
 * answers, is dropped; the others and the listener do not notice.
 */
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/front/call.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A reply that the peer was too slow for. */
struct waiting {
    struct waiting *next;
    size_t bytes;
    unsigned char frame[];
};

struct hep_connection {
    struct hep_front *front;
    struct hep_connection *next;
    int fd;
    struct hep_loop_source *source;
    struct hep_caller caller;
    struct waiting *first, **last; /* replies to be sent, oldest first */
    size_t backlog;                /* their bytes                      */
    int calls;                     /* requests in hand                 */
    bool broken;                   /* to be closed                     */
};

int hep_control_calls(struct hep_connection *connection, int change)
{
    return connection->calls += change;
}

static void connection_close(struct hep_connection *connection)
{
    struct hep_front *front = connection->front;
    struct hep_connection **place = &front->connections;
    while (*place != connection)
        place = &(*place)->next;
    *place = connection->next;
    front->connection_count--;
    hep_front_forget(front, connection);
    hep_loop_unwatch(connection->source);
    close(connection->fd);
    while (connection->first) {
        struct waiting *reply = connection->first;
        connection->first = reply->next;
        free(reply);
    }
    free(connection);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */
static void break_off(struct hep_connection *connection, const char *why)
{
    if (!connection->broken)
        hep_log(HEP_NOTICE, "control.dropped", "fd=%d reason=\"%s\"", connection->fd, why);
    connection->broken = true;
    shutdown(connection->fd, SHUT_RDWR); /* the loop sees the end and closes it: we may be deep inside a call here */
}

/* The kernel takes no packet of this size: says so instead. */
static void send_too_large(struct hep_connection *connection, const void *frame, size_t bytes)
{
    json_t *reply = NULL;
    struct hep_error error;
    void *small = NULL;
    size_t size = 0;
    if (hep_wire_decode(frame, bytes, &reply, &error) != HEP_OK)
        return;
    hep_fail(&error, HEP_E_TOO_LARGE, "the answer has %zu bytes, more than the kernel takes in one packet", bytes);
    hep_hint(&error, "ask for less at once, or raise net.core.wmem_max");
    json_object_del(reply, "data");
    json_object_set_new(reply, "success", json_false());
    json_object_set_new(reply, "error", hep_error_to_json(&error));
    if (hep_wire_encode(reply, &small, &size, NULL) == HEP_OK &&
        send(connection->fd, small, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        break_off(connection, strerror(errno));
    free(small);
    json_decref(reply);
}

/* True if the packet is gone, one way or the other; false if the peer must read first. */
static bool try_send(struct hep_connection *connection, const void *frame, size_t bytes)
{
    if (send(connection->fd, frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return true;
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
        return false;
    if (errno == EMSGSIZE)
        send_too_large(connection, frame, bytes);
    else
        break_off(connection, strerror(errno));
    return true;
}

void hep_control_send(struct hep_connection *connection, const void *frame, size_t bytes)
{
    if (connection->broken || (!connection->first && try_send(connection, frame, bytes)))
        return;
    struct waiting *reply = connection->backlog + bytes > HEP_CONNECTION_BACKLOG ? NULL : malloc(sizeof *reply + bytes);
    if (!reply) {
        break_off(connection, "it does not read its answers");
        return;
    }
    *reply = (struct waiting){.bytes = bytes};
    memcpy(reply->frame, frame, bytes);
    *connection->last = reply;
    connection->last = &reply->next;
    connection->backlog += bytes;
    hep_loop_rewatch(connection->source, EPOLLIN | EPOLLOUT);
}

static void flush(struct hep_connection *connection)
{
    while (connection->first && try_send(connection, connection->first->frame, connection->first->bytes)) {
        struct waiting *reply = connection->first;
        connection->first = reply->next;
        connection->backlog -= reply->bytes;
        free(reply);
    }
    if (!connection->first) {
        connection->last = &connection->first;
        hep_loop_rewatch(connection->source, EPOLLIN);
    }
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */
/* One packet; false if the connection is to be closed. */
static bool receive(struct hep_connection *connection)
{
    static unsigned char frame[HEP_FRAME_MAX]; /* one thread */
    struct hep_error error;
    json_t *message = NULL;
    ssize_t bytes = recv(connection->fd, frame, sizeof frame, MSG_DONTWAIT | MSG_TRUNC);
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (bytes <= 0)
        return false;
    if ((size_t)bytes > sizeof frame) {
        hep_log(HEP_NOTICE, "control.dropped", "fd=%d reason=\"a packet of %zd bytes\"", connection->fd, bytes);
        return false;
    }
    if (hep_wire_decode(frame, (size_t)bytes, &message, &error) != HEP_OK) {
        hep_log(HEP_NOTICE, "control.dropped", "fd=%d reason=\"%s\"", connection->fd, error.message);
        return false;
    }
    hep_front_request(connection->front, message, connection->caller, connection, NULL);
    json_decref(message);
    return !connection->broken;
}

static void on_connection(void *context, uint32_t events)
{
    struct hep_connection *connection = context;
    if ((events & EPOLLOUT) && !connection->broken)
        flush(connection);
    if (connection->broken || ((events & EPOLLIN) && !receive(connection)) ||
        (!(events & EPOLLIN) && (events & (EPOLLHUP | EPOLLERR))))
        connection_close(connection);
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */
/* Packets as large as a frame: forced if we may, else as large as the system lets us. */
static void widen(int fd)
{
    int size = HEP_FRAME_MAX + 4096;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static bool identify(int fd, struct hep_caller *caller)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    bool own = peer.uid == 0 || peer.uid == geteuid();
    *caller = (struct hep_caller){.permission = HEP_OPERATOR, .read_only = !own, .engineer = own};
    return true;
}

static void on_knock(void *context, uint32_t events)
{
    struct hep_front *front = context;
    struct hep_caller caller;
    struct hep_error error;
    (void)events;
    int fd = accept4(front->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return; /* gone again, or no descriptors: it stays in the backlog */
    struct hep_connection *connection =
        front->connection_count < HEP_CONNECTIONS_MAX ? calloc(1, sizeof *connection) : NULL;
    if (!connection || !identify(fd, &caller)) {
        hep_log(HEP_NOTICE, "control.refused", "connections=%d", front->connection_count);
        free(connection);
        close(fd);
        return;
    }
    widen(fd);
    *connection = (struct hep_connection){.front = front, .next = front->connections, .fd = fd, .caller = caller};
    connection->last = &connection->first;
    if (hep_loop_watch(front->loop, fd, EPOLLIN, on_connection, connection, &connection->source, &error) != HEP_OK) {
        hep_log(HEP_WARNING, "control.refused", "reason=\"%s\"", error.message);
        close(fd);
        free(connection);
        return;
    }
    front->connections = connection;
    front->connection_count++;
}

static enum hep_status give_to_group(const struct hep_front *front, struct hep_error *error)
{
    const struct group *group = front->group[0] ? getgrnam(front->group) : NULL;
    if (!front->group[0])
        return HEP_OK;
    if (!group)
        return hep_fail(error, HEP_E_BAD_CONFIG, "instance.group: there is no group \"%.60s\"", front->group);
    if (chown(front->control_path, (uid_t)-1, group->gr_gid) != 0)
        return hep_fail_errno(error, errno, "giving %s to the group %s", front->control_path, front->group);
    return HEP_OK;
}

enum hep_status hep_control_open(struct hep_front *front, struct hep_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = front->control_path;
    if (!path[0])
        return HEP_OK;
    if (strlen(path) >= sizeof address.sun_path)
        return hep_fail(error, HEP_E_BAD_CONFIG, "the path of the control socket is too long: %s", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path); /* stale: the instance lock is ours */
    front->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0117); /* 0660 from the first moment */
    int bound = front->listener < 0 ? -1 : bind(front->listener, (struct sockaddr *)&address, sizeof address);
    umask(before);
    if (bound != 0 || listen(front->listener, HEP_CONNECTIONS_MAX) != 0)
        return hep_fail_errno(error, errno, "cannot listen on %s", path);
    HEP_TRY(give_to_group(front, error));
    return hep_loop_watch(front->loop, front->listener, EPOLLIN, on_knock, front, &front->listening, error);
}

void hep_control_close(struct hep_front *front)
{
    while (front->connections)
        connection_close(front->connections); /* NOLINT(clang-analyzer-unix.Malloc): takes it off the list */
    hep_loop_unwatch(front->listening);
    if (front->listener >= 0) {
        close(front->listener);
        unlink(front->control_path);
    }
}
