/* Group and layer normalisation, in two passes over the numbers. Called by checks only. */
#include "nn/ref/ref.h"

#include <math.h>

void hep_ref_group_norm(int64_t images, int64_t places, int64_t channels, int64_t groups, double eps, const double *x,
                        const double *gamma, const double *beta, double *y)
{
    int64_t width = channels / groups;
    double count = (double)(places * width);
    for (int64_t n = 0; n < images; n++)
        for (int64_t g = 0; g < groups; g++) {
            const double *from = x + n * places * channels;
            double sum = 0.0, squares = 0.0;
            for (int64_t p = 0; p < places; p++)
                for (int64_t c = g * width; c < (g + 1) * width; c++)
                    sum += from[p * channels + c];
            double mean = sum / count;
            for (int64_t p = 0; p < places; p++)
                for (int64_t c = g * width; c < (g + 1) * width; c++)
                    squares += (from[p * channels + c] - mean) * (from[p * channels + c] - mean);
            double deviation = sqrt(squares / count + eps);
            for (int64_t p = 0; p < places; p++)
                for (int64_t c = g * width; c < (g + 1) * width; c++)
                    y[(n * places + p) * channels + c] =
                        (from[p * channels + c] - mean) / deviation * gamma[c] + beta[c];
        }
}

void hep_ref_layer_norm(int64_t rows, int64_t channels, double eps, const double *x, const double *gamma,
                        const double *beta, double *y)
{
    for (int64_t r = 0; r < rows; r++) /* a group norm of one place and one group */
        hep_ref_group_norm(1, 1, channels, 1, eps, x + r * channels, gamma, beta, y + r * channels);
}
