/*
 * Requests to one process. Called by child.c on the loop thread; nng's threads only append to the list of what has
 * ended and signal an eventfd. A channel lives as long as its process, so a stale reply has nowhere to arrive.
 */
#include "supervisor/proc/channel.h"

#include "common/limits.h"
#include "common/log.h"
#include "common/rpc.h"
#include "common/wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct request {
    struct hep_channel *channel;
    struct request *next, **link; /* in channel->waiting, in order of sending; loop thread                  */
    struct request *next_ended;   /* in channel->ended; guarded by the lock                                 */
    hep_proc_done *done;
    void *context;
    char type[HEP_NAME_MAX]; /* "inference.generate", for errors                                       */
    enum hep_status status;  /* what nng's thread said                                                 */
    void *frame;             /* the reply, owned; NULL without one                                     */
    size_t bytes;
};

struct hep_channel {
    struct hep_loop *loop;
    struct hep_rpc_client *client;
    struct hep_loop_source *source;
    const char *domain;
    int wake_fd;
    size_t outstanding;
    struct request *waiting, **waiting_tail;
    pthread_mutex_t lock; /* guards the list of what has ended                                      */
    struct request *ended, **ended_tail;
};

/* On an nng thread: copy and signal. */
static void on_ended(void *context, enum hep_status status, const void *frame, size_t bytes)
{
    struct request *request = context;
    struct hep_channel *channel = request->channel;
    request->status = status;
    if (status == HEP_OK) {
        request->frame = malloc(bytes ? bytes : 1);
        request->bytes = bytes;
        if (request->frame)
            memcpy(request->frame, frame, bytes);
        else
            request->status = HEP_E_NO_MEMORY;
    }
    pthread_mutex_lock(&channel->lock);
    *channel->ended_tail = request;
    channel->ended_tail = &request->next_ended;
    eventfd_write(channel->wake_fd, 1); /* under the lock: after it the channel may be gone */
    pthread_mutex_unlock(&channel->lock);
}

static void unlink_waiting(struct request *request)
{
    struct hep_channel *channel = request->channel;
    *request->link = request->next;
    if (request->next)
        request->next->link = request->link;
    else
        channel->waiting_tail = request->link;
    channel->outstanding--;
}

/* Decodes the reply (a peer's word: distrusted), tells whoever asked, frees the request. */
static void deliver(struct request *request, const char *why)
{
    struct hep_error error = {0};
    json_t *reply = NULL;
    const char *domain = request->channel->domain;
    enum hep_status status = request->status;
    if (status == HEP_OK)
        status = hep_wire_decode(request->frame, request->bytes, &reply, &error);
    if (status == HEP_OK && (!json_is_object(reply) || !json_is_boolean(json_object_get(reply, "success")))) {
        status =
            hep_fail(&error, HEP_E_BAD_FRAME, "%s answered %s with something that is no reply", domain, request->type);
        json_decref(reply);
        reply = NULL;
    }
    if (status != HEP_OK) {
        if (error.code == HEP_OK)
            hep_fail(&error, status, "%s: %s%s%s", request->type, hep_status_meaning(status), why ? ": " : "",
                     why ? why : "");
        snprintf(error.domain, sizeof error.domain, "%s", domain);
        const char *dot = strchr(request->type, '.');
        snprintf(error.operation, sizeof error.operation, "%s", dot ? dot + 1 : request->type);
    }
    unlink_waiting(request);
    request->done(request->context, status, reply, status == HEP_OK ? NULL : &error);
    json_decref(reply);
    free(request->frame);
    free(request);
}

static void deliver_ended(struct hep_channel *channel, const char *why)
{
    pthread_mutex_lock(&channel->lock);
    struct request *request = channel->ended;
    channel->ended = NULL;
    channel->ended_tail = &channel->ended;
    pthread_mutex_unlock(&channel->lock);
    for (struct request *next; request; request = next) {
        next = request->next_ended;
        deliver(request, why);
    }
}

static void on_wake(void *context, uint32_t events)
{
    struct hep_channel *channel = context;
    eventfd_t count;
    (void)events;
    eventfd_read(channel->wake_fd, &count);
    deliver_ended(channel, NULL);
}

enum hep_status hep_channel_create(struct hep_loop *loop, const char *path, const char *domain,
                                   struct hep_channel **channel, struct hep_error *error)
{
    struct hep_channel *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a channel");
    made->loop = loop;
    made->domain = domain;
    made->waiting_tail = &made->waiting;
    made->ended_tail = &made->ended;
    pthread_mutex_init(&made->lock, NULL);
    made->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum hep_status status = made->wake_fd < 0 ? hep_fail_errno(error, errno, "making an eventfd") : HEP_OK;
    if (status == HEP_OK)
        status = hep_loop_watch(loop, made->wake_fd, EPOLLIN, on_wake, made, &made->source, error);
    if (status == HEP_OK)
        status = hep_rpc_client_create(path, &made->client, error);
    if (status != HEP_OK) {
        hep_channel_close(made, NULL);
        return status;
    }
    *channel = made;
    return HEP_OK;
}

enum hep_status hep_channel_send(struct hep_channel *channel, json_t *message, hep_proc_done *done, void *context,
                                 struct hep_error *error)
{
    if (channel->outstanding >= HEP_OPERATIONS_IN_FLIGHT_MAX)
        return hep_fail(error, HEP_E_BUSY, "%s has %zu requests in hand", channel->domain, channel->outstanding);
    void *frame = NULL;
    size_t bytes = 0;
    HEP_TRY(hep_wire_encode(message, &frame, &bytes, error));
    struct request *request = calloc(1, sizeof *request);
    if (!request) {
        free(frame);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    }
    *request = (struct request){.channel = channel, .link = channel->waiting_tail, .done = done, .context = context};
    snprintf(request->type, sizeof request->type, "%s", hep_json_str(message, "type", "?"));
    *channel->waiting_tail = request;
    channel->waiting_tail = &request->next;
    channel->outstanding++;
    enum hep_status status = hep_rpc_client_send(channel->client, frame, bytes, 0, on_ended, request, NULL, error);
    free(frame);
    if (status != HEP_OK) {
        unlink_waiting(request);
        free(request);
    }
    return status;
}

size_t hep_channel_outstanding(const struct hep_channel *channel)
{
    return channel->outstanding;
}

void hep_channel_close(struct hep_channel *channel, const char *why)
{
    if (!channel)
        return;
    hep_rpc_client_destroy(channel->client); /* on return every request is on the list of what has ended */
    hep_loop_unwatch(channel->source);
    deliver_ended(channel, why);
    hep_assert(channel->outstanding == 0);
    if (channel->wake_fd >= 0)
        close(channel->wake_fd);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}
