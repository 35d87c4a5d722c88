/*
 * group_norm in three passes: moments of chunks, their combination, application. Included by the level's file after its
 * simd header. Moments are safe against cancellation: a block of 64 places is summed as distances from the group's
 * first element, then squared distances from the block's mean are summed while the block is in cache; blocks and chunks
 * are joined in double.
 */
#include "nn/cpu/group_norm/group_norm.h"
#include "nn/cpu/parallel.h"
#include "nn/cpu/simd/dtype.h"
#include "nn/cpu/simd/math.h"

enum { STRIP = 4 }; /* vectors of channels that go down the places together */

/* sums[c] = Σ over places of (x - centre[c]), or of its square. */
HEP_INLINE void strip_sums(const void *x, int64_t stride, int64_t places, const float *centre, float *sums, int vectors,
                           bool squared, enum hep_dtype dtype)
{
    vf sum[STRIP], middle[STRIP];
    for (int v = 0; v < vectors; v++) {
        sum[v] = v_zero();
        middle[v] = v_load(centre + v * LANES);
    }
    for (int64_t p = 0; p < places; p++)
        for (int v = 0; v < vectors; v++) {
            vf distance = v_sub(v_get(x, p * stride + v * LANES, dtype), middle[v]);
            sum[v] = squared ? v_fma(distance, distance, sum[v]) : v_add(sum[v], distance);
        }
    for (int v = 0; v < vectors; v++)
        v_store(sums + v * LANES, sum[v]);
}

/* The same for the last n < LANES channels. */
HEP_INLINE void tail_sums(const void *x, int64_t stride, int64_t places, const float *centre, float *sums, int64_t n,
                          bool squared, enum hep_dtype dtype)
{
    vf sum = v_zero(), middle = v_load_n(centre, n);
    for (int64_t p = 0; p < places; p++) {
        vf distance = v_sub(v_get_n(x, p * stride, n, dtype), middle);
        sum = squared ? v_fma(distance, distance, sum) : v_add(sum, distance);
    }
    v_store_n(sums, sum, n);
}

HEP_INLINE void channel_sums(const void *x, int64_t stride, int64_t places, const float *centre, float *sums,
                             int64_t channels, bool squared, enum hep_dtype dtype)
{
    int64_t c = 0;
    for (; c + STRIP * LANES <= channels; c += STRIP * LANES)
        strip_sums(v_at(x, c, dtype), stride, places, centre + c, sums + c, STRIP, squared, dtype);
    for (; c + LANES <= channels; c += LANES)
        strip_sums(v_at(x, c, dtype), stride, places, centre + c, sums + c, 1, squared, dtype);
    if (c < channels)
        tail_sums(v_at(x, c, dtype), stride, places, centre + c, sums + c, channels - c, squared, dtype);
}

HEP_INLINE float first_of(const void *x, int64_t c, enum hep_dtype dtype)
{
    return dtype == HEP_BF16 ? hep_bf16_to_f32(((const uint16_t *)x)[c]) : ((const float *)x)[c];
}

static double sum_of(const float *numbers, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)numbers[i];
    return sum;
}

static void fill(float *to, int64_t count, float value)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = value;
}

/* Adds the moments of a block of places to those of its chunk, which has done places so far. */
HEP_INLINE void block_moments(const struct hep_group_norm_args *a, const void *x, int64_t places, int64_t done,
                              float *sums, float *centres, struct hep_group_moments *moments, enum hep_dtype dtype)
{
    int64_t width = a->channels / a->groups;
    double count = (double)(places * width);
    for (int64_t g = 0; g < a->groups; g++)
        fill(centres + g * width, width, first_of(x, g * width, dtype));
    channel_sums(x, a->x_stride, places, centres, sums, a->channels, false, dtype);
    for (int64_t g = 0; g < a->groups; g++) {
        double mean = (double)centres[g * width] + sum_of(sums + g * width, width) / count;
        fill(centres + g * width, width, (float)mean);
    }
    channel_sums(x, a->x_stride, places, centres, sums, a->channels, true, dtype);
    for (int64_t g = 0; g < a->groups; g++)
        hep_group_moments_add(&moments[g], (double)(done * width), (double)centres[g * width],
                              sum_of(sums + g * width, width), count);
}

