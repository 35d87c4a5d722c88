/*
 * Where a graph's weights come from: a table of two functions. Sources are safetensors files (nn/weights), a published
 * packed segment (nn/weights/packed.h), random numbers (hep_random_weights, for benches without files) and none at all
 * (hep_no_weights: plan only, for FLOPs and peak memory). Names are diffusers' keys ("conv_in.weight"); a source for
 * another file layout, or one that merges a LoRA, wraps another source and translates in its two functions.
 *
 * A *listed* source knows every name it has, and a builder function checks shapes against it. An *open* source (random,
 * none) has any weight of any shape that is asked for: options such as .out must then say the sizes.
 */
#ifndef HEP_NN_GRAPH_WEIGHT_SOURCE_H
#define HEP_NN_GRAPH_WEIGHT_SOURCE_H

#include "common/tensor.h"

#define HEP_WEIGHT_NAME_MAX 192 /* bytes of a weight's full name with NUL */

/* What a source knows of one weight. */
struct hep_weight_info {
    enum hep_dtype dtype;   /* as stored: f32, f16, bf16, fp8, …         */
    struct hep_shape shape; /* as stored: conv [out, in, kh, kw], linear [out, in], vectors [c] */
};

struct hep_weight_source;

/* The functions of a source. To add a source: a struct whose first member is struct hep_weight_source, and these. */
struct hep_weight_source_ops {
    const char *kind; /* "safetensors", for messages */
    bool open;        /* true: it has whatever is asked for, find() is not called */
    /* Fills *info (may be NULL) if the source has name; false if it has not. No side effects. */
    bool (*find)(const struct hep_weight_source *source, const char *name, struct hep_weight_info *info);
    /* Writes the whole tensor as f32, row-major, to[elements]; elements is the product of the graph's dims and equals
       the stored one's. Called only while packing. BAD_FILE, IO, NOT_FOUND; NOT_NOW if the source holds no plain data.
     */
    enum hep_status (*read_f32)(const struct hep_weight_source *source, const char *name, float *to, int64_t elements,
                                struct hep_error *error);
};

/* The base of every source; lives as long as graphs are built from it and plans are packed from it. */
struct hep_weight_source {
    const struct hep_weight_source_ops *ops;
};

/* Open sources with static lifetime. Random: a function of (name, element, count of elements) only, uniform and scaled
   so that activations keep about their size (±1.7 / √side of a square of as many elements; norms' gains near 1, biases
   near 0). None: read_f32 fails with NOT_NOW. */
const struct hep_weight_source *hep_random_weights(void);
const struct hep_weight_source *hep_no_weights(void);

#endif
