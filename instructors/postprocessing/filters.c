/* The filters of enhancement. Called by the enhance operation, on the worker thread; rows are spread over its threads.
 */
#include "instructors/postprocessing/filters.h"

#include "common/status.h"
#include "nn/cpu/parallel.h"

#include <math.h>
#include <string.h>

enum {
    CHANNELS = 3,
    DENOISE_SIDE = 3,       /* places to each side                              */
    GAUSSIAN_SIDE_MAX = 48, /* three times the largest radius                 */
    ROWS_AT_LEAST = 8,      /* fewer are done by one thread                     */
};

static const double denoise_deviation = 1.5, denoise_levels = 100;

/* e^(-x), 0 ≤ x ≤ 16, by its series on a sixteenth of x: the same bits everywhere, which libm does not promise. */
static double exp_minus(double x)
{
    double term = 1, sum = 1, part = -x / 16;
    for (int i = 1; i <= 18; i++) {
        term *= part / i;
        sum += term;
    }
    for (int i = 0; i < 4; i++)
        sum *= sum;
    return sum;
}

static const float *pixel(const struct filter_image *image, int64_t y, int64_t x)
{
    return image->values + (y * image->width + x) * CHANNELS;
}

/* ---- denoise ----------------------------------------------------------------------------------------------------- */
struct denoising {
    struct filter_image from, to;
    float near[2 * DENOISE_SIDE + 1][2 * DENOISE_SIDE + 1]; /* weights of places */
    float scale;                                            /* 1 / h²            */
};

static void denoise_pixel(const struct denoising *d, int64_t y, int64_t x, float *to)
{
    const float *centre = pixel(&d->from, y, x);
    float sums[CHANNELS] = {0}, total = 0;
    for (int64_t dy = -DENOISE_SIDE; dy <= DENOISE_SIDE; dy++)
        for (int64_t dx = -DENOISE_SIDE; dx <= DENOISE_SIDE; dx++) {
            if (y + dy < 0 || y + dy >= d->from.height || x + dx < 0 || x + dx >= d->from.width)
                continue;
            const float *other = pixel(&d->from, y + dy, x + dx);
            float r = other[0] - centre[0], g = other[1] - centre[1], b = other[2] - centre[2];
            float left = 1 - (r * r + g * g + b * b) * d->scale;
            if (left <= 0)
                continue;
            float weight = d->near[dy + DENOISE_SIDE][dx + DENOISE_SIDE] * left * left;
            total += weight;
            for (int c = 0; c < CHANNELS; c++)
                sums[c] += weight * other[c];
        }
    for (int c = 0; c < CHANNELS; c++)
        to[c] = sums[c] / total; /* the place itself has weight 1 */
}

static void denoise_rows(const void *context, int64_t first, int64_t last)
{
    const struct denoising *d = context;
    for (int64_t y = first; y < last; y++)
        for (int64_t x = 0; x < d->from.width; x++)
            denoise_pixel(d, y, x, d->to.values + (y * d->to.width + x) * CHANNELS);
}

void filter_denoise(const struct filter_image *from, const struct filter_image *to, double strength)
{
    double height = fmax(denoise_levels * strength, 0.5);
    struct denoising d = {.from = *from, .to = *to, .scale = (float)(1 / (height * height))};
    for (int y = -DENOISE_SIDE; y <= DENOISE_SIDE; y++)
        for (int x = -DENOISE_SIDE; x <= DENOISE_SIDE; x++)
            d.near[y + DENOISE_SIDE][x + DENOISE_SIDE] =
                (float)exp_minus((x * x + y * y) / (2 * denoise_deviation * denoise_deviation));
    hep_parallel_for(from->height, ROWS_AT_LEAST, denoise_rows, &d);
}

/* ---- colours ----------------------------------------------------------------------------------------------------- */
static void to_ycc(const float *rgb, double *ycc)
{
    ycc[0] = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    ycc[1] = (rgb[2] - ycc[0]) / 1.772;
    ycc[2] = (rgb[0] - ycc[0]) / 1.402;
}

static void from_ycc(const double *ycc, float *rgb)
{
    double red = ycc[0] + 1.402 * ycc[2], blue = ycc[0] + 1.772 * ycc[1];
    rgb[0] = (float)red;
    rgb[1] = (float)((ycc[0] - 0.299 * red - 0.114 * blue) / 0.587);
    rgb[2] = (float)blue;
}

/* Two passes, each one sum in the order of the pixels. */
void filter_measure(const struct filter_image *image, struct filter_colors *colors)
{
    int64_t pixels = image->height * image->width;
    double sums[CHANNELS] = {0}, squares[CHANNELS] = {0}, ycc[CHANNELS];
    for (int64_t i = 0; i < pixels; i++) {
        to_ycc(image->values + i * CHANNELS, ycc);
        for (int c = 0; c < CHANNELS; c++)
            sums[c] += ycc[c];
    }
    for (int c = 0; c < CHANNELS; c++)
        colors->mean[c] = sums[c] / (double)pixels;
    for (int64_t i = 0; i < pixels; i++) {
        to_ycc(image->values + i * CHANNELS, ycc);
        for (int c = 0; c < CHANNELS; c++)
            squares[c] += (ycc[c] - colors->mean[c]) * (ycc[c] - colors->mean[c]);
    }
    for (int c = 0; c < CHANNELS; c++)
        colors->deviation[c] = sqrt(squares[c] / (double)pixels);
}

