/*
 * Canny's edges: Sobel gradients row by row, thinning as soon as the next row is known, then hysteresis from the strong
 * pixels along the weak ones. Integers all the way, so that every machine finds the same edges. Called by hint.c.
 */
#include "instructors/conditioning/canny.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WEAK = 128, STRONG = 255, TAN_SHIFT = 15, TAN_22_5 = 13573 /* tan 22.5° · 2^15 */ };

/* Gradients of one row; norm has a zero on either side. */
struct gradients {
    int32_t *norm;
    int16_t *dx, *dy;
};
struct canny {
    const uint8_t *image;
    int64_t height, width, channels;
    int32_t low, high;
    bool l2;
    struct gradients rows[3]; /* of row y: rows[(y + 1) % 3] */
    uint8_t *edges;           /* the result; WEAK and STRONG meanwhile */
    uint32_t *stack;          /* strong pixels whose neighbours have not been looked at */
    size_t depth;
};

static size_t row_bytes(int64_t width)
{
    return ((size_t)width + 2) * sizeof(int32_t) + 2 * (size_t)width * sizeof(int16_t);
}

uint64_t canny_bytes(int64_t height, int64_t width)
{
    return 3 * row_bytes(width) + (uint64_t)(height * width) * sizeof(uint32_t);
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static int64_t within(int64_t i, int64_t count)
{
    return i < 0 ? 0 : i >= count ? count - 1 : i;
}

/* The Sobel operator at one pixel of one channel; the border is repeated outwards. */
static void sobel(const struct canny *c, const uint8_t *const rows[3], int64_t x, int64_t channel, int32_t *dx,
                  int32_t *dy)
{
    int64_t left = within(x - 1, c->width) * c->channels + channel, middle = x * c->channels + channel,
            right = within(x + 1, c->width) * c->channels + channel;
    *dx = rows[0][right] - rows[0][left] + 2 * (rows[1][right] - rows[1][left]) + rows[2][right] - rows[2][left];
    *dy = rows[2][left] - rows[0][left] + 2 * (rows[2][middle] - rows[0][middle]) + rows[2][right] - rows[0][right];
}

static void find_gradients(struct canny *c, int64_t y)
{
    struct gradients *to = &c->rows[(y + 1) % 3];
    const uint8_t *rows[3];
    memset(to->norm, 0, ((size_t)c->width + 2) * sizeof *to->norm);
    if (y >= c->height)
        return; /* nothing is steep outside */
    for (int i = 0; i < 3; i++)
        rows[i] = c->image + within(y + i - 1, c->height) * c->width * c->channels;
    for (int64_t x = 0; x < c->width; x++) {
        int32_t most = -1;
        for (int64_t channel = 0; channel < c->channels; channel++) {
            int32_t dx, dy;
            sobel(c, rows, x, channel, &dx, &dy);
            int32_t norm = c->l2 ? dx * dx + dy * dy : abs(dx) + abs(dy);
            if (norm <= most)
                continue;
            most = norm;
            to->dx[x] = (int16_t)dx;
            to->dy[x] = (int16_t)dy;
        }
        to->norm[x + 1] = most;
    }
}

/* ---- thinning ---------------------------------------------------------------------------------------------------- */

/* Whether the pixel is the steepest across the edge, which is horizontal, vertical or diagonal. Of two equal ones the
   right or lower one yields. */
static bool is_crest(const struct canny *c, int64_t y, int64_t x)
{
    const struct gradients *row = &c->rows[(y + 1) % 3];
    const int32_t *above = c->rows[y % 3].norm + x + 1, *here = row->norm + x + 1,
                  *below = c->rows[(y + 2) % 3].norm + x + 1;
    int64_t across = abs(row->dx[x]), down = (int64_t)abs(row->dy[x]) << TAN_SHIFT;
    int64_t flat = across * TAN_22_5, steep = flat + (across << (TAN_SHIFT + 1)); /* tan 67.5° = tan 22.5° + 2 */
    if (down < flat)
        return here[0] > here[-1] && here[0] >= here[1];
    if (down > steep)
        return here[0] > above[0] && here[0] >= below[0];
    int side = (row->dx[x] ^ row->dy[x]) < 0 ? -1 : 1;
    return here[0] > above[-side] && here[0] > below[side];
}

static void push(struct canny *c, int64_t index)
{
    c->edges[index] = STRONG;
    c->stack[c->depth++] = (uint32_t)index;
}

static void thin(struct canny *c, int64_t y)
{
    const int32_t *norm = c->rows[(y + 1) % 3].norm + 1;
    for (int64_t x = 0; x < c->width; x++) {
        int64_t index = y * c->width + x;
        c->edges[index] = 0;
        if (norm[x] <= c->low || !is_crest(c, y, x))
            continue;
        if (norm[x] > c->high)
            push(c, index);
        else
            c->edges[index] = WEAK;
    }
}

/* ---- hysteresis -------------------------------------------------------------------------------------------------- */

static void follow(struct canny *c)
{
    while (c->depth > 0) {
        int64_t index = c->stack[--c->depth], y = index / c->width, x = index % c->width;
        for (int64_t ny = within(y - 1, c->height); ny <= within(y + 1, c->height); ny++)
            for (int64_t nx = within(x - 1, c->width); nx <= within(x + 1, c->width); nx++)
                if (c->edges[ny * c->width + nx] == WEAK)
                    push(c, ny * c->width + nx);
    }
    for (int64_t i = 0; i < c->height * c->width; i++)
        c->edges[i] = c->edges[i] == STRONG ? STRONG : 0;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

/* Whole numbers, as the norms are; of √(dx² + dy²) the squares are compared. */
static int32_t threshold(double said, bool l2)
{
    double most = l2 ? 32767 : INT32_MAX, value = floor(said < most ? said : most);
    if (l2 && said > 0) {
        double exact = said < most ? said : most;
        value = floor(exact * exact);
    }
    return (int32_t)value;
}

enum hep_status canny(const uint8_t *image, int64_t height, int64_t width, int64_t channels,
                      const struct canny_options *options, uint8_t *edges, struct hep_error *error)
{
    double low = fmin(options->low_threshold, options->high_threshold);
    double high = fmax(options->low_threshold, options->high_threshold);
    struct canny c = {.image = image,
                      .height = height,
                      .width = width,
                      .channels = channels,
                      .low = threshold(low, options->l2_gradient),
                      .high = threshold(high, options->l2_gradient),
                      .l2 = options->l2_gradient,
                      .edges = edges};
    char *memory = calloc(1, canny_bytes(height, width));
    if (!memory)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to find the edges of %" PRId64 " × %" PRId64 " pixels",
                        width, height);
    c.stack = (uint32_t *)(void *)memory;
    char *at = memory + (size_t)(height * width) * sizeof *c.stack;
    for (int i = 0; i < 3; i++, at += row_bytes(width))
        c.rows[i] =
            (struct gradients){(int32_t *)(void *)at, (int16_t *)(void *)(at + ((size_t)width + 2) * sizeof(int32_t)),
                               (int16_t *)(void *)(at + ((size_t)width + 2) * sizeof(int32_t)) + width};
    find_gradients(&c, 0);
    for (int64_t y = 0; y < height; y++) {
        find_gradients(&c, y + 1);
        thin(&c, y);
    }
    follow(&c);
    free(memory);
    return HEP_OK;
}
