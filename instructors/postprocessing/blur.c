/* A separable Gaussian on bytes. Called where masks are opened. Sums run in one order, so that the bytes never differ.
 */
#include "instructors/postprocessing/blur.h"

#include <math.h>
#include <stdlib.h>

enum { RADIUS_MAX = 1024 };

static int64_t radius_of(double sigma)
{
    int64_t radius = (int64_t)(2.5 * sigma + 0.5);
    return radius > RADIUS_MAX ? RADIUS_MAX : radius;
}

/* weights: [radius + 1], of the middle and of each distance from it; they and their mirror sum up to 1. */
static void weights_of(double sigma, int64_t radius, float *weights)
{
    double sum = 0;
    for (int64_t i = -radius; i <= radius; i++)
        sum += exp(-(double)(i * i) / (2 * sigma * sigma));
    for (int64_t i = 0; i <= radius; i++)
        weights[i] = (float)(exp(-(double)(i * i) / (2 * sigma * sigma)) / sum);
}

/* Mirrored at the edge, which itself is not repeated. */
static int64_t mirrored(int64_t at, int64_t count)
{
    if (count == 1)
        return 0;
    int64_t period = 2 * (count - 1);
    at = (at % period + period) % period;
    return at < count ? at : period - at;
}

/* One line of count values, step apart. */
static void blur_line(uint8_t *line, int64_t count, int64_t step, const float *weights, int64_t radius, float *scratch)
{
    for (int64_t i = 0; i < count + 2 * radius; i++)
        scratch[i] = (float)line[mirrored(i - radius, count) * step];
    for (int64_t i = 0; i < count; i++) {
        const float *middle = scratch + i + radius;
        float sum = weights[0] * middle[0];
        for (int64_t distance = 1; distance <= radius; distance++)
            sum += weights[distance] * (middle[-distance] + middle[distance]);
        line[i * step] = (uint8_t)(sum + 0.5f > 255 ? 255 : (int)(sum + 0.5f));
    }
}

uint64_t blur_bytes(int64_t width, int64_t height)
{
    return (uint64_t)((width > height ? width : height) + 3 * RADIUS_MAX + 1) * sizeof(float);
}

enum hep_status blur_run(uint8_t *pixels, int64_t width, int64_t height, double sigma, struct hep_error *error)
{
    int64_t radius = radius_of(sigma);
    float *weights = malloc(blur_bytes(width, height));
    if (!weights)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to blur a mask");
    float *scratch = weights + radius + 1;
    weights_of(sigma, radius, weights);
    for (int64_t y = 0; y < height && radius > 0; y++)
        blur_line(pixels + y * width, width, 1, weights, radius, scratch);
    for (int64_t x = 0; x < width && radius > 0; x++)
        blur_line(pixels + x, height, width, weights, radius, scratch);
    free(weights);
    return HEP_OK;
}
