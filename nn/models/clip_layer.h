/* A layer of CLIP's transformers (transformers' CLIPEncoderLayer): the same for text and for images. */
#ifndef HEP_NN_MODELS_CLIP_LAYER_H
#define HEP_NN_MODELS_CLIP_LAYER_H

#include "nn/graph/graph.h"

/* Values of "hidden_act", for the tables of config keys; NULL-terminated. */
extern const char *const hep_clip_activations[];
/* What the name at this index stands for. */
enum hep_activation hep_clip_activation(int index);

struct hep_clip_layer {
    int hidden_size, intermediate_size, heads;
    enum hep_activation activation;
    double layer_norm_eps;
    bool causal; /* text */
};

/* x [n, t, hidden_size] → the same: attention and MLP, each behind a layer norm and added to what went in. */
hep_value hep_clip_layer_build(struct hep_graph *graph, hep_value x, struct hep_scope scope,
                               const struct hep_clip_layer *layer);

#endif
