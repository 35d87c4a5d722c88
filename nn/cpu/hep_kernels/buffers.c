/*
 * The memory that kernels are checked on, for hep-kernels. Each buffer has pages of its own between two inaccessible
 * ones: one byte read or written past its end is a signal. Inputs are read-only while a kernel runs; outputs have
 * margins and gaps of a fixed pattern and are full of NaN where the kernel must write.
 */
#include "nn/cpu/hep_kernels/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static struct check_buffer *new_buffer(struct check *c, size_t bytes, bool at_end)
{
    hep_assert(c->buffer_count < CHECK_BUFFERS_MAX);
    struct check_buffer *b = &c->buffers[c->buffer_count++];
    size_t page = page_bytes(), inside = (bytes + page - 1) / page * page;
    b->map_bytes = inside + 2 * page;
    b->map = mmap(NULL, b->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->map == MAP_FAILED || mprotect(b->map + page, inside, PROT_READ | PROT_WRITE) != 0) {
        perror("hep-kernels: memory");
        _exit(2);
    }
    b->data = b->map + page + (at_end ? inside - bytes : 0);
    b->bytes = bytes;
    b->input = false;
    return b;
}

void check_clear(struct check *c)
{
    for (int i = 0; i < c->buffer_count; i++)
        munmap(c->buffers[i].map, c->buffers[i].map_bytes);
    c->buffer_count = 0;
    c->scratch = NULL;
}

uint64_t check_random(struct check *c)
{
    uint64_t z = c->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t check_random_below(struct check *c, int64_t bound)
{
    return (int64_t)(check_random(c) % (uint64_t)bound);
}

float check_random_float(struct check *c)
{
    return (float)(check_random(c) >> 40) * 0x1p-23f - 1.0f;
}

static float edge(struct check *c)
{
    static const float edges[] = {0.0f,       -0.0f,       0x1p-149f,   -0x1p-140f,      0x1p-126f, 1.0f,
                                  0x1.01p0f,  0x1.03p0f,   0x1.ffp0f,   0x1.feffffp0f,   65504.0f,  65519.996f,
                                  65520.0f,   0x1.fep127f, 0x1.ffp127f, 0x1.fffffep127f, INFINITY,  -INFINITY,
                                  0x1.002p0f, 0x1.006p0f,  0x1p-25f,    0x1.8p-25f,      0x1p-24f,  -2.5f / 255,
                                  0.5f,       -1.0f,       1.5f};
    return edges[check_random_below(c, (int64_t)HEP_COUNT_OF(edges))];
}

static float number(struct check *c, enum pattern pattern, double amplitude)
{
    switch (pattern) {
    case PATTERN_WIDE:
        return 12.0f * check_random_float(c);
    case PATTERN_CONSTANT:
        return 37.125f;
    case PATTERN_OFFSET:
        return 1000.0f + check_random_float(c);
    case PATTERN_INTEGERS:
        return (float)(check_random_below(c, 9) - 4);
    case PATTERN_EDGES:
        return edge(c);
    default:
        return (float)amplitude * check_random_float(c);
    }
}

static void put(void *data, enum hep_dtype dtype, int64_t i, float value)
{
    switch (dtype) {
    case HEP_BF16:
        ((uint16_t *)data)[i] = hep_f32_to_bf16(value);
        break;
    case HEP_F16:
        ((uint16_t *)data)[i] = hep_f32_to_f16(value);
        break;
    default:
        ((float *)data)[i] = value;
    }
}

double check_value(const void *data, enum hep_dtype dtype, int64_t i)
{
    switch (dtype) {
    case HEP_BF16:
        return (double)hep_bf16_to_f32(((const uint16_t *)data)[i]);
    case HEP_F16:
        return (double)hep_f16_to_f32(((const uint16_t *)data)[i]);
    case HEP_U8:
        return (double)((const uint8_t *)data)[i];
    default:
        return (double)((const float *)data)[i];
    }
}

void *check_input_as(struct check *c, enum hep_dtype dtype, int64_t count, double amplitude, enum pattern as)
{
    bool at_end = !c->bench && (c->buffer_count & 1) == 0;
    struct check_buffer *b = new_buffer(c, (size_t)count * hep_dtype_bytes(dtype), at_end);
    b->input = true;
    for (int64_t i = 0; i < count; i++)
        put(b->data, dtype, i, number(c, as, amplitude));
    return b->data;
}

void *check_input(struct check *c, enum hep_dtype dtype, int64_t count, double amplitude)
{
    return check_input_as(c, dtype, count, amplitude, c->problem.pattern);
}

int32_t *check_ids(struct check *c, int64_t count, int32_t low, int32_t high)
{
    struct check_buffer *b = new_buffer(c, (size_t)count * sizeof(int32_t), true);
    int32_t *ids = (int32_t *)(void *)b->data;
    b->input = true;
    for (int64_t i = 0; i < count; i++)
        ids[i] = low + (int32_t)check_random_below(c, high - low);
    return ids;
}

void *check_scratch(struct check *c, size_t bytes)
{
    c->scratch = new_buffer(c, (bytes + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN, true);
    return c->scratch->data;
}

double *check_doubles(struct check *c, int64_t count)
{
    return (double *)(void *)new_buffer(c, (size_t)count * sizeof(double), false)->data;
}

double *check_widened(struct check *c, const void *data, enum hep_dtype dtype, int64_t rows, int64_t columns,
                      int64_t stride)
{
    if (c->bench)
        return NULL;
    double *wide = check_doubles(c, rows * columns);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < columns; i++)
            wide[r * columns + i] = check_value(data, dtype, r * stride + i);
    return wide;
}

struct check_output check_output(struct check *c, enum hep_dtype dtype, int64_t rows, int64_t columns, int64_t stride)
{
    size_t inside = (size_t)((rows - 1) * stride + columns) * hep_dtype_bytes(dtype);
    struct check_output o = {.dtype = dtype, .rows = rows, .columns = columns, .stride = stride};
    o.buffer = new_buffer(c, inside + 2 * CHECK_MARGIN, !c->bench && (c->buffer_count & 1) != 0);
    o.data = o.buffer->data + CHECK_MARGIN;
    return o;
}

const void *check_element(const struct check_output *o, int64_t row, int64_t column)
{
    return (const char *)o->data + (size_t)(row * o->stride + column) * hep_dtype_bytes(o->dtype);
}
