/*
 * The parts of group_norm that do not depend on the level: scratch, and the combination of the chunks' moments in
 * double, in the order of the chunks. Called by group_norm_tmpl.h.
 */
#include "nn/cpu/group_norm/group_norm.h"
#include "nn/cpu/parallel.h"
#include "nn/graph/plan.h"

#include <math.h>

static int64_t rounded_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* The work without pointers, and the scratch bytes it needs. */
static struct hep_group_norm_work shape_of(const struct hep_group_norm_args *a, size_t *bytes)
{
    struct hep_group_norm_work work = {.a = *a, .padded = rounded_up(a->channels, HEP_ALIGN / 4)};
    int64_t blocks = (a->places + HEP_GROUP_NORM_BLOCK - 1) / HEP_GROUP_NORM_BLOCK;
    int64_t blocks_of_chunk = (blocks + HEP_GROUP_NORM_CHUNKS_MAX - 1) / HEP_GROUP_NORM_CHUNKS_MAX;
    work.chunk_places = blocks_of_chunk * HEP_GROUP_NORM_BLOCK;
    work.chunks = (a->places + work.chunk_places - 1) / work.chunk_places;
    size_t items = (size_t)(a->images * work.chunks), channels = (size_t)work.padded * sizeof(float);
    size_t moments = (size_t)rounded_up((int64_t)(items * (size_t)a->groups * sizeof *work.moments), HEP_ALIGN);
    *bytes = moments + items * 2 * channels + (size_t)a->images * 2 * channels;
    return work;
}

size_t hep_group_norm_scratch(const struct hep_group_norm_args *a)
{
    size_t bytes;
    shape_of(a, &bytes);
    return bytes;
}

struct hep_group_norm_work hep_group_norm_plan(const struct hep_group_norm_args *a)
{
    size_t bytes;
    struct hep_group_norm_work work = shape_of(a, &bytes);
    int64_t items = a->images * work.chunks;
    work.mean = a->scratch;
    work.factor = work.mean + a->images * work.padded;
    work.sums = work.factor + a->images * work.padded;
    work.centres = work.sums + items * work.padded;
    work.moments = (void *)(work.centres + items * work.padded);
    return work;
}

void hep_group_norm_chunk(const struct hep_group_norm_work *work, int64_t chunk, int64_t *first, int64_t *last)
{
    int64_t end = (chunk + 1) * work->chunk_places;
    *first = chunk * work->chunk_places;
    *last = end < work->a.places ? end : work->a.places;
}

void hep_group_moments_add(struct hep_group_moments *to, double done, double mean, double m2, double count)
{
    double distance = mean - to->mean, total = done + count;
    to->mean += distance * (count / total);
    to->m2 += m2 + distance * distance * (done * count / total);
}

static void add_moments(struct hep_moments *to, const struct hep_group_moments *from, double count)
{
    struct hep_group_moments all = {to->mean, to->m2};
    hep_group_moments_add(&all, to->count, from->mean, from->m2, count);
    *to = (struct hep_moments){to->count + count, all.mean, all.m2};
}

/* One item is one group of one image. */
static void combine(const void *context, int64_t first_item, int64_t last_item)
{
    const struct hep_group_norm_work *work = context;
    const struct hep_group_norm_args *a = &work->a;
    int64_t width = a->channels / a->groups;
    for (int64_t item = first_item; item < last_item; item++) {
        int64_t image = item / a->groups, group = item % a->groups, first, last;
        struct hep_group_moments all = {0.0, 0.0};
        for (int64_t chunk = 0; chunk < work->chunks; chunk++) {
            const struct hep_group_moments *part = &work->moments[(image * work->chunks + chunk) * a->groups + group];
            hep_group_norm_chunk(work, chunk, &first, &last);
            hep_group_moments_add(&all, (double)(first * width), part->mean, part->m2,
                                  (double)((last - first) * width));
        }
        double count = (double)(a->places * width);
        if (a->collect)
            add_moments(&a->collect[group], &all, count);
        if (a->use) {
            all = (struct hep_group_moments){a->use[group].mean, a->use[group].m2};
            count = a->use[group].count;
        }
        double inverse = 1.0 / sqrt(all.m2 / count + (double)a->eps);
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            work->mean[image * work->padded + c] = (float)all.mean;
            work->factor[image * work->padded + c] = (float)(inverse * (double)a->gamma[c]);
        }
    }
}

void hep_group_norm_combine(const struct hep_group_norm_work *work)
{
    hep_parallel_for(work->a.images * work->a.groups, 256, combine, work);
}
