/*
 * Placement of buffers in one arena by lifetime. A pure function: the same buffers give the same offsets. It knows
 * nothing of graphs; pass_memory.c calls it, and its tests are properties over random lifetimes
 * (tests/unit/test_planner.c).
 */
#ifndef HEP_NN_GRAPH_PLANNER_H
#define HEP_NN_GRAPH_PLANNER_H

#include "common/status.h"

#define HEP_NOT_IN_PLACE (-1)

/* One buffer: alive from step first through step last, both included. */
struct hep_buffer {
    int first;
    int last;        /* >= first                                                                    */
    size_t bytes;    /* 0 is allowed: it gets offset 0 and no room                                  */
    size_t align;    /* a power of two                                                              */
    int in_place_of; /* index of an earlier buffer whose memory it takes over, or HEP_NOT_IN_PLACE. The other's last
                        must be this one's first, and its bytes at least this one's                      */
    size_t offset;   /* out: bytes from the arena's start                                           */
};

/* Fills every offset so that buffers alive in a common step do not overlap, save a buffer and the one it took over.
   *peak: bytes the arena needs. *live: the largest sum of bytes alive in one step, a lower bound of any placement's
   peak when all aligns are 1. NO_MEMORY. */
enum hep_status hep_plan_memory(struct hep_buffer *buffers, int count, size_t *peak, size_t *live,
                                struct hep_error *error);

#endif
