/* Prompt weights on hidden states. Called by encode_prompt after the text encoder, on its own output; allocates
 * nothing. */
#include "instructors/conditioning/emphasis.h"

#include <math.h>

#include "instructors/conditioning/chunks.h"

static bool all_one(const float *weights)
{
    for (size_t i = 0; i < CHUNK_LENGTH; i++)
        if (weights[i] != 1.0f)
            return false;
    return true;
}

/* The factor that restores the mean of one chunk; false if there is none. */
static bool restoring_factor(const float *hidden, const float *weights, size_t width, float *factor)
{
    double before = 0, after = 0, largest = 0;
    for (size_t token = 0; token < CHUNK_LENGTH; token++) {
        const float *row = hidden + token * width;
        for (size_t i = 0; i < width; i++) {
            float weighted = row[i] * weights[token];
            before += (double)row[i];
            after += (double)weighted;
            largest = fmax(largest, fabs((double)weighted));
        }
    }
    *factor = (float)(before / after);
    return isfinite((float)(largest * fabs((double)*factor))); /* false too where either is not finite */
}

static void weigh(float *hidden, const float *weights, size_t width, float factor)
{
    for (size_t token = 0; token < CHUNK_LENGTH; token++)
        for (size_t i = 0; i < width; i++)
            hidden[token * width + i] = hidden[token * width + i] * weights[token] * factor;
}

enum hep_status conditioning_apply_weights(float *hidden, const float *weights, size_t chunks, size_t width,
                                           struct hep_error *error)
{
    float factor;
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        const float *w = weights + chunk * CHUNK_LENGTH;
        if (!all_one(w) && !restoring_factor(hidden + chunk * CHUNK_LENGTH * width, w, width, &factor))
            return hep_fail(error, HEP_E_OUT_OF_RANGE,
                            "the weights in chunk %zu of the prompt cancel each other or are too large", chunk);
    }
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        const float *w = weights + chunk * CHUNK_LENGTH;
        float *own = hidden + chunk * CHUNK_LENGTH * width;
        if (!all_one(w) && restoring_factor(own, w, width, &factor))
            weigh(own, w, width, factor);
    }
    return HEP_OK;
}
