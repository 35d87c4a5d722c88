/*
 * CLIP's text encoder (Radford et al. 2021, §2.4; transformers' CLIPTextModel and CLIPTextModelWithProjection): a
 * causal transformer with layer norm before each part.
 */
#ifndef HEP_NN_MODELS_CLIP_H
#define HEP_NN_MODELS_CLIP_H

#include "nn/graph/graph.h"
#include "nn/models/stages.h"

#include <jansson.h>

/* text_encoder/config.json, the fields that matter. Plain data. */
struct hep_clip_config {
    int vocab_size;
    int hidden_size;
    int intermediate_size;
    int num_hidden_layers;
    int num_attention_heads;
    int max_position_embeddings; /* tokens of one chunk: 77                                                        */
    int projection_dim;          /* width of text_embeds; 0 without projection                                     */
    int eos_token_id;            /* where the pooled state is taken; 2, an old error of the files, and negative mean
                                    "at the largest id"                                                            */
    int hidden_act;              /* an index of the names "quick_gelu", "gelu"                                     */
    double layer_norm_eps;
    bool force_zeros_for_empty_prompt; /* SDXL: zeros stand for the states of an empty negative prompt             */
};

/* file: how messages call the config ("text_encoder/config.json"). BAD_MODEL, UNSUPPORTED. */
enum hep_status hep_clip_config_read(const json_t *json, const char *file, struct hep_clip_config *config,
                                     struct hep_error *error);

/* What the graph gives. Layers after the last one needed are not built. */
enum hep_clip_output {
    HEP_CLIP_LAST_HIDDEN_STATE = 1,  /* "last_hidden_state" [n, t, c]: after the final norm                        */
    HEP_CLIP_PENULTIMATE = 2,        /* "penultimate" [n, t, c]: the last layer but one, not normed (SDXL)         */
    HEP_CLIP_PENULTIMATE_NORMED = 4, /* "penultimate_normed": the same after the final norm                        */
    HEP_CLIP_POOLER_OUTPUT = 8,      /* "pooler_output" [n, c]: the end token's last_hidden_state                  */
    HEP_CLIP_TEXT_EMBEDS = 16,       /* "text_embeds" [n, projection_dim]: the pooler output, projected            */
    HEP_CLIP_CONTEXT = 32,           /* "context" [n, t, c]: clip_skip layers from the end, after the final norm   */
    HEP_CLIP_CONTEXT_RAW = 64,       /* "context": the same, not normed (SDXL)                                     */
};
struct hep_clip_build {
    int64_t batch;    /* n                                                                                        */
    int64_t tokens;   /* t, at most max_position_embeddings                                                       */
    unsigned outputs; /* enum hep_clip_output, or-ed                                                              */
    int clip_skip;    /* for CONTEXT: 1 is the last layer, 2 the last but one, …, at most num_hidden_layers + 1   */
    bool embedded;    /* a further input "embedded" [n, t, c] f32, added to the tokens' rows: vectors in place of tokens
                         where an id is negative, zeros elsewhere                                                   */
    struct hep_stages stages; /* inner values to give as well; {0} for none                                       */
};

/* Builds the network into graph: input "input_ids" [n, t] i32, each id below vocab_size (the caller's duty), and the
   chosen outputs, f32. Errors are hep_graph_finish's. */
void hep_clip_build(struct hep_graph *graph, const struct hep_clip_config *config, const struct hep_clip_build *build);

#endif
