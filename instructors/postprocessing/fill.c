/* Pillow's blur of premultiplied RGBA, and its alpha_composite, in integers. Called by the operation fill. */
#include "instructors/postprocessing/fill.h"

#include <stdlib.h>
#include <string.h>

/* A box: radius whole places to each side weigh `inner` of 2^24, the next ones `outer`. Of sigma as Gwosdek et al. give
   them for three passes, in the single precision in which Pillow computes them. */
struct box {
    int64_t radius;
    uint32_t inner, outer;
};
static const struct layer {
    struct box box; /* inner 0: not blurred */
    int times;      /* that it is laid over */
} layers[] = {
    {{255, 32768, 16384}, 1},   /* sigma 256     */
    {{63, 131080, 65028}, 1},   /* 64            */
    {{15, 524800, 254208}, 2},  /* 16            */
    {{3, 2130440, 932068}, 4},  /* 4             */
    {{1, 4473924, 1677722}, 2}, /* 2             */
    {.box = {.inner = 0}, 1},   /* 0             */
};
enum { PASSES = 3 };

static uint32_t by_255(uint32_t value)
{
    return ((value >> 8) + value) >> 8;
}

static int64_t clamp(int64_t at, int64_t count)
{
    return at < 0 ? 0 : at >= count ? count - 1 : at;
}

/* ---- the blur ------------------------------------------------------------------------------------------------------
 */
/* One pass over a line; beyond its ends lies its last value. */
static void blur_pass(const struct box *box, const uint8_t *from, int64_t count, uint8_t *to)
{
    int64_t radius = box->radius;
    uint32_t sum = 0;
    for (int64_t i = -radius; i <= radius; i++)
        sum += from[clamp(i, count)];
    for (int64_t i = 0; i < count; i++) {
        uint32_t ends = (uint32_t)from[clamp(i - radius - 1, count)] + from[clamp(i + radius + 1, count)];
        to[i] = (uint8_t)((sum * box->inner + ends * box->outer + (1u << 23)) >> 24);
        sum += (uint32_t)from[clamp(i + radius + 1, count)] - from[clamp(i - radius, count)];
    }
}

/* count values, step apart, in place. scratch: [2][count]. */
static void blur_line(const struct box *box, uint8_t *line, int64_t count, int64_t step, uint8_t *scratch)
{
    uint8_t *from = scratch, *to = scratch + count;
    for (int64_t i = 0; i < count; i++)
        from[i] = line[i * step];
    for (int pass = 0; pass < PASSES; pass++) {
        blur_pass(box, from, count, to);
        uint8_t *other = from;
        from = to;
        to = other;
    }
    for (int64_t i = 0; i < count; i++)
        line[i * step] = from[i];
}

/* pixels: [height, width, 4]. scratch: [2][the longer side]. */
static void blur(const struct box *box, uint8_t *pixels, int64_t width, int64_t height, uint8_t *scratch)
{
    if (box->inner == 0)
        return;
    for (int64_t y = 0; y < height; y++)
        for (int64_t c = 0; c < 4; c++)
            blur_line(box, pixels + 4 * y * width + c, width, 4, scratch);
    for (int64_t x = 0; x < 4 * width; x++)
        blur_line(box, pixels + x, height, 4 * width, scratch);
}

/* ---- layers --------------------------------------------------------------------------------------------------------
 */
/* The image without what is masked, premultiplied. */
static void take_away(const uint8_t *image, const uint8_t *mask, int64_t places, uint8_t *pixels)
{
    for (int64_t i = 0; i < places; i++) {
        uint32_t alpha = 255u - mask[i];
        for (int64_t c = 0; c < 3; c++)
            pixels[4 * i + c] = (uint8_t)by_255(image[3 * i + c] * alpha + 128);
        pixels[4 * i + 3] = (uint8_t)alpha;
    }
}

/* over: premultiplied; under: not, [4] each. */
static void lay_over(const uint8_t *over, uint8_t *under)
{
    enum { BITS = 7 }; /* that a product has more */
    uint32_t alpha = over[3], rest = under[3] * (255u - alpha), whole = alpha * 255 + rest;
    if (alpha == 0)
        return;
    uint32_t share = alpha * 255 * 255 * (1u << BITS) / whole, other = 255 * (1u << BITS) - share;
    for (int c = 0; c < 3; c++) {
        uint32_t value = alpha == 255 ? over[c] : 255u * over[c] / alpha;
        value = value > 255 ? 255 : value;
        under[c] = (uint8_t)(by_255(value * share + under[c] * other + (128u << BITS)) >> BITS);
    }
    under[3] = (uint8_t)by_255(whole + 128);
}

uint64_t fill_bytes(int64_t width, int64_t height)
{
    return 12 * (uint64_t)(width * height) + 2 * (uint64_t)(width > height ? width : height);
}

enum hep_status fill_run(const uint8_t *image, const uint8_t *mask, int64_t width, int64_t height, uint8_t *filled,
                         struct hep_error *error)
{
    int64_t places = width * height;
    uint8_t *masked = malloc(fill_bytes(width, height));
    if (!masked)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to fill what is masked");
    uint8_t *blurred = masked + 4 * places, *result = blurred + 4 * places, *scratch = result + 4 * places;
    memset(result, 0, (size_t)(4 * places));
    take_away(image, mask, places, masked);
    for (size_t i = 0; i < HEP_COUNT_OF(layers); i++) {
        memcpy(blurred, masked, (size_t)(4 * places));
        blur(&layers[i].box, blurred, width, height, scratch);
        for (int64_t at = 0; at < places; at++)
            for (int times = 0; times < layers[i].times; times++)
                lay_over(blurred + 4 * at, result + 4 * at);
    }
    for (int64_t i = 0; i < places; i++)
        memcpy(filled + 3 * i, result + 4 * i, 3);
    free(masked);
    return HEP_OK;
}