/* One item is one chunk of one image. */
HEP_INLINE void chunk_moments(const struct hep_group_norm_work *work, int64_t first_item, int64_t last_item,
                              enum hep_dtype dtype)
{
    const struct hep_group_norm_args *a = &work->a;
    for (int64_t item = first_item; item < last_item; item++) {
        int64_t first, last, image = item / work->chunks;
        struct hep_group_moments *moments = work->moments + item * a->groups;
        hep_group_norm_chunk(work, item % work->chunks, &first, &last);
        for (int64_t g = 0; g < a->groups; g++)
            moments[g] = (struct hep_group_moments){0.0, 0.0};
        for (int64_t p = first; p < last; p += HEP_GROUP_NORM_BLOCK) {
            int64_t places = last - p < HEP_GROUP_NORM_BLOCK ? last - p : HEP_GROUP_NORM_BLOCK;
            block_moments(a, v_at(a->x, (image * a->places + p) * a->x_stride, dtype), places, p - first,
                          work->sums + item * work->padded, work->centres + item * work->padded, moments, dtype);
        }
    }
}

HEP_INLINE vf applied(vf x, vf mean, vf factor, vf beta, bool silu)
{
    vf y = v_fma(v_sub(x, mean), factor, beta);
    return silu ? v_swish(y, 1.0f) : y;
}

/* One item is HEP_GROUP_NORM_APPLY places of one image. */
HEP_INLINE void apply(const struct hep_group_norm_work *work, int64_t first_item, int64_t last_item,
                      enum hep_dtype dtype, bool silu)
{
    const struct hep_group_norm_args *a = &work->a;
    int64_t items = (a->places + HEP_GROUP_NORM_APPLY - 1) / HEP_GROUP_NORM_APPLY, channels = a->channels;
    for (int64_t item = first_item; item < last_item; item++) {
        int64_t image = item / items, p = item % items * HEP_GROUP_NORM_APPLY;
        int64_t end = p + HEP_GROUP_NORM_APPLY < a->places ? p + HEP_GROUP_NORM_APPLY : a->places;
        const float *mean = work->mean + image * work->padded, *factor = work->factor + image * work->padded;
        for (; p < end; p++) {
            const void *x = v_at(a->x, (image * a->places + p) * a->x_stride, dtype);
            void *y = v_at_out(a->y, (image * a->places + p) * a->y_stride, dtype);
            int64_t c = 0;
            for (; c + LANES <= channels; c += LANES)
                v_put(y, c,
                      applied(v_get(x, c, dtype), v_load(mean + c), v_load(factor + c), v_load(a->beta + c), silu),
                      dtype);
            int64_t n = channels - c;
            if (n > 0)
                v_put_n(y, c,
                        applied(v_get_n(x, c, n, dtype), v_load_n(mean + c, n), v_load_n(factor + c, n),
                                v_load_n(a->beta + c, n), silu),
                        n, dtype);
        }
    }
}

static void moments_f32(const void *work, int64_t first, int64_t last)
{
    chunk_moments(work, first, last, HEP_F32);
}
static void moments_bf16(const void *work, int64_t first, int64_t last)
{
    chunk_moments(work, first, last, HEP_BF16);
}
static void apply_f32(const void *work, int64_t first, int64_t last)
{
    apply(work, first, last, HEP_F32, false);
}
static void apply_bf16(const void *work, int64_t first, int64_t last)
{
    apply(work, first, last, HEP_BF16, false);
}
static void apply_silu_f32(const void *work, int64_t first, int64_t last)
{
    apply(work, first, last, HEP_F32, true);
}
static void apply_silu_bf16(const void *work, int64_t first, int64_t last)
{
    apply(work, first, last, HEP_BF16, true);
}

static void group_norm_run(const struct hep_group_norm_args *a, hep_parallel_body *moments,
                           hep_parallel_body *application)
{
    struct hep_group_norm_work work = hep_group_norm_plan(a);
    int64_t items = (a->places + HEP_GROUP_NORM_APPLY - 1) / HEP_GROUP_NORM_APPLY;
    hep_parallel_for(a->images * work.chunks, 8192 / (a->channels * HEP_GROUP_NORM_BLOCK), moments, &work);
    hep_group_norm_combine(&work);
    hep_parallel_for(a->images * items, 8192 / (a->channels * HEP_GROUP_NORM_APPLY), application, &work);
}
