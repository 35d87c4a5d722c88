/* Probes and least squares for previews; see preview_fit.h. In double and in one order, so that the same VAE gives the
   same map. */
#include "instructors/postprocessing/preview_fit.h"

#include "common/random.h"

#include <math.h>

enum { SIDE = PREVIEW_PROBE_SIDE, PATCHES = 2 /* each way */ };
static const uint64_t PROBE_SEED = 20240229; /* any */

void preview_probe(int number, int channels, float *latents)
{
    float grain[SIDE * SIDE], coarse[1 + PATCHES * PATCHES];
    for (int c = 0; c < channels; c++) {
        uint32_t draw = (uint32_t)(number * HEP_PREVIEW_CHANNELS_MAX + c);
        hep_philox_normal(PROBE_SEED, 2 * draw, 0, 1 + PATCHES * PATCHES, coarse);
        hep_philox_normal(PROBE_SEED, 2 * draw + 1, 0, SIDE * SIDE, grain);
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                int patch = y * PATCHES / SIDE * PATCHES + x * PATCHES / SIDE;
                latents[(c * SIDE + y) * SIDE + x] =
                    0.7f * coarse[0] + 0.6f * coarse[1 + patch] + 0.4f * grain[y * SIDE + x];
            }
    }
}

/* Mean of a square of pixels, 0 … 1. */
static void square(const uint8_t *image, int y, int x, int factor, double colour[3])
{
    colour[0] = colour[1] = colour[2] = 0;
    for (int row = y * factor; row < (y + 1) * factor; row++)
        for (int column = x * factor; column < (x + 1) * factor; column++)
            for (int k = 0; k < 3; k++)
                colour[k] += image[(row * SIDE * factor + column) * 3 + k];
    for (int k = 0; k < 3; k++)
        colour[k] /= 255.0 * factor * factor;
}

void preview_fit_add(struct preview_fit *fit, const float *latents, const uint8_t *image, int factor)
{
    double value[HEP_PREVIEW_CHANNELS_MAX + 1], colour[3];
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            for (int c = 0; c < fit->channels; c++)
                value[c] = (double)latents[(c * SIDE + y) * SIDE + x];
            value[fit->channels] = 1;
            square(image, y, x, factor, colour);
            for (int a = 0; a <= fit->channels; a++) {
                for (int b = 0; b <= fit->channels; b++)
                    fit->products[a][b] += value[a] * value[b];
                for (int k = 0; k < 3; k++)
                    fit->colours[a][k] += value[a] * colour[k];
            }
        }
}

/* Gauss-Jordan on a symmetric positive matrix: no pivots. The tiny share on the diagonal keeps a channel that never
   varied from dividing by zero. */
void preview_fit_solve(const struct preview_fit *fit, struct hep_preview_map *map)
{
    struct preview_fit work = *fit;
    int unknowns = fit->channels + 1;
    for (int i = 0; i < unknowns; i++)
        work.products[i][i] += 1e-6 * (1 + work.products[i][i]);
    for (int i = 0; i < unknowns; i++)
        for (int row = 0; row < unknowns; row++) {
            double share = work.products[row][i] / work.products[i][i];
            for (int column = i; row != i && column < unknowns; column++)
                work.products[row][column] -= share * work.products[i][column];
            for (int k = 0; row != i && k < 3; k++)
                work.colours[row][k] -= share * work.colours[i][k];
        }
    *map = (struct hep_preview_map){.channels = fit->channels};
    for (int i = 0; i < unknowns; i++)
        for (int k = 0; k < 3; k++)
            map->colours[i][k] = (float)(work.colours[i][k] / work.products[i][i]);
}
