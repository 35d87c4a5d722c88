/* The layer that CLIP's text and vision transformers share. Called by clip.c and clip_vision.c. */
#include "nn/models/clip_layer.h"

const char *const hep_clip_activations[] = {"quick_gelu", "gelu", NULL};

enum hep_activation hep_clip_activation(int index)
{
    static const enum hep_activation activations[] = {HEP_ACT_QUICK_GELU, HEP_ACT_GELU};
    return activations[index];
}

static hep_value self_attention(struct hep_graph *g, hep_value x, struct hep_scope s, const struct hep_clip_layer *l)
{
    hep_value q = hep_linear(g, x, s, "q_proj", .out = l->hidden_size);
    hep_value k = hep_linear(g, x, s, "k_proj", .out = l->hidden_size);
    hep_value v = hep_linear(g, x, s, "v_proj", .out = l->hidden_size);
    hep_value a = hep_attention(g, q, k, v, .heads = l->heads, .causal = l->causal);
    return hep_linear(g, a, s, "out_proj", .out = l->hidden_size);
}

static hep_value mlp(struct hep_graph *g, hep_value x, struct hep_scope s, const struct hep_clip_layer *l)
{
    hep_value h = hep_linear(g, x, s, "fc1", .out = l->intermediate_size);
    h = hep_activate(g, h, l->activation);
    return hep_linear(g, h, s, "fc2", .out = l->hidden_size);
}

hep_value hep_clip_layer_build(struct hep_graph *g, hep_value x, struct hep_scope s, const struct hep_clip_layer *l)
{
    hep_value h = hep_layer_norm(g, x, s, "layer_norm1", l->layer_norm_eps);
    x = hep_add(g, x, self_attention(g, h, hep_in(s, "self_attn"), l));
    h = hep_layer_norm(g, x, s, "layer_norm2", l->layer_norm_eps);
    return hep_add(g, x, mlp(g, h, hep_in(s, "mlp"), l));
}
