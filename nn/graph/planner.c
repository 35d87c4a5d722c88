/*
 * The memory planner. Buffers joined by in_place_of form one block that lives as long as all of them. Blocks are placed
 * one by one at the lowest gap between the blocks already placed that live at the same time; this is done in three
 * orders (by size, by size times lifetime, by start) and the best result is kept. Called by pass_memory.c.
 */
#include "nn/graph/planner.h"

#include <stdlib.h>
#include <string.h>

struct block {
    int first, last;
    size_t bytes, align, offset;
    int index; /* of its first buffer: makes every order total */
};

enum { ORDER_SIZE, ORDER_AREA, ORDER_START, ORDER_COUNT };

static int by_index(const struct block *a, const struct block *b)
{
    return (a->index > b->index) - (a->index < b->index);
}

static int by_size(const void *pa, const void *pb)
{
    const struct block *a = pa, *b = pb;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return by_index(a, b);
}

static int by_area(const void *pa, const void *pb)
{
    const struct block *a = pa, *b = pb;
    double area_a = (double)a->bytes * (a->last - a->first + 1), area_b = (double)b->bytes * (b->last - b->first + 1);
    if (area_a < area_b || area_a > area_b)
        return area_a < area_b ? 1 : -1;
    return by_index(a, b);
}

static int by_start(const void *pa, const void *pb)
{
    const struct block *a = pa, *b = pb;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return by_size(pa, pb);
}

static int by_offset(const void *pa, const void *pb)
{
    const struct block *const *a = pa, *const *b = pb;
    if ((*a)->offset != (*b)->offset)
        return (*a)->offset < (*b)->offset ? -1 : 1;
    return by_index(*a, *b);
}

static size_t align_up(size_t value, size_t align)
{
    return (value + align - 1) & ~(align - 1);
}

/* Lowest aligned offset for block in the gaps between its placed neighbours in time. */
static size_t lowest_gap(const struct block *block, const struct block **neighbours, size_t count)
{
    size_t offset = 0;
    qsort(neighbours, count, sizeof *neighbours, by_offset);
    for (size_t i = 0; i < count; i++) {
        if (offset + block->bytes <= neighbours[i]->offset)
            return offset;
        size_t end = align_up(neighbours[i]->offset + neighbours[i]->bytes, block->align);
        if (end > offset)
            offset = end;
    }
    return offset;
}

/* Places blocks in their present order; returns the peak. neighbours: room for count pointers. */
static size_t place(struct block *blocks, int count, const struct block **neighbours)
{
    size_t peak = 0;
    for (int i = 0; i < count; i++) {
        size_t near = 0;
        for (int j = 0; j < i; j++)
            if (blocks[j].bytes && blocks[j].first <= blocks[i].last && blocks[i].first <= blocks[j].last)
                neighbours[near++] = &blocks[j];
        blocks[i].offset = blocks[i].bytes ? lowest_gap(&blocks[i], neighbours, near) : 0;
        if (blocks[i].offset + blocks[i].bytes > peak)
            peak = blocks[i].offset + blocks[i].bytes;
    }
    return peak;
}

/* Joins buffers into blocks; owner[i] is the block of buffer i. Returns how many blocks. */
static int join(const struct hep_buffer *buffers, int count, struct block *blocks, int *owner)
{
    int made = 0;
    for (int i = 0; i < count; i++) {
        const struct hep_buffer *b = &buffers[i];
        hep_assert(b->last >= b->first && b->align && (b->align & (b->align - 1)) == 0);
        if (b->in_place_of == HEP_NOT_IN_PLACE) {
            blocks[made] = (struct block){b->first, b->last, b->bytes, b->align, 0, i};
            owner[i] = made++;
            continue;
        }
        hep_assert(b->in_place_of >= 0 && b->in_place_of < i);
        hep_assert(buffers[b->in_place_of].last == b->first && buffers[b->in_place_of].bytes >= b->bytes);
        struct block *block = &blocks[owner[b->in_place_of]];
        owner[i] = owner[b->in_place_of];
        block->last = b->last > block->last ? b->last : block->last;
        block->align = b->align > block->align ? b->align : block->align;
    }
    return made;
}

static size_t live_bytes(const struct hep_buffer *buffers, int count)
{
    int last = 0;
    size_t most = 0;
    for (int i = 0; i < count; i++)
        last = buffers[i].last > last ? buffers[i].last : last;
    for (int step = 0; step <= last; step++) {
        size_t sum = 0;
        for (int i = 0; i < count; i++)
            if (buffers[i].first <= step && step <= buffers[i].last &&
                !(buffers[i].in_place_of != HEP_NOT_IN_PLACE && buffers[i].first == step))
                sum += buffers[i].bytes;
        most = sum > most ? sum : most;
    }
    return most;
}

enum hep_status hep_plan_memory(struct hep_buffer *buffers, int count, size_t *peak, size_t *live,
                                struct hep_error *error)
{
    static int (*const orders[ORDER_COUNT])(const void *, const void *) = {
        [ORDER_SIZE] = by_size, [ORDER_AREA] = by_area, [ORDER_START] = by_start};
    size_t room = (size_t)count + 1, best = SIZE_MAX;
    struct block *blocks = calloc(room, sizeof *blocks);
    const struct block **neighbours = calloc(room, sizeof(const struct block *));
    size_t *offsets = calloc(room, sizeof *offsets);
    int *owner = calloc(room, sizeof *owner);
    enum hep_status status = HEP_OK;
    if (!blocks || !neighbours || !offsets || !owner) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory to place %d buffers", count);
        goto done;
    }
    int made = join(buffers, count, blocks, owner);
    for (int order = 0; order < ORDER_COUNT; order++) {
        qsort(blocks, (size_t)made, sizeof *blocks, orders[order]);
        size_t size = place(blocks, made, neighbours);
        if (size >= best)
            continue;
        best = size;
        for (int i = 0; i < made; i++)
            offsets[blocks[i].index] = blocks[i].offset;
    }
    for (int i = 0; i < count; i++) {
        int head = i;
        while (buffers[head].in_place_of != HEP_NOT_IN_PLACE)
            head = buffers[head].in_place_of;
        buffers[i].offset = offsets[head];
    }
    *peak = made ? best : 0;
    *live = live_bytes(buffers, count);
done:
    free(blocks);
    free(neighbours);
    free(offsets);
    free(owner);
    return status;
}
