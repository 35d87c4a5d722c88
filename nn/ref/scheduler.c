/* The sinusoids of a timestep, a scheduler's step, guidance. Called by checks only. */
#include "nn/ref/ref.h"

#include <math.h>

void hep_ref_timestep(int64_t count, int64_t width, bool flip, double shift, double max_period, const double *t,
                      double *y)
{
    int64_t half = width / 2;
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < half; j++) {
            double angle = t[i] * exp(-log(max_period) * (double)j / ((double)half - shift));
            y[i * width + j] = flip ? cos(angle) : sin(angle);
            y[i * width + half + j] = flip ? sin(angle) : cos(angle);
        }
}

void hep_ref_update(int64_t count, int32_t vectors, const float *matrix, const float *const *state, const float *model,
                    const float *noise, float *const *out)
{
    for (int64_t i = 0; i < count; i++)
        for (int32_t r = 0; r < vectors; r++) {
            const float *row = matrix + r * (vectors + 2);
            float sum = row[0] * state[0][i];
            for (int32_t c = 1; c < vectors; c++)
                sum += row[c] * state[c][i];
            sum += row[vectors] * model[i];
            if (noise)
                sum += row[vectors + 1] * noise[i];
            out[r][i] = sum;
        }
}

void hep_ref_guidance(int64_t count, float guidance, const float *uncond, const float *cond, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        float difference = cond[i] - uncond[i];
        float scaled = guidance * difference;
        out[i] = uncond[i] + scaled;
    }
}
