/*
 * Attention in bf16 dot products for the level avx512bf16: q·kᵀ and p·v by vdpbf16ps with f32 sums, softmax in f32.
 *
 * The walk is that of attention_f32_tmpl.h. What differs: numbers are packed as pairs of bf16 (for q and k two
 * neighbours of a head, for v two neighbouring keys), a tile is 6 queries × 64 keys in 24 registers, and probabilities
 * are rounded to bf16 before they meet v; their sum is taken before that. A missing second of a pair is zero.
 */
#include "nn/cpu/simd/avx512bf16.h"

#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"
#include "nn/cpu/simd/math.h"

enum {
    ROWS = 6,                                    /* queries of a tile                         */
    VECTORS = 4,                                 /* most vectors of a tile's row              */
    KEYS = VECTORS * LANES,                      /* keys of a tile                            */
    BLOCK = 256,                                 /* keys of a block, a multiple of KEYS       */
    GROUP = 48,                                  /* most queries of an item                   */
    GROUP_FLOATS = 7680,                         /* most elements of a group's queries        */
    RESULT_FLOATS = GROUP_FLOATS + GROUP * LANES /* and of its results: rows of full vectors  */
};

/* The shape and where packed keys and values lie. */
struct work {
    struct hep_attention_args a;
    int64_t tiles;      /* of keys                                                     */
    int64_t pairs;      /* of a head's elements: head_dim / 2, rounded up              */
    int64_t width;      /* elements of a packed value: head_dim, rounded up to LANES   */
    int64_t value_rows; /* pairs of keys                                               */
    int64_t group;      /* queries of an item                                          */
    int64_t groups;     /* items of a head                                             */
    uint16_t *keys;     /* [images · heads][tiles][pairs][KEYS][2]                     */
    uint16_t *values;   /* [images · heads][value_rows][width][2]                      */
};

static struct work work_of(const struct hep_attention_args *a)
{
    struct work work = {.a = *a, .tiles = (a->keys + KEYS - 1) / KEYS, .pairs = (a->head_dim + 1) / 2};
    work.width = (a->head_dim + LANES - 1) / LANES * LANES;
    work.value_rows = (a->keys + 1) / 2;
    int64_t tiles = GROUP_FLOATS / (2 * work.pairs) / ROWS;
    work.group = tiles < 1 ? ROWS : tiles > GROUP / ROWS ? GROUP : tiles * ROWS;
    work.groups = (a->queries + work.group - 1) / work.group;
    return work;
}

static int64_t key_elements(const struct work *work)
{
    return work->a.images * work->a.heads * work->tiles * work->pairs * KEYS * 2;
}

size_t hep_attention_scratch_bf16__avx512bf16_6x64(const struct hep_attention_args *a)
{
    struct work work = work_of(a);
    int64_t values = a->images * a->heads * work.value_rows * work.width * 2;
    return (size_t)(key_elements(&work) + values) * sizeof(uint16_t);
}

/* Token t of head number `head` (image · heads + head of the image). */
HEP_INLINE const uint16_t *token_of(const struct hep_heads *x, int64_t heads, int64_t head, int64_t t)
{
    return (const uint16_t *)x->data + head / heads * x->batch + t * x->token + head % heads * x->head;
}

/* Pairs of a token, every `step` pairs; zeros for NULL. */
HEP_INLINE void pack_pairs(const uint16_t *from, int64_t head_dim, uint16_t *to, int64_t step)
{
    int64_t i = 0;
    for (; i + 2 <= head_dim; i += 2, to += 2 * step) {
        to[0] = from ? from[i] : 0;
        to[1] = from ? from[i + 1] : 0;
    }
    if (i < head_dim) {
        to[0] = from ? from[i] : 0;
        to[1] = 0;
    }
}

/* Two keys' values side by side; v1 may be NULL. */
HEP_INLINE void pack_values(const uint16_t *v0, const uint16_t *v1, int64_t head_dim, int64_t width, uint16_t *to)
{
    for (int64_t i = 0; i < width; i++) {
        to[2 * i] = i < head_dim ? v0[i] : 0;
        to[2 * i + 1] = v1 && i < head_dim ? v1[i] : 0;
    }
}

