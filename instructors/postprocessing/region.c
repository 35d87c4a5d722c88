/* Boxes round masks. Called by open_region. */
#include "instructors/postprocessing/region.h"

#include <string.h>

/* One side of a box: from … to, to excluded. */
struct span {
    int64_t from, to;
};

static void take_in(struct span *span, int64_t at)
{
    span->from = at < span->from ? at : span->from;
    span->to = at + 1 > span->to ? at + 1 : span->to;
}

static void pad(struct span *span, int64_t padding, int64_t size)
{
    span->from = span->from > padding ? span->from - padding : 0;
    span->to = span->to + padding < size ? span->to + padding : size;
}

/* As long as wanted, its middle where it is, pushed inside the image and cut off at its end. */
static void grow(struct span *span, int64_t wanted, int64_t size)
{
    int64_t more = wanted - (span->to - span->from);
    span->from -= more / 2;
    span->to += more - more / 2;
    if (span->to > size) {
        span->from -= span->to - size;
        span->to = size;
    }
    if (span->from < 0) {
        span->to -= span->from;
        span->from = 0;
    }
    span->to = span->to < size ? span->to : size;
}

enum hep_status region_find(const uint8_t *mask, int64_t width, int64_t height, int64_t padding, int64_t out_width,
                            int64_t out_height, struct region *region, struct hep_error *error)
{
    struct span across = {width, 0}, down = {height, 0};
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            if (mask[y * width + x]) {
                take_in(&across, x);
                take_in(&down, y);
            }
    if (across.to == 0) {
        hep_fail_field(error, HEP_E_OUT_OF_RANGE, "mask", "the mask covers nothing, so nothing is to be made anew");
        return hep_hint(error, "white is made anew; mask_invert takes black instead"), HEP_E_OUT_OF_RANGE;
    }
    pad(&across, padding, width);
    pad(&down, padding, height);
    int64_t wide = across.to - across.from, tall = down.to - down.from;
    if (wide * out_height > out_width * tall)
        grow(&down, wide * out_height / out_width, height);
    else
        grow(&across, tall * out_width / out_height, width);
    *region = (struct region){across.from, down.from, across.to - across.from, down.to - down.from};
    return HEP_OK;
}

void region_cut(const uint8_t *from, int64_t width, int64_t channels, const struct region *region, uint8_t *to)
{
    size_t row = (size_t)(region->width * channels);
    for (int64_t y = 0; y < region->height; y++)
        memcpy(to + (size_t)y * row, from + (size_t)(((region->y + y) * width + region->x) * channels), row);
}
