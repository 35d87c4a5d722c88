/*
 * The supervisor's event loop: one thread, epoll. Descriptors, timers, and work posted by other threads (nng's). All
 * callbacks run on the loop thread, so nothing in supervisor/ needs a lock.
 */
#ifndef HEP_SUPERVISOR_PROC_LOOP_H
#define HEP_SUPERVISOR_PROC_LOOP_H

#include "common/status.h"

struct hep_loop;
struct hep_loop_source; /* a watched descriptor */
struct hep_loop_timer;

typedef void hep_loop_ready(void *context, uint32_t events); /* EPOLLIN … */
typedef void hep_loop_fire(void *context);

enum hep_status hep_loop_create(struct hep_loop **loop, struct hep_error *error);
void hep_loop_destroy(struct hep_loop *loop);
/* Watches fd (not owned) for events. Remove it before closing fd; removal inside a callback is allowed. */
enum hep_status hep_loop_watch(struct hep_loop *loop, int fd, uint32_t events, hep_loop_ready *ready, void *context,
                               struct hep_loop_source **source, struct hep_error *error);
void hep_loop_unwatch(struct hep_loop_source *source); /* NULL is accepted */
void hep_loop_rewatch(struct hep_loop_source *source, uint32_t events);
/* Calls fire once, after_ms from now. The timer is freed when it has fired or is cancelled. */
struct hep_loop_timer *hep_loop_after(struct hep_loop *loop, int64_t after_ms, hep_loop_fire *fire, void *context);
void hep_loop_cancel(struct hep_loop_timer *timer); /* NULL is accepted; not after it has fired */
/* Any thread: fire runs on the loop thread soon. The only function here that another thread may call. */
void hep_loop_post(struct hep_loop *loop, hep_loop_fire *fire, void *context);
/* Runs until hep_loop_quit. */
void hep_loop_run(struct hep_loop *loop);
void hep_loop_quit(struct hep_loop *loop);

#endif
