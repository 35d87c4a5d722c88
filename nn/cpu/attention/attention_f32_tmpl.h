/*
 * Attention in f32 arithmetic, for dtypes f32 and bf16. Included by the level's file after its simd header.
 *
 * First pass: keys are packed in tiles of KEYS columns, transposed ([head_dim][KEYS]), and values as rows of full
 * vectors; both become f32 in scratch. Second pass: an item is a group of query rows of one head. It walks the keys in
 * blocks of BLOCK; per block, tiles of ROWS queries make ROWS × BLOCK scores (in registers, ROWS × KEYS at a time), the
 * softmax of the block against the running maximum, and the update of ROWS rows of the result. The order of every sum
 * is fixed by keys and head_dim; rows never mix. Scores are never in memory but for one ROWS × BLOCK buffer that stays
 * in the first-level cache.
 */
#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"
#include "nn/cpu/simd/dtype.h"
#include "nn/cpu/simd/math.h"

enum {
    ROWS = 6,                                     /* queries of a tile                                    */
    VECTORS = HEP_VECTOR_REGISTERS == 32 ? 4 : 2, /* vectors of a tile's row                              */
    KEYS = VECTORS * LANES,                       /* keys of a tile                                       */
    BLOCK = 256,                                  /* keys of a block, a multiple of KEYS                  */
    GROUP = 48,                                   /* most queries of an item, a multiple of ROWS          */
    GROUP_FLOATS = 7680,                          /* most floats of a group's queries                     */
    RESULT_FLOATS = GROUP_FLOATS + GROUP * LANES  /* and of its results, whose rows are full vectors      */
};

/* The shape and where packed keys and values lie. */
struct work {
    struct hep_attention_args a;
    int64_t tiles;       /* of keys                                          */
    int64_t value_width; /* floats of a packed value: head_dim, rounded up   */
    int64_t group;       /* queries of an item                               */
    int64_t groups;      /* items of a head                                  */
    float *keys;         /* [images · heads][tiles][head_dim][KEYS]          */
    float *values;       /* [images · heads][keys][value_width]              */
};

static struct work work_of(const struct hep_attention_args *a)
{
    struct work work = {.a = *a, .tiles = (a->keys + KEYS - 1) / KEYS};
    work.value_width = (a->head_dim + LANES - 1) / LANES * LANES;
    int64_t tiles = GROUP_FLOATS / a->head_dim / ROWS;
    work.group = tiles < 1 ? ROWS : tiles > GROUP / ROWS ? GROUP : tiles * ROWS;
    work.groups = (a->queries + work.group - 1) / work.group;
    return work;
}

static int64_t key_floats(const struct work *work)
{
    return work->a.images * work->a.heads * work->tiles * work->a.head_dim * KEYS;
}

static size_t attention_scratch(const struct hep_attention_args *a)
{
    struct work work = work_of(a);
    return (size_t)(key_floats(&work) + a->images * a->heads * a->keys * work.value_width) * sizeof(float);
}

/* Token t of head number `head` (image · heads + head of the image). */
HEP_INLINE const void *token_of(const struct hep_heads *x, int64_t heads, int64_t head, int64_t t, enum hep_dtype dtype)
{
    return v_at(x->data, head / heads * x->batch + t * x->token + head % heads * x->head, dtype);
}

