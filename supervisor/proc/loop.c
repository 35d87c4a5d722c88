/*
 * The event loop of the supervisor: epoll for descriptors, a heap for timers, an eventfd for work posted by nng's
 * threads. Everything in supervisor/ runs in its callbacks; it never blocks except in epoll_wait.
 */
#include "supervisor/proc/loop.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS_PER_TURN = 64, TIMERS_AT_START = 64 };

struct hep_loop_source {
    struct hep_loop *loop;
    int fd;
    hep_loop_ready *ready;
    void *context;
    bool removed;                 /* waits in loop->removed for the end of the turn */
    struct hep_loop_source *next; /* in loop->removed                               */
};

struct hep_loop_timer {
    struct hep_loop *loop;
    int64_t due_ms; /* CLOCK_MONOTONIC                                */
    uint64_t order; /* of two that are due, the one made first        */
    size_t at;      /* index in the heap                              */
    hep_loop_fire *fire;
    void *context;
};

struct post {
    hep_loop_fire *fire;
    void *context;
    struct post *next;
};

struct hep_loop {
    int epoll_fd, wake_fd;
    bool quit;
    struct hep_loop_source *wake;
    struct hep_loop_source *removed;
    struct hep_loop_timer **timers; /* binary heap by (due_ms, order)                 */
    size_t timer_count, timer_room;
    uint64_t next_order;
    pthread_mutex_t lock; /* guards the posts                               */
    struct post *first, **last;
};

/* ---- timers ---------------------------------------------------------------------------------------------------------
 */
static bool is_before(const struct hep_loop_timer *a, const struct hep_loop_timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void place(struct hep_loop *loop, struct hep_loop_timer *timer, size_t at)
{
    loop->timers[at] = timer;
    timer->at = at;
}

static void sift_up(struct hep_loop *loop, size_t at)
{
    struct hep_loop_timer *timer = loop->timers[at];
    for (; at > 0 && is_before(timer, loop->timers[(at - 1) / 2]); at = (at - 1) / 2)
        place(loop, loop->timers[(at - 1) / 2], at);
    place(loop, timer, at);
}

static void sift_down(struct hep_loop *loop, size_t at)
{
    struct hep_loop_timer *timer = loop->timers[at];
    for (size_t child; (child = 2 * at + 1) < loop->timer_count; at = child) {
        if (child + 1 < loop->timer_count && is_before(loop->timers[child + 1], loop->timers[child]))
            child++;
        if (!is_before(loop->timers[child], timer))
            break;
        place(loop, loop->timers[child], at);
    }
    place(loop, timer, at);
}

static void take_out(struct hep_loop_timer *timer)
{
    struct hep_loop *loop = timer->loop;
    size_t at = timer->at;
    hep_assert(at < loop->timer_count && loop->timers[at] == timer);
    struct hep_loop_timer *moved = loop->timers[--loop->timer_count];
    if (moved == timer)
        return;
    place(loop, moved, at);
    sift_up(loop, at);
    sift_down(loop, moved->at);
}

struct hep_loop_timer *hep_loop_after(struct hep_loop *loop, int64_t after_ms, hep_loop_fire *fire, void *context)
{
    if (loop->timer_count == loop->timer_room) {
        size_t room = loop->timer_room * 2;
        struct hep_loop_timer **grown = reallocarray(loop->timers, room, sizeof *grown);
        if (!grown) {
            hep_log(HEP_ERROR_LEVEL, "loop.no_memory", "timers=%zu", loop->timer_count);
            return NULL;
        }
        loop->timers = grown;
        loop->timer_room = room;
    }
    struct hep_loop_timer *timer = malloc(sizeof *timer);
    if (!timer) {
        hep_log(HEP_ERROR_LEVEL, "loop.no_memory", "timers=%zu", loop->timer_count);
        return NULL;
    }
    *timer = (struct hep_loop_timer){.loop = loop,
                                     .due_ms = hep_now_ms() + (after_ms > 0 ? after_ms : 0),
                                     .order = loop->next_order++,
                                     .fire = fire,
                                     .context = context};
    loop->timers[loop->timer_count] = timer;
    sift_up(loop, loop->timer_count++);
    return timer;
}

void hep_loop_cancel(struct hep_loop_timer *timer)
{
    if (!timer)
        return;
    take_out(timer);
    free(timer);
}

/* Timers made by a callback wait for the next turn, so that one that renews itself cannot starve descriptors. */
static void fire_due(struct hep_loop *loop)
{
    int64_t now = hep_now_ms();
    uint64_t order = loop->next_order;
    while (!loop->quit && loop->timer_count > 0 && loop->timers[0]->due_ms <= now && loop->timers[0]->order < order) {
        struct hep_loop_timer *timer = loop->timers[0];
        hep_loop_fire *fire = timer->fire;
        void *context = timer->context;
        take_out(timer);
        free(timer);
        fire(context);
    }
}

static int wait_ms(const struct hep_loop *loop)
{
    if (loop->timer_count == 0)
        return -1;
    int64_t left = loop->timers[0]->due_ms - hep_now_ms();
    return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* ---- posts ----------------------------------------------------------------------------------------------------------
 */
void hep_loop_post(struct hep_loop *loop, hep_loop_fire *fire, void *context)
{
    struct post *post;
    while (!(post = malloc(sizeof *post))) /* a reply must not be lost: its thread waits for memory instead */
        usleep(1000);
    *post = (struct post){fire, context, NULL};
    pthread_mutex_lock(&loop->lock);
    *loop->last = post;
    loop->last = &post->next;
    pthread_mutex_unlock(&loop->lock);
    eventfd_write(loop->wake_fd, 1);
}

static void run_posts(void *context, uint32_t events)
{
    struct hep_loop *loop = context;
    eventfd_t count;
    (void)events;
    eventfd_read(loop->wake_fd, &count);
    pthread_mutex_lock(&loop->lock);
    struct post *post = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    pthread_mutex_unlock(&loop->lock);
    for (struct post *next; post; post = next) {
        next = post->next;
        post->fire(post->context);
        free(post);
    }
}

/* ---- descriptors
 * ------------------------------------------------------------------------------------------------------ */
enum hep_status hep_loop_watch(struct hep_loop *loop, int fd, uint32_t events, hep_loop_ready *ready, void *context,
                               struct hep_loop_source **source, struct hep_error *error)
{
    struct hep_loop_source *made = malloc(sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to watch a descriptor");
    *made = (struct hep_loop_source){.loop = loop, .fd = fd, .ready = ready, .context = context};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = events, .data.ptr = made}) != 0) {
        int saved_errno = errno;
        free(made);
        return hep_fail_errno(error, saved_errno, "watching descriptor %d", fd);
    }
    *source = made;
    return HEP_OK;
}

