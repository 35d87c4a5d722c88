/* Resampling of latents, for a second, larger pass. Called by resize_latents; each value depends on four others. */
#include "instructors/conditioning/latents.h"

#include <math.h>

const char *const latents_filter_names[] = {"bilinear", "nearest", 0};

/* Where an output value comes from along one side: between two inputs, the second with this weight. */
struct tap {
    int64_t first, second;
    float weight;
};

static struct tap tap_of(enum latents_filter filter, int64_t at, int64_t in, int64_t out)
{
    double scale = (double)in / (double)out;
    if (filter == LATENTS_NEAREST) {
        int64_t nearest = (int64_t)floor((double)at * scale);
        return (struct tap){nearest < in ? nearest : in - 1, 0, 0};
    }
    double source = ((double)at + 0.5) * scale - 0.5;
    source = source < 0 ? 0 : source;
    int64_t first = (int64_t)source;
    first = first < in ? first : in - 1;
    return (struct tap){first, first + 1 < in ? first + 1 : first, (float)(source - (double)first)};
}

static float value_at(const float *plane, int64_t width, struct tap y, struct tap x)
{
    const float *top = plane + y.first * width, *bottom = plane + y.second * width;
    float upper = (1 - x.weight) * top[x.first] + x.weight * top[x.second];
    float lower = (1 - x.weight) * bottom[x.first] + x.weight * bottom[x.second];
    return (1 - y.weight) * upper + y.weight * lower;
}

void latents_resize(enum latents_filter filter, const float *from, int64_t planes, int64_t height, int64_t width,
                    float *to, int64_t out_height, int64_t out_width)
{
    for (int64_t plane = 0; plane < planes; plane++, from += height * width)
        for (int64_t y = 0; y < out_height; y++) {
            struct tap vertical = tap_of(filter, y, height, out_height);
            for (int64_t x = 0; x < out_width; x++)
                *to++ = value_at(from, width, vertical, tap_of(filter, x, width, out_width));
        }
}