/* One item is one tile of keys of one head, with its values. */
static void pack(const void *context, int64_t first, int64_t last)
{
    const struct work *work = context;
    const struct hep_attention_args *a = &work->a;
    for (int64_t item = first; item < last; item++) {
        int64_t head = item / work->tiles, t0 = item % work->tiles * KEYS;
        for (int64_t j = 0; j < KEYS; j++)
            pack_pairs(t0 + j < a->keys ? token_of(&a->k, a->heads, head, t0 + j) : NULL, a->head_dim,
                       work->keys + item * work->pairs * KEYS * 2 + 2 * j, KEYS);
        for (int64_t t = t0; t < t0 + KEYS && t < a->keys; t += 2)
            pack_values(token_of(&a->v, a->heads, head, t),
                        t + 1 < a->keys ? token_of(&a->v, a->heads, head, t + 1) : NULL, a->head_dim, work->width,
                        work->values + (head * work->value_rows + t / 2) * work->width * 2);
    }
}

/* scores[ROWS][vectors · LANES of BLOCK] = q · k */
HEP_INLINE void tile_scores(const uint16_t *q, const uint16_t *k, int64_t pairs, float *scores, int vectors)
{
    vf sum[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = v_zero();
    for (int64_t i = 0; i < pairs; i++, q += 2 * ROWS, k += 2 * KEYS) {
        vpairs key[VECTORS];
        for (int v = 0; v < vectors; v++)
            key[v] = v_load_pairs(k + 2 * v * LANES);
        for (int r = 0; r < ROWS; r++) {
            vpairs query = v_set_pair(q + 2 * r);
            for (int v = 0; v < vectors; v++)
                sum[r][v] = v_dot(sum[r][v], query, key[v]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < vectors; v++)
            v_store(scores + r * BLOCK + v * LANES, sum[r][v]);
}

/* result[ROWS][vectors of width] = result · worth + p · v */
HEP_INLINE void tile_result(const uint16_t *p, const uint16_t *v, int64_t value_rows, int64_t width, const float *worth,
                            float *result, int vectors)
{
    vf sum[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < vectors; c++)
            sum[r][c] = v_mul(v_load(result + r * width + c * LANES), v_set(worth[r]));
    for (int64_t j = 0; j < value_rows; j++, v += 2 * width) {
        vpairs value[VECTORS];
        for (int c = 0; c < vectors; c++)
            value[c] = v_load_pairs(v + 2 * c * LANES);
        for (int r = 0; r < ROWS; r++) {
            vpairs probabilities = v_set_pair(p + r * BLOCK + 2 * j);
            for (int c = 0; c < vectors; c++)
                sum[r][c] = v_dot(sum[r][c], probabilities, value[c]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < vectors; c++)
            v_store(result + r * width + c * LANES, sum[r][c]);
}

static void scores_of(const uint16_t *q, const uint16_t *k, int64_t pairs, float *scores, int64_t vectors)
{
    switch (vectors) {
    case 1:
        tile_scores(q, k, pairs, scores, 1);
        break;
    case 2:
        tile_scores(q, k, pairs, scores, 2);
        break;
    case 3:
        tile_scores(q, k, pairs, scores, 3);
        break;
    default:
        tile_scores(q, k, pairs, scores, 4);
    }
}

/* The whole width in chunks of at most VECTORS vectors, as equal as they can be. */
static void result_of(const uint16_t *p, const uint16_t *v, int64_t value_rows, int64_t width, const float *worth,
                      float *result)
{
    int64_t vectors = width / LANES, chunks = (vectors + VECTORS - 1) / VECTORS;
    for (int64_t chunk = 0, c = 0; chunk < chunks; chunk++) {
        int64_t size = vectors / chunks + (chunk < vectors % chunks);
        switch (size) {
        case 1:
            tile_result(p, v + 2 * c, value_rows, width, worth, result + c, 1);
            break;
        case 2:
            tile_result(p, v + 2 * c, value_rows, width, worth, result + c, 2);
            break;
        case 3:
            tile_result(p, v + 2 * c, value_rows, width, worth, result + c, 3);
            break;
        default:
            tile_result(p, v + 2 * c, value_rows, width, worth, result + c, 4);
        }
        c += size * LANES;
    }
}

/* 2^x as v_exp2, to 3.6e-6: probabilities are rounded to eight bits. */
HEP_INLINE vf coarse_exp2(vf x)
{
    vf t = v_add(x, v_set(HEP_ROUNDER));
    vf f = v_sub(x, v_sub(t, v_set(HEP_ROUNDER)));
    vf p = v_set(9.78291257e-3f);
    p = v_fma(p, f, v_set(5.59768837e-2f));
    p = v_fma(p, f, v_set(0.240207111f));
    p = v_fma(p, f, v_set(0.693113604f));
    p = v_fma(p, f, v_set(1.0f));
    return v_if_less(x, v_set(-125.0f), v_zero(), v_scale_by_exponent(p, t));
}

/* Scores of a row to probabilities in bf16; returns their sum before rounding. padded is a multiple of LANES. */
HEP_INLINE float row_exp(const float *scores, int64_t padded, float scale_log2e, float maximum, uint16_t *p)
{
    vf top = v_set(maximum), scale = v_set(scale_log2e), sum = v_zero();
    int64_t j = 0;
    for (; j + 2 * LANES <= padded; j += 2 * LANES) {
        vf low = coarse_exp2(v_mul(v_sub(v_load(scores + j), top), scale));
        vf high = coarse_exp2(v_mul(v_sub(v_load(scores + j + LANES), top), scale));
        vpairs_bits both = {.pairs = _mm512_cvtne2ps_pbh(high, low)};
        _mm512_storeu_si512(p + j, both.bits);
        sum = v_add(v_add(sum, low), high);
    }
    if (j < padded) {
        vf low = coarse_exp2(v_mul(v_sub(v_load(scores + j), top), scale));
        v_store_bf16(p + j, low);
        sum = v_add(sum, low);
    }
    return v_sum(sum);
}

/* The softmax of a block: probabilities, running maxima and totals, and what earlier sums are worth now. */
HEP_INLINE void block_softmax(const float *scores, int64_t padded, float scale_log2e, float *maximum, float *total,
                              float *worth, uint16_t *p)
{
    vf top[ROWS];
    float distance[LANES] = {0}, highest[ROWS];
    for (int r = 0; r < ROWS; r++)
        top[r] = v_set(maximum[r]);
    for (int64_t j = 0; j < padded; j += LANES)
        for (int r = 0; r < ROWS; r++)
            top[r] = v_max(top[r], v_load(scores + r * BLOCK + j));
    for (int r = 0; r < ROWS; r++) {
        highest[r] = v_top(top[r]);
        distance[r] = (maximum[r] - highest[r]) * scale_log2e;
    }
    v_store(distance, v_exp2(v_load(distance)));
    for (int r = 0; r < ROWS; r++) {
        worth[r] = distance[r];
        total[r] = total[r] * worth[r] + row_exp(scores + r * BLOCK, padded, scale_log2e, highest[r], p + r * BLOCK);
        maximum[r] = highest[r];
    }
}

/* Keys that query number `row` may see. */
HEP_INLINE int64_t visible(const struct hep_attention_args *a, int64_t row)
{
    return a->causal && row + 1 < a->keys ? row + 1 : a->keys;
}

/* A tile of queries from row on against the block of keys that starts at k0. */
static void tile_block(const struct work *work, int64_t head, int64_t row, int64_t k0, const uint16_t *q,
                       float *maximum, float *total, float *result)
{
    const struct hep_attention_args *a = &work->a;
    int64_t end = visible(a, row + ROWS - 1);
    if (end <= k0)
        return;
    int64_t count = end - k0 < BLOCK ? end - k0 : BLOCK, padded = (count + LANES - 1) / LANES * LANES;
    float scores[ROWS * BLOCK] __attribute__((aligned(64))), worth[ROWS];
    uint16_t p[ROWS * BLOCK] __attribute__((aligned(64)));
    const uint16_t *keys = work->keys + (head * work->tiles + k0 / KEYS) * work->pairs * KEYS * 2;
    for (int64_t j = 0; j < padded; j += KEYS)
        scores_of(q, keys + j * work->pairs * 2, work->pairs, scores + j, (padded - j) / LANES);
    for (int r = 0; r < ROWS; r++) {
        int64_t seen = visible(a, row + r) - k0;
        for (int64_t j = seen > 0 ? seen : 0; j < padded; j++)
            scores[r * BLOCK + j] = -INFINITY;
    }
    block_softmax(scores, padded, a->scale * 1.44269504f, maximum, total, worth, p);
    const uint16_t *values = work->values + (head * work->value_rows + k0 / 2) * work->width * 2;
    result_of(p, values, (count + 1) / 2, work->width, worth, result);
}

/* Queries first … of a group as [tile][pairs][ROWS][2]; rows past the last query are zeros. */
static void pack_queries(const struct work *work, int64_t head, int64_t first, int64_t tiles, uint16_t *to)
{
    const struct hep_attention_args *a = &work->a;
    for (int64_t row = 0; row < tiles * ROWS; row++)
        pack_pairs(first + row < a->queries ? token_of(&a->q, a->heads, head, first + row) : NULL, a->head_dim,
                   to + (row / ROWS * work->pairs * ROWS + row % ROWS) * 2, ROWS);
}

static void store_results(const struct work *work, int64_t head, int64_t first, int64_t rows, const float *total,
                          const float *result)
{
    const struct hep_attention_args *a = &work->a;
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *out = (uint16_t *)(uintptr_t)token_of(&a->out, a->heads, head, first + r);
        vf inverse = v_set(1.0f / total[r]);
        int64_t i = 0;
        for (; i + LANES <= a->head_dim; i += LANES)
            v_store_bf16(out + i, v_mul(v_load(result + r * work->width + i), inverse));
        if (i < a->head_dim)
            v_store_bf16_n(out + i, v_mul(v_load(result + r * work->width + i), inverse), a->head_dim - i);
    }
}

/* One item is one group of queries of one head. */
static void attend(const void *context, int64_t first_item, int64_t last_item)
{
    const struct work *work = context;
    const struct hep_attention_args *a = &work->a;
    uint16_t queries[GROUP_FLOATS] __attribute__((aligned(64)));
    float result[RESULT_FLOATS] __attribute__((aligned(64))), maximum[GROUP], total[GROUP];
    for (int64_t item = first_item; item < last_item; item++) {
        int64_t head = item / work->groups, first = item % work->groups * work->group;
        int64_t rows = a->queries - first < work->group ? a->queries - first : work->group;
        int64_t tiles = (rows + ROWS - 1) / ROWS;
        pack_queries(work, head, first, tiles, queries);
        memset(result, 0, (size_t)(tiles * ROWS * work->width) * sizeof(float));
        for (int64_t r = 0; r < tiles * ROWS; r++) {
            maximum[r] = -INFINITY;
            total[r] = 0.0f;
        }
        for (int64_t k0 = 0; k0 < a->keys; k0 += BLOCK)
            for (int64_t r = 0; r < tiles * ROWS; r += ROWS)
                tile_block(work, head, first + r, k0, queries + r * work->pairs * 2, maximum + r, total + r,
                           result + r * work->width);
        store_results(work, head, first, rows, total, result);
    }
}

void hep_attention_bf16__avx512bf16_6x64(const struct hep_attention_args *a)
{
    struct work work = work_of(a);
    work.keys = a->scratch;
    work.values = work.keys + key_elements(&work);
    hep_parallel_for(a->images * a->heads * work.tiles, 16384 / (KEYS * a->head_dim), pack, &work);
    hep_parallel_for(a->images * a->heads * work.groups, 1, attend, &work);
}