/* x → x · gain[c] + offset[c] in Y, Cb, Cr. */
struct recolouring {
    struct filter_image image;
    double gain[CHANNELS], offset[CHANNELS];
};

static void recolour_rows(const void *context, int64_t first, int64_t last)
{
    const struct recolouring *r = context;
    double ycc[CHANNELS];
    for (int64_t i = first * r->image.width; i < last * r->image.width; i++) {
        float *rgb = r->image.values + i * CHANNELS;
        to_ycc(rgb, ycc);
        for (int c = 0; c < CHANNELS; c++)
            ycc[c] = ycc[c] * r->gain[c] + r->offset[c];
        from_ycc(ycc, rgb);
    }
}

void filter_color_match(const struct filter_image *image, const struct filter_colors *reference, double strength)
{
    struct recolouring r = {.image = *image};
    struct filter_colors own;
    filter_measure(image, &own);
    for (int c = 0; c < CHANNELS; c++) {
        double gain = own.deviation[c] > 0 ? reference->deviation[c] / own.deviation[c] : 1;
        r.gain[c] = 1 + strength * (gain - 1);
        r.offset[c] = strength * (reference->mean[c] - own.mean[c] * gain);
    }
    hep_parallel_for(image->height, ROWS_AT_LEAST, recolour_rows, &r);
}

struct contrasting {
    struct filter_image image;
    float gain, offset;
};

static void contrast_rows(const void *context, int64_t first, int64_t last)
{
    const struct contrasting *k = context;
    for (int64_t i = first * k->image.width * CHANNELS; i < last * k->image.width * CHANNELS; i++)
        k->image.values[i] = k->image.values[i] * k->gain + k->offset;
}

void filter_contrast(const struct filter_image *image, double strength)
{
    struct filter_colors own;
    filter_measure(image, &own);
    struct contrasting k = {*image, (float)(1 + strength), (float)(-strength * own.mean[0])};
    hep_parallel_for(image->height, ROWS_AT_LEAST, contrast_rows, &k);
}

/* ---- sharpen ----------------------------------------------------------------------------------------------------- */
struct sharpening {
    struct filter_image image, blurred; /* blurred: along rows only */
    float weights[2 * GAUSSIAN_SIDE_MAX + 1];
    int64_t side;
    float strength;
};

/* A place beyond the border, mirrored into 0 … count - 1. */
static int64_t mirrored(int64_t at, int64_t count)
{
    while (at < 0 || at >= count)
        at = at < 0 ? -at - 1 : 2 * count - 1 - at;
    return at;
}

static void blur_rows(const void *context, int64_t first, int64_t last)
{
    const struct sharpening *s = context;
    for (int64_t y = first; y < last; y++)
        for (int64_t x = 0; x < s->image.width; x++) {
            float sums[CHANNELS] = {0};
            for (int64_t k = -s->side; k <= s->side; k++) {
                const float *from = pixel(&s->image, y, mirrored(x + k, s->image.width));
                for (int c = 0; c < CHANNELS; c++)
                    sums[c] += s->weights[k + s->side] * from[c];
            }
            memcpy(s->blurred.values + (y * s->image.width + x) * CHANNELS, sums, sizeof sums);
        }
}

static void sharpen_rows(const void *context, int64_t first, int64_t last)
{
    const struct sharpening *s = context;
    int64_t row = s->image.width * CHANNELS;
    for (int64_t y = first; y < last; y++)
        for (int64_t i = 0; i < row; i++) {
            float sum = 0, *to = s->image.values + y * row + i;
            for (int64_t k = -s->side; k <= s->side; k++)
                sum += s->weights[k + s->side] * s->blurred.values[mirrored(y + k, s->image.height) * row + i];
            *to += s->strength * (*to - sum);
        }
}

void filter_sharpen(const struct filter_image *image, const struct filter_image *scratch, double strength,
                    double radius)
{
    struct sharpening s = {.image = *image, .blurred = *scratch, .strength = (float)strength};
    double total = 0;
    s.side = (int64_t)ceil(3 * radius);
    hep_assert(s.side >= 1 && s.side <= GAUSSIAN_SIDE_MAX);
    for (int64_t k = -s.side; k <= s.side; k++)
        total += exp_minus(fmin((double)(k * k) / (2 * radius * radius), 16));
    for (int64_t k = -s.side; k <= s.side; k++)
        s.weights[k + s.side] = (float)(exp_minus(fmin((double)(k * k) / (2 * radius * radius), 16)) / total);
    hep_parallel_for(image->height, ROWS_AT_LEAST, blur_rows, &s);
    hep_parallel_for(image->height, ROWS_AT_LEAST, sharpen_rows, &s);
}

/* ---- levels ------------------------------------------------------------------------------------------------------ */
void filters_from_levels(const void *from, enum hep_dtype dtype, const struct filter_image *to)
{
    for (int64_t i = 0; i < to->height * to->width * CHANNELS; i++)
        to->values[i] = level_get(from, dtype, i);
}

void filters_to_levels(const struct filter_image *from, enum hep_dtype dtype, void *to)
{
    for (int64_t i = 0; i < from->height * from->width * CHANNELS; i++)
        level_put(to, dtype, i, from->values[i]);
}
