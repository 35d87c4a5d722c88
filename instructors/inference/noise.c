/* Sources of noise, and the way between two noises. Called by row.c; allocates nothing. */
#include "instructors/inference/noise.h"

#include "common/random.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Noises this near to each other are mixed along the line between them: the sphere's formula would divide by zero. */
static const double ALIKE = 0.9995;

void row_noise_philox(const void *context, uint64_t seed, uint32_t number, size_t count, float *noise)
{
    (void)context;
    hep_philox_normal(seed, number, 0, count, noise);
}

void row_noise_torch_cpu(const void *context, uint64_t seed, uint32_t number, size_t count, float *noise)
{
    (void)context;
    hep_torch_cpu_draw(seed, number, count, noise);
}

/* To add a source: its function, its name, its row. */
const char *const row_noise_names[] = {"philox", "torch-cpu", NULL};
static row_noise *const noise_sources[] = {row_noise_philox, row_noise_torch_cpu};

row_noise *row_noise_find(const char *name)
{
    for (size_t i = 0; row_noise_names[i]; i++)
        if (strcmp(row_noise_names[i], name) == 0)
            return noise_sources[i];
    return NULL;
}

/* Cosine of the angle between two columns of `height` values, `width` apart. */
static double cosine(const float *a, const float *b, int64_t height, int64_t width)
{
    double product = 0, of_a = 0, of_b = 0;
    for (int64_t y = 0; y < height; y++) {
        double x = (double)a[y * width], z = (double)b[y * width];
        product += x * z;
        of_a += x * x;
        of_b += z * z;
    }
    return product / sqrt(of_a * of_b);
}

static double mean_cosine(const float *a, const float *b, int64_t channels, int64_t height, int64_t width)
{
    double sum = 0;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t x = 0; x < width; x++)
            sum += cosine(a + c * height * width + x, b + c * height * width + x, height, width);
    return sum / (double)(channels * width);
}

static void mix(float *a, const float *b, int64_t height, int64_t width, double of_a, double of_b)
{
    for (int64_t y = 0; y < height; y++)
        a[y * width] = (float)(of_a * (double)a[y * width] + of_b * (double)b[y * width]);
}

void noise_towards(float *noise, const float *other, int64_t channels, int64_t height, int64_t width, double strength)
{
    bool alike = mean_cosine(noise, other, channels, height, width) > ALIKE;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t x = 0; x < width; x++) {
            float *a = noise + c * height * width + x;
            const float *b = other + c * height * width + x;
            double angle = acos(cosine(a, b, height, width)), sine = sin(angle);
            if (alike) /* A1111 has the two the other way round here */
                mix(a, b, height, width, strength, 1 - strength);
            else
                mix(a, b, height, width, sin((1 - strength) * angle) / sine, sin(strength * angle) / sine);
        }
}
