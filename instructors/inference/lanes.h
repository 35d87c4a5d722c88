/*
 * Lanes: groups that run side by side, each on cores, networks and memory of its own, from one boundary to the next.
 * The worker thread runs the first and waits for the others, so that all that is asked takes effect at boundaries as
 * ever.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_LANES_H
#define HEP_INSTRUCTORS_INFERENCE_LANES_H

#include "instructors/inference/batch.h"

/* Part of the granted cores: points into them. */
struct lane_cores {
    const int *ids;
    int count;
};
/* The part of one of so many lanes, at least one core each if there are as many; the first ones get what is left over.
 */
struct lane_cores lane_cores(const int *cores, int count, int lanes, int lane);

/* What runs in a lane. */
typedef void lane_body(void *context, int lane);
/* Runs body in so many lanes at once, each on its part of the cores, and returns when all are done. One lane runs on
   all of them; without a lease (count 0) as OpenMP is set. A lane whose thread cannot be started runs after the first,
   in its place. The calling thread has its number of threads back afterwards. */
void lanes_run(struct batch *batch, int lanes, const int *cores, int count, lane_body *body, void *context);
/* Ends the threads of the lanes from `first` on and gives their networks and memory back; returns the bytes. */
size_t lanes_close(struct batch *batch, int first, struct hep_instructor *self);

#endif