HEP_INLINE float float_of(const void *x, int64_t i, enum hep_dtype dtype)
{
    return dtype == HEP_BF16 ? hep_bf16_to_f32(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

HEP_INLINE void pack_value(const void *from, float *to, int64_t head_dim, enum hep_dtype dtype)
{
    for (int64_t i = 0; i < head_dim; i += LANES)
        v_store(to + i, v_get_n(from, i, v_left(i, head_dim), dtype));
}

/* One item is one tile of keys of one head, with its values. Keys past the last are zeros; their scores are masked. */
HEP_INLINE void pack(const struct work *work, int64_t first, int64_t last, enum hep_dtype dtype)
{
    const struct hep_attention_args *a = &work->a;
    int64_t d = a->head_dim;
    for (int64_t item = first; item < last; item++) {
        int64_t head = item / work->tiles, t0 = item % work->tiles * KEYS;
        float *tile = work->keys + item * d * KEYS;
        for (int64_t j = 0; j < KEYS; j++) {
            if (t0 + j >= a->keys) {
                for (int64_t i = 0; i < d; i++)
                    tile[i * KEYS + j] = 0.0f;
                continue;
            }
            const void *key = token_of(&a->k, a->heads, head, t0 + j, dtype);
            for (int64_t i = 0; i < d; i++)
                tile[i * KEYS + j] = float_of(key, i, dtype);
            pack_value(token_of(&a->v, a->heads, head, t0 + j, dtype),
                       work->values + (head * a->keys + t0 + j) * work->value_width, d, dtype);
        }
    }
}

/* Queries first … of a group as [tile][head_dim][ROWS]; rows past the last query are zeros. */
HEP_INLINE void pack_queries(const struct work *work, int64_t head, int64_t first, int64_t tiles, float *to,
                             enum hep_dtype dtype)
{
    const struct hep_attention_args *a = &work->a;
    int64_t d = a->head_dim;
    for (int64_t row = 0; row < tiles * ROWS; row++) {
        float *at = to + row / ROWS * d * ROWS + row % ROWS;
        const void *query = token_of(&a->q, a->heads, head, first + row < a->queries ? first + row : first, dtype);
        for (int64_t i = 0; i < d; i++)
            at[i * ROWS] = first + row < a->queries ? float_of(query, i, dtype) : 0.0f;
    }
}

/* scores[ROWS][KEYS of BLOCK] = q · k */
HEP_INLINE void tile_scores(const float *q, const float *k, int64_t d, float *scores)
{
    vf sum[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++)
            sum[r][v] = v_zero();
    for (int64_t i = 0; i < d; i++, q += ROWS, k += KEYS) {
        vf key[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            key[v] = v_load(k + v * LANES);
        for (int r = 0; r < ROWS; r++) {
            vf query = v_set(q[r]);
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = v_fma(query, key[v], sum[r][v]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++)
            v_store(scores + r * BLOCK + v * LANES, sum[r][v]);
}

/* The largest score of each row, and its running maximum before. All rows together: six chains instead of one. */
HEP_INLINE void new_maxima(const float *scores, int64_t padded, const float *maximum, float *highest)
{
    vf top[ROWS];
    for (int r = 0; r < ROWS; r++)
        top[r] = v_set(maximum[r]);
    for (int64_t j = 0; j < padded; j += LANES)
        for (int r = 0; r < ROWS; r++)
            top[r] = v_max(top[r], v_load(scores + r * BLOCK + j));
    for (int r = 0; r < ROWS; r++)
        highest[r] = v_top(top[r]);
}

/* Scores of a row to probabilities against the new running maximum; returns their sum. */
HEP_INLINE float row_exp(float *scores, int64_t padded, float scale_log2e, float maximum)
{
    vf top = v_set(maximum), sum = v_zero(), scale = v_set(scale_log2e);
    for (int64_t j = 0; j < padded; j += LANES) {
        vf p = v_exp2(v_mul(v_sub(v_load(scores + j), top), scale));
        v_store(scores + j, p);
        sum = v_add(sum, p);
    }
    return v_sum(sum);
}

/* What sums against the old maxima are worth against the new ones: 2^(old - new), ROWS numbers. */
HEP_INLINE void worth_of(const float *maximum, const float *highest, float scale_log2e, float *worth)
{
    float distance[(ROWS + LANES - 1) / LANES * LANES] = {0};
    for (int r = 0; r < ROWS; r++)
        distance[r] = (maximum[r] - highest[r]) * scale_log2e;
    for (int r = 0; r < ROWS; r += LANES)
        v_store(distance + r, v_exp2(v_load(distance + r)));
    memcpy(worth, distance, ROWS * sizeof(float));
}

/* The softmax of a block of scores; updates the running maxima and totals. */
HEP_INLINE void block_softmax(float *scores, int64_t padded, float scale_log2e, float *maximum, float *total,
                              float *worth)
{
    float highest[ROWS];
    new_maxima(scores, padded, maximum, highest);
    worth_of(maximum, highest, scale_log2e, worth);
    for (int r = 0; r < ROWS; r++) {
        total[r] = total[r] * worth[r] + row_exp(scores + r * BLOCK, padded, scale_log2e, highest[r]);
        maximum[r] = highest[r];
    }
}

/* result[ROWS][vectors of width] = result · worth + p · v */
HEP_INLINE void tile_result(const float *p, const float *v, int64_t count, int64_t width, const float *worth,
                            float *result, int vectors)
{
    vf sum[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < vectors; c++)
            sum[r][c] = v_mul(v_load(result + r * width + c * LANES), v_set(worth[r]));
    for (int64_t j = 0; j < count; j++, v += width) {
        vf value[VECTORS];
        for (int c = 0; c < vectors; c++)
            value[c] = v_load(v + c * LANES);
        for (int r = 0; r < ROWS; r++) {
            vf probability = v_set(p[r * BLOCK + j]);
            for (int c = 0; c < vectors; c++)
                sum[r][c] = v_fma(probability, value[c], sum[r][c]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < vectors; c++)
            v_store(result + r * width + c * LANES, sum[r][c]);
}

/* Keys that query number `row` may see. */
HEP_INLINE int64_t visible(const struct hep_attention_args *a, int64_t row)
{
    return a->causal && row + 1 < a->keys ? row + 1 : a->keys;
}

/* A tile of queries from row on against the block of keys that starts at k0. */
static void tile_block(const struct work *work, int64_t head, int64_t row, int64_t k0, const float *q, float *maximum,
                       float *total, float *result)
{
    const struct hep_attention_args *a = &work->a;
    int64_t d = a->head_dim, width = work->value_width, end = visible(a, row + ROWS - 1);
    if (end <= k0)
        return;
    int64_t count = end - k0 < BLOCK ? end - k0 : BLOCK, padded = (count + KEYS - 1) / KEYS * KEYS;
    float scores[ROWS * BLOCK] __attribute__((aligned(64))), worth[ROWS];
    const float *keys = work->keys + (head * work->tiles + k0 / KEYS) * d * KEYS;
    for (int64_t j = 0; j < padded; j += KEYS)
        tile_scores(q, keys + j * d, d, scores + j);
    for (int r = 0; r < ROWS; r++) {
        int64_t seen = visible(a, row + r) - k0;
        for (int64_t j = seen > 0 ? seen : 0; j < padded; j++)
            scores[r * BLOCK + j] = -INFINITY;
    }
    block_softmax(scores, padded, a->scale * 1.44269504f, maximum, total, worth);
    const float *values = work->values + (head * a->keys + k0) * width;
    int64_t c = 0;
    for (; c + KEYS <= width; c += KEYS)
        tile_result(scores, values + c, count, width, worth, result + c, VECTORS);
    for (; c < width; c += LANES)
        tile_result(scores, values + c, count, width, worth, result + c, 1);
}

/* One item is one group of queries of one head. */
HEP_INLINE void attend(const struct work *work, int64_t first_item, int64_t last_item, enum hep_dtype dtype)
{
    const struct hep_attention_args *a = &work->a;
    float queries[GROUP_FLOATS] __attribute__((aligned(64))), result[RESULT_FLOATS] __attribute__((aligned(64)));
    float maximum[GROUP], total[GROUP];
    int64_t d = a->head_dim, width = work->value_width;
    for (int64_t item = first_item; item < last_item; item++) {
        int64_t head = item / work->groups, first = item % work->groups * work->group;
        int64_t rows = a->queries - first < work->group ? a->queries - first : work->group;
        int64_t tiles = (rows + ROWS - 1) / ROWS;
        pack_queries(work, head, first, tiles, queries, dtype);
        memset(result, 0, (size_t)(tiles * ROWS * width) * sizeof(float));
        for (int64_t r = 0; r < tiles * ROWS; r++) {
            maximum[r] = -INFINITY;
            total[r] = 0.0f;
        }
        for (int64_t k0 = 0; k0 < a->keys; k0 += BLOCK)
            for (int64_t r = 0; r < tiles * ROWS; r += ROWS)
                tile_block(work, head, first + r, k0, queries + r * d, maximum + r, total + r, result + r * width);
        for (int64_t r = 0; r < rows; r++) {
            void *out = v_at_out(
                (void *)a->out.data,
                head / a->heads * a->out.batch + (first + r) * a->out.token + head % a->heads * a->out.head, dtype);
            vf inverse = v_set(1.0f / total[r]);
            for (int64_t i = 0; i < d; i += LANES)
                v_put_n(out, i, v_mul(v_load(result + r * width + i), inverse), v_left(i, d), dtype);
        }
    }
}

static void pack_f32(const void *work, int64_t first, int64_t last)
{
    pack(work, first, last, HEP_F32);
}
__attribute__((unused)) static void pack_bf16(const void *work, int64_t first, int64_t last)
{
    pack(work, first, last, HEP_BF16);
}
static void attend_f32(const void *work, int64_t first, int64_t last)
{
    attend(work, first, last, HEP_F32);
}
__attribute__((unused)) static void attend_bf16(const void *work, int64_t first, int64_t last)
{
    attend(work, first, last, HEP_BF16);
}

static void attention_run(const struct hep_attention_args *a, hep_parallel_body *packing, hep_parallel_body *attending)
{
    struct work work = work_of(a);
    work.keys = a->scratch;
    work.values = work.keys + key_floats(&work);
    hep_parallel_for(a->images * a->heads * work.tiles, 16384 / (KEYS * a->head_dim), packing, &work);
    hep_parallel_for(a->images * a->heads * work.groups, 1, attending, &work);
}
