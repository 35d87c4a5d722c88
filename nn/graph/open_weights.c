/* The two open weight sources: random numbers for benches and tests without files, and none for planning only. */
#include "nn/graph/weight_source.h"

#include <math.h>
#include <string.h>

static bool find_any(const struct hep_weight_source *source, const char *name, struct hep_weight_info *info)
{
    (void)source;
    (void)name;
    (void)info;
    return false; /* open sources are not asked; what exists is the graph's choice */
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* 64 mixed bits of a counter (splitmix64, Steele et al. 2014). */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* The shape is not known here: matrices are those whose elements are many. A vector named .weight is a norm's gain. */
static enum hep_status read_random(const struct hep_weight_source *source, const char *name, float *to,
                                   int64_t elements, struct hep_error *error)
{
    (void)source;
    (void)error;
    uint64_t seed = 14695981039346656037u; /* FNV-1a of the name */
    for (const char *c = name; *c; c++)
        seed = (seed ^ (unsigned char)*c) * 1099511628211u;
    bool norm = strstr(name, "norm") && ends_with(name, ".weight");
    bool bias = ends_with(name, ".bias");
    float scale = bias || norm ? 0.1f : (float)(1.7 / sqrt(sqrt((double)elements))), offset = norm ? 1.0f : 0.0f;
    for (int64_t i = 0; i < elements; i++) {
        uint32_t bits = (uint32_t)(mix(seed + (uint64_t)i) >> 40); /* 24 bits */
        to[i] = offset + scale * ((float)bits * 0x1p-23f - 1.0f);
    }
    return HEP_OK;
}

static enum hep_status read_none(const struct hep_weight_source *source, const char *name, float *to, int64_t elements,
                                 struct hep_error *error)
{
    (void)source;
    (void)to;
    (void)elements;
    return hep_fail(error, HEP_E_NOT_NOW, "weight %s: the graph was built without weights, to plan only", name);
}

const struct hep_weight_source *hep_random_weights(void)
{
    static const struct hep_weight_source_ops ops = {"random", true, find_any, read_random};
    static const struct hep_weight_source source = {&ops};
    return &source;
}

const struct hep_weight_source *hep_no_weights(void)
{
    static const struct hep_weight_source_ops ops = {"none", true, find_any, read_none};
    static const struct hep_weight_source source = {&ops};
    return &source;
}
