/* Sinusoids of a timestep, for every level: a few hundred numbers per step. In the calling thread. */
#include "nn/cpu/kernels.h"

#include <math.h>

/* The roundings are those of get_timestep_embedding in f32: the exponent, the frequency and the angle are f32; the
   functions of f32 arguments are computed in double and rounded once. */
void hep_timestep_f32__portable(const struct hep_timestep_args *a)
{
    int64_t half = a->width / 2;
    int64_t sines = a->flip ? half : 0, cosines = a->flip ? 0 : half;
    for (int64_t j = 0; j < half; j++) {
        float exponent = (float)-log(a->max_period) * (float)j / (float)((double)half - a->shift);
        float frequency = (float)exp((double)exponent);
        for (int64_t i = 0; i < a->count; i++) {
            double angle = (double)(a->t[i] * frequency);
            a->y[i * a->width + sines + j] = (float)sin(angle);
            a->y[i * a->width + cosines + j] = (float)cos(angle);
        }
    }
}