void hep_loop_unwatch(struct hep_loop_source *source)
{
    if (!source)
        return;
    struct hep_loop *loop = source->loop;
    hep_assert(!source->removed);
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    source->removed = true; /* the events of this turn may still name it */
    source->next = loop->removed;
    loop->removed = source;
}

void hep_loop_rewatch(struct hep_loop_source *source, uint32_t events)
{
    epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd,
              &(struct epoll_event){.events = events, .data.ptr = source});
}

static void free_removed(struct hep_loop *loop)
{
    for (struct hep_loop_source *source = loop->removed, *next; source; source = next) {
        next = source->next;
        free(source);
    }
    loop->removed = NULL;
}

/* ---- the loop
 * --------------------------------------------------------------------------------------------------------- */
enum hep_status hep_loop_create(struct hep_loop **loop, struct hep_error *error)
{
    struct hep_loop *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the event loop");
    made->last = &made->first;
    pthread_mutex_init(&made->lock, NULL);
    made->timer_room = TIMERS_AT_START;
    made->timers = calloc(made->timer_room, sizeof *made->timers);
    made->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    made->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum hep_status status = HEP_OK;
    if (!made->timers)
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for the event loop");
    else if (made->epoll_fd < 0 || made->wake_fd < 0)
        status = hep_fail_errno(error, errno, "creating the event loop");
    else
        status = hep_loop_watch(made, made->wake_fd, EPOLLIN, run_posts, made, &made->wake, error);
    if (status != HEP_OK) {
        hep_loop_destroy(made);
        return status;
    }
    *loop = made;
    return HEP_OK;
}

void hep_loop_destroy(struct hep_loop *loop)
{
    if (!loop)
        return;
    hep_loop_unwatch(loop->wake);
    free_removed(loop);
    for (size_t i = 0; i < loop->timer_count; i++)
        free(loop->timers[i]);
    free(loop->timers);
    for (struct post *post = loop->first, *next; post; post = next) {
        next = post->next;
        free(post);
    }
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

void hep_loop_run(struct hep_loop *loop)
{
    struct epoll_event events[EVENTS_PER_TURN];
    while (!loop->quit) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, wait_ms(loop));
        for (int i = 0; i < count && !loop->quit; i++) {
            struct hep_loop_source *source = events[i].data.ptr;
            if (!source->removed)
                source->ready(source->context, events[i].events);
        }
        free_removed(loop);
        fire_due(loop);
        free_removed(loop);
    }
    loop->quit = false;
}

void hep_loop_quit(struct hep_loop *loop)
{
    loop->quit = true;
}
