/*
 * An image side cut into windows that a network can see one after another: all of one length, so that one plan serves
 * them all, evenly spread, and each with a core of its own. Around a core, where the image goes on, the window has at
 * least `context` pixels that only help to compute it; the cores touch and cover the side. Pure functions.
 */
#ifndef HEP_POSTPROCESSING_TILES_H
#define HEP_POSTPROCESSING_TILES_H

#include <stdint.h>

/* Pixels. */
struct tiles {
    int64_t side;    /* of the image                                          */
    int64_t length;  /* of each window                                        */
    int64_t context; /* around a core                                         */
    int64_t count;
    int64_t multiple; /* of every length and start                            */
};
struct tile {
    int64_t start;      /* of the window                                      */
    int64_t core, last; /* what counts of it: core … last - 1, of the image   */
};

/* As few windows as can be with none longer than `longest`, which is more than 2 · context; side, longest and context
   are multiples of `multiple`. */
struct tiles tiles_cut(int64_t side, int64_t longest, int64_t context, int64_t multiple);
struct tile tiles_at(const struct tiles *tiles, int64_t index);

#endif
