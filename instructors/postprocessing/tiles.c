/* Cutting a side into windows. Called by upscaler.c for rows and columns. */
#include "instructors/postprocessing/tiles.h"

#include "common/status.h"

static int64_t up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

struct tiles tiles_cut(int64_t side, int64_t longest, int64_t context, int64_t multiple)
{
    struct tiles tiles = {side, side, context, 1, multiple};
    hep_assert(longest > 2 * context && side % multiple == 0 && longest % multiple == 0 && context % multiple == 0);
    if (side <= longest)
        return tiles;
    int64_t core = longest - 2 * context; /* of a window in the middle */
    tiles.count = (side - 2 * context + core - 1) / core;
    tiles.length = up((side + (tiles.count - 1) * 2 * context + tiles.count - 1) / tiles.count, multiple);
    return tiles;
}

/* Where window number index begins: evenly spread, the last one ends with the side. */
static int64_t start_of(const struct tiles *tiles, int64_t index)
{
    int64_t start = index * (tiles->length - 2 * tiles->context), last = tiles->side - tiles->length;
    return start < last ? start : last;
}

struct tile tiles_at(const struct tiles *tiles, int64_t index)
{
    bool first = index == 0, final = index == tiles->count - 1;
    int64_t start = start_of(tiles, index);
    return (struct tile){.start = start,
                         .core = first ? 0 : start_of(tiles, index - 1) + tiles->length - tiles->context,
                         .last = final ? tiles->side : start + tiles->length - tiles->context};
}
