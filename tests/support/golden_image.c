/* See golden_image.h. */
#include "tests/support/golden_image.h"
#include "nn/cpu/isa.h"
#include "tests/support/parity.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One row for each dtype. To add one: what the README of the reference data says. */
static const struct limits {
    double latents;    /* rel_rms                                         */
    int level;         /* of one value of an image; 255: any              */
    double mean;       /* levels between the means of a channel           */
    double difference; /* mean of the absolute differences, levels        */
} f32 = {1e-4, 1, 0.1, 0.1}, bf16 = {2e-1, 255, 1, 5};

static const struct limits *limits_of(enum hep_dtype dtype)
{
    return dtype == HEP_BF16 ? &bf16 : &f32;
}

void golden_latents_check(const char *label, enum hep_dtype dtype, const float *is, const float *should, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)is[i] - (double)should[i]) * ((double)is[i] - (double)should[i]);
        size += (double)should[i] * (double)should[i];
    }
    double rel_rms = sqrt(difference / size);
    printf("%s %s: rel_rms %.2g\n", label, hep_dtype_name(dtype), rel_rms);
    parity_note("Pipelines", label, dtype, hep_isa_name(hep_isa_level()), rel_rms, limits_of(dtype)->latents);
    ck_assert_msg(rel_rms <= limits_of(dtype)->latents, "%s %s: rel_rms %g", label, hep_dtype_name(dtype), rel_rms);
}

void golden_image_check(const char *label, enum hep_dtype dtype, const unsigned char *is, const unsigned char *should,
                        size_t places)
{
    const struct limits *limits = limits_of(dtype);
    int worst = 0;
    for (size_t c = 0; c < 3; c++) {
        double mean = 0, difference = 0;
        for (size_t i = 0; i < places; i++) {
            int off = (int)is[i * 3 + c] - (int)should[c * places + i];
            ck_assert_msg(abs(off) <= limits->level, "%s, channel %zu, place %zu: %d, not %d", label, c, i,
                          is[i * 3 + c], should[c * places + i]);
            worst = abs(off) > worst ? abs(off) : worst;
            mean += off;
            difference += abs(off);
        }
        mean = fabs(mean) / (double)places;
        difference /= (double)places;
        printf("%s %s: channel %zu: mean off by %.2g levels, values by %.2g\n", label, hep_dtype_name(dtype), c, mean,
               difference);
        ck_assert_msg(mean <= limits->mean && difference <= limits->difference,
                      "%s %s: channel %zu: mean off by %g levels, values by %g", label, hep_dtype_name(dtype), c, mean,
                      difference);
    }
    parity_note("Images", label, dtype, hep_isa_name(hep_isa_level()), worst, limits->level);
}
