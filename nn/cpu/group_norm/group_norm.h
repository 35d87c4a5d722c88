/* What the levels of group_norm share: how the work is cut and where the intermediate numbers lie. */
#ifndef HEP_NN_CPU_GROUP_NORM_GROUP_NORM_H
#define HEP_NN_CPU_GROUP_NORM_GROUP_NORM_H

#include "nn/cpu/kernels.h"

enum {
    HEP_GROUP_NORM_BLOCK = 64,      /* places whose sums are taken together: two passes over a cache's worth */
    HEP_GROUP_NORM_CHUNKS_MAX = 64, /* parts of an image that threads can take                               */
    HEP_GROUP_NORM_APPLY = 16       /* places of an item of the last pass                                    */
};

/* Mean and sum of squared distances from it of a chunk's part of a group. */
struct hep_group_moments {
    double mean, m2;
};

/* Pointers into scratch, and the cuts; a function of the shape only. */
struct hep_group_norm_work {
    struct hep_group_norm_args a;
    int64_t chunks;                    /* per image                                                     */
    int64_t chunk_places;              /* places of a chunk; the last one may have fewer                */
    int64_t padded;                    /* channels, rounded up to full cache lines                      */
    struct hep_group_moments *moments; /* [images, chunks, groups]                                      */
    float *sums;                       /* [images · chunks, padded] private to an item of the first pass */
    float *centres;                    /* [images · chunks, padded] likewise                            */
    float *mean, *factor;              /* [images, padded] per channel: y = (x - mean) · factor + beta  */
};

struct hep_group_norm_work hep_group_norm_plan(const struct hep_group_norm_args *a);
size_t hep_group_norm_scratch(const struct hep_group_norm_args *a);
/* Second pass: moments of the chunks, in order, to mean and factor of the channels. */
void hep_group_norm_combine(const struct hep_group_norm_work *work);
/* A chunk's first and one past its last place. */
void hep_group_norm_chunk(const struct hep_group_norm_work *work, int64_t chunk, int64_t *first, int64_t *last);
/* Adds a block of count numbers per group to running moments after done numbers (Chan et al. 1979). */
void hep_group_moments_add(struct hep_group_moments *to, double done, double mean, double m2, double count);

#endif
